//! Executes one action: inputs in place, then the executor, then the output into the cache's objects.
//!
//! The executor sees folders of a scratch space and nothing else. What is stored here stays invisible
//! until `build` has looked at the sources again and stores the result that names it: a crash at any
//! point leaves a miss.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mlbuild_action::{
    ActionResult, Artifact, Cancel, Column, Diagnostic, Failure, Format, GpuId, Ingest,
    InputFolder, Output, Progress, Request, Table, Tree, TreeEntry, Work,
};
use mlbuild_cache::{CacheError, WrittenResult};
use mlbuild_disk as disk;

use crate::pick::picked;
use crate::project::{Executors, Project};
use crate::resolve::{Material, Resolved};

/// What an action may use while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    pub(crate) threads: usize,
    pub(crate) gpus: Vec<GpuId>,
    pub(crate) memory_bytes: u64,
}

/// An action that did not yield a result.
pub(crate) enum JobFailure {
    /// The executor said why.
    Failure(Failure),
    /// What the cache held of the input of this name was damaged, and is out of the way.
    LostInput(String, Diagnostic),
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

/// What an action yielded, with its result written to where nobody finds it yet.
pub(crate) struct Executed {
    pub(crate) result: ActionResult,
    pub(crate) written: WrittenResult,
}

/// As [`yields`], and writes the result: on the action's own thread, since that waits for the disk.
pub(crate) fn execute(
    job: &Job<'_>,
    scratch: &Path,
    rejected: &Path,
    executed: &dyn Fn(),
    progress: &(dyn Fn(Progress) + Sync),
    cancel: &Cancel,
) -> Result<Executed, JobFailure> {
    let result = yields(job, scratch, rejected, executed, progress, cancel)?;
    let cache = &job.project.cache;
    let written = cache.write_result(&job.resolved.description, &result)?;
    Ok(Executed { result, written })
}

/// Executes the action in the empty folder `scratch` and stores its objects. `rejected` is where a rejected output is kept;
/// `executed` is called as soon as the action itself is over, since storing waits for the disk and not for the slots that
/// the action had.
fn yields(
    job: &Job<'_>,
    scratch: &Path,
    rejected: &Path,
    executed: &dyn Fn(),
    progress: &(dyn Fn(Progress) + Sync),
    cancel: &Cancel,
) -> Result<ActionResult, JobFailure> {
    let Job {
        resolved, project, ..
    } = *job;
    if let Work::Ingest(Ingest {
        format: Format::Files,
        ..
    }) = &resolved.action.work
        && let Some(Material::Sources(tree)) = resolved.inputs.get("files")
    {
        return pass_through(project, tree, cancel);
    }
    if let Work::Pick(pick) = &resolved.action.work {
        return Ok(picked(pick, resolved));
    }
    let (output, duration) = match job.run(scratch, progress, cancel) {
        Err(JobFailure::Failure(Failure::Rejected(diagnostic))) => {
            let output = scratch.join(OUTPUT);
            return Err(JobFailure::Failure(keep_rejected(
                diagnostic, &output, rejected,
            )));
        }
        ended => ended?,
    };
    executed();
    let Output {
        table,
        metrics,
        warnings,
    } = output;
    let tree = match resolved.action.work {
        Work::Check(_) => Tree::default(),
        _ => project.cache.ingest_folder(&scratch.join(OUTPUT))?,
    };
    Ok(ActionResult {
        artifact: Artifact { tree, table },
        metrics,
        warnings,
        duration,
    })
}

/// Files that are taken as they are: the artifact is what the sources are known to be already, and only what the cache lacks
/// of it is read. One file that changed among many costs that file.
fn pass_through(
    project: &Project,
    tree: &Tree,
    cancel: &Cancel,
) -> Result<ActionResult, JobFailure> {
    let started = Instant::now();
    let stop = || cancel.is_cancelled();
    let changed = project.cache.ingest_sources(&project.root, tree, &stop)?;
    if stop() {
        return Err(JobFailure::Failure(Failure::Cancelled));
    }
    if let Some(path) = changed {
        return Err(JobFailure::Failure(source_changed(&path)));
    }
    Ok(ActionResult {
        artifact: Artifact {
            tree: tree.clone(),
            table: None,
        },
        metrics: BTreeMap::new(),
        warnings: Vec::new(),
        duration: started.elapsed(),
    })
}

/// A source that was not left alone.
pub(crate) fn source_changed(path: &str) -> Failure {
    let message = format!("`{path}` changed while it was read");
    Failure::Failed(
        Diagnostic::error("source::changed", message).help("nothing was published; build again"),
    )
}

/// Names the input that the cache could not give, if that is the failure. It is out of the way already: the result that
/// names it has become a miss.
fn lost_input(error: CacheError, name: &str) -> JobFailure {
    if !matches!(error, CacheError::BadObject { .. }) {
        return error.into();
    }
    let message = format!("what the cache held of the input `{name}` was damaged");
    let diagnostic = Diagnostic::error("cache::damaged", message).help(
        "it was set aside: build again, and it is made again; `mlbuild fsck` checks the rest",
    );
    JobFailure::LostInput(name.to_owned(), diagnostic)
}

/// The folder of a scratch space in which the output comes to be.
pub(crate) const OUTPUT: &str = "out";

/// How input tables are laid before an executor.
#[derive(Clone, Copy)]
pub(crate) enum Layout<'a> {
    /// The files of the cache.
    AsStored,
    /// The same rows in files that are cut otherwise.
    Reshaped,
    /// The one input is this folder, whatever the cache holds.
    Folder(&'a Path),
}

/// An action and how it is run.
pub(crate) struct Job<'a> {
    pub(crate) resolved: &'a Resolved,
    pub(crate) project: &'a Project,
    pub(crate) executors: &'a Executors,
    pub(crate) allowance: Allowance,
    pub(crate) layout: Layout<'a>,
    /// Where an earlier attempt may have left checkpoints.
    pub(crate) checkpoints: &'a Path,
}

