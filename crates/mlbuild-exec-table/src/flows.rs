//! Column lineage of a query: which columns of its tables each column of its result is computed from, and which decide
//! what rows there are.
//!
//! An optimised plan is traced from its scans upwards. Every node maps the origins of its inputs' columns to those of its
//! own; what filters, joins, groups or cuts off rows is kept apart, since it bears on all columns alike. A node that
//! this module does not know passes everything on to every column: too much, never too little.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};
use mlbuild_action::{Flows, Origin};

use crate::session::label_of;

type Origins = BTreeSet<Origin>;

/// The flows of an optimised plan.
pub(crate) fn trace(plan: &LogicalPlan) -> Flows {
    let Traced { columns, rows, .. } = traced(plan);
    let names = plan
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone());
    Flows {
        columns: names.zip(columns).collect(),
        rows,
    }
}

/// The output of a node.
struct Traced {
    /// For each column, what its values are computed from.
    columns: Vec<Origins>,
    /// What decides which rows there are.
    rows: Origins,
    /// What decides their order, which matters as soon as some are cut off.
    order: Origins,
}

fn traced(plan: &LogicalPlan) -> Traced {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let origin = |column: &str| Origin {
                input: label_of(&scan.table_name),
                column: column.to_owned(),
            };
            let fields = scan.projected_schema.fields().iter();
            let filters = scan.filters.iter().flat_map(Expr::column_refs);
            Traced {
                columns: fields
                    .map(|field| BTreeSet::from([origin(field.name())]))
                    .collect(),
                rows: filters.map(|column| origin(&column.name)).collect(),
                order: Origins::new(),
            }
        }
        LogicalPlan::Projection(node) => {
            let input = traced(&node.input);
            let columns = node
                .expr
                .iter()
                .map(|expr| input.of(expr, node.input.schema()));
            let columns = columns.collect();
            Traced { columns, ..input }
        }
        LogicalPlan::Filter(node) => {
            let mut input = traced(&node.input);
            let more = input.of(&node.predicate, node.input.schema());
            input.rows.extend(more);
            input
        }
        LogicalPlan::Sort(node) => {
            let mut input = traced(&node.input);
            let terms = node.expr.iter().map(|term| &term.expr);
            input.order = input.of_all(terms, node.input.schema());
            match node.fetch {
                Some(_) => input.cut(),
                None => input,
            }
        }
        LogicalPlan::Limit(node) => traced(&node.input).cut(),
        LogicalPlan::SubqueryAlias(node) => traced(&node.input),
        LogicalPlan::Subquery(node) => traced(&node.subquery),
        LogicalPlan::Repartition(node) => traced(&node.input),
        LogicalPlan::Distinct(node) => {
            let mut input = traced(node.input());
            let all: Origins = input.columns.iter().flatten().cloned().collect();
            input.rows.extend(all);
            input
        }
        LogicalPlan::Aggregate(node) => {
            let input = traced(&node.input);
            let schema = node.input.schema();
            let groups: Vec<_> = node
                .group_expr
                .iter()
                .map(|e| input.of(e, schema))
                .collect();
            let results = node.aggr_expr.iter().map(|e| input.of(e, schema));
            let results: Vec<_> = results.collect();
            let mut rows = input.rows;
            rows.extend(groups.iter().flatten().cloned());
            // Grouping sets add a column that says which set a row belongs to, between groups and results.
            let extra = plan.schema().fields().len();
            let extra = extra.saturating_sub(groups.len() + results.len());
            let extra = vec![Origins::new(); extra];
            Traced {
                columns: [groups, extra, results].concat(),
                rows,
                order: Origins::new(),
            }
        }
        LogicalPlan::Window(node) => {
            let mut input = traced(&node.input);
            let schema = node.input.schema();
            let more: Vec<_> = node
                .window_expr
                .iter()
                .map(|e| input.of(e, schema))
                .collect();
            input.columns.extend(more);
            input
        }
        LogicalPlan::Join(node) => {
            let (left, right) = (traced(&node.left), traced(&node.right));
            let mut rows: Origins = left.rows.union(&right.rows).cloned().collect();
            for (l, r) in &node.on {
                rows.extend(left.of(l, node.left.schema()));
                rows.extend(right.of(r, node.right.schema()));
            }
            let both = Traced {
                columns: [left.columns.clone(), right.columns.clone()].concat(),
                rows: Origins::new(),
                order: Origins::new(),
            };
            if let Some(filter) = &node.filter {
                // The schema of an inner join has all columns, left before right.
                let schema = node.left.schema().join(node.right.schema());
                rows.extend(schema.map_or_else(|_| both.all(), |schema| both.of(filter, &schema)));
            }
            let columns = match node.join_type {
                JoinType::LeftSemi | JoinType::LeftAnti => left.columns,
                JoinType::RightSemi | JoinType::RightAnti => right.columns,
                // The mark says whether there was a match.
                JoinType::LeftMark => [left.columns, vec![rows.clone()]].concat(),
                JoinType::RightMark => [right.columns, vec![rows.clone()]].concat(),
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => both.columns,
            };
            Traced {
                columns,
                rows,
                order: Origins::new(),
            }
        }
        LogicalPlan::Union(node) => {
            let inputs = node.inputs.iter().map(|input| traced(input));
            let width = plan.schema().fields().len();
            let empty = Traced {
                columns: vec![Origins::new(); width],
                rows: Origins::new(),
                order: Origins::new(),
            };
            inputs.fold(empty, |mut union, input| {
                for (column, more) in union.columns.iter_mut().zip(input.columns) {
                    column.extend(more);
                }
                union.rows.extend(input.rows);
                union
            })
        }
        other => unknown(other),
    }
}

