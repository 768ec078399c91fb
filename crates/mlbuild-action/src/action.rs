//! What identifies an action.
//!
//! [`Action::describe`] turns an action into its [`Description`]: named parts, in one canonical order. The key digests
//! them; `why` and `diff` compare them. A part's name is a path of words (`param.gap_minutes`,
//! `input.data:events.column.amount`), so a difference between two descriptions reads as a reason.
//!
//! Every `match` and destructuring here names all fields: a new field does not compile until someone decides whether
//! it is identity.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use mlbuild_digest::{Digest, Encoder, NotADigest};

use crate::work::{
    Bound, CatalogColumns, Check, CheckRule, CommandLine, Gate, GateSlice, Parts, PinnedDigest,
    Question, Resampling, RowOrder, Slicing, Split, SplitBy, Stability, StabilityMetric, Subject,
    Tabular, Variable, Work,
};
use crate::{
    Column, Command, Device, Evaluate, Ingest, Pick, Predict, Python, Sql, Table, Train, Value,
};

/// The identity of an action: actions with equal keys have interchangeable results.
///
/// A key covers everything that may change an output byte and nothing else, so it holds no absolute path, clock, host
/// or user name. `spec/action-key.md` fixes the encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActionKey(Digest);

impl ActionKey {
    /// The key's digest, for storage.
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActionKey({})", self.0.short())
    }
}

impl FromStr for ActionKey {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        text.parse().map(Self)
    }
}

/// What of an input is identity.
#[derive(Clone, PartialEq, Debug)]
pub enum InputContent {
    /// Files: the digest of their tree.
    Tree(Digest),
    /// A whole table: rows, columns, their order, key.
    Table(Table),
    /// Some columns of a table, by name: nothing else of it is read.
    Columns {
        /// Number of rows.
        rows: u64,
        /// The columns read; their order does not count.
        columns: Vec<Column>,
    },
    /// A model among others: its files, and the figure by which it is judged. Never NaN.
    Candidate {
        /// Digest of the files' tree.
        files: Digest,
        /// The figure.
        figure: f64,
    },
}

/// An input of an action.
#[derive(Clone, PartialEq, Debug)]
pub struct Input {
    /// Its name, as [`Work`] documents it.
    pub name: String,
    /// What of it is identity.
    pub content: InputContent,
}

/// One hermetic unit of work, fully described.
#[derive(Clone, PartialEq, Debug)]
pub struct Action {
    /// What to do.
    pub work: Work,
    /// With what, by name.
    pub inputs: Vec<Input>,
    /// What schemas decide beyond the columns read: see [`Analysis::plan`](crate::Analysis::plan).
    pub plan: Option<Digest>,
    /// By which code of the project: what the executor's `code` said, by name of the part. Empty for most work.
    pub code: BTreeMap<String, String>,
    /// With which tools: what the executor's `toolchain` said.
    pub toolchain: String,
}

/// An action as named parts; what its key digests.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Description {
    parts: BTreeMap<String, String>,
}

impl Description {
    /// A description read back from storage.
    pub fn from_parts(parts: BTreeMap<String, String>) -> Self {
        Self { parts }
    }

    /// The parts, by name.
    pub fn parts(&self) -> &BTreeMap<String, String> {
        &self.parts
    }

