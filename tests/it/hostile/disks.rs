//! Disks that are full, read-only, or another one for state and outputs.

use std::fs;
use std::os::unix::process::CommandExt;

use super::{assert_environment, assert_recovers, fill, large};
use crate::corruption::{READERS, run};
use crate::fsck::assert_sound;
use crate::project::{Project, outputs};

#[test]
fn a_file_that_may_not_grow_is_an_error_and_no_end_without_a_word() {
    for limit in [100, 4 << 10, 40 << 10, 100 << 10] {
        let project = large();
        let mut command = project.command(&["build"]);
        let limit_size = move || {
            let limit = libc::rlimit {
                rlim_cur: limit,
                rlim_max: limit,
            };
            // SAFETY: the call reads a struct that outlives it, and is async-signal-safe.
            match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: the closure makes one system call.
        unsafe { command.pre_exec(limit_size) };
        let ran = project.ran(command.output().unwrap());
        assert_environment(&ran, &["File too large"]);
        assert_recovers(&project);
    }
}

#[cfg(target_os = "linux")]
mod mounted {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A project on a file system of its own, which is taken away with it.
    pub(super) struct Mounted(pub(super) Project);

    impl Mounted {
        /// `None`, and a line that says so, if nothing can be mounted here.
        pub(super) fn new(size_kib: u32) -> Option<Self> {
            let project = Project::empty();
            match mount(&project, size_kib, 0) {
                Ok(()) => Some(Self(project)),
                Err(error) => {
                    eprintln!(
                        "SKIPPED: a file system of {size_kib} KiB cannot be mounted: {error}"
                    );
                    None
                }
            }
        }

        pub(super) fn resize(&self, size_kib: u32) {
            mount(&self.0, size_kib, libc::MS_REMOUNT).unwrap();
        }

        pub(super) fn make_read_only(&self) {
            mount(&self.0, 40 << 10, libc::MS_REMOUNT | libc::MS_RDONLY).unwrap();
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let root = CString::new(self.0.root().as_os_str().as_bytes()).unwrap();
            // SAFETY: the path is null-terminated and outlives the call.
            unsafe { libc::umount2(root.as_ptr(), libc::MNT_DETACH) };
        }
    }

    fn mount(project: &Project, size_kib: u32, flags: libc::c_ulong) -> std::io::Result<()> {
        let root = CString::new(project.root().as_os_str().as_bytes()).unwrap();
        let options = CString::new(format!("size={size_kib}k")).unwrap();
        // SAFETY: all texts are null-terminated and outlive the call.
        let answer = unsafe {
            libc::mount(
                c"none".as_ptr(),
                root.as_ptr(),
                c"tmpfs".as_ptr(),
                flags,
                options.as_ptr().cast(),
            )
        };
        match answer {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    fn write_sums(project: &Project) {
        project.write(
            "mlbuild.toml",
            format!("[project]\nname = \"test\"\n{}", crate::project::SUMS),
        );
        project.write(
            "data/total.sql",
            "select sum(amount) as total from data.orders\n",
        );
        project.write(
            "data/page.sql",
            "select total, total * 2 as double from data.total\n",
        );
        fill(project);
    }

    #[test]
    fn a_full_disk_is_an_error_wherever_it_is_met() {
        let Some(mounted) = Mounted::new(40 << 10) else {
            return;
        };
        let project = &mounted.0;
        write_sums(project);
        let used: u32 = crate::gc::files(project.root())
            .iter()
            .map(|(_, bytes)| bytes.len() as u32 / 1024 + 4)
            .sum();
        let (mut failed, mut built) = (0, 0);
        for more in (8..=1000).step_by(32) {
            mounted.resize(used + more);
            let ran = run(project, &["build"]);
            match ran.exit {
                Some(0) => built += 1,
                _ => {
                    failed += 1;
                    assert_eq!(ran.exit, Some(3), "{}{}", ran.stdout, ran.stderr);
                    let said = ran.stderr.replace(['│', '\n', ' '], "");
                    let full = ["Nospaceleftondevice", "diskisfull"]
                        .iter()
                        .any(|text| said.contains(text));
                    assert!(full, "{}", ran.stderr);
                }
            }
            assert_sound(project);
            if built == 1 {
                break;
            }
            mounted.resize(40 << 10);
            if more % 64 == 8 {
                // Every other time from nothing, else on what the failed build left.
                fs::remove_dir_all(project.root().join(".mlbuild")).unwrap();
            }
            let _ = fs::remove_dir_all(project.root().join("out"));
        }
        assert!(
            failed > 3 && built == 1,
            "{failed} builds met a full disk, then {built} did not"
        );
        mounted.resize(40 << 10);
        assert_recovers(project);
    }

    #[test]
    fn on_a_read_only_file_system_everything_works_that_only_reads() {
        let Some(mounted) = Mounted::new(40 << 10) else {
            return;
        };
        let project = &mounted.0;
        write_sums(project);
        project.build(&[]);
        project.build(&[]);
        mounted.make_read_only();
        for reader in READERS {
            let ran = run(project, reader);
            assert_eq!(
                ran.exit,
                Some(0),
                "{reader:?}: {}{}",
                ran.stdout,
                ran.stderr
            );
        }
        assert_eq!(run(project, &["fsck"]).exit, Some(0));
        for writer in [
            &["build"][..],
            &["gc"],
            &["pin", "data:page"],
            &["fsck", "--repair"],
        ] {
            assert_environment(
                &run(project, writer),
                &[".mlbuild/cache", "Read-only file system"],
            );
        }
        mounted.resize(40 << 10);
        project.build(&[]).built(&[]).restored(&[]);
    }

    #[test]
    fn state_and_outputs_on_other_file_systems_are_as_good() {
        let Some(elsewhere) = Mounted::new(40 << 10) else {
            return;
        };
        let project = Project::sums();
        for (name, place) in [(".mlbuild", "state"), ("out", "outputs")] {
            let place = elsewhere.0.root().join(place);
            fs::create_dir(&place).unwrap();
            symlink(place, project.root().join(name)).unwrap();
        }
        project.build(&[]);
        let first = outputs(&elsewhere.0.root().join("outputs/.."));
        assert_eq!(first.len(), 0, "they are below `outputs`");
        assert!(elsewhere.0.has("outputs/data/page.parquet"));
        assert!(elsewhere.0.has("state/cache/version"));
        fs::remove_file(project.root().join("out/data/page.parquet")).unwrap();
        project.build(&[]).restored(&["data:page"]);
        // One of the two is there, and objects cannot be linked from it.
        fs::remove_file(project.root().join("out")).unwrap();
        project
            .build(&[])
            .restored(&["data:orders", "data:page", "data:total"]);
        project.write("raw/more.csv", "id,amount,note\n3,1,c\n");
        project.build(&[]);
        project.assert_same_as_clean_build(&[]);
        assert_sound(&project);
    }
}
