//! The JSON of result files (version 1), of `last/` (version 3), of pins (version 2) and of listings (version 2).
//! `spec/cache-layout.md` describes it, golden files fix it.
//!
//! All are two lines. The first says format, version and the BLAKE3 of the
//! second; the second is the content. Both are checked byte by byte, so no damage reads as other content. Paths are
//! checked too: a tree that leaves its folder is damage.

use std::collections::BTreeMap;
use std::time::Duration;

use mlbuild_action::{ActionResult, Artifact, Column, Description, Table, Tree, TreeEntry};
use mlbuild_digest::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{LastBuild, Pin};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireResult {
    key: String,
    description: BTreeMap<String, String>,
    files: Vec<WireFile>,
    table: Option<WireTable>,
    metrics: BTreeMap<String, WireFigure>,
    warnings: Vec<String>,
    duration_micros: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile {
    path: String,
    digest: String,
    size_bytes: u64,
    executable: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTable {
    rows: u64,
    columns: Vec<WireColumn>,
    key: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireColumn {
    name: String,
    data_type: String,
    digest: String,
}

/// JSON has no NaN and no infinities: they are written as texts.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WireFigure {
    Finite(f64),
    Other(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLast {
    target: String,
    keys: Vec<String>,
    inputs: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePin {
    name: String,
    target: String,
    artifact: String,
    keys: Vec<String>,
    pinned_at: i64,
}

pub(crate) fn encode_result(description: &Description, result: &ActionResult) -> Vec<u8> {
    let ActionResult {
        artifact,
        metrics,
        warnings,
        duration,
    } = result;
    let wire = WireResult {
        key: description.key().to_string(),
        description: description.parts().clone(),
        files: artifact.tree.entries().iter().map(WireFile::from).collect(),
        table: artifact.table.as_ref().map(WireTable::from),
        metrics: metrics
            .iter()
            .map(|(name, value)| (name.clone(), WireFigure::from(*value)))
            .collect(),
        warnings: warnings.clone(),
        duration_micros: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
    };
    seal(RESULT, &wire)
}

/// `None` if the bytes are not exactly what [`encode_result`] gave.
pub(crate) fn decode_result(bytes: &[u8]) -> Option<(Description, ActionResult)> {
    let WireResult {
        key,
        description,
        files,
        table,
        metrics,
        warnings,
        duration_micros,
    } = unseal(RESULT, bytes)?;
    let description = Description::from_parts(description);
    if description.key().to_string() != key {
        return None;
    }
    let figures = metrics
        .into_iter()
        .map(|(name, value)| Some((name, value.parse()?)))
        .collect::<Option<_>>()?;
    let result = ActionResult {
        artifact: Artifact {
            tree: parse_tree(files)?,
            table: match table {
                None => None,
                Some(table) => Some(table.parse()?),
            },
        },
        metrics: figures,
        warnings,
        duration: Duration::from_micros(duration_micros),
    };
    Some((description, result))
}

/// The JSON of a listing: an array of files.
pub(crate) fn encode_tree(tree: &Tree) -> Vec<u8> {
    let files: Vec<WireFile> = tree.entries().iter().map(WireFile::from).collect();
    seal(LISTING, &files)
}

/// `None` if the bytes are no listing. Whether it is the one asked for, its digest says.
pub(crate) fn decode_tree(bytes: &[u8]) -> Option<Tree> {
    parse_tree(unseal(LISTING, bytes)?)
}

/// The JSON of a table's description, as in a result.
pub(crate) fn encode_table(table: &Table) -> Vec<u8> {
    seal(LISTING, &WireTable::from(table))
}

/// `None` if the bytes describe no table. Whether it is the one asked for, its digest says.
pub(crate) fn decode_table(bytes: &[u8]) -> Option<Table> {
    unseal::<WireTable>(LISTING, bytes)?.parse()
}

/// A format and its version, as the first line of a file says them.
pub(crate) type Format = (&'static str, u32);

pub(crate) const RESULT: Format = ("mlbuild action result", 1);
pub(crate) const LAST: Format = ("mlbuild last build", 3);
pub(crate) const PIN: Format = ("mlbuild pin", 2);
pub(crate) const LISTING: Format = ("mlbuild listing", 2);

fn seal(format: Format, content: &impl Serialize) -> Vec<u8> {
    let body = serde_json::to_string(content).expect("texts and numbers are JSON");
    format!("{}\n{body}\n", header(format, &body)).into_bytes()
}

/// `None` if the bytes are not exactly what [`seal`] gave.
fn unseal<T: DeserializeOwned>(format: Format, bytes: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (found, body) = text.strip_suffix('\n')?.split_once('\n')?;
    if found != header(format, body) {
        return None;
    }
    serde_json::from_str(body).ok()
}

pub(crate) fn header((format, version): Format, body: &str) -> String {
    let digest = Digest::of(body.as_bytes());
    format!(r#"{{"format":"{format}","version":{version},"blake3":"{digest}"}}"#)
}

fn parse_tree(files: Vec<WireFile>) -> Option<Tree> {
    let paths_rise = files.is_sorted_by(|a, b| a.path < b.path);
    let paths_stay = files.iter().all(|file| stays_inside(&file.path));
    if !paths_rise || !paths_stay {
        return None;
    }
    let entries = files
        .into_iter()
        .map(WireFile::parse)
        .collect::<Option<_>>()?;
    Some(Tree::new(entries))
}

fn stays_inside(path: &str) -> bool {
    path.split('/')
        .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
}

impl From<&TreeEntry> for WireFile {
    fn from(entry: &TreeEntry) -> Self {
        let TreeEntry {
            path,
            digest,
            size_bytes,
            executable,
        } = entry;
        Self {
            path: path.clone(),
            digest: digest.to_string(),
            size_bytes: *size_bytes,
            executable: *executable,
        }
    }
}

impl WireFile {
    fn parse(self) -> Option<TreeEntry> {
        Some(TreeEntry {
            path: self.path,
            digest: self.digest.parse().ok()?,
            size_bytes: self.size_bytes,
            executable: self.executable,
        })
    }
}

impl From<&Table> for WireTable {
    fn from(table: &Table) -> Self {
        let Table { rows, columns, key } = table;
        let column = |Column {
                          name,
                          data_type,
                          digest,
                      }: &Column| WireColumn {
            name: name.clone(),
            data_type: data_type.clone(),
            digest: digest.to_string(),
        };
        Self {
            rows: *rows,
            columns: columns.iter().map(column).collect(),
            key: key.clone(),
        }
    }
}

impl WireTable {
    fn parse(self) -> Option<Table> {
        let column = |WireColumn {
                          name,
                          data_type,
                          digest,
                      }| {
            Some(Column {
                name,
                data_type,
                digest: digest.parse().ok()?,
            })
        };
        Some(Table {
            rows: self.rows,
            columns: self
                .columns
                .into_iter()
                .map(column)
                .collect::<Option<_>>()?,
            key: self.key,
        })
    }
}

impl From<f64> for WireFigure {
    fn from(value: f64) -> Self {
        if value.is_finite() {
            Self::Finite(value)
        } else {
            Self::Other(value.to_string())
        }
    }
}

impl WireFigure {
    fn parse(self) -> Option<f64> {
        match self {
            Self::Finite(value) => Some(value),
            Self::Other(text) => text.parse().ok(),
        }
    }
}

pub(crate) fn encode_last(target: &str, last: &LastBuild) -> Vec<u8> {
    let LastBuild { keys, inputs } = last;
    let input = |(label, digest): (&String, &Digest)| (label.clone(), digest.to_string());
    let wire = WireLast {
        target: target.to_owned(),
        keys: keys.iter().map(ToString::to_string).collect(),
        inputs: inputs.iter().map(input).collect(),
    };
    seal(LAST, &wire)
}

/// Of which target this is the last build, and what it is; `None` if the bytes are none of this version.
pub(crate) fn decode_last(bytes: &[u8]) -> Option<(String, LastBuild)> {
    let WireLast {
        target,
        keys,
        inputs,
    } = unseal(LAST, bytes)?;
    let keys = keys.iter().map(|key| key.parse().ok());
    let inputs = inputs.into_iter();
    let inputs = inputs.map(|(label, digest)| Some((label, digest.parse().ok()?)));
    let last = LastBuild {
        keys: keys.collect::<Option<_>>()?,
        inputs: inputs.collect::<Option<_>>()?,
    };
    Some((target, last))
}

pub(crate) fn encode_pin(pin: &Pin) -> Vec<u8> {
    let Pin {
        name,
        target,
        artifact,
        keys,
        pinned_at,
    } = pin;
    let wire = WirePin {
        name: name.clone(),
        target: target.clone(),
        artifact: artifact.to_string(),
        keys: keys.iter().map(ToString::to_string).collect(),
        pinned_at: *pinned_at,
    };
    seal(PIN, &wire)
}

/// `None` if the bytes are no pin of this version.
pub(crate) fn decode_pin(bytes: &[u8]) -> Option<Pin> {
    let wire: WirePin = unseal(PIN, bytes)?;
    let keys = wire.keys.iter().map(|key| key.parse().ok());
    Some(Pin {
        name: wire.name,
        target: wire.target,
        artifact: wire.artifact.parse().ok()?,
        keys: keys.collect::<Option<_>>()?,
        pinned_at: wire.pinned_at,
    })
}
