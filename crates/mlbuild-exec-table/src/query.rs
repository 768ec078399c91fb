//! Runs one query and writes its result as a table.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use mlbuild_action::{Diagnostic, Failure, Output, Request, RowOrder, Sql, Table, Value};

use crate::session::{self, InputTable, Joins, TABLE_FILE};
use crate::sql_error::{self, Source};
use crate::writer::TableWriter;
use crate::{analyze, check, determinism, failure, order, partition};

/// Builds the table that a query yields.
///
/// # Errors
/// [`Failure::Invalid`] if the query does not fit its tables, [`Failure::Failed`] if it fails while it runs,
/// [`Failure::Rejected`] if the key is not one.
pub(crate) async fn build(request: &Request<'_>, sql: &Sql) -> Result<Output, Failure> {
    let (mut threads, mut joins) = (request.threads, Joins::Hash);
    let table = loop {
        let (context, plan) = prepare(request, sql, joins).await?;
        let partitions = match sql.order {
            RowOrder::Canonical => partition::count(&plan, threads),
            // Nothing would put the rows back in order.
            RowOrder::Input => 1,
        };
        session::cut(&context, request, partitions);
        match write(request, &context, plan, &sql.key).await {
            Ok(table) => break table,
            // Partitions hold more at a time.
            Err(Stopped::OutOfMemory) if partitions > 1 => threads = 1,
            // A hash join does not spill: what is left to try is the join that does.
            Err(Stopped::OutOfMemory) if joins == Joins::Hash => joins = Joins::Merge,
            Err(Stopped::OutOfMemory) => return Err(failure::out_of_memory()),
            Err(Stopped::Failure(failure)) => return Err(failure),
        }
        remove_begun(request)?;
    };
    check::key(request, &request.output.join(TABLE_FILE), &sql.key).await?;
    Ok(Output {
        table: Some(table),
        ..Output::default()
    })
}

/// Why a query did not come to its end.
enum Stopped {
    OutOfMemory,
    Failure(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<DataFusionError> for Stopped {
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Self::OutOfMemory,
            _ => Self::Failure(failure::run_time(&error)),
        }
    }
}

/// Makes room for another attempt at the table.
fn remove_begun(request: &Request<'_>) -> Result<(), Failure> {
    match std::fs::remove_file(request.output.join(TABLE_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failure::environment("cannot start the table again", &error))
        }
        _ => Ok(()),
    }
}

/// A session, and the plan of the query in it, its rows in a total order.
async fn prepare(
    request: &Request<'_>,
    sql: &Sql,
    joins: Joins,
) -> Result<(SessionContext, LogicalPlan), Failure> {
    let context = session::open(request, joins)?;
    let tables = session::register_inputs(&context, request).await?;
    let Planned { plan, optimized } = plan(&context, sql, &tables).await?;
    analyze::verify(&optimized, request.analysis)?;
    Ok((context, plan))
}

/// Runs a plan and writes what it yields to the output folder.
async fn write(
    request: &Request<'_>,
    context: &SessionContext,
    plan: LogicalPlan,
    key: &[String],
) -> Result<Table, Stopped> {
    let frame = context.execute_logical_plan(plan).await?;
    let path = request.output.join(TABLE_FILE);
    let mut writer = TableWriter::create(request, frame.schema().as_arrow(), &path)?;
    let mut batches = Box::pin(frame.execute_stream()).await?;
    while let Some(batch) = batches.next().await {
        writer.write(&batch?)?;
    }
    Ok(writer.finish(key)?)
}

/// Writes the table of `file` in the order of its key, or of all columns.
pub(crate) async fn sort(
    request: &Request<'_>,
    file: &std::path::Path,
    key: &[String],
) -> Result<Table, Failure> {
    let context = session::open(request, Joins::Merge)?;
    session::register(&context, "unsorted", file).await?;
    let sorted = async {
        let plan = context.table("unsorted").await?.into_unoptimized_plan();
        write(request, &context, order::canonical(plan, key)?, key).await
    };
    sorted.await.map_err(|stopped| match stopped {
        Stopped::OutOfMemory => failure::out_of_memory(),
        Stopped::Failure(failure) => failure,
    })
}

/// A query, planned.
pub(crate) struct Planned {
    /// Its rows in canonical order.
    pub(crate) plan: LogicalPlan,
    /// The same, as the optimiser leaves it: what will be read, and the proof that all types fit.
    pub(crate) optimized: LogicalPlan,
}

