//! What `stat` says of a file or folder, as far as a change shows in it.

use std::ffi::CString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a change of a file's bytes, or of the names in a folder, shows in. Times are nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Its size; of a folder, whatever the file system says.
    pub size_bytes: u64,
    /// When its bytes, or the names in it, changed.
    pub mtime: i128,
    /// When anything about it changed.
    pub ctime: i128,
    /// Which file it is, on its file system.
    pub inode: u64,
}

impl Stat {
    /// Of the file or folder at `path`, or where the symbolic link there leads; `None` if there is none.
    ///
    /// # Errors
    /// Those of looking, other than absence.
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        use io::ErrorKind::{NotADirectory, NotFound};
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::of(&metadata))),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            size_bytes: metadata.len(),
            mtime: mtime(metadata),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// The younger of its times.
    pub fn newest(&self) -> i128 {
        self.mtime.max(self.ctime)
    }
}

/// A folder from which many paths are looked at: the way to it is walked once, which is most of what a look costs.
#[derive(Debug)]
pub struct Viewpoint(File);

impl Viewpoint {
    /// At the folder `path`.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn new(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// As [`Stat::at`], for a path relative to the folder, or an absolute one.
    ///
    /// # Errors
    /// As there.
    pub fn look(&self, path: &str) -> io::Result<Option<Stat>> {
        // An empty path is the folder itself.
        let path = CString::new(if path.is_empty() { "." } else { path })?;
        // SAFETY: `stat` is plain numbers, which the call fills; path and descriptor live during it.
        let (answer, stat) = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            let answer = libc::fstatat(self.0.as_raw_fd(), path.as_ptr(), &mut stat, 0);
            (answer, stat)
        };
        if answer == -1 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                _ => Err(error),
            };
        }
        Ok(Some(Stat {
            size_bytes: stat.st_size.unsigned_abs(),
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
        }))
    }
}

pub(crate) fn mtime(metadata: &Metadata) -> i128 {
    nanoseconds(metadata.mtime(), metadata.mtime_nsec())
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_looking_see_the_same() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        fs::write(dir.path().join("folder/file"), "12345").unwrap();
        std::os::unix::fs::symlink("folder/file", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        let viewpoint = Viewpoint::new(dir.path()).unwrap();
        let absolute = dir.path().join("folder/file");
        let paths = [
            "",
            "folder",
            "folder/file",
            "link",
            "dangling",
            "absent",
            "link/below",
        ];
        for path in paths.into_iter().chain(absolute.to_str()) {
            let expected = Stat::at(&dir.path().join(path)).unwrap();
            assert_eq!(viewpoint.look(path).unwrap(), expected, "{path:?}");
        }
        assert_eq!(
            viewpoint.look("folder/file").unwrap().unwrap().size_bytes,
            5
        );
        assert!(viewpoint.look("a\0b").is_err());
    }
}
