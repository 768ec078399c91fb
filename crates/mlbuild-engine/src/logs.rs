//! The log of each target: what its actions printed the last time they executed.
//!
//! One file a target, `logs/KIND/NAME.log`, begun anew when a target starts to execute; a line that says
//! so stands before each stage's own lines. Logs are for people: nothing reads them to decide.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use mlbuild_disk as disk;
use mlbuild_manifest::Label;

/// Where the log of `label` is, below the project's state folder.
pub fn log_path(state: &Path, label: &Label) -> PathBuf {
    state
        .join("logs")
        .join(label.kind().as_str())
        .join(format!("{}.log", label.name()))
}

/// The open logs of one build.
pub(crate) struct Logs<'a> {
    state: &'a Path,
    open: BTreeMap<Label, disk::Log>,
}

impl<'a> Logs<'a> {
    pub(crate) fn new(state: &'a Path) -> Self {
        Self {
            state,
            open: BTreeMap::new(),
        }
    }

    /// Notes that a stage of `label` starts.
    pub(crate) fn start(&mut self, label: &Label, stage: &str) -> io::Result<()> {
        if !self.open.contains_key(label) {
            let path = log_path(self.state, label);
            if let Some(folder) = path.parent() {
                disk::create_folders(folder)?;
            }
            self.open.insert(label.clone(), disk::Log::create(&path)?);
        }
        self.line(label, &format!("--- {stage}"))
    }

    /// Adds a line to the log of a target that has started.
    pub(crate) fn line(&mut self, label: &Label, line: &str) -> io::Result<()> {
        match self.open.get_mut(label) {
            Some(log) => log.line(line),
            None => Ok(()),
        }
    }

    /// Closes the log of `label`.
    pub(crate) fn finish(&mut self, label: &Label) {
        self.open.remove(label);
    }
}
