//! Targets and their stages.

use std::collections::BTreeMap;

use mlbuild_action::{SourceSpan, Work};
use mlbuild_manifest::{Label, Rule};

/// A target, resolved.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// Its name.
    pub label: Label,
    /// How it is made.
    pub rule: Rule,
    /// What is done to make it, in this order; at least one. Checks come last.
    pub stages: Vec<Stage>,
    /// What it needs while it is made.
    pub resources: Resources,
    /// Words to select it by, sorted.
    pub tags: Vec<String>,
    /// How far metrics may move when `verify` makes it again, by name; empty wants the same bits.
    pub tolerance: BTreeMap<String, f64>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Where it is declared.
    pub declared_at: SourceSpan,
}

impl Target {
    /// Whether its artifact is a table.
    pub fn is_table(&self) -> bool {
        self.stages.iter().any(|stage| match &stage.work {
            Work::Ingest(ingest) => ingest.format != mlbuild_action::Format::Files,
            Work::Sql(_) | Work::Split(_) | Work::Predict(_) => true,
            Work::Command(_)
            | Work::Python(_)
            | Work::Train(_)
            | Work::Evaluate(_)
            | Work::Pick(_)
            | Work::Check(_) => false,
        })
    }

    /// The targets that it reads, sorted, each once.
    pub fn inputs(&self) -> Vec<&Label> {
        let inputs = self.stages.iter().flat_map(|stage| &stage.inputs);
        let mut labels: Vec<_> = inputs
            .filter_map(|input| match &input.from {
                InputSource::Target(label) => Some(label),
                InputSource::Pinned(..) | InputSource::Previous | InputSource::Files(_) => None,
            })
            .collect();
        labels.sort();
        labels.dedup();
        labels
    }

    /// The files of the project that it reads.
    pub fn files(&self) -> impl Iterator<Item = &FileSet> {
        let inputs = self.stages.iter().flat_map(|stage| &stage.inputs);
        inputs.filter_map(|input| match &input.from {
            InputSource::Files(files) => Some(files),
            InputSource::Target(_) | InputSource::Pinned(..) | InputSource::Previous => None,
        })
    }
}

/// What a target needs while it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resources {
    /// CPU cores, at least 1.
    pub cpus: u32,
    /// GPUs, for those of its actions that ask for some.
    pub gpus: u32,
    /// Memory on each of them; `None` wants them alone.
    pub gpu_memory_bytes: Option<u64>,
    /// Memory; `None` leaves it to the engine.
    pub memory_bytes: Option<u64>,
}

/// One action of a target.
#[derive(Clone, PartialEq, Debug)]
pub struct Stage {
    /// What to do.
    pub work: Work,
    /// With what.
    pub inputs: Vec<StageInput>,
}

/// An input of a stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StageInput {
    /// Its name, as [`Work`] documents it.
    pub name: String,
    /// What it is.
    pub from: InputSource,
}

/// What an input is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InputSource {
    /// The artifact of another target.
    Target(Label),
    /// The artifact of another target as the pin of this name holds it.
    Pinned(String, Label),
    /// The artifact of this target's last stage that is no check.
    Previous,
    /// Files of the project.
    Files(FileSet),
}

/// Files of the project, by path or glob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSet {
    /// Files, folders or globs, relative to the project; at least one.
    pub patterns: Vec<String>,
    /// Where they are declared.
    pub declared_at: SourceSpan,
}
