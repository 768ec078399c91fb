//! Every change that mlbuild makes to files of its own, a function for each kind.
//!
//! Such a change is a [`Step`]. A test can arm a fault that strikes at the step of a number ([`arm`]), or record the
//! steps below a folder with their bytes ([`record`]): so a suite can stop a build at every point at which it touches
//! the disk, and see what each leaves. Nothing of this costs anything otherwise but a look at one flag.
//!
//! Invariants:
//! - What is not in here changes none of mlbuild's files: the tidy rules forbid `std::fs`'s own functions in the crates
//!   that keep state. Executors write into folders that they are given, which nobody believes before they are adopted.
//! - A function takes one step, or says that it takes several.
//! - A function that does nothing, since the folder is there already, takes no step.
//!
//! Absent: what belongs in which order. Who writes knows what must last before what.

mod fault;
mod record;
mod step;

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink as make_symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use fault::arm;
pub use record::{Recorded, Recording, record};
pub use step::Step;

use step::take;

/// Makes a folder in one that is there.
///
/// # Errors
/// As [`fs::create_dir`].
pub fn create_folder(path: &Path) -> io::Result<()> {
    take(&Step::CreateFolder { path }, || fs::create_dir(path))
}

/// Makes a folder and those above it, as far as they are missing.
///
/// # Errors
/// As [`fs::create_dir_all`].
pub fn create_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    take(&Step::CreateFolders { path }, || fs::create_dir_all(path))
}

/// Makes a file, or empties it, and writes `bytes`.
///
/// # Errors
/// As [`fs::write`].
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    take(&Step::Write { path, bytes }, || fs::write(path, bytes))
}

/// Makes a file that is not there, and writes `bytes`.
///
/// # Errors
/// Those of writing, and if there is a file of that name.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    take(&Step::Write { path, bytes }, || {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        file.write_all(bytes)
    })
}

/// Makes a read-only file whose bytes last: two steps. Its name does not last before its folder is synced.
///
/// # Errors
/// Those of writing, and if there is a file of that name.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = take(&Step::Write { path, bytes }, || {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(0o444))?;
        Ok(file)
    })?;
    take(&Step::Sync { path }, || file.sync_data())
}

/// Opens a file to be overwritten by [`overwrite`], making it where there is none.
///
/// # Errors
/// Those of opening and making it.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        answer => return answer,
    }
    let bytes = b"";
    take(&Step::Write { path, bytes }, || {
        options.create(true).truncate(false).open(path)
    })
}

/// Replaces what is in the open file, which is at `path`.
///
/// # Errors
/// Those of writing.
pub fn overwrite(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    take(&Step::Write { path, bytes }, || {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(bytes)
    })
}

/// Copies a file, sharing blocks where the file system can.
///
/// # Errors
/// As [`fs::copy`].
pub fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    take(&Step::Copy { from, to }, || fs::copy(from, to))
}

/// Makes the read-only file `to` of the bytes of `from`: sharing its blocks where the file system can, which is what `true`
/// means, else by `copy`, which is given both files.
///
/// # Errors
/// Those of opening and making them, if there is a file `to`, and those of `copy`.
pub fn clone_or_copy(
    from: &Path,
    to: &Path,
    copy: impl FnOnce(&File, &File) -> io::Result<()>,
) -> io::Result<bool> {
    take(&Step::Copy { from, to }, || {
        let original = File::open(from)?;
        let made = File::options().write(true).create_new(true).open(to)?;
        made.set_permissions(Permissions::from_mode(0o444))?;
        if share_blocks(&original, &made) {
            return Ok(true);
        }
        copy(&original, &made).map(|()| false)
    })
}

#[cfg(target_os = "linux")]
fn share_blocks(from: &File, to: &File) -> bool {
    // SAFETY: the call takes two open descriptors and touches no memory of ours.
    unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn share_blocks(_: &File, _: &File) -> bool {
    false
}

/// Makes the bytes of many files last, which are all on the file system of the first: a step each.
///
/// # Errors
/// Those of opening and syncing them.
pub fn sync_many(paths: &[PathBuf]) -> io::Result<()> {
    if paths.len() < MANY {
        return paths.iter().try_for_each(|path| sync(path));
    }
    let [first, rest @ ..] = paths else {
        return Ok(());
    };
    // One wait for the disk instead of thousands, at the price of what others have written there and not synced yet.
    take(&Step::Sync { path: first }, || sync_file_system(first))?;
    rest.iter()
        .try_for_each(|path| take(&Step::Sync { path }, || Ok(())))
}

/// From so many files on, syncing all of a file system costs less than syncing each.
const MANY: usize = 32;

#[cfg(target_os = "linux")]
fn sync_file_system(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: the call takes an open descriptor.
    system(unsafe { libc::syncfs(file.as_raw_fd()) })
}

#[cfg(not(target_os = "linux"))]
fn sync_file_system(_: &Path) -> io::Result<()> {
    // SAFETY: the call takes nothing, and waits.
    unsafe { libc::sync() };
    Ok(())
}

/// Makes the bytes of a file last.
///
/// # Errors
/// Those of opening and syncing it.
pub fn sync(path: &Path) -> io::Result<()> {
    take(&Step::Sync { path }, || File::open(path)?.sync_data())
}

/// Makes the names in a folder last.
///
/// # Errors
/// Those of opening and syncing it.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    take(&Step::SyncFolder { path }, || {
        match File::open(path)?.sync_all() {
            // Some network file systems cannot sync a folder, and do not need it.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            answer => answer,
        }
    })
}

