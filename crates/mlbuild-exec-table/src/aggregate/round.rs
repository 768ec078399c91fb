//! Exact numbers to the nearest `f64`, ties to even: the one place where a result is rounded.

use num_bigint::{BigInt, BigUint, Sign};

/// Bits of a mantissa.
const MANTISSA: i32 = 53;

/// The exponent of the last bit of the smallest `f64`.
pub(super) const SMALLEST: i32 = -1074;

/// Bits of a quotient that decide how it is rounded, when what is left of the division only adds "and a bit more".
const QUOTIENT: u64 = 65;

/// The `f64` nearest to `numerator * 2^exponent / denominator`.
pub(super) fn ratio(numerator: &BigInt, exponent: i32, denominator: &BigUint) -> f64 {
    if numerator.sign() == Sign::NoSign {
        return 0.0;
    }
    let missing = (denominator.bits() + QUOTIENT) as i64 - numerator.bits() as i64;
    let (dividend, divisor) = match u64::try_from(missing) {
        Ok(up) => (numerator.magnitude() << up, denominator.clone()),
        Err(_) => (
            numerator.magnitude().clone(),
            denominator << missing.unsigned_abs(),
        ),
    };
    let quotient = &dividend / &divisor;
    let more = &quotient * &divisor != dividend;
    let quotient = u128::try_from(&quotient).expect("it has at most 66 bits");
    // Both are sums of a few exponents of floats and a length: far from the limits of an `i32`.
    let exponent = exponent - missing as i32;
    scale(numerator.sign() == Sign::Minus, quotient, exponent, more)
}

/// The `f64` nearest to `sum * 2^exponent / count`.
pub(super) fn mean(sum: i128, exponent: i32, count: u64) -> f64 {
    if sum == 0 {
        return 0.0;
    }
    if count == 1 {
        return scale(sum < 0, sum.unsigned_abs(), exponent, false);
    }
    let room = sum.unsigned_abs().leading_zeros();
    let (dividend, divisor) = (sum.unsigned_abs() << room, u128::from(count));
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    scale(sum < 0, quotient, exponent - room as i32, rest != 0)
}

/// The `f64` nearest to `magnitude * 2^exponent`, or to a little `more` than that, which needs a magnitude of 55 bits or
/// more. The magnitude is not zero.
pub(super) fn scale(negative: bool, magnitude: u128, exponent: i32, more: bool) -> f64 {
    let bits = 128 - magnitude.leading_zeros() as i32;
    let last = (exponent + bits - MANTISSA).max(SMALLEST);
    let kept = match last - exponent {
        dropped @ 1..=128 => round_off(magnitude, dropped as u32, more),
        dropped if dropped > 128 => 0,
        room => (magnitude << -room) as u64,
    };
    // A mantissa that was rounded up to 54 bits carries into the exponent, as it should; so does a subnormal one.
    let above = (last - SMALLEST) as u64;
    let bits = match above < 0x7fe {
        true => (above << (MANTISSA - 1)) + kept,
        false => f64::INFINITY.to_bits(),
    };
    match negative {
        true => -f64::from_bits(bits),
        false => f64::from_bits(bits),
    }
}

/// `magnitude / 2^dropped`, rounded to an integer of at most 53 bits; `dropped` is in `1..=128`.
fn round_off(magnitude: u128, dropped: u32, more: bool) -> u64 {
    let kept = magnitude.checked_shr(dropped).unwrap_or(0);
    let rest = magnitude - kept.checked_shl(dropped).unwrap_or(0);
    let half = 1_u128 << (dropped - 1);
    let up = rest > half || (rest == half && (more || kept & 1 == 1));
    kept as u64 + u64::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_float_comes_back_as_it_was() {
        let largest_subnormal = f64::from_bits((1 << 52) - 1);
        for value in [
            1.0,
            0.1,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            largest_subnormal,
            1e-310,
        ] {
            let bits = value.to_bits();
            let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
            let hidden = u64::from(exponent > 0) << 52;
            let at = exponent.max(1) - 1075;
            assert_eq!(
                scale(false, u128::from(fraction | hidden), at, false),
                value
            );
            assert_eq!(
                scale(true, u128::from(fraction | hidden), at, false),
                -value
            );
        }
    }

    #[test]
    fn ties_go_to_even_and_a_little_more_breaks_them() {
        let tie = ((1_u128 << 53) + 1) << 10;
        assert_eq!(scale(false, tie, -10, false), 9_007_199_254_740_992.0);
        assert_eq!(scale(false, tie, -10, true), 9_007_199_254_740_994.0);
        let odd = ((1_u128 << 53) + 3) << 10;
        assert_eq!(scale(false, odd, -10, false), 9_007_199_254_740_996.0);
    }

    #[test]
    fn what_is_too_large_is_infinite_and_what_is_too_small_is_zero() {
        let all = (1_u128 << 54) - 1;
        assert_eq!(scale(false, all >> 1, 971, false), f64::MAX);
        assert_eq!(scale(false, all, 970, false), f64::INFINITY);
        assert_eq!(scale(true, 1, 5000, false), f64::NEG_INFINITY);
        assert_eq!(scale(false, 1 << 60, -1074 - 61, false), 0.0);
        assert_eq!(scale(false, (1 << 60) + 1, -1074 - 61, false), 5e-324);
        assert_eq!(scale(false, u128::MAX, -1074 - 128, false), 5e-324);
        assert_eq!(scale(false, u128::MAX, -5000, false), 0.0);
    }

    #[test]
    fn ratios_and_means_agree_with_the_division_of_floats() {
        for (a, b) in [
            (1_i64, 3_u64),
            (-10, 7),
            (1 << 52, 3),
            (7, 1 << 40),
            (-9, 9),
        ] {
            let expected = a as f64 / b as f64;
            assert_eq!(ratio(&BigInt::from(a), 0, &BigUint::from(b)), expected);
            assert_eq!(mean(i128::from(a), 0, b), expected);
        }
        let huge = BigInt::from(3) << 900_u32;
        assert_eq!(ratio(&huge, -902, &BigUint::from(1_u32)), 0.75);
        assert_eq!(
            ratio(&BigInt::from(3), 0, &(BigUint::from(1_u32) << 2_u32)),
            0.75
        );
    }
}
