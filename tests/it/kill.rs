//! A loop of `kill -9`: three processes at once on one project, killed at random moments, again and again.
//!
//! In each round the sources are edited, three commands start at once (builds, collections, checks, repairs), and most of
//! them are killed. Those that live end as they should. Then a check finds nothing wrong, a build succeeds, and its
//! artifacts and keys are those of a clean build.
//!
//! `MLBUILD_KILLS` sets how many processes are killed, `MLBUILD_SEED` which: `cargo xtask crash --kills 1000`.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::crash::{State, kept, tiny_in};
use crate::project::{Project, copy_folder};
use mlbuild_testing::{Dice, setting};

/// Kills if nothing else is asked for.
const KILLS: u64 = 50;

/// What runs at once, builds more often than the rest.
const COMMANDS: [&[&str]; 8] = [
    &["build", "--json"],
    &["build", "--json"],
    &["build", "--json", "-j1"],
    &["build", "--json", "--force"],
    &["gc", "--grace", "1ms", "--keep-last", "0"],
    &["gc", "--grace", "1ms", "--keep-last", "2"],
    &["fsck"],
    &["fsck", "--repair"],
];

#[test]
fn whatever_is_killed_whenever_the_store_is_sound() {
    // On a disk, since a process is in a sync most of its time there: a kill in the midst of a commit is no rare thing.
    let project = tiny_in(Project::empty());
    let mut dice = Dice::new(setting("MLBUILD_SEED").unwrap_or(0));
    let mut clean = BTreeMap::new();
    let (mut kills, mut rounds) = (0, 0);
    while kills < setting("MLBUILD_KILLS").unwrap_or(KILLS) {
        let edited = edit(&project, &mut dice);
        kills += round(&project, &mut dice);
        rounds += 1;

        let told = format!("after {rounds} rounds and {kills} kills");
        let check = project.run(&["fsck"]);
        assert_eq!(check.exit, Some(0), "{told}: {check:#?}");
        let built = project.try_build(&[]).ran;
        assert_eq!(built.exit, Some(0), "{told}: {}", built.stderr);
        let clean = clean.entry(edited).or_insert_with(|| clean_build(&project));
        assert_eq!(kept(&project), *clean, "{told}");
    }
    println!("{kills} kills in {rounds} rounds: every check found a sound store");
}

/// Edits the sources, in one of a few ways.
fn edit(project: &Project, dice: &mut Dice) -> [usize; 3] {
    let choice = [dice.roll(4), dice.roll(3), dice.roll(2)];
    let [amount, word, factor] = choice;
    project.write("raw/orders.csv", format!("id,amount\n1,{amount}\n2,32\n"));
    project.write("words.txt", format!("one\nword {word}\n"));
    let query = format!("select total, total * {factor} as more from data.total\n");
    project.write("data/page.sql", query);
    choice
}

/// Starts three commands, kills most of them, and says how many.
fn round(project: &Project, dice: &mut Dice) -> u64 {
    let mut running: Vec<(u64, &[&str], Child)> = Vec::new();
    for _ in 0..3 {
        let arguments = COMMANDS[dice.roll(COMMANDS.len())];
        let child = project
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Most end within a fifth of a second once they need not wait for each other.
        running.push((dice.roll(400) as u64, arguments, child));
    }
    running.sort_by_key(|(at, ..)| *at);
    let mut now = 0;
    for (at, _, child) in &mut running {
        let spared = dice.roll(8) == 0;
        if !spared {
            std::thread::sleep(Duration::from_millis(*at - now));
            now = *at;
            let _ = child.kill();
        }
    }
    let mut kills = 0;
    for (_, arguments, child) in running {
        let ran = project.ran(child.wait_with_output().unwrap());
        match ran.exit {
            None => kills += 1,
            exit => assert_eq!(exit, Some(0), "{arguments:?}: {ran:#?}"),
        }
    }
    kills
}

fn clean_build(project: &Project) -> State {
    let clean = Project::in_memory();
    copy_folder(project.root(), clean.root(), &[".mlbuild", "out"]);
    clean.build(&[]);
    kept(&clean)
}
