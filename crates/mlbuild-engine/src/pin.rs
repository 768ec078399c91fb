//! Pins a target as it stands: names every result that its artifact was made from.

use std::collections::BTreeSet;

use mlbuild_action::{Artifact, Diagnostic, Failure};
use mlbuild_cache::Pin;
use mlbuild_manifest::Label;

use crate::Fault;
use crate::gc::unreadable;
use crate::plan::plan;
use crate::project::{Executors, Project};

/// Pins `label` as it is declared now under `name`; `now` is in seconds since 1970. The caller holds the project's lock.
///
/// # Errors
/// With whose fault it is: if it, or something that it needs, is not built as it is declared now; if another state has
/// that name; those of the cache.
pub fn pin(
    project: &Project,
    executors: &Executors,
    label: &Label,
    name: &str,
    now: i64,
) -> Result<Pin, (Fault, Diagnostic)> {
    let users = |diagnostic| (Fault::User, diagnostic);
    let environments = |error| (Fault::Environment, unreadable(error));
    let planned = plan(project, std::slice::from_ref(label), executors);
    if let Some(missing) = planned.iter().find(|planned| planned.artifact.is_none()) {
        let message = format!("`{}` is not built as it is declared now", missing.label);
        let help = format!("`mlbuild build {label}` builds what is to be pinned");
        let diagnostic = Diagnostic::error("pin::not-built", message);
        return Err(users(diagnostic.help(help)));
    }
    let target = planned.iter().find(|planned| planned.label == *label);
    let artifact = target
        .and_then(|planned| planned.artifact.as_ref())
        .expect("the plan holds what was asked for, and all of it has artifacts");
    let keys: BTreeSet<_> = planned
        .iter()
        .flat_map(|planned| &planned.keys)
        .copied()
        .collect();
    let pin = Pin {
        name: name.to_owned(),
        target: label.to_string(),
        artifact: artifact.digest(),
        keys,
        pinned_at: now,
    };
    let pins = project.cache.pins().map_err(environments)?;
    match pins.into_iter().find(|old| old.name == name) {
        Some(old) if old.keys == pin.keys && old.target == pin.target => Ok(old),
        Some(old) => {
            let message = format!("the pin `{name}` holds another state, of `{}`", old.target);
            let help =
                format!("`mlbuild unpin {name}` lets it go; `--name` gives this one another name");
            Err(users(Diagnostic::error("pin::taken", message).help(help)))
        }
        None => {
            project.cache.set_pin(&pin).map_err(environments)?;
            Ok(pin)
        }
    }
}

/// The artifact of `label` that the pin `name` holds.
///
/// # Errors
/// If there is no such pin, if it is of another target, or if what it holds is gone.
pub(crate) fn pinned(project: &Project, name: &str, label: &Label) -> Result<Artifact, Failure> {
    let environment = |error| Failure::Environment(unreadable(error));
    let pins = project.cache.pins().map_err(environment)?;
    let Some(pin) = pins.iter().find(|pin| pin.name == name) else {
        let message = format!("there is no pin `{name}`, which a gate compares `{label}` with");
        let help =
            format!("`mlbuild pin {label} --name {name}` makes it of `{label}` as it is built now");
        return Err(Failure::Invalid(
            Diagnostic::error("pin::unknown", message).help(help),
        ));
    };
    if pin.target != label.to_string() {
        let message = format!(
            "the pin `{name}` is of `{}`, and a gate compares `{label}` with it",
            pin.target
        );
        let help = format!("pin the predictions themselves: `mlbuild pin {label} --name NAME`");
        return Err(Failure::Invalid(
            Diagnostic::error("pin::other-target", message).help(help),
        ));
    }
    let artifact = project.cache.pinned_artifact(pin).map_err(environment)?;
    artifact.ok_or_else(|| {
        let message = format!("what the pin `{name}` holds of `{label}` is gone from the cache");
        let help = "`mlbuild fsck` says what else is; pin another state, or take the gate away";
        Failure::Environment(Diagnostic::error("pin::gone", message).help(help))
    })
}
