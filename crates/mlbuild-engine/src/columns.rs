//! Column lineage: the ways from columns of sources to columns of what is made from them.
//!
//! Every action contributes the flows of its analysis: exact ones for queries and predictions, and for all other work
//! a way from each column that it reads to everything that it yields. Ways are followed over the targets that stand as
//! they are declared now; what is not built has no schema, and is said to be missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mlbuild_action::{Analysis, Artifact, Flows, Work};
use mlbuild_graph::InputSource;
pub use mlbuild_lineage::FlowKind;
use mlbuild_lineage::FlowRecord;
use mlbuild_manifest::Label;

use crate::analysis::Analyses;
use crate::pick::Figures;
use crate::project::{Executors, Project};
use crate::resolve::{Context, Material, Resolved, Sources, resolve};

/// A column of a target's table, or all of an artifact.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The target.
    pub label: Label,
    /// Its column; `None` for the whole artifact.
    pub column: Option<String>,
}

/// A place that another one reaches, and as what.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reached {
    /// The place.
    pub place: Place,
    /// Whether values come from it, or only the choice of rows.
    pub kind: FlowKind,
}

/// The column lineage of a project.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ColumnLineage {
    edges: Vec<Edge>,
    /// The columns of each table that stands.
    columns: BTreeMap<Label, Vec<String>>,
    /// Targets that are not built as they are declared now: lineage through them is unknown.
    pub missing: Vec<Label>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Edge {
    from: Place,
    to: Place,
    kind: FlowKind,
}

/// The flows of an action that yielded `output`, by the names of its inputs; sorted. A flow to a column that did not come
/// about is none.
pub(crate) fn flows(resolved: &Resolved, output: &Artifact) -> Vec<FlowRecord> {
    let exists = |name: &str| match &output.table {
        Some(table) => table.columns.iter().any(|column| column.name == name),
        None => true,
    };
    let Resolved {
        analysis, inputs, ..
    } = resolved;
    let mut flows: BTreeSet<FlowRecord> = BTreeSet::new();
    for (input, material) in inputs {
        for column in read(analysis, input, material) {
            let flow = |to_column, kind| FlowRecord {
                input: input.clone(),
                from_column: column.clone(),
                to_column,
                kind,
            };
            let (Some(Flows { columns, rows }), Some(column)) = (&analysis.flows, &column) else {
                flows.insert(flow(None, FlowKind::Value));
                continue;
            };
            let origin = mlbuild_action::Origin {
                input: input.clone(),
                column: column.clone(),
            };
            let to = columns
                .iter()
                .filter(|(to, from)| exists(to) && from.contains(&origin));
            flows.extend(to.map(|(to, _)| flow(Some(to.clone()), FlowKind::Value)));
            flows.extend(rows.contains(&origin).then(|| flow(None, FlowKind::Rows)));
        }
    }
    flows.into_iter().collect()
}

/// The columns that an action reads of an input; of what is no table, the whole.
fn read(analysis: &Analysis, input: &str, material: &Material) -> Vec<Option<String>> {
    let Some(table) = material.table() else {
        return vec![None];
    };
    let names = table.columns.iter().map(|column| &column.name);
    let read = analysis.reads.get(input);
    names
        .filter(|name| read.is_none_or(|read| read.contains(*name)))
        .map(|name| Some(name.clone()))
        .collect()
}

/// The column lineage of all targets that stand.
pub fn column_lineage(project: &Project, executors: &Executors) -> ColumnLineage {
    let mut sources = Sources::new(project);
    let mut analyses = Analyses::new(project);
    let mut artifacts: BTreeMap<Label, Artifact> = BTreeMap::new();
    let mut figures: BTreeMap<Label, Figures> = BTreeMap::new();
    let mut lineage = ColumnLineage::default();
    for target in project.graph.targets() {
        let label = &target.label;
        let mut artifact = None;
        let mut edges = Vec::new();
        let known = |input: &&Label| artifacts.contains_key(*input);
        if !target.inputs().iter().all(known) {
            lineage.missing.push(label.clone());
            continue;
        }
        for stage in &target.stages {
            let context = Context {
                executors,
                artifacts: &artifacts,
                figures: &figures,
                previous: artifact.as_ref(),
            };
            let resolved = resolve(stage, &context, &mut sources, &mut analyses).ok();
            let result = resolved.and_then(|resolved| {
                let result = project.cache.lookup(&resolved.key).ok().flatten()?;
                Some((resolved, result))
            });
            let Some((resolved, result)) = result else {
                artifact = None;
                break;
            };
            if matches!(stage.work, Work::Check(_)) {
                continue;
            }
            for flow in flows(&resolved, &result.artifact) {
                let input = stage.inputs.iter().find(|input| input.name == flow.input);
                let Some(InputSource::Target(from)) = input.map(|input| &input.from) else {
                    continue; // files, or the stage before
                };
                let place = |label: &Label, column| Place {
                    label: label.clone(),
                    column,
                };
                edges.push(Edge {
                    from: place(from, flow.from_column),
                    to: place(label, flow.to_column),
                    kind: flow.kind,
                });
            }
            artifact = Some(result.artifact);
            if label.is_point() {
                figures.insert(label.clone(), result.metrics);
            }
        }
        match artifact {
            None => lineage.missing.push(label.clone()),
            Some(artifact) => {
                let columns = artifact.table.iter().flat_map(|table| &table.columns);
                let columns = columns.map(|column| column.name.clone());
                lineage.columns.insert(label.clone(), columns.collect());
                lineage.edges.extend(edges);
                artifacts.insert(label.clone(), artifact);
            }
        }
    }
    lineage
}

impl ColumnLineage {
    /// The columns of a table that stands; empty for other artifacts.
    pub fn columns(&self, label: &Label) -> &[String] {
        self.columns.get(label).map_or(&[], Vec::as_slice)
    }

    /// All that `place` was made from, sorted; `place` itself is not in it.
    pub fn up(&self, place: &Place) -> Vec<Reached> {
        self.reach(place, |edge| (&edge.to, &edge.from))
    }

    /// All that is made from `place`, sorted; `place` itself is not in it.
    pub fn down(&self, place: &Place) -> Vec<Reached> {
        self.reach(place, |edge| (&edge.from, &edge.to))
    }

    fn reach(&self, start: &Place, ends: impl Fn(&Edge) -> (&Place, &Place)) -> Vec<Reached> {
        // Values reach farther than the choice of rows does, so they are followed first.
        let mut reached: BTreeMap<Place, FlowKind> = BTreeMap::new();
        let mut front = VecDeque::from([(start.clone(), FlowKind::Value)]);
        while let Some((place, kind)) = front.pop_front() {
            for edge in &self.edges {
                let (near, far) = ends(edge);
                if !meets(near, &place) {
                    continue;
                }
                let kind = kind.max(edge.kind);
                if reached.get(far).is_some_and(|known| *known <= kind) {
                    continue;
                }
                reached.insert(far.clone(), kind);
                match kind {
                    FlowKind::Value => front.push_front((far.clone(), kind)),
                    FlowKind::Rows => front.push_back((far.clone(), kind)),
                }
            }
        }
        reached.remove(start);
        let reached = reached.into_iter();
        reached
            .map(|(place, kind)| Reached { place, kind })
            .collect()
    }
}

/// Whether an edge that ends at `end` concerns `place`: a whole concerns each of its columns, and the other way round.
fn meets(end: &Place, place: &Place) -> bool {
    end.label == place.label
        && (end.column.is_none() || place.column.is_none() || end.column == place.column)
}
