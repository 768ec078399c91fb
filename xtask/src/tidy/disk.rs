//! A rule about changes to the disk: where mlbuild keeps state, they go through `mlbuild-disk`, or no test of crashes
//! sees them.

use std::fs;
use std::path::Path;

/// The crates that keep state.
const KEEPERS: [&str; 4] = [
    "crates/mlbuild/src/",
    "crates/mlbuild-cache/src/",
    "crates/mlbuild-engine/src/",
    "crates/mlbuild-lineage/src/",
];

/// What changes the disk by itself.
const CHANGES: [&str; 20] = [
    "fs::write(",
    "fs::rename",
    "fs::copy",
    "fs::hard_link",
    "fs::soft_link",
    "fs::symlink(",
    "fs::remove_file",
    "fs::remove_dir",
    "fs::create_dir",
    "fs::set_permissions",
    "DirBuilder",
    "OpenOptions",
    "File::create",
    "File::options",
    ".set_len(",
    ".set_permissions(",
    ".set_times(",
    ".set_modified(",
    ".sync_all(",
    ".sync_data(",
];

/// Checks all files that git tracks.
pub(super) fn check(root: &Path, tracked: &[String]) -> Vec<String> {
    let keeps = |file: &&String| {
        let ours = KEEPERS.iter().any(|folder| file.starts_with(folder));
        let is_test = ["tests.rs", "fuzz.rs"]
            .iter()
            .any(|end| file.ends_with(end));
        ours && file.ends_with(".rs") && !is_test
    };
    let read = |file: &String| Some((file.clone(), fs::read_to_string(root.join(file)).ok()?));
    let sources = tracked.iter().filter(keeps).filter_map(read);
    sources
        .flat_map(|(file, text)| changes(&file, &text))
        .collect()
}

/// The lines before a file's tests that change the disk by themselves.
fn changes(file: &str, text: &str) -> Vec<String> {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    let lines = code.lines().enumerate();
    let changes = lines.filter_map(|(i, line)| {
        let change = CHANGES.iter().find(|change| line.contains(**change))?;
        Some(format!(
            "{file}:{}: `{change}` past `mlbuild-disk`, where tests cannot let it fail",
            i + 1
        ))
    });
    changes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_past_the_disk_is_found_and_one_of_a_test_is_not() {
        let text = "fn f() {\n    fs::rename(a, b);\n    disk::rename(a, b);\n}\n\n#[cfg(test)]\nmod tests {\n    fs::write(a, b);\n}\n";
        let problems = changes("a.rs", text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("a.rs:2: `fs::rename`"));
    }
}
