//! Garbage collection: removes what nothing needs, and says before what that is.
//!
//! The caller names the results to keep ([`Keep`]); this module marks from them to objects and listings, adds whatever
//! is young, and sweeps the rest. If a size is given and the store is still larger, it goes on with history, cheapest to
//! remake per byte first; what the project needs as it stands, and what is pinned, is never touched.
//!
//! # Why a sweep loses nothing that a build relies on
//!
//! A build may find an object in the store and count on it without writing it again. It does so only under the
//! project's lock, from its first lookup to its last result; a collection takes the same lock before it marks and
//! drops it after it has swept. So no object is found by a build after the mark and swept before that build's result
//! names it. `flock` holds among the processes of one machine. For writers that the lock does not reach, storing what
//! is there already makes it young again, and nothing younger than the grace is swept.
//!
//! # Why an interruption leaves a sound store
//!
//! Results go first, and their folders are synced before the first object goes: at no moment does a result name an
//! object that this collection removed. Each file goes by one rename into `tmp/`, which empties its name at once
//! however slow deleting is; what an interruption leaves there is removed by whoever takes the lock next. An object
//! whose results are gone already waits for the next collection.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mlbuild_action::ActionKey;
use mlbuild_digest::Digest;
use mlbuild_disk as disk;

use crate::checkpoints::StoredCheckpoint;
use crate::error::At;
use crate::survey::{Stored, StoredResult, Survey, below};
use crate::{Cache, CacheError, Checkpoint, ProjectLock};

/// Memos are small and cheap to work out again: they go when they are this old.
const MEMO_AGE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Damaged files are kept this long to be looked at.
const QUARANTINE_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Checkpoints that the project would not go on from as it is declared now are kept this long: who comes back to what was
/// interrupted finds it.
const CHECKPOINT_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What must stay, as far as the caller knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Keep {
    /// The results that the project uses as it is declared now, and those of its last builds.
    pub current: BTreeSet<ActionKey>,
    /// The results that pins hold.
    pub pinned: BTreeSet<ActionKey>,
    /// Results of earlier builds that a revert would want. They go only to make room.
    pub history: BTreeSet<ActionKey>,
    /// The targets whose last build is remembered for explanations.
    pub targets: BTreeSet<String>,
}

impl Keep {
    fn holds(&self, key: &ActionKey) -> bool {
        [&self.current, &self.pinned, &self.history]
            .iter()
            .any(|keys| keys.contains(key))
    }

    fn needs(&self, key: &ActionKey) -> bool {
        self.current.contains(key) || self.pinned.contains(key)
    }
}

/// How much may stay beyond what must.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The time now.
    pub now: SystemTime,
    /// Whatever is younger stays.
    pub grace: Duration,
    /// How large the store may be, if that is limited.
    pub max_size_bytes: Option<u64>,
}

impl Limits {
    fn is_older(&self, file: &Stored, age: Duration) -> bool {
        self.is_before(file.modified, age)
    }

    fn is_before(&self, modified: SystemTime, age: Duration) -> bool {
        // A time in the future is a clock set back: the file is young.
        let elapsed = self.now.duration_since(modified);
        elapsed.is_ok_and(|elapsed| elapsed >= age)
    }

    fn is_young(&self, file: &Stored) -> bool {
        !self.is_older(file, self.grace)
    }
}

/// A result that goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Garbage {
    /// Its key.
    pub key: ActionKey,
    /// What goes with it: its file and the objects that no other result needs. An object of several results that go is
    /// counted with the last of them.
    pub size_bytes: u64,
    /// How long its action ran.
    pub duration: Duration,
    /// Whether it goes only to make room.
    pub evicted: bool,
}

/// Files that go together: how many, how large.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// How many files.
    pub files: u64,
    /// Their size in bytes.
    pub size_bytes: u64,
}

