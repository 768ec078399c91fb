//! `checks`: what must hold for a target's table.

use std::ops::Range;

use mlbuild_action::{CheckRule, Value};
use toml::de::DeValue;

use crate::reader::{Entry, Reader, Section};
use crate::{CheckDeclaration, CheckDefinition, is_name, keys, quantity};

/// Reads `checks` and, inside it, `warn`.
pub(crate) fn checks<'t>(reader: &mut Reader<'t>, target: &Section<'t>) -> Vec<CheckDeclaration> {
    let mut checks = Checks {
        found: Vec::new(),
        warn_only: false,
    };
    if let Some(section) = reader.table(target, "checks") {
        reader.only(&section, &[keys::CHECKS, &["warn"]].concat());
        checks.read(reader, &section);
        if let Some(section) = reader.table(&section, "warn") {
            reader.only(&section, keys::CHECKS);
            checks.warn_only = true;
            checks.read(reader, &section);
        }
    }
    checks.found
}

struct Checks {
    found: Vec<CheckDeclaration>,
    warn_only: bool,
}

impl Checks {
    fn read<'t>(&mut self, reader: &mut Reader<'t>, section: &Section<'t>) {
        for (key, value) in section.entries() {
            match &*key.value {
                "not_null" => self.not_null(reader, value),
                "unique" => self.unique(reader, value),
                "accepted_values" => self.accepted_values(reader, section),
                "range" => self.range(reader, section),
                "rows" => self.rows(reader, value),
                "sql" => self.sql(reader, section),
                _ => {}
            }
        }
    }

    fn add(
        &mut self,
        reader: &mut Reader<'_>,
        name: String,
        definition: CheckDefinition,
        range: Range<usize>,
    ) {
        if self.found.iter().any(|check| check.name == name) {
            let message = format!("check `{name}` is declared twice");
            reader.error("manifest::bad-value", message, range, "again", None);
            return;
        }
        let warn_only = self.warn_only;
        self.found.push(CheckDeclaration {
            name,
            definition,
            warn_only,
            range,
        });
    }

    fn not_null(&mut self, reader: &mut Reader<'_>, value: Entry<'_>) {
        for column in reader.names("not_null", value).unwrap_or_default() {
            let name = format!("not_null({})", column.value);
            let rule = CheckRule::NotNull(column.value);
            self.add(reader, name, CheckDefinition::Rule(rule), column.range);
        }
    }

    /// One list of columns, or a list of such lists.
    fn unique(&mut self, reader: &mut Reader<'_>, value: Entry<'_>) {
        let lists: Vec<_> = match value.get_ref() {
            DeValue::Array(array) if array.iter().any(|item| item.get_ref().is_array()) => {
                array.iter().collect()
            }
            _ => vec![value],
        };
        for list in lists {
            let Some(columns) = reader.names("unique", list) else {
                continue;
            };
            let columns: Vec<_> = columns.into_iter().map(|column| column.value).collect();
            if columns.is_empty() {
                let message = "`unique` lists no column";
                reader.error("manifest::bad-value", message, list.span(), "empty", None);
                continue;
            }
            let name = format!("unique({})", columns.join(", "));
            let rule = CheckDefinition::Rule(CheckRule::Unique(columns));
            self.add(reader, name, rule, list.span());
        }
    }

    fn accepted_values<'t>(&mut self, reader: &mut Reader<'t>, section: &Section<'t>) {
        let Some(columns) = reader.table(section, "accepted_values") else {
            return;
        };
        for (column, value) in columns.entries() {
            let DeValue::Array(array) = value.get_ref() else {
                reader.wrong_type(&column.value, value, "a list of values");
                continue;
            };
            let scalars = array
                .iter()
                .filter_map(|item| reader.scalar(&column.value, item));
            let values: Vec<Value> = scalars.map(|scalar| scalar.value).collect();
            let mixed = values
                .windows(2)
                .any(|pair| pair[0].type_name() != pair[1].type_name());
            if mixed || values.is_empty() {
                let message = format!(
                    "`{}` must list values of one type, at least one",
                    column.value
                );
                let label = if mixed { "of different types" } else { "empty" };
                reader.error("manifest::bad-value", message, value.span(), label, None);
                continue;
            }
            let name = format!("accepted_values({})", column.value);
            let rule = CheckRule::AcceptedValues(column.value, values);
            self.add(reader, name, CheckDefinition::Rule(rule), column.range);
        }
    }

    fn range<'t>(&mut self, reader: &mut Reader<'t>, section: &Section<'t>) {
        let Some(columns) = reader.table(section, "range") else {
            return;
        };
        for (column, _) in columns.entries() {
            let Some(bounds) = reader.table(&columns, &column.value) else {
                continue;
            };
            reader.only(&bounds, &["max", "min"]);
            let mut bound = |key: &str| {
                let (_, value) = bounds.get(key)?;
                match value.get_ref() {
                    DeValue::Boolean(_) => {
                        reader.wrong_type(key, value, "a number or a string");
                        None
                    }
                    _ => reader.scalar(key, value).map(|scalar| scalar.value),
                }
            };
            let (min, max) = (bound("min"), bound("max"));
            if min.is_none() && max.is_none() {
                if bounds.table.is_empty() {
                    reader.missing(
                        &bounds,
                        "min",
                        "give `min`, `max` or both; they are inclusive",
                    );
                }
                continue;
            }
            let ordered = match (&min, &max) {
                (Some(Value::Text(min)), Some(Value::Text(max))) => min <= max,
                (Some(min), Some(max)) => match (min.as_f64(), max.as_f64()) {
                    (Some(min), Some(max)) => min <= max,
                    _ => false,
                },
                _ => true,
            };
            if !ordered {
                let message = format!("the range of `{}` holds no value", column.value);
                reader.error(
                    "manifest::bad-value",
                    message,
                    column.range,
                    "`min` is not below `max`",
                    None,
                );
                continue;
            }
            let name = format!("range({})", column.value);
            let rule = CheckRule::Range(column.value, min, max);
            self.add(reader, name, CheckDefinition::Rule(rule), column.range);
        }
    }

    fn rows(&mut self, reader: &mut Reader<'_>, value: Entry<'_>) {
        let bound = match value.get_ref() {
            DeValue::Integer(integer) => quantity::rows(integer.as_str()),
            DeValue::String(text) => quantity::rows(text),
            _ => None,
        };
        match bound {
            Some(bound) => {
                let rule = CheckDefinition::Rule(CheckRule::Rows(bound));
                self.add(reader, "rows".to_owned(), rule, value.span());
            }
            None => reader.error(
                "manifest::bad-value",
                "`rows` is not a bound on a number of rows",
                value.span(),
                "not a bound",
                "write a comparison and a number, as in `rows = \">= 1000\"`".to_owned(),
            ),
        }
    }

    fn sql<'t>(&mut self, reader: &mut Reader<'t>, section: &Section<'t>) {
        let Some(queries) = reader.table(section, "sql") else {
            return;
        };
        for (name, value) in queries.entries() {
            if !is_name(&name.value) {
                let message = format!("`{}` cannot name a check", name.value);
                let help =
                    "use lower case letters, digits and `_`, beginning with a letter".to_owned();
                reader.error(
                    "manifest::bad-name",
                    message,
                    name.range,
                    "not a name",
                    help,
                );
                continue;
            }
            if let Some(sql) = reader.as_sql(&name.value, value) {
                let query = CheckDefinition::Query(sql);
                self.add(reader, name.value, query, name.range);
            }
        }
    }
}
