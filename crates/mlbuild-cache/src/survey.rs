//! What lies in a store: every file by its name, size and age, and of results what they name.
//!
//! A survey reads directories and result files, never an object's bytes. Files whose names are none of ours are kept
//! apart: nothing but `fsck` ever speaks of them, and nobody removes them. It is a picture of one moment; who acts on
//! it holds the project's lock, so that no build changes the store meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mlbuild_action::ActionKey;
use mlbuild_digest::Digest;

use crate::checkpoints::StoredCheckpoint;
use crate::error::At;
use crate::scratch::is_temporary;
use crate::{Cache, CacheError, wire};

/// A file of the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    pub(crate) size_bytes: u64,
    pub(crate) modified: SystemTime,
}

/// A result file that is what its checksum says.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct StoredResult {
    pub(crate) file: Stored,
    /// The objects that it names, with their sizes.
    pub(crate) objects: BTreeMap<Digest, u64>,
    /// Digests that its description mentions: of inputs, for which there may be listings.
    pub(crate) mentions: BTreeSet<Digest>,
    /// How long the action ran.
    pub(crate) duration: Duration,
}

/// The files of a store.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Survey {
    pub(crate) results: BTreeMap<ActionKey, StoredResult>,
    /// Result files that are not what they say; whoever looks one up has a miss.
    pub(crate) bad_results: Vec<Stored>,
    pub(crate) objects: BTreeMap<Digest, Stored>,
    pub(crate) listings: BTreeMap<Digest, Stored>,
    pub(crate) memos: BTreeMap<Digest, Stored>,
    pub(crate) last: Vec<Stored>,
    pub(crate) pins: Vec<Stored>,
    pub(crate) checkpoints: Vec<StoredCheckpoint>,
    pub(crate) quarantine: Vec<Stored>,
    /// What is being written, and what dead processes left of that.
    pub(crate) tmp: Vec<Stored>,
    /// The stat index, the version, the lock.
    pub(crate) single: Vec<Stored>,
    /// Files and folders that no rule of the layout names.
    pub(crate) strays: Vec<PathBuf>,
}

impl Survey {
    /// Size of all files, in bytes.
    pub(crate) fn size_bytes(&self) -> u64 {
        let results = self.results.values().map(|result| &result.file);
        let named = [&self.objects, &self.listings, &self.memos];
        let lists = [
            &self.bad_results,
            &self.last,
            &self.pins,
            &self.quarantine,
            &self.tmp,
            &self.single,
        ];
        let files = results
            .chain(named.into_iter().flat_map(BTreeMap::values))
            .chain(lists.into_iter().flatten());
        let checkpoints = self.checkpoints.iter();
        let checkpoints = checkpoints.map(|it| it.checkpoint.files.size_bytes);
        files.map(|file| file.size_bytes).chain(checkpoints).sum()
    }
}

impl Cache {
    /// Looks at every file of the store. Writes nothing; an absent store is an empty one.
    pub(crate) fn survey(&self) -> Result<Survey, CacheError> {
        let mut survey = Survey::default();
        for (name, path) in list(self.root())? {
            match &*name {
                "version" | "lock" | "stat-index" if path.is_file() => {
                    survey.single.extend(stored(&path)?);
                }
                "objects" => {
                    survey.objects = named(&path, "", &mut survey.strays)?;
                }
                "results" => {
                    for (digest, file) in named(&path, ".json", &mut survey.strays)? {
                        match read_result(&digest, &file)? {
                            Some((key, result)) => drop(survey.results.insert(key, result)),
                            None => survey.bad_results.push(file),
                        }
                    }
                }
                "listings" => survey.listings = named(&path, ".json", &mut survey.strays)?,
                "memos" => survey.memos = named(&path, "", &mut survey.strays)?,
                "last" => flat(&path, &mut survey.last, &mut survey.strays)?,
                "pins" => flat(&path, &mut survey.pins, &mut survey.strays)?,
                "checkpoints" => {
                    survey.checkpoints = checkpoints(&path, &mut survey.strays)?;
                }
                "quarantine" => below(&path, &mut survey.quarantine)?,
                "tmp" => below(&path, &mut survey.tmp)?,
                _ if is_temporary(name.strip_prefix("stat-index.tmp-").unwrap_or_default()) => {
                    survey.tmp.extend(stored(&path)?);
                }
                _ => survey.strays.push(path),
            }
        }
        Ok(survey)
    }
}

