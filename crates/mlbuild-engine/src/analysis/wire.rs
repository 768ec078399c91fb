//! An analysis as a memo holds it: `{"version":1,"reads":{"data:orders":["amount"]},"plan":"HEX"}`.

use std::collections::{BTreeMap, BTreeSet};

use mlbuild_action::Analysis;
use serde_json::{Value, json};

pub(super) fn encode(analysis: &Analysis) -> Vec<u8> {
    let Analysis { reads, plan } = analysis;
    let plan = plan.map(|plan| plan.to_string());
    json!({ "version": 1, "reads": reads, "plan": plan })
        .to_string()
        .into_bytes()
}

/// `None` if the bytes are not an analysis of this version.
pub(super) fn decode(bytes: &[u8]) -> Option<Analysis> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    if value["version"] != 1 {
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlbuild_digest::Digest;

    #[test]
    fn an_analysis_comes_back_as_it_was() {
        let whole = Analysis::default();
        let some = Analysis {
            plan: Some(Digest::of(b"plan")),
            ..Analysis::default()
        }
        .reading("data:a", ["x", "y \"z\""])
        .reading("data:b", []);
        for analysis in [whole, some] {
            assert_eq!(decode(&encode(&analysis)), Some(analysis));
        }
        assert_eq!(decode(b"{\"version\":2,\"reads\":{},\"plan\":null}"), None);
        assert_eq!(decode(b"{\"version\":1}"), None);
    }
}
