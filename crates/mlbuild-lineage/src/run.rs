//! Recording a run.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::error::{In, refused};
use crate::record::{
    ActionRecord, ArtifactRecord, CandidateRecord, EpochRecord, FlowRecord, GivenRecord, Micros,
    Outcome, RunId, RunStart, RunStatus, TargetRecord,
};
use crate::{Lineage, LineageError};

/// A run being recorded. Dropped without [`Run::end`], it counts as interrupted.
///
/// Records of targets and epochs wait in memory until they are asked for by [`Run::write_waiting`], or the end: so many short
/// actions, and many short epochs, are few transactions, and a null build is one.
#[derive(Debug)]
#[must_use = "a run is written by `end`"]
pub struct Run<'a> {
    lineage: &'a mut Lineage,
    start: RunStart,
    /// Known once the run has been written.
    id: Option<i64>,
    waiting: Vec<TargetRecord>,
    epochs: Vec<EpochRecord>,
    presses: bool,
    commit: Option<String>,
    ended: bool,
}

/// The name among the tools of a run under which its commit stands.
pub(crate) const COMMIT: &str = "commit";

impl Lineage {
    /// Starts a run; writes nothing yet.
    pub fn begin_run(&mut self, start: RunStart) -> Run<'_> {
        Run {
            lineage: self,
            start,
            id: None,
            waiting: Vec::new(),
            epochs: Vec::new(),
            presses: false,
            commit: None,
            ended: false,
        }
    }
}

impl Run<'_> {
    /// The run's number, once something of it has been written.
    pub fn id(&self) -> Option<RunId> {
        self.id.map(RunId)
    }

    /// Records a target; it waits to be written.
    pub fn target(&mut self, target: TargetRecord) {
        let can_wait = matches!(target.outcome, Outcome::UpToDate | Outcome::Skipped);
        self.presses |= !can_wait;
        self.waiting.push(target);
    }

    /// Notes the commit that the run is of, to be written at its end.
    pub fn made_of(&mut self, commit: Option<String>) {
        self.commit = commit;
    }

    /// Whether something waits that a crash should not lose: an epoch, or a target that ran, was restored or failed.
    pub fn presses(&self) -> bool {
        self.presses
    }

    /// Writes what waits, in one transaction.
    ///
    /// # Errors
    /// Those of writing. What could not be written is forgotten, so that a build can warn once and go on.
    pub fn write_waiting(&mut self) -> Result<(), LineageError> {
        self.write(|_, _| Ok(()))
    }

    /// Takes back what was recorded of a target in this run, if anything was: it is made again.
    ///
    /// # Errors
    /// Those of writing.
    pub fn forget(&mut self, label: &str) -> Result<(), LineageError> {
        self.waiting.retain(|target| target.label != label);
        self.epochs.retain(|epoch| epoch.label != label);
        if self.id.is_none() {
            return Ok(());
        }
        let label = label.to_owned();
        self.write(move |transaction, run| {
            let actions = "select a.id from action a join target t on t.id = a.target where t.run = ?1 and t.label = ?2";
            for table in ["input", "flow", "parameter", "metric", "candidate"] {
                let delete = format!("delete from {table} where action in ({actions})");
                transaction.execute(&delete, params![run, label])?;
            }
            let delete = format!("delete from action where id in ({actions})");
            transaction.execute(&delete, params![run, label])?;
            transaction.execute("delete from epoch where run = ? and label = ?", params![run, label])?;
            transaction.execute("delete from target where run = ? and label = ?", params![run, label])?;
            Ok(())
        })
    }

    /// Records an epoch; it waits to be written.
    pub fn epoch(&mut self, epoch: EpochRecord) {
        self.presses = true;
        self.epochs.push(epoch);
    }

    /// Ends the run, with everything that waited.
    ///
    /// # Errors
    /// Those of writing.
    pub fn end(mut self, status: RunStatus, at: Micros) -> Result<RunId, LineageError> {
        self.ended = true;
        self.finish(status, Some(at))?;
        Ok(RunId(self.id.expect("`finish` wrote the run")))
    }

    fn finish(&mut self, status: RunStatus, at: Option<Micros>) -> Result<(), LineageError> {
        let commit = self.commit.take();
        self.write(|transaction, run| {
            if let Some(commit) = commit {
                let insert = "insert into tool (run, name, version) values (?, ?, ?)";
                transaction.execute(insert, params![run, COMMIT, commit])?;
            }
            let status = (status != RunStatus::Running).then_some(status.as_str());
            let end = "update run set status = ?, ended = ? where id = ?";
            transaction.execute(end, params![status, at, run])?;
            Ok(())
        })
    }

    /// One transaction: the run itself if it is not yet there, what waited, then `more`.
    fn write(
        &mut self,
        more: impl FnOnce(&Transaction<'_>, i64) -> rusqlite::Result<()>,
    ) -> Result<(), LineageError> {
        let waiting = std::mem::take(&mut self.waiting);
        let epochs = std::mem::take(&mut self.epochs);
        self.presses = false;
        let (start, known) = (&self.start, self.id);
        let Lineage {
            connection, path, ..
        } = &mut *self.lineage;
        let written = write(connection, path, |transaction| {
            let run = match known {
                Some(run) => run,
                None => insert_run(transaction, start)?,
            };
            for target in &waiting {
                insert_target(transaction, run, target)?;
            }
            for epoch in &epochs {
                insert_epoch(transaction, run, epoch)?;
            }
            more(transaction, run)?;
            Ok(run)
        });
        self.id = Some(written.within(&self.lineage.path)?);
        Ok(())
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let waits = !self.waiting.is_empty() || !self.epochs.is_empty();
        if !self.ended && (self.id.is_some() || waits) {
            // Nobody is left to tell; the next run would find out anyway.
            let _ = self.finish(RunStatus::Interrupted, None);
        }
    }
}

