//! Checkpoints: what it takes to go on with a training to the very bits that it would have had.
//!
//! A checkpoint is one safetensors file, `STEP-DIGEST.safetensors`, written aside, synced and renamed, with two generations
//! kept. The digest is that of its content, so a file that was cut or changed is known before it is believed. It holds
//! weights, their moving average, the best so far, the optimizer's state, and as JSON in the tensor `state` everything
//! else: the step, the generator of data order as it was at the start of the epoch and how many batches of it are done,
//! sums, and the figures of all epochs. libtorch's generator is seeded anew for each step, so it has no state to keep.
//!
//! The folder belongs to one action, whose key covers data, parameters and threads; what else must fit is compared.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mlbuild_digest::Hasher;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::problem::Problem;
use crate::sequences::read_tensors;

/// The format of checkpoints; raised with every change, for a checkpoint of another is of no use.
const FORMAT: u32 = 1;
/// How many are kept.
const GENERATIONS: usize = 2;
/// The least time between two, in units of the time that the last one took: so they cost a twentieth at most.
const SPARSE: u32 = 20;
const EXTENSION: &str = "safetensors";
const STATE: &str = "state";

/// Everything of a training that is no tensor. Floats are kept as their bits.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The format of the file.
    pub format: u32,
    /// What is trained, and by which worker.
    pub what: String,
    /// Steps taken.
    pub steps: u64,
    /// The epoch that is under way, from 1.
    pub epoch: u32,
    /// How many of its batches are done.
    pub batches: usize,
    /// State of the generator of data order when it began.
    pub order: u64,
    /// Sum of losses over what was predicted in it, as bits.
    pub sum: u64,
    /// How many things were.
    pub count: usize,
    /// Epoch, loss and figures of all epochs before it, the floats as bits.
    pub history: Vec<(u32, u64, Vec<u64>)>,
    /// The place of the best in `history`.
    pub best: Option<usize>,
}

/// Where checkpoints of one training are kept.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    every: Duration,
    what: String,
    /// When the next one is due.
    due: Instant,
}

impl Checkpoints {
    /// Checkpoints in a folder, which is made. `what` is compared with what a checkpoint says of itself.
    ///
    /// # Errors
    /// `train::io`.
    pub fn new(folder: &Path, every: Duration, what: String) -> Result<Checkpoints, Problem> {
        fs::create_dir_all(folder).map_err(|error| Problem::io("make", folder, error))?;
        Ok(Checkpoints {
            folder: folder.to_owned(),
            every,
            what,
            due: Instant::now() + every,
        })
    }

    /// The latest checkpoint that is sound. What is not is named on standard error and left out.
    pub fn latest(&self) -> Option<(Progress, Vec<(String, Tensor)>)> {
        for (_, path) in self.files() {
            match self.read(&path) {
                Ok(found) => return Some(found),
                Err(why) => {
                    // Nobody is left to hear of a closed log.
                    let _ = writeln!(
                        io::stderr(),
                        "warning: the checkpoint `{}` {why}: it is ignored",
                        path.display()
                    );
                }
            }
        }
        None
    }

    /// Whether it is time for the next one.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// Keeps a checkpoint, and of the older ones the last.
    ///
    /// # Errors
    /// `train::io`.
    pub fn write(
        &mut self,
        mut progress: Progress,
        mut tensors: Vec<(String, Tensor)>,
    ) -> Result<(), Problem> {
        let begin = Instant::now();
        progress.format = FORMAT;
        progress.what.clone_from(&self.what);
        let steps = progress.steps;
        let text =
            serde_json::to_vec(&progress).map_err(|e| Problem::io("write", &self.folder, e))?;
        tensors.push((STATE.to_owned(), Tensor::f_from_slice(&text)?));
        let aside = self.folder.join("partial");
        Tensor::write_safetensors(&tensors, &aside)
            .map_err(|error| Problem::io("write", &aside, Problem::from(error)))?;
        let publish = || -> io::Result<()> {
            File::open(&aside)?.sync_all()?;
            fs::rename(&aside, self.folder.join(self.name(steps, &aside)?))?;
            File::open(&self.folder)?.sync_all()
        };
        publish().map_err(|error| Problem::io("write", &aside, error))?;
        for (_, old) in self.files().into_iter().skip(GENERATIONS) {
            // A leftover is removed next time.
            let _ = fs::remove_file(old);
        }
        // Who asks for one after every step gets it, whatever it costs.
        let least = match self.every.is_zero() {
            true => Duration::ZERO,
            false => begin.elapsed() * SPARSE,
        };
        self.due = Instant::now() + self.every.max(least);
        Ok(())
    }

