//! What of the cache is needed, and by what name people know what is not.
//!
//! The cache knows keys and sizes; which keys matter is known here: those of the project as it is declared now (and of
//! its last builds, under every profile, since the keys of what lies downstream of a change are not known before it is built),
//! those that pins hold, and those that targets had in their last states, from lineage.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::time::{Duration, SystemTime};

use mlbuild_action::{ActionKey, Diagnostic};
use mlbuild_cache::{CacheError, Checkpoint, Garbages, Keep, Limits, ProjectLock, Usage};
use mlbuild_lineage::{Lineage, LineageError, Maker, RunId};
use mlbuild_manifest::Label;

use crate::plan::plan;
use crate::project::{Executors, Project, last_name, lineage_path};

/// What a collection is to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CollectionOptions {
    /// How many of its last states each target keeps.
    pub keep_last: usize,
    /// How large the cache may be, if that is limited.
    pub max_size_bytes: Option<u64>,
    /// Whatever is younger stays.
    pub grace: Duration,
    /// The time now.
    pub now: SystemTime,
}

/// A target of an earlier run whose results go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaving {
    /// Label and run; `None` if lineage knows nothing of the results.
    pub made: Option<(String, RunId)>,
    /// The stages whose results go.
    pub stages: Vec<String>,
    /// What goes with them, in bytes.
    pub size_bytes: u64,
    /// How long they took to make, together.
    pub duration: Duration,
    /// Whether some of them go only to make room.
    pub evicted: bool,
}

/// Checkpoints of an interrupted training that go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeavingCheckpoint {
    /// The target.
    pub target: String,
    /// After how many epochs it was interrupted; `None` if lineage knows of none.
    pub epochs: Option<u32>,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// What a collection removes, by name.
#[derive(Clone, PartialEq, Debug)]
pub struct Collection {
    /// The targets, by label and run; what is nameless comes last.
    pub leaving: Vec<Leaving>,
    /// The checkpoints, oldest first.
    pub checkpoints: Vec<LeavingCheckpoint>,
    /// The files.
    pub garbage: Garbages,
}

/// Chooses what a collection of `project` removes, without removing it.
///
/// # Errors
/// If the cache or lineage cannot be read: what is not known to be garbage stays.
pub fn collection(
    project: &Project,
    executors: &Executors,
    options: &CollectionOptions,
) -> Result<Collection, Diagnostic> {
    let lineage = open(project)?;
    let keep = keep(project, executors, lineage.as_ref(), options.keep_last)?;
    let limits = Limits {
        now: options.now,
        grace: options.grace,
        max_size_bytes: options.max_size_bytes,
    };
    let garbage = project.cache.garbage(&keep, &limits).map_err(unreadable)?;
    let makers = makers(lineage.as_ref())?;
    Ok(Collection {
        leaving: by_name(&garbage, &makers),
        checkpoints: checkpoints(&garbage, lineage.as_ref())?,
        garbage,
    })
}

/// How long after an epoch ended its checkpoint may still be written, or before.
const EPOCH_WRITES: Duration = Duration::from_secs(10);

