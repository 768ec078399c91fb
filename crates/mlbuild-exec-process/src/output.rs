//! What a command left in its output folder, held against what it declared.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mlbuild_action::{Command, Diagnostic, Failure, Request};

use crate::digest;
use crate::stage::{Stage, files};

/// How many file names a diagnostic lists.
const LISTED: usize = 10;

/// Checks the output folder after a command succeeded.
pub(crate) fn check(
    request: &Request<'_>,
    command: &Command,
    stage: &Stage<'_>,
) -> Result<(), Failure> {
    let io = |error| crate::executor::io_failure("cannot read what the command wrote", &error);
    let written = files(request.output).map_err(io)?;
    for file in &written {
        check_regular(request.output, file).map_err(io)??;
    }
    match &command.out {
        None if written.is_empty() => {
            let elsewhere = stage.written().map_err(io)?;
            Err(no_output(
                "the command wrote nothing to its output folder `{out}`",
                &elsewhere,
            ))
        }
        None => Ok(()),
        Some(out) if !written.iter().any(|file| file == Path::new(out)) => {
            let mut elsewhere = stage.written().map_err(io)?;
            elsewhere.extend(
                written
                    .iter()
                    .map(|file| Path::new("{out folder}").join(file)),
            );
            Err(no_output(
                &format!("the command succeeded but did not write its output `{out}`"),
                &elsewhere,
            ))
        }
        Some(out) => {
            check_alone(out, &written)?;
            check_digest(&request.output.join(out), command)
        }
    }
}

/// Regular files only, readable by us: the cache holds nothing else.
pub(crate) fn check_regular(folder: &Path, file: &Path) -> io::Result<Result<(), Failure>> {
    let path = folder.join(file);
    let metadata = fs::symlink_metadata(&path)?;
    let kind = metadata.file_type();
    if kind.is_file() {
        let mode = metadata.permissions().mode();
        if mode & 0o400 == 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o600))?;
        }
        return Ok(Ok(()));
    }
    let what = match () {
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    let message = format!("the output `{}` is {what}", file.display());
    Ok(Err(Failure::Failed(
        Diagnostic::error("command::not-a-file", message).help(
            "an artifact is made of regular files and folders; write or copy the content itself",
        ),
    )))
}

fn check_alone(out: &str, written: &[PathBuf]) -> Result<(), Failure> {
    let extra: Vec<_> = written
        .iter()
        .filter(|file| *file != Path::new(out))
        .cloned()
        .collect();
    if extra.is_empty() {
        return Ok(());
    }
    let message = format!("the command wrote more than its declared output `{out}`");
    Err(Failure::Failed(
        Diagnostic::error("command::extra-output", message)
            .help(
                "write temporary files to `$TMPDIR`, or leave `out` away to keep the whole folder",
            )
            .detail(listed(&extra)),
    ))
}

fn check_digest(file: &Path, command: &Command) -> Result<(), Failure> {
    let Some(pinned) = &command.digest else {
        return Ok(());
    };
    let io = |error| crate::executor::io_failure("cannot read what the command wrote", &error);
    let actual = digest::actual(file, pinned).map_err(io)?;
    if actual == *pinned {
        return Ok(());
    }
    let actual = digest::spelled(&actual);
    Err(Failure::Failed(
        Diagnostic::error(
            "command::digest-mismatch",
            "the output does not have the pinned digest",
        )
        .help(format!(
            "if the new content is the one you want, write: digest = \"{actual}\""
        ))
        .detail([
            format!("expected  {}", digest::spelled(pinned)),
            format!("actual    {actual}"),
        ]),
    ))
}

fn no_output(message: &str, elsewhere: &[PathBuf]) -> Failure {
    let mut diagnostic = Diagnostic::error("command::no-output", message)
        .help("the command must write to the path that `{out}` stands for");
    if !elsewhere.is_empty() {
        diagnostic = diagnostic
            .detail(["it wrote instead:".to_owned()])
            .detail(listed(elsewhere));
    }
    Failure::Failed(diagnostic)
}

fn listed(files: &[PathBuf]) -> Vec<String> {
    let mut lines: Vec<_> = files
        .iter()
        .take(LISTED)
        .map(|file| format!("  {}", file.display()))
        .collect();
    if files.len() > LISTED {
        lines.push(format!("  and {} more", files.len() - LISTED));
    }
    lines
}
