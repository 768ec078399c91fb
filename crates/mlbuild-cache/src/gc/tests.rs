use std::fs::File;

use mlbuild_action::{ActionResult, Artifact, Description, Tree, TreeEntry};

use super::*;

/// A store with named results, each with the files given, all a day old.
struct Store {
    _dir: tempfile::TempDir,
    cache: Cache,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        Self { _dir: dir, cache }
    }

    /// Stores the result `name` with these contents; `millis` is how long it took.
    fn result(&self, name: &str, contents: &[&str], millis: u64) -> ActionKey {
        let entries = contents.iter().enumerate().map(|(i, content)| TreeEntry {
            path: format!("file{i}"),
            digest: self.cache.put_bytes(content.as_bytes()).unwrap(),
            size_bytes: content.len() as u64,
            executable: false,
        });
        let result = ActionResult {
            artifact: Artifact {
                tree: Tree::new(entries.collect()),
                table: None,
            },
            metrics: BTreeMap::new(),
            warnings: Vec::new(),
            duration: Duration::from_millis(millis),
        };
        let description = description(name);
        self.cache.store(&description, &result).unwrap();
        description.key()
    }

    /// Makes every file older.
    fn age(&self, by: Duration) {
        let survey = self.cache.survey().unwrap();
        let results = survey.results.values().map(|result| &result.file);
        let files = results
            .chain(survey.objects.values())
            .chain(survey.listings.values())
            .chain(survey.memos.values())
            .chain(&survey.last)
            .chain(&survey.quarantine);
        for file in files {
            let times = File::open(&file.path).unwrap();
            times.set_modified(file.modified - by).unwrap();
        }
    }

    fn collect(&self, keep: &Keep, max_size_bytes: Option<u64>) -> Garbages {
        let garbage = self.cache.garbage(keep, &limits(max_size_bytes)).unwrap();
        let lock = self.cache.try_lock("gc").unwrap().unwrap();
        let gone = self.cache.remove(&garbage, &lock, &mut || true).unwrap();
        assert_eq!(gone, garbage.before_bytes - garbage.after_bytes);
        garbage
    }

    fn has(&self, name: &str) -> bool {
        let found = self.cache.lookup(&description(name).key());
        found.unwrap().is_some()
    }

    fn objects(&self) -> usize {
        self.cache.survey().unwrap().objects.len()
    }
}

fn description(name: &str) -> Description {
    Description::from_parts([("work".to_owned(), name.to_owned())].into())
}

fn limits(max_size_bytes: Option<u64>) -> Limits {
    Limits {
        now: now(),
        grace: Duration::from_secs(3600),
        max_size_bytes,
    }
}

#[expect(clippy::disallowed_methods, reason = "files are made now")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn keep(current: &[ActionKey], history: &[ActionKey]) -> Keep {
    Keep {
        current: current.iter().copied().collect(),
        history: history.iter().copied().collect(),
        ..Keep::default()
    }
}

#[test]
fn what_is_kept_stays_with_its_objects_and_the_rest_goes_with_its_own() {
    let store = Store::new();
    let current = store.result("current", &["shared", "one"], 1);
    let pinned = store.result("pinned", &["two"], 1);
    store.result("old", &["shared", "three"], 1);
    store.cache.put_bytes(b"left by a failed build").unwrap();
    store.age(DAY);
    let keep = Keep {
        pinned: [pinned].into(),
        ..keep(&[current], &[])
    };
    let garbage = store.collect(&keep, None);
    assert_eq!(garbage.results.len(), 1);
    assert_eq!(garbage.unnamed.size_bytes, 22);
    assert!(store.has("current") && store.has("pinned") && !store.has("old"));
    assert_eq!(store.objects(), 3, "shared, one, two");
    assert_eq!(
        store.collect(&keep, None).results,
        [],
        "nothing is left to do"
    );
}

#[test]
fn what_is_young_stays_and_storing_again_makes_it_young() {
    let store = Store::new();
    store.result("old", &["old"], 1);
    let loose = store.cache.put_bytes(b"loose").unwrap();
    store.age(DAY);
    store.result("young", &["young"], 1);
    store.cache.put_bytes(b"loose").unwrap();
    store.collect(&Keep::default(), None);
    assert!(store.has("young") && !store.has("old"));
    assert!(store.cache.contains(&loose, 5), "stored again a moment ago");

    store.age(DAY);
    store.result("young", &["young"], 1);
    store.collect(&Keep::default(), None);
    assert!(store.has("young"), "its result was stored again");
}

#[test]
fn room_is_made_cheapest_a_byte_first_and_never_from_what_is_needed() {
    let store = Store::new();
    let big = "x".repeat(10_000);
    let current = store.result("current", &[&format!("{big}0")], 1);
    let cheap = store.result("cheap", &[&format!("{big}1")], 10);
    let dear = store.result("dear", &[&format!("{big}2")], 10_000);
    let pinned = store.result("pinned", &[&format!("{big}3")], 0);
    let keep = Keep {
        pinned: [pinned].into(),
        ..keep(&[current], &[cheap, dear, pinned])
    };
    store.age(DAY);
    let all = store.cache.survey().unwrap().size_bytes();
    assert_eq!(store.collect(&keep, Some(all)).results, []);
    let garbage = store.collect(&keep, Some(all - 1));
    assert_eq!(garbage.results.len(), 1);
    assert!(garbage.results[0].evicted);
    assert!(!store.has("cheap") && store.has("dear"));
    let garbage = store.collect(&keep, Some(1));
    assert!(garbage.after_bytes > 1, "it cannot be done, and shows");
    assert!(store.has("current") && store.has("pinned") && !store.has("dear"));
}

