//! Starts a process that borrows this one's memory until it executes its program, as `vfork` does.
//!
//! `fork` copies the page tables of everything that queries and models have in memory, and makes every page that is written
//! afterwards a page fault: for short commands that is most of what they cost. `posix_spawn` avoids it but cannot apply a
//! sandbox in between.
//!
//! Invariants: the child makes system calls only, on a stack of its own and on values that were made before; the
//! thread that started it stands still until it has executed its program or given up; no signal handler of ours runs in it.

use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::{fs::File, mem, ptr};

use crate::events::DESCRIPTOR;
use crate::process::{Inlets, Running};
use crate::sandbox::Sandbox;

/// Signals that we ignore and programs expect to end by: a broken pipe, a file that grows too large.
const IGNORED_BY_US: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// What the child needs to come as far as its program.
const STACK_BYTES: usize = 64 << 10;

/// A process that was started here, and will be waited for here.
pub(crate) struct Spawned {
    id: libc::pid_t,
    /// Set once it has been waited for: its number may then be another's.
    ended: Option<ExitStatus>,
}

/// Starts `command`, with the variables that are set in it and no others, in its current folder, which must be set. It gets no
/// input, writes to `inlets`, leads a session of its own, ends with the calling thread, and is in `sandbox`.
///
/// # Errors
/// Those of starting it: `NotFound` if there is no such program.
pub(crate) fn spawn(command: &Command, inlets: &Inlets, sandbox: &Sandbox) -> io::Result<Spawned> {
    let folder = command
        .get_current_dir()
        .map_or(OsStr::new("/"), |f| f.as_os_str());
    let (program, folder) = (text(command.get_program())?, text(folder)?);
    let arguments = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let arguments: Vec<CString> = arguments.map(text).collect::<io::Result<_>>()?;
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(text(&[name, value?].join(OsStr::new("=")))));
    let variables: Vec<CString> = variables.collect::<io::Result<_>>()?;
    let (arguments, variables) = (pointers(&arguments), pointers(&variables));
    let nothing = File::open("/dev/null")?;
    let mut plan = Plan {
        program: program.as_ptr(),
        arguments: arguments.as_ptr(),
        variables: variables.as_ptr(),
        folder: folder.as_ptr(),
        input: nothing.as_raw_fd(),
        output: inlets.output.as_raw_fd(),
        events: inlets.events.as_ref().map(AsRawFd::as_raw_fd),
        sandbox,
        failed: 0,
    };
    let mut stack = vec![0_u128; STACK_BYTES / 16];
    // SAFETY: the stack lives until the child has left it, and grows down from its end, which is aligned to 16 bytes; `plan`
    // and all that it points to live as long, and only the child touches them meanwhile, since CLONE_VFORK holds this
    // thread up. Signals are blocked, so that no handler runs in the child on memory that it shares with us.
    let id = unsafe {
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        let before = block_signals()?;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let id = libc::clone(child, top, flags, ptr::from_mut(&mut plan).cast());
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        if id == -1 {
            return Err(error);
        }
        id
    };
    let mut spawned = Spawned { id, ended: None };
    // SAFETY: the child wrote it, if anything, before this thread went on.
    match unsafe { ptr::read_volatile(&plan.failed) } {
        0 => Ok(spawned),
        error => {
            spawned.wait()?;
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

/// What the child needs, made before it exists.
struct Plan<'a> {
    program: *const c_char,
    arguments: *const *const c_char,
    variables: *const *const c_char,
    folder: *const c_char,
    input: RawFd,
    output: RawFd,
    events: Option<RawFd>,
    sandbox: &'a Sandbox,
    /// The error that kept the program from being executed.
    failed: c_int,
}

fn text(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::from)
}

/// As `execve` takes them: with a null at the end.
fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    let texts = texts.iter().map(|text| text.as_ptr());
    texts.chain([ptr::null()]).collect()
}

/// Blocks every signal of this thread; returns what was blocked before.
unsafe fn block_signals() -> io::Result<libc::sigset_t> {
    // SAFETY: the sets are plain values that the calls fill.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        let mut before: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&mut all);
        match libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before) {
            0 => Ok(before),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: it is the plan that `spawn` made, which waits for us.
    let plan = unsafe { &mut *plan.cast::<Plan<'_>>() };
    let error = become_program(plan);
    plan.failed = error.raw_os_error().unwrap_or(libc::EINVAL);
    // SAFETY: ends this process without running what the parent registered for its own end.
    unsafe { libc::_exit(127) }
}

/// Turns this process into the program; returns only if that fails.
fn become_program(plan: &Plan<'_>) -> io::Error {
    let failed = io::Error::last_os_error;
    // SAFETY: all of these are system calls, on descriptors and texts that `spawn` keeps.
    unsafe {
        let placed = libc::dup2(plan.input, 0) != -1
            && libc::dup2(plan.output, 1) != -1
            && libc::dup2(plan.output, 2) != -1
            && libc::chdir(plan.folder) != -1
            && libc::setsid() != -1
            && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != -1;
        if !placed {
            return failed();
        }
    }
    if let Err(error) = plan.sandbox.enter() {
        return error;
    }
    // After the sandbox, whose descriptor may be in this place.
    if let Some(events) = plan.events {
        // SAFETY: as above. Onto itself `dup2` does nothing, so that it would be closed with the program's start.
        let placed = unsafe {
            libc::dup2(events, DESCRIPTOR) != -1 && libc::fcntl(DESCRIPTOR, libc::F_SETFD, 0) != -1
        };
        if !placed {
            return failed();
        }
    }
    reset_signals();
    // SAFETY: as above.
    unsafe { libc::execve(plan.program, plan.arguments, plan.variables) };
    failed()
}

/// Takes our handlers away, lets the program end by what we ignore, and blocks no signal any more.
fn reset_signals() {
    // SAFETY: system calls on plain values; this process has its own table of handlers.
    unsafe {
        for signal in 1..=64 {
            let mut action: libc::sigaction = mem::zeroed();
            let known = libc::sigaction(signal, ptr::null(), &mut action) == 0;
            let inherited = [libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction);
            if known && (!inherited || IGNORED_BY_US.contains(&signal)) {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &action, ptr::null_mut());
            }
        }
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
}

impl Spawned {
    fn wait_with(&mut self, options: c_int) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        let mut status = 0;
        // SAFETY: the process is our child and has not been waited for.
        match unsafe { libc::waitpid(self.id, &mut status, options) } {
            0 => Ok(None),
            -1 => Err(io::Error::last_os_error()),
            _ => {
                self.ended = Some(ExitStatus::from_raw(status));
                Ok(self.ended)
            }
        }
    }
}

