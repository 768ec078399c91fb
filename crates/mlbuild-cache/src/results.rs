//! The action cache: `results/ab/cdef....json`, one file an action key, and what each target was last built as.
//!
//! A result file is believed only if its checksum fits, its description digests to the key it is filed under, and every
//! object it names is there in its size. Anything else is a miss.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use mlbuild_action::{ActionKey, ActionResult, Description};
use mlbuild_digest::Digest;
use mlbuild_disk as disk;

use crate::error::At;
use crate::objects::freshen;
use crate::{Cache, CacheError, wire};

/// What a target was when it was last built.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LastBuild {
    /// The keys of its stages, in stage order.
    pub keys: Vec<ActionKey>,
    /// The artifacts of the targets that it reads, by label: all of them, read or not.
    pub inputs: BTreeMap<String, Digest>,
}

/// A result that has no name yet; dropped without one, it is gone.
#[derive(Debug)]
pub struct WrittenResult {
    aside: PathBuf,
    key: ActionKey,
}

impl Drop for WrittenResult {
    fn drop(&mut self) {
        let _ = disk::remove(&self.aside);
    }
}

impl Cache {
    /// What the action of this key yielded, if that is known and all of it is here.
    ///
    /// A damaged file is moved to `quarantine/`.
    ///
    /// # Errors
    /// Those of reading, other than absence: they concern the file system, not the result.
    pub fn lookup(&self, key: &ActionKey) -> Result<Option<ActionResult>, CacheError> {
        let found = self.read_result(key)?;
        Ok(found
            .map(|(_, result)| result)
            .filter(|result| self.has_all(result)))
    }

    /// The description of the action of this key, if it ever succeeded here.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub fn description(&self, key: &ActionKey) -> Result<Option<Description>, CacheError> {
        Ok(self.read_result(key)?.map(|(description, _)| description))
    }

    /// Keeps a result under the key of its description, and returns the result that counts: the first writer wins, so
    /// it may be an earlier one. Its objects must be in the cache already.
    ///
    /// # Errors
    /// [`CacheError::BadObject`] if an object is not there; those of writing.
    pub fn store(
        &self,
        description: &Description,
        result: &ActionResult,
    ) -> Result<ActionResult, CacheError> {
        let written = self.write_result(description, result)?;
        Ok(self
            .publish_result(written)?
            .unwrap_or_else(|| result.clone()))
    }

    /// Writes a result to where nobody finds it, and syncs it. Its objects must be in the cache already.
    ///
    /// # Errors
    /// As [`Cache::store`].
    pub fn write_result(
        &self,
        description: &Description,
        result: &ActionResult,
    ) -> Result<WrittenResult, CacheError> {
        let missing =
            |entry: &&mlbuild_action::TreeEntry| !self.contains(&entry.digest, entry.size_bytes);
        if let Some(entry) = result.artifact.tree.entries().iter().find(missing) {
            return Err(CacheError::BadObject {
                digest: entry.digest,
            });
        }
        self.ensure()?;
        let written = WrittenResult {
            aside: self.temporary_name(),
            key: description.key(),
        };
        let bytes = wire::encode_result(description, result);
        disk::write_synced(&written.aside, &bytes).at("write", &written.aside)?;
        Ok(written)
    }

    /// Gives a written result its name; returns the result that was there already, if it is a hit.
    ///
    /// # Errors
    /// Those of writing.
    pub fn publish_result(
        &self,
        written: WrittenResult,
    ) -> Result<Option<ActionResult>, CacheError> {
        let WrittenResult { aside, key } = &written;
        let path = self.result_path(key);
        let folder = path.parent().expect("a result is in a folder");
        disk::create_folders(folder).at("make the folder", folder)?;
        self.link_result(aside, &path, key)
    }

    /// Links a written file to its name; the result already there if it is a hit.
    fn link_result(
        &self,
        aside: &Path,
        path: &Path,
        key: &ActionKey,
    ) -> Result<Option<ActionResult>, CacheError> {
        match disk::link(aside, path) {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let first = self.lookup(key)?;
                match first {
                    Some(_) => freshen(path),
                    // It lost its objects, or is damaged: ours takes its place.
                    None => disk::rename(aside, path).at("make", path)?,
                }
                Ok(first)
            }
            // File systems without hard links: the last writer wins, with an interchangeable result.
            Err(_) => disk::rename(aside, path).at("make", path).map(|()| None),
        }
    }

    /// A target's last successful build; the default if it is not known.
    ///
    /// For explanations only: nothing is built or skipped because of it.
    pub fn last_build(&self, target: &str) -> LastBuild {
        let bytes = self.read_or_quarantine(&self.last_path(target)).ok();
        let last = bytes.and_then(|bytes| wire::decode_last(&bytes));
        let last = last.filter(|(found, _)| found == target);
        last.map(|(_, last)| last).unwrap_or_default()
    }

    /// Remembers a target's successful build.
    ///
    /// # Errors
    /// Those of writing.
    pub fn set_last_build(&self, target: &str, last: &LastBuild) -> Result<(), CacheError> {
        self.ensure()?;
        let path = self.last_path(target);
        let folder = path.parent().expect("it is in a folder");
        disk::create_folders(folder).at("make the folder", folder)?;
        let aside = self.temporary_name();
        disk::write(&aside, &wire::encode_last(target, last)).at("write", &aside)?;
        disk::rename(&aside, &path).at("make", &path)
    }

    fn has_all(&self, result: &ActionResult) -> bool {
        let mut entries = result.artifact.tree.entries().iter();
        entries.all(|entry| self.contains(&entry.digest, entry.size_bytes))
    }

    fn read_result(
        &self,
        key: &ActionKey,
    ) -> Result<Option<(Description, ActionResult)>, CacheError> {
        let path = self.result_path(key);
        let bytes = match self.read_or_quarantine(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("read", &path),
        };
        let decoded = wire::decode_result(&bytes).filter(|(found, _)| found.key() == *key);
        if decoded.is_none() {
            self.quarantine(&path);
        }
        Ok(decoded)
    }

    pub(crate) fn result_path(&self, key: &ActionKey) -> PathBuf {
        let name = key.to_string();
        let (folder, rest) = name.split_at(2);
        self.root
            .join("results")
            .join(folder)
            .join(format!("{rest}.json"))
    }

    pub(crate) fn last_path(&self, target: &str) -> PathBuf {
        self.root
            .join("last")
            .join(format!("{}.json", file_name(target)))
    }
}

/// A text as a file name: everything but ASCII letters, digits, `_` and `-` becomes `%` and two hexadecimal digits.
pub(crate) fn file_name(text: &str) -> String {
    let mut name = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

/// The text that [`file_name`] spelled so; `None` if it spells none so.
pub(crate) fn text_of_name(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.bytes().next() {
        let (byte, length) = match first {
            b'%' => (u8::from_str_radix(rest.get(1..3)?, 16).ok()?, 3),
            byte => (byte, 1),
        };
        bytes.push(byte);
        rest = rest.get(length..)?;
    }
    let text = String::from_utf8(bytes).ok()?;
    (file_name(&text) == name).then_some(text)
}

#[cfg(test)]
mod tests;
