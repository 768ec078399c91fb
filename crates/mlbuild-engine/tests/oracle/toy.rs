//! An executor for tiny integer tables. It sees what every executor sees, the canonical text and folders of files, and
//! knows nothing of the declarations behind them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlbuild_action::{
    Analysis, Diagnostic, Executor, Failure, Output, Request, Schema, Sql, Value, Work,
};
use mlbuild_digest::Encoder;
use mlbuild_engine::{RowDiff, RowDifference, TableFiles};

use crate::frame::Frame;

/// Performs ingests and queries, and counts them.
#[derive(Clone, Default)]
pub(crate) struct Toy {
    executed: Arc<AtomicU64>,
}

impl Toy {
    /// How often it executed anything, failures included.
    pub(crate) fn executed(&self) -> u64 {
        self.executed.load(Ordering::Relaxed)
    }
}

impl Executor for Toy {
    fn toolchain(&self, _: &Work) -> Result<String, Failure> {
        Ok("toy 1".to_owned())
    }

    fn analyze(&self, work: &Work, inputs: &BTreeMap<String, Schema>) -> Result<Analysis, Failure> {
        match work {
            Work::Sql(sql) => Parsed::of(sql).analyze(inputs),
            _ => Ok(Analysis::default()),
        }
    }

    fn execute(&self, request: &Request<'_>) -> Result<Output, Failure> {
        self.executed.fetch_add(1, Ordering::Relaxed);
        let (frame, key) = match request.work {
            Work::Ingest(ingest) => {
                let folder = request.input("files").path.join("raw");
                let mut files = fs::read_dir(folder).unwrap();
                let file = files.next().unwrap().unwrap().path();
                (read(&file), &ingest.key)
            }
            Work::Sql(sql) => (Parsed::of(sql).run(request)?, &sql.key),
            other => unreachable!("no random project asks for {other:?}"),
        };
        let frame = frame
            .keyed(key)
            .ok_or_else(|| Failure::Failed(Diagnostic::error("toy::key", "no such key column")))?;
        fs::write(request.output.join("table.parquet"), frame.csv()).unwrap();
        Ok(Output {
            table: Some(frame.table()),
            ..Output::default()
        })
    }
}

fn read(file: &Path) -> Frame {
    Frame::from_csv(&fs::read_to_string(file).unwrap())
}

/// `SELECT a.x + y AS p, $q AS r FROM data.s AS a, data.t AS b`, taken apart.
struct Parsed<'a> {
    /// Words of each item before its `AS`, and its name; `*` is an item without a name.
    items: Vec<(Vec<&'a str>, &'a str)>,
    /// Input and alias.
    from: Vec<(String, &'a str)>,
    params: &'a BTreeMap<String, Value>,
}

