//! The command line: what can be said, and its help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// make and dbt for machine learning: builds only what really changed.
#[derive(Parser, Debug)]
#[command(name = "mlbuild", version, about, long_about = None, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Options of every command.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// Work in the project of this folder instead of the current one
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Print machine-readable JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Also print what actions print, and every target that is up to date
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorWhen,
}

/// When to use colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Write a small project that builds
    Init(Init),
    /// Bring targets up to date: execute what changed, restore what the cache has, check, publish
    Build(Build),
    /// Show what a build would do, and why
    Plan(Plan),
    /// Explain why a target was, or would be, rebuilt
    Why(Why),
    /// List targets
    Ls(Ls),
    /// Show a target: how it is made, what it holds, its metrics
    Show(Show),
    /// Compare what two runs built: schemas, rows by key, files, metrics
    Diff(Diff),
    /// Show what a target was made from, and what is made from it
    Lineage(Lineage),
    /// List every time a model was made: parameters, metrics, time, digest, who
    Runs(Runs),
    /// Run SQL over the lineage database
    Query(Query),
    /// Execute what is cached once more, otherwise, and compare: same key, same bits?
    Verify(Verify),
    /// Remove from the cache what nothing needs
    Gc(Gc),
    /// Check every file of the cache, and the lineage database
    Fsck(Fsck),
    /// Keep a target as it stands from `gc` and `clean --cache`, with all that it was made from
    Pin(PinTarget),
    /// Let go what was pinned
    Unpin(Unpin),
    /// Show what is in the cache
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Print what a target's actions printed the last time they ran
    Log(Log),
    /// Remove outputs, and on request the cache
    Clean(Clean),
    /// Check this machine: tools, worker, sandbox, disk
    Doctor(Doctor),
    /// Print a completion script
    Completions(Completions),
}

#[derive(Args, Debug)]
pub(crate) struct Init {
    /// The folder to write to; it is made if it does not exist
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// The project's name [default: the folder's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// What to make of the manifest.
#[derive(Args, Debug)]
pub(crate) struct Variant {
    /// Take the manifest as this profile of it says; `default` is none
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Set a parameter for this once: `model:recs.epochs=3`; text in quotes, as in the manifest
    #[arg(long = "param", value_name = "TARGET.NAME=VALUE")]
    pub(crate) params: Vec<String>,
}

impl Variant {
    /// As the manifest understands it.
    pub(crate) fn read(&self) -> mlbuild_manifest::Variant {
        mlbuild_manifest::Variant::new(self.profile.as_deref(), &self.params)
    }
}

/// Which targets.
#[derive(Args, Debug)]
pub(crate) struct Selection {
    /// Targets: `report:recs`, `+model:recs` (and all it needs), `data:events+` (and all that needs it),
    /// `kind:model`, `tag:nightly`, `data:*`; a comma intersects, a space unites [default: all]
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    #[command(flatten)]
    pub(crate) variant: Variant,
}

/// Which device to train on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// Train on the CPU whatever the project asks for. This is part of a model's identity.
    Cpu,
}

#[derive(Args, Debug)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// CPU threads for actions [default: all]
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<std::num::NonZeroU32>,
    /// Go on after a failure with what does not depend on it
    #[arg(short, long)]
    pub(crate) keep_going: bool,
    /// Show what would be done instead, as `plan` does
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Execute the named targets even if their results are cached
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Memory for queries, such as 4GB [default: half of this machine's]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Train on this device whatever the project asks for
    #[arg(long)]
    pub(crate) device: Option<DeviceChoice>,
}

#[derive(Args, Debug)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) selection: Selection,
}

#[derive(Args, Debug)]
pub(crate) struct Why {
    /// The targets to explain
    #[arg(required = true, value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    #[command(flatten)]
    pub(crate) variant: Variant,
}

#[derive(Args, Debug)]
pub(crate) struct Ls {
    #[command(flatten)]
    pub(crate) selection: Selection,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The target
    pub(crate) target: String,
    /// Rows of a table to show
    #[arg(short, long, default_value_t = 10, value_name = "N")]
    pub(crate) rows: usize,
    #[command(flatten)]
    pub(crate) variant: Variant,
}

