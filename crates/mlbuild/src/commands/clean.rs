//! `mlbuild clean`: removes what builds have written.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use mlbuild_action::Diagnostic;
use mlbuild_cache::Cache;

use crate::cli::{Clean, Global};
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
    if args.cache || args.all {
        remove.push(state.join("cache"));
    }
    if args.all {
        remove.push(state.clone());
    }
    // Not while a build is writing there. A folder that was never built in has no lock to take.
    let cache = Cache::open(&state.join("cache"))?;
    let _lock = match state
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

/// Removes a folder, read-only content included; says whether there was one. It goes by one rename first, so that
/// an interruption leaves all of it or none under its name.
fn remove_all(path: &Path) -> io::Result<bool> {
    let aside = path.with_extension(format!("removed-{}", std::process::id()));
    match fs::rename(path, &aside) {
        Ok(()) => fs::remove_dir_all(&aside).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
