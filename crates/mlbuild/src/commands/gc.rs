//! `mlbuild gc`: removes from the cache what nothing needs, by name.

use std::io::Write as _;

use mlbuild_action::{Cancel, Diagnostic};
use mlbuild_engine::{Collection, CollectionOptions, Leaving, LeavingCheckpoint};
use serde_json::{Value, json};

use crate::cli::{Gc, Global, Leave};
use crate::failure::{CommandFailure, EXIT_ENVIRONMENT, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE};
use crate::load::load;
use crate::terminal::{Terminal, duration, plural, size};
use crate::{env, interrupt, json, lock, wiring};

pub(crate) fn run(args: &Gc, global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let loaded = load(global, &args.leave.variant, terminal)?;
    let options = options(&args.leave)?;
    let executors = wiring::executors(&loaded);
    let project = &loaded.project;
    let choose = || {
        let chosen = mlbuild_engine::collection(project, &executors, &options);
        chosen.map_err(|diagnostic| CommandFailure::new(EXIT_ENVIRONMENT, diagnostic))
    };
    if args.dry_run {
        let chosen = choose()?;
        print(&chosen, None, &options, terminal);
        return Ok(fits(&chosen, &options));
    }
    // A project that was never built in has nothing to remove, and gets no cache by this.
    if !project.cache.root().exists() {
        print(&choose()?, Some(0), &options, terminal);
        return Ok(0);
    }
    let cancel = Cancel::new();
    interrupt::install(&cancel);
    let Some(held) = lock::take_aloud(&project.cache, &cancel, terminal)? else {
        return Ok(EXIT_INTERRUPTED);
    };
    let chosen = choose()?;
    let gone = mlbuild_engine::collect(project, &chosen, &held, &mut || !cancel.is_cancelled())?;
    print(&chosen, Some(gone), &options, terminal);
    Ok(match cancel.is_cancelled() {
        true => EXIT_INTERRUPTED,
        false => fits(&chosen, &options),
    })
}

/// What a collection is to leave, as the user says it.
pub(crate) fn options(leave: &Leave) -> Result<CollectionOptions, CommandFailure> {
    let wrong = |code, message: String, help| {
        CommandFailure::new(EXIT_USAGE, Diagnostic::error(code, message).help(help))
    };
    let max_size = leave.max_size.as_deref();
    let max_size_bytes = max_size.map(|text| {
        mlbuild_manifest::memory_bytes(text).ok_or_else(|| {
            let message = format!("`--max-size {text}` is no size");
            wrong("cli::size", message, "write 500MB or 10GB")
        })
    });
    let grace = mlbuild_manifest::duration(&leave.grace).ok_or_else(|| {
        let message = format!("`--grace {}` is no time", leave.grace);
        wrong("cli::time", message, "write 90s, 30m or 12h")
    })?;
    Ok(CollectionOptions {
        keep_last: leave.keep_last,
        max_size_bytes: max_size_bytes.transpose()?,
        grace,
        now: env::now(),
    })
}

fn fits(chosen: &Collection, options: &CollectionOptions) -> u8 {
    let max = options.max_size_bytes.unwrap_or(u64::MAX);
    match chosen.garbage.after_bytes > max {
        true => EXIT_FAILED,
        false => 0,
    }
}

/// Prints what goes, or went: `gone` bytes.
fn print(chosen: &Collection, gone: Option<u64>, options: &CollectionOptions, terminal: &Terminal) {
    let garbage = &chosen.garbage;
    let freed = gone.unwrap_or(garbage.before_bytes - garbage.after_bytes);
    let mut out = std::io::stdout().lock();
    if terminal.json {
        drop(out);
        chosen
            .leaving
            .iter()
            .map(value)
            .for_each(|value| json::print(&value));
        for checkpoint in &chosen.checkpoints {
            let LeavingCheckpoint {
                target,
                epochs,
                size_bytes,
            } = checkpoint;
            json::print(&json!({
                "event": "leaving_checkpoint", "target": target, "epochs": epochs, "bytes": size_bytes,
            }));
        }
        json::print(&json!({
            "event": "summary", "version": json::VERSION, "dry_run": gone.is_none(), "freed_bytes": freed,
            "left_bytes": garbage.before_bytes - freed, "max_bytes": options.max_size_bytes,
            "unnamed_bytes": garbage.unnamed.size_bytes, "notes_bytes": garbage.notes.size_bytes,
            "quarantine_bytes": garbage.quarantine.size_bytes,
        }));
        return;
    }
    if !terminal.quiet {
        for leaving in &chosen.leaving {
            let _ = writeln!(out, "{}", line(leaving));
        }
        for LeavingCheckpoint {
            target,
            epochs,
            size_bytes,
        } in &chosen.checkpoints
        {
            let of = epochs.map_or(String::new(), |epochs| {
                format!(" of {}", plural(epochs as usize, "epoch"))
            });
            let _ = writeln!(out, "{target}, checkpoint{of}  {}", size(*size_bytes));
        }
        let rest = [
            (
                garbage.unnamed,
                "left by builds that failed or were interrupted",
            ),
            (
                garbage.notes,
                "notes that only explained what is gone, or are old",
            ),
            (garbage.quarantine, "damaged, and set aside a month ago"),
        ];
        for (count, what) in rest.into_iter().filter(|(count, _)| count.files > 0) {
            let files = plural(count.files as usize, "file");
            let _ = writeln!(out, "{files} {what}  {}", size(count.size_bytes));
        }
    }
    let left = size(garbage.before_bytes - freed);
    let line = match gone {
        None => format!("{} would be removed, {left} stay", size(freed)),
        Some(_) => format!("{} removed, {left} stay", size(freed)),
    };
    let _ = writeln!(out, "{}", terminal.bold(&line));
    if let Some(max) = options.max_size_bytes
        && garbage.after_bytes > max
    {
        let message = format!("the cache does not fit into {}", size(max));
        let help = "what stays is needed by the project as it stands, pinned, or young: `mlbuild cache stats` says how much";
        let diagnostic = Diagnostic::warning("gc::too-large", message).help(help);
        drop(out);
        terminal.diagnostics(&[diagnostic], &[]);
    }
}

fn line(leaving: &Leaving) -> String {
    let Leaving {
        made,
        stages,
        size_bytes,
        duration: took,
        evicted,
    } = leaving;
    let name = match made {
        Some((label, run)) => format!("{label}, run {run} ({})", stages.join(", ")),
        None => "results that lineage knows nothing of".to_owned(),
    };
    let why = if *evicted { ", to make room" } else { "" };
    format!(
        "{name}  {}, took {}{why}",
        size(*size_bytes),
        duration(*took)
    )
}

fn value(leaving: &Leaving) -> Value {
    let Leaving {
        made,
        stages,
        size_bytes,
        duration,
        evicted,
    } = leaving;
    let (label, run) = made.clone().unzip();
    json!({
        "event": "leaving", "target": label, "run": run.map(|run| run.to_string().parse::<i64>().ok()),
        "stages": stages, "bytes": size_bytes, "took_ms": json::millis(*duration), "evicted": evicted,
    })
}
