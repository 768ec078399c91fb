//! What is computed from exact sums: which sums each function needs, and its result in the end.
//!
//! With `n` pairs of `y` and `x`, the three moments `n Σyy - (Σy)²`, `n Σxx - (Σx)²` and `n Σyx - Σy Σx` are exact
//! integers times powers of two, so nothing cancels. Every result is one fraction of such numbers, rounded once;
//! `stddev` and `corr` are the square root of one, rounded twice. Results for no rows, for one, and for columns without
//! variance are null where DataFusion's own functions give null.
//!
//! Where a value is infinite or NaN, sums and means are what IEEE 754 says of a sum of these, and all others are NaN.

use super::exact::ExactSum;
use super::number::{Exact, quotient};

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
    /// The sums that are kept for the result: those of one variable, or all of both.
    pub(super) fn terms(self) -> &'static [Term] {
        match self {
            Self::Sum | Self::Avg | Self::RegrAvgY => &[Term::Y],
            Self::RegrAvgX => &[Term::X],
            Self::Variance(_) | Self::Stddev(_) | Self::RegrSyy => &[Term::Y, Term::YY],
            Self::RegrSxx => &[Term::X, Term::XX],
            Self::Covariance(_)
            | Self::RegrSxy
            | Self::RegrSlope
            | Self::RegrIntercept
            | Self::Correlation
            | Self::RegrR2 => &[Term::Y, Term::X, Term::YY, Term::XX, Term::YX],
        }
    }

    /// The result over `count` rows, none of whose arguments is null; `sums` are those of [`Self::terms`].
    pub(super) fn result(self, count: u64, sums: &impl Sums) -> Option<f64> {
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
            Self::Sum => Some(sums.mean(0, 1)),
            Self::Avg | Self::RegrAvgX | Self::RegrAvgY => Some(sums.mean(0, count)),
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

/// Sums, in the order of a statistic's terms.
pub(super) trait Sums {
    /// One of them, not rounded.
    ///
    /// # Errors
    /// What the sum is instead, if not all summands were finite.
    fn exact(&self, at: usize) -> Result<Exact, f64>;

    /// One of them divided by `count`, rounded once. A sum of zeros is `0.0`, whatever their signs.
    fn mean(&self, at: usize, count: u64) -> f64 {
        mean(self.exact(at), count)
    }

    /// `n Σab - Σa Σb` of the sums at `a`, `b` and `product`, which is `n²` times the covariance; `None` if not all
    /// values were finite.
    fn scatter(&self, count: u64, a: usize, b: usize, product: usize) -> Option<Exact> {
        scatter(self, count, a, b, product)
    }
}

/// [`Sums::mean`] of any sum.
pub(super) fn mean(sum: Result<Exact, f64>, count: u64) -> f64 {
    match sum {
        Ok(sum) => quotient(&[&sum], &[&Exact::count(count)]),
        Err(special) => special,
    }
}

/// [`Sums::scatter`] of any sums.
pub(super) fn scatter<S: Sums + ?Sized>(
    sums: &S,
    count: u64,
    a: usize,
    b: usize,
    product: usize,
) -> Option<Exact> {
    let exact = |at| sums.exact(at).ok();
    let square = exact(a)?.times(&exact(b)?);
    Some(exact(product)?.times(&Exact::count(count)).minus(square))
}

impl Sums for Vec<ExactSum> {
    fn exact(&self, at: usize) -> Result<Exact, f64> {
        self[at].exact()
    }
}

/// The sums over some rows.
struct Rows<'a, S> {
    count: u64,
    terms: &'static [Term],
    sums: &'a S,
}

impl<S: Sums> Rows<'_, S> {
    /// Where the sum of a term is.
    fn at(&self, term: Term) -> usize {
        let at = self.terms.iter().position(|t| *t == term);
        at.expect("a statistic asks for its own terms")
    }

    /// The sum of a term; `None` if not all of it was finite.
    fn exact(&self, term: Term) -> Option<Exact> {
        self.sums.exact(self.at(term)).ok()
    }

    fn scatter(&self, a: Term, b: Term) -> Option<Exact> {
        let product = match (a, b) {
            (Term::Y, Term::Y) => Term::YY,
            (Term::X, Term::X) => Term::XX,
            _ => Term::YX,
        };
        let (a, b, product) = (self.at(a), self.at(b), self.at(product));
        self.sums.scatter(self.count, a, b, product)
    }

    /// `Σ(a - mean a)(b - mean b) / divisor`.
    fn moment(&self, a: Term, b: Term, divisor: u64) -> f64 {
        let (count, divisor) = (Exact::count(self.count), Exact::count(divisor));
        self.scatter(a, b).map_or(f64::NAN, |scatter| {
            quotient(&[&scatter], &[&count, &divisor])
        })
    }

    fn slope(&self) -> Option<f64> {
        let Some(xx) = self.scatter(Term::X, Term::X) else {
            return Some(f64::NAN);
        };
        let yx = self.scatter(Term::Y, Term::X);
        (!xx.is_zero()).then(|| yx.map_or(f64::NAN, |yx| quotient(&[&yx], &[&xx])))
    }

    /// `(Σy Σxx - Σx Σyx) / (n Σxx - (Σx)²)`.
    fn intercept(&self) -> Option<f64> {
        let Some(xx) = self.scatter(Term::X, Term::X) else {
            return Some(f64::NAN);
        };
        let numerator = || {
            let first = self.exact(Term::Y)?.times(&self.exact(Term::XX)?);
            let second = self.exact(Term::X)?.times(&self.exact(Term::YX)?);
            Some(first.minus(second))
        };
        (!xx.is_zero())
            .then(|| numerator().map_or(f64::NAN, |numerator| quotient(&[&numerator], &[&xx])))
    }

    fn r2(&self) -> Option<f64> {
        self.r2_and_sign().map(|(r2, _)| r2)
    }

    /// The square of the correlation, and whether the covariance is negative.
    fn r2_and_sign(&self) -> Option<(f64, bool)> {
        let (xx, yy) = (
            self.scatter(Term::X, Term::X),
            self.scatter(Term::Y, Term::Y),
        );
        if [&xx, &yy].into_iter().flatten().any(Exact::is_zero) {
            return None;
        }
        let (Some(xx), Some(yy), Some(yx)) = (xx, yy, self.scatter(Term::Y, Term::X)) else {
            return Some((f64::NAN, false));
        };
        let r2 = quotient(&[&yx, &yx], &[&xx, &yy]);
        Some((r2, yx.is_negative()))
    }

    /// The root of [`Self::r2`] with the sign of the covariance. Two sums that are NaN make it NaN, even for one row;
    /// a single one makes it null.
    fn correlation(&self) -> Option<f64> {
        let nan = |term| self.sums.exact(self.at(term)).is_err_and(f64::is_nan);
        match (nan(Term::Y), nan(Term::X)) {
            (true, true) => return Some(f64::NAN),
            (false, false) if self.count > 1 => (),
            _ => return None,
        }
        let (r2, negative) = self.r2_and_sign()?;
        let root = r2.sqrt();
        Some(if negative { -root } else { root })
    }
}
