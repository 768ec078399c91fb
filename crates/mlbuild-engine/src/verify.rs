//! Executes actions whose results are cached once more, and compares: does the same key give the same bits?
//!
//! Each stage of a target runs again in an empty folder, from the same inputs, but under other circumstances: another
//! number of threads, less memory, and input tables whose rows lie in files that are cut otherwise. What it yields goes
//! nowhere. As every action is reproduced from inputs that were themselves compared, the whole chain is.
//!
//! Invariants: nothing is written outside the scratch space, and no result is replaced: the first writer's result
//! counts, also where a second differs.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mlbuild_action::{
    ActionResult, Artifact, Cancel, Diagnostic, Failure, GpuId, Output, Progress, Table, TreeEntry,
    Work,
};
use mlbuild_cache::{Cache, Destination, MaterializeMode, Scratch};
use mlbuild_graph::{Stage, Target};
use mlbuild_manifest::Label;

use crate::analysis::Analyses;
use crate::devices::{Devices, GpuDevice, Gpus, Need, no_gpu};
use crate::job::{Allowance, Job, JobFailure, Layout, OUTPUT, cache_failure};
use crate::pick::{Figures, picked};
use crate::project::{Executors, Project};
use crate::resolve::{Context, Resolved, Sources, resolve, stage_name};

/// A row in which two tables differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowDifference {
    /// The row, from 1.
    pub row: u64,
    /// The value in the first table, as text; `None` if it has no such row.
    pub old: Option<String>,
    /// The value in the second.
    pub new: Option<String>,
}

/// A stage of a target, verified.
#[derive(Clone, PartialEq, Debug)]
pub struct Verified {
    /// The target.
    pub label: Label,
    /// Its stage: `sql`, `train sasrec`.
    pub stage: String,
    /// What came of it.
    pub verdict: Reproduction,
}

/// Whether an action gave the same again.
#[derive(Clone, PartialEq, Debug)]
pub enum Reproduction {
    /// Bit for bit.
    Bitwise,
    /// Other bits, but every metric for which a tolerance is declared is within it.
    Within {
        /// Of each metric how far it moved, and how far it may.
        moved: BTreeMap<String, (f64, f64)>,
    },
    /// Something else.
    Differs(Difference),
    /// Not run: its output has a pinned digest, which it was held to when it ran.
    Pinned,
    /// Not run: there is no result to compare with.
    NotBuilt,
    /// It failed.
    Failed(Diagnostic),
}

impl Reproduction {
    /// The name in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Bitwise => "bitwise",
            Self::Within { .. } => "within_tolerance",
            Self::Differs(_) => "differs",
            Self::Pinned => "pinned",
            Self::NotBuilt => "not_built",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether this is an alarm.
    pub const fn is_alarm(&self) -> bool {
        matches!(self, Self::Differs(_) | Self::Failed(_))
    }
}

/// How a second result differs from the first.
#[derive(Clone, PartialEq, Debug)]
pub enum Difference {
    /// Another number of rows.
    Rows {
        /// In the cache.
        old: u64,
        /// Now.
        new: u64,
    },
    /// Other columns, or other types of them.
    Schema {
        /// `name type` of each in the cache.
        old: Vec<String>,
        /// Now.
        new: Vec<String>,
    },
    /// A column with other values: the first such one.
    Column {
        /// Its name.
        column: String,
        /// Where, if it could be found.
        row: Option<RowDifference>,
    },
    /// Files with other contents.
    Files {
        /// Their paths, and those that only one of the two has.
        paths: Vec<String>,
        /// Metrics beyond their tolerance: how far they moved, and how far they may.
        beyond: BTreeMap<String, (f64, f64)>,
    },
}

/// What actions may use.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Memory for an action that declares none.
    pub memory_bytes: u64,
    /// Finds the GPUs that actions may use; called when one needs a GPU.
    pub find_gpus: fn() -> Gpus,
}

