//! Checks a whole database, and finds the copies that migrations made of it.

use std::path::{Path, PathBuf};

use crate::error::In;
use crate::schema::with_end;
use crate::{Lineage, LineageError};

impl Lineage {
    /// What is wrong with the database at `path`, a sentence each; nothing if it is sound or there is none. Reads every
    /// page and writes nothing.
    pub fn check(path: &Path) -> Vec<String> {
        let problems = Self::open_read_only(path).and_then(|lineage| match lineage {
            Some(lineage) => lineage.problems(),
            None => Ok(Vec::new()),
        });
        problems.unwrap_or_else(|error| vec![error.to_string()])
    }

    fn problems(&self) -> Result<Vec<String>, LineageError> {
        let read = || {
            let mut integrity = self.connection.prepare("pragma integrity_check")?;
            let lines = integrity.query_map([], |row| row.get::<_, String>(0))?;
            let lines = lines.collect::<rusqlite::Result<Vec<String>>>()?;
            let mut problems: Vec<String> = lines.into_iter().filter(|line| line != "ok").collect();
            let mut keys = self.connection.prepare(
                "select \"table\", \"parent\", count(*) from pragma_foreign_key_check group by 1, 2",
            )?;
            let rows = keys.query_map([], |row| {
                let (table, parent): (String, String) = (row.get(0)?, row.get(1)?);
                let count: i64 = row.get(2)?;
                Ok(format!(
                    "{count} rows of `{table}` name a row of `{parent}` that is not there"
                ))
            })?;
            problems.extend(rows.collect::<rusqlite::Result<Vec<String>>>()?);
            Ok(problems)
        };
        read().within(&self.path)
    }

    /// The sound ones of the copies that migrations made of the database at `path` before they changed it, oldest first.
    pub fn backups(path: &Path) -> Vec<PathBuf> {
        let backups = (1..crate::SCHEMA_VERSION).map(|it| with_end(path, &format!(".v{it}")));
        backups
            .filter(|backup| Self::is_sound_copy(backup))
            .collect()
    }

    /// Whether `path` is a whole lineage database, of whatever version.
    pub(crate) fn is_sound_copy(path: &Path) -> bool {
        let copy = Self::open_read_only(path).ok().flatten();
        copy.is_some_and(|copy| copy.problems().is_ok_and(|problems| problems.is_empty()))
    }
}
