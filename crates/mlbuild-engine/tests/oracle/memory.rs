//! What a cache knows, and so what the next build has to do: no more and no less.

use std::collections::{BTreeMap, BTreeSet};

use mlbuild_digest::Digest;
use mlbuild_engine::Outcome;

use crate::bench::Built;
use crate::frame::Frame;
use crate::meaning::{Broken, Identity, Made, Meaning, Question};

/// What is kept between builds.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    /// Results, whether or not their objects are there.
    pub(crate) results: BTreeMap<Identity, Frame>,
    pub(crate) objects: BTreeSet<Digest>,
    /// What each target was when it was last done.
    pub(crate) last: BTreeMap<String, Last>,
    /// Analyses, by what was asked.
    pub(crate) answered: BTreeSet<Question>,
    /// Analyses of targets that a build skipped after a failure, before or after it had looked at them.
    pub(crate) perhaps_answered: BTreeSet<Question>,
    /// Tables whose columns are remembered.
    pub(crate) listings: BTreeSet<Digest>,
    /// The files under `out/`, by target.
    pub(crate) out: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Last {
    identity: Identity,
    inputs: BTreeMap<String, Frame>,
}

/// What a build has to do with a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Must {
    Execute,
    /// Another target of this build executes the same or yields the same bytes: whichever comes first.
    ExecuteOrTake,
    Take,
    Fail,
    Skip,
}

impl Memory {
    /// Holds a build to what it had to do, and remembers what it did. `complete` unless it stopped at a failure.
    pub(crate) fn check(
        &mut self,
        meanings: &[Meaning],
        wanted: &BTreeSet<String>,
        built: &Built,
        complete: bool,
    ) {
        let needed: BTreeSet<&String> = meanings.iter().map(|meaning| &meaning.name).collect();
        assert_eq!(built.targets.keys().collect::<BTreeSet<_>>(), needed);
        let musts: Vec<Must> = meanings.iter().map(|it| self.must(it, meanings)).collect();
        let before = self.clone();
        self.remember_executed(meanings, built);
        let mut failed = 0;
        for (meaning, must) in meanings.iter().zip(&musts) {
            let name = &meaning.name;
            let target = &built.targets[name];
            if !complete && target.outcome == Outcome::Skipped {
                continue;
            }
            let taken = before.taken(meaning, wanted);
            let expected: &[Outcome] = match must {
                Must::Execute => &[Outcome::Built],
                Must::ExecuteOrTake => &[Outcome::Built, taken],
                Must::Take => &[taken],
                Must::Fail => &[Outcome::Failed],
                Must::Skip => &[Outcome::Skipped],
            };
            let outcome = target.outcome;
            assert!(
                expected.contains(&outcome),
                "{name}: {outcome:?}, not {expected:?}; {target:?}"
            );
            failed += u64::from(meaning.value.as_ref().err() == Some(&Broken::Execution));
            if let Ok(made) = &meaning.value {
                assert!(self.is_hit(made), "{name}: nobody executed it");
                self.check_explanation(&before, meaning, made, built);
                self.publish(meaning, made, wanted, outcome);
            }
        }
        let count = built
            .targets
            .values()
            .filter(|target| target.outcome == Outcome::Built);
        assert_eq!(built.executed, count.count() as u64 + failed, "executions");
        self.check_planned(meanings, built, complete);
    }

    /// Whether the target was last done as what it is now.
    pub(crate) fn last_is(&self, meaning: &Meaning) -> bool {
        let made = meaning.value.as_ref().ok();
        let last = self.last.get(&meaning.name);
        last.map(|last| &last.identity) == made.map(|made| &made.identity)
    }

    fn must(&self, meaning: &Meaning, all: &[Meaning]) -> Must {
        let made = match &meaning.value {
            Ok(made) => made,
            Err(Broken::Input) => return Must::Skip,
            Err(Broken::Name | Broken::Execution) => return Must::Fail,
        };
        if self.is_hit(made) {
            return Must::Take;
        }
        let others = all.iter().filter(|other| other.name != meaning.name);
        let mut missing = others.filter_map(|other| other.value.as_ref().ok());
        let shared = missing.any(|other| {
            let revives = self.results.contains_key(&made.identity)
                && other.frame.object() == made.frame.object();
            !self.is_hit(other) && (other.identity == made.identity || revives)
        });
        match shared {
            true => Must::ExecuteOrTake,
            false => Must::Execute,
        }
    }

    fn is_hit(&self, made: &Made) -> bool {
        self.results.contains_key(&made.identity) && self.objects.contains(&made.frame.object())
    }

    /// What becomes of a target whose result is there.
    fn taken(&self, meaning: &Meaning, wanted: &BTreeSet<String>) -> Outcome {
        let Ok(made) = &meaning.value else {
            return Outcome::Failed;
        };
        let same = self.last_is(meaning);
        let stands = self.out.get(&meaning.name) == Some(&made.frame.csv());
        match same && (stands || !wanted.contains(&meaning.name)) {
            true => Outcome::UpToDate,
            false => Outcome::Restored,
        }
    }

    fn remember_executed(&mut self, meanings: &[Meaning], built: &Built) {
        for meaning in meanings {
            let target = &built.targets[&meaning.name];
            if let (Ok(made), Outcome::Built) = (&meaning.value, target.outcome) {
                self.results
                    .insert(made.identity.clone(), made.frame.clone());
                self.objects.insert(made.frame.object());
            }
            if let (Ok(made), true) = (&meaning.value, is_new(target.outcome)) {
                self.listings.insert(made.frame.table().digest());
            }
        }
    }

