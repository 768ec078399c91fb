use std::collections::BTreeMap;
use std::fs;

use mlbuild_action::{Column, Description};
use mlbuild_digest::Digest;
use rusqlite::Connection;

use super::*;

const SPEC: &str = include_str!("../../../spec/lineage.md");

fn database() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sub/lineage.db");
    (dir, path)
}

fn start(at: Micros) -> RunStart {
    RunStart {
        command: vec!["build".to_owned(), "model:recs".to_owned()],
        selection: vec!["model:recs".to_owned()],
        started: at,
        tools: BTreeMap::from([("mlbuild".to_owned(), "0.1.0".to_owned())]),
        user: Some("anna".to_owned()),
        host: Some("laptop".to_owned()),
        ..RunStart::default()
    }
}

/// The start of a run under the profile `small`, with a parameter that was given twice.
fn start_small(at: Micros) -> RunStart {
    let given = ["2", "3"].map(|epochs| GivenRecord {
        label: "model:recs".to_owned(),
        name: "epochs".to_owned(),
        value: epochs.to_owned(),
    });
    RunStart {
        profile: Some("small".to_owned()),
        given: given.into(),
        ..start(at)
    }
}

/// A target of one action that reads the artifacts `inputs` and yields `output`; all named by their contents.
fn target(
    label: &str,
    outcome: Outcome,
    inputs: &[&str],
    output: &str,
    micros: u64,
) -> TargetRecord {
    let digest = Digest::of(output.as_bytes());
    let action = ActionRecord {
        stage: 0,
        name: "sql".to_owned(),
        key: Description::from_parts([("label".to_owned(), label.to_owned())].into()).key(),
        rule: "sql".to_owned(),
        outcome,
        toolchain: "test 1".to_owned(),
        started: 1_000_000,
        duration: Duration::from_micros(micros),
        inputs: inputs
            .iter()
            .map(|input| InputRecord {
                name: format!("input {input}"),
                artifact: Digest::of(input.as_bytes()),
            })
            .collect(),
        flows: inputs
            .iter()
            .map(|input| FlowRecord {
                input: format!("input {input}"),
                from_column: Some("user_id".to_owned()),
                to_column: Some("user_id".to_owned()),
                kind: FlowKind::Value,
            })
            .collect(),
        output: Some(ArtifactRecord {
            digest,
            kind: "table".to_owned(),
            size_bytes: 100,
            rows: Some(7),
            columns: vec![Column {
                name: "user_id".to_owned(),
                data_type: "Int64".to_owned(),
                digest: Digest::of(b"user_id"),
            }],
        }),
        parameters: BTreeMap::from([("lr".to_owned(), "0.001".to_owned())]),
        metrics: BTreeMap::from([("ndcg@10".to_owned(), 0.25)]),
        device: Some("cpu".to_owned()),
        candidates: Vec::new(),
    };
    TargetRecord {
        label: label.to_owned(),
        rule: "sql".to_owned(),
        outcome,
        reason: Some("first build".to_owned()),
        started: 1_000_000,
        ended: 3_500_000,
        artifact: Some(digest),
        actions: vec![action],
    }
}

fn up_to_date(label: &str) -> TargetRecord {
    TargetRecord {
        actions: Vec::new(),
        reason: None,
        ..target(label, Outcome::UpToDate, &[], "model", 0)
    }
}

/// raw -> data:a -> features:train -> model:recs; data:a -> report:recs.
fn record_a_build(lineage: &mut Lineage, at: Micros) -> RunId {
    let mut run = lineage.begin_run(start(at));
    run.target(target("data:a", Outcome::Built, &["raw"], "a", 10));
    run.target(target(
        "features:train",
        Outcome::Built,
        &["a"],
        "train",
        20,
    ));
    for epoch in 1..=2 {
        run.epoch(EpochRecord {
            label: "model:recs".to_owned(),
            epoch,
            at: at + i64::from(epoch),
            metrics: BTreeMap::from([("valid_hit_rate@10".to_owned(), f64::from(epoch) / 10.0)]),
        });
    }
    let mut model = target("model:recs", Outcome::Built, &["train"], "model", 30);
    model.actions[0].candidates = vec![CandidateRecord {
        point: "model:recs@dim=32".to_owned(),
        metric: "ndcg@10".to_owned(),
        value: 0.25,
        picked: true,
    }];
    run.target(model);
    run.target(target(
        "report:recs",
        Outcome::Built,
        &["a", "model"],
        "report",
        40,
    ));
    run.end(RunStatus::Done, at + 5_000_000).unwrap()
}

