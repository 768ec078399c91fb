//! Every key of the language: where it is allowed, and so what to suggest for a mistyped one.

use crate::Rule;

/// Keys of `[project]`.
pub(crate) const PROJECT: &[&str] = &["name", "description", "python", "sandbox"];

/// Keys of every target.
pub(crate) const COMMON: &[&str] = &["description", "owner", "resources", "tags"];

/// Keys of targets that are tables.
pub(crate) const TABLE: &[&str] = &["checks", "key"];

/// Keys that say how files become a table.
const INGESTION: &[&str] = &["columns", "format", "row_number"];

/// Keys of `resources`.
pub(crate) const RESOURCES: &[&str] = &["cpus", "gpu_memory", "gpus", "memory"];

/// Keys of `checks`.
pub(crate) const CHECKS: &[&str] = &[
    "accepted_values",
    "not_null",
    "range",
    "rows",
    "sql",
    "unique",
];

/// Keys of an entry of `gate`.
pub(crate) const GATE: &[&str] = &[
    "above",
    "below",
    "confidence",
    "margin",
    "max",
    "metric",
    "min",
    "min_rows",
    "model",
    "slice",
];

/// Keys of an entry of `stability`.
pub(crate) const STABILITY: &[&str] = &[
    "baseline",
    "max",
    "metric",
    "min",
    "name",
    "perturbed",
    "tolerance",
];

/// Keys of an entry of `slices` that is a table.
pub(crate) const SLICE: &[&str] = &["bins", "column"];

/// Keys of `pick`.
pub(crate) const PICK: &[&str] = &["max", "metric", "min"];

/// Keys of rule `train` that only models of tables have.
pub(crate) const OF_TABLES: &[&str] = &["allow_leak", "categories", "columns", "task", "time"];

/// Keys of rule `train` that only models of sequences have.
pub(crate) const OF_SEQUENCES: &[&str] = &["catalog", "sequence"];

/// Keys of rule `predict` that only models of sequences have.
pub(crate) const PREDICT_OF_SEQUENCES: &[&str] = &["exclude_seen", "k", "sequence"];

/// Keys of the design that this version does not know yet.
pub(crate) const PLANNED: &[&str] = &["url"];

/// The keys of a rule, common ones aside.
pub(crate) fn of_rule(rule: Rule) -> Vec<&'static str> {
    let own: &[&str] = match rule {
        Rule::Path => &["path"],
        Rule::Sql => &["order", "params", "sql"],
        Rule::Command => &[
            "command",
            "digest",
            "env",
            "inputs",
            "may_be_nan",
            "out",
            "srcs",
            "timeout",
            "tolerance",
            "tools",
        ],
        Rule::Python => &[
            "columns",
            "env",
            "foreach",
            "format",
            "inputs",
            "may_be_nan",
            "params",
            "pick",
            "python",
            "srcs",
            "timeout",
            "tolerance",
        ],
        Rule::Train => &[
            "allow_leak",
            "catalog",
            "categories",
            "columns",
            "foreach",
            "input",
            "label",
            "params",
            "pick",
            "sequence",
            "task",
            "time",
            "tolerance",
            "train",
            "validate",
        ],
        Rule::Pick => &[],
        Rule::Split => &[
            "by", "folds", "group", "parts", "rest", "seed", "split", "time", "until",
        ],
        Rule::Predict => &["exclude_seen", "input", "k", "predict", "sequence"],
        Rule::Evaluate => &[
            "allow_leak",
            "catalog",
            "category",
            "confidence",
            "gate",
            "key",
            "label",
            "metrics",
            "positive",
            "predictions",
            "price",
            "resamples",
            "seed",
            "sequence",
            "slices",
            "stability",
            "title",
            "training",
            "truth",
            "vector",
        ],
    };
    let ingestion = match rule {
        Rule::Path | Rule::Command => INGESTION,
        _ => &[],
    };
    [own, ingestion].concat()
}
