//! Declarations to targets.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use mlbuild_action::{
    Check, CheckRule, Command, Device, Diagnostic, Format, Ingest, Parts, Pick, Predict, Question,
    RowOrder, SourceSpan, Split, SplitBy, Subject, Tabular, Train, Training, Value, Work,
};
use mlbuild_manifest::{
    CheckDefinition, CommandDefinition, Declaration, Definition, Ingestion, Kind, Label, Manifest,
    PartDefinition, PathDefinition, PickDefinition, PredictDefinition, ProjectPath, Rule, Spanned,
    SplitDefinition, SplitRule, SqlDefinition, SqlText, SubjectDefinition, TrainDefinition, list,
    nearest,
};

use crate::cycle::{Reference, cycles};
use crate::{FileSet, Graph, InputSource, Resources, Stage, StageInput, Target};

/// Resolves every declaration.
///
/// The graph holds the targets that are right and whose inputs are all right too. Diagnostics come in the order of
/// files and places.
pub fn resolve(manifest: &Manifest) -> (Graph, Vec<Diagnostic>) {
    let declarations = manifest.targets.iter();
    let mut resolver = Resolver {
        manifest,
        declarations: declarations
            .map(|declaration| (&declaration.label, declaration))
            .collect(),
        references: Vec::new(),
        diagnostics: Vec::new(),
    };
    let mut targets = Vec::new();
    for declaration in &manifest.targets {
        let before = resolver.diagnostics.len();
        let target = resolver.target(declaration);
        targets.extend(target.filter(|_| resolver.diagnostics.len() == before));
    }
    let Resolver {
        references,
        mut diagnostics,
        ..
    } = resolver;
    diagnostics.extend(cycles(&references));
    diagnostics.sort_by(|a, b| place(a).cmp(&place(b)));
    manifest.relocate(&mut diagnostics);
    (Graph::new(targets), diagnostics)
}

fn place(diagnostic: &Diagnostic) -> Option<(&str, usize)> {
    let span = diagnostic.spans.first()?;
    Some((&span.file, span.range.start))
}

