//! One worker's life: start, handshake, one piece of work, end.
//!
//! Two threads read its streams; the action's own thread waits for what they read, and looks at [`Cancel`] every
//! [`TICK`]. The process is killed and reaped when [`Worker`] is dropped, so no way out of here leaves one behind.
//! Should `mlbuild` itself be killed, the worker sees the end of its input and exits.
//!
//! [`Cancel`]: mlbuild_action::Cancel

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use mlbuild_action::{Device, Diagnostic, Failure, GpuId, Progress, Request};
use mlbuild_worker_protocol::{
    ENVIRONMENT, FromWorker, PROTOCOL, ReadError, ToWorker, read, write,
};

use super::WorkerSettings;
use crate::{LIBTORCH, stop_if_cancelled};

/// How often a waiting client looks whether it should stop.
const TICK: Duration = Duration::from_millis(20);

/// How long a worker may take to exit once its work is done or its output has ended.
const EXIT: Duration = Duration::from_secs(5);

/// How many lines of a worker's standard error a failure shows.
const LAST_LINES: usize = 20;

/// What a session needs.
pub(super) struct Session<'a> {
    pub(super) settings: &'a WorkerSettings,
    pub(super) request: &'a Request<'a>,
    pub(super) threads: u32,
    pub(super) device: Device,
}

/// What a worker said about work it has done.
pub(super) struct Done {
    /// The library that computed.
    pub(super) library: String,
    /// Final figures by name.
    pub(super) metrics: BTreeMap<String, f64>,
    /// Figures of each epoch.
    pub(super) curve: Vec<BTreeMap<String, f64>>,
}

type Said = Result<FromWorker, ReadError>;

