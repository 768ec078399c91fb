//! Which files an import reaches, on projects of one line a file: its imports, as `module:names` with points in front.

use std::path::Path;

use super::*;

/// A project whose files hold nothing but imports.
struct Files<'a>(&'a [(&'a str, &'a str)]);

impl ProjectFiles for Files<'_> {
    fn digest(&mut self, path: &str) -> io::Result<Option<Digest>> {
        let found = self.0.iter().any(|(file, _)| *file == path);
        Ok(found.then(|| Digest::of(path.as_bytes())))
    }

    fn look(&mut self, _: &Path) {}

    fn note_variable(&mut self, _: &str, _: Option<&str>) {}

    fn is_folder(&mut self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.0.iter().any(|(file, _)| file.starts_with(&folder))
    }

    fn read(&mut self, _: &str) -> io::Result<Vec<u8>> {
        unreachable!("analyses are made up")
    }

    fn memo(&self, _: &Digest) -> Option<Vec<u8>> {
        None
    }

    fn remember(&self, _: &Digest, _: &[u8]) {}
}

/// Imports separated by blanks; `?` in front of one that may fail, `!` for one that only shows when it runs.
fn analysis(text: &str) -> Analysis {
    let mut analysis = Analysis::default();
    for word in text.split_whitespace() {
        if let Some(code) = word.strip_prefix('!') {
            let code = code.to_owned();
            analysis
                .dynamic
                .push(super::super::wire::Dynamic { line: 1, code });
            continue;
        }
        let (optional, word) = match word.strip_prefix('?') {
            Some(word) => (true, word),
            None => (false, word),
        };
        let module = word.trim_start_matches('.');
        let level = word.len() - module.len();
        let (module, names) = module.split_once(':').unwrap_or((module, ""));
        let names = names.split(',').filter(|name| !name.is_empty());
        analysis.imports.push(Import {
            module: module.to_owned(),
            names: names.map(str::to_owned).collect(),
            level,
            line: 1,
            optional,
        });
    }
    analysis
}

fn follow(files: &[(&str, &str)], srcs: &[&str]) -> Result<Closure, Failure> {
    let environment = Environment {
        stdlib: ["json", "os"].map(str::to_owned).into(),
        modules: [("polars".to_owned(), vec!["polars".to_owned()])].into(),
        ..Environment::default()
    };
    let srcs: Vec<String> = srcs.iter().map(|src| (*src).to_owned()).collect();
    let surroundings = Surroundings {
        environment: &environment,
        srcs: &srcs,
        install: None,
    };
    let mut analyse = |_: &mut dyn ProjectFiles, path: &str, _: &Digest| {
        let (_, text) = files.iter().find(|(file, _)| *file == path).unwrap();
        Ok(Arc::new(analysis(text)))
    };
    closure("app.main", &surroundings, &mut Files(files), &mut analyse)
}

#[track_caller]
fn check(files: &[(&str, &str)], srcs: &[&str], expect: &[&str]) {
    let closure = follow(files, srcs).unwrap();
    let found: Vec<_> = closure.files.keys().map(String::as_str).collect();
    assert_eq!(found, expect);
}

#[track_caller]
fn refuses(files: &[(&str, &str)], expect: &str) {
    let failure = follow(files, &[]).unwrap_err();
    assert!(format!("{failure:?}").contains(expect), "{failure:?}");
}

#[test]
fn what_is_imported_counts_and_what_is_not_does_not() {
    let files = [
        ("app/main.py", "json app.text ?nothing"),
        ("app/text.py", "deep.down:f"),
        ("app/other.py", "app.text"),
        ("deep/down.py", "app.main"),
    ];
    check(&files, &[], &["app/main.py", "app/text.py", "deep/down.py"]);
}

#[test]
fn packages_on_the_way_count() {
    let files = [
        ("app/__init__.py", ".setup"),
        ("app/main.py", "a.b.c"),
        ("app/setup.py", ""),
        ("a/__init__.py", ""),
        ("a/b/c.py", ""),
    ];
    let expect = [
        "a/__init__.py",
        "a/b/c.py",
        "app/__init__.py",
        "app/main.py",
        "app/setup.py",
    ];
    check(&files, &[], &expect);
}

#[test]
fn a_name_may_be_a_module_and_a_relative_import_knows_its_package() {
    let files = [
        ("app/main.py", ".:near ..:lib ..lib:far,f"),
        ("app/near/__init__.py", ".:inner .inner:g"),
        ("app/near/inner.py", ""),
        ("lib/__init__.py", ""),
        ("lib/far.py", ""),
    ];
    // `..` from a package at the top leaves it.
    refuses(&files, "beyond its own package");
    let files = [
        ("app/main.py", ".:near lib:far,f"),
        files[1],
        files[2],
        files[3],
        files[4],
    ];
    let expect = [
        "app/main.py",
        "app/near/__init__.py",
        "app/near/inner.py",
        "lib/__init__.py",
        "lib/far.py",
    ];
    check(&files, &[], &expect);
}

#[test]
fn a_package_goes_before_a_module_and_a_module_before_a_folder() {
    let files = [
        ("app/main.py", "x polars"),
        ("x/__init__.py", ""),
        ("x.py", ""),
        ("polars/data.csv", ""),
    ];
    check(&files, &[], &["app/main.py", "x/__init__.py"]);
    let closure = follow(&files, &[]).unwrap();
    assert_eq!(closure.distributions, ["polars".to_owned()].into());
}

#[test]
fn imports_by_value_need_the_files_that_they_may_mean() {
    let files = [
        ("app/main.py", "!import_module(x)"),
        ("plugins/a.py", "app.text"),
        ("app/text.py", ""),
    ];
    refuses(&files, "app/main.py:1");
    check(
        &files,
        &["plugins/a.py", "words.txt"],
        &["app/main.py", "app/text.py", "plugins/a.py"],
    );
}

#[test]
fn modules_that_are_nowhere_are_named_with_their_place() {
    refuses(
        &[("app/main.py", "sklearn.linear")],
        "pip install scikit-learn",
    );
    refuses(
        &[("app/main.py", "app.nothing")],
        "`app/main.py:1` imports `app.nothing`",
    );
    refuses(&[("app/main.py", ".:nothing")], "app/nothing.py");
    refuses(
        &[("app/main.py", "json"), ("json.py", "")],
        "Python's own library",
    );
    refuses(&[("main.py", "")], "no module `app.main`");
}
