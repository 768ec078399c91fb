//! Shows a build as it goes: lines where nothing can be redrawn, one live line a running target where it can.
//!
//! Progress goes to standard error. The summary is the result and goes to standard output.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use mlbuild_action::Progress;
use mlbuild_engine::{Event, Outcome, StaleReason, Summary, Unread};
use mlbuild_manifest::{Label, SourceText};

use crate::terminal::{Terminal, count, duration, plural, size};

/// How often a target that only counts rows gets a plain line.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// A reader of the event stream, for people.
pub(crate) struct Console<'a> {
    terminal: &'a Terminal,
    sources: &'a [SourceText],
    live: Option<MultiProgress>,
    running: BTreeMap<Label, Running>,
    placed: Vec<String>,
}

struct Running {
    bar: Option<ProgressBar>,
    stage: String,
    spoke: Instant,
}

impl<'a> Console<'a> {
    pub(crate) fn new(terminal: &'a Terminal, sources: &'a [SourceText]) -> Self {
        let live = (terminal.live && !terminal.quiet).then(MultiProgress::new);
        Self {
            terminal,
            sources,
            live,
            running: BTreeMap::new(),
            placed: Vec::new(),
        }
    }

    /// Shows one event.
    pub(crate) fn event(&mut self, event: &Event) {
        let t = self.terminal;
        match event {
            Event::Waiting { holder } => self.line(&format!("waiting for {holder}")),
            Event::Started {
                label,
                stage,
                reasons,
                expected,
                gpus,
            } => {
                let names = gpus
                    .iter()
                    .map(|gpu| gpu.name.as_deref().unwrap_or(gpu.id.as_str()));
                let names: Vec<&str> = names.collect();
                let on = match &names[..] {
                    [] => String::new(),
                    names => format!(" on {}", names.join(", ")),
                };
                self.started(label, &format!("{stage}{on}"), reasons, *expected);
            }
            Event::Progress { label, progress } => self.progress(label, progress),
            Event::Warning {
                label,
                warning,
                replayed,
            } => {
                let replayed = if *replayed {
                    " (from an earlier build)"
                } else {
                    ""
                };
                self.always(&format!("warning    {label}: {warning}{replayed}"));
            }
            Event::Finished {
                label,
                outcome,
                duration: took,
                rows,
                size_bytes,
                reasons,
                unread,
                unchanged,
                picked,
            } => {
                self.ended(label);
                // That a change stopped here is worth a line; that nothing happened is not.
                if *outcome == Outcome::UpToDate && unread.is_empty() && !t.verbose {
                    return;
                }
                let what =
                    rows.map_or_else(|| size(*size_bytes), |rows| format!("{} rows", count(rows)));
                let (word, note) = match outcome {
                    Outcome::Built if *unchanged => (
                        "built",
                        format!("{}  same result as before", duration(*took)),
                    ),
                    Outcome::Built if let Some(picked) = picked => ("picked", picked.to_string()),
                    Outcome::Built => ("built", duration(*took)),
                    Outcome::Restored => ("restored", first_reason(reasons)),
                    _ => ("up to date", unread_changes(unread)),
                };
                self.line(
                    format!("{} {label}  {what}  {note}", t.good(&format!("{word:10}"))).trim_end(),
                );
            }
            Event::Failed {
                label, diagnostic, ..
            } => {
                self.ended(label);
                self.always(&format!("{} {label}", t.bad("failed    ")));
                let text = t.render(diagnostic, self.sources);
                self.always(text.trim_end_matches('\n'));
            }
            Event::Skipped { label, because } => {
                self.ended(label);
                let why = because
                    .as_ref()
                    .map_or_else(String::new, |b| format!("  because {b} failed"));
                self.line(&format!("skipped    {label}{why}"));
            }
            Event::Materialized { path, .. } => self.placed.push(path.clone()),
            Event::Trouble { diagnostic } => {
                let text = t.render(diagnostic, self.sources);
                self.always(text.trim_end_matches('\n'));
            }
        }
    }

