//! The environment, the clock and the machine: the only place that asks for them.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// An environment variable, if it is set and UTF-8.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub(crate) fn var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Arms the fault that a test of crashes asks for. A release has none of this.
#[cfg(debug_assertions)]
pub(crate) fn arm_fault() {
    if let Some(plan) = var("MLBUILD_FAULT") {
        assert!(mlbuild_disk::arm(&plan), "`{plan}` is no plan of a fault");
        #[cfg(target_os = "linux")]
        mlbuild_lineage::watch_writes();
    }
}

/// The time now.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Microseconds since 1970-01-01 UTC.
pub(crate) fn now_micros() -> i64 {
    let elapsed = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

/// The file of this program, if the system says.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// The name of the user, if the environment says.
pub(crate) fn user() -> Option<String> {
    let names = ["USER", "LOGNAME", "USERNAME"];
    let mut names = names.into_iter().filter_map(var);
    names.find(|name| !name.is_empty())
}

/// The name of this machine, if the system says.
pub(crate) fn host() -> Option<String> {
    let known = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = known
        .or_else(|| var("HOSTNAME"))
        .or_else(|| var("COMPUTERNAME"))?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// CPU threads that this process may use.
pub(crate) fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// Memory of this machine, or of the cgroup that limits this process, in bytes.
pub(crate) fn memory_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let total = read("/proc/meminfo").and_then(|text| {
        let line = text
            .lines()
            .find(|line| line.starts_with("MemTotal:"))?
            .to_owned();
        line.split_whitespace()
            .nth(1)?
            .parse::<u64>()
            .ok()
            .map(|kib| kib * 1024)
    });
    let limit = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    // Where neither is known, what any machine has.
    total.unwrap_or(4 << 30).min(limit.unwrap_or(u64::MAX))
}

/// The least time between two checkpoints of a training, in seconds: `MLBUILD_CHECKPOINT_SECONDS`.
pub(crate) fn checkpoint_every() -> Option<std::time::Duration> {
    let seconds = var("MLBUILD_CHECKPOINT_SECONDS")?.parse().ok()?;
    std::time::Duration::try_from_secs_f64(seconds).ok()
}

/// The libtorch worker: `MLBUILD_TORCH`, else `mlbuild-torch` beside this program, else on the `PATH`.
pub(crate) fn worker() -> Option<PathBuf> {
    if let Some(path) = var("MLBUILD_TORCH") {
        return Some(PathBuf::from(path));
    }
    const NAME: &str = "mlbuild-torch";
    let beside = program().and_then(|exe| Some(exe.parent()?.join(NAME)));
    let path = var("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(NAME));
    beside
        .into_iter()
        .chain(on_path)
        .find(|path| path.is_file())
}
