#![expect(
    clippy::disallowed_methods,
    reason = "tests stand where the binary does, which has a clock"
)]

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::SystemTime;

use super::*;

struct Project {
    dir: tempfile::TempDir,
    cache: Cache,
}

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        Self { dir, cache }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn index(&self) -> StatIndex {
        let root = self.dir.path().to_owned();
        StatIndex::load(self.cache.stat_index_path(), root, SystemTime::now())
    }

    fn stands(&self, tree: &Tree, to: Destination<'_>) -> bool {
        let standing = self.cache.standing(tree, to, &mut self.index());
        standing.is_some()
    }

    /// Ingests files given by path and content; a path that ends in `*` is executable.
    fn tree(&self, files: &[(&str, &str)]) -> Tree {
        let scratch = self.cache.scratch().unwrap();
        for (path, content) in files {
            let full = scratch.path().join(path.trim_end_matches('*'));
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            fs::write(&full, content).unwrap();
            if path.ends_with('*') {
                fs::set_permissions(&full, Permissions::from_mode(0o755)).unwrap();
            }
        }
        self.cache.ingest_folder(scratch.path()).unwrap()
    }

    fn names(&self, relative: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(relative)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_tree_goes_in_sorted_and_comes_out_the_same() {
    let project = Project::new();
    let tree = project.tree(&[
        ("b.txt", "b"),
        ("a/deep/c", "c"),
        ("a/run.sh*", "#!"),
        ("a-b", ""),
    ]);
    let paths: Vec<_> = tree
        .entries()
        .iter()
        .map(|entry| entry.path.as_str())
        .collect();
    assert_eq!(paths, ["a-b", "a/deep/c", "a/run.sh", "b.txt"]);

    for mode in [MaterializeMode::Copy, MaterializeMode::Link] {
        let out = project.path("out/model/recs");
        project
            .cache
            .materialize(&tree, Destination::Folder(&out), mode)
            .unwrap();
        assert_eq!(fs::read_to_string(out.join("a/deep/c")).unwrap(), "c");
        let mode_of = |name: &str| out.join(name).metadata().unwrap().mode() & 0o777;
        let (file, program) = match mode {
            MaterializeMode::Copy => (0o644, 0o755),
            MaterializeMode::Link => (0o444, 0o555),
        };
        assert_eq!((mode_of("b.txt"), mode_of("a/run.sh")), (file, program));
    }
    assert_eq!(
        project.names("out/model"),
        ["recs"],
        "nothing is left aside"
    );
}

#[test]
fn writing_to_a_copy_leaves_the_object_alone() {
    let project = Project::new();
    let tree = project.tree(&[("table.parquet", "v1")]);
    let out = project.path("out/t.parquet");
    project
        .cache
        .materialize(&tree, Destination::File(&out), MaterializeMode::Copy)
        .unwrap();
    fs::write(&out, "mine").unwrap();
    assert_eq!(
        project.cache.read(&tree.entries()[0].digest).unwrap(),
        b"v1"
    );
}

#[test]
fn what_is_no_regular_file_is_refused_before_anything_moves() {
    let project = Project::new();
    let scratch = project.cache.scratch().unwrap();
    let (file, link) = (scratch.path().join("a"), scratch.path().join("b"));
    fs::write(&file, "a").unwrap();
    symlink("/etc/passwd", &link).unwrap();
    let error = project.cache.ingest_folder(scratch.path()).unwrap_err();
    assert!(
        matches!(&error, CacheError::NotAFile { path, .. } if *path == link),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .ends_with("is a symbolic link; an artifact has regular files only")
    );
    assert!(file.exists());
}

#[test]
fn files_and_folders_replace_each_other() {
    let project = Project::new();
    let one = project.tree(&[("x", "one")]);
    let two = project.tree(&[("x", "two"), ("y", "two")]);
    let out = project.path("out/it");
    let (file, folder) = (Destination::File(&out), Destination::Folder(&out));
    for (tree, to) in [
        (&one, file),
        (&two, folder),
        (&one, folder),
        (&one, file),
        (&one, file),
    ] {
        project
            .cache
            .materialize(tree, to, MaterializeMode::Copy)
            .unwrap();
        assert!(project.stands(tree, to));
        assert_eq!(project.names("out"), ["it"]);
    }
    let error = project
        .cache
        .materialize(&two, file, MaterializeMode::Copy)
        .unwrap_err();
    assert!(
        matches!(error, CacheError::NotOneFile { files: 2, .. }),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), "one");
}

#[test]
fn a_failure_leaves_the_old_content() {
    let project = Project::new();
    let old = project.tree(&[("a", "old a"), ("b", "old b")]);
    let new = project.tree(&[("a", "new a"), ("b", "new b")]);
    let out = project.path("out/it");
    let to = Destination::Folder(&out);
    project
        .cache
        .materialize(&old, to, MaterializeMode::Copy)
        .unwrap();

    // The second object is gone: the first is already aside when that shows.
    fs::remove_file(project.cache.object_path(&new.entries()[1].digest)).unwrap();
    let error = project
        .cache
        .materialize(&new, to, MaterializeMode::Copy)
        .unwrap_err();
    assert!(matches!(error, CacheError::BadObject { .. }), "{error}");
    assert!(project.stands(&old, to));
    assert_eq!(project.names("out"), ["it"]);
}

