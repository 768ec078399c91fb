//! Trees: ingest (a folder of ours to the CAS) and materialize (the CAS to files).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mlbuild_action::{Tree, TreeEntry};
use mlbuild_digest::Hasher;
use mlbuild_disk as disk;
use rayon::prelude::*;

use crate::error::At;
use crate::objects::Aside;
use crate::scratch::remove_all;
use crate::swap::swap;
use crate::{Cache, CacheError, Stat, StatIndex};

/// How many sources are synced together.
const GROUP: usize = 4096;

/// From so many files on, those of a tree are taken out on all cores.
const MANY: usize = 256;

/// How files come out of the CAS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MaterializeMode {
    /// Files of the reader's own, writable: shares blocks where the file system can, else copies.
    Copy,
    /// Read-only hard links to the objects: free, and only for readers that are ours, because who writes through one
    /// damages the object. An executable file, or one that cannot be linked, is copied.
    Link,
}

/// Where a tree goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination<'a> {
    /// A folder with the tree's files under their paths.
    Folder(&'a Path),
    /// The tree's only file, under this name.
    File(&'a Path),
}

impl<'a> Destination<'a> {
    /// The file or folder to be.
    pub fn path(&self) -> &'a Path {
        match self {
            Self::Folder(path) | Self::File(path) => path,
        }
    }
}

impl Cache {
    /// Moves all files of a folder of ours into the cache. Folders without files leave no trace.
    ///
    /// # Errors
    /// [`CacheError::NotAFile`] at a symbolic link, pipe, socket or device, [`CacheError::NotUtf8`] at such a name; both
    /// are found before anything is moved. Else those of reading and moving.
    pub fn ingest_folder(&self, folder: &Path) -> Result<Tree, CacheError> {
        let mut walked = Walked::default();
        walk(folder, "", &mut walked)?;
        let files = walked.files;
        let mut batch = self.batch()?;
        let mut entries = Vec::with_capacity(files.len());
        for Found {
            name,
            path,
            executable,
        } in files
        {
            let (digest, size_bytes) = batch.adopt_file(&path)?;
            entries.push(TreeEntry {
                path: name,
                digest,
                size_bytes,
                executable,
            });
        }
        batch.finish()?;
        Ok(Tree::new(entries))
    }

