//! Queries: what their text says, matched with the declarations.

use std::collections::{BTreeMap, BTreeSet};

use mlbuild_action::{Diagnostic, RowOrder, Sql, Value};
use mlbuild_manifest::{Declaration, Kind, Label, Spanned, SqlDefinition, SqlText, list, nearest};
use mlbuild_sql::{Query, TableRef};

use crate::resolve::Resolver;

/// A query, resolved.
pub(crate) struct ResolvedQuery {
    pub(crate) sql: Sql,
    /// The tables it reads, sorted.
    pub(crate) tables: Vec<Label>,
}

impl Resolver<'_> {
    /// Analyses the query that makes `target`, and the queries of its checks; complains about parameters none of them
    /// uses. The second value is `None` at a check that is wrong.
    pub(crate) fn queries(
        &mut self,
        target: &Declaration,
        definition: Option<&SqlDefinition>,
        checks: &[&SqlText],
    ) -> (Option<ResolvedQuery>, Vec<Option<ResolvedQuery>>) {
        let none = BTreeMap::new();
        let params = definition.map_or(&none, |definition| &definition.params);
        let order = definition.map_or(RowOrder::Canonical, |definition| definition.order);
        let texts = definition.iter().map(|definition| &definition.sql);
        let queries: Vec<_> = texts
            .chain(checks.iter().copied())
            .map(|sql| (sql, self.read(sql)))
            .collect();
        if queries.iter().all(|(_, query)| query.is_some()) {
            let used = queries.iter().flat_map(|(_, query)| query);
            let used = used
                .flat_map(|query| &query.params)
                .map(|param| &*param.name)
                .collect();
            self.unused_params(target, params, &used);
        }
        let mut resolved: Vec<_> = queries
            .into_iter()
            .enumerate()
            .map(|(i, (sql, query))| {
                let main = definition.is_some() && i == 0;
                self.resolve_query(target, sql, query?, params, order, main)
            })
            .collect();
        let main = definition.and_then(|_| resolved.remove(0));
        (main, resolved)
    }

    fn read(&mut self, sql: &SqlText) -> Option<Query> {
        let (query, errors) = mlbuild_sql::read(sql.text());
        for error in errors {
            let range = sql.locate(error.range);
            let mut diagnostic =
                Diagnostic::error(error.code, error.message).at(&*sql.file, range, error.label);
            diagnostic.help = error.help;
            self.diagnostics.push(diagnostic);
        }
        query
    }

    fn resolve_query(
        &mut self,
        target: &Declaration,
        sql: &SqlText,
        query: Query,
        params: &BTreeMap<String, Spanned<Value>>,
        order: RowOrder,
        main: bool,
    ) -> Option<ResolvedQuery> {
        let tables: Vec<_> = query
            .tables
            .iter()
            .map(|table| self.table(target, sql, table, main))
            .collect();
        let key = if main { target.key.clone() } else { Vec::new() };
        let mut used = BTreeMap::new();
        let mut complete = true;
        for param in &query.params {
            if let Some(value) = params.get(&param.name) {
                used.insert(param.name.clone(), value.value.clone());
                continue;
            }
            complete = false;
            let help = match nearest(&param.name, params.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `${near}`?"),
                None => format!(
                    "give it a value in `[{}.{}]`: `params = {{ {} = ... }}`",
                    target.label.kind(),
                    target.label.name(),
                    param.name
                ),
            };
            self.diagnostics.push(
                Diagnostic::error(
                    "sql::missing-parameter",
                    format!("parameter `${}` has no value", param.name),
                )
                .at(&*sql.file, sql.locate(param.range.clone()), "used here")
                .help(help),
            );
        }
        let tables: Vec<Label> = tables.into_iter().collect::<Option<_>>()?;
        complete.then(|| ResolvedQuery {
            sql: Sql {
                canonical: query.canonical,
                text: sql.source.clone(),
                file: sql.file.clone(),
                params: used,
                key,
                order: if main { order } else { RowOrder::Canonical },
            },
            tables,
        })
    }

    fn unused_params(
        &mut self,
        target: &Declaration,
        params: &BTreeMap<String, Spanned<Value>>,
        used: &BTreeSet<&str>,
    ) {
        for (name, value) in params {
            if used.contains(&**name) {
                continue;
            }
            let help = match nearest(name, used.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if used.is_empty() => format!("write `${name}` in the query, or remove it"),
                None => format!("the query uses {}", list(used.iter().copied())),
            };
            self.diagnostics.push(
                Diagnostic::error(
                    "sql::unused-parameter",
                    format!("the query of `{}` has no parameter `{name}`", target.label),
                )
                .at(&*self.manifest.file, value.range.clone(), "not used")
                .help(help),
            );
        }
    }

    /// The target that a table of a query is.
    fn table(
        &mut self,
        target: &Declaration,
        sql: &SqlText,
        table: &TableRef,
        main: bool,
    ) -> Option<Label> {
        let TableRef { kind, name, range } = table;
        let range = sql.locate(range.clone());
        let written = format!("{kind}.{name}");
        let label = Kind::from_name(kind).and_then(|kind| Label::new(kind, &**name));
        let Some(label) = label.filter(|label| self.is_known(label)) else {
            let tables = self.declared().filter(|known| known.kind().is_tabular());
            let names: Vec<_> = tables
                .map(|known| format!("{}.{}", known.kind(), known.name()))
                .collect();
            let names = names.iter().map(String::as_str);
            let help = match nearest(&written, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the tables are {}", list(names)),
            };
            let message = format!("no table `{written}`, which `{}` reads", target.label);
            self.diagnostics.push(
                Diagnostic::error("sql::unknown-table", message)
                    .at(&*sql.file, range, "not a target")
                    .help(help),
            );
            return None;
        };
        if !self.is_table(&label) {
            let help = match label.kind().is_tabular() {
                true => format!("give `{label}` a `format` to read its files as a table"),
                false => "queries read targets of kind `data` and `features`".to_owned(),
            };
            self.diagnostics.push(
                Diagnostic::error("graph::not-a-table", format!("`{label}` is not a table"))
                    .at(&*sql.file, range, "not a table")
                    .help(help),
            );
            return None;
        }
        // A check that reads the table it audits is no cycle.
        if main || label != target.label {
            self.refer(&target.label, &label, &sql.file, range);
        }
        Some(label)
    }
}
