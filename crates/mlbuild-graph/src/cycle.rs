//! Cycles: targets that are made from themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mlbuild_action::{Diagnostic, SourceSpan};
use mlbuild_manifest::Label;
use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

/// A place where one target names another as its input.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) consumer: Label,
    pub(crate) input: Label,
    pub(crate) at: SourceSpan,
}

/// One diagnostic for each group of targets that depend on each other: the shortest way around from its first label.
pub(crate) fn cycles(references: &[Reference]) -> Vec<Diagnostic> {
    let mut graph = DiGraph::new();
    let mut nodes = BTreeMap::new();
    for Reference {
        consumer, input, ..
    } in references
    {
        let mut node = |label| *nodes.entry(label).or_insert_with(|| graph.add_node(label));
        let (consumer, input) = (node(consumer), node(input));
        graph.update_edge(consumer, input, ());
    }
    // A group of one is a cycle only if it reads itself; almost all groups are of one and do not.
    let is_cycle = |group: &Vec<_>| group.len() > 1 || graph.contains_edge(group[0], group[0]);
    let mut groups: Vec<BTreeSet<&Label>> = tarjan_scc(&graph)
        .into_iter()
        .filter(is_cycle)
        .map(|group| group.into_iter().map(|node| graph[node]).collect())
        .collect();
    groups.sort();
    groups
        .iter()
        .filter_map(|group| cycle(group, references))
        .collect()
}

fn cycle(group: &BTreeSet<&Label>, references: &[Reference]) -> Option<Diagnostic> {
    let first = *group.first()?;
    let inside = |reference: &&Reference| {
        group.contains(&reference.consumer) && group.contains(&reference.input)
    };
    let inside: Vec<_> = references.iter().filter(inside).collect();
    // Breadth first, so that the way back is a shortest one.
    let mut came_by: BTreeMap<&Label, &Reference> = BTreeMap::new();
    let mut queue = VecDeque::from([first]);
    while let (Some(label), false) = (queue.pop_front(), came_by.contains_key(first)) {
        for reference in inside
            .iter()
            .filter(|reference| &reference.consumer == label)
        {
            came_by.entry(&reference.input).or_insert_with(|| {
                queue.push_back(&reference.input);
                reference
            });
        }
    }
    let mut path = vec![*came_by.get(first)?];
    while let Some(step) = path.last().filter(|step| step.consumer != *first) {
        path.push(*came_by.get(&step.consumer)?);
    }
    path.reverse();
    let around: String = path
        .iter()
        .map(|step| format!(" -> `{}`", step.input))
        .collect();
    let mut diagnostic = Diagnostic::error(
        "graph::cycle",
        format!("`{first}` is made from itself: `{first}`{around}"),
    );
    for step in path {
        let label = format!("`{}` reads `{}`", step.consumer, step.input);
        diagnostic = diagnostic.at(&*step.at.file, step.at.range.clone(), label);
    }
    Some(
        diagnostic.help("let one of them read something else; a target cannot read its own output"),
    )
}
