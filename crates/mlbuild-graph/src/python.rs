//! Functions of the project: what they are given, and how their output becomes a table.

use std::collections::BTreeMap;

use mlbuild_action::{Python, Work};
use mlbuild_manifest::{Declaration, PythonDefinition};

use crate::resolve::{Resolver, ingest, input};
use crate::{InputSource, Resources, Stage};

impl Resolver<'_> {
    pub(crate) fn python(
        &mut self,
        declaration: &Declaration,
        python: &PythonDefinition,
        resources: &Resources,
    ) -> Option<Vec<Stage>> {
        let mut inputs = Vec::new();
        if !python.srcs.is_empty() {
            inputs.push(input("src".to_owned(), self.files(&python.srcs)));
        }
        let found: Vec<_> = python
            .inputs
            .iter()
            .map(|label| self.lookup(&declaration.label, label))
            .collect();
        for label in found {
            let label = label?;
            inputs.push(input(label.to_string(), InputSource::Target(label)));
        }
        let mut columns = BTreeMap::new();
        for (label, names) in &python.columns {
            if !self.is_table(label) {
                let message = format!("`{}` is not a table and has no columns", label.value);
                let help = format!("leave `{}` out of `columns`", label.value);
                let range = label.range.clone();
                self.error("graph::not-a-table", message, range, "not a table", help);
                return None;
            }
            columns.insert(label.value.to_string(), names.clone());
        }
        let mut stages = vec![Stage {
            work: Work::Python(Python {
                module: python.module.clone(),
                function: python.function.clone(),
                params: python.params.clone(),
                columns,
                env: python.env.clone(),
                table: python.ingestion.is_some(),
                threads: resources.cpus,
                timeout: python.timeout,
            }),
            inputs,
        }];
        if let Some(ingestion) = &python.ingestion {
            stages.push(Stage {
                work: ingest(declaration, ingestion),
                inputs: vec![input("files".to_owned(), InputSource::Previous)],
            });
        }
        Some(stages)
    }
}
