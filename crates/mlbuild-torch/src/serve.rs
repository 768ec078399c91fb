//! The worker's side of the conversation.
//!
//! Three threads: this one works; one says every half second that the worker is alive; one watches standard input, for
//! its end means that the client is gone or has cancelled, and then the process ends at once, whatever libtorch is doing.

use std::fs::File;
use std::io::{self, Read};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use mlbuild_worker_protocol::{FromWorker, PROTOCOL, ReadError, ToWorker, read, write};

use crate::problem::{Code, Problem};
use crate::{runtime, work};

/// Time between signs of life.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How a worker ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// 0: the result, good or bad, was sent.
    Done = 0,
    /// 2: the client broke the protocol, or the command line is wrong.
    Protocol = 2,
    /// 3: the client is gone or has cancelled.
    Cancelled = 3,
}

/// The frames' way out, shared by threads.
#[derive(Clone, Debug)]
struct Voice {
    stream: Arc<Mutex<File>>,
    finished: Arc<AtomicBool>,
}

impl Voice {
    /// Sends a message; who cannot hear it has cancelled.
    fn say(&self, message: &FromWorker) {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if self.finished.load(Ordering::Acquire) {
            return;
        }
        if write(&mut *stream, message).is_err() {
            leave(Exit::Cancelled);
        }
        if matches!(message, FromWorker::Done { .. } | FromWorker::Failed { .. }) {
            self.finished.store(true, Ordering::Release);
        }
    }
}

/// Ends the process now. libtorch's threads may be at work, so no destructor may run.
pub fn leave(exit: Exit) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(exit as i32) }
}

/// Serves one client, which reads `output` and writes to `input`; `no_cuda` says why there is no GPU, if one was wanted.
pub fn serve(input: impl Read + Send + 'static, output: File, no_cuda: Option<&str>) -> Exit {
    let voice = Voice {
        stream: Arc::new(Mutex::new(output)),
        finished: Arc::default(),
    };
    voice.say(&FromWorker::Hello {
        protocol: PROTOCOL,
        worker: concat!("mlbuild-torch ", env!("CARGO_PKG_VERSION")).into(),
        library: format!("libtorch {}", runtime::LIBTORCH_VERSION),
        gpus: runtime::gpus(),
    });
    let request = match listen(input, voice.clone()) {
        Ok(request) => request,
        Err(ReadError::End) => return Exit::Cancelled,
        Err(error) => {
            voice.say(&failed(Problem::new(
                Code::Bug,
                format!("cannot read the request: {error}"),
            )));
            return Exit::Protocol;
        }
    };
    beat(voice.clone());
    // tch panics where it cannot return libtorch's error; any other panic is a bug. The log has the whole story.
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        work::perform(&request, no_cuda, &|m| voice.say(&m))
    }));
    voice.say(&match result {
        Ok(Ok(metrics)) => FromWorker::Done { metrics },
        Ok(Err(problem)) => failed(problem),
        Err(panic) => failed(Problem::from_panic(&*panic)),
    });
    Exit::Done
}

fn failed(problem: Problem) -> FromWorker {
    let Problem {
        code,
        message,
        help,
    } = problem;
    FromWorker::Failed {
        code: code.as_str().into(),
        message,
        help,
    }
}

/// Reads the request, and leaves a thread behind that ends the process when the input ends.
fn listen(mut input: impl Read + Send + 'static, voice: Voice) -> Result<ToWorker, ReadError> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let request = read::<ToWorker>(&mut input);
        let heard = request.is_ok();
        // The receiver waits for exactly this.
        let _ = sender.send(request);
        if heard {
            wait_for_end(&mut input);
            if !voice.finished.load(Ordering::Acquire) {
                leave(Exit::Cancelled);
            }
        }
    });
    receiver.recv().unwrap_or(Err(ReadError::End))
}

/// Returns when the stream ends or breaks; what still comes is ignored.
fn wait_for_end(input: &mut impl Read) {
    let mut ignored = [0; 256];
    loop {
        match input.read(&mut ignored) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn beat(voice: Voice) {
    thread::spawn(move || {
        while !voice.finished.load(Ordering::Acquire) {
            voice.say(&FromWorker::Heartbeat);
            thread::sleep(HEARTBEAT);
        }
    });
}
