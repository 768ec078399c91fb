//! Crashes: a command is ended at every point at which it touches the disk, or meets a disk that says no there, and what
//! it leaves is sound.
//!
//! Each scenario is a state of a small project and a command. It is run again and again on copies of that state, with a
//! fault at its first step, at its second, and so on until it gets through ([`mlbuild_disk`] counts steps). After each
//! run `fsck` finds nothing wrong, the next build succeeds, and what it places and the keys that it finds are those of a
//! clean build.
//!
//! `cargo test` tries some steps of each scenario, by chance; `MLBUILD_ROUNDS` sets how many, `MLBUILD_SEED` which, and
//! `cargo xtask crash` tries all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::project::{Project, Ran, copy_folder, outputs};
use mlbuild_testing::{Dice, setting};

/// Steps of each scenario that are tried if nothing else is asked for.
const ROUNDS: u64 = 12;

/// A table with a check, two queries, and a command that yields a folder and leaves a checkpoint.
const MANIFEST: &str = r#"[project]
name = "test"

[data.orders]
path = "raw/*.csv"
key = ["id"]

[data.orders.checks]
not_null = ["id"]

[model.words]
command = "sort {src}/words.txt > {checkpoints}/sorted && cp {checkpoints}/sorted {out} && wc -l < {out}/sorted > {out}/count"
srcs = ["words.txt"]
"#;

/// Sources, queries and a command, where syncs cost nothing.
pub(crate) fn tiny() -> Project {
    tiny_in(Project::in_memory())
}

/// The same in an empty folder.
pub(crate) fn tiny_in(folder: Project) -> Project {
    folder
        .file("mlbuild.toml", MANIFEST)
        .file("raw/orders.csv", "id,amount\n1,10\n2,32\n")
        .file("words.txt", "one\ntwo\nthree\n")
        .file(
            "data/total.sql",
            "select sum(amount) as total from data.orders\n",
        )
        .file(
            "data/page.sql",
            "select total, total * 2 as double from data.total\n",
        )
}

/// Changes every source and a query.
fn edit(project: &Project) {
    project.write("raw/orders.csv", "id,amount\n1,11\n2,32\n3,4\n");
    project.write("words.txt", "one\nfour\n");
    project.replace("data/page.sql", "* 2", "* 3");
}

/// A state, and a command that is ended in it.
struct Scenario {
    state: Project,
    command: &'static [&'static str],
    /// The exit statuses of the command when it meets an error and goes on: not of the environment, and not of a bug.
    fine: &'static [i32],
    /// Whether what the command did not do leaves a check something to find.
    is_repair: bool,
    /// What is the same whatever happens: files below `out/`, and keys.
    clean: State,
}

/// Artifacts in place, and what `last/` says of targets.
pub(crate) type State = (Vec<(String, Vec<u8>)>, Vec<(String, Vec<u8>)>);

