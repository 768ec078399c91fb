//! The content-addressed store, the action cache and the stat index: what a project keeps in `.mlbuild/cache`.
//!
//! Everything here can be lost without losing truth: an object is named by the digest of its bytes, a result carries a
//! checksum and the description that its key digests, and the stat index is only a memory of digests. So a reader
//! believes nothing it can check cheaply, and what does not check out is a *miss*, never an error and never an answer.
//!
//! Invariants:
//! - A name appears only when its content is whole: temporary file in `tmp/`, sync, rename.
//! - Objects come before the result that names them.
//! - No bytes are handed out as an object that this process has not digested: once, when they are first asked for.
//! - Opening and reading write nothing, so a read-only project works as far as it can.
//! - One process builds at a time ([`Cache::lock`]); readers never wait.
//!
//! `spec/cache-layout.md` fixes the layout. Absent here: labels, keys' meaning, lineage, decisions about staleness.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! use mlbuild_cache::Cache;
//!
//! let cache = Cache::open(&dir.path().join("cache"))?;
//! let digest = cache.put_bytes(b"id\n1\n")?;
//! assert_eq!(cache.read(&digest)?, b"id\n1\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checkpoints;
mod error;
mod fsck;
mod gc;
mod index;
mod listing;
mod lock;
mod memo;
mod network;
mod objects;
mod pins;
mod results;
mod scratch;
mod stat;
mod survey;
mod swap;
mod tree;
mod usage;
mod wire;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use mlbuild_digest::Digest;
use mlbuild_disk as disk;

pub use checkpoints::Checkpoint;
pub use error::CacheError;
pub use fsck::{Checked, Flaw, Part, Problem};
pub use gc::{Count, Garbage, Garbages, Keep, Limits};
pub use index::{FileDigest, Looks, StatIndex, YOUNG};
pub use lock::{Holder, ProjectLock};
pub use objects::Batch;
pub use pins::Pin;
pub use results::{LastBuild, WrittenResult};
pub use scratch::Scratch;
pub use stat::{Stat, Viewpoint};
pub use tree::{Destination, MaterializeMode};
pub use usage::Usage;

use error::At;

/// The version of the layout that this crate reads and writes.
pub const LAYOUT_VERSION: u32 = 1;

/// One project's cache folder.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    /// Set once this process made sure that the folder exists and says its version.
    writable: AtomicBool,
    /// Objects whose bytes this process wrote or has digested.
    whole: Mutex<BTreeSet<Digest>>,
    /// Folders in which this process removed what dead ones left.
    swept: Mutex<BTreeSet<PathBuf>>,
    /// Folders of objects that this process made and whose names may not last yet.
    new_folders: Mutex<BTreeSet<PathBuf>>,
}

impl Cache {
    /// Opens the cache at `root` (`.mlbuild/cache`). Writes nothing: a folder that does not exist is an empty cache,
    /// and is made by the first write.
    ///
    /// # Errors
    /// [`CacheError::NewerVersion`] if a newer mlbuild made it; I/O errors other than absence.
    pub fn open(root: &Path) -> Result<Self, CacheError> {
        let cache = Self {
            root: root.to_owned(),
            writable: AtomicBool::new(false),
            whole: Mutex::default(),
            swept: Mutex::default(),
            new_folders: Mutex::default(),
        };
        cache.check_version()?;
        Ok(cache)
    }

    /// The cache's folder, as it was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the stat index belongs, for [`StatIndex::load`].
    pub fn stat_index_path(&self) -> PathBuf {
        self.root.join("stat-index")
    }

