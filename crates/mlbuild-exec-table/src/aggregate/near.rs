//! Rows on a grid or close to it: sums of integers of a fixed size.
//!
//! A row is on the grid if each of its values is `k` times the grid's power of two with `k` of at most 63 bits. Such rows
//! are added without a branch. Rows of which a `k` is longer are close to it; so are those that have bits below it, for
//! which the grid moves down, while there are few rows.
//!
//! Invariant: `|Σk| < 2^95` and `|Σkk| < 2^159`, by the limits below.

use arrow::datatypes::i256;

use super::exact::split;

/// How far a mantissa may be shifted up on the grid: 53 bits and these are 63.
pub(super) const REACH: u32 = 10;

/// How far it may be shifted while a group is small.
const FAR_REACH: u32 = 20;

/// How far it may be shifted, at any time, where there are no products: 53 bits and these are 84.
const LONE_REACH: u32 = 31;

/// The grid of a variable that was zero in all rows; too large for any to be on it.
pub(super) const UNSET: u16 = u16::MAX;

/// Rows after which sums are put aside: they add up to 2^93, and their products to 2^156.
pub(super) const FULL: u32 = 1 << 30;

/// [`FULL`] where there are no products: they add up to 2^94.
const LONE_FULL: u32 = 1 << 10;

/// Rows among which some may be far from the grid: they add up to 2^85, and their products to 2^158.
pub(super) const SMALL: u32 = 1 << 12;

/// Rows after which a grid does not move any more for a row below it.
pub(super) const YOUNG: u32 = 64;

/// Bits of a sum, and of one of products, after a grid moved or two sums were merged. With all rows that may follow,
/// they stay below 95 and 159.
const ROOM: [u32; 2] = [93, 157];

/// The rows on or close to the grid. Halves of integers lie apart, so that no byte is lost: groups are many.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Near<const V: usize, const P: usize> {
    sums: [u64; V],
    products: [[u64; 2]; P],
    sums_high: [i32; V],
    products_high: [i32; P],
    pub(super) rows: u32,
    /// For each variable, the exponent as in the bits of a float whose mantissa is not shifted; a normal one's.
    pub(super) grid: [u16; V],
}

/// A value as `value << far` on a grid.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    value: i64,
    far: u32,
}

/// The two variables of a product.
pub(super) const fn factors<const V: usize>(product: usize) -> (usize, usize) {
    if product < V {
        (product, product)
    } else {
        (0, 1)
    }
}

impl<const V: usize, const P: usize> Near<V, P> {
    /// How far a mantissa may be shifted.
    const REACH: u32 = if P == 0 { LONE_REACH } else { REACH };

    /// How far while a group is small.
    const FAR_REACH: u32 = if P == 0 { LONE_REACH } else { FAR_REACH };

    /// Rows after which sums are put aside.
    pub(super) const FULL: u32 = if P == 0 { LONE_FULL } else { FULL };

    /// No rows, and grids for values like these.
    pub(super) fn like(values: [&[f64]; V]) -> Self {
        Self::new(values.map(|values| choose(values, Self::REACH)))
    }

    pub(super) fn new(grid: [u16; V]) -> Self {
        Self {
            sums: [0; V],
            products: [[0; 2]; P],
            sums_high: [0; V],
            products_high: [0; P],
            rows: 0,
            grid,
        }
    }

    /// Adds a row if it is on the grid.
    #[inline(always)]
    pub(super) fn add(&mut self, row: [f64; V]) -> bool {
        if P == 0 {
            return self.add_lone(row[0]);
        }
        let Some(row) = self.on_grid(row) else {
            return false;
        };
        self.rows += 1;
        for (at, value) in row.iter().enumerate() {
            add_96(&mut self.sums[at], &mut self.sums_high[at], *value);
        }
        for at in 0..P {
            let (low, high) = (&mut self.products[at], &mut self.products_high[at]);
            match factors::<V>(at) {
                (a, b) if a == b => {
                    // Not negative, which saves the sign.
                    let magnitude = u128::from(row[a].unsigned_abs());
                    add_160(low, high, magnitude * magnitude, 0);
                }
                (a, b) => {
                    let product = i128::from(row[a]) * i128::from(row[b]);
                    add_160(low, high, product as u128, (product >> 127) as i32);
                }
            }
        }
        true
    }

