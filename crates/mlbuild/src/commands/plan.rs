//! `mlbuild plan`: what a build would do, and why.

use std::io::Write as _;

use mlbuild_engine::{Planned, Verdict};

use crate::cli::{Global, Selection};
use crate::failure::{CommandFailure, EXIT_USAGE};
use crate::load::{load, select};
use crate::terminal::{Terminal, duration};
use crate::{json, wiring};

pub(crate) fn run(
    selection: &Selection,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    let loaded = load(global.directory.as_deref(), terminal)?;
    let wanted = select(&loaded, &selection.targets)?;
    let planned = mlbuild_engine::plan(&loaded.project, &wanted, &wiring::executors(&loaded));
    let mut broken = Vec::new();
    for target in &planned {
        if global.json {
            json::print(&json::planned(target, &loaded.sources));
        }
        if let Verdict::Broken(diagnostic) = &target.verdict {
            broken.push(diagnostic.clone());
        }
    }
    if !global.json {
        print(&planned, terminal);
    }
    terminal.diagnostics(&broken, &loaded.sources);
    Ok(if broken.is_empty() { 0 } else { EXIT_USAGE })
}

fn print(planned: &[Planned], terminal: &Terminal) {
    let mut out = std::io::stdout().lock();
    let width = planned
        .iter()
        .map(|target| target.label.to_string().len())
        .max()
        .unwrap_or(0);
    let mut shown = 0;
    for Planned { label, verdict, .. } in planned {
        let (word, why) = match verdict {
            Verdict::UpToDate if !terminal.verbose => continue,
            Verdict::UpToDate => ("up to date", Vec::new()),
            Verdict::Restore { reasons, saves } => {
                let mut why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                why.push(format!("cached: saves {}", duration(*saves)));
                ("restore", why)
            }
            Verdict::Build { stage, reasons } => {
                let mut why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                if let Some(first) = why.first_mut() {
                    *first = format!("{stage}: {first}");
                }
                ("build", why)
            }
            Verdict::Pending { on } => {
                let on: Vec<String> = on.iter().map(ToString::to_string).collect();
                (
                    "may build",
                    vec![format!("if what it reads of {} changes", on.join(", "))],
                )
            }
            Verdict::Broken(diagnostic) => ("broken", vec![diagnostic.message.clone()]),
        };
        shown += 1;
        let label = label.to_string();
        let _ = writeln!(
            out,
            "{word:10} {label:width$}  {}",
            why.first().map_or("", String::as_str)
        );
        for line in why.iter().skip(1) {
            let _ = writeln!(out, "{:10} {:width$}  {line}", "", "");
        }
    }
    if shown == 0 {
        let _ = writeln!(
            out,
            "nothing to do: {} up to date",
            crate::terminal::plural(planned.len(), "target")
        );
    }
}
