//! Which columns a query or a check reads, from schemas alone.
//!
//! A query is planned over empty tables exactly as it is planned to run, canonical order included, and optimised. What
//! the scans of the optimised plan project is what will be read; filters and joins are part of it. Names and types may
//! resolve by more than the columns read, so the plan's text is digested too: equal plans over equal columns give equal
//! tables.
//!
//! [`verify`] holds the plan that is about to run to it, before a row is read.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use mlbuild_action::{Analysis, Check, CheckRule, Diagnostic, Failure, Schema, Sql};
use mlbuild_digest::Digest;

use crate::query::{self, Planned};
use crate::session::{self, label_of};
use crate::{flows, plan_text};

/// What a query reads of these tables.
///
/// # Errors
/// [`Failure::Invalid`] if the query does not fit them.
pub(crate) async fn sql(sql: &Sql, inputs: &BTreeMap<String, Schema>) -> Result<Analysis, Failure> {
    let context = session::without_data()?;
    let tables = session::register_schemas(&context, inputs)?;
    let Planned { optimized, .. } = query::plan(&context, sql, &tables).await?;
    let mut reads: BTreeMap<_, _> = inputs
        .keys()
        .map(|name| (name.clone(), BTreeSet::new()))
        .collect();
    reads.extend(scans(&optimized));
    Ok(Analysis {
        reads,
        plan: Some(Digest::of(plan_text::print(&optimized).as_bytes())),
        flows: Some(flows::trace(&optimized)),
    })
}

/// The columns that an optimised plan reads, by label.
fn scans(plan: &LogicalPlan) -> BTreeMap<String, BTreeSet<String>> {
    let mut reads: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // `apply` cannot fail, for the closure does not.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let read = reads.entry(label_of(&scan.table_name)).or_default();
            read.extend(scanned(scan));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    reads
}

/// The columns that a scan reads, those of filters handed down to it included.
fn scanned(scan: &TableScan) -> BTreeSet<String> {
    let schema = scan.source.schema();
    let projected = match &scan.projection {
        None => (0..schema.fields().len()).collect(),
        Some(projection) => projection.clone(),
    };
    let projected = projected
        .into_iter()
        .map(|i| schema.field(i).name().clone());
    let filters = scan.filters.iter().flat_map(|filter| filter.column_refs());
    projected
        .chain(filters.map(|column| column.name.clone()))
        .collect()
}

/// What a check reads.
///
/// A violation shows whole rows, but is not cached, so what it shows is nobody's content. A warning is: it shows the
/// columns that it is about and the key, or without a key everything.
///
/// # Errors
/// As [`sql`].
pub(crate) async fn check(
    check: &Check,
    inputs: &BTreeMap<String, Schema>,
) -> Result<Analysis, Failure> {
    let Some(columns) = checked(&check.rule) else {
        return match &check.rule {
            CheckRule::Sql(query) => sql(query, inputs).await,
            _ => Ok(Analysis::default().reading("table", [])),
        };
    };
    let key = inputs.get("table").map_or(&[][..], |schema| &schema.key);
    Ok(match (shown(check, key), check.warn_only) {
        (None, true) => Analysis::default(),
        (None, false) => Analysis::default().reading("table", columns),
        (Some(columns), _) => Analysis::default().reading("table", columns),
    })
}

/// The columns that a warning shows of a row: those that it is about and the key; `None` for all of them.
pub(crate) fn shown<'a>(check: &'a Check, key: &'a [String]) -> Option<Vec<&'a str>> {
    let columns = checked(&check.rule).filter(|_| check.warn_only && !key.is_empty())?;
    let more = key.iter().map(String::as_str);
    let more: Vec<_> = more.filter(|name| !columns.contains(name)).collect();
    Some([columns, more].concat())
}

/// The columns that a rule is about; `None` for rules about no column.
fn checked(rule: &CheckRule) -> Option<Vec<&str>> {
    match rule {
        CheckRule::NotNull(column)
        | CheckRule::AcceptedValues(column, _)
        | CheckRule::Range(column, ..) => Some(vec![column]),
        CheckRule::Unique(columns) => Some(columns.iter().map(String::as_str).collect()),
        CheckRule::Rows(_) | CheckRule::Sql(_) => None,
    }
}

/// Refuses to run an optimised plan that would read more than was said.
///
/// # Errors
/// [`Failure::Failed`]: a mistake in this module, or an optimiser that saw in the data what it could not see without.
pub(crate) fn verify(optimized: &LogicalPlan, analysis: &Analysis) -> Result<(), Failure> {
    for (label, columns) in scans(optimized) {
        let Some(said) = analysis.reads.get(&label) else {
            continue; // all of it
        };
        if let Some(column) = columns.difference(said).next() {
            return Err(unforeseen(&label, column));
        }
    }
    Ok(())
}

fn unforeseen(label: &str, column: &str) -> Failure {
    let message =
        format!("the query would read column `{column}` of `{label}`, which its key does not hold");
    Failure::Failed(
        Diagnostic::error("table::unforeseen-read", message)
            .help("this is a bug of mlbuild; please report it with the query"),
    )
}
