//! The executor: lay out, run, check what came of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Component, Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mlbuild_action::{
    Analysis, Code, Command, CommandLine, Diagnostic, Executor, Failure, GpuId, Output, Progress,
    ProjectFiles, Request, Schema, Tree, Work,
};

use crate::events::{DESCRIPTOR, EVENTS, Events, Said};
use crate::log::Log;
use crate::placeholder::{self, Unknown};
use crate::process::{Ending, Limits, Outlets, Sink};
use crate::python::{Interpreter, Shared, Zygotes};
use crate::sandbox::{Network, SandboxMode};
use crate::stage::{self, Stage};
use crate::tools::{self, Sandboxes};
use crate::training::{CHECKPOINTS, Checkpoints};
use crate::variables::{self, Variables};
use crate::version::version;

/// What the caller's environment lends to commands. Provenance, not identity: none of it enters a key.
#[derive(Clone, Debug, Default)]
pub struct ProcessSettings {
    /// The `PATH` on which programs are found.
    pub path: OsString,
    /// Variables for commands with a pinned digest, which may use the network: proxies, certificate bundles, package
    /// indexes. By name.
    pub network: BTreeMap<String, OsString>,
    /// The project's folder, absolute: where its interpreter is looked for, and its files when a process missed one.
    pub root: PathBuf,
    /// The user's home, which is nobody's input.
    pub home: Option<PathBuf>,
    /// What is to be enforced.
    pub sandbox: SandboxMode,
    /// Looks a variable of the caller's up, for declarations that name it.
    pub lookup: Option<fn(&str) -> Option<String>>,
    /// The Python interpreter that the project asks for: a path relative to it, or a name to be found on `path`.
    pub python: Option<String>,
}

impl ProcessSettings {
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.lookup.and_then(|lookup| lookup(name))
    }

    /// Tells that the answer depends on where programs are found.
    pub(crate) fn note_path(&self, project: &mut dyn ProjectFiles) {
        project.note_variable("PATH", self.variable("PATH").as_deref());
    }
}

/// The variable that says which GPUs a process sees; empty for none.
pub(crate) const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// Runs [`Work::Command`] and [`Work::Python`]; the crate's header says how.
#[derive(Default)]
pub struct ProcessExecutor {
    settings: ProcessSettings,
    interpreter: Mutex<Interpreter>,
    zygotes: Zygotes,
    sandboxes: Sandboxes,
    started: AtomicU64,
}

impl ProcessExecutor {
    /// An executor that lends commands these settings.
    pub fn new(settings: ProcessSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }
}

impl ProcessExecutor {
    /// The interpreter that runs functions: its version, and where it is.
    ///
    /// # Errors
    /// If there is none, or it does not answer.
    pub fn python(&self) -> Result<String, Diagnostic> {
        match self.interpreter().known(&self.settings, &self.started) {
            Ok(environment) => Ok(environment.to_string()),
            Err(
                Failure::Failed(why)
                | Failure::Rejected(why)
                | Failure::Invalid(why)
                | Failure::Environment(why),
            ) => Err(why),
            Err(Failure::Cancelled) => {
                unreachable!("nothing that could be cancelled was asked for")
            }
        }
    }
}

impl Executor for ProcessExecutor {
    fn toolchain(&self, work: &Work) -> Result<String, Failure> {
        Ok(match work {
            Work::Python(_) => "python runner 1",
            _ => "process 1",
        }
        .to_owned())
    }

    fn code(
        &self,
        work: &Work,
        srcs: &Tree,
        project: &mut dyn ProjectFiles,
    ) -> Result<Code, Failure> {
        match work {
            Work::Python(python) => {
                let mut interpreter = self.interpreter();
                let code = interpreter.code(python, srcs, project, &self.settings, &self.started);
                let mut code = code?;
                code.parts
                    .extend(variables::parts(&python.env, &self.settings, project));
                Ok(code)
            }
            // What it must yield says everything.
            Work::Command(command) if command.digest.is_some() => Ok(Code::default()),
            Work::Command(command) => {
                let mut parts = variables::parts(&command.env, &self.settings, project);
                for tool in &command.tools {
                    let version = version(tool, &self.settings, project, &self.started)?;
                    parts.insert(format!("tool.{tool}"), version);
                }
                Ok(Code {
                    parts,
                    ..Code::default()
                })
            }
            _ => Ok(Code::default()),
        }
    }

