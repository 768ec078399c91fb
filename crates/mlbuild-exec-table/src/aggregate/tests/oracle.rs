//! Exact sums and results against an oracle: integers of any size, added up in the plainest way.

use num_bigint::{BigInt, BigUint};

use super::Random;
use crate::aggregate::exact::ExactSum;
use crate::aggregate::number::Exact;
use crate::aggregate::round;
use crate::aggregate::statistic::{Divisor, Statistic, Term, mean};

/// The last bit of a product of two smallest floats, and so of every number here.
pub(super) const LAST: i32 = 2 * round::SMALLEST;

impl Random {
    /// A finite value of one of several kinds of data.
    pub(super) fn value(&mut self, kind: u64) -> f64 {
        let sign = if self.below(2) == 0 { 1.0 } else { -1.0 };
        sign * match kind {
            // Between 0 and 1.
            0 => self.below(1 << 53) as f64 / (1_u64 << 53) as f64,
            // Amounts.
            1 => self.below(1_000_000_000) as f64 / 100.0,
            // Integers, small and large.
            2 => (self.next() >> self.below(63)) as f64,
            // Zeros and subnormals.
            3 => f64::from_bits(self.below(4) * self.below(1 << 52)),
            // Anything finite.
            4 => f64::from_bits(self.below(0x7ff << 52)),
            // The largest.
            _ => f64::from_bits((0x7ff << 52) - 1 - self.below(1 << 50)),
        }
    }

    fn values(&mut self, kind: u64) -> Vec<f64> {
        let length = self.below(300);
        (0..length).map(|_| self.value(kind)).collect()
    }
}

/// A finite value in units of `2^LAST`.
pub(super) fn integer(value: f64) -> BigInt {
    let biased = (value.to_bits() >> 52 & 0x7ff) as i32;
    let fraction = value.to_bits() & ((1 << 52) - 1) | u64::from(biased > 0) << 52;
    let magnitude = BigInt::from(fraction) << (biased.max(1) - 1075 - LAST) as u32;
    if value < 0.0 { -magnitude } else { magnitude }
}

/// A finite product in units of `2^LAST`.
pub(super) fn product(a: f64, b: f64) -> BigInt {
    (integer(a) * integer(b)) >> -LAST as u32
}

/// A sum of finite values in units of `2^LAST`.
pub(super) fn units(sum: Result<Exact, f64>) -> BigInt {
    let (value, exponent) = sum.expect("all is finite").into_parts();
    match exponent - LAST {
        up @ 0.. => value << up as u32,
        down => {
            let shifted = &value >> -down as u32;
            assert_eq!(&shifted << -down as u32, value, "below the last bit");
            shifted
        }
    }
}

fn sum_of(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::default();
    for value in values {
        sum.add(*value);
    }
    sum
}

fn rounded(sum: &ExactSum) -> f64 {
    mean(sum.exact(), 1)
}

fn round_trip(sum: &ExactSum) -> ExactSum {
    let mut bytes = Vec::new();
    sum.encode(&mut bytes);
    ExactSum::decode(&bytes).expect("what was encoded")
}

#[test]
fn sums_are_exact_whatever_is_added_merged_and_taken_away() {
    for seed in 0..1200 {
        let random = &mut Random::new(seed);
        let (kind, other_kind) = (seed % 6, random.below(6));
        let (left, right, gone) = (
            random.values(kind),
            random.values(other_kind),
            random.values(kind),
        );
        let mut sum = sum_of(&gone);
        for value in &left {
            sum.add(*value);
        }
        let mut heap_bytes = sum.heap_bytes();
        heap_bytes += sum.merge(&round_trip(&sum_of(&right)));
        for value in &gone {
            heap_bytes += sum.remove(*value);
        }
        let expected: BigInt = left.iter().chain(&right).copied().map(integer).sum();
        assert_eq!(units(sum.exact()), expected, "seed {seed}");
        assert_eq!(units(round_trip(&sum).exact()), expected, "seed {seed}");
        assert_eq!(sum.heap_bytes(), heap_bytes, "seed {seed}");
        let one = BigUint::from(1_u32);
        assert_eq!(
            rounded(&sum),
            round::ratio(&expected, LAST, &one),
            "seed {seed}"
        );
    }
}

