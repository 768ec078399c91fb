//! Parameter values: the scalars that a manifest can hold.

use std::fmt;

/// A parameter's value, with its type: `1`, `1.0` and `"1"` are three different values.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A 64-bit signed integer.
    Int(i64),
    /// A finite 64-bit float; never NaN or infinite.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// UTF-8 text.
    Text(String),
}

impl Value {
    /// The name of the value's type, as diagnostics print it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Int(_) => "integer",
            Self::Float(_) => "float",
            Self::Bool(_) => "boolean",
            Self::Text(_) => "string",
        }
    }

    /// The value as a float; integers convert.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// The value as an integer; nothing converts to one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The value as text; nothing converts to it.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    /// The value as a boolean; nothing converts to one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

/// Prints the value as it enters a key: text is quoted as in JSON, floats always have a point or an exponent.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{}", serde_json::Value::from(value.as_str())),
        }
    }
}