fn cells(lineage: &Lineage, sql: &str) -> Vec<Vec<Cell>> {
    lineage.query(sql).unwrap().rows
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

#[test]
fn a_run_reads_back_through_the_views() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    record_a_build(&mut lineage, 1_700_000_000_000_000);
    assert_eq!(
        cells(
            &lineage,
            "select run, status, started, seconds, command from runs"
        ),
        [[
            Cell::Int(1),
            text("done"),
            text("2023-11-14T22:13:20.000Z"),
            Cell::Float(5.0),
            text("build model:recs"),
        ]]
    );
    assert_eq!(
        cells(
            &lineage,
            "select outcome, seconds from targets where label = 'data:a'"
        ),
        [[text("built"), Cell::Float(2.5)]]
    );
    let count = |view: &str| cells(&lineage, &format!("select count(*) from {view}"))[0][0].clone();
    let views = [
        "tools",
        "actions",
        "artifacts",
        "columns",
        "edges",
        "parameters",
        "metrics",
        "epochs",
    ];
    let counts = views.map(count);
    assert_eq!(counts, [1, 4, 4, 4, 5, 4, 4, 2].map(Cell::Int));
}

#[test]
fn every_query_of_the_specification_runs_and_finds_something() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    record_a_build(&mut lineage, 0);
    let mut run = lineage.begin_run(start(10));
    let mut changed = target("features:train", Outcome::Built, &["a"], "train 2", 20);
    let output = changed.actions[0].output.as_mut().unwrap();
    output.columns[0].digest = Digest::of(b"other");
    run.target(changed);
    run.end(RunStatus::Done, 20).unwrap();

    let blocks: Vec<_> = SPEC
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 12);
    for sql in blocks {
        assert!(!lineage.query(sql).unwrap().rows.is_empty(), "{sql}");
    }
}

#[test]
fn the_views_have_the_documented_columns() {
    let (_dir, path) = database();
    let lineage = Lineage::open(&path).unwrap();
    let views = cells(
        &lineage,
        "select name from sqlite_schema where type = 'view' order by name",
    );
    for row in &views {
        let [Cell::Text(view)] = row.as_slice() else {
            panic!("a name")
        };
        let columns = lineage
            .query(&format!("select * from {view}"))
            .unwrap()
            .columns;
        let line = SPEC
            .lines()
            .find(|line| line.starts_with(&format!("| `{view}` |")))
            .unwrap_or_else(|| panic!("`{view}` is documented"));
        // Names in parentheses are values.
        let mut documented = String::new();
        let mut depth = 0;
        for c in line.split('|').nth(2).unwrap().chars() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                c if depth == 0 && !matches!(c, '`' | ' ') => documented.push(c),
                _ => {}
            }
        }
        assert_eq!(documented, columns.join(","), "{view}");
    }
    assert_eq!(views.len(), 14);
}

