//! Puts a finished file or folder in the place of an old one, so that a crash leaves the old or the new.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mlbuild_disk as disk;

use crate::error::At;
use crate::scratch::{is_stale, remove_all, unique};
use crate::{Cache, CacheError};

impl Cache {
    /// A name next to `destination`, on its file system: `.name.tmp-PID-N`.
    ///
    /// What dead processes left in that folder under such names is removed on the way, once: listing it for every file
    /// that comes into it would take ever longer.
    pub(crate) fn aside(&self, destination: &Path) -> Result<PathBuf, CacheError> {
        let parent = destination.parent().unwrap_or(Path::new("."));
        disk::create_folders(parent).at("make the folder", parent)?;
        let is_first = self
            .swept
            .lock()
            .is_ok_and(|mut swept| swept.insert(parent.to_owned()));
        if is_first {
            sweep(parent)?;
        }
        let prefix = prefix(destination);
        loop {
            let path = parent.join(format!("{prefix}{}", unique()));
            if path.symlink_metadata().is_err() {
                return Ok(path);
            }
        }
    }
}

/// Removes what dead processes left in `folder` under temporary names.
fn sweep(folder: &Path) -> Result<(), CacheError> {
    for entry in fs::read_dir(folder).at("list", folder)?.flatten() {
        let name = entry.file_name();
        let hidden = name.to_str().and_then(|name| name.strip_prefix('.'));
        let suffix = hidden.and_then(|name| Some(name.rsplit_once(".tmp-")?.1));
        if suffix.is_some_and(is_stale) {
            remove_all(&entry.path());
        }
    }
    Ok(())
}

fn prefix(destination: &Path) -> String {
    let name = destination
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    format!(".{name}.tmp-")
}

/// Moves `new` to `destination`; what was there before is removed afterwards.
pub(crate) fn swap(new: &Path, destination: &Path) -> Result<(), CacheError> {
    match destination.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() || new.is_dir() => {
            exchange(new, destination).at("replace", destination)?;
            remove_all(new);
            Ok(())
        }
        // A file over a file, or nothing there yet: one rename.
        _ => disk::rename(new, destination).at("make", destination),
    }
}

/// Lets two existing paths change places.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    match disk::exchange(new, old) {
        Err(error) if is_unsupported(&error) => exchange_by_renames(new, old),
        answer => answer,
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EINVAL | libc::ENOTSUP)
    )
}

/// Three renames, for file systems that cannot exchange. A crash between the first two leaves `old` missing; the next
/// build sees that and restores it from the cache.
fn exchange_by_renames(new: &Path, old: &Path) -> io::Result<()> {
    // A name like any other temporary one, so that it is swept if a crash leaves it.
    let third = old.with_file_name(format!("{}{}", prefix(old), unique()));
    disk::rename(old, &third)?;
    if let Err(error) = disk::rename(new, old) {
        disk::rename(&third, old)?;
        return Err(error);
    }
    disk::rename(&third, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_exchanging_leave_the_same() {
        for exchange in [exchange_by_renames, super::exchange] {
            let dir = tempfile::tempdir().unwrap();
            let (new, old) = (dir.path().join("new"), dir.path().join("old"));
            fs::create_dir(&new).unwrap();
            fs::write(new.join("a"), "new").unwrap();
            fs::write(&old, "old").unwrap();
            exchange(&new, &old).unwrap();
            assert_eq!(fs::read_to_string(old.join("a")).unwrap(), "new");
            assert_eq!(fs::read_to_string(&new).unwrap(), "old");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn what_is_exchanged_by_renames_has_temporary_names_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old) = (dir.path().join(".old.tmp-1-0"), dir.path().join("old"));
        fs::create_dir(&new).unwrap();
        fs::create_dir(&old).unwrap();
        let recording = disk::record(dir.path());
        exchange_by_renames(&new, &old).unwrap();
        for step in recording.finish() {
            let disk::Recorded::Rename { to, .. } = step else {
                continue;
            };
            let name = to.to_str().unwrap();
            let temporary = name.strip_prefix(".old.tmp-");
            assert!(
                name == "old" || temporary.is_some_and(crate::scratch::is_temporary),
                "{name}"
            );
        }
    }

    #[test]
    fn leftovers_of_dead_processes_go() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let left = [".recs.tmp-4194304999-0", ".other.tmp-4194304999-0"];
        let left = left.map(|name| dir.path().join(name));
        fs::create_dir(&left[0]).unwrap();
        fs::write(&left[1], "").unwrap();
        let foreign = [".recs.tmp-mine", "recs.tmp-4194304999-0", ".hidden"];
        let foreign = foreign.map(|name| dir.path().join(name));
        for path in &foreign {
            fs::write(path, "").unwrap();
        }
        cache.aside(&dir.path().join("recs")).unwrap();
        assert!(left.iter().all(|path| !path.exists()));
        assert!(foreign.iter().all(|path| path.exists()));

        fs::write(&left[1], "").unwrap();
        cache.aside(&dir.path().join("more")).unwrap();
        assert!(left[1].exists(), "the folder is listed once");
    }
}
