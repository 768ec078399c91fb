//! Which commit of the project a build is of, as git says it, where there is git.
//!
//! Provenance, never identity: a run records the commit, no key knows of it. Asking costs a process, so it is done beside the
//! build and only by builds that are recorded.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use mlbuild_engine::Witness;

/// The answer to come.
pub(crate) struct Asked(Option<JoinHandle<Option<String>>>);

impl Asked {
    /// The commit that is checked out, with ` with changes` behind it if files that git tracks differ from it; `None` outside of git.
    pub(crate) fn answer(self) -> Option<String> {
        self.0?.join().ok()?
    }
}

/// Asks for the commit of the project at `root`, and notes what shows that there is another one.
pub(crate) fn ask(root: &Path, witness: &mut Witness) -> Asked {
    let Some(folder) = folder(root) else {
        return Asked(None);
    };
    // Every commit and checkout adds a line to the second, and changes the first where there are no such lines.
    for file in ["HEAD", "logs/HEAD"] {
        witness.look(root, &folder.join(file));
    }
    let root = root.to_owned();
    Asked(Some(std::thread::spawn(move || commit(&root))))
}

fn commit(root: &Path) -> Option<String> {
    let commit = git(root, &["rev-parse", "--verify", "--quiet", "HEAD"])?;
    let changes = git(
        root,
        &["status", "--porcelain", "--untracked-files=no", "--", "."],
    )?;
    Some(match changes.is_empty() {
        true => commit,
        false => format!("{commit} with changes"),
    })
}

/// The commit that `name` means in the project at `root`: `HEAD~1`, `main`, `v1.2`, `3f2a91c`.
pub(crate) fn resolve(root: &Path, name: &str) -> Option<String> {
    let commit = format!("{name}^{{commit}}");
    git(
        root,
        &[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &commit,
        ],
    )
}

/// Where git keeps what it knows of the work tree around `root`.
fn folder(root: &Path) -> Option<PathBuf> {
    let found = root.ancestors().map(|folder| folder.join(".git"));
    let found = found
        .into_iter()
        .find(|path| path.symlink_metadata().is_ok())?;
    if found.is_dir() {
        return Some(found);
    }
    // A work tree beside the main one, or a submodule, names it in a file.
    let text = std::fs::read_to_string(&found).ok()?;
    let named = Path::new(text.strip_prefix("gitdir:")?.trim()).to_owned();
    Some(found.parent()?.join(named))
}

#[expect(clippy::disallowed_methods, reason = "git knows, and is asked")]
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(arguments)
        // Looking refreshes git's index otherwise, which may be somebody else's to lock.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}
