//! An analysis as a memo holds it, in JSON: `version` (2), `reads` (columns by input), `plan` (a digest or null), `flows`
//! (null, or `columns`: origins by output column, and `rows`: origins; an origin is `[INPUT, COLUMN]`).

use std::collections::{BTreeMap, BTreeSet};

use mlbuild_action::{Analysis, Flows, Origin};
use serde_json::{Value, json};

pub(super) fn encode(analysis: &Analysis) -> Vec<u8> {
    let Analysis { reads, plan, flows } = analysis;
    let plan = plan.map(|plan| plan.to_string());
    let origins = |origins: &BTreeSet<Origin>| {
        let pairs = origins.iter().map(|o| json!([o.input, o.column]));
        Value::from_iter(pairs)
    };
    let flows = flows.as_ref().map(|Flows { columns, rows }| {
        let columns = columns
            .iter()
            .map(|(name, from)| (name.clone(), origins(from)));
        json!({ "columns": Value::from_iter(columns), "rows": origins(rows) })
    });
    json!({ "version": 2, "reads": reads, "plan": plan, "flows": flows })
        .to_string()
        .into_bytes()
}

/// `None` if the bytes are not an analysis of this version.
pub(super) fn decode(bytes: &[u8]) -> Option<Analysis> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    if value["version"] != 2 {
        return None;
    }
    let columns = |columns: &Value| -> Option<BTreeSet<String>> {
        let names = columns.as_array()?.iter();
        names.map(|name| Some(name.as_str()?.to_owned())).collect()
    };
    let reads = value["reads"].as_object()?.iter();
    let reads = reads.map(|(input, read)| Some((input.clone(), columns(read)?)));
    Some(Analysis {
        reads: reads.collect::<Option<BTreeMap<_, _>>>()?,
        plan: match &value["plan"] {
            Value::Null => None,
            plan => Some(plan.as_str()?.parse().ok()?),
        },
        flows: match &value["flows"] {
            Value::Null => None,
            flows => Some(decode_flows(flows)?),
        },
    })
}

fn decode_flows(value: &Value) -> Option<Flows> {
    let origins = |value: &Value| -> Option<BTreeSet<Origin>> {
        let pairs = value.as_array()?.iter();
        let origin = |pair: &Value| {
            Some(Origin {
                input: pair[0].as_str()?.to_owned(),
                column: pair[1].as_str()?.to_owned(),
            })
        };
        pairs.map(origin).collect()
    };
    let columns = value["columns"].as_object()?.iter();
    let columns = columns.map(|(name, from)| Some((name.clone(), origins(from)?)));
    Some(Flows {
        columns: columns.collect::<Option<_>>()?,
        rows: origins(&value["rows"])?,
    })
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;
    use mlbuild_digest::Digest;

    #[test]
    fn an_analysis_comes_back_as_it_was() {
        let origin = |column: &str| Origin {
            input: "data:a".to_owned(),
            column: column.to_owned(),
        };
        let whole = Analysis::default();
        let some = Analysis {
            plan: Some(Digest::of(b"plan")),
            flows: Some(Flows {
                columns: BTreeMap::from([
                    ("n".to_owned(), BTreeSet::new()),
                    (
                        "x".to_owned(),
                        BTreeSet::from([origin("x"), origin("y \"z\"")]),
                    ),
                ]),
                rows: BTreeSet::from([origin("y")]),
            }),
            ..Analysis::default()
        }
        .reading("data:a", ["x", "y \"z\""])
        .reading("data:b", []);
        for analysis in [whole, some] {
            assert_eq!(decode(&encode(&analysis)), Some(analysis));
        }
        assert_eq!(decode(b"{\"version\":3,\"reads\":{},\"plan\":null}"), None);
        assert_eq!(decode(b"{\"version\":2}"), None);
    }
}
