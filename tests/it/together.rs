//! Several processes in one project: one changes it at a time, the others wait and say for whom, and nobody who only
//! reads waits.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::crash::tiny;
use crate::faults::{begin, endless, process_id, wait_until};
use crate::project::{Project, Ran};

fn start(project: &Project, arguments: &[&str]) -> Child {
    let mut command = project.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The end of a command that is to succeed.
#[track_caller]
fn finish(project: &Project, child: Child) -> Ran {
    let ran = project.ran(child.wait_with_output().unwrap());
    assert_eq!(ran.exit, Some(0), "{}{}", ran.stdout, ran.stderr);
    ran
}

fn events(ran: &Ran) -> Vec<Value> {
    let lines = ran.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn interrupt(child: &Child) {
    // SAFETY: sends a signal to a child that has not been waited for, so the id is its own.
    assert_eq!(
        unsafe { libc::kill(process_id(child.id()), libc::SIGINT) },
        0
    );
}

#[test]
fn builds_at_the_same_time_run_no_action_twice() {
    let project = tiny();
    project.replace("mlbuild.toml", "sort {src}", "sleep 0.3; sort {src}");
    let builds: Vec<Child> = (0..4)
        .map(|_| start(&project, &["build", "--json"]))
        .collect();
    let mut runs: BTreeMap<String, u32> = BTreeMap::new();
    let mut waited = 0;
    for build in builds {
        let events = events(&finish(&project, build));
        waited += u32::from(events.iter().any(|event| event["event"] == "waiting"));
        for event in events.iter().filter(|event| event["event"] == "started") {
            let action = format!("{} {}", event["target"], event["stage"]);
            *runs.entry(action).or_default() += 1;
        }
    }
    assert_eq!(runs.len(), 5, "{runs:#?}");
    assert!(runs.values().all(|runs| *runs == 1), "{runs:#?}");
    assert!(waited > 0, "the builds met");
    crate::fsck::assert_sound(&project);
}

#[test]
fn who_waits_says_for_whom() {
    let project = endless();
    let mut first = begin(&project, Stdio::null);
    for arguments in [&["build", "--json"], &["gc", "--json"]] {
        let mut second = start(&project, arguments);
        let mut said = String::new();
        let mut reader = BufReader::new(second.stdout.as_mut().unwrap());
        reader.read_line(&mut said).unwrap();
        let waiting: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(waiting["event"], "waiting", "{arguments:?}: {said}");
        assert_eq!(waiting["pid"], first.id());
        assert_eq!(waiting["command"], "build");
        interrupt(&second);
        let ran = project.ran(second.wait_with_output().unwrap());
        assert_eq!(ran.exit, Some(130), "{}", ran.stderr);
        assert!(!ran.stdout.contains("waiting"), "once: {}", ran.stdout);
    }
    interrupt(&first);
    assert_eq!(first.wait().unwrap().code(), Some(130));
}

#[test]
fn readers_do_not_wait_for_a_build() {
    let project = endless();
    project.write("raw/orders.csv", "id,amount\n1,10\n");
    let manifest = project.read("mlbuild.toml");
    let orders = "[data.orders]\npath = \"raw/*.csv\"\nkey = [\"id\"]\n";
    project.write("mlbuild.toml", format!("{manifest}\n{orders}"));
    project.build(&["data:orders"]);
    project.write("raw/orders.csv", "id,amount\n1,11\n");
    let mut build = begin(&project, Stdio::null);
    let readers: [&[&str]; 11] = [
        &["ls"],
        &["plan"],
        &["why", "data:orders"],
        &["why", "data:slow"],
        &["lineage", "data:orders"],
        &["query", "select * from targets"],
        &["query", "select * from runs"],
        &["show", "data:orders"],
        &["log", "data:slow"],
        &["cache", "stats"],
        &["cache", "pins"],
    ];
    for reader in readers {
        let ran = project.run(reader);
        assert_eq!(ran.exit, Some(0), "{reader:?}: {}", ran.stderr);
        assert!(
            !ran.stderr.contains("waiting"),
            "{reader:?}: {}",
            ran.stderr
        );
    }
    assert!(
        build.try_wait().unwrap().is_none(),
        "the build still holds the lock"
    );
    interrupt(&build);
    assert_eq!(build.wait().unwrap().code(), Some(130));
}

#[test]
fn a_collection_beside_a_build_removes_nothing_that_it_needs() {
    let project = Project::new(
        r#"
[model.words]
command = "sort {src}/words.txt > {out}/sorted"
srcs = ["words.txt"]

[model.slow]
command = "echo begun; sleep 1.5; echo slow > {out}/slow"

[model.both]
command = "cat {input:model:words}/sorted {input:model:slow}/slow > {out}/both"
inputs = ["model:words", "model:slow"]
"#,
    )
    .file("words.txt", "two\none\n");
    let build = start(&project, &["build", "model:both"]);
    let log = project.root().join(".mlbuild/logs/model/slow.log");
    wait_until("the build sleeps with the words at hand", || {
        let begun = fs::read_to_string(&log).is_ok_and(|log| log.contains("begun"));
        begun && project.has(".mlbuild/cache/last/model%3Awords.json")
    });
    // Nothing but the build needs the old words now: not the project as it stands, and not its last build of them.
    project.write("words.txt", "three\n");
    let gc: &[&str] = &["gc", "--grace", "1ms", "--keep-last", "0"];
    let second = start(&project, &["build", "model:words"]);
    std::thread::sleep(Duration::from_millis(500));
    let others = [second, start(&project, gc)];
    finish(&project, build);
    assert_eq!(project.read("out/model/both/both"), "one\ntwo\nslow\n");
    for other in others {
        finish(&project, other);
    }
    project.build(&[]);
    project.assert_same_as_clean_build(&[]);
}

#[test]
fn who_waits_for_a_cache_that_is_removed_builds_in_a_new_one() {
    let project = tiny();
    project.build(&[]);
    for _ in 0..3 {
        let running = [&["clean", "--all"][..], &["build"], &["build"]];
        let running = running.map(|command| start(&project, command));
        for (number, child) in running.into_iter().enumerate() {
            let ran = project.ran(child.wait_with_output().unwrap());
            // Cleaning does not wait.
            let refused = number == 0 && ran.stderr.contains("is at work in this project");
            assert!(ran.exit == Some(0) || refused, "{number}: {ran:#?}");
        }
        project.build(&[]);
        crate::fsck::assert_sound(&project);
    }
}