/// The files `ab/cdef...END` below `folder`, by digest.
fn named(
    folder: &Path,
    end: &str,
    strays: &mut Vec<PathBuf>,
) -> Result<BTreeMap<Digest, Stored>, CacheError> {
    let mut found = BTreeMap::new();
    for (start, path) in list(folder)? {
        if start.len() != 2 || !path.is_dir() {
            strays.push(path);
            continue;
        }
        for (name, path) in list(&path)? {
            let rest = name.strip_suffix(end).unwrap_or_default();
            match format!("{start}{rest}").parse() {
                Ok(digest) => found.extend(stored(&path)?.map(|file| (digest, file))),
                Err(_) => strays.push(path),
            }
        }
    }
    Ok(found)
}

/// The files `NAME.json` in `folder`.
fn flat(
    folder: &Path,
    found: &mut Vec<Stored>,
    strays: &mut Vec<PathBuf>,
) -> Result<(), CacheError> {
    for (name, path) in list(folder)? {
        match name.ends_with(".json") && path.is_file() {
            true => found.extend(stored(&path)?),
            false => strays.push(path),
        }
    }
    Ok(())
}

/// The folders `NAME.KEY` in `folder`, with all that is in them.
fn checkpoints(
    folder: &Path,
    strays: &mut Vec<PathBuf>,
) -> Result<Vec<StoredCheckpoint>, CacheError> {
    let mut found = Vec::new();
    for (name, path) in list(folder)? {
        let is_folder = path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_dir());
        let mut files = Vec::new();
        if is_folder {
            below(&path, &mut files)?;
        }
        let of_ours = |folder| StoredCheckpoint::new(&name, folder, &files);
        match stored(&path)?.filter(|_| is_folder).and_then(of_ours) {
            Some(checkpoint) => found.push(checkpoint),
            None => strays.push(path),
        }
    }
    Ok(found)
}

/// Everything below `folder`, whatever its name.
pub(crate) fn below(folder: &Path, found: &mut Vec<Stored>) -> Result<(), CacheError> {
    for (_, path) in list(folder)? {
        match path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_dir())
        {
            true => below(&path, found)?,
            false => found.extend(stored(&path)?),
        }
    }
    Ok(())
}

/// The entries of a folder by name, sorted; none if there is no such folder.
fn list(folder: &Path) -> Result<Vec<(String, PathBuf)>, CacheError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error).at("list", folder),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.at("list", folder)?;
        // A name that is not UTF-8 is none of ours, in whatever spelling.
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, entry.path()));
    }
    found.sort();
    Ok(found)
}

/// What `stat` says of a file; `None` if it went meanwhile.
fn stored(path: &Path) -> Result<Option<Stored>, CacheError> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error).at("look at", path),
    };
    Ok(Some(Stored {
        path: path.to_owned(),
        size_bytes: metadata.len(),
        modified: metadata.modified().at("look at", path)?,
    }))
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The result in a file; `None` if it is not the one that the file's name promises.
///
/// A file that cannot be read is an error: who took it for absent would remove what it needs.
fn read_result(
    name: &Digest,
    file: &Stored,
) -> Result<Option<(ActionKey, StoredResult)>, CacheError> {
    let is_file = file.path.symlink_metadata().is_ok_and(|m| m.is_file());
    if !is_file {
        return Ok(None);
    }
    let bytes = fs::read(&file.path).at("read", &file.path)?;
    let Some((description, result)) = wire::decode_result(&bytes) else {
        return Ok(None);
    };
    let key = description.key();
    if key.to_string() != name.to_string() {
        return Ok(None);
    }
    let entries = result.artifact.tree.entries().iter();
    let objects = entries.map(|entry| (entry.digest, entry.size_bytes));
    let values = description.parts().values();
    let words = values.flat_map(|value| value.split(|c: char| !c.is_ascii_hexdigit()));
    let stored = StoredResult {
        file: file.clone(),
        objects: objects.collect(),
        mentions: words.filter_map(|word| word.parse().ok()).collect(),
        duration: result.duration,
    };
    Ok(Some((key, stored)))
}
