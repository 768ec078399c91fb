//! A project in a folder, built by the real engine with the toy executor.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mlbuild_action::{ActionKey, Cancel, Severity};
use mlbuild_cache::Pin;
use mlbuild_digest::Digest;
use mlbuild_engine::{
    CollectionOptions, Event, Executors, Finding, Options, Outcome, Project, Question, Recorder,
    RunRecord, Slots, Snapshot, Standing, Verdict, Witness,
};
use mlbuild_graph::Graph;
use mlbuild_manifest::{Label, SourceText, Variant};
use tempfile::TempDir;

use crate::toy::{Never, Toy};
use crate::world::{World, path};

/// A project that is removed with the test.
pub(crate) struct Bench {
    folder: TempDir,
    root: PathBuf,
    graph: Graph,
    /// What the graph was resolved from.
    declared: String,
    /// What the last build left, of what was declared and wanted then.
    last: RefCell<Option<(String, BTreeSet<String>, Snapshot)>>,
    toy: Toy,
}

/// What a build did.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) targets: BTreeMap<String, Target>,
    /// How often the executor executed, failures included.
    pub(crate) executed: u64,
    pub(crate) planned: u64,
    pub(crate) digested: u64,
    pub(crate) stood: u64,
    pub(crate) snapshot: Option<Snapshot>,
}

/// What a build did with a target.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) outcome: Outcome,
    /// The kinds of its reasons.
    pub(crate) reasons: BTreeSet<&'static str>,
    /// Columns by input.
    pub(crate) unread: BTreeMap<String, BTreeSet<String>>,
    pub(crate) unchanged: bool,
}

impl Bench {
    pub(crate) fn new() -> Self {
        // Syncs are real; in memory they cost nothing.
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let folder = folder.unwrap();
        let root = folder.path().join("project");
        fs::create_dir_all(root.join("raw")).unwrap();
        Self {
            folder,
            root,
            graph: Graph::default(),
            declared: String::new(),
            last: RefCell::default(),
            toy: Toy::default(),
        }
    }

    /// Makes the project declare and hold `world`. A file that is as it should be is left alone.
    pub(crate) fn declare(&mut self, world: &World) {
        for source in &world.sources {
            let file = self.root.join(path(&source.name));
            let csv = source.content.csv();
            if fs::read_to_string(&file).ok().as_ref() != Some(&csv) {
                fs::write(file, csv).unwrap();
            }
        }
        let manifest = SourceText {
            path: "mlbuild.toml".to_owned(),
            text: world.manifest(),
        };
        let sql = world.queries.iter().map(|derived| SourceText {
            path: format!("data/{}.sql", derived.name),
            text: derived.sql(),
        });
        let sql: Vec<_> = sql.collect();
        let texts = std::iter::once(&manifest).chain(&sql);
        self.declared = texts
            .map(|file| format!("{}\n{}\n", file.path, file.text))
            .collect();
        let (manifest, mut diagnostics) = mlbuild_manifest::parse(&manifest, &sql);
        let (graph, more) = mlbuild_graph::resolve(&manifest);
        diagnostics.extend(more);
        let error = diagnostics.iter().find(|it| it.severity == Severity::Error);
        assert_eq!(error, None, "a random project is a valid one");
        self.graph = graph;
    }

    pub(crate) fn build(&self, wanted: &BTreeSet<String>, keep_going: bool) -> Built {
        self.build_at(now(), wanted, keep_going)
    }

    /// A null build that takes nothing for young, in which case what it leaves is only good for what changes in a later
    /// tick of the clock: it waits for one.
    pub(crate) fn settle(&self, wanted: &BTreeSet<String>) -> Snapshot {
        let built = self.build_at(now() + Duration::from_secs(1), wanted, false);
        std::thread::sleep(Duration::from_millis(10));
        built.snapshot.expect("a null build leaves a snapshot")
    }

    /// Whether all that `snapshot` looked at is as it was.
    pub(crate) fn stands(&self, snapshot: &Snapshot) -> bool {
        snapshot.stands(&snapshot.differences(&self.root, &|_| None))
    }

