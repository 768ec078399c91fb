//! The accumulators: exact sums by group, and over all rows of a window frame or a table.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, UInt64Type};
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::exact::ExactSum;
use super::statistic::{Statistic, Term};

/// Counts and sums by group.
///
/// State between partial and final aggregation, and in spilled files, is the count and the encoding of each sum.
#[derive(Debug)]
pub(super) struct Moments {
    statistic: Statistic,
    /// Rows of each group without a null in them.
    counts: Vec<u64>,
    /// For each group, the sums of the statistic's terms.
    sums: Vec<ExactSum>,
    /// Memory of the sums beyond `self.sums`.
    heap_bytes: usize,
}

/// The columns of a [`Moments`]' state.
pub(super) fn state_fields(statistic: Statistic, name: &str) -> Vec<FieldRef> {
    let count = Field::new(format_state_name(name, "count"), DataType::UInt64, false);
    let sums = statistic.terms().iter().map(|term| {
        let name = format_state_name(name, &format!("{term:?}"));
        Field::new(name, DataType::Binary, false)
    });
    std::iter::once(count).chain(sums).map(Arc::new).collect()
}

impl Moments {
    pub(super) fn new(statistic: Statistic) -> Self {
        Self {
            statistic,
            counts: Vec::new(),
            sums: Vec::new(),
            heap_bytes: 0,
        }
    }

    fn terms(&self) -> &'static [Term] {
        self.statistic.terms()
    }

    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        self.sums
            .resize(groups * self.terms().len(), ExactSum::default());
    }

    fn add(&mut self, rows: &Rows<'_>, group_of: impl Fn(usize) -> usize) {
        let terms = self.terms();
        if let [Term::Y] = terms {
            return rows.for_each(|row| {
                let group = group_of(row);
                self.counts[group] += 1;
                self.heap_bytes += self.sums[group].add(rows.y(row));
            });
        }
        rows.for_each(|row| {
            let group = group_of(row);
            self.counts[group] += 1;
            let sums = &mut self.sums[group * terms.len()..];
            for (term, sum) in terms.iter().zip(sums) {
                self.heap_bytes += match term {
                    Term::Y => sum.add(rows.y(row)),
                    Term::X => sum.add(rows.x(row)),
                    Term::YY => sum.add_product(rows.y(row), rows.y(row)),
                    Term::XX => sum.add_product(rows.x(row), rows.x(row)),
                    Term::YX => sum.add_product(rows.y(row), rows.x(row)),
                };
            }
        });
    }

    /// Takes away rows that were added to the only group before.
    fn remove(&mut self, rows: &Rows<'_>) {
        let terms = self.terms();
        rows.for_each(|row| {
            self.counts[0] -= 1;
            for (term, sum) in terms.iter().zip(&mut self.sums) {
                self.heap_bytes += match term {
                    Term::Y => sum.remove(rows.y(row)),
                    Term::X => sum.remove(rows.x(row)),
                    Term::YY => sum.remove_product(rows.y(row), rows.y(row)),
                    Term::XX => sum.remove_product(rows.x(row), rows.x(row)),
                    Term::YX => sum.remove_product(rows.y(row), rows.x(row)),
                };
            }
        });
    }

    fn merge(&mut self, states: &[ArrayRef], group_of: impl Fn(usize) -> usize) -> Result<()> {
        let terms = self.terms().len();
        let counts = states[0].as_primitive::<UInt64Type>().values();
        for (row, count) in counts.iter().enumerate() {
            self.counts[group_of(row)] += count;
        }
        for (term, sums) in states[1..].iter().enumerate() {
            let sums = sums.as_binary::<i32>();
            for row in 0..sums.len() {
                let sum = ExactSum::decode(sums.value(row))
                    .ok_or_else(|| exec_datafusion_err!("the state of an exact sum is damaged"))?;
                self.heap_bytes += self.sums[group_of(row) * terms + term].merge(&sum);
            }
        }
        Ok(())
    }

    /// The first groups, taken out.
    fn take(&mut self, emit_to: EmitTo) -> Self {
        let of_sums = match emit_to {
            EmitTo::All => EmitTo::All,
            EmitTo::First(groups) => EmitTo::First(groups * self.terms().len()),
        };
        let sums = of_sums.take_needed(&mut self.sums);
        let heap_bytes = sums.iter().map(ExactSum::heap_bytes).sum();
        self.heap_bytes -= heap_bytes;

        Self {
            statistic: self.statistic,
            counts: emit_to.take_needed(&mut self.counts),
            sums,
            heap_bytes,
        }
    }

    fn results(&self) -> Float64Array {
        let sums = self.sums.chunks_exact(self.terms().len());
        let groups = self.counts.iter().zip(sums);
        groups
            .map(|(count, sums)| self.statistic.result(*count, sums))
            .collect()
    }

    fn states(&self) -> Vec<ArrayRef> {
        let mut states: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(self.counts.clone()))];
        let mut bytes = Vec::new();
        for term in 0..self.terms().len() {
            let mut sums = BinaryBuilder::with_capacity(self.counts.len(), 0);
            for sum in self.sums.iter().skip(term).step_by(self.terms().len()) {
                bytes.clear();
                sum.encode(&mut bytes);
                sums.append_value(&bytes);
            }
            states.push(Arc::new(sums.finish()));
        }
        states
    }

    fn heap_size(&self) -> usize {
        self.counts.capacity() * size_of::<u64>()
            + self.sums.capacity() * size_of::<ExactSum>()
            + self.heap_bytes
    }
}

