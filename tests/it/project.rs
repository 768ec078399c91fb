//! A project in a folder of its own, and the binary run on it with nothing of this machine shining through.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A project that is removed with the test.
pub(crate) struct Project {
    folder: TempDir,
    /// The project's folder: below the temporary one, so that its name is always the same.
    root: PathBuf,
}

impl Project {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// An empty folder where syncs are real and cost nothing, if there is such a place.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        Self::within(folder.unwrap())
    }

    fn within(folder: TempDir) -> Self {
        let root = folder.path().join("project");
        fs::create_dir(&root).unwrap();
        Self { folder, root }
    }

    /// A project with this `mlbuild.toml` below a `[project]` table.
    pub(crate) fn new(manifest: &str) -> Self {
        let manifest = format!("[project]\nname = \"test\"\n\n{manifest}");
        Self::empty().file("mlbuild.toml", &manifest)
    }

    /// Raw orders, their sum, and a table that only the sum's content decides.
    pub(crate) fn sums() -> Self {
        Self::new(SUMS)
            .file("raw/orders.csv", "id,amount,note\n1,10,a\n2,32,b\n")
            .file(
                "data/total.sql",
                "select sum(amount) as total from data.orders\n",
            )
            .file(
                "data/page.sql",
                "select total, total * 2 as double from data.total\n",
            )
    }

    /// Adds or replaces a file.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    /// Adds or replaces a file.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces `old`, which occurs once, by `new` in a file.
    pub(crate) fn replace(&self, path: &str, old: &str, new: &str) {
        let text = self.read(path);
        assert_eq!(
            text.matches(old).count(),
            1,
            "{old:?} occurs once in {path}"
        );
        self.write(path, text.replace(old, new));
    }

    /// The text of a file.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    /// Whether a file or folder is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The project's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The binary, ready to run in the project's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlbuild"));
        command
            .args(arguments)
            .current_dir(&self.root)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.folder.path())
            // Not the worker that may have been built beside the binary.
            .env("MLBUILD_TORCH", self.folder.path().join("no-worker"))
            .env("LANG", "C.UTF-8");
        command
    }

    /// Runs the binary and waits for its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        self.ran(output)
    }

    /// What a finished run printed, with the project's folder cut out.
    pub(crate) fn ran(&self, output: Output) -> Ran {
        let clean = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.replace(&*self.root.to_string_lossy(), "[project]")
        };
        Ran {
            stdout: clean(&output.stdout),
            stderr: clean(&output.stderr),
            exit: output.status.code(),
        }
    }

    /// Builds `targets` and expects success.
    #[track_caller]
    pub(crate) fn build(&self, targets: &[&str]) -> Built {
        let built = self.try_build(targets);
        assert_eq!(built.ran.exit, Some(0), "{}", built.ran.stderr);
        built
    }

    /// Builds `targets`, whatever comes of it.
    #[track_caller]
    pub(crate) fn try_build(&self, targets: &[&str]) -> Built {
        let arguments: Vec<&str> = ["build", "--json"]
            .into_iter()
            .chain(targets.iter().copied())
            .collect();
        let ran = self.run(&arguments);
        let events: Vec<Value> = ran
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("every line is JSON"))
            .collect();
        Built { ran, events }
    }

    /// Builds `targets` in a copy without any state, and expects the same outputs as here.
    #[track_caller]
    pub(crate) fn assert_same_as_clean_build(&self, targets: &[&str]) {
        let clean = Self::empty();
        copy_folder(&self.root, &clean.root, &[".mlbuild", "out"]);
        clean.build(targets);
        self.build(targets);
        assert_eq!(outputs(&self.root), outputs(&clean.root));
    }
}

/// A manifest of three tables in a row.
pub(crate) const SUMS: &str = r#"
[data.orders]
path = "raw/*.csv"
key = ["id"]
"#;

/// The end of a run of the binary.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: Option<i32>,
}

/// A build's events.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) ran: Ran,
    pub(crate) events: Vec<Value>,
}

impl Built {
    fn labels(&self, outcome: &str) -> Vec<String> {
        let summary = self.events.last().expect("a build ends with its summary");
        assert_eq!(summary["event"], "summary", "{}", self.ran.stderr);
        let labels = summary[outcome].as_array().unwrap().iter();
        let mut labels: Vec<String> = labels
            .map(|label| label.as_str().unwrap().to_owned())
            .collect();
        labels.sort();
        labels
    }

    #[track_caller]
    fn expect(&self, outcome: &str, labels: &[&str]) -> &Self {
        let mut labels = labels.to_vec();
        labels.sort_unstable();
        assert_eq!(
            self.labels(outcome),
            labels,
            "{outcome}; all: {:#}",
            self.events.last().unwrap()
        );
        self
    }

    /// Expects that exactly these targets were executed.
    #[track_caller]
    pub(crate) fn built(&self, labels: &[&str]) -> &Self {
        self.expect("built", labels)
    }

    /// Expects that exactly these targets came from the cache.
    #[track_caller]
    pub(crate) fn restored(&self, labels: &[&str]) -> &Self {
        self.expect("restored", labels)
    }

    /// Expects that exactly these targets failed.
    #[track_caller]
    pub(crate) fn failed(&self, labels: &[&str]) -> &Self {
        self.expect("failed", labels)
    }

    /// Expects that exactly these targets were skipped.
    #[track_caller]
    pub(crate) fn skipped(&self, labels: &[&str]) -> &Self {
        self.expect("skipped", labels)
    }

    /// The texts of the reasons why `label` was built or restored.
    pub(crate) fn reasons(&self, label: &str) -> Vec<String> {
        self.texts(label, "reasons")
    }

    /// The texts of what changed in `label`'s inputs without concerning it.
    pub(crate) fn unread(&self, label: &str) -> Vec<String> {
        self.texts(label, "unread")
    }

    fn texts(&self, label: &str, of: &str) -> Vec<String> {
        let finished = |event: &&Value| event["event"] == "finished" && event["target"] == label;
        let event = self
            .events
            .iter()
            .find(finished)
            .expect("the target finished");
        let texts = event[of].as_array().unwrap().iter();
        texts
            .map(|item| item["text"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The diagnostic of a target that failed.
    pub(crate) fn diagnostic(&self, label: &str) -> &Value {
        let failed = |event: &&Value| event["event"] == "failed" && event["target"] == label;
        &self.events.iter().find(failed).expect("the target failed")["diagnostic"]
    }
}

/// Copies a folder's files, leaving out some names at its top.
pub(crate) fn copy_folder(from: &Path, to: &Path, without: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if without.iter().any(|w| name == *w) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to.join(name), &[]);
        } else {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// Every file below `out/` with its bytes.
pub(crate) fn outputs(root: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.push((name, fs::read(path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root.join("out"), root, &mut found);
    found.sort();
    found
}
