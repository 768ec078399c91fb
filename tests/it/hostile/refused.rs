//! What the system lets nobody read or write.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use super::{assert_environment, assert_recovers};
use crate::fsck::assert_sound;
use crate::project::{Project, Ran, outputs};

/// A user who may do nothing special.
const NOBODY: u32 = 65_534;

fn is_superuser() -> bool {
    // SAFETY: the call has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

fn give_away(path: &Path) {
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}

/// Runs the binary as one whom the system refuses things; `None`, and a line that says so, if that cannot be.
fn run_refused(project: &Project, arguments: &[&str]) -> Option<Ran> {
    let mut command = project.command(arguments);
    if is_superuser() {
        give_away(project.root().parent().unwrap());
        command.uid(NOBODY).gid(NOBODY);
    }
    match command.output() {
        Ok(output) => Some(project.ran(output)),
        Err(error) => {
            eprintln!("SKIPPED: another user cannot start this binary: {error}");
            None
        }
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_may_not_be_read_is_named_and_built_once_it_may() {
    let project = Project::sums();
    let at = |path: &str| project.root().join(path);
    let cases = [
        (
            "raw/orders.csv",
            0o644,
            "cannot read `raw/orders.csv`: Permission denied",
        ),
        ("raw", 0o755, "cannot read `raw`: Permission denied"),
        ("mlbuild.toml", 0o644, "mlbuild.toml`: Permission denied"),
        (
            "data/total.sql",
            0o644,
            "data/total.sql`: Permission denied",
        ),
    ];
    for (path, mode, message) in cases {
        chmod(&at(path), 0);
        let Some(ran) = run_refused(&project, &["build"]) else {
            return;
        };
        assert_environment(&ran, &[message]);
        chmod(&at(path), mode);
    }
    assert_eq!(run_refused(&project, &["build"]).unwrap().exit, Some(0));
    assert_recovers(&project);
}

#[test]
fn what_may_not_be_written_is_named_and_readers_do_not_mind() {
    let project = Project::sums();
    chmod(project.root(), 0o555);
    let Some(ran) = run_refused(&project, &["build"]) else {
        return;
    };
    assert_environment(&ran, &["[project]/.mlbuild", "Permission denied"]);
    for reader in [
        &["plan"][..],
        &["ls"],
        &["why", "data:page"],
        &["fsck"],
        &["cache", "stats"],
    ] {
        let ran = run_refused(&project, reader).unwrap();
        assert_eq!(
            ran.exit,
            Some(0),
            "{reader:?}: {}{}",
            ran.stdout,
            ran.stderr
        );
    }
    chmod(project.root(), 0o755);
    assert_eq!(run_refused(&project, &["build"]).unwrap().exit, Some(0));
    chmod(&project.root().join("out/data"), 0o555);
    project.write("raw/orders.csv", "id,amount,note\n1,2,a\n");
    let ran = run_refused(&project, &["build"]).unwrap();
    assert_environment(&ran, &["out/data/", "Permission denied"]);
    chmod(&project.root().join("out/data"), 0o755);
    assert_recovers(&project);
}

#[test]
fn a_state_that_may_not_be_read_is_no_other_state() {
    let template = Project::sums();
    template.build(&[]);
    let clean = outputs(template.root());
    let state = template.root().join(".mlbuild");
    for (path, _) in crate::gc::files(&state) {
        let project = Project::empty();
        crate::project::copy_folder(template.root(), project.root(), &["out"]);
        let path = project
            .root()
            .join(Path::new(&path).strip_prefix(template.root()).unwrap());
        chmod(&path, 0);
        let Some(ran) = run_refused(&project, &["build"]) else {
            return;
        };
        let case = path.display();
        match ran.exit {
            Some(0) => assert_eq!(outputs(project.root()), clean, "{case}"),
            _ => {
                let name = path.file_name().unwrap().to_string_lossy();
                assert_environment(&ran, &[&name, "Permission denied"]);
            }
        }
        chmod(&path, 0o644);
        assert_eq!(
            run_refused(&project, &["build"]).unwrap().exit,
            Some(0),
            "{case}"
        );
        assert_eq!(outputs(project.root()), clean, "{case}");
        assert_sound(&project);
    }
}
