//! `mlbuild pin` and `mlbuild unpin`: what `gc` leaves alone, by name.

use std::io::{self, Write as _};

use mlbuild_action::{Cancel, Diagnostic};
use mlbuild_cache::{Cache, Pin};
use serde_json::{Value, json};

use crate::cli::{Global, PinTarget, Unpin};
use crate::failure::{CommandFailure, EXIT_INTERRUPTED, EXIT_USAGE, exit_of};
use crate::load::{find_root, load, one_target};
use crate::terminal::{Terminal, plural};
use crate::{env, interrupt, json, lock, wiring};

pub(crate) fn pin(
    args: &PinTarget,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    let loaded = load(global, &args.variant, terminal)?;
    let label = one_target(&loaded, &args.target)?;
    let of_profile = || match &loaded.project.profile {
        None => label.to_string(),
        Some(profile) => format!("{profile}/{label}"),
    };
    let name = args.name.clone().unwrap_or_else(of_profile);
    let cancel = Cancel::new();
    interrupt::install(&cancel);
    let Some(_lock) = lock::take_aloud(&loaded.project.cache, &cancel, terminal)? else {
        return Ok(EXIT_INTERRUPTED);
    };
    let executors = wiring::executors(&loaded);
    let now = env::now_micros() / 1_000_000;
    let pin = mlbuild_engine::pin(&loaded.project, &executors, &label, &name, now)
        .map_err(|(fault, diagnostic)| CommandFailure::new(exit_of(&[fault]), diagnostic))?;
    if terminal.json {
        json::print(&value(&pin));
    } else if !terminal.quiet {
        let _ = writeln!(io::stdout(), "pinned {}", line(&pin));
    }
    Ok(0)
}

pub(crate) fn unpin(
    args: &Unpin,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    let root = find_root(global.directory.as_deref())?;
    let cache = Cache::open(&mlbuild_engine::state_folder(&root).join("cache"))?;
    if cache.remove_pin(&args.name)? {
        if !terminal.quiet && !terminal.json {
            let _ = writeln!(io::stdout(), "unpinned {}", args.name);
        }
        return Ok(0);
    }
    let names: Vec<String> = cache
        .pins()?
        .into_iter()
        .map(|pin| format!("`{}`", pin.name))
        .collect();
    let help = match names.is_empty() {
        true => "nothing is pinned here".to_owned(),
        false => format!("there are {}", names.join(", ")),
    };
    let diagnostic = Diagnostic::error("pin::unknown", format!("there is no pin `{}`", args.name));
    Err(CommandFailure::new(EXIT_USAGE, diagnostic.help(help)))
}

/// A pin for people.
pub(crate) fn line(pin: &Pin) -> String {
    let results = plural(pin.keys.len(), "result");
    match pin.name == pin.target {
        true => format!("{}  {results}", pin.name),
        false => format!("{}  {}, {results}", pin.name, pin.target),
    }
}

pub(crate) fn value(pin: &Pin) -> Value {
    json!({
        "event": "pin", "name": pin.name, "target": pin.target, "artifact": pin.artifact.to_string(),
        "results": pin.keys.len(), "pinned_at": pin.pinned_at,
    })
}
