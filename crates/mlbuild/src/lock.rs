//! Takes the project's lock, as every command does that changes the cache.

use std::ops::ControlFlow;

use mlbuild_action::Cancel;
use mlbuild_cache::{Cache, CacheError, Holder, ProjectLock};
use serde_json::json;

use crate::terminal::Terminal;
use crate::wiring;

/// Takes the lock, calling `say` once if it has to wait; `None` if the user stopped waiting.
pub(crate) fn take(
    cache: &Cache,
    cancel: &Cancel,
    say: &mut dyn FnMut(&Holder),
) -> Result<Option<ProjectLock>, CacheError> {
    let mut said = false;
    let mut waiting = |holder: &Holder| {
        if !said {
            said = true;
            say(holder);
        }
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
            crate::json::print(&json!({ "event": "waiting", "pid": holder.pid }));
        } else {
            terminal.note(&format!("waiting for {}", name(holder)));
        }
    })
}

/// Who holds the lock, for people: `mlbuild build (process 42)`.
fn name(holder: &Holder) -> String {
    let pid = holder.pid.map(|pid| format!(" (process {pid})"));
    format!("`mlbuild {}`{}", holder.about, pid.unwrap_or_default())
}
