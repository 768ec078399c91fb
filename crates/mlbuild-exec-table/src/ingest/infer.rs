//! What type a column of texts has, from all of its values.
//!
//! A text is a number, a date or a time only if nothing is lost by reading it so: `007`, `+1` and integers beyond 64
//! bits stay texts, as do times finer than a microsecond.

use arrow::datatypes::{DataType, TimeUnit};

use super::value;

/// What all values of a column so far can be read as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Seen {
    /// No value but nulls.
    #[default]
    Nothing,
    Boolean,
    Int,
    /// `NaN` and infinities only: a float if any number joins them, else a text.
    NotFinite,
    Float,
    Date,
    Timestamp,
    /// Times with an offset from UTC.
    Instant,
    Text,
}

impl Seen {
    /// What a single text can be read as.
    pub(super) fn of(text: &str) -> Self {
        let first = text.as_bytes().first().copied().unwrap_or_default();
        // Most texts start with a letter.
        if !matches!(
            first,
            b'0'..=b'9' | b'-' | b'.' | b't' | b'T' | b'f' | b'F' | b'n' | b'N' | b'i' | b'I'
        ) {
            return Self::Text;
        }
        if value::int(text).is_some() {
            Self::Int
        } else if value::float(text).is_some() {
            Self::Float
        } else if value::not_finite(text).is_some() {
            Self::NotFinite
        } else if value::boolean(text).is_some() {
            Self::Boolean
        } else if value::date(text).is_some() {
            Self::Date
        } else {
            match value::timestamp(text) {
                Some((_, false)) => Self::Timestamp,
                Some((_, true)) => Self::Instant,
                None => Self::Text,
            }
        }
    }

    /// What both can be read as.
    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        use Seen::*;
        match (self, other) {
            (a, b) if a == b => a,
            (Nothing, seen) | (seen, Nothing) => seen,
            (Int | Float | NotFinite, Int | Float | NotFinite) => Float,
            (Date, Timestamp) | (Timestamp, Date) => Timestamp,
            _ => Text,
        }
    }

    /// The column's type.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Nothing | Self::NotFinite | Self::Text => DataType::Utf8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_would_lose_something_stays_a_text() {
        let seen = |texts: &[&str]| {
            texts
                .iter()
                .fold(Seen::Nothing, |seen, t| seen.or(Seen::of(t)))
        };
        for (texts, expect) in [
            (&["1", "-2", "0"][..], Seen::Int),
            (&["1", "2.5", "1e3", ".5"], Seen::Float),
            (&["1", "NaN", "-inf"], Seen::Float),
            (&["nan", "inf"], Seen::NotFinite),
            (&["007"], Seen::Text),
            (&["+1"], Seen::Text),
            (&["9223372036854775807"], Seen::Int),
            (&["9223372036854775808"], Seen::Text),
            (&["true", "FALSE"], Seen::Boolean),
            (&["true", "1"], Seen::Text),
            (&["2024-02-29"], Seen::Date),
            (&["2023-02-29"], Seen::Text),
            (&["2024-02-29", "2024-02-29 10:00"], Seen::Timestamp),
            (&["2024-02-29T10:00:00.123456"], Seen::Timestamp),
            (&["2024-02-29T10:00:00.1234567"], Seen::Text),
            (
                &["2024-02-29T10:00:00Z", "2024-02-29T10:00:00+02:00"],
                Seen::Instant,
            ),
            (&["2024-02-29T10:00:00Z", "2024-02-29T10:00:00"], Seen::Text),
            (&[" 1"], Seen::Text),
            (&["-"], Seen::Text),
            (&["."], Seen::Text),
            (&["1e"], Seen::Text),
            (&["1."], Seen::Text),
        ] {
            assert_eq!(seen(texts), expect, "{texts:?}");
        }
    }
}
