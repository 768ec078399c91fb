//! Puts the rows of a query in one total order.
//!
//! A top-level `order by` is kept, and every other column that it could have named breaks its ties, so `limit` above it
//! is determined as well. Without one, rows are ordered by the key, else by all columns from the left. The added terms
//! are ascending, nulls last. A query that only picks, computes and filters may keep its table's order instead.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, Sort, SortExpr};

/// The same rows in a total order. `key` names output columns, each of which exists.
pub(crate) fn canonical(plan: LogicalPlan, key: &[String]) -> Result<LogicalPlan, DataFusionError> {
    if let Some(ordered) = break_ties(&plan)? {
        return Ok(ordered);
    }
    let expr = plan
        .schema()
        .columns()
        .into_iter()
        .filter(|column| key.is_empty() || key.contains(&column.name))
        .collect::<Vec<_>>();
    let expr = match key.is_empty() {
        true => expr,
        // The key's own order, not that of the columns.
        false => key
            .iter()
            .filter_map(|name| expr.iter().find(|column| &column.name == name).cloned())
            .collect(),
    };
    Ok(LogicalPlan::Sort(Sort {
        expr: expr.into_iter().map(ascending).collect(),
        input: Arc::new(plan),
        fetch: None,
    }))
}

/// What of an optimised plan does not pass the rows of one table on in their order; `None` if everything does.
pub(crate) fn loses_input_order(plan: &LogicalPlan) -> Option<&'static str> {
    match plan {
        LogicalPlan::TableScan(_) => None,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_) => loses_input_order(plan.inputs()[0]),
        LogicalPlan::Join(_) => Some("a join"),
        LogicalPlan::Aggregate(_) => Some("an aggregate"),
        LogicalPlan::Distinct(_) => Some("a `distinct`"),
        LogicalPlan::Sort(_) => Some("an `order by`"),
        LogicalPlan::Union(_) => Some("a union"),
        LogicalPlan::Window(_) => Some("a window function"),
        _ => Some("more than one table to filter"),
    }
}

/// Extends the sort that decides the order of `plan`'s rows; `None` if there is none.
fn break_ties(plan: &LogicalPlan) -> Result<Option<LogicalPlan>, DataFusionError> {
    match plan {
        LogicalPlan::Sort(sort) => {
            let mut sort = sort.clone();
            let rest = rest(&sort.expr, sort.input.schema());
            sort.expr.extend(rest);
            Ok(Some(LogicalPlan::Sort(sort)))
        }
        // What passes rows on in the order in which they come.
        LogicalPlan::Projection(_) | LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) => {
            match break_ties(plan.inputs()[0])? {
                None => Ok(None),
                Some(input) => {
                    let plan = plan.with_new_exprs(plan.expressions(), vec![input])?;
                    Ok(Some(plan))
                }
            }
        }
        _ => Ok(None),
    }
}

fn rest(sorted: &[SortExpr], schema: &DFSchema) -> Vec<SortExpr> {
    let named = |column: &Column| {
        sorted.iter().any(|term| match &term.expr {
            Expr::Column(c) => c == column,
            _ => false,
        })
    };
    schema
        .columns()
        .into_iter()
        .filter(|column| !named(column))
        .map(ascending)
        .collect()
}

fn ascending(column: Column) -> SortExpr {
    Expr::Column(column).sort(true, false)
}
