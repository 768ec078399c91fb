//! `mlbuild cache`: what is in the cache, and for whom.

use std::io::{self, Write as _};

use mlbuild_cache::{Cache, Count, Usage};
use serde_json::json;

use crate::cli::{CacheCommand, Global, Leave};
use crate::commands::{gc, pin};
use crate::failure::{CommandFailure, EXIT_ENVIRONMENT};
use crate::load::{find_root, load};
use crate::terminal::{Terminal, plural, size};
use crate::{json, wiring};

pub(crate) fn run(
    command: &CacheCommand,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    match command {
        CacheCommand::Stats(leave) => stats(leave, global, terminal),
        CacheCommand::Pins => pins(global, terminal),
    }
}

fn pins(global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let root = find_root(global.directory.as_deref())?;
    let cache = Cache::open(&mlbuild_engine::state_folder(&root).join("cache"))?;
    let pins = cache.pins()?;
    for found in &pins {
        if terminal.json {
            json::print(&pin::value(found));
        } else {
            let _ = writeln!(io::stdout(), "{}", pin::line(found));
        }
    }
    if pins.is_empty() && !terminal.json {
        terminal.note("nothing is pinned here");
    }
    Ok(0)
}

fn stats(leave: &Leave, global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let loaded = load(global, &leave.variant, terminal)?;
    let options = gc::options(leave)?;
    let executors = wiring::executors(&loaded);
    let failed = |diagnostic| CommandFailure::new(EXIT_ENVIRONMENT, diagnostic);
    let usage = mlbuild_engine::usage(&loaded.project, &executors, leave.keep_last);
    let usage = usage.map_err(failed)?;
    let chosen = mlbuild_engine::collection(&loaded.project, &executors, &options);
    let garbage = chosen.map_err(failed)?.garbage;
    let would_free = garbage.before_bytes - garbage.after_bytes;
    let Usage {
        objects,
        results,
        listings,
        memos,
        checkpoints,
        quarantine,
        tmp,
        current,
        pinned,
        history,
        size_bytes,
    } = usage;
    let parts = [
        ("objects", objects),
        ("results", results),
        ("listings", listings),
        ("memos", memos),
        ("checkpoints", checkpoints),
        ("quarantine", quarantine),
        ("tmp", tmp),
    ];
    let reaches = [
        ("current", "needed by the project as it stands", current),
        ("history", "kept to go back to earlier states", history),
        ("pinned", "pinned", pinned),
    ];
    if terminal.json {
        let count = |count: Count| json!({ "files": count.files, "bytes": count.size_bytes });
        let mut value = json!({
            "event": "stats", "version": json::VERSION, "bytes": size_bytes, "gc_bytes": would_free,
        });
        let named = parts
            .into_iter()
            .chain(reaches.map(|(name, _, count)| (name, count)));
        for (name, found) in named {
            value[name] = count(found);
        }
        json::print(&value);
        return Ok(0);
    }
    let mut out = io::stdout().lock();
    let line = |what: &str, count: Count| {
        let files = plural(count.files as usize, "file");
        format!("{what:36} {:>10}  {files}", size(count.size_bytes))
    };
    for (name, count) in parts.into_iter().filter(|(_, count)| count.files > 0) {
        let _ = writeln!(out, "{}", line(name, count));
    }
    let _ = writeln!(out);
    for (_, what, count) in reaches {
        let _ = writeln!(out, "{}", line(what, count));
    }
    let total = format!(
        "{} in all; `mlbuild gc` would remove {}",
        size(size_bytes),
        size(would_free)
    );
    let _ = writeln!(out, "{}", terminal.bold(&total));
    Ok(0)
}
