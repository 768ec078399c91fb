//! Versions of the packages that code imports: those that are pinned, else those that are installed.
//!
//! Where the project has a lock, it is the identity, and an environment that has something else is an error: so every
//! machine has the same keys, or none.

use std::collections::{BTreeMap, BTreeSet};

use mlbuild_action::{Diagnostic, Failure, ProjectFiles};
use mlbuild_digest::Encoder;
use serde::{Deserialize, Serialize};

use super::wire::Environment;

/// Files with pinned versions, at the project's root; the first that is there counts.
const LOCKS: [(&str, Parse, &str); 2] = [
    ("uv.lock", uv, "uv sync"),
    (
        "requirements.txt",
        requirements,
        "pip install -r requirements.txt",
    ),
];

type Parse = fn(&str) -> Result<Pins, String>;

/// A project's lock.
pub(super) struct Lock {
    file: &'static str,
    pins: Pins,
    /// The line that installs what it pins.
    pub(super) install: &'static str,
}

/// What a lock pins.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Pins {
    /// Versions by distribution: more than one where they depend on the platform.
    versions: BTreeMap<String, BTreeSet<String>>,
    /// What each distribution needs.
    needs: BTreeMap<String, BTreeSet<String>>,
}

/// The project's lock, if it has one.
pub(super) fn lock(project: &mut dyn ProjectFiles) -> Result<Option<Lock>, Failure> {
    for (file, parse, install) in LOCKS {
        let unreadable = |why: String| {
            let message = format!("cannot read `{file}`: {why}");
            Failure::Invalid(Diagnostic::error("python::lock", message))
        };
        let digest = project
            .digest(file)
            .map_err(|e| unreadable(e.to_string()))?;
        let Some(digest) = digest else {
            continue;
        };
        let mut encoder = Encoder::new("mlbuild python lock v1");
        encoder.part("file", file.as_bytes());
        let key = encoder.part("digest", digest.as_bytes()).finish();
        let memo = project.memo(&key);
        let pins = match memo.and_then(|memo| serde_json::from_slice(&memo).ok()) {
            Some(pins) => pins,
            None => {
                let bytes = super::read_as(project, file, &digest)?;
                let pins = parse(&String::from_utf8_lossy(&bytes)).map_err(unreadable)?;
                project.remember(&key, &serde_json::to_vec(&pins).expect("texts are JSON"));
                pins
            }
        };
        return Ok(Some(Lock {
            file,
            pins,
            install,
        }));
    }
    Ok(None)
}

/// The versions of `distributions`, all of which are installed; with a lock, also of those that they need.
pub(super) fn versions(
    distributions: &BTreeSet<String>,
    environment: &Environment,
    lock: Option<&Lock>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut versions = BTreeMap::new();
    let mut waiting: Vec<&String> = distributions.iter().collect();
    while let Some(name) = waiting.pop() {
        if versions.contains_key(name) {
            continue;
        }
        if environment.editable.contains(name) {
            return Err(editable(name));
        }
        let installed = environment.versions.get(name);
        let pinned = lock.and_then(|lock| Some((lock, lock.pins.versions.get(name)?)));
        let version = match (pinned, installed) {
            (None, installed) => installed,
            (Some((lock, pinned)), Some(installed)) => {
                let same = pinned.iter().find(|pinned| equal(pinned, installed));
                Some(same.ok_or_else(|| mismatch(name, installed, pinned, lock))?)
            }
            // Of another platform, as far as we know; where there is only one version, it counts all the same.
            (Some((_, pinned)), None) => pinned.iter().next().filter(|_| pinned.len() == 1),
        };
        if let Some(version) = version {
            versions.insert(name.clone(), version.clone());
            if let Some(lock) = lock {
                waiting.extend(lock.pins.needs.get(name).into_iter().flatten());
            }
        }
    }
    Ok(versions)
}

/// Whether two versions are one: `1.9` is `1.9.0`.
fn equal(a: &str, b: &str) -> bool {
    let short = |version: &str| {
        let mut version = version.to_lowercase();
        while let Some(shorter) = version.strip_suffix(".0") {
            version = shorter.to_owned();
        }
        version
    };
    short(a) == short(b)
}

fn mismatch(name: &str, installed: &str, pinned: &BTreeSet<String>, lock: &Lock) -> Failure {
    let pinned: Vec<_> = pinned.iter().map(String::as_str).collect();
    let message = format!(
        "`{name}` {installed} is installed, but `{}` pins {}",
        lock.file,
        pinned.join(" or ")
    );
    Failure::Environment(
        Diagnostic::error("python::lock-mismatch", message)
            .help(format!("install what it pins: {}", lock.install)),
    )
}

fn editable(name: &str) -> Failure {
    let message =
        format!("`{name}` is installed as editable: its code can change without its version");
    Failure::Environment(Diagnostic::error("python::editable", message).help(
        "install it as it is (`pip install .`), or move the modules that are used into the project",
    ))
}

#[derive(Deserialize)]
struct UvLock {
    #[serde(default)]
    package: Vec<UvPackage>,
}

#[derive(Deserialize)]
struct UvPackage {
    name: String,
    version: Option<String>,
    #[serde(default)]
    dependencies: Vec<UvDependency>,
}

