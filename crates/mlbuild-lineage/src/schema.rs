//! The schema's versions, and how a database gets from one to the next.

use std::path::{Path, PathBuf};

use mlbuild_disk as disk;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::{In, refused};
use crate::{Lineage, LineageError};

/// Marks the file as ours, in SQLite's header: `mlbd`.
const APPLICATION_ID: u32 = 0x6d6c_6264;

/// The statement batches that lead from schema `i` to schema `i + 1`. Published ones never change.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
];

/// The schema that this crate writes, which is SQLite's `user_version`.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// The schema of an open database; 0 if it is empty.
pub(crate) fn version(connection: &Connection, path: &Path) -> Result<u32, LineageError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let found = pragma("user_version").within(path)?;
    let application_id = pragma("application_id").within(path)?;
    let count = "select count(*) from sqlite_schema";
    let objects: u32 = connection
        .query_row(count, [], |row| row.get(0))
        .within(path)?;
    let is_empty = objects == 0 && found == 0 && application_id == 0;
    if application_id != APPLICATION_ID && !is_empty {
        return Err(LineageError::NotLineage {
            path: path.to_owned(),
        });
    }
    if found > SCHEMA_VERSION {
        return Err(LineageError::NewerVersion {
            path: path.to_owned(),
            found,
        });
    }
    Ok(found)
}

/// Brings a database to the newest schema, all or nothing. One that holds something is copied aside before.
pub(crate) fn prepare(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), LineageError> {
    let found = version(connection, path)?;
    if found as usize >= migrations.len() {
        return Ok(());
    }
    if found > 0 {
        back_up(connection, path, found)?;
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .within(path)?;
    // Read again under the lock: another process may have done it meanwhile.
    let found = version(&transaction, path)? as usize;
    for migration in migrations.iter().skip(found) {
        transaction.execute_batch(migration).within(path)?;
    }
    let mark = |name, value| transaction.pragma_update(None, name, value).within(path);
    mark("application_id", APPLICATION_ID)?;
    mark("user_version", migrations.len() as u32)?;
    disk::transaction(path).map_err(refused).within(path)?;
    transaction.commit().within(path)
}

/// Copies the database to `lineage.db.v1`, unless an earlier attempt did. The copy lasts when this returns: SQLite does
/// not sync what it vacuums into, and half a copy is worse than none.
fn back_up(connection: &Connection, path: &Path, version: u32) -> Result<(), LineageError> {
    let backup = with_end(path, &format!(".v{version}"));
    if Lineage::is_sound_copy(&backup) {
        return Ok(());
    }
    let aside = with_end(&backup, ".new");
    let _ = disk::remove(&aside);
    disk::transaction(&aside).map_err(refused).within(&aside)?;
    let target = aside.to_string_lossy();
    connection
        .execute("vacuum into ?1", [&target])
        .within(&aside)?;
    disk::sync(&aside)
        .and_then(|()| disk::rename(&aside, &backup))
        .and_then(|()| disk::sync_folder(path.parent().unwrap_or(Path::new("."))))
        .map_err(refused)
        .within(&backup)
}

/// `path` with more at its end.
pub(crate) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
}
