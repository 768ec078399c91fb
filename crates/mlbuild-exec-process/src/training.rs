//! What a process may do beside because it fits a model: keep checkpoints.

use std::fs;
use std::io;
use std::path::Path;

use mlbuild_action::{Failure, Request, Training};

use crate::executor::io_failure;

/// The variable that names the folder for checkpoints.
pub(crate) const CHECKPOINTS: &str = "MLBUILD_CHECKPOINTS";

/// The folder for checkpoints while a process runs. It is there, since a sandbox opens what is there alone, and goes
/// afterwards if nothing was put into it.
pub(crate) struct Checkpoints<'a>(Option<&'a Path>);

impl<'a> Checkpoints<'a> {
    /// Makes the folder, if it is for a training and not there yet.
    ///
    /// # Errors
    /// Those of making it.
    pub(crate) fn new(request: &Request<'a>, training: Option<&Training>) -> Result<Self, Failure> {
        let path = training.map(|_| request.checkpoints);
        let made = path.map_or(Ok(()), fs::create_dir_all);
        let failed =
            |error: io::Error| io_failure("cannot make the folder for checkpoints", &error);
        made.map(|()| Self(path)).map_err(failed)
    }

    pub(crate) fn path(&self) -> Option<&'a Path> {
        self.0
    }
}

impl Drop for Checkpoints<'_> {
    fn drop(&mut self) {
        // Fails if there is something in it, as it should.
        let _ = self.0.map(fs::remove_dir);
    }
}