impl Session<'_> {
    /// Starts a worker, has it do the work, and waits until it is gone.
    ///
    /// # Errors
    /// [`Failure::Environment`] if there is no worker, or not the one wanted; [`Failure::Failed`] if it failed, died,
    /// fell silent or talked nonsense; [`Failure::Cancelled`].
    pub(super) fn run(&self, work: &ToWorker) -> Result<Done, Failure> {
        let program = self.settings.program.as_deref().ok_or_else(missing)?;
        let mut child = self.command(program).spawn().map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return missing();
            }
            let message = format!("cannot start the model worker: {error}");
            Failure::Environment(Diagnostic::error("worker::start", message))
        })?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("the output was asked for");
        let stderr = child.stderr.take().expect("the error stream was asked for");
        let lines = Mutex::new(VecDeque::new());
        thread::scope(|scope| {
            // Dropped before the scope ends: the streams end with the process, and with them the threads.
            let mut worker = Worker { child, stdin };
            let (said, heard) = mpsc::sync_channel(64);
            scope.spawn(move || {
                let mut stdout = BufReader::new(stdout);
                loop {
                    let message = read(&mut stdout);
                    let is_last = message.is_err();
                    if said.send(message).is_err() || is_last {
                        break;
                    }
                }
            });
            let log = scope.spawn(|| self.forward_lines(stderr, &lines));
            let end = self.converse(&mut worker, &heard, work);
            drop(heard);
            match end {
                Ok(done) => Ok(done),
                Err(End::Failure(failure)) => Err(failure),
                Err(End::Died) => {
                    let status = worker.exit();
                    drop(worker);
                    // All it wrote is read before the last lines are shown.
                    let _ = log.join();
                    stop_if_cancelled(self.request.cancel)?;
                    Err(died(status, &lines))
                }
                Err(End::Nonsense(error)) => {
                    drop(worker);
                    let _ = log.join();
                    Err(with_lines(
                        Diagnostic::error(
                            "worker::garbled",
                            format!("the model worker does not keep to the protocol: {error}"),
                        ),
                        &lines,
                    ))
                }
            }
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the client of the worker starts it"
    )]
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if self.device == Device::Gpu {
            command.arg("--gpu");
        }
        command
            .env_clear()
            .envs(&self.settings.env)
            .envs(ENVIRONMENT)
            .env("OMP_NUM_THREADS", self.threads.to_string())
            .env("CUDA_VISIBLE_DEVICES", GpuId::list(self.request.gpus))
            .current_dir(self.request.scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C is the client's to answer.
            .process_group(0);
        command
    }

    fn forward_lines(&self, stderr: impl Read, last: &Mutex<VecDeque<String>>) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        while matches!(stderr.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            let mut last = last.lock().expect("no thread panics while it holds lines");
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(text.clone());
            drop(last);
            (self.request.progress)(Progress::Log { line: text });
        }
    }

    fn converse(
        &self,
        worker: &mut Worker,
        heard: &Receiver<Said>,
        work: &ToWorker,
    ) -> Result<Done, End> {
        let library = self.greet(self.hear(heard)?)?;
        worker.tell(work);
        let mut curve = Vec::new();
        loop {
            match self.hear(heard)? {
                FromWorker::Heartbeat => {}
                FromWorker::Resumed { step } => {
                    (self.request.progress)(Progress::Resumed { step });
                }
                FromWorker::Epoch {
                    epoch,
                    epochs,
                    metrics,
                } => {
                    curve.push(metrics.clone());
                    (self.request.progress)(Progress::Epoch {
                        epoch,
                        epochs: Some(epochs),
                        metrics,
                    });
                }
                FromWorker::Done { metrics } => {
                    worker.exit();
                    return Ok(Done {
                        library,
                        metrics,
                        curve,
                    });
                }
                FromWorker::Failed {
                    code,
                    message,
                    help,
                } => {
                    worker.exit();
                    return Err(End::Failure(failed(&code, message, help)));
                }
                FromWorker::Hello { .. } => {
                    return Err(End::Nonsense("it said hello twice".to_owned()));
                }
            }
        }
    }

    /// Waits for the next message.
    fn hear(&self, heard: &Receiver<Said>) -> Result<FromWorker, End> {
        let mut waited = Duration::ZERO;
        loop {
            stop_if_cancelled(self.request.cancel)?;
            match heard.recv_timeout(TICK) {
                Ok(Ok(message)) => return Ok(message),
                Ok(Err(ReadError::End | ReadError::Io(_)))
                | Err(RecvTimeoutError::Disconnected) => {
                    return Err(End::Died);
                }
                Ok(Err(error @ (ReadError::TooLong(_) | ReadError::Unknown(_)))) => {
                    return Err(End::Nonsense(error.to_string()));
                }
                Err(RecvTimeoutError::Timeout) => waited += TICK,
            }
            if waited >= self.settings.silence {
                return Err(self.silent().into());
            }
        }
    }

    fn silent(&self) -> Failure {
        let seconds = self.settings.silence.as_secs_f64();
        let message = format!("the model worker said nothing for {seconds} s and was stopped");
        Failure::Failed(Diagnostic::error("worker::silent", message).help(
            "it says that it is alive every second; is the machine out of memory or suspended?",
        ))
    }

    /// Checks the first message; returns the worker's library.
    fn greet(&self, hello: FromWorker) -> Result<String, End> {
        let FromWorker::Hello {
            protocol,
            worker,
            library,
            gpus,
        } = hello
        else {
            return Err(End::Nonsense("its first message is not a hello".to_owned()));
        };
        let version = |message: String| {
            End::from(Failure::Environment(
                Diagnostic::error("worker::version", message).help(GET_WORKER),
            ))
        };
        if protocol != PROTOCOL {
            return Err(version(format!(
                "the model worker `{worker}` speaks protocol {protocol}, this version of mlbuild protocol {PROTOCOL}"
            )));
        }
        let is_wanted = library
            .strip_prefix(LIBTORCH)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if !is_wanted {
            return Err(version(format!(
                "the model worker `{worker}` computes with `{library}`, this version of mlbuild needs `{LIBTORCH}`"
            )));
        }
        if self.device == Device::Gpu && gpus == 0 {
            return Err(End::from(Failure::Environment(
                Diagnostic::error("worker::no-gpu", "the model worker finds no GPU")
                    .help("set `resources.gpus = 0` to use the CPU, or point LD_LIBRARY_PATH at a libtorch with CUDA"),
            )));
        }
        Ok(library)
    }
}