impl Count {
    pub(crate) fn of<'s>(files: impl IntoIterator<Item = &'s Stored>) -> Self {
        let mut count = Self::default();
        for file in files {
            count.files += 1;
            count.size_bytes += file.size_bytes;
        }
        count
    }

    pub(crate) fn sum(counts: impl IntoIterator<Item = Self>) -> Self {
        let add = |sum: Self, count: Self| Self {
            files: sum.files + count.files,
            size_bytes: sum.size_bytes + count.size_bytes,
        };
        counts.into_iter().fold(Self::default(), add)
    }
}

/// What a collection removes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Garbages {
    /// Results, in the order in which they were chosen.
    pub results: Vec<Garbage>,
    /// Objects that no result names: what failed and interrupted builds left.
    pub unnamed: Count,
    /// Checkpoints that nothing will go on from.
    pub checkpoints: Vec<Checkpoint>,
    /// Listings and memos, and the last builds of targets that are no more.
    pub notes: Count,
    /// Damaged files that were kept to be looked at long enough.
    pub quarantine: Count,
    /// Size of the store before, in bytes.
    pub before_bytes: u64,
    /// Size of the store after, in bytes.
    pub after_bytes: u64,
    /// The files to remove first, and then the others.
    result_files: Vec<PathBuf>,
    other_files: Vec<PathBuf>,
}

impl Cache {
    /// Decides what goes. Reads names, sizes and results, and writes nothing.
    ///
    /// # Errors
    /// Those of reading: what cannot be read is never taken for garbage.
    pub fn garbage(&self, keep: &Keep, limits: &Limits) -> Result<Garbages, CacheError> {
        let survey = self.survey()?;
        let mut mark = Mark::new(&survey);
        let mut garbage = Garbages {
            before_bytes: survey.size_bytes(),
            ..Garbages::default()
        };
        let mut left = garbage.before_bytes;
        for (key, result) in &survey.results {
            if !keep.holds(key) && !limits.is_young(&result.file) {
                let size_bytes = mark.remove(key, limits);
                left -= size_bytes;
                garbage.results.push(Garbage {
                    key: *key,
                    size_bytes,
                    duration: result.duration,
                    evicted: false,
                });
            }
        }
        let unnamed = survey.objects.iter();
        let unnamed = unnamed
            .filter(|(digest, file)| !mark.named.contains(*digest) && !limits.is_young(file));
        let unnamed: Vec<&Stored> = unnamed.map(|(_, file)| file).collect();
        garbage.unnamed = Count::of(unnamed.iter().copied());
        left -= garbage.unnamed.size_bytes;
        let old = |file: &&Stored| limits.is_older(file, QUARANTINE_AGE);
        let quarantine: Vec<&Stored> = survey.quarantine.iter().filter(old).collect();
        garbage.quarantine = Count::of(quarantine.iter().copied());
        left -= garbage.quarantine.size_bytes;
        let mut checkpoints = Vec::new();
        for stored in spent(&survey, keep, limits) {
            let is_needed = limits.max_size_bytes.is_none_or(|max| left <= max);
            let StoredCheckpoint { checkpoint, .. } = stored;
            let has_result = survey.results.contains_key(&checkpoint.key);
            if has_result || limits.is_before(checkpoint.modified, CHECKPOINT_AGE) || !is_needed {
                left -= checkpoint.files.size_bytes;
                checkpoints.push(stored);
            }
        }
        garbage.checkpoints = checkpoints.iter().map(|it| it.checkpoint.clone()).collect();
        if let Some(max) = limits.max_size_bytes {
            left = mark.make_room(keep, limits, left, max, &mut garbage.results);
        }
        let notes = self.notes(&survey, &mark, keep, limits);
        garbage.notes = Count::of(notes.iter().copied());
        garbage.after_bytes = left - garbage.notes.size_bytes;

        let result_file = |garbage: &Garbage| survey.results[&garbage.key].file.path.clone();
        garbage.result_files = garbage.results.iter().map(result_file).collect();
        let others = mark.objects.iter().copied().chain(unnamed).chain(notes);
        let others = others.chain(quarantine).map(|file| file.path.clone());
        let checkpoints = checkpoints.iter().map(|it| it.path.clone());
        garbage.other_files = others.chain(checkpoints).collect();
        Ok(garbage)
    }

