use super::*;

/// The steps below a folder of the test's own.
fn steps(act: impl FnOnce(&Path)) -> Vec<Recorded> {
    let dir = tempfile::tempdir().unwrap();
    let recording = record(dir.path());
    act(dir.path());
    recording.finish()
}

#[test]
fn what_is_done_is_recorded_in_order_and_with_its_bytes() {
    let path = |name: &str| PathBuf::from(name);
    let steps = steps(|root| {
        create_folders(&root.join("a/b")).unwrap();
        create_folders(&root.join("a")).unwrap();
        write_synced(&root.join("a/new"), b"bytes").unwrap();
        link(&root.join("a/new"), &root.join("a/b/name")).unwrap();
        sync_folder(&root.join("a/b")).unwrap();
        remove(&root.join("a/new")).unwrap();
        assert!(remove(&root.join("a/new")).is_err());
    });
    let found = Recorded::Found {
        path: path("a/new"),
        bytes: b"bytes".to_vec(),
    };
    let expected = [
        Recorded::Folders { path: path("a/b") },
        Recorded::Write {
            path: path("a/new"),
            bytes: b"bytes".to_vec(),
        },
        found.clone(),
        Recorded::Sync {
            path: path("a/new"),
        },
        found,
        Recorded::Link {
            file: path("a/new"),
            name: path("a/b/name"),
        },
        Recorded::SyncFolder { path: path("a/b") },
        Recorded::Remove {
            path: path("a/new"),
        },
    ];
    assert_eq!(steps, expected);
}

#[test]
fn a_recording_sees_its_own_folder_alone() {
    let other = tempfile::tempdir().unwrap();
    let recorded = steps(|_| write(&other.path().join("file"), b"x").unwrap());
    assert_eq!(recorded, []);
}

#[test]
fn a_log_grows_and_a_lock_file_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (log, lock) = (dir.path().join("log"), dir.path().join("lock"));
    let mut file = Log::create(&log).unwrap();
    file.line("one").unwrap();
    file.line("two").unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\n");
    for text in ["a long text\n", "short\n"] {
        let mut file = open_or_create(&lock).unwrap();
        overwrite(&mut file, &lock, text.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&lock).unwrap(), text);
    }
}

#[test]
fn paths_change_places_where_the_system_can() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    fs::create_dir(&one).unwrap();
    fs::write(&other, "file").unwrap();
    match exchange(&one, &other) {
        Ok(()) => assert!(one.is_file() && other.is_dir()),
        Err(error) => assert!(one.is_dir() && other.is_file(), "{error}"),
    }
    assert!(exchange(&one, &dir.path().join("absent")).is_err());
}

#[test]
fn what_is_no_plan_arms_nothing() {
    for text in ["", "abort", "abort@x,report", "never@1,report", "abort@1"] {
        assert!(!arm(text), "{text}");
    }
}
