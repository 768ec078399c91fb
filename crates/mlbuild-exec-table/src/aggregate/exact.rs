//! A sum of floats that is never rounded.
//!
//! Every finite `f64` is an integer of 53 bits times a power of two, so a sum of them is an integer times a power of
//! two as well. It is kept as such: narrow, in an `i128` with the exponent of its last bit, as long as the summands and
//! the sum lie within 126 bits; else wide, in as many limbs as it takes ([`Wide`]).
//!
//! Invariant: what a sum *represents* is exact. So how it is represented, which does depend on the order of arrival,
//! batches and merges, cannot show in anything that is computed from it. Infinities and NaN are counted aside, for the
//! same reason.

use arrow::datatypes::i256;

use super::number::Exact;
use super::wide::Wide;

/// Bits of a narrow sum that may be used; the last one keeps a sum of two from overflowing.
const WINDOW: i32 = 126;

/// The exponent of an empty sum: values from 2^-24 fit with all their bits, sums up to 2^50. Most sums of most data
/// stay there, and sums of equal exponents are added fastest.
const USUAL: i32 = -76;

/// Bytes of the encoding of a narrow sum. Those of wide ones are longer.
const NARROW_BYTES: usize = 20;

/// An exact sum of floats and of products of two floats.
///
/// Methods that add return by how many bytes the memory beyond `size_of::<ExactSum>()` grew, so that a million sums
/// know their memory without being asked one by one.
#[derive(Clone, Debug)]
pub(super) enum ExactSum {
    /// `sum * 2^exponent`.
    Narrow {
        /// At most [`WINDOW`] bits and a sign.
        sum: Halves,
        exponent: i32,
    },
    Wide(Box<Wide>),
}

/// An `i128` that lies on any eight bytes: sums of many groups are as close as they can.
#[derive(Clone, Copy, Debug)]
pub(super) struct Halves {
    low: u64,
    high: i64,
}

impl Halves {
    const ZERO: Self = Self { low: 0, high: 0 };

    #[inline]
    fn new(value: i128) -> Self {
        Self {
            low: value as u64,
            high: (value >> 64) as i64,
        }
    }

    #[inline]
    fn get(self) -> i128 {
        i128::from(self.high) << 64 | i128::from(self.low)
    }
}

impl Default for ExactSum {
    fn default() -> Self {
        Self::Narrow {
            sum: Halves::ZERO,
            exponent: USUAL,
        }
    }
}

impl ExactSum {
    /// Adds `value`.
    #[inline]
    pub(super) fn add(&mut self, value: f64) -> usize {
        if let Self::Narrow { sum, exponent } = self
            && let Some(amount) = scaled(value, *exponent)
        {
            // Both are within 126 bits, so their sum does not overflow; it must be as well.
            let next = sum.get() + amount;
            if matches!(next >> WINDOW, 0 | -1) {
                *sum = Halves::new(next);
                return 0;
            }
        }
        self.add_any(value)
    }

    /// Takes away a `value` that was added before.
    pub(super) fn remove(&mut self, value: f64) -> usize {
        match value.is_finite() {
            true => self.add(-value),
            false => {
                let growth = self.widen();
                *self.wide().specials.of(value) -= 1;
                growth
            }
        }
    }

    /// Adds `a * b`, not rounded.
    pub(super) fn add_product(&mut self, a: f64, b: f64) -> usize {
        match a.is_finite() && b.is_finite() {
            true => {
                let ((a, at), (b, by)) = (split(a), split(b));
                self.add_scaled(i128::from(a) * i128::from(b), at + by)
            }
            // By IEEE 754 it is an infinity or NaN, and exactly that.
            false => self.add_any(a * b),
        }
    }

    /// Takes away an `a * b` that was added before.
    pub(super) fn remove_product(&mut self, a: f64, b: f64) -> usize {
        match a.is_finite() && b.is_finite() {
            true => self.add_product(-a, b),
            false => self.remove(a * b),
        }
    }

    /// Adds `amount * 2^at`; `amount` has at most 128 + [`WINDOW`] bits.
    pub(super) fn add_long(&mut self, amount: i256, at: i32) -> usize {
        if let Some(amount) = amount.to_i128()
            && matches!(amount >> WINDOW, 0 | -1)
        {
            return self.add_scaled(amount, at);
        }
        let (low, high) = amount.to_parts();
        let (first, second) = (low as u64, (low >> 64) as u64);
        self.add_scaled(i128::from(first), at)
            + self.add_scaled(i128::from(second), at + 64)
            + self.add_scaled(high, at + 128)
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Self) -> usize {
        match other {
            Self::Narrow { sum, exponent } => self.add_scaled(sum.get(), *exponent),
            Self::Wide(other) => {
                let growth = self.widen();
                growth + self.in_wide(|wide| wide.merge(other))
            }
        }
    }

    /// The sum, not rounded.
    ///
    /// # Errors
    /// What the sum is instead, if not all summands were finite.
    pub(super) fn exact(&self) -> Result<Exact, f64> {
        match self {
            Self::Narrow { sum, exponent } => Ok(Exact::new(i256::from_i128(sum.get()), *exponent)),
            Self::Wide(wide) => match wide.specials.sum() {
                None => Ok(wide.exact()),
                Some(special) => Err(special),
            },
        }
    }

