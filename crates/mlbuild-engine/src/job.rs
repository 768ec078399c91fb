//! Executes one action: inputs in place, then the executor, then the output into the cache's objects.
//!
//! The executor sees folders of a scratch space and nothing else. What is stored here stays invisible
//! until `build` has looked at the sources again and stores the result that names it: a crash at any
//! point leaves a miss.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use mlbuild_action::{
    ActionResult, Artifact, Cancel, Diagnostic, Failure, InputFolder, Output, Progress, Request,
    Tree, Work,
};
use mlbuild_cache::{CacheError, Destination, MaterializeMode};

use crate::project::{Executors, Project};
use crate::resolve::{Material, Resolved};

/// What an action may use while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) threads: usize,
    pub(crate) memory_bytes: u64,
}

/// An action that did not yield a result.
pub(crate) enum JobFailure {
    /// The executor said why.
    Failure(Failure),
    /// A bug of ours: the executor panicked.
    Panic(String),
}

impl From<CacheError> for JobFailure {
    fn from(error: CacheError) -> Self {
        Self::Failure(cache_failure(&error))
    }
}

/// An error of the cache as a failure of the environment.
pub(crate) fn cache_failure(error: &CacheError) -> Failure {
    Failure::Environment(Diagnostic::error("cache::io", error.to_string()))
}

/// Executes the action and stores its objects. `rejected` is where a rejected output is kept.
pub(crate) fn execute(
    resolved: &Resolved,
    project: &Project,
    executors: &Executors,
    allowance: Allowance,
    rejected: &Path,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: &Cancel,
) -> Result<ActionResult, JobFailure> {
    let scratch = project.cache.scratch()?;
    let at = |name: &str| scratch.path().join(name);
    let (output, temporary) = (at("out"), at("tmp"));
    for folder in [&output, &temporary, &at("in")] {
        fs::create_dir(folder).map_err(|e| io_failure("make the folder", folder, &e))?;
    }
    let mut inputs = BTreeMap::new();
    for (name, material) in &resolved.inputs {
        let path = at("in").join(name);
        let table = match material {
            Material::Artifact(artifact) => {
                let folder = Destination::Folder(&path);
                project
                    .cache
                    .materialize(&artifact.tree, folder, MaterializeMode::Link)?;
                artifact.table.clone()
            }
            Material::Sources(tree) => {
                link_sources(&project.root, tree, &path)?;
                None
            }
        };
        inputs.insert(name.clone(), InputFolder { path, table });
    }
    let request = Request {
        work: &resolved.action.work,
        inputs: &inputs,
        analysis: &resolved.analysis,
        output: &output,
        scratch: &temporary,
        threads: allowance.threads,
        memory_bytes: allowance.memory_bytes,
        progress,
        cancel,
    };
    let started = Instant::now();
    let executor = executors.of(&resolved.action.work);
    let executed = catch_unwind(AssertUnwindSafe(|| executor.execute(&request)));
    let duration = started.elapsed();
    let output_of = match executed {
        Ok(Ok(output)) => output,
        Ok(Err(Failure::Rejected(diagnostic))) => {
            return Err(JobFailure::Failure(keep_rejected(
                diagnostic, &output, rejected,
            )));
        }
        Ok(Err(failure)) => return Err(JobFailure::Failure(failure)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            return Err(JobFailure::Panic(text.to_owned()));
        }
    };
    if cancel.is_cancelled() {
        return Err(JobFailure::Failure(Failure::Cancelled));
    }
    let Output {
        table,
        metrics,
        warnings,
    } = output_of;
    let tree = match resolved.action.work {
        Work::Check(_) => Tree::default(),
        _ => project.cache.ingest_folder(&output)?,
    };
    Ok(ActionResult {
        artifact: Artifact { tree, table },
        metrics,
        warnings,
        duration,
    })
}

/// Places links to the project's files in `folder`, under their paths in the project.
fn link_sources(root: &Path, tree: &Tree, folder: &Path) -> Result<(), JobFailure> {
    fs::create_dir_all(folder).map_err(|e| io_failure("make the folder", folder, &e))?;
    let mut parents = std::collections::BTreeSet::new();
    for entry in tree.entries() {
        let link = folder.join(&entry.path);
        if let Some(parent) = link.parent()
            && parents.insert(parent.to_owned())
        {
            fs::create_dir_all(parent).map_err(|e| io_failure("make the folder", parent, &e))?;
        }
        std::os::unix::fs::symlink(root.join(&entry.path), &link)
            .map_err(|e| io_failure("make the link", &link, &e))?;
    }
    Ok(())
}

/// Keeps a rejected output where the user can look at it. An output that cannot be kept is only lost.
fn keep_rejected(diagnostic: Diagnostic, output: &Path, rejected: &Path) -> Failure {
    let is_empty = fs::read_dir(output).map_or(true, |mut entries| entries.next().is_none());
    if is_empty {
        return Failure::Rejected(diagnostic);
    }
    let _ = fs::remove_dir_all(rejected);
    let kept = rejected
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::rename(output, rejected));
    Failure::Rejected(match kept {
        Ok(()) => diagnostic.detail([format!(
            "what was rejected is kept at {}",
            rejected.display()
        )]),
        Err(_) => diagnostic,
    })
}

fn io_failure(what: &str, path: &Path, e: &io::Error) -> JobFailure {
    let message = format!("cannot {what} `{}`: {e}", path.display());
    JobFailure::Failure(Failure::Environment(Diagnostic::error(
        "engine::io",
        message,
    )))
}