impl GroupsAccumulator for Moments {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        self.add(&Rows::new(values, opt_filter), |row| group_indices[row]);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(self.take(emit_to).results()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(self.take(emit_to).states())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        self.merge(values, |row| group_indices[row])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut each = Self::new(self.statistic);
        each.resize(values[0].len());
        each.add(&Rows::new(values, opt_filter), |row| row);
        Ok(each.states())
    }

    fn size(&self) -> usize {
        self.heap_size()
    }
}

/// [`Moments`] of one group: all rows, or those of a window frame that slides.
#[derive(Debug)]
pub(super) struct Whole(Moments);

impl Whole {
    pub(super) fn new(statistic: Statistic) -> Self {
        let mut moments = Moments::new(statistic);
        moments.resize(1);
        Self(moments)
    }
}

impl Accumulator for Whole {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (rows, moments) = (Rows::new(values, None), &mut self.0);
        match (moments.terms(), &rows.valid) {
            ([Term::Y], None) => {
                moments.counts[0] += rows.y.len() as u64;
                moments.heap_bytes += moments.sums[0].add_all(rows.y);
            }
            _ => moments.add(&rows, |_| 0),
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.remove(&Rows::new(values, None));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let result = self.0.statistic.result(self.0.counts[0], &self.0.sums);
        Ok(ScalarValue::Float64(result))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let states = self.0.states();
        let scalar = |state: &ArrayRef| ScalarValue::try_from_array(state, 0);
        states.iter().map(scalar).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge(states, |_| 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.heap_size()
    }
}

/// The rows of a batch that count: those that the filter lets through, without a null.
pub(super) struct Rows<'a> {
    y: &'a [f64],
    /// The second argument; the first, where there is one.
    x: &'a [f64],
    valid: Option<NullBuffer>,
}

impl<'a> Rows<'a> {
    /// Of one or two columns of `Float64`.
    pub(super) fn new(columns: &'a [ArrayRef], filter: Option<&BooleanArray>) -> Self {
        let column = |at: usize| columns[at].as_primitive::<Float64Type>().values().as_ref();
        let filter = filter.map(|filter| {
            let chosen = NullBuffer::new(filter.values().clone());
            NullBuffer::union(Some(&chosen), filter.nulls()).unwrap_or(chosen)
        });
        let valid = columns
            .iter()
            .fold(filter, |valid, column| {
                NullBuffer::union(valid.as_ref(), column.nulls())
            })
            .filter(|valid| valid.null_count() > 0);
        Self {
            y: column(0),
            x: column(columns.len() - 1),
            valid,
        }
    }

    #[inline]
    pub(super) fn for_each(&self, mut each: impl FnMut(usize)) {
        match &self.valid {
            None => (0..self.y.len()).for_each(each),
            Some(valid) => valid.valid_indices().for_each(&mut each),
        }
    }

    #[inline]
    pub(super) fn y(&self, row: usize) -> f64 {
        self.y[row]
    }

    #[inline]
    pub(super) fn x(&self, row: usize) -> f64 {
        self.x[row]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_known_after_any_emission() {
        let mut moments = Moments::new(Statistic::RegrR2);
        let groups = 100;
        let column = |scale: f64| -> ArrayRef {
            let values = (0..1000).map(|i| scale * f64::from(i) * 10_f64.powi(i / 25));
            Arc::new(Float64Array::from_iter_values(values))
        };
        let group_indices: Vec<usize> = (0..1000).map(|i| i % groups).collect();
        let columns = [column(0.1), column(0.3)];
        moments
            .update_batch(&columns, &group_indices, None, groups)
            .unwrap();
        let truth =
            |moments: &Moments| moments.sums.iter().map(ExactSum::heap_bytes).sum::<usize>();
        assert!(truth(&moments) > 0);
        for emit_to in [
            EmitTo::First(0),
            EmitTo::First(30),
            EmitTo::First(50),
            EmitTo::All,
        ] {
            assert_eq!(moments.heap_bytes, truth(&moments));
            assert!(moments.size() >= truth(&moments) + size_of_val(moments.sums.as_slice()));
            moments.evaluate(emit_to).unwrap();
        }
        assert_eq!(moments.heap_bytes, 0);
    }
}