    /// Memory beyond `size_of::<ExactSum>()`.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Narrow { .. } => 0,
            Self::Wide(wide) => wide.bytes(),
        }
    }

    /// Appends the encoding, which lasts no longer than a query.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Narrow { sum, exponent } => {
                bytes.extend(exponent.to_le_bytes());
                bytes.extend(sum.get().to_le_bytes());
            }
            Self::Wide(wide) => wide.encode(bytes),
        }
    }

    /// The inverse of [`Self::encode`]; `None` for other bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != NARROW_BYTES {
            return Wide::decode(bytes).map(|wide| Self::Wide(Box::new(wide)));
        }
        let (exponent, sum) = bytes.split_at(4);
        Some(Self::Narrow {
            exponent: i32::from_le_bytes(exponent.try_into().ok()?),
            sum: Halves::new(i128::from_le_bytes(sum.try_into().ok()?)),
        })
    }

    /// Adds any value: the way for those that do not fit in where they are.
    #[cold]
    fn add_any(&mut self, value: f64) -> usize {
        match value.is_finite() {
            true => {
                let (mantissa, exponent) = split(value);
                self.add_scaled(i128::from(mantissa), exponent)
            }
            false => {
                let growth = self.widen();
                *self.wide().specials.of(value) += 1;
                growth
            }
        }
    }

    /// Adds `amount * 2^at`; `amount` has at most [`WINDOW`] bits.
    fn add_scaled(&mut self, amount: i128, at: i32) -> usize {
        if amount == 0 {
            return 0;
        }
        if let Self::Narrow { sum, exponent } = self {
            match fit((sum.get(), *exponent), (amount, at)) {
                Some((fitting, at)) => {
                    (*sum, *exponent) = (Halves::new(fitting), at);
                    return 0;
                }
                None => {
                    let growth = self.widen();
                    return growth + self.in_wide(|wide| wide.add(amount, at));
                }
            }
        }
        self.in_wide(|wide| wide.add(amount, at))
    }

    /// Makes the sum a wide one; returns the bytes that it takes.
    fn widen(&mut self) -> usize {
        match self {
            Self::Narrow { sum, exponent } => {
                let wide = Wide::new(sum.get(), *exponent);
                let bytes = wide.bytes();
                *self = Self::Wide(Box::new(wide));
                bytes
            }
            Self::Wide(_) => 0,
        }
    }

    fn wide(&mut self) -> &mut Wide {
        match self {
            Self::Wide(wide) => wide,
            Self::Narrow { .. } => unreachable!("the caller widened it"),
        }
    }

    /// Changes a wide sum; returns by how many bytes it grew.
    fn in_wide(&mut self, change: impl FnOnce(&mut Wide)) -> usize {
        let wide = self.wide();
        let before = wide.bytes();
        change(wide);
        wide.bytes() - before
    }
}

/// A normal value in units of `2^exponent`, if that is less than 64 powers of two below its last bit: at most 116 bits.
#[inline]
fn scaled(value: f64, exponent: i32) -> Option<i128> {
    let bits = value.to_bits();
    let biased = (bits >> 52 & 0x7ff) as u32;
    // What is below the exponent wraps around, and is large.
    let shift = (biased as i32 - 1075).wrapping_sub(exponent) as u32;
    // Zeros and subnormals have an exponent of 0; infinities and NaN the largest.
    let fits = shift < 64 && biased.wrapping_sub(1) < 0x7fe;
    fits.then(|| {
        let magnitude = (bits & ((1 << 52) - 1) | 1 << 52) as i64;
        // Negated without a branch, for signs are hard to foresee.
        let sign = bits as i64 >> 63;
        let mantissa = (magnitude ^ sign) - sign;
        // Two shifts, for one by 64 would be none.
        let high = (mantissa >> 1) >> (63 - shift);
        i128::from(high) << 64 | i128::from((mantissa as u64) << shift)
    })
}

/// A finite value as a mantissa and an exponent.
pub(super) fn split(value: f64) -> (i64, i32) {
    let bits = value.to_bits();
    let biased = (bits >> 52 & 0x7ff) as i32;
    let magnitude = (bits & ((1 << 52) - 1)) as i64 | i64::from(biased > 0) << 52;
    let mantissa = if value < 0.0 { -magnitude } else { magnitude };
    (mantissa, biased.max(1) - 1075)
}

/// The sum of two integers times powers of two, `b` not zero, as one within [`WINDOW`] bits; `None` if there is none.
fn fit(a: (i128, i32), b: (i128, i32)) -> Option<(i128, i32)> {
    // The exponents of the last and of the first bit that is set.
    let ends = |(amount, exponent): (i128, i32)| {
        let last = exponent + amount.trailing_zeros() as i32;
        (
            last,
            exponent + 128 - amount.unsigned_abs().leading_zeros() as i32,
        )
    };
    let (b_last, b_first) = ends(b);
    let (a_last, a_first) = if a.0 == 0 { (b_last, b_first) } else { ends(a) };
    let (last, first) = (a_last.min(b_last), a_first.max(b_first));
    // One bit more for the carry.
    let spare = WINDOW - (first - last) - 1;
    if spare < 0 {
        return None;
    }
    let kept = a.1 <= last && first - a.1 < WINDOW;
    let exponent = if kept { a.1 } else { last - spare / 3 };
    let moved = |(amount, from): (i128, i32)| match from - exponent {
        up @ 0.. => amount << up,
        down => amount >> -down,
    };
    let a = if a.0 == 0 { 0 } else { moved(a) };
    Some((a + moved(b), exponent))
}
