//! `foreach` and `pick`: each point of a grid is a target, and the best one is the model.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use mlbuild_testing::Dice;
use serde_json::Value;

use crate::project::{Built, Project};

/// Histories with what came next, and a model that tries `foreach` and picks by `pick`.
fn sweep(foreach: &str, pick: &str) -> Project {
    let mut events = "user,seq,item\n".to_owned();
    for user in 0..40 {
        for seq in 0..7 {
            let item = (user * 3 + seq * (1 + user % 4)) % 23;
            let _ = writeln!(events, "{user},{seq},{item}");
        }
    }
    Project::new(&manifest(foreach, pick))
        .file("raw/events.csv", &events)
        .file(
            "features/train.sql",
            "select \"user\", array_agg(item order by seq) as history from data.events where seq < 6 group by \"user\"",
        )
        .file(
            "features/last.sql",
            "select \"user\", item as target from data.events where seq = 6",
        )
        .file(
            "features/valid.sql",
            "select t.\"user\", t.history, l.target from features.train t join features.last l on t.\"user\" = l.\"user\"",
        )
}

fn manifest(foreach: &str, pick: &str) -> String {
    format!(
        r#"
[data.events]
path = "raw/events.csv"

[features.train]
key = ["user"]
[features.valid]
key = ["user"]

[model.recs]
train = "item_knn"
input = "features:train"
validate = "features:valid"
foreach = {foreach}
pick = {pick}

[data.top]
predict = "model:recs"
input = "features:train"
k = 5
"#
    )
}

const NDCG: &str = r#"{ metric = "valid_ndcg@10", max = true }"#;

const TABLES: [&str; 4] = [
    "data:events",
    "features:last",
    "features:train",
    "features:valid",
];

fn rewrite(project: &Project, foreach: &str, pick: &str) {
    let manifest = manifest(foreach, pick);
    project.write(
        "mlbuild.toml",
        format!("[project]\nname = \"test\"\n\n{manifest}"),
    );
}

fn show(project: &Project, target: &str) -> Value {
    let shown = project.run(&["show", target, "--json"]);
    serde_json::from_str(&shown.stdout).unwrap()
}

/// What the choice of a build fell on.
fn picked(built: &Built) -> Option<String> {
    let mut events = built.events.iter();
    let event =
        events.find(|event| event["event"] == "finished" && event["target"] == "model:recs")?;
    event["picked"]["point"].as_str().map(str::to_owned)
}

