//! The snapshot of a build: an answer while nothing changed, and what is not to be looked up again where something did.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::project::{Built, Project};

const MANIFEST: &str = r#"
[data.orders]
path = "raw/*.csv"
key = ["id"]

[data.orders.checks.warn]
rows = ">= 1000"

[data.page]
command = "cat {input:data:total} > /dev/null; cp {src}/lib/page.txt {out}/page.txt; mkdir {out}/deep; echo $WHO > {out}/deep/who"
inputs = ["data:total"]
srcs = ["lib/**"]
tools = ["teller"]
env = { WHO = { from = "WHO_ASKS" } }
"#;

/// A project with every kind of thing that a build looks at, and a folder with two places for programs beside it.
fn project() -> Project {
    let project = Project::new(MANIFEST)
        .file("raw/orders.csv", "id,amount\n1,10\n2,32\n")
        .file(
            "data/total.sql",
            "select sum(amount) as total from data.orders\n",
        )
        .file("lib/page.txt", "page\n");
    symlink("../../nowhere", project.root().join("raw/later")).unwrap();
    for place in ["first", "second"] {
        fs::create_dir(tools(&project, place)).unwrap();
    }
    tool(&project, "second", "teller 1");
    project
}

fn tools(project: &Project, place: &str) -> PathBuf {
    project.root().parent().unwrap().join(place)
}

