//! What is computed from exact sums: which sums each function needs, and its result in the end.
//!
//! With `n` pairs of `y` and `x`, the three moments `n Σyy - (Σy)²`, `n Σxx - (Σx)²` and `n Σyx - Σy Σx` are exact
//! integers times powers of two, so nothing cancels. Every result is one fraction of such numbers, rounded once;
//! `stddev` and `corr` are the square root of one, rounded twice. Results for no rows, for one, and for columns without
//! variance are null where DataFusion's own functions give null.
//!
//! Where a value is infinite or NaN, sums and means are what IEEE 754 says of a sum of these, and all others are NaN.

use num_bigint::{BigInt, BigUint, Sign};

use super::exact::ExactSum;
use super::round;

/// A function of one or two columns of floats.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Statistic {
    Sum,
    Avg,
    Variance(Divisor),
    Stddev(Divisor),
    Covariance(Divisor),
    Correlation,
    RegrSlope,
    RegrIntercept,
    RegrR2,
    RegrAvgX,
    RegrAvgY,
    RegrSxx,
    RegrSyy,
    RegrSxy,
}

/// What a sum of squares is divided by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Divisor {
    /// `n`.
    Population,
    /// `n - 1`.
    Sample,
}

/// A sum over all rows. The first argument is `y`, the second `x`; where there is one, it is `y`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Term {
    Y,
    X,
    YY,
    XX,
    YX,
}

impl Statistic {
    /// The sums that the result is computed from, in the order in which they are kept.
    pub(super) fn terms(self) -> &'static [Term] {
        match self {
            Self::Sum | Self::Avg | Self::RegrAvgY => &[Term::Y],
            Self::RegrAvgX => &[Term::X],
            Self::Variance(_) | Self::Stddev(_) | Self::RegrSyy => &[Term::Y, Term::YY],
            Self::RegrSxx => &[Term::X, Term::XX],
            Self::Covariance(_) | Self::RegrSxy => &[Term::Y, Term::X, Term::YX],
            Self::RegrSlope | Self::RegrIntercept => &[Term::Y, Term::X, Term::XX, Term::YX],
            Self::Correlation | Self::RegrR2 => &[Term::Y, Term::X, Term::YY, Term::XX, Term::YX],
        }
    }

    /// The result over `count` rows, none of whose arguments is null; `sums` are those of [`Self::terms`].
    pub(super) fn result(self, count: u64, sums: &[ExactSum]) -> Option<f64> {
        let rows = Rows {
            count,
            terms: self.terms(),
            sums,
        };
        let enough = match self {
            Self::Variance(divisor) | Self::Stddev(divisor) | Self::Covariance(divisor) => {
                divisor.of(count) > 0
            }
            Self::Correlation => return rows.correlation(),
            Self::RegrSlope | Self::RegrIntercept | Self::RegrR2 => count > 1,
            _ => count > 0,
        };
        if !enough {
            return None;
        }
        match self {
            Self::Sum => Some(sums[0].to_f64()),
            Self::Avg | Self::RegrAvgX | Self::RegrAvgY => Some(sums[0].mean(count)),
            Self::Variance(divisor) => Some(rows.moment(Term::Y, Term::Y, divisor.of(count))),
            Self::Stddev(divisor) => Some(rows.moment(Term::Y, Term::Y, divisor.of(count)).sqrt()),
            Self::Covariance(divisor) => Some(rows.moment(Term::Y, Term::X, divisor.of(count))),
            Self::RegrSxx => Some(rows.moment(Term::X, Term::X, 1)),
            Self::RegrSyy => Some(rows.moment(Term::Y, Term::Y, 1)),
            Self::RegrSxy => Some(rows.moment(Term::Y, Term::X, 1)),
            Self::RegrSlope => rows.slope(),
            Self::RegrIntercept => rows.intercept(),
            Self::RegrR2 => rows.r2(),
            Self::Correlation => unreachable!("returned above"),
        }
    }
}

impl Divisor {
    fn of(self, count: u64) -> u64 {
        match self {
            Self::Population => count,
            Self::Sample => count.saturating_sub(1),
        }
    }
}

/// The sums over some rows.
struct Rows<'a> {
    count: u64,
    terms: &'static [Term],
    sums: &'a [ExactSum],
}

/// `value * 2^exponent`.
struct Exact {
    value: BigInt,
    exponent: i32,
}

