//! Garbage collection: what is needed stays, what goes is named, and no interruption leaves less than it should.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::faults::{begin, endless, process_id};
use crate::project::{Project, Ran};

const ALL: [&str; 3] = ["data:orders", "data:page", "data:total"];

/// Orders whose sum is 42 plus `more`.
fn orders(more: u32) -> String {
    format!("id,amount,note\n1,1{more},a\n2,32,b\n")
}

/// A project that was built in `states` states, the last of which stands.
fn with_history(states: u32) -> Project {
    let project = Project::sums();
    for more in 0..states {
        project.write("raw/orders.csv", orders(more));
        project.build(&[]);
    }
    project
}

/// Collects, whatever its age.
#[track_caller]
fn gc(project: &Project, more: &[&str]) -> Ran {
    let arguments: Vec<&str> = [&["gc", "--grace", "1ms"], more].concat();
    let ran = project.run(&arguments);
    assert_eq!(ran.exit, Some(0), "{}{}", ran.stdout, ran.stderr);
    ran
}

#[test]
fn the_project_stays_up_to_date_and_so_far_back_as_was_asked_it_is_restored() {
    let project = with_history(5);
    gc(&project, &["--keep-last", "2"]);
    project.build(&[]).built(&[]).restored(&[]);
    project.write("raw/orders.csv", orders(3));
    project.build(&[]).built(&[]).restored(&ALL);
    project.write("raw/orders.csv", orders(0));
    project.build(&[]).built(&ALL);
    project.assert_same_as_clean_build(&[]);
}

#[test]
fn what_goes_is_named_by_target_and_run() {
    let project = with_history(3);
    let ran = gc(&project, &["--keep-last", "2"]);
    let names: Vec<&str> = ran
        .stdout
        .lines()
        .filter_map(|l| l.split_once("  "))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(
        names[..3],
        [
            "data:orders, run 1 (ingest)",
            "data:page, run 1 (sql)",
            "data:total, run 1 (sql)"
        ],
        "{}",
        ran.stdout
    );
    let ran = gc(&project, &["--keep-last", "1", "--json"]);
    let lines: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["target"], "data:orders");
    assert_eq!(lines[0]["run"], 2);
    let leaving = lines.iter().filter(|line| line["event"] == "leaving");
    let bytes: u64 = leaving.map(|line| line["bytes"].as_u64().unwrap()).sum();
    let summary = lines.last().unwrap();
    assert_eq!(
        summary["freed_bytes"].as_u64().unwrap(),
        bytes + summary["notes_bytes"].as_u64().unwrap()
    );
}

#[test]
fn a_dry_run_changes_no_byte_and_says_what_a_run_says() {
    let project = with_history(4);
    let before = files(&project.root().join(".mlbuild"));
    let dry = gc(&project, &["--dry-run", "--keep-last", "1"]);
    assert_eq!(files(&project.root().join(".mlbuild")), before);
    let wet = gc(&project, &["--keep-last", "1"]);
    // What stays counts the stat index, which grows once sources are no longer young.
    let said = |ran: &Ran| {
        let (removed, stays) = ran.stdout.rsplit_once(", ").unwrap();
        assert!(stays.ends_with(" stay\n"), "{}", ran.stdout);
        removed.replace("would be removed", "removed")
    };
    assert_eq!(said(&dry), said(&wet));
    assert!(files(&project.root().join(".mlbuild")).len() < before.len());
}

#[test]
fn what_is_young_stays() {
    let project = with_history(2);
    let before = files(&project.root().join(".mlbuild/cache/results"));
    project.run(&["gc", "--keep-last", "0"]);
    assert_eq!(
        files(&project.root().join(".mlbuild/cache/results")),
        before
    );
}

#[test]
fn what_lies_behind_a_change_stays_although_its_key_is_not_known_yet() {
    let project = with_history(1);
    project.write("raw/orders.csv", "id,amount,note\n2,32,x\n1,10,y\n");
    gc(&project, &["--keep-last", "0"]);
    project.build(&[]).built(&["data:orders"]);
}

