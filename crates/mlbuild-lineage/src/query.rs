//! Reading: the user's SQL, and what the engine asks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use mlbuild_action::ActionKey;
use mlbuild_digest::Digest;
use rusqlite::types::ValueRef;
use rusqlite::{ErrorCode, OpenFlags, OptionalExtension};

use crate::error::In;
use crate::record::{Micros, RunId, RunStatus};
use crate::run::COMMIT;
use crate::{Lineage, LineageError};

/// How many builds of a target an estimate looks back.
const BUILDS_REMEMBERED: usize = 5;

/// The answer to a query.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct QueryTable {
    /// The columns' names, in order.
    pub columns: Vec<String>,
    /// The rows, each with one cell a column.
    pub rows: Vec<Vec<Cell>>,
}

/// A value as SQLite has them.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// No value.
    Null,
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text; what is not UTF-8 in it is replaced.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A target as a run left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunTarget {
    /// Its label.
    pub label: String,
    /// What became of it.
    pub outcome: String,
    /// Its artifact, if it has one.
    pub artifact: Option<Digest>,
    /// The key of an action that yielded this artifact: its own, if it is known.
    pub key: Option<ActionKey>,
}

/// Whose action it was that yielded a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Maker {
    /// The target.
    pub label: String,
    /// Its stage: `sql`, `train sasrec`.
    pub stage: String,
    /// The run in which it was last executed; if lineage saw none, the last that found it in the cache.
    pub run: RunId,
}

/// The last time a target was built or restored, or stayed as it was for a reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuild {
    /// The run.
    pub run: RunId,
    /// When, as `2026-01-31T12:00:00.000Z`.
    pub at: String,
    /// `built`, `restored` or `up_to_date`.
    pub outcome: String,
    /// Why, a line each.
    pub reasons: Vec<String>,
}

/// A run, in a list of runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunSummary {
    /// Its number.
    pub id: RunId,
    /// How it ended.
    pub status: RunStatus,
    /// The command line, without the program.
    pub command: String,
    /// When it started.
    pub started: Micros,
    /// When it ended.
    pub ended: Option<Micros>,
    /// How many targets had which outcome, by the outcome's name.
    pub outcomes: BTreeMap<String, u64>,
}

