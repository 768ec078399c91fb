//! Tells the linker where the built worker finds libtorch, and the worker which libtorch that is.
//!
//! Three places are searched at start: the libtorch that it was built with; `libtorch/` beside the folder of an
//! installed worker; and `.libtorch/` of a checkout, seen from `target/debug` or `target/release`.
#![expect(
    clippy::disallowed_methods,
    reason = "cargo talks to build scripts through the environment"
)]

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../libtorch/torch/lib");
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../../.libtorch/torch/lib");
    let mut version = None;
    if let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        let lib = Path::new(&lib);
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
        let file = lib.with_file_name("build-version");
        println!("cargo::rerun-if-changed={}", file.display());
        version = std::fs::read_to_string(file).ok();
    }
    // A version may name its build: `2.11.0+cu130`.
    let version = version.as_deref().unwrap_or("2.11.0").trim();
    let version = version.split('+').next().unwrap_or(version);
    println!("cargo::rustc-env=MLBUILD_LIBTORCH_VERSION={version}");
}