    /// A function is given the columns that are declared, and nothing else of that table; a command whole files.
    fn analyze(&self, work: &Work, _: &BTreeMap<String, Schema>) -> Result<Analysis, Failure> {
        let Work::Python(python) = work else {
            return Ok(Analysis::default());
        };
        let declared = python.columns.iter();
        Ok(
            declared.fold(Analysis::default(), |analysis, (input, columns)| {
                analysis.reading(input, columns.iter().map(String::as_str))
            }),
        )
    }

    fn processes(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// # Panics
    /// If the work is neither [`Work::Command`] nor [`Work::Python`].
    fn execute(&self, request: &Request<'_>) -> Result<Output, Failure> {
        if request.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        match request.work {
            Work::Command(command) => self.execute_command(request, command),
            Work::Python(python) => {
                let (environment, imported) = {
                    let mut interpreter = self.interpreter();
                    let environment = interpreter.known(&self.settings, &self.started)?;
                    (environment, interpreter.imported(&python.module))
                };
                let shared = Shared {
                    environment: &environment,
                    imported: &imported,
                    settings: &self.settings,
                    zygotes: &self.zygotes,
                    sandboxes: &self.sandboxes,
                    started: &self.started,
                };
                crate::python::run(request, python, &shared)
            }
            _ => panic!("the engine hands only commands and functions to the process executor"),
        }
    }
}

impl ProcessExecutor {
    fn interpreter(&self) -> MutexGuard<'_, Interpreter> {
        // What is behind it is a memory: whole, whatever happened to whoever held it.
        self.interpreter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn execute_command(&self, request: &Request<'_>, command: &Command) -> Result<Output, Failure> {
        check_out(command)?;
        let in_place = tools::refuse_writes(&self.settings);
        let checkpoints = Checkpoints::new(request, command.training.as_ref())?;
        let stage = Stage::new(request, command, checkpoints.path(), in_place)
            .map_err(|error| io_failure("cannot lay out the command's folders", &error))?;
        let words = words(command, &stage)?;
        let program = self.find(&words[0], &stage.work)?;
        let said = self.run(request, command, &stage, &program, &words)?;
        crate::output::check(request, command, &stage)?;
        Ok(said.into())
    }

    fn run(
        &self,
        request: &Request<'_>,
        command: &Command,
        stage: &Stage<'_>,
        program: &Path,
        words: &[String],
    ) -> Result<Said, Failure> {
        let network = if command.digest.is_some() {
            Network::Allowed
        } else {
            Network::Refused
        };
        let own = [request.output, request.scratch].into_iter();
        let own: Vec<&Path> = own.chain(stage.checkpoints).collect();
        // Not the project's files, to which there are only links: they are copied.
        let given = request
            .inputs
            .iter()
            .filter(|(name, _)| *name != stage::SRC);
        let given: Vec<&Path> = given.map(|(_, input)| &*input.path).collect();
        let more = self.more(command, program);
        let gpus = !request.gpus.is_empty();
        let sandbox = self
            .sandboxes
            .make(&self.settings, &own, &given, &more, gpus, network);
        let emit = |line| (request.progress)(Progress::Log { line });
        let Variables {
            mut values,
            secrets,
        } = Variables::new(&command.env, &self.settings)?;
        // Whatever is declared: which GPUs it has is not its own choice.
        values.insert(VISIBLE_GPUS.to_owned(), GpuId::list(request.gpus));
        let mut log = Log::new(&emit, secrets.clone());
        let shown = shown(command);
        let mut events = command
            .training
            .as_ref()
            .map(|training| Events::new(&shown, None, training, &secrets, request.progress));
        let limits = Limits {
            timeout: command.timeout,
            cancel: request.cancel,
        };
        let process = self.command(command, &values, stage, program, words);
        self.started.fetch_add(1, Ordering::Relaxed);
        let sink = events.as_mut().map(|events| events as &mut dyn Sink);
        let ending = Outlets::new(&mut log, sink)
            .and_then(|pipes| crate::process::run(process, sandbox, &stage.home, &limits, pipes))
            .map_err(|error| not_started(&words[0], &error))?;
        let tail = log.finish();
        let said = events.map_or(Ok(Said::default()), Events::finish);
        let said = said.map_err(|diagnostic| Failure::Failed(diagnostic.detail(tail.clone())));
        match ending {
            Ending::Exited(status) if status.success() => said,
            Ending::Hopeless => Err(said.expect_err("its events say why it was stopped")),
            Ending::Exited(status) => {
                let root = &self.settings.root;
                let undeclared = crate::undeclared::named(&tail, &stage.work, root);
                Err(failed(command, status, undeclared, tail))
            }
            Ending::TimedOut => Err(timed_out(command, tail)),
            Ending::Cancelled => Err(Failure::Cancelled),
        }
    }

