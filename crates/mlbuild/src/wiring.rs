//! Names the concrete executors and what they are told about this machine.

use std::path::{Path, PathBuf};

use mlbuild_action::Diagnostic;
use mlbuild_engine::Executors;
use mlbuild_exec_model::{ModelExecutor, WorkerSettings};
use mlbuild_exec_process::{
    ProcessExecutor, ProcessSettings, SandboxMode, SandboxStatus, sandbox_status,
};
use mlbuild_exec_table::TableExecutor;
use mlbuild_manifest::Sandbox;
use mlbuild_report::ReportExecutor;

use crate::cli::Variant;
use crate::env;
use crate::load::Loaded;
use crate::tables::Tables;

/// Variables that a download behind a company's proxy or mirror needs; only commands with a pinned
/// digest, whose result cannot depend on them, see them.
const NETWORK_VARIABLES: [&str; 20] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_TRUSTED_HOST",
    "PIP_CONFIG_FILE",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_PROXY",
];

/// The executors of this machine. Cheap: none starts anything before it is used.
pub(crate) fn executors(loaded: &Loaded) -> Executors {
    Executors {
        files: Box::new(Tables),
        table: Box::new(TableExecutor::new()),
        process: Box::new(ProcessExecutor::new(process_settings(
            &loaded.project.root,
            &loaded.declared,
        ))),
        model: Box::new(ModelExecutor::new(worker_settings())),
        report: Box::new(ReportExecutor::new()),
    }
}

/// The command line, for lineage.
pub(crate) fn arguments() -> Vec<String> {
    std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect()
}

fn process_settings(root: &Path, declared: &mlbuild_manifest::Project) -> ProcessSettings {
    let network = NETWORK_VARIABLES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), env::var(name)?.into())));
    ProcessSettings {
        path: env::var("PATH").unwrap_or_default().into(),
        network: network.collect(),
        root: root.to_owned(),
        home: env::var("HOME").map(PathBuf::from),
        sandbox: match declared.sandbox {
            Sandbox::Strict => SandboxMode::Strict,
            Sandbox::Warn => SandboxMode::Warn,
            Sandbox::Off => SandboxMode::Off,
        },
        lookup: Some(env::var),
        python: declared.python.clone(),
    }
}

/// The Python that runs the functions of this variant of the project at `root`, or why there is none.
pub(crate) fn python(root: &Path, variant: &Variant) -> Result<String, Diagnostic> {
    let declared = crate::load::declared(root, variant);
    ProcessExecutor::new(process_settings(root, &declared)).python()
}

/// What a build that starts processes is to say about how freely they read.
pub(crate) fn sandbox_warning(loaded: &Loaded) -> Option<Diagnostic> {
    let free = "undeclared inputs of commands and functions go unnoticed";
    match (loaded.declared.sandbox, sandbox_status()) {
        (Sandbox::Off, _) | (Sandbox::Strict, SandboxStatus::Full | SandboxStatus::FilesOnly) => {
            None
        }
        (_, SandboxStatus::Missing) => Some(
            Diagnostic::warning(
                "sandbox::missing",
                format!("this system has no Landlock: {free}"),
            )
            .help("`sandbox = \"off\"` under `[project]` silences this"),
        ),
        (Sandbox::Warn, _) => Some(
            Diagnostic::warning(
                "sandbox::loose",
                format!("the sandbox is set to `warn`: {free}"),
            )
            .help("`sandbox = \"strict\"` under `[project]` finds them"),
        ),
    }
}

fn worker_settings() -> WorkerSettings {
    // Where a libtorch with CUDA is; which GPUs it may use is the engine's to say.
    const NAME: &str = "LD_LIBRARY_PATH";
    let variables = env::var(NAME).map(|value| (NAME.to_owned(), value.into()));
    let mut settings = WorkerSettings {
        program: env::worker(),
        env: variables.into_iter().collect(),
        ..WorkerSettings::default()
    };
    settings.checkpoint_every = env::checkpoint_every().unwrap_or(settings.checkpoint_every);
    settings
}

/// What the libtorch worker says of itself, or why it says nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "starts the worker to ask for its version"
)]
pub(crate) fn worker_version() -> Result<String, String> {
    let Some(program) = env::worker() else {
        return Err("no `mlbuild-torch` beside this program or on the PATH".to_owned());
    };
    let output = std::process::Command::new(&program)
        .arg("--version")
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(format!("{} ({})", text.trim(), program.display()))
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(format!(
                "{} does not start: {}",
                program.display(),
                text.lines().next().unwrap_or("no message")
            ))
        }
        Err(e) => Err(format!("{} does not start: {e}", program.display())),
    }
}