impl Rows<'_> {
    fn sum(&self, term: Term) -> &ExactSum {
        let at = self.terms.iter().position(|t| *t == term);
        &self.sums[at.expect("a statistic asks for its own terms")]
    }

    /// The sum of a term; `None` if not all of it was finite.
    fn exact(&self, term: Term) -> Option<Exact> {
        let (value, exponent) = self.sum(term).exact().ok()?;
        Some(Exact { value, exponent })
    }

    /// `n Σab - Σa Σb`, which is `n²` times the covariance; `None` if not all values were finite.
    fn scatter(&self, a: Term, b: Term) -> Option<Exact> {
        let product = match (a, b) {
            (Term::Y, Term::Y) => Term::YY,
            (Term::X, Term::X) => Term::XX,
            _ => Term::YX,
        };
        let square = self.exact(a)?.times(&self.exact(b)?);
        Some(self.exact(product)?.times_count(self.count).minus(&square))
    }

    /// `Σ(a - mean a)(b - mean b) / divisor`.
    fn moment(&self, a: Term, b: Term, divisor: u64) -> f64 {
        match self.scatter(a, b) {
            None => f64::NAN,
            Some(scatter) => {
                let divisor = BigUint::from(self.count) * divisor;
                round::ratio(&scatter.value, scatter.exponent, &divisor)
            }
        }
    }

    fn slope(&self) -> Option<f64> {
        let Some(xx) = self.scatter(Term::X, Term::X) else {
            return Some(f64::NAN);
        };
        let yx = self.scatter(Term::Y, Term::X);
        (!xx.is_zero()).then(|| yx.map_or(f64::NAN, |yx| yx.over(&xx)))
    }

    /// `(Σy Σxx - Σx Σyx) / (n Σxx - (Σx)²)`.
    fn intercept(&self) -> Option<f64> {
        let Some(xx) = self.scatter(Term::X, Term::X) else {
            return Some(f64::NAN);
        };
        let numerator = || {
            let first = self.exact(Term::Y)?.times(&self.exact(Term::XX)?);
            let second = self.exact(Term::X)?.times(&self.exact(Term::YX)?);
            Some(first.minus(&second))
        };
        (!xx.is_zero()).then(|| numerator().map_or(f64::NAN, |numerator| numerator.over(&xx)))
    }

    fn r2(&self) -> Option<f64> {
        let (xx, yy) = (
            self.scatter(Term::X, Term::X),
            self.scatter(Term::Y, Term::Y),
        );
        if [&xx, &yy].into_iter().flatten().any(Exact::is_zero) {
            return None;
        }
        let (Some(xx), Some(yy), Some(yx)) = (xx, yy, self.scatter(Term::Y, Term::X)) else {
            return Some(f64::NAN);
        };
        Some(yx.times(&yx).over(&xx.times(&yy)))
    }

    /// The root of [`Self::r2`] with the sign of the covariance. Two sums that are NaN make it NaN, even for one row;
    /// a single one makes it null.
    fn correlation(&self) -> Option<f64> {
        let nan = |term| self.sum(term).to_f64().is_nan();
        match (nan(Term::Y), nan(Term::X)) {
            (true, true) => return Some(f64::NAN),
            (false, false) if self.count > 1 => (),
            _ => return None,
        }
        let root = self.r2()?.sqrt();
        match self.scatter(Term::Y, Term::X) {
            Some(yx) if yx.value.sign() == Sign::Minus => Some(-root),
            _ => Some(root),
        }
    }
}

impl Exact {
    fn is_zero(&self) -> bool {
        self.value.sign() == Sign::NoSign
    }

    fn times(&self, other: &Self) -> Self {
        Self {
            value: &self.value * &other.value,
            exponent: self.exponent + other.exponent,
        }
    }

    fn times_count(self, count: u64) -> Self {
        Self {
            value: self.value * count,
            exponent: self.exponent,
        }
    }

    fn minus(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        let at = |exact: &Self| &exact.value << (exact.exponent - exponent) as u32;
        Self {
            value: at(self) - at(other),
            exponent,
        }
    }

    /// The quotient, rounded; `other` is positive.
    fn over(&self, other: &Self) -> f64 {
        let exponent = self.exponent - other.exponent;
        round::ratio(&self.value, exponent, other.value.magnitude())
    }
}
