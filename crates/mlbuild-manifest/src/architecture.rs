//! The built-in architectures and their parameters.
//!
//! A parameter's default is identity: a declaration holds every parameter, so a changed default retrains what relied
//! on it, and says so. The worker reads its parameters by this same table; it refuses what it does not know.

use mlbuild_action::{Task, Value};

use crate::list;

/// A kind of model that `train` can fit.
#[derive(Debug)]
pub struct Architecture {
    /// Its name, as in `train = "sasrec"`.
    pub name: &'static str,
    /// What it is, in one line.
    pub doc: &'static str,
    /// What it learns from.
    pub subject: SubjectKind,
    /// Its parameters.
    pub params: &'static [Parameter],
}

/// What a row of an [`Architecture`]'s tables is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubjectKind {
    /// A sequence of items.
    Sequences,
    /// A label and features, a column each.
    Table {
        /// The kinds of labels that it can predict.
        tasks: &'static [Task],
        /// Whether it looks at any column but the label.
        features: bool,
    },
}

/// A parameter of an [`Architecture`].
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Type, default and bounds.
    pub range: ParamRange,
    /// What it is, in one line.
    pub doc: &'static str,
}

/// Type, default and inclusive bounds of a parameter.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ParamRange {
    /// An integer.
    Int {
        /// Its value if none is given.
        default: i64,
        /// The least allowed.
        min: i64,
        /// The greatest allowed.
        max: i64,
    },
    /// A float; an integer is taken for one.
    Float {
        /// Its value if none is given.
        default: f64,
        /// The least allowed.
        min: f64,
        /// The greatest allowed.
        max: f64,
    },
    /// One of a few words.
    Choice {
        /// The word if none is given.
        default: &'static str,
        /// The words allowed.
        allowed: &'static [&'static str],
    },
    /// `true` or `false`.
    Bool {
        /// Its value if none is given.
        default: bool,
    },
    /// A short list of integers, such as the widths of layers. It is a [`Value::Text`], so that every value is a scalar:
    /// the integers with commas between them, `128,64`. A manifest may hold a list, or that text.
    Ints {
        /// Its value if none is given, as that text.
        default: &'static str,
        /// The least allowed.
        min: i64,
        /// The greatest allowed.
        max: i64,
    },
}

/// The most integers that [`ParamRange::Ints`] takes.
const MOST_INTS: usize = 64;

impl ParamRange {
    /// The value that holds if none is given.
    pub fn default(&self) -> Value {
        match *self {
            Self::Int { default, .. } => Value::Int(default),
            Self::Float { default, .. } => Value::Float(default),
            Self::Choice { default, .. } | Self::Ints { default, .. } => {
                Value::Text(default.to_owned())
            }
            Self::Bool { default } => Value::Bool(default),
        }
    }

    /// The value as this parameter takes it: of its type, within its bounds.
    pub fn accept(&self, value: &Value) -> Option<Value> {
        match *self {
            Self::Int { min, max, .. } => {
                let value = value.as_i64()?;
                (min..=max).contains(&value).then_some(Value::Int(value))
            }
            Self::Float { min, max, .. } => {
                let value = value.as_f64()?;
                (min..=max).contains(&value).then_some(Value::Float(value))
            }
            Self::Choice { allowed, .. } => {
                let word = value.as_str()?;
                allowed.contains(&word).then(|| value.clone())
            }
            Self::Bool { .. } => value.as_bool().map(Value::Bool),
            Self::Ints { min, max, .. } => {
                let text = match value {
                    Value::Int(one) => one.to_string(),
                    other => other.as_str()?.to_owned(),
                };
                let integers: Vec<i64> = match text.trim() {
                    "" => Vec::new(),
                    text => text
                        .split(',')
                        .map(|part| part.trim().parse().ok())
                        .collect::<Option<_>>()?,
                };
                let fits = |integer: &i64| (min..=max).contains(integer);
                let words: Vec<_> = integers.iter().map(i64::to_string).collect();
                (integers.len() <= MOST_INTS && integers.iter().all(fits))
                    .then(|| Value::Text(words.join(",")))
            }
        }
    }

