//! Audits: what must hold of a table, asked as a query whose rows are the violations.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Column;
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use mlbuild_action::{Check, CheckRule, Diagnostic, Failure, Output, Request, RowsBound, Value};

use crate::query::{self, Planned};
use crate::session::{self, Joins};
use crate::sql_error::candidates;
use crate::{analyze, failure, order, show};

/// Violating rows that a diagnostic shows.
const SHOWN_ROWS: usize = 5;

/// Audits the input `table`.
///
/// # Errors
/// [`Failure::Rejected`] with the violations, unless they only warn; [`Failure::Invalid`] if the check does not fit
/// the table.
pub(crate) async fn check(request: &Request<'_>, check: &Check) -> Result<Output, Failure> {
    let context = session::open(request, Joins::Merge)?;
    let tables = session::register_inputs(&context, request).await?;
    let verdict = match &check.rule {
        CheckRule::Rows(bound) => rows_bound(request, *bound),
        CheckRule::Sql(sql) => {
            let Planned { plan, optimized } = query::plan(&context, sql, &tables).await?;
            analyze::verify(&optimized, request.analysis)?;
            violations(request, &context, plan).await?
        }
        rule => {
            let table = tables.iter().find(|table| table.label == "table");
            let table = table.expect("the engine supplies the input `table`");
            let audit = Audit {
                context: &context,
                table: "table",
                schema: &table.schema,
            };
            let key = request
                .input("table")
                .table
                .as_ref()
                .map(|table| &table.key[..]);
            let plan = audit
                .plan(rule, analyze::shown(check, key.unwrap_or(&[])))
                .await?;
            violations(request, &context, plan).await?
        }
    };
    match verdict {
        None => Ok(Output::default()),
        Some(Violations { what, lines }) => {
            let message = format!("check `{}` does not hold: {what}", check.name);
            match check.warn_only {
                false => Err(Failure::Rejected(
                    Diagnostic::error("check::failed", message).detail(lines),
                )),
                true => {
                    let lines = lines
                        .iter()
                        .map(|line| format!("\n  {line}"))
                        .collect::<String>();
                    Ok(Output {
                        warnings: vec![message + &lines],
                        ..Output::default()
                    })
                }
            }
        }
    }
}

/// Checks that the table in `file` has a key: its columns are never null, and no two rows agree on them.
///
/// # Errors
/// [`Failure::Rejected`] with some of the rows.
pub(crate) async fn key(request: &Request<'_>, file: &Path, key: &[String]) -> Result<(), Failure> {
    if key.is_empty() {
        return Ok(());
    }
    let context = session::open(request, Joins::Merge)?;
    let schema = session::register(&context, "table", file).await?;
    let audit = Audit {
        context: &context,
        table: "table",
        schema: &schema,
    };
    for column in key {
        let plan = audit
            .plan(&CheckRule::NotNull(column.clone()), None)
            .await?;
        if let Some(Violations { what, lines }) = violations(request, &context, plan).await? {
            let message = format!("key column `{column}` is null in {what}");
            return Err(Failure::Rejected(
                Diagnostic::error("table::null-key", message).detail(lines),
            ));
        }
    }
    let plan = audit.plan(&CheckRule::Unique(key.to_vec()), None).await?;
    if let Some(Violations { what, lines }) = violations(request, &context, plan).await? {
        let names = key
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let message = format!("the key {names} is not unique: {what} of it occur more than once");
        return Err(Failure::Rejected(
            Diagnostic::error("table::duplicate-key", message).detail(lines),
        ));
    }
    Ok(())
}

/// What violates a check.
struct Violations {
    /// How many, in words.
    what: String,
    /// Some of them.
    lines: Vec<String>,
}

fn rows_bound(request: &Request<'_>, bound: RowsBound) -> Option<Violations> {
    let rows = request
        .input("table")
        .table
        .as_ref()
        .map_or(0, |table| table.rows);
    (!bound.comparison.holds(rows, bound.rows)).then(|| Violations {
        what: format!(
            "{} where {} {} are expected",
            counted(rows, "row"),
            bound.comparison.as_str(),
            bound.rows
        ),
        lines: Vec::new(),
    })
}

/// A table under audit.
struct Audit<'a> {
    context: &'a SessionContext,
    table: &'a str,
    schema: &'a SchemaRef,
}

