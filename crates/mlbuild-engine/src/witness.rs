//! What a build looked at outside of the cache's own files, and what it saw there.
//!
//! A build is a function of these looks: of build files, source files, folders that were listed, outputs that stand, tools,
//! environment variables, and of what is in the cache. So while every one of them would come out the same, so would the build
//! (`snapshot` makes use of that). Some looks concern one target alone, its source files and its outputs: they are *its* looks,
//! and while they and its inputs are as they were, so is that target, whatever became of others.
//!
//! Invariants: a look is noted as it was *before* anything was concluded from it, so that a change in between shows; a look that
//! several depend on and that is not noted for each of them is everybody's; what was looked at within the clock tick of a change
//! is *unsure*, since another change may not show; what cannot be noted makes the whole witness unsure, and it vouches for
//! nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use mlbuild_cache::Stat;
use mlbuild_digest::Digest;

/// What a look at a path saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// Nothing was there.
    Absent,
    /// What `stat` said.
    Present(Stat),
    /// Something that may change without a trace in what `stat` says.
    Unsure,
}

impl Seen {
    pub(crate) fn new(stat: Option<Stat>) -> Self {
        stat.map_or(Self::Absent, Self::Present)
    }
}

/// The number of a look in its witness.
pub(crate) type LookNumber = u32;

/// The looks of one build.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Witness {
    /// Paths relative to the project, or absolute.
    numbers: HashMap<String, LookNumber>,
    looks: Vec<Look>,
    /// Environment variables: digests of their values, or that they were not set.
    variables: HashMap<String, Option<Digest>>,
    unsure: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    stat: Option<Stat>,
    /// Whether a change in the same tick of the clock may not show.
    young: bool,
    /// Whether it concerns more than the targets that it was noted for.
    everybodys: bool,
}

/// A look that came to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Noted {
    pub(crate) path: String,
    pub(crate) seen: Seen,
    pub(crate) everybodys: bool,
}

impl Witness {
    /// Looks at `path` (relative to `root`, or absolute): call it before reading the file, or listing the folder.
    pub fn look(&mut self, root: &Path, path: &Path) {
        match Stat::at(&root.join(path)) {
            Ok(stat) => self.note(root, path, stat),
            Err(_) => self.unsure = true,
        }
    }

    /// Notes what `stat` said of `path`: everybody's look.
    pub(crate) fn note(&mut self, root: &Path, path: &Path, stat: Option<Stat>) {
        if let Some(number) = self.note_for_some(root, path, stat) {
            self.looks[number as usize].everybodys = true;
        }
    }

    /// Notes what `stat` said of `path`: a look of those whose the number is given to. `None` if it cannot be noted.
    pub(crate) fn note_for_some(
        &mut self,
        root: &Path,
        path: &Path,
        stat: Option<Stat>,
    ) -> Option<LookNumber> {
        let relative = path.strip_prefix(root).unwrap_or(path);
        let Some(name) = relative.to_str() else {
            self.unsure = true;
            return None;
        };
        Some(self.add(name, stat))
    }

    fn add(&mut self, name: &str, stat: Option<Stat>) -> LookNumber {
        // Most paths are looked at once.
        match self.numbers.entry(name.to_owned()) {
            Entry::Vacant(entry) => {
                let number = u32::try_from(self.looks.len()).expect("memory ends before");
                entry.insert(number);
                self.looks.push(Look {
                    stat,
                    young: false,
                    everybodys: false,
                });
                number
            }
            Entry::Occupied(entry) => {
                // Something was concluded from either.
                self.unsure |= self.looks[*entry.get() as usize].stat != stat;
                *entry.get()
            }
        }
    }

    /// Notes again what an earlier build saw at `path`, and what has been looked at since and is so still.
    pub(crate) fn carry(&mut self, path: &str, seen: Seen, everybodys: bool) -> LookNumber {
        let stat = match seen {
            Seen::Present(stat) => Some(stat),
            Seen::Absent | Seen::Unsure => None,
        };
        let number = self.add(path, stat);
        let look = &mut self.looks[number as usize];
        look.young |= seen == Seen::Unsure;
        look.everybodys |= everybodys;
        number
    }