#[test]
fn experiments_are_models_that_were_made_and_the_choice_marks_one() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    let mut run = lineage.begin_run(start(0));
    run.target(target(
        "features:train",
        Outcome::Built,
        &["a"],
        "train",
        20,
    ));
    for (point, output) in [("dim=32", "small"), ("dim=64", "large")] {
        let label = format!("model:recs@{point}");
        run.target(target(&label, Outcome::Built, &["train"], output, 30));
    }
    let mut pick = target(
        "model:recs",
        Outcome::Built,
        &["small", "large"],
        "large",
        0,
    );
    pick.rule = "pick".to_owned();
    let candidate = |point: &str, picked| CandidateRecord {
        point: format!("model:recs@{point}"),
        metric: "ndcg@10".to_owned(),
        value: 0.25,
        picked,
    };
    pick.actions[0].candidates = vec![candidate("dim=32", false), candidate("dim=64", true)];
    run.target(pick);
    run.target(up_to_date("model:old"));
    run.epoch(EpochRecord {
        label: "model:recs@dim=64".to_owned(),
        epoch: 7,
        at: 1,
        metrics: BTreeMap::from([("loss".to_owned(), 0.5)]),
    });
    run.end(RunStatus::Done, 10).unwrap();
    let mut run = lineage.begin_run(start(20));
    let mut failed = target("model:recs@dim=32", Outcome::Failed, &[], "", 0);
    (failed.artifact, failed.actions) = (None, Vec::new());
    run.target(failed);
    run.end(RunStatus::Failed, 30).unwrap();

    let experiments = lineage.experiments().unwrap();
    let short = |e: &Experiment| {
        (
            e.run.number(),
            e.point.clone().unwrap(),
            e.outcome.clone(),
            e.picked,
        )
    };
    let short: Vec<_> = experiments.iter().map(short).collect();
    let row = |run, point: &str, outcome: &str, picked| {
        (run, point.to_owned(), outcome.to_owned(), picked)
    };
    assert_eq!(
        short,
        [
            row(2, "dim=32", "failed", false),
            row(1, "dim=32", "built", false),
            row(1, "dim=64", "built", true),
        ]
    );
    let picked = &experiments[2];
    assert_eq!(picked.model, "model:recs");
    assert_eq!(picked.parameters["lr"], "0.001");
    assert_eq!(picked.metrics["ndcg@10"], 0.25);
    assert_eq!(
        picked.inputs["input train"],
        Digest::of(b"train").to_string()
    );
    assert_eq!(picked.curve_end["loss"], (7, 0.5));
    let who = (
        picked.user.as_deref(),
        picked.host.as_deref(),
        picked.device.as_deref(),
    );
    assert_eq!(who, (Some("anna"), Some("laptop"), Some("cpu")));
    assert!(experiments[0].parameters.is_empty() && experiments[0].artifact.is_none());
}

#[test]
fn a_null_build_is_one_transaction() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    // SQLite counts commits that changed something in bytes 24..28 of the file.
    let changes = || u32::from_be_bytes(fs::read(&path).unwrap()[24..28].try_into().unwrap());
    let before = changes();
    let mut run = lineage.begin_run(start(0));
    for label in ["data:a", "data:b", "model:recs"] {
        run.target(up_to_date(label));
    }
    assert_eq!(changes(), before);
    run.end(RunStatus::Done, 1).unwrap();
    assert_eq!(changes(), before + 1);
    let runs = lineage.last_runs(1).unwrap();
    assert_eq!(
        runs[0].outcomes,
        BTreeMap::from([("up_to_date".to_owned(), 3)])
    );
}

#[test]
fn a_query_that_would_write_is_refused() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    record_a_build(&mut lineage, 0);
    let aside = path.with_extension("copy");
    for sql in [
        "delete from run",
        "update target set outcome = 'built'",
        "drop view runs",
        "pragma user_version = 9",
        "insert into run (command) values ('x') returning id",
        &format!("vacuum into '{}'", aside.display()),
        "select 1; delete from run",
        "select 1; select 2",
        "attach 'other.db' as other",
        " -- nothing",
        "",
    ] {
        assert_eq!(lineage.query(sql), Err(LineageError::NotAQuery), "{sql}");
    }
    assert!(!aside.exists());
    assert_eq!(lineage.last_runs(9).unwrap().len(), 1);
}

#[test]
fn a_wrong_query_says_what_sqlite_says_and_where() {
    let (_dir, path) = database();
    let lineage = Lineage::open(&path).unwrap();
    let error = lineage.query("select lable from targets").unwrap_err();
    let LineageError::Query { message, offset } = error else {
        panic!("{error}")
    };
    assert_eq!(
        (message.as_str(), offset),
        ("no such column: lable", Some(7))
    );
    assert!(matches!(
        lineage.query("selec"),
        Err(LineageError::Query { .. })
    ));
}

