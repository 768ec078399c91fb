//! Runs declared commands, and functions of the project, as isolated processes.
//!
//! A process gets what it declared and nothing else: a cleared environment, a home and a folder for
//! temporary files of its own, no terminal. So an input that was not declared is missing at once, rather than stale
//! some day. On Linux, Landlock refuses reads of all but these and the machine's tools, writes outside the output and
//! the scratch folder, and TCP unless the output's digest is pinned; where it is missing the process runs all the same,
//! and [`sandbox_status`] says so.
//!
//! A function's process is a fork of one that has its libraries imported already, where that is sound.
//!
//! Placeholders in the command line are the one way to name files: `{out}`, `{src}`, `{input:data:orders}`.
//!
//! Invariants: no process outlives [`Executor::execute`](mlbuild_action::Executor::execute) unless it left its
//! session *and* closed its output; what is left in the output folder after a success is exactly the declared artifact,
//! regular files only; inputs are never written through: where the kernel does not refuse a process every write to them, it
//! only ever sees copies.
//!
//! Not here: which tools a command calls is not part of its identity yet.

mod digest;
mod events;
mod executor;
mod lines;
mod log;
mod output;
mod placeholder;
mod process;
mod python;
mod sandbox;
#[cfg_attr(not(target_os = "linux"), path = "spawn_by_fork.rs")]
mod spawn;
mod stage;
mod tools;
mod training;
mod undeclared;
mod variables;
mod version;

pub use executor::{ProcessExecutor, ProcessSettings};
pub use sandbox::{SandboxMode, SandboxStatus, sandbox_status};
