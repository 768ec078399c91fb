//! Checks what a project keeps: its cache, and its lineage database.
//!
//! The cache finds what is wrong with files; here that becomes what it means: whose results they were, as lineage tells
//! it. A lineage database that cannot be read is a finding too, and costs only the names of the others. It is never
//! repaired: what can be rescued from it cannot be remade.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mlbuild_cache::{Cache, CacheError, Checked, Problem, ProjectLock};
use mlbuild_lineage::Lineage;

use crate::gc::makers;
use crate::project::lineage_path;

/// Something wrong with the cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// Whose results are lost by it: label, run and stage, as far as lineage knows them.
    pub lost: Vec<String>,
}

/// What a check of a project found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// What is wrong with the cache.
    pub cache: Vec<Finding>,
    /// What is wrong with the lineage database, a sentence each.
    pub lineage: Vec<String>,
    /// Earlier copies of the lineage database, oldest first.
    pub backups: Vec<PathBuf>,
    /// How much was looked at.
    pub checked: Checked,
}

/// Checks the project at `root`; with a lock, moves what is bad in the cache out of the way.
///
/// # Errors
/// Those of listing the cache's folders and of repairing.
pub fn fsck(
    root: &Path,
    cache: &Cache,
    repair: Option<&ProjectLock>,
) -> Result<Findings, CacheError> {
    let database = lineage_path(root);
    let lineage = Lineage::check(&database);
    let names = match lineage.is_empty() {
        true => Lineage::open_read_only(&database).ok().flatten(),
        false => None,
    };
    let makers = makers(names.as_ref()).unwrap_or_default();
    let mut checked = cache.check(root, repair)?;
    let finding = |problem: Problem| {
        let lost = problem.keys.iter().filter_map(|key| makers.get(key));
        let lost =
            lost.map(|maker| format!("{}, run {} ({})", maker.label, maker.run, maker.stage));
        let lost: BTreeSet<String> = lost.collect();
        Finding {
            problem,
            lost: lost.into_iter().collect(),
        }
    };
    let cache = std::mem::take(&mut checked.problems);
    Ok(Findings {
        cache: cache.into_iter().map(finding).collect(),
        lineage,
        backups: Lineage::backups(&database),
        checked,
    })
}