    /// [`add`](Self::add) of one variable without products, whose values may be longer than 64 bits.
    #[inline(always)]
    fn add_lone(&mut self, value: f64) -> bool {
        let bits = value.to_bits();
        let shift = (bits >> 52 & 0x7ff) as u32;
        let shift = shift.wrapping_sub(u32::from(self.grid[0]));
        let fits = self.rows < LONE_FULL && shift <= LONE_REACH;
        if fits {
            self.rows += 1;
            let sign = bits as i64 >> 63;
            let mantissa = ((bits & ((1 << 52) - 1) | 1 << 52) as i64 ^ sign) - sign;
            let (sum, carry) = self.sums[0].overflowing_add((mantissa as u64) << shift);
            self.sums[0] = sum;
            // Two shifts, for one by 64 would be none.
            self.sums_high[0] += ((mantissa >> 1) >> (63 - shift)) as i32 + i32::from(carry);
        }
        fits
    }

    /// Reads a little of each stretch of memory that [`add`](Self::add) needs.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        let middle = match self.products.last() {
            Some([low, _]) => *low,
            None => 0,
        };
        self.sums[0] ^ middle ^ u64::from(self.rows)
    }

    /// Subtracts a row if it is on the grid.
    pub(super) fn subtract(&mut self, row: [f64; V]) -> bool {
        if P == 0 {
            return self.add_lone(-row[0]);
        }
        let Some(row) = self.on_grid(row) else {
            return false;
        };
        self.rows += 1;
        for (at, value) in row.iter().enumerate() {
            add_96(&mut self.sums[at], &mut self.sums_high[at], -value);
        }
        for at in 0..P {
            let (a, b) = factors::<V>(at);
            let product = -i128::from(row[a]) * i128::from(row[b]);
            let (low, high) = (&mut self.products[at], &mut self.products_high[at]);
            add_160(low, high, product as u128, (product >> 127) as i32);
        }
        true
    }

    /// The row as multiples of the grid, all of at most 63 bits and a sign.
    #[inline(always)]
    fn on_grid(&self, row: [f64; V]) -> Option<[i64; V]> {
        let mut fits = self.rows < FULL;
        let mut values = [0; V];
        for at in 0..V {
            let bits = row[at].to_bits();
            // Less than 2^11 minus 2^16 at most: what is below wraps around and is large.
            let shift = (bits >> 52 & 0x7ff) as u32;
            let shift = shift.wrapping_sub(u32::from(self.grid[at]));
            fits &= shift <= REACH;
            let magnitude = (bits & ((1 << 52) - 1) | 1 << 52).wrapping_shl(shift) as i64;
            let sign = bits as i64 >> 63;
            // Of a value that does not fit, anything.
            values[at] = (magnitude ^ sign).wrapping_sub(sign);
        }
        fits.then_some(values)
    }

    /// The row close to the grid, which is chosen or moves for it; `None` if that is not possible.
    pub(super) fn place(&mut self, row: [f64; V]) -> Option<[Placed; V]> {
        if !row.iter().all(|value| value.is_finite()) {
            return None;
        }
        if self.rows == 0 {
            self.grid = [UNSET; V];
        }
        let mut placed = [Placed { value: 0, far: 0 }; V];
        for (at, value) in row.into_iter().enumerate() {
            let Some(mantissa) = Mantissa::of(value) else {
                continue;
            };
            if self.grid[at] == UNSET {
                self.grid[at] = mantissa.grid(Self::REACH);
            } else if mantissa.last < u32::from(self.grid[at]) && self.rows < YOUNG {
                self.lower(at, mantissa.last as u16);
            }
            placed[at] = mantissa.on(u32::from(self.grid[at]), Self::FAR_REACH)?;
        }
        let near = placed.iter().all(|placed| placed.far == 0);
        (near || P == 0 || self.rows < SMALL).then_some(placed)
    }

    /// Adds a row that is close to the grid.
    pub(super) fn add_placed(&mut self, row: [Placed; V]) {
        self.rows += 1;
        for (at, placed) in row.iter().enumerate() {
            self.set_sum(at, self.sum(at) + (i128::from(placed.value) << placed.far));
        }
        for at in 0..P {
            let (a, b) = factors::<V>(at);
            let product = i128::from(row[a].value) * i128::from(row[b].value);
            let far = (row[a].far + row[b].far) as u8;
            let sum = self
                .product(at)
                .wrapping_add(i256::from_i128(product) << far);
            self.set_product(at, sum);
        }
    }

    /// Moves a variable's grid down; does not where sums would grow too long.
    fn lower(&mut self, at: usize, to: u16) -> bool {
        let by = u32::from(self.grid[at] - to);
        if by > Self::REACH {
            return false;
        }
        let sum = self.sum(at) << by;
        let mut products = [i256::ZERO; P];
        for (product, moved) in products.iter_mut().enumerate() {
            let (a, b) = factors::<V>(product);
            let times = u32::from(a == at) + u32::from(b == at);
            *moved = self.product(product) << (by * times) as u8;
        }
        let fits = self.set_if_they_fit([(at, sum)], products);
        if fits {
            self.grid[at] = to;
        }
        fits
    }

    /// Adds the rows of another, if both can be on one grid.
    pub(super) fn merge(&mut self, mut other: Self) -> bool {
        if other.rows == 0 {
            return true;
        }
        if self.rows == 0 {
            *self = other;
            return true;
        }
        for at in 0..V {
            let (own, others) = (self.grid[at], other.grid[at]);
            let one_grid = match (own, others) {
                // Then all values are zero.
                (UNSET, _) => {
                    self.grid[at] = others;
                    true
                }
                (_, UNSET) => true,
                _ if own > others => self.lower(at, others),
                _ if own < others => other.lower(at, own),
                _ => true,
            };
            if !one_grid {
                return false;
            }
        }
        let rows = self.rows + other.rows;
        let mut sums = [(0, 0); V];
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum = (at, self.sum(at) + other.sum(at));
        }
        let mut products = [i256::ZERO; P];
        for (at, sum) in products.iter_mut().enumerate() {
            *sum = self.product(at).wrapping_add(other.product(at));
        }
        let fits = rows <= Self::FULL && self.set_if_they_fit(sums, products);
        if fits {
            self.rows = rows;
        }
        fits
    }

    /// Sets some sums and all sums of products, unless one is too long to leave room for the rows that follow.
    fn set_if_they_fit<const N: usize>(
        &mut self,
        sums: [(usize, i128); N],
        products: [i256; P],
    ) -> bool {
        let [room, products_room] = ROOM;
        let fits = sums
            .iter()
            .all(|(_, sum)| 128 - sum.unsigned_abs().leading_zeros() <= room)
            && products
                .iter()
                .all(|sum| 256 - sum.wrapping_abs().leading_zeros() <= products_room);
        if fits {
            for (at, sum) in sums {
                self.set_sum(at, sum);
            }
            for (at, sum) in products.into_iter().enumerate() {
                self.set_product(at, sum);
            }
        }
        fits
    }

    pub(super) fn sum(&self, at: usize) -> i128 {
        i128::from(self.sums_high[at]) << 64 | i128::from(self.sums[at])
    }

    pub(super) fn set_sum(&mut self, at: usize, sum: i128) {
        self.sums[at] = sum as u64;
        self.sums_high[at] = (sum >> 64) as i32;
    }

    fn product(&self, at: usize) -> i256 {
        let [low, middle] = self.products[at];
        let low = u128::from(middle) << 64 | u128::from(low);
        i256::from_parts(low, i128::from(self.products_high[at]))
    }

    pub(super) fn set_product(&mut self, at: usize, sum: i256) {
        let (low, high) = sum.to_parts();
        self.products[at] = [low as u64, (low >> 64) as u64];
        self.products_high[at] = high as i32;
    }

    /// The exponent of a variable's grid.
    pub(super) fn exponent(&self, at: usize) -> i32 {
        match self.grid[at] {
            UNSET => 0,
            own => i32::from(own) - 1075,
        }
    }

    /// Appends the encoding.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.rows.to_le_bytes());
        bytes.extend(self.grid.iter().flat_map(|at| at.to_le_bytes()));
        bytes.extend(self.sums.iter().flat_map(|low| low.to_le_bytes()));
        let products = self.products.as_flattened().iter();
        bytes.extend(products.flat_map(|low| low.to_le_bytes()));
        let high = self.sums_high.iter().chain(&self.products_high);
        bytes.extend(high.flat_map(|high| high.to_le_bytes()));
    }

    /// Takes an encoding off the front; `None` if it is too short.
    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut near = Near::new([UNSET; V]);
        near.rows = u32::from_le_bytes(*take(bytes)?);
        for at in &mut near.grid {
            *at = u16::from_le_bytes(*take(bytes)?);
        }
        for low in near.sums.iter_mut().chain(near.products.as_flattened_mut()) {
            *low = u64::from_le_bytes(*take(bytes)?);
        }
        for high in near.sums_high.iter_mut().chain(&mut near.products_high) {
            *high = i32::from_le_bytes(*take(bytes)?);
        }
        Some(near)
    }

    /// A sum, or after them one of products, and the exponent of its last bit.
    pub(super) fn number(&self, at: usize) -> (i256, i32) {
        match at.checked_sub(V) {
            None => (i256::from_i128(self.sum(at)), self.exponent(at)),
            Some(product) => {
                let (a, b) = factors::<V>(product);
                (self.product(product), self.exponent(a) + self.exponent(b))
            }
        }
    }
}

