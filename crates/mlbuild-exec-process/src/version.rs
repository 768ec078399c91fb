//! The version of a program, as it names it itself: the first line that `PROGRAM --version` prints.
//!
//! Asking starts the program, so the answer is remembered by the program's path, size and times; a build in which
//! nothing changed asks nobody. The path is no part of the answer: machines that say the same version share results.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use mlbuild_action::{Diagnostic, Failure, ProjectFiles};
use mlbuild_digest::{Digest, Encoder};

use crate::ProcessSettings;
use crate::executor::on_path;

/// The version of the program `tool`.
///
/// # Errors
/// [`Failure::Environment`] if it is not there or does not say.
pub(crate) fn version(
    tool: &str,
    settings: &ProcessSettings,
    project: &mut dyn ProjectFiles,
    started: &AtomicU64,
) -> Result<String, Failure> {
    settings.note_path(project);
    let program = on_path(&settings.path, tool, &mut |file| project.look(file));
    let program = program.ok_or_else(|| {
        let message = format!("there is no program `{tool}` on the `PATH`");
        let help = "install it, or take it out of `tools`";
        Failure::Environment(Diagnostic::error("process::no-tool", message).help(help))
    })?;
    let key = key(&program);
    let known = key.and_then(|key| project.memo(&key));
    if let Some(version) = known.and_then(|bytes| String::from_utf8(bytes).ok()) {
        return Ok(version);
    }
    started.fetch_add(1, Ordering::Relaxed);
    let version = ask(&program, settings).ok_or_else(|| {
        let message = format!("`{tool} --version` does not say a version");
        let help =
            "`tools` is for programs that do; one of your own belongs in `srcs`, by its content";
        Failure::Environment(Diagnostic::error("process::no-version", message).help(help))
    })?;
    if let Some(key) = key {
        project.remember(&key, version.as_bytes());
    }
    Ok(version)
}

/// What the answer depends on; `None` if the program cannot be looked at.
fn key(program: &Path) -> Option<Digest> {
    // The file itself, not the link that leads to it.
    let file = fs::canonicalize(program).ok()?;
    let stat = fs::metadata(&file).ok()?;
    let mut encoder = Encoder::new("mlbuild tool version v1");
    encoder.part("path", file.as_os_str().as_encoded_bytes());
    encoder.part("size", &stat.size().to_le_bytes());
    for time in [
        stat.mtime(),
        stat.mtime_nsec(),
        stat.ctime(),
        stat.ctime_nsec(),
    ] {
        encoder.part("time", &time.to_le_bytes());
    }
    Some(encoder.finish())
}

#[expect(
    clippy::disallowed_methods,
    reason = "starting processes is what this crate is for"
)]
fn ask(program: &Path, settings: &ProcessSettings) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .env_clear()
        .env("PATH", &settings.path)
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    let line = printed
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())?;
    output.status.success().then(|| line.to_owned())
}
