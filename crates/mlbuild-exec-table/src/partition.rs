//! Into how many partitions a query is cut, which may not show in its result.
//!
//! Partitions run at the same time, and rows that went through them come in another order every time. That is no matter
//! where rows are a multiset: the last sort is total (see [`crate::order`]), and so are joins, groups and the aggregates
//! listed here. Whatever is not known to be so, and every plan with it, runs in one partition.
//!
//! That a query fails must not depend on them either. `x <> 0 and 1 / x > 2` may skip its right side for a whole batch, so
//! which rows are together in one decides whether it fails: what can fail in a filter, or anywhere under `and` or `or`,
//! runs in one partition as well.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{AggregateFunction, BinaryExpr};
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan, Operator};

/// Aggregates whose value does not depend on the order of their rows.
const COMMUTATIVE: [&str; 27] = [
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "grouping",
    "max",
    "min",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

/// Functions that fail on no row, as far as filters commonly have them.
const TOTAL: [&str; 18] = [
    "btrim",
    "ceil",
    "character_length",
    "coalesce",
    "concat",
    "date_part",
    "date_trunc",
    "ends_with",
    "floor",
    "lower",
    "ltrim",
    "nullif",
    "octet_length",
    "rtrim",
    "starts_with",
    "strpos",
    "substr",
    "upper",
];

/// The number of partitions for `plan`, whose rows are in a total order: `threads`, or one.
pub(crate) fn count(plan: &LogicalPlan, threads: usize) -> usize {
    match threads > 1 && whole_is_indifferent(plan) {
        true => threads,
        false => 1,
    }
}

/// Whether a plan under [`crate::order::canonical`] yields the same rows in any number of partitions.
fn whole_is_indifferent(plan: &LogicalPlan) -> bool {
    match plan {
        // What is above the total sort sees the rows in its order.
        LogicalPlan::Projection(_) | LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) => {
            expressions_are_indifferent(plan)
                && !has_subquery(plan)
                && whole_is_indifferent(plan.inputs()[0])
        }
        LogicalPlan::Sort(sort) => {
            expressions_are_indifferent(plan) && part_is_indifferent(&sort.input)
        }
        other => part_is_indifferent(other),
    }
}

/// Whether a plan yields the same multiset of rows in any number of partitions.
fn part_is_indifferent(plan: &LogicalPlan) -> bool {
    let mut indifferent = true;
    // The walk cannot fail, for the closure does not.
    let _ = plan.apply_with_subqueries(|node| {
        indifferent = keeps_multisets(node) && expressions_are_indifferent(node);
        Ok(match indifferent {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    });
    indifferent
}

/// Whether equal multisets of rows make equal multisets of rows, as far as the kind of node decides.
fn keeps_multisets(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Aggregate(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Projection(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Values(_) => true,
        LogicalPlan::Distinct(distinct) => matches!(distinct, Distinct::All(_)),
        LogicalPlan::Sort(sort) => sort.fetch.is_none(),
        LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
        _ => false,
    }
}

fn expressions_are_indifferent(node: &LogicalPlan) -> bool {
    // Filters that meet when they are pushed down are joined by `and`.
    let filters = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
    !any_expression(node, |expr| match expr {
        Expr::AggregateFunction(function) => !is_commutative(function, node),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::And | Operator::Or,
            right,
        }) => [left, right].into_iter().any(|side| fails(side, node)),
        Expr::WindowFunction(_) => true,
        expr => filters && may_fail(expr, node),
    })
}

fn is_commutative(function: &AggregateFunction, node: &LogicalPlan) -> bool {
    let name = function.func.name();
    // Lists and structs may be equal and yet differ, in the sign of a zero.
    let may_tie = |argument| type_of(argument, node).is_none_or(|t| t.is_nested());
    COMMUTATIVE.contains(&name)
        && !(matches!(name, "min" | "max") && function.params.args.iter().any(may_tie))
}

/// Whether `expr` or a part of it can fail on some row.
fn fails(expr: &Expr, node: &LogicalPlan) -> bool {
    // The walk cannot fail, for the closure does not.
    expr.exists(|expr| Ok(may_fail(expr, node))).unwrap_or(true)
}

/// Whether evaluating `expr`, its parts aside, can fail on some row.
fn may_fail(expr: &Expr, node: &LogicalPlan) -> bool {
    let constant = |expr: &Expr| matches!(expr, Expr::Literal(..));
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, right, .. }) => {
            matches!(op, Operator::Divide | Operator::Modulo)
                && !constant(right)
                && type_of(expr, node).is_none_or(|t| !t.is_floating())
        }
        Expr::Cast(cast) => !constant(&cast.expr),
        Expr::ScalarFunction(function) => !TOTAL.contains(&function.name()),
        _ => false,
    }
}

