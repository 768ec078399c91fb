//! One running `analyse.py`: questions on its standard input, a line of JSON back for each.
//!
//! It ends with its standard input, so it cannot outlive this process, however that ends.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;

use super::wire::{Analysis, Environment};

/// The script; a memo of its answers depends on it.
pub(super) const SCRIPT: &str = include_str!("analyse.py");

pub(super) struct Session {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Session {
    /// Starts `program`, with `path` to find what it may be a wrapper of, in `folder`.
    #[expect(
        clippy::disallowed_methods,
        reason = "starting processes is what this crate is for"
    )]
    pub(super) fn start(program: &Path, path: &std::ffi::OsStr, folder: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["-I", "-B", "-c", SCRIPT])
            .env_clear()
            .env("PATH", path)
            .env("LANG", "C.UTF-8")
            .current_dir(folder)
            // An interrupt at the terminal is for us to pass on.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (questions, answers) = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .expect("both are piped");
        Ok(Self {
            child,
            questions,
            answers: BufReader::new(answers),
        })
    }

    /// What the interpreter is.
    pub(super) fn probe(&mut self) -> io::Result<Environment> {
        self.ask("probe\n".as_bytes())
    }

    /// What is in a file.
    pub(super) fn analyse(&mut self, source: &[u8]) -> io::Result<Analysis> {
        let question = [format!("analyse {}\n", source.len()).as_bytes(), source].concat();
        self.ask(&question).map(Analysis::digested)
    }

    fn ask<T: DeserializeOwned>(&mut self, question: &[u8]) -> io::Result<T> {
        self.questions.write_all(question)?;
        self.questions.flush()?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It has nothing to lose, and nothing to do if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let path = std::ffi::OsStr::new("/usr/local/bin:/usr/bin:/bin");
        Session::start(Path::new("python3"), path, Path::new("/")).unwrap()
    }

    #[test]
    #[ignore = "needs Python; `cargo xtask test` runs it"]
    fn the_interpreter_says_what_it_is() {
        let environment = session().probe().unwrap();
        assert!(
            environment.identity.starts_with("cpython 3."),
            "{environment:?}"
        );
        assert!(environment.stdlib.contains("json"));
    }

    #[test]
    #[ignore = "needs Python; `cargo xtask test` runs it"]
    fn only_what_may_change_a_result_changes_the_code() {
        let base = "import os\n\ndef f(x, y=1):\n    return x + 'a'\n";
        let same = [
            "import os\n# why\n\n\ndef f(x, y = 1):\n    return (x\n            + \"a\")\n",
            "'About.'\nimport os\ndef f(x, y=1):\n    'Adds.'\n    return x + 'a'\n",
            "def f(x, y=1):\n    return x + u'a'\nimport os\n",
        ];
        let different = [
            "import os\n\ndef f(x, y=1):\n    return x + 'b'\n",
            "import os\n\ndef f(x, y=1.0):\n    return x + 'a'\n",
            "import os\n\ndef f(x, y=None):\n    return x + 'a'\n",
            "import os\n\ndef f(x, *, y=1):\n    return x + 'a'\n",
            "import os\n\nasync def f(x, y=1):\n    return x + 'a'\n",
            "import os\n\n@cache\ndef f(x, y=1):\n    return x + 'a'\n",
            // Where docstrings are read they count.
            "import os\n\ndef f(x, y=1):\n    'doc'\n    return x + 'a'\nprint(f.__doc__)\n",
        ];
        let mut session = session();
        let mut parts = |source: &str| session.analyse(source.as_bytes()).unwrap().parts;
        let expected = parts(base);
        for source in same {
            assert_eq!(parts(source), expected, "{source}");
        }
        for source in different {
            assert_ne!(parts(source), expected, "{source}");
        }
        // What a statement finds may depend on where it stands among definitions that run.
        assert_ne!(
            parts("@a\ndef f(): 1\nx = 1\n"),
            parts("x = 1\n@a\ndef f(): 1\n")
        );
        assert_ne!(
            parts("def f(): 1\nx = f\ndef f(): 2\n"),
            parts("def f(): 1\ndef f(): 2\nx = f\n")
        );
    }

    /// The same for every Python from 3.10 on, so that a newer one changes no code part by accident.
    #[test]
    #[ignore = "needs Python; `cargo xtask test` runs it"]
    fn a_golden_digest_does_not_move() {
        let source = "@cache\ndef f(x: int = 1, *a, k=None, **kw) -> str:\n    y = [-i for i in x if i] or {**kw}\n    \
                      match y:\n        case None:\n            return f'{x!r}'\n        \
                      case {'a': 1.5, **rest}:\n            pass\n    with a as b, c:\n        yield b'\\x00'\n    \
                      return lambda: x[1:2, ...]\n";
        let parts = session().analyse(source.as_bytes()).unwrap().parts;
        assert_eq!(
            parts["f"].code,
            "0616363a5eefc792deef49a64dc191b1d47ab867339f29107c5f961775a99cb2"
        );
        assert_eq!(parts["f"].kind, "function");
    }

    #[test]
    #[ignore = "needs Python; `cargo xtask test` runs it"]
    fn imports_are_found_wherever_they_stand() {
        let source = "import a.b as c\nfrom .x import y, z\ndef f():\n    from . import w\n\
                      try:\n    import fast\nexcept (KeyError, ImportError):\n    pass\n\
                      import importlib\nimportlib.import_module('lit.eral')\n\
                      importlib.import_module('.sub', package='pack.age')\n__import__('old')\n";
        let analysis = session().analyse(source.as_bytes()).unwrap();
        let imports = analysis.imports.iter();
        let mut found: Vec<_> = imports
            .map(|i| {
                let points = ".".repeat(i.level);
                format!(
                    "{points}{} [{}] {}",
                    i.module,
                    i.names.join(","),
                    i.optional
                )
            })
            .collect();
        found.sort();
        let expected = [
            ". [w] false",
            ".x [y,z] false",
            "a.b [] false",
            "fast [] true",
            "importlib [] false",
            "lit.eral [] false",
            "old [] false",
            "pack.age.sub [] false",
        ];
        assert_eq!(found, expected);
        assert_eq!(analysis.dynamic, []);
    }

    #[test]
    #[ignore = "needs Python; `cargo xtask test` runs it"]
    fn imports_by_value_are_found_under_any_name() {
        for source in [
            "import importlib\nimportlib.import_module(x)\n",
            "import importlib as il\nil.import_module(f'a.{x}')\n",
            "from importlib import import_module as load\nload(x)\n",
            "from importlib import import_module\nmap(import_module, names)\n",
            "import importlib.util\nimportlib.util.spec_from_file_location('m', p)\n",
            "import runpy\nrunpy.run_path('x.py')\n",
            "__import__(x)\n",
        ] {
            let analysis = session().analyse(source.as_bytes()).unwrap();
            assert_eq!(analysis.dynamic.len(), 1, "{source}");
        }
        // Another's method of that name is none of ours.
        let analysis = session().analyse(b"loader.import_module(x)\n").unwrap();
        assert_eq!(analysis.dynamic, []);
    }

    #[test]
    #[ignore = "needs Python; `cargo xtask test` runs it"]
    fn what_is_not_python_is_placed() {
        let mut session = session();
        let broken = session.analyse(b"x = 1\ny = (\n").unwrap().broken.unwrap();
        assert_eq!(broken.line, 2);
        assert!(session.analyse(b"x = '\xff'\n").unwrap().broken.is_some());
    }
}
