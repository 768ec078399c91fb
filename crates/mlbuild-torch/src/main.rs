//! `mlbuild-torch [--gpu]`: a worker on standard input and output; `mlbuild-torch --version`: what it is.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use mlbuild_torch::runtime;
use mlbuild_torch::serve::{Exit, leave, serve};
use mlbuild_worker_protocol::{ENVIRONMENT, PROTOCOL};

fn main() {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let arguments: Vec<_> = arguments
        .iter()
        .map(|argument| argument.to_str().unwrap_or_default())
        .collect();
    let gpu = match arguments[..] {
        [] => false,
        ["--gpu"] => true,
        ["--version"] => return print_version(),
        _ => usage(),
    };
    pin_environment();
    // Before anything else of libtorch.
    let no_cuda = if gpu {
        runtime::load_cuda().err()
    } else {
        None
    };
    die_with_parent();
    match take_stdout() {
        Ok(output) => leave(serve(io::stdin(), output, no_cuda.as_deref())),
        Err(_) => leave(Exit::Cancelled),
    }
}

fn print_version() {
    let version = env!("CARGO_PKG_VERSION");
    let libtorch = runtime::LIBTORCH_VERSION;
    // Nobody is left to hear of a closed pipe.
    let _ = writeln!(
        io::stdout(),
        "mlbuild-torch {version} (protocol {PROTOCOL}, libtorch {libtorch})"
    );
}

fn usage() -> ! {
    let _ = writeln!(
        io::stderr(),
        "mlbuild-torch is started by mlbuild and speaks its worker protocol\nusage: mlbuild-torch [--gpu | --version]"
    );
    leave(Exit::Protocol)
}

/// Starts the worker anew with the variables that libtorch reads while it is loaded, unless the client set them.
#[allow(
    clippy::disallowed_methods,
    reason = "libtorch takes these settings from the environment only"
)]
fn pin_environment() {
    let set =
        |(name, value): &(&str, &str)| std::env::var_os(name).is_some_and(|found| found == *value);
    if ENVIRONMENT.iter().all(set) {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .envs(ENVIRONMENT)
        .exec();
    let _ = writeln!(io::stderr(), "cannot start anew: {error}");
    leave(Exit::Protocol)
}

/// Asks the kernel to kill this process when the thread that started it ends.
fn die_with_parent() {
    #[cfg(target_os = "linux")]
    // SAFETY: takes two integers.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}

/// Takes standard output for frames; what libraries print goes to standard error.
fn take_stdout() -> io::Result<File> {
    // SAFETY: plain descriptor calls; the new descriptor is owned by the returned file alone.
    unsafe {
        let frames = libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3);
        if frames < 0 || libc::dup2(2, 1) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from_raw_fd(frames))
    }
}
