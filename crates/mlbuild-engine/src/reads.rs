//! What a target reads of other targets' tables, all its stages together; and what changed there that it does not read.

use std::collections::{BTreeMap, BTreeSet};

use mlbuild_action::{Analysis, Artifact};
use mlbuild_cache::LastBuild;
use mlbuild_digest::Digest;
use mlbuild_graph::{InputSource, Stage};
use mlbuild_manifest::Label;

use crate::project::Project;
use crate::reason::Unread;

/// The columns that a target reads, by input.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reads(BTreeMap<Label, Columns>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Columns {
    All,
    Some(BTreeSet<String>),
}

impl Reads {
    /// Adds what a stage reads.
    pub(crate) fn note(&mut self, stage: &Stage, analysis: &Analysis) {
        for input in &stage.inputs {
            let InputSource::Target(label) = &input.from else {
                continue;
            };
            let known = self.0.entry(label.clone());
            let known = known.or_insert_with(|| Columns::Some(BTreeSet::new()));
            match (known, analysis.reads.get(&input.name)) {
                (Columns::Some(columns), Some(read)) => columns.extend(read.iter().cloned()),
                (known, None) => *known = Columns::All,
                (Columns::All, Some(_)) => {}
            }
        }
    }

    /// The columns read of `input`; `None` if all of it counts.
    pub(crate) fn of(&self, input: &Label) -> Option<&BTreeSet<String>> {
        match self.0.get(input)? {
            Columns::All => None,
            Columns::Some(columns) => Some(columns),
        }
    }

    /// What differs between the inputs of the last build and these without concerning the target.
    pub(crate) fn unread(
        &self,
        project: &Project,
        last: &LastBuild,
        artifacts: &BTreeMap<Label, Artifact>,
    ) -> Vec<Unread> {
        let between = |(label, columns): (&Label, &Columns)| {
            let Columns::Some(read) = columns else {
                return None;
            };
            let old = last.inputs.get(&label.to_string())?;
            let new = artifacts.get(label)?.table.as_ref()?;
            if new.digest() == *old {
                return None;
            }
            Unread::between(label, &project.cache.table(old)?, new, read)
        };
        self.0.iter().filter_map(between).collect()
    }
}

/// The artifacts that a target reads, as the cache remembers them of its last build.
pub(crate) fn input_digests(
    project: &Project,
    label: &Label,
    artifacts: &BTreeMap<Label, Artifact>,
) -> BTreeMap<String, Digest> {
    let inputs = project.graph.inputs(label);
    let digests = inputs.iter().filter_map(|input| {
        let digest = artifacts.get(input)?.digest();
        Some((input.to_string(), digest))
    });
    digests.collect()
}