fn checkpoints(
    garbage: &Garbages,
    lineage: Option<&Lineage>,
) -> Result<Vec<LeavingCheckpoint>, Diagnostic> {
    let named = |checkpoint: &Checkpoint| {
        // A checkpoint says nothing of itself: it is of the epoch that ended when it was written.
        let written = checkpoint.modified + EPOCH_WRITES;
        let written = written.duration_since(SystemTime::UNIX_EPOCH);
        let micros = i64::try_from(written.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
        let epochs = lineage.map(|lineage| lineage.epochs_until(&checkpoint.target, micros));
        Ok(LeavingCheckpoint {
            target: checkpoint.target.clone(),
            epochs: epochs.transpose().map_err(no_history)?.flatten(),
            size_bytes: checkpoint.files.size_bytes,
        })
    };
    garbage.checkpoints.iter().map(named).collect()
}

/// Removes what [`collection`] chose while `lock` was held. `go_on` is asked before each file. Returns the bytes gone.
///
/// # Errors
/// Those of the cache. What went is gone, and the cache is sound.
pub fn collect(
    project: &Project,
    collection: &Collection,
    lock: &ProjectLock,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<u64, CacheError> {
    project.cache.remove(&collection.garbage, lock, go_on)
}

/// How large the cache is, and what of it is needed by what, if each target keeps its last `keep_last` states.
///
/// # Errors
/// As [`collection`].
pub fn usage(
    project: &Project,
    executors: &Executors,
    keep_last: usize,
) -> Result<Usage, Diagnostic> {
    let lineage = open(project)?;
    let keep = keep(project, executors, lineage.as_ref(), keep_last)?;
    project.cache.usage(&keep).map_err(unreadable)
}

/// The roots: what must stay, and why.
fn keep(
    project: &Project,
    executors: &Executors,
    lineage: Option<&Lineage>,
    keep_last: usize,
) -> Result<Keep, Diagnostic> {
    let all: Vec<Label> = project.graph.targets().map(|t| t.label.clone()).collect();
    let mut current = BTreeSet::new();
    for planned in plan(project, &all, executors) {
        current.extend(planned.keys);
    }
    let mut targets = BTreeSet::new();
    let profiles = iter::once(None).chain(project.profiles.iter().map(|name| Some(&**name)));
    for profile in profiles {
        for label in &all {
            current.extend(project.last_build_of(profile, label).keys);
            targets.insert(last_name(profile, label));
        }
    }
    let pins = project.cache.pins().map_err(unreadable)?;
    let history = match lineage {
        Some(lineage) => lineage.recent_keys(keep_last).map_err(no_history)?,
        None => BTreeSet::new(),
    };
    Ok(Keep {
        current,
        pinned: pins.into_iter().flat_map(|pin| pin.keys).collect(),
        history,
        targets,
    })
}

fn open(project: &Project) -> Result<Option<Lineage>, Diagnostic> {
    Lineage::open_read_only(&lineage_path(&project.root)).map_err(no_history)
}

pub(crate) fn makers(lineage: Option<&Lineage>) -> Result<BTreeMap<ActionKey, Maker>, Diagnostic> {
    let makers = lineage.map(Lineage::makers).transpose();
    Ok(makers.map_err(no_history)?.unwrap_or_default())
}

fn by_name(garbage: &Garbages, makers: &BTreeMap<ActionKey, Maker>) -> Vec<Leaving> {
    // `None` sorts first; what is nameless belongs at the end.
    let mut named: BTreeMap<(bool, Option<(String, RunId)>), Leaving> = BTreeMap::new();
    for result in &garbage.results {
        let maker = makers.get(&result.key);
        let made = maker.map(|maker| (maker.label.clone(), maker.run));
        let leaving = named
            .entry((made.is_none(), made.clone()))
            .or_insert_with(|| Leaving {
                made,
                stages: Vec::new(),
                size_bytes: 0,
                duration: Duration::ZERO,
                evicted: false,
            });
        leaving
            .stages
            .extend(maker.map(|maker| maker.stage.clone()));
        leaving.size_bytes += result.size_bytes;
        leaving.duration += result.duration;
        leaving.evicted |= result.evicted;
    }
    named.into_values().collect()
}

pub(crate) fn unreadable(error: CacheError) -> Diagnostic {
    let damaged_pin = matches!(error, CacheError::BadPin { .. });
    let diagnostic = Diagnostic::error("cache::io", error.to_string());
    match damaged_pin {
        true => diagnostic
            .help("what it holds cannot be told, so nothing was removed; `mlbuild fsck` says more"),
        false => diagnostic,
    }
}

fn no_history(error: LineageError) -> Diagnostic {
    Diagnostic::error("lineage::unreadable", error.to_string())
        .help("which results earlier runs left cannot be told, so nothing was removed; `mlbuild fsck` says more")
}