    /// The key of the action described.
    pub fn key(&self) -> ActionKey {
        let mut encoder = Encoder::new("mlbuild action key v1");
        for (name, value) in &self.parts {
            encoder.part(name, value.as_bytes());
        }
        ActionKey(encoder.finish())
    }

    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        let clash = self.parts.insert(name.clone(), value.into());
        assert!(clash.is_none(), "part `{name}` is described once");
    }

    fn add_columns(&mut self, input: &str, columns: &[Column]) {
        for Column {
            name,
            data_type,
            digest,
        } in columns
        {
            self.add(
                format!("input.{input}.column.{name}"),
                format!("{data_type} {digest}"),
            );
        }
    }

    fn add_params(&mut self, params: &BTreeMap<String, Value>) {
        for (name, value) in params {
            self.add(format!("param.{name}"), value.to_string());
        }
    }

    fn add_env(&mut self, env: &BTreeMap<String, Variable>) {
        for (name, value) in env {
            match value {
                Variable::Text(value) => self.add(format!("env.{name}"), value.clone()),
                // Only the executor can see it, and says it with the code.
                Variable::From(_) => {}
                Variable::Secret(from) => self.add(format!("secret.{name}"), from.clone()),
            }
        }
    }

    /// GPUs asked for; what asks for none is what it was before there was this part.
    fn add_gpus(&mut self, gpus: u32) {
        if gpus > 0 {
            self.add("gpus", gpus.to_string());
        }
    }

    fn add_list(&mut self, name: &str, values: &[String]) {
        // As JSON, so that no two lists print alike.
        self.add(name, serde_json::Value::from(values).to_string());
    }
}

impl Action {
    /// The action's key.
    pub fn key(&self) -> ActionKey {
        self.describe().key()
    }

    /// The action as named parts.
    pub fn describe(&self) -> Description {
        let Self {
            work,
            inputs,
            plan,
            code,
            toolchain,
        } = self;
        let mut d = work.describe();
        d.add("toolchain", toolchain.clone());
        if let Some(plan) = plan {
            d.add("plan", plan.to_string());
        }
        for (name, value) in code {
            d.add(name, value);
        }
        for Input { name, content } in inputs {
            match content {
                InputContent::Tree(digest) => {
                    d.add(format!("input.{name}.files"), digest.to_string())
                }
                InputContent::Table(Table { rows, columns, key }) => {
                    d.add(format!("input.{name}.rows"), rows.to_string());
                    d.add_list(&format!("input.{name}.key"), key);
                    let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
                    d.add_list(&format!("input.{name}.columns"), &names);
                    d.add_columns(name, columns);
                }
                InputContent::Columns { rows, columns } => {
                    d.add(format!("input.{name}.rows"), rows.to_string());
                    d.add_columns(name, columns);
                }
                InputContent::Candidate { files, figure } => {
                    d.add(format!("input.{name}.files"), files.to_string());
                    d.add(format!("input.{name}.figure"), format!("{figure:?}"));
                }
            }
        }
        d
    }
}

impl Work {
    /// The parts of a description that the work itself gives.
    pub fn describe(&self) -> Description {
        let mut d = Description::default();
        describe_work(self, &mut d);
        d
    }
}

fn describe_work(work: &Work, d: &mut Description) {
    match work {
        Work::Ingest(Ingest {
            format,
            types,
            row_number,
            key,
        }) => {
            d.add("rule", "ingest");
            d.add("format", format.as_str());
            for (column, data_type) in types {
                d.add(format!("type.{column}"), data_type.clone());
            }
            if let Some(row_number) = row_number {
                d.add("row_number", row_number.clone());
            }
            d.add_list("key", key);
        }
        Work::Sql(sql) => {
            d.add("rule", "sql");
            describe_sql(sql, d);
        }
        Work::Split(split) => describe_split(split, d),
        Work::Command(command) => describe_command(command, d),
        Work::Python(python) => describe_python(python, d),
        Work::Train(Train {
            architecture,
            params,
            subject,
            threads,
            device,
        }) => {
            d.add("rule", "train");
            d.add("architecture", architecture.clone());
            d.add_params(params);
            describe_subject(subject, d);
            d.add("threads", threads.to_string());
            d.add("device", device_name(*device));
        }
        Work::Predict(Predict {
            question,
            key,
            threads,
            device,
        }) => {
            d.add("rule", "predict");
            describe_question(question, d);
            d.add_list("key", key);
            d.add("threads", threads.to_string());
            d.add("device", device_name(*device));
        }
        Work::Evaluate(evaluate) => describe_evaluate(evaluate, d),
        Work::Pick(Pick {
            metric,
            goal,
            points,
        }) => {
            d.add("rule", "pick");
            d.add("metric", metric.clone());
            d.add("goal", goal.as_str());
            d.add_list("points", points);
        }
        Work::Check(Check {
            name: _,
            rule,
            warn_only: _,
        }) => {
            d.add("rule", "check");
            describe_check(rule, d);
        }
    }
}

