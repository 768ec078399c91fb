//! Rules about files: their size, what they may not mention, and that every page can be reached.

use std::fs;
use std::path::Path;

/// Largest file that git may track.
const LARGEST_BYTES: u64 = 1 << 20;

/// Where people and machines keep their checkouts; a path below one of these says where somebody was, not where a user is.
const PRIVATE: [&str; 4] = ["home", "root", "work", "Users"];

/// Pages that must link every other page of their folder, where they exist.
const INDEXES: [&str; 4] = [
    "spec/README.md",
    "book/README.md",
    "book/SUMMARY.md",
    "book/src/SUMMARY.md",
];

/// Checks all files that git tracks.
pub(super) fn check(root: &Path, tracked: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in tracked {
        // A link or a file removed but not yet from the index is nobody's problem here.
        let Ok(metadata) = fs::symlink_metadata(root.join(file)) else {
            continue;
        };
        if metadata.len() > LARGEST_BYTES {
            problems.push(format!(
                "{file}: {} bytes; files over 1 MiB are fetched or made, not tracked",
                metadata.len()
            ));
        } else if let Ok(text) = fs::read_to_string(root.join(file)) {
            problems.extend(private_paths(file, &text));
        }
    }
    for index in INDEXES {
        let Ok(text) = fs::read_to_string(root.join(index)) else {
            continue;
        };
        problems.extend(unlinked(index, &text, tracked));
    }
    problems
}

/// Absolute paths that only exist on somebody's machine.
fn private_paths(file: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if PRIVATE.iter().any(|folder| mentions(line, folder)) {
            problems.push(format!(
                "{file}:{}: an absolute path of somebody's machine",
                i + 1
            ));
        }
    }
    problems
}

/// Whether a line holds `/folder/x` where a path starts.
fn mentions(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    line.match_indices(&path).any(|(at, _)| {
        // `a/work/b`, `~/work/b`, `{out}/work/b` and `https://host/work/b` are not absolute.
        let starts = !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~})$/".contains(c));
        let goes_on =
            line[at + path.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '.');
        starts && goes_on
    })
}

/// Pages beside or below an index, itself and other indexes aside, that it does not link.
fn unlinked(index: &str, text: &str, tracked: &[String]) -> Vec<String> {
    let folder = index.trim_end_matches(|c| c != '/');
    tracked
        .iter()
        .filter(|file| file.ends_with(".md") && !INDEXES.contains(&file.as_str()))
        .filter_map(|file| Some((file, file.strip_prefix(folder)?)))
        .filter(|(_, page)| {
            !text.contains(&format!("({page})")) && !text.contains(&format!("(./{page})"))
        })
        .map(|(file, _)| format!("{file}: no link in {index} leads here"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_somebodys_machine_are_found() {
        let path = |folder: &str| format!("see \"/{folder}/me/x\"");
        for folder in PRIVATE {
            assert_eq!(
                private_paths("a.md", &path(folder)),
                ["a.md:1: an absolute path of somebody's machine"]
            );
        }
        for harmless in [
            "scratch/work/x",
            "~/work/x",
            "https://host/home/x",
            "the / root",
            "`/work/` itself",
        ] {
            assert!(private_paths("a.md", harmless).is_empty(), "{harmless}");
        }
    }

    #[test]
    fn a_page_that_no_index_links_is_found() {
        let tracked = [
            "spec/README.md",
            "spec/a.md",
            "spec/b.md",
            "spec/c.rs",
            "d.md",
        ]
        .map(str::to_owned);
        assert_eq!(
            unlinked("spec/README.md", "[a](a.md)", &tracked),
            ["spec/b.md: no link in spec/README.md leads here"]
        );
    }

    #[test]
    fn large_files_are_found() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("large"), vec![0; (1 << 20) + 1]).unwrap();
        fs::write(root.path().join("small"), "x").unwrap();
        let tracked = ["large", "small", "gone"].map(str::to_owned);
        assert_eq!(check(root.path(), &tracked).len(), 1);
    }
}
