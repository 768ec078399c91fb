//! Faults and interruptions: nothing lost, nothing half-written, the right exit status.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::project::Project;

const ALL: [&str; 3] = ["data:orders", "data:page", "data:total"];

/// A project whose only target runs until it is stopped, and a file that says that it has begun.
pub(crate) fn endless() -> Project {
    Project::new(
        "[data.slow]\ncommand = \"echo begun; sleep 600 > {out}\"\nout = \"slow.csv\"\nformat = \"csv\"\n",
    )
}

/// A build of [`endless`], once its command runs; `output` is where it prints.
pub(crate) fn begin(project: &Project, output: fn() -> Stdio) -> Child {
    let child = project
        .command(&["build"])
        .stderr(output())
        .stdout(output())
        .spawn()
        .unwrap();
    let log = project.root().join(".mlbuild/logs/data/slow.log");
    wait_until("the command begins", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("begun"))
    });
    child
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{what} within a minute"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_null_build_stats_its_sources_and_reads_none() {
    let project = Project::sums();
    project.build(&["data:page"]);
    std::thread::sleep(Duration::from_millis(100)); // so that the sources are no longer young
    project.build(&["data:page"]);
    let built = project.build(&["data:page"]);
    let summary = built.events.last().unwrap();
    assert_eq!(summary["sources"]["digested"], 0, "{summary}");
    assert_eq!(
        built
            .events
            .iter()
            .filter(|event| event["event"] == "started")
            .count(),
        0
    );
}

