//! Checkpoints: what an interrupted action left for the next attempt at it, in `checkpoints/NAME.KEY`.
//!
//! The folder is its action's: the action makes it, fills it, and believes of it what it can check. Here it is only named,
//! measured and removed. It is nobody's input and part of no result, so it can go at any time: the action then begins anew.
//! The target stands in its name so that people can be told whose it is, since an action that was interrupted is in no
//! result and no list of results.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mlbuild_action::ActionKey;
use mlbuild_disk as disk;

use crate::error::At;
use crate::results::{file_name, text_of_name};
use crate::scratch::remove_all;
use crate::survey::Stored;
use crate::{Cache, CacheError, Count};

/// The checkpoints of one action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The target's label.
    pub target: String,
    /// The action.
    pub key: ActionKey,
    /// Its files.
    pub files: Count,
    /// When the youngest of them was written.
    pub modified: SystemTime,
}

/// The same, with where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredCheckpoint {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) path: PathBuf,
}

impl StoredCheckpoint {
    /// The checkpoints in a folder of this name, whose files these are; `None` if the name is none of ours.
    pub(crate) fn new(name: &str, folder: Stored, files: &[Stored]) -> Option<Self> {
        let (target, key) = name.rsplit_once('.')?;
        let ages = files.iter().map(|file| file.modified);
        Some(Self {
            checkpoint: Checkpoint {
                target: text_of_name(target)?,
                key: key.parse().ok()?,
                files: Count::of(files),
                modified: ages.max().unwrap_or(folder.modified),
            },
            path: folder.path,
        })
    }
}

impl Cache {
    /// Where the checkpoints of an action of a target belong. Looks at nothing and makes nothing.
    pub fn checkpoint_path(&self, target: &str, key: &ActionKey) -> PathBuf {
        self.root()
            .join("checkpoints")
            .join(format!("{}.{key}", file_name(target)))
    }

    /// Removes the checkpoints of an action of a target, if there are any: by one rename, and then for good.
    ///
    /// # Errors
    /// Those of renaming.
    pub fn remove_checkpoint(&self, target: &str, key: &ActionKey) -> Result<(), CacheError> {
        let path = self.checkpoint_path(target, key);
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        self.ensure()?;
        let aside = self.temporary_name();
        move_aside(&path, &aside)?;
        remove_all(&aside);
        Ok(())
    }
}

/// Gives what is to go another name; it may be gone already.
fn move_aside(path: &Path, aside: &Path) -> Result<(), CacheError> {
    match disk::rename(path, aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("move aside", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mlbuild_action::Description;

    use super::*;

    fn key(name: &str) -> ActionKey {
        Description::from_parts([("work".to_owned(), name.to_owned())].into()).key()
    }

    #[test]
    fn checkpoints_are_an_actions_and_are_known_by_target_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let path = cache.checkpoint_path("model:recs", &key("a"));
        cache.remove_checkpoint("model:recs", &key("a")).unwrap();
        assert!(!cache.root().exists(), "nothing is made to remove nothing");

        fs::create_dir_all(path.join("optimizer")).unwrap();
        fs::write(path.join("step"), "7").unwrap();
        fs::write(path.join("optimizer/moments"), "0 0").unwrap();
        let other = cache.checkpoint_path("model:recs", &key("b"));
        fs::create_dir_all(&other).unwrap();
        let survey = cache.survey().unwrap();
        let mut found: Vec<_> = survey.checkpoints.iter().map(|it| &it.checkpoint).collect();
        found.sort_by_key(|it| it.files.files);
        let count = |files, size_bytes| Count { files, size_bytes };
        let described: Vec<_> = found
            .iter()
            .map(|it| (&*it.target, it.key, it.files))
            .collect();
        let expected = [
            ("model:recs", key("b"), count(0, 0)),
            ("model:recs", key("a"), count(2, 4)),
        ];
        assert_eq!(described, expected);
        assert_eq!(survey.size_bytes(), 4);

        cache.remove_checkpoint("model:recs", &key("a")).unwrap();
        assert!(!path.exists() && other.exists());
        assert_eq!(fs::read_dir(cache.tmp()).unwrap().count(), 0);
    }

    #[test]
    fn what_has_another_name_is_no_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let folder = dir.path().join("checkpoints");
        for name in ["model%3Arecs", "model%3A.ab", "model%3.KEY", "mine"] {
            let name = name.replace("KEY", &key("a").to_string());
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let file = cache.checkpoint_path("model:recs", &key("a"));
        fs::write(file, "a file").unwrap();
        let survey = cache.survey().unwrap();
        assert_eq!(survey.checkpoints, []);
        assert_eq!(survey.strays.len(), 5, "{:?}", survey.strays);
    }
}
