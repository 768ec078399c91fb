//! The resolved target graph and selections over it.
//!
//! [`resolve`] turns declarations into [`Target`]s, each a chain of [`Stage`]s whose work is fully described but for the
//! contents of its inputs: queries are analysed, labels looked up, defaults taken from other targets, every relation
//! checked. It reports all mistakes at the place of the reference, never only the first.
//!
//! Invariants of a [`Graph`]: it has no cycle, every input of a target is a target of it, and [`Graph::targets`] is in
//! an order in which each target follows its inputs and which depends on nothing but labels.
//!
//! Absent here: I/O, digests, what is stale. petgraph stays inside.

mod cycle;
mod evaluate;
#[cfg(test)]
mod fuzz;
mod graph;
mod python;
mod query;
mod resolve;
mod select;
mod target;

pub use graph::Graph;
pub use mlbuild_manifest::{Kind, Label, Rule};
pub use resolve::resolve;
pub use target::{FileSet, InputSource, Resources, Stage, StageInput, Target};
