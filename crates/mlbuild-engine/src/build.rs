//! Builds targets: one loop over what is ready, what finished and what to start next.
//!
//! One thread (the caller's) owns all state: it resolves stages, looks results up, stores them, emits events
//! and writes lineage. Each executing action has a thread of its own, which only sends messages. So
//! events have one order, and nothing here is locked.
//!
//! A target that stands as the last build left it ([`Standing`]) is taken over. Every other goes through its stages one by one.
//! A stage whose key has a result is passed over; the first one that has none is queued, and the target goes on when it has run.
//! The result of an action is stored only after its sources were looked at again, and a target is published (its last state
//! remembered, its artifact placed under `out/`) only when all its stages, checks included, have passed.

mod damaged;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::Scope;
use std::time::Duration;

use mlbuild_action::{
    ActionKey, ActionResult, Artifact, Cancel, Diagnostic, Failure, Progress, Work,
};
use mlbuild_cache::{CacheError, LastBuild};
use mlbuild_lineage::ActionRecord;
use mlbuild_manifest::Label;

use crate::analysis::Analyses;
use crate::devices::{self, Gpus, Need, no_gpu};
use crate::job::{self, Allowance, Executed, Job, JobFailure, Layout, cache_failure};
use crate::logs::Logs;
use crate::pick::{self, Figures};
use crate::plan::{description_reasons, restore_reasons};
use crate::project::{Executors, Options, Project};
use crate::reads::{Reads, input_digests};
use crate::reason::StaleReason;
use crate::record::{Recorder, reason_text, stage_record, target_record, unread_text};
use crate::resolve::{Context, Material, Resolved, Sources, resolve, stage_name};
use crate::schedule::{Queue, Schedule, Started, remaining_paths};
use crate::snapshot::{Detail, Settled, Snapshot, Standing};
use crate::witness::LookNumber;
use crate::{Event, Fault, Outcome, Summary};

/// How often the loop looks whether it should stop.
const TICK: Duration = Duration::from_millis(50);

/// A build that has ended.
#[derive(Debug)]
pub struct Build {
    /// What it came to.
    pub summary: Summary,
    /// What the next build with the same question may go by.
    pub snapshot: Option<Snapshot>,
}

/// Receives events, on the thread that called [`build`].
pub type Emit<'a> = dyn FnMut(&Event) + 'a;

/// Brings `wanted` and all it needs up to date, and places its artifacts under `out/`.
///
/// `standing` is what the last build with the same question left, as far as it stands since the caller took the project's lock,
/// which it holds. Failures of targets are events and part of the summary; the build itself does not fail.
#[expect(
    clippy::too_many_arguments,
    reason = "each is another part of the world"
)]
pub fn build(
    project: &Project,
    standing: Option<Standing>,
    wanted: &[Label],
    options: &Options,
    executors: &Executors,
    recorder: &mut Recorder<'_>,
    cancel: &Cancel,
    emit: &mut Emit<'_>,
) -> Build {
    let needed = project.graph.upstream(wanted);
    let (sender, receiver) = mpsc::channel();
    let state = project.state();
    let mut sources = Sources::new(project);
    for folder in project.cache.folders() {
        sources.look(&folder);
    }
    if let Some(standing) = &standing {
        standing.carry_common(sources.witness_mut());
    }
    let mut build = Building {
        project,
        options,
        executors,
        cancel,
        emit,
        recorder,
        wanted: wanted.iter().cloned().collect(),
        schedule: Schedule::new(&project.graph, &needed),
        queue: Queue::new(options.slots),
        found: Vec::new(),
        gpus: None,
        sources,
        analyses: Analyses::new(project),
        logs: Logs::new(&state),
        paths: None,
        expected: BTreeMap::new(),
        needed,
        targets: BTreeMap::new(),
        artifacts: BTreeMap::new(),
        figures: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        standing: standing.unwrap_or_default(),
        settled: Vec::new(),
        placed: Vec::new(),
        stood: 0,
        stood_stats: 0,
        stored: false,
        faults: Vec::new(),
        saved: BTreeMap::new(),
        remade: BTreeSet::new(),
        stopping: false,
    };
    std::thread::scope(|scope| build.run(scope, &sender, &receiver));
    build.finish(wanted)
}

