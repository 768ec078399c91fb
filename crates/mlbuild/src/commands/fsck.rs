//! `mlbuild fsck`: checks every file of the cache and the lineage database, and says what is wrong and what it costs.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mlbuild_action::{Cancel, Diagnostic};
use mlbuild_cache::{Cache, CacheError, Flaw, Part, Problem, ProjectLock};
use mlbuild_engine::{Finding, Findings};
use serde_json::json;

use crate::cli::{Fsck, Global};
use crate::failure::{CommandFailure, EXIT_ENVIRONMENT, EXIT_FAILED, EXIT_INTERRUPTED};
use crate::load::find_root;
use crate::terminal::{Terminal, count, duration, plural, size};
use crate::{interrupt, json, lock};

pub(crate) fn run(args: &Fsck, global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let root = find_root(global.directory.as_deref())?;
    let cache = Cache::open_to_check(&mlbuild_engine::state_folder(&root).join("cache"))?;
    let cancel = Cancel::new();
    interrupt::install(&cancel);
    let held = match cache.root().exists() {
        true => hold(&cache, &cancel, terminal, args.repair)?,
        false => Hold::Free,
    };
    let repair = match &held {
        Hold::Interrupted => return Ok(EXIT_INTERRUPTED),
        Hold::Locked(lock) if args.repair => Some(lock),
        Hold::Locked(_) | Hold::Free => None,
    };
    let findings = mlbuild_engine::fsck(&root, &cache, repair)?;
    print(&findings, &root, terminal);
    Ok(
        match findings.cache.is_empty() && findings.lineage.is_empty() {
            true => 0,
            false => EXIT_FAILED,
        },
    )
}

enum Hold {
    Locked(ProjectLock),
    /// A check needs no lock where nobody can build.
    Free,
    Interrupted,
}

