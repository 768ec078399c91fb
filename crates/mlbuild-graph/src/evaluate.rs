//! Reports: which models they compare, by what key, under which gates.

use mlbuild_action::{Bound, Evaluate, Gate, Work};
use mlbuild_manifest::{
    Declaration, Definition, EvaluateDefinition, GateBound, GateDeclaration, Label, Spanned, list,
    nearest,
};

use crate::resolve::{Resolver, input};
use crate::{InputSource, Stage};

/// A table of predictions and the name of its model in the report.
struct Compared {
    model: String,
    table: Label,
}

impl Resolver<'_> {
    pub(crate) fn evaluate(
        &mut self,
        declaration: &Declaration,
        evaluate: &EvaluateDefinition,
    ) -> Option<Stage> {
        let label = &declaration.label;
        let compared = self.compared(label, evaluate);
        let truth = self.table_input(label, &evaluate.truth);
        let catalog = match &evaluate.catalog {
            Some(catalog) => Some(self.table_input(label, catalog)?),
            None => None,
        };
        let truth = truth?;
        let key = self.needed_key(declaration, &evaluate.truth, &truth);
        let compared = compared?;
        let models: Vec<_> = compared
            .iter()
            .map(|compared| compared.model.clone())
            .collect();
        let gates: Vec<_> = evaluate
            .gates
            .iter()
            .map(|gate| self.gate(declaration, gate, &models))
            .collect();
        let key = key?;
        self.same_key(evaluate, &compared, &key);
        let mut inputs = vec![input("truth".to_owned(), InputSource::Target(truth))];
        inputs.extend(catalog.map(|table| input("catalog".to_owned(), InputSource::Target(table))));
        inputs.extend(compared.into_iter().map(|Compared { model, table }| {
            input(format!("predictions.{model}"), InputSource::Target(table))
        }));
        Some(Stage {
            work: Work::Evaluate(Evaluate {
                title: evaluate.title.clone(),
                models,
                label: evaluate.label.clone(),
                key,
                sequence: evaluate.sequence.clone(),
                metrics: evaluate.metrics.iter().map(|metric| metric.value).collect(),
                gates: gates.into_iter().collect::<Option<_>>()?,
            }),
            inputs,
        })
    }

    /// The tables of predictions; `None` if one is wrong.
    fn compared(&mut self, label: &Label, evaluate: &EvaluateDefinition) -> Option<Vec<Compared>> {
        let mut compared: Vec<Compared> = Vec::new();
        let mut complete = true;
        for predictions in &evaluate.predictions {
            let Some(table) = self.table_input(label, predictions) else {
                complete = false;
                continue;
            };
            let definition = self.declaration(&table).map(|found| &found.definition);
            let model = match definition {
                Some(Definition::Predict(predict)) => {
                    self.long_enough(evaluate, predictions, predict.k);
                    predict.model.name().to_owned()
                }
                _ => table.name().to_owned(),
            };
            if let Some(other) = compared.iter().find(|other| other.model == model) {
                complete = false;
                let message = format!("two tables of predictions of model `{model}`");
                let help = format!(
                    "`{}` is another; a report shows each model once",
                    other.table
                );
                let range = predictions.range.clone();
                self.error("graph::same-model", message, range, "the second", help);
            }
            compared.push(Compared { model, table });
        }
        complete.then_some(compared)
    }

    /// A metric cannot look further than the lists go.
    fn long_enough(&mut self, evaluate: &EvaluateDefinition, table: &Spanned<Label>, k: u32) {
        for metric in &evaluate.metrics {
            if metric.value.k.get() > k {
                let message = format!(
                    "`{}` looks at {} entries, and the lists of `{}` have {k}",
                    metric.value, metric.value.k, table.value
                );
                let help = format!("raise `k` of `{}`, or lower the cut-off", table.value);
                self.error(
                    "graph::short-lists",
                    message,
                    metric.range.clone(),
                    "looks too far",
                    help,
                );
            }
        }
    }

    /// Predictions carry the columns that join them to the truth.
    fn same_key(&mut self, evaluate: &EvaluateDefinition, compared: &[Compared], key: &[String]) {
        for (compared, written) in compared.iter().zip(&evaluate.predictions) {
            let Some(theirs) = self.key(&compared.table) else {
                continue;
            };
            if let Some(column) = key.iter().find(|column| !theirs.contains(column)) {
                let message = format!("`{}` has no key column `{column}`", compared.table);
                let theirs = list(theirs.iter().map(String::as_str));
                let ours = list(key.iter().map(String::as_str));
                let help = format!("its key is {theirs}, and the report joins by {ours}");
                self.error(
                    "graph::wrong-key",
                    message,
                    written.range.clone(),
                    "cannot be joined",
                    help,
                );
            }
        }
    }

    fn gate(
        &mut self,
        declaration: &Declaration,
        gate: &GateDeclaration,
        models: &[String],
    ) -> Option<Gate> {
        let model = match (&gate.model, models) {
            (Some(model), _) => self.model(model, models),
            (None, [only]) => Some(only.clone()),
            (None, _) => {
                let message = format!(
                    "a gate of `{}` does not say of which model",
                    declaration.label
                );
                let help = format!(
                    "add `model`: one of {}",
                    list(models.iter().map(String::as_str))
                );
                self.error(
                    "graph::bad-gate",
                    message,
                    gate.range.clone(),
                    "about which model?",
                    help,
                );
                None
            }
        };
        let bound = match &gate.bound {
            GateBound::Min(value) => Bound::Min(*value),
            GateBound::Max(value) => Bound::Max(*value),
            GateBound::Above(other) => Bound::Above(self.model(other, models)?),
        };
        let model = model?;
        if let (Bound::Above(other), GateBound::Above(written)) = (&bound, &gate.bound)
            && *other == model
        {
            let message = format!("model `{model}` cannot be better than itself");
            let help = "name another model of the report";
            self.error(
                "graph::bad-gate",
                message,
                written.range.clone(),
                "the same model",
                help,
            );
            return None;
        }
        let metric = gate.metric.value;
        Some(Gate {
            model,
            metric,
            bound,
        })
    }

    fn model(&mut self, written: &Spanned<String>, models: &[String]) -> Option<String> {
        if models.contains(&written.value) {
            return Some(written.value.clone());
        }
        let names = models.iter().map(String::as_str);
        let help = match nearest(&written.value, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it compares {}", list(names)),
        };
        let message = format!("the report has no model `{}`", written.value);
        self.error(
            "graph::unknown-model",
            message,
            written.range.clone(),
            "not compared",
            help,
        );
        None
    }
}