/// A program that says this version.
fn tool(project: &Project, place: &str, version: &str) {
    let file = tools(project, place).join("teller");
    fs::write(&file, format!("#!/bin/sh\necho {version}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn build_as(project: &Project, who: &str, arguments: &[&str]) -> Built {
    let places = ["first", "second"].map(|place| tools(project, place).display().to_string());
    let output = project
        .command(&[&["build", "--json"], arguments].concat())
        .env("PATH", format!("{}:/usr/bin:/bin", places.join(":")))
        .env("WHO_ASKS", who)
        .output()
        .unwrap();
    let ran = project.ran(output);
    assert_eq!(ran.exit, Some(0), "{}{}", ran.stdout, ran.stderr);
    let lines = ran.stdout.lines();
    let events = lines.map(|line| serde_json::from_str(line).unwrap());
    Built {
        events: events.collect(),
        ran,
    }
}

fn build(project: &Project) -> Built {
    build_as(project, "me", &[])
}

fn summary(built: &Built) -> &Value {
    built.events.last().unwrap()
}

fn is_from_snapshot(built: &Built) -> bool {
    summary(built)["snapshot"] == true
}

/// Builds until nothing is young and the answer comes from a snapshot.
#[track_caller]
fn settle(project: &Project) -> Built {
    for _ in 0..20 {
        let built = build(project);
        if is_from_snapshot(&built) {
            return built;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("a project that stays as it is settles");
}

/// Everything that must be noticed, by name.
type Edit = (&'static str, fn(&Project));

const EDITS: &[Edit] = &[
    ("a source of the same size and time", |project| {
        let path = project.root().join("raw/orders.csv");
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        let text = fs::read_to_string(&path).unwrap().replace("32", "31");
        fs::write(&path, text).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(before)
            .unwrap();
    }),
    ("a source more", |project| {
        project.write("raw/more.csv", "id,amount\n3,1\n")
    }),
    ("a source less", |project| {
        fs::remove_file(project.root().join("raw/more.csv")).unwrap()
    }),
    ("a link that leads somewhere now", |project| {
        fs::create_dir(project.root().parent().unwrap().join("nowhere")).unwrap();
    }),
    ("a query", |project| {
        project.write(
            "data/total.sql",
            "select sum(amount) as total from data.orders -- more",
        )
    }),
    ("a query more", |project| {
        project.write("data/more.sql", "select 1 as one")
    }),
    ("the manifest", |project| {
        project.write("mlbuild.toml", project.read("mlbuild.toml") + "# more\n")
    }),
    ("a file of a command", |project| {
        project.write("lib/deep/more.txt", "more")
    }),
    ("the version of a tool", |project| {
        tool(project, "second", "teller 2")
    }),
    ("a tool that comes first", |project| {
        tool(project, "first", "teller 3")
    }),
    ("an output changed", |project| {
        project.write("out/data/page/page.txt", "mine")
    }),
    ("an output gone", |project| {
        fs::remove_file(project.root().join("out/data/total.parquet")).unwrap()
    }),
    ("a file beside the outputs", |project| {
        project.write("out/data/page/deep/mine", "mine")
    }),
    ("a folder of outputs gone", |project| {
        fs::remove_dir_all(project.root().join("out")).unwrap()
    }),
    ("a result gone", |project| {
        remove_one(&project.root().join(".mlbuild/cache/results"))
    }),
    ("an object gone", |project| {
        remove_one(&project.root().join(".mlbuild/cache/objects"))
    }),
    ("a last build gone", |project| {
        remove_one(&project.root().join(".mlbuild/cache/last"))
    }),
    ("the cache gone", |project| {
        fs::remove_dir_all(project.root().join(".mlbuild")).unwrap()
    }),
];

/// Removes the first file below `folder`.
fn remove_one(folder: &Path) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    match &entries[0] {
        file if file.is_file() => fs::remove_file(file).unwrap(),
        folder => remove_one(folder),
    }
}

#[test]
fn any_change_is_noticed_and_then_it_settles_again() {
    let project = project();
    build(&project);
    for (name, edit) in EDITS {
        settle(&project);
        edit(&project);
        assert!(!is_from_snapshot(&build(&project)), "{name}");
    }
    settle(&project);
    assert!(
        !is_from_snapshot(&build_as(&project, "you", &[])),
        "a variable"
    );
}

#[test]
fn a_snapshot_answers_as_the_build_that_left_it() {
    let project = project();
    build(&project);
    let from_snapshot = settle(&project);
    // Another memo of the same question: none.
    fs::remove_dir_all(project.root().join(".mlbuild/cache/memos")).unwrap();
    let whole = build(&project);
    assert!(!is_from_snapshot(&whole));
    let told = |built: &Built| {
        let mut events = built.events.clone();
        let summary = events.last_mut().unwrap();
        for name in ["duration_ms", "run", "snapshot", "stood"] {
            summary[name] = Value::Null;
        }
        // Plans are memos as well.
        summary["queries_planned"] = Value::Null;
        summary["processes"] = Value::Null;
        events
    };
    assert_eq!(told(&from_snapshot), told(&whole));
    assert!(told(&whole).iter().any(|event| event["event"] == "warning"));
    for counter in ["queries_planned", "processes"] {
        assert_eq!(summary(&from_snapshot)[counter], 0);
    }
}

#[test]
fn lineage_knows_the_run_that_left_the_snapshot() {
    let project = project();
    build(&project);
    let runs = || project.run(&["query", "--format", "csv", "select count(*) as n from runs"]);
    let run = summary(&settle(&project))["run"].clone();
    let before = runs().stdout;
    assert_eq!(summary(&settle(&project))["run"], run);
    assert_eq!(runs().stdout, before, "a repeated answer is no history");
    let query = format!("select count(artifact) as n from targets where run = {run}");
    let rows = project.run(&["query", "--format", "csv", &query]).stdout;
    assert_eq!(rows, "n\n3\n");
}

#[test]
fn another_question_has_another_answer() {
    let project = project();
    build(&project);
    settle(&project);
    assert!(!is_from_snapshot(&build_as(
        &project,
        "me",
        &["data:total"]
    )));
    assert!(is_from_snapshot(&build(&project)));
    let forced = build_as(&project, "me", &["--force", "data:total"]);
    assert_eq!(summary(&forced)["built"][0], "data:total");
}

/// What is stale may be what a build of the rest does not look at.
#[test]
fn what_selects_by_state_leaves_no_snapshot() {
    let project = project();
    build(&project);
    settle(&project);
    for _ in 0..3 {
        let built = build_as(&project, "me", &["state:stale", "data:orders"]);
        assert!(!is_from_snapshot(&built));
        built.built(&[]);
    }
    project.write("lib/page.txt", "another page\n");
    let built = build_as(&project, "me", &["state:stale", "data:orders"]);
    built.built(&["data:page"]);
}

#[test]
fn a_damaged_snapshot_is_none() {
    let project = project();
    build(&project);
    settle(&project);
    fn damage(folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                damage(&path);
                continue;
            }
            let mut bytes = fs::read(&path).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    damage(&project.root().join(".mlbuild/cache/memos"));
    assert!(!is_from_snapshot(&build(&project)));
    settle(&project);
}

#[test]
fn what_is_young_leaves_no_snapshot() {
    let project = project();
    build(&project);
    settle(&project);
    let path = project.root().join("raw/orders.csv");
    let tomorrow =
        fs::metadata(&path).unwrap().modified().unwrap() + std::time::Duration::from_secs(86_400);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(tomorrow)
        .unwrap();
    for _ in 0..3 {
        assert!(!is_from_snapshot(&build(&project)));
    }
}

/// Two chains of commands, the second in three steps, and one that joins them.
const CHAINS: &str = r#"
[model.left]
command = "cp {src}/left.txt {out}/it"
srcs = ["left.txt"]

[model.right]
command = "cp {src}/right.txt {out}/it"
srcs = ["right.txt"]

[model.further]
command = "head -n 1 {input:model:right}/it > {out}/it"
inputs = ["model:right"]

[model.farthest]
command = "cat {input:model:further}/it > {out}/it"
inputs = ["model:further"]

[report.both]
command = "cat {input:model:left}/it {input:model:farthest}/it > {out}/it"
inputs = ["model:left", "model:farthest"]
"#;

fn chains() -> Project {
    Project::new(CHAINS)
        .file("left.txt", "left\n")
        .file("right.txt", "right\nmore\n")
}

#[test]
fn what_a_change_does_not_concern_is_not_looked_up() {
    let project = chains();
    build(&project);
    settle(&project);

    // No lookup finds a result any more; nobody looks it up.
    let counters = |built: &Built| {
        let summary = summary(built);
        let digested = &summary["sources"]["digested"];
        (summary["stood"].clone(), digested.clone())
    };
    project.write("left.txt", "left still\n");
    let built = build(&project);
    built.built(&["model:left", "report:both"]);
    assert_eq!(counters(&built).0, 3);
    project.assert_same_as_clean_build(&[]);

    settle(&project);
    project.write("right.txt", "right\nand more\n");
    let built = build(&project);
    // What it makes is what it made: what reads that stands.
    built.built(&["model:further", "model:right"]);
    assert_eq!(counters(&built).0, 3);
    project.assert_same_as_clean_build(&[]);

    settle(&project);
    let path = project.root().join("right.txt");
    let times = fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_times(times)
        .unwrap();
    let built = build(&project);
    built.built(&[]);
    assert_eq!(counters(&built), (4.into(), 1.into()), "touched");
    assert!(!is_from_snapshot(&built));
}

/// A build that runs or fails leaves what the next one goes by.
#[test]
fn every_build_leaves_what_stands() {
    let project = chains();
    build(&project);
    settle(&project);
    project.replace("mlbuild.toml", "cp {src}/left.txt {out}/it", "false");
    let failed = project.try_build(&["-k"]);
    assert_eq!(failed.ran.exit, Some(1));
    // A failure is tried again, whatever stands.
    let again = project.try_build(&["-k"]);
    assert_eq!(again.ran.exit, Some(1));
    assert_eq!(summary(&again)["failed"][0], "model:left");
    assert_eq!(summary(&again)["skipped"][0], "report:both");

    project.replace("mlbuild.toml", "false", "cp {src}/left.txt {out}/it");
    build(&project);
    settle(&project);
    for text in ["one\n", "two\n"] {
        project.write("right.txt", text);
        let built = build(&project);
        built.built(&[
            "model:farthest",
            "model:further",
            "model:right",
            "report:both",
        ]);
        // Unless it was too young to be sure of when the last build looked at it.
        assert!(summary(&built)["stood"].as_u64().unwrap() <= 1);
        project.assert_same_as_clean_build(&[]);
    }
}

/// A module that a function might import comes to be: nothing else changes.
#[test]
#[ignore = "needs Python"]
fn python_code_is_looked_at() {
    let project = Project::new(
        "[model.scaled]\npython = \"lib.scale:run\"\ninputs = [\"data:orders\"]\n\n[data.orders]\npath = \"raw/orders.csv\"\n",
    )
    .file("raw/orders.csv", "id,amount\n1,10\n")
    .file(
        "lib/scale.py",
        "try:\n    from lib import more\nexcept ImportError:\n    more = None\n\n\ndef run(inputs, out, params):\n    (out / \"scaled\").write_text(str(more))\n",
    );
    build(&project);
    settle(&project);
    project.write("lib/more.py", "x = 1\n");
    let built = build(&project);
    assert!(!is_from_snapshot(&built));
    built.built(&["model:scaled"]);
}
