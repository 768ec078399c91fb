//! What a build would do, and why, without doing it.
//!
//! A target's key can be computed once its inputs are final. What lies downstream of a target that must
//! execute is therefore undecided: it runs only if that target's output really changes. The plan says
//! so instead of guessing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mlbuild_action::{ActionKey, Artifact, Description, Diagnostic, Failure, Work};
use mlbuild_graph::InputSource;
use mlbuild_manifest::Label;

use crate::analysis::Analyses;
use crate::build::stale_reasons;
use crate::pick::Figures;
use crate::pin::pinned;
use crate::project::{Executors, Project};
use crate::reads::Reads;
use crate::reason::{self, StaleReason, Unread};
use crate::resolve::{Context, Material, Sources, resolve, source_changes, stage_name};

/// What a build would do with a target.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// Nothing: it is what it was after the last build.
    UpToDate,
    /// Take it from the cache.
    Restore {
        /// Why it is not what it was.
        reasons: Vec<StaleReason>,
        /// How long its actions took when they ran.
        saves: Duration,
    },
    /// Execute at least this stage of it.
    Build {
        /// The first stage without a result.
        stage: String,
        /// Why.
        reasons: Vec<StaleReason>,
    },
    /// Undecided until these inputs are built: it executes only if what it reads of them changes.
    Pending {
        /// The direct inputs that must execute or are undecided themselves, each with the columns that the target read
        /// of it the last time, sorted; `None` if all of it counts, or nothing is known.
        on: Vec<(Label, Option<Vec<String>>)>,
    },
    /// It cannot be resolved.
    Broken(Diagnostic),
}

impl Verdict {
    /// The name in JSON and in `plan`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::UpToDate => "up_to_date",
            Self::Restore { .. } => "restore",
            Self::Build { .. } => "build",
            Self::Pending { .. } => "pending",
            Self::Broken(_) => "broken",
        }
    }
}

/// A target with its verdict.
#[derive(Clone, PartialEq, Debug)]
pub struct Planned {
    /// The target.
    pub label: Label,
    /// What a build would do with it.
    pub verdict: Verdict,
    /// The keys of its stages, as far as they are known.
    pub keys: Vec<ActionKey>,
    /// What changed in its inputs without concerning it.
    pub unread: Vec<Unread>,
    /// Its artifact, if every stage has a result.
    pub artifact: Option<Artifact>,
}

/// Plans `wanted` and all it needs, in topological order.
pub fn plan(project: &Project, wanted: &[Label], executors: &Executors) -> Vec<Planned> {
    let mut sources = Sources::new(project);
    let mut analyses = Analyses::new(project);
    let mut artifacts: BTreeMap<Label, Artifact> = BTreeMap::new();
    let mut figures: BTreeMap<Label, Figures> = BTreeMap::new();
    let mut planned = Vec::new();
    for label in project.graph.upstream(wanted) {
        let inputs: BTreeSet<Label> = project.graph.inputs(&label).into_iter().collect();
        let on: Vec<Label> = inputs
            .into_iter()
            .filter(|input| !artifacts.contains_key(input))
            .collect();
        let target = if on.is_empty() {
            plan_target(
                project,
                &label,
                executors,
                (&artifacts, &figures),
                &mut sources,
                &mut analyses,
            )
        } else {
            let reads = reads_of_last(project, &label, executors, &mut analyses);
            let on = on.into_iter().map(|input| {
                let columns = reads.of(&input);
                let columns = columns.map(|columns| columns.iter().cloned().collect());
                (input, columns)
            });
            let on = on.collect();
            Planned {
                label: label.clone(),
                verdict: Verdict::Pending { on },
                keys: Vec::new(),
                unread: Vec::new(),
                artifact: None,
            }
        };
        if let Some(artifact) = &target.artifact {
            if label.is_point() {
                figures.insert(label.clone(), figures_of(project, &target.keys));
            }
            artifacts.insert(label, artifact.clone());
        }
        planned.push(target);
    }
    // Where nothing can be written, a plan is made all the same.
    let _ = sources.save();
    planned
}