#[test]
fn the_model_is_its_best_point_and_a_new_point_trains_alone() {
    let project = sweep("{ neighbours = [1, 3], last = [1, 2] }", NDCG);
    let points = [
        "model:recs@last=1@neighbours=1",
        "model:recs@last=2@neighbours=1",
        "model:recs@last=1@neighbours=3",
        "model:recs@last=2@neighbours=3",
    ];
    let built = project.build(&["data:top"]);
    built.built(&[&TABLES[..], &points, &["model:recs", "data:top"]].concat());

    let model = show(&project, "model:recs");
    let figures: Vec<(&str, f64)> = model["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| {
            (
                point["target"].as_str().unwrap(),
                point["figure"].as_f64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        figures.iter().map(|point| point.0).collect::<Vec<_>>(),
        points,
        "declared order"
    );
    let best = figures.iter().map(|point| point.1).fold(f64::MIN, f64::max);
    let winner = figures.iter().find(|point| point.1 == best).unwrap().0;
    assert!(figures.iter().any(|point| point.1 < best), "{figures:?}");
    assert_eq!(
        picked(&built).as_deref(),
        winner.strip_prefix("model:recs@")
    );
    assert_eq!(model["artifact"], show(&project, winner)["artifact"]);
    assert_eq!(model["metrics"]["valid_ndcg@10"], best);

    project.build(&["data:top"]).built(&[]);
    rewrite(&project, "{ neighbours = [1, 3, 5], last = [1, 2] }", NDCG);
    let built = project.build(&["model:recs"]);
    let new = [
        "model:recs@last=1@neighbours=5",
        "model:recs@last=2@neighbours=5",
    ];
    built.built(&[&new[..], &["model:recs"]].concat());
    assert_eq!(
        built.reasons("model:recs"),
        ["points: last=1@neighbours=5 added, last=2@neighbours=5 added"]
    );

    rewrite(&project, "[{ neighbours = 3, last = 1 }]", NDCG);
    project.build(&["model:recs", "data:top"]);
    project.assert_same_as_clean_build(&["model:recs", "data:top"]);
}

#[test]
fn a_loser_changes_nothing_downstream() {
    let project = sweep("{ neighbours = [3, 5] }", NDCG);
    project.build(&["data:top"]);
    let before = show(&project, "model:recs");
    // As bad as it gets: one neighbour, of the last item only.
    rewrite(
        &project,
        "[{ neighbours = 3 }, { neighbours = 5 }, { neighbours = 1, last = 1 }]",
        NDCG,
    );
    let built = project.build(&["data:top"]);
    built.built(&["model:recs", "model:recs@last=1@neighbours=1"]);
    assert_eq!(show(&project, "model:recs")["artifact"], before["artifact"]);
    assert_eq!(
        picked(&built).as_deref(),
        Some(
            before["points"]
                .as_array()
                .unwrap()
                .iter()
                .find(|point| point["picked"] == true)
                .unwrap()["target"]
                .as_str()
                .unwrap()
                .strip_prefix("model:recs@")
                .unwrap()
        )
    );
}

#[test]
fn ties_go_to_the_first_declared_and_min_turns_the_order() {
    let by = |goal: &str| format!(r#"{{ metric = "interactions", {goal} = true }}"#);
    // As many interactions whatever the parameters.
    let project = sweep(
        "[{ neighbours = 3 }, { neighbours = 5 }, { neighbours = 1 }]",
        &by("max"),
    );
    assert_eq!(
        picked(&project.build(&["model:recs"])).as_deref(),
        Some("neighbours=3")
    );
    rewrite(
        &project,
        "[{ neighbours = 5 }, { neighbours = 3 }, { neighbours = 1 }]",
        &by("min"),
    );
    let built = project.build(&["model:recs"]);
    built.built(&["model:recs"]);
    assert_eq!(picked(&built).as_deref(), Some("neighbours=5"));

    let figures = |pick: &str| {
        rewrite(
            &project,
            "[{ neighbours = 5 }, { neighbours = 3 }, { neighbours = 1, last = 1 }]",
            pick,
        );
        let built = project.build(&["model:recs"]);
        let picked = built
            .events
            .iter()
            .find(|e| e["target"] == "model:recs" && e["event"] == "finished")
            .unwrap();
        picked["picked"]["figure"].as_f64().unwrap()
    };
    let best = figures(r#"{ metric = "valid_mrr@10", max = true }"#);
    assert!(figures(r#"{ metric = "valid_mrr@10", min = true }"#) < best);
}

#[test]
fn a_figure_that_is_not_there_is_named_with_those_that_are() {
    let project = sweep(
        "{ neighbours = [3, 5] }",
        r#"{ metric = "valid_ndgc@10", max = true }"#,
    );
    let built = project.try_build(&["model:recs"]);
    assert_eq!(built.ran.exit, Some(2), "{}", built.ran.stderr);
    built.failed(&["model:recs"]);
    let diagnostic = built.diagnostic("model:recs");
    assert_eq!(diagnostic["code"], "pick::no-figure");
    assert_eq!(diagnostic["help"], "did you mean `valid_ndcg@10`?");
    // The points stand, so that the right name costs nothing more.
    rewrite(&project, "{ neighbours = [3, 5] }", NDCG);
    project.build(&["model:recs"]).built(&["model:recs"]);
}

#[test]
fn points_are_selected_and_placed_by_their_names_alone() {
    let project = sweep("{ neighbours = [3, 5] }", NDCG);
    project.build(&[]);
    let placed = |path: &str| project.has(&format!("out/model/{path}/model.json"));
    assert!(placed("recs"));
    assert!(!placed("recs@neighbours=3"));
    project.build(&["model:recs@neighbours=3"]).built(&[]);
    assert!(placed("recs@neighbours=3") && !placed("recs@neighbours=5"));
    project.build(&["recs@*"]);
    assert!(placed("recs@neighbours=5"));

    let ls = |targets: &[&str]| project.run(&[&["ls"], targets].concat()).stdout;
    assert_eq!(
        ls(&["kind:model"]),
        "model:recs  pick      2 points, by max valid_ndcg@10\n"
    );
    assert_eq!(ls(&["model:recs*"]).lines().count(), 3);
    let wrong = project.run(&["build", "model:recs@neighbours=4"]);
    assert_eq!(wrong.exit, Some(2));
    assert!(
        wrong
            .stderr
            .contains("did you mean `model:recs@neighbours="),
        "{}",
        wrong.stderr
    );
}

#[test]
fn plan_why_and_lineage_read_well_with_many_points() {
    let project = sweep("{ neighbours = [1, 2, 3, 4, 5, 6], last = [1, 2] }", NDCG);
    let plan = project.run(&["plan", "model:recs"]).stdout;
    let last = plan.lines().last().unwrap();
    assert!(
        last.starts_with("may build  model:recs ")
            && last.ends_with("  if one of its 12 points changes"),
        "{last}"
    );
    project.build(&["model:recs"]);
    let shown = project.run(&["show", "model:recs"]).stdout;
    assert_eq!(
        shown
            .lines()
            .filter(|line| line.contains("@neighbours="))
            .count(),
        12
    );
    assert_eq!(
        shown
            .lines()
            .filter(|line| line.contains("* last="))
            .count(),
        1
    );
    let picks = project.run(&[
        "query",
        "select count(*) as points, sum(picked) as picked, max(value) = sum(value * picked) as best from picks where label = 'model:recs'",
        "--format", "csv",
    ]);
    assert_eq!(picks.stdout, "points,picked,best\n12,1,1\n");
    let experiments = project.run(&[
        "query",
        "select count(*) as points, sum(picked) as picked, count(distinct model) as models, min(device) as device from experiments",
        "--format", "csv",
    ]);
    assert_eq!(
        experiments.stdout,
        "points,picked,models,device\n12,1,1,cpu\n"
    );
    let verified = project.run(&["verify", "model:recs"]);
    assert_eq!(verified.exit, Some(0), "{}", verified.stderr);
    assert!(
        verified
            .stdout
            .contains("same       model:recs  pick max valid_ndcg@10"),
        "{}",
        verified.stdout
    );
    // What a collection leaves is what the points need.
    let gc = project.run(&["gc", "--keep-last", "1", "--grace", "1ms"]);
    assert_eq!(gc.exit, Some(0), "{}", gc.stderr);
    project.build(&["model:recs"]).built(&[]).restored(&[]);
}

/// Whatever is added to a grid and taken away: what runs is the points that are new, and the choice if it was never made.
#[test]
fn what_runs_is_what_changed_over_random_grids() {
    let mut dice = Dice::new(7);
    let project = sweep("{ neighbours = [1] }", NDCG);
    let mut trained: BTreeSet<String> = BTreeSet::new();
    let mut chosen: BTreeSet<Vec<String>> = BTreeSet::new();
    for round in 0..10 {
        let mut some = |all: &[u32]| -> Vec<u32> {
            let mut values: Vec<u32> = all.iter().copied().filter(|_| dice.often(50)).collect();
            if values.is_empty() {
                values.push(all[0]);
            }
            values
        };
        let (neighbours, last) = (some(&[1, 2, 3, 4]), some(&[1, 2, 3]));
        rewrite(
            &project,
            &format!("{{ neighbours = {neighbours:?}, last = {last:?} }}"),
            NDCG,
        );
        let points: Vec<String> = neighbours
            .iter()
            .flat_map(|n| {
                last.iter()
                    .map(move |l| format!("model:recs@last={l}@neighbours={n}"))
            })
            .collect();
        let mut expected: Vec<&str> = points
            .iter()
            .map(String::as_str)
            .filter(|point| !trained.contains(*point))
            .collect();
        if !chosen.contains(&points) {
            expected.push("model:recs");
        }
        if round == 0 {
            expected.extend(TABLES);
        }
        project.build(&["model:recs"]).built(&expected);
        project.build(&["model:recs"]).built(&[]).restored(&[]);
        trained.extend(points.iter().cloned());
        chosen.insert(points);
    }
    project.assert_same_as_clean_build(&["model:recs"]);
}