    /// Removes what [`Cache::garbage`] chose under the same lock. `go_on` is asked before each file; after a `false` the
    /// rest stays. Returns how many bytes went.
    ///
    /// # Errors
    /// Those of renaming and syncing; what went before is gone, and the store is sound.
    pub fn remove(
        &self,
        garbage: &Garbages,
        _lock: &ProjectLock,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<u64, CacheError> {
        let mut bin = Bin::new(self)?;
        let mut folders = BTreeSet::new();
        for path in &garbage.result_files {
            if !go_on() {
                return Ok(bin.size_bytes);
            }
            bin.take(path)?;
            folders.extend(path.parent());
        }
        for folder in folders {
            disk::sync_folder(folder).at("sync", folder)?;
        }
        for path in &garbage.other_files {
            if !go_on() {
                break;
            }
            bin.take(path)?;
        }
        Ok(bin.size_bytes)
    }

    /// What only explains: listings that nothing kept mentions, old memos, the last builds of targets that are no more.
    fn notes<'s>(
        &self,
        survey: &'s Survey,
        mark: &Mark<'s>,
        keep: &Keep,
        limits: &Limits,
    ) -> Vec<&'s Stored> {
        let kept_last: BTreeSet<PathBuf> = keep
            .targets
            .iter()
            .map(|target| self.last_path(target))
            .collect();
        let mut mentioned: BTreeSet<Digest> = BTreeSet::new();
        for (key, result) in &survey.results {
            if !mark.removed.contains(key) {
                mentioned.extend(&result.mentions);
            }
        }
        for target in &keep.targets {
            mentioned.extend(self.last_build(target).inputs.into_values());
        }
        let listings = survey.listings.iter();
        let listings = listings.filter(|(digest, _)| !mentioned.contains(*digest));
        let memos = survey.memos.values();
        let memos = memos.filter(|file| limits.is_older(file, MEMO_AGE));
        let last = survey.last.iter();
        let last = last.filter(|file| !kept_last.contains(&file.path));
        let young = listings.map(|(_, file)| file).chain(last);
        let young = young.filter(|file| !limits.is_young(file));
        young.chain(memos).collect()
    }
}

/// Checkpoints that the project would not go on from as it is declared now, oldest first.
fn spent<'s>(survey: &'s Survey, keep: &Keep, limits: &Limits) -> Vec<&'s StoredCheckpoint> {
    let is_spent = |StoredCheckpoint { checkpoint, .. }: &&StoredCheckpoint| {
        let is_wanted =
            keep.current.contains(&checkpoint.key) && !survey.results.contains_key(&checkpoint.key);
        !is_wanted && limits.is_before(checkpoint.modified, limits.grace)
    };
    let mut spent: Vec<_> = survey.checkpoints.iter().filter(is_spent).collect();
    spent.sort_by_key(|it| it.checkpoint.modified);
    spent
}

/// Which results name an object, while results go.
struct Mark<'s> {
    survey: &'s Survey,
    owners: BTreeMap<Digest, BTreeSet<ActionKey>>,
    /// Objects that some result of the survey names, whether that goes or stays.
    named: BTreeSet<Digest>,
    removed: BTreeSet<ActionKey>,
    /// Objects that go.
    objects: Vec<&'s Stored>,
}

impl<'s> Mark<'s> {
    fn new(survey: &'s Survey) -> Self {
        let mut owners: BTreeMap<Digest, BTreeSet<ActionKey>> = BTreeMap::new();
        for (key, result) in &survey.results {
            for digest in result.objects.keys() {
                owners.entry(*digest).or_default().insert(*key);
            }
        }
        Self {
            survey,
            named: owners.keys().copied().collect(),
            owners,
            removed: BTreeSet::new(),
            objects: Vec::new(),
        }
    }

