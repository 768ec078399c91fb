//! `mlbuild completions`: a script that teaches the shell our command line.

use clap::CommandFactory;

use crate::cli::{Cli, Completions};
use crate::failure::CommandFailure;

pub(crate) fn run(args: &Completions) -> Result<u8, CommandFailure> {
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "mlbuild",
        &mut std::io::stdout(),
    );
    Ok(0)
}