impl Job<'_> {
    /// Runs the action in an empty folder; its output is in [`OUTPUT`] there. Says how long the executor took.
    pub(crate) fn run(
        &self,
        scratch: &Path,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: &Cancel,
    ) -> Result<(Output, Duration), JobFailure> {
        let at = |name: &str| scratch.join(name);
        let (output, temporary) = (at(OUTPUT), at("tmp"));
        for folder in [&output, &temporary, &at("in")] {
            disk::create_folder(folder).map_err(|e| io_failure("make the folder", folder, &e))?;
        }
        let inputs = self.inputs(&at("in"))?;
        let request = Request {
            work: &self.resolved.action.work,
            inputs: &inputs,
            analysis: &self.resolved.analysis,
            output: &output,
            scratch: &temporary,
            checkpoints: self.checkpoints,
            threads: self.allowance.threads,
            gpus: &self.allowance.gpus,
            memory_bytes: self.allowance.memory_bytes,
            progress,
            cancel,
        };
        let started = Instant::now();
        let executor = self.executors.of(&self.resolved.action.work);
        let executed = catch_unwind(AssertUnwindSafe(|| executor.execute(&request)));
        let duration = started.elapsed();
        match executed {
            Ok(Ok(_)) if cancel.is_cancelled() => Err(JobFailure::Failure(Failure::Cancelled)),
            Ok(Ok(output)) => Ok((output, duration)),
            Ok(Err(failure)) => Err(JobFailure::Failure(failure)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no message");
                Err(JobFailure::Panic(text.to_owned()))
            }
        }
    }

    /// Places every input in a folder of its own below `folder`.
    fn inputs(&self, folder: &Path) -> Result<BTreeMap<String, InputFolder>, JobFailure> {
        let mut inputs = BTreeMap::new();
        for (name, material) in &self.resolved.inputs {
            // `data:orders` is at `data/orders`: not every program likes a colon in a path.
            let path = name
                .split(':')
                .fold(folder.to_owned(), |path, part| path.join(part));
            if let Some(parent) = path.parent()
                && parent != folder
                && !parent.is_dir()
            {
                disk::create_folder(parent)
                    .map_err(|e| io_failure("make the folder", parent, &e))?;
            }
            let input = match material {
                _ if let Layout::Folder(path) = self.layout => InputFolder {
                    path: path.to_owned(),
                    table: None,
                },
                Material::Sources(tree) => self.sources(tree, path)?,
                Material::Artifact(Artifact {
                    tree,
                    table: Some(table),
                }) => self.table(name, tree, table, path)?,
                Material::Artifact(artifact) => {
                    self.link(name, &artifact.tree, &path)?;
                    InputFolder { path, table: None }
                }
            };
            inputs.insert(name.clone(), input);
        }
        Ok(inputs)
    }

    fn sources(&self, tree: &Tree, path: PathBuf) -> Result<InputFolder, JobFailure> {
        let root = &self.project.root;
        match self.layout {
            // A folder lists its files in whatever order: nothing may come of it.
            Layout::Reshaped => link_sources(root, tree.entries().iter().rev(), &path)?,
            _ => link_sources(root, tree.entries().iter(), &path)?,
        }
        Ok(InputFolder { path, table: None })
    }

    /// A table: linked, cut down to the columns that the work said it reads, or cut otherwise.
    fn table(
        &self,
        name: &str,
        tree: &Tree,
        table: &Table,
        path: PathBuf,
    ) -> Result<InputFolder, JobFailure> {
        let columns = self.given(name, table);
        let whole = columns.is_none() && !matches!(self.layout, Layout::Reshaped);
        if whole {
            self.link(name, tree, &path)?;
            let table = Some(table.clone());
            return Ok(InputFolder { path, table });
        }
        // A link is given out for bytes that were digested; what is made of them is cut from there.
        let stored = beside(&path, "stored");
        self.link(name, tree, &stored)?;
        disk::create_folder(&path).map_err(|e| io_failure("make the folder", &path, &e))?;
        let failed = |d| JobFailure::Failure(Failure::Environment(d));
        let files = &self.executors.files;
        for entry in tree.entries() {
            let mut from = stored.join(&entry.path);
            let to = path.join(&entry.path);
            if let Some(columns) = &columns {
                let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
                let projected = match self.layout {
                    Layout::Reshaped => beside(&path, "projected"),
                    _ => to.clone(),
                };
                files.project(&from, &projected, &names).map_err(failed)?;
                from = projected;
            }
            if let Layout::Reshaped = self.layout {
                files.reshape(&from, &to).map_err(failed)?;
            }
        }
        let table = Table {
            columns: columns.unwrap_or_else(|| table.columns.clone()),
            ..table.clone()
        };
        Ok(InputFolder {
            path,
            table: Some(table),
        })
    }

    /// The columns of an input table that the work may see; `None` for all of them.
    ///
    /// A key holds what is read and nothing else, so what is read must be what is held: an executor that forgets a column
    /// fails, and does not serve a stale result one day. Queries see whole schemas, since a name may mean another column
    /// because of one that is not read; they are held to their plan instead. Functions are cut down by their executor.
    fn given(&self, name: &str, table: &Table) -> Option<Vec<Column>> {
        match self.resolved.action.work {
            Work::Train(_) | Work::Predict(_) | Work::Evaluate(_) => {}
            Work::Ingest(_)
            | Work::Sql(_)
            | Work::Split(_)
            | Work::Check(_)
            | Work::Command(_)
            | Work::Python(_)
            | Work::Pick(_) => {
                return None;
            }
        }
        let read = self.resolved.analysis.reads.get(name)?;
        let columns = table
            .columns
            .iter()
            .filter(|column| read.contains(&column.name));
        let columns: Vec<Column> = columns.cloned().collect();
        // Of a column that is missing the executor complains best with the others in sight.
        let complete = columns.len() == read.len() && !columns.is_empty();
        (complete && columns.len() < table.columns.len()).then_some(columns)
    }

    fn link(&self, name: &str, tree: &Tree, path: &Path) -> Result<(), JobFailure> {
        self.project
            .cache
            .link_out(tree, path)
            .map_err(|error| lost_input(error, name))
    }
}

/// A name in the same folder that no input has: theirs have no blanks.
fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{what} {name}"))
}

/// Places links to the project's files in `folder`, under their paths in the project.
fn link_sources<'t>(
    root: &Path,
    entries: impl Iterator<Item = &'t TreeEntry>,
    folder: &Path,
) -> Result<(), JobFailure> {
    disk::create_folders(folder).map_err(|e| io_failure("make the folder", folder, &e))?;
    let mut parents = std::collections::BTreeSet::new();
    for entry in entries {
        let link = folder.join(&entry.path);
        if let Some(parent) = link.parent()
            && parents.insert(parent.to_owned())
        {
            disk::create_folders(parent).map_err(|e| io_failure("make the folder", parent, &e))?;
        }
        disk::symlink(&root.join(&entry.path), &link)
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
    let _ = disk::remove_folder(rejected);
    let kept = rejected
        .parent()
        .map_or(Ok(()), disk::create_folders)
        .and_then(|()| disk::rename(output, rejected));
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
