//! How the artifacts of two runs, or of two profiles, differ: targets, schemas, rows, files, metrics.
//!
//! Lineage knows which artifact each target had in each run, and which action yielded it; what a target was last built as under
//! a profile is remembered beside the cache. The cache still has what that was, unless it was cleaned. So nothing is built, and
//! the project may have moved on since.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mlbuild_action::{ActionKey, ActionResult, Column, Diagnostic, Table, TreeEntry};
use mlbuild_cache::CacheError;
use mlbuild_graph::Target;
use mlbuild_lineage::{Lineage, LineageError, RunId, RunTarget};
use mlbuild_manifest::{DEFAULT_PROFILE, Label};

use crate::Fault;
use crate::project::{Project, TableFiles, lineage_path};
use crate::reason::{Change, FileChange};

/// How the rows of two tables differ.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RowDiff {
    /// Rows that only the new one has.
    pub added: u64,
    /// Rows that only the old one has.
    pub removed: u64,
    /// Rows that both have, with other values.
    pub changed: u64,
    /// In how many of the changed rows each column differs.
    pub columns: BTreeMap<String, u64>,
    /// Some of the changed rows, as text.
    pub examples: Vec<String>,
}

/// A target that differs between what is compared.
#[derive(Clone, PartialEq, Debug)]
pub struct TargetDiff {
    /// Its label; it may no longer be declared.
    pub label: String,
    /// How it differs.
    pub difference: RunDifference,
}

/// How a target differs.
#[derive(Clone, PartialEq, Debug)]
pub enum RunDifference {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Only one of them has an artifact of it: it failed or was skipped in the other. Their outcomes.
    Outcome {
        /// In the first.
        old: String,
        /// In the second.
        new: String,
    },
    /// Its artifact differs.
    Artifact(Box<ArtifactDiff>),
    /// Its artifact differs; how cannot be said, since the cache no longer has both.
    Unknown,
    /// Its artifact differs; how cannot be said, since what the cache held of it was damaged, and was set aside.
    Damaged,
}

/// How two artifacts of a target differ.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ArtifactDiff {
    /// Rows before and after, of a table.
    pub rows: Option<(u64, u64)>,
    /// Columns that came, with their types.
    pub added: Vec<(String, String)>,
    /// Columns that went, with their types.
    pub removed: Vec<(String, String)>,
    /// Columns of another type: name, old type, new type.
    pub retyped: Vec<(String, String, String)>,
    /// Columns of the same type with other values.
    pub changed: Vec<String>,
    /// The columns by which rows were matched; empty if they were compared whole.
    pub key: Vec<String>,
    /// How the rows differ, if both are tables.
    pub by_row: Option<RowDiff>,
    /// Files that differ, if they are no tables.
    pub files: Vec<FileChange>,
    /// Metrics that differ: `None` where there is none.
    pub metrics: BTreeMap<String, (Option<f64>, Option<f64>)>,
}

/// What is compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compared {
    /// The run of this number.
    Run(RunId),
    /// The last run of this commit, given by its whole digest and as the user named it.
    Commit {
        /// The digest.
        commit: String,
        /// As it was named: `main`.
        name: String,
    },
    /// What targets were last built as under this profile; `None` is without one.
    Profile(Option<String>),
}

/// What was compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Side {
    /// What a run left.
    Run(RunId),
    /// What builds under a profile left.
    Profile(Option<String>),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run) => write!(f, "run {run}"),
            Self::Profile(name) => {
                write!(f, "profile {}", name.as_deref().unwrap_or(DEFAULT_PROFILE))
            }
        }
    }
}

/// Compares what was built twice; without saying what, in the last two runs. Returns what was compared too, and the differing
/// targets by label.
///
/// # Errors
/// No such run, or nothing built under a profile: the user's mistake. A database that cannot be read, a table that is damaged:
/// the environment's.
pub fn diff(
    project: &Project,
    old: Option<&Compared>,
    new: Option<&Compared>,
    files: &dyn TableFiles,
) -> Result<(Side, Side, Vec<TargetDiff>), (Fault, Diagnostic)> {
    let lineage = Lineage::open_read_only(&lineage_path(&project.root)).map_err(unreadable)?;
    let lineage = lineage.ok_or_else(|| {
        let diagnostic = Diagnostic::error("lineage::empty", "nothing has been built here yet")
            .help("`mlbuild build` records every run");
        (Fault::User, diagnostic)
    })?;
    let last = lineage.last_runs(2).map_err(unreadable)?;
    let side = |compared: Option<&Compared>, back: usize| match compared {
        Some(compared) => side(&lineage, compared),
        None => last.get(back).map(|run| Side::Run(run.id)).ok_or_else(|| {
            let message = "there is only one run to compare";
            let diagnostic = Diagnostic::error("lineage::one-run", message)
                .help("build again, then compare; `mlbuild log` lists the runs");
            (Fault::User, diagnostic)
        }),
    };
    let (new, old) = (side(new, 0)?, side(old, 1)?);
    let before = targets(project, &lineage, &old)?;
    let after = targets(project, &lineage, &new)?;
    let labels: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut differences = Vec::new();
    for label in labels {
        let found = difference(project, before.get(label), after.get(label), files)
            .map_err(|diagnostic| (Fault::Environment, diagnostic))?;
        if let Some(difference) = found {
            let label = label.clone();
            differences.push(TargetDiff { label, difference });
        }
    }
    Ok((old, new, differences))
}

