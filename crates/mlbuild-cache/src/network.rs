//! Network file systems on which a lock holds on one machine only.
//!
//! NFS passes `flock` on to its server, so that a lock holds among all machines, unless it was mounted to keep locks to
//! itself: then the options of the mount, as the kernel lists them, say `local_lock=all` or `local_lock=flock`. Nothing
//! is guessed about other file systems, nor where the list cannot be read.

use std::path::Path;

/// Whether locks on `path`, which exists, are kept by a network file system and seen by this machine alone.
#[cfg(target_os = "linux")]
pub(crate) fn locks_are_local(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    if !is_nfs(path) {
        return false;
    }
    let (Ok(metadata), Ok(mounts)) = (
        path.metadata(),
        std::fs::read_to_string("/proc/self/mountinfo"),
    ) else {
        return false;
    };
    let device = metadata.dev();
    says_local(&mounts, libc::major(device), libc::minor(device))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn locks_are_local(_path: &Path) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn is_nfs(path: &Path) -> bool {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is null-terminated, and the answer has room for what the call writes.
    let said = unsafe { libc::statfs(path.as_ptr(), answer.as_mut_ptr()) };
    // SAFETY: a call that succeeds has written the answer. Its type is not the same on all systems.
    said == 0 && unsafe { answer.assume_init() }.f_type as u64 == libc::NFS_SUPER_MAGIC as u64
}

/// Whether `mounts`, lines as in `/proc/self/mountinfo`, says that a device keeps locks on files to this machine.
#[cfg(any(target_os = "linux", test))]
fn says_local(mounts: &str, major: u32, minor: u32) -> bool {
    let device = format!("{major}:{minor}");
    mounts.lines().any(|line| {
        let mut words = line.split(' ');
        let options = line.rsplit(' ').next().unwrap_or_default();
        words.nth(2) == Some(&*device)
            && options
                .split(',')
                .any(|option| ["local_lock=all", "local_lock=flock"].contains(&option))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_the_mount_tell() {
        let mounts = "\
25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 25 0:50 / /net/a rw shared:2 - nfs4 server:/a rw,vers=4.2,sec=sys,local_lock=none,addr=10.0.0.1
41 25 0:51 / /net/b rw shared:3 - nfs server:/b rw,vers=3,nolock,local_lock=all,addr=10.0.0.1
42 25 0:52 / /net/c rw shared:4 - nfs server:/c rw,vers=3,local_lock=flock,addr=10.0.0.1
43 25 0:53 / /net/d rw shared:5 - nfs server:/d rw,vers=3,local_lock=posix,addr=10.0.0.1
";
        let local = |minor| says_local(mounts, 0, minor);
        assert_eq!(
            [50, 51, 52, 53, 54].map(local),
            [false, true, true, false, false]
        );
        assert!(!says_local(mounts, 254, 0));
    }

    #[test]
    fn a_local_file_system_is_not_asked() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!locks_are_local(dir.path()));
    }
}
