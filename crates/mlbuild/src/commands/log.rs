//! `mlbuild log`: what a target's actions printed the last time they ran, or the last runs.

use std::fs;
use std::io::{self, Write as _};

use mlbuild_action::Diagnostic;

use crate::cli::{Global, Log, QueryFormat};
use crate::commands::query;
use crate::failure::{CommandFailure, EXIT_USAGE};
use crate::load::{load, one_target};
use crate::terminal::Terminal;

pub(crate) fn run(args: &Log, global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let loaded = load(global, &args.variant, terminal)?;
    let Some(target) = &args.target else {
        let format = if global.json {
            QueryFormat::Jsonl
        } else {
            QueryFormat::Table
        };
        return query::print(&loaded.project.root, query::LAST_RUNS, format);
    };
    let label = one_target(&loaded, target)?;
    let path = mlbuild_engine::log_path(&loaded.project.state(), &label);
    match fs::read(&path) {
        Ok(log) => {
            let _ = io::stdout().write_all(&log);
            Ok(0)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let diagnostic = Diagnostic::error("log::none", format!("`{label}` has no log"))
                .help("a log is written when an action of the target runs; what came from the cache printed nothing here");
            Err(CommandFailure::new(EXIT_USAGE, diagnostic))
        }
        Err(e) => Err(CommandFailure::io("read", &path, &e)),
    }
}