#[test]
fn readers_see_the_old_or_the_new_and_never_neither() {
    let project = Project::new();
    let trees = [
        project.tree(&[("a", "0"), ("b", "0")]),
        project.tree(&[("a", "1"), ("b", "1")]),
    ];
    let out = project.path("out/it");
    let to = Destination::Folder(&out);
    project
        .cache
        .materialize(&trees[0], to, MaterializeMode::Copy)
        .unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert!(out.symlink_metadata().is_ok(), "`out/it` is always there");
            }
        });
        for i in 0..50 {
            project
                .cache
                .materialize(&trees[i % 2], to, MaterializeMode::Copy)
                .unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_second_publish_writes_and_reads_nothing() {
    let project = Project::new();
    let tree = project.tree(&[("model.json", "{}"), ("model.safetensors", "weights")]);
    let out = project.path("out/model/recs");
    let to = Destination::Folder(&out);
    let mut index = project.index();
    assert_eq!(project.cache.standing(&tree, to, &mut index), None);
    project.cache.publish(&tree, to, &mut index).unwrap();
    index.save().unwrap();

    let mut index = project.index();
    let folders = project.cache.standing(&tree, to, &mut index);
    assert_eq!(folders.unwrap().len(), 1);
    assert_eq!((index.looks().stats, index.looks().digested), (2, 0));
}

#[test]
fn any_difference_in_the_output_is_seen() {
    let project = Project::new();
    let tree = project.tree(&[("a", "a"), ("b", "b")]);
    let out = project.path("out/it");
    let to = Destination::Folder(&out);
    let mut index = project.index();
    let edits: [&dyn Fn(); 5] = [
        &|| fs::write(out.join("a"), "x").unwrap(),
        &|| fs::write(out.join("c"), "more").unwrap(),
        &|| fs::remove_file(out.join("b")).unwrap(),
        &|| fs::set_permissions(out.join("a"), Permissions::from_mode(0o755)).unwrap(),
        &|| fs::remove_dir_all(&out).unwrap(),
    ];
    for (i, edit) in edits.iter().enumerate() {
        project.cache.publish(&tree, to, &mut index).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        edit();
        let standing = project.cache.standing(&tree, to, &mut index);
        assert_eq!(standing, None, "edit {i}");
    }
}

/// Changes a byte of an object, which keeps its size.
fn damage(project: &Project, entry: &TreeEntry) {
    let path = project.cache.object_path(&entry.digest);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
}

#[test]
fn damaged_bytes_are_never_handed_out_and_all_of_them_are_set_aside() {
    for mode in [MaterializeMode::Copy, MaterializeMode::Link] {
        let mut project = Project::new();
        let tree = project.tree(&[("a", "1"), ("b*", "2"), ("c", "3")]);
        // Another process, which has written none of this.
        project.cache = Cache::open(project.cache.root()).unwrap();
        for entry in &tree.entries()[1..] {
            damage(&project, entry);
        }
        let out = project.path("out");
        let given = project
            .cache
            .materialize(&tree, Destination::Folder(&out), mode);
        assert!(
            matches!(given, Err(CacheError::BadObject { .. })),
            "{mode:?}"
        );
        assert_eq!(project.names(""), ["cache"], "nothing was handed out");
        assert_eq!(project.names("cache/quarantine").len(), 2);
        let again = project.tree(&[("a", "1"), ("b*", "2"), ("c", "3")]);
        assert_eq!(again, tree);
        project
            .cache
            .materialize(&tree, Destination::Folder(&out), mode)
            .unwrap();
    }
}

#[test]
fn storing_the_same_bytes_heals_a_damaged_object() {
    let mut project = Project::new();
    let tree = project.tree(&[("a", "1")]);
    damage(&project, &tree.entries()[0]);
    project.cache = Cache::open(project.cache.root()).unwrap();
    assert_eq!(project.tree(&[("a", "1")]), tree);
    assert_eq!(project.cache.read(&tree.entries()[0].digest).unwrap(), b"1");
}

/// As on a file system that takes `A` and `a` for one name.
#[test]
fn two_files_of_one_name_are_an_error_and_not_the_last_of_them() {
    let project = Project::new();
    let one = project.tree(&[("a", "1")]).entries()[0].clone();
    let two = project.tree(&[("a", "2")]).entries()[0].clone();
    let tree = Tree::new(vec![one, two]);
    let to = project.path("out");
    for mode in [MaterializeMode::Copy, MaterializeMode::Link] {
        let error = project
            .cache
            .materialize(&tree, Destination::Folder(&to), mode);
        assert!(
            matches!(error, Err(CacheError::SameName { .. })),
            "{error:?}"
        );
        assert!(!to.exists());
    }
}

#[test]
fn a_sparse_file_has_the_digest_of_its_zeros() {
    let project = Project::new();
    let path = project.path("sparse");
    let size_bytes = 200 << 20;
    fs::File::create(&path)
        .unwrap()
        .set_len(size_bytes)
        .unwrap();
    let mut zeros = Hasher::new();
    for _ in 0..size_bytes >> 20 {
        zeros.update(&[0; 1 << 20]);
    }
    let expected = (zeros.finish(), size_bytes);
    assert_eq!(project.cache.put_file(&path).unwrap(), expected);
    let mut index = project.index();
    assert_eq!(index.digest_file("sparse").unwrap().digest, expected.0);
}
