//! The folders a command works in: its inputs, a home, a place for temporary files.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mlbuild_action::{Command, Request};

use crate::placeholder::Values;

/// The input that holds the project files a command declared.
pub(crate) const SRC: &str = "src";

/// What was laid out for a command.
pub(crate) struct Stage<'a> {
    /// Where it starts: the folder with the project files, or an empty one.
    pub(crate) work: PathBuf,
    /// Its `HOME`.
    pub(crate) home: PathBuf,
    /// Its `TMPDIR`.
    pub(crate) tmp: PathBuf,
    /// Where it keeps checkpoints, if it fits a model.
    pub(crate) checkpoints: Option<&'a Path>,
    /// What its placeholders stand for.
    pub(crate) values: Values,
    /// Files in `work` before it ran, relative.
    pub(crate) given: BTreeSet<PathBuf>,
}

impl<'a> Stage<'a> {
    /// Lays everything out under `request.scratch`; inputs stay where they are if they are safe `in_place`, else they are
    /// copied, so that nothing can be written through.
    pub(crate) fn new(
        request: &Request<'_>,
        command: &Command,
        checkpoints: Option<&'a Path>,
        in_place: bool,
    ) -> io::Result<Self> {
        let [work, home, tmp] = ["work", "home", "tmp"].map(|name| request.scratch.join(name));
        for folder in [&work, &home, &tmp] {
            fs::create_dir(folder)?;
        }
        let mut values = Values::new();
        let out = command
            .out
            .as_ref()
            .map_or(request.output.to_owned(), |out| request.output.join(out));
        if let Some(parent) = out.parent() {
            fs::create_dir_all(parent)?;
        }
        values.insert("out".to_owned(), text(&out)?);
        if let Some(checkpoints) = checkpoints {
            values.insert("checkpoints".to_owned(), text(checkpoints)?);
        }
        for (name, input) in request.inputs {
            if name == SRC {
                copy(&input.path, &work)?;
                values.insert(SRC.to_owned(), text(&work)?);
                continue;
            }
            let folder = if in_place {
                input.path.clone()
            } else {
                let inputs = request.scratch.join("inputs");
                let folder = name
                    .split(':')
                    .fold(inputs, |folder, part| folder.join(part));
                copy(&input.path, &folder)?;
                folder
            };
            let path = if input.table.is_some() {
                folder.join("table.parquet")
            } else {
                folder
            };
            values.insert(format!("input:{name}"), text(&path)?);
        }
        let given = files(&work)?.into_iter().collect();
        Ok(Self {
            work,
            home,
            tmp,
            checkpoints,
            values,
            given,
        })
    }

    /// Files that the command wrote to its working folder, relative, sorted.
    pub(crate) fn written(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = files(&self.work)?;
        files.retain(|file| !self.given.contains(file));
        Ok(files)
    }
}

pub(crate) fn text(path: &Path) -> io::Result<String> {
    let unreadable = || io::Error::other(format!("the path {} is not UTF-8", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(unreadable)
}

/// Copies a folder, links followed, so that nothing in the copy can be written through.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        let metadata = fs::metadata(&path).map_err(|error| named(&path, &error))?;
        if metadata.is_dir() {
            copy(&path, &copied)?;
        } else {
            copy_file(&path, &metadata, &copied).map_err(|error| named(&path, &error))?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, metadata: &fs::Metadata, to: &Path) -> io::Result<()> {
    if !metadata.is_file() {
        return Err(io::Error::other("neither a file nor a folder"));
    }
    // It reflinks where the file system can.
    fs::copy(from, to)?;
    let executable = if metadata.permissions().mode() & 0o100 == 0 {
        0
    } else {
        0o111
    };
    fs::set_permissions(to, fs::Permissions::from_mode(0o644 | executable))
}

/// An error that says which file it is about.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Everything below `folder` that is not a folder, relative to it, sorted.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        for entry in fs::read_dir(folder.join(&relative))? {
            let entry = entry?;
            let path = relative.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
