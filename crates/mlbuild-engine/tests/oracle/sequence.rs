//! One project, from its first build through a few edits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use mlbuild_action::ActionKey;
use mlbuild_digest::Digest;
use mlbuild_engine::{Outcome, Snapshot, Verdict};

use crate::bench::{Bench, Built, Target};
use crate::edit::edit;
use crate::meaning::{Identity, Meaning, meanings};
use crate::memory::Memory;
use crate::world::{World, path};
use mlbuild_testing::Dice;

/// One in so many sequences looks at snapshots, which takes time.
const SETTLES: u64 = 4;

/// A project with its history.
pub(crate) struct Sequence {
    seed: u64,
    dice: Dice,
    world: World,
    /// Every state so far, for going back.
    history: Vec<World>,
    wanted: BTreeSet<String>,
    bench: Bench,
    memory: Memory,
    identities: BTreeMap<ActionKey, Identity>,
    keys: BTreeMap<Identity, ActionKey>,
    /// What the last null build left, of this world and these targets.
    settled: Option<(World, BTreeSet<String>, Snapshot)>,
    log: Vec<String>,
}

impl Sequence {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let world = World::random(&mut dice);
        let mut sequence = Self {
            seed,
            dice,
            history: Vec::new(),
            wanted: BTreeSet::new(),
            bench: Bench::new(),
            memory: Memory::default(),
            identities: BTreeMap::new(),
            keys: BTreeMap::new(),
            settled: None,
            log: vec![world.manifest()],
            world,
        };
        let queries = sequence.world.queries.iter();
        let queries: Vec<_> = queries
            .map(|query| format!("{}: {}", query.name, query.sql()))
            .collect();
        sequence.log.extend(queries);
        sequence.want();
        sequence
    }

    /// Builds, edits, and builds again.
    pub(crate) fn run(&mut self, tally: &mut Tally) {
        self.build(tally);
        for _ in 0..self.dice.between(2, 4) {
            for _ in 0..self.dice.between(1, 2) {
                let said = self.change();
                self.log.push(said);
            }
            self.wanted = self.existing(&self.wanted);
            if self.wanted.is_empty() {
                self.want();
            }
            self.build(tally);
        }
        if self.seed.is_multiple_of(4) {
            self.check_plan();
        }
        if self.seed.is_multiple_of(8) {
            self.compare_with_clean();
        }
    }

    /// The project as it began and what was done to it.
    pub(crate) fn told(&self) -> String {
        self.log.join("\n")
    }

    fn change(&mut self) -> String {
        let broken = self.meanings().iter().any(|meaning| meaning.value.is_err());
        match self.dice.roll(20) {
            _ if broken && self.dice.often(40) => self.revert(),
            0 => self.revert(),
            1 => {
                let source = self.dice.pick(&self.world.sources).name.clone();
                let file = self.bench.root().join(path(&source));
                fs::write(&file, fs::read(&file).unwrap()).unwrap();
                format!("touch {source}")
            }
            2 => self.want(),
            3 => {
                let _ = fs::remove_dir_all(self.bench.root().join("out"));
                self.memory.out.clear();
                "remove out/".to_owned()
            }
            4 => self.spoil(),
            5 => {
                self.bench.relocate();
                "move the project".to_owned()
            }
            6 | 7 => self.lose(),
            _ => edit(&mut self.world, &mut self.dice),
        }
    }

    fn revert(&mut self) -> String {
        let to = self.dice.roll(self.history.len());
        self.world = self.history[to].clone();
        format!("back to build {to}")
    }

    fn want(&mut self) -> String {
        let names: Vec<String> = self.world.names().collect();
        let some = names
            .iter()
            .filter(|_| self.dice.often(40))
            .cloned()
            .collect();
        self.wanted = some;
        self.wanted.insert(self.dice.pick(&names).clone());
        format!("want {:?}", self.wanted)
    }

    fn existing(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        self.world
            .names()
            .filter(|name| names.contains(name))
            .collect()
    }

    /// Writes to a file under `out/`.
    fn spoil(&mut self) -> String {
        let names: Vec<String> = self.memory.out.keys().cloned().collect();
        if names.is_empty() {
            return "nothing".to_owned();
        }
        let name = self.dice.pick(&names).clone();
        fs::write(self.bench.out_file(&name), "spoilt").unwrap();
        self.memory.out.insert(name.clone(), "spoilt".to_owned());
        format!("spoil the artifact of {name}")
    }

    /// Removes something from the cache, or cuts it short.
    fn lose(&mut self) -> String {
        let kind = *self
            .dice
            .pick(&["objects", "results", "listings", "memos", "last"]);
        if kind == "memos" {
            let _ = fs::remove_dir_all(self.bench.root().join(".mlbuild/cache/memos"));
            self.memory.answered.clear();
            self.memory.perhaps_answered.clear();
            self.bench.forget();
            return "lose all memos".to_owned();
        }
        if kind == "last" {
            let _ = fs::remove_dir_all(self.bench.root().join(".mlbuild/cache/last"));
            self.memory.last.clear();
            return "lose what was built last".to_owned();
        }
        let files = self.bench.cached(kind);
        if files.is_empty() {
            return "nothing".to_owned();
        }
        let (file, digest) = self.dice.pick(&files).clone();
        if kind != "listings" && self.dice.often(50) {
            let bytes = fs::read(&file).unwrap();
            // Objects are read-only.
            fs::remove_file(&file).unwrap();
            fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        self.forget(kind, &digest);
        format!("lose one of {kind}: {}", digest.short())
    }

    /// What was cut short before may be lost once more.
    fn forget(&mut self, kind: &str, digest: &Digest) {
        match kind {
            "objects" => {
                self.memory.objects.remove(digest);
            }
            "listings" => {
                self.memory.listings.remove(digest);
            }
            _ => {
                let key = digest.to_string().parse().unwrap();
                self.memory.results.remove(&self.identities[&key]);
            }
        }
    }

    fn meanings(&self) -> Vec<Meaning> {
        meanings(&self.world, &self.existing(&self.wanted))
    }

    fn build(&mut self, tally: &mut Tally) {
        self.history.push(self.world.clone());
        self.bench.declare(&self.world);
        let meanings = self.meanings();
        let fails = meanings.iter().any(|meaning| meaning.value.is_err());
        let keep_going = self.dice.often(70);
        self.log.push(format!(
            "build {} {:?}, keep going: {keep_going}",
            self.history.len() - 1,
            self.wanted
        ));
        let settled = self.settled.take();
        let stands = settled.map(|(world, wanted, snapshot)| {
            world == self.world && wanted == self.wanted && self.bench.stands(&snapshot)
        });
        let built = self.bench.build(&self.wanted, keep_going);
        tally.count(&built);
        if let Some(stands) = stands {
            tally.note(if stands { "snapshot" } else { "no_snapshot" });
            let up_to_date = |target: &Target| target.outcome == Outcome::UpToDate;
            let null = built.executed == 0 && built.targets.values().all(up_to_date);
            assert!(
                null || !stands,
                "the snapshot says that nothing is to be done"
            );
        }
        self.memory
            .check(&meanings, &self.wanted, &built, keep_going || !fails);
        self.check_keys(&meanings, &built);
        self.check_out();
        if fails {
            let failed = built
                .targets
                .values()
                .any(|target| target.outcome == Outcome::Failed);
            assert!(failed, "nothing failed");
        } else {
            self.build_again();
            if self.seed.is_multiple_of(SETTLES) {
                let snapshot = self.bench.settle(&self.wanted);
                self.settled = Some((self.world.clone(), self.wanted.clone(), snapshot));
            }
        }
    }

    /// A null build executes, digests and plans nothing.
    fn build_again(&self) {
        let young = self.bench.young();
        let again = self.bench.build(&self.wanted, false);
        for (name, target) in &again.targets {
            assert_eq!(
                target.outcome,
                Outcome::UpToDate,
                "{name}, built again at once"
            );
        }
        assert_eq!(
            (again.executed, again.planned),
            (0, 0),
            "executed, planned again"
        );
        assert!(
            again.digested <= young,
            "{} files digested again, {young} young",
            again.digested
        );
    }

    /// Two keys are equal exactly where the identities are.
    fn check_keys(&mut self, meanings: &[Meaning], built: &Built) {
        for meaning in meanings {
            let done = !matches!(
                built.targets[&meaning.name].outcome,
                Outcome::Failed | Outcome::Skipped
            );
            let (Ok(made), true) = (&meaning.value, done) else {
                continue;
            };
            let (name, key) = (&meaning.name, self.bench.key(&meaning.name));
            let identity = self
                .identities
                .entry(key)
                .or_insert_with(|| made.identity.clone());
            assert_eq!(
                *identity, made.identity,
                "{name}: one key for two identities"
            );
            let known = self.keys.entry(made.identity.clone()).or_insert(key);
            assert_eq!(*known, key, "{name}: two keys for one identity");
        }
    }

    fn check_out(&self) {
        for (name, expected) in &self.memory.out {
            assert_eq!(
                self.bench.out(name).as_ref(),
                Some(expected),
                "the artifact of {name}"
            );
        }
    }

    /// A plan knows every artifact by the digest that it ought to have, and finds nothing to do.
    fn check_plan(&self) {
        let meanings = self.meanings();
        if meanings.iter().any(|meaning| meaning.value.is_err()) {
            return;
        }
        let planned = self.bench.plan(&self.wanted);
        for meaning in meanings {
            let (verdict, digest) = &planned[&meaning.name];
            assert_eq!(*verdict, Verdict::UpToDate, "{}, planned", meaning.name);
            let made = meaning.value.expect("just looked at");
            assert_eq!(
                *digest,
                Some(made.frame.table().digest()),
                "{}, planned",
                meaning.name
            );
        }
    }

    /// A build in an empty folder places the same artifacts, and finds the same keys.
    fn compare_with_clean(&self) {
        let mut clean = Bench::new();
        clean.declare(&self.world);
        let built = clean.build(&self.wanted, true);
        for meaning in self.meanings() {
            let (name, outcome) = (&meaning.name, built.targets[&meaning.name].outcome);
            if meaning.value.is_err() {
                assert!(
                    matches!(outcome, Outcome::Failed | Outcome::Skipped),
                    "{name}, clean"
                );
            } else if self.memory.last_is(&meaning) {
                assert_eq!(clean.key(name), self.bench.key(name), "{name}, clean");
                if self.wanted.contains(name) {
                    assert_eq!(clean.out(name), self.bench.out(name), "{name}, clean");
                }
            }
        }
    }
}

/// How often what happened.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn count(&mut self, built: &Built) {
        if built.stood > 0 && built.executed > 0 {
            self.note("stood");
        }
        for target in built.targets.values() {
            let unread = if target.unread.is_empty() {
                None
            } else {
                Some("unread")
            };
            let unchanged = if target.unchanged {
                Some("unchanged")
            } else {
                None
            };
            let reasons = target.reasons.iter().copied();
            let outcome = target.outcome.as_str();
            for what in reasons.chain([outcome]).chain(unread).chain(unchanged) {
                self.note(what);
            }
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// What never happens is not tested.
    pub(crate) fn assert_that_everything_happened(&self) {
        let all = [
            "built",
            "restored",
            "up_to_date",
            "failed",
            "skipped",
            "unread",
            "unchanged",
            "never_built",
            "output_missing",
            "query",
            "param",
            "option",
            "files",
            "rows",
            "columns",
            "input_set",
            "plan",
            "snapshot",
            "no_snapshot",
            "stood",
        ];
        for what in all {
            assert!(
                self.0.contains_key(what),
                "{what} never happened: {:?}",
                self.0
            );
        }
    }
}
