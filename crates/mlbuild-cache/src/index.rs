//! The stat index: digests of project files, remembered by what `stat` says of them.
//!
//! An entry is believed while size, mtime, ctime and inode are as they were; otherwise the file is digested again. A
//! difference never means more than that. Two rules close the gap that a clock tick leaves (a file changed again within
//! the tick in which it was digested looks the same):
//!
//! - As in git, an entry whose mtime or ctime is not older than the index file itself is not believed.
//! - A file that was young when it was digested is digested once more when the index is saved, by when its tick is over.
//!
//! The first rule spares the files that mlbuild itself wrote and remembered; nothing is ever built from those.
//!
//! The file is a memory only: absent, damaged or of another version means empty. `spec/cache-layout.md` has its format.

pub(crate) mod format;

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mlbuild_action::TreeEntry;
use mlbuild_digest::{Digest, Hasher};
use mlbuild_disk as disk;

use crate::CacheError;
use crate::error::At;
use crate::scratch::unique;
use crate::stat::{Stat, mtime};
use crate::swap::swap;

/// A file younger than this at the start of the build is looked at twice: more than any clock tick.
pub const YOUNG: Duration = Duration::from_millis(50);

/// What is known of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileDigest {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// How often files were looked at; a null build digests none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Looks {
    /// Calls of `stat`.
    pub stats: u64,
    /// Files read and digested.
    pub digested: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    stat: Stat,
    file: FileDigest,
    /// We wrote the file and know its digest from that.
    ours: bool,
    /// Digested by this process.
    fresh: bool,
    /// Looked at by this process.
    seen: bool,
}

/// Digests of a project's files by path.
#[derive(Debug)]
pub struct StatIndex {
    path: PathBuf,
    root: PathBuf,
    entries: HashMap<String, Entry>,
    /// Files that were touched since this process first looked at them, whatever is in them now.
    touched: HashSet<String>,
    /// When the index file was written: entries not older are not believed.
    written: i128,
    /// From when on files count as young.
    young_since: i128,
    changed: bool,
    looks: Looks,
}

