//! Gets libtorch into `.libtorch/`, which is where `.cargo/config.toml` points the worker's build.
//!
//! The folder is made aside and renamed when it is whole, and holds the pin that it was made for: so it is either
//! complete or not there, a new pin replaces it, and a second call looks at a few files and does nothing. A `.libtorch`
//! that is a link belongs to its user and is only checked.
//!
//! pip fetches the wheels, because it knows proxies, mirrors and certificates, and checks their digests.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::{Result, prerequisites, workspace};

const PIN: &str = include_str!("../libtorch.txt");
const UNPACK: &str = include_str!("unpack.py");
const VERSION: &str = "2.11.0";

/// Files without which the worker neither links nor starts.
const NEEDED: &[&str] = &[
    "torch/build-version",
    "torch/include/torch/csrc/api/include/torch/torch.h",
    "torch/lib/libc10.so",
    "torch/lib/libtorch.so",
    "torch/lib/libtorch_cpu.so",
];

/// The wheels' tags: what `pip download` must be told to accept, whatever machine and Python it runs on.
const PLATFORMS: [&str; 4] = [
    "manylinux_2_28_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
];

/// Makes sure that `.libtorch/` is there and is the one pinned.
///
/// # Errors
/// If the wheels cannot be fetched or unpacked; nothing half-done is left in place.
pub(crate) fn setup(root: &Path) -> Result {
    let folder = root.join(".libtorch");
    if folder.is_symlink() {
        return check_own(&folder);
    }
    if is_ready(&folder, PIN) {
        return Ok(());
    }
    prerequisites::check_platform()?;
    // Two setups at once: the second waits, and then finds everything done.
    let lock = root.join(".libtorch.lock");
    let lock = File::create(&lock)
        .map_err(|error| format!("cannot create {}: {error}", lock.display()))?;
    lock.lock()
        .map_err(|error| format!("cannot lock .libtorch.lock: {error}"))?;
    if is_ready(&folder, PIN) {
        return Ok(());
    }
    println!("getting libtorch {VERSION} into .libtorch/: 545 MB to fetch, 500 MB on disk, once");
    install(&folder, PIN, fetch)
}

/// Whether `folder` holds all that is needed, made for this pin.
fn is_ready(folder: &Path, pin: &str) -> bool {
    let made_for = fs::read_to_string(folder.join("pin"));
    made_for.is_ok_and(|made_for| made_for == pin) && missing(folder).is_none()
}

fn missing(folder: &Path) -> Option<&'static str> {
    NEEDED
        .iter()
        .copied()
        .find(|file| !folder.join(file).is_file())
}

/// Checks a libtorch that its user brought along.
fn check_own(folder: &Path) -> Result {
    if let Some(file) = missing(folder) {
        return Err(format!(
            "`.libtorch` is a link to a folder without `{file}`\n  remove the link to get the pinned libtorch"
        ));
    }
    let version = fs::read_to_string(folder.join("torch/build-version")).unwrap_or_default();
    // Builds from elsewhere say `2.11.0+cpu`.
    if version.trim().split('+').next() != Some(VERSION) {
        return Err(format!(
            "`.libtorch` is a link to libtorch {}; the worker needs {VERSION}\n  \
             remove the link to get the pinned one",
            version.trim()
        ));
    }
    Ok(())
}

/// Makes `folder` by filling one beside it, then swapping them.
fn install(folder: &Path, pin: &str, fill: impl FnOnce(&Path) -> Result) -> Result {
    let aside = folder.with_extension("part");
    let old = folder.with_extension("old");
    remove(&aside)?;
    remove(&old)?;
    let io = |error: std::io::Error| format!("cannot write {}: {error}", aside.display());
    fs::create_dir_all(&aside).map_err(io)?;
    fill(&aside)?;
    fs::write(aside.join("pin"), pin).map_err(io)?;
    if let Some(file) = missing(&aside) {
        return Err(format!(
            "the wheels hold no `{file}`; is the pin in xtask/libtorch.txt right?"
        ));
    }
    if folder.exists() {
        fs::rename(folder, &old).map_err(io)?;
    }
    fs::rename(&aside, folder).map_err(io)?;
    remove(&old)
}