impl Audit<'_> {
    /// The query for the rows that violate `rule`, in a fixed order: of rows of the table the columns `shown`, or all.
    async fn plan(
        &self,
        rule: &CheckRule,
        shown: Option<Vec<&str>>,
    ) -> Result<LogicalPlan, Failure> {
        let frame = self
            .context
            .table(self.table)
            .await
            .map_err(|e| failure::run_time(&e))?;
        let scan = LogicalPlanBuilder::from(frame.into_unoptimized_plan());
        let plan = match rule {
            CheckRule::NotNull(column) => scan.filter(self.column(column)?.is_null()),
            CheckRule::AcceptedValues(name, values) => {
                let column = self.column(name)?;
                let values = self.literals(name, values)?;
                scan.filter(column.in_list(values, true))
            }
            CheckRule::Range(name, min, max) => {
                let column = self.column(name)?;
                let min = self
                    .literals(name, min)?
                    .into_iter()
                    .map(|min| column.clone().lt(min));
                let max = self
                    .literals(name, max)?
                    .into_iter()
                    .map(|max| column.clone().gt(max));
                // Without bounds nothing is out of them.
                scan.filter(
                    min.chain(max)
                        .reduce(Expr::or)
                        .unwrap_or_else(|| lit(false)),
                )
            }
            CheckRule::Unique(columns) => {
                let columns: Result<Vec<_>, _> =
                    columns.iter().map(|name| self.column(name)).collect();
                scan.aggregate(columns?, [count(lit(1)).alias("rows")])
                    .and_then(|groups| {
                        groups.filter(Expr::Column(Column::from_name("rows")).gt(lit(1)))
                    })
            }
            CheckRule::Rows(_) | CheckRule::Sql(_) => unreachable!("asked elsewhere"),
        };
        let plan = match shown {
            Some(columns) if !matches!(rule, CheckRule::Unique(_)) => {
                let columns = columns
                    .into_iter()
                    .map(|name| Expr::Column(Column::from_name(name)));
                plan.and_then(|plan| plan.project(columns))
            }
            _ => plan,
        };
        let plan = plan.and_then(LogicalPlanBuilder::build);
        plan.and_then(|plan| order::canonical(plan, &[]))
            .map_err(|error| failure::run_time(&error))
    }

    fn column(&self, name: &str) -> Result<Expr, Failure> {
        match self.schema.field_with_name(name) {
            Ok(_) => Ok(Expr::Column(Column::from_name(name))),
            Err(_) => {
                let fields = self.schema.fields().iter();
                let names = fields
                    .map(|f| format!("{} ({})", f.name(), crate::show::type_name(f.data_type())));
                Err(Failure::Invalid(
                    Diagnostic::error(
                        "check::unknown-column",
                        format!("the table has no column `{name}`"),
                    )
                    .help(candidates(name, names)),
                ))
            }
        }
    }

    /// The values as literals of the column's type.
    fn literals<'v>(
        &self,
        column: &str,
        values: impl IntoIterator<Item = &'v Value>,
    ) -> Result<Vec<Expr>, Failure> {
        let data_type = self
            .schema
            .field_with_name(column)
            .expect("`column` found it")
            .data_type();
        let literal = |value: &Value| {
            let scalar = match value {
                Value::Int(value) => ScalarValue::from(*value),
                Value::Float(value) => ScalarValue::from(*value),
                Value::Bool(value) => ScalarValue::from(*value),
                Value::Text(value) => ScalarValue::from(value.as_str()),
            };
            // A float bound of an integer column stays a float: rounding it would move the bound.
            let keeps = matches!(value, Value::Float(_)) && data_type.is_integer();
            let fits = match keeps {
                true => Ok(scalar),
                false => scalar.cast_to(data_type),
            };
            fits.ok()
                .filter(|scalar| !scalar.is_null())
                .map(lit_scalar)
                .ok_or_else(|| {
                    failure::invalid(
                        "check::value",
                        format!(
                            "{value} is not a value of column `{column}`, which has type {}",
                            crate::show::type_name(data_type)
                        ),
                    )
                })
        };
        values.into_iter().map(literal).collect()
    }
}

fn lit_scalar(scalar: ScalarValue) -> Expr {
    Expr::Literal(scalar, None)
}

/// Runs a query for violations; `None` if there are none.
async fn violations(
    request: &Request<'_>,
    context: &SessionContext,
    plan: LogicalPlan,
) -> Result<Option<Violations>, Failure> {
    let run_time = |error| failure::run_time(&error);
    let frame = context.execute_logical_plan(plan).await.map_err(run_time)?;
    let mut batches = frame.execute_stream().await.map_err(run_time)?;
    let mut rows = 0;
    let mut shown: Vec<RecordBatch> = Vec::new();
    while let Some(batch) = batches.next().await {
        if request.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        let batch = batch.map_err(run_time)?;
        let missing = (SHOWN_ROWS as u64).saturating_sub(rows);
        if missing > 0 {
            shown.push(batch.slice(0, batch.num_rows().min(missing as usize)));
        }
        rows += batch.num_rows() as u64;
    }
    if rows == 0 {
        return Ok(None);
    }
    Ok(Some(Violations {
        what: counted(rows, "row"),
        lines: show::rows(&shown, SHOWN_ROWS).map_err(failure::arrow)?,
    }))
}

fn counted(n: u64, noun: &str) -> String {
    match n {
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}
