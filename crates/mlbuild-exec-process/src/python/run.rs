//! Calls a function: lays out its code and inputs, runs `run.py`, and says what came of it in the function's terms.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};

use mlbuild_action::{
    Diagnostic, Failure, GpuId, InputFolder, Output, Progress, Python, Request, Table, Value,
};

use super::interpreter;
use super::wire::{Call, CallInput, Environment, Outcome, Refused};
use super::zygote::{self, Kind, Zygotes};
use crate::ProcessSettings;
use crate::events::{DESCRIPTOR, EVENTS, Events, Said};
use crate::executor::{VISIBLE_GPUS, io_failure};
use crate::log::Log;
use crate::output;
use crate::process::{self, Ending, Inlets, Limits, Outlets, Sink};
use crate::sandbox::{Network, Sandbox};
use crate::stage;
use crate::tools::{self, Sandboxes};
use crate::training::{CHECKPOINTS, Checkpoints};
use crate::variables::Variables;

const SCRIPT: &str = concat!(
    include_str!("run.py"),
    "\n\nif __name__ == \"__main__\":\n    main(sys.argv[1])\n"
);

/// What tells numerical libraries how many threads to use; else they take as many as the machine has cores, and their sums
/// come out differently on another machine.
const THREADS: [&str; 4] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "POLARS_MAX_THREADS",
];

/// Where the input's table is, in its folder.
const TABLE: &str = mlbuild_table::FILE_NAME;

/// What calls share in a build.
pub(crate) struct Shared<'a> {
    pub(crate) environment: &'a Environment,
    /// Modules that are installed packages, as far as the function's code imports them.
    pub(crate) imported: &'a BTreeSet<String>,
    pub(crate) settings: &'a ProcessSettings,
    pub(crate) zygotes: &'a Zygotes,
    pub(crate) sandboxes: &'a Sandboxes,
    /// How many processes were started.
    pub(crate) started: &'a AtomicU64,
}

/// Calls the function of `python`.
pub(crate) fn run(
    request: &Request<'_>,
    python: &Python,
    shared: &Shared<'_>,
) -> Result<Output, Failure> {
    let Shared {
        environment,
        settings,
        ..
    } = *shared;
    let in_place = tools::refuse_writes(settings);
    let checkpoints = Checkpoints::new(request, python.training.as_ref())?;
    let stage = Stage::new(request, python, checkpoints.path(), in_place)?;
    let own = [request.output, request.scratch].into_iter();
    let own: Vec<&Path> = own.chain(checkpoints.path()).collect();
    let given: Vec<&Path> = request.inputs.values().map(|input| &*input.path).collect();
    let more: Vec<PathBuf> = interpreter::folders(environment).collect();
    let gpus = !request.gpus.is_empty();
    let sandbox = shared
        .sandboxes
        .make(settings, &own, &given, &more, gpus, Network::Refused);
    let emit = |line| (request.progress)(Progress::Log { line });
    let Variables { values, secrets } = Variables::new(&python.env, settings)?;
    let mut log = Log::new(&emit, secrets.clone());
    let name = format!("{}:{}", python.module, python.function);
    let epochs = python.params.get("epochs").and_then(Value::as_i64);
    let epochs = epochs.and_then(|epochs| u32::try_from(epochs).ok());
    let mut events = python
        .training
        .as_ref()
        .map(|training| Events::new(&name, epochs, training, &secrets, request.progress));
    let limits = Limits {
        timeout: python.timeout,
        cancel: request.cancel,
    };
    let sink = events.as_mut().map(|events| events as &mut dyn Sink);
    let ending = Outlets::new(&mut log, sink)
        .and_then(|pipes| {
            let env = variables(python, values);
            see_through(env, shared, &stage, sandbox, &limits, pipes)
        })
        .map_err(|error| super::not_started(Path::new(&environment.executable), &error))?;
    let tail = log.finish();
    let said = events.map_or(Ok(Said::default()), Events::finish);
    let said = said.map_err(|diagnostic| Failure::Failed(diagnostic.detail(tail.clone())));
    let failure = match ending {
        Ending::Cancelled => return Err(Failure::Cancelled),
        Ending::Hopeless => return Err(said.expect_err("its events say why it was stopped")),
        Ending::TimedOut => timed_out(&name, python, tail),
        Ending::Exited(status) => match stage.outcome() {
            Some(Outcome::Done) if status.success() => {
                let said = said?;
                return check_output(request, python, &name).map(|()| said.into());
            }
            Some(Outcome::Done) | None => ended(&name, status, tail),
            Some(outcome) => failed(&name, outcome, settings, &stage),
        },
    };
    Err(failure)
}

