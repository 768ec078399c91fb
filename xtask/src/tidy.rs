//! The rules of this repository that a machine can hold.
//!
//! Each rule is a pure function from what it looks at to sentences about what is wrong; [`run`] reads the repository
//! and reports all of them at once. The crates' levels are read from the table in `ARCHITECTURE.md`, so that the map
//! cannot drift from the territory.

mod crates;
mod disk;
mod files;

use std::path::Path;
use std::process::Command;

use crate::{Result, workspace};

/// Checks every rule.
///
/// # Errors
/// One line a violation.
pub(crate) fn run(root: &Path) -> Result {
    let mut problems = crates::check(
        &read(&root.join("ARCHITECTURE.md"))?,
        &read(&root.join("Cargo.toml"))?,
        &manifests(root)?,
    );
    let tracked = tracked(root)?;
    problems.extend(files::check(root, &tracked));
    problems.extend(disk::check(root, &tracked));
    if problems.is_empty() {
        return Ok(());
    }
    problems.sort();
    Err(problems.join("\n  "))
}

/// The manifests of all members: folder relative to the root, and text.
fn manifests(root: &Path) -> Result<Vec<(String, String)>> {
    let crates = root.join("crates");
    let unreadable = |error| format!("cannot read {}: {error}", crates.display());
    let mut folders = vec!["xtask".to_owned()];
    for entry in std::fs::read_dir(&crates).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        folders.push(format!("crates/{}", name.to_string_lossy()));
    }
    folders.sort();
    folders.retain(|folder| root.join(folder).join("Cargo.toml").is_file());
    folders
        .into_iter()
        .map(|folder| {
            Ok((
                folder.clone(),
                read(&root.join(&folder).join("Cargo.toml"))?,
            ))
        })
        .collect()
}

/// What git tracks, relative to the root.
fn tracked(root: &Path) -> Result<Vec<String>> {
    let files = workspace::output(
        Command::new("git")
            .args(["ls-files", "-z"])
            .current_dir(root),
    )?;
    Ok(files.split_terminator('\0').map(str::to_owned).collect())
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))
}
