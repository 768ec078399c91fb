#![expect(
    clippy::disallowed_methods,
    reason = "tests stand where the binary does, which has a clock"
)]

use std::fs::FileTimes;

use super::*;

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a file whose mtime lies an hour back; its ctime is now.
    fn write(&self, name: &str, content: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(hour_ago))
            .unwrap();
    }

    fn index_path(&self) -> PathBuf {
        self.0.path().join("cache/stat-index")
    }

    fn load(&self) -> StatIndex {
        StatIndex::load(
            self.index_path(),
            self.0.path().to_owned(),
            SystemTime::now(),
        )
    }

    /// Makes the index file `seconds` newer than now (or older), as the racy rule sees it.
    fn shift_index(&self, seconds: i64) {
        let now = SystemTime::now();
        let shift = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 {
            now - shift
        } else {
            now + shift
        };
        let file = fs::File::options()
            .write(true)
            .open(self.index_path())
            .unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }
}

/// An index of two files.
pub(crate) fn bytes() -> Vec<u8> {
    let project = Project::new();
    project.write("raw", "a");
    project.write("ä.csv", "id\n1\n");
    let mut index = project.load();
    index.digest_file("raw").unwrap();
    index.digest_file("ä.csv").unwrap();
    index.save().unwrap();
    fs::read(project.index_path()).unwrap()
}

#[test]
fn an_unchanged_file_is_digested_once() {
    let project = Project::new();
    project.write("a.csv", "id\n1\n");
    let mut index = project.load();
    let first = index.digest_file("a.csv").unwrap();
    assert_eq!(first.digest, Digest::of(b"id\n1\n"));
    assert_eq!(index.digest_file("a.csv").unwrap(), first);
    assert_eq!(
        index.looks(),
        Looks {
            stats: 2,
            digested: 1
        }
    );
    index.save().unwrap();
    project.shift_index(10);

    let mut index = project.load();
    assert_eq!(index.digest_file("a.csv").unwrap(), first);
    assert_eq!(
        index.looks(),
        Looks {
            stats: 1,
            digested: 0
        }
    );
}

#[test]
fn an_unchanged_index_is_not_written() {
    let project = Project::new();
    project.write("a", "a");
    let mut index = project.load();
    index.save().unwrap();
    assert!(!project.index_path().exists());
    index.digest_file("a").unwrap();
    index.save().unwrap();
    project.shift_index(10);
    let before = fs::metadata(project.index_path()).unwrap().ino();
    let mut index = project.load();
    index.digest_file("a").unwrap();
    index.save().unwrap();
    assert_eq!(fs::metadata(project.index_path()).unwrap().ino(), before);
}

#[test]
fn a_change_that_keeps_size_and_mtime_is_seen() {
    let project = Project::new();
    project.write("a", "one");
    let mut index = project.load();
    index.digest_file("a").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    project.write("a", "two");
    assert_eq!(
        index.digest_file("a").unwrap().digest,
        Digest::of(b"two"),
        "by its ctime"
    );
}

#[test]
fn a_file_not_older_than_the_index_is_digested_again() {
    let project = Project::new();
    project.write("a", "a");
    let mut index = project.load();
    index.digest_file("a").unwrap();
    index.save().unwrap();
    project.shift_index(-10);
    let mut index = project.load();
    index.digest_file("a").unwrap();
    assert_eq!(index.looks().digested, 1);
}

#[test]
fn a_young_file_changed_within_its_tick_is_forgotten_on_save() {
    let project = Project::new();
    project.write("a", "one");
    let mut index = project.load();
    index.digest_file("a").unwrap();
    fs::write(project.0.path().join("a"), "two").unwrap();
    // As if the clock had not ticked between digest and change.
    let stat = Stat::of(&fs::metadata(project.0.path().join("a")).unwrap());
    index.entries.get_mut("a").unwrap().stat = stat;
    index.save().unwrap();
    project.shift_index(10);
    assert_eq!(
        project.load().digest_file("a").unwrap().digest,
        Digest::of(b"two")
    );
}

#[test]
fn a_file_changed_during_a_run_is_named() {
    let project = Project::new();
    project.write("a", "a");
    project.write("b", "b");
    let mut index = project.load();
    let before: Vec<_> = ["a", "b"]
        .map(|name| (name, index.digest_file(name).unwrap()))
        .into();
    assert_eq!(index.verify_unchanged(before.iter().copied()), None);
    project.write("b", "c");
    assert_eq!(index.verify_unchanged(before.iter().copied()), Some("b"));
    fs::remove_file(project.0.path().join("a")).unwrap();
    assert_eq!(index.verify_unchanged(before.iter().copied()), Some("a"));
}

/// What was changed and changed back may have been read in between.
#[test]
fn a_file_that_is_as_it_was_again_was_touched() {
    let project = Project::new();
    project.write("a", "a");
    project.write("b", "b");
    let mut index = project.load();
    let before = ["a", "b"].map(|path| (path, index.digest_file(path).unwrap()));
    assert_eq!(index.verify_untouched(before), None);
    fs::remove_file(project.0.path().join("b")).unwrap();
    assert_eq!(index.verify_untouched(before), Some("b"));
    fs::write(project.0.path().join("b"), "b").unwrap();
    assert_eq!(index.verify_unchanged(before), None);
    for _ in 0..2 {
        assert_eq!(index.verify_untouched(before), Some("b"));
    }
    fs::write(project.0.path().join("a"), "c").unwrap();
    fs::write(project.0.path().join("a"), "a").unwrap();
    assert_eq!(index.verify_untouched(before), Some("a"));
    // For a build that begins now it is a file like any other.
    let mut index = project.load();
    let before = ["a", "b"].map(|path| (path, index.digest_file(path).unwrap()));
    assert_eq!(index.verify_untouched(before), None);
}

#[test]
fn a_damaged_index_is_an_empty_one() {
    let project = Project::new();
    project.write("a", "a");
    let mut index = project.load();
    index.digest_file("a").unwrap();
    index.save().unwrap();
    let whole = fs::read(project.index_path()).unwrap();
    assert_eq!(format::decode(&whole).unwrap().len(), 1);
    for i in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[i] ^= 1;
        assert!(format::decode(&damaged).is_none(), "byte {i}");
        assert!(format::decode(&whole[..i]).is_none(), "cut at {i}");
    }
    fs::write(project.index_path(), &whole[..20]).unwrap();
    assert_eq!(
        project.load().digest_file("a").unwrap().digest,
        Digest::of(b"a")
    );
}

#[test]
fn a_folder_and_an_absent_file_are_errors() {
    let project = Project::new();
    fs::create_dir(project.0.path().join("folder")).unwrap();
    let mut index = project.load();
    let kind = |answer: io::Result<FileDigest>| answer.unwrap_err().kind();
    assert_eq!(
        kind(index.digest_file("folder")),
        io::ErrorKind::InvalidInput
    );
    assert_eq!(kind(index.digest_file("absent")), io::ErrorKind::NotFound);
}