    /// What is accepted, in words: `an integer from 1 to 4096`.
    pub fn describe(&self) -> String {
        match *self {
            Self::Int {
                min, max: i64::MAX, ..
            } => format!("an integer from {min}"),
            Self::Int { min, max, .. } => format!("an integer from {min} to {max}"),
            Self::Float { min, max, .. } => format!("a number from {min} to {max}"),
            Self::Choice { allowed, .. } => match allowed {
                [one, other] => format!("`{one}` or `{other}`"),
                words => format!("one of {}", list(words.iter().copied())),
            },
            Self::Bool { .. } => "`true` or `false`".to_owned(),
            Self::Ints { min, max, .. } => {
                format!("a list of at most {MOST_INTS} integers from {min} to {max}")
            }
        }
    }
}

const fn int(
    name: &'static str,
    (default, min, max): (i64, i64, i64),
    doc: &'static str,
) -> Parameter {
    let range = ParamRange::Int { default, min, max };
    Parameter { name, range, doc }
}

const fn float(
    name: &'static str,
    (default, min, max): (f64, f64, f64),
    doc: &'static str,
) -> Parameter {
    let range = ParamRange::Float { default, min, max };
    Parameter { name, range, doc }
}

const fn choice(
    name: &'static str,
    (default, allowed): (&'static str, &'static [&'static str]),
    doc: &'static str,
) -> Parameter {
    let range = ParamRange::Choice { default, allowed };
    Parameter { name, range, doc }
}

/// Two lists of parameters, one after the other.
const fn join<const N: usize>(first: &[Parameter], second: &[Parameter]) -> [Parameter; N] {
    let mut joined = [int("", (0, 0, 0), ""); N];
    let mut i = 0;
    while i < N {
        joined[i] = if i < first.len() {
            first[i]
        } else {
            second[i - first.len()]
        };
        i += 1;
    }
    joined
}

/// Defaults of the parameters that all networks have.
struct Training {
    epochs: i64,
    batch: i64,
    batch_doc: &'static str,
    optimizer: &'static str,
    lr: f64,
    schedule: &'static str,
    warmup: i64,
    weight_decay: f64,
    ema: f64,
    patience: i64,
    monitor: (&'static str, &'static [&'static str]),
}

/// How many parameters all networks have.
const TRAINING: usize = 13;

impl Training {
    const fn params(&self) -> [Parameter; TRAINING] {
        [
            int(
                "epochs",
                (self.epochs, 1, 100_000),
                "passes over the training table at most; without a validation table, exactly",
            ),
            int("batch", (self.batch, 1, 1_048_576), self.batch_doc),
            choice(
                "optimizer",
                (self.optimizer, &["adam", "adamw", "sgd"]),
                "the rule by which weights move; weight decay is part of the gradient but for `adamw`",
            ),
            float(
                "momentum",
                (0.9, 0.0, 0.9999),
                "of `sgd` alone: share of the last step's velocity that is kept",
            ),
            float(
                "lr",
                (self.lr, 0.0, 10.0),
                "learning rate after the warm-up",
            ),
            choice(
                "schedule",
                (self.schedule, &["constant", "cosine", "linear"]),
                "how the learning rate falls, from epoch to epoch, over all `epochs`",
            ),
            int(
                "warmup",
                (self.warmup, 0, 1_000_000),
                "steps over which the learning rate rises from 0",
            ),
            float(
                "weight_decay",
                (self.weight_decay, 0.0, 10.0),
                "weight decay of matrices and embeddings",
            ),
            float(
                "clip",
                (0.0, 0.0, 1e6),
                "greatest norm of all gradients taken together; 0 for no bound",
            ),
            float(
                "ema",
                (self.ema, 0.0, 0.99999),
                "decay, a step, of the moving average of weights that is kept; 0 keeps the weights themselves",
            ),
            int(
                "patience",
                (self.patience, 0, 100_000),
                "epochs without a better `monitor` before training stops; 0 never stops early",
            ),
            choice(
                "monitor",
                self.monitor,
                "the validation figure by which epochs are compared; the best epoch's weights are kept",
            ),
            int(
                "seed",
                (0, 0, i64::MAX),
                "seed of initial weights, data order, negatives and dropout",
            ),
        ]
    }
}

/// What is measured where items are ranked.
const RANKED: (&str, &[&str]) = (
    "valid_ndcg@10",
    &["valid_hit_rate@10", "valid_mrr@10", "valid_ndcg@10"],
);

const WINDOWS: &str =
    "windows in one step; a window is at most `max_length` items and what follows each";

const MAX_LENGTH: Parameter = int(
    "max_length",
    (100, 1, 8192),
    "how many of a sequence's last items the model sees",
);

/// The losses over items.
const ITEM_LOSS: [Parameter; 4] = [
    choice(
        "loss",
        ("softmax", &["bce", "sampled", "softmax"]),
        "what is minimised: cross-entropy over the catalog, over the target and sampled negatives (for large catalogs), or binary cross-entropy with sampled negatives",
    ),
    int(
        "negatives",
        (128, 1, 1_000_000),
        "negatives a step for `sampled`, a prediction for `bce` (the SASRec paper has 1)",
    ),
    choice(
        "sampling",
        ("popularity", &["popularity", "uniform"]),
        "how negatives are drawn; `sampled` corrects scores for it",
    ),
    float(
        "label_smoothing",
        (0.0, 0.0, 0.95),
        "of `softmax` alone: share of the target's probability spread over the catalog",
    ),
];

const fn dropout(default: f64) -> Parameter {
    float(
        "dropout",
        (default, 0.0, 0.95),
        "share of activations dropped in training",
    )
}

const DIM: Parameter = int(
    "dim",
    (64, 1, 4096),
    "width of the item embeddings and of every layer; a multiple of `heads`",
);

const BLOCKS: Parameter = int("layers", (2, 0, 64), "number of attention blocks");

const HEADS: Parameter = int("heads", (2, 1, 64), "attention heads of a block");

const SASREC: [Parameter; 5 + 4 + TRAINING] = join(
    &[DIM, BLOCKS, HEADS, MAX_LENGTH, dropout(0.3)],
    &join::<{ 4 + TRAINING }>(&ITEM_LOSS, &SLOWLY.params()),
);

/// What suits a small table and a network with normalised layers.
const SLOWLY: Training = Training {
    epochs: 20,
    batch: 16,
    batch_doc: WINDOWS,
    optimizer: "adamw",
    lr: 2e-3,
    schedule: "linear",
    warmup: 100,
    weight_decay: 0.01,
    ema: 0.99,
    patience: 10,
    monitor: RANKED,
};

const BERT4REC: [Parameter; 7 + 4 + TRAINING] = join(
    &[
        DIM,
        BLOCKS,
        HEADS,
        int(
            "max_length",
            (100, 2, 8192),
            "how many positions there are: a sequence's last items, and the mask after them",
        ),
        dropout(0.1),
        float("mask", (0.2, 0.01, 0.95), "share of items that are masked"),
        float(
            "mask_last",
            (0.1, 0.0, 1.0),
            "share of windows whose last item alone is masked, as in prediction",
        ),
    ],
    &join::<{ 4 + TRAINING }>(
        &ITEM_LOSS,
        &Training {
            epochs: 100,
            batch: 64,
            lr: 1e-3,
            ..SLOWLY
        }
        .params(),
    ),
);

const GRU4REC: [Parameter; 4 + 4 + TRAINING] = join(
    &[
        int(
            "dim",
            (64, 1, 4096),
            "width of the item embeddings and of every layer",
        ),
        int("layers", (1, 1, 16), "number of recurrent layers"),
        MAX_LENGTH,
        dropout(0.3),
    ],
    &join::<{ 4 + TRAINING }>(&ITEM_LOSS, &SLOWLY.params()),
);

const LSTM: [Parameter; 5 + 4 + TRAINING] = join(
    &[
        int("dim", (32, 1, 4096), "width of the item embeddings"),
        int("hidden", (32, 1, 4096), "width of every layer"),
        int("layers", (1, 1, 16), "number of recurrent layers"),
        MAX_LENGTH,
        dropout(0.3),
    ],
    &join::<{ 4 + TRAINING }>(
        &ITEM_LOSS,
        &Training {
            epochs: 100,
            batch: 32,
            optimizer: "adam",
            lr: 1e-3,
            schedule: "constant",
            warmup: 0,
            weight_decay: 0.0,
            ema: 0.0,
            patience: 20,
            ..SLOWLY
        }
        .params(),
    ),
);

/// Every architecture, by name.
pub static ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "bert4rec",
        doc: "masked items filled in from both sides (Sun et al. 2019), on libtorch",
        subject: SubjectKind::Sequences,
        params: &BERT4REC,
    },
    Architecture {
        name: "constant",
        doc: "the share of each class, or the mean, whatever the row: the bar to beat",
        subject: SubjectKind::Table {
            tasks: &Task::ALL,
            features: false,
        },
        params: &[],
    },
    Architecture {
        name: "gru4rec",
        doc: "a gated recurrent network over the sequence (Hidasi et al. 2016), on libtorch",
        subject: SubjectKind::Sequences,
        params: &GRU4REC,
    },
    Architecture {
        name: "item_knn",
        doc: "items that occur in the same sequences as the last ones, by cosine",
        subject: SubjectKind::Sequences,
        params: &[
            int(
                "neighbours",
                (100, 1, 100_000),
                "how many nearest items each item keeps",
            ),
            int(
                "last",
                (5, 1, 100_000),
                "how many of a sequence's last items vote",
            ),
        ],
    },
    Architecture {
        name: "linear",
        doc: "linear regression with an L2 penalty (ridge), solved in closed form",
        subject: SubjectKind::Table {
            tasks: &[Task::Regression],
            features: true,
        },
        params: &[float(
            "l2",
            (1.0, 0.0, 1e12),
            "penalty: what is least is the sum of squared errors plus `l2` times that of the weights, over columns of mean 0 and variance 1; 0 is least squares",
        )],
    },
    Architecture {
        name: "logistic",
        doc: "logistic regression, multinomial for several classes, with an L2 penalty, solved to convergence",
        subject: SubjectKind::Table {
            tasks: &[Task::Binary, Task::Multiclass, Task::Multilabel],
            features: true,
        },
        params: &[
            float(
                "l2",
                (1.0, 0.0, 1e12),
                "penalty: what is least is the sum of the rows' log losses plus `l2`/2 times the sum of squared weights, over columns of mean 0 and variance 1",
            ),
            Parameter {
                name: "class_weight",
                range: ParamRange::Choice {
                    default: "none",
                    allowed: &["none", "balanced"],
                },
                doc: "`balanced` weighs each row by rows / (classes * rows of its class)",
            },
        ],
    },
    Architecture {
        name: "lstm",
        doc: "a plain LSTM over the sequence (Hochreiter and Schmidhuber 1997), on libtorch",
        subject: SubjectKind::Sequences,
        params: &LSTM,
    },
    Architecture {
        name: "markov",
        doc: "the items that most often followed the last one",
        subject: SubjectKind::Sequences,
        params: &[],
    },
    Architecture {
        name: "popularity",
        doc: "the items that occur most often",
        subject: SubjectKind::Sequences,
        params: &[],
    },
    Architecture {
        name: "sasrec",
        doc: "self-attention over the sequence (Kang and McAuley 2018), on libtorch",
        subject: SubjectKind::Sequences,
        params: &SASREC,
    },
];

impl Architecture {
    /// The architecture of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|known| known.name == name)
    }

    /// Its parameter of that name.
    pub fn param(&self, name: &str) -> Option<&'static Parameter> {
        self.params.iter().find(|param| param.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTS: ParamRange = ParamRange::Ints {
        default: "128,64",
        min: 1,
        max: 4096,
    };

    #[test]
    fn a_list_of_integers_has_one_spelling() {
        let accept = |text: &str| INTS.accept(&Value::Text(text.to_owned()));
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        assert_eq!(accept("128, 064"), text("128,64"));
        assert_eq!(accept(""), text(""));
        assert_eq!(INTS.accept(&Value::Int(8)), text("8"));
        assert_eq!(INTS.accept(&INTS.default()), text("128,64"));
        for wrong in ["0", "5000", "1;2", "1,,2", "1.0"] {
            assert_eq!(accept(wrong), None, "{wrong}");
        }
        assert_eq!(accept(&["1"; 65].join(",")), None);
    }

    #[test]
    fn words_and_booleans_are_taken_as_they_are() {
        let words = ParamRange::Choice {
            default: "none",
            allowed: &["balanced", "none"],
        };
        let balanced = Value::Text("balanced".to_owned());
        assert_eq!(words.accept(&balanced), Some(balanced));
        assert_eq!(words.accept(&Value::Text("some".to_owned())), None);
        assert_eq!(words.accept(&Value::Bool(true)), None);
        assert_eq!(words.describe(), "`balanced` or `none`");
        let switch = ParamRange::Bool { default: true };
        assert_eq!(switch.accept(&Value::Bool(false)), Some(Value::Bool(false)));
        assert_eq!(switch.accept(&Value::Int(1)), None);
    }

    #[test]
    fn every_default_is_allowed() {
        for Parameter { name, range, .. } in ARCHITECTURES.iter().flat_map(|known| known.params) {
            assert_eq!(
                range.accept(&range.default()),
                Some(range.default()),
                "{name}"
            );
        }
    }
}
