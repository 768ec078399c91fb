//! From a stage of a target to an action with a key: the place where contents become identity.
//!
//! A stage can be resolved once all its inputs are final. Source files are digested here, through the
//! stat index; tables and trees are known by what the action cache says of them. Nothing is executed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use mlbuild_action::{
    Action, ActionKey, Analysis, Artifact, Description, Failure, Input, InputContent, Table, Tree,
    TreeEntry, Work,
};
use mlbuild_cache::{CacheError, Destination, FileDigest, Looks, Stat, StatIndex, YOUNG};
use mlbuild_graph::{FileSet, InputSource, Stage};
use mlbuild_manifest::Label;

use crate::analysis::Analyses;
use crate::diff::file_changes;
use crate::pick::Figures;
use crate::pin::pinned;
use crate::project::{Executors, Project};
use crate::reason::FileChange;
use crate::witness::{LookNumber, Witness};
use crate::{code, pick, source};

/// A stage whose inputs are final.
pub(crate) struct Resolved {
    pub(crate) action: Action,
    pub(crate) description: Description,
    pub(crate) key: ActionKey,
    pub(crate) analysis: Analysis,
    pub(crate) inputs: BTreeMap<String, Material>,
    /// The figures of the candidates of a choice, by input.
    pub(crate) figures: BTreeMap<String, Figures>,
}

/// Where the bytes of an input are.
#[derive(Clone, Debug)]
pub(crate) enum Material {
    /// In the cache.
    Artifact(Artifact),
    /// In the project's own files.
    Sources(Tree),
}

impl Material {
    /// What is known of it as a table, if it is one.
    pub(crate) fn table(&self) -> Option<&Table> {
        match self {
            Self::Artifact(artifact) => artifact.table.as_ref(),
            Self::Sources(_) => None,
        }
    }

    /// What of it a key holds, if of a table only the columns `read` count.
    fn content(&self, read: Option<&BTreeSet<String>>) -> InputContent {
        match (self, self.table(), read) {
            (_, Some(table), Some(read)) => {
                let columns = table.columns.iter().filter(|c| read.contains(&c.name));
                InputContent::Columns {
                    rows: table.rows,
                    columns: columns.cloned().collect(),
                }
            }
            (Self::Artifact(artifact), ..) => artifact.content(),
            (Self::Sources(tree), ..) => InputContent::Tree(tree.digest()),
        }
    }
}