    fn started(
        &mut self,
        label: &Label,
        stage: &str,
        reasons: &[StaleReason],
        expected: Option<Duration>,
    ) {
        let bar = match (self.running.remove(label), &self.live) {
            (Some(Running { bar, .. }), _) => bar,
            (None, Some(live)) => {
                let style =
                    ProgressStyle::with_template("{spinner} {prefix}  {elapsed}  {wide_msg}");
                let bar = live.add(ProgressBar::new_spinner());
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar.set_prefix(label.to_string());
                bar.enable_steady_tick(Duration::from_millis(120));
                Some(bar)
            }
            (None, None) => None,
        };
        let about = expected.map_or_else(String::new, |e| format!("  (about {})", duration(e)));
        match &bar {
            Some(bar) => bar.set_message(format!("{stage}{about}")),
            None => self.line(&format!(
                "running    {label}  {stage}  {}{about}",
                first_reason(reasons)
            )),
        }
        self.running.insert(
            label.clone(),
            Running {
                bar,
                stage: stage.to_owned(),
                spoke: Instant::now(),
            },
        );
    }

    fn progress(&mut self, label: &Label, progress: &Progress) {
        let Some(running) = self.running.get_mut(label) else {
            return;
        };
        let (text, plain) = match progress {
            Progress::Rows { rows } => {
                let due = running.spoke.elapsed() >= PLAIN_EVERY;
                (format!("{} rows", count(*rows)), due)
            }
            Progress::Epoch {
                epoch,
                epochs,
                metrics,
            } => {
                let figures: Vec<_> = metrics
                    .iter()
                    .map(|(name, value)| format!("{name} {value:.4}"))
                    .collect();
                let of = epochs.map_or(String::new(), |epochs| format!("/{epochs}"));
                (format!("epoch {epoch}{of}  {}", figures.join("  ")), true)
            }
            Progress::Resumed { step } => (format!("resumed at step {step}"), true),
            Progress::Log { line } => {
                if self.terminal.verbose {
                    self.line(&format!("           {label} | {line}"));
                }
                return;
            }
        };
        if plain {
            running.spoke = Instant::now();
        }
        match &running.bar {
            Some(bar) => bar.set_message(format!("{}  {text}", running.stage)),
            None if plain => self.line(&format!("           {label}  {text}")),
            None => {}
        }
    }

    fn ended(&mut self, label: &Label) {
        if let Some(Running { bar: Some(bar), .. }) = self.running.remove(label) {
            bar.finish_and_clear();
        }
    }

    /// Shows what the build came to.
    pub(crate) fn summary(&mut self, wanted: &[Label], summary: &Summary, took: Duration) {
        let t = self.terminal;
        let number = |outcome| summary.with(outcome).count();
        let mut out = std::io::stdout().lock();
        if summary.is_null_build() && !summary.targets.is_empty() {
            let what = match wanted {
                [one] => format!("{one} is up to date"),
                several => format!("{} are up to date", plural(several.len(), "target")),
            };
            let looked = plural(summary.targets.len(), "target");
            let _ = writeln!(out, "{what} ({looked} looked at in {})", duration(took));
            return;
        }
        let mut parts = Vec::new();
        for (outcome, word) in [
            (Outcome::Built, "built"),
            (Outcome::Restored, "restored"),
            (Outcome::UpToDate, "up to date"),
            (Outcome::Failed, "failed"),
            (Outcome::Skipped, "skipped"),
        ] {
            let n = number(outcome);
            if n > 0 || outcome == Outcome::Built {
                parts.push(format!("{n} {word}"));
            }
        }
        let saved = match summary.saved {
            saved if saved < Duration::from_millis(1) => String::new(),
            saved => format!("; the cache saved {}", duration(saved)),
        };
        let stopped = if summary.cancelled { "stopped: " } else { "" };
        let line = format!("{stopped}{} in {}{saved}", parts.join(", "), duration(took));
        let _ = writeln!(out, "{}", t.bold(&line));
        for path in &self.placed {
            let _ = writeln!(out, "  {path}");
        }
    }

    /// Prints a line of progress.
    fn line(&self, text: &str) {
        if !self.terminal.quiet {
            self.always(text);
        }
    }

    /// Prints a line above the live ones.
    fn always(&self, text: &str) {
        match &self.live {
            Some(live) => live.suspend(|| {
                let _ = writeln!(std::io::stderr().lock(), "{text}");
            }),
            None => {
                let _ = writeln!(std::io::stderr().lock(), "{text}");
            }
        }
    }
}

/// What changed and is not read, in a line.
pub(crate) fn unread_changes(unread: &[Unread]) -> String {
    let texts: Vec<String> = unread.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// The first reason, and how many more there are.
pub(crate) fn first_reason(reasons: &[StaleReason]) -> String {
    match reasons {
        [] => String::new(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}
