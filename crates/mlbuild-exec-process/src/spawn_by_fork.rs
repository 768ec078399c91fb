//! Starts a process where it cannot borrow this one's memory: by `fork`.

use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::process::Running;
use crate::sandbox::Sandbox;

/// A process that was started here.
pub(crate) type Spawned = Child;

/// Starts `command`, with the variables that are set in it and no others, in its current folder, which must be set. It gets no
/// input, its output goes to `output`, and it leads a session of its own.
///
/// # Errors
/// Those of starting it: `NotFound` if there is no such program.
pub(crate) fn spawn(
    command: &Command,
    output: &PipeWriter,
    _sandbox: &Sandbox,
) -> io::Result<Spawned> {
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
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    let lead = || {
        // SAFETY: `setsid` is async-signal-safe and takes nothing.
        match unsafe { libc::setsid() } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: between fork and exec the closure makes one system call; it neither allocates nor takes a lock.
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
