//! Checks a whole store: every byte that something relies on, against what names it.
//!
//! Elsewhere, what does not check out is a miss, in silence, when it is met. Here it is looked for and said. Repairing
//! moves what is bad to `quarantine/` and nothing else: what is not there is made again by the next build that needs it.
//! A result goes along with an object that it names, so that a repaired store has none that lacks one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mlbuild_action::ActionKey;
use mlbuild_digest::{Digest, Hasher};
use rayon::prelude::*;

use crate::survey::{Stored, Survey};
use crate::{Cache, CacheError, ProjectLock, StatIndex, wire};

/// A kind of file in a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// The layout's version.
    Version,
    /// A file's bytes.
    Object,
    /// What an action yielded.
    Result,
    /// What an input consisted of.
    Listing,
    /// What was worked out about inputs.
    Memo,
    /// What a target was last built as.
    LastBuild,
    /// What must not go.
    Pin,
    /// The digests of project files.
    StatIndex,
    /// None of these.
    Stray,
}

impl Part {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Object => "object",
            Self::Result => "result",
            Self::Listing => "listing",
            Self::Memo => "memo",
            Self::LastBuild => "last_build",
            Self::Pin => "pin",
            Self::StatIndex => "stat_index",
            Self::Stray => "stray",
        }
    }
}

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// Its bytes are not those that its name or its checksum promises.
    Damaged,
    /// It is what it says, but something that it needs is missing or damaged.
    Incomplete,
    /// The system does not let it be read.
    Unreadable(String),
    /// No rule of the layout names it.
    Foreign,
    /// It is not there.
    Missing,
    /// It says that these project files have digests that they do not have, although `stat` shows no change.
    Wrong(Vec<String>),
}

/// A file with which something is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What it is.
    pub part: Part,
    /// Where, relative to the store.
    pub path: PathBuf,
    /// What is wrong.
    pub flaw: Flaw,
    /// The results that are misses because of this.
    pub keys: BTreeSet<ActionKey>,
    /// How long the actions of these results ran, together, as far as that is known.
    pub duration: Duration,
    /// Whether it was put right, or out of the way.
    pub repaired: bool,
}

/// What a check looked at and found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// What is wrong, sorted by part and path.
    pub problems: Vec<Problem>,
    /// How many objects were digested.
    pub objects: u64,
    /// Their size in bytes.
    pub object_bytes: u64,
    /// How many results were read.
    pub results: u64,
}

impl Cache {
    /// Opens a store to check it, also one whose version file is not one.
    ///
    /// # Errors
    /// As [`Cache::open`], other than [`CacheError::NotACache`].
    pub fn open_to_check(root: &Path) -> Result<Self, CacheError> {
        match Self::open(root) {
            Err(CacheError::NotACache { .. }) => Ok(Self {
                root: root.to_owned(),
                // The version is the check's to write.
                writable: std::sync::atomic::AtomicBool::new(true),
                whole: std::sync::Mutex::default(),
                swept: std::sync::Mutex::default(),
                new_folders: std::sync::Mutex::default(),
            }),
            answer => answer,
        }
    }

    /// Checks every file of the store, and of the stat index what it says about the project at `project`. With a lock,
    /// repairs what it finds.
    ///
    /// # Errors
    /// Those of listing folders and of repairing; a file that cannot be read is a [`Problem`].
    pub fn check(
        &self,
        project: &Path,
        repair: Option<&ProjectLock>,
    ) -> Result<Checked, CacheError> {
        let survey = self.survey()?;
        let mut check = Check::new(self, &survey);
        check.version()?;
        check.objects();
        check.results();
        check.notes();
        check.pins();
        check.stat_index(project);
        for path in &survey.strays {
            check.found(Part::Stray, path, Flaw::Foreign, BTreeSet::new());
        }
        let mut problems = check.problems;
        problems.sort_by(|a, b| (a.part, &a.path).cmp(&(b.part, &b.path)));
        if repair.is_some() {
            for problem in &mut problems {
                problem.repaired = self.repair(problem)?;
            }
        }
        Ok(Checked {
            problems,
            objects: survey.objects.len() as u64,
            object_bytes: survey.objects.values().map(|file| file.size_bytes).sum(),
            results: (survey.results.len() + survey.bad_results.len()) as u64,
        })
    }

    fn repair(&self, problem: &Problem) -> Result<bool, CacheError> {
        let path = self.root().join(&problem.path);
        match (problem.part, &problem.flaw) {
            // Whoever pinned it may still want it when it is built again.
            (Part::Pin, Flaw::Incomplete) => return Ok(false),
            (Part::Version, Flaw::Missing) => {}
            _ => self.quarantine(&path),
        }
        if problem.part == Part::Version {
            self.write_version()?;
            return Ok(true);
        }
        Ok(path.symlink_metadata().is_err())
    }
}

/// A check that is going on.
struct Check<'s> {
    cache: &'s Cache,
    survey: &'s Survey,
    problems: Vec<Problem>,
    /// Objects that are not what their name says.
    bad_objects: BTreeSet<Digest>,
    bad_results: BTreeSet<ActionKey>,
}

impl<'s> Check<'s> {
    fn new(cache: &'s Cache, survey: &'s Survey) -> Self {
        Self {
            cache,
            survey,
            problems: Vec::new(),
            bad_objects: BTreeSet::new(),
            bad_results: BTreeSet::new(),
        }
    }

