//! The example from nothing to its report, with the binaries of this build, and what others make of its outputs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, readers, workspace};

const REPORT: &str = "report:recs";

/// The check of the outputs, in the languages of their users.
const READ: &str = include_str!("example.py");

/// Builds `examples/recs` twice in a copy of its own; the copy's cache stays for the next run of this gate.
///
/// # Errors
/// If a build fails, or the second one does anything.
pub(crate) fn build(root: &Path) -> Result {
    let project = project(root);
    copy(&root.join("examples/recs"), &project)?;
    run(root, &["build", REPORT])?;
    // Outputs that only a reader asks for.
    run(
        root,
        &[
            "build",
            "data:interactions",
            "data:recs_top10",
            "features:train",
            "model:recs",
        ],
    )?;
    let second = mlbuild(root, &["build", REPORT]).output();
    let second = second.map_err(|error| format!("cannot run mlbuild: {error}"))?;
    let said = String::from_utf8_lossy(&second.stdout);
    if !said.starts_with("report:recs is up to date") || !second.stderr.is_empty() {
        return Err(format!(
            "the second build was to do nothing, but said: {said}"
        ));
    }
    print!("{said}");
    Ok(())
}

/// Opens the outputs with DuckDB, pandas, pyarrow and safetensors, and compares the figures of the report with independent
/// ones.
///
/// # Errors
/// If an output cannot be opened or holds something else.
pub(crate) fn read(root: &Path) -> Result {
    let packages = readers::python_packages(root)?;
    readers::python(&packages, READ, &[&project(root).join("out")])
}

/// Takes pictures of the report in a real browser, in light and in dark, and prints it.
///
/// # Errors
/// If there is no browser, a picture shows nothing, or dark is as bright as light.
pub(crate) fn picture(root: &Path) -> Result {
    let browser = readers::browser()?;
    let target = workspace::target(root);
    let page = project(root).join("out/report/recs/report.html");
    // How Chromium names what a page sees as `prefers-color-scheme`: 0 is dark, 1 light.
    let take = |file: &str, how: &str, scheme: u8, least_bytes: u64| {
        let made = target.join(file);
        let _ = fs::remove_file(&made);
        let mut command = Command::new(browser);
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--hide-scrollbars", "--window-size=1100,2600"])
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!(
                "--user-data-dir={}",
                target.join("browser").display()
            ))
            .arg(format!("--{how}={}", made.display()))
            .arg(format!("file://{}", page.display()));
        workspace::run(&mut command)?;
        let size = fs::metadata(&made).map_or(0, |metadata| metadata.len());
        if size < least_bytes {
            return Err(format!("{file} has {size} bytes: it shows nothing"));
        }
        println!("{}", made.display());
        Ok(made)
    };
    // A blank page of this size compresses to a few kilobytes.
    let light = take("report.png", "screenshot", 1, 40_000)?;
    let dark = take("report-dark.png", "screenshot", 0, 40_000)?;
    take("report.pdf", "print-to-pdf", 1, 40_000)?;
    let packages = readers::python_packages(root)?;
    readers::python(&packages, BRIGHTNESS, &[&light, &dark])
}

/// Holds the light picture to be bright and the dark one to be dark, and both to show something.
const BRIGHTNESS: &str = include_str!("brightness.py");

fn project(root: &Path) -> PathBuf {
    workspace::target(root).join("example/recs")
}

fn mlbuild(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(workspace::target(root).join("debug/mlbuild"));
    command
        .args(arguments)
        .current_dir(project(root))
        .env_remove("MLBUILD_TORCH");
    command
}

fn run(root: &Path, arguments: &[&str]) -> Result {
    workspace::run(&mut mlbuild(root, arguments))
}

/// Copies the declarations; state and outputs of the copy stay.
///
/// # Errors
/// Those of reading and writing.
pub(crate) fn copy(from: &Path, to: &Path) -> Result {
    let io = |error: std::io::Error| format!("cannot copy the example: {error}");
    fs::create_dir_all(to).map_err(io)?;
    for entry in fs::read_dir(from).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if name == ".mlbuild" || name == "out" {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(name))?;
        } else {
            fs::copy(entry.path(), to.join(name)).map_err(io)?;
        }
    }
    Ok(())
}