/// Verifies `wanted`, in topological order; `emit` receives each stage as it is done. Returns whether all is well.
///
/// # Errors
/// [`Failure::Cancelled`]; [`Failure::Environment`] if the cache cannot be read.
pub fn verify(
    project: &Project,
    wanted: &[Label],
    executors: &Executors,
    options: &VerifyOptions,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Verified),
) -> Result<(), Failure> {
    let mut verify = Verify {
        project,
        executors,
        options,
        gpus: OnceCell::new(),
        cancel,
        sources: Sources::new(project),
        analyses: Analyses::new(project),
        artifacts: BTreeMap::new(),
        figures: BTreeMap::new(),
    };
    let wanted: BTreeSet<&Label> = wanted.iter().collect();
    for label in project.graph.upstream(wanted.iter().copied()) {
        verify.target(&label, wanted.contains(&label), emit)?;
    }
    Ok(())
}

/// An action with the result that it is held to.
struct Again<'a> {
    target: &'a Target,
    resolved: &'a Resolved,
    first: &'a ActionResult,
}

fn is_command(stage: &Stage) -> bool {
    matches!(stage.work, Work::Command(_))
}

fn is_ingest(stage: &Stage) -> bool {
    matches!(stage.work, Work::Ingest(_))
}

struct Verify<'a> {
    project: &'a Project,
    executors: &'a Executors,
    options: &'a VerifyOptions,
    gpus: OnceCell<Vec<GpuDevice>>,
    cancel: &'a Cancel,
    sources: Sources<'a>,
    analyses: Analyses<'a>,
    artifacts: BTreeMap<Label, Artifact>,
    figures: BTreeMap<Label, Figures>,
}

