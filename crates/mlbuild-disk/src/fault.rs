//! Faults: what happens at the step of a number instead of the step.
//!
//! A plan is `KIND@N,REPORT`: the kind, the number of the step (the first is 1), and a file to which a line goes when
//! the fault strikes. `abort@17,/tmp/struck` ends the process before its 17th step. The kinds:
//!
//! - `abort` ends the process as `kill -9` would, before the step;
//! - `half` does so after half of what the step was to write is written;
//! - `full` lets this step and all after it find a full disk, as far as they take space;
//! - `io` and `denied` let this one step fail;
//! - `list` lets nothing fail, and reports every step.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;

use crate::Step;
use crate::step::watch;

/// Lets a fault strike, as the text says; once and for all in this process. Says whether it is a plan.
pub fn arm(plan: &str) -> bool {
    let armed = plan.parse().ok();
    let is_plan = armed.is_some();
    watch().armed = armed;
    is_plan
}

/// A fault that waits for its step.
pub(crate) struct Armed {
    kind: Kind,
    /// The number of its step.
    at: u64,
    report: PathBuf,
    /// Steps so far.
    steps: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Abort,
    Half,
    Full,
    Io,
    Denied,
    List,
}

/// What becomes of a step.
pub(crate) enum Verdict {
    GoOn,
    Fail(io::Error),
    End,
}

impl FromStr for Armed {
    type Err = ();

    fn from_str(plan: &str) -> Result<Self, ()> {
        let (kind, rest) = plan.split_once('@').ok_or(())?;
        let (at, report) = rest.split_once(',').ok_or(())?;
        let kind = match kind {
            "abort" => Kind::Abort,
            "half" => Kind::Half,
            "full" => Kind::Full,
            "io" => Kind::Io,
            "denied" => Kind::Denied,
            "list" => Kind::List,
            _ => return Err(()),
        };
        Ok(Self {
            kind,
            at: at.parse().map_err(|_| ())?,
            report: PathBuf::from(report),
            steps: 0,
        })
    }
}

impl Armed {
    pub(crate) fn verdict(&mut self, step: &Step<'_>) -> Verdict {
        self.steps += 1;
        let strikes = match self.kind {
            Kind::List => true,
            Kind::Full => self.steps >= self.at && step.takes_space(),
            Kind::Abort | Kind::Half | Kind::Io | Kind::Denied => self.steps == self.at,
        };
        if !strikes {
            return Verdict::GoOn;
        }
        self.report(step);
        let error = |number| Verdict::Fail(io::Error::from_raw_os_error(number));
        match self.kind {
            Kind::List => Verdict::GoOn,
            Kind::Full => error(libc::ENOSPC),
            Kind::Io => error(libc::EIO),
            Kind::Denied => error(libc::EACCES),
            Kind::Abort => Verdict::End,
            Kind::Half => {
                // Whatever comes of it: the process ends.
                let _ = half(step);
                Verdict::End
            }
        }
    }

    fn report(&self, step: &Step<'_>) {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).open(&self.report);
        let line = format!("{} {} {}\n", self.steps, step.name(), step.path().display());
        // A test that finds no report says so.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// Does half of a step, if it writes.
fn half(step: &Step<'_>) -> io::Result<()> {
    match step {
        Step::Write { path, bytes } => fs::write(path, &bytes[..bytes.len() / 2]),
        Step::Copy { from, to } => {
            let bytes = fs::read(from)?;
            fs::write(to, &bytes[..bytes.len() / 2])
        }
        Step::RemoveFolder { path } => {
            let entries: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
            for entry in &entries[..entries.len().div_ceil(2)] {
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
