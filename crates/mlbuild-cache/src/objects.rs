//! The CAS: `objects/ab/cdef...`, each file named by the BLAKE3 of its bytes, read-only, never changed.
//!
//! An object is published by temporary file, sync of its bytes, rename. The bytes are synced because a name with the
//! right size but without its bytes is the one damage that a lookup cannot see; folders are synced once a [`Batch`],
//! because a lost name is only a miss. An object that is there already is looked at before it counts, so that
//! storing the same bytes again heals one that was damaged, and is made young.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use mlbuild_digest::{Digest, Hasher};
use mlbuild_disk as disk;

use crate::error::At;
use crate::{Cache, CacheError};

/// Objects published together; [`Batch::finish`] syncs each folder once.
#[derive(Debug)]
#[must_use = "folders are synced by `finish`"]
pub struct Batch<'a> {
    cache: &'a Cache,
    folders: BTreeSet<PathBuf>,
}

impl Cache {
    /// Where the object `digest` is, if it is there.
    pub(crate) fn object_path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        let (folder, rest) = name.split_at(2);
        self.root.join("objects").join(folder).join(rest)
    }

    /// Whether the object is there and has its size; its bytes are not read.
    pub fn contains(&self, digest: &Digest, size_bytes: u64) -> bool {
        let path = self.object_path(digest);
        let Ok(metadata) = path.symlink_metadata() else {
            return false;
        };
        if !metadata.is_file() {
            // It would keep the object from being stored.
            self.quarantine(&path);
            return false;
        }
        metadata.len() == size_bytes
    }

    /// The file of an object whose bytes this process has digested: for those who read it where it is.
    ///
    /// # Errors
    /// [`CacheError::BadObject`] if it is missing, or damaged and now out of the way; those of reading.
    pub fn whole_object(&self, digest: &Digest) -> Result<PathBuf, CacheError> {
        match self.is_whole(digest)? {
            true => Ok(self.object_path(digest)),
            false => Err(CacheError::BadObject { digest: *digest }),
        }
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// Those of writing; nothing half-written is left under an object's name.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, CacheError> {
        let mut batch = self.batch()?;
        let digest = batch.put_bytes(bytes)?;
        batch.finish()?;
        Ok(digest)
    }

    /// Stores a copy of a file and returns the digest and size in bytes of what was stored, whatever happens to the
    /// file meanwhile. Shares blocks where the file system can.
    ///
    /// # Errors
    /// Those of reading the file and writing the copy.
    pub fn put_file(&self, path: &Path) -> Result<(Digest, u64), CacheError> {
        let mut batch = self.batch()?;
        let stored = batch.put_file(path)?;
        batch.finish()?;
        Ok(stored)
    }

    /// Starts a batch.
    ///
    /// # Errors
    /// Those of making the cache's folder.
    pub fn batch(&self) -> Result<Batch<'_>, CacheError> {
        self.ensure()?;
        Ok(Batch {
            cache: self,
            folders: BTreeSet::new(),
        })
    }

    /// Reads a whole object and verifies it.
    ///
    /// # Errors
    /// [`CacheError::BadObject`] if it is missing or its bytes are not those of its name; it is then out of the way.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, CacheError> {
        let path = self.object_path(digest);
        match self.read_or_quarantine(&path) {
            Ok(bytes) if Digest::of(&bytes) == *digest => Ok(bytes),
            Ok(_) => {
                self.quarantine(&path);
                Err(CacheError::BadObject { digest: *digest })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(CacheError::BadObject { digest: *digest })
            }
            Err(error) => Err(error).at("read", &path),
        }
    }

    /// Digests an object again. A damaged one goes to `quarantine/`, so that it is remade and never served.
    ///
    /// # Errors
    /// Those of reading it, other than absence.
    pub fn verify(&self, digest: &Digest) -> Result<bool, CacheError> {
        let path = self.object_path(digest);
        match Hasher::new()
            .update_file(&path)
            .map(|hasher| hasher.finish())
        {
            Ok(found) if found == *digest => {
                self.note_whole(digest);
                Ok(true)
            }
            Ok(_) => {
                if let Ok(mut whole) = self.whole.lock() {
                    whole.remove(digest);
                }
                self.quarantine(&path);
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at("read", &path),
        }
    }

    /// As [`Cache::verify`], but reads the object only if this process has not yet.
    pub(crate) fn is_whole(&self, digest: &Digest) -> Result<bool, CacheError> {
        let known = self.whole.lock().is_ok_and(|whole| whole.contains(digest));
        if known {
            return Ok(true);
        }
        self.verify(digest)
    }

    /// Makes a folder of objects if it is missing, and says whether its own name may not last yet: also if it is another
    /// thread that has just made it.
    fn is_new(&self, folder: &Path) -> Result<bool, CacheError> {
        let mut new = self.new_folders();
        if !folder.is_dir() {
            disk::create_folders(folder).at("make the folder", folder)?;
            new.insert(folder.to_owned());
        }
        Ok(new.contains(folder))
    }

    fn new_folders(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        // No thread panics while it holds the lock.
        self.new_folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note_whole(&self, digest: &Digest) {
        // Forgetting costs another look, so a thread that panicked while it held the lock costs nothing else.
        if let Ok(mut whole) = self.whole.lock() {
            whole.insert(*digest);
        }
    }

    /// Reads a file; what stands in its place and is none would keep it from being written again, and goes out of the way.
    pub(crate) fn read_or_quarantine(&self, path: &Path) -> io::Result<Vec<u8>> {
        let metadata = path.symlink_metadata()?;
        if !metadata.is_file() {
            self.quarantine(path);
            return Err(io::ErrorKind::NotFound.into());
        }
        fs::read(path)
    }

    /// Moves a bad file out of the way, or leaves it where the cache is read-only: it is a miss either way.
    pub(crate) fn quarantine(&self, path: &Path) {
        let folder = self.root.join("quarantine");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if disk::create_folders(&folder).is_ok() {
            let _ = disk::rename(
                path,
                &folder.join(format!("{name}.{}", crate::scratch::unique())),
            );
        }
    }
}

/// A copy of a file in `tmp/`, not yet synced; removed when dropped, unless it has its name by then.
pub(crate) struct Aside {
    pub(crate) path: PathBuf,
    /// Of the bytes in it.
    pub(crate) digest: Digest,
    pub(crate) size_bytes: u64,
}

impl Drop for Aside {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok() {
            let _ = disk::remove(&self.path);
        }
    }
}