#[test]
fn a_run_that_ended_without_a_word_is_interrupted() {
    let (_dir, path) = database();
    let status = |lineage: &Lineage| {
        let runs = lineage.last_runs(9).unwrap();
        runs.iter().map(|run| run.status).collect::<Vec<_>>()
    };
    let mut lineage = Lineage::open(&path).unwrap();
    let mut run = lineage.begin_run(start(0));
    run.target(target("data:a", Outcome::Built, &[], "a", 1));
    drop(run);
    assert_eq!(status(&lineage), [RunStatus::Interrupted]);

    // A killed process drops nothing.
    let mut run = lineage.begin_run(start(1));
    run.target(target("data:a", Outcome::Built, &[], "a", 1));
    assert!(run.presses());
    run.write_waiting().unwrap();
    assert!(!run.presses());
    std::mem::forget(run);
    assert_eq!(
        status(&lineage),
        [RunStatus::Running, RunStatus::Interrupted]
    );
    record_a_build(&mut lineage, 2);
    let (done, interrupted) = (RunStatus::Done, RunStatus::Interrupted);
    assert_eq!(status(&lineage), [done, interrupted, interrupted]);
}

#[test]
fn the_walk_meets_each_artifact_once() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    record_a_build(&mut lineage, 0);
    record_a_build(&mut lineage, 9);
    let labels = |label: &str, direction| {
        let artifact = lineage.last_artifact(label).unwrap().unwrap();
        let steps = lineage.walk(&artifact, direction).unwrap();
        let name = |step: Step| (step.depth, step.label.or(step.input).unwrap());
        steps.into_iter().map(name).collect::<Vec<_>>()
    };
    let expect = |steps: &[(u32, &str)]| {
        steps
            .iter()
            .map(|(depth, name)| (*depth, (*name).to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        labels("report:recs", Direction::Upstream),
        expect(&[
            (0, "report:recs"),
            (1, "data:a"),
            (2, "input raw"),
            (1, "model:recs"),
            (2, "features:train"),
        ])
    );
    assert_eq!(
        labels("data:a", Direction::Downstream),
        expect(&[
            (0, "data:a"),
            (1, "features:train"),
            (2, "model:recs"),
            (3, "report:recs")
        ])
    );
    let raw = lineage
        .walk(&Digest::of(b"raw"), Direction::Upstream)
        .unwrap();
    assert_eq!((raw.len(), &raw[0].label), (1, &None), "a source");
}

#[test]
fn a_target_that_copies_another_does_not_hide_its_inputs() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    let mut run = lineage.begin_run(start(0));
    run.target(target("data:a", Outcome::Built, &["raw"], "same", 1));
    run.target(target("data:b", Outcome::Built, &["same"], "same", 1));
    run.end(RunStatus::Done, 1).unwrap();
    let same = lineage.last_artifact("data:b").unwrap().unwrap();
    let steps = lineage.walk(&same, Direction::Upstream).unwrap();
    let artifacts: Vec<_> = steps.iter().map(|step| step.artifact).collect();
    assert_eq!(artifacts, [same, Digest::of(b"raw")]);
}

#[test]
fn durations_are_medians_of_the_last_builds() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    for micros in [9000, 9000, 1, 50, 2, 40, 30] {
        let mut run = lineage.begin_run(start(0));
        run.target(target("data:a", Outcome::Built, &[], "a", micros));
        run.target(target("data:b", Outcome::Restored, &[], "b", micros));
        run.end(RunStatus::Done, 0).unwrap();
    }
    let durations = lineage
        .durations(&["data:a", "data:b", "data:c"], None)
        .unwrap();
    let expected = BTreeMap::from([("data:a".to_owned(), Duration::from_micros(30))]);
    assert_eq!(durations, expected);
}

#[test]
fn two_writers_wait_for_each_other() {
    let (_dir, path) = database();
    Lineage::open(&path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut lineage = Lineage::open(&path).unwrap();
                for at in 0..5 {
                    record_a_build(&mut lineage, at);
                }
            });
        }
    });
    let lineage = Lineage::open(&path).unwrap();
    assert_eq!(lineage.last_runs(100).unwrap().len(), 20);
}

#[test]
fn reading_an_absent_database_makes_none() {
    let (_dir, path) = database();
    assert!(Lineage::open_read_only(&path).unwrap().is_none());
    assert!(!path.exists());
    drop(Lineage::open(&path).unwrap());
    let mut reader = Lineage::open_read_only(&path).unwrap().unwrap();
    let run = reader.begin_run(start(0));
    assert!(matches!(
        run.end(RunStatus::Done, 1),
        Err(LineageError::ReadOnly { .. })
    ));
}