    /// Steps and paths of the checkpoints, latest first.
    fn files(&self) -> Vec<(u64, PathBuf)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let path = entry.path();
                let (steps, _) = path.file_stem()?.to_str()?.split_once('-')?;
                let is_ours = path.extension().is_some_and(|found| found == EXTENSION);
                Some((steps.parse().ok()?, path)).filter(|_| is_ours)
            })
            .collect();
        files.sort_unstable();
        files.reverse();
        files
    }

    fn name(&self, steps: u64, path: &Path) -> io::Result<String> {
        let digest = Hasher::new().update_file(path)?.finish();
        Ok(format!("{steps}-{digest}.{EXTENSION}"))
    }

    fn read(&self, path: &Path) -> Result<(Progress, Vec<(String, Tensor)>), String> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        let steps = name.split('-').next().and_then(|steps| steps.parse().ok());
        let expected = self.name(steps.unwrap_or(0), path);
        if expected.map_err(|error| format!("cannot be read: {error}"))? != name {
            return Err("is damaged".into());
        }
        let mut tensors = read_tensors(path).map_err(|problem| problem.message)?;
        let state = tensors.remove(STATE).ok_or("has no state")?;
        let mut text = vec![0_u8; state.numel()];
        state
            .f_copy_data(&mut text, state.numel())
            .map_err(|error| error.to_string())?;
        let progress: Progress = serde_json::from_slice(&text)
            .map_err(|error| format!("is not of this version: {error}"))?;
        if progress.format != FORMAT || progress.what != self.what {
            return Err("is of another training".into());
        }
        Ok((progress, tensors.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(checkpoints: &mut Checkpoints, steps: u64) {
        let progress = Progress {
            steps,
            ..Progress::default()
        };
        let tensors = vec![("w".to_owned(), Tensor::from_slice(&[steps as f32]))];
        checkpoints.write(progress, tensors).unwrap();
    }

    fn steps(checkpoints: &Checkpoints) -> Option<u64> {
        checkpoints.latest().map(|(progress, tensors)| {
            assert_eq!(tensors[0].1.double_value(&[0]), progress.steps as f64);
            progress.steps
        })
    }

    fn checkpoints(folder: &Path, what: &str) -> Checkpoints {
        Checkpoints::new(folder, Duration::ZERO, what.into()).unwrap()
    }

    #[test]
    fn two_generations_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoints = checkpoints(folder.path(), "a");
        assert_eq!(steps(&checkpoints), None);
        for step in [9, 10, 11] {
            write(&mut checkpoints, step);
        }
        assert_eq!(steps(&checkpoints), Some(11));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_damaged_checkpoint_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoints = checkpoints(folder.path(), "a");
        for step in [9, 10] {
            write(&mut checkpoints, step);
        }
        let newest = &checkpoints.files()[0].1;
        let whole = fs::read(newest).unwrap();
        for cut in [0, 7, whole.len() / 2, whole.len() - 1] {
            fs::write(newest, &whole[..cut]).unwrap();
            assert_eq!(steps(&checkpoints), Some(9), "cut at {cut}");
        }
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(newest, changed).unwrap();
        assert_eq!(steps(&checkpoints), Some(9));
        fs::write(newest, whole).unwrap();
        assert_eq!(steps(&checkpoints), Some(10));
    }

    #[test]
    fn a_checkpoint_of_another_training_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        write(&mut checkpoints(folder.path(), "a"), 3);
        assert_eq!(steps(&checkpoints(folder.path(), "b")), None);
    }
}
