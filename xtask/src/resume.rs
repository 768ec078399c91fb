//! A training that is interrupted and built again: it goes on, and ends with the files of one that was not interrupted.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Result, workspace};

/// Enough epochs that Ctrl-C comes in time; no validation, so all of them run.
const MANIFEST: &str = r#"[project]
name = "resume"

[data.events]
path = "raw/events.csv"
key = ["user_id", "position"]

[features.train]
key = ["user_id"]

[model.next]
train = "gru4rec"
input = "features:train"
params = { dim = 16, epochs = 30, batch = 8, max_length = 8 }
"#;

const TRAIN: &str = "select user_id, array_agg(item_id order by position) as history
from data.events
group by user_id
";

/// Builds a model, interrupts it after its third epoch, builds it again, and builds it elsewhere in one go.
///
/// # Errors
/// If the second build does not go on, or the two models differ.
pub(crate) fn build(root: &Path) -> Result {
    let folder = workspace::target(root).join("example/resume");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(io)?;
    }
    let [killed, whole] = ["killed", "whole"].map(|name| folder.join(name));
    for project in [&killed, &whole] {
        write(project)?;
    }
    interrupt(root, &killed)?;
    let again = mlbuild(root, &killed).output().map_err(io)?;
    let said = String::from_utf8_lossy(&again.stderr);
    if !again.status.success() || !said.contains("resumed at step ") {
        return Err(format!("the second build was to go on, but said: {said}"));
    }
    workspace::run(&mut mlbuild(root, &whole))?;
    for file in ["model.json", "model.safetensors"] {
        let [killed, whole] = [&killed, &whole].map(|project| {
            let file = project.join("out/model/next").join(file);
            fs::read(file).map_err(io)
        });
        if killed? != whole? {
            return Err(format!("`{file}` shows that training was interrupted"));
        }
    }
    Ok(())
}

/// Items on a circle of 50, each user from another start.
fn write(project: &Path) -> Result {
    for folder in ["raw", "features"] {
        fs::create_dir_all(project.join(folder)).map_err(io)?;
    }
    let rows = (0..96).flat_map(|user| {
        (0..12).map(move |position| format!("{user},{position},{}\n", (user + position) % 50))
    });
    let events = format!("user_id,position,item_id\n{}", rows.collect::<String>());
    fs::write(project.join("mlbuild.toml"), MANIFEST).map_err(io)?;
    fs::write(project.join("features/train.sql"), TRAIN).map_err(io)?;
    fs::write(project.join("raw/events.csv"), events).map_err(io)
}

/// Starts a build and stops it as Ctrl-C does, once three epochs are over.
fn interrupt(root: &Path, project: &Path) -> Result {
    let mut build = mlbuild(root, project)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    let stderr = build.stderr.take().ok_or("the build has no output")?;
    let mut lines = BufReader::new(stderr).lines();
    let third = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("epoch 3/")));
    if third.is_none() {
        return Err("the build said nothing of a third epoch".into());
    }
    let pid = build.id().to_string();
    workspace::run(Command::new("kill").args(["-INT", &pid]))?;
    // The rest is read, so that the build does not wait for its reader.
    lines.for_each(drop);
    if build.wait().map_err(io)?.success() {
        return Err("the build was over before it was interrupted".into());
    }
    Ok(())
}

fn mlbuild(root: &Path, project: &Path) -> Command {
    let mut command = Command::new(workspace::target(root).join("debug/mlbuild"));
    command
        .args(["build", "model:next"])
        .current_dir(project)
        .env("MLBUILD_CHECKPOINT_SECONDS", "0")
        .env_remove("MLBUILD_TORCH");
    command
}

fn io(error: std::io::Error) -> String {
    error.to_string()
}