fn describe_evaluate(evaluate: &Evaluate, d: &mut Description) {
    let Evaluate {
        title,
        owner,
        models,
        labels,
        key,
        sequence,
        metrics,
        positive,
        catalog,
        slices,
        stability,
        resampling,
        gates,
        lineage,
    } = evaluate;
    d.add("rule", "evaluate");
    d.add("title", title.clone());
    if let Some(owner) = owner {
        d.add("owner", owner.clone());
    }
    d.add_list("models", models);
    match &labels[..] {
        [label] => d.add("label", label.clone()),
        labels => d.add_list("labels", labels),
    }
    d.add_list("key", key);
    d.add("sequence", sequence.clone());
    let metrics: Vec<_> = metrics.iter().map(ToString::to_string).collect();
    d.add_list("metrics", &metrics);
    if let Some(positive) = positive {
        d.add("positive", positive.to_string());
    }
    let CatalogColumns {
        category,
        price,
        vector,
    } = catalog;
    for (name, column) in [("category", category), ("price", price), ("vector", vector)] {
        if let Some(column) = column {
            d.add(name, column.clone());
        }
    }
    for (i, Slicing { column, bins }) in slices.iter().enumerate() {
        d.add_list(&format!("slice.{i}"), std::slice::from_ref(column));
        if !bins.is_empty() {
            d.add(format!("slice.{i}.bins"), format!("{bins:?}"));
        }
    }
    for (i, it) in stability.iter().enumerate() {
        describe_stability(i, it, d);
    }
    let defaults = Resampling::default();
    let Resampling {
        resamples,
        seed,
        confidence,
    } = resampling;
    if *resamples != defaults.resamples {
        d.add("resamples", resamples.to_string());
    }
    if *seed != defaults.seed {
        d.add("seed", seed.to_string());
    }
    if *confidence != defaults.confidence {
        d.add("confidence", format!("{confidence:?}"));
    }
    for (i, gate) in gates.iter().enumerate() {
        describe_gate(i, gate, d);
    }
    for (input, target) in lineage {
        d.add(format!("target.{input}"), target.clone());
    }
}

fn describe_stability(i: usize, stability: &Stability, d: &mut Description) {
    let Stability {
        name,
        baseline,
        perturbed,
        metric,
        bound,
    } = stability;
    let words = [name, baseline, perturbed, &metric.to_string()].map(Clone::clone);
    d.add_list(&format!("stability.{i}"), &words);
    let tolerance = match metric {
        StabilityMetric::Overlap(_) | StabilityMetric::Rbo(_) => None,
        StabilityMetric::Changed(tolerance)
        | StabilityMetric::Increased(tolerance)
        | StabilityMetric::Decreased(tolerance) => Some(tolerance),
    };
    if let Some(tolerance) = tolerance {
        d.add(format!("stability.{i}.tolerance"), format!("{tolerance:?}"));
    }
    if let Some(bound) = bound {
        d.add(format!("stability.{i}.gate"), bound_text(bound));
    }
}

fn describe_gate(i: usize, gate: &Gate, d: &mut Description) {
    let Gate {
        model,
        metric,
        bound,
        margin,
        confidence,
        slice,
    } = gate;
    let bound = bound_text(bound);
    d.add(format!("gate.{i}"), format!("{model} {metric} {bound}"));
    if *margin != 0.0 {
        d.add(format!("gate.{i}.margin"), format!("{margin:?}"));
    }
    if let Some(confidence) = confidence {
        d.add(format!("gate.{i}.confidence"), format!("{confidence:?}"));
    }
    if let Some(GateSlice {
        by,
        group,
        min_rows,
    }) = slice
    {
        let words: Vec<_> = [by.clone()].into_iter().chain(group.clone()).collect();
        d.add_list(&format!("gate.{i}.slice"), &words);
        d.add(format!("gate.{i}.min_rows"), min_rows.to_string());
    }
}