    fn found(&mut self, part: Part, path: &Path, flaw: Flaw, keys: BTreeSet<ActionKey>) {
        let results = keys.iter().filter_map(|key| self.survey.results.get(key));
        let duration = results.map(|result| result.duration).sum();
        let path = path.strip_prefix(self.cache.root()).unwrap_or(path);
        self.problems.push(Problem {
            part,
            path: path.to_owned(),
            flaw,
            keys,
            duration,
            repaired: false,
        });
    }

    fn version(&mut self) -> Result<(), CacheError> {
        let flaw = match self.cache.check_version() {
            Ok(true) => return Ok(()),
            Ok(false) if *self.survey == Survey::default() => return Ok(()),
            Ok(false) => Flaw::Missing,
            Err(CacheError::NotACache { .. }) => Flaw::Damaged,
            Err(error) => return Err(error),
        };
        let path = self.cache.version_path();
        self.found(Part::Version, &path, flaw, BTreeSet::new());
        Ok(())
    }

    /// Digests every object, several at a time.
    fn objects(&mut self) {
        let survey = self.survey;
        let objects: Vec<(&Digest, &Stored)> = survey.objects.iter().collect();
        let flaws: Vec<(Digest, &Stored, Flaw)> = objects
            .into_par_iter()
            .filter_map(|(digest, file)| Some((*digest, file, object_flaw(digest, &file.path)?)))
            .collect();
        let mut owners: BTreeMap<Digest, BTreeSet<ActionKey>> = BTreeMap::new();
        for (key, result) in &survey.results {
            for digest in result.objects.keys() {
                owners.entry(*digest).or_default().insert(*key);
            }
        }
        for (digest, file, flaw) in flaws {
            self.bad_objects.insert(digest);
            let keys = owners.remove(&digest).unwrap_or_default();
            self.found(Part::Object, &file.path, flaw, keys);
        }
    }

    fn results(&mut self) {
        let survey = self.survey;
        for file in &survey.bad_results {
            // What its name says is its key, as far as that can be told.
            let keys = key_of(&file.path).into_iter().collect();
            self.found(Part::Result, &file.path, Flaw::Damaged, keys);
        }
        for (key, result) in &survey.results {
            let mut objects = result.objects.iter();
            let complete = objects.all(|(digest, size_bytes)| {
                !self.bad_objects.contains(digest) && self.cache.contains(digest, *size_bytes)
            });
            if !complete {
                self.bad_results.insert(*key);
                self.found(
                    Part::Result,
                    &result.file.path,
                    Flaw::Incomplete,
                    [*key].into(),
                );
            }
        }
    }

    /// What only explains or spares time: listings, memos, last builds.
    fn notes(&mut self) {
        let survey = self.survey;
        let mut bad: Vec<(Part, &Stored)> = Vec::new();
        for (digest, file) in &survey.listings {
            if self.cache.listing(digest).is_none() && self.cache.table(digest).is_none() {
                bad.push((Part::Listing, file));
            }
        }
        for (digest, file) in &survey.memos {
            if self.cache.memo(digest).is_none() {
                bad.push((Part::Memo, file));
            }
        }
        for file in &survey.last {
            let last = fs::read(&file.path).ok();
            let last = last.and_then(|bytes| wire::decode_last(&bytes));
            if last.is_none_or(|(target, _)| self.cache.last_path(&target) != file.path) {
                bad.push((Part::LastBuild, file));
            }
        }
        for (part, file) in bad {
            self.found(part, &file.path, Flaw::Damaged, BTreeSet::new());
        }
    }

    fn pins(&mut self) {
        let survey = self.survey;
        for file in &survey.pins {
            let pin = fs::read(&file.path).ok();
            let pin = pin.and_then(|bytes| wire::decode_pin(&bytes));
            let Some(pin) = pin.filter(|pin| self.cache.pin_path(&pin.name) == file.path) else {
                self.found(Part::Pin, &file.path, Flaw::Damaged, BTreeSet::new());
                continue;
            };
            let stands = |key: &&ActionKey| {
                survey.results.contains_key(*key) && !self.bad_results.contains(*key)
            };
            let lost: BTreeSet<ActionKey> = pin
                .keys
                .iter()
                .filter(|key| !stands(key))
                .copied()
                .collect();
            if !lost.is_empty() {
                self.found(Part::Pin, &file.path, Flaw::Incomplete, lost);
            }
        }
    }

    fn stat_index(&mut self, project: &Path) {
        let path = self.cache.stat_index_path();
        let flaw = match StatIndex::check(&path, project) {
            None => Flaw::Damaged,
            Some(wrong) if wrong.is_empty() => return,
            Some(wrong) => Flaw::Wrong(wrong),
        };
        self.found(Part::StatIndex, &path, flaw, BTreeSet::new());
    }
}

fn object_flaw(digest: &Digest, path: &Path) -> Option<Flaw> {
    if !path
        .symlink_metadata()
        .is_ok_and(|metadata| metadata.is_file())
    {
        return Some(Flaw::Damaged);
    }
    match Hasher::new()
        .update_file(path)
        .map(|hasher| hasher.finish())
    {
        Ok(found) if found == *digest => None,
        Ok(_) => Some(Flaw::Damaged),
        // Quarantined by a reader meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Flaw::Unreadable(error.to_string())),
    }
}

/// The key under which a result file is filed.
fn key_of(path: &Path) -> Option<ActionKey> {
    let folder = path.parent()?.file_name()?.to_str()?;
    let rest = path.file_stem()?.to_str()?;
    format!("{folder}{rest}").parse().ok()
}

#[cfg(test)]
mod tests;
