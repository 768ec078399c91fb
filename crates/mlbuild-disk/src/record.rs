//! Recordings: the steps that were taken below a folder, in order and with their bytes, to be played again elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Step;
use crate::step::{watch, watchers};

/// A step that was taken. Paths are relative to the recording's folder.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the functions of the crate say what each is")]
pub enum Recorded {
    /// A folder and those above it.
    Folders {
        path: PathBuf,
    },
    /// A file as the step found it: somebody else had written it, and nobody had synced it.
    Found {
        path: PathBuf,
        bytes: Vec<u8>,
    },
    /// A file with these bytes, new or emptied before.
    Write {
        path: PathBuf,
        bytes: Vec<u8>,
    },
    Sync {
        path: PathBuf,
    },
    SyncFolder {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Exchange {
        one: PathBuf,
        other: PathBuf,
    },
    Link {
        file: PathBuf,
        name: PathBuf,
    },
    /// A file, or a folder with all in it.
    Remove {
        path: PathBuf,
    },
}

/// A recording that goes on until it is dropped.
#[derive(Debug)]
pub struct Recording {
    number: u64,
}

/// Records the steps of this process below `root` from now on.
pub fn record(root: &Path) -> Recording {
    let mut watchers = watch();
    let recorders = &mut watchers.recorders;
    let number = recorders.next;
    recorders.next += 1;
    recorders.all.push(Recorder {
        number,
        root: root.to_owned(),
        steps: Vec::new(),
    });
    Recording { number }
}

impl Recording {
    /// How many steps there are by now.
    pub fn len(&self) -> usize {
        let watchers = watchers();
        let mut recorders = watchers.recorders.all.iter();
        let ours = recorders.find(|recorder| recorder.number == self.number);
        ours.map_or(0, |recorder| recorder.steps.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the recording.
    pub fn finish(self) -> Vec<Recorded> {
        let mut watchers = watchers();
        let mut recorders = watchers.recorders.all.iter_mut();
        let ours = recorders.find(|recorder| recorder.number == self.number);
        let steps = ours.map(|recorder| std::mem::take(&mut recorder.steps));
        drop(watchers);
        steps.unwrap_or_default()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let number = self.number;
        let all = &mut watchers().recorders.all;
        all.retain(|recorder| recorder.number != number);
    }
}

/// The recordings that go on.
pub(crate) struct Recorders {
    next: u64,
    all: Vec<Recorder>,
}

struct Recorder {
    number: u64,
    root: PathBuf,
    steps: Vec<Recorded>,
}

impl Recorders {
    pub(crate) const NONE: Self = Self {
        next: 0,
        all: Vec::new(),
    };

    /// Notes what a step is about to take away or to rely on, before it is gone.
    pub(crate) fn before(&mut self, step: &Step<'_>) {
        let (Step::Rename { from: path, .. } | Step::Link { file: path, .. } | Step::Sync { path }) =
            *step
        else {
            return;
        };
        for recorder in &mut self.all {
            recorder.find(path);
        }
    }

    pub(crate) fn after(&mut self, step: &Step<'_>) {
        for recorder in &mut self.all {
            recorder.keep(step);
        }
    }
}

impl Recorder {
    /// Notes the bytes of a file, which may be somebody else's.
    fn find(&mut self, path: &Path) {
        if let (Some(relative), Ok(bytes)) = (self.relative(path), fs::read(path)) {
            let path = relative;
            self.steps.push(Recorded::Found { path, bytes });
        }
    }

    fn keep(&mut self, step: &Step<'_>) {
        let steps = match *step {
            Step::CreateFolder { path } | Step::CreateFolders { path } => {
                self.relative(path).map(|path| Recorded::Folders { path })
            }
            Step::Write { path, .. } | Step::Append { path } | Step::Copy { to: path, .. } => {
                let bytes = fs::read(path).unwrap_or_default();
                self.relative(path)
                    .map(|path| Recorded::Write { path, bytes })
            }
            Step::Sync { path } => self.relative(path).map(|path| Recorded::Sync { path }),
            Step::SyncFolder { path } => self
                .relative(path)
                .map(|path| Recorded::SyncFolder { path }),
            Step::Rename { from, to } => self
                .both(from, to)
                .map(|(from, to)| Recorded::Rename { from, to }),
            Step::Exchange { one, other } => self
                .both(one, other)
                .map(|(one, other)| Recorded::Exchange { one, other }),
            Step::Link { file, name } => self
                .both(file, name)
                .map(|(file, name)| Recorded::Link { file, name }),
            Step::Remove { path } | Step::RemoveFolder { path } => {
                self.relative(path).map(|path| Recorded::Remove { path })
            }
            // A mode, a time or a link to a source is nothing that anybody reads again.
            Step::Symlink { .. }
            | Step::SetMode { .. }
            | Step::Touch { .. }
            | Step::Transaction { .. } => None,
        };
        self.steps.extend(steps);
    }

    fn relative(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.root).ok().map(Path::to_owned)
    }

    fn both(&self, one: &Path, other: &Path) -> Option<(PathBuf, PathBuf)> {
        Some((self.relative(one)?, self.relative(other)?))
    }
}
