//! Rows on a grid, close to it and aside, against an oracle: integers of any size. And results that are made of integers
//! of a fixed size, against those of any size.

use num_bigint::BigInt;

use super::Random;
use super::oracle::{LAST, integer, product, units};
use crate::aggregate::exact::ExactSum;
use crate::aggregate::grid::Grid;
use crate::aggregate::number::Exact;
use crate::aggregate::statistic::{Divisor, Statistic, Sums};

const STATISTICS: [Statistic; 16] = [
    Statistic::Sum,
    Statistic::Avg,
    Statistic::RegrAvgX,
    Statistic::RegrAvgY,
    Statistic::Variance(Divisor::Sample),
    Statistic::Variance(Divisor::Population),
    Statistic::Stddev(Divisor::Sample),
    Statistic::RegrSxx,
    Statistic::RegrSyy,
    Statistic::Covariance(Divisor::Sample),
    Statistic::Covariance(Divisor::Population),
    Statistic::RegrSxy,
    Statistic::Correlation,
    Statistic::RegrSlope,
    Statistic::RegrIntercept,
    Statistic::RegrR2,
];

/// The integers that a grid's sums stand for, in units of `2^LAST`.
fn expected<const V: usize, const P: usize>(rows: &[[f64; V]]) -> Vec<BigInt> {
    let sums = (0..V).map(|at| rows.iter().map(|row| integer(row[at])).sum());
    let products = (0..P).map(|at| {
        let (a, b) = if at < V { (at, at) } else { (0, 1) };
        rows.iter().map(|row| product(row[a], row[b])).sum()
    });
    sums.chain(products).collect()
}

fn sums<const V: usize, const P: usize>(grid: &Grid<V, P>) -> Vec<BigInt> {
    (0..V + P).map(|at| units(grid.exact(at))).collect()
}

fn round_trip<const V: usize, const P: usize>(grid: &Grid<V, P>) -> Grid<V, P> {
    let mut bytes = Vec::new();
    grid.encode(&mut bytes);
    assert!(Grid::<V, P>::decode(&bytes[..bytes.len() - 1]).is_none());
    assert!(Grid::<V, P>::decode(&[bytes.as_slice(), &[0]].concat()).is_none());
    Grid::decode(&bytes).expect("what was encoded")
}

/// So many rows of some kinds of values, which differ by variable.
fn rows<const V: usize>(random: &mut Random, kinds: [u64; V], length: u64) -> Vec<[f64; V]> {
    (0..length)
        .map(|_| kinds.map(|kind| random.value(kind)))
        .collect()
}

fn columns<const V: usize>(rows: &[[f64; V]]) -> [Vec<f64>; V] {
    std::array::from_fn(|at| rows.iter().map(|row| row[at]).collect())
}

/// Adds rows in one of the ways that there are; returns by how much the grid's memory grew.
fn add<const V: usize, const P: usize>(
    grid: &mut Grid<V, P>,
    rows: &[[f64; V]],
    all: bool,
) -> usize {
    let columns = columns(rows);
    let slices = columns.each_ref().map(Vec::as_slice);
    match all {
        true => grid.add_all(slices),
        false => rows.iter().map(|row| grid.add(*row)).sum(),
    }
}

