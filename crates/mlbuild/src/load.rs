//! From the current folder to a project: finds `mlbuild.toml`, reads what declares targets, resolves it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mlbuild_action::{Diagnostic, Severity};
use mlbuild_engine::{Project, Witness};
use mlbuild_graph::Graph;
use mlbuild_manifest::{Label, MANIFEST_FILE, SQL_FOLDERS, SourceText};

use crate::cli::{Global, Variant};
use crate::failure::{CommandFailure, EXIT_USAGE};
use crate::terminal::Terminal;

/// A project with what it was read from.
pub(crate) struct Loaded {
    pub(crate) project: Project,
    /// What was made of the manifest.
    pub(crate) variant: mlbuild_manifest::Variant,
    pub(crate) sources: Vec<SourceText>,
    /// What the manifest says of the project itself.
    pub(crate) declared: mlbuild_manifest::Project,
}

/// Loads the variant of the project around the folder that the user named (or the current one), showing warnings as it goes.
pub(crate) fn load(
    global: &Global,
    variant: &Variant,
    terminal: &Terminal,
) -> Result<Loaded, CommandFailure> {
    let root = find_root(global.directory.as_deref())?;
    let variant = variant.read();
    let mut witness = Witness::default();
    let mut sources = read_sources(&root, &mut witness)?;
    let (manifest_text, sql) = sources
        .split_first()
        .expect("the manifest is the first source");
    let (manifest, mut diagnostics) = mlbuild_manifest::parse_variant(manifest_text, sql, &variant);
    let (graph, more) = mlbuild_graph::resolve(&manifest);
    diagnostics.extend(more);
    sources.extend(variant.source());
    if diagnostics.iter().any(|d| d.severity == Severity::Error) {
        terminal.diagnostics(&diagnostics, &sources);
        return Err(CommandFailure::shown(EXIT_USAGE));
    }
    match crate::env::program() {
        Some(program) => witness.look(&root, &program),
        None => witness.doubt(),
    }
    if !diagnostics.is_empty() {
        // They would be said again.
        witness.doubt();
    }
    terminal.diagnostics(&diagnostics, &sources);
    let mut project = Project::open(&root, graph, witness, crate::env::now())?;
    project.profile.clone_from(&variant.profile);
    project.profiles = manifest.profiles;
    Ok(Loaded {
        project,
        variant,
        sources,
        declared: manifest.project,
    })
}

/// What this variant of the manifest at `root` says of the project itself, as far as it can be read.
pub(crate) fn declared(root: &Path, variant: &Variant) -> mlbuild_manifest::Project {
    match read_text(root, MANIFEST_FILE.to_owned()) {
        Ok(text) => {
            mlbuild_manifest::parse_variant(&text, &[], &variant.read())
                .0
                .project
        }
        Err(_) => mlbuild_manifest::Project::default(),
    }
}

/// The folder of the nearest `mlbuild.toml`, from `directory` upwards.
pub(crate) fn find_root(directory: Option<&Path>) -> Result<PathBuf, CommandFailure> {
    let start = directory.unwrap_or(Path::new("."));
    let start = fs::canonicalize(start).map_err(|e| {
        let message = format!("cannot open the folder `{}`: {e}", start.display());
        CommandFailure::new(EXIT_USAGE, Diagnostic::error("project::no-folder", message))
    })?;
    let found = start
        .ancestors()
        .find(|folder| folder.join(MANIFEST_FILE).is_file());
    found.map(Path::to_owned).ok_or_else(|| {
        let message = format!("no {MANIFEST_FILE} in `{}` or above it", start.display());
        let diagnostic = Diagnostic::error("project::not-found", message)
            .help("`mlbuild init` writes a project that builds; `-C DIR` names the folder of one");
        CommandFailure::new(EXIT_USAGE, diagnostic)
    })
}

/// The manifest first, then the SQL files by path.
fn read_sources(root: &Path, witness: &mut Witness) -> Result<Vec<SourceText>, CommandFailure> {
    let mut paths = vec![MANIFEST_FILE.to_owned()];
    for folder in SQL_FOLDERS {
        witness.look(root, Path::new(folder));
        let entries = match fs::read_dir(root.join(folder)) {
            Ok(entries) => entries,
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                continue;
            }
            Err(e) => {
                return Err(CommandFailure::io(
                    "read the folder",
                    &root.join(folder),
                    &e,
                ));
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry =
                entry.map_err(|e| CommandFailure::io("read the folder", &root.join(folder), &e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.ends_with(".sql") || name.starts_with('.') {
                continue;
            }
            // A link, or a folder of that name, may yet become a file.
            witness.look(root, &entry.path());
            if entry.path().is_dir() {
                continue;
            }
            if !entry.path().is_file() {
                let message = format!("`{folder}/{name}` is no file, nor a link to one");
                let diagnostic = Diagnostic::error("project::not-a-file", message)
                    .help("what ends in `.sql` here declares a target");
                return Err(CommandFailure::new(EXIT_USAGE, diagnostic));
            }
            if entry.file_name().to_str().is_none() {
                let message = format!("the name of `{folder}/{name}` is not UTF-8");
                let diagnostic = Diagnostic::error("project::not-utf8", message)
                    .help("name it in lower case letters, digits and `_`: it is a target's name");
                return Err(CommandFailure::new(EXIT_USAGE, diagnostic));
            }
            names.push(format!("{folder}/{name}"));
        }
        names.sort();
        paths.extend(names);
    }
    paths
        .into_iter()
        .map(|path| {
            witness.look(root, Path::new(&path));
            read_text(root, path)
        })
        .collect()
}

fn read_text(root: &Path, path: String) -> Result<SourceText, CommandFailure> {
    let file = root.join(&path);
    let bytes = fs::read(&file).map_err(|e| CommandFailure::io("read", &file, &e))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceText { path, text }),
        Err(e) => {
            let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            let diagnostic = Diagnostic::error(
                "project::not-utf8",
                format!("`{path}` is not UTF-8: line {line}"),
            );
            Err(CommandFailure::new(EXIT_USAGE, diagnostic))
        }
    }
}

/// The targets that `expressions` select; all, if there is none.
pub(crate) fn select(
    loaded: &Loaded,
    expressions: &[String],
) -> Result<Vec<Label>, CommandFailure> {
    let graph: &Graph = &loaded.project.graph;
    let stale = || {
        let all: Vec<Label> = graph.targets().map(|target| target.label.clone()).collect();
        let planned =
            mlbuild_engine::plan(&loaded.project, &all, &crate::wiring::executors(loaded));
        let stale = planned
            .into_iter()
            .filter(|planned| planned.verdict != mlbuild_engine::Verdict::UpToDate);
        stale
            .map(|planned| planned.label)
            .collect::<std::collections::BTreeSet<Label>>()
    };
    let stale = std::cell::LazyCell::new(stale);
    let selected = graph.select(expressions, &|label| stale.contains(label));
    selected.map_err(|diagnostic| CommandFailure::new(EXIT_USAGE, diagnostic))
}

/// The one target that `name` means.
pub(crate) fn one_target(loaded: &Loaded, name: &str) -> Result<Label, CommandFailure> {
    match select(loaded, &[name.to_owned()])?.as_slice() {
        [label] => Ok(label.clone()),
        several => {
            let names: Vec<_> = several.iter().map(|label| format!("`{label}`")).collect();
            let message = format!(
                "`{name}` selects {} targets: {}",
                several.len(),
                names.join(", ")
            );
            Err(CommandFailure::new(
                EXIT_USAGE,
                Diagnostic::error("selection::several", message),
            ))
        }
    }
}