/// Runs the call in a fork of a process that is ready for it, else in one of its own.
fn see_through(
    env: BTreeMap<String, String>,
    shared: &Shared<'_>,
    stage: &Stage,
    sandbox: Sandbox,
    limits: &Limits<'_>,
    (outlets, inlets): (Outlets<'_>, Inlets),
) -> io::Result<Ending> {
    let kind = Kind {
        executable: shared.environment.executable.clone(),
        env,
        modules: zygote::ahead(shared.imported),
    };
    let forked = shared
        .zygotes
        .fork(&kind, &stage.request, &inlets, &sandbox, shared.started);
    if let Some(forked) = forked {
        drop(inlets);
        return process::attend(forked, outlets, &stage.home, limits);
    }
    shared.started.fetch_add(1, Ordering::Relaxed);
    let mut command = command(&kind, stage);
    if inlets.events.is_some() {
        command.env(EVENTS, DESCRIPTOR.to_string());
    }
    process::run(command, sandbox, &stage.home, limits, (outlets, inlets))
}

/// The environment of a call, but for what names its folders.
fn variables(python: &Python, declared: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let fixed = [
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
        ("PYTHONHASHSEED", "0"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let threads = THREADS.map(|name| (name.to_owned(), python.threads.to_string()));
    let mut variables: BTreeMap<_, _> = fixed.into_iter().chain(threads).collect();
    variables.extend(declared);
    variables
}

#[expect(
    clippy::disallowed_methods,
    reason = "starting processes is what this crate is for"
)]
fn command(kind: &Kind, stage: &Stage) -> Command {
    let mut command = Command::new(&kind.executable);
    command
        // No packages of the user's own, no `__pycache__`, and lines as they are printed.
        .args(["-s", "-B", "-u"])
        .args([&stage.script, &stage.request])
        .current_dir(&stage.work)
        .env_clear()
        .envs(&kind.env)
        .env("HOME", &stage.home)
        .env("TMPDIR", &stage.tmp);
    command
}

/// What was laid out for a call.
struct Stage {
    /// The project as the function sees it: its code, and the files that it declares.
    work: PathBuf,
    home: PathBuf,
    tmp: PathBuf,
    script: PathBuf,
    request: PathBuf,
    result: PathBuf,
}

impl Stage {
    /// Lays everything out under `request.scratch`; inputs stay where they are if they are safe `in_place`.
    fn new(
        request: &Request<'_>,
        python: &Python,
        checkpoints: Option<&Path>,
        in_place: bool,
    ) -> Result<Self, Failure> {
        let io = |error: io::Error| io_failure("cannot lay out the function's folders", &error);
        let [work, home, tmp, inputs, call] =
            ["work", "home", "tmp", "inputs", "call"].map(|name| request.scratch.join(name));
        for folder in [&work, &home, &tmp, &inputs, &call] {
            fs::create_dir(folder).map_err(io)?;
        }
        let stage = Self {
            work,
            home,
            tmp,
            script: call.join("run.py"),
            request: call.join("request.json"),
            result: call.join("result.json"),
        };
        let mut given = BTreeMap::new();
        for (name, input) in request.inputs {
            if name == "code" || name == "src" {
                stage::copy(&input.path, &stage.work).map_err(io)?;
                continue;
            }
            let folder = name
                .split(':')
                .fold(inputs.clone(), |folder, part| folder.join(part));
            let columns = python.columns.get(name);
            if columns.is_none() && !in_place {
                stage::copy(&input.path, &folder).map_err(io)?;
            }
            let placed = if in_place { &input.path } else { &folder };
            let input = match (&input.table, columns) {
                (None, _) => files(placed),
                (Some(table), None) => whole(table, placed),
                (Some(table), Some(columns)) => some_of(name, input, table, columns, &folder),
            };
            given.insert(&**name, input?);
        }
        let params = python.params.iter();
        let call = Call {
            module: &python.module,
            function: &python.function,
            inputs: given,
            out: stage::text(request.output).map_err(io)?,
            params: params
                .map(|(name, value)| (name.clone(), json(value)))
                .collect(),
            table: python.table,
            work: stage::text(&stage.work).map_err(io)?,
            env: env(request, &stage, checkpoints).map_err(io)?,
            result: stage::text(&stage.result).map_err(io)?,
        };
        let call = serde_json::to_vec(&call).expect("texts and numbers are JSON");
        fs::write(&stage.request, call).map_err(io)?;
        fs::write(&stage.script, SCRIPT).map_err(io)?;
        Ok(stage)
    }

    /// What the function's process wrote down; `None` if it did not get so far.
    fn outcome(&self) -> Option<Outcome> {
        serde_json::from_slice(&fs::read(&self.result).ok()?).ok()
    }
}

/// Variables that are of this call alone; a fork of a ready interpreter gets them too, before anything of the project runs.
fn env(
    request: &Request<'_>,
    stage: &Stage,
    checkpoints: Option<&Path>,
) -> io::Result<BTreeMap<&'static str, String>> {
    let folders = [("HOME", &*stage.home), ("TMPDIR", &stage.tmp)];
    let checkpoints = checkpoints.map(|folder| (CHECKPOINTS, folder));
    let folders = folders.into_iter().chain(checkpoints);
    let texts = folders.map(|(name, folder)| Ok((name, stage::text(folder)?)));
    let gpus = (VISIBLE_GPUS, GpuId::list(request.gpus));
    texts.chain([Ok(gpus)]).collect()
}

