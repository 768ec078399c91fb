//! File systems that refuse, lie or surprise: a clear error that names the path, the right exit status, a sound store, and
//! a next build that is right.
//!
//! Some of this needs privileges that a test may lack: a file system of a given size is mounted, and a child that the
//! system refuses something runs as another user where we are the superuser. A test that cannot says so on standard
//! error; the limit on file sizes stands in for a full disk everywhere.

mod disks;
mod refused;
mod sources;

use std::fs::{self, FileTimes};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::corruption::run;
use crate::fsck::assert_sound;
use crate::project::{Project, Ran};

/// Orders, enough of them to fill a small disk.
fn large() -> Project {
    let project = Project::sums();
    fill(&project);
    project
}

fn fill(project: &Project) {
    let mut orders = "id,amount,note\n".to_owned();
    for id in 0..9_000_u64 {
        // Digits that do not compress well.
        let amount = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        orders.push_str(&format!("{id},{amount},n{}\n", amount % 1_000_003));
    }
    project.write("raw/orders.csv", orders);
}

/// Expects exit status 3 and each of `needles` on standard error.
#[track_caller]
fn assert_environment(ran: &Ran, needles: &[&str]) {
    assert_eq!(ran.exit, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert_says(ran, needles);
}

/// Expects each of `needles` on standard error, however it is broken into lines.
#[track_caller]
fn assert_says(ran: &Ran, needles: &[&str]) {
    let said: String = ran.stderr.split(['│', '\n']).map(str::trim).collect();
    for needle in needles {
        let needle: String = needle.split(' ').collect();
        let said: String = said.split(' ').collect();
        assert!(
            said.contains(&needle),
            "{needle:?} is missing from:\n{}",
            ran.stderr
        );
    }
}

/// The state is sound, and the next build is what a clean one is.
#[track_caller]
fn assert_recovers(project: &Project) {
    assert_sound(project);
    project.build(&[]);
    project.assert_same_as_clean_build(&[]);
    assert_sound(project);
    let left = fs::read_dir(project.root().join(".mlbuild/cache/tmp")).unwrap();
    assert_eq!(left.count(), 0, "nothing half-written is left");
}

// Names.

fn odd(folder: &Path, name: &[u8]) -> std::path::PathBuf {
    folder.join(std::ffi::OsStr::from_bytes(name))
}

#[test]
fn a_name_that_is_not_text_is_an_error_where_it_is_meant() {
    let cases: [(&str, &[u8], bool); 4] = [
        ("raw", b"b\xff.csv", true),
        ("raw", b"b\xff.txt", false),
        ("data", b"b\xff.sql", true),
        ("data", b"b\xff.txt", false),
    ];
    for (folder, name, meant) in cases {
        let project = Project::sums();
        let path = odd(&project.root().join(folder), name);
        if let Err(error) = fs::write(&path, "id,amount,note\n") {
            eprintln!("SKIPPED: this file system refuses the name: {error}");
            return;
        }
        let ran = run(&project, &["build"]);
        if meant {
            assert_eq!(ran.exit, Some(2), "{}{}", ran.stdout, ran.stderr);
            let lossy = String::from_utf8_lossy(name);
            assert_says(
                &ran,
                &[&format!("the name of `{folder}/{lossy}` is not UTF-8")],
            );
            fs::remove_file(path).unwrap();
            assert_recovers(&project);
        } else {
            assert_eq!(ran.exit, Some(0), "{}{}", ran.stdout, ran.stderr);
        }
    }
    let project = Project::sums();
    fs::create_dir(odd(&project.root().join("raw"), b"\xff")).unwrap();
    project.build(&[]);
    project.replace("mlbuild.toml", "raw/*.csv", "raw/**/*.csv");
    assert_eq!(
        project.run(&["build"]).exit,
        Some(2),
        "there may be sources in it"
    );
}

#[test]
fn names_that_differ_in_case_alone_are_two_or_an_error() {
    let project = Project::sums();
    project.write("raw/ORDERS.csv", "id,amount,note\n7,1,x\n");
    project.build(&[]);
    let sources = fs::read_dir(project.root().join("raw")).unwrap().count();
    let shown = project.run(&["show", "data:total"]).stdout;
    let total = if sources == 2 { "43" } else { "1" };
    assert!(shown.contains(total), "{shown}");
    project.write("data/Total.sql", "select 1 as x\n");
    let ran = project.run(&["build"]);
    assert_eq!(ran.exit, Some(2));
    assert_says(&ran, &["`data/Total.sql` cannot name a target"]);
}

#[test]
fn a_name_or_path_that_is_too_long_is_an_error() {
    let project = Project::sums();
    let name = format!("raw/{}.csv", "x".repeat(300));
    project.replace("mlbuild.toml", "raw/*.csv", &name);
    let ran = run(&project, &["build"]);
    assert_eq!(ran.exit, Some(2), "{}", ran.stderr);
    assert_says(&ran, &["File name too long"]);
    project.replace("mlbuild.toml", &name, "raw/*.csv");
    assert_recovers(&project);

    // A folder so deep that the project's own state just fits, or just does not.
    for depth in [3_700, 4_000, 4_090] {
        let (project, deep) = (Project::sums(), Project::empty());
        let mut folder = deep.root().to_owned();
        while folder.as_os_str().len() < depth {
            let more = (depth - folder.as_os_str().len()).min(200);
            folder.push("d".repeat(more.max(2) - 1));
        }
        if fs::create_dir_all(&folder).is_err() {
            eprintln!("SKIPPED: this file system has no paths of {depth} bytes");
            continue;
        }
        for path in [
            "mlbuild.toml",
            "raw/orders.csv",
            "data/total.sql",
            "data/page.sql",
        ] {
            let to = folder.join(path);
            if fs::create_dir_all(to.parent().unwrap())
                .and_then(|()| fs::write(&to, project.read(path)))
                .is_err()
            {
                break;
            }
        }
        let mut command = project.command(&["build"]);
        let ran = project.ran(command.current_dir(&folder).output().unwrap());
        assert!(
            matches!(ran.exit, Some(0 | 2 | 3)),
            "{depth}: {:?} {}",
            ran.exit,
            ran.stderr
        );
        match ran.exit {
            Some(3) => assert_says(&ran, &["File name too long"]),
            Some(2) => assert_says(&ran, &["no mlbuild.toml in"]),
            _ => {}
        }
    }
}

// Outputs.

#[test]
fn an_output_folder_that_is_a_file_is_an_error_and_what_is_ours_is_replaced() {
    let project = Project::sums();
    project.write("out", "mine");
    assert_environment(
        &run(&project, &["build"]),
        &["[project]/out/data`: Not a directory"],
    );
    assert_eq!(project.read("out"), "mine");
    fs::remove_file(project.root().join("out")).unwrap();
    project.write(
        "out/data/page.parquet/file",
        "in a folder where a file will be",
    );
    assert_recovers(&project);
}

#[test]
fn a_state_folder_that_is_none_is_an_error() {
    let project = Project::sums();
    project.write(".mlbuild", "mine");
    assert_environment(
        &run(&project, &["build"]),
        &["[project]/.mlbuild", "Not a directory"],
    );
    fs::remove_file(project.root().join(".mlbuild")).unwrap();
    symlink("nowhere", project.root().join(".mlbuild")).unwrap();
    assert_environment(&run(&project, &["build"]), &["[project]/.mlbuild"]);
    fs::remove_file(project.root().join(".mlbuild")).unwrap();
    assert_recovers(&project);
}

#[test]
fn a_folder_for_temporary_files_that_is_not_there_is_not_missed() {
    let project = Project::new(
        "[data.made]\ncommand = \"echo id > {out}; mktemp >> {out}\"\nout = \"made.csv\"\nformat = \"csv\"\n",
    );
    let mut command = project.command(&["build"]);
    let ran = project.ran(command.env("TMPDIR", "/nonexistent").output().unwrap());
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
}

// Clocks.

fn set_time(path: &Path, time: SystemTime) {
    let file = fs::File::open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// Every clock may have been set: that of the machine when a source was written, or when the index was.
#[test]
fn whatever_the_clock_said_a_changed_source_is_seen() {
    let now = SystemTime::now();
    let year = Duration::from_secs(365 * 86_400);
    let times = [SystemTime::UNIX_EPOCH, now - year, now + year];
    for source_time in times {
        for index_time in times {
            let project = Project::sums();
            let source = project.root().join("raw/orders.csv");
            let index = project.root().join(".mlbuild/cache/stat-index");
            set_time(&source, source_time);
            project.build(&[]);
            set_time(&index, index_time);
            project.build(&[]).built(&[]).restored(&[]);
            set_time(&index, index_time);
            // As many bytes, and the time that it had.
            project.write("raw/orders.csv", "id,amount,note\n1,10,a\n2,33,b\n");
            set_time(&source, source_time);
            let built = project.build(&[]);
            built.built(&["data:orders", "data:page", "data:total"]);
            project.assert_same_as_clean_build(&[]);
        }
    }
}