/// Keeps builds and collections out while files are looked at.
fn hold(
    cache: &Cache,
    cancel: &Cancel,
    terminal: &Terminal,
    repair: bool,
) -> Result<Hold, CommandFailure> {
    match lock::take_aloud(cache, cancel, terminal) {
        Ok(Some(lock)) => Ok(Hold::Locked(lock)),
        Ok(None) => Ok(Hold::Interrupted),
        Err(error) if !repair && is_read_only(&error) => Ok(Hold::Free),
        Err(error) if is_read_only(&error) => {
            let diagnostic = Diagnostic::error("fsck::read-only", error.to_string());
            Err(CommandFailure::new(
                EXIT_ENVIRONMENT,
                diagnostic.help("without `--repair`, nothing is written"),
            ))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_read_only(error: &CacheError) -> bool {
    matches!(
        error.io_kind(),
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
    )
}

fn print(findings: &Findings, root: &Path, terminal: &Terminal) {
    let Findings {
        cache,
        lineage,
        backups,
        checked,
    } = findings;
    for finding in cache {
        let Finding { problem, lost } = finding;
        if terminal.json {
            json::print(&json!({
                "event": "problem", "part": problem.part.as_str(), "flaw": flaw_name(&problem.flaw),
                "path": problem.path, "text": meaning(problem), "lost": lost,
                "remake_ms": json::millis(problem.duration), "repaired": problem.repaired,
            }));
        } else {
            show(problem, lost, terminal);
        }
    }
    let restore = restore(backups, root);
    for sentence in lineage {
        if terminal.json {
            json::print(&json!({
                "event": "problem", "part": "lineage", "flaw": "damaged", "path": "lineage.db",
                "text": sentence, "lost": [], "remake_ms": 0, "repaired": false, "help": restore,
            }));
        } else {
            let word = terminal.bad("lineage");
            let _ = writeln!(io::stdout(), "{word}  {sentence}");
        }
    }
    let repaired = cache
        .iter()
        .filter(|finding| finding.problem.repaired)
        .count();
    let problems = cache.len() + lineage.len();
    if terminal.json {
        json::print(&json!({
            "event": "summary", "version": json::VERSION, "problems": problems, "repaired": repaired,
            "objects": checked.objects, "object_bytes": checked.object_bytes, "results": checked.results,
        }));
        return;
    }
    let mut out = io::stdout().lock();
    if !lineage.is_empty() {
        let _ = writeln!(
            out,
            "  history is lost or incomplete; builds are not affected. {restore}"
        );
    }
    let looked_at = format!(
        "{} ({}) and {}",
        plural(checked.objects as usize, "object"),
        size(checked.object_bytes),
        plural(checked.results as usize, "result")
    );
    let line = match problems {
        0 => format!("{looked_at}: all is well"),
        _ => {
            let repaired = match repaired {
                0 => String::new(),
                n => format!(
                    ", {} repaired: what was bad is in quarantine/",
                    count(n as u64)
                ),
            };
            format!("{looked_at}: {}{repaired}", plural(problems, "problem"))
        }
    };
    let _ = writeln!(out, "{}", terminal.bold(&line));
    let open = cache
        .iter()
        .any(|finding| !finding.problem.repaired && is_repairable(&finding.problem));
    if open && !terminal.quiet {
        let _ = writeln!(
            out,
            "`mlbuild fsck --repair` moves what is bad out of the way, and the next build makes it again"
        );
    }
}

fn show(problem: &Problem, lost: &[String], terminal: &Terminal) {
    let mut out = io::stdout().lock();
    let word = match problem.repaired {
        true => terminal.good("repaired"),
        false => terminal.bad(flaw_name(&problem.flaw)),
    };
    let path = problem.path.display();
    let _ = writeln!(out, "{word}  {path}: {}", meaning(problem));
    for lost in lost {
        let _ = writeln!(out, "    {lost}");
    }
    if problem.duration > Duration::ZERO {
        let _ = writeln!(out, "    took {} to make", duration(problem.duration));
    }
}

fn is_repairable(problem: &Problem) -> bool {
    !matches!((problem.part, &problem.flaw), (Part::Pin, Flaw::Incomplete))
}

fn flaw_name(flaw: &Flaw) -> &'static str {
    match flaw {
        Flaw::Damaged => "damaged",
        Flaw::Incomplete => "incomplete",
        Flaw::Unreadable(_) => "unreadable",
        Flaw::Foreign => "foreign",
        Flaw::Missing => "missing",
        Flaw::Wrong(_) => "wrong",
    }
}

/// What is wrong, and what that means for who builds here.
fn meaning(problem: &Problem) -> String {
    let what = match &problem.flaw {
        Flaw::Damaged => "not what it should be".to_owned(),
        Flaw::Incomplete => "something that it needs is missing or damaged".to_owned(),
        Flaw::Unreadable(why) => format!("cannot be read ({why})"),
        Flaw::Foreign => "not a file of mlbuild's".to_owned(),
        Flaw::Missing => "not there".to_owned(),
        Flaw::Wrong(files) => format!("takes changed files for unchanged: {}", files.join(", ")),
    };
    let then = match (problem.part, &problem.flaw) {
        (Part::Version, Flaw::Missing) => "the next build writes it",
        (Part::Version, _) => "every command refuses this cache",
        (Part::Object, _) if problem.keys.is_empty() => "no result needs it",
        (Part::Object, _) => "it could be served; what it belongs to has to be made again",
        (Part::Result, _) => "it is no longer found, and its action runs again when it is needed",
        (Part::Listing, _) => "`why` cannot name what changed there",
        (Part::Memo, _) => "it is worked out again",
        (Part::LastBuild, _) => "`why` does not know what the target was",
        (Part::Pin, Flaw::Incomplete) => "build that state again, or unpin it",
        (Part::Pin, _) => {
            "what it holds cannot be told, and `gc` refuses to run; pin the target again"
        }
        (Part::StatIndex, Flaw::Wrong(_)) => "builds do not see these changes",
        (Part::StatIndex, _) => "the next build reads every source file",
        (Part::Stray, _) => "nothing looks at it",
    };
    format!("{what}: {then}")
}

/// What to do about a lineage database that is damaged.
fn restore(backups: &[PathBuf], root: &Path) -> String {
    let database = mlbuild_engine::lineage_path(root);
    // What SQLite left of an interrupted change belongs to this database, and would be played into another.
    let journal = match database.with_extension("db-journal").exists() {
        true => " and `.mlbuild/lineage.db-journal`",
        false => "",
    };
    let away = format!("move `.mlbuild/lineage.db`{journal} away");
    match backups.last() {
        Some(backup) => {
            let backup = backup.strip_prefix(root).unwrap_or(backup).display();
            format!(
                "`{backup}` is a copy from before the last migration: {away}, and put it in the place of \
                 `.mlbuild/lineage.db` to go on from there"
            )
        }
        None => format!("there is no earlier copy: {away}, and the next build begins a new one"),
    }
}