    /// What a command reads of the machine beside what every process does: its program, and certificates and the like
    /// that its network settings name.
    fn more(&self, command: &Command, program: &Path) -> Vec<PathBuf> {
        let settings = self.settings.network.values().map(PathBuf::from);
        let settings = settings.filter(|path| command.digest.is_some() && path.is_absolute());
        settings.chain([program.to_owned()]).collect()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "starting processes is what this crate is for"
    )]
    fn command(
        &self,
        command: &Command,
        variables: &BTreeMap<String, String>,
        stage: &Stage<'_>,
        program: &Path,
        words: &[String],
    ) -> process::Command {
        let mut process = process::Command::new(program);
        process
            .args(&words[1..])
            .current_dir(&stage.work)
            .env_clear();
        if command.digest.is_some() {
            process.envs(&self.settings.network);
        }
        process
            .env("PATH", &self.settings.path)
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            // The first moment that a zip archive can hold.
            .env("SOURCE_DATE_EPOCH", "315532800")
            .envs(variables)
            .env("HOME", &stage.home)
            .env("TMPDIR", &stage.tmp);
        if let Some(checkpoints) = stage.checkpoints {
            process
                .env(CHECKPOINTS, checkpoints)
                .env(EVENTS, DESCRIPTOR.to_string());
        }
        process
    }

    /// The file of a program: relative to the working folder if it has a `/`, else on the path.
    fn find(&self, program: &str, work: &Path) -> Result<PathBuf, Failure> {
        if program.contains('/') {
            return Ok(work.join(program));
        }
        on_path(&self.settings.path, program, &mut |_| {}).ok_or_else(|| not_found(program))
    }
}

/// The file of a program that is found by its name; `look` is called for every place before it is looked for there.
///
/// Relative places are passed over: where they are depends on where one stands.
pub(crate) fn on_path(path: &OsStr, program: &str, look: &mut dyn FnMut(&Path)) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .inspect(|file| look(file))
        .find(|file| is_executable(file))
}

/// The command line with its placeholders replaced; at least one word.
fn words(command: &Command, stage: &Stage<'_>) -> Result<Vec<String>, Failure> {
    let unknown = |Unknown(name)| {
        let known: Vec<_> = stage
            .values
            .keys()
            .map(|name| format!("`{{{name}}}`"))
            .collect();
        Failure::Invalid(
            Diagnostic::error(
                "command::unknown-placeholder",
                format!("unknown placeholder `{{{name}}}`"),
            )
            .help(format!(
                "this command has {}; a literal `{{{name}}}` is written `{{{{{name}}}}}`",
                known.join(", ")
            )),
        )
    };
    match &command.line {
        CommandLine::Shell(line) => {
            let line = placeholder::expand_shell(line, &stage.values).map_err(unknown)?;
            Ok(vec![
                "/bin/sh".to_owned(),
                "-eu".to_owned(),
                "-c".to_owned(),
                line,
            ])
        }
        CommandLine::Program(words) if words.first().is_none_or(String::is_empty) => {
            Err(Failure::Invalid(Diagnostic::error(
                "command::empty",
                "the command names no program",
            )))
        }
        CommandLine::Program(words) => words
            .iter()
            .map(|word| placeholder::expand(word, &stage.values).map_err(unknown))
            .collect(),
    }
}

