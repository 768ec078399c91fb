//! Why a command ends without success, and the exit status that says so.

use mlbuild_action::Diagnostic;
use mlbuild_cache::CacheError;
use mlbuild_engine::Fault;

/// Exit status of a failed action, check or gate.
pub(crate) const EXIT_FAILED: u8 = 1;
/// Exit status of a mistake of the user.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Exit status of a failure of the environment.
pub(crate) const EXIT_ENVIRONMENT: u8 = 3;
/// Exit status of a bug of ours.
pub(crate) const EXIT_BUG: u8 = 101;
/// Exit status after an interrupt: 128 + SIGINT, as shells expect.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// The end of a command that did not succeed: what to show, and the exit status.
#[derive(Debug)]
pub(crate) struct CommandFailure {
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) exit: u8,
}

impl CommandFailure {
    pub(crate) fn new(exit: u8, diagnostic: Diagnostic) -> Self {
        Self {
            diagnostics: vec![diagnostic],
            exit,
        }
    }

    /// A failure whose diagnostics were shown already.
    pub(crate) fn shown(exit: u8) -> Self {
        Self {
            diagnostics: Vec::new(),
            exit,
        }
    }

    pub(crate) fn io(what: &str, path: &std::path::Path, e: &std::io::Error) -> Self {
        let message = format!("cannot {what} `{}`: {e}", path.display());
        Self::new(EXIT_ENVIRONMENT, Diagnostic::error("io::failed", message))
    }
}

impl From<CacheError> for CommandFailure {
    fn from(error: CacheError) -> Self {
        Self::new(
            EXIT_ENVIRONMENT,
            Diagnostic::error("cache::io", error.to_string()),
        )
    }
}

/// The exit status for the worst of these faults: ours before the environment's before the user's.
pub(crate) fn exit_of(faults: &[Fault]) -> u8 {
    match faults.iter().max() {
        None => 0,
        Some(Fault::Action) => EXIT_FAILED,
        Some(Fault::User) => EXIT_USAGE,
        Some(Fault::Environment) => EXIT_ENVIRONMENT,
        Some(Fault::Bug) => EXIT_BUG,
    }
}
