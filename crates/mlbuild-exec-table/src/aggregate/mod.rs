//! Aggregates of floats whose result does not depend on the order of the rows.
//!
//! Addition of floats is not associative: what a `sum` yields depends on partitions, on the order of arrival, on
//! batches, and on what was spilled. Here sums are exact until the end, and rounded once: the nearest float to the true
//! result. So the same rows give the same bits on every machine, and nothing cancels on the way.
//!
//! ```text
//! function      DataFusion's functions, by name, with the accumulators below
//! moments       the accumulators: groups of rows, and their state
//! distinct      the distinct rows, for f(distinct ..)
//! statistic     which sums a function needs, and what it makes of them
//! grid          sums of rows and of their products: `near` a grid as integers of a fixed size, or else `aside`
//! exact, wide   a sum that is never rounded, of any floats
//! number        exact numbers and their quotients
//! round         the nearest float to a fraction
//! extreme       min and max
//! ```
//!
//! Integers and decimals are summed exactly by DataFusion. Their average, but that of decimals, is one of floats: each
//! integer is first made the nearest `f64`.

mod aside;
mod distinct;
mod exact;
mod extreme;
mod function;
mod grid;
mod moments;
mod near;
mod number;
mod round;
mod statistic;
#[cfg(test)]
mod tests;
mod wide;

use std::sync::Arc;

use datafusion::functions_aggregate::{
    average, correlation, covariance, min_max, regr, stddev, sum, variance,
};
use datafusion::logical_expr::AggregateUDF;
use datafusion::prelude::SessionContext;

use extreme::{Extreme, ExtremeFunction};
use function::ExactFunction;
use statistic::{Divisor, Statistic};

/// Puts the exact functions in the places of the built-in ones.
pub(crate) fn register(context: &SessionContext) {
    for (builtin, statistic) in functions() {
        context.register_udaf(AggregateUDF::from(ExactFunction::new(builtin, statistic)));
    }
    for (builtin, extreme) in [
        (min_max::min_udaf(), Extreme::Min),
        (min_max::max_udaf(), Extreme::Max),
    ] {
        context.register_udaf(AggregateUDF::from(ExtremeFunction::new(builtin, extreme)));
    }
}

fn functions() -> [(Arc<AggregateUDF>, Statistic); 17] {
    [
        (sum::sum_udaf(), Statistic::Sum),
        (average::avg_udaf(), Statistic::Avg),
        (
            variance::var_samp_udaf(),
            Statistic::Variance(Divisor::Sample),
        ),
        (
            variance::var_pop_udaf(),
            Statistic::Variance(Divisor::Population),
        ),
        (stddev::stddev_udaf(), Statistic::Stddev(Divisor::Sample)),
        (
            stddev::stddev_pop_udaf(),
            Statistic::Stddev(Divisor::Population),
        ),
        (
            covariance::covar_samp_udaf(),
            Statistic::Covariance(Divisor::Sample),
        ),
        (
            covariance::covar_pop_udaf(),
            Statistic::Covariance(Divisor::Population),
        ),
        (correlation::corr_udaf(), Statistic::Correlation),
        (regr::regr_slope_udaf(), Statistic::RegrSlope),
        (regr::regr_intercept_udaf(), Statistic::RegrIntercept),
        (regr::regr_r2_udaf(), Statistic::RegrR2),
        (regr::regr_avgx_udaf(), Statistic::RegrAvgX),
        (regr::regr_avgy_udaf(), Statistic::RegrAvgY),
        (regr::regr_sxx_udaf(), Statistic::RegrSxx),
        (regr::regr_syy_udaf(), Statistic::RegrSyy),
        (regr::regr_sxy_udaf(), Statistic::RegrSxy),
    ]
}