impl StatIndex {
    /// Reads the index file `path` for the project at `root`. `started` is the time now.
    pub fn load(path: PathBuf, root: PathBuf, started: SystemTime) -> Self {
        let since_1970 = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |elapsed| elapsed.as_nanos() as i128)
        };
        let written = fs::metadata(&path).map_or(i128::MIN, |metadata| mtime(&metadata));
        let entries = fs::read(&path)
            .ok()
            .and_then(|bytes| format::decode(&bytes))
            .unwrap_or_default();
        Self {
            path,
            root,
            entries,
            touched: HashSet::new(),
            written,
            young_since: since_1970(started) - YOUNG.as_nanos() as i128,
            changed: false,
            looks: Looks::default(),
        }
    }

    /// Reads the files of the project at `root` that the index file `path` would be believed about, and names those
    /// that have other digests; `None` if the index file is damaged. One that does not exist is wrong about nothing.
    pub(crate) fn check(path: &Path, root: &Path) -> Option<Vec<String>> {
        let Ok(bytes) = fs::read(path) else {
            return path.symlink_metadata().is_err().then(Vec::new);
        };
        let entries = format::decode(&bytes)?;
        let written = fs::metadata(path).map_or(i128::MIN, |metadata| mtime(&metadata));
        let is_wrong = |(relative, entry): &(&String, &Entry)| {
            let path = root.join(relative);
            let believed = |metadata: &Metadata| {
                let stat = Stat::of(metadata);
                entry.stat == stat && (entry.ours || stat.newest() < written)
            };
            let mut hasher = Hasher::new();
            fs::metadata(&path).is_ok_and(|metadata| believed(&metadata))
                && hasher.update_file(&path).is_ok()
                && hasher.finish() != entry.file.digest
        };
        let wrong = entries.iter().filter(is_wrong);
        let mut wrong: Vec<String> = wrong.map(|(relative, _)| relative.clone()).collect();
        wrong.sort();
        Some(wrong)
    }

    /// What `stat` said of the file `relative` when its digest was last believed or taken; `None` if neither holds.
    pub fn stat(&self, relative: &str) -> Option<Stat> {
        self.entries.get(relative).map(|entry| entry.stat)
    }

    /// From when on a file counts as young: it may yet change without a trace in what `stat` says.
    pub fn is_young(&self, stat: &Stat) -> bool {
        stat.newest() >= self.young_since
    }

    /// How often files were looked at since the index was loaded.
    pub fn looks(&self) -> Looks {
        self.looks
    }

    /// What is in the file `relative` (to the project's root, with `/`). Reads it only if `stat` says that it changed.
    ///
    /// # Errors
    /// Those of looking at and reading the file; `InvalidInput` if it is not a regular file. A symbolic link is
    /// followed.
    pub fn digest_file(&mut self, relative: &str) -> io::Result<FileDigest> {
        let path = self.root.join(relative);
        self.looks.stats += 1;
        let metadata = fs::metadata(&path).inspect_err(|_| self.forget(relative))?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        let executable = is_executable(&metadata);
        let stat = Stat::of(&metadata);
        match self.entries.get_mut(relative) {
            Some(entry) if entry.stat == stat => {
                entry.seen = true;
                if entry.ours || entry.fresh || stat.newest() < self.written {
                    return Ok(FileDigest {
                        executable,
                        ..entry.file
                    });
                }
            }
            Some(entry) if entry.seen => drop(self.touched.insert(relative.to_owned())),
            Some(_) | None => {}
        }
        self.looks.digested += 1;
        let file = FileDigest {
            digest: Hasher::new().update_file(&path)?.finish(),
            size_bytes: stat.size_bytes,
            executable,
        };
        self.changed = true;
        // If the file changed while it was read, the digest is of no state of it: returned, since the re-look after the
        // run will tell, but not remembered.
        if fs::metadata(&path).is_ok_and(|after| Stat::of(&after) == stat) {
            let entry = Entry {
                stat,
                file,
                ours: false,
                fresh: true,
                seen: true,
            };
            self.entries.insert(relative.to_owned(), entry);
        } else {
            self.touched.insert(relative.to_owned());
            self.entries.remove(relative);
        }
        Ok(file)
    }

    /// The file is gone.
    fn forget(&mut self, relative: &str) {
        let Some(entry) = self.entries.remove(relative) else {
            return;
        };
        self.changed = true;
        if entry.seen {
            self.touched.insert(relative.to_owned());
        }
    }

    /// As [`StatIndex::digest_file`], by full path; `None` outside of the project or if the file cannot be read.
    pub(crate) fn digest_path(&mut self, path: &Path) -> Option<FileDigest> {
        let relative = path.strip_prefix(&self.root).ok()?.to_str()?.to_owned();
        self.digest_file(&relative).ok()
    }

    /// Remembers a file that we just wrote.
    pub(crate) fn remember(&mut self, path: &Path, entry: &TreeEntry) {
        let relative = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
        let (Some(relative), Ok(metadata)) = (relative, fs::metadata(path)) else {
            return;
        };
        let file = FileDigest {
            digest: entry.digest,
            size_bytes: entry.size_bytes,
            executable: is_executable(&metadata),
        };
        let stat = Stat::of(&metadata);
        let entry = Entry {
            stat,
            file,
            ours: true,
            fresh: false,
            seen: false,
        };
        self.entries.insert(relative.to_owned(), entry);
        self.changed = true;
    }

    /// Looks again at files digested before an action ran, and returns the first that is not as it was. Files that were
    /// young are digested again.
    pub fn verify_unchanged<'f>(
        &mut self,
        files: impl IntoIterator<Item = (&'f str, FileDigest)>,
    ) -> Option<&'f str> {
        let mut files = files.into_iter();
        let changed = files.find(|(path, before)| !self.is_unchanged(path, *before));
        changed.map(|(path, _)| path)
    }

    /// As [`StatIndex::verify_unchanged`], and returns also a file that was only touched since this process first looked
    /// at it: it may have been changed and changed back, so who read it where it is may have read something else.
    pub fn verify_untouched<'f>(
        &mut self,
        files: impl IntoIterator<Item = (&'f str, FileDigest)>,
    ) -> Option<&'f str> {
        let mut files = files.into_iter();
        let changed = files.find(|(path, before)| {
            !self.is_unchanged(path, *before) || self.touched.contains(*path)
        });
        changed.map(|(path, _)| path)
    }

    fn is_unchanged(&mut self, path: &str, before: FileDigest) -> bool {
        if let Some(entry) = self.entries.get_mut(path)
            && entry.stat.newest() >= self.young_since
        {
            entry.fresh = false;
            entry.ours = false;
        }
        self.digest_file(path).ok() == Some(before)
    }

    /// Writes the index if it changed; atomically.
    ///
    /// # Errors
    /// Those of writing. The old index then stands, which costs time and nothing else.
    pub fn save(&mut self) -> Result<(), CacheError> {
        if !self.changed {
            return Ok(());
        }
        self.look_again_at_the_young();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        disk::create_folders(folder).at("make the folder", folder)?;
        let aside = self.path.with_extension(format!("tmp-{}", unique()));
        let written = disk::write(&aside, &format::encode(&self.entries))
            .at("write", &aside)
            .and_then(|()| swap(&aside, &self.path));
        if written.is_err() {
            let _ = disk::remove(&aside);
        }
        written?;
        self.written = fs::metadata(&self.path).map_or(i128::MIN, |metadata| mtime(&metadata));
        self.changed = false;
        Ok(())
    }

    fn look_again_at_the_young(&mut self) {
        let (root, young_since) = (&self.root, self.young_since);
        self.entries.retain(|relative, entry| {
            if !entry.fresh || entry.stat.newest() < young_since {
                return true;
            }
            let path = root.join(relative);
            let mut hasher = Hasher::new();
            hasher.update_file(&path).is_ok() && hasher.finish() == entry.file.digest
        });
    }
}

fn is_executable(metadata: &Metadata) -> bool {
    metadata.mode() & 0o100 != 0
}

#[cfg(test)]
pub(crate) mod tests;