fn bound_text(bound: &Bound) -> String {
    match bound {
        Bound::Min(value) => format!("min {value:?}"),
        Bound::Max(value) => format!("max {value:?}"),
        Bound::Above(other) => format!("above {other}"),
        Bound::Below(other) => format!("below {other}"),
    }
}

fn describe_subject(subject: &Subject, d: &mut Description) {
    match subject {
        Subject::Sequences { sequence, label } => {
            d.add("sequence", sequence.clone());
            d.add("label", label.clone());
        }
        Subject::Table(Tabular {
            label,
            columns,
            key,
            categories,
            task,
            allow_leak,
            time,
        }) => {
            d.add_list("label", label);
            if let Some(columns) = columns {
                d.add_list("columns", columns);
            }
            d.add_list("key", key);
            if !categories.is_empty() {
                d.add_list("categories", categories);
            }
            if let Some(task) = task {
                d.add("task", task.as_str());
            }
            if !allow_leak.is_empty() {
                d.add_list("allow_leak", allow_leak);
            }
            if let Some(time) = time {
                d.add("time", time.clone());
            }
        }
    }
}

fn describe_question(question: &Question, d: &mut Description) {
    match question {
        Question::Sequences {
            sequence,
            k,
            exclude_seen,
        } => {
            d.add("sequence", sequence.clone());
            d.add("k", k.to_string());
            d.add("exclude_seen", exclude_seen.to_string());
        }
        // They say which columns are read, and that the inputs say; which of those count the model knows.
        Question::Table {
            columns: _,
            without: _,
        } => {}
    }
}

fn describe_sql(
    Sql {
        canonical,
        text: _,
        file: _,
        params,
        key,
        order,
    }: &Sql,
    d: &mut Description,
) {
    d.add("sql", canonical.clone());
    d.add_params(params);
    d.add_list("key", key);
    match order {
        RowOrder::Canonical => {}
        RowOrder::Input => d.add("order", "input"),
    }
}

fn describe_split(Split { by }: &Split, d: &mut Description) {
    d.add("rule", "split");
    let add_shares = |d: &mut Description, parts: &[(String, f64)]| {
        for (place, (part, share)) in parts.iter().enumerate() {
            d.add(format!("part.{place}"), format!("{part} {share:?}"));
        }
    };
    match by {
        SplitBy::Hash {
            columns,
            parts,
            seed,
        } => {
            d.add_list("columns", columns);
            d.add("seed", seed.to_string());
            match parts {
                Parts::Shares(parts) => add_shares(d, parts),
                Parts::Folds(folds) => d.add("folds", folds.to_string()),
            }
        }
        SplitBy::Shares { column, parts } => {
            d.add("time", column.clone());
            add_shares(d, parts);
        }
        SplitBy::Until {
            column,
            until,
            rest,
        } => {
            d.add("time", column.clone());
            for (place, (part, end)) in until.iter().enumerate() {
                d.add(format!("part.{place}"), format!("{part} until {end}"));
            }
            d.add(format!("part.{}", until.len()), rest.clone());
        }
    }
}

fn describe_command(command: &Command, d: &mut Description) {
    let Command {
        line,
        env,
        // Their versions are: the executor says them.
        tools: _,
        out,
        digest,
        gpus,
        timeout: _,
        training: _,
    } = command;
    d.add("rule", "command");
    d.add("out", out.as_deref().unwrap_or("."));
    if let Some(digest) = digest {
        // What it must yield says everything: how it is fetched does not matter.
        let (algorithm, digest) = match digest {
            PinnedDigest::Sha256(digest) => ("sha256", digest),
            PinnedDigest::Blake3(digest) => ("blake3", digest),
        };
        d.add("digest", format!("{algorithm}:{digest}"));
        return;
    }
    match line {
        CommandLine::Program(words) => d.add_list("command", words),
        CommandLine::Shell(line) => d.add("shell", line.clone()),
    }
    d.add_env(env);
    d.add_gpus(*gpus);
}

