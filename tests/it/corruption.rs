//! Damage: whatever file of a project's state is damaged in whatever way, no command believes it.
//!
//! A small complete project is built and kept. Each case takes a fresh copy of its state, damages one file, runs a
//! command that reads and then a build, which places all outputs anew; every other case changes a query before, so that
//! actions read what the cache holds. The law: a command ends well or says why with exit status 3, nothing panics or
//! hangs, the outputs are a clean build's after one build more at most, and after `fsck --repair`, where `fsck` asks for
//! it, the state is sound.
//!
//! Places are drawn with a seed, which a failure names. `MLBUILD_ROUNDS` (1) is how many draws each file gets; plain
//! `cargo test` damages one file of each part in each way. What decoders make of every single bit is held in
//! `mlbuild-cache`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use mlbuild_testing::Draw;

use crate::gc::files;
use crate::project::{Project, Ran, copy_folder, outputs};

/// The parts of a state, by the start of their paths below `.mlbuild`.
const PARTS: [&str; 11] = [
    "cache/objects/",
    "cache/results/",
    "cache/listings/",
    "cache/memos/",
    "cache/last/",
    "cache/pins/",
    "cache/stat-index",
    "cache/version",
    "cache/lock",
    "lineage.db",
    "logs/",
];

/// Commands that read. What they print is not looked at: only that they end, and how.
pub(crate) const READERS: [&[&str]; 9] = [
    &["why", "data:page"],
    &["show", "data:total"],
    &["plan"],
    &["ls"],
    &["diff"],
    &["lineage", "data:page"],
    &["query", "select * from targets"],
    &["log"],
    &["cache", "stats"],
];

/// A command that has not ended by then hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
enum Damage {
    FlipFirst,
    FlipMiddle,
    FlipLast,
    FlipAnywhere,
    Cut,
    Empty,
    Append,
    Folder,
}

/// A project with every kind of state, and what it is after each of the two builds of a case.
struct Template {
    project: Project,
    /// Outputs as they are declared.
    whole: Vec<(String, Vec<u8>)>,
    /// Outputs after [`change`].
    changed: Vec<(String, Vec<u8>)>,
}

/// Makes the leaf another query, so that its action reads what the cache holds of its input.
fn change(project: &Project) {
    project.replace("data/page.sql", "total * 2", "total * 3");
}

impl Template {
    fn new() -> Self {
        let project = Project::sums().file("raw/words", "one\n");
        let manifest = project.read("mlbuild.toml");
        let copy = "[data.copy]\ncommand = \"cat {src}/raw/words > {out}; echo copied\"\nsrcs = [\"raw/words\"]\nout = \"words\"\nformat = \"files\"\n";
        let check = "[data.total.checks]\nrows = \">= 1\"\nnot_null = [\"total\"]\n";
        project.write("mlbuild.toml", format!("{manifest}\n{copy}\n{check}"));
        project.build(&[]);
        // A second run and a second state, for `diff` and `why`.
        project.write("raw/orders.csv", "id,amount,note\n1,10,a\n2,33,b\n");
        project.build(&[]);
        assert_eq!(
            project.run(&["pin", "data:page", "--name", "v1"]).exit,
            Some(0)
        );
        // A source that is no longer young is not digested again, so the stat index is believed.
        std::thread::sleep(Duration::from_millis(100));
        project.build(&[]);
        let whole = outputs(project.root());
        let other = Project::empty();
        copy_folder(project.root(), other.root(), &[".mlbuild", "out"]);
        change(&other);
        other.build(&[]);
        let changed = outputs(other.root());
        assert_ne!(whole, changed);
        Self {
            project,
            whole,
            changed,
        }
    }

    /// The files of a part, relative to `.mlbuild`.
    fn part(&self, part: &str) -> Vec<PathBuf> {
        let state = self.project.root().join(".mlbuild");
        let all = files(&state).into_iter();
        let all = all.map(|(path, _)| Path::new(&path).strip_prefix(&state).unwrap().to_owned());
        let all: Vec<_> = all.filter(|path| path.starts_with(part)).collect();
        assert!(!all.is_empty(), "the project has {part}");
        all
    }

    /// A copy without outputs.
    fn copy(&self) -> Project {
        let copy = Project::empty();
        copy_folder(self.project.root(), copy.root(), &["out"]);
        copy
    }
}

fn damage(path: &Path, how: Damage, draw: &mut Draw) {
    let mut bytes = fs::read(path).unwrap();
    let length = bytes.len();
    let bit = 1 << draw.below(8);
    let mut flip = |at: usize| match bytes.get_mut(at) {
        Some(byte) => *byte ^= bit,
        None => bytes.push(bit),
    };
    match how {
        Damage::FlipFirst => flip(0),
        Damage::FlipMiddle => flip(length / 2),
        Damage::FlipLast => flip(length.saturating_sub(1)),
        Damage::FlipAnywhere => flip(draw.below(length)),
        Damage::Cut => bytes.truncate(draw.below(length)),
        Damage::Empty => bytes.clear(),
        Damage::Append => bytes.extend(b"\0garbage\n"),
        Damage::Folder => {}
    }
    fs::remove_file(path).unwrap();
    match how {
        Damage::Folder => fs::create_dir(path).unwrap(),
        _ => fs::write(path, bytes).unwrap(),
    }
}

