//! Functions over pandas, polars and pyarrow, and trainings with scikit-learn and LightGBM, built with the binary of this
//! build; plain `cargo test` has no packages.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Result, example, readers, workspace};

/// The tables that are built, and how many columns each has.
const TABLES: [(&str, usize); 5] = [
    ("pandas", 4),
    ("polars", 4),
    ("arrow", 3),
    ("stream", 3),
    ("written", 3),
];

/// Looks at the tables: their rows and columns.
const READ: &str = "
import sys, pyarrow.parquet
table = pyarrow.parquet.read_table(sys.argv[1])
found = table.num_rows, table.num_columns
assert found == (2, int(sys.argv[2])), (sys.argv[1], found, table.schema)
";

/// After how many rounds the trees are interrupted; each fifth is kept.
const INTERRUPTED_AFTER: u64 = 12;

/// Builds `xtask/functions` twice, from nothing but a training that was interrupted, and reads what it made.
///
/// # Errors
/// If a build fails, the second one does anything, the training begins anew, or a table or figure is something else.
pub(crate) fn build(root: &Path) -> Result {
    let packages = readers::python_packages(root)?;
    let project = workspace::target(root).join("example/functions");
    if project.exists() {
        fs::remove_dir_all(&project).map_err(io)?;
    }
    example::copy(&root.join("xtask/functions"), &project)?;
    environment(&project, &packages)?;
    interrupt(mlbuild(root, &project, "build").args(["model:trees", "--json"]))?;
    workspace::run(&mut mlbuild(root, &project, "build"))?;
    for (name, columns) in TABLES {
        let table = project.join(format!("out/features/{name}.parquet"));
        readers::python(&packages, READ, &[&table, Path::new(&columns.to_string())])?;
    }
    let mean = fs::read_to_string(project.join("out/model/mean/mean.json")).map_err(io)?;
    if mean != "15.0" {
        return Err(format!("the mean of 10 and 20 is 15.0, not {mean}"));
    }
    trainings(root, &project)?;
    let second = workspace::output(mlbuild(root, &project, "build").arg("--json"))?;
    let summary = second.lines().last().unwrap_or_default();
    if !summary.contains("\"built\":[]") || !summary.contains("\"processes\":0") {
        return Err(format!(
            "the second build was to start nothing, but said: {summary}"
        ));
    }
    Ok(())
}

/// Holds the figures of the trainings against what these libraries reach on these data.
fn trainings(root: &Path, project: &Path) -> Result {
    let figure = |model: &str, name: &str| {
        let mut show = mlbuild(root, project, "show");
        let shown = workspace::output(show.args([model, "--json"]))?;
        let number = shown.split(&format!("\"{name}\":")).nth(1);
        let number = number.and_then(|rest| rest.split([',', '}']).next()?.parse::<f64>().ok());
        number.ok_or_else(|| format!("{model} has no figure `{name}`: {shown}"))
    };
    let auc = figure("model:logistic", "valid_auc")?;
    if auc < 0.99 {
        return Err(format!(
            "the logistic regression reaches an AUC of 0.99, not {auc}"
        ));
    }
    let begun_at = figure("model:trees", "begun_at")?;
    if begun_at < 10.0 {
        return Err(format!(
            "the trees were to go on after round 10 or later, not after {begun_at}"
        ));
    }
    Ok(())
}

/// Runs a training until it has come through some rounds, and interrupts it.
fn interrupt(training: &mut Command) -> Result {
    let mut running = training
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start a training: {error}"))?;
    let events = BufReader::new(running.stdout.take().ok_or("its output is piped")?);
    let round = format!("\"epoch\":{INTERRUPTED_AFTER},");
    for line in events.lines() {
        if line.map_err(io)?.contains(&round) {
            let mut kill = Command::new("kill");
            workspace::run(kill.args(["-INT", &running.id().to_string()]))?;
            break;
        }
    }
    match running.wait().map_err(io)?.code() {
        Some(130) => Ok(()),
        exit => Err(format!(
            "an interrupted training ends with 130, not {exit:?}"
        )),
    }
}

fn mlbuild(root: &Path, project: &Path, verb: &str) -> Command {
    let mut command = Command::new(workspace::target(root).join("debug/mlbuild"));
    command.arg(verb).current_dir(project);
    command
}

/// Makes `.venv` of the packages, as `python3 -m venv` would where that is installed.
fn environment(project: &Path, packages: &Path) -> Result {
    let mut probe = Command::new("python3");
    probe.args([
        "-c",
        "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)",
    ]);
    let probed = workspace::output(&mut probe)?;
    let (version, program) = probed
        .trim()
        .split_once(' ')
        .ok_or("python3 does not say what it is")?;
    let program = PathBuf::from(program);
    let folder = project.join(".venv");
    let library = folder.join(format!("lib/python{version}"));
    for folder in [folder.join("bin"), library.clone()] {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let home = program.parent().unwrap_or(Path::new("/")).display();
    fs::write(folder.join("pyvenv.cfg"), format!("home = {home}\n")).map_err(io)?;
    symlink(&program, folder.join("bin/python")).map_err(io)?;
    symlink(packages, library.join("site-packages")).map_err(io)
}

fn io(error: std::io::Error) -> String {
    format!("cannot lay out the functions' project: {error}")
}