impl<'a> Parsed<'a> {
    fn of(sql: &'a Sql) -> Self {
        let text = sql.canonical.strip_prefix("SELECT ").expect("a query");
        let (items, from) = text.split_once(" FROM ").expect("it reads something");
        let item = |text: &'a str| match text.split_once(" AS ") {
            Some((expression, name)) => (expression.split(' ').collect(), name),
            None => (vec![text], ""),
        };
        let table = |text: &'a str| {
            let (table, alias) = text.split_once(" AS ").expect("an alias");
            (table.replace('.', ":"), alias)
        };
        Self {
            items: items.split(", ").map(item).collect(),
            from: from.split(", ").map(table).collect(),
            params: &sql.params,
        }
    }

    fn analyze(&self, schemas: &BTreeMap<String, Schema>) -> Result<Analysis, Failure> {
        if let Some((input, _)) = self.from.iter().find(|it| !schemas.contains_key(&it.0)) {
            let unknown = Diagnostic::error("toy::input", format!("{input} is not known"));
            return Err(Failure::Invalid(unknown));
        }
        let from = self.from.iter();
        let nothing = from.fold(Analysis::default(), |analysis, (input, _)| {
            analysis.reading(input.clone(), [])
        });
        let mut plan = Encoder::new("toy plan");
        let mut reads = nothing;
        for (words, name) in &self.items {
            plan.part("item", name.as_bytes());
            for word in words {
                let columns = match *word {
                    "*" if words.len() == 1 => {
                        let (input, _) = &self.from[0];
                        let fields = schemas[input].columns.iter();
                        fields.map(|field| (input, field.name.as_str())).collect()
                    }
                    word if is_column(word) => vec![self.resolve(word, schemas)?],
                    _ => Vec::new(),
                };
                for (input, column) in columns {
                    plan.part(input, column.as_bytes());
                    reads = reads.reading(input.clone(), [column]);
                }
            }
        }
        reads.plan = Some(plan.finish());
        Ok(reads)
    }

    /// The input and the column that a name means: without an alias, of the first table that has it.
    fn resolve<'s>(
        &'s self,
        word: &'s str,
        schemas: &BTreeMap<String, Schema>,
    ) -> Result<(&'s String, &'s str), Failure> {
        let (alias, column) = word.split_once('.').unwrap_or(("", word));
        let mut from = self.from.iter();
        let found = from.find(|(input, known)| {
            (alias.is_empty() || alias == *known) && schemas[input].has(column)
        });
        found.map(|(input, _)| (input, column)).ok_or_else(|| {
            Failure::Invalid(Diagnostic::error("toy::name", format!("no column {word}")))
        })
    }

    fn run(&self, request: &Request<'_>) -> Result<Frame, Failure> {
        let inputs = request.inputs.iter();
        let tables: BTreeMap<&String, Frame> = inputs
            .map(|(name, folder)| (name, read(&folder.path.join("table.parquet"))))
            .collect();
        let schemas = request.inputs.iter();
        let schemas = schemas
            .map(|(name, folder)| (name.clone(), folder.table.as_ref().unwrap().schema()))
            .collect();
        self.hold_to(request.analysis, &schemas)?;
        let rows = self.from.iter().map(|(input, _)| tables[input].rows);
        let rows = rows.min().expect("it reads something");
        let mut columns = Vec::new();
        for (words, name) in &self.items {
            let value = |word: &str| -> Result<Vec<i64>, Failure> {
                if is_column(word) {
                    let (input, column) = self.resolve(word, &schemas)?;
                    return Ok(tables[input].column(column).unwrap()[..rows].to_vec());
                }
                let constant = match word.strip_prefix('$') {
                    Some(param) => self.params[param].as_i64().expect("an integer"),
                    None => word.parse().expect("a number"),
                };
                Ok(vec![constant; rows])
            };
            let values = match words[..] {
                ["*"] => return Ok(tables[&self.from[0].0].clone()),
                ["count(*)"] => {
                    return Ok(Frame {
                        rows: 1,
                        columns: vec![((*name).to_owned(), vec![rows as i64])],
                        key: Vec::new(),
                    });
                }
                [one] => value(one)?,
                [left, operator, right] => {
                    let pairs = value(left)?.into_iter().zip(value(right)?);
                    let values = pairs.map(|(left, right)| apply(operator, left, right));
                    values.collect::<Result<_, _>>()?
                }
                _ => unreachable!("no expression is longer: {words:?}"),
            };
            columns.push(((*name).to_owned(), values));
        }
        let key = Vec::new();
        Ok(Frame { rows, columns, key })
    }

    /// The engine hands over what [`Parsed::analyze`] says now, also if it remembered it.
    fn hold_to(&self, given: &Analysis, schemas: &BTreeMap<String, Schema>) -> Result<(), Failure> {
        let now = self.analyze(schemas)?;
        assert_eq!(*given, now, "an analysis is remembered for other schemas");
        Ok(())
    }
}

fn is_column(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_lowercase()) && word != "count(*)"
}

fn apply(operator: &str, left: i64, right: i64) -> Result<i64, Failure> {
    let value = match operator {
        "+" => Some(left.wrapping_add(right)),
        "-" => Some(left.wrapping_sub(right)),
        "*" => Some(left.wrapping_mul(right)),
        _ => left.checked_div(right),
    };
    value.ok_or_else(|| Failure::Failed(Diagnostic::error("toy::division", "division by zero")))
}

/// An executor for work that no random project asks for.
pub(crate) struct Never;

impl Executor for Never {
    fn toolchain(&self, work: &Work) -> Result<String, Failure> {
        unreachable!("no random project asks for {work:?}")
    }

    fn execute(&self, request: &Request<'_>) -> Result<Output, Failure> {
        unreachable!("no random project asks for {:?}", request.work)
    }
}

impl TableFiles for Never {
    fn project(&self, _: &Path, _: &Path, _: &[&str]) -> Result<(), Diagnostic> {
        unreachable!("queries are given whole tables")
    }

    fn reshape(&self, _: &Path, _: &Path) -> Result<(), Diagnostic> {
        unreachable!("the oracle verifies nothing")
    }

    fn first_difference(&self, _: &Path, _: &Path, _: &str) -> Option<RowDifference> {
        unreachable!("the oracle verifies nothing")
    }

    fn row_changes(
        &self,
        _: &Path,
        _: &Path,
        _: &[String],
        _: &[String],
    ) -> Result<RowDiff, Diagnostic> {
        unreachable!("the oracle compares no runs")
    }
}
