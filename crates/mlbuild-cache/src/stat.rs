//! What `stat` says of a file or folder, as far as a change shows in it.

use std::fs::{self, Metadata};
use std::io;
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
    pub(crate) fn newest(&self) -> i128 {
        self.mtime.max(self.ctime)
    }
}

pub(crate) fn mtime(metadata: &Metadata) -> i128 {
    nanoseconds(metadata.mtime(), metadata.mtime_nsec())
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}