#[test]
fn foreign_newer_and_damaged_files_are_told_apart_and_left_alone() {
    let (dir, _) = database();
    let file = |name: &str| dir.path().join(name);
    fs::write(
        file("text"),
        "not a database, but long enough to be looked at as one: ".repeat(20),
    )
    .unwrap();
    Connection::open(file("foreign"))
        .unwrap()
        .execute_batch("create table t (x)")
        .unwrap();
    drop(Lineage::open(&file("newer")).unwrap());
    Connection::open(file("newer"))
        .unwrap()
        .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
        .unwrap();
    for (name, newer) in [("text", false), ("foreign", false), ("newer", true)] {
        let before = fs::read(file(name)).unwrap();
        for error in [
            Lineage::open(&file(name)).unwrap_err(),
            Lineage::open_read_only(&file(name)).unwrap_err(),
        ] {
            let path = file(name);
            let expected = if newer {
                LineageError::NewerVersion {
                    path,
                    found: SCHEMA_VERSION + 1,
                }
            } else {
                LineageError::NotLineage { path }
            };
            assert_eq!(error, expected);
        }
        assert_eq!(fs::read(file(name)).unwrap(), before);
    }
}

#[test]
fn a_damaged_database_says_so_and_stays() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    record_a_build(&mut lineage, 0);
    let found = cells(
        &lineage,
        "select rootpage from sqlite_schema where name = 'run'",
    );
    let [Cell::Int(page)] = found[0][..] else {
        panic!("a page")
    };
    drop(lineage);
    let mut bytes = fs::read(&path).unwrap();
    let page = usize::try_from(page).unwrap();
    bytes[(page - 1) * 4096..page * 4096].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let lineage = Lineage::open(&path).unwrap();
    for error in [
        lineage
            .query("select * from runs, targets, edges")
            .unwrap_err(),
        lineage.last_runs(1).unwrap_err(),
    ] {
        assert!(matches!(error, LineageError::Damaged { .. }), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_migration_keeps_a_copy_of_what_was() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    record_a_build(&mut lineage, 0);
    let more = ["alter table run add column machine text"];
    let newer = [schema::MIGRATIONS, &more].concat();
    schema::prepare(&mut lineage.connection, &path, &newer).unwrap();
    let version: u32 = lineage
        .connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, SCHEMA_VERSION + 1);
    let mut copy = path.into_os_string();
    copy.push(format!(".v{SCHEMA_VERSION}"));
    let copy = Lineage::open_read_only(Path::new(&copy)).unwrap().unwrap();
    assert_eq!(copy.last_runs(9).unwrap().len(), 1);
}