/// The source files looked at so far, each once a build, and all else that was looked at.
pub(crate) struct Sources<'a> {
    project: &'a Project,
    index: StatIndex,
    /// With the looks that they took.
    trees: BTreeMap<Vec<String>, (Tree, Vec<LookNumber>)>,
    files: BTreeMap<String, Option<FileDigest>>,
    witness: Witness,
    /// The looks for the target that is being looked at.
    own: Vec<LookNumber>,
    /// Looks at what this process placed itself, and the time by which a change of it shows.
    placed: BTreeMap<LookNumber, i128>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(project: &'a Project) -> Self {
        let index = StatIndex::load(
            project.cache.stat_index_path(),
            project.root.clone(),
            project.opened,
        );
        Self {
            project,
            index,
            trees: BTreeMap::new(),
            files: BTreeMap::new(),
            witness: project.witness.clone(),
            own: Vec::new(),
            placed: BTreeMap::new(),
        }
    }

    /// The looks since this was last asked that concern one target, and how many files were looked at so far.
    pub(crate) fn take_own(&mut self) -> Vec<LookNumber> {
        std::mem::take(&mut self.own)
    }

    pub(crate) fn witness_mut(&mut self) -> &mut Witness {
        &mut self.witness
    }

    /// Looks at `path`, relative to the project or absolute, since something will depend on it.
    pub(crate) fn look(&mut self, path: &Path) {
        self.witness.look(&self.project.root, path);
    }

    /// Notes that something is so that cannot be looked at again.
    pub(crate) fn doubt(&mut self) {
        self.witness.doubt();
    }

    /// Notes the value of an environment variable.
    pub(crate) fn note_variable(&mut self, name: &str, value: Option<&str>) {
        self.witness.note_variable(name, value);
    }

    /// All that was looked at; looks at what is young vouch for nothing.
    pub(crate) fn witness(&mut self) -> Witness {
        let mut witness = std::mem::take(&mut self.witness);
        witness.mark_young(|number, stat| match self.placed.get(&number) {
            Some(shows) => stat.newest() >= *shows,
            None => self.index.is_young(stat),
        });
        witness
    }

    /// Looks again at the cache's folders, after this build changed them if it did: only who holds the project's lock does. They
    /// are settled, so that any later change shows.
    pub(crate) fn look_at_cache(&mut self, changed: bool) {
        let root = &self.project.root;
        let cache = &self.project.cache;
        for folder in cache.folders() {
            let before = self.witness.seen(root, &folder);
            if !changed && before != Some(Stat::at(&folder).unwrap_or_default()) {
                self.witness.doubt();
                return;
            }
            // One that is not there is looked at as any path.
            let settled = cache.settle_folder(&folder, |stat| self.index.is_young(stat));
            let stat = settled.ok();
            let number = self.witness.replace(root, &folder, stat);
            self.placed.extend(number.map(|number| (number, i128::MAX)));
        }
    }

    /// Notes what the index saw when it was asked for a file that is there; everybody's look, unless the number is kept.
    fn note(&mut self, path: &str) -> Option<LookNumber> {
        let stat = self.index.stat(path);
        if stat.is_none() {
            // It changed while it was read.
            self.witness.doubt();
        }
        let root = &self.project.root;
        self.witness
            .note_for_some(root, Path::new(path), Some(stat?))
    }

    fn tree(&mut self, files: &FileSet) -> Result<Tree, Failure> {
        if let Some((tree, looks)) = self.trees.get(&files.patterns) {
            self.own.extend(looks);
            return Ok(tree.clone());
        }
        let mut entries = Vec::new();
        let mut looks = Vec::new();
        let root = &self.project.root;
        let mut look = |path: &str| {
            let path = Path::new(path);
            match Stat::at(&root.join(path)) {
                Ok(stat) => looks.extend(self.witness.note_for_some(root, path, stat)),
                Err(_) => self.witness.doubt(),
            }
        };
        for path in source::expand(root, files, &mut look)? {
            let file = match self.index.digest_file(&path) {
                Ok(file) => file,
                Err(error) => return Err(source::unreadable(path, error, files)),
            };
            looks.extend(self.note(&path));
            entries.push(TreeEntry {
                path,
                digest: file.digest,
                size_bytes: file.size_bytes,
                executable: file.executable,
            });
        }
        let tree = Tree::new(entries);
        self.own.extend(&looks);
        self.trees
            .insert(files.patterns.clone(), (tree.clone(), looks));
        Ok(tree)
    }

    /// What is in one file; `None` if there is no such regular file.
    pub(crate) fn file(&mut self, path: &str) -> io::Result<Option<FileDigest>> {
        if let Some(known) = self.files.get(path) {
            return Ok(*known);
        }
        let file = match self.index.digest_file(path) {
            Ok(file) => {
                // Who asks next is not told by whom it was looked at first.
                match self.index.stat(path) {
                    Some(stat) => {
                        let path = Path::new(path);
                        self.witness.note(&self.project.root, path, Some(stat));
                    }
                    None => self.witness.doubt(),
                }
                Some(file)
            }
            Err(e) if source::is_absent(&e) => {
                self.look(Path::new(path));
                None
            }
            Err(e) => return Err(e),
        };
        self.files.insert(path.to_owned(), file);
        Ok(file)
    }

    pub(crate) fn project(&self) -> &'a Project {
        self.project
    }

    /// Looks at the files of `tree` again, which `work` has read; names one that is not what it was.
    pub(crate) fn changed(&mut self, work: &Work, tree: &Tree) -> Option<String> {
        let files = tree.entries().iter().map(|entry| {
            let TreeEntry {
                path,
                digest,
                size_bytes,
                executable,
            } = entry;
            let file = FileDigest {
                digest: *digest,
                size_bytes: *size_bytes,
                executable: *executable,
            };
            (path.as_str(), file)
        });
        let changed = match work {
            // It reads them where they are, for as long as it runs.
            Work::Ingest(_) => self.index.verify_untouched(files),
            // All others are given copies, made before they start; a touch in hours of work is no reason to lose them.
            _ => self.index.verify_unchanged(files),
        };
        changed.map(str::to_owned)
    }

    /// Places an artifact under `out/` unless it is there; says whether anything was written.
    pub(crate) fn place(&mut self, artifact: &Artifact, path: &str) -> Result<bool, CacheError> {
        if self.stands(artifact, path) {
            return Ok(false);
        }
        let path = self.project.root.join(path);
        let to = destination(artifact, &path);
        let cache = &self.project.cache;
        cache.publish(&artifact.tree, to, &mut self.index)?;
        Ok(true)
    }

    /// Whether an artifact is at its place under `out/`; notes the looks if it is.
    fn stands(&mut self, artifact: &Artifact, path: &str) -> bool {
        let root = &self.project.root;
        let path = root.join(path);
        let to = destination(artifact, &path);
        let cache = &self.project.cache;
        let Some(folders) = cache.standing(&artifact.tree, to, &mut self.index) else {
            return false;
        };
        for (folder, stat) in folders {
            let number = self.witness.note_for_some(root, &folder, Some(stat));
            self.own.extend(number);
        }
        for entry in artifact.tree.entries() {
            let file = match to {
                Destination::File(path) => path.to_owned(),
                Destination::Folder(folder) => folder.join(&entry.path),
            };
            let relative = file.strip_prefix(root).ok().and_then(Path::to_str);
            match relative {
                Some(relative) => {
                    let number = self.note(relative);
                    self.own.extend(number);
                }
                None => self.witness.doubt(),
            }
        }
        true
    }

    /// Looks at what this build placed at `path`, as the next one will; says whether it stands there. `now` is the time in
    /// nanoseconds since 1970: what changed long before shows if it changes again.
    pub(crate) fn look_at_placed(&mut self, artifact: &Artifact, path: &str, now: i128) -> bool {
        self.own.clear();
        let stands = self.stands(artifact, path);
        let shows = now - YOUNG.as_nanos() as i128;
        let looks = self.own.iter().map(|number| (*number, shows));
        self.placed.extend(looks);
        stands
    }

    /// Remembers the digests for the next build; losing them costs time only.
    pub(crate) fn save(&mut self) -> Result<(), CacheError> {
        self.index.save()
    }

    /// How often source files were looked at.
    pub(crate) fn looks(&self) -> Looks {
        self.index.looks()
    }
}