fn write<T>(
    connection: &mut Connection,
    path: &Path,
    body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = body(&transaction)?;
    mlbuild_disk::transaction(path).map_err(refused)?;
    transaction.commit()?;
    Ok(value)
}

fn insert_run(transaction: &Transaction<'_>, start: &RunStart) -> rusqlite::Result<i64> {
    let RunStart {
        command,
        selection,
        profile,
        given,
        started,
        tools,
        user,
        host,
    } = start;
    // One build at a time: a run that has not ended by now never will.
    transaction.execute(
        "update run set status = 'interrupted' where status is null",
        [],
    )?;
    transaction.execute(
        "insert into run (command, selection, started, profile, user, host) values (?, ?, ?, ?, ?, ?)",
        params![command.join(" "), selection.join(" "), started, profile, user, host],
    )?;
    let run = transaction.last_insert_rowid();
    for (name, version) in tools {
        let insert = "insert into tool (run, name, version) values (?, ?, ?)";
        transaction.execute(insert, params![run, name, version])?;
    }
    for GivenRecord { label, name, value } in given {
        // Of a parameter that is given twice the last value counts.
        let insert = "insert or replace into given (run, label, name, value) values (?, ?, ?, ?)";
        transaction.execute(insert, params![run, label, name, value])?;
    }
    Ok(run)
}

fn insert_epoch(
    transaction: &Transaction<'_>,
    run: i64,
    epoch: &EpochRecord,
) -> rusqlite::Result<()> {
    let EpochRecord {
        label,
        epoch,
        at,
        metrics,
    } = epoch;
    let mut insert = transaction.prepare_cached(
        "insert or replace into epoch (run, label, epoch, name, value, at) values (?, ?, ?, ?, ?, ?)",
    )?;
    for (name, value) in metrics {
        insert.execute(params![run, label, epoch, name, value, at])?;
    }
    Ok(())
}

