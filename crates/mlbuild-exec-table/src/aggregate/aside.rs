//! Rows that are not close to a grid, and all rows of groups that were full: exact sums of any size.

use super::exact::ExactSum;
use super::near::{Near, factors, take};

/// All other rows.
#[derive(Clone, Debug)]
pub(super) struct Aside<const V: usize, const P: usize> {
    /// Modulo 2^64: rows near the grid are counted there even if they are taken away.
    pub(super) rows: u64,
    /// Rows that missed the grid since it was chosen.
    pub(super) misses: u32,
    sums: [ExactSum; V],
    products: [ExactSum; P],
}

impl<const V: usize, const P: usize> Default for Aside<V, P> {
    fn default() -> Self {
        Self {
            rows: 0,
            misses: 0,
            sums: std::array::from_fn(|_| ExactSum::default()),
            products: std::array::from_fn(|_| ExactSum::default()),
        }
    }
}

impl<const V: usize, const P: usize> Aside<V, P> {
    pub(super) fn add(&mut self, row: [f64; V]) -> usize {
        self.rows = self.rows.wrapping_add(1);
        let sums = self.sums.iter_mut().zip(row);
        let growth: usize = sums.map(|(sum, value)| sum.add(value)).sum();
        let products = self.products.iter_mut().enumerate();
        let products = products.map(|(at, sum)| {
            let (a, b) = factors::<V>(at);
            sum.add_product(row[a], row[b])
        });
        growth + products.sum::<usize>()
    }

    pub(super) fn remove(&mut self, row: [f64; V]) -> usize {
        self.rows = self.rows.wrapping_sub(1);
        let sums = self.sums.iter_mut().zip(row);
        let growth: usize = sums.map(|(sum, value)| sum.remove(value)).sum();
        let products = self.products.iter_mut().enumerate();
        let products = products.map(|(at, sum)| {
            let (a, b) = factors::<V>(at);
            sum.remove_product(row[a], row[b])
        });
        growth + products.sum::<usize>()
    }

    pub(super) fn merge(&mut self, other: &Self) -> usize {
        self.rows = self.rows.wrapping_add(other.rows);
        let sums = self.sums.iter_mut().zip(&other.sums);
        let products = self.products.iter_mut().zip(&other.products);
        sums.chain(products)
            .map(|(sum, other)| sum.merge(other))
            .sum()
    }

    /// Adds the rows near a grid.
    pub(super) fn absorb(&mut self, near: &Near<V, P>) -> usize {
        self.rows = self.rows.wrapping_add(u64::from(near.rows));
        let sums = self.sums.iter_mut().chain(&mut self.products);
        sums.enumerate()
            .map(|(at, sum)| {
                let (amount, exponent) = near.number(at);
                sum.add_long(amount, exponent)
            })
            .sum()
    }

    pub(super) fn sum(&self, at: usize) -> &ExactSum {
        match at.checked_sub(V) {
            None => &self.sums[at],
            Some(product) => &self.products[product],
        }
    }

    /// Memory it takes, itself included.
    pub(super) fn bytes(&self) -> usize {
        let sums = self.sums.iter().chain(&self.products);
        size_of::<Self>() + sums.map(ExactSum::heap_bytes).sum::<usize>()
    }

    /// Appends the encoding: the number of rows, then each sum behind its length.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.rows.to_le_bytes());
        for sum in self.sums.iter().chain(&self.products) {
            let start = bytes.len();
            bytes.extend([0; 4]);
            sum.encode(bytes);
            let length = (bytes.len() - start - 4) as u32;
            bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// The inverse of [`Self::encode`]; `None` for other bytes.
    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut aside = Self {
            rows: u64::from_le_bytes(*take(bytes)?),
            ..Self::default()
        };
        for sum in aside.sums.iter_mut().chain(&mut aside.products) {
            let length = u32::from_le_bytes(*take(bytes)?) as usize;
            let (first, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            *sum = ExactSum::decode(first)?;
        }
        bytes.is_empty().then_some(aside)
    }
}
