//! Reports: which models they compare, by what key, under which gates.

use std::collections::BTreeMap;

use mlbuild_action::{Bound, Evaluate, Gate, Metric, Stability, Work};
use mlbuild_manifest::{
    Declaration, Definition, EvaluateDefinition, GateBound, GateDeclaration, Label, Spanned,
    SubjectDefinition, list, nearest,
};

use crate::resolve::{Resolver, input};
use crate::{InputSource, Stage, StageInput};

/// What names a pin where a model of the report may be named.
const PIN: &str = "pin:";

/// A table of predictions and the name of its model in the report.
struct Compared {
    model: String,
    table: Label,
    /// The pin that holds it, if it is not the table as it is declared now.
    pin: Option<String>,
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
        let mut optional = |written: &Option<Spanned<Label>>| match written {
            Some(written) => self.table_input(label, written).map(Some),
            None => Some(None),
        };
        let (catalog, training) = (optional(&evaluate.catalog), optional(&evaluate.training));
        let truth = truth?;
        let key = self.needed_key(declaration, &evaluate.truth, &truth);
        let mut compared = compared?;
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
        let (stability, tables) = self.stability(label, evaluate)?;
        let gates: Vec<Gate> = gates.into_iter().collect::<Option<_>>()?;
        self.add_pinned(evaluate, &gates, &mut compared)?;

