//! What a build looked at outside of the cache's own files, and what it saw there.
//!
//! A build is a function of these looks: of build files, source files, folders that were listed, outputs that stand, tools,
//! environment variables, and of what is in the cache. So while every one of them would come out the same, so would the build
//! (`snapshot` makes use of that).
//!
//! Invariants: a look is noted as it was *before* anything was concluded from it, so that a change in between shows; what
//! cannot be noted makes the witness unsure, and an unsure witness vouches for nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use mlbuild_cache::Stat;
use mlbuild_digest::Digest;

/// The looks of one build.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Witness {
    /// Paths relative to the project, or absolute: what `stat` said, or that nothing was there.
    pub(crate) paths: BTreeMap<String, Option<Stat>>,
    /// Environment variables: digests of their values, or that they were not set.
    pub(crate) variables: BTreeMap<String, Option<Digest>>,
    unsure: bool,
}

impl Witness {
    /// Looks at `path` (relative to `root`, or absolute): call it before reading the file, or listing the folder.
    pub fn look(&mut self, root: &Path, path: &Path) {
        match Stat::at(&root.join(path)) {
            Ok(stat) => self.note(root, path, stat),
            Err(_) => self.unsure = true,
        }
    }

    /// Notes what `stat` said of `path`.
    pub(crate) fn note(&mut self, root: &Path, path: &Path, stat: Option<Stat>) {
        let relative = path.strip_prefix(root).unwrap_or(path);
        let Some(name) = relative.to_str() else {
            self.unsure = true;
            return;
        };
        match self.paths.entry(name.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(stat);
            }
            // Something was concluded from either.
            Entry::Occupied(entry) => self.unsure |= *entry.get() != stat,
        }
    }

    /// Notes the value of an environment variable.
    pub(crate) fn note_variable(&mut self, name: &str, value: Option<&str>) {
        let digest = value.map(|value| Digest::of(value.as_bytes()));
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
        assert_eq!(witness.paths["a"], None);

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
        let paths: Vec<_> = witness.paths.keys().collect();
        assert_eq!(paths, ["/etc", "raw/a"]);
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
