//! Which Python runs, and what it has installed.
//!
//! Asking costs a process, so the answer is remembered: the folders with packages by path, size and time of the
//! interpreter, and what is in them by their times too, which a package that comes or goes changes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mlbuild_action::{Diagnostic, Failure, ProjectFiles};
use mlbuild_digest::{Digest, Encoder};

use super::session::SCRIPT;
use super::wire::Environment;
use crate::ProcessSettings;

/// The interpreter of a project: `.venv/bin/python`, else what the manifest says, else `python3` on the `PATH`.
pub(super) fn find(
    settings: &ProcessSettings,
    project: &mut dyn ProjectFiles,
) -> Result<PathBuf, Failure> {
    // The folder too: a link to nothing that comes to be in it is seen there alone.
    for path in [".venv/bin", ".venv/bin/python"] {
        project.look(Path::new(path));
    }
    let environment = settings.root.join(".venv/bin/python");
    // Also where it is a link to a Python that is gone: better to say so than to take another.
    if environment.symlink_metadata().is_ok() {
        return Ok(environment);
    }
    let name = settings.python.as_deref().unwrap_or("python3");
    let found = if name.contains('/') {
        let file = settings.root.join(name);
        project.look(&file);
        crate::executor::is_executable(&file).then_some(file)
    } else {
        settings.note_path(project);
        crate::executor::on_path(&settings.path, name, &mut |file| project.look(file))
    };
    found.ok_or_else(|| {
        let message = format!("there is no Python interpreter `{name}`");
        Failure::Environment(Diagnostic::error("python::no-interpreter", message).help(
            "make an environment in the project (`python3 -m venv .venv`), or name an interpreter: `python = \"...\"` under `[project]`",
        ))
    })
}

/// What `program` is, as remembered, else as `probe` says.
pub(super) fn environment(
    program: &Path,
    root: &Path,
    project: &mut dyn ProjectFiles,
    probe: &mut dyn FnMut() -> Result<Environment, Failure>,
) -> Result<Environment, Failure> {
    let by_program = program_key(program, root, project);
    let remembered = project.memo(&by_program);
    let sites = remembered.and_then(|memo| serde_json::from_slice::<Vec<String>>(&memo).ok());
    if let Some(sites) = sites {
        let memo = {
            let key = sites_key(&by_program, &sites, project);
            project.memo(&key)
        };
        if let Some(environment) = memo.and_then(|memo| serde_json::from_slice(&memo).ok()) {
            return Ok(environment);
        }
    }
    let environment = probe()?;
    if environment.too_old {
        let message = format!(
            "`{}` is {}, and functions need Python 3.10 or newer",
            program.display(),
            environment.identity
        );
        let diagnostic = Diagnostic::error("python::too-old", message);
        return Err(Failure::Environment(diagnostic));
    }
    let as_json = |value: serde_json::Result<Vec<u8>>| value.expect("texts and lists are JSON");
    let sites = &environment.sites;
    project.remember(&by_program, &as_json(serde_json::to_vec(sites)));
    let key = sites_key(&by_program, sites, project);
    project.remember(&key, &as_json(serde_json::to_vec(&environment)));
    Ok(environment)
}

fn program_key(program: &Path, root: &Path, project: &mut dyn ProjectFiles) -> Digest {
    let mut encoder = Encoder::new("mlbuild python interpreter v1");
    encoder.part("script", SCRIPT.as_bytes());
    encoder.part("program", program.as_os_str().as_encoded_bytes());
    add_stat(&mut encoder, program, project);
    // Of a virtual environment, what it was made from.
    let above = |levels: usize| program.ancestors().nth(levels).unwrap_or(program);
    add_stat(&mut encoder, &above(2).join("pyvenv.cfg"), project);
    // A version manager's wrapper chooses by these.
    add_stat(&mut encoder, &root.join(".python-version"), project);
    add_stat(&mut encoder, &above(2).join("version"), project);
    encoder.finish()
}

fn sites_key(program: &Digest, sites: &[String], project: &mut dyn ProjectFiles) -> Digest {
    let mut encoder = Encoder::new("mlbuild python packages v1");
    encoder.part("program", program.as_bytes());
    for site in sites {
        encoder.part("site", site.as_bytes());
        add_stat(&mut encoder, Path::new(site), project);
    }
    encoder.finish()
}

fn add_stat(encoder: &mut Encoder, path: &Path, project: &mut dyn ProjectFiles) {
    project.look(path);
    if let Ok(metadata) = fs::metadata(path) {
        encoder.part("size", &metadata.size().to_le_bytes());
        encoder.part("mtime", &metadata.mtime().to_le_bytes());
        encoder.part("nanoseconds", &metadata.mtime_nsec().to_le_bytes());
    }
}

/// A module's name as a guess at the distribution that has it.
pub(super) fn guess(module: &str) -> &str {
    match module {
        "PIL" => "pillow",
        "bs4" => "beautifulsoup4",
        "cv2" => "opencv-python",
        "dateutil" => "python-dateutil",
        "skimage" => "scikit-image",
        "sklearn" => "scikit-learn",
        "yaml" => "pyyaml",
        other => other,
    }
}

/// Where the interpreter's own files are: what a process that runs it must be able to read.
pub(super) fn folders(environment: &Environment) -> impl Iterator<Item = PathBuf> {
    let program = Path::new(&environment.executable).parent();
    let listed = environment.prefixes.iter().chain(&environment.sites);
    listed.map(PathBuf::from).chain(program.map(Path::to_owned))
}
