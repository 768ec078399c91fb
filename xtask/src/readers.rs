//! The programs of others that the gate opens artifacts with: DuckDB, pandas and safetensors from Python, and a browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Result, workspace};

const PINS: &str = include_str!("../readers.txt");

/// Browsers that can take a picture of a page, the first one there is used.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Installs the pinned Python packages under `target/readers`, once a pin.
///
/// Returns the folder to put on `PYTHONPATH`.
///
/// # Errors
/// If pip cannot fetch them.
pub(crate) fn python_packages(root: &Path) -> Result<PathBuf> {
    let folder = workspace::target(root).join("readers");
    let stamp = folder.join("pin");
    if fs::read_to_string(&stamp).is_ok_and(|pin| pin == PINS) {
        return Ok(folder);
    }
    // `--target` rather than a virtual environment: Debian's python3 has no `venv` of its own.
    let io = |error: std::io::Error| format!("cannot write {}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(io)?;
    }
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--only-binary=:all:",
    ])
    .arg("--target")
    .arg(&folder)
    .arg("--requirement")
    .arg(root.join("xtask/readers.txt"));
    workspace::run(&mut pip)?;
    fs::write(&stamp, PINS).map_err(io)?;
    Ok(folder)
}

/// Runs a Python script with the pinned packages; `arguments` follow it as `sys.argv[1:]`.
///
/// # Errors
/// If the script raises.
pub(crate) fn python(packages: &Path, script: &str, arguments: &[&Path]) -> Result {
    let mut python = Command::new("python3");
    python
        .arg("-c")
        .arg(script)
        .args(arguments)
        .env("PYTHONPATH", packages);
    workspace::run(&mut python)
}

/// A browser that can take a picture of a page; on a CI machine where we are root, it is installed when there is none.
///
/// # Errors
/// If there is none, with the line that installs one.
pub(crate) fn browser() -> Result<&'static str> {
    if let Some(browser) = installed_browser() {
        return Ok(browser);
    }
    if is_root_in_ci() {
        apt(&["update", "-qq"])?;
        apt(&[
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "chromium",
        ])?;
    }
    installed_browser().ok_or_else(|| {
        "missing: a browser for the picture of the report\n    Debian, Ubuntu: sudo apt install chromium".to_owned()
    })
}

fn installed_browser() -> Option<&'static str> {
    BROWSERS.into_iter().find(|browser| {
        let mut probe = Command::new(browser);
        probe
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    })
}

fn apt(arguments: &[&str]) -> Result {
    workspace::run(
        Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// Whether this is a machine whose packages are ours to change: root, and no person at the terminal.
fn is_root_in_ci() -> bool {
    let uid = workspace::output(Command::new("id").arg("-u"));
    uid.is_ok_and(|uid| uid.trim() == "0") && !std::io::IsTerminal::is_terminal(&std::io::stdin())
}
