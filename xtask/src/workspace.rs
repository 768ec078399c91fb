//! Where things are in this repository, and how its programs are started.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // Cargo sets it at run time; a repository that was moved after the build is then found nevertheless.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(Path::to_owned).unwrap_or(here)
}

/// Where cargo puts what it builds.
pub(crate) fn target(root: &Path) -> PathBuf {
    // Joining an absolute path replaces `root`.
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A call of cargo in `root`.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root);
    command
}

/// Runs a program, its output on the terminal, until it ends.
///
/// # Errors
/// If it cannot be started or fails; the message holds the line to repeat it.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command
        .status()
        .map_err(|error| format!("cannot start `{}`: {error}", line(command)))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` failed ({status})", line(command)))
}

/// What a program prints on stdout.
///
/// # Errors
/// If it cannot be started, fails, or prints anything but UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .map_err(|error| format!("cannot start `{}`: {error}", line(command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{}` failed: {}", line(command), errors.trim()));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| format!("`{}` printed something that is not UTF-8", line(command)))
}

/// The command as one would type it; what looks like a script is cut to its first line.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| {
            word.to_string_lossy()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    words.join(" ")
}
