//! Checkpoints: what an interrupted training left is there for the next attempt and for nobody else, and goes with success.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::fsck::assert_sound;
use crate::project::{Project, Ran};

/// A training that keeps how often it was begun.
fn fit(script: &str) -> Project {
    let manifest = "[model.fit]\ncommand = \"sh {src}/fit.sh {out}\"\nsrcs = [\"fit.sh\"]\n";
    Project::new(manifest).file("fit.sh", script)
}

/// It stops as soon as it has begun, and goes on the next time.
const STOPS_ONCE: &str = r#"
state="$MLBUILD_CHECKPOINTS/state"
if test -f "$state"; then
    echo "$(cat "$state"), went on" > "$1/model"
else
    echo "began" > "$state"
    exit 1
fi
"#;

/// It says what it finds, and leaves something.
const LOOKS: &str = r#"
ls "$MLBUILD_CHECKPOINTS" > "$1/model"
echo "left" > "$MLBUILD_CHECKPOINTS/state"
"#;

/// The folders for checkpoints that are there.
fn left(project: &Project) -> Vec<PathBuf> {
    let folder = project.root().join(".mlbuild/cache/checkpoints");
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Makes what is left of a training this much older.
fn age(project: &Project, by: Duration) {
    for folder in left(project) {
        for entry in fs::read_dir(&folder).unwrap() {
            let file = fs::File::options()
                .write(true)
                .open(entry.unwrap().path())
                .unwrap();
            file.set_modified(SystemTime::now() - by).unwrap();
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_training_that_stopped_goes_on_from_its_checkpoint_which_goes_when_it_is_done() {
    let project = fit(STOPS_ONCE);
    project.try_build(&[]).failed(&["model:fit"]);
    assert_eq!(left(&project).len(), 1);
    assert_sound(&project);
    project.build(&[]).built(&["model:fit"]);
    assert_eq!(project.read("out/model/fit/model"), "began, went on\n");
    assert!(left(&project).is_empty());
    project.build(&[]).built(&[]);
}

#[test]
fn a_changed_training_begins_anew() {
    let project = fit(STOPS_ONCE);
    project.try_build(&[]).failed(&["model:fit"]);
    project.write("fit.sh", format!("{STOPS_ONCE}\n# another\n"));
    project.try_build(&[]).failed(&["model:fit"]);
    assert_eq!(left(&project).len(), 2);
    // Whoever goes back goes on where that one stopped.
    project.write("fit.sh", STOPS_ONCE);
    project.build(&[]).built(&["model:fit"]);
    assert_eq!(left(&project).len(), 1);
}

#[test]
fn force_begins_anew_and_so_does_verify() {
    let project = fit(STOPS_ONCE);
    project.try_build(&[]).failed(&["model:fit"]);
    project
        .try_build(&["--force", "model:fit"])
        .failed(&["model:fit"]);
    project.build(&[]);

    let project = fit(LOOKS);
    project.build(&[]);
    assert_eq!(project.read("out/model/fit/model"), "");
    project.build(&["--force", "model:fit"]);
    assert_eq!(project.read("out/model/fit/model"), "");
    let ran = project.run(&["verify", "model:fit"]);
    assert_eq!(ran.exit, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(left(&project).is_empty());
}

#[test]
fn who_keeps_no_checkpoint_leaves_no_folder() {
    let project = Project::new(
        "[data.words]\ncommand = \"echo one > {out}/words\"\n\n[model.fit]\ncommand = \"echo > {out}/model; exit 1\"\n",
    );
    project.run(&["build", "-k"]);
    assert!(left(&project).is_empty());
    let cache = project.root().join(".mlbuild/cache");
    let project = Project::new(
        "[data.words]\ncommand = \"test -z \\\"${MLBUILD_CHECKPOINTS-}\\\" && echo one > {out}/words\"\n",
    );
    project.build(&[]).built(&["data:words"]);
    assert!(cache.join("checkpoints").exists(), "a model may want it");
    assert!(!project.has(".mlbuild/cache/checkpoints"));
}

#[track_caller]
fn run(project: &Project, arguments: &[&str]) -> Ran {
    let ran = project.run(arguments);
    assert_eq!(ran.exit, Some(0), "{}{}", ran.stdout, ran.stderr);
    ran
}

#[test]
fn a_collection_leaves_what_the_next_build_goes_on_from_and_names_what_it_takes() {
    let project = fit(STOPS_ONCE);
    project.try_build(&[]).failed(&["model:fit"]);
    age(&project, 30 * DAY);
    run(&project, &["gc", "--grace", "1ms"]);
    assert_eq!(left(&project).len(), 1, "the next build goes on from it");
    let stats = run(&project, &["cache", "stats"]).stdout;
    let line = stats.lines().find(|line| line.starts_with("checkpoints"));
    assert!(line.is_some_and(|line| line.ends_with("1 file")), "{stats}");

    project.write("fit.sh", format!("{STOPS_ONCE}\n# another\n"));
    age(&project, 6 * DAY);
    run(&project, &["gc", "--grace", "1ms"]);
    assert_eq!(
        left(&project).len(),
        1,
        "one may come back to it for a week"
    );
    age(&project, 8 * DAY);
    let dry = run(&project, &["gc", "--dry-run"]).stdout;
    assert_eq!(left(&project).len(), 1);
    let json = run(&project, &["gc", "--dry-run", "--json"]).stdout;
    let line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    let expected = serde_json::json!({
        "event": "leaving_checkpoint", "target": "model:fit", "epochs": null, "bytes": 6,
    });
    assert_eq!(line, expected);
    let wet = run(&project, &["gc"]).stdout;
    for said in [dry, wet] {
        assert!(
            said.starts_with("model:fit, checkpoint  6 B\n6 B "),
            "{said}"
        );
    }
    assert!(left(&project).is_empty());
}

#[test]
fn cleaning_takes_checkpoints_and_leaves_pins() {
    let project = fit(STOPS_ONCE);
    project.try_build(&[]).failed(&["model:fit"]);
    project.write("data/one.sql", "select 1 as one");
    project.build(&["data:one"]);
    run(&project, &["pin", "data:one"]);
    run(&project, &["clean", "--cache"]);
    assert!(left(&project).is_empty());
    project.build(&["data:one"]).built(&[]);
}
