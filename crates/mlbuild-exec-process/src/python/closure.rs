//! The import closure of a module: every file of the project that importing it, or calling what is in it, can reach.
//!
//! Found by reading, never by importing, so it takes every import anywhere in a file, also inside functions and in
//! branches that may not be taken. An import whose module only shows when it runs cannot be followed: it is refused
//! unless the target declares the modules that may be meant, which then count as imported.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use mlbuild_action::{Diagnostic, Failure, ProjectFiles};
use mlbuild_digest::Digest;

use super::interpreter::guess;
use super::wire::{Analysis, Environment, Import};

/// Analyses a file, given with its digest.
pub(super) type Analyse<'a> =
    dyn FnMut(&mut dyn ProjectFiles, &str, &Digest) -> Result<Arc<Analysis>, Failure> + 'a;

/// What a module can reach.
#[derive(Debug, Default)]
pub(super) struct Closure {
    /// Files of the project, by path.
    pub(super) files: BTreeMap<String, Arc<Analysis>>,
    /// Distributions that are imported from.
    pub(super) distributions: BTreeSet<String>,
    /// Modules of these.
    pub(super) outside: BTreeSet<String>,
    /// The file of the module itself.
    pub(super) entry: String,
}

/// What surrounds the code.
pub(super) struct Surroundings<'a> {
    pub(super) environment: &'a Environment,
    /// Files that the target declares.
    pub(super) srcs: &'a [String],
    /// The line that installs what the project pins, if it pins anything.
    pub(super) install: Option<&'a str>,
}

/// Follows `module`.
pub(super) fn closure(
    module: &str,
    surroundings: &Surroundings<'_>,
    project: &mut dyn ProjectFiles,
    analyse: &mut Analyse<'_>,
) -> Result<Closure, Failure> {
    let mut walk = Walk {
        surroundings,
        project,
        analyse,
        found: Closure::default(),
        open: Vec::new(),
    };
    match walk.take(module)? {
        Found::File { path, .. } => walk.found.entry = path,
        Found::Folder | Found::Outside | Found::Nowhere => return Err(no_module(module)),
    }
    for path in surroundings.srcs {
        if let Some(module) = path.strip_suffix(".py") {
            let package = module.strip_suffix("/__init__");
            let name = package.unwrap_or(module).replace('/', ".");
            walk.take(&name)?;
            walk.enter(&name, path, package.is_some())?;
        }
    }
    while let Some(open) = walk.open.pop() {
        walk.imports_of(&open)?;
    }
    Ok(walk.found)
}

/// A file whose imports are still to be followed.
struct Open {
    module: String,
    path: String,
    is_package: bool,
}

/// What a module's name leads to.
#[derive(Debug)]
enum Found {
    File {
        path: String,
        is_package: bool,
    },
    /// A folder that Python takes for a package although it says nothing of itself.
    Folder,
    /// The standard library or an installed package.
    Outside,
    Nowhere,
}

struct Walk<'a> {
    surroundings: &'a Surroundings<'a>,
    project: &'a mut dyn ProjectFiles,
    analyse: &'a mut Analyse<'a>,
    found: Closure,
    open: Vec<Open>,
}

