//! Exact numbers that results are made of: in a fixed size where they fit, which is nearly always, else in any.
//!
//! A quotient is rounded once. Mostly its first 64 bits decide how, which cost one division; where they do not, all are
//! computed.

use arrow::datatypes::i256;
use num_bigint::{BigInt, Sign};

use super::round;

/// `value * 2^exponent`.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    value: Value,
    exponent: i32,
}

#[derive(Clone, Debug)]
enum Value {
    /// Any but the smallest one, whose magnitude is not one of these.
    Small(i256),
    Large(BigInt),
}

impl Exact {
    /// `value` has less than 255 bits.
    pub(super) fn new(value: i256, exponent: i32) -> Self {
        let value = Value::Small(value);
        Self { value, exponent }
    }

    pub(super) fn large(value: BigInt, exponent: i32) -> Self {
        let value = Value::Large(value);
        Self { value, exponent }
    }

    pub(super) fn count(count: u64) -> Self {
        Self::new(i256::from_i128(i128::from(count)), 0)
    }

    pub(super) fn is_zero(&self) -> bool {
        match &self.value {
            Value::Small(value) => *value == i256::ZERO,
            Value::Large(value) => value.sign() == Sign::NoSign,
        }
    }

    pub(super) fn is_negative(&self) -> bool {
        match &self.value {
            Value::Small(value) => value.is_negative(),
            Value::Large(value) => value.sign() == Sign::Minus,
        }
    }