/// What an executing action tells the loop.
enum Message {
    Progress(Label, Progress),
    /// It is over but for storing what it yielded.
    Executed(Label),
    Ended(Label, Box<Resolved>, Result<Executed, JobFailure>),
}

/// A target that has begun.
#[derive(Default)]
struct Target {
    /// What it was when it was last done.
    last: LastBuild,
    /// What its stages read of other targets.
    reads: Reads,
    /// The stages that it has come through, in order.
    passed: Vec<Passed>,
    started: i64,
    /// Why stages had to execute.
    reasons: Vec<StaleReason>,
    /// Whether it began anew because its artifact was found damaged.
    anew: bool,
    /// The looks that concern it alone, and how many files were looked at for it.
    looks: Vec<LookNumber>,
    stats: u64,
}

/// A stage with its result.
struct Passed {
    resolved: Resolved,
    result: ActionResult,
    /// Whether it executed in this build.
    executed: bool,
    at: i64,
}

impl Passed {
    fn is_check(&self) -> bool {
        matches!(self.resolved.action.work, Work::Check(_))
    }
}

/// The stage whose artifact is the target's: the last that is no check.
fn producer(passed: &[Passed]) -> Option<&Passed> {
    passed.iter().rev().find(|passed| !passed.is_check())
}

/// How long those of the stages ran that executed in this build, or those that did not, when they did.
fn took(passed: &[Passed], executed: bool) -> Duration {
    let those = passed.iter().filter(|passed| passed.executed == executed);
    those.map(|passed| passed.result.duration).sum()
}

/// The stages for lineage: made only when there is something to record.
fn actions(label: &Label, passed: &[Passed], last: &LastBuild) -> Vec<ActionRecord> {
    let record = |(number, stage): (usize, &Passed)| {
        let up_to_date = last.keys.get(number) == Some(&stage.resolved.key);
        let Passed {
            resolved,
            result,
            executed,
            at,
        } = stage;
        stage_record(label, number, resolved, result, *executed, up_to_date, *at)
    };
    passed.iter().enumerate().map(record).collect()
}

struct Building<'a, 'e, 'r> {
    project: &'a Project,
    options: &'a Options,
    executors: &'a Executors,
    cancel: &'a Cancel,
    emit: &'a mut Emit<'e>,
    recorder: &'a mut Recorder<'r>,
    needed: Vec<Label>,
    wanted: BTreeSet<Label>,
    schedule: Schedule,
    queue: Queue<Box<Resolved>>,
    /// Stages that have no result and wait to be queued.
    found: Vec<(Label, Box<Resolved>)>,
    /// Looked for when the first action needs one.
    gpus: Option<Gpus>,
    sources: Sources<'a>,
    analyses: Analyses<'a>,
    logs: Logs<'a>,
    /// Longest remaining paths; computed when the first action has to execute.
    paths: Option<BTreeMap<Label, Duration>>,
    expected: BTreeMap<Label, Duration>,
    targets: BTreeMap<Label, Target>,
    artifacts: BTreeMap<Label, Artifact>,
    /// The final figures of the points that are done.
    figures: BTreeMap<Label, Figures>,
    outcomes: BTreeMap<Label, Outcome>,
    /// What still stands of the last build.
    standing: Standing,
    /// The targets that are done.
    settled: Vec<(Settled, Detail)>,
    /// Which of them were placed under `out/`, by their positions there, and where.
    placed: Vec<(usize, String)>,
    /// How many targets stood, and how many files were looked at for them.
    stood: u64,
    stood_stats: u64,
    /// Whether this build changed the cache's folders.
    stored: bool,
    faults: Vec<Fault>,
    /// How long the actions of targets ran whose results were there.
    saved: BTreeMap<Label, Duration>,
    /// Targets that began anew after they were done, because a reader found their artifact damaged.
    remade: BTreeSet<Label>,
    stopping: bool,
}

