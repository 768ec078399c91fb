//! Models of tables beside those of scikit-learn: on data sets that come with it, and on those of the examples.

use std::path::Path;
use std::process::Command;

use crate::{Result, example, readers, workspace};

/// Writes the data sets, and compares the models.
const COMPARE: &str = include_str!("models.py");

/// An example of models of tables, and the check of what it makes.
pub(crate) struct Example {
    /// Its folder under `examples/`.
    pub(crate) name: &'static str,
    report: &'static str,
    check: &'static str,
}

pub(crate) const EXAMPLES: [Example; 2] = [
    Example {
        name: "penguins",
        report: "report:species",
        check: include_str!("penguins.py"),
    },
    Example {
        name: "flights",
        report: "report:minutes",
        check: include_str!("flights.py"),
    },
];

/// Builds an example twice in a copy of its own, whose cache stays for the next run of this gate, and holds its models to the
/// quality that they state and to scikit-learn's.
///
/// # Errors
/// If a build fails, the second one does anything, or a model is worse than it says.
pub(crate) fn example(root: &Path, example: &Example) -> Result {
    let Example {
        name,
        report,
        check,
    } = example;
    let packages = readers::python_packages(root)?;
    let project = workspace::target(root).join("example").join(name);
    crate::example::copy(&root.join("examples").join(name), &project)?;
    let targets = [*report, "data:score", "features:train", "features:test"];
    workspace::run(mlbuild(root, &project).args(targets))?;
    let second = workspace::output(mlbuild(root, &project).args(targets).arg("--json"))?;
    let summary = second.lines().last().unwrap_or_default();
    if !summary.contains("\"built\":[]") {
        return Err(format!(
            "the second build was to do nothing, but said: {summary}"
        ));
    }
    readers::python(&packages, check, &[&project.join("out")])
}

/// Builds `xtask/models` in a copy of its own and compares weights and predictions with scikit-learn's.
///
/// # Errors
/// If a build fails, or a weight is off by more than 1e-5 of the greatest.
pub(crate) fn compare(root: &Path) -> Result {
    let packages = readers::python_packages(root)?;
    let project = workspace::target(root).join("example/models");
    example::copy(&root.join("xtask/models"), &project)?;
    let python =
        |step: &str, folder: &Path| readers::python(&packages, COMPARE, &[Path::new(step), folder]);
    python("write", &project.join("raw"))?;
    let mut build = mlbuild(root, &project);
    // All of them, since only what is named leaves files under out/.
    let models = [
        "cancer",
        "cancer_balanced",
        "wine",
        "iris",
        "wide",
        "traits",
        "ridge",
        "least_squares",
    ];
    build.args(models.map(|model| format!("model:{model}")));
    build.args(["data:wine_classes", "data:diabetes_amounts"]);
    workspace::run(&mut build)?;
    python("compare", &project)
}

fn mlbuild(root: &Path, project: &Path) -> Command {
    let mut command = Command::new(workspace::target(root).join("debug/mlbuild"));
    command.arg("build").current_dir(project);
    command
}
