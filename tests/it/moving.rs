//! Sources that change while an action runs: nothing is published under the old key, and the next build is right.
//!
//! The action is a command that says where its temporary folder is and waits there for a file; so a test changes a source
//! while the command certainly runs, and no clock is involved.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::faults::wait_until;
use crate::project::{Project, Ran};

/// Copies two words once it may, and says what there is.
const WAITS: &str = r#"
[data.copy]
command = "echo begun $TMPDIR; until [ -e $TMPDIR/go ]; do sleep 0.01; done; cat {src}/raw/* > {out}"
srcs = ["raw/*"]
out = "words"
format = "files"
"#;

fn project() -> Project {
    Project::new(WAITS)
        .file("raw/a", "old")
        .file("raw/b", " word")
}

/// Builds, and calls `change` while the command runs.
fn build_while(project: &Project, change: impl FnOnce(&Path)) -> Ran {
    // The log of an earlier build would name a folder that is no more.
    let log = project.root().join(".mlbuild/logs/data/copy.log");
    let _ = fs::remove_file(&log);
    let child = project
        .command(&["build", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut folder = None;
    wait_until("the command begins", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("begun "));
        folder = line.map(PathBuf::from);
        folder.is_some() && text.ends_with('\n')
    });
    change(project.root());
    fs::write(folder.unwrap().join("go"), "").unwrap();
    project.ran(child.wait_with_output().unwrap())
}

/// Lets the command go on at once.
fn build(project: &Project) -> Ran {
    build_while(project, |_| ())
}

type Change = fn(&Path);

/// Every way in which a source stops being what the key says.
const CHANGES: [(&str, Change); 9] = [
    ("written", |root| {
        fs::write(root.join("raw/a"), "new").unwrap()
    }),
    ("grown", |root| {
        fs::write(root.join("raw/a"), "older").unwrap()
    }),
    ("truncated", |root| {
        fs::write(root.join("raw/a"), "").unwrap()
    }),
    ("replaced by a rename", |root| {
        fs::write(root.join("aside"), "new").unwrap();
        fs::rename(root.join("aside"), root.join("raw/a")).unwrap();
    }),
    ("deleted", |root| {
        fs::remove_file(root.join("raw/a")).unwrap()
    }),
    ("made executable", |root| {
        fs::set_permissions(root.join("raw/a"), fs::Permissions::from_mode(0o755)).unwrap();
    }),
    ("replaced by a folder", |root| {
        fs::remove_file(root.join("raw/a")).unwrap();
        fs::create_dir(root.join("raw/a")).unwrap();
    }),
    ("replaced by a link", |root| {
        fs::write(root.join("aside"), "new").unwrap();
        fs::remove_file(root.join("raw/a")).unwrap();
        symlink("../aside", root.join("raw/a")).unwrap();
    }),
    ("written with its old time", |root| {
        let path = root.join("raw/a");
        let old = path.metadata().unwrap().modified().unwrap();
        fs::write(&path, "new").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(old).unwrap();
    }),
];

#[test]
fn nothing_is_published_under_the_key_of_a_source_that_changed() {
    for (how, change) in CHANGES {
        let project = project();
        let ran = build_while(&project, change);
        assert_eq!(ran.exit, Some(1), "{how}: {}{}", ran.stdout, ran.stderr);
        assert!(
            ran.stdout.contains("source::changed"),
            "{how}: {}",
            ran.stdout
        );
        assert!(
            ran.stdout.contains("`raw/a` changed while it was read"),
            "{how}: {}",
            ran.stdout
        );
        assert!(!project.has("out"), "{how}");
        let results = crate::gc::files(&project.root().join(".mlbuild/cache/results"));
        assert_eq!(results.len(), 0, "{how}: no result is stored");
        // The next build is one of what there is now; and the state before is as unknown as if it had never been built.
        let ran = build(&project);
        assert_eq!(ran.exit, Some(0), "{how}: {}{}", ran.stdout, ran.stderr);
        let now: String = ["raw/a", "raw/b"]
            .iter()
            .filter(|path| project.root().join(path).is_file())
            .map(|path| project.read(path))
            .collect();
        assert_eq!(project.read("out/data/copy/words"), now, "{how}");
        crate::fsck::assert_sound(&project);
    }
}

/// The command has its copy: that a time changed is no reason to throw its work away.
#[test]
fn a_source_that_is_only_touched_is_published() {
    let project = project();
    let ran = build_while(&project, |root| {
        let file = fs::File::options()
            .write(true)
            .open(root.join("raw/a"))
            .unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
    });
    assert_eq!(ran.exit, Some(0), "{}", ran.stdout);
    assert_eq!(project.read("out/data/copy/words"), "old word");
    project.build(&[]).built(&[]).restored(&[]);
}

/// The key says which files were given. One that came later is the next build's.
#[test]
fn a_file_that_comes_while_an_action_runs_is_the_next_builds() {
    let project = project();
    let ran = build_while(&project, |root| fs::write(root.join("raw/c"), "s").unwrap());
    assert_eq!(ran.exit, Some(0), "{}", ran.stdout);
    assert_eq!(project.read("out/data/copy/words"), "old word");
    let ran = build(&project);
    assert_eq!(ran.exit, Some(0), "{}", ran.stdout);
    assert_eq!(project.read("out/data/copy/words"), "old words");
    fs::remove_file(project.root().join("raw/c")).unwrap();
    project.build(&[]).restored(&["data:copy"]);
    assert_eq!(project.read("out/data/copy/words"), "old word");
}

/// What reads the result of the action that failed does not run.
#[test]
fn consumers_of_what_was_not_published_do_not_run() {
    let manifest = WAITS.replace("\"words\"", "\"words.csv\"");
    let project = Project::new(&manifest.replace("\"files\"", "\"csv\""))
        .file("raw/a", "id\n1\n")
        .file("data/more.sql", "select id + 1 as id from data.copy\n");
    let ran = build_while(&project, |root| {
        fs::write(root.join("raw/a"), "id\n2\n").unwrap()
    });
    assert_eq!(ran.exit, Some(1), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("\"skipped\":[\"data:more\"]"),
        "{}",
        ran.stdout
    );
    assert_eq!(build(&project).exit, Some(0));
    assert!(project.run(&["show", "data:more"]).stdout.contains('3'));
}
