use mlbuild_action::{ActionResult, Artifact, Description, Table, Tree, TreeEntry};

use super::*;
use crate::{LastBuild, Pin};

/// A store with one of everything, and a project beside it.
struct Store {
    dir: tempfile::TempDir,
    cache: Cache,
    key: ActionKey,
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let digest = cache.put_bytes(b"some bytes").unwrap();
        let tree = Tree::new(vec![TreeEntry {
            path: "a".to_owned(),
            digest,
            size_bytes: 10,
            executable: false,
        }]);
        let result = ActionResult {
            artifact: Artifact {
                tree: tree.clone(),
                table: None,
            },
            metrics: BTreeMap::new(),
            warnings: Vec::new(),
            duration: Duration::from_millis(7),
        };
        let description = Description::from_parts([("work".to_owned(), "x".to_owned())].into());
        cache.store(&description, &result).unwrap();
        let key = description.key();
        cache.remember_listing(&tree).unwrap();
        let table = Table {
            rows: 1,
            columns: Vec::new(),
            key: Vec::new(),
        };
        cache.remember_table(&table).unwrap();
        cache.remember_memo(&Digest::of(b"memo"), b"value").unwrap();
        let last = LastBuild {
            keys: vec![key],
            ..LastBuild::default()
        };
        cache.set_last_build("data:a", &last).unwrap();
        let pin = Pin {
            name: "v1".to_owned(),
            target: "data:a".to_owned(),
            artifact: tree.digest(),
            keys: [key].into(),
            pinned_at: 0,
        };
        cache.set_pin(&pin).unwrap();
        fs::write(dir.path().join("source"), "source").unwrap();
        let store = Self { dir, cache, key };
        let mut index = store.index();
        index.digest_file("source").unwrap();
        index.save().unwrap();
        store
    }

    #[expect(clippy::disallowed_methods, reason = "files are made now")]
    fn index(&self) -> StatIndex {
        let root = self.dir.path().to_owned();
        StatIndex::load(
            self.cache.stat_index_path(),
            root,
            std::time::SystemTime::now(),
        )
    }

    fn check(&self) -> Vec<(Part, Flaw)> {
        let checked = self.cache.check(self.dir.path(), None).unwrap();
        checked
            .problems
            .into_iter()
            .map(|p| (p.part, p.flaw))
            .collect()
    }

    fn repair(&self) -> Checked {
        let cache = Cache::open_to_check(self.cache.root()).unwrap();
        let lock = cache.try_lock("fsck").unwrap().unwrap();
        cache.check(self.dir.path(), Some(&lock)).unwrap()
    }

    /// The only files of each part, by part.
    fn files(&self) -> Vec<(Part, PathBuf)> {
        let survey = self.cache.survey().unwrap();
        let first = |files: &BTreeMap<Digest, Stored>| files.values().next().unwrap().path.clone();
        vec![
            (Part::Version, self.cache.version_path()),
            (Part::Object, first(&survey.objects)),
            (Part::Result, survey.results[&self.key].file.path.clone()),
            (Part::Listing, first(&survey.listings)),
            (Part::Memo, first(&survey.memos)),
            (Part::LastBuild, survey.last[0].path.clone()),
            (Part::Pin, survey.pins[0].path.clone()),
            (Part::StatIndex, self.cache.stat_index_path()),
        ]
    }
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A kind of damage.
type Damage = fn(&[u8]) -> Vec<u8>;

#[test]
fn a_sound_store_has_no_problem_and_an_absent_one_neither() {
    let store = Store::new();
    assert_eq!(store.check(), []);
    let absent = Cache::open(&store.dir.path().join("absent")).unwrap();
    assert_eq!(
        absent.check(store.dir.path(), None).unwrap(),
        Checked::default()
    );
}

