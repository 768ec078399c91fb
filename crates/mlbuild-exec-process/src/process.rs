//! One process: started in a session of its own, watched, and gone with all its children when [`run`] returns.
//!
//! Standard output and error are one pipe, so their lines keep their order. A single loop polls the pipe, the process,
//! the clock and the cancel flag; there are no threads.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mlbuild_action::Cancel;

use crate::log::Log;
use crate::sandbox::Sandbox;

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
}

/// What bounds a run.
pub(crate) struct Limits<'a> {
    /// How long it may take.
    pub(crate) timeout: Option<Duration>,
    /// Set when it should stop.
    pub(crate) cancel: &'a Cancel,
}

/// Runs a process to its end. `home` must be its `HOME` and no other process's: strays are known by it.
///
/// # Errors
/// If it cannot be started: `NotFound` if there is no such program.
pub(crate) fn run(
    mut command: Command,
    sandbox: Sandbox,
    home: &Path,
    limits: &Limits<'_>,
    log: &mut Log<'_>,
) -> io::Result<Ending> {
    let (reader, writer) = output_pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    isolate(&mut command, sandbox);
    let child = command.spawn()?;
    // It holds our copies of the pipe's writing end.
    drop(command);
    attend(child, reader, home, limits, log)
}

/// A pipe for a process's output, of which the reading end never blocks.
pub(crate) fn output_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    // SAFETY: without O_NONBLOCK the reads below could hang on a stray that keeps the pipe open; the call takes
    // integers, and the descriptor is ours.
    if unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((reader, writer))
}

/// A process that has been started and leads a session of its own, whoever its parent is.
pub(crate) trait Running {
    fn id(&self) -> u32;

    /// How it ended, if it has.
    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>>;

    /// Waits for its end.
    fn wait(&mut self) -> io::Result<ExitStatus>;
}

impl Running for Child {
    fn id(&self) -> u32 {
        self.id()
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.try_wait()
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        self.wait()
    }
}

/// Sees a process to its end; its output comes from `reader`. As for [`run`] otherwise.
pub(crate) fn attend(
    child: impl Running,
    mut reader: PipeReader,
    home: &Path,
    limits: &Limits<'_>,
    log: &mut Log<'_>,
) -> io::Result<Ending> {
    let mut child = Reaped(child);
    let ending = watch(&mut child, &mut reader, limits, log)?;
    let mut open = true;
    child.signal(libc::SIGKILL);
    if !drain(&mut reader, log)? {
        kill_strays(home);
        let deadline = Instant::now() + GRACE;
        while open && Instant::now() < deadline {
            wait_readable(&reader);
            open = !drain(&mut reader, log)?;
        }
    }
    Ok(ending)
}

/// A session of its own, an end with ours, and the sandbox.
fn isolate(command: &mut Command, sandbox: Sandbox) {
    let enter = move || {
        // SAFETY: `setsid`, `signal` and `prctl` are async-signal-safe and take integers only.
        unsafe {
            // We ignore it; programs expect to end by it.
            libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
            if libc::setsid() == -1 {
                return Err(io::Error::last_os_error());
            }
            #[cfg(target_os = "linux")]
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        }
        sandbox.enter()
    };
    // SAFETY: between fork and exec the closure makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(enter) };
}

fn watch(
    child: &mut Reaped<impl Running>,
    reader: &mut PipeReader,
    limits: &Limits<'_>,
    log: &mut Log<'_>,
) -> io::Result<Ending> {
    let deadline = limits.timeout.map(|timeout| Instant::now() + timeout);
    let mut ended = false;
    let mut pause = Duration::from_micros(20);
    loop {
        if ended {
            // It closed its output, which most do by exiting: so look again soon, then less and less often.
            std::thread::sleep(pause);
            pause = (2 * pause).min(POLL);
        } else {
            wait_readable(reader);
            ended = drain(reader, log)?;
        }
        if let Some(status) = child.0.try_wait()? {
            return Ok(Ending::Exited(status));
        }
        let stopped = if limits.cancel.is_cancelled() {
            Ending::Cancelled
        } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Ending::TimedOut
        } else {
            continue;
        };
        child.stop(reader, log)?;
        return Ok(stopped);
    }
}

/// A child whose session is killed and that is waited for, whatever happens.
struct Reaped<P: Running>(P);

impl<P: Running> Reaped<P> {
    /// Asks the whole group to end, then makes it.
    fn stop(&mut self, reader: &mut PipeReader, log: &mut Log<'_>) -> io::Result<()> {
        self.signal(libc::SIGTERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && self.0.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(5));
            drain(reader, log)?;
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

/// Waits until there is something to read, or [`POLL`].
fn wait_readable(reader: &PipeReader) {
    let mut poll = libc::pollfd {
        fd: reader.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one `pollfd`, which lives during the call.
    unsafe { libc::poll(&mut poll, 1, POLL.as_millis() as libc::c_int) };
}

/// Reads what is there, at most some megabytes, so that a chatty process cannot keep us from the clock. Returns whether
/// the writing end is closed.
fn drain(reader: &mut PipeReader, log: &mut Log<'_>) -> io::Result<bool> {
    let mut buffer = [0; 1 << 16];
    for _ in 0..64 {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(read) => log.push(&buffer[..read]),
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
