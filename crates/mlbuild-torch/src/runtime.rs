//! libtorch as a deterministic machine: environment, threads, devices, seeds.
//!
//! Bits depend on the kernels that run, so everything that selects one is pinned: the instruction set (by environment,
//! which libtorch reads when it is loaded), deterministic algorithms and the number of threads. On Intel's processors the
//! number does not show: MKL's strict mode sees to matrix products, and [`crate::layers`] avoids the one kernel in use that
//! adds up by thread. On others MKL has no such mode, and products of small matrices differ.

use std::ffi::CStr;
use std::os::raw::c_void;

use mlbuild_worker_protocol::Device;

use crate::problem::{Code, Problem};

/// The version of libtorch that this worker was built for.
pub const LIBTORCH_VERSION: &str = env!("MLBUILD_LIBTORCH_VERSION");

mod context {
    use super::c_void;

    // libtorch exports these C++ functions, which tch does not bind. `at::Context` is opaque here; a C++ method takes
    // the object as its first argument in the Itanium ABI.
    unsafe extern "C" {
        #[link_name = "_ZN2at13globalContextEv"]
        pub(super) fn global_context() -> *mut c_void;
        #[link_name = "_ZN2at7Context26setDeterministicAlgorithmsEbb"]
        pub(super) fn set_deterministic_algorithms(context: *mut c_void, on: bool, warn_only: bool);
        #[link_name = "_ZN2at7Context39setDeterministicFillUninitializedMemoryEb"]
        pub(super) fn set_fill_uninitialized(context: *mut c_void, on: bool);
        #[link_name = "_ZN2at7Context17setBenchmarkCuDNNEb"]
        pub(super) fn set_benchmark_cudnn(context: *mut c_void, on: bool);
    }
}

/// Loads libtorch's CUDA half, if the dynamic linker finds it; must come before any other use of libtorch, which
/// otherwise has decided that there is no CUDA.
///
/// # Errors
/// The dynamic linker's own words.
pub fn load_cuda() -> Result<(), String> {
    // SAFETY: a constant, terminated name; the library's initializers are libtorch's own; `dlerror` returns null or a
    // terminated string that lives until the next call, and no other thread runs yet.
    unsafe {
        if libc::dlopen(
            c"libtorch_cuda.so".as_ptr(),
            libc::RTLD_NOW | libc::RTLD_GLOBAL,
        )
        .is_null()
        {
            let error = libc::dlerror();
            if error.is_null() {
                return Err("libtorch_cuda.so cannot be loaded".into());
            }
            return Err(CStr::from_ptr(error).to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// The number of GPUs that libtorch can use.
pub fn gpus() -> u32 {
    u32::try_from(tch::Cuda::device_count()).unwrap_or(0)
}

/// Makes libtorch deterministic and sets its threads.
///
/// # Errors
/// [`Code::Params`] for zero threads.
pub fn configure(threads: u32) -> Result<(), Problem> {
    let threads = i32::try_from(threads).ok().filter(|threads| *threads > 0);
    let threads = threads
        .ok_or_else(|| Problem::new(Code::Params, "the number of threads must be at least 1"))?;
    tch::set_num_threads(threads);
    // SAFETY: the symbols are exported by the libtorch version that build.rs and Cargo.toml pin, with these types; the
    // context is a static object of libtorch.
    unsafe {
        let context = context::global_context();
        context::set_deterministic_algorithms(context, true, false);
        context::set_benchmark_cudnn(context, false);
        // Nothing here reads memory before it is written, and filling it first costs a tenth of the time.
        context::set_fill_uninitialized(context, false);
    }
    Ok(())
}

/// The device to compute on.
///
/// # Errors
/// [`Code::NoGpu`] when a GPU is asked for and there is none; `reason` is why, if known.
pub fn device(wanted: Device, reason: Option<&str>) -> Result<tch::Device, Problem> {
    match wanted {
        Device::Cpu => Ok(tch::Device::Cpu),
        Device::Gpu if gpus() > 0 => Ok(tch::Device::Cuda(0)),
        Device::Gpu => {
            let reason = reason
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            Err(Problem::new(
                Code::NoGpu,
                format!("this machine has no GPU that libtorch can use{reason}"),
            )
            .help(
                "build where there is one, take the model from the remote cache, or set `gpus = 0`",
            ))
        }
    }
}

/// The most memory that this process has held so far, where the system says.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
