//! `mlbuild init`: writes a small project that builds, end to end, with nothing but this binary.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use mlbuild_action::Diagnostic;
use mlbuild_disk as disk;
use mlbuild_manifest::MANIFEST_FILE;

use crate::cli::{Global, Init};
use crate::failure::{CommandFailure, EXIT_USAGE};
use crate::terminal::Terminal;

const FILES: [(&str, &str); 6] = [
    (MANIFEST_FILE, include_str!("init/mlbuild.toml")),
    ("raw/plays.csv", include_str!("init/plays.csv")),
    ("data/songs.sql", include_str!("init/songs.sql")),
    ("features/train.sql", include_str!("init/train.sql")),
    ("features/test.sql", include_str!("init/test.sql")),
    (".gitignore", "/.mlbuild/\n/out/\n"),
];

pub(crate) fn run(args: &Init, global: &Global, terminal: &Terminal) -> Result<u8, CommandFailure> {
    let folder = global
        .directory
        .as_deref()
        .unwrap_or(Path::new("."))
        .join(&args.folder);
    disk::create_folders(&folder)
        .map_err(|e| CommandFailure::io("make the folder", &folder, &e))?;
    let taken: Vec<&str> = FILES
        .iter()
        .map(|(path, _)| *path)
        .filter(|path| folder.join(path).exists())
        .collect();
    // A .gitignore may well be there already: it is left alone, and the user is told what belongs in it.
    if taken.iter().any(|path| *path != ".gitignore") {
        let message = format!("`{}` already has {}", folder.display(), taken.join(", "));
        let diagnostic = Diagnostic::error("init::not-empty", message)
            .help("nothing was written; name an empty folder");
        return Err(CommandFailure::new(EXIT_USAGE, diagnostic));
    }
    let name = args.name.clone().unwrap_or_else(|| name_of(&folder));
    for (path, text) in FILES.iter().filter(|(path, _)| !taken.contains(path)) {
        let path = folder.join(path);
        write_new(&path, &text.replace("{name}", &name))
            .map_err(|e| CommandFailure::io("write", &path, &e))?;
    }
    if !terminal.quiet {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "wrote the project `{name}` to {}", folder.display());
        for path in taken {
            let _ = writeln!(
                out,
                "left {path} as it is: it should name /.mlbuild/ and /out/"
            );
        }
        let go = if args.folder == Path::new(".") {
            String::new()
        } else {
            format!("cd {} && ", args.folder.display())
        };
        let _ = writeln!(out, "next: {go}mlbuild build");
    }
    Ok(0)
}

/// The folder's own name, made a project name.
fn name_of(folder: &Path) -> String {
    let full = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let name = full
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let name = name.trim_matches(|c: char| c == '_' || c.is_ascii_digit());
    if name.is_empty() {
        "project".to_owned()
    } else {
        name.to_owned()
    }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        disk::create_folders(folder)?;
    }
    disk::write_new(path, text.as_bytes())
}