fn insert_target(
    transaction: &Transaction<'_>,
    run: i64,
    target: &TargetRecord,
) -> rusqlite::Result<()> {
    let TargetRecord {
        label,
        rule,
        outcome,
        reason,
        started,
        ended,
        artifact,
        actions,
    } = target;
    transaction
        .prepare_cached(
            "insert into target (run, label, rule, outcome, reason, started, ended, artifact) \
             values (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            run,
            label,
            rule,
            outcome.as_str(),
            reason,
            started,
            ended,
            artifact.map(|digest| digest.to_string()),
        ])?;
    let target = transaction.last_insert_rowid();
    actions
        .iter()
        .try_for_each(|action| insert_action(transaction, target, action))
}

fn insert_action(
    transaction: &Transaction<'_>,
    target: i64,
    action: &ActionRecord,
) -> rusqlite::Result<()> {
    let ActionRecord {
        stage,
        name,
        key,
        rule,
        outcome,
        toolchain,
        started,
        duration,
        inputs,
        flows,
        output,
        parameters,
        metrics,
        device,
        candidates,
    } = action;
    if let Some(artifact) = output {
        insert_artifact(transaction, artifact)?;
    }
    transaction
        .prepare_cached(
            "insert into action \
             (target, stage, name, key, rule, outcome, toolchain, started, duration_micros, output, device) \
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            target,
            stage,
            name,
            key.to_string(),
            rule,
            outcome.as_str(),
            toolchain,
            started,
            i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
            output.as_ref().map(|artifact| artifact.digest.to_string()),
            device,
        ])?;
    let action = transaction.last_insert_rowid();
    let insert = |sql, name: &str, value: &dyn rusqlite::ToSql| {
        transaction
            .prepare_cached(sql)?
            .execute(params![action, name, value])
    };
    for input in inputs {
        let sql = "insert into input (action, name, artifact) values (?, ?, ?)";
        insert(sql, &input.name, &input.artifact.to_string())?;
    }
    for FlowRecord {
        input,
        from_column,
        to_column,
        kind,
    } in flows
    {
        let sql =
            "insert into flow (action, input, from_column, to_column, kind) values (?, ?, ?, ?, ?)";
        let values = params![action, input, from_column, to_column, kind.as_str()];
        transaction.prepare_cached(sql)?.execute(values)?;
    }
    for CandidateRecord {
        point,
        metric,
        value,
        picked,
    } in candidates
    {
        let sql =
            "insert into candidate (action, point, metric, value, picked) values (?, ?, ?, ?, ?)";
        let values = params![action, point, metric, value, picked];
        transaction.prepare_cached(sql)?.execute(values)?;
    }
    for (name, value) in parameters {
        insert(
            "insert into parameter (action, name, value) values (?, ?, ?)",
            name,
            value,
        )?;
    }
    for (name, value) in metrics {
        insert(
            "insert into metric (action, name, value) values (?, ?, ?)",
            name,
            value,
        )?;
    }
    Ok(())
}

/// An artifact is what its digest says, so a known one is not written again.
fn insert_artifact(
    transaction: &Transaction<'_>,
    artifact: &ArtifactRecord,
) -> rusqlite::Result<()> {
    let ArtifactRecord {
        digest,
        kind,
        size_bytes,
        rows,
        columns,
    } = artifact;
    let digest = digest.to_string();
    let added = transaction
        .prepare_cached(
            "insert into artifact (digest, kind, bytes, rows) values (?, ?, ?, ?) on conflict do nothing",
        )?
        .execute(params![digest, kind, clamp(*size_bytes), rows.map(clamp)])?;
    if added == 0 {
        return Ok(());
    }
    for (position, column) in columns.iter().enumerate() {
        transaction
            .prepare_cached(
                "insert into artifact_column (artifact, position, name, type, digest) values (?, ?, ?, ?, ?)",
            )?
            .execute(params![
                digest,
                clamp(position as u64),
                column.name,
                column.data_type,
                column.digest.to_string(),
            ])?;
    }
    Ok(())
}

/// SQLite has signed integers only.
fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
