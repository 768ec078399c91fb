//! Writes what a build does to lineage, and reads back what explanations need.
//!
//! Lineage is history: nothing here decides a build, and a database that cannot be written costs a warning,
//! once. A run is begun only when there is something to write, so that a null build is one transaction.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use mlbuild_action::{ActionResult, Artifact, Diagnostic, Work};
use mlbuild_digest::Digest;
use mlbuild_lineage::{
    ActionRecord, ArtifactRecord, CandidateRecord, EpochRecord, GivenRecord, InputRecord, Lineage,
    LineageError, Micros, Rebuild, Run, RunId, RunStart, RunStatus, TargetRecord,
};
use mlbuild_manifest::{Label, Variant};

use crate::columns::flows;
use crate::pick;
use crate::project::{Project, lineage_path, state_folder};
use crate::reason::{StaleReason, Unread};
use crate::resolve::{Material, Resolved, stage_name};
use crate::{Outcome, Summary};

/// What a run tells of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunRecord {
    /// The command line's words, without the program.
    pub arguments: Vec<String>,
    /// What the user selected.
    pub selection: Vec<String>,
    /// What the user made of the manifest.
    pub variant: Variant,
    /// The version of mlbuild.
    pub version: String,
    /// Who builds, if that is known.
    pub user: Option<String>,
    /// On which machine.
    pub host: Option<String>,
}

/// Records one build.
pub struct Recorder<'a> {
    state: State<'a>,
    start: RunStart,
    now: fn() -> Micros,
    /// Since when something waits to be written that a crash should not lose.
    waits_since: Option<Micros>,
    trouble: Option<LineageError>,
}

/// How long a finished target may wait to be written: so that many short ones make one transaction.
const WAIT: Micros = 200_000;

