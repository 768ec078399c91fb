//! One build at a time: an advisory lock (`flock`) on the file `lock`, which also says who holds it.
//!
//! The system releases the lock when its holder ends, however it ends; the file stays. Readers take no lock.
//!
//! A file system that keeps no lock, or one that other machines do not see, is refused ([`CacheError::NoLock`]).

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mlbuild_disk as disk;

use crate::error::At;
use crate::{Cache, CacheError, network};

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

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.about {
            "" => f.write_str("another process")?,
            about => write!(f, "`mlbuild {about}`")?,
        }
        match self.pid {
            Some(pid) => write!(f, " (process {pid})"),
            None => Ok(()),
        }
    }
}

impl Cache {
    /// Takes the lock if it is free, and removes what dead builds left. `about` (one line) is what others are told.
    ///
    /// # Errors
    /// Those of making the cache's folder and the lock file: a read-only project cannot be locked.
    pub fn try_lock(&self, about: &str) -> Result<Result<ProjectLock, Holder>, CacheError> {
        let path = self.root.join("lock");
        let mut file = loop {
            self.ensure()?;
            if path.is_dir() {
                self.quarantine(&path);
            }
            let file = match disk::open_or_create(&path) {
                // The whole cache was removed since this process made sure of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.writable.store(false, Ordering::Relaxed);
                    continue;
                }
                opened => opened.at("open", &path)?,
            };
            if network::locks_are_local(&path) {
                let why =
                    "this network file system is mounted with locks that other machines do not see";
                return Err(no_lock(&path, why));
            }
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => break file,
                // Who removed the cache held this lock and took its file along: what is there now has another.
                Ok(()) => self.writable.store(false, Ordering::Relaxed),
                Err(TryLockError::WouldBlock) => {
                    return Ok(Err(holder(&fs::read(&path).unwrap_or_default())));
                }
                Err(TryLockError::Error(error)) if is_unsupported(&error) => {
                    return Err(no_lock(
                        &path,
                        &format!("its file system keeps no locks ({error})"),
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
            }
        };
        let about = about.lines().next().unwrap_or_default();
        let text = format!("{}\n{about}\n", std::process::id());
        disk::overwrite(&mut file, &path, text.as_bytes()).at("write", &path)?;
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

fn no_lock(path: &Path, why: &str) -> CacheError {
    CacheError::NoLock {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// Whether a system that refuses a lock has none to give.
fn is_unsupported(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    [libc::ENOLCK, libc::ENOSYS, libc::ENOTSUP, libc::EOPNOTSUPP].contains(&number.unwrap_or(0))
}

/// Whether `file` is what `path` names.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (ours, there) = (
        file.metadata().map(identity),
        fs::metadata(path).map(identity),
    );
    matches!((ours, there), (Ok(ours), Ok(there)) if ours == there)
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
        let said = format!(
            "`mlbuild build model:recs` (process {})",
            std::process::id()
        );
        assert_eq!(holder.to_string(), said);
        assert_eq!(Holder::default().to_string(), "another process");

        drop(first);
        assert!(other.try_lock("build").unwrap().is_ok());
    }

    #[test]
    fn a_lock_is_of_the_cache_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("cache");
        let cache = Cache::open(&root).unwrap();
        let first = cache.try_lock("clean").unwrap().unwrap();
        // Who holds the lock removes the whole cache, and another process begins a new one.
        fs::rename(&root, dir.path().join("removed")).unwrap();
        let waiting = Cache::open(&root).unwrap();
        let second = waiting.try_lock("build").unwrap().unwrap();
        assert_eq!(cache.try_lock("build").unwrap().unwrap_err().about, "build");
        drop(first);
        drop(second);
        assert!(cache.try_lock("build").unwrap().is_ok());
        assert!(root.join("lock").exists());
    }

    #[test]
    fn a_lock_file_that_was_removed_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        fs::write(&one, "").unwrap();
        let file = File::open(&one).unwrap();
        assert!(is_at(&file, &one));
        fs::write(&other, "").unwrap();
        fs::rename(&other, &one).unwrap();
        assert!(!is_at(&file, &one));
        fs::remove_file(&one).unwrap();
        assert!(!is_at(&file, &one));
    }

    #[test]
    fn a_file_system_without_locks_is_named_as_such() {
        for number in [libc::ENOLCK, libc::EOPNOTSUPP, libc::ENOSYS] {
            assert!(is_unsupported(&io::Error::from_raw_os_error(number)));
        }
        assert!(!is_unsupported(&io::Error::from_raw_os_error(libc::EIO)));
        let error = no_lock(Path::new("p/lock"), "its file system keeps no locks (why)");
        assert_eq!(
            error.to_string(),
            "cannot lock `p/lock`: its file system keeps no locks (why); put the project on a file system that keeps locks"
        );
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