impl Verify<'_> {
    /// Takes a target through its stages; only a `wanted` one is run.
    fn target(
        &mut self,
        label: &Label,
        wanted: bool,
        emit: &mut dyn FnMut(&Verified),
    ) -> Result<(), Failure> {
        let target = self
            .project
            .graph
            .target(label)
            .expect("the graph orders its own targets");
        let mut say = |stage: &Stage, verdict| {
            if wanted {
                emit(&Verified {
                    label: label.clone(),
                    stage: stage_name(&stage.work),
                    verdict,
                });
            }
        };
        let known = |input: &&Label| self.artifacts.contains_key(*input);
        if !target.inputs().iter().all(known) {
            say(&target.stages[0], Reproduction::NotBuilt);
            return Ok(());
        }
        let mut artifact = None;
        // A command whose output is then read as a table: its files are compared as that table.
        let mut command = None;
        for (number, stage) in target.stages.iter().enumerate() {
            let context = Context {
                executors: self.executors,
                artifacts: &self.artifacts,
                figures: &self.figures,
                previous: artifact.as_ref(),
            };
            let resolved = resolve(stage, &context, &mut self.sources, &mut self.analyses)?;
            let found = self.project.cache.lookup(&resolved.key);
            let Some(result) = found.map_err(|error| cache_failure(&error))? else {
                say(stage, Reproduction::NotBuilt);
                return Ok(());
            };
            let again = Again {
                target,
                resolved: &resolved,
                first: &result,
            };
            match command.take() {
                _ if !wanted => {}
                Some(scratch) => say(stage, self.read_again(&again, scratch)?),
                None if is_command(stage)
                    && target.stages.get(number + 1).is_some_and(is_ingest) =>
                {
                    let scratch = self.scratch()?;
                    match self.again(&again, &scratch)? {
                        Reproduction::Differs(_) => command = Some(scratch),
                        verdict => say(stage, verdict),
                    }
                }
                None => {
                    let scratch = self.scratch()?;
                    say(stage, self.again(&again, &scratch)?);
                }
            }
            if label.is_point() {
                self.figures.insert(label.clone(), result.metrics);
            }
            if !matches!(stage.work, Work::Check(_)) {
                artifact = Some(result.artifact);
            }
        }
        if let Some(artifact) = artifact {
            self.artifacts.insert(label.clone(), artifact);
        }
        Ok(())
    }

    fn scratch(&self) -> Result<Scratch, Failure> {
        let scratch = self.project.cache.scratch();
        scratch.map_err(|error| cache_failure(&error))
    }

    /// Runs an action once more in `scratch` and compares.
    fn again(&self, again: &Again<'_>, scratch: &Scratch) -> Result<Reproduction, Failure> {
        let layout = match &again.resolved.action.work {
            Work::Command(command) if command.digest.is_some() => return Ok(Reproduction::Pinned),
            Work::Pick(pick) => {
                let (now, then) = (picked(pick, again.resolved), again.first);
                return Ok(match now.artifact == then.artifact {
                    true => Reproduction::Bitwise,
                    false => Reproduction::Differs(Difference::Files {
                        paths: Vec::new(),
                        beyond: BTreeMap::new(),
                    }),
                });
            }
            // A process opens files itself: what it is given is what it was given.
            Work::Command(_) | Work::Python(_) => Layout::AsStored,
            _ => Layout::Reshaped,
        };
        self.run(again, layout, scratch)
    }

    /// Reads as a table what a command yielded in `output` this time, and compares.
    fn read_again(&self, again: &Again<'_>, output: Scratch) -> Result<Reproduction, Failure> {
        let files = output.path().join(OUTPUT);
        self.run(again, Layout::Folder(&files), &self.scratch()?)
    }

    fn run(
        &self,
        again: &Again<'_>,
        layout: Layout<'_>,
        scratch: &Scratch,
    ) -> Result<Reproduction, Failure> {
        let resources = again.target.resources;
        let gpus = match self.gpus(again) {
            Ok(gpus) => gpus,
            Err(diagnostic) => return Ok(Reproduction::Failed(diagnostic)),
        };
        // An empty one: what an interrupted attempt left is none of this.
        let checkpoints = scratch.path().join("checkpoints");
        let job = Job {
            resolved: again.resolved,
            project: self.project,
            executors: self.executors,
            allowance: Allowance {
                // Neither what a build gives it, nor a divisor of it.
                threads: resources.cpus as usize + 2,
                gpus,
                memory_bytes: resources.memory_bytes.unwrap_or(self.options.memory_bytes) / 2,
            },
            layout,
            checkpoints: &checkpoints,
        };
        match job.run(scratch.path(), &|_: Progress| (), self.cancel) {
            Ok((output, _)) => self.compare(again, &output, scratch.path()),
            Err(JobFailure::Failure(Failure::Cancelled)) => Err(Failure::Cancelled),
            Err(JobFailure::Failure(
                Failure::Failed(diagnostic)
                | Failure::Rejected(diagnostic)
                | Failure::Invalid(diagnostic)
                | Failure::Environment(diagnostic),
            ))
            | Err(JobFailure::LostInput(_, diagnostic)) => Ok(Reproduction::Failed(diagnostic)),
            Err(JobFailure::Panic(message)) => Ok(Reproduction::Failed(Diagnostic::error(
                "engine::bug",
                format!("an executor panicked: {message}"),
            ))),
        }
    }

    /// The GPUs for an action: nobody else runs, so the first ones.
    fn gpus(&self, again: &Again<'_>) -> Result<Vec<GpuId>, Diagnostic> {
        let need = Need::new(&again.resolved.action.work, &again.target.resources);
        if need.gpus == 0 {
            return Ok(Vec::new());
        }
        let found = self.gpus.get_or_init(|| (self.options.find_gpus)().devices);
        let mut devices = Devices::new(found.clone());
        match devices.take(need) {
            Some(taken) => Ok(devices.of(&taken).map(|gpu| gpu.id.clone()).collect()),
            None => Err(no_gpu(&again.target.label, need, &devices)),
        }
    }

    fn compare(
        &self,
        again: &Again<'_>,
        second: &Output,
        scratch: &Path,
    ) -> Result<Reproduction, Failure> {
        let Again {
            target,
            resolved,
            first,
        } = again;
        if matches!(resolved.action.work, Work::Check(_)) {
            return Ok(Reproduction::Bitwise); // its verdict is that it held
        }
        let output = scratch.join(OUTPUT);
        if let (Some(old), Some(new)) = (&first.artifact.table, &second.table) {
            // Of a table that is damaged the digests still say what differs, and no row is shown.
            let files = |entry: &TreeEntry| {
                let old = self.project.cache.whole_object(&entry.digest).ok()?;
                Some((old, output.join(&entry.path)))
            };
            let paths = first.artifact.tree.entries().first().and_then(files);
            let difference = table_difference(old, new, |column| {
                let (old, new) = paths.as_ref()?;
                self.executors.files.first_difference(old, new, column)
            });
            return Ok(difference.map_or(Reproduction::Bitwise, Reproduction::Differs));
        }
        // A store of its own digests the files without leaving a trace in the project's. It takes them; they are put
        // back for who reads them next.
        let tree = Cache::open(&scratch.join("cache")).and_then(|cache| {
            let tree = cache.ingest_folder(&output)?;
            let back = Destination::Folder(&output);
            cache.materialize(&tree, back, MaterializeMode::Link)?;
            Ok(tree)
        });
        let tree = tree.map_err(|error| cache_failure(&error))?;
        if tree == first.artifact.tree {
            return Ok(Reproduction::Bitwise);
        }
        let (moved, beyond) = moved(&target.tolerance, &first.metrics, &second.metrics);
        if !target.tolerance.is_empty() && beyond.is_empty() {
            return Ok(Reproduction::Within { moved });
        }
        let (old, new) = (first.artifact.tree.entries(), tree.entries());
        let differs = |entry: &&TreeEntry| !(old.contains(entry) && new.contains(entry));
        let paths: BTreeSet<String> = [old, new]
            .concat()
            .iter()
            .filter(differs)
            .map(|entry| entry.path.clone())
            .collect();
        Ok(Reproduction::Differs(Difference::Files {
            paths: paths.into_iter().collect(),
            beyond,
        }))
    }
}

