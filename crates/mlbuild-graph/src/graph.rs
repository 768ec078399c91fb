//! The graph itself, and walks over it.

use std::collections::{BTreeMap, BTreeSet};

use mlbuild_manifest::Label;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::Target;

/// The targets of a project and what each reads. Edges lead from an input to its consumer.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    graph: DiGraph<Target, ()>,
    nodes: BTreeMap<Label, NodeIndex>,
    /// Every node after its inputs; of those that could come next, the one with the smallest label.
    order: Vec<NodeIndex>,
}

impl Graph {
    /// The graph of those targets whose inputs are all in it, directly and indirectly; others, and cycles, are left out.
    pub(crate) fn new(targets: Vec<Target>) -> Self {
        let mut waiting: BTreeMap<Label, Target> = targets
            .into_iter()
            .map(|target| (target.label.clone(), target))
            .collect();
        let mut this = Self::default();
        let mut missing: BTreeMap<Label, usize> = BTreeMap::new();
        let mut readers: BTreeMap<Label, Vec<Label>> = BTreeMap::new();
        for (label, target) in &waiting {
            let inputs = target.inputs();
            missing.insert(label.clone(), inputs.len());
            for input in inputs {
                readers
                    .entry(input.clone())
                    .or_default()
                    .push(label.clone());
            }
        }
        let ready = missing.iter().filter(|(_, count)| **count == 0);
        let mut ready: BTreeSet<Label> = ready.map(|(label, _)| label.clone()).collect();
        while let Some(label) = ready.pop_first() {
            let Some(target) = waiting.remove(&label) else {
                continue;
            };
            this.push(target);
            for reader in readers.get(&label).into_iter().flatten() {
                if let Some(count) = missing.get_mut(reader) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(reader.clone());
                    }
                }
            }
        }
        this
    }

    /// Adds a target whose inputs are there.
    fn push(&mut self, target: Target) {
        let label = target.label.clone();
        let inputs: Vec<_> = target
            .inputs()
            .into_iter()
            .map(|input| self.nodes[input])
            .collect();
        let node = self.graph.add_node(target);
        for input in inputs {
            self.graph.add_edge(input, node, ());
        }
        self.nodes.insert(label, node);
        self.order.push(node);
    }

    /// The target of that label.
    pub fn target(&self, label: &Label) -> Option<&Target> {
        self.nodes.get(label).map(|&node| &self.graph[node])
    }

    /// Every target after its inputs; ties by label.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.order.iter().map(|&node| &self.graph[node])
    }

    /// The same targets, asking for no GPU. What a model is asked to train on is part of its identity.
    #[must_use]
    pub fn on_cpu(mut self) -> Self {
        for target in self.graph.node_weights_mut() {
            target.resources.gpus = 0;
            for stage in &mut target.stages {
                stage.work.ask_for_cpu();
            }
        }
        self
    }

    /// Number of targets.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is no target.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// What a target reads directly, sorted; empty for an unknown label.
    pub fn inputs(&self, label: &Label) -> Vec<Label> {
        self.neighbours(label, Direction::Incoming)
    }

    /// What reads a target directly, sorted; empty for an unknown label.
    pub fn consumers(&self, label: &Label) -> Vec<Label> {
        self.neighbours(label, Direction::Outgoing)
    }

    /// Everything that these targets are made from, themselves included, in the order of [`targets`](Self::targets).
    pub fn upstream<'a>(&self, labels: impl IntoIterator<Item = &'a Label>) -> Vec<Label> {
        self.closure(labels, Direction::Incoming)
    }

    /// Everything that is made from these targets, themselves included, in the order of [`targets`](Self::targets).
    pub fn downstream<'a>(&self, labels: impl IntoIterator<Item = &'a Label>) -> Vec<Label> {
        self.closure(labels, Direction::Outgoing)
    }

    fn neighbours(&self, label: &Label, direction: Direction) -> Vec<Label> {
        let Some(&node) = self.nodes.get(label) else {
            return Vec::new();
        };
        let neighbours = self.graph.neighbors_directed(node, direction);
        let mut labels: Vec<_> = neighbours
            .map(|node| self.graph[node].label.clone())
            .collect();
        labels.sort();
        labels
    }

    fn closure<'a>(
        &self,
        labels: impl IntoIterator<Item = &'a Label>,
        direction: Direction,
    ) -> Vec<Label> {
        let labels = labels.into_iter().cloned().collect();
        self.in_order(&self.reach(labels, direction, usize::MAX))
    }

    pub(crate) fn upstream_within(&self, from: BTreeSet<Label>, levels: usize) -> BTreeSet<Label> {
        self.reach(from, Direction::Incoming, levels)
    }

    pub(crate) fn downstream_within(
        &self,
        from: BTreeSet<Label>,
        levels: usize,
    ) -> BTreeSet<Label> {
        self.reach(from, Direction::Outgoing, levels)
    }

    /// What is at most `levels` edges away, the start included.
    fn reach(&self, from: BTreeSet<Label>, direction: Direction, levels: usize) -> BTreeSet<Label> {
        let mut reached = from.clone();
        let mut border = from;
        for _ in 0..levels {
            let next = border
                .iter()
                .flat_map(|label| self.neighbours(label, direction));
            border = next.filter(|label| !reached.contains(label)).collect();
            if border.is_empty() {
                break;
            }
            reached.extend(border.iter().cloned());
        }
        reached
    }

    /// The labels in the order of [`targets`](Self::targets); unknown ones are dropped.
    pub(crate) fn in_order(&self, labels: &BTreeSet<Label>) -> Vec<Label> {
        let targets = self.targets().map(|target| &target.label);
        targets
            .filter(|label| labels.contains(label))
            .cloned()
            .collect()
    }
}