/// The type of an expression of a node; `None` if it is not known here.
fn type_of(expr: &Expr, node: &LogicalPlan) -> Option<DataType> {
    let inputs = node.inputs();
    inputs
        .iter()
        .find_map(|input| expr.get_type(input.schema()).ok())
}

fn has_subquery(node: &LogicalPlan) -> bool {
    any_expression(node, |expr| {
        matches!(
            expr,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
        )
    })
}

fn any_expression(node: &LogicalPlan, matches: impl Fn(&Expr) -> bool) -> bool {
    let mut any = false;
    // The walk cannot fail, for the closures do not.
    let _ = node.apply_expressions(|expr| {
        any |= expr.exists(|expr| Ok(matches(expr)))?;
        Ok(TreeNodeRecursion::Continue)
    });
    any
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, Float64Array, Int64Array, RecordBatch, StringArray};
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::order;

    fn partitions(query: &str) -> usize {
        let context = SessionContext::new();
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![1])) as Arc<dyn Array>),
            ("x", Arc::new(Float64Array::from(vec![1.0]))),
            ("s", Arc::new(StringArray::from(vec!["a"]))),
        ]);
        context.register_batch("t", batch.unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let plan = runtime.block_on(context.state().create_logical_plan(query));
        count(&order::canonical(plan.unwrap(), &[]).unwrap(), 4)
    }

    #[test]
    fn multisets_may_be_cut() {
        for query in [
            "select id, 7 / id as y from t where x > 0 and id / 2 > 3 and x / x < 1 and lower(s) = 'a'",
            "select id, sum(x) as s, count(distinct s) as n, max(s) as m from t group by id having avg(x) > 1",
            "select distinct s from t union all select s from t where id = 1",
            "select a.id, b.x from t a left join t b on a.id = b.id and a.x < b.x",
            "select id from t order by x desc limit 3",
            "with u as (select id, min(x) as x from t group by id) select * from u order by id limit 3 offset 1",
            "select id from t where id in (select max(id) from t)",
            "select id from (select id from t order by x) as u",
        ] {
            assert_eq!(partitions(query), 4, "{query}");
        }
    }

    #[test]
    fn what_could_show_partitions_is_not_cut() {
        for query in [
            "select id, row_number() over (order by id) as n from t",
            "select id, sum(x) over (partition by id) as n from t",
            "select id from t limit 3",
            "select id from (select id from t order by id limit 3) as u where id > 0",
            "select sum(id) as s from (select id from t limit 3) as u",
            "select id from t where id in (select id from t limit 1)",
            "select id, (select id from t limit 1) as m from t order by x",
            "select array_agg(s order by id) as l from t",
            "select median(x) as m from t",
            "select distinct on (id) id, x from t order by id",
            "select min(struct(x, id)) as m from t",
            "select id from t where id <> 0 and 1 / id > 2",
            "select id from t where id = 1 or cast(s as bigint) > 2",
            "select id from (select * from t where id <> 0) as u where 1 / id > 2",
            "select id from t where sqrt(x) > 2",
            "with recursive r as (select 1 as n union all select n + 1 from r where n < 3) select n from r",
        ] {
            assert_eq!(partitions(query), 1, "{query}");
        }
    }

    #[test]
    fn one_thread_is_one_partition() {
        let empty = LogicalPlan::default();
        assert_eq!(
            (count(&empty, 0), count(&empty, 1), count(&empty, 2)),
            (1, 1, 2)
        );
    }
}