/// An input that is files.
fn files(folder: &Path) -> Result<CallInput, Failure> {
    Ok(CallInput {
        path: given_path(folder)?,
        columns: None,
        rows: None,
    })
}

/// A table with all of its columns.
fn whole(table: &Table, folder: &Path) -> Result<CallInput, Failure> {
    let names = table.columns.iter().map(|column| column.name.clone());
    Ok(CallInput {
        path: given_path(&folder.join(TABLE))?,
        columns: Some(names.collect()),
        rows: Some(table.rows),
    })
}

/// A copy of a table with only the columns that are declared.
fn some_of(
    name: &str,
    input: &InputFolder,
    table: &Table,
    columns: &[String],
    folder: &Path,
) -> Result<CallInput, Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| io_failure("cannot lay out the function's inputs", &error))?;
    let file = folder.join(TABLE);
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let projected = mlbuild_table::project(&input.path.join(TABLE), &file, &names);
    projected.map_err(|error| match Failure::from(error) {
        Failure::Invalid(diagnostic) => {
            Failure::Invalid(diagnostic.help(format!("`columns` names it for `{name}`")))
        }
        other => other,
    })?;
    Ok(CallInput {
        path: given_path(&file)?,
        columns: Some(columns.to_owned()),
        rows: Some(table.rows),
    })
}

fn given_path(path: &Path) -> Result<String, Failure> {
    stage::text(path).map_err(|error| io_failure("cannot lay out the function's inputs", &error))
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Bool(value) => (*value).into(),
        Value::Text(value) => value.as_str().into(),
    }
}

