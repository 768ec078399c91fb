//! The seam between the engine and what performs work.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mlbuild_digest::Digest;

use crate::{Analysis, Diagnostic, Schema, Table, Tree, Work};

/// Asks running work to stop; cheap to clone and to look at.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A request nobody has made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop. There is no way back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to stop. Executors look at this at least every 100 ms and answer with [`Failure::Cancelled`].
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A GPU, by the name that the driver or the user has for it: `GPU-8932f937-d72c`, `1`. Provenance, never identity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GpuId(String);

impl GpuId {
    /// The GPU of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name, as `CUDA_VISIBLE_DEVICES` takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What `CUDA_VISIBLE_DEVICES` is for a process that may use these: empty for none.
    pub fn list(gpus: &[Self]) -> String {
        let names: Vec<&str> = gpus.iter().map(Self::as_str).collect();
        names.join(",")
    }
}

/// An input as an executor sees it.
#[derive(Clone, Debug)]
pub struct InputFolder {
    /// The folder with the input's files, absolute. Built-in work must not write to it.
    pub path: PathBuf,
    /// Set when the folder holds one table, `table.parquet`.
    pub table: Option<Table>,
}

/// What happens while work runs; for consoles and lineage, never part of a result.
#[derive(Clone, PartialEq, Debug)]
pub enum Progress {
    /// So many rows have been written.
    Rows {
        /// Rows so far.
        rows: u64,
    },
    /// A training epoch ended.
    Epoch {
        /// The epoch, from 1.
        epoch: u32,
        /// How many there are at most, if that is known.
        epochs: Option<u32>,
        /// Figures of this epoch, by name: `loss`, `valid_hit_rate@10`.
        metrics: BTreeMap<String, f64>,
    },
    /// Training goes on from a checkpoint; the epochs that had ended before it follow first.
    Resumed {
        /// Steps that had been taken.
        step: u64,
    },
    /// A line that the work printed.
    Log {
        /// The line, without its end.
        line: String,
    },
}

/// A request to perform one unit of work.
pub struct Request<'a> {
    /// What to do.
    pub work: &'a Work,
    /// The inputs, by the names that [`Work`] documents.
    pub inputs: &'a BTreeMap<String, InputFolder>,
    /// What [`Executor::analyze`] said of this work. Reading more would make the key a lie.
    pub analysis: &'a Analysis,
    /// An existing, empty folder for the output, absolute. Executors leave only regular files and folders in it; a
    /// table is one file, `table.parquet`.
    pub output: &'a Path,
    /// An existing, empty folder for temporary files, absolute; removed afterwards.
    pub scratch: &'a Path,
    /// The folder for checkpoints, absolute, the same in every attempt at this action: what an earlier one left there is
    /// there. It may not exist; who wants it makes it, and those above it. It goes when the action has a result, and is
    /// kept only for work of which [`Work::may_checkpoint`] says so.
    pub checkpoints: &'a Path,
    /// CPU threads that the work may use; may not change an output byte.
    pub threads: usize,
    /// The GPUs that the work may use, and no others: as many as it asks for.
    pub gpus: &'a [GpuId],
    /// Memory that the work should stay within; may not change an output byte.
    pub memory_bytes: u64,
    /// Receives what happens. May be called from any thread.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Set when the work should stop.
    pub cancel: &'a Cancel,
}

impl Request<'_> {
    /// The input `name`.
    ///
    /// # Panics
    /// If the engine did not supply it; [`Work`] documents which inputs are required.
    pub fn input(&self, name: &str) -> &InputFolder {
        self.inputs
            .get(name)
            .unwrap_or_else(|| panic!("the engine supplies the required input `{name}`"))
    }
}

/// What work yielded, besides the files in the output folder.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Output {
    /// Set when the output folder holds one table.
    pub table: Option<Table>,
    /// Figures for lineage, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Warnings, cached with the result.
    pub warnings: Vec<String>,
}

