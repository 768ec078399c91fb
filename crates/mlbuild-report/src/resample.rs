//! Intervals and tests: how far chance in the rows may have moved a figure, and whether two models differ.
//!
//! The bootstrap draws as many blocks as there are, with replacement, again and again (Efron and Tibshirani 1993), and
//! works every figure out anew; all models are measured on the same draws, so that differences are paired. Draw number r
//! depends on the seed and on r alone, so the threads that share the work do not show.

use std::sync::atomic::{AtomicUsize, Ordering};

use mlbuild_action::Resampling;

use crate::statistic::Statistic;

/// About so many numbers are looked at for one figure; a figure that needs more a draw is drawn less often.
const BUDGET: usize = 400_000_000;
/// But at least so often.
const LEAST_RESAMPLES: usize = 100;

/// What decides the draws, and how many threads make them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    /// As declared.
    pub resampling: Resampling,
    /// Does not show in any figure.
    pub threads: usize,
}

/// The figures of all draws.
pub(crate) type Resampled = Vec<f64>;

impl Draws {
    /// How often a figure is drawn.
    fn often(&self, statistic: &dyn Statistic) -> usize {
        let declared = self.resampling.resamples as usize;
        let affordable = BUDGET / statistic.cost().max(1);
        declared.min(affordable.max(LEAST_RESAMPLES))
    }

    /// Every statistic on the draws of `blocks` blocks: the same draws for all of them, the first ones where a figure is
    /// drawn less often.
    pub(crate) fn resample(&self, statistics: &[&dyn Statistic], blocks: usize) -> Vec<Resampled> {
        let often: Vec<_> = statistics.iter().map(|it| self.often(*it)).collect();
        let most = often.iter().copied().max().unwrap_or(0);
        let drawn = self.each(most, |draw| {
            let mut weights = vec![0; blocks];
            self.draw(draw, &mut weights);
            statistics
                .iter()
                .zip(&often)
                .map(|(it, often)| {
                    if draw < *often {
                        it.value(&weights)
                    } else {
                        f64::NAN
                    }
                })
                .collect::<Vec<_>>()
        });
        (0..statistics.len())
            .map(|index| drawn[..often[index]].iter().map(|it| it[index]).collect())
            .collect()
    }

    /// `work` of 0, 1, ... in that order, worked out by all threads.
    pub(crate) fn each<T: Send>(&self, most: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        if self.threads <= 1 || most < 2 {
            return (0..most).map(work).collect();
        }
        let next = AtomicUsize::new(0);
        let take = || {
            let mut taken = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= most {
                    return taken;
                }
                taken.push((index, work(index)));
            }
        };
        let mut all: Vec<(usize, T)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(take)).collect();
            threads
                .into_iter()
                .flat_map(|thread| match thread.join() {
                    Ok(taken) => taken,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        });
        all.sort_unstable_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, value)| value).collect()
    }

    /// How often each block is in draw number `draw`.
    fn draw(&self, draw: usize, weights: &mut [u32]) {
        let mut random = Random::new(self.resampling.seed, draw as u64);
        let blocks = weights.len() as u64;
        for _ in 0..blocks {
            weights[random.below(blocks) as usize] += 1;
        }
    }

    /// The two-sided p-value of the hypothesis that the sums, one a block, are as likely to have the other sign: draws
    /// signs again and again (a permutation test for pairs; Good 2005).
    pub(crate) fn sign_flips(&self, sums: &[f64]) -> f64 {
        let found: f64 = sums.iter().sum();
        // What differs by rounding alone is as extreme.
        let extreme = found.abs() - 1e-9 * sums.iter().map(|sum| sum.abs()).sum::<f64>();
        let most = self.resampling.resamples as usize;
        let flipped = self.each(most, |draw| {
            let mut random = Random::new(self.resampling.seed ^ 0x5167_6e73, draw as u64);
            let mut bits = 0u64;
            let mut sum = 0.0;
            for (index, value) in sums.iter().enumerate() {
                if index % 64 == 0 {
                    bits = random.next();
                }
                sum += if bits & 1 == 1 { *value } else { -*value };
                bits >>= 1;
            }
            sum.abs() >= extreme
        });
        share_with_itself(flipped.iter().filter(|is| **is).count(), most)
    }
}

/// The share of draws that are as extreme, what was found counted as one of them.
fn share_with_itself(extreme: usize, draws: usize) -> f64 {
    (extreme + 1) as f64 / (draws + 1) as f64
}

/// The two-sided bootstrap p-value of the hypothesis that a difference is zero: the share of draws that are as far from
/// their mean as what was found is from zero.
pub(crate) fn bootstrap_p(found: f64, resampled: &[f64]) -> f64 {
    let finite = || resampled.iter().filter(|value| value.is_finite());
    let draws = finite().count();
    let mean = finite().sum::<f64>() / draws as f64;
    let extreme = finite().filter(|value| (*value - mean).abs() >= found.abs());
    share_with_itself(extreme.count(), draws)
}