    /// Notes what `stat` says of `path`, which only who holds the project's lock may change, in the place of an earlier look.
    pub(crate) fn replace(
        &mut self,
        root: &Path,
        path: &Path,
        stat: Option<Stat>,
    ) -> Option<LookNumber> {
        let relative = path.strip_prefix(root).unwrap_or(path);
        let known = relative.to_str().and_then(|name| self.numbers.get(name));
        if let Some(number) = known {
            let look = &mut self.looks[*number as usize];
            (look.stat, look.everybodys) = (stat, true);
            return Some(*number);
        }
        let number = self.note_for_some(root, path, stat)?;
        self.looks[number as usize].everybodys = true;
        Some(number)
    }

    /// Says of which looks it cannot be known that a change after them would show.
    pub(crate) fn mark_young(&mut self, is_young: impl Fn(LookNumber, &Stat) -> bool) {
        for (number, look) in (0..).zip(&mut self.looks) {
            look.young |= look.stat.is_some_and(|stat| is_young(number, &stat));
        }
    }

    /// Notes the value of an environment variable.
    pub(crate) fn note_variable(&mut self, name: &str, value: Option<&str>) {
        let digest = value.map(|value| Digest::of(value.as_bytes()));
        self.carry_variable(name, digest);
    }

    /// As [`Witness::note_variable`], for the digest of the value.
    pub(crate) fn carry_variable(&mut self, name: &str, digest: Option<Digest>) {
        let known = self.variables.insert(name.to_owned(), digest);
        self.unsure |= known.is_some_and(|known| known != digest);
    }

    /// Notes that something was looked at that cannot be looked at again.
    pub fn doubt(&mut self) {
        self.unsure = true;
    }

    /// Whether every look was noted.
    pub(crate) fn is_sure(&self) -> bool {
        !self.unsure
    }

    /// What was seen at `path`; `None` if it was not looked at.
    pub(crate) fn seen(&self, root: &Path, path: &Path) -> Option<Option<Stat>> {
        let relative = path.strip_prefix(root).unwrap_or(path);
        let number = self.numbers.get(relative.to_str()?)?;
        Some(self.looks[*number as usize].stat)
    }

    /// Paths with what was seen there.
    pub(crate) fn stats(&self) -> impl Iterator<Item = (&str, Option<Stat>)> {
        let looks = &self.looks;
        self.numbers
            .iter()
            .map(|(path, number)| (path.as_str(), looks[*number as usize].stat))
    }

    /// All looks in the order of their numbers, and the variables, sorted.
    pub(crate) fn into_looks(self) -> (Vec<Noted>, Vec<(String, Option<Digest>)>) {
        let mut paths: Vec<(LookNumber, String)> = self
            .numbers
            .into_iter()
            .map(|(path, number)| (number, path))
            .collect();
        paths.sort_unstable_by_key(|(number, _)| *number);
        let looks = paths.into_iter().zip(self.looks);
        let looks = looks.map(|((_, path), look)| Noted {
            path,
            seen: match look.young {
                true => Seen::Unsure,
                false => Seen::new(look.stat),
            },
            everybodys: look.everybodys,
        });
        let mut variables: Vec<_> = self.variables.into_iter().collect();
        variables.sort();
        (looks.collect(), variables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn two_looks_that_differ_vouch_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = Path::new("a");
        let mut witness = Witness::default();
        witness.look(dir.path(), path);
        witness.look(dir.path(), path);
        assert!(witness.is_sure());
        assert_eq!(witness.seen(dir.path(), path), Some(None));

        fs::write(dir.path().join(path), "now it is there").unwrap();
        witness.look(dir.path(), path);
        assert!(!witness.is_sure());
    }

    #[test]
    fn paths_of_the_project_are_relative_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut witness = Witness::default();
        witness.look(dir.path(), &dir.path().join("raw/a"));
        witness.look(dir.path(), Path::new("/etc"));
        assert!(witness.seen(dir.path(), Path::new("/etc")).is_some());
        assert!(witness.seen(dir.path(), Path::new("raw/a")).is_some());
    }

    #[test]
    fn a_variable_has_one_value() {
        let mut witness = Witness::default();
        witness.note_variable("LANG", Some("C"));
        witness.note_variable("LANG", Some("C"));
        assert!(witness.is_sure());
        witness.note_variable("LANG", None);
        assert!(!witness.is_sure());
    }
}
