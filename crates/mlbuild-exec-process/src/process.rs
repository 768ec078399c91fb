//! One process: started in a session of its own, watched, and gone with all its children when [`run`] returns.
//!
//! Standard output and error are one pipe, so their lines keep their order; a training's events are another. A single loop
//! polls the pipes, the process, the clock and the cancel flag; there are no threads.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use mlbuild_action::Cancel;

use crate::sandbox::Sandbox;
use crate::spawn::spawn;

/// How often the process and the cancel flag are looked at while nothing is printed.
const POLL: Duration = Duration::from_millis(20);

/// How long a process may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// How a process ended.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// Killed, because its time was up.
    TimedOut,
    /// Killed, because somebody asked.
    Cancelled,
    /// Killed, because of what it said.
    Hopeless,
}

/// Takes what a process writes to a pipe.
pub(crate) trait Sink {
    fn push(&mut self, bytes: &[u8]);

    /// Whether the process need not go on, after what it wrote.
    fn is_hopeless(&self) -> bool {
        false
    }
}

/// The end of a pipe at which we read, without ever blocking, and who takes what comes.
struct Outlet<'a> {
    reader: PipeReader,
    sink: &'a mut dyn Sink,
    is_open: bool,
}

/// The ends at which a process writes.
pub(crate) struct Inlets {
    /// Its output and errors.
    pub(crate) output: PipeWriter,
    /// Its events, if it may tell of any.
    pub(crate) events: Option<PipeWriter>,
}

/// What comes from a process.
pub(crate) struct Outlets<'a>(Vec<Outlet<'a>>);

impl<'a> Outlets<'a> {
    /// Makes the pipes of a process.
    pub(crate) fn new(
        log: &'a mut dyn Sink,
        events: Option<&'a mut dyn Sink>,
    ) -> io::Result<(Self, Inlets)> {
        let (log, output) = outlet(log)?;
        let mut outlets = vec![log];
        let mut inlets = Inlets {
            output,
            events: None,
        };
        if let Some(events) = events {
            let (events, inlet) = outlet(events)?;
            outlets.push(events);
            inlets.events = Some(inlet);
        }
        Ok((Self(outlets), inlets))
    }

    /// Reads what is there, at most some megabytes from each, so that a chatty process cannot keep us from the clock. Returns
    /// whether all of them are closed.
    fn drain(&mut self) -> io::Result<bool> {
        for outlet in self.0.iter_mut().filter(|outlet| outlet.is_open) {
            outlet.is_open = !drain(&mut outlet.reader, outlet.sink)?;
        }
        Ok(self.0.iter().all(|outlet| !outlet.is_open))
    }

