//! DataFusion's functions with exact accumulators in place of theirs.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature,
};

use super::distinct::{self, Distinct};
use super::moments::{self, Moments, Whole};
use super::statistic::Statistic;

/// A built-in function, exact over floats.
///
/// Names, types and what is null are the built-in's; over anything but floats, so are the accumulators. Its rewrites of
/// the plan are not taken over: `sum(x + 0.1)` as `sum(x) + 0.1 * count(x)` is another number.
#[derive(PartialEq, Eq, Hash, Debug)]
pub(super) struct ExactFunction {
    builtin: Arc<AggregateUDF>,
    statistic: Statistic,
}

impl ExactFunction {
    pub(super) fn new(builtin: Arc<AggregateUDF>, statistic: Statistic) -> Self {
        Self { builtin, statistic }
    }
}

/// Whether these arguments are what exact accumulators take. Coercion has made every float a `Float64` before.
fn floats(arguments: &[FieldRef]) -> bool {
    arguments
        .iter()
        .all(|field| *field.data_type() == DataType::Float64)
}

impl AggregateUDFImpl for ExactFunction {
    fn name(&self) -> &str {
        self.builtin.name()
    }

    fn aliases(&self) -> &[String] {
        self.builtin.aliases()
    }

    fn signature(&self) -> &Signature {
        self.builtin.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.builtin.return_type(arg_types)
    }

    fn is_nullable(&self) -> bool {
        self.builtin.is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.builtin.default_value(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.builtin.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.builtin.inner().set_monotonicity(data_type)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (floats(args.expr_fields), args.is_distinct) {
            (false, _) => self.builtin.accumulator(args),
            (true, false) => Ok(match self.statistic.terms().len() {
                1 => Box::new(Whole::<1, 0>::new(self.statistic)),
                2 => Box::new(Whole::<1, 1>::new(self.statistic)),
                _ => Box::new(Whole::<2, 3>::new(self.statistic)),
            }),
            (true, true) => Ok(Box::new(Distinct::new(self.statistic))),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match floats(args.expr_fields) {
            true => self.accumulator(args),
            false => self.builtin.create_sliding_accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        match (floats(args.input_fields), args.is_distinct) {
            (false, _) => self.builtin.state_fields(args),
            (true, false) => Ok(moments::state_fields(args.name)),
            (true, true) => Ok(distinct::state_fields(args.name)),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match floats(args.expr_fields) {
            true => !args.is_distinct,
            false => self.builtin.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match floats(args.expr_fields) {
            true => Ok(match self.statistic.terms().len() {
                1 => Box::new(Moments::<1, 0>::new(self.statistic)),
                2 => Box::new(Moments::<1, 1>::new(self.statistic)),
                _ => Box::new(Moments::<2, 3>::new(self.statistic)),
            }),
            false => self.builtin.create_groups_accumulator(args),
        }
    }
}
