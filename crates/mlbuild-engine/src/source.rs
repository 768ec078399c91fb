//! Source files: which files a declaration means, and what they hold.
//!
//! A pattern is a path relative to the project: a file, a folder (all files below it), or a glob in
//! which `*` and `?` stay within one folder and `**` does not. Hidden files and folders, and what
//! `mlbuild` itself writes (`out/`, `.mlbuild/`), are only matched where the pattern names them.
//!
//! What a pattern means and cannot be read as a file (a pipe, a link that leads nowhere, a name that is not UTF-8) is an
//! error and never passed over: a table without it would look complete. Nothing is opened here, so nothing can hang.
//!
//! Nothing here decides staleness: files are known by content, through the cache's stat index.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use mlbuild_action::{Diagnostic, Failure};
use mlbuild_graph::FileSet;

/// The files that `files` means, relative to `root`, sorted, each once. `look` is called for every other path before the
/// answer depends on it: folders that are listed, links that are followed, what is not there.
///
/// # Errors
/// A pattern that is malformed, matches nothing or what is no file, or meets a folder that cannot be read.
pub(crate) fn expand(
    root: &Path,
    files: &FileSet,
    look: &mut dyn FnMut(&str),
) -> Result<Vec<String>, Failure> {
    let mut found = BTreeSet::new();
    for pattern in &files.patterns {
        let mut any = false;
        let mut take = |path| {
            any = true;
            found.insert(path);
        };
        let mut walk = Walk {
            root,
            look,
            found: &mut take,
            ancestors: Vec::new(),
        };
        walk.pattern(pattern)
            .map_err(|problem| problem.failure(pattern, files))?;
        if !any {
            return Err(Problem::NoMatch.failure(pattern, files));
        }
    }
    Ok(found.into_iter().collect())
}

/// Whether looking at a file failed because there is none of that name.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidInput)
}

/// A file of `files` that could not be looked at or read.
pub(crate) fn unreadable(path: String, error: io::Error, files: &FileSet) -> Failure {
    Problem::Io(path, error).failure("", files)
}

enum Problem {
    NoMatch,
    Malformed(String),
    /// What is there can be no source: `a named pipe`.
    NotAFile(String, &'static str),
    /// A name that cannot be written down.
    NotUtf8(String),
    Io(String, io::Error),
}

impl Problem {
    fn failure(self, pattern: &str, files: &FileSet) -> Failure {
        use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
        // Whose it is to mend: the file system's owner, or who wrote the pattern.
        let of_environment = match &self {
            Self::Io(_, e) => !matches!(e.kind(), InvalidFilename | NotADirectory | NotFound),
            _ => false,
        };
        let at = &files.declared_at;
        let diagnostic = match self {
            Self::NoMatch => {
                Diagnostic::error("source::no-match", format!("no file matches `{pattern}`")).help(
                    "paths are relative to the folder of mlbuild.toml; `**` crosses folders, `*` does not",
                )
            }
            Self::Malformed(why) => {
                Diagnostic::error("source::bad-pattern", format!("`{pattern}` is no pattern: {why}"))
            }
            Self::NotAFile(path, what) => {
                Diagnostic::error("source::not-a-file", format!("`{path}` is {what}"))
                    .help("sources are regular files; take it out of the way, or name the others")
            }
            Self::NotUtf8(path) => {
                Diagnostic::error("source::not-utf8", format!("the name of `{path}` is not UTF-8"))
                    .help("rename it: paths are text in the cache and in lineage")
            }
            Self::Io(path, e) => Diagnostic::error("source::unreadable", format!("cannot read `{path}`: {e}")),
        };
        let diagnostic = diagnostic.at(at.file.clone(), at.range.clone(), at.label.clone());
        match of_environment {
            true => Failure::Environment(diagnostic),
            false => Failure::Invalid(diagnostic),
        }
    }
}

/// What a thing is that is neither a regular file nor a folder nor a link that leads to one.
fn kind_name(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_symlink() {
        "a link that leads nowhere"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

struct Walk<'w> {
    root: &'w Path,
    look: &'w mut dyn FnMut(&str),
    found: &'w mut dyn FnMut(String),
    /// The folders above the current one, by device and inode: a symbolic link to one of them is a loop.
    ancestors: Vec<(u64, u64)>,
}

impl Walk<'_> {
    fn pattern(&mut self, pattern: &str) -> Result<(), Problem> {
        let pattern = pattern.trim_end_matches('/');
        let is_glob = |part: &str| part.contains(['*', '?', '[', '{']);
        let base: Vec<&str> = pattern
            .split('/')
            .take_while(|part| !is_glob(part))
            .collect();
        let base = base.join("/");
        (self.look)(&base);
        let path = self.root.join(&base);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(e) => {
                return match (fs::symlink_metadata(&path), e.kind()) {
                    (Ok(link), kind)
                        if link.is_symlink() && kind != io::ErrorKind::PermissionDenied =>
                    {
                        Err(Problem::NotAFile(base, kind_name(link.file_type())))
                    }
                    (_, io::ErrorKind::NotFound) => Ok(()),
                    _ => Err(Problem::Io(base, e)),
                };
            }
        };
        if base == pattern {
            if metadata.is_file() {
                (self.found)(base);
                return Ok(());
            }
            if !metadata.is_dir() {
                return Err(Problem::NotAFile(base, kind_name(metadata.file_type())));
            }
            return self.folder(&base, None);
        }
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        let glob = glob
            .map_err(|e| Problem::Malformed(e.kind().to_string()))?
            .compile_matcher();
        self.folder(&base, Some(&glob))
    }

