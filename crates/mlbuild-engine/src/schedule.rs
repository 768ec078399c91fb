//! Decides which targets may go on, in what order, and which never will.
//!
//! A target moves `Waiting -> Ready -> (Done | Failed)`, or `Waiting -> Skipped` when something
//! upstream fails. Nothing goes back but what finds an input damaged: it waits for it again. `Ready` says only that all its inputs are final; whether an action has
//! to run is decided after that, by its key.
//!
//! Among what could run, the one with the longest way to the end of the build goes first, by the
//! durations that lineage remembers; ties go by label, so that the order is always the same.
//!
//! Invariants: a failure poisons what depends on it and nothing else, so `--keep-going` needs no second
//! path; the slots taken never exceed the slots there are, save that an action may always run alone; no two actions have a
//! GPU at once unless both said how much of it they take ([`crate::devices`]).
//!
//! This module does no I/O and knows no clock; `build` executes what it hands out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mlbuild_graph::{Graph, Resources};
use mlbuild_manifest::Label;

use crate::GpuDevice;
use crate::devices::{Devices, Need, Taken};

/// What a machine offers to actions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots {
    /// CPU threads.
    pub cpus: u32,
    /// Memory for actions.
    pub memory_bytes: u64,
}

/// The needed targets and how far each has come.
pub(crate) struct Schedule {
    waiting: BTreeMap<Label, BTreeSet<Label>>,
    consumers: BTreeMap<Label, Vec<Label>>,
    ready: BTreeSet<Label>,
}

impl Schedule {
    /// A schedule of `needed`, which holds the inputs of all its members.
    pub(crate) fn new(graph: &Graph, needed: &[Label]) -> Self {
        let mut schedule = Self {
            waiting: BTreeMap::new(),
            consumers: BTreeMap::new(),
            ready: BTreeSet::new(),
        };
        for label in needed {
            let inputs: BTreeSet<Label> = graph.inputs(label).into_iter().collect();
            for input in &inputs {
                schedule
                    .consumers
                    .entry(input.clone())
                    .or_default()
                    .push(label.clone());
            }
            if inputs.is_empty() {
                schedule.ready.insert(label.clone());
            } else {
                schedule.waiting.insert(label.clone(), inputs);
            }
        }
        schedule
    }

    /// A target whose inputs are all final, each target once; `None` while there is no such target.
    pub(crate) fn next_ready(&mut self) -> Option<Label> {
        self.ready.pop_first()
    }

    /// Notes that `label` is done, which may make its consumers ready.
    pub(crate) fn done(&mut self, label: &Label) {
        for consumer in self.consumers.get(label).into_iter().flatten() {
            let Some(inputs) = self.waiting.get_mut(consumer) else {
                continue; // poisoned by another input
            };
            inputs.remove(label);
            if inputs.is_empty() {
                self.waiting.remove(consumer);
                self.ready.insert(consumer.clone());
            }
        }
    }

    /// Lets `label`, which was handed out, wait for one of its inputs once more.
    pub(crate) fn wait_again(&mut self, label: &Label, input: &Label) {
        let inputs = self.waiting.entry(label.clone()).or_default();
        inputs.insert(input.clone());
    }

    /// Notes that `label` failed and returns everything downstream that is lost with it.
    pub(crate) fn failed(&mut self, label: &Label) -> Vec<Label> {
        let mut lost = Vec::new();
        let mut front = vec![label.clone()];
        while let Some(label) = front.pop() {
            for consumer in self.consumers.get(&label).into_iter().flatten() {
                if self.waiting.remove(consumer).is_some() {
                    lost.push(consumer.clone());
                    front.push(consumer.clone());
                }
            }
        }
        lost.sort();
        lost
    }

    /// Gives up on everything that has not been handed out, and returns it.
    pub(crate) fn stop(&mut self) -> Vec<Label> {
        let mut rest: Vec<Label> = std::mem::take(&mut self.waiting).into_keys().collect();
        rest.extend(std::mem::take(&mut self.ready));
        rest.sort();
        rest
    }
}