#[test]
fn every_damage_of_every_file_is_found_and_gone_after_a_repair() {
    let damages: [(&str, Damage); 4] = [
        ("flipped", |bytes| {
            let mut bytes = bytes.to_vec();
            bytes[0] ^= 1;
            bytes
        }),
        ("cut", |bytes| bytes[..bytes.len() - 2].to_vec()),
        ("emptied", |_| Vec::new()),
        ("foreign", |_| b"this belongs to somebody else".to_vec()),
    ];
    for (name, damage) in damages {
        for number in 0..Store::new().files().len() {
            let store = Store::new();
            let (part, path) = store.files().swap_remove(number);
            let bytes = fs::read(&path).unwrap();
            // One digit and a line feed: nothing that could be cut is left.
            if part == Part::Version && name == "cut" {
                continue;
            }
            if part == Part::Version && name == "flipped" {
                continue; // another digit: another version, which is refused
            }
            overwrite(&path, &damage(&bytes));
            let found = Cache::open_to_check(store.cache.root()).unwrap();
            let found = found.check(store.dir.path(), None).unwrap().problems;
            let of_part = found.iter().find(|problem| problem.part == part);
            assert_eq!(of_part.unwrap().flaw, Flaw::Damaged, "{name} {part:?}");

            let repaired = store.repair().problems;
            let open = |problem: &&Problem| !problem.repaired;
            let open: Vec<Part> = repaired.iter().filter(open).map(|p| p.part).collect();
            // The pin says what it lost until that is built again.
            let expected: &[Part] = match part {
                Part::Object | Part::Result => &[Part::Pin],
                _ => &[],
            };
            assert_eq!(open, expected, "{name} {part:?}");
            let left: Vec<Part> = store.check().into_iter().map(|(part, _)| part).collect();
            assert_eq!(left, expected, "{name} {part:?}");
        }
    }
}

#[test]
fn a_bad_object_names_the_results_that_it_costs() {
    let store = Store::new();
    let (_, path) = store.files().swap_remove(1);
    overwrite(&path, b"some bytez");
    let problems = store.cache.check(store.dir.path(), None).unwrap().problems;
    let parts: Vec<(Part, &Flaw)> = problems.iter().map(|p| (p.part, &p.flaw)).collect();
    assert_eq!(
        parts,
        [
            (Part::Object, &Flaw::Damaged),
            (Part::Result, &Flaw::Incomplete),
            (Part::Pin, &Flaw::Incomplete)
        ]
    );
    assert_eq!(problems[0].keys, [store.key].into());
    assert_eq!(problems[0].duration, Duration::from_millis(7));
}

#[test]
fn files_that_belong_nowhere_are_found() {
    let store = Store::new();
    let root = store.cache.root();
    let strays = [
        "notes.txt",
        "objects/ab/cd",
        "results/zz.json",
        "last/x",
        "objects/toolong",
    ];
    for stray in strays {
        fs::create_dir_all(root.join(stray).parent().unwrap()).unwrap();
        fs::write(root.join(stray), "?").unwrap();
    }
    assert_eq!(
        store.check(),
        vec![(Part::Stray, Flaw::Foreign); strays.len()]
    );
    store.repair();
    assert_eq!(store.check(), []);
    assert_eq!(
        fs::read_dir(root.join("quarantine")).unwrap().count(),
        strays.len()
    );
}

#[test]
fn a_source_that_changed_unseen_is_named() {
    let store = Store::new();
    let source = store.dir.path().join("source");
    std::thread::sleep(Duration::from_millis(20));
    let mut index = store.index();
    // As if mlbuild had written another content: the one kind of entry that is believed however young it is.
    index.remember(
        &source,
        &TreeEntry {
            path: "source".to_owned(),
            digest: Digest::of(b"another"),
            size_bytes: 6,
            executable: false,
        },
    );
    index.save().unwrap();
    let wrong = Flaw::Wrong(vec!["source".to_owned()]);
    assert_eq!(store.check(), [(Part::StatIndex, wrong)]);
    store.repair();
    assert_eq!(store.check(), []);
}
