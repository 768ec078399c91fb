//! Pins: what must not go, by name. `pins/NAME.json` lists the results that make up a target's artifact.
//!
//! A pin that cannot be read is an error, not an absence: whoever took it for absent would let go what it holds.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mlbuild_action::{ActionKey, Artifact};
use mlbuild_digest::Digest;
use mlbuild_disk as disk;

use crate::error::At;
use crate::results::file_name;
use crate::{Cache, CacheError, wire};

/// A target as it stood when it was pinned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pin {
    /// What the pin is called.
    pub name: String,
    /// The target's label.
    pub target: String,
    /// Digest of its artifact.
    pub artifact: Digest,
    /// The keys of its stages and of all that it was made from.
    pub keys: BTreeSet<ActionKey>,
    /// When it was pinned: seconds since 1970, UTC.
    pub pinned_at: i64,
}

impl Cache {
    /// The pins, by name.
    ///
    /// # Errors
    /// [`CacheError::BadPin`], and those of reading.
    pub fn pins(&self) -> Result<Vec<Pin>, CacheError> {
        let mut pins = Vec::new();
        for file in self.survey_pins()? {
            let bytes = fs::read(&file).at("read", &file)?;
            let pin = wire::decode_pin(&bytes).filter(|pin| self.pin_path(&pin.name) == file);
            pins.push(pin.ok_or(CacheError::BadPin { path: file })?);
        }
        pins.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pins)
    }

    /// What a pin holds: its target's artifact; `None` if that is no longer there.
    ///
    /// # Errors
    /// Those of reading.
    pub fn pinned_artifact(&self, pin: &Pin) -> Result<Option<Artifact>, CacheError> {
        for key in &pin.keys {
            let artifact = self.lookup(key)?.map(|result| result.artifact);
            if let Some(artifact) = artifact.filter(|it| it.digest() == pin.artifact) {
                return Ok(Some(artifact));
            }
        }
        Ok(None)
    }

    /// Keeps a pin, in the place of one of the same name.
    ///
    /// # Errors
    /// Those of writing.
    pub fn set_pin(&self, pin: &Pin) -> Result<(), CacheError> {
        self.ensure()?;
        self.sync_results(&pin.keys)?;
        let path = self.pin_path(&pin.name);
        let folder = path.parent().expect("it is in a folder");
        disk::create_folders(folder).at("make the folder", folder)?;
        let aside = self.temporary_name();
        // It is relied on: unlike a note, it is synced.
        disk::write_synced(&aside, &wire::encode_pin(pin)).at("write", &aside)?;
        disk::rename(&aside, &path).at("make", &path)?;
        // What is pinned is promised, and this may be the first name in any folder from here up to the project's.
        let folders = folder
            .ancestors()
            .take(4)
            .filter(|it| !it.as_os_str().is_empty());
        for folder in folders {
            disk::sync_folder(folder).at("sync", folder)?;
        }
        Ok(())
    }

    /// Makes the names of results and of their objects last. A build leaves results to the system, since one that is lost
    /// is made again; one that is pinned may be wanted when it can no longer be made.
    fn sync_results(&self, keys: &BTreeSet<ActionKey>) -> Result<(), CacheError> {
        let mut files = Vec::new();
        for key in keys {
            files.push(self.result_path(key));
            let result = self.lookup(key)?;
            let entries = result.iter().flat_map(|it| it.artifact.tree.entries());
            files.extend(entries.map(|entry| self.object_path(&entry.digest)));
        }
        let folders = files.iter().filter_map(|file| file.parent());
        let above = folders.clone().filter_map(Path::parent);
        let folders = folders.chain(above).chain([&*self.root]);
        for folder in folders.collect::<BTreeSet<&Path>>() {
            match disk::sync_folder(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                answer => answer.at("sync", folder)?,
            }
        }
        Ok(())
    }

    /// Removes a pin; says whether there was one.
    ///
    /// # Errors
    /// Those of removing.
    pub fn remove_pin(&self, name: &str) -> Result<bool, CacheError> {
        let path = self.pin_path(name);
        match disk::remove(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at("remove", &path),
        }
    }

    fn survey_pins(&self) -> Result<Vec<PathBuf>, CacheError> {
        let folder = self.root().join("pins");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).at("list", &folder),
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let paths: Vec<PathBuf> = paths.collect::<io::Result<_>>().at("list", &folder)?;
        let is_pin = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
        Ok(paths.into_iter().filter(is_pin).collect())
    }

    /// The file of the pin of this name, there or not.
    pub fn pin_path(&self, name: &str) -> PathBuf {
        self.root()
            .join("pins")
            .join(format!("{}.json", file_name(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlbuild_action::Description;

    fn pin(name: &str) -> Pin {
        let description = Description::from_parts([("work".to_owned(), name.to_owned())].into());
        Pin {
            name: name.to_owned(),
            target: "model:recs".to_owned(),
            artifact: Digest::of(name.as_bytes()),
            keys: [description.key()].into(),
            pinned_at: 1_700_000_000,
        }
    }

    #[test]
    fn pins_are_listed_by_name_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        assert_eq!(cache.pins().unwrap(), []);
        cache.set_pin(&pin("v2/../x")).unwrap();
        cache.set_pin(&pin("a")).unwrap();
        cache
            .set_pin(&Pin {
                pinned_at: 5,
                ..pin("a")
            })
            .unwrap();
        let pins = cache.pins().unwrap();
        assert_eq!(
            pins,
            [
                Pin {
                    pinned_at: 5,
                    ..pin("a")
                },
                pin("v2/../x")
            ]
        );
        assert!(cache.remove_pin("a").unwrap());
        assert!(!cache.remove_pin("a").unwrap());
        assert_eq!(cache.pins().unwrap(), [pin("v2/../x")]);
    }

    #[test]
    fn the_format_does_not_move() {
        let pin = pin("v1");
        let artifact = Digest::of(b"v1");
        let key = pin.keys.first().unwrap();
        let body = format!(
            "{{\"name\":\"v1\",\"target\":\"model:recs\",\"artifact\":\"{artifact}\",\
             \"keys\":[\"{key}\"],\"pinned_at\":1700000000}}"
        );
        let digest = Digest::of(body.as_bytes());
        let head = format!("{{\"format\":\"mlbuild pin\",\"version\":2,\"blake3\":\"{digest}\"}}");
        let expected = format!("{head}\n{body}\n");
        assert_eq!(String::from_utf8(wire::encode_pin(&pin)).unwrap(), expected);
        assert_eq!(wire::decode_pin(expected.as_bytes()), Some(pin));
    }

    #[test]
    fn a_damaged_pin_is_an_error_and_never_an_absence() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        cache.set_pin(&pin("a")).unwrap();
        let path = cache.pin_path("a");
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::remove_file(&path).unwrap();
            fs::write(&path, &whole[..end]).unwrap();
            let error = cache.pins().unwrap_err();
            assert!(matches!(error, CacheError::BadPin { .. }), "cut at {end}");
        }
    }
}