/// The declarations, and what was found out about them so far.
pub(crate) struct Resolver<'a> {
    pub(crate) manifest: &'a Manifest,
    declarations: BTreeMap<&'a Label, &'a Declaration>,
    references: Vec<Reference>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl<'a> Resolver<'a> {
    /// Every label declared, also by declarations that could not be understood.
    pub(crate) fn declared(&self) -> impl Iterator<Item = &Label> {
        let broken = self.manifest.broken.iter();
        let declared = self.declarations.keys().copied().chain(broken);
        // Of points there are many, and each is found by its model.
        let declared: BTreeSet<_> = declared.filter(|label| !label.is_point()).collect();
        declared.into_iter()
    }

    pub(crate) fn is_known(&self, label: &Label) -> bool {
        let broken = &self.manifest.broken;
        self.declarations.contains_key(label) || broken.contains(&label.declared())
    }

    /// Whether a target is a table; one that could not be understood may be.
    pub(crate) fn is_table(&self, label: &Label) -> bool {
        match self
            .declarations
            .get(label)
            .map(|declaration| &declaration.definition)
        {
            None => label.kind().is_tabular(),
            Some(Definition::Path(path)) => path.ingestion.format != Format::Files,
            Some(Definition::Command(command)) => command.ingestion.is_some(),
            Some(Definition::Python(python)) => python.ingestion.is_some(),
            Some(
                Definition::Sql(_)
                | Definition::Split(_)
                | Definition::Part(_)
                | Definition::Predict(_),
            ) => true,
            Some(Definition::Train(_) | Definition::Evaluate(_) | Definition::Pick(_)) => false,
        }
    }

    pub(crate) fn declaration(&self, label: &Label) -> Option<&'a Declaration> {
        self.declarations.get(label).copied()
    }

    /// Notes that a target reads another.
    pub(crate) fn refer(
        &mut self,
        consumer: &Label,
        input: &Label,
        file: &str,
        range: Range<usize>,
    ) {
        self.references.push(Reference {
            consumer: consumer.clone(),
            input: input.clone(),
            at: SourceSpan {
                file: file.to_owned(),
                range,
                label: String::new(),
            },
        });
    }

    pub(crate) fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        range: Range<usize>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let diagnostic = Diagnostic::error(code, message).at(&*self.manifest.file, range, label);
        self.diagnostics.push(diagnostic.help(help));
    }

    /// Notes a reference by label; `None`, with a complaint, if there is no such target.
    pub(crate) fn lookup(&mut self, consumer: &Label, label: &Spanned<Label>) -> Option<Label> {
        if self.is_known(label) {
            self.refer(consumer, label, &self.manifest.file, label.range.clone());
            return Some(label.value.clone());
        }
        let help = self.suggest(label);
        let message = format!("no target `{}`, which `{consumer}` asks for", label.value);
        self.error(
            "graph::unknown-target",
            message,
            label.range.clone(),
            "not a target",
            help,
        );
        None
    }

    fn suggest(&self, label: &Label) -> String {
        // The right name under the wrong kind is the likeliest mistake.
        if let Some(other) = self.declared().find(|known| known.name() == label.name()) {
            return format!("did you mean `{other}`?");
        }
        let names: Vec<_> = self.declared().map(Label::to_string).collect();
        let names = names.iter().map(String::as_str);
        match nearest(&label.to_string(), names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let same_kind =
                    names.filter(|name| name.starts_with(&format!("{}:", label.kind())));
                match list(same_kind).as_str() {
                    "none" => format!("the project has no {}", label.kind().noun()),
                    names => format!("there is {names}"),
                }
            }
        }
    }

    /// As [`lookup`](Self::lookup), for a target that must be a table.
    pub(crate) fn table_input(
        &mut self,
        consumer: &Label,
        label: &Spanned<Label>,
    ) -> Option<Label> {
        let found = self.lookup(consumer, label)?;
        if self.is_table(&found) {
            return Some(found);
        }
        let help = match found.kind().is_tabular() {
            true => format!("give `{found}` a `format` to read its files as a table"),
            false => "name a target of kind `data` or `features`".to_owned(),
        };
        let message = format!("`{found}` is not a table, and `{consumer}` needs one");
        self.error(
            "graph::not-a-table",
            message,
            label.range.clone(),
            "not a table",
            help,
        );
        None
    }

    /// The key of a target's table: as declared, or for predictions that of their input.
    pub(crate) fn key(&self, label: &Label) -> Option<Vec<String>> {
        let mut label = label;
        // Predictions of predictions of ...; a cycle ends the walk.
        for _ in 0..=self.declarations.len() {
            let declaration = self.declaration(label)?;
            match &declaration.definition {
                _ if !declaration.key.is_empty() => return Some(declaration.key.clone()),
                Definition::Predict(predict) => label = &predict.input.value,
                Definition::Split(split) => label = &split.input.value,
                Definition::Part(part) => label = &part.split,
                _ => return None,
            }
        }
        None
    }

    /// As [`key`](Self::key), complaining if there is none.
    pub(crate) fn needed_key(
        &mut self,
        consumer: &Declaration,
        table: &Spanned<Label>,
        found: &Label,
    ) -> Option<Vec<String>> {
        if !consumer.key.is_empty() {
            return Some(consumer.key.clone());
        }
        if self.manifest.broken.contains(found) {
            return None;
        }
        let key = self.key(found);
        if key.is_none() {
            let message = format!("`{found}` has no key, and `{}` needs one", consumer.label);
            let help = format!("say which columns identify a row of `{found}`: `key = [\"id\"]`");
            self.error(
                "graph::no-key",
                message,
                table.range.clone(),
                "has no key",
                help,
            );
        }
        key
    }

    fn target(&mut self, declaration: &'a Declaration) -> Option<Target> {
        let rule = declaration.definition.rule();
        let resources = resources(declaration);
        let checks = declaration.checks.iter();
        let texts: Vec<_> = checks
            .filter_map(|check| match &check.definition {
                CheckDefinition::Query(sql) => Some(sql),
                CheckDefinition::Rule(_) => None,
            })
            .collect();
        let part = match &declaration.definition {
            Definition::Part(part) => Some(part_query(part, &self.manifest.file)),
            _ => None,
        };
        let sql = match &declaration.definition {
            Definition::Sql(sql) => Some(sql),
            _ => part.as_ref(),
        };
        let (query, mut check_queries) = self.queries(declaration, sql, &texts);
        let stages = match &declaration.definition {
            Definition::Path(path) => Some(self.path(declaration, path)),
            Definition::Split(split) => self.split(declaration, split),
            Definition::Sql(_) | Definition::Part(_) => query.map(|mut query| {
                if part.is_some() {
                    query.sql.key = self.key(&declaration.label).unwrap_or_default();
                }
                let input = |table: Label| input(table.to_string(), InputSource::Target(table));
                vec![Stage {
                    work: Work::Sql(query.sql),
                    inputs: query.tables.into_iter().map(input).collect(),
                }]
            }),
            Definition::Command(command) => self.command(declaration, command),
            Definition::Python(python) => self.python(declaration, python, &resources),
            Definition::Train(train) => self.train(declaration, train, &resources),
            Definition::Predict(predict) => self.predict(declaration, predict, &resources),
            Definition::Evaluate(evaluate) => self
                .evaluate(declaration, evaluate)
                .map(|stage| vec![stage]),
            Definition::Pick(pick) => Some(self.pick(declaration, pick)),
        };
        let mut stages = stages?;
        for check in &declaration.checks {
            let (rule, inputs) = match &check.definition {
                CheckDefinition::Rule(rule) => (
                    rule.clone(),
                    vec![input("table".to_owned(), InputSource::Previous)],
                ),
                CheckDefinition::Query(_) => {
                    let query = check_queries.remove(0)?;
                    let source = |table: Label| match table == declaration.label {
                        true => input(table.to_string(), InputSource::Previous),
                        false => input(table.to_string(), InputSource::Target(table)),
                    };
                    (
                        CheckRule::Sql(query.sql),
                        query.tables.into_iter().map(source).collect(),
                    )
                }
            };
            let (name, warn_only) = (check.name.clone(), check.warn_only);
            stages.push(Stage {
                work: Work::Check(Check {
                    name,
                    rule,
                    warn_only,
                }),
                inputs,
            });
        }
        Some(Target {
            label: declaration.label.clone(),
            rule,
            stages,
            resources,
            tags: declaration.tags.clone(),
            tolerance: declaration.tolerance.clone(),
            owner: declaration.owner.clone(),
            description: declaration.description.clone(),
            declared_at: declaration.declared_at.clone(),
        })
    }

    fn path(&self, declaration: &Declaration, path: &PathDefinition) -> Vec<Stage> {
        vec![Stage {
            work: ingest(declaration, &path.ingestion),
            inputs: vec![input("files".to_owned(), self.files(&path.patterns))],
        }]
    }

    fn split(&mut self, declaration: &Declaration, split: &SplitDefinition) -> Option<Vec<Stage>> {
        let table = self.table_input(&declaration.label, &split.input)?;
        let hash = |columns, parts: &Parts, seed| SplitBy::Hash {
            columns,
            parts: parts.clone(),
            seed,
        };
        let by = match &split.rule {
            SplitRule::Random { parts, seed } => {
                let key = self.needed_key(declaration, &split.input, &table)?;
                hash(key, parts, *seed)
            }
            SplitRule::Group {
                columns,
                parts,
                seed,
            } => hash(columns.clone(), parts, *seed),
            SplitRule::Shares { column, parts } => SplitBy::Shares {
                column: column.clone(),
                parts: parts.clone(),
            },
            SplitRule::Until {
                column,
                until,
                rest,
            } => SplitBy::Until {
                column: column.clone(),
                until: until.clone(),
                rest: rest.clone(),
            },
        };
        Some(vec![Stage {
            work: Work::Split(Split { by }),
            inputs: vec![input("input".to_owned(), InputSource::Target(table))],
        }])
    }

    pub(crate) fn files(&self, patterns: &[Spanned<ProjectPath>]) -> InputSource {
        let start = patterns.first().map_or(0, |first| first.range.start);
        let end = patterns.last().map_or(0, |last| last.range.end);
        InputSource::Files(FileSet {
            patterns: patterns
                .iter()
                .map(|pattern| pattern.as_str().to_owned())
                .collect(),
            declared_at: SourceSpan {
                file: self.manifest.file.clone(),
                range: start..end,
                label: "these files".to_owned(),
            },
        })
    }

    /// What a command or a function is given: its files as `src`, its targets by their labels. All unknown labels are
    /// complained about.
    pub(crate) fn process_inputs(
        &mut self,
        declaration: &Declaration,
        srcs: &[Spanned<ProjectPath>],
        labels: &[Spanned<Label>],
    ) -> Option<Vec<StageInput>> {
        let mut inputs = Vec::new();
        if !srcs.is_empty() {
            inputs.push(input("src".to_owned(), self.files(srcs)));
        }
        let found: Vec<_> = labels
            .iter()
            .map(|label| self.lookup(&declaration.label, label))
            .collect();
        for label in found {
            let label = label?;
            inputs.push(input(label.to_string(), InputSource::Target(label)));
        }
        Some(inputs)
    }

    fn command(
        &mut self,
        declaration: &Declaration,
        command: &CommandDefinition,
    ) -> Option<Vec<Stage>> {
        let inputs = self.process_inputs(declaration, &command.srcs, &command.inputs)?;
        let process = Stage {
            work: Work::Command(Command {
                line: command.line.value.clone(),
                env: command.env.clone(),
                tools: command.tools.clone(),
                out: command.out.as_ref().map(|out| out.as_str().to_owned()),
                digest: command.digest.clone(),
                gpus: declaration.resources.gpus.unwrap_or(0),
                timeout: command.timeout,
                training: training(declaration, &command.may_be_nan),
            }),
            inputs,
        };
        Some(with_ingestion(
            process,
            declaration,
            command.ingestion.as_ref(),
        ))
    }

    fn train(
        &mut self,
        declaration: &Declaration,
        train: &TrainDefinition,
        resources: &Resources,
    ) -> Option<Vec<Stage>> {
        let tables = [
            ("input", Some(&train.input)),
            ("validate", train.validate.as_ref()),
            ("catalog", train.catalog.as_ref()),
        ];
        let mut found = Vec::new();
        for (name, label) in tables {
            if let Some(label) = label {
                found.push((name, self.table_input(&declaration.label, label)));
            }
        }
        let mut inputs = Vec::new();
        for (name, label) in found {
            inputs.push(input(name.to_owned(), InputSource::Target(label?)));
        }
        let work = Work::Train(Train {
            architecture: train.architecture.clone(),
            params: train.params.clone(),
            subject: self.subject(train),
            threads: resources.cpus,
            device: device(resources),
        });
        Some(vec![Stage { work, inputs }])
    }

    /// The choice among points. They are named by what tells them apart.
    fn pick(&mut self, declaration: &Declaration, pick: &PickDefinition) -> Vec<Stage> {
        let mut inputs = Vec::new();
        let mut points = Vec::new();
        for label in &pick.points {
            let SourceSpan { file, range, .. } = &declaration.declared_at;
            self.refer(&declaration.label, label, file, range.clone());
            let point = label.point_name().unwrap_or(label.name()).to_owned();
            points.push(point.clone());
            inputs.push(input(point, InputSource::Target(label.clone())));
        }
        let work = Work::Pick(Pick {
            metric: pick.metric.clone(),
            goal: pick.goal,
            points,
        });
        vec![Stage { work, inputs }]
    }

    /// How a model is made, or each of those from which it is picked: they differ in parameters alone.
    fn made_as(&self, model: &Label) -> Option<&'a Definition> {
        match &self.declaration(model)?.definition {
            Definition::Pick(pick) => {
                let point = self.declaration(pick.points.first()?)?;
                Some(&point.definition)
            }
            definition => Some(definition),
        }
    }

    fn subject(&self, train: &TrainDefinition) -> Subject {
        match &train.subject {
            SubjectDefinition::Sequences { sequence, label } => Subject::Sequences {
                sequence: sequence.clone(),
                label: label.clone(),
            },
            SubjectDefinition::Table(tabular) => Subject::Table(Tabular {
                label: tabular
                    .label
                    .iter()
                    .map(|label| label.value.clone())
                    .collect(),
                columns: tabular.columns.clone(),
                key: self.key(&train.input).unwrap_or_default(),
                categories: tabular.categories.clone(),
                task: tabular.task,
                allow_leak: tabular.allow_leak.clone(),
                time: tabular.time.clone(),
            }),
        }
    }

    /// What `predict` asks of a model; of one that could not be understood, whatever it says itself.
    fn question(&mut self, predict: &PredictDefinition, model: &Label) -> Question {
        if let Some(Definition::Train(train)) = self.made_as(model)
            && let Subject::Table(tabular) = self.subject(train)
        {
            for key in &predict.of_sequences {
                let message = format!("`{}` needs a model of sequences", key.value);
                let help = format!("`{model}` predicts a column, one value a row");
                let label = "not a key here";
                self.error(
                    "graph::not-of-sequences",
                    message,
                    key.range.clone(),
                    label,
                    help,
                );
            }
            let Tabular {
                label,
                columns,
                key,
                time,
                ..
            } = tabular;
            return Question::Table {
                columns,
                without: [label, key, time.into_iter().collect()].concat(),
            };
        }
        Question::Sequences {
            sequence: predict.sequence.clone(),
            k: predict.k,
            exclude_seen: predict.exclude_seen,
        }
    }

    fn predict(
        &mut self,
        declaration: &Declaration,
        predict: &PredictDefinition,
        resources: &Resources,
    ) -> Option<Vec<Stage>> {
        let model = self.lookup(&declaration.label, &predict.model);
        let table = self.table_input(&declaration.label, &predict.input);
        let model = model?;
        let made_by = self.made_as(&model).map(Definition::rule);
        if let Some(rule) = made_by.filter(|&rule| rule != Rule::Train) {
            let message = format!(
                "`{model}` cannot be applied: rule `{}` makes it",
                rule.as_str()
            );
            let help = format!(
                "`predict` applies models that `train` makes; for others write a function: \
                 `python = \"module:function\"` with `inputs = [\"{model}\", \"{}\"]`",
                predict.input.value
            );
            self.error(
                "graph::not-a-model",
                message,
                predict.model.range.clone(),
                "not trained",
                help,
            );
            return None;
        }
        let table = table?;
        let key = self.needed_key(declaration, &predict.input, &table)?;
        let work = Work::Predict(Predict {
            question: self.question(predict, &model),
            key,
            threads: resources.cpus,
            device: device(resources),
        });
        let inputs = vec![
            input("model".to_owned(), InputSource::Target(model)),
            input("input".to_owned(), InputSource::Target(table)),
        ];
        Some(vec![Stage { work, inputs }])
    }
}

