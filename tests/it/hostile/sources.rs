//! Sources that are no files: pipes, sockets, devices, links that lead nowhere or round in circles.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::assert_says;
use crate::corruption::run;
use crate::project::Project;

fn pipe(path: &Path) {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is null-terminated and outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o644) }, 0);
}

type Make = fn(&Path);

#[test]
fn a_source_that_is_no_file_is_an_error_and_never_passed_over() {
    let kinds: [(Make, &str); 5] = [
        (pipe, "a named pipe"),
        (|path| drop(UnixListener::bind(path).unwrap()), "a socket"),
        (|path| symlink("/dev/zero", path).unwrap(), "a device"),
        (
            |path| symlink("nowhere", path).unwrap(),
            "a link that leads nowhere",
        ),
        (
            |path| symlink("x.csv", path).unwrap(),
            "a link that leads nowhere",
        ),
    ];
    for (make, what) in kinds {
        for pattern in ["raw/x.csv", "raw/*.csv", "**/*.csv", "raw"] {
            let project = Project::sums();
            project.replace(
                "mlbuild.toml",
                "path = \"raw/*.csv\"",
                &format!("path = \"{pattern}\"\nformat = \"csv\""),
            );
            make(&project.root().join("raw/x.csv"));
            let ran = run(&project, &["build"]);
            assert_eq!(ran.exit, Some(2), "{what}, {pattern}: {}", ran.stderr);
            assert_says(
                &ran,
                &[
                    "source::not-a-file",
                    &format!("`raw/x.csv` is {what}"),
                    "mlbuild.toml:6:8",
                ],
            );
            assert!(!project.has("out"));
            fs::rename(
                project.root().join("raw/x.csv"),
                project.root().join("raw/.hidden"),
            )
            .unwrap();
            if pattern == "raw/x.csv" {
                project.write("raw/x.csv", "id,amount,note\n9,9,i\n");
            }
            project.build(&[]);
        }
        // What no pattern means is nobody's business.
        let project = Project::sums();
        make(&project.root().join("raw/x.lock"));
        project.build(&[]);
    }
}

#[test]
fn a_query_that_is_no_file_is_an_error() {
    let makes: [Make; 2] = [pipe, |path| symlink("nowhere", path).unwrap()];
    for make in makes {
        let project = Project::sums();
        make(&project.root().join("data/x.sql"));
        let ran = run(&project, &["build"]);
        assert_eq!(ran.exit, Some(2), "{}", ran.stderr);
        assert_says(&ran, &["`data/x.sql` is no file"]);
        fs::remove_file(project.root().join("data/x.sql")).unwrap();
        fs::create_dir(project.root().join("data/x.sql")).unwrap();
        project.build(&[]);
    }
}

#[test]
fn links_are_followed_and_loops_of_folders_end() {
    let project = Project::sums();
    project.replace("mlbuild.toml", "raw/*.csv", "raw/**/*.csv");
    project.write("elsewhere/more.csv", "id,amount,note\n3,1,c\n");
    symlink("../elsewhere", project.root().join("raw/linked")).unwrap();
    symlink("..", project.root().join("elsewhere/up")).unwrap();
    symlink("../raw", project.root().join("raw/self")).unwrap();
    let ran = run(&project, &["build"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let shown = project.run(&["show", "data:total"]).stdout;
    assert!(shown.contains("43"), "{shown}");
    project.write("elsewhere/more.csv", "id,amount,note\n3,2,c\n");
    project
        .build(&[])
        .built(&["data:orders", "data:page", "data:total"]);
}