fn destination<'p>(artifact: &Artifact, path: &'p Path) -> Destination<'p> {
    match artifact.table {
        Some(_) => Destination::File(path),
        None => Destination::Folder(path),
    }
}

/// What [`resolve`] needs to know about the rest of the build.
pub(crate) struct Context<'a> {
    pub(crate) executors: &'a Executors,
    /// The artifacts of the targets that are done.
    pub(crate) artifacts: &'a BTreeMap<Label, Artifact>,
    /// The final figures of the points that are done.
    pub(crate) figures: &'a BTreeMap<Label, Figures>,
    /// What the target's last producing stage yielded.
    pub(crate) previous: Option<&'a Artifact>,
}

/// Resolves one stage.
///
/// # Errors
/// Source files that are missing or unreadable, tools that are not there.
pub(crate) fn resolve(
    stage: &Stage,
    context: &Context<'_>,
    sources: &mut Sources<'_>,
    analyses: &mut Analyses<'_>,
) -> Result<Resolved, Failure> {
    let mut materials = BTreeMap::new();
    let mut figures = BTreeMap::new();
    for input in &stage.inputs {
        if let (Work::Pick(_), InputSource::Target(label)) = (&stage.work, &input.from) {
            let of_point = context.figures.get(label).cloned();
            figures.insert(input.name.clone(), of_point.unwrap_or_default());
        }
        let material = match &input.from {
            InputSource::Target(label) => Material::Artifact(
                context
                    .artifacts
                    .get(label)
                    .expect("inputs are done before their consumers")
                    .clone(),
            ),
            InputSource::Previous => Material::Artifact(
                context
                    .previous
                    .expect("a stage that reads the previous one has one")
                    .clone(),
            ),
            InputSource::Files(files) => Material::Sources(sources.tree(files)?),
            InputSource::Pinned(pin, label) => {
                sources.look(&sources.project().cache.pin_path(pin));
                Material::Artifact(pinned(sources.project(), pin, label)?)
            }
        };
        materials.insert(input.name.clone(), material);
    }
    let executor = context.executors.of(&stage.work);
    let code = code::add(executor, &stage.work, &mut materials, sources)?;
    let toolchain = executor.toolchain(&stage.work)?;
    let schemas = materials
        .iter()
        .filter_map(|(name, material)| Some((name.clone(), material.table()?.schema())))
        .collect();
    let analysis = analyses.analyze(executor, &stage.work, &toolchain, &schemas)?;
    let identity = materials.iter().filter(|(name, _)| *name != code::CODE);
    let inputs = identity.map(|(name, material)| {
        let content = match (&stage.work, material, figures.get(name)) {
            (Work::Pick(pick), Material::Artifact(artifact), Some(figures)) => {
                pick::candidate(pick, name, artifact, figures)?
            }
            _ => material.content(analysis.reads.get(name)),
        };
        let name = name.clone();
        Ok(Input { name, content })
    });
    let action = Action {
        work: stage.work.clone(),
        inputs: inputs.collect::<Result<_, Failure>>()?,
        plan: analysis.plan,
        code,
        toolchain,
    };
    let description = action.describe();
    let key = description.key();
    Ok(Resolved {
        action,
        description,
        key,
        analysis,
        inputs: materials,
        figures,
    })
}