    /// Copies those files of `tree`, which stand below `root`, into the cache that it lacks. Returns one that is not what
    /// the tree says of it, if there is one: what was stored by then is of no use, and does no harm.
    ///
    /// An object that is there is not read: whoever reads it will see whether it is whole. Ends early, with `None`, if
    /// `stop` says so.
    ///
    /// # Errors
    /// Those of reading the files and of writing.
    pub fn ingest_sources(
        &self,
        root: &Path,
        tree: &Tree,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<String>, CacheError> {
        self.ensure()?;
        let lacks = |entry: &&TreeEntry| !self.contains(&entry.digest, entry.size_bytes);
        let missing: Vec<&TreeEntry> = tree.entries().iter().filter(lacks).collect();
        for group in missing.chunks(GROUP) {
            if stop() {
                break;
            }
            if let Some(changed) = self.ingest_group(root, group, stop)? {
                return Ok(Some(changed));
            }
        }
        Ok(None)
    }

    /// Copies these files: all are written, then all are synced, then all get their names.
    fn ingest_group(
        &self,
        root: &Path,
        group: &[&TreeEntry],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<String>, CacheError> {
        let copy = |entry: &&TreeEntry| match stop() {
            true => Ok(None),
            false => self.copy_aside(&root.join(&entry.path)).map(Some),
        };
        let copies: Option<Vec<Aside>> = group.par_iter().map(copy).collect::<Result<_, _>>()?;
        let Some(copies) = copies else {
            return Ok(None);
        };
        let mut pairs = copies.iter().zip(group);
        if let Some((_, entry)) = pairs.find(|(copy, entry)| copy.digest != entry.digest) {
            return Ok(Some(entry.path.clone()));
        }
        let paths: Vec<PathBuf> = copies.iter().map(|copy| copy.path.clone()).collect();
        let tmp = self.tmp();
        disk::sync_many(&paths).at("sync files in", &tmp)?;
        let mut batch = self.batch()?;
        for copy in &copies {
            batch.publish(&copy.path, &copy.digest)?;
        }
        batch.finish()?;
        Ok(None)
    }

    /// Puts a tree's files in place. What was there before stays until the new is complete, then goes at once: a crash
    /// at any point leaves the old or the new.
    ///
    /// # Errors
    /// [`CacheError::BadObject`] if an object is gone, or was found damaged: it is then out of the way. [`CacheError::NotOneFile`], those of writing. The old content then stands.
    pub fn materialize(
        &self,
        tree: &Tree,
        to: Destination<'_>,
        mode: MaterializeMode,
    ) -> Result<(), CacheError> {
        let aside = self.aside(to.path())?;
        let result = self
            .build_aside(tree, to, mode, &aside)
            .and_then(|()| swap(&aside, to.path()));
        if result.is_err() {
            remove_all(&aside);
        }
        self.check_all_after(&result, tree)?;
        result
    }

    /// Links a tree's files into the new folder `to`, which nobody else sees: as [`MaterializeMode::Link`] does, without the care
    /// for what was there before.
    ///
    /// # Errors
    /// As [`Cache::materialize`].
    pub fn link_out(&self, tree: &Tree, to: &Path) -> Result<(), CacheError> {
        let result = self.build_aside(tree, Destination::Folder(to), MaterializeMode::Link, to);
        self.check_all_after(&result, tree)?;
        result
    }

    /// Where one object is damaged others may be: all go out of the way at once, so that one remake puts all right.
    fn check_all_after(
        &self,
        result: &Result<(), CacheError>,
        tree: &Tree,
    ) -> Result<(), CacheError> {
        if let Err(CacheError::BadObject { .. }) = result {
            for entry in tree.entries() {
                self.verify(&entry.digest)?;
            }
        }
        Ok(())
    }

    fn build_aside(
        &self,
        tree: &Tree,
        to: Destination<'_>,
        mode: MaterializeMode,
        aside: &Path,
    ) -> Result<(), CacheError> {
        match to {
            Destination::File(path) => self.take_out(only_file(tree, path)?, aside, mode),
            Destination::Folder(_) => {
                disk::create_folder(aside).at("make the folder", aside)?;
                let mut folders = BTreeSet::new();
                for entry in tree.entries() {
                    let path = aside.join(&entry.path);
                    let parent = path.parent().expect("a file is in a folder");
                    if folders.insert(parent.to_owned()) {
                        disk::create_folders(parent).at("make the folder", parent)?;
                    }
                }
                let take = |entry: &TreeEntry| self.take_out(entry, &aside.join(&entry.path), mode);
                match tree.entries() {
                    entries if entries.len() < MANY => entries.iter().try_for_each(take),
                    entries => entries.par_iter().try_for_each(take),
                }
            }
        }
    }

    fn take_out(
        &self,
        entry: &TreeEntry,
        path: &Path,
        mode: MaterializeMode,
    ) -> Result<(), CacheError> {
        if !self.contains(&entry.digest, entry.size_bytes) {
            return Err(CacheError::BadObject {
                digest: entry.digest,
            });
        }
        let object = self.object_path(&entry.digest);
        let linkable = mode == MaterializeMode::Link && !entry.executable;
        if linkable {
            // Whoever reads through a link is checked by nobody, and what came of damaged bytes would be stored under
            // the key of whole ones.
            if !self.is_whole(&entry.digest)? {
                return Err(CacheError::BadObject {
                    digest: entry.digest,
                });
            }
            if disk::link(&object, path).is_ok() {
                return Ok(());
            }
        }
        if path.symlink_metadata().is_ok() {
            // The folder is new, so it is this tree's: a file system that does not tell upper from lower case.
            return Err(CacheError::SameName {
                path: path.to_owned(),
            });
        }
        // `copy` lets the kernel share the blocks where the file system can.
        if let Err(error) = disk::copy(&object, path) {
            fs::File::open(&object).at("read", &object)?;
            return Err(error).at("write", path);
        }
        // The bytes are in memory already: this costs little, and nothing damaged is ever handed out as a copy.
        let copied = Hasher::new().update_file(path).at("read", path)?.finish();
        if copied != entry.digest {
            return Err(CacheError::BadObject {
                digest: entry.digest,
            });
        }
        let bits = match (mode, entry.executable) {
            (MaterializeMode::Copy, false) => 0o644,
            (MaterializeMode::Copy, true) => 0o755,
            (MaterializeMode::Link, false) => 0o444,
            (MaterializeMode::Link, true) => 0o555,
        };
        disk::set_mode(path, bits).at("set the mode of", path)
    }

    /// The folders below `to` if exactly this tree already stands there, no file more, none less, none other; each with what
    /// `stat` said before it was listed. Unchanged files are not read: their digests come from the stat index.
    ///
    /// What cannot be looked at, and what is outside the index's project, does not stand there.
    pub fn standing(
        &self,
        tree: &Tree,
        to: Destination<'_>,
        index: &mut StatIndex,
    ) -> Option<Vec<(PathBuf, Stat)>> {
        let stands = |index: &mut StatIndex, entry: &TreeEntry, path: &Path| {
            index.digest_path(path).is_some_and(|file| {
                file.digest == entry.digest && file.executable == entry.executable
            })
        };
        match to {
            Destination::File(path) => {
                let entry = only_file(tree, path).ok()?;
                stands(index, entry, path).then(Vec::new)
            }
            Destination::Folder(folder) => {
                let mut walked = Walked::default();
                let same = folder.is_dir()
                    && walk(folder, "", &mut walked).is_ok()
                    && walked.files.len() == tree.entries().len()
                    && tree
                        .entries()
                        .iter()
                        .all(|entry| stands(index, entry, &folder.join(&entry.path)));
                same.then_some(walked.folders)
            }
        }
    }

    /// Materializes writable copies and remembers their digests, so that the next look reads nothing.
    ///
    /// # Errors
    /// Those of [`Cache::materialize`].
    pub fn publish(
        &self,
        tree: &Tree,
        to: Destination<'_>,
        index: &mut StatIndex,
    ) -> Result<(), CacheError> {
        self.materialize(tree, to, MaterializeMode::Copy)?;
        for entry in tree.entries() {
            match to {
                Destination::File(path) => index.remember(path, entry),
                Destination::Folder(folder) => index.remember(&folder.join(&entry.path), entry),
            }
        }
        Ok(())
    }
}

fn only_file<'t>(tree: &'t Tree, path: &Path) -> Result<&'t TreeEntry, CacheError> {
    match tree.entries() {
        [entry] => Ok(entry),
        entries => Err(CacheError::NotOneFile {
            path: path.to_owned(),
            files: entries.len(),
        }),
    }
}

/// A regular file in a folder.
struct Found {
    /// Path in the folder, with `/`.
    name: String,
    path: PathBuf,
    executable: bool,
}

/// What [`walk`] met.
#[derive(Default)]
struct Walked {
    files: Vec<Found>,
    folders: Vec<(PathBuf, Stat)>,
}

fn walk(folder: &Path, prefix: &str, walked: &mut Walked) -> Result<(), CacheError> {
    let metadata = fs::metadata(folder).at("look at", folder)?;
    walked
        .folders
        .push((folder.to_owned(), Stat::of(&metadata)));
    for entry in fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(CacheError::NotUtf8 { path });
        };
        let name = format!("{prefix}{name}");
        let kind = entry.file_type().at("look at", &path)?;
        if kind.is_dir() {
            walk(&path, &format!("{name}/"), walked)?;
        } else if kind.is_file() {
            let mode = entry.metadata().at("look at", &path)?.permissions().mode();
            let executable = mode & 0o100 != 0;
            walked.files.push(Found {
                name,
                path,
                executable,
            });
        } else {
            let kind = kind_name(kind);
            return Err(CacheError::NotAFile { path, kind });
        }
    }
    Ok(())
}

fn kind_name(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests;