#[test]
fn a_change_that_a_crash_left_half_made_is_undone_by_who_reads() {
    let (dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    record_a_build(&mut lineage, 0);
    // More than fits into memory, so that some of it is in the file before it is committed.
    let connection = &mut lineage.connection;
    connection.pragma_update(None, "cache_size", 1).unwrap();
    connection.execute_batch("begin immediate").unwrap();
    let insert = "insert into run (command, selection, started) values (?, '', 9)";
    for _ in 0..200 {
        connection.execute(insert, ["long ".repeat(100)]).unwrap();
    }
    let left = dir.path().join("left.db");
    fs::copy(&path, &left).unwrap();
    let journal = |path: &Path| schema::with_end(path, "-journal");
    fs::copy(journal(&path), journal(&left)).unwrap();
    assert_ne!(fs::metadata(&left).unwrap().len(), 0);

    assert_eq!(Lineage::check(&left), [""; 0]);
    assert!(!journal(&left).exists());
    let left = Lineage::open_read_only(&left).unwrap().unwrap();
    assert_eq!(cells(&left, "select count(*) from runs"), [[Cell::Int(1)]]);
}

#[test]
fn half_a_copy_that_a_crash_left_is_made_again_before_a_migration() {
    let (dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    record_a_build(&mut lineage, 0);
    let copy = schema::with_end(&path, &format!(".v{SCHEMA_VERSION}"));
    let whole = fs::read(&path).unwrap();
    fs::write(&copy, &whole[..whole.len() / 2]).unwrap();
    fs::write(schema::with_end(&copy, ".new"), "half").unwrap();

    let recording = mlbuild_disk::record(dir.path());
    let newer = [
        schema::MIGRATIONS,
        &["alter table run add column machine text"],
    ]
    .concat();
    schema::prepare(&mut lineage.connection, &path, &newer).unwrap();
    let copied = Lineage::open_read_only(&copy).unwrap().unwrap();
    assert_eq!(copied.last_runs(9).unwrap().len(), 1);

    use mlbuild_disk::Recorded::{Rename, Sync, SyncFolder};
    let steps = recording.finish().into_iter();
    let steps: Vec<&str> = steps
        .filter_map(|step| match step {
            Sync { .. } => Some("sync"),
            Rename { .. } => Some("rename"),
            SyncFolder { .. } => Some("sync folder"),
            _ => None,
        })
        .collect();
    assert_eq!(steps, ["sync", "rename", "sync folder"], "the copy lasts");
}

#[test]
fn a_database_of_the_first_schema_gains_column_edges() {
    let (_dir, path) = database();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut old = Connection::open(&path).unwrap();
    schema::prepare(&mut old, &path, &schema::MIGRATIONS[..1]).unwrap();
    old.execute(
        "insert into run (command, selection, started) values ('build', '', 1)",
        [],
    )
    .unwrap();
    drop(old);
    let mut lineage = Lineage::open(&path).unwrap();
    record_a_build(&mut lineage, 5);
    assert_eq!(
        cells(&lineage, "select count(*) from runs"),
        [[Cell::Int(2)]]
    );
    let edge =
        "select input, from_column, to_column, kind from column_edges where label = 'data:a'";
    assert_eq!(
        cells(&lineage, edge),
        [[
            text("input raw"),
            text("user_id"),
            text("user_id"),
            text("value")
        ]]
    );
}

#[test]
fn a_database_of_the_second_schema_is_read_as_it_is_and_gains_profiles_when_it_is_written() {
    let (_dir, path) = database();
    let mut before = Lineage::open(&path).unwrap();
    record_a_build(&mut before, 0);
    drop(before);
    // As the second schema had it.
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "drop view given_parameters; drop table given; drop view experiments; drop view picks; drop table candidate; \
         drop view runs; alter table run drop column profile; alter table run drop column user; \
         alter table run drop column host; create view runs as select id as run, command from run; \
         drop view actions; alter table action drop column device; \
         create view actions as select id as action, key from action; pragma user_version = 2",
    )
    .unwrap();
    drop(old);

    let lineage = Lineage::open_read_only(&path).unwrap().unwrap();
    assert_eq!(lineage.version, 2);
    let knows = |lineage: &Lineage, profile| {
        let label = ["data:a"];
        (
            lineage.durations(&label, profile).unwrap().len(),
            lineage.sizes(&label, profile).unwrap().len(),
            lineage.last_rebuild("data:a", profile).unwrap().is_some(),
        )
    };
    assert_eq!(knows(&lineage, None), (1, 1, true));
    assert_eq!(knows(&lineage, Some("small")), (0, 0, false));
    assert!(!lineage.recent_keys(1).unwrap().is_empty());
    drop(lineage);

    let mut lineage = Lineage::open(&path).unwrap();
    let mut run = lineage.begin_run(start_small(5));
    run.target(target("data:a", Outcome::Built, &[], "small", 7));
    run.end(RunStatus::Done, 6).unwrap();
    assert_eq!(knows(&lineage, None), (1, 1, true));
    assert_eq!(knows(&lineage, Some("small")), (1, 1, true));
    assert_eq!(
        cells(&lineage, "select run, profile from runs order by run"),
        [[Cell::Int(1), Cell::Null], [Cell::Int(2), text("small")]]
    );
    assert_eq!(
        cells(
            &lineage,
            "select run, label, name, value from given_parameters"
        ),
        [[Cell::Int(2), text("model:recs"), text("epochs"), text("3")]]
    );
    let copy = schema::with_end(&path, ".v2");
    assert_eq!(Lineage::open_read_only(&copy).unwrap().unwrap().version, 2);
}

#[test]
fn what_is_known_of_a_target_is_known_by_profile() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    for (at, start, output, micros) in [
        (1, start(1), "full", 900),
        (2, start_small(2), "small", 10),
        (3, start_small(3), "smaller", 10),
    ] {
        let mut run = lineage.begin_run(start);
        let mut target = target("data:a", Outcome::Built, &[], output, micros);
        let key = [("label".to_owned(), output.to_owned())].into();
        target.actions[0].key = Description::from_parts(key).key();
        run.target(target);
        run.end(RunStatus::Done, at).unwrap();
    }
    let micros = |profile| lineage.durations(&["data:a"], profile).unwrap()["data:a"].as_micros();
    assert_eq!((micros(None), micros(Some("small"))), (900, 10));
    let run = |profile| {
        lineage
            .last_rebuild("data:a", profile)
            .unwrap()
            .unwrap()
            .run
    };
    assert_eq!((run(None), run(Some("small"))), (RunId(1), RunId(3)));
    // One state of each: what is built often under one profile does not push out the other's.
    assert_eq!(lineage.recent_keys(1).unwrap().len(), 2);
}

