//! Runs DataFusion's futures to their end on a thread of their own, with a deep stack, an ear for the cancel request,
//! and a net under it: a panic in the query engine fails one piece of work and not the build.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures::future::{Either, select};
use mlbuild_action::{Cancel, Diagnostic, Failure};

use crate::failure;

/// DataFusion walks expressions and plans recursively; queries that programs write nest thousands deep.
const STACK_BYTES: usize = 64 << 20;

/// How often the cancel request is looked at. Operators yield at least once a batch.
const CANCEL_PERIOD: Duration = Duration::from_millis(50);

/// Runs `work` to its end, or to the next yield after `cancel` was requested. What it spawns runs on `threads` threads.
///
/// # Errors
/// Those of `work`; [`Failure::Cancelled`]; [`Failure::Failed`] after a panic.
pub(crate) fn run<T, W>(cancel: &Cancel, threads: usize, work: W) -> Result<T, Failure>
where
    T: Send,
    W: AsyncFnOnce() -> Result<T, Failure> + Send,
{
    thread::scope(|scope| {
        thread::Builder::new()
            .name("table".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || {
                catch_unwind(AssertUnwindSafe(|| block_on(cancel, threads, work)))
                    .unwrap_or_else(|panic| Err(panicked(&*panic)))
            })
            .map_err(|error| failure::environment("cannot start a thread", &error))?
            .join()
            .unwrap_or_else(|panic| Err(panicked(&*panic)))
    })
}

fn block_on<T>(
    cancel: &Cancel,
    threads: usize,
    work: impl AsyncFnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(threads.max(1))
        .thread_name("table")
        .thread_stack_size(STACK_BYTES)
        .enable_time()
        .build()
        .map_err(|error| failure::environment("cannot start the query engine", &error))?;
    let result = runtime.block_on(async {
        match select(pin!(cancelled(cancel)), pin!(work())).await {
            Either::Left(((), _)) => Err(Failure::Cancelled),
            Either::Right((result, _)) => result,
        }
    });
    // File reads in flight are not worth waiting for.
    runtime.shutdown_background();
    result
}

async fn cancelled(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(CANCEL_PERIOD).await;
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let reason = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    Failure::Failed(
        Diagnostic::error(
            "table::engine-panic",
            format!("the query engine broke down: {reason}"),
        )
        .help("this is a bug in mlbuild or in DataFusion: please report it with the query"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure() {
        let result = run(&Cancel::new(), 2, async || -> Result<(), Failure> {
            panic!("on {}", "purpose")
        });
        let Err(Failure::Failed(diagnostic)) = result else {
            panic!("{result:?}")
        };
        assert!(diagnostic.message.contains("on purpose"), "{diagnostic}");
    }

    #[test]
    fn a_cancelled_future_is_dropped() {
        let cancel = Cancel::new();
        cancel.cancel();
        let result: Result<(), _> = run(&cancel, 1, async || std::future::pending().await);
        assert_eq!(result, Err(Failure::Cancelled));
    }
}
