//! Sums of rows and of their products, as integers on a grid.
//!
//! The floats of a column are mostly of similar size. Where they lie within eleven powers of two, they are multiples
//! `k` of one power, the *grid*, and `k` fits an `i64`. So do most rows: for them `Σk` and `Σkk` are plain sums of
//! integers of a fixed size, without a branch, and a product costs one multiplication. A group has a grid of its own for
//! each variable, chosen by the first rows that come with it.
//!
//! ```text
//! on the grid     within eleven powers of two     sums of integers
//! close to it     while a group is small          the same sums, after a shift; or the grid moves
//! aside           all others, infinities, NaN     exact sums of any size
//! ```
//!
//! Where there are no products, a grid reaches over thirty-two powers.
//!
//! Invariant: the sums near the grid and those aside together are exact, so which row went where, and where the grid
//! was, cannot show in what is computed of them.

use arrow::datatypes::i256;

use super::aside::Aside;
use super::near::{Near, UNSET};
use super::number::Exact;
use super::round;
use super::statistic::{Sums, mean, scatter};

/// How many rows have to miss a grid, and which part of all, for the next row to choose another.
const MISSES: (u32, u32) = (64, 8);

/// Exact sums over rows of `V` variables, and of `P` products: the squares, then that of both variables.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Grid<const V: usize, const P: usize> {
    near: Near<V, P>,
    aside: Option<Box<Aside<V, P>>>,
}

impl<const V: usize, const P: usize> Default for Grid<V, P> {
    fn default() -> Self {
        Self {
            near: Near::new([UNSET; V]),
            aside: None,
        }
    }
}

impl<const V: usize, const P: usize> Grid<V, P> {
    /// No rows, and a grid for rows like these: some of each variable's values.
    pub(super) fn like(values: [&[f64]; V]) -> Self {
        Self {
            near: Near::like(values),
            aside: None,
        }
    }

    /// Adds a row; returns by how many bytes the memory beyond `size_of::<Self>()` grew.
    #[inline]
    pub(super) fn add(&mut self, row: [f64; V]) -> usize {
        match self.near.add(row) {
            true => 0,
            false => self.add_any(row),
        }
    }

    /// Adds rows, of which each variable's values are given; while they are on the grid, the sums stay in registers.
    pub(super) fn add_all(&mut self, values: [&[f64]; V]) -> usize {
        let mut growth = 0;
        let mut near = self.near;
        let rows = values[0].len();
        for at in 0..rows {
            let row = row(&values, at);
            if !near.add(row) {
                self.near = near;
                growth += self.add_any(row);
                near = self.near;
            }
        }
        self.near = near;
        growth
    }

    /// Reads a little of all that [`add`](Self::add) will need, and so has it fetched.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        self.near.touch()
    }

    /// Takes away a row that was added before.
    pub(super) fn remove(&mut self, row: [f64; V]) -> usize {
        let mut growth = self.make_aside();
        // To the limits of the sums, what is taken away near the grid is one row more, so two less are counted.
        if self.near.subtract(row) {
            let aside = self.aside();
            aside.rows = aside.rows.wrapping_sub(2);
        } else {
            growth += self.aside().remove(row);
        }
        growth
    }

    /// Adds the rows of another.
    pub(super) fn merge(&mut self, other: &Self) -> usize {
        let mut growth = 0;
        if let Some(aside) = &other.aside {
            growth += self.make_aside();
            growth += self.aside().merge(aside);
        }
        if !self.near.merge(other.near) {
            growth += self.make_aside();
            growth += self.aside().absorb(&other.near);
        }
        growth
    }

    /// Chooses the grid for rows like these, if there are none yet.
    pub(super) fn set_grid<'a>(&mut self, values: impl FnOnce() -> [&'a [f64]; V]) {
        if self.near.rows == 0 {
            self.near = Near::like(values());
        }
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> u64 {
        let aside = self.aside.as_ref().map_or(0, |aside| aside.rows);
        aside.wrapping_add(u64::from(self.near.rows))
    }

    /// Memory beyond `size_of::<Self>()`.
    pub(super) fn heap_bytes(&self) -> usize {
        self.aside.as_ref().map_or(0, |aside| aside.bytes())
    }

    /// Appends the encoding, which lasts no longer than a query.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        self.near.encode(bytes);
        if let Some(aside) = &self.aside {
            aside.encode(bytes);
        }
    }

    /// The inverse of [`Self::encode`]; `None` for other bytes.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let near = Near::decode(&mut bytes)?;
        let aside = match bytes.is_empty() {
            true => None,
            false => Some(Box::new(Aside::decode(&mut bytes)?)),
        };
        Some(Self { near, aside })
    }

    /// Adds any row: the way for those that are not on the grid.
    #[cold]
    fn add_any(&mut self, row: [f64; V]) -> usize {
        if self.near.rows == Near::<V, P>::FULL {
            let growth = self.make_aside() + self.put_aside(self.near.grid);
            return growth + self.add(row);
        }
        if let Some(row) = self.near.place(row) {
            self.near.add_placed(row);
            return 0;
        }
        let growth = self.make_aside();
        let aside = self.aside();
        let growth = growth + aside.add(row);
        aside.misses += 1;
        let (misses, part) = MISSES;
        // Another grid, for rows like this one and those that follow.
        match aside.misses >= misses.max(self.near.rows / part) {
            true => growth + self.put_aside([UNSET; V]),
            false => growth,
        }
    }

    /// Puts what is near aside, which exists, and starts anew with a grid.
    fn put_aside(&mut self, grid: [u16; V]) -> usize {
        let near = std::mem::replace(&mut self.near, Near::new(grid));
        let aside = self.aside();
        aside.misses = 0;
        aside.absorb(&near)
    }

    /// Makes what [`Self::aside`] yields; returns the bytes that it takes.
    fn make_aside(&mut self) -> usize {
        match self.aside {
            Some(_) => 0,
            None => {
                let aside = Box::<Aside<V, P>>::default();
                let bytes = aside.bytes();
                self.aside = Some(aside);
                bytes
            }
        }
    }

    fn aside(&mut self) -> &mut Aside<V, P> {
        self.aside.as_mut().expect("the caller made it")
    }
}

