//! The command line, tested as its users meet it: real projects, the real binary, its output and exit status.
//!
//! Nothing here needs libtorch, Python or a network; `cargo xtask test` runs the example that does.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests run the binary and stop at the first surprise"
)]

mod bad_input;
mod build;
mod columns;
mod commands;
mod cutoff;
mod diff;
mod explain;
mod faults;
mod identity;
mod project;
mod verify;