    /// Waits until there is something to read, or [`POLL`].
    fn wait_readable(&self) {
        let mut polls: Vec<libc::pollfd> = self
            .0
            .iter()
            .filter(|outlet| outlet.is_open)
            .map(|outlet| libc::pollfd {
                fd: outlet.reader.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        // SAFETY: as many `pollfd` as is said, which live during the call.
        unsafe {
            libc::poll(
                polls.as_mut_ptr(),
                polls.len() as libc::nfds_t,
                POLL.as_millis() as libc::c_int,
            )
        };
    }

    fn are_hopeless(&self) -> bool {
        self.0.iter().any(|outlet| outlet.sink.is_hopeless())
    }
}

/// What bounds a run.
pub(crate) struct Limits<'a> {
    /// How long it may take.
    pub(crate) timeout: Option<Duration>,
    /// Set when it should stop.
    pub(crate) cancel: &'a Cancel,
}

/// Runs a process to its end, with the variables that `command` sets and no others. `home` must be its `HOME` and no other
/// process's: strays are known by it.
///
/// # Errors
/// If it cannot be started: `NotFound` if there is no such program.
pub(crate) fn run(
    command: Command,
    sandbox: Sandbox,
    home: &Path,
    limits: &Limits<'_>,
    (outlets, inlets): (Outlets<'_>, Inlets),
) -> io::Result<Ending> {
    let child = spawn(&command, &inlets, &sandbox)?;
    drop(inlets);
    attend(child, outlets, home, limits)
}

/// A pipe of which the reading end never blocks.
fn outlet(sink: &mut dyn Sink) -> io::Result<(Outlet<'_>, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    // SAFETY: without O_NONBLOCK the reads below could hang on a stray that keeps the pipe open; the call takes
    // integers, and the descriptor is ours.
    if unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let outlet = Outlet {
        reader,
        sink,
        is_open: true,
    };
    Ok((outlet, writer))
}

/// A process that has been started and leads a session of its own, whoever its parent is.
pub(crate) trait Running {
    fn id(&self) -> u32;

    /// How it ended, if it has.
    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>>;

    /// Waits for its end.
    fn wait(&mut self) -> io::Result<ExitStatus>;
}

/// Sees a process to its end. As for [`run`] otherwise.
pub(crate) fn attend(
    child: impl Running,
    mut outlets: Outlets<'_>,
    home: &Path,
    limits: &Limits<'_>,
) -> io::Result<Ending> {
    let mut child = Reaped(child);
    let ending = watch(&mut child, &mut outlets, limits)?;
    child.signal(libc::SIGKILL);
    let mut closed = outlets.drain()?;
    if !closed {
        kill_strays(home);
        let deadline = Instant::now() + GRACE;
        while !closed && Instant::now() < deadline {
            outlets.wait_readable();
            closed = outlets.drain()?;
        }
    }
    Ok(ending)
}

fn watch(
    child: &mut Reaped<impl Running>,
    outlets: &mut Outlets<'_>,
    limits: &Limits<'_>,
) -> io::Result<Ending> {
    let deadline = limits.timeout.map(|timeout| Instant::now() + timeout);
    let mut closed = false;
    let mut pause = Duration::from_micros(20);
    loop {
        if closed {
            // It closed its output, which most do by exiting: so look again soon, then less and less often.
            std::thread::sleep(pause);
            pause = (2 * pause).min(POLL);
        } else {
            outlets.wait_readable();
            closed = outlets.drain()?;
        }
        if let Some(status) = child.0.try_wait()? {
            return Ok(Ending::Exited(status));
        }
        let stopped = if limits.cancel.is_cancelled() {
            Ending::Cancelled
        } else if outlets.are_hopeless() {
            Ending::Hopeless
        } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Ending::TimedOut
        } else {
            continue;
        };
        child.stop(outlets)?;
        return Ok(stopped);
    }
}

/// A child whose session is killed and that is waited for, whatever happens.
struct Reaped<P: Running>(P);

impl<P: Running> Reaped<P> {
    /// Asks the whole group to end, then makes it.
    fn stop(&mut self, outlets: &mut Outlets<'_>) -> io::Result<()> {
        self.signal(libc::SIGTERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && self.0.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(5));
            outlets.drain()?;
        }
        self.signal(libc::SIGKILL);
        self.0.wait()?;
        Ok(())
    }

    /// Sends a signal to every process of the group.
    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the call takes integers. The id is not reused while the group has members, and if it has none the
        // call fails, which is fine.
        unsafe { libc::kill(-(self.0.id() as libc::pid_t), signal) };
    }
}

impl<P: Running> Drop for Reaped<P> {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.signal(libc::SIGKILL);
            // Nothing to do if it fails: it is our child and was killed.
            let _ = self.0.wait();
        }
    }
}

/// Reads what is there; returns whether the writing end is closed.
fn drain(reader: &mut PipeReader, sink: &mut dyn Sink) -> io::Result<bool> {
    let mut buffer = [0; 1 << 16];
    for _ in 0..64 {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(read) => sink.push(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Kills processes that left the session but still have the command's home in their environment, or work beside it.
fn kill_strays(home: &Path) {
    let marker = format!("HOME={}", home.display());
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let Some(id) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let works_beside = fs::read_link(process.path().join("cwd")).is_ok_and(|folder| {
            home.parent()
                .is_some_and(|beside| folder.starts_with(beside))
        });
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        if works_beside || variables.any(|variable| variable == marker.as_bytes()) {
            // SAFETY: the call takes integers.
            unsafe { libc::kill(id, libc::SIGKILL) };
        }
    }
}