/// Adds, merges, encodes and takes away rows of two kinds a variable, in any order.
fn is_exact<const V: usize, const P: usize>(seed: u64) {
    let random = &mut Random::new(seed);
    let mut kinds = || std::array::from_fn(|_| random.below(6));
    let (left, right): ([u64; V], [u64; V]) = (kinds(), kinds());
    let lengths = [5, 60, 300];
    let mut some = |kinds| {
        let length = lengths[random.below(3) as usize];
        let length = random.below(length);
        rows(random, kinds, length)
    };
    let (gone, left, right) = (some(left), [some(left), some(right)].concat(), some(right));

    let sample = columns(&gone);
    let mut grid = match seed % 3 {
        0 => Grid::<V, P>::default(),
        _ => Grid::like(sample.each_ref().map(Vec::as_slice)),
    };
    let mut heap_bytes = add(&mut grid, &gone, seed.is_multiple_of(2));
    heap_bytes += add(&mut grid, &left, !seed.is_multiple_of(2));
    let mut other = Grid::default();
    add(&mut other, &right, true);
    heap_bytes += grid.merge(&round_trip(&other));
    let all = [gone.as_slice(), &left, &right].concat();
    assert_eq!(sums(&grid), expected::<V, P>(&all), "seed {seed}");
    assert_eq!(grid.count(), all.len() as u64, "seed {seed}");

    for row in &gone {
        heap_bytes += grid.remove(*row);
    }
    let rest = [left, right].concat();
    assert_eq!(sums(&grid), expected::<V, P>(&rest), "seed {seed}");
    assert_eq!(sums(&round_trip(&grid)), sums(&grid), "seed {seed}");
    assert_eq!(grid.count(), rest.len() as u64, "seed {seed}");
    assert_eq!(round_trip(&grid).count(), grid.count(), "seed {seed}");
    assert_eq!(grid.heap_bytes(), heap_bytes, "seed {seed}");
}

#[test]
fn sums_are_exact_whatever_is_added_merged_and_taken_away() {
    for seed in 0..200 {
        is_exact::<1, 0>(seed);
        is_exact::<1, 1>(seed);
        is_exact::<2, 3>(seed);
    }
}

#[test]
fn rows_of_similar_size_take_no_memory_aside() {
    let random = &mut Random::new(3);
    let similar = |random: &mut Random| (1.0 + random.below(1 << 52) as f64 / 7.0).sqrt();
    let rows: Vec<[f64; 2]> = (0..20_000)
        .map(|_| [similar(random), -similar(random)])
        .collect();
    let halves = columns(&rows[..100]);
    let mut grid = Grid::<2, 3>::like(halves.each_ref().map(Vec::as_slice));
    add(&mut grid, &rows, true);
    let mut one_by_one = Grid::<2, 3>::like(halves.each_ref().map(Vec::as_slice));
    for row in &rows {
        one_by_one.add(*row);
    }
    assert_eq!(sums(&grid), sums(&one_by_one));
    // A few are far below the others.
    let aside = grid.heap_bytes();
    assert!(aside < 2000, "{aside}");

    // Few rows, of which the first is the smallest or the largest: the grid moves, or they are close to it.
    for rows in [[[1.1, 0.3]; 3], [[0.3, 70.1], [9e3, 0.01], [1e-2, 1.7]]] {
        let mut grid = Grid::<2, 3>::default();
        add(&mut grid, &rows, false);
        assert_eq!(grid.heap_bytes(), 0, "{rows:?}");
        assert_eq!(sums(&grid), expected::<2, 3>(&rows));
    }
}

/// All shifts of a value against the grid of another one, in both directions.
#[test]
fn the_ends_of_a_grid_are_exact() {
    for bits in [
        0_u64,
        1,
        0x000f_ffff_ffff_ffff,
        1 << 51,
        0x000f_0000_0000_0000,
    ] {
        for apart in -90_i32..90 {
            let power = |exponent: i32| f64::from_bits(((exponent + 1023) as u64) << 52 | bits);
            for first in [0, 900, -930] {
                let rows = [
                    [power(first), -power(first)],
                    [power(first + apart), power(first)],
                    [-power(first), power(first - apart)],
                    [0.0, -0.0],
                ];
                let mut grid = Grid::<2, 3>::default();
                add(&mut grid, &rows, false);
                assert_eq!(sums(&grid), expected::<2, 3>(&rows), "{bits:x} {apart}");
                let mut merged = Grid::default();
                for row in rows {
                    let mut one = Grid::<2, 3>::default();
                    one.add(row);
                    merged.merge(&round_trip(&one));
                }
                assert_eq!(sums(&merged), sums(&grid), "{bits:x} {apart}");
                assert_eq!(merged.count(), 4);
            }
        }
    }
}

