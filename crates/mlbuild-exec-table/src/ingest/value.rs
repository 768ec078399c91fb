//! Texts as values: the grammar of numbers, booleans, dates and times in text files.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, TimeUnit};

/// `-?(0|[1-9][0-9]*)` that 64 bits hold.
pub(super) fn int(text: &str) -> Option<i64> {
    is_integer(text).then(|| text.parse().ok())?
}

/// A decimal number, with a point or an exponent if it is no integer that 64 bits hold.
pub(super) fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole_fits = is_integer(whole) && !whole.starts_with('-');
    let fits = (whole_fits || whole.is_empty() && fraction.is_some())
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(|e| is_digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
        && (fraction.is_some() || exponent.is_some() || int(text).is_some());
    // A number too large for a float is read as infinity by `parse`: that loses it.
    fits.then(|| text.parse().ok())
        .flatten()
        .filter(|value: &f64| value.is_finite())
}

/// `NaN` and infinities, as the usual tools write them.
pub(super) fn not_finite(text: &str) -> Option<f64> {
    Some(match text {
        "NaN" | "nan" | "NAN" => f64::NAN,
        "inf" | "Inf" | "Infinity" | "infinity" => f64::INFINITY,
        "-inf" | "-Inf" | "-Infinity" | "-infinity" => f64::NEG_INFINITY,
        _ => return None,
    })
}

/// `true` or `false`, in any case.
pub(super) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Days since 1970-01-01 of a date `YYYY-MM-DD` in the proleptic Gregorian calendar.
pub(super) fn date(text: &str) -> Option<i32> {
    let b = text.as_bytes();
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&b[..4])?, digits(&b[5..7])?, digits(&b[8..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (1..=days)
        .contains(&day)
        .then(|| days_from_civil(year, month, day))
}

/// H. Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so the leap day is the last.
fn days_from_civil(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Microseconds since 1970-01-01 00:00, and whether the text gives an offset from UTC: `YYYY-MM-DD`, a `T` or a space,
/// `HH:MM`, optionally `:SS` with up to six decimals, optionally `Z` or `+HH:MM`.
pub(super) fn timestamp(text: &str) -> Option<(i64, bool)> {
    let day = date(text.get(..10)?)?;
    if !matches!(text.as_bytes().get(10), Some(b'T' | b' ')) {
        return None;
    }
    let (time, offset) = split_offset(&text[11..])?;
    let (clock, micros) = match time.split_once('.') {
        None => (time, 0),
        Some((clock, fraction)) if clock.len() == 8 => (clock, fraction_micros(fraction)?),
        Some(_) => return None,
    };
    let b = clock.as_bytes();
    let shape = matches!(b.len(), 5 | 8) && b[2] == b':' && (b.len() == 5 || b[5] == b':');
    if !shape {
        return None;
    }
    let seconds = if b.len() == 8 { digits(&b[6..])? } else { 0 };
    let (hours, minutes) = (digits(&b[..2])?, digits(&b[3..5])?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let local = i64::from(day) * 86_400 + i64::from(hours * 3600 + minutes * 60 + seconds);
    let utc = local - i64::from(offset.unwrap_or(0)) * 60;
    Some((utc * 1_000_000 + micros, offset.is_some()))
}

/// A time of day, and the minutes that its clock is ahead of UTC.
fn split_offset(text: &str) -> Option<(&str, Option<i32>)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, Some(0)));
    }
    let Some(at) = text.find(['+', '-']) else {
        return Some((text, None));
    };
    let b = &text.as_bytes()[at..];
    let (hours, minutes) = match b.len() {
        6 if b[3] == b':' => (digits(&b[1..3])?, digits(&b[4..])?),
        5 => (digits(&b[1..3])?, digits(&b[3..])?),
        3 => (digits(&b[1..])?, 0),
        _ => return None,
    };
    let sign = if b[0] == b'-' { -1 } else { 1 };
    (hours < 24 && minutes < 60).then(|| (&text[..at], Some(sign * (hours * 60 + minutes))))
}

fn fraction_micros(fraction: &str) -> Option<i64> {
    if !is_digits(fraction) {
        return None;
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(6));
    // Zeros beyond the microsecond say nothing.
    if rest.bytes().any(|b| b != b'0') {
        return None;
    }
    let scale = 10_i64.pow(6 - kept.len() as u32);
    Some(kept.parse::<i64>().ok()? * scale)
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    is_digits(digits) && (digits.len() == 1 || !digits.starts_with('0'))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Up to four digits as a number.
fn digits(bytes: &[u8]) -> Option<i32> {
    bytes.iter().try_fold(0, |sum, b| match b {
        b'0'..=b'9' => Some(sum * 10 + i32::from(b - b'0')),
        _ => None,
    })
}

/// A column in the making, of one of the types that text files have.
pub(super) enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Date(Date32Builder),
    /// A time with an offset counts in UTC.
    Timestamp(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

impl ColumnBuilder {
    /// An empty column.
    pub(super) fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int64 => Self::Int(Int64Builder::new()),
            DataType::Float64 => Self::Float(Float64Builder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone_opt(zone.clone()))
            }
            _ => Self::Text(StringBuilder::new()),
        }
    }

    pub(super) fn push_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
        }
    }

    /// Appends the value that `text` stands for; `None` if it stands for none of this type. Declared types accept more
    /// than inference does: `007` as an integer, `1` as a boolean.
    pub(super) fn push(&mut self, text: &str) -> Option<()> {
        match self {
            Self::Boolean(builder) => builder.append_value(match text {
                "1" => true,
                "0" => false,
                _ => boolean(text)?,
            }),
            Self::Int(builder) => builder.append_value(text.parse().ok()?),
            Self::Float(builder) => {
                let value = text.parse().ok().filter(|value: &f64| value.is_finite());
                builder.append_value(value.or_else(|| not_finite(text))?);
            }
            Self::Date(builder) => builder.append_value(date(text)?),
            Self::Timestamp(builder) => {
                let midnight = |days| (i64::from(days) * 86_400_000_000, false);
                let (micros, _) = timestamp(text).or_else(|| date(text).map(midnight))?;
                builder.append_value(micros);
            }
            Self::Text(builder) => builder.append_value(text),
        }
        Some(())
    }

    /// Whether the column holds texts, in which an empty one is a value.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// The column; the builder is empty again.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_1970_in_utc() {
        assert_eq!(date("1970-01-01"), Some(0));
        assert_eq!(date("2000-02-29"), Some(11_016));
        assert_eq!(date("1969-12-31"), Some(-1));
        assert_eq!(date("0001-01-01"), Some(-719_162));
        assert_eq!(timestamp("1970-01-01 00:00"), Some((0, false)));
        assert_eq!(timestamp("1970-01-01T00:00:01.5"), Some((1_500_000, false)));
        assert_eq!(timestamp("1970-01-01T02:00:00+02:00"), Some((0, true)));
        assert_eq!(timestamp("1969-12-31T19:30:00-0430"), Some((0, true)));
        assert_eq!(timestamp("1970-01-01T24:00"), None);
        assert_eq!(timestamp("1970-01-01T00:00:00."), None);
    }
}
