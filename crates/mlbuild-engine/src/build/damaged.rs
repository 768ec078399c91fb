//! What a build does when the cache cannot give what it held: it makes that again, in the same build, and says so.
//!
//! An artifact may be found damaged when its target is published (the target begins anew) or when an action is to read
//! it. Then the target that yielded it begins anew although it was done, and the reader waits for it as it waited the
//! first time. By then what was damaged is out of the way, so that its result is a miss.
//!
//! Invariants: no target is made again more than once a build for others' sake, so a disk that keeps damaging fails the
//! build and does not keep it busy; what does not read the damaged artifact goes on meanwhile.

use mlbuild_action::{Diagnostic, Failure};
use mlbuild_cache::LastBuild;
use mlbuild_graph::InputSource;
use mlbuild_manifest::Label;

use super::{Building, Target};
use crate::Outcome;
use crate::resolve::{Material, Resolved};

impl Building<'_, '_, '_> {
    /// An object of the artifact of `label` was damaged and is out of the way, so its result has become a miss.
    pub(super) fn begin_anew(&mut self, label: &Label, last: LastBuild, started: i64) {
        self.trouble(
            Diagnostic::warning(
                "cache::damaged",
                format!("what the cache held of `{label}` was damaged"),
            )
            .help("it was set aside and is made again; `mlbuild fsck` checks the rest"),
        );
        let target = Target {
            last,
            started,
            anew: true,
            ..Target::default()
        };
        self.targets.insert(label.clone(), target);
        self.advance(label);
    }

    /// An action of `label` could not be given its input `name`: makes that again, or fails with `diagnostic`.
    pub(super) fn lost_input(
        &mut self,
        label: &Label,
        resolved: &Resolved,
        name: &str,
        diagnostic: Diagnostic,
    ) {
        let target = self.targets.remove(label).unwrap_or_default();
        let seen = resolved.inputs.get(name);
        match self.source_of(label, target.passed.len(), name) {
            Some(InputSource::Previous) if !target.anew => {
                self.begin_anew(label, target.last, target.started);
            }
            Some(InputSource::Target(input)) if self.may_begin_anew(&input, seen) => {
                self.wait_for(label, &input, seen);
            }
            _ => {
                self.targets.insert(label.clone(), target);
                self.fail(label, Failure::Environment(diagnostic));
            }
        }
    }

    /// Where a stage of `label` has its input `name` from.
    fn source_of(&self, label: &Label, stage: usize, name: &str) -> Option<InputSource> {
        let declared = self.project.graph.target(label)?;
        let inputs = &declared.stages.get(stage)?.inputs;
        let input = inputs.iter().find(|input| input.name == name);
        input.map(|input| input.from.clone())
    }

    /// Whether `input`, of which an action saw the artifact `seen`, was not yet made again without success.
    fn may_begin_anew(&self, input: &Label, seen: Option<&Material>) -> bool {
        !self.outcomes.contains_key(input)
            || !self.remade.contains(input)
            || !self.is_artifact_of(input, seen)
    }

    fn is_artifact_of(&self, label: &Label, seen: Option<&Material>) -> bool {
        match (self.artifacts.get(label), seen) {
            (Some(now), Some(Material::Artifact(seen))) => now == seen,
            _ => false,
        }
    }

    /// Lets `label` wait until `input` is made again, which begins unless it did for another reader.
    fn wait_for(&mut self, label: &Label, input: &Label, seen: Option<&Material>) {
        match self.outcomes.get(input) {
            Some(Outcome::Failed | Outcome::Skipped) => {
                self.skip(label, Some(input));
                for lost in self.schedule.failed(label) {
                    self.skip(&lost, Some(input));
                }
                return;
            }
            // It was made again since, with another outcome.
            Some(_) if !self.is_artifact_of(input, seen) => return self.begin(label),
            Some(_) | None => self.schedule.wait_again(label, input),
        }
        if self.outcomes.remove(input).is_some() {
            self.remade.insert(input.clone());
            self.saved.remove(input);
            self.recorder.forget(input);
            let last = self.project.last_build(input);
            let started = self.recorder.now();
            self.begin_anew(input, last, started);
        }
    }
}