/// A finite value but zero, and the grids that it is on.
struct Mantissa {
    value: i64,
    /// The grid on which it is not shifted.
    own: u32,
    /// The last one that it is on.
    last: u32,
}

impl Mantissa {
    /// `None` for zeros, which are on every grid.
    fn of(value: f64) -> Option<Self> {
        let (mantissa, exponent) = split(value);
        let own = (exponent + 1075) as u32;
        (mantissa != 0).then(|| Self {
            value: mantissa,
            own,
            last: own + mantissa.trailing_zeros(),
        })
    }

    /// The grid for a first value: in the middle of those that it is on, with all its bits within 63.
    fn grid(&self, reach: u32) -> u16 {
        let lowest = i64::from(self.own) - i64::from(reach);
        normal(lowest.midpoint(i64::from(self.last)), reach)
    }

    /// The value on a grid; `None` if it is not on it, or too far.
    fn on(&self, grid: u32, far_reach: u32) -> Option<Placed> {
        match self.own.checked_sub(grid) {
            Some(up) => (up <= far_reach).then(|| Placed {
                value: self.value << up.min(REACH),
                far: up.saturating_sub(REACH),
            }),
            None => (grid <= self.last).then(|| Placed {
                value: self.value >> (grid - self.own),
                far: 0,
            }),
        }
    }
}

