//! Ctrl-C and SIGTERM: the first one asks the build to stop, the second one ends the process.
//!
//! Ending at once is always safe: nothing is visible before it is whole.
//!
//! A file that may not grow further (`ulimit -f`) is no reason to end without a word: the write that failed says so.

use std::sync::atomic::{AtomicBool, Ordering};

use mlbuild_action::Cancel;

use crate::failure::EXIT_INTERRUPTED;

/// Makes signals stop what `cancel` stops. Called once a process.
pub(crate) fn install(cancel: &Cancel) {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let cancel = cancel.clone();
    let installed = ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
        cancel.cancel();
    });
    // Only fails if a handler is there already; then that one has been installed by us.
    debug_assert!(installed.is_ok(), "signals are handled once");
}

/// Makes a write beyond the limit on file sizes an error of that write. Called once, before any file is written.
pub(crate) fn ignore_file_size_signal() {
    // SAFETY: no handler of ours is involved; the call takes integers.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
