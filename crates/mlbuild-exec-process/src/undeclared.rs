//! Files of the project that a process asked for and did not declare: what to say about them.

use std::path::Path;

/// The project's file that `path` means, relative to the project: one that exists there but not in `work`, the folder
/// that the process sees in its place.
pub(crate) fn file(path: &str, work: &Path, project: &Path) -> Option<String> {
    let path = Path::new(path);
    let relative = path
        .strip_prefix(work)
        .or_else(|_| path.strip_prefix(project));
    let relative = relative.unwrap_or(path);
    let inside =
        project.is_absolute() && relative.is_relative() && !relative.as_os_str().is_empty();
    let known = inside && project.join(relative).exists() && !work.join(relative).exists();
    let relative = relative.to_str().filter(|_| known)?;
    // What is in these is somebody's output.
    let first = relative.split('/').next();
    (!matches!(first, Some(".mlbuild" | "out" | "." | ".."))).then(|| relative.to_owned())
}

/// The first such file that these lines of a log name.
pub(crate) fn named(lines: &[String], work: &Path, project: &Path) -> Option<String> {
    let quoted = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '\'' | '"' | '`' | ':' | ',' | ';' | '(' | ')' | '=' | '<' | '>'
            )
    };
    let words = lines.iter().flat_map(|line| line.split(quoted));
    let mut words = words.filter(|word| !word.is_empty());
    words.find_map(|word| file(word.trim_end_matches('.'), work, project))
}

/// What to do about it.
pub(crate) fn help(file: &str) -> String {
    format!("`{file}` is in the project but not declared: add `srcs = [\"{file}\"]`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_of_the_project_are_recognised_in_what_a_process_says() {
        let root = tempfile::tempdir().unwrap();
        let (project, work) = (root.path().join("p"), root.path().join("w"));
        for folder in [project.join("raw"), work.clone()] {
            fs::create_dir_all(folder).unwrap();
        }
        for file in ["words.txt", "raw/a.csv", "known.txt"] {
            fs::write(project.join(file), "x").unwrap();
        }
        fs::write(work.join("known.txt"), "x").unwrap();
        let named = |line: String| named(&[line], &work, &project);
        assert_eq!(
            named("cat: words.txt: No such file".to_owned()).unwrap(),
            "words.txt"
        );
        let absolute = project.join("raw/a.csv").display().to_string();
        assert_eq!(
            named(format!("cannot open '{absolute}'")).unwrap(),
            "raw/a.csv"
        );
        let staged = work.join("words.txt").display().to_string();
        assert_eq!(named(format!("no {staged}")).unwrap(), "words.txt");
        assert_eq!(
            named("known.txt and nothing.txt and /etc/passwd".to_owned()),
            None
        );
    }
}
