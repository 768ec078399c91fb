//! `mlbuild doctor`: what this machine offers, and what is missing for which purpose.

use std::io::{self, Write as _};
use std::path::Path;

use mlbuild_disk as disk;
use mlbuild_engine::{GpuDevice, Gpus};
use mlbuild_exec_process::SandboxStatus;
use serde_json::json;

use crate::cli::{Doctor, Global, Variant};
use crate::failure::{CommandFailure, EXIT_ENVIRONMENT};
use crate::load::find_root;
use crate::terminal::{Terminal, size};
use crate::{env, gpu, wiring};

struct Finding {
    what: &'static str,
    state: State,
    says: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Something works less well.
    Limited,
    /// Builds cannot work.
    Broken,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Limited => "limited",
            Self::Broken => "broken",
        }
    }
}

pub(crate) fn run(
    args: &Doctor,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    let mut findings = vec![
        good(
            "mlbuild",
            format!(
                "{} on {} {}",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
        ),
        good(
            "machine",
            format!(
                "{} CPU threads, {} of memory",
                env::cpus(),
                size(env::memory_bytes())
            ),
        ),
    ];
    findings.extend(gpus(gpu::find()));
    findings.extend([worker(), sandbox()]);
    match find_root(global.directory.as_deref()) {
        Ok(root) => findings.extend(project(&root, &args.variant)),
        Err(_) => findings.push(good(
            "project",
            "none here; `mlbuild init` writes one".to_owned(),
        )),
    }
    let mut out = io::stdout().lock();
    for Finding { what, state, says } in &findings {
        if global.json {
            let _ = writeln!(
                out,
                "{}",
                json!({ "what": what, "state": state.as_str(), "says": says })
            );
        } else {
            let word = format!("{:8}", state.as_str());
            let word = if *state == State::Good {
                terminal.good(&word)
            } else {
                terminal.bad(&word)
            };
            let _ = writeln!(out, "{word} {what:10} {says}");
        }
    }
    let broken = findings
        .iter()
        .any(|finding| finding.state == State::Broken);
    Ok(if broken { EXIT_ENVIRONMENT } else { 0 })
}

/// One a device: its name, memory and driver, and by what name it is handed out.
fn gpus(found: Gpus) -> Vec<Finding> {
    let Gpus { driver, devices } = found;
    if devices.is_empty() {
        let says = match driver {
            None => "none: models train on the CPU".to_owned(),
            Some(driver) => format!(
                "none visible, though there is driver {driver}; is `CUDA_VISIBLE_DEVICES` set?"
            ),
        };
        return vec![good("gpu", says)];
    }
    let driver = driver.map_or(String::new(), |driver| format!(", driver {driver}"));
    let device = |GpuDevice {
                      id,
                      name,
                      memory_bytes,
                  }: GpuDevice| {
        let name = name.map_or(String::new(), |name| format!("{name}, "));
        let memory = match memory_bytes {
            Some(bytes) => size(bytes),
            None => "memory not known".to_owned(),
        };
        good("gpu", format!("{name}{memory}{driver} ({})", id.as_str()))
    };
    devices.into_iter().map(device).collect()
}

fn good(what: &'static str, says: String) -> Finding {
    Finding {
        what,
        state: State::Good,
        says,
    }
}

/// Starts the worker once, as a training would.
fn worker() -> Finding {
    let what = "libtorch";
    match wiring::worker_version() {
        Ok(version) => good(what, version),
        Err(why) => Finding {
            what,
            state: State::Limited,
            says: format!("{why}; native baselines work all the same"),
        },
    }
}

fn sandbox() -> Finding {
    let (state, says) = match mlbuild_exec_process::sandbox_status() {
        SandboxStatus::Full => (
            State::Good,
            "commands and functions read what they declare, write nowhere else and use no network",
        ),
        SandboxStatus::FilesOnly => (
            State::Limited,
            "commands and functions read what they declare and write nowhere else; this kernel cannot refuse them the network",
        ),
        SandboxStatus::Missing => (
            State::Limited,
            "this kernel has no Landlock: commands and functions are not confined, and undeclared inputs go unnoticed",
        ),
    };
    Finding {
        what: "sandbox",
        state,
        says: says.to_owned(),
    }
}

fn project(root: &Path, variant: &Variant) -> Vec<Finding> {
    let state = mlbuild_engine::state_folder(root);
    let probe = state.join(format!("doctor-{}", std::process::id()));
    let written = disk::create_folders(&state).and_then(|()| disk::write(&probe, b"probe"));
    let _ = disk::remove(&probe);
    let writable = match written {
        Ok(()) => good("project", format!("{} is writable", root.display())),
        Err(e) => Finding {
            what: "project",
            state: State::Broken,
            says: format!("cannot write to {}: {e}", state.display()),
        },
    };
    let lineage =
        match mlbuild_lineage::Lineage::open_read_only(&mlbuild_engine::lineage_path(root)) {
            Ok(Some(_)) => good("lineage", "the database opens".to_owned()),
            Ok(None) => good("lineage", "nothing built yet".to_owned()),
            Err(error) => Finding {
                what: "lineage",
                state: State::Limited,
                says: error.to_string(),
            },
        };
    vec![writable, lineage, python(root, variant)]
}

/// Starts the interpreter once, as a build of functions would.
fn python(root: &Path, variant: &Variant) -> Finding {
    let what = "python";
    match wiring::python(root, variant) {
        Ok(version) => good(what, version),
        Err(why) => Finding {
            what,
            state: State::Limited,
            says: format!(
                "{}; targets without functions work all the same",
                why.message
            ),
        },
    }
}