impl Scenario {
    fn new(state: Project, command: &'static [&'static str]) -> Self {
        let clean = Project::in_memory();
        copy_folder(state.root(), clean.root(), &[".mlbuild", "out"]);
        clean.build(&[]);
        Self {
            clean: kept(&clean),
            state,
            command,
            fine: &[0],
            is_repair: false,
        }
    }

    /// A copy of the state, and a file in it for reports of faults.
    fn copy(&self) -> (Project, PathBuf) {
        let copy = Project::in_memory();
        copy_folder(self.state.root(), copy.root(), &[]);
        let report = copy.root().with_file_name("struck");
        (copy, report)
    }

    /// Runs the command with a fault of this kind at a step, and says at what it struck; nothing if there is no such
    /// step.
    fn run(&self, project: &Project, report: &Path, kind: &str, step: u64) -> (Ran, String) {
        let plan = format!("{kind}@{step},{}", report.display());
        let mut command = project.command(self.command);
        let output = command.env("MLBUILD_FAULT", plan).output().unwrap();
        let struck = fs::read_to_string(report).unwrap_or_default();
        let struck = struck.replace(&*project.root().to_string_lossy(), "[project]");
        (project.ran(output), struck)
    }

    /// The steps of the command when nothing happens to it.
    fn steps(&self) -> Vec<String> {
        let (project, report) = self.copy();
        let (_, steps) = self.run(&project, &report, "list", 0);
        assert!(
            !steps.is_empty(),
            "a build without debug assertions has no faults"
        );
        steps.lines().map(str::to_owned).collect()
    }

    /// Expects that everything is well now, or will be after the next build.
    fn assert_sound(&self, project: &Project, after: &str) {
        if self.is_repair {
            project.run(&["fsck", "--repair"]);
        }
        let check = project.run(&["fsck"]);
        assert_eq!(check.exit, Some(0), "{after}: {check:#?}");
        let built = project.try_build(&[]).ran;
        assert_eq!(built.exit, Some(0), "{after}: {}", built.stderr);
        assert_eq!(kept(project), self.clean, "{after}");
        let left = crate::gc::files(&project.root().join(".mlbuild/cache/tmp"));
        assert!(left.is_empty(), "{after}: the next build sweeps {left:?}");
    }

    /// Tries steps by chance, or all of them; `fault` says what became of a run.
    fn try_steps(&self, kinds: &[&str], fault: impl Fn(&Project, &Ran, &str) + Sync) {
        let all = self.steps().len() as u64;
        let rounds = setting("MLBUILD_ROUNDS").unwrap_or(ROUNDS);
        let mut dice = Dice::new(setting("MLBUILD_SEED").unwrap_or(0));
        // A build's threads take their steps in no fixed order, so that there may be a few more.
        let steps: BTreeSet<u64> = match rounds >= all {
            true => (1..=all + 5).collect(),
            false => (0..rounds)
                .map(|_| 1 + dice.roll(all as usize) as u64)
                .collect(),
        };
        let steps: Vec<u64> = steps.into_iter().collect();
        let next = AtomicU64::new(0);
        let work = || {
            while let Some(step) = steps.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                for kind in kinds {
                    let (project, report) = self.copy();
                    let (ran, struck) = self.run(&project, &report, kind, *step);
                    let first = struck.lines().next().unwrap_or("nothing");
                    let after = format!("{:?}, {kind} at {first}", self.command);
                    fault(&project, &ran, &format!("{after}: {struck}"));
                    self.assert_sound(&project, &after);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(work);
            }
        });
        let runs = steps.len() * kinds.len();
        println!(
            "{:?}: {all} steps, {runs} runs with {kinds:?}",
            self.command
        );
    }

    fn abort_everywhere(&self) {
        self.try_steps(&["abort", "half"], |_, ran, after| {
            let struck = !after.ends_with("nothing: ");
            assert_eq!(ran.exit.is_none(), struck, "{after}: {ran:#?}");
        });
    }

    fn fail_everywhere(&self) {
        self.try_steps(&["io", "denied", "full"], |_, ran, after| match ran.exit {
            Some(3) => assert!(
                ran.stderr.contains("[project]"),
                "the message names the path, {after}: {}",
                ran.stderr
            ),
            exit => assert!(
                exit.is_some_and(|exit| self.fine.contains(&exit)),
                "{after}: {ran:#?}"
            ),
        });
    }
}

/// What must be as after a clean build.
pub(crate) fn kept(project: &Project) -> State {
    let is_left = |(name, _): &(String, Vec<u8>)| !name.contains(".tmp-");
    let outputs = outputs(project.root())
        .into_iter()
        .filter(is_left)
        .collect();
    let last = project.root().join(".mlbuild/cache/last");
    let names = crate::gc::files(&last).into_iter().map(|(path, bytes)| {
        let name = Path::new(&path).strip_prefix(&last).unwrap();
        (name.display().to_string(), bytes)
    });
    (outputs, names.collect())
}

