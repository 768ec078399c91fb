//! Functions of the project as targets: what rebuilds them, what does not, and how their mistakes are told.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::project::{Built, Project, copy_folder, outputs};

const MANIFEST: &str = r#"
[data.orders]
path = "raw/orders.csv"
key = ["id"]

[model.labels]
python = "lib.labels:make"
inputs = ["data:orders"]
params = { scale = 2, share = 1.0, name = "x", deep = true }
env = { LEVEL = "1" }
timeout = "1m"

[model.other]
python = "other:make"
"#;

const LABELS: &str = r#"
from pathlib import Path

from .text import scale


def make(inputs, out, params):
    """Writes what it was given."""
    import os

    orders = inputs["data:orders"]
    given = [params[name] for name in sorted(params)]
    text = f"{scale(params['scale'])} {given} {orders.columns} {orders.rows} {os.environ['LEVEL']}"
    assert orders.path.is_file() and Path(orders).read_bytes()[:4] == b"PAR1"
    (out / "labels.txt").write_text(text)
"#;

const TEXT: &str = "def scale(x):\n    return 10 * x\n\n\ndef unused():\n    pass\n\n\nLIMIT = 3\n";

const OTHER: &str = "def make(inputs, out, params):\n    (out / 'file').write_text('other')\n";

const ALL: [&str; 3] = ["data:orders", "model:labels", "model:other"];

fn labels() -> Project {
    Project::new(MANIFEST)
        .file("raw/orders.csv", "id,amount\n1,10\n2,32\n")
        .file("lib/labels.py", LABELS)
        .file("lib/text.py", TEXT)
        .file("lib/unrelated.py", "def f():\n    pass\n")
        .file("other.py", OTHER)
}

/// A project with one function `job:make`, whose body this is.
fn job(body: &str) -> Project {
    let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
    Project::new("[model.job]\npython = \"job:make\"\ntimeout = \"20s\"\n").file(
        "job.py",
        &format!("def make(inputs, out, params):\n{lines}"),
    )
}

