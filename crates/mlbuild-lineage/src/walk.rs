//! Walking from an artifact to what it was made from, or to what was made from it.

use std::collections::BTreeSet;

use mlbuild_digest::Digest;
use rusqlite::{OptionalExtension, Row};

use crate::error::In;
use crate::{Lineage, LineageError};

/// Which way to walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To what it was made from.
    Upstream,
    /// To what was made from it.
    Downstream,
}

/// An artifact met on a walk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// How many actions away from the start; the start itself is 0.
    pub depth: u32,
    /// The artifact's digest.
    pub artifact: Digest,
    /// The target whose action last yielded it; `None` for a source, which no action yielded.
    pub label: Option<String>,
    /// The stage of that target: `sql`, `check not_null(id)`.
    pub stage: Option<String>,
    /// The name under which the consumer reads it: upstream, that of the step before; downstream, this one's own.
    pub input: Option<String>,
    /// The key of the action that last yielded it.
    pub key: Option<String>,
    /// `table`, `files`, `model`, `report`; `None` for a source.
    pub kind: Option<String>,
    /// Number of rows, of a table.
    pub rows: Option<u64>,
    /// Size of its files.
    pub size_bytes: Option<u64>,
}

impl Lineage {
    /// The digest of a target's artifact after its last run that left one.
    ///
    /// # Errors
    /// Those of reading.
    pub fn last_artifact(&self, label: &str) -> Result<Option<Digest>, LineageError> {
        let sql = "select artifact from target where label = ? and artifact is not null order by id desc limit 1";
        let found: Option<String> = self
            .connection
            .query_row(sql, [label], |row| row.get(0))
            .optional()
            .within(&self.path)?;
        Ok(found.and_then(|digest| digest.parse().ok()))
    }

    /// Walks from an artifact, depth first, each artifact once; the start comes first. Inputs come in the order of
    /// their names, consumers in that of their labels.
    ///
    /// # Errors
    /// Those of reading.
    pub fn walk(&self, start: &Digest, direction: Direction) -> Result<Vec<Step>, LineageError> {
        let mut seen = BTreeSet::new();
        let mut steps = Vec::new();
        let mut ahead = vec![(0, *start, None)];
        while let Some((depth, artifact, input)) = ahead.pop() {
            if !seen.insert(artifact) {
                continue;
            }
            let next = match direction {
                Direction::Upstream => self.inputs_of(&artifact),
                Direction::Downstream => self.made_from(&artifact),
            };
            let next = next.within(&self.path)?;
            steps.push(self.step(depth, artifact, input).within(&self.path)?);
            // A stack gives back the last first.
            let next = next.into_iter().rev();
            ahead.extend(next.map(|(artifact, name)| (depth + 1, artifact, Some(name))));
        }
        Ok(steps)
    }

    /// Several targets may yield equal contents, a plain copy for one: the inputs of each one's latest action count.
    fn inputs_of(&self, artifact: &Digest) -> rusqlite::Result<Vec<(Digest, String)>> {
        self.neighbours(
            "select i.artifact, min(i.name) from input i where i.action in ( \
                 select max(a.id) from action a join target t on t.id = a.target \
                 where a.output = ?1 group by t.label, a.stage) \
             group by i.artifact order by min(i.name)",
            artifact,
        )
    }

    fn made_from(&self, artifact: &Digest) -> rusqlite::Result<Vec<(Digest, String)>> {
        self.neighbours(
            "select a.output, i.name from input i join action a on a.id = i.action \
             join target t on t.id = a.target \
             where i.artifact = ?1 and a.output is not null \
             group by a.output order by t.label, a.stage",
            artifact,
        )
    }

    fn neighbours(&self, sql: &str, artifact: &Digest) -> rusqlite::Result<Vec<(Digest, String)>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([artifact.to_string()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        let mut found = Vec::new();
        for row in rows {
            let (digest, name) = row?;
            if let Ok(digest) = digest.parse() {
                found.push((digest, name));
            }
        }
        Ok(found)
    }

    fn step(&self, depth: u32, artifact: Digest, input: Option<String>) -> rusqlite::Result<Step> {
        let source = Step {
            depth,
            artifact,
            label: None,
            stage: None,
            input,
            key: None,
            kind: None,
            rows: None,
            size_bytes: None,
        };
        let yielded = |row: &Row<'_>| {
            let number = |i| -> rusqlite::Result<Option<u64>> {
                let number = row.get::<_, Option<i64>>(i)?;
                Ok(number.and_then(|number| u64::try_from(number).ok()))
            };
            Ok(Step {
                label: row.get(0)?,
                stage: row.get(1)?,
                key: row.get(2)?,
                kind: row.get(3)?,
                rows: number(4)?,
                size_bytes: number(5)?,
                ..source.clone()
            })
        };
        let sql = "select t.label, a.name, a.key, f.kind, f.rows, f.bytes \
                   from action a join target t on t.id = a.target join artifact f on f.digest = a.output \
                   where a.output = ? order by a.id desc limit 1";
        let found = self
            .connection
            .prepare_cached(sql)?
            .query_row([artifact.to_string()], yielded)
            .optional()?;
        Ok(found.unwrap_or(source))
    }
}
