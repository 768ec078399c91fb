//! Values with a syntax of their own: durations, sizes, bounds, digests.

use std::time::Duration;

use mlbuild_action::{Comparison, PinnedDigest, RowsBound};

/// `90s`, `10m`, `2h`, `500ms`; more than nothing.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let millis = number.checked_mul(millis).filter(|&millis| millis > 0)?;
    Some(Duration::from_millis(millis))
}

/// `512MB`, `2GB`, `1GiB`; more than nothing.
pub fn memory_bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let bytes: u64 = match unit {
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(bytes).filter(|&bytes| bytes > 0)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start_matches(' ')))
}

/// `>= 1000`; a number alone stands for `==`.
pub(crate) fn rows(text: &str) -> Option<RowsBound> {
    let text = text.trim();
    // `>=` before `>`: the longer operator is tried first.
    let operators = [
        Comparison::GreaterOrEqual,
        Comparison::LessOrEqual,
        Comparison::Equal,
        Comparison::Greater,
        Comparison::Less,
    ];
    let (comparison, number) = operators
        .into_iter()
        .find_map(|operator| Some((operator, text.strip_prefix(operator.as_str())?)))
        .unwrap_or((Comparison::Equal, text));
    let number = number.trim().replace('_', "");
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let rows = digits.then(|| number.parse().ok()).flatten()?;
    Some(RowsBound { comparison, rows })
}

/// `sha256:HEX` or `blake3:HEX`.
pub(crate) fn digest(text: &str) -> Option<PinnedDigest> {
    let (algorithm, hex) = text.split_once(':')?;
    let hex = hex.to_ascii_lowercase();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    match algorithm {
        "sha256" => Some(PinnedDigest::Sha256(hex)),
        "blake3" => Some(PinnedDigest::Blake3(hex)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("10m"), Some(Duration::from_secs(600)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        for bad in [
            "",
            "10",
            "m",
            "-1s",
            "1.5h",
            "0s",
            "1d",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn memory_is_decimal_or_binary() {
        assert_eq!(memory_bytes("2GB"), Some(2_000_000_000));
        assert_eq!(memory_bytes("1 GiB"), Some(1 << 30));
        for bad in ["", "2", "2gb", "GB", "0MB", "99999999999TB"] {
            assert_eq!(memory_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bound_on_rows_has_an_operator_or_is_exact() {
        let bound = |text| rows(text).map(|bound| (bound.comparison.as_str(), bound.rows));
        assert_eq!(bound(">= 1000"), Some((">=", 1000)));
        assert_eq!(bound("<5"), Some(("<", 5)));
        assert_eq!(bound("100_000"), Some(("==", 100_000)));
        for bad in ["", ">=", "=> 5", "> -1", "> 1.5", "many"] {
            assert_eq!(bound(bad), None, "{bad}");
        }
    }
}
