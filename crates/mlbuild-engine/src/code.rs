//! The code of the project that an action runs: what the executor says of it, and its files as inputs.
//!
//! The executor decides which files are code and what of them is identity; here they become two things: parts of the
//! action's description, and a material `code` that is staged, and looked at again afterwards, as any source is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use mlbuild_action::{Diagnostic, Executor, Failure, ProjectFiles, Tree, TreeEntry, Work};
use mlbuild_digest::Digest;

use crate::resolve::{Material, Sources};

/// The input with the files that an action's code stands in. Its bytes are no identity: the parts of the code are.
pub(crate) const CODE: &str = "code";
/// The input with the other files that it declares.
const SRC: &str = "src";

/// Asks for the code of `work`; adds its files to `materials` as [`CODE`], and takes them out of the other sources.
pub(crate) fn add(
    executor: &dyn Executor,
    work: &Work,
    materials: &mut BTreeMap<String, Material>,
    sources: &mut Sources<'_>,
) -> Result<BTreeMap<String, String>, Failure> {
    let srcs = match materials.get(SRC) {
        Some(Material::Sources(tree)) => tree.clone(),
        _ => Tree::default(),
    };
    let code = executor.code(work, &srcs, &mut View { sources })?;
    if code.files.is_empty() {
        return Ok(code.parts);
    }
    let mut entries = Vec::new();
    for path in &code.files {
        entries.push(entry(path, sources)?);
    }
    materials.insert(CODE.to_owned(), Material::Sources(Tree::new(entries)));
    let rest = srcs.entries().iter();
    let rest: Vec<_> = rest
        .filter(|entry| !code.files.contains(&entry.path))
        .cloned()
        .collect();
    if rest.is_empty() {
        materials.remove(SRC);
    } else {
        materials.insert(SRC.to_owned(), Material::Sources(Tree::new(rest)));
    }
    Ok(code.parts)
}

fn entry(path: &str, sources: &mut Sources<'_>) -> Result<TreeEntry, Failure> {
    let unreadable = |why: String| {
        let message = format!("cannot read `{path}`: {why}");
        Failure::Invalid(Diagnostic::error("source::unreadable", message))
    };
    let file = sources.file(path).map_err(|e| unreadable(e.to_string()))?;
    let file = file.ok_or_else(|| unreadable("there is no such file".to_owned()))?;
    Ok(TreeEntry {
        path: path.to_owned(),
        digest: file.digest,
        size_bytes: file.size_bytes,
        executable: file.executable,
    })
}

/// The project as an executor may look at it: files through the stat index, memos through the cache.
struct View<'s, 'a> {
    sources: &'s mut Sources<'a>,
}

impl ProjectFiles for View<'_, '_> {
    fn digest(&mut self, path: &str) -> io::Result<Option<Digest>> {
        Ok(self.sources.file(path)?.map(|file| file.digest))
    }

    fn look(&mut self, path: &Path) {
        self.sources.look(path);
    }

    fn note_variable(&mut self, name: &str, value: Option<&str>) {
        self.sources.note_variable(name, value);
    }

    fn is_folder(&mut self, path: &str) -> bool {
        self.sources.look(Path::new(path));
        self.sources.project().root.join(path).is_dir()
    }

    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.sources.project().root.join(path))
    }

    fn memo(&self, key: &Digest) -> Option<Vec<u8>> {
        self.sources.project().cache.memo(key)
    }

    fn remember(&self, key: &Digest, value: &[u8]) {
        // Losing it costs time only.
        let _ = self.sources.project().cache.remember_memo(key, value);
    }
}
