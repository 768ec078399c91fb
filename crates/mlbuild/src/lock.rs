//! Takes the project's lock, as every command does that changes the cache.

use std::ops::ControlFlow;

use mlbuild_action::Cancel;
use mlbuild_cache::{Cache, CacheError, Holder, ProjectLock};

use crate::json;
use crate::terminal::Terminal;
use crate::wiring;

/// Takes the lock, calling `say` once if it has to wait; `None` if the user stopped waiting.
pub(crate) fn take(
    cache: &Cache,
    cancel: &Cancel,
    say: &mut dyn FnMut(&Holder),
) -> Result<Option<ProjectLock>, CacheError> {
    let (mut said, mut looked) = (false, false);
    let mut waiting = |holder: &Holder| {
        // Who has just taken the lock may not have said so yet.
        if !said && (looked || holder.pid.is_some()) {
            said = true;
            say(holder);
        }
        looked = true;
        if cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    cache.lock(&wiring::arguments().join(" "), &mut waiting)
}

/// As [`take`], saying in one line for whom it waits.
pub(crate) fn take_aloud(
    cache: &Cache,
    cancel: &Cancel,
    terminal: &Terminal,
) -> Result<Option<ProjectLock>, CacheError> {
    take(cache, cancel, &mut |holder| {
        if terminal.json {
            json::print(&json::waiting(holder));
        } else {
            terminal.note(&format!("waiting for {holder}"));
        }
    })
}