fn unreadable(error: LineageError) -> (Fault, Diagnostic) {
    let diagnostic = Diagnostic::error("lineage::unreadable", error.to_string());
    (Fault::Environment, diagnostic)
}

fn side(lineage: &Lineage, compared: &Compared) -> Result<Side, (Fault, Diagnostic)> {
    match compared {
        Compared::Run(run) => Ok(Side::Run(*run)),
        Compared::Commit { commit, name } => {
            let run = lineage.run_of_commit(commit).map_err(unreadable)?;
            run.map(Side::Run).ok_or_else(|| {
                let message = format!("nothing was built of commit `{name}` as it is");
                let diagnostic = Diagnostic::error("lineage::no-commit", message)
                    .help("check it out and build; runs of a work tree with changes do not count");
                (Fault::User, diagnostic)
            })
        }
        Compared::Profile(name) => Ok(Side::Profile(name.clone())),
    }
}

/// The targets of one side, by label.
fn targets(
    project: &Project,
    lineage: &Lineage,
    side: &Side,
) -> Result<BTreeMap<String, RunTarget>, (Fault, Diagnostic)> {
    let targets = match side {
        Side::Run(run) => lineage
            .run_targets(*run)
            .map_err(unreadable)?
            .ok_or_else(|| {
                let diagnostic =
                    Diagnostic::error("lineage::no-run", format!("there is no run {run}"))
                        .help("`mlbuild log` lists the runs");
                (Fault::User, diagnostic)
            })?,
        Side::Profile(name) => {
            let targets = project.graph.targets();
            let last = |target: &Target| last_target(project, name.as_deref(), &target.label);
            targets.filter_map(last).collect()
        }
    };
    if let (Side::Profile(name), []) = (side, &*targets) {
        let name = name.as_deref().unwrap_or(DEFAULT_PROFILE);
        let message = format!("nothing was built under profile `{name}`");
        let help = format!("`mlbuild build --profile {name}` builds it");
        let diagnostic = Diagnostic::error("lineage::no-profile", message).help(help);
        return Err((Fault::User, diagnostic));
    }
    Ok(targets.into_iter().map(|t| (t.label.clone(), t)).collect())
}

/// A target as it was last built under a profile; `None` if it never was.
fn last_target(project: &Project, profile: Option<&str>, label: &Label) -> Option<RunTarget> {
    let keys = project.last_build_of(profile, label).keys;
    let results = keys
        .iter()
        .map(|key| Some((*key, project.cache.lookup(key).ok()??)));
    let results: Option<Vec<(ActionKey, ActionResult)>> = results.collect();
    let label = label.to_string();
    if keys.is_empty() {
        return None;
    }
    // Checks yield nothing; the last stage that yields something is the target's.
    let made = |(key, result): (ActionKey, ActionResult)| {
        (!result.artifact.tree.entries().is_empty()).then(|| (key, result.artifact.digest()))
    };
    let made = results.and_then(|results| results.into_iter().rev().find_map(made));
    Some(RunTarget {
        label,
        outcome: match made {
            Some(_) => "built".to_owned(),
            None => "no longer in the cache".to_owned(),
        },
        artifact: made.map(|(_, artifact)| artifact),
        key: made.map(|(key, _)| key),
    })
}

fn difference(
    project: &Project,
    old: Option<&RunTarget>,
    new: Option<&RunTarget>,
    files: &dyn TableFiles,
) -> Result<Option<RunDifference>, Diagnostic> {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (None, _) => return Ok(Some(RunDifference::Added)),
        (_, None) => return Ok(Some(RunDifference::Removed)),
    };
    match (old.artifact, new.artifact) {
        (Some(a), Some(b)) if a == b => return Ok(None),
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {}
        (None, _) | (_, None) => {
            return Ok(Some(RunDifference::Outcome {
                old: old.outcome.clone(),
                new: new.outcome.clone(),
            }));
        }
    }
    let result = |target: &RunTarget| project.cache.lookup(target.key.as_ref()?).ok().flatten();
    Ok(Some(match (result(old), result(new)) {
        (Some(old), Some(new)) => match artifacts(project, &old, &new, files)? {
            Some(diff) => RunDifference::Artifact(Box::new(diff)),
            None => RunDifference::Damaged,
        },
        _ => RunDifference::Unknown,
    }))
}

