//! `min` and `max` of floats by one total order: `-0.0` below `0.0`, NaN above all, whichever bits it had.
//!
//! DataFusion's own take zeros for equal and compare with NaN as it comes, so that the first or the last row wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};

use super::moments::Rows;

/// Which end of the order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Extreme {
    Min,
    Max,
}

/// The built-in `min` or `max`, with other accumulators over floats.
#[derive(PartialEq, Eq, Hash, Debug)]
pub(super) struct ExtremeFunction {
    builtin: Arc<AggregateUDF>,
    extreme: Extreme,
}

impl ExtremeFunction {
    pub(super) fn new(builtin: Arc<AggregateUDF>, extreme: Extreme) -> Self {
        Self { builtin, extreme }
    }
}

impl AggregateUDFImpl for ExtremeFunction {
    fn name(&self) -> &str {
        self.builtin.name()
    }

    fn signature(&self) -> &Signature {
        self.builtin.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.builtin.return_type(arg_types)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.builtin.coerce_types(arg_types)
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

    /// The statistics of a Parquet file know neither NaN nor the sign of a zero.
    fn value_from_stats(&self, statistics_args: &StatisticsArgs) -> Option<ScalarValue> {
        match statistics_args.return_type.is_floating() {
            true => None,
            false => self.builtin.value_from_stats(statistics_args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.builtin.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.return_type().is_floating() {
            true => Ok(Box::new(Whole(Groups::new(
                self.extreme,
                args.return_type(),
            )))),
            false => self.builtin.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.return_type().is_floating() {
            true => Ok(Box::new(Frame {
                extreme: self.extreme,
                data_type: args.return_type().clone(),
                counts: BTreeMap::new(),
            })),
            false => self.builtin.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.builtin.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match args.return_type().is_floating() {
            true => Ok(Box::new(Groups::new(self.extreme, args.return_type()))),
            false => self.builtin.create_groups_accumulator(args),
        }
    }
}

/// The place of a float in the total order.
fn place(value: f64) -> i64 {
    let value = if value.is_nan() { f64::NAN } else { value };
    turn(value.to_bits() as i64)
}

/// The inverse of [`place`].
fn value(place: i64) -> f64 {
    f64::from_bits(turn(place) as u64)
}

/// Of negative floats, those of larger magnitude come first. Its own inverse.
fn turn(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// A column of floats of any width as one of `Float64`, which loses nothing.
fn widened(columns: &[ArrayRef]) -> Result<[ArrayRef; 1]> {
    Ok([cast(&columns[0], &DataType::Float64)?])
}

/// The floats at these places, in their own type.
fn column(places: impl IntoIterator<Item = Option<i64>>, data_type: &DataType) -> Result<ArrayRef> {
    let values: Float64Array = places.into_iter().map(|place| place.map(value)).collect();
    Ok(cast(&values, data_type)?)
}

/// The extreme of each group so far.
#[derive(Debug)]
struct Groups {
    extreme: Extreme,
    data_type: DataType,
    places: Vec<Option<i64>>,
}

impl Groups {
    fn new(extreme: Extreme, data_type: &DataType) -> Self {
        Self {
            extreme,
            data_type: data_type.clone(),
            places: Vec::new(),
        }
    }

    fn add(
        &mut self,
        columns: &[ArrayRef],
        filter: Option<&BooleanArray>,
        groups: usize,
        group_of: impl Fn(usize) -> usize,
    ) -> Result<()> {
        self.places.resize(groups, None);
        let columns = widened(columns)?;
        let rows = Rows::new(&columns, 0, filter);
        rows.for_each(0..rows.len(), |row, [value]| {
            let (new, old) = (place(value), &mut self.places[group_of(row)]);
            *old = Some(match (*old, self.extreme) {
                (None, _) => new,
                (Some(old), Extreme::Min) => old.min(new),
                (Some(old), Extreme::Max) => old.max(new),
            });
        });
        Ok(())
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.add(values, opt_filter, total_num_groups, |row| {
            group_indices[row]
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        column(emit_to.take_needed(&mut self.places), &self.data_type)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut each = Self::new(self.extreme, &self.data_type);
        each.add(values, opt_filter, values[0].len(), |row| row)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.places.capacity() * size_of::<Option<i64>>()
    }
}

/// The extreme of all rows: one group.
#[derive(Debug)]
struct Whole(Groups);

impl Accumulator for Whole {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.add(values, None, 1, |_| 0)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let place = self.0.places.first().copied().flatten();
        ScalarValue::try_from_array(&column([place], &self.0.data_type)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.size()
    }
}

/// The values of a window frame that slides.
#[derive(Debug)]
struct Frame {
    extreme: Extreme,
    data_type: DataType,
    /// How often each value is in the frame, by place.
    counts: BTreeMap<i64, u64>,
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let columns = widened(values)?;
        let rows = Rows::new(&columns, 0, None);
        rows.for_each(0..rows.len(), |_, [value]| {
            *self.counts.entry(place(value)).or_default() += 1;
        });
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in widened(values)?[0]
            .as_primitive::<Float64Type>()
            .iter()
            .flatten()
        {
            if let Some(count) = self.counts.get_mut(&place(value)) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&place(value));
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let place = match self.extreme {
            Extreme::Min => self.counts.first_key_value(),
            Extreme::Max => self.counts.last_key_value(),
        };
        let place = place.map(|(place, _)| *place);
        ScalarValue::try_from_array(&column([place], &self.data_type)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.counts.len() * size_of::<(i64, u64)>()
    }
}
