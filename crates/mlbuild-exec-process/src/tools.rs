//! The tools of the machine: what a process may read although it did not declare it.
//!
//! System folders, and the folders of the `PATH` with what is installed beside them. Never the project and never the
//! user's own files: those would be inputs that no key knows of.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::ProcessSettings;
use crate::sandbox::{self, Network, Rules, Sandbox, SandboxMode};

/// Where systems keep programs, libraries, their settings and devices.
const SYSTEM: [&str; 17] = [
    "/bin",
    "/dev",
    "/etc",
    // Often a link to somewhere else.
    "/etc/resolv.conf",
    "/gnu",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/opt",
    "/proc",
    "/sbin",
    "/snap",
    "/sys",
    "/usr",
    "/var/lib/ca-certificates",
];

/// The sandbox of a process that may do everything in `own` and needs `more` of the machine than every process does.
pub(crate) fn sandbox(
    settings: &ProcessSettings,
    own: &[&Path],
    more: &[PathBuf],
    network: Network,
) -> Sandbox {
    let readable = match settings.sandbox {
        SandboxMode::Off => return Sandbox::none(),
        SandboxMode::Warn => None,
        SandboxMode::Strict => Some(readable(settings, more)),
    };
    Sandbox::new(&Rules {
        own,
        readable: readable.as_deref(),
        network,
    })
}

/// Whether processes cannot write what they may only read, by whatever call.
pub(crate) fn refuse_writes(settings: &ProcessSettings) -> bool {
    settings.sandbox != SandboxMode::Off && sandbox::refuses_all_writes()
}

fn readable(settings: &ProcessSettings, more: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut add = |path: &Path| {
        if let Ok(path) = path.canonicalize() {
            except(path, &settings.root, &mut found);
        }
    };
    SYSTEM.iter().for_each(|path| add(Path::new(path)));
    more.iter().for_each(|path| add(path));
    for folder in std::env::split_paths(&settings.path) {
        add(&folder);
        if let Some(installed) = installed_with(&folder, settings) {
            add(installed);
        }
    }
    found
}

/// The folder that a folder of programs belongs to: `/opt/tool` of `/opt/tool/bin`, but not the home of `~/bin`.
fn installed_with<'a>(folder: &'a Path, settings: &ProcessSettings) -> Option<&'a Path> {
    let names = ["bin", "sbin", "shims"].map(OsStr::new);
    let parent = folder
        .parent()
        .filter(|_| folder.file_name().is_some_and(|name| names.contains(&name)))?;
    let is_private = |private: &Path| private.starts_with(parent);
    let private = is_private(&settings.root) || settings.home.as_deref().is_some_and(is_private);
    (!private).then_some(parent)
}

/// Adds `folder`; if `hidden` lies in it, everything in it but that.
fn except(folder: PathBuf, hidden: &Path, found: &mut Vec<PathBuf>) {
    if !hidden.starts_with(&folder) {
        found.push(folder);
    } else if folder != hidden {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            except(entry.path(), hidden, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_among_the_tools_stays_hidden() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["opt/tool", "opt/src/project/lib", "opt/src/other"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let mut found = Vec::new();
        let at = |path: &str| root.path().join(path);
        except(at("opt"), &at("opt/src/project"), &mut found);
        found.sort();
        assert_eq!(found, [at("opt/src/other"), at("opt/tool")]);
    }

    #[test]
    fn programs_bring_what_they_are_installed_with_but_no_home() {
        let settings = ProcessSettings {
            root: "/people/ada/src/project".into(),
            home: Some("/people/ada".into()),
            ..ProcessSettings::default()
        };
        let with = |folder: &str| installed_with(Path::new(folder), &settings).map(Path::to_owned);
        assert_eq!(
            with("/people/ada/.pyenv/shims"),
            Some("/people/ada/.pyenv".into())
        );
        assert_eq!(
            with("/people/ada/src/project/.venv/bin"),
            Some("/people/ada/src/project/.venv".into())
        );
        assert_eq!(with("/people/ada/bin"), None);
        assert_eq!(with("/people/ada/src/project/bin"), None);
        assert_eq!(with("/people/ada/scripts"), None);
    }
}