/// Processes that a build started.
fn processes(built: &Built) -> u64 {
    built.events.last().unwrap()["processes"].as_u64().unwrap()
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_function_gets_its_inputs_and_typed_parameters() {
    let project = labels();
    project.build(&[]).built(&ALL);
    assert_eq!(
        project.read("out/model/labels/labels.txt"),
        "20 [True, 'x', 2, 1.0] ['id', 'amount'] 2 1"
    );
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn columns_restrict_what_a_function_is_given() {
    let project = labels();
    project.replace(
        "mlbuild.toml",
        "timeout = \"1m\"",
        "columns = { \"data:orders\" = [\"amount\"] }",
    );
    project.build(&["model:labels"]);
    let text = project.read("out/model/labels/labels.txt");
    assert!(text.contains("['amount'] 2"), "{text}");
    // And what it is not given does not concern it.
    project.write("raw/orders.csv", "id,amount,note\n1,10,a\n3,32,b\n");
    let built = project.build(&["model:labels"]);
    built.built(&["data:orders"]);
    assert_eq!(
        built.unread("model:labels"),
        ["data:orders: column id changed, note added, not read"]
    );
    project.replace("mlbuild.toml", "[\"amount\"]", "[\"amuont\"]");
    let built = project.try_build(&["model:labels"]);
    assert_eq!(built.ran.exit, Some(2));
    let diagnostic = built.diagnostic("model:labels").to_string();
    assert!(
        diagnostic.contains("amuont") && diagnostic.contains("`amount: Int64`"),
        "{diagnostic}"
    );
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_change_in_a_helper_rebuilds_exactly_what_imports_it_and_is_named() {
    let project = labels();
    project.build(&[]);
    project.replace("lib/text.py", "10 * x", "100 * x");
    let built = project.build(&[]);
    built.built(&["model:labels"]);
    assert_eq!(
        built.reasons("model:labels"),
        ["lib/text.py: function scale changed"]
    );
    assert!(
        project
            .read("out/model/labels/labels.txt")
            .starts_with("200 ")
    );

    project.replace("lib/text.py", "LIMIT = 3", "LIMIT = 4");
    assert_eq!(
        project.build(&[]).reasons("model:labels"),
        ["lib/text.py: statements outside of functions and classes changed"]
    );
    project.replace(
        "lib/text.py",
        "def unused",
        "from . import more\n\n\ndef unused",
    );
    project.write("lib/more.py", "def f():\n    pass\n");
    let built = project.build(&[]);
    built.built(&["model:labels"]);
    assert_eq!(
        built.reasons("model:labels"),
        [
            "lib/more.py: code added",
            "lib/text.py: statements outside of functions and classes changed"
        ]
    );
    project.assert_same_as_clean_build(&[]);
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn what_does_not_change_the_code_rebuilds_nothing() {
    let project = labels();
    project.build(&[]);
    let edits: [(&str, &str, &str); 5] = [
        (
            "lib/text.py",
            "    return 10 * x",
            "    # ten times\n\n    return (10   *   x)",
        ),
        (
            "lib/labels.py",
            "Writes what it was given.",
            "Writes something.",
        ),
        ("lib/labels.py", "from pathlib", "# Paths.\nfrom pathlib"),
        ("lib/unrelated.py", "pass", "return 1"),
        ("other.py", "'file'", "\"file\""),
    ];
    for (path, old, new) in edits {
        project.replace(path, old, new);
        project.build(&[]).built(&[]).restored(&[]);
    }
    let text = project.read("lib/text.py");
    project.write("lib/text.py", text);
    project.build(&[]).built(&[]);
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_null_build_starts_no_process_and_reads_no_source() {
    let project = labels();
    assert!(processes(&project.build(&[])) > 0);
    std::thread::sleep(std::time::Duration::from_millis(100)); // so that the sources are no longer young
    project.build(&[]);
    let built = project.build(&[]);
    assert_eq!(processes(&built), 0);
    let summary = built.events.last().unwrap();
    assert_eq!(summary["sources"]["digested"], 0, "{summary}");
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn parameters_and_declared_variables_count_and_the_surroundings_do_not() {
    let project = labels();
    project.build(&[]);
    let elsewhere = project
        .command(&["build", "--json", "-C", "lib"])
        .env("HOME", "/")
        .env("TZ", "Asia/Tokyo")
        .env("LC_ALL", "C")
        .env("LEVEL", "7")
        .env("PYTHONPATH", "/nowhere")
        .output()
        .unwrap();
    let ran = project.ran(elsewhere);
    assert!(
        ran.stdout.contains("\"built\":[]"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );

    project.replace("mlbuild.toml", "LEVEL = \"1\"", "LEVEL = \"2\"");
    assert_eq!(
        project.build(&[]).reasons("model:labels"),
        ["environment LEVEL: 1 -> 2"]
    );
    project.replace("mlbuild.toml", "share = 1.0", "share = 1");
    assert_eq!(
        project.build(&[]).reasons("model:labels"),
        ["parameter share: 1.0 -> 1"]
    );
    // Sums of floats may depend on the threads that make them.
    project.replace(
        "mlbuild.toml",
        "timeout",
        "resources = { cpus = 2 }\ntimeout",
    );
    assert_eq!(
        project.build(&[]).reasons("model:labels"),
        ["threads: 1 -> 2"]
    );
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_moved_project_keeps_its_keys() {
    let project = labels();
    project.build(&[]);
    let moved = Project::empty();
    copy_folder(project.root(), moved.root(), &[]);
    moved.build(&[]).built(&[]).restored(&[]);

    let clean = Project::empty();
    copy_folder(project.root(), clean.root(), &[".mlbuild", "out"]);
    clean.build(&[]);
    assert_eq!(keys(&clean), keys(&project));
    assert_eq!(outputs(clean.root()), outputs(project.root()));
}

/// The names of all results in the cache.
fn keys(project: &Project) -> Vec<String> {
    let folders = fs::read_dir(project.root().join(".mlbuild/cache/results")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn files_that_a_function_declares_count_by_content() {
    let project = job("(out / 'n').write_text(open('words.txt').read())");
    project.write("words.txt", "one");
    let built = project.try_build(&[]);
    assert_eq!(built.ran.exit, Some(1), "{}", built.ran.stderr);
    let diagnostic = built.diagnostic("model:job");
    assert_eq!(diagnostic["code"], "python::raised");
    assert!(
        diagnostic["help"]
            .to_string()
            .contains("srcs = [\\\"words.txt\\\"]"),
        "{diagnostic}"
    );

    project.replace("mlbuild.toml", "timeout", "srcs = [\"words.txt\"]\ntimeout");
    project.build(&[]).built(&["model:job"]);
    project.write("words.txt", "two");
    assert_eq!(
        project.build(&[]).reasons("model:job"),
        ["src: words.txt changed"]
    );
    assert_eq!(project.read("out/model/job/n"), "two");
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn imports_that_only_show_when_they_run_are_refused_or_declared() {
    let project = job(
        "import importlib\nmodule = importlib.import_module('plugins.' + params['name'])\nmodule.run(out)",
    );
    project.replace(
        "mlbuild.toml",
        "timeout",
        "params = { name = \"a\" }\ntimeout",
    );
    project.write(
        "plugins/a.py",
        "def run(out):\n    (out / 'a').write_text('a')\n",
    );
    let built = project.try_build(&[]);
    assert_eq!(built.ran.exit, Some(2), "{}", built.ran.stderr);
    let diagnostic = built.diagnostic("model:job");
    assert_eq!(diagnostic["code"], "python::dynamic-import");
    assert!(
        diagnostic["message"].to_string().contains("job.py:3"),
        "{diagnostic}"
    );

    project.replace(
        "mlbuild.toml",
        "timeout",
        "srcs = [\"plugins/*.py\"]\ntimeout",
    );
    project.build(&[]).built(&["model:job"]);
    project.write(
        "plugins/a.py",
        "def run(out):\n    # a\n    (out / 'a').write_text('a')\n",
    );
    project.build(&[]).built(&[]);
    project.replace("plugins/a.py", "_text('a')", "_text('b')");
    assert_eq!(
        project.build(&[]).reasons("model:job"),
        ["plugins/a.py: function run changed"]
    );

    let literal = job("import importlib\nimportlib.import_module('helper').run(out)");
    literal.write(
        "helper.py",
        "def run(out):\n    (out / 'a').write_text('a')\n",
    );
    literal.build(&[]);
    literal.replace("helper.py", "_text('a')", "_text('b')");
    literal.build(&[]).built(&["model:job"]);
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn mistakes_in_code_are_told_before_anything_runs() {
    let cases = [
        (
            "import nothing_like_it",
            "job.py:2",
            "pip install nothing_like_it",
        ),
        ("from lib import nothing", "job.py:2", "lib/nothing.py"),
        ("x = (", "job.py:2", "is not Python"),
        ("from . import x", "job.py:2", "beyond its own package"),
    ];
    for (line, place, needle) in cases {
        let project = job(line);
        project.write("lib/x.py", "");
        let built = project.try_build(&[]);
        assert!(
            matches!(built.ran.exit, Some(2 | 3)),
            "{line}: {}",
            built.ran.stderr
        );
        let diagnostic = built.diagnostic("model:job").to_string();
        assert!(
            diagnostic.contains(place) && diagnostic.contains(needle),
            "{diagnostic}"
        );
    }
    let project = job("pass");
    project.replace("mlbuild.toml", "job:make", "job:mkae");
    let built = project.try_build(&[]);
    assert_eq!(built.ran.exit, Some(2));
    assert!(built.diagnostic("model:job").to_string().contains("`make`"));
    project.replace("mlbuild.toml", "job:mkae", "jobs:make");
    let built = project.try_build(&[]);
    assert!(
        built
            .diagnostic("model:job")
            .to_string()
            .contains("jobs.py")
    );
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn an_import_that_may_fail_may_be_absent() {
    let project = job(
        "try:\n    import nothing_like_it\nexcept ImportError:\n    (out / 'n').write_text('without')",
    );
    project.build(&[]);
    assert_eq!(project.read("out/model/job/n"), "without");
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn failures_are_told_in_the_functions_terms() {
    let cases = [
        (
            "raise ValueError('bad amount')",
            "python::raised",
            "ValueError: bad amount",
        ),
        ("import sys; sys.exit(3)", "python::exited", "sys.exit(3)"),
        (
            "import os; os._exit(0)",
            "python::exited",
            "instead of returning",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            "python::killed",
            "signal 9",
        ),
        ("pass", "python::no-output", "wrote nothing"),
        (
            "(out / 'x').write_text('x'); return {}",
            "python::returned",
            "a dict",
        ),
    ];
    for (body, code, needle) in cases {
        let built = job(body).try_build(&[]);
        assert_eq!(built.ran.exit, Some(1), "{body}: {}", built.ran.stderr);
        let diagnostic = built.diagnostic("model:job");
        assert_eq!(diagnostic["code"], code, "{body}");
        assert!(
            diagnostic["message"].to_string().contains(needle),
            "{diagnostic}"
        );
    }
    let raised = job("raise ValueError('x')").try_build(&[]);
    let detail = raised.diagnostic("model:job")["detail"].to_string();
    assert!(
        detail.contains("job.py:2 in make: raise ValueError"),
        "{detail}"
    );

    let project = job("pass");
    project.write("job.py", "def make(inputs, out):\n    pass\n");
    let built = project.try_build(&[]);
    assert_eq!(built.diagnostic("model:job")["code"], "python::arguments");
    project.write("job.py", "make = 3\n");
    let built = project.try_build(&[]);
    assert_eq!(built.diagnostic("model:job")["code"], "python::no-function");
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_function_that_takes_too_long_is_stopped() {
    let project = job("import time\ntime.sleep(600)");
    project.replace("mlbuild.toml", "20s", "1s");
    let built = project.try_build(&[]);
    assert_eq!(built.diagnostic("model:job")["code"], "python::timeout");
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_table_needs_parquet_and_files_need_saying_so() {
    let project = job("(out / 'a.csv').write_text('id\\n1\\n')");
    project.replace("mlbuild.toml", "[model.job]", "[data.job]");
    let built = project.try_build(&[]);
    assert_eq!(built.ran.exit, Some(1));
    assert_eq!(built.diagnostic("data:job")["code"], "python::not-a-table");
    project.replace("mlbuild.toml", "timeout", "format = \"files\"\ntimeout");
    project.build(&[]);
    assert_eq!(project.read("out/data/job/a.csv"), "id\n1\n");
}

/// Makes a virtual environment with one package, `shades`, of this version.
fn install(project: &Project, version: &str) {
    let probe = "import sys; print(sys.executable, '%d.%d' % sys.version_info[:2])";
    let output = Command::new("/usr/bin/env")
        .args(["PATH=/usr/local/bin:/usr/bin:/bin", "python3", "-c", probe])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (program, of) = text.trim().split_once(' ').unwrap();
    let bin = project.root().join(".venv/bin");
    if !bin.exists() {
        fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(program, bin.join("python")).unwrap();
        let home = Path::new(program).parent().unwrap().display();
        project.write(".venv/pyvenv.cfg", format!("home = {home}\n"));
    }
    let site = format!(".venv/lib/python{of}/site-packages");
    for entry in fs::read_dir(project.root().join(&site))
        .into_iter()
        .flatten()
    {
        let path = entry.unwrap().path();
        fs::remove_dir_all(path).unwrap();
    }
    project.write(
        &format!("{site}/shades/__init__.py"),
        format!("COLOUR = {version:?}\n"),
    );
    let about = format!("{site}/shades-{version}.dist-info");
    project.write(
        &format!("{about}/METADATA"),
        format!("Metadata-Version: 2.1\nName: Shades\nVersion: {version}\n"),
    );
    project.write(&format!("{about}/top_level.txt"), "shades\n");
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_package_counts_by_its_version() {
    let project = job("import shades\n(out / 'colour').write_text(shades.COLOUR)");
    install(&project, "1.9.0");
    project.build(&[]);
    assert_eq!(project.read("out/model/job/colour"), "1.9.0");
    let null = project.build(&[]);
    null.built(&[]);
    assert_eq!(processes(&null), 0);

    install(&project, "1.10.0");
    let built = project.build(&[]);
    assert_eq!(
        built.reasons("model:job"),
        ["package shades: 1.9.0 -> 1.10.0"]
    );
    assert_eq!(project.read("out/model/job/colour"), "1.10.0");
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn an_environment_that_is_not_what_the_lock_pins_is_an_error() {
    let project = job("import shades\n(out / 'colour').write_text(shades.COLOUR)");
    install(&project, "1.9.0");
    project.write(
        "uv.lock",
        "version = 1\n[[package]]\nname = \"shades\"\nversion = \"1.10.0\"\n",
    );
    let built = project.try_build(&[]);
    assert_eq!(built.ran.exit, Some(3), "{}", built.ran.stderr);
    let diagnostic = built.diagnostic("model:job").to_string();
    for needle in ["1.9.0", "1.10.0", "uv sync"] {
        assert!(diagnostic.contains(needle), "{diagnostic}");
    }
    install(&project, "1.10.0");
    project.build(&[]);
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn code_that_changes_while_it_runs_is_not_published() {
    let project =
        job("import time\nprint('begun')\ntime.sleep(1.5)\n(out / 'x').write_text('old')");
    let child = project
        .command(&["build", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let log = project.root().join(".mlbuild/logs/model/job.log");
    let begun = || fs::read_to_string(&log).is_ok_and(|log| log.contains("begun"));
    while !begun() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    project.replace("job.py", "'old'", "'new'");
    let ran = project.ran(child.wait_with_output().unwrap());
    assert_eq!(ran.exit, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("source::changed"), "{}", ran.stdout);
    project.build(&[]);
    assert_eq!(project.read("out/model/job/x"), "new");
}

/// Whether processes can be kept from reading here: an old kernel cannot, and says so in `doctor`.
fn confines(project: &Project) -> bool {
    let doctor = project.run(&["doctor"]).stdout;
    !doctor.contains("has no Landlock")
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn neither_the_project_nor_the_home_is_read_without_saying_so() {
    let project = job("(out / 'n').write_text(open(params['path']).read())");
    if !confines(&project) {
        return;
    }
    project.write("words.txt", "one");
    project.write("../secret", "in the home");
    let manifest = project.read("mlbuild.toml");
    let root = project.root().display().to_string();
    let home = project.root().parent().unwrap().join("secret");
    let cases = [
        (format!("{root}/words.txt"), "srcs = [\\\"words.txt\\\"]"),
        (
            home.display().to_string(),
            "neither the project nor your home",
        ),
    ];
    for (path, help) in &cases {
        let params = format!("params = {{ path = \"{path}\" }}\ntimeout");
        project.write("mlbuild.toml", manifest.replace("timeout", &params));
        let built = project.try_build(&[]);
        assert_eq!(built.ran.exit, Some(1), "{path}");
        let diagnostic = built.diagnostic("model:job").to_string();
        assert!(diagnostic.contains("PermissionError"), "{diagnostic}");
        assert!(diagnostic.contains(help), "{diagnostic}");
    }

    // Loosened, it is read; a build says so once; and the keys are the same.
    let strict = project.read("mlbuild.toml");
    project.write(
        "mlbuild.toml",
        strict.replace("[project]", "[project]\nsandbox = \"warn\""),
    );
    let built = project.build(&[]);
    let troubles = built
        .events
        .iter()
        .filter(|event| event["event"] == "trouble");
    assert_eq!(troubles.count(), 1);
    project.write(
        "mlbuild.toml",
        strict.replace("[project]", "[project]\nsandbox = \"off\""),
    );
    let built = project.build(&[]);
    built.built(&[]).restored(&[]);
    assert!(built.events.iter().all(|event| event["event"] != "trouble"));
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_command_that_misses_a_file_is_told_which_line_to_add() {
    let project =
        Project::new("[model.count]\ncommand = \"wc -w < words.txt > {out}\"\nout = \"n\"\n");
    project.write("words.txt", "one two");
    let built = project.try_build(&[]);
    assert_eq!(built.ran.exit, Some(1));
    let diagnostic = built.diagnostic("model:count").to_string();
    assert!(
        diagnostic.contains("srcs = [\\\"words.txt\\\"]"),
        "{diagnostic}"
    );
    if confines(&project) {
        let absolute = format!("{}/words.txt", project.root().display());
        project.replace("mlbuild.toml", "words.txt", &absolute);
        let built = project.try_build(&[]);
        let diagnostic = built.diagnostic("model:count").to_string();
        assert!(
            diagnostic.contains("srcs = [\\\"words.txt\\\"]"),
            "{diagnostic}"
        );
    }
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn many_functions_share_the_start_of_an_interpreter_and_nothing_else() {
    let mut manifest = String::new();
    for n in 0..8 {
        manifest += &format!("[model.m{n}]\npython = \"job:make\"\nparams = {{ n = {n} }}\n");
    }
    let project = Project::new(&manifest).file(
        "job.py",
        "import json, os, sys\n\nSEEN = []\n\n\ndef make(inputs, out, params):\n    \
         SEEN.append(params['n'])\n    json.seen = getattr(json, 'seen', 0) + 1\n    \
         os.environ['LEAK'] = 'x'\n    home = os.environ['HOME'] == os.path.expanduser('~')\n    \
         open(os.path.join(os.environ['TMPDIR'], 'x'), 'x').close()\n    \
         (out / 'n').write_text(f'{SEEN} {json.seen} {home} {sys.argv} {len(os.environ)}')\n",
    );
    let built = project.build(&[]);
    assert!(processes(&built) <= 2, "{}", processes(&built));
    let rest = project.read("out/model/m0/n");
    let rest = rest.strip_prefix("[0] 1 True [''] ").unwrap().to_owned();
    for n in 1..8 {
        let text = project.read(&format!("out/model/m{n}/n"));
        assert_eq!(text, format!("[{n}] 1 True [''] {rest}"));
    }
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_function_that_starts_threads_or_processes_is_on_its_own() {
    let project = job(
        "import subprocess, threading\nthreading.Thread(target=lambda: (out / 'x').write_text('x')).start()\n\
         subprocess.run(['/bin/sh', '-c', 'echo said'], check=True)",
    );
    project.build(&[]);
    assert_eq!(project.read("out/model/job/x"), "x");
    assert!(project.run(&["log", "model:job"]).stdout.contains("said"));
}

/// Processes whose working folder is in the project.
#[cfg(target_os = "linux")]
fn working_in(project: &Project) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let folders = processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
    folders
        .filter(|folder| folder.starts_with(project.root()))
        .count()
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_killed_build_leaves_no_process_behind() {
    let project = job("import time\nprint('begun')\ntime.sleep(600)");
    project.replace("mlbuild.toml", "20s", "1h");
    let mut child = project.command(&["build", "-q"]).spawn().unwrap();
    let log = project.root().join(".mlbuild/logs/model/job.log");
    let started = std::time::Instant::now();
    let wait_until = |holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(started.elapsed() < std::time::Duration::from_secs(60));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    wait_until(&|| fs::read_to_string(&log).is_ok_and(|log| log.contains("begun")));
    assert!(working_in(&project) >= 2, "the build and the function");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(&|| working_in(&project) == 0);
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn an_input_cannot_be_written_through() {
    let project = Project::new(
        "[data.orders]\npath = \"orders.csv\"\n[model.m]\npython = \"job:make\"\ninputs = [\"data:orders\"]\n",
    )
    .file("orders.csv", "id\n1\n")
    .file(
        "job.py",
        "import os\n\n\ndef make(inputs, out, params):\n    path = inputs['data:orders'].path\n    \
         before = path.read_bytes()\n    \
         for spoil in (lambda: os.truncate(path, 1), lambda: path.write_text('x'), path.unlink):\n        \
         try:\n            os.chmod(path, 0o777)\n            spoil()\n        except OSError:\n            pass\n    \
         (out / 'x').write_text('x')\n",
    );
    project.build(&["model:m"]);
    project.build(&["data:orders"]);
    let whole = project.run(&["show", "data:orders"]);
    assert_eq!(whole.exit, Some(0), "{}", whole.stderr);
    assert!(whole.stdout.trim_end().ends_with('1'), "{}", whole.stdout);
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn doctor_names_the_interpreter_and_a_missing_one_is_an_error_of_the_environment() {
    let project = job("pass");
    let ran = project.run(&["doctor"]);
    assert!(ran.stdout.contains("cpython 3."), "{}", ran.stdout);
    project.replace(
        "mlbuild.toml",
        "[project]",
        "[project]\npython = \"python9\"",
    );
    let ran = project.run(&["doctor"]);
    assert_eq!(ran.exit, Some(0));
    assert!(
        ran.stdout.contains("no Python interpreter `python9`"),
        "{}",
        ran.stdout
    );
    let built = project.try_build(&[]);
    assert_eq!(built.ran.exit, Some(3), "{}", built.ran.stderr);
    assert_eq!(
        built.diagnostic("model:job")["code"],
        "python::no-interpreter"
    );
}

/// A training in plain Python: epochs with figures, a step that is kept, and a pause in which it can be ended.
const TRAIN: &str = r#"
import json
import os
import pathlib
import time


def main(inputs, out, params):
    events = open(int(os.environ["MLBUILD_EVENTS"]), "w", buffering=1)
    kept = pathlib.Path(os.environ["MLBUILD_CHECKPOINTS"]) / "step"
    first = int(kept.read_text()) if kept.exists() else 0
    for step in range(first + 1, params["epochs"] + 1):
        kept.write_text(str(step))
        print(json.dumps({"epoch": step, "metrics": {"loss": 1 / step}}), file=events)
        if step == params["wait"]:
            print("waits as", os.getpid())
            time.sleep(1000)
    print(json.dumps({"metrics": {"auc": 0.5}}), file=events)
    (out / "model").write_text(f"from {first}")
"#;

fn training(name: &str, wait: u32) -> String {
    format!(
        "[model.{name}]\npython = \"train:main\"\nparams = {{ epochs = 4, wait = {wait} }}\ntimeout = \"5m\"\n\n"
    )
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_training_reports_figures_whether_or_not_it_is_a_fork_of_a_ready_interpreter() {
    let manifest = [training("one", 0), training("two", 9)].concat();
    let project = Project::new(&manifest).file("train.py", TRAIN);
    let built = project.build(&["-j1"]);
    for model in ["model:one", "model:two"] {
        let of_it =
            |event: &&serde_json::Value| event["event"] == "epoch" && event["target"] == model;
        let epochs: Vec<_> = built.events.iter().filter(of_it).collect();
        let told: Vec<_> = epochs
            .iter()
            .map(|it| (it["epoch"].as_u64(), it["epochs"].as_u64()))
            .collect();
        let expected: Vec<_> = (1..=4).map(|epoch| (Some(epoch), Some(4))).collect();
        assert_eq!(told, expected, "{model}");
        let shown = project.run(&["show", model, "--json"]).stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["metrics"], serde_json::json!({ "auc": 0.5 }));
    }
    project.build(&[]).built(&[]);
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn an_interrupted_training_goes_on_and_leaves_no_process() {
    for (signal, exit) in [
        (libc::SIGINT, Some(130)),
        (libc::SIGTERM, Some(130)),
        (libc::SIGKILL, None),
    ] {
        let project = Project::new(&training("fit", 3)).file("train.py", TRAIN);
        assert_eq!(crate::training::interrupt(&project, signal), exit);
        project.build(&[]).built(&["model:fit"]);
        assert_eq!(project.read("out/model/fit/model"), "from 3");
    }
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_training_that_diverges_names_figure_and_epoch() {
    let diverges = TRAIN.replace("1 / step}", "float('nan') if step == 2 else 1}");
    let project = Project::new(&training("fit", 2)).file("train.py", &diverges);
    let built = project.try_build(&[]);
    let diagnostic = built.diagnostic("model:fit");
    assert_eq!(
        diagnostic["message"],
        "`train:main` reported NaN for `loss` in epoch 2"
    );
    assert_eq!(built.ran.exit, Some(1));
}

#[test]
#[ignore = "needs Python; `cargo xtask test` runs it"]
fn a_function_sees_the_gpus_that_it_was_given_and_else_none() {
    let project = job("import os\n(out / 'gpus').write_text(os.environ['CUDA_VISIBLE_DEVICES'])");
    crate::gpus::build(&project, "A100:40GB", None);
    assert_eq!(project.read("out/model/job/gpus"), "");
    let manifest = project.read("mlbuild.toml");
    project.write("mlbuild.toml", manifest + "resources = { gpus = 1 }\n");
    crate::gpus::build(&project, "A100:40GB", None).built(&["model:job"]);
    assert_eq!(project.read("out/model/job/gpus"), "GPU-0");
}
