//! What a model's folder says of how it was trained: `model.json` (`spec/model.md`).

use std::collections::BTreeMap;
use std::path::Path;

use mlbuild_action::{Diagnostic, Failure};
use serde::Deserialize;

/// How a model was trained.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Trained {
    /// What it is: `sasrec`, `logistic`.
    pub architecture: String,
    /// Its parameters, by name.
    pub params: BTreeMap<String, serde_json::Value>,
    /// What trained it.
    pub library: String,
    /// The figures of each epoch, by name, in order.
    pub curve: Vec<BTreeMap<String, f64>>,
}

/// What the folder of a model says. A folder without `model.json`, as of a model that a command made, says nothing.
///
/// # Errors
/// If the file is there and cannot be read.
pub(crate) fn trained(folder: &Path) -> Result<Trained, Failure> {
    let text = match std::fs::read_to_string(folder.join("model.json")) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Trained::default()),
        Err(error) => return Err(unreadable(&error)),
    };
    // Of a folder that is not ours, a file of that name may be anything.
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

fn unreadable(cause: &dyn std::fmt::Display) -> Failure {
    let message = "`model.json` of a model cannot be read";
    Failure::Environment(
        Diagnostic::error("report::unreadable", message).detail([cause.to_string()]),
    )
}

impl Trained {
    /// One curve a figure that every epoch has: its name, and its values in order.
    pub(crate) fn curves(&self) -> Vec<(&str, Vec<f64>)> {
        let Some(first) = self.curve.first().filter(|_| self.curve.len() > 1) else {
            return Vec::new();
        };
        let values = |name: &String| {
            let values = self.curve.iter().map(|epoch| epoch.get(name).copied());
            values.collect::<Option<Vec<f64>>>()
        };
        let named = first.keys().filter(|name| *name != "epoch");
        named
            .filter_map(|name| Some((name.as_str(), values(name)?)))
            .collect()
    }
}