/// For each needed target, the longest way from its start to the end of the build.
pub(crate) fn remaining_paths(
    graph: &Graph,
    needed: &[Label],
    expected: &dyn Fn(&Label) -> Duration,
) -> BTreeMap<Label, Duration> {
    let members: BTreeSet<&Label> = needed.iter().collect();
    let mut paths: BTreeMap<Label, Duration> = BTreeMap::new();
    // `needed` is in topological order, so the consumers of a target are known before it.
    for label in needed.iter().rev() {
        let consumers = graph.consumers(label);
        let rest = consumers
            .iter()
            .filter(|c| members.contains(c))
            .filter_map(|c| paths.get(c))
            .max();
        let path = expected(label) + rest.copied().unwrap_or_default();
        paths.insert(label.clone(), path);
    }
    paths
}

/// How many actions may be over but for storing what they yielded before others have to wait: storing takes memory.
const STORING: usize = 16;

/// An action that could run.
struct Queued<J> {
    path: Duration,
    label: Label,
    resources: Resources,
    need: Need,
    job: J,
}

/// What an action holds while it runs.
struct Held {
    resources: Resources,
    gpus: Taken,
}

/// An action that may start, with what it took.
pub(crate) struct Started<J> {
    pub(crate) label: Label,
    pub(crate) resources: Resources,
    pub(crate) gpus: Vec<GpuDevice>,
    pub(crate) job: J,
}

/// Actions that could run, and the slots they need.
pub(crate) struct Queue<J> {
    free: Slots,
    total: Slots,
    /// Looked for when the first action needs one.
    devices: Option<Devices>,
    queued: Vec<Queued<J>>,
    /// Those that have begun and not ended, with what they hold: nothing while they only store.
    running: BTreeMap<Label, Option<Held>>,
    storing: usize,
}

impl<J> Queue<J> {
    pub(crate) fn new(total: Slots) -> Self {
        Self {
            free: total,
            total,
            devices: None,
            queued: Vec::new(),
            running: BTreeMap::new(),
            storing: 0,
        }
    }

    /// The GPUs there are, found by `find` if nobody asked before.
    pub(crate) fn devices(&mut self, find: impl FnOnce() -> Vec<GpuDevice>) -> &Devices {
        self.devices.get_or_insert_with(|| Devices::new(find()))
    }

    /// Queues an action. What it needs of GPUs must be there, taken or not.
    pub(crate) fn push(
        &mut self,
        path: Duration,
        label: Label,
        resources: Resources,
        need: Need,
        job: J,
    ) {
        // More than there is means all of it: the action then runs alone.
        let resources = Resources {
            cpus: resources.cpus.min(self.total.cpus),
            memory_bytes: resources
                .memory_bytes
                .map(|bytes| bytes.min(self.total.memory_bytes)),
            ..resources
        };
        self.queued.push(Queued {
            path,
            label,
            resources,
            need,
            job,
        });
    }

    /// The queued job with the longest way to go that fits into the free slots, which it takes.
    pub(crate) fn pop(&mut self) -> Option<Started<J>> {
        if self.storing >= STORING {
            return None;
        }
        let fits = |queued: &Queued<J>| {
            let Queued {
                resources, need, ..
            } = queued;
            let devices = self.devices.as_ref();
            resources.cpus <= self.free.cpus
                && resources.memory_bytes.unwrap_or(0) <= self.free.memory_bytes
                && (need.gpus == 0 || devices.is_some_and(|devices| devices.has(*need)))
        };
        let best = (0..self.queued.len())
            .filter(|&i| fits(&self.queued[i]))
            .max_by(|&a, &b| {
                let (a, b) = (&self.queued[a], &self.queued[b]);
                a.path.cmp(&b.path).then_with(|| b.label.cmp(&a.label))
            })?;
        let Queued {
            label,
            resources,
            need,
            job,
            ..
        } = self.queued.swap_remove(best);
        self.free.cpus -= resources.cpus;
        self.free.memory_bytes -= resources.memory_bytes.unwrap_or(0);
        let (taken, gpus) = match &mut self.devices {
            Some(devices) => {
                let taken = devices.take(need).expect("what fits was free a moment ago");
                let gpus = devices.of(&taken).cloned().collect();
                (taken, gpus)
            }
            None => Default::default(),
        };
        let held = Held {
            resources,
            gpus: taken,
        };
        self.running.insert(label.clone(), Some(held));
        Some(Started {
            label,
            resources,
            gpus,
            job,
        })
    }