/// Why work yielded nothing.
#[derive(Clone, PartialEq, Debug)]
pub enum Failure {
    /// The work failed: a process exited with an error, training diverged. Exit status 1.
    Failed(Diagnostic),
    /// A check or a gate did not hold. What the output folder holds is kept aside for the user to look at, but never
    /// cached or published. Exit status 1.
    Rejected(Diagnostic),
    /// The user's mistake: unknown column, ragged CSV, wrong parameter type. Exit status 2.
    Invalid(Diagnostic),
    /// The environment's: disk full, program missing. Exit status 3.
    Environment(Diagnostic),
    /// Stopped because [`Cancel`] asked for it.
    Cancelled,
}

/// The code of the project that work runs: what of it is identity, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Code {
    /// Parts of the action's description, by name: `code.lib/text.py.scale`, `package.polars`, `python`.
    pub parts: BTreeMap<String, String>,
    /// The files that the parts stand for, relative to the project, each once. The work gets them as its input `code`,
    /// and none of them as part of another input.
    pub files: Vec<String>,
}

/// The project's files, as far as an executor may look at them to say what [`Code`] work runs.
///
/// Paths are relative to the project, with `/`. Asking twice costs no more than once.
pub trait ProjectFiles {
    /// The digest of a file; `None` if there is no such regular file. Whoever looks at it depends on its content, so it
    /// belongs to [`Code::files`] or to the parts.
    ///
    /// # Errors
    /// Those of reading the file.
    fn digest(&mut self, path: &str) -> io::Result<Option<Digest>>;

    /// Whether there is such a folder.
    fn is_folder(&mut self, path: &str) -> bool;

    /// The bytes of a file; they may be younger than what `digest` said, so compare.
    ///
    /// # Errors
    /// Those of reading the file.
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>>;

    /// Tells that the answer depends on what `stat` says of a path of this machine, relative to the project or absolute,
    /// there or not. To be called before looking; the other methods do so themselves.
    fn look(&mut self, path: &Path);

    /// Tells that the answer depends on the value of an environment variable.
    fn note_variable(&mut self, name: &str, value: Option<&str>);

    /// What was remembered under `key`, a digest of all that it depends on.
    fn memo(&self, key: &Digest) -> Option<Vec<u8>>;

    /// Remembers `value`; losing it costs time only.
    fn remember(&self, key: &Digest, value: &[u8]);
}

/// Performs one kind of work.
///
/// Laws: equal work on equal inputs gives equal outputs, whatever `threads`, `memory_bytes`, `scratch` or the time; a
/// failure leaves no process behind; nothing is read but `inputs`, `checkpoints` and what [`Executor::toolchain`]
/// names, and nothing written but `output`, `scratch` and `checkpoints`; going on from checkpoints gives the same output as
/// beginning anew. `mlbuild-testing` holds every implementation to them.
pub trait Executor: Send + Sync {
    /// The identity of the tools that perform `work`: what enters its key beside the work itself, so that an upgrade
    /// that may change an output byte changes this text. Must be cheap: it is asked for in every build.
    ///
    /// # Errors
    /// If the tools are not there or cannot be told apart.
    fn toolchain(&self, work: &Work) -> Result<String, Failure>;

    /// What the work reads of its inputs that are tables, whose schemas these are by name. Must depend on nothing else:
    /// the engine remembers the answer. Without an answer of its own an executor reads everything.
    ///
    /// # Errors
    /// If the work does not fit the schemas, as [`Executor::execute`] would say it.
    fn analyze(&self, work: &Work, inputs: &BTreeMap<String, Schema>) -> Result<Analysis, Failure> {
        let _ = (work, inputs);
        Ok(Analysis::default())
    }

    /// The code of the project that `work` runs: part of its key. `srcs` are the files that it declares itself. Asked for
    /// in every build, so it must be cheap where nothing changed: start nothing, remember what was worked out.
    ///
    /// # Errors
    /// Code that is missing, is broken, or cannot be followed.
    fn code(
        &self,
        work: &Work,
        srcs: &Tree,
        project: &mut dyn ProjectFiles,
    ) -> Result<Code, Failure> {
        let _ = (work, srcs, project);
        Ok(Code::default())
    }

    /// How many programs were started so far, forks of running ones aside; a null build starts none.
    fn processes(&self) -> u64 {
        0
    }

    /// Performs the work and blocks until it ended.
    ///
    /// # Errors
    /// See [`Failure`]. Whatever was written to the output folder by then is thrown away.
    fn execute(&self, request: &Request<'_>) -> Result<Output, Failure>;
}