#[derive(Deserialize)]
struct UvDependency {
    name: String,
}

fn uv(text: &str) -> Result<Pins, String> {
    let lock: UvLock = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let mut pins = Pins::default();
    for package in lock.package {
        let name = normalized(&package.name);
        if let Some(version) = package.version {
            pins.versions
                .entry(name.clone())
                .or_default()
                .insert(version);
        }
        let needs = package
            .dependencies
            .iter()
            .map(|needed| normalized(&needed.name));
        pins.needs.entry(name).or_default().extend(needs);
    }
    Ok(pins)
}

/// Lines `name==version`; what pins nothing is passed over.
fn requirements(text: &str) -> Result<Pins, String> {
    let mut pins = Pins::default();
    for line in text.lines() {
        let line = line
            .split(['#', ';', '\\'])
            .next()
            .unwrap_or_default()
            .trim();
        let Some((name, version)) = line.split_once("==") else {
            continue;
        };
        let name = name.split('[').next().unwrap_or_default().trim();
        let version = version.trim_start_matches('=').trim();
        let version = version.split_whitespace().next().unwrap_or_default();
        if !name.starts_with('-') && !version.is_empty() && !version.contains(['*', ',']) {
            let versions = pins.versions.entry(normalized(name)).or_default();
            versions.insert(version.to_owned());
        }
    }
    Ok(pins)
}

/// A distribution's name as packages are compared: `Scikit_Learn` is `scikit-learn`.
fn normalized(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(installed: &[(&str, &str)]) -> Environment {
        let versions = installed.iter();
        let versions = versions.map(|(name, version)| ((*name).to_owned(), (*version).to_owned()));
        Environment {
            versions: versions.collect(),
            ..Environment::default()
        }
    }

    #[track_caller]
    fn check(
        lock: Option<Result<Pins, String>>,
        installed: &[(&str, &str)],
        expect: &[(&str, &str)],
    ) {
        let lock = lock.map(|pins| Lock {
            file: "the.lock",
            pins: pins.unwrap(),
            install: "install",
        });
        let found = versions(
            &["polars".to_owned()].into(),
            &environment(installed),
            lock.as_ref(),
        );
        let found = found.unwrap().into_iter();
        let expect = expect.iter();
        let expect = expect.map(|(name, version)| ((*name).to_owned(), (*version).to_owned()));
        assert_eq!(found.collect::<Vec<_>>(), expect.collect::<Vec<_>>());
    }

    const UV: &str = r#"
version = 1
[[package]]
name = "polars"
version = "1.9"
dependencies = [{ name = "polars_runtime" }, { name = "colorama", marker = "sys_platform == 'win32'" }]
[[package]]
name = "polars-runtime"
version = "1.9.1"
[[package]]
name = "colorama"
version = "0.4.6"
[[package]]
name = "unrelated"
version = "3"
"#;

    #[test]
    fn without_a_lock_the_installed_version_counts() {
        check(
            None,
            &[("polars", "1.9.0"), ("numpy", "2")],
            &[("polars", "1.9.0")],
        );
    }

    #[test]
    fn a_lock_pins_what_is_imported_and_what_that_needs() {
        let installed = [("polars", "1.9.0"), ("polars-runtime", "1.9.1")];
        let expect = [
            ("colorama", "0.4.6"),
            ("polars", "1.9"),
            ("polars-runtime", "1.9.1"),
        ];
        check(Some(uv(UV)), &installed, &expect);
    }

    #[test]
    fn requirements_pin_by_exact_versions_only() {
        let text =
            "# tools\nPolars[all] == 1.9.0 ; python_version > '3' # why\nnumpy>=2\n-r more.txt\n";
        check(
            Some(requirements(text)),
            &[("polars", "1.9.0")],
            &[("polars", "1.9.0")],
        );
        assert_eq!(requirements(text).unwrap().versions.len(), 1);
        let hashed = "polars==1.9.0 \\\n    --hash=sha256:00\n";
        check(
            Some(requirements(hashed)),
            &[("polars", "1.9.0")],
            &[("polars", "1.9.0")],
        );
    }

    #[test]
    fn another_version_than_the_pinned_one_is_named_with_it() {
        let lock = Lock {
            file: "uv.lock",
            pins: uv(UV).unwrap(),
            install: "uv sync",
        };
        for (name, version) in [("polars", "1.10.0"), ("polars-runtime", "2")] {
            let mut installed = environment(&[("polars", "1.9.0")]);
            installed
                .versions
                .insert(name.to_owned(), version.to_owned());
            let failure = versions(&["polars".to_owned()].into(), &installed, Some(&lock));
            let Err(Failure::Environment(diagnostic)) = failure else {
                panic!("{failure:?}")
            };
            assert!(diagnostic.message.contains(version), "{diagnostic}");
            assert!(diagnostic.message.contains("pins 1.9"), "{diagnostic}");
        }
    }

    #[test]
    fn editable_packages_are_refused() {
        let mut installed = environment(&[("polars", "1.9.0")]);
        installed.editable.insert("polars".to_owned());
        assert!(versions(&["polars".to_owned()].into(), &installed, None).is_err());
    }
}