    pub(super) fn times(&self, other: &Self) -> Self {
        let exponent = self.exponent + other.exponent;
        match (&self.value, &other.value) {
            (Value::Small(a), Value::Small(b)) if bits(*a) + bits(*b) < 255 => {
                Self::new(a.wrapping_mul(*b), exponent)
            }
            _ => Self::large(self.to_large() * other.to_large(), exponent),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        match (self.small_at(exponent), other.small_at(exponent)) {
            (Some(a), Some(b)) => Self::new(a.wrapping_add(b), exponent),
            _ => Self::large(self.large_at(exponent) + other.large_at(exponent), exponent),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        let value = match other.value {
            Value::Small(value) => Value::Small(value.wrapping_neg()),
            Value::Large(value) => Value::Large(-value),
        };
        self.plus(Self { value, ..other })
    }

    /// As an integer and the exponent of its last bit.
    pub(super) fn into_parts(self) -> (BigInt, i32) {
        (self.to_large(), self.exponent)
    }

    /// The value in units of `2^exponent`, of at most 253 bits.
    fn small_at(&self, exponent: i32) -> Option<i256> {
        let Value::Small(value) = self.value else {
            return None;
        };
        let up = u32::try_from(self.exponent - exponent).ok()?;
        match value == i256::ZERO {
            true => Some(value),
            false => (bits(value).saturating_add(up) <= 253).then(|| value << up as u8),
        }
    }

    fn large_at(&self, exponent: i32) -> BigInt {
        self.to_large() << (self.exponent - exponent) as u32
    }

    fn to_large(&self) -> BigInt {
        match &self.value {
            Value::Small(value) => BigInt::from_signed_bytes_le(&value.to_le_bytes()),
            Value::Large(value) => value.clone(),
        }
    }
}

/// Bits of the magnitude.
fn bits(value: i256) -> u32 {
    256 - value.wrapping_abs().leading_zeros()
}

/// The `f64` nearest to the product of the numerators over that of the denominators, which are positive.
pub(super) fn quotient(numerators: &[&Exact], denominators: &[&Exact]) -> f64 {
    if numerators.iter().any(|exact| exact.is_zero()) {
        return 0.0;
    }
    leading_quotient(numerators, denominators).unwrap_or_else(|| {
        let product = |exacts: &[&Exact]| {
            let one = Exact::count(1);
            let product = exacts
                .iter()
                .fold(one, |product, exact| product.times(exact));
            product.into_parts()
        };
        let ((a, a_exponent), (b, b_exponent)) = (product(numerators), product(denominators));
        round::ratio(&a, a_exponent - b_exponent, b.magnitude())
    })
}

/// The first bits of a positive number: it is at least `bits * 2^exponent`, and less than `(bits + error) * 2^exponent`.
#[derive(Clone, Copy)]
struct Leading {
    /// The first one is set.
    bits: u128,
    error: u128,
    exponent: i32,
}

/// [`quotient`] by the leading bits of all factors; `None` if these do not decide it.
fn leading_quotient(numerators: &[&Exact], denominators: &[&Exact]) -> Option<f64> {
    let (a, b) = (
        Leading::product(numerators)?,
        Leading::product(denominators)?,
    );
    let negative = numerators.iter().filter(|a| a.is_negative()).count() % 2 == 1;
    // The dividend is less than 2^128, and the divisor at least 2^63; what the divisor stands for is larger by one and a
    // bit at most. So the quotient is too large by four and a bit at most. It is too small by one, for what is left of
    // the division, and a bit, for the error of the dividend.
    debug_assert!(a.error.max(b.error) < 1 << 10);
    let quotient = a.bits / (b.bits >> 64);
    let exponent = a.exponent - b.exponent - 64;
    let rounded = |quotient| round::scale(negative, quotient, exponent, false);
    let (low, high) = (rounded(quotient - 5), rounded(quotient + 2));
    // Rounding keeps the order, so all between them are rounded to the same.
    (low.to_bits() == high.to_bits()).then_some(low)
}

impl Leading {
    /// Of a product; `None` if a factor is not of fixed size.
    fn product(exacts: &[&Exact]) -> Option<Self> {
        let (first, others) = exacts.split_first()?;
        others.iter().try_fold(Self::of(first)?, |product, exact| {
            Some(product.times(Self::of(exact)?))
        })
    }

    fn of(exact: &Exact) -> Option<Self> {
        let Value::Small(value) = exact.value else {
            return None;
        };
        let magnitude = value.wrapping_abs();
        let up = magnitude.leading_zeros();
        let (low, bits) = (magnitude << up as u8).to_parts();
        Some(Self {
            bits: bits as u128,
            error: u128::from(low != 0),
            exponent: exact.exponent + 128 - up as i32,
        })
    }

    fn times(self, other: Self) -> Self {
        let (high, low) = multiply(self.bits, other.bits);
        // With both below 2^128, an error of one is an error of at most one of the product's high half. One more is for
        // the low half, and one for the errors' own product.
        let error = self.error + other.error + 2;
        let exponent = self.exponent + other.exponent + 128;
        match high >> 127 {
            1 => Self {
                bits: high,
                error,
                exponent,
            },
            _ => Self {
                bits: high << 1 | low >> 127,
                error: 2 * error,
                exponent: exponent - 1,
            },
        }
    }
}

/// The high and the low half of a product.
fn multiply(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a, b) = ([a & LOW, a >> 64], [b & LOW, b >> 64]);
    let low = a[0] * b[0];
    let middle = a[1] * b[0] + (low >> 64);
    let other = a[0] * b[1] + (middle & LOW);
    let high = a[1] * b[1] + (middle >> 64) + (other >> 64);
    (high, other << 64 | low & LOW)
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::super::tests::Random;
    use super::*;

    /// A number of about so many bits, and the same as one of any size.
    fn numbers(random: &mut Random, length: u64) -> (Exact, BigInt) {
        let mut value = i256::from_i128(1);
        while u64::from(bits(value)) < length {
            let digit = i256::from_i128(i128::from(random.next() >> 32));
            value = (value << 32_u8).wrapping_add(digit);
        }
        let value = value >> (bits(value) - length as u32) as u8;
        let value = if random.below(2) == 0 {
            value
        } else {
            value.wrapping_neg()
        };
        (
            Exact::new(value, 0),
            BigInt::from_signed_bytes_le(&value.to_le_bytes()),
        )
    }

    #[test]
    fn numbers_of_fixed_size_are_those_of_any_size() {
        let random = &mut Random::new(1);
        for _ in 0..3000 {
            let ((a, large_a), (b, large_b)) = [(); 2]
                .map(|()| {
                    let length = 1 + random.below(250);
                    numbers(random, length)
                })
                .into();
            let (up, down) = (random.below(300) as i32, random.below(300) as i32);
            let at = |exact: &Exact, exponent| Exact {
                exponent,
                ..exact.clone()
            };
            let least = up.min(down);
            let shifted = |large: &BigInt, exponent: i32| large << (exponent - least) as u32;
            let (large_up, large_down) = (shifted(&large_a, up), shifted(&large_b, down));
            assert_eq!(a.times(&b).into_parts(), (&large_a * &large_b, 0));
            let sum = at(&a, up).plus(at(&b, down)).into_parts();
            assert_eq!(sum, (&large_up + &large_down, least));
            let difference = at(&a, up).minus(at(&b, down)).into_parts();
            assert_eq!(difference, (large_up - large_down, least));
        }
    }

    #[test]
    fn quotients_are_rounded_as_those_of_any_size() {
        let random = &mut Random::new(2);
        let (mut quick, all) = (0, 4000_u64);
        for seed in 0..all {
            let mut factor = || {
                let length = 1 + random.below(if seed.is_multiple_of(2) { 60 } else { 220 });
                numbers(random, length)
            };
            let [a, b, c, d] = [factor(), factor(), factor(), factor()];
            let positive = |exact: Exact| {
                if exact.is_negative() {
                    Exact::count(0).minus(exact)
                } else {
                    exact
                }
            };
            let (c, d) = (positive(c.0), positive(d.0));
            let numerator = &a.1 * &b.1;
            let denominator: BigUint = c.to_large().magnitude() * d.to_large().magnitude();
            let expected = round::ratio(&numerator, 0, &denominator);
            let (numerators, denominators) = ([&a.0, &b.0], [&c, &d]);
            assert_eq!(
                quotient(&numerators, &denominators).to_bits(),
                expected.to_bits()
            );
            if let Some(leading) = leading_quotient(&numerators, &denominators) {
                assert_eq!(leading.to_bits(), expected.to_bits());
                quick += 1;
            }
        }
        assert!(quick > all * 9 / 10, "{quick}");
    }

    /// Halfway between two floats, a little above and a little below: only all bits decide.
    #[test]
    fn a_quotient_close_to_a_tie_is_rounded_by_all_its_bits() {
        let one = BigUint::from(1_u32);
        for mantissa in [1_i128 << 52, (1 << 53) - 1, (1 << 52) + 1] {
            let tie = i256::from_i128(2 * mantissa + 1) << 180_u8;
            for little in [-1, 0, 1] {
                let value = tie.wrapping_add(i256::from_i128(little));
                let exact = Exact::new(value, -180);
                let expected = round::ratio(&exact.to_large(), -180, &one);
                let count = Exact::count(1);
                assert!(leading_quotient(&[&exact], &[&count]).is_none());
                assert_eq!(quotient(&[&exact], &[&count]), expected);
                // The divisor's last bit counts as well.
                let (square, tie) = (exact.times(&exact), Exact::new(tie, -180));
                let expected = round::ratio(&square.to_large(), -180, tie.to_large().magnitude());
                assert_eq!(quotient(&[&exact, &exact], &[&tie]), expected);
            }
        }
    }

    #[test]
    fn the_halves_of_a_product_are_those_of_the_whole() {
        let random = &mut Random::new(4);
        for _ in 0..1000 {
            let mut factor = || u128::from(random.next()) << 64 | u128::from(random.next());
            let (a, b) = (factor(), factor());
            let (high, low) = multiply(a, b);
            let product = BigUint::from(a) * b;
            assert_eq!((BigUint::from(high) << 128_u32) + low, product);
        }
        assert_eq!(multiply(u128::MAX, u128::MAX), (u128::MAX - 1, 1));
    }
}
