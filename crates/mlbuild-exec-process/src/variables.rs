//! The declared environment of a process: what is set, what of it is identity, what must not be shown.

use std::collections::BTreeMap;

use mlbuild_action::{Diagnostic, Failure, ProjectFiles, Variable};

use crate::ProcessSettings;

/// Shorter secrets would turn every other line to stars.
const SHORTEST_SECRET: usize = 4;

/// Declared variables with their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    /// What is set.
    pub(crate) values: BTreeMap<String, String>,
    /// Values that logs must not show, longest first.
    pub(crate) secrets: Vec<String>,
}

impl Variables {
    /// Looks the values up.
    ///
    /// # Errors
    /// [`Failure::Environment`] for a secret that is not set.
    pub(crate) fn new(
        declared: &BTreeMap<String, Variable>,
        settings: &ProcessSettings,
    ) -> Result<Self, Failure> {
        let mut variables = Self::default();
        for (name, variable) in declared {
            let value = match variable {
                Variable::Text(text) => Some(text.clone()),
                Variable::From(from) => settings.variable(from),
                Variable::Secret(from) => {
                    let value = settings.variable(from).ok_or_else(|| not_set(name, from))?;
                    if value.len() >= SHORTEST_SECRET {
                        variables.secrets.push(value.clone());
                    }
                    Some(value)
                }
            };
            if let Some(value) = value {
                variables.values.insert(name.clone(), value);
            }
        }
        // One may be part of another.
        variables
            .secrets
            .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Ok(variables)
    }
}

/// What of the caller's environment is identity: the values of variables that are taken from it, where they are set.
pub(crate) fn parts(
    declared: &BTreeMap<String, Variable>,
    settings: &ProcessSettings,
    project: &mut dyn ProjectFiles,
) -> BTreeMap<String, String> {
    let value = |(name, variable): (&String, &Variable)| match variable {
        Variable::From(from) => {
            let value = settings.variable(from);
            project.note_variable(from, value.as_deref());
            Some((format!("env.{name}"), value?))
        }
        Variable::Text(_) | Variable::Secret(_) => None,
    };
    declared.iter().filter_map(value).collect()
}

fn not_set(name: &str, from: &str) -> Failure {
    let message = format!(
        "the environment variable `{from}` is not set, and `{name}` takes its value from it"
    );
    Failure::Environment(
        Diagnostic::error("process::no-secret", message).help(format!(
            "set `{from}` where mlbuild runs; only its name is part of a key"
        )),
    )
}
