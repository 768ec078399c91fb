//! Commands through the `Executor` trait: what they see, what becomes of them, and how each mistake is told.
#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only functions marked `#[test]` for tests"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mlbuild_action::{
    Analysis, Cancel, Command, CommandLine, Diagnostic, Executor, Failure, InputFolder, Output,
    PinnedDigest, Progress, Request, Table, Variable, Work,
};
use mlbuild_exec_process::{ProcessExecutor, ProcessSettings, SandboxStatus, sandbox_status};

/// A command with what surrounds it.
struct Case {
    root: tempfile::TempDir,
    command: Command,
    inputs: BTreeMap<String, InputFolder>,
    settings: ProcessSettings,
    cancel: Cancel,
    log: Mutex<Vec<String>>,
}

/// A shell line with `out = "result.txt"`.
fn shell(line: &str) -> Case {
    command(CommandLine::Shell(line.to_owned()))
}

fn program(words: &[&str]) -> Case {
    command(CommandLine::Program(
        words.iter().map(ToString::to_string).collect(),
    ))
}

fn command(line: CommandLine) -> Case {
    let root = tempfile::tempdir().unwrap();
    for folder in ["output", "scratch", "inputs"] {
        fs::create_dir(root.path().join(folder)).unwrap();
    }
    Case {
        root,
        command: Command {
            line,
            env: BTreeMap::new(),
            tools: Vec::new(),
            out: Some("result.txt".to_owned()),
            digest: None,
            gpus: 0,
            // No test takes long; none may hang.
            timeout: Some(Duration::from_secs(60)),
            training: None,
        },
        inputs: BTreeMap::new(),
        settings: ProcessSettings {
            path: OsString::from("/usr/local/bin:/usr/bin:/bin"),
            network: BTreeMap::new(),
            ..ProcessSettings::default()
        },
        cancel: Cancel::new(),
        log: Mutex::default(),
    }
}

impl Case {
    fn whole_folder(mut self) -> Self {
        self.command.out = None;
        self
    }

    fn timeout(mut self, timeout: Duration) -> Self {
        self.command.timeout = Some(timeout);
        self
    }

    fn pinned(mut self, digest: PinnedDigest) -> Self {
        self.command.digest = Some(digest);
        self
    }

    fn input(mut self, name: &str, file: &str, text: &str) -> Self {
        let path = self.root.path().join("inputs").join(name);
        let file = path.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        self.inputs
            .entry(name.to_owned())
            .or_insert(InputFolder { path, table: None });
        self
    }

    fn run(&self) -> Result<Output, Failure> {
        let progress = |progress| {
            if let Progress::Log { line } = progress {
                self.log.lock().unwrap().push(line);
            }
        };
        ProcessExecutor::new(self.settings.clone()).execute(&Request {
            work: &Work::Command(self.command.clone()),
            inputs: &self.inputs,
            analysis: &Analysis::default(),
            output: &self.root.path().join("output"),
            scratch: &self.root.path().join("scratch"),
            checkpoints: &self.root.path().join("checkpoints"),
            threads: 1,
            gpus: &[],
            memory_bytes: 1 << 30,
            progress: &progress,
            cancel: &self.cancel,
        })
    }

    /// Runs a command that succeeds; the text of `result.txt`.
    fn result(&self) -> String {
        self.run().unwrap();
        fs::read_to_string(self.path("output/result.txt")).unwrap()
    }