/// So many rows that the grid is small, then not, and misses many of them.
#[test]
fn rows_that_change_their_size_are_exact_and_get_another_grid() {
    let random = &mut Random::new(5);
    let mut rows = Vec::new();
    let mut grid = Grid::<2, 3>::default();
    let mut grown = Vec::new();
    for (size, length) in [
        (1.0, 3000),
        (4e3, 3000),
        (1e9, 3000),
        (1e-9, 3000),
        (1.0, 5000),
    ] {
        let some: Vec<[f64; 2]> = (0..length)
            .map(|_| [random.value(0) * size + size, random.value(0) * size - size])
            .collect();
        grown.push(add(&mut grid, &some, length == 3000));
        rows.extend(some);
        assert_eq!(sums(&grid), expected::<2, 3>(&rows), "{size}");
    }
    assert_eq!(grid.count(), rows.len() as u64);
    // A grid that is too far up is left after some rows: nothing goes aside any more.
    let before = grid.heap_bytes();
    add(&mut grid, &rows[rows.len() - 500..], false);
    assert_eq!(grid.heap_bytes(), before);
}

#[test]
fn infinities_and_nan_go_aside_and_can_be_taken_away() {
    const INF: f64 = f64::INFINITY;
    let mut grid = Grid::<2, 3>::default();
    for row in [[1.0, 2.0], [INF, 3.0], [4.0, f64::NAN], [0.0, -INF]] {
        grid.add(row);
    }
    assert_eq!(grid.exact(0).err(), Some(INF));
    assert!(grid.exact(1).is_err_and(f64::is_nan));
    assert_eq!(grid.exact(2).err(), Some(INF));
    assert!(grid.exact(4).is_err_and(f64::is_nan));
    let mut grid = round_trip(&grid);
    for row in [[0.0, -INF], [4.0, f64::NAN], [INF, 3.0]] {
        grid.remove(row);
    }
    assert_eq!(sums(&grid), expected::<2, 3>(&[[1.0, 2.0]]));
    assert_eq!(grid.count(), 1);
}

/// Sums as integers of any size, which nothing is quick with.
struct Large(Vec<BigInt>);

impl Sums for Large {
    fn exact(&self, at: usize) -> Result<Exact, f64> {
        Ok(Exact::large(self.0[at].clone(), LAST))
    }
}

fn same_results<const V: usize, const P: usize>(rows: &[[f64; V]], seed: u64) {
    let mut grid = Grid::<V, P>::default();
    add(&mut grid, rows, true);
    let large = Large(expected::<V, P>(rows));
    let sums: Vec<ExactSum> = (0..V + P)
        .map(|at| {
            let mut sum = ExactSum::default();
            for row in rows {
                match at.checked_sub(V) {
                    None => sum.add(row[at]),
                    Some(2) => sum.add_product(row[0], row[1]),
                    Some(product) => sum.add_product(row[product], row[product]),
                };
            }
            sum
        })
        .collect();
    for statistic in STATISTICS {
        if statistic.terms().len() == V + P {
            let count = rows.len() as u64;
            let bits = |result: Option<f64>| result.map(f64::to_bits);
            let expected = bits(statistic.result(count, &large));
            let name = format!("{statistic:?} of seed {seed}");
            assert_eq!(bits(statistic.result(count, &grid)), expected, "{name}");
            assert_eq!(bits(statistic.result(count, &sums)), expected, "{name}");
        }
    }
}

#[test]
fn results_are_those_of_integers_of_any_size() {
    for seed in 0..400 {
        let random = &mut Random::new(seed);
        let kinds = [
            seed % 6,
            if seed.is_multiple_of(3) {
                random.below(6)
            } else {
                seed % 6
            },
        ];
        let length = random.below(if seed.is_multiple_of(2) { 6 } else { 90 });
        let mut rows = rows(random, kinds, length);
        if seed.is_multiple_of(5) {
            // A perfect correlation, and no variance.
            rows.iter_mut().for_each(|row| row[1] = -0.5 * row[0]);
        } else if seed.is_multiple_of(7) {
            rows.iter_mut().for_each(|row| row[1] = 0.1);
        }
        let first: Vec<[f64; 1]> = rows.iter().map(|row| [row[0]]).collect();
        same_results::<1, 0>(&first, seed);
        same_results::<1, 1>(&first, seed);
        same_results::<2, 3>(&rows, seed);
    }
}