        let target = |name: String, table: Label| input(name, InputSource::Target(table));
        let mut inputs = vec![target("truth".to_owned(), truth)];
        inputs.extend(catalog?.map(|table| target("catalog".to_owned(), table)));
        if let Some(training) = training? {
            inputs.push(match evaluate.metrics[0].value {
                Metric::Ranked { .. } => target("training".to_owned(), training),
                _ => target(format!("trained.{}", training.name()), training),
            });
        }
        inputs.extend(self.trained(evaluate, &compared));
        let models: Vec<_> = compared.iter().map(|it| it.model.clone()).collect();
        inputs.extend(compared.into_iter().map(|Compared { model, table, pin }| {
            let from = match pin {
                None => InputSource::Target(table),
                Some(name) => InputSource::Pinned(name, table),
            };
            input(format!("predictions.{model}"), from)
        }));
        for table in tables {
            inputs.push(target(format!("table.{table}"), table));
        }
        Some(Stage {
            work: Work::Evaluate(Evaluate {
                title: evaluate.title.clone(),
                owner: declaration.owner.clone(),
                models,
                labels: evaluate.labels.clone(),
                key,
                sequence: evaluate.sequence.clone(),
                metrics: evaluate.metrics.iter().map(|metric| metric.value).collect(),
                positive: evaluate.positive.clone(),
                catalog: evaluate.columns.clone(),
                slices: evaluate.slices.clone(),
                stability,
                resampling: evaluate.resampling,
                gates,
                lineage: lineage(&inputs),
            }),
            inputs,
        })
    }

    /// How predictions for changed inputs are compared, and the tables that hold them.
    fn stability(
        &mut self,
        label: &Label,
        evaluate: &EvaluateDefinition,
    ) -> Option<(Vec<Stability>, Vec<Label>)> {
        let mut tables: Vec<Label> = Vec::new();
        let mut compared = Vec::new();
        for declared in &evaluate.stability {
            let baseline = self.table_input(label, &declared.baseline);
            let perturbed = self.table_input(label, &declared.perturbed);
            let (baseline, perturbed) = (baseline?, perturbed?);
            if baseline == perturbed {
                let message = format!("`{baseline}` is compared with itself");
                let help = "name the predictions for the changed inputs";
                let range = declared.perturbed.range.clone();
                self.error("graph::same-table", message, range, "the same table", help);
                return None;
            }
            let metric = declared.metric.value;
            for table in [&declared.baseline, &declared.perturbed] {
                if let Some(k) = metric.k() {
                    let (name, range) = (metric.to_string(), &declared.metric.range);
                    self.long_enough((&name, k.get(), range), table);
                }
            }
            let name = |table: &Label| format!("table.{table}");
            compared.push(Stability {
                name: declared
                    .name
                    .clone()
                    .unwrap_or_else(|| perturbed.name().to_owned()),
                baseline: name(&baseline),
                perturbed: name(&perturbed),
                metric,
                bound: declared.bound.clone(),
            });
            tables.extend([baseline, perturbed]);
        }
        tables.sort();
        tables.dedup();
        Some((compared, tables))
    }

    /// What is known of the models compared, as far as we train them: their folders, for how they were trained, and of those
    /// that learn from rows of a table that table, which shares no row with the truth. Sequences overlap by design.
    fn trained(&self, evaluate: &EvaluateDefinition, compared: &[Compared]) -> Vec<StageInput> {
        let (mut folders, mut tables) = (Vec::new(), Vec::new());
        for Compared { model, table, .. } in compared {
            let predicted = self.declaration(table).map(|found| &found.definition);
            let Some(Definition::Predict(predict)) = predicted else {
                continue;
            };
            let Some(declaration) = self.declaration(&predict.model) else {
                continue;
            };
            // Of the best of several, all learn from the same columns; the first one says which.
            let learner = match &declaration.definition {
                Definition::Pick(pick) => pick.points.first().and_then(|it| self.declaration(it)),
                _ => Some(declaration),
            };
            let learner = learner.map(|learner| &learner.definition);
            let Some(Definition::Train(train)) = learner else {
                continue;
            };
            let folder = InputSource::Target(declaration.label.clone());
            folders.push(input(format!("model.{model}"), folder));
            let of_rows = matches!(train.subject, SubjectDefinition::Table(_));
            if of_rows && !evaluate.allow_leak && self.is_table(&train.input) {
                let table = InputSource::Target(train.input.value.clone());
                tables.push(input(format!("trained.{model}"), table));
            }
        }
        [folders, tables].concat()
    }

    /// Adds the predictions of pins that gates compare with: the table of the gate's model as it was pinned.
    fn add_pinned(
        &mut self,
        evaluate: &EvaluateDefinition,
        gates: &[Gate],
        compared: &mut Vec<Compared>,
    ) -> Option<()> {
        for (gate, written) in gates.iter().zip(&evaluate.gates) {
            let (Bound::Above(other) | Bound::Below(other)) = &gate.bound else {
                continue;
            };
            let Some(pin) = other.strip_prefix(PIN) else {
                continue;
            };
            let model = compared
                .iter()
                .find(|compared| compared.model == gate.model);
            let table = model.map(|compared| compared.table.clone())?;
            match compared.iter().find(|compared| compared.model == *other) {
                None => compared.push(Compared {
                    model: other.clone(),
                    table,
                    pin: Some(pin.to_owned()),
                }),
                Some(known) if known.table == table => {}
                Some(known) => {
                    let message = format!("the pin `{pin}` cannot be of two tables of predictions");
                    let help = format!(
                        "another gate compares it with `{}`; a pin is of one target",
                        known.table
                    );
                    let range = written.range.clone();
                    self.error("graph::bad-gate", message, range, "of another table", help);
                    return None;
                }
            }
        }
        Some(())
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
                    for metric in &evaluate.metrics {
                        if let Some(k) = metric.value.k() {
                            let name = metric.value.to_string();
                            self.long_enough((&name, k.get(), &metric.range), predictions);
                        }
                    }
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
            let pin = None;
            compared.push(Compared { model, table, pin });
        }
        complete.then_some(compared)
    }

    /// A metric, with its name, cut-off and place, cannot look further than the lists go.
    fn long_enough(
        &mut self,
        (metric, k, range): (&str, u32, &std::ops::Range<usize>),
        table: &Spanned<Label>,
    ) {
        let definition = self.declaration(table).map(|found| &found.definition);
        let Some(Definition::Predict(predict)) = definition else {
            return;
        };
        let length = predict.k;
        if k > length {
            let message = format!(
                "`{metric}` looks at {k} entries, and the lists of `{}` have {length}",
                table.value
            );
            let help = format!("raise `k` of `{}`, or lower the cut-off", table.value);
            let range = range.clone();
            self.error("graph::short-lists", message, range, "looks too far", help);
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
            GateBound::Above(other) => Bound::Above(self.other(other, models)?),
            GateBound::Below(other) => Bound::Below(self.other(other, models)?),
        };
        let model = model?;
        if let (
            Bound::Above(other) | Bound::Below(other),
            GateBound::Above(written) | GateBound::Below(written),
        ) = (&bound, &gate.bound)
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
            margin: gate.margin,
            confidence: gate.confidence,
            slice: gate.slice.as_ref().map(|slice| slice.value.clone()),
        })
    }

    /// What a model must beat: another one, or a pin.
    fn other(&mut self, written: &Spanned<String>, models: &[String]) -> Option<String> {
        match written.value.strip_prefix(PIN) {
            Some("") => {
                let message = "a gate does not say which pin";
                let help = "write the pin's name after the colon: `pin:v1`";
                let range = written.range.clone();
                self.error("graph::bad-gate", message, range, "which pin?", help);
                None
            }
            Some(_) => Some(written.value.clone()),
            None => self.model(written, models),
        }
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

/// The targets that the inputs are, by input.
fn lineage(inputs: &[StageInput]) -> BTreeMap<String, String> {
    let targets = inputs.iter().filter_map(|input| match &input.from {
        InputSource::Target(label) => Some((input.name.clone(), label.to_string())),
        InputSource::Pinned(pin, label) => {
            Some((input.name.clone(), format!("{label}, pinned as {pin}")))
        }
        InputSource::Previous | InputSource::Files(_) => None,
    });
    targets.collect()
}