/// McNemar's exact test: of the rows on which two models differ, `first` are right in the first one alone and `second`
/// in the second one alone; the two-sided p-value of both being as likely.
pub(crate) fn mcnemar(first: u64, second: u64) -> f64 {
    let (n, least) = (first + second, first.min(second));
    // ln of the probability of i of n, from i = 0 on.
    let mut log = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for i in 0..=least {
        tail += log.exp();
        log += ((n - i) as f64).ln() - ((i + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

/// The p-values of Holm's procedure: with them as with a single one, the chance of any false finding among all is no more
/// than the level.
pub(crate) fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![f64::NAN; p_values.len()];
    let mut least: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        let factor = (p_values.len() - rank) as f64;
        least = least.max((factor * p_values[index]).min(1.0));
        adjusted[index] = if p_values[index].is_nan() {
            f64::NAN
        } else {
            least
        };
    }
    adjusted
}

/// The interval that holds the share `confidence` of the draws; `None` if they do not differ or there are too few. Around
/// `value` if the draws are off to one side.
pub(crate) fn interval(
    value: f64,
    resampled: &[f64],
    confidence: f64,
    is_shifted: bool,
) -> Option<(f64, f64)> {
    let mut finite: Vec<_> = resampled
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .collect();
    // Where half of the draws say nothing, the others are no picture of chance.
    if finite.len() < 2 || finite.len() * 2 < resampled.len() {
        return None;
    }
    finite.sort_by(f64::total_cmp);
    let (least, greatest) = (finite[0], finite[finite.len() - 1]);
    if least == greatest {
        return None;
    }
    let tail = (1.0 - confidence) / 2.0;
    let (low, high) = (quantile(&finite, tail), quantile(&finite, 1.0 - tail));
    if is_shifted {
        let mean = finite.iter().sum::<f64>() / finite.len() as f64;
        return Some((value + (low - mean), value + (high - mean)));
    }
    Some((low, high))
}

/// The standard deviation of the draws.
pub(crate) fn deviation(resampled: &[f64]) -> Option<f64> {
    let finite: Vec<_> = resampled
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .collect();
    let n = finite.len() as f64;
    let mean = finite.iter().sum::<f64>() / n;
    let squares: f64 = finite
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum();
    (finite.len() > 1 && squares > 0.0).then(|| (squares / (n - 1.0)).sqrt())
}

fn quantile(rising: &[f64], share: f64) -> f64 {
    let place = share * (rising.len() - 1) as f64;
    let below = rising[place.floor() as usize];
    let above = rising[place.ceil() as usize];
    below + place.fract() * (above - below)
}

/// Numbers that depend on a seed and a stream alone: SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn new(seed: u32, stream: u64) -> Self {
        let mut random = Self(u64::from(seed) << 32);
        let start = random.next();
        Self(start ^ stream.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, all of them as likely but for some 2^-40.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistic::{Sample, mean};

    fn draws(threads: usize) -> Draws {
        Draws {
            resampling: Resampling::default(),
            threads,
        }
    }

    #[test]
    fn the_interval_of_a_mean_is_nearly_the_one_of_theory() {
        // 1,500 rows of which a fifth are 1: standard error sqrt(0.16 / 1500) = 0.01033.
        let sample = Sample::all(1500);
        let statistic = mean(&sample, |row| f64::from(u8::from(row % 5 == 0)));
        let resampled = draws(1).resample(&[&*statistic], sample.blocks());
        let error = deviation(&resampled[0]).unwrap();
        assert!((error - 0.01033).abs() < 0.0008, "{error}");
        let (low, high) = interval(0.2, &resampled[0], 0.95, false).unwrap();
        assert!(
            (low - 0.1798).abs() < 0.002 && (high - 0.2202).abs() < 0.002,
            "{low} {high}"
        );
        let (low, high) = interval(0.2, &resampled[0], 0.5, false).unwrap();
        assert!(
            (low - 0.1930).abs() < 0.002 && (high - 0.2070).abs() < 0.002,
            "{low} {high}"
        );
    }

    #[test]
    fn threads_do_not_show_and_the_seed_does() {
        let sample = Sample::all(300);
        let statistic = mean(&sample, |row| (row * row % 17) as f64);
        let of = |draws: Draws| draws.resample(&[&*statistic], sample.blocks());
        assert_eq!(of(draws(1)), of(draws(5)));
        let mut other = draws(1);
        other.resampling.seed = 1;
        assert_ne!(of(draws(1)), of(other));
        let sums: Vec<f64> = (0..300).map(|i| f64::from(i % 7) - 2.9).collect();
        assert_eq!(draws(1).sign_flips(&sums), draws(3).sign_flips(&sums));
    }

    #[test]
    fn mcnemars_test_is_exact() {
        // scipy.stats.binomtest(3, 13).pvalue and (120, 300), (50, 100).
        for (first, second, expected) in [
            (3, 10, 0.092_285_156_25),
            (10, 3, 0.092_285_156_25),
            (120, 180, 6.342_200e-4),
            (50, 50, 1.0),
            (0, 0, 1.0),
        ] {
            let found = mcnemar(first, second);
            assert!((found - expected).abs() < 1e-7, "{first} {second}: {found}");
        }
    }

    #[test]
    fn sign_flips_agree_with_mcnemar_on_zeros_and_ones() {
        let mut sums = vec![1.0; 10];
        sums.extend([-1.0; 3]);
        sums.extend([0.0; 50]);
        let mut many = draws(2);
        many.resampling.resamples = 20_000;
        let found = many.sign_flips(&sums);
        assert!((found - 0.0923).abs() < 0.006, "{found}");
    }

    #[test]
    fn holm_counts_how_many_were_tried() {
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert_eq!(holm(&[]), [0.0; 0]);
    }

    #[test]
    fn draws_that_do_not_differ_have_no_interval() {
        assert_eq!(interval(1.0, &[1.0; 50], 0.95, false), None);
        assert_eq!(interval(1.0, &[], 0.95, false), None);
        assert_eq!(
            interval(1.0, &[f64::NAN, f64::NAN, 1.0, 2.0, f64::NAN], 0.95, false),
            None
        );
        // Off to one side: the spread is kept, the place is not.
        let (low, high) = interval(5.0, &[1.0, 2.0, 3.0], 0.95, true).unwrap();
        assert!((low + high - 10.0).abs() < 1e-12 && low > 3.9 && high < 6.1);
    }
}
