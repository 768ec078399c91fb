//! `mlbuild clean`: removes what builds have written.

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
        remove.extend([state.join("cache"), state.clone()]);
    }
    // Not while a build is writing there. A folder that was never built in has no lock to take.
    let cache = Cache::open(&state.join("cache"))?;
    let lock = match state
        .exists()
        .then(|| cache.try_lock("clean"))
        .transpose()?
    {
        Some(Err(holder)) => {
            let who = holder
                .pid
                .map_or_else(String::new, |pid| format!(" (process {pid})"));
            let diagnostic = Diagnostic::error(
                "clean::busy",
                format!("a build of this project is running{who}"),
            );
            return Err(CommandFailure::new(EXIT_FAILED, diagnostic));
        }
        Some(Ok(lock)) => Some(lock),
        None => None,
    };
    if let Some(lock) = lock.as_ref().filter(|_| args.cache && !args.all) {
        remove.extend(clear(&cache, lock)?);
    }
    for path in remove {
        if remove_all(&path).map_err(|e| CommandFailure::io("remove", &path, &e))?
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
    let names = ["memos", "listings", "last", "quarantine", "stat-index"];
    Ok(names.iter().map(|name| whole.join(name)).collect())
}

/// Removes a file or folder, read-only content included; says whether there was one. It goes by one rename first, so that
/// an interruption leaves all of it or none under its name.
fn remove_all(path: &Path) -> io::Result<bool> {
    let aside = path.with_extension(format!("removed-{}", std::process::id()));
    match disk::rename(path, &aside) {
        Ok(()) if aside.is_dir() => disk::remove_folder(&aside).map(|()| true),
        Ok(()) => disk::remove(&aside).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