#[test]
fn products_are_exact() {
    for seed in 0..600 {
        let random = &mut Random::new(seed);
        let (a, b) = (random.values(seed % 6), random.values(seed / 6 % 6));
        let pairs = || a.iter().copied().zip(b.iter().copied());
        let mut sum = ExactSum::default();
        let mut heap_bytes = 0;
        for (a, b) in pairs() {
            heap_bytes += sum.add_product(a, b);
        }
        let expected: BigInt = pairs().map(|(a, b)| product(a, b)).sum();
        assert_eq!(units(sum.exact()), expected, "seed {seed}");
        for (a, b) in pairs() {
            heap_bytes += sum.remove_product(a, b);
        }
        assert_eq!(units(sum.exact()), BigInt::ZERO, "seed {seed}");
        assert_eq!(sum.heap_bytes(), heap_bytes, "seed {seed}");
    }
}

#[test]
fn a_sum_is_rounded_once() {
    let sum = |values: &[f64]| rounded(&sum_of(values));
    assert_eq!(sum(&[0.1; 10]), 1.0);
    assert_eq!(sum(&[1e308, 1e308, -1e308]), 1e308);
    assert_eq!(sum(&[1e308, 1e308]), f64::INFINITY);
    assert_eq!(sum(&[1.0, 1e-300, -1.0]), 1e-300);
    assert_eq!(sum(&[-0.0, -0.0]).to_bits(), 0);
    assert_eq!(sum(&[5e-324, 5e-324]), 1e-323);
    assert_eq!(mean(sum_of(&[1.0, 0.0, 0.0]).exact(), 3), 1.0 / 3.0);
    assert_eq!(mean(sum_of(&[5e-324, 0.0]).exact(), 2), 0.0);
}

#[test]
fn infinities_and_nan_add_up_and_can_be_taken_away() {
    const INF: f64 = f64::INFINITY;
    let mut sum = sum_of(&[1.5, INF]);
    assert_eq!(rounded(&round_trip(&sum)), INF);
    sum.add(-INF);
    assert_eq!(rounded(&sum).to_bits(), f64::NAN.to_bits());
    sum.remove(INF);
    assert_eq!(mean(sum.exact(), 2), -INF);
    sum.remove(-INF);
    assert_eq!(rounded(&sum), 1.5);
    sum.add(-f64::NAN);
    assert_eq!(rounded(&sum).to_bits(), f64::NAN.to_bits());
    sum.add_product(0.0, INF);
    sum.remove_product(0.0, INF);
    sum.remove(f64::NAN);
    assert_eq!(rounded(&sum), 1.5);
    sum.merge(&sum_of(&[INF]));
    assert_eq!(rounded(&sum), INF);
}

#[test]
fn a_damaged_state_is_refused() {
    let mut bytes = Vec::new();
    sum_of(&[1e300, 1e-300]).encode(&mut bytes);
    assert!(ExactSum::decode(&bytes).is_some());
    assert!(ExactSum::decode(&bytes[..bytes.len() - 1]).is_none());
    assert!(ExactSum::decode(&[]).is_none());
}

/// The result of a statistic over pairs.
fn result(statistic: Statistic, pairs: &[(f64, f64)]) -> Option<f64> {
    let sums: Vec<ExactSum> = statistic
        .terms()
        .iter()
        .map(|term| {
            let mut sum = ExactSum::default();
            for (y, x) in pairs.iter().copied() {
                match term {
                    Term::Y => sum.add(y),
                    Term::X => sum.add(x),
                    Term::YY => sum.add_product(y, y),
                    Term::XX => sum.add_product(x, x),
                    Term::YX => sum.add_product(y, x),
                };
            }
            sum
        })
        .collect();
    statistic.result(pairs.len() as u64, &sums)
}

#[test]
fn nothing_cancels_in_second_moments() {
    const BIG: f64 = 1e15;
    let pairs = [(BIG + 1.0, 1.0), (BIG + 2.0, 2.0), (BIG + 3.0, 3.0)];
    let is = |statistic, expected| {
        assert_eq!(result(statistic, &pairs), Some(expected), "{statistic:?}")
    };
    is(Statistic::Variance(Divisor::Sample), 1.0);
    is(Statistic::Variance(Divisor::Population), 2.0 / 3.0);
    is(Statistic::Stddev(Divisor::Sample), 1.0);
    is(Statistic::Covariance(Divisor::Sample), 1.0);
    is(Statistic::Correlation, 1.0);
    is(Statistic::RegrSlope, 1.0);
    is(Statistic::RegrIntercept, BIG);
    is(Statistic::RegrR2, 1.0);
    is(Statistic::RegrAvgX, 2.0);
    is(Statistic::RegrAvgY, BIG + 2.0);
    is(Statistic::RegrSxx, 2.0);
    is(Statistic::RegrSyy, 2.0);
    is(Statistic::RegrSxy, 2.0);
    let falling = pairs.map(|(y, x)| (-y, x));
    assert_eq!(result(Statistic::Correlation, &falling), Some(-1.0));
}