impl Cache {
    /// Copies a file into `tmp/`, read-only. The digest is of the bytes that were copied, whatever happens to the file
    /// meanwhile.
    pub(crate) fn copy_aside(&self, file: &Path) -> Result<Aside, CacheError> {
        let mut aside = Aside {
            path: self.temporary_name(),
            digest: Digest::of(b""),
            size_bytes: 0,
        };
        let mut hasher = Hasher::new();
        let mut size_bytes = 0;
        let shared = disk::clone_or_copy(file, &aside.path, |from, to| {
            size_bytes = hasher.copy_file(from, to)?;
            Ok(())
        });
        if shared.at("copy", file)? {
            let path = &aside.path;
            hasher.update_file(path).at("read", path)?;
            size_bytes = path.symlink_metadata().at("look at", path)?.len();
        }
        aside.digest = hasher.finish();
        aside.size_bytes = size_bytes;
        Ok(aside)
    }
}

impl Batch<'_> {
    /// As [`Cache::put_bytes`].
    ///
    /// # Errors
    /// Those of writing.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<Digest, CacheError> {
        let digest = Digest::of(bytes);
        if self.has_whole(&digest, bytes.len() as u64)? {
            return Ok(digest);
        }
        let aside = self.cache.temporary_name();
        let written = disk::write_synced(&aside, bytes).at("write", &aside);
        self.publish_or_remove(&aside, &digest, written)?;
        Ok(digest)
    }

    /// As [`Cache::put_file`].
    ///
    /// # Errors
    /// Those of reading the file and writing the copy.
    pub fn put_file(&mut self, path: &Path) -> Result<(Digest, u64), CacheError> {
        let aside = self.cache.copy_aside(path)?;
        let Aside {
            path,
            digest,
            size_bytes,
        } = &aside;
        if !self.has_whole(digest, *size_bytes)? {
            disk::sync(path).at("sync", path)?;
            self.publish(path, digest)?;
        }
        Ok((*digest, *size_bytes))
    }

    /// Moves a file of ours into the cache, without a copy where it is on the same file system. Nobody may hold it
    /// open for writing. Returns its digest and size in bytes.
    ///
    /// # Errors
    /// Those of reading and moving it.
    pub fn adopt_file(&mut self, path: &Path) -> Result<(Digest, u64), CacheError> {
        let metadata = path.symlink_metadata().at("look at", path)?;
        if metadata.nlink() > 1 {
            // Somebody else has a name for these bytes and could change them.
            return self.put_file(path);
        }
        // A program may have left its output without read permission for us, or longer than it said.
        disk::set_mode(path, 0o444).at("make read-only", path)?;
        let mut hasher = Hasher::new();
        let digest = hasher.update_file(path).at("read", path)?.finish();
        let size_bytes = metadata.len();
        if self.has_whole(&digest, size_bytes)? {
            disk::remove(path).at("remove", path)?;
            return Ok((digest, size_bytes));
        }
        // A program may have kept the time of what it copied.
        freshen(path);
        let synced = disk::sync(path).at("sync", path);
        match synced.and_then(|()| self.publish(path, &digest)) {
            Err(CacheError::Io { source, .. })
                if source.kind() == io::ErrorKind::CrossesDevices
                    && !path.starts_with(self.cache.tmp()) =>
            {
                self.put_file(path)
            }
            Err(error) => Err(error),
            Ok(()) => Ok((digest, size_bytes)),
        }
    }

    /// Syncs the folders that got new names.
    ///
    /// # Errors
    /// Those of syncing.
    pub fn finish(self) -> Result<(), CacheError> {
        for folder in &self.folders {
            disk::sync_folder(folder).at("sync", folder)?;
        }
        self.cache
            .new_folders()
            .retain(|folder| !self.folders.contains(folder));
        Ok(())
    }

    /// Whether the object is there and needs no other copy; it is young then. Reading it costs less than syncing another.
    fn has_whole(&self, digest: &Digest, size_bytes: u64) -> Result<bool, CacheError> {
        let has = self.cache.contains(digest, size_bytes) && self.cache.is_whole(digest)?;
        if has {
            freshen(&self.cache.object_path(digest));
        }
        Ok(has)
    }

    fn publish_or_remove(
        &mut self,
        aside: &Path,
        digest: &Digest,
        written: Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        let published = written.and_then(|()| self.publish(aside, digest));
        if published.is_err() {
            let _ = disk::remove(aside);
        }
        published
    }

    /// Gives synced bytes their name. Whoever publishes the same object at the same time publishes the same bytes.
    pub(crate) fn publish(&mut self, aside: &Path, digest: &Digest) -> Result<(), CacheError> {
        let path = self.cache.object_path(digest);
        let folder = path.parent().expect("an object is in a folder").to_owned();
        if self.cache.is_new(&folder)? {
            self.folders.insert(self.cache.root.join("objects"));
        }
        disk::rename(aside, &path).at("make", &path)?;
        self.cache.note_whole(digest);
        self.folders.insert(folder);
        Ok(())
    }
}