impl Walk<'_> {
    /// Takes a module, and the packages on the way to it.
    fn take(&mut self, module: &str) -> Result<Found, Failure> {
        let ends = module.match_indices('.').map(|(at, _)| at);
        let ends: Vec<usize> = ends.chain([module.len()]).collect();
        let mut found = Found::Nowhere;
        for end in ends {
            let name = &module[..end];
            found = self.locate(name)?;
            match &found {
                Found::File { path, is_package } => {
                    let (path, is_package) = (path.clone(), *is_package);
                    self.enter(name, &path, is_package)?;
                }
                Found::Folder => {}
                Found::Outside | Found::Nowhere => return Ok(found),
            }
        }
        Ok(found)
    }

    /// Python's own order: a package, a module, and only then a mere folder.
    fn locate(&mut self, module: &str) -> Result<Found, Failure> {
        let base = module.replace('.', "/");
        let is_top = base == module;
        let candidates = [
            (format!("{base}/__init__.py"), true),
            (format!("{base}.py"), false),
        ];
        for (path, is_package) in candidates {
            if self.digest(&path)?.is_some() {
                if is_top && self.surroundings.environment.stdlib.contains(module) {
                    return Err(hides_library(&path, module));
                }
                return Ok(Found::File { path, is_package });
            }
        }
        let environment = self.surroundings.environment;
        let is_outside =
            environment.stdlib.contains(module) || environment.modules.contains_key(module);
        if is_top && is_outside {
            return Ok(Found::Outside);
        }
        // An extension module that the target declares: it is taken by its bytes.
        let declared = format!("{base}.");
        if self.project.is_folder(&base)
            || self
                .surroundings
                .srcs
                .iter()
                .any(|src| src.starts_with(&declared))
        {
            return Ok(Found::Folder);
        }
        Ok(Found::Nowhere)
    }

    fn digest(&mut self, path: &str) -> Result<Option<Digest>, Failure> {
        self.project
            .digest(path)
            .map_err(|error| unreadable(path, &error))
    }

    fn enter(&mut self, module: &str, path: &str, is_package: bool) -> Result<(), Failure> {
        if self.found.files.contains_key(path) {
            return Ok(());
        }
        let Some(digest) = self.digest(path)? else {
            return Err(unreadable(path, &io::ErrorKind::NotFound.into()));
        };
        let analysis = (self.analyse)(self.project, path, &digest)?;
        if let Some(broken) = &analysis.broken {
            let message = format!("`{path}:{}` is not Python: {}", broken.line, broken.message);
            return Err(invalid("python::syntax", message));
        }
        let declares_code = self
            .surroundings
            .srcs
            .iter()
            .any(|src| src.ends_with(".py"));
        if let Some(dynamic) = analysis.dynamic.first().filter(|_| !declares_code) {
            let message = format!(
                "`{path}:{}` imports a module that only shows when it runs: `{}`",
                dynamic.line, dynamic.code
            );
            return Err(Failure::Invalid(
                Diagnostic::error("python::dynamic-import", message).help(
                    "import by a literal name, or list the files that may be meant: `srcs = [\"lib/plugins/*.py\"]`",
                ),
            ));
        }
        self.found.files.insert(path.to_owned(), analysis);
        self.open.push(Open {
            module: module.to_owned(),
            path: path.to_owned(),
            is_package,
        });
        Ok(())
    }

    fn imports_of(&mut self, open: &Open) -> Result<(), Failure> {
        let analysis = Arc::clone(&self.found.files[&open.path]);
        for import in &analysis.imports {
            self.import(open, import)?;
        }
        for module in &analysis.implied {
            if self.add_distributions(module) {
                self.found.outside.insert(module.clone());
            }
        }
        Ok(())
    }

    fn import(&mut self, open: &Open, import: &Import) -> Result<(), Failure> {
        let module = absolute(open, import)?;
        // `from . import name` in a folder that is no package of its own: only the names count.
        let found = match module.is_empty() {
            true => Found::Folder,
            false => self.take(&module)?,
        };
        match found {
            Found::Nowhere if import.optional => Ok(()),
            Found::Nowhere => Err(self.missing(open, import, &module)),
            Found::Outside => {
                let top = module.split('.').next().unwrap_or(&module);
                if self.add_distributions(top) {
                    self.found.outside.insert(module);
                }
                Ok(())
            }
            Found::File {
                is_package: false, ..
            } => Ok(()),
            Found::File { path, .. } => {
                let all = self
                    .found
                    .files
                    .get(&path)
                    .map(|package| package.all.clone());
                for name in &import.names {
                    match &**name {
                        // Names of a package that are no modules are in its own file, which is taken.
                        "*" => {
                            for name in all.iter().flatten() {
                                self.take_if_there(&module, name)?;
                            }
                        }
                        name => {
                            self.take_if_there(&module, name)?;
                        }
                    }
                }
                Ok(())
            }
            Found::Folder => {
                for name in import.names.iter().filter(|name| *name != "*") {
                    if !self.take_if_there(&module, name)? && !import.optional {
                        let module = join(&module, name);
                        return Err(self.missing(open, import, &module));
                    }
                }
                Ok(())
            }
        }
    }

    /// Takes a module of a package, if it has one of that name.
    fn take_if_there(&mut self, package: &str, name: &str) -> Result<bool, Failure> {
        let module = join(package, name);
        match self.locate(&module)? {
            Found::File { path, is_package } => {
                self.enter(&module, &path, is_package).map(|()| true)
            }
            Found::Folder => Ok(true),
            Found::Outside | Found::Nowhere => Ok(false),
        }
    }

    /// Notes what `module` is installed with; false if it is not.
    fn add_distributions(&mut self, module: &str) -> bool {
        let distributions = self.surroundings.environment.modules.get(module);
        let found = &mut self.found.distributions;
        found.extend(distributions.into_iter().flatten().cloned());
        distributions.is_some()
    }

    fn missing(&mut self, open: &Open, import: &Import, module: &str) -> Failure {
        let top = module.split('.').next().unwrap_or(module);
        let base = module.replace('.', "/");
        let at = format!("`{}:{}` imports `{module}`", open.path, import.line);
        let local = import.level > 0 || self.project.is_folder(top);
        let diagnostic = if local {
            Diagnostic::error(
                "python::no-module",
                format!("{at}, and there is no `{base}.py` in the project"),
            )
        } else {
            let message = format!("{at}, which is neither in the project nor installed");
            let install = match self.surroundings.install {
                Some(install) => format!("install it ({install})"),
                None => format!("install it (pip install {})", guess(top)),
            };
            Diagnostic::error("python::no-module", message).help(format!(
                "{install}, or write `{top}.py`; modules are found from the project's root"
            ))
        };
        match local {
            true => Failure::Invalid(diagnostic),
            false => Failure::Environment(diagnostic),
        }
    }
}

