//! Starts a process where it cannot borrow this one's memory: by `fork`.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::events::DESCRIPTOR;
use crate::process::{Inlets, Running};
use crate::sandbox::Sandbox;

/// A process that was started here.
pub(crate) type Spawned = Child;

/// Starts `command`, with the variables that are set in it and no others, in its current folder, which must be set. It gets no
/// input, writes to `inlets`, and leads a session of its own.
///
/// # Errors
/// Those of starting it: `NotFound` if there is no such program.
pub(crate) fn spawn(command: &Command, inlets: &Inlets, _sandbox: &Sandbox) -> io::Result<Spawned> {
    #[expect(
        clippy::disallowed_methods,
        reason = "starting processes is what this crate is for"
    )]
    let mut child = Command::new(command.get_program());
    child
        .args(command.get_args())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(command.get_current_dir().unwrap_or("/".as_ref()))
        .stdin(Stdio::null())
        .stdout(inlets.output.try_clone()?)
        .stderr(inlets.output.try_clone()?);
    let events = inlets.events.as_ref().map(AsRawFd::as_raw_fd);
    let lead = move || {
        // SAFETY: these calls are async-signal-safe and take integers. Onto itself `dup2` does nothing, so that the
        // descriptor would be closed with the program's start.
        let done = unsafe {
            libc::setsid() != -1
                && events.is_none_or(|events| {
                    libc::dup2(events, DESCRIPTOR) != -1
                        && libc::fcntl(DESCRIPTOR, libc::F_SETFD, 0) != -1
                })
        };
        match done {
            true => Ok(()),
            false => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the closure makes system calls only; it neither allocates nor takes a lock.
    unsafe { child.pre_exec(lead) };
    child.spawn()
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