    /// The folders in which a name shows or hides what builds depend on: of results, objects and last builds.
    ///
    /// While no name comes or goes in them, what was there is there.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.root.join("last")];
        for kind in ["objects", "results"] {
            let folder = self.root.join(kind);
            let below = fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(below.map(|entry| entry.path()));
            folders.push(folder);
        }
        folders
    }

    /// What `stat` says of one of these [`folders`](Self::folders), in which any later change will show: a young one is made
    /// to look older, by an age that no clock gives it again. The caller holds the project's lock.
    ///
    /// # Errors
    /// Those of looking at it and of setting its age.
    pub fn settle_folder(
        &self,
        folder: &Path,
        is_young: impl Fn(&Stat) -> bool,
    ) -> Result<Stat, CacheError> {
        let look = || fs::metadata(folder).map(|metadata| Stat::of(&metadata));
        let stat = look().at("look at", folder)?;
        if !is_young(&stat) {
            return Ok(stat);
        }
        disk::age(folder, YOUNG).at("set the time of", folder)?;
        look().at("look at", folder)
    }

    fn version_path(&self) -> PathBuf {
        self.root.join("version")
    }

    /// Whether the folder already says its version.
    fn check_version(&self) -> Result<bool, CacheError> {
        let path = self.version_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if is_no_text(&error) => return Err(CacheError::NotACache { path }),
            Err(error) => return Err(error).at("read", &path),
        };
        match text.trim().parse() {
            Ok(LAYOUT_VERSION) => Ok(true),
            Ok(found @ LAYOUT_VERSION..) => Err(CacheError::NewerVersion {
                path: self.root.clone(),
                found,
            }),
            Ok(_) | Err(_) => Err(CacheError::NotACache { path }),
        }
    }

    /// Makes the folder and its version file; every write calls this first.
    fn ensure(&self) -> Result<(), CacheError> {
        if self.writable.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.check_version()? {
            self.write_version()?;
        }
        let tmp = self.tmp();
        disk::create_folders(&tmp).at("make the folder", &tmp)?;
        self.writable.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the version file, in the place of what is there, once the folders that a result relies on last. It is
    /// synced: a cache without one gets another, but every command refuses one whose version is no version.
    fn write_version(&self) -> Result<(), CacheError> {
        for folder in [self.tmp(), self.root.join("objects")] {
            disk::create_folders(&folder).at("make the folder", &folder)?;
        }
        disk::sync_folder(&self.root).at("sync", &self.root)?;
        let (aside, path) = (self.temporary_name(), self.version_path());
        disk::write(&aside, format!("{LAYOUT_VERSION}\n").as_bytes()).at("write", &aside)?;
        disk::sync(&aside).at("sync", &aside)?;
        disk::rename(&aside, &path).at("make", &path)
    }
}

/// Whether what should be a file of text is none, or holds other bytes.
fn is_no_text(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::IsADirectory | io::ErrorKind::InvalidData
    )
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_and_reading_an_absent_cache_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let digest = mlbuild_digest::Digest::of(b"never put");
        assert!(!cache.contains(&digest, 9));
        assert_eq!(cache.last_build("data:a"), LastBuild::default());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("version"), "2\n").unwrap();
        let error = Cache::open(dir.path()).unwrap_err();
        assert!(
            matches!(error, CacheError::NewerVersion { found: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_foreign_version_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for text in [&b"mine!"[..], b"", b"0\n", b"\xb1\n"] {
            fs::write(dir.path().join("version"), text).unwrap();
            assert!(matches!(
                Cache::open(dir.path()),
                Err(CacheError::NotACache { .. })
            ));
        }
        fs::remove_file(dir.path().join("version")).unwrap();
        fs::create_dir(dir.path().join("version")).unwrap();
        assert!(matches!(
            Cache::open(dir.path()),
            Err(CacheError::NotACache { .. })
        ));
    }

    #[test]
    fn what_the_file_system_refuses_names_path_and_kind() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = Cache::open(&file.join("cache"));
        let error = cache.and_then(|cache| cache.put_bytes(b"x")).unwrap_err();
        assert_eq!(error.io_kind(), Some(io::ErrorKind::NotADirectory));
        assert!(error.to_string().contains("file"), "{error}");
    }
}
