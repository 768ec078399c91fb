//! `cargo xtask demo`: from a clean clone to a report in the browser.

use std::path::Path;
use std::process::Command;

use crate::steps::Steps;
use crate::{Result, libtorch, prerequisites, workspace};

const EXAMPLE: &str = "examples/recs";

/// Builds the release binaries and runs the example with them.
///
/// # Errors
/// The first step that failed.
pub(crate) fn run(root: &Path) -> Result {
    prerequisites::check(prerequisites::BUILD)?;
    prerequisites::check(prerequisites::DEMO)?;
    let mlbuild = workspace::target(root).join("release/mlbuild");
    let mut steps = Steps::default();
    steps.step("libtorch", || libtorch::setup(root))?;
    steps.step("release builds (about 20 minutes the first time)", || {
        // Each with its own features, so that `cargo install` finds all of the binary's dependencies built.
        ["mlbuild", "mlbuild-torch"]
            .into_iter()
            .try_for_each(|package| {
                workspace::run(&mut workspace::cargo(
                    root,
                    &["build", "--release", "--locked", "-p", package],
                ))
            })
    })?;
    steps.step("mlbuild build report:recs", || {
        workspace::run(
            Command::new(&mlbuild)
                .args(["build", "report:recs"])
                .current_dir(root.join(EXAMPLE)),
        )
    })?;
    print!(
        "\n{}\n{}",
        steps.table(),
        farewell(&mlbuild.display().to_string())
    );
    Ok(())
}

fn farewell(mlbuild: &str) -> String {
    format!(
        "\
The report: {EXAMPLE}/out/report/recs/report.html (report.md and report.json beside it)

Next, in {EXAMPLE}:
  {mlbuild} build                       nothing changed, nothing runs
  {mlbuild} why report:recs             what it depends on, and why it is up to date
  edit a comment in a .sql file, then `build`: still nothing runs
  edit `gap_minutes` in mlbuild.toml, then `build`: exactly what depends on it runs
  {mlbuild} lineage model:recs          where the model came from
To have `mlbuild` on your PATH: cargo install --locked --path crates/mlbuild
"
    )
}
