//! The command line, tested as its users meet it: real projects, the real binary, its output and exit status.
//!
//! Nothing here needs libtorch or a network; what needs Python is ignored by `cargo test` and run by `cargo xtask test`.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests run the binary, stop at the first surprise, and say what they cannot try here"
)]

mod bad_input;
mod build;
mod checkpoints;
mod columns;
mod commands;
mod corruption;
mod crash;
mod cutoff;
mod diff;
mod explain;
mod faults;
mod foreach;
mod fsck;
mod gc;
mod gpus;
mod hostile;
mod identity;
mod kill;
mod moving;
mod profiles;
mod project;
mod python;
mod reports;
mod runs;
mod snapshot;
mod split;
mod together;
mod training;
mod verify;