fn describe_python(python: &Python, d: &mut Description) {
    let Python {
        module,
        function,
        params,
        columns,
        env,
        table,
        threads,
        gpus,
        timeout: _,
        training: _,
    } = python;
    d.add("rule", "python");
    d.add("function", format!("{module}:{function}"));
    d.add_params(params);
    for (input, columns) in columns {
        d.add_list(&format!("columns.{input}"), columns);
    }
    d.add_env(env);
    d.add("yields", if *table { "table" } else { "files" });
    d.add("threads", threads.to_string());
    d.add_gpus(*gpus);
}

fn describe_check(rule: &CheckRule, d: &mut Description) {
    match rule {
        CheckRule::NotNull(column) => d.add("not_null", column.clone()),
        CheckRule::Unique(columns) => d.add_list("unique", columns),
        CheckRule::AcceptedValues(column, values) => {
            d.add("accepted_values.column", column.clone());
            let values: Vec<_> = values.iter().map(ToString::to_string).collect();
            d.add_list("accepted_values.values", &values);
        }
        CheckRule::Range(column, min, max) => {
            d.add("range.column", column.clone());
            let bound = |value: &Option<Value>| {
                value
                    .as_ref()
                    .map_or("none".to_owned(), ToString::to_string)
            };
            d.add("range.min", bound(min));
            d.add("range.max", bound(max));
        }
        CheckRule::Rows(bound) => d.add(
            "rows",
            format!("{} {}", bound.comparison.as_str(), bound.rows),
        ),
        CheckRule::Sql(sql) => describe_sql(sql, d),
    }
}