fn first_build() -> Scenario {
    Scenario::new(tiny(), &["build", "-j1"])
}

fn rebuild() -> Scenario {
    let state = tiny();
    state.build(&[]);
    edit(&state);
    Scenario::new(state, &["build", "-j1"])
}

/// Only what the last build remembered of files is no longer true: they are copies.
fn null_build() -> Scenario {
    let state = tiny();
    state.build(&[]);
    Scenario::new(state, &["build", "-j1"])
}

fn collection() -> Scenario {
    let state = tiny();
    state.build(&[]);
    edit(&state);
    state.build(&[]);
    Scenario::new(state, &["gc", "--grace", "1ms", "--keep-last", "0"])
}

fn repair() -> Scenario {
    let state = tiny();
    state.build(&[]);
    let cache = state.root().join(".mlbuild/cache");
    for folder in ["objects", "results", "listings", "memos", "last"] {
        let (path, mut bytes) = crate::gc::files(&cache.join(folder)).swap_remove(0);
        fs::remove_file(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    state.write(".mlbuild/cache/version", "mine!");
    Scenario {
        is_repair: true,
        fine: &[0, 1],
        ..Scenario::new(state, &["fsck", "--repair"])
    }
}

fn pin() -> Scenario {
    let state = tiny();
    state.build(&[]);
    Scenario::new(state, &["pin", "data:page", "--name", "v1"])
}

fn cleaning(command: &'static [&'static str]) -> Scenario {
    let state = tiny();
    state.build(&[]);
    assert_eq!(state.run(&["pin", "data:total"]).exit, Some(0));
    Scenario::new(state, command)
}

#[test]
fn a_first_build_may_end_anywhere() {
    first_build().abort_everywhere();
}

#[test]
fn a_first_build_may_meet_any_error() {
    first_build().fail_everywhere();
}

#[test]
fn a_rebuild_may_end_anywhere() {
    rebuild().abort_everywhere();
}

#[test]
fn a_rebuild_may_meet_any_error() {
    rebuild().fail_everywhere();
}

#[test]
fn a_null_build_may_end_anywhere_or_meet_any_error() {
    let scenario = null_build();
    scenario.abort_everywhere();
    scenario.fail_everywhere();
}

/// An error is said, by a failure or, if only a memory is lost, by a warning.
#[test]
fn a_memory_that_cannot_be_written_is_a_warning() {
    let scenario = null_build();
    let memories = |step: &&String| {
        ["stat-index", "lineage.db"]
            .iter()
            .any(|it| step.contains(it))
    };
    let steps = scenario.steps();
    let steps: Vec<&String> = steps.iter().filter(memories).collect();
    assert!(steps.len() >= 3, "{steps:?}");
    for step in steps {
        let (number, _) = step.split_once(' ').unwrap();
        let (project, report) = scenario.copy();
        let (ran, struck) = scenario.run(&project, &report, "io", number.parse().unwrap());
        assert_eq!(ran.exit, Some(0), "{struck}: {ran:#?}");
        assert!(ran.stderr.contains("[project]"), "{struck}: {ran:#?}");
    }
}

#[test]
fn a_collection_may_end_anywhere_or_meet_any_error() {
    let scenario = collection();
    scenario.abort_everywhere();
    scenario.fail_everywhere();
}

#[test]
fn a_repair_may_end_anywhere_or_meet_any_error() {
    let scenario = repair();
    scenario.abort_everywhere();
    scenario.fail_everywhere();
}

#[test]
fn a_pin_may_end_anywhere_or_meet_any_error() {
    let scenario = pin();
    scenario.abort_everywhere();
    scenario.fail_everywhere();
}

#[test]
fn cleaning_may_end_anywhere_or_meet_any_error() {
    for command in [&["clean", "--cache"], &["clean", "--all"]] {
        let scenario = cleaning(command);
        scenario.abort_everywhere();
        scenario.fail_everywhere();
    }
}