impl Lineage {
    /// Runs one query of the user's, on a connection that cannot write.
    ///
    /// # Errors
    /// [`LineageError::Query`] with SQLite's message, [`LineageError::NotAQuery`] if it would write or is more than one
    /// statement.
    pub fn query(&self, sql: &str) -> Result<QueryTable, LineageError> {
        let reader = Self::connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let failed = |error| query_error(error, &self.path);
        let mut statement = reader.connection.prepare(sql).map_err(failed)?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(LineageError::NotAQuery);
        }
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut table = QueryTable {
            columns,
            rows: Vec::new(),
        };
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let cell = |i| row.get_ref(i).map(Cell::from).map_err(failed);
            let cells = (0..table.columns.len())
                .map(cell)
                .collect::<Result<_, _>>()?;
            table.rows.push(cells);
        }
        Ok(table)
    }

    /// The latest runs, latest first.
    ///
    /// # Errors
    /// Those of reading.
    pub fn last_runs(&self, limit: usize) -> Result<Vec<RunSummary>, LineageError> {
        let read = || {
            let mut runs = self.connection.prepare_cached(
                "select id, coalesce(status, 'running'), command, started, ended \
                 from run order by id desc limit ?",
            )?;
            let mut outcomes = self.connection.prepare_cached(
                "select outcome, count(*) from target where run = ? group by outcome",
            )?;
            let mut summaries = Vec::new();
            let mut rows = runs.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
            while let Some(row) = rows.next()? {
                let id: i64 = row.get(0)?;
                summaries.push(RunSummary {
                    id: RunId(id),
                    status: RunStatus::parse(&row.get::<_, String>(1)?),
                    command: row.get(2)?,
                    started: row.get(3)?,
                    ended: row.get(4)?,
                    outcomes: outcomes
                        .query_map([id], |row| {
                            Ok((
                                row.get(0)?,
                                u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
                            ))
                        })?
                        .collect::<rusqlite::Result<_>>()?,
                });
            }
            Ok(summaries)
        };
        read().within(&self.path)
    }

    /// The last run that was of exactly this commit, without changes, and did all that it was asked for.
    ///
    /// # Errors
    /// Those of reading.
    pub fn run_of_commit(&self, commit: &str) -> Result<Option<RunId>, LineageError> {
        let last = "select max(r.id) from run r join tool t on t.run = r.id \
                    where t.name = ? and t.version = ? and r.status = 'done'";
        let run = self
            .connection
            .query_row(last, (COMMIT, commit), |row| row.get::<_, Option<i64>>(0))
            .within(&self.path)?;
        Ok(run.map(RunId))
    }

    /// The targets of a run by label; `None` if there is no such run.
    ///
    /// # Errors
    /// Those of reading.
    pub fn run_targets(&self, run: RunId) -> Result<Option<Vec<RunTarget>>, LineageError> {
        let read = || {
            let exists = "select 1 from run where id = ?";
            if !self.connection.prepare_cached(exists)?.exists([run.0])? {
                return Ok(None);
            }
            let mut targets = self.connection.prepare_cached(
                "select t.label, t.outcome, t.artifact, \
                   (select a.key from action a join target o on o.id = a.target where a.output = t.artifact \
                    order by o.label = t.label desc, a.id desc limit 1) \
                 from target t where t.run = ? order by t.label",
            )?;
            let target = |row: &rusqlite::Row<'_>| {
                Ok(RunTarget {
                    label: row.get(0)?,
                    outcome: row.get(1)?,
                    artifact: row
                        .get::<_, Option<String>>(2)?
                        .and_then(|t| t.parse().ok()),
                    key: row
                        .get::<_, Option<String>>(3)?
                        .and_then(|t| t.parse().ok()),
                })
            };
            let targets = targets.query_map([run.0], target)?;
            Ok(Some(targets.collect::<rusqlite::Result<_>>()?))
        };
        read().within(&self.path)
    }

    /// The profile of the run of a `target t`, as SQL. Before schema 3 there were no profiles.
    fn profile(&self) -> &'static str {
        match self.version {
            ..3 => "null",
            _ => "(select r.profile from run r where r.id = t.run)",
        }
    }

    /// How long each target takes to build under `profile`: the median over its last five builds. Targets never built are
    /// left out.
    ///
    /// # Errors
    /// Those of reading.
    pub fn durations(
        &self,
        labels: &[&str],
        profile: Option<&str>,
    ) -> Result<BTreeMap<String, Duration>, LineageError> {
        let read = || {
            let mut builds = self.connection.prepare_cached(&format!(
                "select sum(a.duration_micros) from target t join action a on a.target = t.id \
                 where t.label = ? and t.outcome = 'built' and {} is ? group by t.id order by t.id desc limit ?",
                self.profile()
            ))?;
            let mut durations = BTreeMap::new();
            for label in labels {
                let parameters = (label, profile, BUILDS_REMEMBERED as i64);
                let mut micros = builds
                    .query_map(parameters, |row| row.get(0))?
                    .collect::<rusqlite::Result<Vec<i64>>>()?;
                micros.sort_unstable();
                if let Some(median) = micros.get(micros.len() / 2) {
                    let micros = u64::try_from(*median).unwrap_or(0);
                    durations.insert((*label).to_owned(), Duration::from_micros(micros));
                }
            }
            Ok(durations)
        };
        read().within(&self.path)
    }
}

impl Lineage {
    /// The size in bytes of each target's last artifact under `profile`. Targets that have none are left out.
    ///
    /// # Errors
    /// Those of reading.
    pub fn sizes(
        &self,
        labels: &[&str],
        profile: Option<&str>,
    ) -> Result<BTreeMap<String, u64>, LineageError> {
        let read = || {
            let mut last = self.connection.prepare_cached(&format!(
                "select a.bytes from target t join artifact a on a.digest = t.artifact \
                 where t.label = ? and {} is ? order by t.id desc limit 1",
                self.profile()
            ))?;
            let mut sizes = BTreeMap::new();
            for label in labels {
                let size = last
                    .query_row((label, profile), |row| row.get::<_, i64>(0))
                    .optional()?;
                if let Some(size) = size {
                    sizes.insert((*label).to_owned(), u64::try_from(size).unwrap_or(0));
                }
            }
            Ok(sizes)
        };
        read().within(&self.path)
    }
}

impl Lineage {
    /// When and why a target was last built or restored under `profile`; `None` if it never was.
    ///
    /// # Errors
    /// Those of reading.
    pub fn last_rebuild(
        &self,
        label: &str,
        profile: Option<&str>,
    ) -> Result<Option<Rebuild>, LineageError> {
        self.last_told(label, profile, "outcome in ('built', 'restored')")
    }

    /// When a target last stayed as it was under `profile` and there was something to say about that; `None` if it was built or
    /// restored since.
    ///
    /// # Errors
    /// Those of reading.
    pub fn last_spared(
        &self,
        label: &str,
        profile: Option<&str>,
    ) -> Result<Option<Rebuild>, LineageError> {
        let told =
            "(outcome in ('built', 'restored') or (outcome = 'up_to_date' and reason is not null))";
        let last = self.last_told(label, profile, told)?;
        Ok(last.filter(|last| last.outcome == "up_to_date"))
    }

