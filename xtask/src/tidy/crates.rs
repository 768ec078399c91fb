//! Rules about crates: levels, lints, default members, and who may link libtorch.

use std::collections::BTreeMap;

/// The one crate that links libtorch, and so is no default member.
const WORKER: &str = "mlbuild-torch";

/// The crates that bind libtorch.
const BINDINGS: [&str; 2] = ["tch", "torch-sys"];

/// What a line of the crate table says a crate's level is; `None` for those that stand beside the levels.
type Levels = BTreeMap<String, Option<u32>>;

/// Checks the manifests (folder and text) against the crate table and the workspace's manifest.
pub(super) fn check(
    architecture: &str,
    workspace: &str,
    manifests: &[(String, String)],
) -> Vec<String> {
    let levels = levels(architecture);
    let members = strings(workspace, "default-members");
    let mut problems = Vec::new();
    for (folder, manifest) in manifests {
        let name = crate_of(folder);
        if !has_workspace_lints(manifest) {
            problems.push(format!(
                "{folder}/Cargo.toml: no `[lints] workspace = true`"
            ));
        }
        if members.contains(folder) == (name == WORKER) {
            let what = if name == WORKER {
                "is listed in"
            } else {
                "is missing from"
            };
            problems.push(format!("Cargo.toml: `{folder}` {what} `default-members`"));
        }
        problems.extend(dependency_problems(name, &dependencies(manifest), &levels));
    }
    problems.extend(
        levels
            .keys()
            .filter(|name| {
                !manifests
                    .iter()
                    .any(|(folder, _)| crate_of(folder) == name.as_str())
            })
            .map(|name| format!("ARCHITECTURE.md: there is no crate `{name}`")),
    );
    problems
}

/// A crate's name, which is that of its folder.
fn crate_of(folder: &str) -> &str {
    folder.strip_prefix("crates/").unwrap_or(folder)
}

fn dependency_problems(name: &str, dependencies: &[String], levels: &Levels) -> Vec<String> {
    let mut problems = Vec::new();
    let Some(level) = levels.get(name) else {
        return vec![format!("ARCHITECTURE.md: the crate table lacks `{name}`")];
    };
    for dependency in dependencies {
        if BINDINGS.contains(&dependency.as_str()) && name != WORKER {
            problems.push(format!(
                "`{name}` depends on `{dependency}`, which only `{WORKER}` may"
            ));
        }
        let (Some(level), Some(Some(below))) = (level, levels.get(dependency)) else {
            if levels.get(dependency) == Some(&None) {
                problems.push(format!(
                    "`{name}` depends on `{dependency}`, which nothing may link"
                ));
            }
            continue;
        };
        if below >= level {
            problems.push(format!(
                "`{name}` (level {level}) depends on `{dependency}` (level {below}); only lower levels are allowed"
            ));
        }
    }
    problems
}

/// The crate table: lines like "| 2 | `mlbuild-cache` | ...".
fn levels(architecture: &str) -> Levels {
    architecture
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            let level = cells.next()?;
            let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            let known = level == "-" || level.parse::<u32>().is_ok();
            known.then(|| (name.to_owned(), level.parse().ok()))
        })
        .collect()
}

/// Names in `[dependencies]` and its target-specific kin; dev-dependencies are free.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(section) = line.trim().strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section == "dependencies"
                || section == "build-dependencies"
                || section.ends_with(".dependencies");
            if let Some(name) = section.strip_prefix("dependencies.") {
                found.push(name.to_owned());
            }
        } else if inside && let Some((name, _)) = line.split_once('=') {
            let name = name.trim();
            found.push(name.strip_suffix(".workspace").unwrap_or(name).to_owned());
        }
    }
    found.retain(|name| !name.is_empty() && !name.starts_with('#'));
    found
}

fn has_workspace_lints(manifest: &str) -> bool {
    let mut lines = manifest
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true")
}

/// The strings of the list `name = ["a", "b"]`.
fn strings(manifest: &str, name: &str) -> Vec<String> {
    let list = manifest
        .split_once(&format!("\n{name} = ["))
        .map_or("", |(_, rest)| rest);
    let list = list.split_once(']').map_or("", |(list, _)| list);
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHITECTURE: &str = "\
| L | crate | purpose |
|---|---|---|
| 0 | `low` | |
| 1 | `high` | |
| - | `mlbuild-torch` | |
| - | `xtask` | |
";
    const WORKSPACE: &str = "[workspace]\ndefault-members = [\n    \"crates/high\",\n    \"crates/low\",\n    \"xtask\",\n]\n";

    fn check_with(changed: &str, dependencies: &str) -> Vec<String> {
        let manifests: Vec<_> = ["crates/high", "crates/low", "crates/mlbuild-torch", "xtask"]
            .map(|folder| {
                let dependencies = if folder == changed { dependencies } else { "" };
                (
                    folder.to_owned(),
                    format!("[lints]\nworkspace = true\n\n{dependencies}"),
                )
            })
            .into();
        check(ARCHITECTURE, WORKSPACE, &manifests)
    }

    #[test]
    fn a_crate_depends_on_lower_levels_only() {
        assert!(check_with("crates/high", "[dependencies]\nlow.workspace = true\n").is_empty());
        assert_eq!(
            check_with("crates/low", "[dependencies]\nhigh.workspace = true\n"),
            ["`low` (level 0) depends on `high` (level 1); only lower levels are allowed"]
        );
        assert_eq!(
            check_with(
                "crates/low",
                "[target.'cfg(unix)'.dependencies]\nhigh = { path = \"../high\" }\n"
            )
            .len(),
            1
        );
        assert_eq!(
            check_with("crates/low", "[dependencies.high]\npath = \"../high\"\n").len(),
            1
        );
        assert!(check_with("crates/low", "[dev-dependencies]\nhigh.workspace = true\n").is_empty());
    }

    #[test]
    fn only_the_worker_links_libtorch_and_nothing_links_the_worker() {
        assert_eq!(
            check_with("crates/high", "[dependencies]\ntch = \"1\"\n").len(),
            1
        );
        assert!(check_with("crates/mlbuild-torch", "[dependencies]\ntch = \"1\"\n").is_empty());
        assert_eq!(
            check_with(
                "crates/high",
                "[dependencies]\nmlbuild-torch.workspace = true\n"
            )
            .len(),
            1
        );
    }

    #[test]
    fn members_tables_and_lints_agree() {
        let manifests = [("crates/other".to_owned(), "[package]\n".to_owned())];
        assert_eq!(
            check(ARCHITECTURE, WORKSPACE, &manifests)[..3],
            [
                "crates/other/Cargo.toml: no `[lints] workspace = true`",
                "Cargo.toml: `crates/other` is missing from `default-members`",
                "ARCHITECTURE.md: the crate table lacks `other`",
            ]
        );
    }
}