/// The grid for values like these: one that all of them are on, if there is one, or else one for those in the middle.
fn choose(values: &[f64], reach: u32) -> u16 {
    let finite = values.iter().filter(|value| value.is_finite());
    let mut mantissas: Vec<Mantissa> = finite.filter_map(|value| Mantissa::of(*value)).collect();
    mantissas.sort_unstable_by_key(|mantissa| mantissa.own);
    let Some(largest) = mantissas.last() else {
        return UNSET;
    };
    let lowest = i64::from(largest.own) - i64::from(reach);
    let last = mantissas.iter().map(|mantissa| mantissa.last).min();
    match last.map_or(0, i64::from) - lowest {
        // What comes is smaller more often than larger.
        spare @ 0.. => normal(lowest + spare / 4, reach),
        _ => mantissas[mantissas.len() / 2].grid(reach),
    }
}

/// A grid among the exponents of normal floats, up to that of infinity, which is never on it.
fn normal(grid: i64, reach: u32) -> u16 {
    grid.clamp(1, 0x7fe - i64::from(reach)) as u16
}

#[inline]
fn add_96(low: &mut u64, high: &mut i32, value: i64) {
    let (sum, carry) = low.overflowing_add(value as u64);
    *low = sum;
    *high += (value >> 63) as i32 + i32::from(carry);
}

/// Adds `value`, whose bits above the 128th are `sign`.
#[inline]
fn add_160(low: &mut [u64; 2], high: &mut i32, value: u128, sign: i32) {
    let sum = u128::from(low[1]) << 64 | u128::from(low[0]);
    let (sum, carry) = sum.overflowing_add(value);
    *low = [sum as u64, (sum >> 64) as u64];
    *high += sign + i32::from(carry);
}

/// Takes `N` bytes off the front.
pub(super) fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rows can add up to, by the limits at the head of this file.
    #[test]
    fn no_sum_is_too_long_for_its_bits() {
        let power = |bits: u32| i256::from_i128(1) << bits as u8;
        let times = |count: u32, bits| i256::from_i128(i128::from(count)).wrapping_mul(power(bits));
        let (near, far) = (53 + REACH, 53 + FAR_REACH);
        for (factors, room, bits) in [(1, ROOM[0], 95), (2, ROOM[1], 159)] {
            let largest = power(room)
                .wrapping_add(times(FULL, factors * near))
                .wrapping_add(times(SMALL, factors * far));
            assert!(largest < power(bits), "{factors}");
        }
        let lone = power(ROOM[0]).wrapping_add(times(LONE_FULL, 53 + LONE_REACH));
        assert!(lone < power(95));
        const { assert!(YOUNG <= SMALL && SMALL <= FULL) };
    }

    #[test]
    fn a_grid_does_not_move_where_sums_would_be_too_long() {
        for (bits, moves) in [(147_u8, true), (150, false)] {
            let mut near = Near::<1, 1>::new([1023]);
            near.rows = 1;
            near.set_product(0, (i256::from_i128(1) << bits).wrapping_neg());
            let before = near.number(1);
            assert_eq!(near.lower(0, 1019), moves);
            let by = if moves { 8_u8 } else { 0 };
            let (value, exponent) = near.number(1);
            assert_eq!((value >> by, exponent + i32::from(by)), before);
        }
        let mut near = Near::<1, 0>::new([1023]);
        near.set_sum(0, 1 << 91);
        assert!(!near.lower(0, 1019) && near.lower(0, 1022));
        assert!(!near.lower(0, 1000));
    }
}
