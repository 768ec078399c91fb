//! A project as the engine sees it: its graph, and where its state is.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mlbuild_action::{Diagnostic, Executor, Work};
use mlbuild_cache::{Cache, CacheError, LastBuild};
use mlbuild_graph::Graph;
use mlbuild_manifest::Label;

use crate::pick::Picker;
use crate::witness::Witness;
use crate::{Gpus, RowDiff, RowDifference, Slots};

/// A project that is ready to be planned and built.
pub struct Project {
    /// The folder of `mlbuild.toml`, absolute.
    pub root: PathBuf,
    /// The targets.
    pub graph: Graph,
    /// The profile that they are built under; `None` for the manifest as it stands.
    pub profile: Option<String>,
    /// All profiles of the manifest.
    pub profiles: Vec<String>,
    /// The cache.
    pub cache: Cache,
    /// When this process opened the project; source files that are younger are looked at twice.
    pub opened: SystemTime,
    /// All that was looked at to come by the targets.
    pub witness: Witness,
}

impl Project {
    /// A project at `root`, an absolute path, with these targets; `witness` has all that was looked at to come by them. `now`
    /// is the time. Writes nothing.
    ///
    /// # Errors
    /// Those of opening the cache.
    pub fn open(
        root: &Path,
        graph: Graph,
        witness: Witness,
        now: SystemTime,
    ) -> Result<Self, CacheError> {
        let cache = Cache::open(&state_folder(root).join("cache"))?;
        Ok(Self {
            root: root.to_owned(),
            graph,
            profile: None,
            profiles: Vec::new(),
            cache,
            opened: now,
            witness,
        })
    }

    /// Where the project keeps its state: `.mlbuild`.
    pub fn state(&self) -> PathBuf {
        state_folder(&self.root)
    }

    /// Where the artifact of `label` is placed, relative to the project: tables at
    /// `out/data/name.parquet`, all else in the folder `out/kind/name`; under a profile at the same place below
    /// `out/profile/NAME`.
    pub fn out_path(&self, label: &Label, is_table: bool) -> String {
        let end = if is_table { ".parquet" } else { "" };
        let profile = self.profile.as_ref();
        let profile = profile.map_or(String::new(), |name| format!("profile/{name}/"));
        format!(
            "out/{profile}{}/{}{end}",
            label.kind().as_str(),
            label.name()
        )
    }

    /// What `label` was when it was last built: under this profile, else without one.
    pub(crate) fn last_build(&self, label: &Label) -> LastBuild {
        match self.last_build_of(self.profile.as_deref(), label) {
            own if own == LastBuild::default() => self.last_build_of(None, label),
            own => own,
        }
    }

    /// What `label` was when it was last built under `profile`; the default if it never was.
    pub(crate) fn last_build_of(&self, profile: Option<&str>, label: &Label) -> LastBuild {
        self.cache.last_build(&last_name(profile, label))
    }

    /// Remembers `this` as what `label` is now, where it was `last`.
    pub(crate) fn set_last_build(
        &self,
        label: &Label,
        this: &LastBuild,
        last: &LastBuild,
    ) -> Result<(), CacheError> {
        let profile = self.profile.as_deref();
        // Under a profile `last` may be what it is without one.
        if this == last && (profile.is_none() || self.last_build_of(profile, label) == *this) {
            return Ok(());
        }
        self.cache.set_last_build(&last_name(profile, label), this)
    }

    /// Where the output of a target that a check or gate rejected is kept to be looked at.
    pub(crate) fn rejected_path(&self, label: &Label) -> PathBuf {
        self.state()
            .join("rejected")
            .join(label.kind().as_str())
            .join(label.name())
    }
}

/// The name under which the last build of `label` under `profile` is remembered.
pub(crate) fn last_name(profile: Option<&str>, label: &Label) -> String {
    match profile {
        None => label.to_string(),
        Some(profile) => format!("{profile}/{label}"),
    }
}

/// The state folder of the project at `root`.
pub fn state_folder(root: &Path) -> PathBuf {
    root.join(".mlbuild")
}

/// Where the lineage database of the project at `root` is.
pub fn lineage_path(root: &Path) -> PathBuf {
    state_folder(root).join("lineage.db")
}

/// What the engine asks of table files; it opens none itself.
pub trait TableFiles: Send + Sync {
    /// Writes these columns of the table file `from` to the new file `to`.
    ///
    /// # Errors
    /// If one cannot be read or the other written.
    fn project(&self, from: &Path, to: &Path, columns: &[&str]) -> Result<(), Diagnostic>;

    /// Writes the rows of the table file `from`, in their order, to the new file `to`, cut otherwise.
    ///
    /// # Errors
    /// If one cannot be read or the other written.
    fn reshape(&self, from: &Path, to: &Path) -> Result<(), Diagnostic>;

    /// The first row in which a column of two table files differs; `None` if none can be found.
    fn first_difference(&self, old: &Path, new: &Path, column: &str) -> Option<RowDifference>;

    /// How the rows of two table files differ, matched by key columns, on these columns; without a key as whole rows.
    ///
    /// # Errors
    /// If one cannot be read.
    fn row_changes(
        &self,
        old: &Path,
        new: &Path,
        key: &[String],
        columns: &[String],
    ) -> Result<RowDiff, Diagnostic>;
}

/// The executors, by the work they perform.
pub struct Executors {
    /// What knows the format of tables.
    pub files: Box<dyn TableFiles>,
    /// Performs `ingest`, `sql`, `split`, `check`.
    pub table: Box<dyn Executor>,
    /// Performs `command`, `python`.
    pub process: Box<dyn Executor>,
    /// Performs `train`, `predict`.
    pub model: Box<dyn Executor>,
    /// Performs `evaluate`.
    pub report: Box<dyn Executor>,
}

impl Executors {
    /// The executor for `work`.
    pub fn of(&self, work: &Work) -> &dyn Executor {
        match work {
            Work::Ingest(_) | Work::Sql(_) | Work::Split(_) | Work::Check(_) => &*self.table,
            Work::Command(_) | Work::Python(_) => &*self.process,
            Work::Train(_) | Work::Predict(_) => &*self.model,
            Work::Evaluate(_) => &*self.report,
            Work::Pick(_) => &Picker,
        }
    }

    /// How many processes were started so far.
    pub(crate) fn processes(&self) -> u64 {
        let Self {
            files: _,
            table,
            process,
            model,
            report,
        } = self;
        let executors = [table, process, model, report].into_iter();
        executors.map(|executor| executor.processes()).sum()
    }
}

/// How to build.
#[derive(Clone, Debug)]
pub struct Options {
    /// What actions may use together.
    pub slots: Slots,
    /// Finds the GPUs that actions may use; called when one needs a GPU and has no result.
    pub find_gpus: fn() -> Gpus,
    /// Whether to go on after a failure with what does not depend on it.
    pub keep_going: bool,
    /// Whether to execute the wanted targets even if their results are cached.
    pub force: bool,
}
