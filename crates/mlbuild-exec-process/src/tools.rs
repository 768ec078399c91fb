//! The tools of the machine: what a process may read although it did not declare it.
//!
//! System folders, and the folders of the `PATH` with what is installed beside them. Never the project and never the
//! user's own files: those would be inputs that no key knows of.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::ProcessSettings;
use crate::sandbox::{self, Machine, Network, Rules, Sandbox, SandboxMode};

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

/// The sandboxes of an executor's processes: what is common to all is looked up when the first is made.
#[derive(Default)]
pub(crate) struct Sandboxes(OnceLock<Machine>);

impl Sandboxes {
    /// The sandbox of a process that may do everything in `own`, read its inputs `given`, needs `more` of the machine
    /// than every process does, and may use `gpus` or not.
    pub(crate) fn make(
        &self,
        settings: &ProcessSettings,
        own: &[&Path],
        given: &[&Path],
        more: &[PathBuf],
        gpus: bool,
        network: Network,
    ) -> Sandbox {
        let machine = || match settings.sandbox {
            SandboxMode::Strict => Machine::new(Some(&readable(settings))),
            SandboxMode::Warn | SandboxMode::Off => Machine::new(None),
        };
        let mut readable = match settings.sandbox {
            SandboxMode::Off => return Sandbox::none(),
            SandboxMode::Warn => Vec::new(),
            SandboxMode::Strict => without_project(more, settings),
        };
        readable.extend(given.iter().map(|path| (*path).to_owned()));
        Sandbox::new(&Rules {
            machine: self.0.get_or_init(machine),
            own,
            more: &readable,
            gpus,
            network,
        })
    }
}

/// Whether processes cannot write what they may only read, by whatever call.
pub(crate) fn refuse_writes(settings: &ProcessSettings) -> bool {
    settings.sandbox != SandboxMode::Off && sandbox::refuses_all_writes()
}

fn readable(settings: &ProcessSettings) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    for folder in std::env::split_paths(&settings.path) {
        paths.extend(installed_with(&folder, settings).map(Path::to_owned));
        paths.push(folder);
    }
    without_project(&paths, settings)
}

/// These places, links followed, but nothing of the project itself.
fn without_project(paths: &[PathBuf], settings: &ProcessSettings) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths.iter().filter_map(|path| path.canonicalize().ok()) {
        except(path, &settings.root, &mut found);
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
