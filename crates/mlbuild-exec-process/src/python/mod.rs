//! Functions of the project: what they are, in a key, and how they are called.
//!
//! A function is identified by the code that it can reach, not by the files that hold it: by the syntax trees of its
//! module and of every module of the project that it imports ([`closure`]), by the versions of the packages that these
//! import ([`versions`]), and by the version of the interpreter. Parsing is the interpreter's own (`analyse.py`); its
//! answers are remembered by what they depend on, so that where nothing changed nothing is started.

mod closure;
mod interpreter;
mod run;
mod session;
mod versions;
mod wire;
#[cfg_attr(not(target_os = "linux"), path = "no_zygote.rs")]
mod zygote;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlbuild_action::{Code, Diagnostic, Failure, ProjectFiles, Python, Tree};
use mlbuild_digest::{Digest, Encoder};

use self::closure::{Closure, Surroundings, closure};
use self::session::{SCRIPT, Session};
use self::wire::{Analysis, Environment};
use crate::ProcessSettings;

pub(crate) use self::run::{Shared, run};
pub(crate) use self::zygote::Zygotes;

/// What is known of the project's Python, for the time of one build.
#[derive(Default)]
pub(crate) struct Interpreter {
    program: Option<PathBuf>,
    environment: Option<Arc<Environment>>,
    session: Option<Session>,
    /// By the digests of their files.
    analyses: HashMap<Digest, Arc<Analysis>>,
    /// Modules of packages that each function's module reaches.
    imported: HashMap<String, BTreeSet<String>>,
}

impl Interpreter {
    /// The code that `work` runs.
    pub(crate) fn code(
        &mut self,
        work: &Python,
        srcs: &Tree,
        project: &mut dyn ProjectFiles,
        settings: &ProcessSettings,
        started: &AtomicU64,
    ) -> Result<Code, Failure> {
        let environment = self.environment(project, settings, started)?;
        let lock = versions::lock(project)?;
        let srcs: Vec<String> = srcs
            .entries()
            .iter()
            .map(|entry| entry.path.clone())
            .collect();
        let surroundings = Surroundings {
            environment: &environment,
            srcs: &srcs,
            install: lock.as_ref().map(|lock| lock.install),
        };
        let mut analyse = |project: &mut dyn ProjectFiles, path: &str, digest: &Digest| {
            self.analysis(&environment, project, path, digest, settings, started)
        };
        let closure = closure(&work.module, &surroundings, project, &mut analyse)?;
        check_function(work, &closure)?;
        let imported = closure.outside.clone();
        self.imported.insert(work.module.clone(), imported);
        let versions = versions::versions(&closure.distributions, &environment, lock.as_ref())?;
        let mut parts = code_parts(&closure);
        parts.insert("python".to_owned(), environment.identity.clone());
        let packages = versions.into_iter();
        parts.extend(packages.map(|(name, version)| (format!("package.{name}"), version)));
        Ok(Code {
            parts,
            files: closure.files.into_keys().collect(),
        })
    }

    /// Modules of installed packages that the code of `module` imports, as far as they are known.
    pub(crate) fn imported(&self, module: &str) -> BTreeSet<String> {
        self.imported.get(module).cloned().unwrap_or_default()
    }

    /// The interpreter and its packages as they are known, else as it says itself.
    pub(crate) fn known(
        &mut self,
        settings: &ProcessSettings,
        started: &AtomicU64,
    ) -> Result<Arc<Environment>, Failure> {
        match &self.environment {
            Some(environment) => Ok(Arc::clone(environment)),
            None => self.environment(&mut Forgetful, settings, started),
        }
    }

    /// The interpreter and its packages; the first who asks in a build pays.
    fn environment(
        &mut self,
        project: &mut dyn ProjectFiles,
        settings: &ProcessSettings,
        started: &AtomicU64,
    ) -> Result<Arc<Environment>, Failure> {
        if let Some(environment) = &self.environment {
            return Ok(Arc::clone(environment));
        }
        let program = interpreter::find(settings, project)?;
        self.program = Some(program.clone());
        let mut probe = || {
            let session = self.session(settings, started)?;
            session
                .probe()
                .map_err(|error| not_started(&program, &error))
        };
        let environment = interpreter::environment(&program, &settings.root, project, &mut probe)?;
        let environment = Arc::new(environment);
        self.environment = Some(Arc::clone(&environment));
        Ok(environment)
    }

