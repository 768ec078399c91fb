//! A change to the disk as a value, and the one place through which all of them go.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fault::{Armed, Verdict};
use crate::record::Recorders;

/// A change that is about to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the functions of the crate say what each is")]
pub enum Step<'a> {
    CreateFolder { path: &'a Path },
    CreateFolders { path: &'a Path },
    Write { path: &'a Path, bytes: &'a [u8] },
    Append { path: &'a Path },
    Copy { from: &'a Path, to: &'a Path },
    Sync { path: &'a Path },
    SyncFolder { path: &'a Path },
    Rename { from: &'a Path, to: &'a Path },
    Exchange { one: &'a Path, other: &'a Path },
    Link { file: &'a Path, name: &'a Path },
    Symlink { target: &'a Path, name: &'a Path },
    Remove { path: &'a Path },
    RemoveFolder { path: &'a Path },
    SetMode { path: &'a Path },
    Touch { path: &'a Path },
    Transaction { path: &'a Path },
}

impl<'a> Step<'a> {
    /// The name in reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateFolder { .. } => "create-folder",
            Self::CreateFolders { .. } => "create-folders",
            Self::Write { .. } => "write",
            Self::Append { .. } => "append",
            Self::Copy { .. } => "copy",
            Self::Sync { .. } => "sync",
            Self::SyncFolder { .. } => "sync-folder",
            Self::Rename { .. } => "rename",
            Self::Exchange { .. } => "exchange",
            Self::Link { .. } => "link",
            Self::Symlink { .. } => "symlink",
            Self::Remove { .. } => "remove",
            Self::RemoveFolder { .. } => "remove-folder",
            Self::SetMode { .. } => "set-mode",
            Self::Touch { .. } => "touch",
            Self::Transaction { .. } => "transaction",
        }
    }

    /// What changes.
    pub const fn path(&self) -> &'a Path {
        match *self {
            Self::CreateFolder { path }
            | Self::CreateFolders { path }
            | Self::Write { path, .. }
            | Self::Append { path }
            | Self::Copy { to: path, .. }
            | Self::Sync { path }
            | Self::SyncFolder { path }
            | Self::Rename { to: path, .. }
            | Self::Exchange { other: path, .. }
            | Self::Link { name: path, .. }
            | Self::Symlink { name: path, .. }
            | Self::Remove { path }
            | Self::RemoveFolder { path }
            | Self::SetMode { path }
            | Self::Touch { path }
            | Self::Transaction { path } => path,
        }
    }

    /// Whether a full disk refuses it.
    pub(crate) const fn takes_space(&self) -> bool {
        matches!(
            self,
            Self::CreateFolder { .. }
                | Self::CreateFolders { .. }
                | Self::Write { .. }
                | Self::Append { .. }
                | Self::Copy { .. }
                | Self::Link { .. }
                | Self::Symlink { .. }
                | Self::Sync { .. }
                | Self::Transaction { .. }
        )
    }
}

/// Whether anybody looks on; set before the first step that somebody wants to see.
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Who looks on. Held while a step is taken, so that steps have one order.
static WATCHERS: Mutex<Watchers> = Mutex::new(Watchers {
    armed: None,
    recorders: Recorders::NONE,
});

pub(crate) struct Watchers {
    pub(crate) armed: Option<Armed>,
    pub(crate) recorders: Recorders,
}

/// Takes a step: `act`, unless a fault strikes.
pub(crate) fn take<T>(step: &Step<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    // The flag is set before the steps that matter are begun, by whoever begins them: no order is needed.
    if !WATCHED.load(Ordering::Relaxed) {
        return act();
    }
    let mut watchers = watchers();
    if let Some(armed) = &mut watchers.armed {
        match armed.verdict(step) {
            Verdict::GoOn => {}
            Verdict::Fail(error) => return Err(error),
            Verdict::End => std::process::abort(),
        }
    }
    watchers.recorders.before(step);
    let done = act()?;
    watchers.recorders.after(step);
    Ok(done)
}

/// Lets every step from now on be looked at.
pub(crate) fn watch() -> MutexGuard<'static, Watchers> {
    WATCHED.store(true, Ordering::Relaxed);
    watchers()
}

pub(crate) fn watchers() -> MutexGuard<'static, Watchers> {
    // A step that panicked has changed no watcher.
    WATCHERS.lock().unwrap_or_else(PoisonError::into_inner)
}
