//! One build at a time: an advisory lock (`flock`) on the file `lock`, which also says who holds it.
//!
//! The system releases the lock when its holder ends, however it ends; the file stays. Readers take no lock.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::error::At;
use crate::{Cache, CacheError};

/// How often a waiting build looks whether the lock is free.
const POLL: Duration = Duration::from_millis(100);

/// The right to build in this project, until dropped.
#[derive(Debug)]
pub struct ProjectLock {
    _file: File,
}

/// Who holds the lock, as far as known: it may have ended meanwhile.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holder {
    /// Its process id.
    pub pid: Option<u32>,
    /// What it said about itself: its command line, when it started.
    pub about: String,
}

impl Cache {
    /// Takes the lock if it is free, and removes what dead builds left. `about` (one line) is what others are told.
    ///
    /// # Errors
    /// Those of making the cache's folder and the lock file: a read-only project cannot be locked.
    pub fn try_lock(&self, about: &str) -> Result<Result<ProjectLock, Holder>, CacheError> {
        self.ensure()?;
        let path = self.root.join("lock");
        if path.is_dir() {
            self.quarantine(&path);
        }
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Ok(Err(holder(&fs::read(&path).unwrap_or_default())));
            }
            Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
        }
        let about = about.lines().next().unwrap_or_default();
        let text = format!("{}\n{about}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .at("write", &path)?;
        self.sweep();
        Ok(Ok(ProjectLock { _file: file }))
    }

    /// Takes the lock, waiting while another build holds it. `waiting` is called at once and then about every 100 ms,
    /// to tell the user and to stop waiting: then the answer is `None`.
    ///
    /// # Errors
    /// Those of [`Cache::try_lock`].
    pub fn lock(
        &self,
        about: &str,
        waiting: &mut dyn FnMut(&Holder) -> ControlFlow<()>,
    ) -> Result<Option<ProjectLock>, CacheError> {
        loop {
            match self.try_lock(about)? {
                Ok(lock) => return Ok(Some(lock)),
                Err(holder) => {
                    if waiting(&holder).is_break() {
                        return Ok(None);
                    }
                    std::thread::sleep(POLL);
                }
            }
        }
    }
}

fn holder(text: &[u8]) -> Holder {
    let mut first_bytes = String::new();
    let _ = text.take(4096).read_to_string(&mut first_bytes);
    let mut lines = first_bytes.lines();
    Holder {
        pid: lines.next().and_then(|pid| pid.parse().ok()),
        about: lines.next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_build_learns_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let first = cache.try_lock("build model:recs").unwrap().unwrap();

        let other = Cache::open(dir.path()).unwrap();
        let holder = other.try_lock("build").unwrap().unwrap_err();
        assert_eq!(holder.pid, Some(std::process::id()));
        assert_eq!(holder.about, "build model:recs");

        drop(first);
        assert!(other.try_lock("build").unwrap().is_ok());
    }

    #[test]
    fn waiting_ends_when_the_lock_is_free_or_the_waiter_gives_up() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let mut first = Some(cache.try_lock("first").unwrap().unwrap());
        let gave_up = cache
            .lock("second", &mut |_| ControlFlow::Break(()))
            .unwrap();
        assert!(gave_up.is_none());
        let locked = cache
            .lock("second", &mut |_| {
                first = None;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(locked.is_some());
    }
}