/// Runs a command that must end by itself.
pub(crate) fn run(project: &Project, arguments: &[&str]) -> Ran {
    let mut child = project
        .command(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    // What these commands print fits into a pipe, so nobody has to read along.
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("`mlbuild {}` hangs", arguments.join(" "));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output: Output = child.wait_with_output().unwrap();
    project.ran(output)
}

/// Expects success, or exit status 3 and a reason.
#[track_caller]
fn assert_clear(ran: &Ran, arguments: &[&str], case: &str) {
    let clear = match ran.exit {
        Some(0) => true,
        // An emptied database is what a build leaves that was killed while it made it.
        Some(2) => ran.stderr.contains("nothing has been built here yet"),
        Some(3) => !ran.stderr.trim().is_empty() || ran.stdout.contains("damaged"),
        _ => false,
    };
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        clear && !said.contains("panicked"),
        "{case}: {arguments:?}: {:?} {said}",
        ran.exit
    );
}

/// One case, from damage to health.
fn check(template: &Template, path: &Path, how: Damage, number: usize, draw: &mut Draw) {
    let case = format!("{} {how:?}, case {number}", path.display());
    let project = template.copy();
    damage(&project.root().join(".mlbuild").join(path), how, draw);
    let expected = match number % 2 {
        0 => &template.whole,
        _ => {
            change(&project);
            &template.changed
        }
    };
    let reader = READERS[number % READERS.len()];
    assert_clear(&run(&project, reader), reader, &case);

    let built = run(&project, &["build"]);
    assert_clear(&built, &["build"], &case);
    let found = outputs(project.root());
    let wrong = |file: &&(String, Vec<u8>)| !expected.contains(file);
    assert_eq!(
        found.iter().find(wrong).map(|(path, _)| path),
        None,
        "{case}: wrong bytes in out/"
    );
    let checked = run(&project, &["fsck", "--repair"]);
    let refused = checked.exit == Some(3);
    if refused {
        // A version that reads as a newer one cannot be told from one, and is not for us to change.
        let version = project.read(".mlbuild/cache/version");
        let newer = version.trim().parse().is_ok_and(|version: u32| version > 1);
        assert!(
            newer && checked.stderr.contains("layout"),
            "{case}: {}",
            checked.stderr
        );
        fs::write(project.root().join(".mlbuild/cache/version"), "1\n").unwrap();
    }
    let again = run(&project, &["build"]);
    assert_eq!(again.exit, Some(0), "{case}: {}", again.stderr);
    assert_eq!(&outputs(project.root()), expected, "{case}");
    if number % 2 == 1 {
        // The pin holds the first state: what it lacks is made again only when that is built again.
        project.replace("data/page.sql", "total * 3", "total * 2");
        let back = run(&project, &["build"]);
        assert_eq!(back.exit, Some(0), "{case}: {}", back.stderr);
        assert_eq!(outputs(project.root()), template.whole, "{case}");
    }
    let sound = run(&project, &["fsck"]);
    if path.starts_with("lineage.db") && sound.exit == Some(1) {
        // What can be rescued from it cannot be made again: it is named, and left as it is.
        assert!(
            sound.stdout.contains("lineage.db"),
            "{case}: {}",
            sound.stdout
        );
        assert!(!sound.stdout.contains("cache/"), "{case}: {}", sound.stdout);
    } else {
        assert_eq!(
            sound.exit,
            Some(0),
            "{case}: {}{}",
            sound.stdout,
            sound.stderr
        );
    }
}

fn rounds() -> usize {
    std::env::var("MLBUILD_ROUNDS").map_or(0, |rounds| {
        rounds.parse().expect("MLBUILD_ROUNDS is a number")
    })
}

fn check_all(damages: &[Damage], seed: u64) {
    let template = Template::new();
    let mut draw = Draw::new(seed);
    let mut number = draw.below(100);
    let mut cases = 0;
    for how in damages {
        for part in PARTS {
            let files = template.part(part);
            let chosen = match rounds() {
                0 => vec![&files[draw.below(files.len())]],
                rounds => files.iter().flat_map(|file| vec![file; rounds]).collect(),
            };
            for path in chosen {
                cases += 1;
                number += 1;
                check(&template, path, *how, number, &mut draw);
            }
        }
    }
    println!("{cases} cases");
}

#[test]
fn a_flipped_byte_at_the_ends_is_never_believed() {
    check_all(&[Damage::FlipFirst, Damage::FlipLast], 1);
}

#[test]
fn a_flipped_byte_within_is_never_believed() {
    check_all(&[Damage::FlipMiddle, Damage::FlipAnywhere], 2);
}

#[test]
fn a_file_that_was_cut_or_grew_is_never_believed() {
    check_all(&[Damage::Cut, Damage::Append], 3);
}

#[test]
fn an_empty_file_or_a_folder_in_its_place_is_never_believed() {
    check_all(&[Damage::Empty, Damage::Folder], 4);
}