fn table_difference(
    old: &Table,
    new: &Table,
    row: impl Fn(&str) -> Option<RowDifference>,
) -> Option<Difference> {
    let described = |table: &Table| {
        let columns = table.columns.iter();
        let columns = columns.map(|column| format!("{} {}", column.name, column.data_type));
        columns.collect::<Vec<_>>()
    };
    if described(old) != described(new) {
        return Some(Difference::Schema {
            old: described(old),
            new: described(new),
        });
    }
    if old.rows != new.rows {
        return Some(Difference::Rows {
            old: old.rows,
            new: new.rows,
        });
    }
    let mut pairs = old.columns.iter().zip(&new.columns);
    let (column, _) = pairs.find(|(old, new)| old.digest != new.digest)?;
    Some(Difference::Column {
        column: column.name.clone(),
        row: row(&column.name),
    })
}

/// How far the metrics with a tolerance moved, each with its tolerance; and those that moved too far.
#[expect(clippy::type_complexity, reason = "two maps of one kind")]
fn moved(
    tolerance: &BTreeMap<String, f64>,
    old: &BTreeMap<String, f64>,
    new: &BTreeMap<String, f64>,
) -> (BTreeMap<String, (f64, f64)>, BTreeMap<String, (f64, f64)>) {
    let value =
        |metrics: &BTreeMap<String, f64>, name| metrics.get(name).copied().unwrap_or(f64::NAN);
    let moved: BTreeMap<String, (f64, f64)> = tolerance
        .iter()
        .map(|(name, allowed)| {
            (
                name.clone(),
                ((value(new, name) - value(old, name)).abs(), *allowed),
            )
        })
        .collect();
    // A metric that is missing is not a number, and so beyond any tolerance.
    let beyond = |(_, (by, allowed)): &(&String, &(f64, f64))| by.is_nan() || by > allowed;
    let beyond = moved
        .iter()
        .filter(beyond)
        .map(|(name, by)| (name.clone(), *by))
        .collect();
    (moved, beyond)
}
