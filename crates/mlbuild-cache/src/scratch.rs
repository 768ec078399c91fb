//! Temporary names, on the file system of the objects so that a rename can publish them.
//!
//! A name is `tmp/PID-N`. What a dead process left is removed when the next build takes the lock.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use mlbuild_disk as disk;

use crate::error::At;
use crate::{Cache, CacheError};

/// Counts the temporary names of this process, over all caches it has open.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A suffix that no living process uses and no other call of this process got.
pub(crate) fn unique() -> String {
    format!(
        "{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The parts of what [`unique`] gives: the process and its count.
fn parse(suffix: &str) -> Option<(u32, u64)> {
    let (pid, n) = suffix.split_once('-')?;
    Some((pid.parse().ok()?, n.parse().ok()?))
}

/// Whether `suffix` was made by [`unique`], in whatever process.
pub(crate) fn is_temporary(suffix: &str) -> bool {
    parse(suffix).is_some()
}

/// Whether `suffix` was made by [`unique`] in a process that is no more.
pub(crate) fn is_stale(suffix: &str) -> bool {
    let Some((pid, n)) = parse(suffix) else {
        return false;
    };
    if pid == std::process::id() {
        // In a container every build may have the same id: a number not yet given out is of an earlier one.
        return n >= NEXT.load(Ordering::Relaxed);
    }
    !is_alive(pid)
}

fn is_alive(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: signal 0 is delivered to nobody; `kill` only looks whether the process exists.
    let answer = unsafe { libc::kill(pid, 0) };
    // Not allowed to signal it also means that it lives.
    answer == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// A folder for one action's work, removed when dropped. What is in it can be moved into the cache without a copy.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// The folder: existing, and empty at first. Absolute if the cache's root is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_all(&self.path);
    }
}

impl Cache {
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// A name in `tmp/` at which nothing is.
    pub(crate) fn temporary_name(&self) -> PathBuf {
        loop {
            let path = self.tmp().join(unique());
            if path.symlink_metadata().is_err() {
                return path;
            }
        }
    }

    /// Makes an empty folder on the file system of the objects.
    ///
    /// # Errors
    /// Those of making folders.
    pub fn scratch(&self) -> Result<Scratch, CacheError> {
        self.ensure()?;
        let path = self.temporary_name();
        disk::create_folder(&path).at("make the folder", &path)?;
        Ok(Scratch { path })
    }

    /// Removes what dead processes left: in `tmp/`, and next to the stat index. What cannot be removed stays: it harms
    /// nobody.
    pub(crate) fn sweep(&self) {
        for (folder, prefix) in [(self.tmp(), ""), (self.root.clone(), "stat-index.tmp-")] {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            for entry in entries {
                let name = entry.file_name();
                let suffix = name.to_str().and_then(|name| name.strip_prefix(prefix));
                if suffix.is_some_and(is_stale) {
                    remove_all(&entry.path());
                }
            }
        }
    }
}

/// Removes a file or folder as far as possible, even where a command took away its own write permission.
pub(crate) fn remove_all(path: &Path) {
    let Ok(metadata) = path.symlink_metadata() else {
        return;
    };
    if !metadata.is_dir() {
        let _ = disk::remove(path);
        return;
    }
    if disk::remove_folder(path).is_err() {
        make_writable(path);
        let _ = disk::remove_folder(path);
    }
}

fn make_writable(folder: &Path) {
    let _ = disk::set_mode(folder, 0o755);
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_living_processes_are_not_stale() {
        assert!(!is_stale(&unique()));
        assert!(!is_stale("1-0"), "process 1 always lives");
        assert!(!is_stale("model.recs"));
        assert!(is_stale("4194304999-0"), "beyond any process id");
    }

    #[test]
    fn a_scratch_folder_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let scratch = cache.scratch().unwrap();
        let path = scratch.path().to_owned();
        let locked = path.join("locked");
        fs::create_dir(&locked).unwrap();
        fs::write(locked.join("file"), "x").unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn a_build_removes_what_a_dead_one_left() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let ours = cache.scratch().unwrap();
        let left = cache.tmp().join("4194304999-3");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("half"), "half").unwrap();
        let index = dir.path().join("stat-index.tmp-4194304999-0");
        fs::write(&index, "half").unwrap();
        cache.sweep();
        assert!(!left.exists());
        assert!(!index.exists());
        assert!(ours.path().exists());
    }
}