/// Plans a query: one statement that reads, its parameters filled in, nothing in it that its rows do not determine,
/// its result in the order of the key, else as `order` says.
pub(crate) async fn plan(
    context: &SessionContext,
    sql: &Sql,
    tables: &[InputTable],
) -> Result<Planned, Failure> {
    let mut source = Source {
        sql,
        tables,
        aliases: BTreeMap::new(),
    };
    let state = context.state();
    let dialect = state.config().options().sql_parser.dialect;
    let mut statement = state
        .sql_to_statement(&sql.text, &dialect)
        .map_err(|error| sql_error::invalid(&error, &source))?;
    let Statement::Statement(query) = &mut statement else {
        return Err(not_a_query(sql));
    };
    if !matches!(**query, ast::Statement::Query(_)) {
        return Err(not_a_query(sql));
    }
    source.aliases = aliases(query);
    fill_in(query, &sql.params).map_err(|name| missing_parameter(sql, &name))?;
    let plan = Box::pin(state.statement_to_plan(statement))
        .await
        .map_err(|error| sql_error::invalid(&error, &source))?;
    if let Some(function) = determinism::undetermined(&plan) {
        return Err(sql_error::undetermined(&function, &source));
    }
    let invalid = |error| sql_error::invalid(&error, &source);
    let plan = determinism::break_ties(plan).map_err(invalid)?;
    for column in &sql.key {
        require_column(&plan, column)?;
    }
    // Types are checked here, so that what fails later is a matter of values.
    let plan = match sql.order {
        RowOrder::Canonical => order::canonical(plan, &sql.key).map_err(invalid)?,
        RowOrder::Input => plan,
    };
    let optimized = state.optimize(&plan).map_err(invalid)?;
    match order::loses_input_order(&optimized).filter(|_| sql.order == RowOrder::Input) {
        Some(what) => Err(sql_error::no_input_order(what, &source)),
        None => Ok(Planned { plan, optimized }),
    }
}

fn not_a_query(sql: &Sql) -> Failure {
    Failure::Invalid(
        Diagnostic::error("sql::not-a-query", "this statement is not a query").at(
            &sql.file,
            0..sql.text.len().min(1),
            "only `select` builds a table",
        ),
    )
}

fn missing_parameter(sql: &Sql, name: &str) -> Failure {
    let at = sql.text.find(name).map_or(0..0, |at| at..at + name.len());
    Failure::Invalid(
        Diagnostic::error(
            "sql::missing-parameter",
            format!("parameter `{name}` has no value"),
        )
        .at(&sql.file, at, "used here"),
    )
}

/// Replaces each `$name` by its value as a literal, so that types follow as if it were written there.
///
/// # Errors
/// The first name that has no value.
fn fill_in(query: &mut ast::Statement, params: &BTreeMap<String, Value>) -> Result<(), String> {
    let filled = ast::visit_expressions_mut(query, |expr| {
        let ast::Expr::Value(value) = expr else {
            return ControlFlow::Continue(());
        };
        let ast::Value::Placeholder(name) = &value.value else {
            return ControlFlow::Continue(());
        };
        match name.strip_prefix('$').and_then(|name| params.get(name)) {
            None => ControlFlow::Break(name.clone()),
            Some(param) => {
                *expr = literal(param);
                ControlFlow::Continue(())
            }
        }
    });
    match filled {
        ControlFlow::Break(name) => Err(name),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The tables that the query gives another name: alias to name.
fn aliases(query: &ast::Statement) -> BTreeMap<String, String> {
    struct Aliases(BTreeMap<String, String>);
    impl ast::Visitor for Aliases {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<()> {
            if let ast::TableFactor::Table {
                name,
                alias: Some(alias),
                ..
            } = factor
            {
                self.0.insert(alias.name.value.clone(), name.to_string());
            }
            ControlFlow::Continue(())
        }
    }
    let mut aliases = Aliases(BTreeMap::new());
    let _ = ast::Visit::visit(query, &mut aliases);
    aliases.0
}

fn literal(value: &Value) -> ast::Expr {
    let number = |digits: String| {
        let (negative, digits) = match digits.strip_prefix('-') {
            Some(digits) => (true, digits.to_owned()),
            None => (false, digits),
        };
        let number = ast::Expr::value(ast::Value::Number(digits, false));
        match negative {
            false => number,
            true => ast::Expr::Nested(Box::new(ast::Expr::UnaryOp {
                op: ast::UnaryOperator::Minus,
                expr: Box::new(number),
            })),
        }
    };
    match value {
        Value::Int(value) => number(value.to_string()),
        Value::Float(value) => number(format!("{value:?}")),
        Value::Bool(value) => ast::Expr::value(ast::Value::Boolean(*value)),
        Value::Text(value) => ast::Expr::value(ast::Value::SingleQuotedString(value.clone())),
    }
}

fn require_column(plan: &LogicalPlan, name: &str) -> Result<(), Failure> {
    let names: Vec<&str> = plan
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    match names.contains(&name) {
        true => Ok(()),
        false => Err(Failure::Invalid(
            Diagnostic::error(
                "table::unknown-key-column",
                format!("the key names column `{name}`, which the query does not yield"),
            )
            .help(sql_error::candidates(
                name,
                names.iter().map(|n| (*n).to_owned()),
            )),
        )),
    }
}
