//! `mlbuild query`: SQL over the lineage database.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use mlbuild_action::Diagnostic;
use mlbuild_lineage::{Cell, Lineage, LineageError, QueryTable};
use serde_json::{Map, Value};

use crate::cli::{Global, Query, QueryFormat};
use crate::failure::{CommandFailure, EXIT_ENVIRONMENT, EXIT_USAGE};
use crate::load::find_root;
use crate::terminal::Terminal;

/// The views, with their columns.
const VIEWS: &str = "select m.name as view, group_concat(c.name, ', ') as columns \
    from sqlite_schema m join pragma_table_info(m.name) c where m.type = 'view' group by m.name order by m.name";

/// The last runs, latest first.
pub(crate) const LAST_RUNS: &str = "select r.run, r.started, r.status, round(r.seconds, 1) as seconds, \
    sum(t.outcome = 'built') as built, sum(t.outcome = 'restored') as restored, \
    sum(t.outcome = 'up_to_date') as up_to_date, sum(t.outcome = 'failed') as failed, r.command \
    from runs r left join targets t on t.run = r.run group by r.run order by r.run desc limit 20";

pub(crate) fn run(
    args: &Query,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    let root = find_root(global.directory.as_deref())?;
    let format = if global.json {
        QueryFormat::Jsonl
    } else {
        args.format
    };
    let sql = match args.sql.as_deref() {
        Some("-") => {
            let mut sql = String::new();
            io::stdin().read_to_string(&mut sql).map_err(|e| {
                let message = format!("cannot read the query from standard input: {e}");
                CommandFailure::new(EXIT_USAGE, Diagnostic::error("query::stdin", message))
            })?;
            sql
        }
        Some(sql) => sql.to_owned(),
        None => {
            if !terminal.quiet && !global.json {
                let _ = writeln!(io::stderr(), "name a query; these are the views:");
            }
            VIEWS.to_owned()
        }
    };
    print(&root, &sql, format)
}

/// Runs a query over the lineage of the project at `root` and prints its rows.
pub(crate) fn print(root: &Path, sql: &str, format: QueryFormat) -> Result<u8, CommandFailure> {
    let lineage = open(root)?;
    let table = lineage.query(sql).map_err(failure)?;
    let mut out = io::stdout().lock();
    let written = match format {
        QueryFormat::Table => print_aligned(&mut out, &table),
        QueryFormat::Csv => print_csv(&mut out, &table),
        QueryFormat::Jsonl => print_jsonl(&mut out, &table),
    };
    // Whoever closed the other end (`| head`) has seen enough.
    let _ = written;
    Ok(0)
}

/// The lineage of the project at `root`.
pub(crate) fn open(root: &Path) -> Result<Lineage, CommandFailure> {
    let path = mlbuild_engine::lineage_path(root);
    Lineage::open_read_only(&path)
        .map_err(failure)?
        .ok_or_else(|| {
            let diagnostic = Diagnostic::error(
                "lineage::none",
                "nothing has been built here yet, so there is no lineage",
            );
            CommandFailure::new(EXIT_USAGE, diagnostic.help("`mlbuild build` makes it"))
        })
}

/// A lineage error as a command's end.
pub(crate) fn failure(error: LineageError) -> CommandFailure {
    let diagnostic = Diagnostic::error("lineage::failed", error.to_string());
    match error {
        LineageError::Query { .. } | LineageError::NotAQuery => CommandFailure::new(
            EXIT_USAGE,
            diagnostic.help("`mlbuild query` without a query lists the views"),
        ),
        _ => CommandFailure::new(EXIT_ENVIRONMENT, diagnostic),
    }
}

fn print_aligned(out: &mut impl io::Write, table: &QueryTable) -> io::Result<()> {
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| row.iter().map(text).collect())
        .collect();
    let width = |i: usize| {
        let cells = rows.iter().map(|row| row[i].chars().count());
        cells
            .chain([table.columns[i].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let mut line = |cells: &[String]| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    line(&table.columns)?;
    line(
        &widths
            .iter()
            .map(|width| "-".repeat(*width))
            .collect::<Vec<_>>(),
    )?;
    rows.iter().try_for_each(|row| line(row))
}

fn print_csv(out: &mut impl io::Write, table: &QueryTable) -> io::Result<()> {
    let quote = |cell: &str| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.to_owned()
        }
    };
    let header: Vec<String> = table.columns.iter().map(|name| quote(name)).collect();
    writeln!(out, "{}", header.join(","))?;
    table.rows.iter().try_for_each(|row| {
        let cells: Vec<String> = row.iter().map(|cell| quote(&text(cell))).collect();
        writeln!(out, "{}", cells.join(","))
    })
}

fn print_jsonl(out: &mut impl io::Write, table: &QueryTable) -> io::Result<()> {
    table.rows.iter().try_for_each(|row| {
        let cells = table.columns.iter().cloned().zip(row.iter().map(json));
        writeln!(out, "{}", Value::Object(cells.collect::<Map<_, _>>()))
    })
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Int(number) => number.to_string(),
        Cell::Float(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn json(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Int(number) => (*number).into(),
        Cell::Float(number) => (*number).into(),
        Cell::Text(_) | Cell::Blob(_) => text(cell).into(),
    }
}
