//! `cargo xtask test`: the gate. Nothing in it is skipped in silence.

use std::path::Path;

use crate::steps::Steps;
use crate::{
    Result, example, figures, functions, libtorch, models, prerequisites, resume, tidy, workspace,
};

/// Runs every check, cheap ones first.
///
/// # Errors
/// The first step that failed, by its name.
pub(crate) fn run(root: &Path) -> Result {
    prerequisites::check(prerequisites::BUILD)?;
    prerequisites::check(prerequisites::TEST)?;
    let cargo = |arguments: &[&str]| workspace::run(&mut workspace::cargo(root, arguments));
    let mut steps = Steps::default();
    steps.step("libtorch", || libtorch::setup(root))?;
    steps.step("format", || cargo(&["fmt", "--all", "--check"]))?;
    steps.step("tidy", || tidy::run(root))?;
    // One package set (the default members) in every call, and the worker, which shares few dependencies, apart from it.
    steps.step("clippy", || {
        cargo(&["clippy", "--all-targets", "--", "-D", "warnings"])
    })?;
    steps.step("clippy of the worker", || {
        cargo(&[
            "clippy",
            "-p",
            WORKER,
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    })?;
    steps.step("docs", || {
        let mut doc = workspace::cargo(root, &["doc", "--no-deps"]);
        workspace::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    steps.step("tests", || cargo(&["test"]))?;
    steps.step("tests that need Python", || {
        cargo(&["test", "--", "--ignored", "python"])
    })?;
    steps.step("build of the worker", || cargo(&["build", "-p", WORKER]))?;
    steps.step("tests of the worker", || cargo(&["test", "-p", WORKER]))?;
    steps.step("example", || example::build(root))?;
    steps.step("outputs of the example", || example::read(root))?;
    steps.step("interrupted training", || resume::build(root))?;
    steps.step("figures against scikit-learn", || figures::compare(root))?;
    steps.step("functions in Python", || functions::build(root))?;
    steps.step("models beside scikit-learn", || models::compare(root))?;
    for example in &models::EXAMPLES {
        let step = format!("example {}", example.name);
        steps.step(&step, || models::example(root, example))?;
    }
    steps.step("picture of the report", || example::picture(root))?;
    print!("\n{}", steps.table());
    Ok(())
}

const WORKER: &str = "mlbuild-torch";