impl<'a> Building<'a, '_, '_> {
    fn run<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
        receiver: &Receiver<Message>,
    ) {
        loop {
            self.stopping |= self.cancel.is_cancelled();
            while !self.stopping
                && let Some(label) = self.schedule.next_ready()
            {
                self.begin(&label);
            }
            self.queue_found();
            while !self.stopping
                && let Some(started) = self.queue.pop()
            {
                self.start(scope, sender, started);
            }
            if !self.queue.is_running() {
                break;
            }
            self.recorder.write_waiting();
            match receiver.recv_timeout(TICK) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the loop itself holds a sender")
                }
            }
        }
    }

    fn begin(&mut self, label: &Label) {
        if self.take_over(label) {
            return;
        }
        let last = self.project.last_build(label);
        let started = self.recorder.now();
        self.targets.insert(
            label.clone(),
            Target {
                last,
                started,
                ..Target::default()
            },
        );
        self.advance(label);
    }

    /// Takes `label` over as the last build left it, if it stands.
    fn take_over(&mut self, label: &Label) -> bool {
        if self.options.force && self.wanted.contains(label) {
            return false;
        }
        let target = self.project.graph.target(label);
        let inputs = target.map(|target| target.inputs()).unwrap_or_default();
        let witness = self.sources.witness_mut();
        let Some((settled, detail)) = self.standing.take(label, inputs, witness) else {
            return false;
        };
        settled.replay(self.emit);
        let now = self.recorder.now();
        let digest = Some(detail.artifact.digest());
        let outcome = Outcome::UpToDate;
        self.recorder.target(target_record(
            self.project,
            label,
            outcome,
            None,
            now,
            now,
            digest,
        ));
        self.saved.insert(label.clone(), detail.took);
        self.stood += 1;
        self.stood_stats += detail.stats;
        self.artifacts
            .insert(label.clone(), detail.artifact.clone());
        if label.is_point() {
            self.figures.insert(label.clone(), detail.figures.clone());
        }
        self.outcomes.insert(label.clone(), outcome);
        self.settled.push((settled, detail));
        self.schedule.done(label);
        true
    }

    /// Takes `label` through every stage that has a result, up to the first that must execute.
    fn advance(&mut self, label: &Label) {
        let project = self.project;
        let declared = project
            .graph
            .target(label)
            .expect("the schedule holds targets of the graph");
        loop {
            let target = self
                .targets
                .get(label)
                .expect("a target begins before it advances");
            let Some(stage) = declared.stages.get(target.passed.len()) else {
                return self.publish(label);
            };
            let context = Context {
                executors: self.executors,
                artifacts: &self.artifacts,
                figures: &self.figures,
                previous: producer(&target.passed).map(|passed| &passed.result.artifact),
            };
            let stats = self.sources.looks().stats;
            let resolved = match resolve(stage, &context, &mut self.sources, &mut self.analyses) {
                Ok(resolved) => resolved,
                Err(failure) => return self.fail(label, failure),
            };
            if let Some(target) = self.targets.get_mut(label) {
                target.reads.note(stage, &resolved.analysis);
                target.looks.extend(self.sources.take_own());
                target.stats += self.sources.looks().stats - stats;
            }
            let forced = self.options.force && self.wanted.contains(label);
            let found = if forced {
                Ok(None)
            } else {
                project.cache.lookup(&resolved.key)
            };
            match found {
                Ok(Some(result)) => self.accept(label, resolved, result, false),
                Ok(None) => return self.enqueue(label, resolved, forced),
                Err(error) => return self.fail(label, cache_failure(&error)),
            }
        }
    }

    /// Queues a stage that has no result.
    fn enqueue(&mut self, label: &Label, resolved: Resolved, forced: bool) {
        if forced && let Err(error) = self.forget_checkpoints(label, &resolved) {
            return self.fail(label, cache_failure(&error));
        }
        for material in resolved.inputs.values() {
            if let Material::Sources(tree) = material
                && let Err(error) = self.project.cache.remember_listing(tree)
            {
                return self.fail(label, cache_failure(&error));
            }
        }
        let target = self
            .targets
            .get_mut(label)
            .expect("a target begins before it is queued");
        let mut reasons = if forced {
            vec![StaleReason::Forced]
        } else {
            stale_reasons(
                self.project,
                &target.last.keys,
                target.passed.len(),
                &resolved,
            )
        };
        if reasons.is_empty() {
            reasons.push(StaleReason::OutputMissing);
        }
        // What a later stage finds changed is what an earlier one has just made.
        if target.reasons.is_empty() {
            target.reasons = reasons;
        }
        let declared = self
            .project
            .graph
            .target(label)
            .expect("the schedule holds targets of the graph");
        let need = Need::new(&resolved.action.work, &declared.resources);
        if need.gpus > 0 {
            let gpus = &mut self.gpus;
            let find = self.options.find_gpus;
            let devices = self
                .queue
                .devices(|| gpus.get_or_insert_with(find).devices.clone());
            if devices.fitting(need) < need.gpus as usize {
                let diagnostic = no_gpu(label, need, devices);
                return self.fail(label, Failure::Environment(diagnostic));
            }
        }
        self.found.push((label.clone(), Box::new(resolved)));
    }

    /// Queues the stages that were found to have no result, once all that is up to date and ready is passed over: what is left then is
    /// what there may be to do.
    fn queue_found(&mut self) {
        let found = std::mem::take(&mut self.found);
        if !found.is_empty() && self.paths.is_none() {
            let is_open = |label: &&Label| !self.outcomes.contains_key(*label);
            let open: Vec<Label> = self.needed.iter().filter(is_open).cloned().collect();
            self.expected = self.recorder.expected(&open);
            let expected = |label: &Label| {
                self.expected
                    .get(label)
                    .copied()
                    .unwrap_or(Duration::from_secs(1))
            };
            self.paths = Some(remaining_paths(&self.project.graph, &open, &expected));
        }
        for (label, resolved) in found {
            let path = self.paths.as_ref().and_then(|paths| paths.get(&label));
            let path = path.copied().unwrap_or_default();
            let declared = self.project.graph.target(&label);
            let declared = declared.expect("the schedule holds targets of the graph");
            let need = Need::new(&resolved.action.work, &declared.resources);
            self.queue
                .push(path, label, declared.resources, need, resolved);
        }
    }

    /// Starts the thread of an action.
    fn start<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
        started: Started<Box<Resolved>>,
    ) {
        let Started {
            label,
            resources,
            gpus,
            job: resolved,
        } = started;
        let stage = stage_name(&resolved.action.work);
        let begun = self.logs.start(&label, &stage).and_then(|()| {
            let used = self.gpus.as_ref().filter(|_| !gpus.is_empty());
            let used = used.map(|found| devices::described(&gpus, found.driver.as_deref()));
            used.map_or(Ok(()), |used| self.logs.line(&label, &used))
        });
        if let Err(e) = begun {
            self.trouble(Diagnostic::warning(
                "engine::log",
                format!("cannot write the log of `{label}`: {e}"),
            ));
        }
        let reasons = self
            .targets
            .get(&label)
            .map(|target| target.reasons.clone())
            .unwrap_or_default();
        let expected = self.expected.get(&label).copied();
        (self.emit)(&Event::Started {
            label: label.clone(),
            stage,
            reasons,
            expected,
            gpus: gpus.clone(),
        });
        let slots = self.options.slots;
        let allowance = Allowance {
            gpus: gpus.into_iter().map(|gpu| gpu.id).collect(),
            threads: resources.cpus.max(1) as usize,
            memory_bytes: resources
                .memory_bytes
                .unwrap_or(slots.memory_bytes / u64::from(slots.cpus.max(1))),
        };
        let (project, executors, cancel) = (self.project, self.executors, self.cancel.clone());
        let rejected = project.rejected_path(&label);
        let checkpoints = project
            .cache
            .checkpoint_path(&label.to_string(), &resolved.key);
        let sender = sender.clone();
        scope.spawn(move || {
            let progress = |progress| {
                // The loop outlives its actions; if it does not, nobody is left to tell.
                let _ = sender.send(Message::Progress(label.clone(), progress));
            };
            let executed = || {
                let _ = sender.send(Message::Executed(label.clone()));
            };
            let job = Job {
                resolved: &resolved,
                project,
                executors,
                allowance,
                layout: Layout::AsStored,
                checkpoints: &checkpoints,
            };
            let scratch = project.cache.scratch();
            let result = match &scratch {
                Ok(scratch) => job::execute(
                    &job,
                    scratch.path(),
                    &rejected,
                    &executed,
                    &progress,
                    &cancel,
                ),
                Err(error) => Err(JobFailure::Failure(cache_failure(error))),
            };
            // The scratch space goes when all has been said: nobody waits for that.
            let _ = sender.send(Message::Ended(label.clone(), resolved, result));
        });
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Progress(label, progress) => {
                match &progress {
                    Progress::Log { line } => {
                        let _ = self.logs.line(&label, line); // said once, when the log was begun
                    }
                    Progress::Epoch { epoch, metrics, .. } => {
                        self.recorder.epoch(&label, *epoch, metrics)
                    }
                    Progress::Rows { .. } | Progress::Resumed { .. } => {}
                }
                (self.emit)(&Event::Progress { label, progress });
            }
            Message::Executed(label) => self.queue.executed(&label),
            Message::Ended(label, resolved, result) => {
                self.queue.finished(&label);
                match result.and_then(|executed| self.store(&label, &resolved, executed)) {
                    Ok(result) => {
                        self.accept(&label, *resolved, result, true);
                        // Also while stopping: what is complete is published, and what it queues never starts.
                        self.advance(&label);
                    }
                    Err(JobFailure::Failure(Failure::Cancelled)) => self.skip(&label, None),
                    Err(JobFailure::Failure(failure)) => self.fail(&label, failure),
                    Err(JobFailure::LostInput(name, diagnostic)) => {
                        self.lost_input(&label, &resolved, &name, diagnostic);
                    }
                    Err(JobFailure::Panic(message)) => {
                        let diagnostic = Diagnostic::error(
                            "engine::bug",
                            format!("an executor panicked: {message}"),
                        )
                        .help("this is a bug of mlbuild; please report it with the lines above");
                        self.fail_with(&label, Fault::Bug, diagnostic);
                    }
                }
            }
        }
    }

    /// Makes a result visible, unless a source changed while the action ran.
    fn store(
        &mut self,
        label: &Label,
        resolved: &Resolved,
        executed: Executed,
    ) -> Result<ActionResult, JobFailure> {
        let Executed { result, written } = executed;
        for material in resolved.inputs.values() {
            if let Material::Sources(tree) = material
                && let Some(path) = self.sources.changed(&resolved.action.work, tree)
            {
                return Err(JobFailure::Failure(job::source_changed(&path)));
            }
        }
        self.stored = true;
        // The first writer's result counts, should another process have been faster.
        let first = self.project.cache.publish_result(written)?;
        let result = first.unwrap_or(result);
        if let Err(error) = self.forget_checkpoints(label, resolved) {
            let help = "`mlbuild gc` removes them later; nothing else is affected";
            let message = format!("cannot remove the checkpoints of `{label}`: {error}");
            let diagnostic = Diagnostic::warning("engine::checkpoints", message);
            self.trouble(diagnostic.help(help));
        }
        Ok(result)
    }

    /// Removes what attempts at an action left, if it is one that may leave something.
    fn forget_checkpoints(&self, label: &Label, resolved: &Resolved) -> Result<(), CacheError> {
        if !resolved.action.work.may_checkpoint() {
            return Ok(());
        }
        let cache = &self.project.cache;
        cache.remove_checkpoint(&label.to_string(), &resolved.key)
    }

    /// Takes the result of a stage; `executed` says whether it ran in this build.
    fn accept(&mut self, label: &Label, resolved: Resolved, result: ActionResult, executed: bool) {
        for warning in &result.warnings {
            let (label, warning, replayed) = (label.clone(), warning.clone(), !executed);
            (self.emit)(&Event::Warning {
                label,
                warning,
                replayed,
            });
        }
        let target = self
            .targets
            .get_mut(label)
            .expect("a target begins before it has results");
        target.passed.push(Passed {
            resolved,
            result,
            executed,
            at: self.recorder.now(),
        });
    }

    /// All stages of `label` have passed: remembers it, places its artifact, and lets its consumers go on.
    fn publish(&mut self, label: &Label) {
        let project = self.project;
        let mut target = self
            .targets
            .remove(label)
            .expect("a target begins before it is done");
        let passed = std::mem::take(&mut target.passed);
        let result = &producer(&passed)
            .expect("the first stage of a target yields an artifact")
            .result;
        let artifact = &result.artifact;
        let keys: Vec<_> = passed.iter().map(|passed| passed.resolved.key).collect();
        let executed = passed.iter().any(|passed| passed.executed);
        let mut outcome = match (executed, target.last.keys == keys) {
            (true, _) => Outcome::Built,
            (false, false) => Outcome::Restored,
            (false, true) => Outcome::UpToDate,
        };
        let mut placed = None;
        if self.wanted.contains(label) {
            let path = project.out_path(label, artifact.table.is_some());
            match self.sources.place(artifact, &path) {
                Ok(true) => {
                    placed = Some(path);
                    if outcome == Outcome::UpToDate {
                        outcome = Outcome::Restored;
                    }
                }
                Ok(false) => {}
                Err(CacheError::BadObject { .. }) if !target.anew => {
                    return self.begin_anew(label, target.last, target.started);
                }
                Err(error) => return self.fail(label, cache_failure(&error)),
            }
            target.looks.extend(self.sources.take_own());
            target.stats += artifact.tree.entries().len() as u64;
        }
        self.saved.insert(label.clone(), took(&passed, false));
        let unchanged = executed
            && self
                .last_artifact(&target.last.keys)
                .is_some_and(|last| last == artifact.digest());
        let mut reasons = target.reasons;
        if outcome == Outcome::Restored && reasons.is_empty() {
            reasons = restore_reasons(project, &target.last.keys, &keys);
        }
        let unread = target.reads.unread(project, &target.last, &self.artifacts);
        let this = LastBuild {
            keys,
            inputs: input_digests(project, label, &self.artifacts),
        };
        self.stored |= this != target.last || project.profile.is_some();
        if let Err(error) = project.set_last_build(label, &this, &target.last) {
            self.trouble(Diagnostic::warning("cache::io", error.to_string()));
        }
        if outcome != Outcome::UpToDate
            && let Some(table) = &artifact.table
            && let Err(error) = project.cache.remember_table(table)
        {
            self.trouble(Diagnostic::warning("cache::io", error.to_string()));
        }
        let picked = producer(&passed).and_then(|passed| pick::outcome(&passed.resolved.action));
        let ended = self.recorder.now();
        let digest = Some(artifact.digest());
        let mut record = target_record(
            project,
            label,
            outcome,
            reason_text(&reasons).or_else(|| unread_text(&unread)),
            target.started,
            ended,
            digest,
        );
        if outcome != Outcome::UpToDate {
            record.actions = actions(label, &passed, &target.last);
        }
        self.recorder.target(record);
        let warnings = passed.iter().flat_map(|stage| &stage.result.warnings);
        let settled = Settled {
            label: label.clone(),
            rows: artifact.table.as_ref().map(|table| table.rows),
            size_bytes: artifact.tree.size_bytes(),
            warnings: warnings.cloned().collect(),
        };
        let detail = Detail {
            artifact: artifact.clone(),
            figures: match label.is_point() {
                true => result.metrics.clone(),
                false => Figures::new(),
            },
            took: took(&passed, false) + took(&passed, true),
            stats: target.stats,
            looks: target.looks,
        };
        if let Some(path) = &placed {
            self.placed.push((self.settled.len(), path.clone()));
        }
        self.standing.done(label, &detail);
        self.settled.push((settled, detail));
        (self.emit)(&Event::Finished {
            label: label.clone(),
            outcome,
            duration: took(&passed, true),
            rows: artifact.table.as_ref().map(|table| table.rows),
            size_bytes: artifact.tree.size_bytes(),
            reasons,
            unread,
            unchanged,
            picked,
        });
        if let Some(path) = placed {
            (self.emit)(&Event::Materialized {
                label: label.clone(),
                path,
            });
        }
        self.logs.finish(label);
        self.artifacts.insert(label.clone(), artifact.clone());
        if label.is_point() {
            self.figures.insert(label.clone(), result.metrics.clone());
        }
        self.outcomes.insert(label.clone(), outcome);
        self.schedule.done(label);
    }

    /// Digest of what the stages with these keys yielded.
    fn last_artifact(&self, last: &[ActionKey]) -> Option<mlbuild_digest::Digest> {
        let results = last
            .iter()
            .filter_map(|key| self.project.cache.lookup(key).ok().flatten());
        // Checks yield nothing; the last stage that yields something is the target's artifact.
        let artifacts = results
            .map(|result| result.artifact)
            .filter(|a| !a.tree.entries().is_empty());
        artifacts.last().map(|artifact| artifact.digest())
    }

    fn fail(&mut self, label: &Label, failure: Failure) {
        let (fault, diagnostic) = match failure {
            Failure::Failed(diagnostic) | Failure::Rejected(diagnostic) => {
                (Fault::Action, diagnostic)
            }
            Failure::Invalid(diagnostic) => (Fault::User, diagnostic),
            Failure::Environment(diagnostic) => (Fault::Environment, diagnostic),
            Failure::Cancelled => return self.skip(label, None),
        };
        self.fail_with(label, fault, diagnostic);
    }

    fn fail_with(&mut self, label: &Label, fault: Fault, diagnostic: Diagnostic) {
        let target = self.targets.remove(label).unwrap_or_default();
        let (ended, why) = (self.recorder.now(), Some(diagnostic.to_string()));
        let mut record = target_record(
            self.project,
            label,
            Outcome::Failed,
            why,
            target.started,
            ended,
            None,
        );
        record.actions = actions(label, &target.passed, &target.last);
        self.recorder.target(record);
        (self.emit)(&Event::Failed {
            label: label.clone(),
            fault,
            diagnostic,
        });
        self.logs.finish(label);
        self.outcomes.insert(label.clone(), Outcome::Failed);
        self.faults.push(fault);
        for lost in self.schedule.failed(label) {
            self.skip(&lost, Some(label));
        }
        self.stopping |= !self.options.keep_going;
    }

    fn skip(&mut self, label: &Label, because: Option<&Label>) {
        let now = self.recorder.now();
        let why = because.map(|label| format!("{label} failed"));
        self.recorder.target(target_record(
            self.project,
            label,
            Outcome::Skipped,
            why,
            now,
            now,
            None,
        ));
        (self.emit)(&Event::Skipped {
            label: label.clone(),
            because: because.cloned(),
        });
        self.logs.finish(label);
        self.outcomes.insert(label.clone(), Outcome::Skipped);
    }

    fn trouble(&mut self, diagnostic: Diagnostic) {
        // Whatever it was would be said again.
        self.sources.doubt();
        (self.emit)(&Event::Trouble { diagnostic });
    }

    fn finish(mut self, wanted: &[Label]) -> Build {
        let mut rest = self.schedule.stop();
        rest.extend(self.queue.drain());
        rest.sort();
        for label in rest {
            self.skip(&label, None);
        }
        if let Err(error) = self.sources.save() {
            let help = "the next build reads every source file again; nothing else is lost";
            self.trouble(Diagnostic::warning("cache::io", error.to_string()).help(help));
        }
        let mut looks = self.sources.looks();
        looks.stats += self.stood_stats;
        let queries_planned = self.analyses.planned();
        let now = 1000 * i128::from(self.recorder.now());
        for (position, path) in &self.placed {
            let (_, detail) = &mut self.settled[*position];
            if self.sources.look_at_placed(&detail.artifact, path, now) {
                detail.looks.extend(self.sources.take_own());
            } else {
                self.sources.doubt();
            }
        }
        self.sources.look_at_cache(self.stored);
        let witness = self.sources.witness();
        let Self {
            needed,
            mut outcomes,
            faults,
            saved,
            cancel,
            executors,
            settled,
            stood,
            ..
        } = self;
        let targets = needed
            .into_iter()
            .filter_map(|label| outcomes.remove(&label).map(|o| (label, o)))
            .collect();
        let summary = Summary {
            targets,
            faults,
            saved: saved.values().sum(),
            cancelled: cancel.is_cancelled(),
            looks,
            queries_planned,
            processes: executors.processes(),
            stood,
            from_snapshot: false,
        };
        let snapshot = Snapshot::new(witness, settled, wanted, &summary);
        Build { summary, snapshot }
    }
}

/// Why the stage must execute, compared with what the target was when it was last done.
pub(crate) fn stale_reasons(
    project: &Project,
    last: &[ActionKey],
    stage: usize,
    resolved: &Resolved,
) -> Vec<StaleReason> {
    let Some(key) = last.get(stage) else {
        return vec![match last {
            [] => StaleReason::NeverBuilt,
            [..] => StaleReason::Option {
                name: stage_name(&resolved.action.work),
                old: None,
                new: Some("added".to_owned()),
            },
        }];
    };
    match project.cache.description(key).ok().flatten() {
        // With the result went what there was to compare with.
        None => vec![StaleReason::OutputMissing],
        Some(old) => description_reasons(project, &resolved.inputs, &old, &resolved.description),
    }
}