#[test]
fn room_is_made_from_history_alone() {
    let project = with_history(3);
    let ran = project.run(&["gc", "--grace", "1ms", "--max-size", "1KB"]);
    assert_eq!(ran.exit, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("to make room"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("does not fit into 1.0 kB"),
        "{}",
        ran.stderr
    );
    project.build(&[]).built(&[]).restored(&[]);
    project.write("raw/orders.csv", orders(1));
    project.build(&[]).built(&ALL);
}

#[test]
fn a_size_that_is_none_is_refused() {
    let project = with_history(1);
    for arguments in [["gc", "--max-size", "much"], ["gc", "--grace", "long"]] {
        let ran = project.run(&arguments);
        assert_eq!(ran.exit, Some(2), "{}", ran.stderr);
    }
}

#[test]
fn history_that_cannot_be_read_stops_a_collection() {
    let project = with_history(3);
    project.write(".mlbuild/lineage.db", "no database");
    let before = files(&project.root().join(".mlbuild/cache"));
    let ran = project.run(&["gc", "--grace", "1ms", "--keep-last", "0"]);
    assert_eq!(ran.exit, Some(3), "{}", ran.stdout);
    assert!(ran.stderr.contains("nothing was removed"), "{}", ran.stderr);
    let after = files(&project.root().join(".mlbuild/cache"));
    let names =
        |files: &[(String, Vec<u8>)]| files.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
}

#[test]
fn a_collection_waits_for_a_build_and_says_so() {
    let project = endless();
    let mut build = begin(&project, Stdio::null);
    let waiting = project
        .command(&["gc"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    // SAFETY: sends a signal to a child that has not been waited for, so the id is its own.
    assert_eq!(
        unsafe { libc::kill(process_id(build.id()), libc::SIGINT) },
        0
    );
    assert_eq!(build.wait().unwrap().code(), Some(130));
    let ran = project.ran(waiting.wait_with_output().unwrap());
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let says = format!("waiting for `mlbuild build` (process {})", build.id());
    assert!(ran.stderr.contains(&says), "{}", ran.stderr);
}

#[test]
fn a_pin_keeps_a_state_until_it_is_let_go() {
    let project = with_history(1);
    let ran = project.run(&["pin", "data:page", "--name", "first"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert_eq!(project.run(&["pin", "data:total"]).exit, Some(0));
    for more in 1..3 {
        project.write("raw/orders.csv", orders(more));
        project.build(&[]);
    }
    let pins = project.run(&["cache", "pins"]).stdout;
    assert_eq!(pins, "data:total  2 results\nfirst  data:page, 3 results\n");
    gc(&project, &["--keep-last", "0", "--max-size", "1GB"]);
    project.write("raw/orders.csv", orders(0));
    project.build(&[]).built(&[]).restored(&ALL);

    let taken = project.run(&["pin", "data:orders", "--name", "first"]);
    assert_eq!(taken.exit, Some(2), "{}", taken.stdout);
    assert!(
        taken.stderr.contains("holds another state"),
        "{}",
        taken.stderr
    );
    assert_eq!(
        project.run(&["pin", "data:page", "--name", "first"]).exit,
        Some(0),
        "the same again"
    );

    project.write("raw/orders.csv", orders(2));
    project.build(&[]);
    let unknown = project.run(&["unpin", "second"]);
    assert_eq!(unknown.exit, Some(2), "{}", unknown.stdout);
    assert!(unknown.stderr.contains("`first`"), "{}", unknown.stderr);
    for name in ["first", "data:total"] {
        assert_eq!(project.run(&["unpin", name]).exit, Some(0));
    }
    gc(&project, &["--keep-last", "0"]);
    project.write("raw/orders.csv", orders(0));
    project.build(&[]).built(&ALL);
}

#[test]
fn what_is_not_built_cannot_be_pinned() {
    let project = with_history(1);
    project.write("raw/orders.csv", orders(7));
    let ran = project.run(&["pin", "data:page"]);
    assert_eq!(ran.exit, Some(2), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("`data:orders` is not built"),
        "{}",
        ran.stderr
    );
}

#[test]
fn cleaning_leaves_what_is_pinned() {
    let project = with_history(2);
    project.run(&["pin", "data:total"]);
    assert_eq!(project.run(&["clean", "--cache"]).exit, Some(0));
    crate::fsck::assert_sound(&project);
    project.build(&[]).built(&["data:page"]);
    project.assert_same_as_clean_build(&[]);
    assert_eq!(project.run(&["clean", "--all"]).exit, Some(0));
    assert!(!project.has(".mlbuild"));
}

#[test]
fn a_damaged_pin_stops_a_collection_and_a_check_says_so() {
    let project = with_history(1);
    project.run(&["pin", "data:total", "--name", "v1"]);
    project.write(".mlbuild/cache/pins/v2.json", "{}\n");
    let ran = project.run(&["gc", "--grace", "1ms"]);
    assert_eq!(ran.exit, Some(3), "{}", ran.stdout);
    assert!(ran.stderr.contains("nothing was removed"), "{}", ran.stderr);
    let check = project.run(&["fsck", "--repair"]);
    assert!(check.stdout.contains("pins/v2.json"), "{}", check.stdout);
    gc(&project, &[]);
}

#[test]
fn the_cache_says_how_large_it_is_and_for_whom() {
    let project = with_history(3);
    project.run(&["pin", "data:orders"]);
    let ran = project.run(&[
        "cache",
        "stats",
        "--json",
        "--keep-last",
        "2",
        "--grace",
        "1ms",
    ]);
    let stats: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(stats["objects"]["files"], 9);
    assert_eq!(stats["results"]["files"], 9);
    assert_eq!(stats["current"]["files"], 6);
    assert_eq!(stats["history"]["files"], 12);
    assert_eq!(stats["pinned"]["files"], 2);
    let freed = gc(&project, &["--keep-last", "2", "--json"]).stdout;
    let summary: serde_json::Value = serde_json::from_str(freed.lines().last().unwrap()).unwrap();
    assert_eq!(stats["gc_bytes"], summary["freed_bytes"]);
    let text = project.run(&["cache", "stats"]).stdout;
    assert!(
        text.contains("needed by the project as it stands"),
        "{text}"
    );
}

/// Every file below a folder with its bytes.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push((path.display().to_string(), fs::read(&path).unwrap())),
            }
        }
    }
    found.sort();
    found
}