    fn folder(&mut self, folder: &str, glob: Option<&GlobMatcher>) -> Result<(), Problem> {
        use std::os::unix::fs::MetadataExt;

        let unreadable = |e| {
            Problem::Io(
                if folder.is_empty() {
                    ".".to_owned()
                } else {
                    folder.to_owned()
                },
                e,
            )
        };
        (self.look)(folder);
        let path = self.root.join(folder);
        let metadata = fs::metadata(&path).map_err(unreadable)?;
        let identity = (metadata.dev(), metadata.ino());
        if self.ancestors.contains(&identity) {
            return Ok(());
        }
        self.ancestors.push(identity);
        for entry in fs::read_dir(&path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let below = |name: &str| match folder.is_empty() {
                true => name.to_owned(),
                false => format!("{folder}/{name}"),
            };
            let mut kind = entry.file_type().map_err(unreadable)?;
            let is_meant = |path: &str| glob.is_none_or(|glob| glob.is_match(path));
            let Some(name) = name.to_str() else {
                let path = below(&name.to_string_lossy());
                if is_meant(&path) || (kind.is_dir() && crosses_folders(glob)) {
                    return Err(Problem::NotUtf8(path));
                }
                continue;
            };
            let ours = folder.is_empty() && name == "out";
            if name.starts_with('.') || ours {
                continue;
            }
            let path = below(name);
            if kind.is_symlink() {
                (self.look)(&path);
                match fs::metadata(self.root.join(&path)) {
                    Ok(metadata) => kind = metadata.file_type(),
                    Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                        return Err(Problem::Io(path, e));
                    }
                    // Absent, or a loop: it stays a link.
                    Err(_) => {}
                }
            }
            if kind.is_dir() {
                self.folder(&path, glob)?;
            } else if is_meant(&path) {
                if !kind.is_file() {
                    return Err(Problem::NotAFile(path, kind_name(kind)));
                }
                (self.found)(path);
            }
        }
        self.ancestors.pop();
        Ok(())
    }
}

/// Whether a pattern means files in folders of whatever name.
fn crosses_folders(glob: Option<&GlobMatcher>) -> bool {
    glob.is_none_or(|glob| glob.glob().glob().contains("**"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlbuild_action::SourceSpan;

    fn files(patterns: &[&str]) -> FileSet {
        FileSet {
            patterns: patterns.iter().map(|&p| p.to_owned()).collect(),
            declared_at: SourceSpan {
                file: "mlbuild.toml".to_owned(),
                range: 3..7,
                label: "here".to_owned(),
            },
        }
    }

    fn project() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "raw/b.csv",
            "raw/a.csv",
            "raw/deep/c.csv",
            "raw/.hidden.csv",
            "out/data/d.csv",
            "e.csv",
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x\n").unwrap();
        }
        root
    }

    #[track_caller]
    fn check(patterns: &[&str], expect: &[&str]) {
        let root = project();
        assert_eq!(
            expand(root.path(), &files(patterns), &mut |_| {}).unwrap(),
            expect
        );
    }

    #[test]
    fn patterns_name_files_folders_and_globs() {
        check(&["raw/a.csv"], &["raw/a.csv"]);
        check(&["raw/*.csv"], &["raw/a.csv", "raw/b.csv"]);
        check(
            &["raw/**/*.csv"],
            &["raw/a.csv", "raw/b.csv", "raw/deep/c.csv"],
        );
        check(&["raw"], &["raw/a.csv", "raw/b.csv", "raw/deep/c.csv"]);
        check(&["raw/"], &["raw/a.csv", "raw/b.csv", "raw/deep/c.csv"]);
        check(&["raw/[ab].csv", "raw/a.csv"], &["raw/a.csv", "raw/b.csv"]);
    }

    #[test]
    fn outputs_are_not_sources() {
        check(
            &["**/*.csv"],
            &["e.csv", "raw/a.csv", "raw/b.csv", "raw/deep/c.csv"],
        );
    }

    #[test]
    fn a_pattern_without_a_match_is_named_at_its_place() {
        let root = project();
        let refused = |patterns: &[&str]| match expand(root.path(), &files(patterns), &mut |_| {}) {
            Err(Failure::Invalid(diagnostic)) => diagnostic,
            other => panic!("{other:?}"),
        };
        let error = refused(&["raw/a.csv", "raw/*.parquet"]);
        assert_eq!(error.code, "source::no-match");
        assert!(error.message.contains("raw/*.parquet"));
        assert_eq!(error.spans[0].range, 3..7);
        assert_eq!(refused(&["raw/[a.csv"]).code, "source::bad-pattern");
    }

    #[test]
    fn a_loop_of_links_ends() {
        let root = project();
        std::os::unix::fs::symlink("..", root.path().join("raw/deep/up")).unwrap();
        let found = expand(root.path(), &files(&["raw"]), &mut |_| {}).unwrap();
        assert_eq!(found, ["raw/a.csv", "raw/b.csv", "raw/deep/c.csv"]);
    }
}