    /// Gives back what the job of `label` took: from now on it only stores.
    pub(crate) fn executed(&mut self, label: &Label) {
        if let Some(held) = self.running.get_mut(label).and_then(Option::take) {
            self.storing += 1;
            self.give_back(&held);
        }
    }

    /// Notes that the job of `label` has ended, and gives back what it still holds.
    pub(crate) fn finished(&mut self, label: &Label) {
        match self.running.remove(label) {
            Some(Some(held)) => self.give_back(&held),
            Some(None) => self.storing -= 1,
            None => {}
        }
    }

    fn give_back(&mut self, Held { resources, gpus }: &Held) {
        self.free.cpus += resources.cpus;
        self.free.memory_bytes += resources.memory_bytes.unwrap_or(0);
        if let Some(devices) = &mut self.devices {
            devices.give_back(gpus);
        }
    }

    /// Whether any job is running.
    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Forgets the jobs that have not started, and returns their labels.
    pub(crate) fn drain(&mut self) -> Vec<Label> {
        self.queued.drain(..).map(|queued| queued.label).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(number: usize) -> Label {
        Label::new(mlbuild_manifest::Kind::Data, format!("t{number}")).unwrap()
    }

    /// A queue for two threads, with so many jobs of one thread each.
    fn queue(jobs: usize) -> Queue<usize> {
        let mut queue = Queue::new(Slots {
            cpus: 2,
            memory_bytes: 1 << 30,
        });
        for job in 0..jobs {
            let need = Need::default();
            queue.push(Duration::ZERO, label(job), one_thread(), need, job);
        }
        queue
    }

    fn one_thread() -> Resources {
        Resources {
            cpus: 1,
            gpus: 0,
            gpu_memory_bytes: None,
            memory_bytes: None,
        }
    }

    fn pop_all(queue: &mut Queue<usize>) -> Vec<usize> {
        std::iter::from_fn(|| queue.pop().map(|started| started.job)).collect()
    }

    #[test]
    fn what_only_stores_holds_no_slot() {
        let mut queue = queue(4);
        assert_eq!(pop_all(&mut queue), [0, 1]);
        queue.executed(&label(0));
        assert_eq!(pop_all(&mut queue), [2]);
        queue.finished(&label(0));
        assert_eq!(
            pop_all(&mut queue),
            [0_usize; 0],
            "its slot was given back once"
        );
        queue.finished(&label(1));
        assert_eq!(pop_all(&mut queue), [3]);
        for job in [2, 3] {
            assert!(queue.is_running());
            queue.finished(&label(job));
        }
        assert!(!queue.is_running());
        assert_eq!(queue.free, queue.total);
    }

    #[test]
    fn a_slow_disk_holds_up_what_would_have_to_wait_for_it() {
        let mut queue = queue(40);
        let mut started = 0;
        while let Some(Started { label, .. }) = queue.pop() {
            started += 1;
            queue.executed(&label);
        }
        assert_eq!(started, STORING);
        queue.finished(&label(0));
        assert_eq!(pop_all(&mut queue).len(), 2, "as many as there are slots");
    }

    #[test]
    fn what_waits_for_a_gpu_lets_the_others_pass_and_gets_the_lowest() {
        let mut queue = queue(0);
        let device = |number: usize| GpuDevice {
            id: mlbuild_action::GpuId::new(number.to_string()),
            name: None,
            memory_bytes: None,
        };
        let mut looked = 0;
        for _ in 0..2 {
            queue.devices(|| {
                looked += 1;
                (0..2).map(device).collect()
            });
        }
        assert_eq!(looked, 1, "they are looked for once");
        for (job, gpus) in [(0, 2), (1, 1), (2, 0)] {
            let need = Need {
                gpus,
                memory_bytes: None,
            };
            queue.push(Duration::ZERO, label(job), one_thread(), need, job);
        }
        let first = queue.pop().unwrap();
        assert_eq!((first.job, first.gpus.len()), (0, 2));
        assert_eq!(pop_all(&mut queue), [2]);
        // What only stores needs no GPU any more.
        queue.executed(&label(0));
        let next = queue.pop().unwrap();
        assert_eq!((next.job, &*next.gpus), (1, &[device(0)][..]));
    }
}