fn remove(folder: &Path) -> Result {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Fetches the wheels and unpacks into `folder` what the CPU needs.
fn fetch(folder: &Path) -> Result {
    let io = |error: std::io::Error| format!("cannot write {}: {error}", folder.display());
    let wheels = folder.join("wheels");
    fs::create_dir(&wheels).map_err(io)?;
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, PIN).map_err(io)?;

    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-deps",
    ])
    .args([
        "--only-binary=:all:",
        "--implementation=cp",
        "--python-version=3.12",
    ])
    .args(PLATFORMS.map(|platform| format!("--platform={platform}")))
    .args(["--no-cache-dir", "--require-hashes"])
    .arg("--dest")
    .arg(&wheels)
    .arg("--requirement")
    .arg(&requirements);
    workspace::run(&mut pip).map_err(|error| {
        format!("{error}\n  libtorch comes from the package index that pip is set up to use; run this again with a network")
    })?;

    println!("unpacking");
    workspace::run(
        Command::new("python3")
            .args(["-c", UNPACK])
            .arg(&wheels)
            .arg(folder),
    )?;
    // The wheel's libtorch.so needs CUDA; torch-sys only asks for the name.
    fs::write(folder.join("torch/lib/libtorch.so"), "INPUT(-ltorch_cpu)\n").map_err(io)?;
    fs::write(folder.join("torch/build-version"), format!("{VERSION}\n")).map_err(io)?;
    fs::remove_file(&requirements).map_err(io)?;
    remove(&wheels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(folder: &Path) -> Result {
        for file in NEEDED {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "2.11.0\n").unwrap();
        }
        Ok(())
    }

    #[test]
    fn the_pin_names_the_version_that_is_checked() {
        assert!(PIN.contains(&format!("\ntorch=={VERSION} --hash=sha256:")));
    }

    #[test]
    fn an_installed_folder_is_ready_for_its_pin_only() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(".libtorch");
        assert!(!is_ready(&folder, "a"));
        install(&folder, "a", fill).unwrap();
        assert!(is_ready(&folder, "a"));
        assert!(!is_ready(&folder, "b"));
        install(&folder, "b", fill).unwrap();
        assert!(is_ready(&folder, "b"));
        let left: Vec<_> = fs::read_dir(root.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [".libtorch"]);
    }

    #[test]
    fn a_folder_that_lost_a_file_is_not_ready() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(".libtorch");
        install(&folder, "a", fill).unwrap();
        fs::remove_file(folder.join(NEEDED[2])).unwrap();
        assert!(!is_ready(&folder, "a"));
    }

    #[test]
    fn what_a_killed_setup_left_is_thrown_away() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(".libtorch");
        let failed = install(&folder, "a", |aside| {
            fs::write(aside.join("half"), "").unwrap();
            Err("killed".to_owned())
        });
        assert_eq!(failed, Err("killed".to_owned()));
        assert!(!folder.exists());
        install(&folder, "a", fill).unwrap();
        assert!(is_ready(&folder, "a"));
        assert!(!folder.join("half").exists());
    }

    #[test]
    fn a_failed_setup_leaves_the_old_libtorch_in_place() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(".libtorch");
        install(&folder, "a", fill).unwrap();
        install(&folder, "b", |_| Ok(())).unwrap_err();
        assert!(is_ready(&folder, "a"));
    }

    #[test]
    fn a_linked_libtorch_is_checked_and_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("own");
        let link = root.path().join(".libtorch");
        fs::create_dir(&own).unwrap();
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert!(
            setup(root.path())
                .unwrap_err()
                .contains("without `torch/build-version`")
        );
        fill(&own).unwrap();
        assert_eq!(setup(root.path()), Ok(()));
        fs::write(own.join("torch/build-version"), "2.10.0+cpu\n").unwrap();
        assert!(
            setup(root.path())
                .unwrap_err()
                .contains("2.10.0+cpu; the worker needs 2.11.0")
        );
        assert!(link.is_symlink());
    }
}
