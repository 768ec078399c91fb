//! Processes that have imported the packages of a kind of call, and fork themselves for each (`serve.py`).
//!
//! A call to a small function would otherwise cost the start of an interpreter and, many times that, of the libraries
//! that it imports. Sound because the fork happens before anything of the project or of a call is known: a zygote has the
//! environment of its calls but for their folders, imports only packages that are known to do nothing else, and has a
//! single thread, or is not used. Its end is that of its socket, so it cannot outlive this process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, PipeReader};
use std::mem::{size_of_val, zeroed};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::process::{Inlets, Running};
use crate::sandbox::Sandbox;

const SCRIPT: &str = concat!(include_str!("run.py"), include_str!("serve.py"));

/// Packages that may be imported ahead: slow to import, of no effect beside, and whole after a fork.
const AHEAD: [&str; 5] = ["numpy", "pandas", "pyarrow", "scipy", "sklearn"];

/// What calls must share to share a zygote.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Kind {
    pub(super) executable: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) modules: BTreeSet<String>,
}

/// The modules of `imported` that a zygote imports.
pub(super) fn ahead(imported: &BTreeSet<String>) -> BTreeSet<String> {
    let known = |module: &&String| AHEAD.contains(&module.split('.').next().unwrap_or_default());
    let mut modules: BTreeSet<String> = imported.iter().filter(known).cloned().collect();
    if modules.iter().any(|module| module.starts_with("pyarrow")) {
        // What inputs are read with.
        modules.insert("pyarrow.parquet".to_owned());
    }
    modules
}

/// The zygotes of one build.
#[derive(Default)]
pub(crate) struct Zygotes(Mutex<BTreeMap<Kind, Arc<Mutex<State>>>>);

#[derive(Default)]
enum State {
    #[default]
    Unborn,
    Ready(Zygote),
    /// It cannot fork, or is gone: calls start interpreters of their own.
    Unfit,
}

impl Zygotes {
    /// Forks a process for the call in the file `request`; `None` where calls of this kind need one of their own.
    pub(super) fn fork(
        &self,
        kind: &Kind,
        request: &Path,
        inlets: &Inlets,
        sandbox: &Sandbox,
        started: &AtomicU64,
    ) -> Option<Forked> {
        let slot = Arc::clone(lock(&self.0).entry(kind.clone()).or_default());
        let mut state = lock(&slot);
        if matches!(*state, State::Unborn) {
            started.fetch_add(1, Ordering::Relaxed);
            *state = match Zygote::start(kind) {
                Ok(zygote) => State::Ready(zygote),
                Err(_) => State::Unfit,
            };
        }
        let State::Ready(zygote) = &*state else {
            return None;
        };
        let forked = zygote.fork(request, inlets, sandbox);
        if forked.is_err() {
            *state = State::Unfit;
        }
        forked.ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is whole, whatever happened to whoever held it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Zygote {
    child: Child,
    control: UnixStream,
}

impl Zygote {
    #[expect(
        clippy::disallowed_methods,
        reason = "starting processes is what this crate is for"
    )]
    fn start(kind: &Kind) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let child = Command::new(&kind.executable)
            .args(["-s", "-B", "-u", "-c", SCRIPT])
            .args(&kind.modules)
            .env_clear()
            .envs(&kind.env)
            .env("HOME", "/nonexistent")
            .current_dir("/")
            // An interrupt at the terminal is for us to pass on.
            .process_group(0)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let zygote = Self { child, control };
        let mut answer = String::new();
        BufReader::new(&zygote.control).read_line(&mut answer)?;
        match answer.trim() {
            "1" => Ok(zygote),
            _ => Err(io::Error::other("it has threads, or did not start")),
        }
    }

    fn fork(&self, request: &Path, inlets: &Inlets, sandbox: &Sandbox) -> io::Result<Forked> {
        let (status, theirs) = io::pipe()?;
        let events = inlets.events.as_ref().map(AsRawFd::as_raw_fd);
        let given = [
            ("log", Some(inlets.output.as_raw_fd())),
            ("status", Some(theirs.as_raw_fd())),
            ("events", events),
            ("sandbox", sandbox.descriptor()),
        ];
        let given = given.into_iter().filter_map(|(name, it)| Some((name, it?)));
        let (names, descriptors): (Vec<&str>, Vec<RawFd>) = given.unzip();
        let names = names.join(",");
        let request = [names.as_bytes(), b" ", request.as_os_str().as_bytes()].concat();
        send(&self.control, &request, &descriptors)?;
        drop(theirs);
        let mut status = BufReader::new(status);
        let id: i32 = number(&mut status)?;
        Ok(Forked {
            id: u32::try_from(id).map_err(|_| io::Error::other("it cannot fork"))?,
            status,
            ended: None,
        })
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // It has nothing to lose, and nothing to do if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A fork of a zygote, which tells of its end.
pub(super) struct Forked {
    id: u32,
    status: BufReader<PipeReader>,
    ended: Option<ExitStatus>,
}

impl Running for Forked {
    fn id(&self) -> u32 {
        self.id
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut poll = libc::pollfd {
            fd: self.status.get_ref().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one `pollfd`, which lives during the call.
        if self.ended.is_none() && unsafe { libc::poll(&mut poll, 1, 0) } <= 0 {
            return Ok(None);
        }
        self.wait().map(Some)
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        // A zygote that is gone has taken its forks with it.
        let status = number(&mut self.status).unwrap_or(libc::SIGKILL);
        let status = ExitStatus::from_raw(status);
        self.ended = Some(status);
        Ok(status)
    }
}

/// Reads a line with a number.
fn number(from: &mut BufReader<PipeReader>) -> io::Result<i32> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    line.trim().parse().map_err(io::Error::other)
}

/// Sends bytes and descriptors as one message.
fn send(socket: &UnixStream, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<()> {
    let size = size_of_val(descriptors);
    let length = u32::try_from(size).expect("four descriptors are a few bytes");
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: `CMSG_SPACE` computes; a zeroed `msghdr` is an empty message.
    let (space, mut message) =
        unsafe { (libc::CMSG_SPACE(length) as usize, zeroed::<libc::msghdr>()) };
    // As wide integers, so that the header in it is aligned.
    let mut control = vec![0u64; space.div_ceil(8)];
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = space;
    // SAFETY: `control` has room for one header with the descriptors, as `CMSG_SPACE` says; all that the message points
    // to lives until it is sent.
    let sent = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(length) as usize;
        std::ptr::copy_nonoverlapping(descriptors.as_ptr().cast(), libc::CMSG_DATA(header), size);
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    match usize::try_from(sent) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) => Err(io::Error::other("the message was cut")),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