/// A stage's name for people: `sql`, `ingest`, `check not_null(id)`.
pub(crate) fn stage_name(work: &Work) -> String {
    match work {
        Work::Ingest(_) => "ingest".to_owned(),
        Work::Sql(_) => "sql".to_owned(),
        Work::Split(_) => "split".to_owned(),
        Work::Command(_) => "command".to_owned(),
        Work::Python(_) => "python".to_owned(),
        Work::Train(train) => format!("train {}", train.architecture),
        Work::Predict(_) => "predict".to_owned(),
        Work::Evaluate(_) => "evaluate".to_owned(),
        Work::Pick(pick) => format!("pick {} {}", pick.goal.as_str(), pick.metric),
        Work::Check(check) => format!("check {}", check.name),
    }
}

/// Which files differ between two source trees, given their digests; nothing if one is no longer known.
///
/// `inputs` are those of the action now: its trees may not have been remembered yet.
pub(crate) fn source_changes(
    project: &Project,
    inputs: &BTreeMap<String, Material>,
    old: &str,
    new: &str,
) -> Vec<FileChange> {
    let listing = |digest: &str| {
        let digest = digest.parse().ok()?;
        let mut trees = inputs.values().filter_map(|material| match material {
            Material::Sources(tree) if tree.digest() == digest => Some(tree.clone()),
            _ => None,
        });
        trees.next().or_else(|| project.cache.listing(&digest))
    };
    let (Some(old), Some(new)) = (listing(old), listing(new)) else {
        return Vec::new();
    };
    file_changes(old.entries(), new.entries())
}