fn check_out(command: &Command) -> Result<(), Failure> {
    let Some(out) = &command.out else {
        return Ok(());
    };
    let inside = Path::new(out)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if inside && !out.is_empty() && !out.ends_with('/') {
        return Ok(());
    }
    let message = format!("the output `{out}` is not a path inside the output folder");
    Err(Failure::Invalid(Diagnostic::error(
        "command::bad-output-path",
        message,
    )))
}

pub(crate) fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file)
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn not_found(program: &str) -> Failure {
    Failure::Environment(
        Diagnostic::error("command::program-not-found", format!("there is no program `{program}`"))
            .help(format!("install `{program}` so that it is on the `PATH`; a program of the project is declared in `srcs` and called by its path, `./{program}`")),
    )
}

fn not_started(program: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => not_found(program),
        io::ErrorKind::PermissionDenied => Failure::Environment(
            Diagnostic::error(
                "command::program-not-found",
                format!("`{program}` may not be executed"),
            )
            .help(format!("make it executable: chmod +x {program}")),
        ),
        _ => io_failure(&format!("cannot start `{program}`"), error),
    }
}

fn failed(
    command: &Command,
    status: process::ExitStatus,
    undeclared: Option<String>,
    tail: Vec<String>,
) -> Failure {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "failed".to_owned(),
    };
    let message = format!("`{}` {how}", shown(command));
    let mut diagnostic = Diagnostic::error("command::failed", message);
    let undeclared = undeclared.map(|file| crate::undeclared::help(&file));
    if let Some(help) = undeclared.or_else(|| reason(command, status, &tail)) {
        diagnostic = diagnostic.help(help);
    }
    Failure::Failed(diagnostic.detail(tail))
}

/// A guess, from its last words, at what the isolation has to do with a failure.
fn reason(command: &Command, status: process::ExitStatus, tail: &[String]) -> Option<String> {
    let said = |words: &[&str]| {
        tail.iter()
            .any(|line| words.iter().any(|word| line.contains(word)))
    };
    if status.code() == Some(127) {
        return Some("a program that the line calls is not on the `PATH`".to_owned());
    }
    let network = [
        "Network is unreachable",
        "Connection refused",
        "onnect",
        "resolve",
        "getaddrinfo",
    ];
    if command.digest.is_none() && said(&network) {
        let help = "a command may use the network only with a pinned `digest` of its output";
        return Some(help.to_owned());
    }
    said(&["Permission denied", "PermissionError", "EACCES", "Operation not permitted"]).then(|| {
        "a command sees what it declares and the machine's tools, neither the project nor your home, and writes only to \
         `{out}`, its working folder and `$TMPDIR`; declare what else it needs (`srcs`, `inputs`), or loosen \
         `sandbox` under `[project]`"
            .to_owned()
    })
}

fn timed_out(command: &Command, tail: Vec<String>) -> Failure {
    let seconds = command.timeout.unwrap_or_default().as_secs_f64();
    let message = format!(
        "`{}` did not end within its timeout of {seconds} s",
        shown(command)
    );
    Failure::Failed(
        Diagnostic::error("command::timeout", message)
            .help("raise `timeout` if it needs longer; it and all it had started were killed")
            .detail(tail),
    )
}

/// The command line as the user wrote it.
fn shown(command: &Command) -> String {
    match &command.line {
        CommandLine::Program(words) => words.join(" "),
        CommandLine::Shell(line) => line.trim().to_owned(),
    }
}

/// A failure of the machine.
pub(crate) fn io_failure(what: &str, error: &io::Error) -> Failure {
    Failure::Environment(Diagnostic::error("command::io", format!("{what}: {error}")))
}