fn device_name(device: Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Gpu => "gpu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Action {
        Action {
            work: Work::Sql(Sql {
                canonical: "SELECT 1".to_owned(),
                text: "select 1 -- one".to_owned(),
                file: "data/one.sql".to_owned(),
                params: BTreeMap::from([("gap".to_owned(), Value::Int(30))]),
                key: vec!["id".to_owned()],
                order: RowOrder::Canonical,
            }),
            inputs: vec![Input {
                name: "data:raw".to_owned(),
                content: InputContent::Tree(Digest::of(b"raw")),
            }],
            plan: None,
            code: BTreeMap::new(),
            toolchain: "test 1".to_owned(),
        }
    }

    #[test]
    fn a_golden_key_does_not_move() {
        assert_eq!(
            sessions().key().to_string(),
            "c6029728636dff819067fd02a6e2c054b0590236b6d44a9d285a6012d352b373"
        );
    }

    #[test]
    fn text_and_file_of_a_query_are_not_identity() {
        let mut other = sessions();
        let Work::Sql(sql) = &mut other.work else {
            unreachable!("`sessions` is a query")
        };
        sql.text = "SELECT   1".to_owned();
        sql.file = "elsewhere.sql".to_owned();
        assert_eq!(other.key(), sessions().key());
    }

    fn reading(columns: &[(&str, &[u8])], rows: u64) -> ActionKey {
        let column = |(name, values): &(&str, &[u8])| Column {
            name: (*name).to_owned(),
            data_type: "Int64".to_owned(),
            digest: Digest::of(values),
        };
        let mut action = sessions();
        action.inputs[0].content = InputContent::Columns {
            rows,
            columns: columns.iter().map(column).collect(),
        };
        action.key()
    }

    #[test]
    fn of_columns_read_the_order_does_not_count_but_rows_and_contents_do() {
        let key = reading(&[("a", b"1"), ("b", b"2")], 3);
        assert_eq!(reading(&[("b", b"2"), ("a", b"1")], 3), key);
        assert_ne!(reading(&[("a", b"1"), ("b", b"2")], 4), key);
        assert_ne!(reading(&[("a", b"2"), ("b", b"1")], 3), key);
        assert_ne!(reading(&[("a", b"1")], 3), key);
    }

    #[test]
    fn what_names_resolve_to_is_identity() {
        let mut other = sessions();
        other.plan = Some(Digest::of(b"plan"));
        assert_ne!(other.key(), sessions().key());
    }

    #[test]
    fn a_parameters_type_is_identity() {
        let mut other = sessions();
        let Work::Sql(sql) = &mut other.work else {
            unreachable!("`sessions` is a query")
        };
        sql.params.insert("gap".to_owned(), Value::Float(30.0));
        assert_ne!(other.key(), sessions().key());
    }

    fn training(subject: Subject) -> Work {
        Work::Train(Train {
            architecture: "any".to_owned(),
            params: BTreeMap::from([("lr".to_owned(), Value::Float(0.5))]),
            subject,
            threads: 2,
            device: Device::Cpu,
        })
    }

    fn tabular() -> Tabular {
        Tabular {
            label: vec!["y".to_owned()],
            columns: None,
            key: vec!["id".to_owned()],
            categories: Vec::new(),
            task: None,
            allow_leak: Vec::new(),
            time: None,
        }
    }

    fn parts(work: &Work) -> String {
        let description = work.describe();
        let parts = description.parts().iter();
        let lines: Vec<_> = parts
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        lines.join(" ")
    }

    #[test]
    fn a_models_parts_are_those_of_the_specification() {
        let sequences = Subject::Sequences {
            sequence: "history".to_owned(),
            label: "target".to_owned(),
        };
        assert_eq!(
            parts(&training(sequences)),
            "architecture=any device=cpu label=target param.lr=0.5 rule=train sequence=history threads=2"
        );
        assert_eq!(
            parts(&training(Subject::Table(tabular()))),
            r#"architecture=any device=cpu key=["id"] label=["y"] param.lr=0.5 rule=train threads=2"#
        );
        let predict = |question| {
            Work::Predict(Predict {
                question,
                key: vec!["id".to_owned()],
                threads: 2,
                device: Device::Gpu,
            })
        };
        assert_eq!(
            parts(&predict(Question::Sequences {
                sequence: "history".to_owned(),
                k: 10,
                exclude_seen: true,
            })),
            r#"device=gpu exclude_seen=true k=10 key=["id"] rule=predict sequence=history threads=2"#
        );
        assert_eq!(
            parts(&predict(Question::Table {
                columns: None,
                without: vec!["y".to_owned()],
            })),
            r#"device=gpu key=["id"] rule=predict threads=2"#
        );
    }

    #[test]
    fn every_option_of_a_table_is_identity() {
        let name = || vec!["c".to_owned()];
        let all = [
            tabular(),
            Tabular {
                label: name(),
                ..tabular()
            },
            Tabular {
                columns: Some(name()),
                ..tabular()
            },
            Tabular {
                key: name(),
                ..tabular()
            },
            Tabular {
                categories: name(),
                ..tabular()
            },
            Tabular {
                task: Some(crate::Task::Binary),
                ..tabular()
            },
            Tabular {
                allow_leak: name(),
                ..tabular()
            },
            Tabular {
                time: Some("c".to_owned()),
                ..tabular()
            },
        ];
        let described = all.map(|tabular| parts(&training(Subject::Table(tabular))));
        let different: std::collections::BTreeSet<_> = described.iter().collect();
        assert_eq!(different.len(), described.len());
    }

    #[test]
    fn a_pinned_digest_stands_for_the_command() {
        let fetch = |line: &str| Action {
            work: Work::Command(Command {
                line: CommandLine::Shell(line.to_owned()),
                env: BTreeMap::new(),
                tools: Vec::new(),
                out: Some("file".to_owned()),
                digest: Some(PinnedDigest::Sha256("00".repeat(32))),
                gpus: 0,
                timeout: None,
                training: None,
            }),
            inputs: Vec::new(),
            plan: None,
            code: BTreeMap::new(),
            toolchain: "process 1".to_owned(),
        };
        assert_eq!(fetch("curl a").key(), fetch("wget a").key());
    }

    #[test]
    fn code_and_the_accelerator_asked_for_are_identity_and_a_timeout_is_not() {
        let call = |code: &str, seconds, gpus| Action {
            work: Work::Python(Python {
                module: "lib.labels".to_owned(),
                function: "make".to_owned(),
                params: BTreeMap::new(),
                columns: BTreeMap::new(),
                env: BTreeMap::new(),
                table: true,
                threads: 1,
                gpus,
                timeout: Some(std::time::Duration::from_secs(seconds)),
                training: None,
            }),
            inputs: Vec::new(),
            code: BTreeMap::from([("code.lib/labels.py.make".to_owned(), code.to_owned())]),
            plan: None,
            toolchain: "python runner 1".to_owned(),
        };
        assert_eq!(call("00", 1, 0).key(), call("00", 2, 0).key());
        assert_ne!(call("00", 1, 0).key(), call("01", 1, 0).key());
        assert_ne!(call("00", 1, 0).key(), call("00", 1, 1).key());
    }

    /// The keys are by another implementation of `spec/action-key.md`.
    #[test]
    fn a_choice_is_known_by_the_files_and_figures_of_its_candidates() {
        let pick = |goal, large: f64| {
            let candidate = |name: &str, files: &[u8], figure| Input {
                name: name.to_owned(),
                content: InputContent::Candidate {
                    files: Digest::of(files),
                    figure,
                },
            };
            Action {
                work: Work::Pick(Pick {
                    metric: "valid_ndcg@10".to_owned(),
                    goal,
                    points: vec!["dim=32".to_owned(), "dim=64".to_owned()],
                }),
                inputs: vec![
                    candidate("dim=32", b"small", 0.25),
                    candidate("dim=64", b"large", large),
                ],
                plan: None,
                code: BTreeMap::new(),
                toolchain: "pick 1".to_owned(),
            }
        };
        let key = pick(crate::Goal::Max, 1.0).key();
        assert_eq!(
            key.to_string(),
            "8fbc02a1c1bdbed374fdfd8b04374e37caea17552d1ebb270a25d46f61680128"
        );
        assert_ne!(pick(crate::Goal::Min, 1.0).key(), key);
        assert_ne!(pick(crate::Goal::Max, 0.5).key(), key);
    }

    #[test]
    fn golden_keys_of_splits_do_not_move() {
        let key = |by| {
            let action = Action {
                work: Work::Split(Split { by }),
                inputs: Vec::new(),
                plan: None,
                code: BTreeMap::new(),
                toolchain: "test 1".to_owned(),
            };
            action.key().to_string()
        };
        let hash = |parts| SplitBy::Hash {
            columns: vec!["id".to_owned()],
            parts,
            seed: 7,
        };
        let shares = vec![("train".to_owned(), 0.8), ("test".to_owned(), 0.2)];
        let until = SplitBy::Until {
            column: "at".to_owned(),
            until: vec![("train".to_owned(), Value::Text("2024-01-01".to_owned()))],
            rest: "test".to_owned(),
        };
        assert_eq!(
            [
                key(hash(Parts::Shares(shares))),
                key(hash(Parts::Folds(5))),
                key(until)
            ],
            [
                "5077dab802ee8d028fe8d93975573ef36c4efcbf48823aa57ce8b93695ff1173",
                "bafd9887267b9d0d6b59cdbffd1cde6f2431674d61414f53b90780d2fcc5d355",
                "23dafbfe799c291f22511e3bd367178bf411e133cc9da6419308ef3aaa32a061",
            ]
        );
    }
}
