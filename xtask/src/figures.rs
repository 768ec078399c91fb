//! Reports on seeded tables, held to scikit-learn and trec_eval.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Result, example, readers, workspace};

const MAKE: &str = include_str!("../figures/make.py");
const COMPARE: &str = include_str!("../figures/compare.py");
const REPORTS: [&str; 5] = [
    "report:binary",
    "report:classes",
    "report:labels",
    "report:lists",
    "report:numbers",
];

/// Builds the reports of `xtask/figures` with the binary of this build, and compares every figure.
///
/// # Errors
/// If a build fails, or a figure is another than theirs.
pub(crate) fn compare(root: &Path) -> Result {
    let packages = readers::python_packages(root)?;
    let project = workspace::target(root).join("figures");
    fs::create_dir_all(&project).map_err(|error| format!("cannot make the project: {error}"))?;
    example::copy(&root.join("xtask/figures"), &project)?;
    readers::python(&packages, MAKE, &[&project])?;
    let mut build = Command::new(workspace::target(root).join("debug/mlbuild"));
    workspace::run(build.arg("build").args(REPORTS).current_dir(&project))?;
    readers::python(&packages, COMPARE, &[&project])
}
