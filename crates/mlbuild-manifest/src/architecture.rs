//! The built-in architectures and their parameters.
//!
//! A parameter's default is identity: a declaration holds every parameter, so a changed default retrains what relied
//! on it, and says so. The worker holds the same table for `sasrec`; it refuses what it does not know.

use mlbuild_action::Value;

/// A kind of model that `train` can fit.
#[derive(Debug)]
pub struct Architecture {
    /// Its name, as in `train = "sasrec"`.
    pub name: &'static str,
    /// What it is, in one line.
    pub doc: &'static str,
    /// Its parameters.
    pub params: &'static [Parameter],
}

/// A parameter of an [`Architecture`].
#[derive(Debug)]
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
}

impl ParamRange {
    /// The value that holds if none is given.
    pub fn default(&self) -> Value {
        match *self {
            Self::Int { default, .. } => Value::Int(default),
            Self::Float { default, .. } => Value::Float(default),
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

/// Every architecture, by name.
pub static ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "item_knn",
        doc: "items that occur in the same sequences as the last ones, by cosine",
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
        name: "markov",
        doc: "the items that most often followed the last one",
        params: &[],
    },
    Architecture {
        name: "popularity",
        doc: "the items that occur most often",
        params: &[],
    },
    Architecture {
        name: "sasrec",
        doc: "self-attention over the sequence (Kang and McAuley 2018), on libtorch",
        params: &[
            int(
                "dim",
                (64, 1, 4096),
                "width of the item embeddings and of every layer; a multiple of `heads`",
            ),
            int("layers", (2, 0, 64), "number of attention blocks"),
            int("heads", (2, 1, 64), "attention heads of a block"),
            int(
                "max_length",
                (100, 1, 8192),
                "how many of a sequence's last items the model sees",
            ),
            float(
                "dropout",
                (0.3, 0.0, 0.95),
                "share of activations dropped in training",
            ),
            int(
                "epochs",
                (20, 1, 100_000),
                "passes over the training sequences at most; without a validation table, exactly",
            ),
            int(
                "batch",
                (16, 1, 65_536),
                "windows in one step; a window is at most `max_length` items and what follows each",
            ),
            float(
                "lr",
                (2e-3, 0.0, 10.0),
                "learning rate of AdamW after the warm-up; falls in equal steps over `epochs`",
            ),
            int(
                "warmup",
                (100, 0, 1_000_000),
                "steps over which the learning rate rises from 0",
            ),
            float(
                "weight_decay",
                (0.01, 0.0, 10.0),
                "decoupled weight decay of matrices and embeddings",
            ),
            float(
                "label_smoothing",
                (0.0, 0.0, 0.95),
                "share of the target's probability spread over the catalog",
            ),
            float(
                "ema",
                (0.99, 0.0, 0.99999),
                "decay, a step, of the moving average of weights that is kept; 0 keeps the weights themselves",
            ),
            int(
                "patience",
                (10, 0, 100_000),
                "epochs without a better validation NDCG@10 before training stops; 0 never stops early",
            ),
            int(
                "seed",
                (0, 0, i64::MAX),
                "seed of initial weights, data order and dropout",
            ),
        ],
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
