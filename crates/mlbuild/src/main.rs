//! The binary: reads the command line, wires the crates together, prints, and chooses the exit status.
//!
//! Nothing is decided here that a library could decide. The heavy parts (DataFusion, SQLite) are only
//! touched by the commands that need them.

mod cli;
mod commands;
mod console;
mod env;
mod failure;
#[cfg(test)]
mod fuzz;
mod git;
mod gpu;
mod interrupt;
mod json;
mod load;
mod lock;
mod tables;
mod terminal;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::{CommandFailure, EXIT_BUG};
use crate::terminal::Terminal;

fn main() -> ExitCode {
    #[cfg(debug_assertions)]
    env::arm_fault();
    // Parsing ends the process itself for --help and --version (0) and for wrong usage (2).
    let cli = Cli::parse();
    interrupt::ignore_file_size_signal();
    let terminal = Terminal::new(&cli.global);
    let ended = std::panic::catch_unwind(|| run(&cli, &terminal));
    ExitCode::from(match ended {
        Ok(Ok(exit)) => exit,
        Ok(Err(CommandFailure { diagnostics, exit })) => {
            terminal.diagnostics(&diagnostics, &[]);
            exit
        }
        Err(_) => {
            let diagnostic = mlbuild_action::Diagnostic::error(
                "mlbuild::bug",
                "mlbuild panicked: this is a bug",
            )
            .help("nothing half-written is ever used; please report it with the lines above");
            terminal.diagnostics(&[diagnostic], &[]);
            EXIT_BUG
        }
    })
}

fn run(cli: &Cli, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let global = &cli.global;
    match &cli.command {
        Command::Init(args) => commands::init::run(args, global, terminal),
        Command::Build(args) if args.dry_run => {
            commands::plan::run(&args.selection, global, terminal)
        }
        Command::Build(args) => commands::build::run(args, global, terminal),
        Command::Plan(args) => commands::plan::run(&args.selection, global, terminal),
        Command::Why(args) => commands::why::run(args, global, terminal),
        Command::Ls(args) => commands::ls::run(args, global, terminal),
        Command::Show(args) => commands::show::run(args, global, terminal),
        Command::Diff(args) => commands::diff::run(args, global, terminal),
        Command::Lineage(args) => commands::lineage::run(args, global, terminal),
        Command::Runs(args) => commands::runs::run(args, global, terminal),
        Command::Query(args) => commands::query::run(args, global, terminal),
        Command::Verify(args) => commands::verify::run(&args.selection, global, terminal),
        Command::Pin(args) => commands::pin::pin(args, global, terminal),
        Command::Unpin(args) => commands::pin::unpin(args, global, terminal),
        Command::Cache(command) => commands::cache::run(command, global, terminal),
        Command::Fsck(args) => commands::fsck::run(args, global, terminal),
        Command::Gc(args) => commands::gc::run(args, global, terminal),
        Command::Log(args) => commands::log::run(args, global, terminal),
        Command::Clean(args) => commands::clean::run(args, global, terminal),
        Command::Doctor(args) => commands::doctor::run(args, global, terminal),
        Command::Completions(args) => commands::completions::run(args),
    }
}