    /// What the file `path`, whose digest this is, imports and consists of.
    fn analysis(
        &mut self,
        environment: &Environment,
        project: &mut dyn ProjectFiles,
        path: &str,
        digest: &Digest,
        settings: &ProcessSettings,
        started: &AtomicU64,
    ) -> Result<Arc<Analysis>, Failure> {
        if let Some(analysis) = self.analyses.get(digest) {
            return Ok(Arc::clone(analysis));
        }
        let mut encoder = Encoder::new("mlbuild python analysis v1");
        encoder.part("script", SCRIPT.as_bytes());
        encoder.part("python", environment.identity.as_bytes());
        let key = encoder.part("file", digest.as_bytes()).finish();
        let memo = project.memo(&key);
        let analysis = match memo.and_then(|memo| serde_json::from_slice(&memo).ok()) {
            Some(analysis) => analysis,
            None => {
                let source = read_as(project, path, digest)?;
                let session = self.session(settings, started)?;
                let program = PathBuf::from(&environment.executable);
                let analysis = session
                    .analyse(&source)
                    .map_err(|error| not_started(&program, &error))?;
                project.remember(
                    &key,
                    &serde_json::to_vec(&analysis).expect("texts are JSON"),
                );
                analysis
            }
        };
        let analysis = Arc::new(analysis);
        self.analyses.insert(*digest, Arc::clone(&analysis));
        Ok(analysis)
    }

    /// The analyser, started when it is first needed.
    fn session(
        &mut self,
        settings: &ProcessSettings,
        started: &AtomicU64,
    ) -> Result<&mut Session, Failure> {
        if self.session.is_none() {
            let program = match &self.program {
                Some(program) => program.clone(),
                None => interpreter::find(settings, &mut Forgetful)?,
            };
            let session = Session::start(&program, &settings.path, &settings.root);
            self.session = Some(session.map_err(|error| not_started(&program, &error))?);
            started.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.session.as_mut().expect("it was started above"))
    }
}

/// A project of which nothing is known or remembered.
struct Forgetful;

impl ProjectFiles for Forgetful {
    fn digest(&mut self, _: &str) -> io::Result<Option<Digest>> {
        Ok(None)
    }

    fn look(&mut self, _: &Path) {}

    fn note_variable(&mut self, _: &str, _: Option<&str>) {}

    fn is_folder(&mut self, _: &str) -> bool {
        false
    }

    fn read(&mut self, _: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn memo(&self, _: &Digest) -> Option<Vec<u8>> {
        None
    }

    fn remember(&self, _: &Digest, _: &[u8]) {}
}

/// The bytes of a file that has this digest.
fn read_as(
    project: &mut dyn ProjectFiles,
    path: &str,
    digest: &Digest,
) -> Result<Vec<u8>, Failure> {
    let bytes = project
        .read(path)
        .map_err(|error| closure::unreadable(path, &error))?;
    if Digest::of(&bytes) == *digest {
        return Ok(bytes);
    }
    let message = format!("`{path}` changed while it was read");
    Err(Failure::Failed(
        Diagnostic::error("source::changed", message).help("build again"),
    ))
}

/// One part a function or class, and one for all else in a file.
fn code_parts(closure: &Closure) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    for (path, analysis) in &closure.files {
        for (name, part) in &analysis.parts {
            let name = match name.as_str() {
                "" => format!("code.{path}"),
                name => format!("code.{path}.{name}"),
            };
            parts.insert(name, format!("{} {}", part.kind, part.code));
        }
    }
    parts
}

/// Complains early about a function that is not there.
fn check_function(work: &Python, closure: &Closure) -> Result<(), Failure> {
    let Some(analysis) = closure.files.get(&closure.entry) else {
        return Ok(());
    };
    if analysis.open || analysis.bound.contains(&work.function) {
        return Ok(());
    }
    let functions = analysis
        .parts
        .iter()
        .filter(|(_, part)| part.kind == "function");
    let functions: Vec<_> = functions.map(|(name, _)| format!("`{name}`")).collect();
    let message = format!("`{}` has no function `{}`", closure.entry, work.function);
    let diagnostic = Diagnostic::error("python::no-function", message);
    Err(Failure::Invalid(match functions.is_empty() {
        true => diagnostic,
        false => diagnostic.help(format!("it has {}", functions.join(", "))),
    }))
}

fn not_started(program: &Path, error: &io::Error) -> Failure {
    let message = format!(
        "the Python interpreter `{}` does not answer: {error}",
        program.display()
    );
    Failure::Environment(Diagnostic::error("python::no-interpreter", message))
}
