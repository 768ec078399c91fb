//! The targets that are as the last build left them, as far as a look at each can tell.
//!
//! A target that stands need not be resolved or looked up, but only as long as its inputs are what they were: the build says
//! which targets it did anew with another artifact ([`Standing::moved`]), and what reads those goes the whole way.

use std::collections::{HashMap, HashSet};

use mlbuild_digest::Digest;
use mlbuild_manifest::Label;

use super::{Detail, Settled};
use crate::witness::{LookNumber, Seen, Witness};

/// What of the last build's targets still stands.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Standing {
    /// Everything that was done; taken out when it is taken over.
    targets: HashMap<Label, Stand>,
    paths: Vec<(String, Seen)>,
    /// Which looks are in no target's list.
    everybodys: Vec<LookNumber>,
    variables: Vec<(String, Option<Digest>)>,
    /// Targets that are no longer what they were.
    moved: HashSet<Label>,
}

#[derive(Clone, PartialEq, Debug)]
struct Stand {
    settled: Settled,
    detail: Detail,
    /// Whether a look for it came out otherwise.
    differs: bool,
}

impl Standing {
    /// What of these targets stands; `None` if a look that concerns everybody is among those that differ.
    pub(super) fn new(
        paths: Vec<(String, Seen)>,
        variables: Vec<(String, Option<Digest>)>,
        targets: Vec<Settled>,
        details: Vec<Detail>,
        differing: &[LookNumber],
    ) -> Option<Self> {
        if targets.len() != details.len() {
            return None;
        }
        let mut differs = vec![false; paths.len()];
        for number in differing {
            *differs.get_mut(*number as usize)? = true;
        }
        let mut everybodys = vec![true; paths.len()];
        let mut stands = HashMap::with_capacity(targets.len());
        for (settled, detail) in targets.into_iter().zip(details) {
            let mut any = false;
            for number in &detail.looks {
                *everybodys.get_mut(*number as usize)? = false;
                any |= differs[*number as usize];
            }
            let stand = Stand {
                settled,
                detail,
                differs: any,
            };
            stands.insert(stand.settled.label.clone(), stand);
        }
        let everybodys: Vec<LookNumber> = (0..)
            .zip(everybodys)
            .filter_map(|(number, is)| is.then_some(number))
            .collect();
        let vague = everybodys.iter().any(|number| differs[*number as usize]);
        (!vague).then_some(Self {
            targets: stands,
            paths,
            everybodys,
            variables,
            moved: HashSet::new(),
        })
    }

    /// Whether all that `witness` saw so far is what the last build saw: the build files first of all.
    pub fn agrees_with(&self, witness: &Witness) -> bool {
        let everybodys = self.everybodys.iter();
        let known: HashMap<&str, Seen> = everybodys
            .map(|number| &self.paths[*number as usize])
            .map(|(path, seen)| (path.as_str(), *seen))
            .collect();
        let mut stats = witness.stats();
        stats.all(|(path, stat)| known.get(path) == Some(&Seen::new(stat)))
    }

    /// Notes in `witness` what concerned everybody.
    pub(crate) fn carry_common(&self, witness: &mut Witness) {
        for number in &self.everybodys {
            let (path, seen) = &self.paths[*number as usize];
            witness.carry(path, *seen, true);
        }
        for (name, digest) in &self.variables {
            witness.carry_variable(name, *digest);
        }
    }

    /// Takes out the target `label`, which reads `inputs`, if it stands: its looks are then those of `witness`.
    pub(crate) fn take<'l>(
        &mut self,
        label: &Label,
        inputs: impl IntoIterator<Item = &'l Label>,
        witness: &mut Witness,
    ) -> Option<(Settled, Detail)> {
        let stand = self.targets.get(label)?;
        if stand.differs || inputs.into_iter().any(|input| self.moved.contains(input)) {
            return None;
        }
        let Stand {
            settled,
            mut detail,
            ..
        } = self.targets.remove(label)?;
        for number in &mut detail.looks {
            let (path, seen) = &self.paths[*number as usize];
            *number = witness.carry(path, *seen, false);
        }
        Some((settled, detail))
    }

    /// Notes that the target `label` has been done, and what it is now.
    pub(crate) fn done(&mut self, label: &Label, now: &Detail) {
        let same = |stand: &Stand| {
            let before = &stand.detail;
            before.artifact.digest() == now.artifact.digest() && before.figures == now.figures
        };
        if !self.targets.get(label).is_some_and(same) {
            self.moved.insert(label.clone());
        }
    }
}