    fn build_at(&self, now: SystemTime, wanted: &BTreeSet<String>, keep_going: bool) -> Built {
        let mut finished = BTreeMap::new();
        let mut started = BTreeSet::new();
        let before = self.toy.executed();
        let options = Options {
            slots: Slots {
                cpus: 2,
                memory_bytes: 1 << 30,
            },
            find_gpus: mlbuild_engine::Gpus::default,
            keep_going,
            force: false,
        };
        let project = self.open(now);
        let build = mlbuild_engine::build(
            &project,
            self.standing(&project, wanted),
            &wanted.iter().map(|name| label(name)).collect::<Vec<_>>(),
            &options,
            &self.executors(),
            &mut recorder(),
            &Cancel::new(),
            &mut |event| match event {
                Event::Started { label, .. } => {
                    started.insert(label.name().to_owned());
                }
                Event::Finished {
                    label,
                    reasons,
                    unread,
                    unchanged,
                    ..
                } => {
                    let columns = |unread: &mlbuild_engine::Unread| {
                        let changed = unread.changed.iter().map(|change| change.column.clone());
                        (unread.input.name().to_owned(), changed.collect())
                    };
                    let target = Target {
                        outcome: Outcome::Skipped,
                        reasons: reasons
                            .iter()
                            .map(mlbuild_engine::StaleReason::kind)
                            .collect(),
                        unread: unread.iter().map(columns).collect(),
                        unchanged: *unchanged,
                    };
                    finished.insert(label.name().to_owned(), target);
                }
                Event::Trouble { diagnostic } => panic!("{diagnostic}"),
                _ => {}
            },
        );
        let mlbuild_engine::Build { summary, snapshot } = build;
        let left = snapshot.clone();
        *self.last.borrow_mut() =
            left.map(|snapshot| (self.declared.clone(), wanted.clone(), snapshot));
        let target = |(label, outcome): &(Label, Outcome)| {
            let name = label.name().to_owned();
            let mut target = finished.remove(&name).unwrap_or(Target {
                outcome: *outcome,
                reasons: BTreeSet::new(),
                unread: BTreeMap::new(),
                unchanged: false,
            });
            target.outcome = *outcome;
            let executed = matches!(outcome, Outcome::Built | Outcome::Failed);
            assert!(
                !started.contains(&name) || executed,
                "{name} started and is {outcome:?}"
            );
            (name, target)
        };
        Built {
            targets: summary.targets.iter().map(target).collect(),
            executed: self.toy.executed() - before,
            planned: summary.queries_planned,
            digested: summary.looks.digested,
            stood: summary.stood,
            snapshot,
        }
    }

    /// What stands of the last build, if it was of this project and these targets.
    fn standing(&self, project: &Project, wanted: &BTreeSet<String>) -> Option<Standing> {
        let (declared, before, snapshot) = self.last.take()?;
        let differences = snapshot.differences(&self.root, &|_| None);
        let question = Question::new(&[], &Variant::default(), false, "");
        let standing = snapshot.standing(&differences, &project.cache, &question.unwrap())?;
        (declared == self.declared && before == *wanted).then_some(standing)
    }

    /// Forgets what the last build left, as a cache that lost its memos does.
    pub(crate) fn forget(&self) {
        self.last.take();
    }

    /// What a build would do, and the digests of the artifacts that need none.
    pub(crate) fn plan(
        &self,
        wanted: &BTreeSet<String>,
    ) -> BTreeMap<String, (Verdict, Option<Digest>)> {
        let labels: Vec<Label> = wanted.iter().map(|name| label(name)).collect();
        let planned = mlbuild_engine::plan(&self.open(now()), &labels, &self.executors());
        let planned = planned.into_iter().map(|target| {
            let digest = target.artifact.map(|artifact| artifact.digest());
            (target.label.name().to_owned(), (target.verdict, digest))
        });
        planned.collect()
    }

    /// Pins a target, if all that it needs is built; says whether it is pinned now.
    pub(crate) fn pin(&self, name: &str) -> bool {
        let (project, executors) = (self.open(now()), self.executors());
        mlbuild_engine::pin(&project, &executors, &label(name), name, 0).is_ok()
    }

    pub(crate) fn pins(&self) -> Vec<Pin> {
        self.open(now()).cache.pins().unwrap()
    }

