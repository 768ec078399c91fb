//! Makes SQLite's own changes to the disk steps of `mlbuild-disk`, so that a test can end a commit in its midst.
//!
//! SQLite lets its calls of the system be replaced, for tests such as these. Those that change a file are replaced by
//! ones that take a step first. Syncs are not among the calls that can be; a process that ends loses none by that.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::path::Path;

use rusqlite::ffi;

/// From now on every write, cut and removal of SQLite's in this process is a step. For tests alone.
pub fn watch_writes() {
    // SAFETY: without a name this finds the default file system, which lives as long as the process.
    let vfs = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
    // SAFETY: it is null or a file system.
    let Some(replace) = (unsafe { vfs.as_ref() }).and_then(|vfs| vfs.xSetSystemCall) else {
        return;
    };
    type Call = unsafe extern "C" fn();
    // SAFETY: SQLite calls each by its true type, which is that of the call of the system it stands for.
    let calls: [(&CStr, Call); 3] = unsafe {
        [
            (
                c"pwrite",
                std::mem::transmute::<*const c_void, Call>(write as *const c_void),
            ),
            (
                c"ftruncate",
                std::mem::transmute::<*const c_void, Call>(cut as *const c_void),
            ),
            (
                c"unlink",
                std::mem::transmute::<*const c_void, Call>(remove as *const c_void),
            ),
        ]
    };
    for (name, call) in calls {
        // SAFETY: the names are null-terminated, and the functions live as long as the process.
        unsafe { replace(vfs, name.as_ptr(), Some(call)) };
    }
}

/// The database, as far as a call says of which file it is: errors name the path themselves.
const DATABASE: &str = "lineage.db";

unsafe extern "C" fn write(
    file: c_int,
    bytes: *const c_void,
    count: usize,
    at: libc::off_t,
) -> isize {
    match step() {
        // SAFETY: the arguments are SQLite's, unchanged.
        Ok(()) => unsafe { libc::pwrite(file, bytes, count, at) },
        Err(()) => -1,
    }
}

unsafe extern "C" fn cut(file: c_int, length: libc::off_t) -> c_int {
    match step() {
        // SAFETY: as above.
        Ok(()) => unsafe { libc::ftruncate(file, length) },
        Err(()) => -1,
    }
}

unsafe extern "C" fn remove(path: *const c_char) -> c_int {
    match step() {
        // SAFETY: as above.
        Ok(()) => unsafe { libc::unlink(path) },
        Err(()) => -1,
    }
}

/// Takes a step; if it is to fail, says so as a call of the system does.
fn step() -> Result<(), ()> {
    mlbuild_disk::transaction(Path::new(DATABASE)).map_err(|error: io::Error| {
        let number = error.raw_os_error().unwrap_or(libc::EIO);
        // SAFETY: the address is that of this thread's error number.
        unsafe { *libc::__errno_location() = number };
    })
}