const GET_WORKER: &str =
    "`cargo xtask demo` builds `mlbuild-torch` next to `mlbuild`; MLBUILD_TORCH names another one";

fn missing() -> Failure {
    Failure::Environment(
        Diagnostic::error(
            "worker::missing",
            "there is no model worker `mlbuild-torch`",
        )
        .help(GET_WORKER),
    )
}

/// Why a conversation ended without a result.
enum End {
    /// For a reason that can be told as it is.
    Failure(Failure),
    /// The worker's output ended, or broke off within a message.
    Died,
    /// The worker said what it must not.
    Nonsense(String),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// A running worker; killed and reaped when dropped.
struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Worker {
    fn tell(&mut self, message: &ToWorker) {
        if let Some(stdin) = &mut self.stdin {
            // A worker that does not listen is about to end its output, which says more.
            let _ = write(stdin, message);
        }
    }

    /// Waits for it to exit, and kills it if it does not.
    fn exit(&mut self) -> Option<ExitStatus> {
        self.stdin = None;
        let mut waited = Duration::ZERO;
        while waited < EXIT {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(TICK);
            waited += TICK;
        }
        None
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stdin = None;
        if matches!(self.child.try_wait(), Ok(None)) {
            kill_group(&self.child);
        }
        let _ = self.child.wait();
    }
}

/// Kills the process, which leads its group and has not been reaped, and whatever it started: a grandchild would keep
/// the streams open.
fn kill_group(child: &Child) {
    let Ok(group) = libc::pid_t::try_from(child.id()) else {
        return;
    };
    // SAFETY: takes two integers; the group cannot be another's, as its leader still has its number.
    unsafe {
        libc::kill(-group, libc::SIGKILL);
    }
}

fn died(status: Option<ExitStatus>, lines: &Mutex<VecDeque<String>>) -> Failure {
    let signal = status.and_then(|status| status.signal());
    let how = match (status, signal) {
        (_, Some(9)) => "was killed (signal 9)".to_owned(),
        (_, Some(signal)) => format!("died of signal {signal}"),
        (Some(status), None) => match status.code() {
            Some(code) => format!("exited with status {code} before it was done"),
            None => "exited before it was done".to_owned(),
        },
        (None, None) => "closed its output before it was done".to_owned(),
    };
    let diagnostic = Diagnostic::error("worker::died", format!("the model worker {how}"));
    with_lines(
        match signal {
            Some(9) => diagnostic.help(
                "the kernel kills processes when memory runs out: try a smaller `batch` or `dim`",
            ),
            _ => diagnostic,
        },
        lines,
    )
}

fn with_lines(diagnostic: Diagnostic, lines: &Mutex<VecDeque<String>>) -> Failure {
    let lines = lines.lock().expect("no thread panics while it holds lines");
    Failure::Failed(diagnostic.detail(lines.iter().cloned()))
}

/// The failure that a worker reported. Its codes are ours to know: an unknown one comes from another version.
fn failed(code: &str, message: String, help: Option<String>) -> Failure {
    const CODES: [&str; 11] = [
        "train::bug",
        "train::diverged",
        "train::empty",
        "train::input",
        "train::io",
        "train::libtorch",
        "train::no-gpu",
        "train::out-of-memory",
        "train::out-of-range",
        "train::params",
        "train::weights",
    ];
    let known = CODES.into_iter().find(|known| *known == code);
    let mut diagnostic = Diagnostic::error(known.unwrap_or("worker::failed"), message);
    diagnostic.help = help;
    match known {
        Some("train::params" | "train::empty") => Failure::Invalid(diagnostic),
        Some("train::io" | "train::no-gpu") => Failure::Environment(diagnostic),
        _ => Failure::Failed(diagnostic),
    }
}