    /// Collects what nothing needs, whatever its age.
    pub(crate) fn collect(&self) {
        let (project, executors) = (self.open(now()), self.executors());
        let lock = project.cache.try_lock("gc").unwrap().unwrap();
        let options = CollectionOptions {
            keep_last: 0,
            max_size_bytes: None,
            grace: Duration::ZERO,
            now: now(),
        };
        let chosen = mlbuild_engine::collection(&project, &executors, &options).unwrap();
        mlbuild_engine::collect(&project, &chosen, &lock, &mut || true).unwrap();
    }

    /// What a check finds, and puts right if it is to.
    pub(crate) fn check(&self, repair: bool) -> Vec<Finding> {
        let project = self.open(now());
        let lock = repair.then(|| project.cache.try_lock("fsck").unwrap().unwrap());
        let findings = mlbuild_engine::fsck(&self.root, &project.cache, lock.as_ref()).unwrap();
        findings.cache
    }

    /// The key of each target when it was last done.
    pub(crate) fn key(&self, name: &str) -> ActionKey {
        let last = self.open(now()).cache.last_build(&label(name).to_string());
        assert_eq!(last.keys.len(), 1, "{name} is made by one action");
        last.keys[0]
    }

    /// The file under `out/`.
    pub(crate) fn out(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.out_file(name)).ok()
    }

    pub(crate) fn out_file(&self, name: &str) -> PathBuf {
        self.root.join(format!("out/data/{name}.parquet"))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The files in a folder of the cache and the digests that they are named by, sorted.
    pub(crate) fn cached(&self, kind: &str) -> Vec<(PathBuf, Digest)> {
        let mut files = Vec::new();
        let folder = self.root.join(".mlbuild/cache").join(kind);
        for folder in fs::read_dir(folder).into_iter().flatten() {
            let folder = folder.unwrap();
            for file in fs::read_dir(folder.path()).unwrap() {
                let (folder, file) = (folder.file_name(), file.unwrap());
                let name = file.file_name().into_string().unwrap();
                let name = format!(
                    "{}{}",
                    folder.to_str().unwrap(),
                    name.trim_end_matches(".json")
                );
                files.push((file.path(), name.parse().unwrap()));
            }
        }
        files.sort();
        files
    }

    /// Moves the whole project to another folder.
    pub(crate) fn relocate(&mut self) {
        let count = fs::read_dir(self.folder.path()).unwrap().count();
        let name = self.root.file_name().unwrap().to_str().unwrap();
        let to = self.folder.path().join(format!("{name}{count}"));
        fs::rename(&self.root, &to).unwrap();
        self.root = to;
    }

    /// How many source files are so young that the stat index may not believe what it remembers of them.
    pub(crate) fn young(&self) -> u64 {
        let times = |path: &Path| {
            let metadata = fs::metadata(path).unwrap();
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            (
                modified,
                modified.max((metadata.ctime(), metadata.ctime_nsec())),
            )
        };
        let (index, _) = times(&self.root.join(".mlbuild/cache/stat-index"));
        let files = fs::read_dir(self.root.join("raw")).unwrap();
        let young = files.filter(|file| times(&file.as_ref().unwrap().path()).1 >= index);
        young.count() as u64
    }

    fn open(&self, now: SystemTime) -> Project {
        Project::open(&self.root, self.graph.clone(), Witness::default(), now).unwrap()
    }

    fn executors(&self) -> Executors {
        Executors {
            files: Box::new(Never),
            table: Box::new(self.toy.clone()),
            process: Box::new(Never),
            model: Box::new(Never),
            report: Box::new(Never),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test stands where the binary does, which has a clock"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn label(name: &str) -> Label {
    format!("data:{name}").parse().unwrap()
}

fn recorder() -> Recorder<'static> {
    let run = RunRecord {
        user: None,
        host: None,
        arguments: Vec::new(),
        selection: Vec::new(),
        variant: Variant::default(),
        version: String::new(),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a test stands where the binary does, which has a clock"
    )]
    let now = || {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since_1970.unwrap().as_micros() as i64
    };
    Recorder::new(None, run, now)
}