    /// Takes a result out, and the objects that only it still named; returns their size in bytes.
    fn remove(&mut self, key: &ActionKey, limits: &Limits) -> u64 {
        let result = &self.survey.results[key];
        self.removed.insert(*key);
        let mut size_bytes = result.file.size_bytes;
        for digest in result.objects.keys() {
            let owners = self.owners.entry(*digest).or_default();
            owners.remove(key);
            if owners.is_empty()
                && let Some(file) = self.survey.objects.get(digest)
                && !limits.is_young(file)
            {
                size_bytes += file.size_bytes;
                self.objects.push(file);
            }
        }
        size_bytes
    }

    /// How much goes if `result` goes now, in bytes.
    fn frees(&self, result: &StoredResult, limits: &Limits) -> u64 {
        let alone = result.objects.keys().filter(|digest| {
            self.owners
                .get(digest)
                .is_some_and(|owners| owners.len() == 1)
        });
        let files = alone.filter_map(|digest| self.survey.objects.get(digest));
        let files = files.filter(|file| !limits.is_young(file));
        result.file.size_bytes + files.map(|file| file.size_bytes).sum::<u64>()
    }

    /// Takes out history until `max` bytes are left or there is no more of it; returns how many are left.
    fn make_room(
        &mut self,
        keep: &Keep,
        limits: &Limits,
        mut left: u64,
        max: u64,
        chosen: &mut Vec<Garbage>,
    ) -> u64 {
        let survey = self.survey;
        let may_go = |key: &ActionKey, result: &StoredResult| {
            !keep.needs(key) && !limits.is_young(&result.file)
        };
        let price = |mark: &Self, result: &StoredResult| {
            // Nanoseconds a byte: a result file is never empty.
            result.duration.as_nanos() / u128::from(mark.frees(result, limits).max(1))
        };
        let mut queue: BTreeMap<ActionKey, u128> = survey
            .results
            .iter()
            .filter(|(key, result)| !self.removed.contains(*key) && may_go(key, result))
            .map(|(key, result)| (*key, price(self, result)))
            .collect();
        let mut by_price: BTreeSet<(u128, ActionKey)> =
            queue.iter().map(|(key, price)| (*price, *key)).collect();
        while left > max
            && let Some((_, key)) = by_price.pop_first()
        {
            queue.remove(&key);
            let size_bytes = self.remove(&key, limits);
            left -= size_bytes;
            let result = &survey.results[&key];
            chosen.push(Garbage {
                key,
                size_bytes,
                duration: result.duration,
                evicted: true,
            });
            // Who alone names an object now frees more, so is cheaper a byte.
            let owners = result
                .objects
                .keys()
                .filter_map(|digest| self.owners.get(digest));
            let alone = owners.filter(|owners| owners.len() == 1).flatten();
            for other in alone.copied().collect::<BTreeSet<ActionKey>>() {
                if let Some(old) = queue.get_mut(&other) {
                    by_price.remove(&(*old, other));
                    *old = price(self, &survey.results[&other]);
                    by_price.insert((*old, other));
                }
            }
        }
        left
    }
}

/// A folder in `tmp/` into which files go by a rename; emptied when dropped.
struct Bin {
    scratch: crate::Scratch,
    files: u64,
    size_bytes: u64,
}

impl Bin {
    fn new(cache: &Cache) -> Result<Self, CacheError> {
        Ok(Self {
            scratch: cache.scratch()?,
            files: 0,
            size_bytes: 0,
        })
    }

    fn take(&mut self, path: &Path) -> Result<(), CacheError> {
        let size_bytes = size(path);
        let to = self.scratch.path().join(self.files.to_string());
        match disk::rename(path, &to) {
            Ok(()) => {}
            // Quarantined by a reader meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).at("move aside", path),
        }
        self.files += 1;
        self.size_bytes += size_bytes;
        Ok(())
    }
}

/// Size of a file, or of the files in a folder, in bytes, as far as that can be told.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else {
        return 0;
    };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let mut files = Vec::new();
    // It is only reported: what cannot be listed counts nothing.
    let _ = below(path, &mut files);
    Count::of(&files).size_bytes
}

#[cfg(test)]
mod tests;
