//! What can go wrong with the cache, always with the path.

use std::io;
use std::path::{Path, PathBuf};

use mlbuild_digest::Digest;

/// Why the cache could not do what it was asked. A corrupt or missing entry is a miss and not among these.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file system said no: disk full, no permission, read-only.
    #[error("cannot {operation} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as a verb: `write`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file system keeps no lock, or none that other machines see.
    #[error("cannot lock `{}`: {why}; put the project on a file system that keeps locks", path.display())]
    NoLock {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A newer mlbuild made this cache.
    #[error(
        "the cache `{}` has layout {found}; this mlbuild knows layouts up to {}",
        path.display(),
        crate::LAYOUT_VERSION
    )]
    NewerVersion {
        /// The cache's folder.
        path: PathBuf,
        /// The layout it has.
        found: u32,
    },
    /// The version file holds something else.
    #[error("`{}` is not the version file of a mlbuild cache; `mlbuild fsck --repair` makes one", path.display())]
    NotACache {
        /// The version file.
        path: PathBuf,
    },
    /// A pin cannot be read. What it holds cannot be told, so nothing may be removed.
    #[error("the pin `{}` is damaged", path.display())]
    BadPin {
        /// Its file.
        path: PathBuf,
    },
    /// An output folder holds what no artifact can: a symbolic link, a pipe, a socket, a device.
    #[error("`{}` is {kind}; an artifact has regular files only", path.display())]
    NotAFile {
        /// Where it is.
        path: PathBuf,
        /// What it is: `a symbolic link`.
        kind: &'static str,
    },
    /// A file's name is not UTF-8.
    #[error("the name of `{}` is not UTF-8", path.display())]
    NotUtf8 {
        /// The file, with its name made printable.
        path: PathBuf,
    },
    /// An object that a result names is not there, or not what its name says. A lookup calls this a miss; only who
    /// reads an object that was there a moment ago sees it.
    #[error("the object {} is missing from the cache or damaged", digest.short())]
    BadObject {
        /// Its name.
        digest: Digest,
    },
    /// Two files of an artifact have one name where they are to be placed.
    #[error("`{}` is there twice: this file system takes names for equal that differ in upper and lower case", path.display())]
    SameName {
        /// The second of them.
        path: PathBuf,
    },
    /// An artifact of several files, or none, was to become one file.
    #[error("`{}` is to be one file, but the artifact has {files}", path.display())]
    NotOneFile {
        /// The file to be.
        path: PathBuf,
        /// How many files the artifact has.
        files: usize,
    },
}

impl CacheError {
    /// The kind of the I/O error beneath, if it is one: `StorageFull`, `PermissionDenied`, `ReadOnlyFilesystem`.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// Says on which path an I/O operation failed.
pub(crate) trait At<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, CacheError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, CacheError> {
        self.map_err(|source| CacheError::Io {
            operation,
            path: path.to_owned(),
            source,
        })
    }
}
