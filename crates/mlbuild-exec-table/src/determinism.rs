//! What the rows alone do not determine: refused where it cannot be helped, else determined.
//!
//! A query may neither see the world (`now()`, `random()`) nor the order in which rows happen to come: estimates
//! (`approx_median`) and collections without an order (`array_agg(x)`) are refused. In `array_agg(x order by t)` rows
//! of equal `t` come in any order, so `x` breaks these ties; rows that then are still equal are interchangeable.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, LogicalPlan, Volatility, WindowFunctionDefinition,
};

/// Functions whose value is made of the rows in their order.
const ORDERED: [&str; 5] = [
    "array_agg",
    "first_value",
    "last_value",
    "nth_value",
    "string_agg",
];

/// A function whose value the rows do not determine.
#[derive(PartialEq, Debug)]
pub(crate) struct Undetermined {
    /// Its name.
    pub(crate) function: String,
    pub(crate) why: Why,
}

/// What else a value depends on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Why {
    /// The run.
    Run,
    /// How rows were cut into pieces: it is an estimate.
    Estimate,
    /// The order of the rows of a group.
    GroupOrder,
    /// The order of the rows of a window.
    WindowOrder,
}

/// The first function in the plan, subqueries included, whose value its rows do not determine.
pub(crate) fn undetermined(plan: &LogicalPlan) -> Option<Undetermined> {
    let mut found = None;
    // Neither walk can fail, for the closures do not.
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found = found.take().or_else(|| judge(expr));
                Ok(match found {
                    None => TreeNodeRecursion::Continue,
                    Some(_) => TreeNodeRecursion::Stop,
                })
            })
        })
    });
    found
}

fn judge(expr: &Expr) -> Option<Undetermined> {
    let (function, why) = match expr {
        Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => {
            (f.func.name(), Why::Run)
        }
        Expr::AggregateFunction(f) => {
            let name = f.func.name();
            let ordered = !f.params.order_by.is_empty();
            (name, depends_on(name, ordered, Why::GroupOrder)?)
        }
        Expr::WindowFunction(f) => {
            let ordered = !f.params.order_by.is_empty();
            let name = window_function_name(f);
            (name, depends_on(name, ordered, Why::WindowOrder)?)
        }
        _ => return None,
    };
    Some(Undetermined {
        function: function.to_owned(),
        why,
    })
}

fn depends_on(function: &str, ordered: bool, order: Why) -> Option<Why> {
    if function.starts_with("approx_") {
        return Some(Why::Estimate);
    }
    // `any_value` takes no order at all.
    let by_order = function == "any_value" || ORDERED.contains(&function) && !ordered;
    by_order.then_some(order)
}

fn window_function_name(function: &WindowFunction) -> &str {
    match &function.fun {
        WindowFunctionDefinition::AggregateUDF(f) => f.name(),
        WindowFunctionDefinition::WindowUDF(f) => f.name(),
    }
}

/// The plan with what is aggregated as the last term of each aggregate's own `order by`: ascending, nulls last.
///
/// Lists and structs are left out: they cannot be ordered within an aggregate.
pub(crate) fn break_ties(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => break_ties_of(aggregate),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

fn break_ties_of(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let names = NamePreserver::new_for_projection();
    let mut changed = false;
    let mut broken = Vec::new();
    for expr in &aggregate.aggr_expr {
        let name = names.save(expr);
        let expr = expr.clone().transform_up(|expr| match expr {
            Expr::AggregateFunction(f) if has_ties(&f, &aggregate) => {
                let mut f = f;
                f.params
                    .order_by
                    .push(f.params.args[0].clone().sort(true, false));
                Ok(Transformed::yes(Expr::AggregateFunction(f)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        changed |= expr.transformed;
        broken.push(name.restore(expr.data));
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let input = Arc::clone(&aggregate.input);
    let aggregate = Aggregate::try_new(input, aggregate.group_expr, broken)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}

fn has_ties(function: &AggregateFunction, aggregate: &Aggregate) -> bool {
    let params = &function.params;
    let Some(argument) = params.args.first() else {
        return false;
    };
    let named = params.order_by.iter().any(|term| term.expr == *argument);
    let nested = argument
        .get_type(aggregate.input.schema())
        .is_ok_and(|data_type| data_type.is_nested());
    ORDERED.contains(&function.func.name()) && !params.order_by.is_empty() && !named && !nested
}