enum State<'a> {
    /// Nothing has been recorded.
    Idle(&'a mut Lineage),
    Running(Box<Run<'a>>),
    /// There is no database, or it has failed.
    Off,
}

/// Opens the project's lineage database to record into. Without one the build goes on.
pub fn open_lineage(root: &Path) -> (Option<Lineage>, Option<Diagnostic>) {
    let path = lineage_path(root);
    let emptied = is_emptied(root, &path);
    match Lineage::open(&path) {
        Ok(lineage) => (Some(lineage), emptied.then(|| lost(&path))),
        Err(error) => (None, Some(not_recorded(&error))),
    }
}

/// Whether the database is an empty file although targets were built here: who is killed while making it leaves one too,
/// but before the first target is done.
fn is_emptied(root: &Path, path: &Path) -> bool {
    let is_empty = fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
    let last = state_folder(root).join("cache/last");
    is_empty && fs::read_dir(last).is_ok_and(|mut entries| entries.next().is_some())
}

fn lost(path: &Path) -> Diagnostic {
    let message = format!("the lineage database `{}` was empty", path.display());
    Diagnostic::warning("lineage::lost", message).help(
        "the history of earlier builds is lost, and a new one begins; the build is not affected",
    )
}

fn not_recorded(error: &LineageError) -> Diagnostic {
    Diagnostic::warning("lineage::not-recorded", error.to_string())
        .help("the build is not affected; its history is missing from lineage")
}

impl<'a> Recorder<'a> {
    /// A recorder into `lineage`; `now` is the clock.
    pub fn new(lineage: Option<&'a mut Lineage>, run: RunRecord, now: fn() -> Micros) -> Self {
        let RunRecord {
            arguments,
            selection,
            variant,
            version,
            user,
            host,
        } = run;
        let given = variant.given().map(|(label, name, value)| GivenRecord {
            label: label.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
        });
        let start = RunStart {
            command: arguments,
            selection,
            given: given.collect(),
            profile: variant.profile,
            started: now(),
            tools: BTreeMap::from([("mlbuild".to_owned(), version)]),
            user,
            host,
        };
        Self {
            state: lineage.map_or(State::Off, State::Idle),
            start,
            now,
            waits_since: None,
            trouble: None,
        }
    }

    pub(crate) fn now(&self) -> Micros {
        (self.now)()
    }

    /// How long targets took the last times they were built, as far as that is known.
    pub(crate) fn expected(&mut self, labels: &[Label]) -> BTreeMap<Label, Duration> {
        let State::Idle(lineage) = &mut self.state else {
            return BTreeMap::new();
        };
        let names: Vec<String> = labels.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match lineage.durations(&names, self.start.profile.as_deref()) {
            Ok(durations) => labels
                .iter()
                .filter_map(|label| Some((label.clone(), *durations.get(&label.to_string())?)))
                .collect(),
            Err(error) => {
                self.fail(error);
                BTreeMap::new()
            }
        }
    }

    /// Records an epoch of a training; it waits to be written, as a target does.
    pub(crate) fn epoch(&mut self, label: &Label, epoch: u32, metrics: &BTreeMap<String, f64>) {
        let record = EpochRecord {
            label: label.to_string(),
            epoch,
            at: self.now(),
            metrics: metrics.clone(),
        };
        self.write(|run| {
            run.epoch(record);
            Ok(())
        });
        self.note_waiting();
    }

    /// Records a target that came to its end; it waits to be written, with others that end soon after.
    pub(crate) fn target(&mut self, record: TargetRecord) {
        self.write(|run| {
            run.target(record);
            Ok(())
        });
        self.note_waiting();
    }

    fn note_waiting(&mut self) {
        if self.waits_since.is_none() && self.presses() {
            self.waits_since = Some(self.now());
        }
    }

    /// Writes what has waited long enough.
    pub(crate) fn write_waiting(&mut self) {
        if let Some(since) = self.waits_since
            && self.now() - since >= WAIT
        {
            self.waits_since = None;
            self.write(Run::write_waiting);
        }
    }

    fn presses(&self) -> bool {
        matches!(&self.state, State::Running(run) if run.presses())
    }

    /// Takes back what was recorded of a target: it begins anew.
    pub(crate) fn forget(&mut self, label: &Label) {
        self.write(|run| run.forget(&label.to_string()));
    }

    /// Ends the run, which was of this `commit` of the project. Returns its number, and what went wrong with recording, if
    /// anything did.
    pub fn finish(
        mut self,
        summary: &Summary,
        commit: Option<String>,
    ) -> (Option<RunId>, Option<Diagnostic>) {
        let status = if summary.cancelled {
            RunStatus::Interrupted
        } else if summary.faults.is_empty() {
            RunStatus::Done
        } else {
            RunStatus::Failed
        };
        self.write(|run| {
            run.made_of(commit);
            Ok(())
        });
        let now = self.now();
        let mut id = None;
        if let State::Running(run) = std::mem::replace(&mut self.state, State::Off) {
            match run.end(status, now) {
                Ok(run) => id = Some(run),
                Err(error) => self.fail(error),
            }
        }
        (id, self.trouble.as_ref().map(not_recorded))
    }

    fn write(&mut self, what: impl FnOnce(&mut Run<'a>) -> Result<(), LineageError>) {
        self.state = match std::mem::replace(&mut self.state, State::Off) {
            State::Idle(lineage) => State::Running(Box::new(lineage.begin_run(self.start.clone()))),
            other => other,
        };
        if let State::Running(run) = &mut self.state
            && let Err(error) = what(run)
        {
            self.fail(error);
        }
    }

    /// Gives up recording: one warning is enough.
    fn fail(&mut self, error: LineageError) {
        self.state = State::Off;
        self.trouble.get_or_insert(error);
    }
}

/// A stage of a target as lineage keeps it.
pub(crate) fn stage_record(
    label: &Label,
    stage: usize,
    resolved: &Resolved,
    result: &ActionResult,
    executed: bool,
    up_to_date: bool,
    now: Micros,
) -> ActionRecord {
    let work = &resolved.action.work;
    let duration = i64::try_from(result.duration.as_micros()).unwrap_or(i64::MAX);
    let parts = resolved.description.parts();
    let inputs = resolved.inputs.iter().map(|(name, material)| InputRecord {
        name: name.clone(),
        artifact: match material {
            Material::Artifact(artifact) => artifact.digest(),
            Material::Sources(tree) => tree.digest(),
        },
    });
    ActionRecord {
        stage: u32::try_from(stage).unwrap_or(u32::MAX),
        name: stage_name(work),
        key: resolved.key,
        rule: parts.get("rule").cloned().unwrap_or_default(),
        outcome: match (executed, up_to_date) {
            (true, _) => Outcome::Built,
            (false, true) => Outcome::UpToDate,
            (false, false) => Outcome::Restored,
        },
        toolchain: resolved.action.toolchain.clone(),
        started: if executed {
            now.saturating_sub(duration)
        } else {
            now
        },
        duration: result.duration,
        inputs: inputs.collect(),
        flows: flows(resolved, &result.artifact),
        output: (!matches!(work, Work::Check(_))).then(|| artifact_record(work, &result.artifact)),
        parameters: parts
            .iter()
            .filter_map(|(name, value)| {
                Some((name.strip_prefix("param.")?.to_owned(), value.clone()))
            })
            .collect(),
        metrics: result.metrics.clone(),
        device: parts.get("device").cloned(),
        candidates: candidates(label, resolved),
    }
}

/// The candidates of a choice, by the labels of their points.
fn candidates(label: &Label, resolved: &Resolved) -> Vec<CandidateRecord> {
    let Work::Pick(pick) = &resolved.action.work else {
        return Vec::new();
    };
    let chosen = pick::chosen(pick, &resolved.action);
    let record = |(point, value)| CandidateRecord {
        point: label.with_point(point).to_string(),
        metric: pick.metric.clone(),
        value,
        picked: chosen == Some(point),
    };
    pick::judged(&resolved.action).map(record).collect()
}

fn artifact_record(work: &Work, artifact: &Artifact) -> ArtifactRecord {
    let kind = match (&artifact.table, work) {
        (Some(_), _) => "table",
        (None, Work::Pick(_)) => "model",
        (None, work) if work.may_checkpoint() => "model",
        (None, Work::Evaluate(_)) => "report",
        (None, _) => "files",
    };
    ArtifactRecord {
        digest: artifact.digest(),
        kind: kind.to_owned(),
        size_bytes: artifact.tree.size_bytes(),
        rows: artifact.table.as_ref().map(|table| table.rows),
        columns: artifact
            .table
            .as_ref()
            .map(|table| table.columns.clone())
            .unwrap_or_default(),
    }
}

/// A target without its actions, as lineage keeps it.
pub(crate) fn target_record(
    project: &Project,
    label: &Label,
    outcome: Outcome,
    reason: Option<String>,
    started: Micros,
    ended: Micros,
    artifact: Option<Digest>,
) -> TargetRecord {
    let rule = project
        .graph
        .target(label)
        .map_or("", |target| target.rule.as_str());
    TargetRecord {
        label: label.to_string(),
        rule: rule.to_owned(),
        outcome,
        reason,
        started,
        ended,
        artifact,
        actions: Vec::new(),
    }
}

/// The texts of several reasons as one, a line each.
pub(crate) fn reason_text(reasons: &[StaleReason]) -> Option<String> {
    let lines: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// What changed in a target's inputs without concerning it, a line each.
pub(crate) fn unread_text(unread: &[Unread]) -> Option<String> {
    let lines: Vec<String> = unread.iter().map(ToString::to_string).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// What earlier builds say of building a target again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Estimate {
    /// How long its actions ran: the median of the last builds.
    pub duration: Option<Duration>,
    /// Size of its last artifact.
    pub size_bytes: Option<u64>,
}

/// What lineage says of building each of `labels` under the project's profile; nothing where there is no history.
///
/// # Errors
/// Those of reading the lineage database.
pub fn estimates(
    project: &Project,
    labels: &[Label],
) -> Result<BTreeMap<Label, Estimate>, LineageError> {
    let Some(lineage) = Lineage::open_read_only(&lineage_path(&project.root))? else {
        return Ok(BTreeMap::new());
    };
    let names: Vec<String> = labels.iter().map(ToString::to_string).collect();
    let texts: Vec<&str> = names.iter().map(String::as_str).collect();
    let profile = project.profile.as_deref();
    let (durations, sizes) = (
        lineage.durations(&texts, profile)?,
        lineage.sizes(&texts, profile)?,
    );
    let estimate = |name: &String| Estimate {
        duration: durations.get(name).copied(),
        size_bytes: sizes.get(name).copied(),
    };
    let estimates = names.iter().map(estimate);
    Ok(labels.iter().cloned().zip(estimates).collect())
}

/// When and why `label` was last built or restored under the project's profile, as lineage has it; `None` if it never was.
///
/// # Errors
/// Those of reading the lineage database.
pub fn last_rebuild(project: &Project, label: &Label) -> Result<Option<Rebuild>, LineageError> {
    match Lineage::open_read_only(&lineage_path(&project.root))? {
        Some(lineage) => lineage.last_rebuild(&label.to_string(), project.profile.as_deref()),
        None => Ok(None),
    }
}

/// When `label` last stayed as it was under the project's profile although columns of its inputs had changed, and which; `None`
/// if it was built or restored since, or that never happened.
///
/// # Errors
/// Those of reading the lineage database.
pub fn last_spared(project: &Project, label: &Label) -> Result<Option<Rebuild>, LineageError> {
    match Lineage::open_read_only(&lineage_path(&project.root))? {
        Some(lineage) => lineage.last_spared(&label.to_string(), project.profile.as_deref()),
        None => Ok(None),
    }
}