/// The module that an import names, from the project's root; empty for the root itself.
fn absolute(open: &Open, import: &Import) -> Result<String, Failure> {
    if import.level == 0 {
        return Ok(import.module.clone());
    }
    let mut parts: Vec<&str> = open.module.split('.').collect();
    let up = import.level - usize::from(open.is_package);
    if up >= parts.len() {
        let message = format!(
            "`{}:{}` imports from beyond its own package",
            open.path, import.line
        );
        return Err(invalid("python::no-package", message));
    }
    parts.truncate(parts.len() - up);
    Ok(join(&parts.join("."), &import.module))
}

fn join(package: &str, name: &str) -> String {
    match (package, name) {
        ("", name) => name.to_owned(),
        (package, "") => package.to_owned(),
        (package, name) => format!("{package}.{name}"),
    }
}

fn invalid(code: &'static str, message: String) -> Failure {
    Failure::Invalid(Diagnostic::error(code, message))
}

fn no_module(module: &str) -> Failure {
    let path = module.replace('.', "/");
    let message = format!(
        "the project has no module `{module}`: neither `{path}.py` nor `{path}/__init__.py`"
    );
    invalid("python::no-module", message)
}

fn hides_library(path: &str, module: &str) -> Failure {
    let message = format!("`{path}` has the name of a module of Python's own library, `{module}`");
    Failure::Invalid(Diagnostic::error("python::hides-library", message).help(
        "rename it: which of the two an import means would depend on what was imported before",
    ))
}

pub(super) fn unreadable(path: &str, error: &io::Error) -> Failure {
    invalid(
        "source::unreadable",
        format!("cannot read `{path}`: {error}"),
    )
}

#[cfg(test)]
mod tests;