#[test]
fn an_interrupt_ends_the_build_and_its_processes() {
    let project = endless();
    let child = begin(&project, Stdio::piped);
    let pid = process_id(child.id());
    // SAFETY: sends a signal to a child that has not been waited for, so the id is its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    let ran = project.ran(child.wait_with_output().unwrap());
    assert_eq!(ran.exit, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(!project.has("out"));
    let runs = project.run(&["query", "--format", "csv", "select status from runs"]);
    assert_eq!(runs.stdout, "status\ninterrupted\n");
}

pub(crate) fn process_id(id: u32) -> libc::pid_t {
    libc::pid_t::try_from(id).unwrap()
}

#[test]
fn a_second_build_waits_for_the_first() {
    let project = endless();
    let mut first = begin(&project, Stdio::null);
    let second = project
        .command(&["build"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let id = second.id();
    // SAFETY: as above, the second build has not been waited for.
    assert_eq!(unsafe { libc::kill(process_id(id), libc::SIGINT) }, 0);
    let ran = project.ran(second.wait_with_output().unwrap());
    assert_eq!(ran.exit, Some(130), "{}", ran.stderr);
    assert!(
        ran.stderr.contains(&format!("(process {})", first.id())),
        "{}",
        ran.stderr
    );
    // SAFETY: as above, for the first build.
    assert_eq!(
        unsafe { libc::kill(process_id(first.id()), libc::SIGINT) },
        0
    );
    assert_eq!(first.wait().unwrap().code(), Some(130));
}

#[test]
fn a_killed_build_loses_work_and_no_truth() {
    let project = Project::sums();
    for millis in [5, 20, 40, 80, 120] {
        let mut child = project
            .command(&["build"])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        let _ = child.kill();
        child.wait().unwrap();
    }
    project.build(&[]);
    project.assert_same_as_clean_build(&[]);
}

#[test]
fn a_missing_object_is_made_again() {
    let project = Project::sums();
    project.build(&["data:page"]);
    fs::remove_dir_all(project.root().join(".mlbuild/cache/objects")).unwrap();
    project.build(&["data:page"]).built(&ALL);
}

/// Changes a byte of every object, which keeps its size.
pub(crate) fn damage_objects(project: &Project) {
    for (path, mut bytes) in crate::gc::files(&project.root().join(".mlbuild/cache/objects")) {
        fs::remove_file(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn a_damaged_object_is_never_published_and_made_again_at_once() {
    let project = Project::sums();
    project.build(&[]);
    damage_objects(&project);
    // What stands in out/ is whole, and nobody has to look at the cache.
    project.build(&[]).built(&[]);
    fs::remove_dir_all(project.root().join("out")).unwrap();
    let built = project.build(&["data:orders"]);
    built.built(&["data:orders"]);
    let said = |event: &serde_json::Value| event["diagnostic"]["code"] == "cache::damaged";
    assert!(built.events.iter().any(said), "{:#?}", built.events);
    fs::remove_dir_all(project.root().join("out")).unwrap();
    project.build(&[]).built(&["data:page", "data:total"]);
    project.assert_same_as_clean_build(&[]);
    crate::fsck::assert_sound(&project);
}

#[test]
fn a_damaged_input_is_made_again_in_the_same_build() {
    // Whoever reads a damaged input waits until it is whole again, though its target was done.
    for (built, all) in [("data:orders", &ALL[..]), ("data:total", &ALL[..])] {
        let project = Project::sums();
        project.build(&[built]);
        damage_objects(&project);
        let rebuilt = project.build(&["data:page"]);
        rebuilt.built(all);
        let said = |event: &&serde_json::Value| event["diagnostic"]["code"] == "cache::damaged";
        assert!(rebuilt.events.iter().any(|event| said(&event)));
        let runs = project.run(&[
            "query",
            "--format",
            "csv",
            "select label, outcome from targets where run = 2 order by label",
        ]);
        let recorded = "label,outcome\ndata:orders,built\ndata:page,built\ndata:total,built\n";
        assert_eq!(runs.stdout, recorded, "{}", runs.stderr);
        project.assert_same_as_clean_build(&[]);
        crate::fsck::assert_sound(&project);
    }
}

#[test]
fn what_a_target_restored_and_then_lost_is_recorded_once() {
    let project = Project::sums();
    project.build(&[]);
    project.write("raw/orders.csv", "id,amount,note\n1,11,a\n");
    project.build(&[]);
    project.write("raw/orders.csv", "id,amount,note\n1,10,a\n2,32,b\n");
    damage_objects(&project);
    project.replace("data/page.sql", "total * 2", "total * 3");
    project.build(&["data:page"]).built(&ALL);
    let recorded = project.run(&[
        "query",
        "--format",
        "csv",
        "select t.label, t.outcome, count(a.action) as actions from targets t \
         left join actions a on a.run = t.run and a.label = t.label where t.run = 3 group by 1, 2 order by 1",
    ]);
    let expected =
        "label,outcome,actions\ndata:orders,built,1\ndata:page,built,1\ndata:total,built,1\n";
    assert_eq!(recorded.stdout, expected, "{}", recorded.stderr);
}

#[test]
fn readers_of_a_damaged_input_wait_for_one_remake() {
    let readers: Vec<String> = (0..6).map(|n| format!("data/reader{n}.sql")).collect();
    let mut project = Project::sums();
    project.build(&["data:orders"]);
    damage_objects(&project);
    for (n, reader) in readers.iter().enumerate() {
        let query = format!("select id + {n} as id from data.orders\n");
        project = project.file(reader, &query);
    }
    let built = project.build(&["--jobs", "4"]);
    let started = |event: &&serde_json::Value| {
        event["event"] == "started" && event["target"] == "data:orders"
    };
    let stages: Vec<_> = built
        .events
        .iter()
        .filter(started)
        .map(|e| &e["stage"])
        .collect();
    assert_eq!(stages, ["ingest"], "{:#?}", built.events);
    project.assert_same_as_clean_build(&[]);
}

#[test]
fn storing_the_same_again_heals_what_was_damaged() {
    let project = Project::sums();
    project.build(&[]);
    damage_objects(&project);
    project.build(&["--force"]);
    crate::fsck::assert_sound(&project);
}

#[test]
fn a_damaged_result_is_a_miss() {
    let project = Project::sums();
    project.build(&["data:page"]);
    for folder in fs::read_dir(project.root().join(".mlbuild/cache/results")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }
    }
    project.build(&["data:page"]).built(&ALL);
    project.build(&["data:page"]).built(&[]);
}

#[test]
fn a_damaged_lineage_database_does_not_stop_a_build() {
    let project = Project::sums();
    project.write(
        ".mlbuild/lineage.db",
        "this is no database, whatever its name says",
    );
    let built = project.build(&["data:page"]);
    built.built(&ALL);
    assert!(
        built.events.iter().any(|event| event["event"] == "trouble"),
        "{:#?}",
        built.events
    );
    assert_eq!(project.run(&["query", "select 1"]).exit, Some(3));
}

#[test]
fn a_lost_history_is_said_once() {
    let project = Project::sums();
    let lost = |project: &Project| {
        let events = project.build(&[]).events;
        let lost = |event: &&serde_json::Value| event["diagnostic"]["code"] == "lineage::lost";
        events.iter().filter(lost).count()
    };
    // A build that was killed while it made the database had no history to lose.
    project.write(".mlbuild/lineage.db", "");
    assert_eq!(lost(&project), 0);
    project.write(".mlbuild/lineage.db", "");
    assert_eq!(lost(&project), 1);
    assert_eq!(lost(&project), 0);
}

#[test]
fn commands_that_misbehave_fail_their_target() {
    let cases = [
        ("exit 3", "command::failed"),
        ("true", "command::no-output"),
        (
            "echo x > {out}; echo y > $(dirname {out})/other",
            "command::extra-output",
        ),
        ("echo id > {out}; sleep 60", "command::timeout"),
    ];
    for (line, code) in cases {
        let project = Project::new(&format!(
            "[data.made]\ncommand = '''{line}'''\nout = \"made.csv\"\nformat = \"csv\"\ntimeout = \"1s\"\n"
        ));
        let built = project.try_build(&["data:made"]);
        assert_eq!(built.ran.exit, Some(1), "{line}: {}", built.ran.stderr);
        assert_eq!(built.diagnostic("data:made")["code"], code, "{line}");
        assert!(!project.has("out"));
    }
}

#[test]
fn a_source_that_changes_while_it_is_read_is_not_published() {
    let project = Project::new(
        "[data.copy]\ncommand = \"cat {src}/word > {out}; echo begun; sleep 1\"\nsrcs = [\"word\"]\nout = \"word\"\nformat = \"files\"\n",
    )
    .file("word", "old");
    let child = project
        .command(&["build", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let log = project.root().join(".mlbuild/logs/data/copy.log");
    wait_until("the command begins", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("begun"))
    });
    project.write("word", "new");
    let ran = project.ran(child.wait_with_output().unwrap());
    assert_eq!(ran.exit, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("source::changed"), "{}", ran.stdout);
    project.build(&[]);
    assert_eq!(project.read("out/data/copy/word"), "new");
}

#[test]
fn a_missing_worker_is_named_and_nothing_else_suffers() {
    let project = Project::empty();
    project.run(&["init"]);
    project.replace("mlbuild.toml", "train = \"markov\"", "train = \"sasrec\"");
    let built = project.try_build(&["--keep-going"]);
    assert_eq!(built.ran.exit, Some(3), "{}", built.ran.stderr);
    built
        .failed(&["model:markov"])
        .skipped(&["data:next_songs", "report:songs"]);
    assert_eq!(built.diagnostic("model:markov")["code"], "worker::missing");
}