#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// The number of a run, as `log` lists it; a commit that was built: `main`, `HEAD~1`; or what was last built under a
    /// profile: `profile:small`, `profile:default` [default: the last run but one]
    #[arg(value_name = "RUN|COMMIT|PROFILE")]
    pub(crate) old: Option<String>,
    /// What to compare it with [default: the last run]
    #[arg(value_name = "RUN|COMMIT|PROFILE")]
    pub(crate) new: Option<String>,
    #[command(flatten)]
    pub(crate) variant: Variant,
}

#[derive(Args, Debug)]
pub(crate) struct Lineage {
    /// The target, or a column of it: `data:interactions.rating`
    pub(crate) target: String,
    /// Follow columns: which columns of which tables it was made from, or which are made from it
    #[arg(long)]
    pub(crate) columns: bool,
    /// Only what it was made from
    #[arg(long, conflicts_with = "down")]
    pub(crate) up: bool,
    /// Only what is made from it
    #[arg(long)]
    pub(crate) down: bool,
    #[command(flatten)]
    pub(crate) variant: Variant,
}

#[derive(Args, Debug)]
pub(crate) struct Query {
    /// The query; `-` reads it from standard input. Without one, the tables and views are listed
    pub(crate) sql: Option<String>,
    /// How to print the rows
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: QueryFormat,
}

#[derive(Args, Debug)]
pub(crate) struct Runs {
    /// The model, or a point of one; all models without it
    #[arg(conflicts_with = "compare")]
    pub(crate) model: Option<String>,
    /// The best first by this metric, each state of a model once
    #[arg(long, value_name = "METRIC", conflicts_with = "compare")]
    pub(crate) best: Option<String>,
    /// With `--best`: less is better
    #[arg(long, requires = "best")]
    pub(crate) min: bool,
    /// Show where two differ; each is RUN, MODEL, RUN:MODEL or the beginning of a digest
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub(crate) compare: Vec<String>,
    /// Show so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
}

/// How `query` prints rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum QueryFormat {
    /// Aligned columns.
    Table,
    /// RFC 4180, with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) selection: Selection,
}

/// What a collection leaves.
#[derive(Args, Debug)]
pub(crate) struct Leave {
    /// Keep what each target was in its last N states, so that a revert restores it
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) keep_last: usize,
    /// Go on with earlier states, cheapest to make again first, until the cache is no larger, such as 10GB. What the
    /// project needs as it stands, and what is pinned, stays
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_size: Option<String>,
    /// Keep whatever is younger, such as 90s or 12h
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(crate) grace: String,
    #[command(flatten)]
    pub(crate) variant: Variant,
}

#[derive(Args, Debug)]
pub(crate) struct Gc {
    #[command(flatten)]
    pub(crate) leave: Leave,
    /// Show what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Fsck {
    /// Move what is bad in the cache to `quarantine/`, so that the next build makes it again
    #[arg(long)]
    pub(crate) repair: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PinTarget {
    /// The target
    pub(crate) target: String,
    /// What to call it [default: the target's label, under a profile `NAME/LABEL`]
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) variant: Variant,
}

#[derive(Args, Debug)]
pub(crate) struct Unpin {
    /// The pin's name, as `cache pins` lists it
    pub(crate) name: String,
}

#[derive(Subcommand, Debug)]
pub(crate) enum CacheCommand {
    /// Show how large the cache is, what needs it, and what `gc` would remove
    Stats(Leave),
    /// List what is pinned
    Pins,
}

#[derive(Args, Debug)]
pub(crate) struct Log {
    /// The target; without one, the last runs are listed
    pub(crate) target: Option<String>,
    #[command(flatten)]
    pub(crate) variant: Variant,
}

#[derive(Args, Debug)]
pub(crate) struct Clean {
    /// Also remove the cache, but for what is pinned: the next build executes everything else
    #[arg(long)]
    pub(crate) cache: bool,
    /// Also remove the cache with its pins, the logs and the lineage database: the history of all builds is lost
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) variant: Variant,
}

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}