impl<const V: usize, const P: usize> Sums for Grid<V, P> {
    fn exact(&self, at: usize) -> Result<Exact, f64> {
        let (value, exponent) = self.near.number(at);
        let near = Exact::new(value, exponent);
        match &self.aside {
            None => Ok(near),
            Some(aside) => Ok(near.plus(aside.sum(at).exact()?)),
        }
    }

    fn mean(&self, at: usize, count: u64) -> f64 {
        match &self.aside {
            None => round::mean(self.near.sum(at), self.near.exponent(at), count),
            Some(_) => mean(self.exact(at), count),
        }
    }

    fn scatter(&self, count: u64, a: usize, b: usize, product: usize) -> Option<Exact> {
        let near = &self.near;
        match &self.aside {
            None => {
                // At most 2^30 rows make 189 bits of a sum of 159, and 190 of two of 95.
                let count = i256::from_i128(i128::from(count));
                let (first, second) = (near.sum(a), near.sum(b));
                let square = i256::from_i128(first).wrapping_mul(i256::from_i128(second));
                let (sum, exponent) = near.number(product);
                let scatter = count.wrapping_mul(sum).wrapping_sub(square);
                Some(Exact::new(scatter, exponent))
            }
            Some(_) => scatter(self, count, a, b, product),
        }
    }
}

/// A row of columns.
#[inline(always)]
pub(super) fn row<const V: usize>(columns: &[&[f64]; V], at: usize) -> [f64; V] {
    let mut row = [0.0; V];
    // No adaptors that are not inlined without optimisation across units.
    for (variable, value) in row.iter_mut().enumerate() {
        *value = columns[variable][at];
    }
    row
}

#[cfg(test)]
mod tests {
    use super::super::near::{FULL, REACH, SMALL, YOUNG};
    use super::*;

    fn exact<const V: usize, const P: usize>(grid: &Grid<V, P>, at: usize) -> (String, i32) {
        let (value, exponent) = grid.exact(at).unwrap().into_parts();
        let zeros = value.trailing_zeros().unwrap_or(0);
        ((value >> zeros).to_string(), exponent + zeros as i32)
    }

    /// A group of so many rows, all of which are 1.
    fn ones(rows: u32) -> Grid<1, 1> {
        let mut grid = Grid::like([&[1.0]]);
        let one = 1_i128 << -grid.near.exponent(0);
        let sum = i256::from_i128(i128::from(rows)).wrapping_mul(i256::from_i128(one));
        grid.near.set_sum(0, sum.as_i128());
        grid.near
            .set_product(0, sum.wrapping_mul(i256::from_i128(one)));
        grid.near.rows = rows;
        grid
    }

    #[test]
    fn a_full_group_is_put_aside_and_goes_on() {
        let mut grid = ones(FULL - 1);
        assert_eq!(grid.add([1.0]), 0);
        assert!(grid.add([1.0]) > 0);
        assert_eq!(grid.add([1.0]), 0);
        assert_eq!((grid.near.rows, grid.count()), (2, u64::from(FULL) + 2));
        let sum = (((u64::from(FULL) + 2) >> 1).to_string(), 1);
        assert_eq!((exact(&grid, 0), exact(&grid, 1)), (sum.clone(), sum));
    }

    #[test]
    fn groups_that_are_full_together_are_merged_aside() {
        for (rows, near) in [(FULL / 2, FULL), (FULL / 2 + 1, FULL / 2 + 1)] {
            let mut grid = ones(rows);
            grid.merge(&ones(rows));
            assert_eq!(grid.near.rows, near);
            assert_eq!(grid.count(), u64::from(rows) * 2);
            assert_eq!(exact(&grid, 0), exact(&grid, 1));
        }
    }

    #[test]
    fn only_small_groups_take_rows_that_are_far_from_the_grid() {
        let far = f64::from(1 << (REACH + 3));
        for (rows, aside) in [(SMALL - 1, false), (SMALL, true)] {
            let mut grid = ones(rows);
            let grid_of_one = i32::from(grid.near.grid[0]);
            let far = far * 2_f64.powi(grid_of_one - 1023) * 1.1;
            assert_eq!(grid.add([far]) > 0, aside);
            assert_eq!(grid.count(), u64::from(rows) + 1);
        }
        let below = 1.1 * 2_f64.powi(-65);
        for (rows, aside) in [(YOUNG - 1, false), (YOUNG, true)] {
            let mut grid = ones(rows);
            grid.near.grid[0] = 964;
            assert_eq!(grid.add([below]) > 0, aside, "{rows}");
        }
    }
}