/// A node of which only the inputs are known: each of its columns may come from all of theirs.
fn unknown(plan: &LogicalPlan) -> Traced {
    let inputs: Vec<Traced> = plan.inputs().into_iter().map(traced).collect();
    let all: Origins = inputs.iter().flat_map(Traced::all).collect();
    Traced {
        columns: vec![all.clone(); plan.schema().fields().len()],
        rows: all,
        order: Origins::new(),
    }
}

impl Traced {
    /// What an expression over these columns is computed from.
    fn of(&self, expr: &Expr, schema: &DFSchema) -> Origins {
        let columns = expr.column_refs().into_iter();
        let mut origins: Origins = columns
            .flat_map(|column| self.of_column(column, schema))
            .collect();
        // `apply` cannot fail, for the closure does not.
        let _ = expr.apply(|part| {
            let subquery = match part {
                Expr::ScalarSubquery(subquery) => Some(subquery),
                Expr::Exists(exists) => Some(&exists.subquery),
                Expr::InSubquery(membership) => Some(&membership.subquery),
                _ => None,
            };
            origins.extend(subquery.into_iter().flat_map(|s| traced(&s.subquery).all()));
            Ok(TreeNodeRecursion::Continue)
        });
        origins
    }

    fn of_all<'e>(&self, exprs: impl Iterator<Item = &'e Expr>, schema: &DFSchema) -> Origins {
        exprs.flat_map(|expr| self.of(expr, schema)).collect()
    }

    fn of_column(&self, column: &Column, schema: &DFSchema) -> Origins {
        let index = schema.maybe_index_of_column(column);
        let found = index.and_then(|index| self.columns.get(index)).cloned();
        found.unwrap_or_else(|| self.all())
    }

    fn all(&self) -> Origins {
        let values = self.columns.iter().flatten();
        values.chain(&self.rows).cloned().collect()
    }

    /// Some rows are cut off: which, their order decides.
    fn cut(mut self) -> Self {
        let order = std::mem::take(&mut self.order);
        self.rows.extend(order);
        self
    }
}
