//! A disk that forgets what was not synced: what a machine that lost power may find when it comes back.
//!
//! Bytes last once their file was synced. A name lasts once its folder was synced, and changes of names are one by one
//! there or not, whatever their order, as long as they were not synced: a rename is there as a whole or not at all.
//! Bytes that were not synced are there, or not at all, or in part, or as zeros.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use mlbuild_disk::Recorded;

use mlbuild_testing::Dice;

/// The disk, after some steps.
#[derive(Clone)]
pub(crate) struct Disk {
    nodes: Vec<Node>,
    /// Changes of names that a loss of power may undo, oldest first.
    pending: Vec<Vec<Change>>,
}

#[derive(Clone)]
enum Node {
    Folder {
        now: BTreeMap<OsString, usize>,
        lasting: BTreeMap<OsString, usize>,
    },
    File {
        now: Vec<u8>,
        lasting: Option<Vec<u8>>,
    },
}

/// What a name in a folder becomes.
#[derive(Clone)]
struct Change {
    folder: usize,
    name: OsString,
    node: Option<usize>,
}

const ROOT: usize = 0;

impl Disk {
    /// An empty folder, which lasts.
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![Node::folder()],
            pending: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, step: &Recorded) {
        match step {
            Recorded::Folders { path } => drop(self.folder(path)),
            Recorded::Found { path, bytes } | Recorded::Write { path, bytes } => {
                self.write(path, bytes);
            }
            Recorded::Sync { path } => {
                let node = self.find(path);
                if let Some(Node::File { now, lasting }) = node.map(|node| &mut self.nodes[node]) {
                    *lasting = Some(now.clone());
                }
            }
            Recorded::SyncFolder { path } => self.sync_folder(path),
            Recorded::Rename { from, to } => {
                let node = self.find(from);
                self.change(&[(from, None), (to, node)]);
            }
            Recorded::Exchange { one, other } => {
                let (first, second) = (self.find(one), self.find(other));
                self.change(&[(one, second), (other, first)]);
            }
            Recorded::Link { file, name } => {
                let node = self.find(file);
                self.change(&[(name, node)]);
            }
            Recorded::Remove { path } => self.change(&[(path, None)]),
        }
    }

    /// Writes into the folder `to` what a loss of power now may leave.
    pub(crate) fn lose_power(mut self, dice: &mut Dice, to: &Path) {
        // All of what is pending, none of it, or some.
        let percent = *dice.pick(&[0, 20, 50, 80, 100]);
        for changes in std::mem::take(&mut self.pending) {
            if dice.often(percent) {
                self.last(&changes);
            }
        }
        let written_back = *dice.pick(&[0, 50, 90]);
        let left = self.nodes.iter().map(|node| match node {
            Node::Folder { .. } => Vec::new(),
            Node::File { now, lasting } if lasting.as_ref() == Some(now) => now.clone(),
            Node::File { now, .. } if dice.often(written_back) => now.clone(),
            Node::File { now, lasting } => forgotten(dice, now, lasting.as_deref()),
        });
        let left: Vec<Vec<u8>> = left.collect();
        self.write_out(ROOT, to, &left);
    }

    /// Writes out the folder with this number; `bytes` are what is left of each file.
    fn write_out(&self, folder: usize, to: &Path, bytes: &[Vec<u8>]) {
        fs::create_dir_all(to).unwrap();
        let Node::Folder { lasting: names, .. } = &self.nodes[folder] else {
            unreachable!("only folders have names")
        };
        for (name, number) in names {
            match &self.nodes[*number] {
                Node::Folder { .. } => self.write_out(*number, &to.join(name), bytes),
                Node::File { .. } => fs::write(to.join(name), &bytes[*number]).unwrap(),
            }
        }
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) {
        match self.find(path) {
            Some(node) => {
                if let Node::File { now, .. } = &mut self.nodes[node] {
                    *now = bytes.to_vec();
                }
            }
            None => {
                let node = self.add(Node::File {
                    now: bytes.to_vec(),
                    lasting: None,
                });
                self.change(&[(path, Some(node))]);
            }
        }
    }

    /// The folder at `path`, made where it is missing.
    fn folder(&mut self, path: &Path) -> usize {
        if let Some(node) = self.find(path) {
            return node;
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return ROOT;
        };
        let parent = self.folder(parent);
        let node = self.add(Node::folder());
        self.rename(vec![Change {
            folder: parent,
            name: name.to_owned(),
            node: Some(node),
        }]);
        node
    }

    /// Changes names, at once.
    fn change(&mut self, changes: &[(&Path, Option<usize>)]) {
        let mut named = Vec::new();
        for (path, node) in changes {
            let folder = self.folder(path.parent().unwrap());
            named.push(Change {
                folder,
                name: path.file_name().unwrap().to_owned(),
                node: *node,
            });
        }
        self.rename(named);
    }

    fn rename(&mut self, changes: Vec<Change>) {
        for change in &changes {
            if let Node::Folder { now, .. } = &mut self.nodes[change.folder] {
                set(now, change);
            }
        }
        self.pending.push(changes);
    }

    fn sync_folder(&mut self, path: &Path) {
        let Some(folder) = self.find(path) else {
            return;
        };
        for changes in std::mem::take(&mut self.pending) {
            let (synced, rest): (Vec<_>, Vec<_>) = changes
                .into_iter()
                .partition(|change| change.folder == folder);
            self.last(&synced);
            if !rest.is_empty() {
                self.pending.push(rest);
            }
        }
    }

    fn last(&mut self, changes: &[Change]) {
        for change in changes {
            if let Node::Folder { lasting, .. } = &mut self.nodes[change.folder] {
                set(lasting, change);
            }
        }
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let step = |node: usize, name: &OsStr| match &self.nodes[node] {
            Node::Folder { now, .. } => now.get(name).copied(),
            Node::File { .. } => None,
        };
        path.iter().try_fold(ROOT, step)
    }
}

impl Node {
    const fn folder() -> Self {
        Self::Folder {
            now: BTreeMap::new(),
            lasting: BTreeMap::new(),
        }
    }
}

fn set(names: &mut BTreeMap<OsString, usize>, change: &Change) {
    match change.node {
        Some(node) => names.insert(change.name.clone(), node),
        None => names.remove(&change.name),
    };
}

/// What may be left of a file that was not synced since it was written.
fn forgotten(dice: &mut Dice, now: &[u8], lasting: Option<&[u8]>) -> Vec<u8> {
    let cut = dice.roll(now.len() + 1);
    match dice.roll(5) {
        0 => Vec::new(),
        1 => now[..cut].to_vec(),
        2 => vec![0; now.len()],
        3 => [&now[..cut], &vec![0; now.len() - cut]].concat(),
        _ => lasting.unwrap_or_default().to_vec(),
    }
}
