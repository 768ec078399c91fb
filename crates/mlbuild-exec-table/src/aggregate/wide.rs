//! A sum of any size: an integer of as many limbs as it needs, times a power of two.

use arrow::datatypes::i256;
use num_bigint::BigInt;

use super::number::Exact;

/// Bits of a limb.
const LIMB: i32 = 64;

/// Bytes of an encoding in front of the limbs.
const HEAD: usize = 28;

/// An exact sum, and how often it met what is not a finite number.
///
/// The limbs are one integer in two's complement, the least significant first. What is added always ends below the last
/// limb, which a carry then changes by one: it would take 2^63 additions to overflow it. The exponent, that of the first
/// limb's last bit, is a multiple of 64.
#[derive(Clone, Debug)]
pub(super) struct Wide {
    limbs: Vec<u64>,
    exponent: i32,
    pub(super) specials: Specials,
}

/// How often each value that is not a finite number is among the summands.
///
/// They are counted, so that they can be taken away again.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Specials {
    pub(super) infinite: u64,
    pub(super) minus_infinite: u64,
    pub(super) not_a_number: u64,
}

impl Specials {
    /// The sum of what was counted; `None` if there is nothing of the kind.
    pub(super) fn sum(self) -> Option<f64> {
        match (self.infinite, self.minus_infinite, self.not_a_number) {
            (0, 0, 0) => None,
            (_, 0, 0) => Some(f64::INFINITY),
            (0, _, 0) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// The count that `value` falls under, which is not finite.
    pub(super) fn of(&mut self, value: f64) -> &mut u64 {
        if value.is_nan() {
            &mut self.not_a_number
        } else if value > 0.0 {
            &mut self.infinite
        } else {
            &mut self.minus_infinite
        }
    }
}

impl Wide {
    /// `amount * 2^exponent`.
    pub(super) fn new(amount: i128, exponent: i32) -> Self {
        let mut wide = Self {
            limbs: vec![0],
            exponent: exponent.div_euclid(LIMB) * LIMB,
            specials: Specials::default(),
        };
        wide.add(amount, exponent);
        wide
    }

    /// Adds `amount * 2^exponent`.
    pub(super) fn add(&mut self, amount: i128, exponent: i32) {
        self.lower(exponent);
        let offset = (exponent - self.exponent) as usize;
        let (first, shift) = (offset / LIMB as usize, offset as u32 % LIMB as u32);
        let low = (amount as u128) << shift;
        // Two shifts, for one by 128 would be none.
        let high = (amount >> (127 - shift)) >> 1;
        let sign = (amount >> 127) as u64;
        self.lengthen(first + 4);
        let mut carry = false;
        let mut limbs = self.limbs[first..].iter_mut();
        for part in [low as u64, (low >> LIMB) as u64, high as u64] {
            let limb = limbs.next().expect("`lengthen` made four");
            (*limb, carry) = add_carrying(*limb, part, carry);
        }
        for limb in limbs {
            if sign.wrapping_add(u64::from(carry)) == 0 {
                break;
            }
            (*limb, carry) = add_carrying(*limb, sign, carry);
        }
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Self) {
        let (last, limbs) = other.limbs.split_last().expect("there is one");
        let mut exponent = other.exponent;
        for limb in limbs {
            self.add(i128::from(*limb), exponent);
            exponent += LIMB;
        }
        self.add(i128::from(*last as i64), exponent);
        self.specials.infinite += other.specials.infinite;
        self.specials.minus_infinite += other.specials.minus_infinite;
        self.specials.not_a_number += other.specials.not_a_number;
    }

    /// The sum of the finite summands.
    pub(super) fn exact(&self) -> Exact {
        let mut limbs = self.significant();
        let mut exponent = self.exponent;
        while let [0, rest @ ..] = limbs
            && !rest.is_empty()
        {
            limbs = rest;
            exponent += LIMB;
        }
        let sign = self.sign();
        if limbs.len() <= 3 {
            let limb = |at: usize| u128::from(*limbs.get(at).unwrap_or(&sign));
            let [low, high] = [0, 2].map(|at| limb(at + 1) << LIMB | limb(at));
            return Exact::new(i256::from_parts(low, high as i128), exponent);
        }
        let bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        Exact::large(BigInt::from_signed_bytes_le(&bytes), exponent)
    }

    /// Memory it takes, itself included.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.limbs.capacity() * size_of::<u64>()
    }

    /// Appends the encoding: counts of specials, exponent, limbs but those that repeat the sign, all little-endian.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let Specials {
            infinite,
            minus_infinite,
            not_a_number,
        } = self.specials;
        for count in [infinite, minus_infinite, not_a_number] {
            bytes.extend(count.to_le_bytes());
        }
        bytes.extend(self.exponent.to_le_bytes());
        for limb in self.significant() {
            bytes.extend(limb.to_le_bytes());
        }
    }

    /// The limbs but those at the end that only repeat the sign.
    fn significant(&self) -> &[u64] {
        let mut limbs = self.limbs.as_slice();
        while let [rest @ .., before, last] = limbs
            && *last as i64 == *before as i64 >> 63
        {
            limbs = &limbs[..rest.len() + 1];
        }
        limbs
    }

    /// The inverse of [`Self::encode`]; `None` for other bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, limbs) = bytes.split_at_checked(HEAD)?;
        let (head, exponent) = head.as_chunks::<8>();
        let (limbs, rest) = limbs.as_chunks::<8>();
        if limbs.is_empty() || !rest.is_empty() {
            return None;
        }
        let exponent = i32::from_le_bytes(exponent.try_into().ok()?);
        let counts = [head[0], head[1], head[2]].map(u64::from_le_bytes);
        Some(Self {
            limbs: limbs.iter().map(|limb| u64::from_le_bytes(*limb)).collect(),
            exponent: (exponent % LIMB == 0).then_some(exponent)?,
            specials: Specials {
                infinite: counts[0],
                minus_infinite: counts[1],
                not_a_number: counts[2],
            },
        })
    }

    /// Puts limbs in front, until the first one holds bits of `exponent`.
    fn lower(&mut self, exponent: i32) {
        if exponent < self.exponent {
            let missing = (self.exponent - exponent + LIMB - 1) / LIMB;
            self.limbs
                .splice(..0, std::iter::repeat_n(0, missing as usize));
            self.exponent -= missing * LIMB;
        }
    }

    /// Repeats the sign until there are `limbs` of them.
    fn lengthen(&mut self, limbs: usize) {
        if self.limbs.len() < limbs {
            let sign = self.sign();
            self.limbs.resize(limbs, sign);
        }
    }

    fn last(&self) -> i64 {
        *self.limbs.last().expect("there is one") as i64
    }

    /// The limb that would follow the last one.
    fn sign(&self) -> u64 {
        (self.last() >> 63) as u64
    }
}

fn add_carrying(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = a.overflowing_add(b);
    let (sum, second) = sum.overflowing_add(u64::from(carry));
    (sum, first || second)
}
