//! Functions over pandas, polars and pyarrow, built with the binary of this build; plain `cargo test` has no packages.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Builds `xtask/functions` twice, from nothing, and reads what it made.
///
/// # Errors
/// If a build fails, the second one does anything, or a table holds something else.
pub(crate) fn build(root: &Path) -> Result {
    let packages = readers::python_packages(root)?;
    let project = workspace::target(root).join("example/functions");
    if project.exists() {
        fs::remove_dir_all(&project).map_err(io)?;
    }
    example::copy(&root.join("xtask/functions"), &project)?;
    environment(&project, &packages)?;
    workspace::run(&mut mlbuild(root, &project))?;
    for (name, columns) in TABLES {
        let table = project.join(format!("out/features/{name}.parquet"));
        readers::python(&packages, READ, &[&table, Path::new(&columns.to_string())])?;
    }
    let mean = fs::read_to_string(project.join("out/model/mean/mean.json")).map_err(io)?;
    if mean != "15.0" {
        return Err(format!("the mean of 10 and 20 is 15.0, not {mean}"));
    }
    let second = workspace::output(mlbuild(root, &project).arg("--json"))?;
    let summary = second.lines().last().unwrap_or_default();
    if !summary.contains("\"built\":[]") || !summary.contains("\"processes\":0") {
        return Err(format!(
            "the second build was to start nothing, but said: {summary}"
        ));
    }
    Ok(())
}

fn mlbuild(root: &Path, project: &Path) -> Command {
    let mut command = Command::new(workspace::target(root).join("debug/mlbuild"));
    command.arg("build").current_dir(project);
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
