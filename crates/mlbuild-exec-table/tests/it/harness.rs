//! Runs work in temporary folders, and reads what it yields.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use mlbuild_action::{
    Cancel, Diagnostic, Executor, Failure, Format, Ingest, InputFolder, Output, Request, RowOrder,
    Sql, Table, Value, Work,
};
use mlbuild_exec_table::TableExecutor;
use tempfile::TempDir;

/// Inputs of work, and how it is run.
pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) inputs: BTreeMap<String, InputFolder>,
    pub(crate) threads: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) cancel: Cancel,
    runs: std::cell::Cell<u32>,
}

/// What work left behind.
pub(crate) struct Ran {
    pub(crate) folder: PathBuf,
    pub(crate) output: Output,
}

impl Ran {
    pub(crate) fn table(&self) -> &Table {
        self.output.table.as_ref().expect("a table")
    }

    /// The bytes of the table's file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.folder.join("table.parquet")).expect("a table's file")
    }

    /// `name type` of each column.
    pub(crate) fn columns(&self) -> Vec<String> {
        self.table()
            .columns
            .iter()
            .map(|c| format!("{} {}", c.name, c.data_type))
            .collect()
    }

    /// The rows, values joined by `|`.
    pub(crate) fn rows(&self) -> Vec<String> {
        use arrow::util::display::{ArrayFormatter, FormatOptions};
        let file = fs::File::open(self.folder.join("table.parquet")).expect("a table's file");
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1024)
            .expect("Parquet");
        let options = FormatOptions::default().with_null("null");
        let mut rows = Vec::new();
        for batch in reader {
            let batch = batch.expect("a batch");
            for row in 0..batch.num_rows() {
                let values = batch.columns().iter().map(|column| {
                    ArrayFormatter::try_new(column, &options)
                        .expect("printable")
                        .value(row)
                        .to_string()
                });
                rows.push(values.collect::<Vec<_>>().join("|"));
            }
        }
        rows
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            inputs: BTreeMap::new(),
            threads: 1,
            memory_bytes: 256 << 20,
            cancel: Cancel::new(),
            runs: 0.into(),
        }
    }

    /// A bench with a source of these files.
    pub(crate) fn files(files: &[(&str, &[u8])]) -> Self {
        let mut bench = Self::new();
        let path = bench.folder.path().join("files");
        fs::create_dir(&path).expect("a folder");
        for (name, bytes) in files {
            let file = path.join(name);
            fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
            fs::write(file, bytes).expect("a file");
        }
        bench
            .inputs
            .insert("files".to_owned(), InputFolder { path, table: None });
        bench
    }

    /// Adds an input table, read from CSV.
    pub(crate) fn table(mut self, label: &str, csv: &str) -> Self {
        let source = Self::files(&[("t.csv", csv.as_bytes())]);
        let ran = source
            .run(&ingest(Format::Csv))
            .expect("the test's table is good CSV");
        let path = self.folder.path().join(label.replace(':', "-"));
        fs::create_dir(&path).expect("a folder");
        fs::copy(ran.folder.join("table.parquet"), path.join("table.parquet")).expect("a copy");
        self.inputs.insert(
            label.to_owned(),
            InputFolder {
                path,
                table: ran.output.table,
            },
        );
        self
    }

    pub(crate) fn run(&self, work: &Work) -> Result<Ran, Failure> {
        self.runs.set(self.runs.get() + 1);
        let run = self.folder.path().join(format!("run-{}", self.runs.get()));
        let (output, scratch) = (run.join("out"), run.join("scratch"));
        fs::create_dir_all(&output).expect("a folder");
        fs::create_dir_all(&scratch).expect("a folder");
        let executor = TableExecutor::new();
        let schemas = self.inputs.iter().filter_map(|(name, input)| {
            let table = input.table.as_ref()?;
            Some((name.clone(), table.schema()))
        });
        let request = Request {
            work,
            inputs: &self.inputs,
            analysis: &executor.analyze(work, &schemas.collect())?,
            output: &output,
            scratch: &scratch,
            checkpoints: &run.join("checkpoints"),
            threads: self.threads,
            gpus: &[],
            memory_bytes: self.memory_bytes,
            progress: &|_| (),
            cancel: &self.cancel,
        };
        executor.execute(&request).map(|result| Ran {
            folder: output,
            output: result,
        })
    }

    pub(crate) fn sql(&self, text: &str) -> Result<Ran, Failure> {
        self.run(&Work::Sql(sql(text)))
    }

    /// The diagnostic of a query that is the user's mistake.
    pub(crate) fn sql_error(&self, text: &str) -> Diagnostic {
        match self.sql(text) {
            Err(Failure::Invalid(diagnostic)) => diagnostic,
            Err(other) => panic!("{other:?}"),
            Ok(ran) => panic!("{:?}", ran.rows()),
        }
    }
}

pub(crate) fn sql(text: &str) -> Sql {
    Sql {
        order: RowOrder::Canonical,
        canonical: text.to_owned(),
        text: text.to_owned(),
        file: "data/q.sql".to_owned(),
        params: BTreeMap::new(),
        key: Vec::new(),
    }
}

pub(crate) fn with_params(text: &str, params: &[(&str, Value)]) -> Work {
    let params = params
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    Work::Sql(Sql {
        params,
        ..sql(text)
    })
}

pub(crate) fn ingest(format: Format) -> Work {
    Work::Ingest(Ingest {
        format,
        types: BTreeMap::new(),
        row_number: None,
        key: Vec::new(),
    })
}

/// The diagnostic of a failure, whatever its kind.
pub(crate) fn diagnostic(failure: &Failure) -> &Diagnostic {
    match failure {
        Failure::Failed(d)
        | Failure::Rejected(d)
        | Failure::Invalid(d)
        | Failure::Environment(d) => d,
        Failure::Cancelled => panic!("cancelled"),
    }
}