    fn last_told(
        &self,
        label: &str,
        profile: Option<&str>,
        condition: &str,
    ) -> Result<Option<Rebuild>, LineageError> {
        let last = format!(
            "select t.run, strftime('%Y-%m-%dT%H:%M:%fZ', t.started / 1e6, 'unixepoch'), t.outcome, \
                    coalesce(t.reason, '') \
             from target t where t.label = ? and {condition} and {} is ? order by t.id desc limit 1",
            self.profile()
        );
        let rebuild = |row: &rusqlite::Row<'_>| {
            let reasons: String = row.get(3)?;
            Ok(Rebuild {
                run: RunId(row.get(0)?),
                at: row.get(1)?,
                outcome: row.get(2)?,
                reasons: reasons.lines().map(str::to_owned).collect(),
            })
        };
        let found = self.connection.query_row(&last, (label, profile), rebuild);
        found.optional().within(&self.path)
    }

    /// The keys of what each target was in the last `states` states that successful runs left it in, for all targets
    /// there ever were and under every profile. A state is a list of keys: runs that left a target as it was count once,
    /// and so does a return.
    ///
    /// # Errors
    /// Those of reading.
    pub fn recent_keys(&self, states: usize) -> Result<BTreeSet<ActionKey>, LineageError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(&format!(
                "select t.label || char(10) || coalesce({}, ''), t.id, a.key \
                 from target t join action a on a.target = t.id \
                 where t.outcome in ('built', 'restored') order by 1, t.id desc, a.stage",
                self.profile()
            ))?;
            let mut rows = statement.query([])?;
            let mut recent: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
            let mut state: (String, i64, Vec<String>) = Default::default();
            let mut end_state = |label: String, keys: Vec<String>| {
                let of_label = recent.entry(label).or_default();
                if of_label.len() < states && !keys.is_empty() {
                    of_label.insert(keys);
                }
            };
            while let Some(row) = rows.next()? {
                let (label, target): (String, i64) = (row.get(0)?, row.get(1)?);
                if target != state.1 {
                    let (label, _, keys) =
                        std::mem::replace(&mut state, (label, target, Vec::new()));
                    end_state(label, keys);
                }
                state.2.push(row.get(2)?);
            }
            let (label, _, keys) = state;
            end_state(label, keys);
            let keys = recent.into_values().flatten().flatten();
            Ok(keys.filter_map(|key| key.parse().ok()).collect())
        };
        read().within(&self.path)
    }

    /// How many epochs a training of a target had come through at a moment, as far as runs until then recorded it.
    ///
    /// # Errors
    /// Those of reading.
    pub fn epochs_until(&self, label: &str, at: Micros) -> Result<Option<u32>, LineageError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "select epoch from epoch where label = ? and at <= ? order by at desc, epoch desc limit 1",
            )?;
            let found = statement.query_row(rusqlite::params![label, at], |row| row.get(0));
            found.optional()
        };
        read().within(&self.path)
    }

    /// For every action that ever yielded a result: whose it was, and in which run it was last executed.
    ///
    /// # Errors
    /// Those of reading.
    pub fn makers(&self) -> Result<BTreeMap<ActionKey, Maker>, LineageError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "select a.key, t.label, a.name, t.run from action a join target t on t.id = a.target \
                 where a.outcome in ('built', 'restored', 'up_to_date') order by a.outcome = 'built', a.id",
            )?;
            let mut rows = statement.query([])?;
            let mut makers = BTreeMap::new();
            // Later rows replace earlier ones: who executed it counts more than who restored it.
            while let Some(row) = rows.next()? {
                let Ok(key) = row.get::<_, String>(0)?.parse() else {
                    continue;
                };
                let maker = Maker {
                    label: row.get(1)?,
                    stage: row.get(2)?,
                    run: RunId(row.get(3)?),
                };
                makers.insert(key, maker);
            }
            Ok(makers)
        };
        read().within(&self.path)
    }
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Int(value),
            ValueRef::Real(value) => Self::Float(value),
            ValueRef::Text(text) => Self::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_owned()),
        }
    }
}

fn query_error(error: rusqlite::Error, path: &Path) -> LineageError {
    let (message, offset) = match error {
        rusqlite::Error::MultipleStatement => return LineageError::NotAQuery,
        rusqlite::Error::SqlInputError { msg, offset, .. } => (msg, usize::try_from(offset).ok()),
        rusqlite::Error::SqliteFailure(code, Some(message)) if is_the_querys(code.code) => {
            (message, None)
        }
        other => return LineageError::of(other, path),
    };
    LineageError::Query { message, offset }
}

/// Whether an error while a query runs is about the query: overflow, a bad argument.
fn is_the_querys(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::TooBig
    )
}