/// What a target read of other targets if it had to be built from what its last build found there.
fn reads_of_last(
    project: &Project,
    label: &Label,
    executors: &Executors,
    analyses: &mut Analyses<'_>,
) -> Reads {
    let last = project.last_build(label);
    let table = |input: &Label| {
        let digest = last.inputs.get(&input.to_string())?;
        project.cache.table(digest)
    };
    let mut reads = Reads::default();
    // What the stages before a check yielded.
    let mut previous = None;
    let stages = project
        .graph
        .target(label)
        .into_iter()
        .flat_map(|t| &t.stages);
    for (number, stage) in stages.enumerate() {
        let schemas = stage.inputs.iter().filter_map(|input| {
            let schema = match &input.from {
                InputSource::Target(label) => table(label)?.schema(),
                InputSource::Previous => previous.clone()?,
                InputSource::Pinned(pin, label) => {
                    pinned(project, pin, label).ok()?.table?.schema()
                }
                InputSource::Files(_) => return None,
            };
            Some((input.name.clone(), schema))
        });
        let schemas = schemas.collect();
        let executor = executors.of(&stage.work);
        let analysis = executor
            .toolchain(&stage.work)
            .and_then(|tools| analyses.analyze(executor, &stage.work, &tools, &schemas));
        // What cannot be told reads everything.
        reads.note(stage, &analysis.unwrap_or_default());
        if !matches!(stage.work, Work::Check(_)) {
            let result = last.keys.get(number).map(|key| project.cache.lookup(key));
            let result = result.and_then(|found| found.ok().flatten());
            previous = result.and_then(|result| Some(result.artifact.table?.schema()));
        }
    }
    reads
}

fn plan_target(
    project: &Project,
    label: &Label,
    executors: &Executors,
    (artifacts, figures): (&BTreeMap<Label, Artifact>, &BTreeMap<Label, Figures>),
    sources: &mut Sources<'_>,
    analyses: &mut Analyses<'_>,
) -> Planned {
    let declared = project
        .graph
        .target(label)
        .expect("the graph orders its own targets");
    let last = project.last_build(label);
    let mut keys = Vec::new();
    let mut artifact = None;
    let mut saves = Duration::ZERO;
    let mut reads = Reads::default();
    let end = |verdict, keys, reads: &Reads, artifact| Planned {
        label: label.clone(),
        verdict,
        keys,
        unread: reads.unread(project, &last, artifacts),
        artifact,
    };
    for (number, stage) in declared.stages.iter().enumerate() {
        let context = Context {
            executors,
            artifacts,
            figures,
            previous: artifact.as_ref(),
        };
        let resolved = match resolve(stage, &context, sources, analyses) {
            Ok(resolved) => resolved,
            Err(failure) => {
                return end(Verdict::Broken(diagnostic_of(failure)), keys, &reads, None);
            }
        };
        reads.note(stage, &resolved.analysis);
        keys.push(resolved.key);
        match project.cache.lookup(&resolved.key) {
            Ok(Some(result)) => {
                saves += result.duration;
                if !matches!(stage.work, Work::Check(_)) {
                    artifact = Some(result.artifact);
                }
            }
            Ok(None) => {
                let mut reasons = stale_reasons(project, &last.keys, number, &resolved);
                if reasons.is_empty() {
                    reasons.push(StaleReason::OutputMissing);
                }
                let stage = stage_name(&stage.work);
                return end(Verdict::Build { stage, reasons }, keys, &reads, None);
            }
            Err(error) => {
                let diagnostic = Diagnostic::error("cache::io", error.to_string());
                return end(Verdict::Broken(diagnostic), keys, &reads, None);
            }
        }
    }
    let verdict = if keys == last.keys {
        Verdict::UpToDate
    } else {
        Verdict::Restore {
            reasons: restore_reasons(project, &last.keys, &keys),
            saves,
        }
    };
    end(verdict, keys, &reads, artifact)
}

/// The final figures of a model with these keys.
pub(crate) fn figures_of(project: &Project, keys: &[ActionKey]) -> Figures {
    let results = keys
        .iter()
        .filter_map(|key| project.cache.lookup(key).ok().flatten());
    results
        .last()
        .map(|result| result.metrics)
        .unwrap_or_default()
}

/// Why a target whose stages all have results is not what it was.
pub(crate) fn restore_reasons(
    project: &Project,
    last: &[ActionKey],
    keys: &[ActionKey],
) -> Vec<StaleReason> {
    if last.is_empty() {
        return vec![StaleReason::NeverBuilt];
    }
    // The first stage that differs: what later ones find changed is what it yields.
    let pair = last.iter().zip(keys).find(|(old, new)| old != new);
    let description = |key| project.cache.description(key).ok().flatten();
    pair.and_then(|(old, new)| Some((description(old)?, description(new)?)))
        .map(|(old, new)| description_reasons(project, &BTreeMap::new(), &old, &new))
        .unwrap_or_default()
}

/// Every reason why `new` is not `old`, with the names of changed source files.
pub(crate) fn description_reasons(
    project: &Project,
    inputs: &BTreeMap<String, Material>,
    old: &Description,
    new: &Description,
) -> Vec<StaleReason> {
    reason::reasons(old, new, &|old, new| {
        source_changes(project, inputs, old, new)
    })
}

fn diagnostic_of(failure: Failure) -> Diagnostic {
    match failure {
        Failure::Failed(d)
        | Failure::Rejected(d)
        | Failure::Invalid(d)
        | Failure::Environment(d) => d,
        Failure::Cancelled => Diagnostic::error("engine::cancelled", "stopped"),
    }
}