impl Running for Spawned {
    fn id(&self) -> u32 {
        self.id.unsigned_abs()
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.wait_with(libc::WNOHANG)
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            match self.wait_with(0) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "describes a process; it starts below"
    )]
    fn shell(line: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).current_dir("/").env_clear();
        command
    }

    fn run(command: &Command) -> io::Result<(String, ExitStatus)> {
        let (mut reader, output) = io::pipe()?;
        let inlets = Inlets {
            output,
            events: None,
        };
        let mut spawned = spawn(command, &inlets, &Sandbox::none())?;
        drop(inlets);
        let mut printed = String::new();
        reader.read_to_string(&mut printed)?;
        Ok((printed, spawned.wait()?))
    }

    #[test]
    fn it_gets_its_words_folder_and_variables_and_nothing_else() {
        let mut command = shell("echo \"$0 $1\"; pwd; env | sort; cat; echo error >&2; exit 3");
        command
            .args(["zero", "one two"])
            .env("A", "1")
            .env("B", "x=y");
        let (printed, status) = run(&command).unwrap();
        // What a shell sets by itself is not of us.
        let lines = printed.lines().filter(|line| !line.starts_with(['_', 'P']));
        let lines: Vec<&str> = lines.collect();
        assert_eq!(lines, ["zero one two", "/", "A=1", "B=x=y", "error"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn what_cannot_start_says_why_and_leaves_no_process() {
        let kind = |command: &Command| run(command).unwrap_err().kind();
        let mut nowhere = shell("true");
        nowhere.current_dir("/nowhere/at/all");
        assert_eq!(kind(&nowhere), io::ErrorKind::NotFound);
        #[expect(clippy::disallowed_methods, reason = "it never starts")]
        let no_program = Command::new("/nowhere/program");
        assert_eq!(kind(&no_program), io::ErrorKind::NotFound);
        #[expect(clippy::disallowed_methods, reason = "it never starts")]
        let no_executable = Command::new("/etc/passwd");
        assert_eq!(kind(&no_executable), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn it_leads_a_session_and_dies_of_broken_pipes_and_signals() {
        let (session, _) = run(&shell("cut -d' ' -f6 /proc/$$/stat; echo $$")).unwrap();
        let ids: Vec<&str> = session.lines().collect();
        assert_eq!(ids[0], ids[1]);
        // Rust programs ignore broken pipes; others expect to die of them.
        let (_, status) = run(&shell("kill -PIPE $$")).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGPIPE));
        let (blocked, _) = run(&shell("grep SigBlk /proc/self/status")).unwrap();
        assert_eq!(blocked.trim(), "SigBlk:\t0000000000000000");
    }

    #[test]
    fn events_have_a_descriptor_of_their_own_whatever_was_there() {
        for before in 0..4 {
            // The pipes take other numbers each time.
            let others: Vec<File> = (0..before)
                .map(|_| File::open("/dev/null").unwrap())
                .collect();
            let (mut reader, output) = io::pipe().unwrap();
            let (mut heard, events) = io::pipe().unwrap();
            let inlets = Inlets {
                output,
                events: Some(events),
            };
            let command = shell("echo event >&3; echo printed");
            let mut spawned = spawn(&command, &inlets, &Sandbox::none()).unwrap();
            drop((inlets, others));
            let (mut printed, mut said) = (String::new(), String::new());
            reader.read_to_string(&mut printed).unwrap();
            heard.read_to_string(&mut said).unwrap();
            assert_eq!((&*printed, &*said), ("printed\n", "event\n"));
            assert!(spawned.wait().unwrap().success());
        }
    }

    #[test]
    fn many_threads_start_many_processes() {
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for round in 0..20 {
                        let said = format!("{thread} {round}\n");
                        let (printed, _) = run(&shell(&format!("echo {said}"))).unwrap();
                        assert_eq!(printed, said);
                    }
                });
            }
        });
    }
}
