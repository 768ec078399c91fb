//! What must be installed, looked for before anything is built.

use std::process::{Command, Stdio};

use crate::Result;

/// A program that must be there.
pub(crate) struct Prerequisite {
    /// What it is, as a person would say it.
    what: &'static str,
    /// A call that succeeds if, and only if, it is there.
    probe: &'static [&'static str],
    /// The lines that install it.
    install: &'static [&'static str],
}

/// What building `mlbuild` and the worker takes.
pub(crate) const BUILD: &[Prerequisite] = &[
    Prerequisite {
        what: "a C compiler",
        probe: &["cc", "--version"],
        install: &[
            "Debian, Ubuntu: sudo apt install build-essential",
            "Fedora: sudo dnf install gcc gcc-c++",
        ],
    },
    Prerequisite {
        what: "a C++ compiler",
        probe: &["c++", "--version"],
        install: &[
            "Debian, Ubuntu: sudo apt install build-essential",
            "Fedora: sudo dnf install gcc gcc-c++",
        ],
    },
    Prerequisite {
        what: "Python 3",
        probe: &["python3", "--version"],
        install: &[
            "Debian, Ubuntu: sudo apt install python3 python3-pip",
            "Fedora: sudo dnf install python3 python3-pip",
        ],
    },
    Prerequisite {
        what: "pip for Python 3",
        probe: &["python3", "-m", "pip", "--version"],
        install: &[
            "Debian, Ubuntu: sudo apt install python3-pip",
            "elsewhere: python3 -m ensurepip --user",
        ],
    },
];

/// What checking the sources takes besides [`BUILD`].
pub(crate) const TEST: &[Prerequisite] = &[
    Prerequisite {
        what: "git",
        probe: &["git", "--version"],
        install: &["Debian, Ubuntu: sudo apt install git"],
    },
    Prerequisite {
        what: "rustfmt",
        probe: &["cargo", "fmt", "--version"],
        install: &["rustup component add rustfmt"],
    },
    Prerequisite {
        what: "clippy",
        probe: &["cargo", "clippy", "--version"],
        install: &["rustup component add clippy"],
    },
];

/// What the demo takes besides [`BUILD`]: its data is fetched by `pip`.
pub(crate) const DEMO: &[Prerequisite] = &[Prerequisite {
    what: "`pip` on the PATH",
    probe: &["pip", "--version"],
    install: &[
        "Debian, Ubuntu: sudo apt install python3-pip",
        "elsewhere: python3 -m ensurepip --user",
    ],
}];

/// Looks for all of them.
///
/// # Errors
/// All that are missing, each with the lines that install it.
pub(crate) fn check(wanted: &[Prerequisite]) -> Result {
    report(wanted.iter().filter(|one| !is_there(one)))
}

/// libtorch comes as wheels for one platform; says so before hours of compiling.
///
/// # Errors
/// On any other platform.
pub(crate) fn check_platform() -> Result {
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(());
    }
    Err(format!(
        "the libtorch worker is pinned to Linux on x86_64; this is {} on {}\n  \
         to use a libtorch of your own, unpack it to a folder that holds `torch/` and make `.libtorch` a link to it\n  \
         everything else builds without it: cargo build, cargo test",
        std::env::consts::OS,
        std::env::consts::ARCH,
    ))
}

fn is_there(wanted: &Prerequisite) -> bool {
    let mut probe = Command::new(wanted.probe[0]);
    probe.args(&wanted.probe[1..]);
    probe
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

fn report<'a>(missing: impl Iterator<Item = &'a Prerequisite>) -> Result {
    let lines: Vec<String> = missing
        .flat_map(
            |Prerequisite {
                 what,
                 probe,
                 install,
             }| {
                let first = format!("missing: {what} (`{}` fails)", probe.join(" "));
                let install = install.iter().map(|line| format!("    {line}"));
                std::iter::once(first).chain(install)
            },
        )
        .collect();
    if lines.is_empty() {
        Ok(())
    } else {
        Err(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_at_once_with_the_line_that_installs_it() {
        let missing = |what| Prerequisite {
            what,
            probe: &["no-such-program-anywhere", "--version"],
            install: &["apt install it"],
        };
        let there = Prerequisite {
            what: "cargo",
            probe: &["cargo", "--version"],
            install: &[],
        };
        let message = check(&[missing("one"), there, missing("two")]).unwrap_err();
        assert_eq!(
            message,
            "missing: one (`no-such-program-anywhere --version` fails)\n    apt install it\n\
             missing: two (`no-such-program-anywhere --version` fails)\n    apt install it"
        );
    }
}
