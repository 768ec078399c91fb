//! The chores of this repository, as `cargo xtask COMMAND`.
//!
//! Every command checks what it needs before it builds anything, stops at the first step that fails and names it, and
//! may be run again at no cost.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "chores start programs, read the environment and print; nothing here is part of a build"
)]

mod crash;
mod demo;
mod example;
mod figures;
mod functions;
mod fuzz;
mod libtorch;
mod models;
mod prerequisites;
mod readers;
mod resume;
mod steps;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

/// What a chore ends with: nothing, or what went wrong in words for its user.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  setup   get libtorch into .libtorch/ (three pinned wheels, once)
  demo    setup, release builds, and the example examples/recs from raw events to its report
  test    setup, then format, lint, tidy, docs and every test; what CI runs
  crash   builds ended at every step, losses of power, a loop of kills; `--kills N` says how many
  fuzz --seconds N
          the fuzz tests with fresh seeds, for so long
  tidy    the rules of ARCHITECTURE.md that a machine can hold
  help    this text";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = workspace::root();
    let result = match words[..] {
        ["setup"] => setup(&root),
        ["demo"] => demo::run(&root),
        ["test"] => test::run(&root),
        ["crash", ref more @ ..] if let Some(kills) = crash::kills(more) => {
            crash::run(&root, kills)
        }
        ["fuzz", "--seconds", seconds] => fuzz::run(&root, seconds),
        ["tidy"] => tidy::run(&root),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => {
            eprintln!("error: unknown command `{}`\n\n{HELP}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn setup(root: &std::path::Path) -> Result {
    prerequisites::check(prerequisites::BUILD)?;
    libtorch::setup(root)
}