    fn publish(
        &mut self,
        meaning: &Meaning,
        made: &Made,
        wanted: &BTreeSet<String>,
        outcome: Outcome,
    ) {
        assert!(!matches!(outcome, Outcome::Failed | Outcome::Skipped));
        let last = Last {
            identity: made.identity.clone(),
            inputs: meaning.inputs.clone(),
        };
        self.last.insert(meaning.name.clone(), last);
        if wanted.contains(&meaning.name) {
            self.out.insert(meaning.name.clone(), made.frame.csv());
        }
    }

    /// Reasons, what changed unread, and whether it came out as before. `self` is after the executions of the build.
    fn check_explanation(&self, before: &Self, meaning: &Meaning, made: &Made, built: &Built) {
        let name = &meaning.name;
        let target = &built.targets[name];
        let last = before.last.get(name);
        // What is lost before and there again afterwards may have been there in time.
        let sure = |was: bool, is: bool| was == is;
        let known =
            |memory: &Self| last.is_some_and(|last| memory.results.contains_key(&last.identity));
        if sure(known(before), known(self)) || target.outcome == Outcome::UpToDate {
            let expected = reasons(last, made, known(before), target.outcome);
            assert_eq!(
                target.reasons, expected,
                "{name}: reasons of {:?}",
                target.outcome
            );
        }
        if target.outcome == Outcome::Built {
            assert!(!target.reasons.is_empty(), "{name}: built without a reason");
            let as_before = last.and_then(|last| self.results.get(&last.identity));
            let as_before = as_before.is_some_and(|frame| *frame == made.frame);
            assert!(
                target.unchanged == as_before || !sure(known(before), known(self)),
                "{name}: unchanged is {}",
                target.unchanged
            );
        }
        let Identity::Sql { inputs, .. } = &made.identity else {
            return;
        };
        for (input, seen) in inputs {
            let old = last.and_then(|last| last.inputs.get(input));
            let listed =
                |memory: &Self, frame: &Frame| memory.listings.contains(&frame.table().digest());
            if let Some(old) = old
                && !sure(listed(before, old), listed(self, old))
            {
                continue;
            }
            let old = old.filter(|old| listed(before, old));
            let new = &meaning.inputs[input];
            let expected = old.map_or_else(BTreeSet::new, |old| changed(old, new, &seen.columns));
            let told = target.unread.get(input).cloned().unwrap_or_default();
            assert_eq!(told, expected, "{name}: changed in {input} and not read");
        }
    }

    /// Each question is asked once, and never again.
    fn check_planned(&mut self, meanings: &[Meaning], built: &Built, complete: bool) {
        let (mut most, mut perhaps) = (0, 0);
        for meaning in meanings {
            let Some(question) = &meaning.question else {
                continue;
            };
            let skipped = built.targets[&meaning.name].outcome == Outcome::Skipped;
            let answers = meaning.value.as_ref().err() != Some(&Broken::Name);
            if answers && self.answered.contains(question) {
                continue;
            }
            most += 1;
            let asked_before = self.perhaps_answered.contains(question);
            perhaps += u64::from(asked_before || (skipped && !complete));
            if answers && skipped {
                self.perhaps_answered.insert(question.clone());
            } else if answers {
                self.perhaps_answered.remove(question);
                self.answered.insert(question.clone());
            }
        }
        let expected = most - perhaps..=most;
        assert!(
            expected.contains(&built.planned),
            "{} queries planned, not {expected:?}",
            built.planned
        );
    }
}

fn is_new(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Built | Outcome::Restored)
}

/// The kinds of reasons that an explanation must have, all of them and no other.
fn reasons(
    last: Option<&Last>,
    made: &Made,
    known: bool,
    outcome: Outcome,
) -> BTreeSet<&'static str> {
    let Some(last) = last else {
        return BTreeSet::from(["never_built"]);
    };
    let same = last.identity == made.identity;
    match outcome {
        Outcome::Built if same || !known => BTreeSet::from(["output_missing"]),
        Outcome::Built | Outcome::Restored if known => differences(&last.identity, &made.identity),
        _ => BTreeSet::new(),
    }
}

fn differences(old: &Identity, new: &Identity) -> BTreeSet<&'static str> {
    let mut kinds = BTreeSet::new();
    let mut differ = |kind, differs: bool| {
        if differs {
            kinds.insert(kind);
        }
    };
    match (old, new) {
        (
            Identity::Ingest { path, csv, key },
            Identity::Ingest {
                path: path_now,
                csv: csv_now,
                key: key_now,
            },
        ) => {
            differ("files", (path, csv) != (path_now, csv_now));
            differ("option", key != key_now);
        }
        (
            Identity::Sql { work, plan, inputs },
            Identity::Sql {
                work: work_now,
                plan: plan_now,
                inputs: inputs_now,
            },
        ) => {
            differ("query", work.code != work_now.code);
            differ("param", work.params != work_now.params);
            differ("option", work.key != work_now.key);
            differ("input_set", !inputs.keys().eq(inputs_now.keys()));
            for (input, seen) in inputs {
                if let Some(now) = inputs_now.get(input) {
                    differ("rows", seen.rows != now.rows);
                    differ("columns", seen.columns != now.columns);
                }
            }
            if kinds.is_empty() && plan != plan_now {
                kinds.insert("plan");
            }
        }
        _ => unreachable!("a source stays a source"),
    }
    kinds
}

/// The columns in which two tables differ and that are not `read`.
fn changed(old: &Frame, new: &Frame, read: &BTreeMap<String, Vec<i64>>) -> BTreeSet<String> {
    let (old, new) = (old.by_name(), new.by_name());
    let names = old.keys().chain(new.keys());
    let unread = names.filter(|name| !read.contains_key(*name));
    let changed = unread.filter(|name| old.get(*name) != new.get(*name));
    changed.cloned().collect()
}