#[test]
fn a_failed_migration_changes_nothing() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    let more = ["alter table run add column machine text; nonsense"];
    let broken = [schema::MIGRATIONS, &more].concat();
    schema::prepare(&mut lineage.connection, &path, &broken).unwrap_err();
    drop(lineage);
    let lineage = Lineage::open(&path).unwrap();
    let columns = lineage.query("select * from run").unwrap().columns;
    assert!(!columns.contains(&"machine".to_owned()));
}

/// A published schema never changes: a change is a migration of its own.
#[test]
fn the_schemas_do_not_move() {
    let digests = schema::MIGRATIONS
        .iter()
        .map(|sql| Digest::of(sql.as_bytes()).to_string());
    assert_eq!(
        digests.collect::<Vec<_>>(),
        [
            "95ab6d3b4da13eba9d80764cb148fa7c37a835814ac93df3af91357e334148ca",
            "d668c1b2c251d3718b8cd3a44d576df8e7761e711133cd1a7a366a140ef20e2b",
            "0966c9705f2a91c42c861524dfd27074bd5429effcbc06dfbf897aa4feb02f46",
        ]
    );
}

#[test]
fn a_check_finds_damage_broken_references_and_foreign_files() {
    let (_dir, path) = database();
    assert_eq!(Lineage::check(&path), [""; 0], "there is none");
    let mut lineage = Lineage::open(&path).unwrap();
    let mut run = lineage.begin_run(start(1));
    run.target(target("data:a", Outcome::Built, &[], "a", 1));
    run.end(RunStatus::Done, 2).unwrap();
    drop(lineage);
    assert_eq!(Lineage::check(&path), [""; 0]);

    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("pragma foreign_keys = off; delete from target;")
        .unwrap();
    drop(raw);
    let expected = "1 rows of `action` name a row of `target` that is not there";
    assert_eq!(Lineage::check(&path), [expected]);

    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    assert!(!Lineage::check(&path).is_empty());
    fs::write(&path, "no database at all, just a text that is long enough").unwrap();
    assert_eq!(Lineage::check(&path).len(), 1);
}

#[test]
fn recent_states_are_counted_by_what_they_hold_and_not_by_runs() {
    let (_dir, path) = database();
    let mut lineage = Lineage::open(&path).unwrap();
    // The key of an action is made of its label here, so a state is told by the label of its only action.
    let states = ["one", "two", "one", "three", "failed", "three"];
    for (i, state) in states.into_iter().enumerate() {
        let outcome = match state {
            "failed" => Outcome::Failed,
            _ => Outcome::Built,
        };
        let mut record = target(state, outcome, &[], state, 1);
        record.label = "data:a".to_owned();
        let mut run = lineage.begin_run(start(i as Micros));
        run.target(record);
        run.end(RunStatus::Done, 2).unwrap();
    }
    let key = |label: &str| {
        Description::from_parts([("label".to_owned(), label.to_owned())].into()).key()
    };
    assert_eq!(lineage.recent_keys(0).unwrap(), [].into());
    assert_eq!(lineage.recent_keys(1).unwrap(), [key("three")].into());
    assert_eq!(
        lineage.recent_keys(2).unwrap(),
        [key("three"), key("one")].into()
    );
    let all = [key("one"), key("two"), key("three")];
    assert_eq!(lineage.recent_keys(9).unwrap(), all.into());
    let maker = &lineage.makers().unwrap()[&key("one")];
    assert_eq!((&*maker.label, maker.run), ("data:a", RunId(3)));
}