    /// Runs a command that fails.
    fn failed(&self) -> Diagnostic {
        match self.run() {
            Err(Failure::Failed(diagnostic)) => diagnostic,
            other => panic!("expected a failed command, got {other:?}"),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

/// Whether a process runs; one that died but was not waited for does not.
fn is_running(id: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(id.trim()).join("stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit(") ")
            .next()
            .unwrap_or_default()
            .starts_with(['Z', 'X'])
    })
}

fn assert_gone(id: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_running(id) {
        assert!(Instant::now() < deadline, "process {id} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_program_writes_its_declared_output() {
    let case = program(&[
        "/bin/sh",
        "-c",
        "printf '%s' \"$1\" > \"$2\"",
        "sh",
        "a b",
        "{out}",
    ]);
    assert_eq!(case.result(), "a b");
}

#[test]
fn a_shell_line_keeps_paths_with_spaces_whole() {
    let mut case = shell("echo done > {out}; test -s \"{out}\"; test -s '{out}'");
    case.command.out = Some("a b/it's $HOME.txt".to_owned());
    assert_eq!(case.run(), Ok(Output::default()));
    let written = fs::read_to_string(case.path("output/a b/it's $HOME.txt"));
    assert_eq!(written.unwrap(), "done\n");
}

#[test]
fn a_shell_line_stops_at_the_first_error_and_at_unset_variables() {
    assert_eq!(
        shell("false; echo x > {out}").failed().code,
        "command::failed"
    );
    assert_eq!(
        shell("echo $UNSET > {out}").failed().code,
        "command::failed"
    );
}

#[test]
fn sources_keep_their_paths_and_are_the_working_folder() {
    let case = shell("cat lib/b.txt {src}/a.txt > {out}")
        .input("src", "a.txt", "a")
        .input("src", "lib/b.txt", "b");
    assert_eq!(case.result(), "ba");
}

#[test]
fn a_program_of_the_project_is_called_by_its_path() {
    let case =
        program(&["./make.sh", "{out}"]).input("src", "make.sh", "#!/bin/sh\necho made > $1\n");
    let script = case.path("inputs/src/make.sh");
    fs::set_permissions(script, fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(case.result(), "made\n");
}

#[test]
fn inputs_are_folders_and_tables_are_files() {
    let mut case = shell("cat {input:data:raw}/a.csv {input:data:orders} > {out}")
        .input("data:raw", "a.csv", "raw ")
        .input("data:orders", "table.parquet", "table");
    let table = Table {
        rows: 0,
        columns: Vec::new(),
        key: Vec::new(),
    };
    case.inputs.get_mut("data:orders").unwrap().table = Some(table);
    assert_eq!(case.result(), "raw table");
}

#[test]
fn writing_to_an_input_leaves_the_original_alone() {
    // The input of another target is read-only; what the kernel does not protect is a copy.
    let mut case =
        shell("(echo x >> {input:data:raw}/a.csv) || true; echo x >> a.txt; cp a.txt {out}")
            .input("data:raw", "a.csv", "raw")
            .input("data:stored", "object", "a");
    // As the engine materializes: a link to the cache's object.
    let src = case.path("inputs/src");
    fs::create_dir(&src).unwrap();
    std::os::unix::fs::symlink(case.path("inputs/data:stored/object"), src.join("a.txt")).unwrap();
    case.inputs.insert(
        "src".to_owned(),
        InputFolder {
            path: src,
            table: None,
        },
    );
    assert_eq!(case.result(), "ax\n");
    assert_eq!(
        fs::read_to_string(case.path("inputs/data:raw/a.csv")).unwrap(),
        "raw"
    );
    assert_eq!(
        fs::read_to_string(case.path("inputs/data:stored/object")).unwrap(),
        "a"
    );
}

#[test]
fn the_environment_is_what_was_declared_and_a_fixed_rest() {
    let mut case = program(&["/bin/sh", "-c", "env | cut -d= -f1 | sort > {out}"]);
    case.command
        .env
        .insert("DECLARED".to_owned(), Variable::Text("1".to_owned()));
    case.settings
        .network
        .insert("HTTPS_PROXY".to_owned(), "proxy".into());
    let result = case.result();
    let names: Vec<_> = result
        .lines()
        .filter(|name| !matches!(*name, "PWD" | "_" | "SHLVL" | "OLDPWD"))
        .collect();
    assert_eq!(
        names,
        [
            "CUDA_VISIBLE_DEVICES",
            "DECLARED",
            "HOME",
            "LANG",
            "PATH",
            "SOURCE_DATE_EPOCH",
            "TMPDIR",
            "TZ"
        ]
    );
}

#[test]
fn home_and_temporary_files_are_its_own() {
    let case = shell("echo a > $HOME/a; echo b > $TMPDIR/b; cat $HOME/a $TMPDIR/b > {out}");
    assert_eq!(case.result(), "a\nb\n");
    assert!(case.path("scratch/home/a").exists());
}

#[test]
fn standard_input_is_empty() {
    assert_eq!(
        shell("wc -c < /dev/stdin > {out}; cat >> {out}")
            .result()
            .trim(),
        "0"
    );
}

#[test]
fn an_unknown_placeholder_is_the_users_mistake_and_lists_the_known() {
    let case = shell("cp {inputs:data:raw} {out}").input("data:raw", "a.csv", "raw");
    let Err(Failure::Invalid(diagnostic)) = case.run() else {
        panic!("it is invalid")
    };
    assert_eq!(
        diagnostic.message,
        "unknown placeholder `{inputs:data:raw}`"
    );
    assert!(
        diagnostic
            .help
            .unwrap()
            .starts_with("this command has `{input:data:raw}`, `{out}`;")
    );
}

#[test]
fn an_output_outside_its_folder_is_refused() {
    for out in ["../x", "/x", "a/../../x", "", "a/"] {
        let mut case = shell("true");
        case.command.out = Some(out.to_owned());
        assert!(matches!(case.run(), Err(Failure::Invalid(_))), "{out}");
    }
}

#[test]
fn a_missing_program_is_the_environments_and_named() {
    for name in ["no-such-program", "./no-such-program"] {
        let Err(Failure::Environment(diagnostic)) = program(&[name, "{out}"]).run() else {
            panic!("it is missing")
        };
        assert_eq!(diagnostic.message, format!("there is no program `{name}`"));
        assert!(diagnostic.help.unwrap().contains("install"));
    }
}

#[test]
fn a_failure_shows_the_status_and_the_last_lines() {
    let case =
        shell("i=0; while [ $i -lt 30 ]; do echo line $i; i=$((i+1)); done; echo why >&2; exit 3");
    let diagnostic = case.failed();
    assert_eq!(diagnostic.code, "command::failed");
    assert!(
        diagnostic.message.ends_with("exited with status 3"),
        "{}",
        diagnostic.message
    );
    assert_eq!(diagnostic.detail.len(), 20);
    assert_eq!(diagnostic.detail.last().unwrap(), "why");
    assert_eq!(case.log().len(), 31);
}

#[test]
fn a_command_killed_by_a_signal_says_so() {
    assert!(
        shell("kill -9 $$")
            .failed()
            .message
            .ends_with("was killed by signal 9")
    );
}

#[test]
fn huge_and_odd_output_is_bounded() {
    let case =
        shell("head -c 3000000 /dev/zero | tr '\\0' x; printf '\\n\\377end'; echo ok > {out}");
    assert_eq!(case.result(), "ok\n");
    let log = case.log();
    assert_eq!(log.len(), 2);
    assert!(log[0].len() < 5000 && log[0].ends_with("[cut]"));
    assert_eq!(log[1], "\u{fffd}end");
}

#[test]
fn a_command_that_hangs_is_killed_with_all_it_started() {
    let case = shell("sleep 1000 & echo $!; sleep 1000").timeout(Duration::from_millis(200));
    let diagnostic = case.failed();
    assert_eq!(diagnostic.code, "command::timeout");
    assert!(
        diagnostic
            .message
            .ends_with("did not end within its timeout of 0.2 s")
    );
    assert_gone(&case.log()[0]);
}

#[test]
fn a_command_that_ignores_sigterm_is_killed() {
    let case = shell("trap '' TERM; echo $$; while :; do sleep 1 || :; done")
        .timeout(Duration::from_millis(200));
    assert_eq!(case.failed().code, "command::timeout");
    assert_gone(&case.log()[0]);
}

#[test]
fn a_command_that_closed_its_output_is_still_watched() {
    let case = shell("exec >&- 2>&-; sleep 1000").timeout(Duration::from_millis(200));
    assert_eq!(case.failed().code, "command::timeout");
}

#[test]
fn a_cancelled_command_is_killed() {
    let case = shell("echo $$; sleep 1000");
    let result = std::thread::scope(|scope| {
        let run = scope.spawn(|| case.run());
        while case.log().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        case.cancel.cancel();
        run.join().unwrap()
    });
    assert_eq!(result, Err(Failure::Cancelled));
    assert_gone(&case.log()[0]);
}

#[test]
fn a_background_child_does_not_outlive_its_command() {
    let case = shell("sleep 1000 & echo $! > {out}");
    assert_gone(&case.result());
}

#[test]
fn a_child_that_left_the_session_does_not_outlive_its_command() {
    let case = shell(
        "setsid sh -c 'echo $$ > {out}; sleep 1000' & while ! [ -s {out} ]; do sleep 0.01; done",
    );
    assert_gone(&case.result());
}

#[test]
fn a_missing_output_says_what_was_written_instead() {
    let diagnostic = shell("echo x > results.txt").failed();
    assert_eq!(diagnostic.code, "command::no-output");
    assert!(diagnostic.message.contains("`result.txt`"));
    assert_eq!(diagnostic.detail, ["it wrote instead:", "  results.txt"]);
}

#[test]
fn an_empty_output_folder_is_an_error() {
    assert_eq!(
        shell("mkdir {out}/empty").whole_folder().failed().code,
        "command::no-output"
    );
}

#[test]
fn a_whole_folder_may_hold_folders() {
    let case = shell("mkdir {out}/a; echo b > {out}/a/b").whole_folder();
    assert_eq!(case.run(), Ok(Output::default()));
}

#[test]
fn files_beside_the_output_are_named() {
    let diagnostic = shell("echo x > {out}; echo x > {out}.log").failed();
    assert_eq!(diagnostic.code, "command::extra-output");
    assert_eq!(diagnostic.detail, ["  result.txt.log"]);
}

#[test]
fn an_output_that_is_no_regular_file_is_refused() {
    for (line, what) in [
        ("ln -s /etc/passwd {out}", "symbolic link"),
        ("mkfifo {out}", "named pipe"),
    ] {
        let diagnostic = shell(line).failed();
        assert_eq!(diagnostic.code, "command::not-a-file");
        assert!(diagnostic.message.contains(what));
    }
}

#[test]
fn a_pinned_digest_is_checked() {
    let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let blake3 = mlbuild_digest::Digest::of(b"hello\n").to_string();
    for digest in [
        PinnedDigest::Sha256(sha256.to_owned()),
        PinnedDigest::Blake3(blake3.clone()),
    ] {
        assert_eq!(
            shell("echo hello > {out}").pinned(digest).result(),
            "hello\n"
        );
    }
    let diagnostic = shell("echo hello > {out}")
        .pinned(PinnedDigest::Sha256("00".repeat(32)))
        .failed();
    assert_eq!(diagnostic.code, "command::digest-mismatch");
    assert!(
        diagnostic
            .help
            .unwrap()
            .ends_with(&format!("write: digest = \"sha256:{sha256}\""))
    );
    assert_eq!(
        diagnostic.detail[0],
        format!("expected  sha256:{}", "00".repeat(32))
    );
}

#[test]
fn a_command_with_a_pinned_digest_gets_the_network_settings() {
    let digest = mlbuild_digest::Digest::of(b"proxy\n").to_string();
    let mut case = shell("echo $HTTPS_PROXY > {out}").pinned(PinnedDigest::Blake3(digest));
    case.settings
        .network
        .insert("HTTPS_PROXY".to_owned(), "proxy".into());
    assert_eq!(case.result(), "proxy\n");
}

#[test]
fn a_write_outside_fails_the_command() {
    if sandbox_status() == SandboxStatus::Missing {
        eprintln!("not tested: this kernel has no Landlock");
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("file");
    fs::write(&file, "before").unwrap();
    for line in [
        "echo x > $FILE; echo x > {out}",
        "rm $FILE",
        "mv $FILE {out}",
        "ln -s x $FILE.link",
    ] {
        let mut case = shell(line);
        case.command.env.insert(
            "FILE".to_owned(),
            Variable::Text(file.display().to_string()),
        );
        let diagnostic = case.failed();
        assert!(diagnostic.help.unwrap().contains("`{out}`"), "{line}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "before", "{line}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{line}");
    }
}

#[test]
fn the_network_takes_a_pinned_digest() {
    if sandbox_status() != SandboxStatus::Full {
        eprintln!("not tested: this kernel's Landlock knows no network");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port} && echo ok' > {{out}}");
    let diagnostic = shell(&line).failed();
    assert!(
        diagnostic
            .help
            .as_deref()
            .unwrap_or_default()
            .contains("pinned `digest`"),
        "{diagnostic:?}"
    );
    let digest = mlbuild_digest::Digest::of(b"ok\n").to_string();
    assert_eq!(
        shell(&line).pinned(PinnedDigest::Blake3(digest)).result(),
        "ok\n"
    );
}
