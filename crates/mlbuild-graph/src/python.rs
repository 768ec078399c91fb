//! Functions of the project: what they are given, and how their output becomes a table.

use std::collections::BTreeMap;

use mlbuild_action::{Python, Work};
use mlbuild_manifest::{Declaration, PythonDefinition};

use crate::resolve::{Resolver, training, with_ingestion};
use crate::{Resources, Stage};

impl Resolver<'_> {
    pub(crate) fn python(
        &mut self,
        declaration: &Declaration,
        python: &PythonDefinition,
        resources: &Resources,
    ) -> Option<Vec<Stage>> {
        let inputs = self.process_inputs(declaration, &python.srcs, &python.inputs)?;
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
        let call = Stage {
            work: Work::Python(Python {
                module: python.module.clone(),
                function: python.function.clone(),
                params: python.params.clone(),
                columns,
                env: python.env.clone(),
                table: python.ingestion.is_some(),
                threads: resources.cpus,
                gpus: resources.gpus,
                timeout: python.timeout,
                training: training(declaration, &python.may_be_nan),
            }),
            inputs,
        };
        Some(with_ingestion(call, declaration, python.ingestion.as_ref()))
    }
}