#[test]
fn of_two_results_with_one_object_the_second_frees_it() {
    let store = Store::new();
    let big = "x".repeat(10_000);
    let a = store.result("a", &[&big], 1);
    let b = store.result("b", &[&big], 1);
    store.age(DAY);
    let garbage = store.collect(&keep(&[], &[a, b]), Some(0));
    let sizes: Vec<bool> = garbage
        .results
        .iter()
        .map(|g| g.size_bytes > 10_000)
        .collect();
    assert_eq!(sizes, [false, true]);
    assert_eq!(store.objects(), 0);
}

#[test]
fn wherever_it_stops_no_result_lacks_an_object() {
    for steps in 0.. {
        let store = Store::new();
        let current = store.result("current", &["shared", "one"], 1);
        store.result("old", &["shared", "two"], 1);
        store.result("older", &["two", "three"], 1);
        store.age(DAY);
        let keep = keep(&[current], &[]);
        let garbage = store.cache.garbage(&keep, &limits(None)).unwrap();
        let lock = store.cache.try_lock("gc").unwrap().unwrap();
        let mut left = steps;
        let mut go_on = || {
            left -= 1;
            left >= 0
        };
        store.cache.remove(&garbage, &lock, &mut go_on).unwrap();
        drop(lock);
        for (key, result) in store.cache.survey().unwrap().results {
            let all = result.objects.iter();
            let mut all = all.map(|(digest, size)| store.cache.contains(digest, *size));
            assert!(all.all(|there| there), "{key} after {steps} steps");
        }
        store.collect(&keep, None);
        assert_eq!(store.objects(), 2, "after {steps} steps and once more");
        if left > 0 {
            break;
        }
    }
}

#[test]
fn listings_go_with_the_last_result_that_mentions_them() {
    let store = Store::new();
    let tree = |name: &str| {
        Tree::new(vec![TreeEntry {
            path: name.to_owned(),
            digest: Digest::of(name.as_bytes()),
            size_bytes: 1,
            executable: false,
        }])
    };
    let (read, unread) = (tree("read"), tree("unread"));
    store.cache.remember_listing(&read).unwrap();
    store.cache.remember_listing(&unread).unwrap();
    let key = store.result(&format!("tree {}", read.digest()), &[], 1);
    store.age(DAY);
    store.collect(&keep(&[key], &[]), None);
    assert!(store.cache.listing(&read.digest()).is_some());
    assert!(store.cache.listing(&unread.digest()).is_none());
}

#[test]
fn memos_and_quarantine_go_by_age() {
    let store = Store::new();
    let (memo, object) = (
        Digest::of(b"memo"),
        store.cache.put_bytes(b"object").unwrap(),
    );
    store.cache.remember_memo(&memo, b"value").unwrap();
    store.cache.quarantine(&store.cache.object_path(&object));
    store.age(29 * DAY);
    store.collect(&Keep::default(), None);
    assert_eq!(store.cache.survey().unwrap().quarantine.len(), 1);
    store.age(DAY);
    store.collect(&Keep::default(), None);
    assert_eq!(store.cache.survey().unwrap().quarantine.len(), 0);
    assert!(store.cache.memo(&memo).is_some());
    store.age(60 * DAY);
    store.collect(&Keep::default(), None);
    assert!(store.cache.memo(&memo).is_none());
}

/// Leaves a checkpoint of this size and age for the action `name`.
fn checkpoint(store: &Store, name: &str, size: usize, age: Duration) -> ActionKey {
    let key = description(name).key();
    let folder = store.cache.checkpoint_path("model:recs", &key);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("state"), vec![0; size]).unwrap();
    let file = File::options()
        .write(true)
        .open(folder.join("state"))
        .unwrap();
    file.set_modified(now() - age).unwrap();
    key
}

#[test]
fn a_checkpoint_stays_as_long_as_somebody_may_go_on_from_it() {
    let store = Store::new();
    let wanted = checkpoint(&store, "wanted", 10, 30 * DAY);
    let done = store.result("done", &["done"], 1);
    checkpoint(&store, "done", 20, DAY);
    let old = checkpoint(&store, "old", 40, 8 * DAY);
    let recent = checkpoint(&store, "recent", 80, DAY);
    let young = checkpoint(&store, "young", 160, Duration::ZERO);
    let left = |store: &Store| {
        let survey = store.cache.survey().unwrap();
        let keys = survey.checkpoints.iter().map(|it| it.checkpoint.key);
        keys.collect::<BTreeSet<ActionKey>>()
    };
    let current = keep(&[wanted, done], &[]);
    let garbage = store.collect(&current, None);
    let sizes = garbage.checkpoints.iter().map(|it| it.files.size_bytes);
    assert_eq!(sizes.collect::<Vec<_>>(), [40, 20], "oldest first");
    assert_eq!(left(&store), [wanted, recent, young].into());
    assert!(!left(&store).contains(&old));

    let garbage = store.collect(&current, Some(1));
    assert_eq!(garbage.checkpoints.len(), 1, "room is made from it");
    assert_eq!(left(&store), [wanted, young].into());
}