/// Gives a file or folder another name, in the place of what has it.
///
/// # Errors
/// As [`fs::rename`].
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    take(&Step::Rename { from, to }, || fs::rename(from, to))
}

/// Lets two existing paths change places, at once.
///
/// # Errors
/// Those of the system; `ENOSYS`, `EINVAL` or `ENOTSUP` where it cannot do it.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    take(&Step::Exchange { one, other }, || {
        exchange_atomically(one, other)
    })
}

/// Gives a file a second name.
///
/// # Errors
/// As [`fs::hard_link`].
pub fn link(file: &Path, name: &Path) -> io::Result<()> {
    take(&Step::Link { file, name }, || fs::hard_link(file, name))
}

/// Makes a symbolic link at `name` that leads to `target`.
///
/// # Errors
/// Those of making it.
pub fn symlink(target: &Path, name: &Path) -> io::Result<()> {
    take(&Step::Symlink { target, name }, || {
        make_symlink(target, name)
    })
}

/// Removes a file.
///
/// # Errors
/// As [`fs::remove_file`].
pub fn remove(path: &Path) -> io::Result<()> {
    take(&Step::Remove { path }, || fs::remove_file(path))
}

/// Removes a folder and all in it, in one step.
///
/// # Errors
/// As [`fs::remove_dir_all`].
pub fn remove_folder(path: &Path) -> io::Result<()> {
    take(&Step::RemoveFolder { path }, || fs::remove_dir_all(path))
}

/// Sets the mode of a file or folder: `0o444`.
///
/// # Errors
/// As [`fs::set_permissions`].
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    take(&Step::SetMode { path }, || {
        fs::set_permissions(path, Permissions::from_mode(mode))
    })
}

/// Sets the times of a file to now.
///
/// # Errors
/// Those of the system.
pub fn touch(path: &Path) -> io::Result<()> {
    take(&Step::Touch { path }, || {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path is null-terminated and outlives the call; no times means the time now.
        let answer = unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), std::ptr::null(), 0) };
        system(answer)
    })
}

/// Sets the time at which a file or folder last changed back by more than `age`.
///
/// # Errors
/// Those of the system.
pub fn age(path: &Path, age: Duration) -> io::Result<()> {
    take(&Step::Touch { path }, || {
        let file = File::open(path)?;
        let changed = file.metadata()?.modified()?;
        // No clock of whatever tick gives a time that ends like this one.
        let before = changed - age - Duration::from_nanos(1);
        file.set_modified(before)
    })
}

/// Says that the database at `path` is about to change. It is SQLite that makes the change, and keeps it whole.
///
/// # Errors
/// None but those that a test asks for.
pub fn transaction(path: &Path) -> io::Result<()> {
    take(&Step::Transaction { path }, || Ok(()))
}

/// A file that only grows: a log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Begins a log, in the place of what is there.
    ///
    /// # Errors
    /// Those of making the file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let bytes = b"";
        let file = take(&Step::Write { path, bytes }, || File::create(path))?;
        let path = path.to_owned();
        Ok(Self { path, file })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// Those of writing.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        let Self { path, file } = self;
        take(&Step::Append { path }, || writeln!(file, "{line}"))
    }
}

#[cfg(target_os = "linux")]
fn exchange_atomically(one: &Path, other: &Path) -> io::Result<()> {
    let one = CString::new(one.as_os_str().as_bytes())?;
    let other = CString::new(other.as_os_str().as_bytes())?;
    // SAFETY: both paths are null-terminated strings that outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    system(i32::from(answer != 0))
}

#[cfg(not(target_os = "linux"))]
fn exchange_atomically(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// What a system call that answers 0 for success meant.
fn system(answer: i32) -> io::Result<()> {
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests;