/// The query for the rows of a part: they stay in the order in which the split has them.
fn part_query(part: &PartDefinition, file: &str) -> SqlDefinition {
    let PartDefinition {
        split,
        column,
        value,
        without,
        range,
    } = part;
    let value = match value {
        // The name of a part is a word.
        Value::Text(name) => format!("'{name}'"),
        other => other.to_string(),
    };
    let (kind, name) = (split.kind(), split.name());
    let comparison = if *without { "<>" } else { "=" };
    let source = format!(
        "select * exclude ({column}) from {kind}.{name} where {column} {comparison} {value}"
    );
    SqlDefinition {
        sql: SqlText {
            file: file.to_owned(),
            source,
            start: 0,
            whole: Some(range.clone()),
        },
        params: BTreeMap::new(),
        order: RowOrder::Input,
    }
}

pub(crate) fn input(name: String, from: InputSource) -> StageInput {
    StageInput { name, from }
}

/// What a process may do beside that fits a model.
pub(crate) fn training(
    declaration: &Declaration,
    may_be_nan: &BTreeSet<String>,
) -> Option<Training> {
    (declaration.label.kind() == Kind::Model).then(|| Training {
        may_be_nan: may_be_nan.clone(),
    })
}

/// A process, and the reading of its output as a table where that is declared.
pub(crate) fn with_ingestion(
    process: Stage,
    declaration: &Declaration,
    ingestion: Option<&Ingestion>,
) -> Vec<Stage> {
    let reading = ingestion.map(|ingestion| Stage {
        work: ingest(declaration, ingestion),
        inputs: vec![input("files".to_owned(), InputSource::Previous)],
    });
    [Some(process), reading].into_iter().flatten().collect()
}

fn ingest(declaration: &Declaration, ingestion: &Ingestion) -> Work {
    Work::Ingest(Ingest {
        format: ingestion.format,
        types: ingestion.types.clone(),
        row_number: ingestion.row_number.clone(),
        key: declaration.key.clone(),
    })
}

/// Threads are identity for models, so their number is fixed here and never taken from the machine.
fn resources(declaration: &Declaration) -> Resources {
    let cpus = match declaration.definition {
        Definition::Train(_) | Definition::Predict(_) => 2,
        _ => 1,
    };
    Resources {
        cpus: declaration.resources.cpus.unwrap_or(cpus),
        gpus: declaration.resources.gpus.unwrap_or(0),
        gpu_memory_bytes: declaration.resources.gpu_memory_bytes,
        memory_bytes: declaration.resources.memory_bytes,
    }
}

fn device(resources: &Resources) -> Device {
    match resources.gpus {
        0 => Device::Cpu,
        _ => Device::Gpu,
    }
}
