//! The check of everything that a project keeps: finds every damage, and leaves what the next build heals.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::gc::files;
use crate::project::{Project, Ran};

/// The problems that a check finds, with its exit status.
fn problems(project: &Project, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let ran = project.run(&[&["fsck", "--json"], arguments].concat());
    let lines = ran.stdout.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let problems = lines.into_iter().filter(|line| line["event"] == "problem");
    (ran.exit, problems.collect())
}

#[track_caller]
pub(crate) fn assert_sound(project: &Project) {
    let ran = project.run(&["fsck"]);
    assert_eq!(ran.exit, Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// All files in a folder of the cache.
fn in_cache(project: &Project, folder: &str) -> Vec<PathBuf> {
    let found = files(&project.root().join(".mlbuild/cache").join(folder));
    found.into_iter().map(|(path, _)| path.into()).collect()
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    overwrite(path, &bytes);
}

#[test]
fn a_project_is_sound_before_and_after_builds() {
    let project = Project::sums();
    assert_sound(&project);
    assert!(!project.has(".mlbuild"), "a check makes no cache");
    project.build(&[]);
    let before = files(&project.root().join(".mlbuild/cache"));
    let ran = project.run(&["fsck"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stdout);
    assert!(ran.stdout.contains("all is well"), "{}", ran.stdout);
    let but_lock = |files: Vec<(String, Vec<u8>)>| {
        let others = files
            .into_iter()
            .filter(|(path, _)| !path.ends_with("/lock"));
        others.collect::<Vec<_>>()
    };
    let after = files(&project.root().join(".mlbuild/cache"));
    assert_eq!(but_lock(after), but_lock(before), "a check changes nothing");
}

type Damage = fn(&Path);

#[test]
fn every_damage_is_found_repaired_and_healed_by_the_next_build() {
    let folders = [
        "objects",
        "results",
        "listings",
        "memos",
        "last",
        "stat-index",
    ];
    // The unit tests of the cache damage every file in every way; here it is a build that heals.
    let damages: [(&str, Damage); 2] =
        [("flipped", flip), ("emptied", |path| overwrite(path, b""))];
    for (name, damage) in damages {
        let project = Project::sums();
        project.build(&[]);
        for folder in folders {
            let mut all = in_cache(&project, folder);
            if folder == "stat-index" {
                all = vec![project.root().join(".mlbuild/cache/stat-index")];
            }
            assert!(!all.is_empty(), "{folder}");
            for path in &all {
                damage(path);
            }
            let (exit, found) = problems(&project, &[]);
            assert_eq!(exit, Some(1), "{name} {folder}");
            assert!(found.len() >= all.len(), "{name} {folder}: {found:#?}");
            let (exit, repaired) = problems(&project, &["--repair"]);
            assert_eq!(exit, Some(1), "{name} {folder}");
            assert_eq!(repaired.len(), found.len());
            assert!(
                repaired.iter().all(|problem| problem["repaired"] == true),
                "{name} {folder}: {repaired:#?}"
            );
            assert_sound(&project);
            project.build(&[]);
            assert_sound(&project);
            project.build(&[]).built(&[]).restored(&[]);
        }
        project.assert_same_as_clean_build(&[]);
    }
}

#[test]
fn a_damaged_object_says_whose_it_was_and_what_it_costs() {
    let project = Project::sums();
    project.build(&[]);
    let objects = in_cache(&project, "objects");
    flip(&objects[0]);
    let Ran { stdout, .. } = project.run(&["fsck"]);
    assert!(stdout.contains(", run 1 ("), "{stdout}");
    assert!(stdout.contains(" to make"), "{stdout}");
    assert!(stdout.contains("mlbuild fsck --repair"), "{stdout}");
}

#[test]
fn a_version_file_that_is_none_is_repaired() {
    let project = Project::sums();
    project.build(&[]);
    project.write(".mlbuild/cache/version", "mine!");
    assert_eq!(project.run(&["build"]).exit, Some(3));
    let (exit, found) = problems(&project, &["--repair"]);
    assert_eq!(
        (exit, found[0]["part"].as_str()),
        (Some(1), Some("version"))
    );
    project.build(&[]).built(&[]);
    project.write(".mlbuild/cache/version", "2\n");
    let newer = project.run(&["fsck", "--repair"]);
    assert_eq!(newer.exit, Some(3), "{}", newer.stdout);
    assert_eq!(project.read(".mlbuild/cache/version"), "2\n");
}

#[test]
fn a_damaged_lineage_database_is_said_and_left_alone() {
    let project = Project::sums();
    project.build(&[]);
    let whole = fs::read(project.root().join(".mlbuild/lineage.db")).unwrap();
    project.write(".mlbuild/lineage.db", "no database");
    let ran = project.run(&["fsck", "--repair"]);
    assert_eq!(ran.exit, Some(1), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("is not a lineage database"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("there is no earlier copy"),
        "{}",
        ran.stdout
    );
    assert_eq!(project.read(".mlbuild/lineage.db"), "no database");
    project.write(".mlbuild/lineage.db.v1", &whole[..whole.len() / 2]);
    let ran = project.run(&["fsck"]);
    assert!(ran.stdout.contains("no earlier copy"), "{}", ran.stdout);
    project.write(".mlbuild/lineage.db.v1", whole);
    let ran = project.run(&["fsck"]);
    assert!(
        ran.stdout.contains("`.mlbuild/lineage.db.v1` is a copy"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_journal_is_moved_away_with_its_database() {
    let project = Project::sums();
    project.build(&[]);
    project.write(".mlbuild/lineage.db", "no database");
    assert!(!project.run(&["fsck"]).stdout.contains("journal"));
    // One that begins with a zero is not played back, and so stays.
    project.write(".mlbuild/lineage.db-journal", "\0half a change");
    let ran = project.run(&["fsck"]);
    let says = "move `.mlbuild/lineage.db` and `.mlbuild/lineage.db-journal` away";
    assert!(ran.stdout.contains(says), "{}", ran.stdout);
}

#[test]
fn a_lost_lineage_database_costs_history_alone() {
    let project = Project::sums();
    project.build(&[]);
    fs::remove_file(project.root().join(".mlbuild/lineage.db")).unwrap();
    assert_sound(&project);
    let built = project.build(&[]);
    built.built(&[]).restored(&[]);
    let trouble = |event: &&Value| event["event"] == "trouble";
    assert_eq!(built.events.iter().find(trouble), None);
    let runs = project.run(&["query", "--format", "csv", "select run from runs"]);
    assert_eq!(runs.stdout, "run\n1\n", "a new history has begun");
    assert_eq!(project.run(&["gc", "--grace", "1ms"]).exit, Some(0));
    project.build(&[]).built(&[]).restored(&[]);
}

#[test]
fn a_check_works_where_nothing_declares_targets_any_more() {
    let project = Project::sums();
    project.build(&[]);
    project.write("mlbuild.toml", "not a manifest [");
    assert_sound(&project);
}

#[test]
fn whenever_a_collection_is_killed_the_store_is_sound() {
    let project = Project::sums();
    for round in 0..12_u64 {
        project.write("raw/orders.csv", format!("id,amount,note\n1,{round},a\n"));
        project.build(&[]);
        let mut child = project
            .command(&["gc", "--grace", "1ms", "--keep-last", "0"])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(10 + 3 * round));
        let _ = child.kill();
        child.wait().unwrap();
        assert_sound(&project);
        project.build(&[]).built(&[]).restored(&[]);
    }
    project.assert_same_as_clean_build(&[]);
    project.run(&["gc", "--grace", "1ms", "--keep-last", "0"]);
    let left = in_cache(&project, "tmp");
    assert!(left.is_empty(), "what was killed is swept: {left:?}");
    assert_eq!(in_cache(&project, "objects").len(), 3);
    project.assert_same_as_clean_build(&[]);
}
