//! `mlbuild clean`: removes what builds have written.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mlbuild_action::Diagnostic;
use mlbuild_cache::{Cache, Keep, Limits, ProjectLock};
use mlbuild_disk as disk;

use crate::cli::{Clean, Global};
use crate::env;
use crate::failure::{CommandFailure, EXIT_FAILED};
use crate::load::find_root;
use crate::terminal::Terminal;

pub(crate) fn run(
    args: &Clean,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    let root = find_root(global.directory.as_deref())?;
    let state = mlbuild_engine::state_folder(&root);
    let mut remove = vec![root.join("out"), state.join("rejected")];
    if args.all {
        // At once, with the lock in it: whoever waits for that begins a new one.
        remove = vec![root.join("out"), state.clone()];
    }
    // Not while a build is writing there. A folder that was never built in has no lock to take.
    let cache = Cache::open(&state.join("cache"))?;
    let lock = match state
        .exists()
        .then(|| cache.try_lock("clean"))
        .transpose()?
    {
        Some(Err(holder)) => {
            let message = format!("{holder} is at work in this project");
            let diagnostic = Diagnostic::error("clean::busy", message);
            return Err(CommandFailure::new(EXIT_FAILED, diagnostic));
        }
        Some(Ok(lock)) => Some(lock),
        None => None,
    };
    if let Some(lock) = lock.as_ref().filter(|_| args.cache && !args.all) {
        remove.extend(clear(&cache, lock)?);
    }
    // What goes into the cache's own scratch space is removed by the next build if this process is killed.
    let bin = lock.as_ref().map(|_| cache.scratch()).transpose()?;
    for (number, path) in remove.into_iter().enumerate() {
        let aside = bin
            .as_ref()
            .filter(|_| !cache.root().starts_with(&path))
            .map(|bin| bin.path().join(number.to_string()));
        if remove_all(&path, aside).map_err(|e| CommandFailure::io("remove", &path, &e))?
            && !terminal.quiet
        {
            let shown = path.strip_prefix(&root).unwrap_or(&path);
            let _ = writeln!(io::stdout(), "removed {}", shown.display());
        }
    }
    Ok(0)
}

/// Removes of the cache all that no pin holds, and says what else of it can go whole.
fn clear(cache: &Cache, lock: &ProjectLock) -> Result<Vec<PathBuf>, CommandFailure> {
    let pins = cache.pins()?;
    let whole = cache.root();
    if pins.is_empty() {
        return Ok(vec![whole.to_owned()]);
    }
    let keep = Keep {
        pinned: pins.into_iter().flat_map(|pin| pin.keys).collect(),
        ..Keep::default()
    };
    let limits = Limits {
        now: env::now(),
        grace: Duration::ZERO,
        max_size_bytes: None,
    };
    let garbage = cache.garbage(&keep, &limits)?;
    cache.remove(&garbage, lock, &mut || true)?;
    let names = [
        "memos",
        "listings",
        "last",
        "checkpoints",
        "quarantine",
        "stat-index",
    ];
    Ok(names.iter().map(|name| whole.join(name)).collect())
}

/// Removes a file or folder, read-only content included; says whether there was one. It goes by one rename first, to
/// `aside` if that can be, so that an interruption leaves all of it or none under its name.
fn remove_all(path: &Path, aside: Option<PathBuf>) -> io::Result<bool> {
    for aside in aside.into_iter().chain([beside(path)?]) {
        match disk::rename(path, &aside) {
            Ok(()) => return remove(&aside).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            // `out/` may lie on another disk.
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::CrossesDevices.into())
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata()?.is_dir() {
        true => disk::remove_folder(path),
        false => disk::remove(path),
    }
}

/// A name beside a path, on its disk: `.out.removed-42`. What killed processes left there under such names is removed.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let name = name.to_string_lossy();
    let prefix = format!(".{}.removed-", name.trim_start_matches('.'));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            remove(&entry.path())?;
        }
    }
    Ok(folder.join(format!("{prefix}{}", std::process::id())))
}