/// `None` if one of them is damaged: it is out of the way then.
fn artifacts(
    project: &Project,
    old: &ActionResult,
    new: &ActionResult,
    files: &dyn TableFiles,
) -> Result<Option<ArtifactDiff>, Diagnostic> {
    let mut diff = ArtifactDiff {
        metrics: metrics(&old.metrics, &new.metrics),
        ..ArtifactDiff::default()
    };
    let (Some(before), Some(after)) = (&old.artifact.table, &new.artifact.table) else {
        diff.files = file_changes(old.artifact.tree.entries(), new.artifact.tree.entries());
        return Ok(Some(diff));
    };
    schema(before, after, &mut diff);
    let file = |result: &ActionResult| {
        let entry = result.artifact.tree.entries().first();
        let entry = entry.expect("a table has a file");
        project.cache.whole_object(&entry.digest)
    };
    // Both are looked at, so that all that is damaged is out of the way at once.
    let (old, new) = match (file(old), file(new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(CacheError::BadObject { .. }), _) | (_, Err(CacheError::BadObject { .. })) => {
            return Ok(None);
        }
        (Err(error), _) | (_, Err(error)) => {
            return Err(Diagnostic::error("cache::io", error.to_string()));
        }
    };
    // Rows can be matched by a key that both have with the same types.
    let same = |name: &String| {
        let find = |table: &'_ Table| find(table, name).map(|column| column.data_type.clone());
        find(before).is_some() && find(before) == find(after)
    };
    let key = match before.key == after.key && before.key.iter().all(same) {
        true => before.key.clone(),
        false => Vec::new(),
    };
    let columns: Vec<String> = match key.is_empty() {
        false => diff.changed.clone(),
        // Whole rows: all columns that both have.
        true => {
            let names = before.columns.iter().map(|column| column.name.clone());
            names.filter(same).collect()
        }
    };
    diff.by_row = Some(files.row_changes(&old, &new, &key, &columns)?);
    diff.key = key;
    Ok(Some(diff))
}

fn find<'t>(table: &'t Table, name: &str) -> Option<&'t Column> {
    table.columns.iter().find(|column| column.name == name)
}

fn schema(old: &Table, new: &Table, diff: &mut ArtifactDiff) {
    diff.rows = Some((old.rows, new.rows));
    let pair = |column: &Column| (column.name.clone(), column.data_type.clone());
    for column in &new.columns {
        match find(old, &column.name) {
            None => diff.added.push(pair(column)),
            Some(before) if before.data_type != column.data_type => diff.retyped.push((
                column.name.clone(),
                before.data_type.clone(),
                column.data_type.clone(),
            )),
            Some(before) if before.digest != column.digest => {
                diff.changed.push(column.name.clone())
            }
            Some(_) => {}
        }
    }
    let gone = old
        .columns
        .iter()
        .filter(|column| find(new, &column.name).is_none());
    diff.removed = gone.map(pair).collect();
}

/// The files that differ between two trees, by path.
pub(crate) fn file_changes(old: &[TreeEntry], new: &[TreeEntry]) -> Vec<FileChange> {
    let by_path = |entries: &[TreeEntry]| -> BTreeMap<String, TreeEntry> {
        entries
            .iter()
            .map(|entry| (entry.path.clone(), entry.clone()))
            .collect()
    };
    let (old, new) = (by_path(old), by_path(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let paths = paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path));
    paths
        .map(|path| FileChange {
            path: path.clone(),
            change: Change::of(old.get(path), new.get(path)),
        })
        .collect()
}

fn metrics(
    old: &BTreeMap<String, f64>,
    new: &BTreeMap<String, f64>,
) -> BTreeMap<String, (Option<f64>, Option<f64>)> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let pair = |name: &String| (old.get(name).copied(), new.get(name).copied());
    // Not a number equals nothing, itself included: compared by its bits.
    let bits = |value: Option<f64>| value.map(f64::to_bits);
    let differ = |name: &&String| bits(pair(name).0) != bits(pair(name).1);
    // Times are provenance: they differ from run to run.
    let timeless = |name: &&String| *name != "seconds" && !name.ends_with("_seconds");
    let names = names.into_iter().filter(differ).filter(timeless);
    names.map(|name| (name.clone(), pair(name))).collect()
}