/// Makes a file young: it is needed now, so garbage collection leaves it alone for a while. Where that is refused the
/// file keeps its age, and the project's lock protects it all the same.
pub(crate) fn freshen(path: &Path) {
    let _ = disk::touch(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        (dir, cache)
    }

    #[test]
    fn bytes_files_and_moved_files_are_one_object() {
        let (dir, cache) = cache();
        let digest = cache.put_bytes(b"same").unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "same").unwrap();
        assert_eq!(cache.put_file(&file).unwrap(), (digest, 4));
        assert!(file.exists(), "a copy leaves the original");

        let mut batch = cache.batch().unwrap();
        assert_eq!(batch.adopt_file(&file).unwrap(), (digest, 4));
        batch.finish().unwrap();
        assert!(!file.exists(), "a move does not");
        assert_eq!(cache.read(&digest).unwrap(), b"same");
        let mode = cache.object_path(&digest).metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o444);
        assert_eq!(fs::read_dir(cache.tmp()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_with_a_second_name_is_copied() {
        let (dir, cache) = cache();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "v1").unwrap();
        fs::hard_link(&one, &two).unwrap();
        let mut batch = cache.batch().unwrap();
        let (digest, _) = batch.adopt_file(&one).unwrap();
        batch.finish().unwrap();
        fs::write(&two, "v2").unwrap();
        assert_eq!(cache.read(&digest).unwrap(), b"v1");
    }

    #[test]
    fn a_truncated_object_is_absent_and_a_changed_one_is_never_served() {
        let (_dir, cache) = cache();
        let digest = cache.put_bytes(b"four").unwrap();
        let path = cache.object_path(&digest);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "for").unwrap();
        assert!(!cache.contains(&digest, 4));
        assert_eq!(
            cache.put_bytes(b"four").unwrap(),
            digest,
            "put again, it is whole again"
        );
        assert!(cache.contains(&digest, 4));

        fs::remove_file(&path).unwrap();
        fs::write(&path, "fouR").unwrap();
        assert!(!cache.verify(&digest).unwrap());
        assert!(!path.exists(), "moved to quarantine");
        assert!(matches!(
            cache.read(&digest),
            Err(CacheError::BadObject { .. })
        ));
    }

    #[test]
    fn many_threads_publish_the_same_objects() {
        let (_dir, cache) = cache();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for i in 0..20_u8 {
                        let digest = cache.put_bytes(&[i; 100]).unwrap();
                        assert_eq!(cache.read(&digest).unwrap(), [i; 100]);
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(cache.tmp()).unwrap().count(), 0);
    }

    #[test]
    fn an_error_names_the_path_and_leaves_nothing() {
        let (dir, cache) = cache();
        let error = cache.put_file(&dir.path().join("absent")).unwrap_err();
        assert_eq!(error.io_kind(), Some(io::ErrorKind::NotFound));
        assert!(error.to_string().contains("absent"), "{error}");
        assert_eq!(fs::read_dir(cache.tmp()).unwrap().count(), 0);
    }
}