/// Holds what the function left in its output folder against what it is to make.
fn check_output(request: &Request<'_>, python: &Python, name: &str) -> Result<(), Failure> {
    let io = |error| io_failure("cannot read what the function wrote", &error);
    let written = stage::files(request.output).map_err(io)?;
    for file in &written {
        output::check_regular(request.output, file).map_err(io)??;
    }
    let failed = |code, message: String, help: &str| {
        Err(Failure::Failed(Diagnostic::error(code, message).help(help)))
    };
    if written.is_empty() {
        let (message, help) = match python.table {
            true => (
                "returned nothing and wrote nothing",
                "return a table, or write Parquet files to `out`",
            ),
            false => (
                "wrote nothing to `out`",
                "write its files to the folder `out`, its second argument",
            ),
        };
        return failed("python::no-output", format!("`{name}` {message}"), help);
    }
    let other = written
        .iter()
        .find(|file| file.extension().is_none_or(|end| end != "parquet"));
    match other.filter(|_| python.table) {
        None => Ok(()),
        Some(other) => failed(
            "python::not-a-table",
            format!("`{name}` makes a table, and wrote `{}`", other.display()),
            "write Parquet files (`.parquet`), return a table, or keep the files: `format = \"files\"`",
        ),
    }
}

fn failed(name: &str, outcome: Outcome, settings: &ProcessSettings, stage: &Stage) -> Failure {
    let refused = |code, Refused { message, help }: Refused| {
        let diagnostic = Diagnostic::error(code, message);
        Failure::Failed(match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        })
    };
    match outcome {
        Outcome::Done => unreachable!("a call that is done has not failed"),
        Outcome::NoFunction(what) => refused("python::no-function", what),
        Outcome::Arguments(what) => refused("python::arguments", what),
        Outcome::Returned(Refused { message, help }) => {
            let message = format!("`{name}` {message}");
            refused("python::returned", Refused { message, help })
        }
        Outcome::Exited { message, frames } => {
            let message = format!("`{name}` {message} instead of returning");
            Failure::Failed(Diagnostic::error("python::exited", message).detail(frames))
        }
        Outcome::Raised {
            message,
            frames,
            file,
            module,
        } => {
            let message = message.replace(&format!("{}/", stage.work.display()), "");
            let mut diagnostic =
                Diagnostic::error("python::raised", format!("`{name}` raised {message}"));
            let file =
                file.or_else(|| module.map(|module| format!("{}.py", module.replace('.', "/"))));
            let file =
                file.and_then(|file| crate::undeclared::file(&file, &stage.work, &settings.root));
            if let Some(file) = file {
                diagnostic = diagnostic.help(crate::undeclared::help(&file));
            } else if message.starts_with("PermissionError") {
                diagnostic = diagnostic.help(
                    "a function sees what it declares and the machine's tools, neither the project nor your home, and \
                     writes only to `out`; declare what else it needs (`srcs`, `inputs`), or loosen `sandbox` under \
                     `[project]`",
                );
            }
            Failure::Failed(diagnostic.detail(frames))
        }
    }
}

/// The process ended before the function returned.
fn ended(name: &str, status: ExitStatus, tail: Vec<String>) -> Failure {
    let (code, how) = match (status.code(), status.signal()) {
        (_, Some(signal)) => ("python::killed", format!("was killed by signal {signal}")),
        (code, None) => (
            "python::exited",
            format!(
                "ended its process with status {} instead of returning",
                code.unwrap_or_default()
            ),
        ),
    };
    Failure::Failed(Diagnostic::error(code, format!("`{name}` {how}")).detail(tail))
}

fn timed_out(name: &str, python: &Python, tail: Vec<String>) -> Failure {
    let seconds = python.timeout.unwrap_or_default().as_secs_f64();
    let message = format!("`{name}` did not return within its timeout of {seconds} s");
    Failure::Failed(
        Diagnostic::error("python::timeout", message)
            .help("raise `timeout` if it needs longer; it and all it had started were killed")
            .detail(tail),
    )
}
