//! The history of models: every time one was made, with what, and how good it was.

use std::collections::BTreeMap;

use rusqlite::Row;

use crate::error::In;
use crate::record::RunId;
use crate::{Lineage, LineageError};

/// A model that was made in a run: a row of the view `experiments`, with what belongs to it.
#[derive(Clone, PartialEq, Debug)]
pub struct Experiment {
    /// The run.
    pub run: RunId,
    /// The target: a model, or a point of one.
    pub label: String,
    /// The declared model.
    pub model: String,
    /// What tells a point of a `foreach` from the others.
    pub point: Option<String>,
    /// How it is made: `train`, `python`.
    pub rule: String,
    /// `built`, `restored` or `failed`.
    pub outcome: String,
    /// Why it was made, or why it failed; lines.
    pub reason: Option<String>,
    /// When it started, as `2026-01-31T12:00:00.000Z`.
    pub started: String,
    /// How long it ran, in seconds; of a restored one, how long it once ran.
    pub seconds: Option<f64>,
    /// The model's digest.
    pub artifact: Option<String>,
    /// The key of what made it.
    pub key: Option<String>,
    /// The device that it asked for.
    pub device: Option<String>,
    /// Who built.
    pub user: Option<String>,
    /// On which machine.
    pub host: Option<String>,
    /// Whether the choice among points fell on it, in the same run.
    pub picked: bool,
    /// Its parameters, as they enter its key: `0.001`, `"adam"`.
    pub parameters: BTreeMap<String, String>,
    /// Its final figures; one that is not a number is left out.
    pub metrics: BTreeMap<String, f64>,
    /// What it was made from: digests by the input's name.
    pub inputs: BTreeMap<String, String>,
    /// The figures of its last epoch, by name, and which that was; empty if it has no curve.
    pub curve_end: BTreeMap<String, (u32, f64)>,
}

impl Lineage {
    /// Every time a model was made: the latest run first, and in a run by label.
    ///
    /// # Errors
    /// Those of reading.
    pub fn experiments(&self) -> Result<Vec<Experiment>, LineageError> {
        let read = || {
            let mut rows = self.connection.prepare_cached(
                "select run, label, model, point, rule, outcome, reason, started, seconds, artifact, key, device, \
                 user, host, picked, action from experiments order by run desc, label",
            )?;
            let mut parameters = self
                .connection
                .prepare_cached("select name, value from parameter where action = ?")?;
            let mut metrics = self.connection.prepare_cached(
                "select name, value from metric where action = ? and value is not null",
            )?;
            let mut inputs = self
                .connection
                .prepare_cached("select name, artifact from input where action = ?")?;
            let mut curve = self.connection.prepare_cached(
                "select name, epoch, value from epoch where run = ?1 and label = ?2 and value is not null \
                 and epoch = (select max(epoch) from epoch where run = ?1 and label = ?2)",
            )?;
            let mut experiments = Vec::new();
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                let mut experiment = experiment(row)?;
                if let Some(action) = row.get::<_, Option<i64>>(15)? {
                    experiment.parameters = pairs(&mut parameters, action)?;
                    experiment.metrics = pairs(&mut metrics, action)?;
                    experiment.inputs = pairs(&mut inputs, action)?;
                }
                let of = (experiment.run.0, &experiment.label);
                let end =
                    curve.query_map(of, |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
                experiment.curve_end = end.collect::<rusqlite::Result<_>>()?;
                experiments.push(experiment);
            }
            Ok(experiments)
        };
        read().within(&self.path)
    }
}

fn experiment(row: &Row<'_>) -> rusqlite::Result<Experiment> {
    Ok(Experiment {
        run: RunId(row.get(0)?),
        label: row.get(1)?,
        model: row.get(2)?,
        point: row.get(3)?,
        rule: row.get(4)?,
        outcome: row.get(5)?,
        reason: row.get(6)?,
        started: row.get(7)?,
        seconds: row.get(8)?,
        artifact: row.get(9)?,
        key: row.get(10)?,
        device: row.get(11)?,
        user: row.get(12)?,
        host: row.get(13)?,
        picked: row.get(14)?,
        parameters: BTreeMap::new(),
        metrics: BTreeMap::new(),
        inputs: BTreeMap::new(),
        curve_end: BTreeMap::new(),
    })
}

fn pairs<T: rusqlite::types::FromSql>(
    statement: &mut rusqlite::CachedStatement<'_>,
    action: i64,
) -> rusqlite::Result<BTreeMap<String, T>> {
    let pairs = statement.query_map([action], |row| Ok((row.get(0)?, row.get(1)?)))?;
    pairs.collect()
}
