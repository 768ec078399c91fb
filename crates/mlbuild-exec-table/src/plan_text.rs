//! An optimised plan as text that says what it computes from the columns it reads, and nothing of those it does not.
//!
//! DataFusion prints a node with all names qualified, literals typed and wildcards expanded. What this module leaves
//! out is the order in which a scan delivers its columns, which is that of the table: operators name their columns, so
//! it shows in the output's order alone, and that is printed first. A union is the exception, it goes by position.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNodeRecursion, TreeNodeVisitor};
use datafusion::logical_expr::{LogicalPlan, TableScan};

/// The text of a plan; equal texts over equal columns give equal tables.
pub(crate) fn print(plan: &LogicalPlan) -> String {
    let mut printer = Printer {
        text: String::new(),
        by_position: has_union(plan),
    };
    for (_, field) in plan.schema().iter() {
        printer.line(&format!("{} {}", field.name(), field.data_type()));
    }
    // The visitor below cannot fail.
    let _ = plan.visit_with_subqueries(&mut printer);
    printer.text
}

struct Printer {
    text: String,
    by_position: bool,
}

impl Printer {
    fn line(&mut self, line: &str) {
        // Quoted, so that nothing in a name or literal reads as structure.
        self.text.push_str(&format!("{line:?}\n"));
    }
}

impl<'n> TreeNodeVisitor<'n> for Printer {
    type Node = LogicalPlan;

    fn f_down(&mut self, node: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
        match node {
            LogicalPlan::TableScan(scan) if !self.by_position => {
                let scan = scan_without_order(scan);
                self.line(&scan);
            }
            node => self.line(&node.display().to_string()),
        }
        self.text.push_str("(\n");
        Ok(TreeNodeRecursion::Continue)
    }

    fn f_up(&mut self, _: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
        self.text.push_str(")\n");
        Ok(TreeNodeRecursion::Continue)
    }
}

fn scan_without_order(scan: &TableScan) -> String {
    let fields = scan.projected_schema.iter();
    let mut columns: Vec<_> = fields
        .map(|(_, field)| format!("{:?} {}", field.name(), field.data_type()))
        .collect();
    columns.sort();
    let filters: Vec<_> = scan.filters.iter().map(ToString::to_string).collect();
    format!(
        "scan {} [{}] where {filters:?} fetch {:?}",
        scan.table_name,
        columns.join(", "),
        scan.fetch
    )
}

fn has_union(plan: &LogicalPlan) -> bool {
    let mut found = false;
    // Nor can this one.
    let _ = plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Union(_) | LogicalPlan::RecursiveQuery(_));
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    found
}
