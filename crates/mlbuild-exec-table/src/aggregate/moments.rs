//! The accumulators: exact sums by group, and over all rows of a window frame or a table.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::grid::{self, Grid};
use super::statistic::{Statistic, Term};

/// Rows that are fetched into the processor's cache together.
const FETCHED: usize = 32;

/// Bytes of groups from which on they are fetched ahead: less than most processors hold close by.
const FAR_BYTES: usize = 256 << 10;

/// Rows of a batch that a new group's grid is chosen by.
const SAMPLE: usize = 64;

/// Exact sums by group, of `V` variables and `P` products of them.
///
/// State between partial and final aggregation, and in spilled files, is the encoding of each group.
#[derive(Debug)]
pub(super) struct Moments<const V: usize, const P: usize> {
    statistic: Statistic,
    groups: Vec<Grid<V, P>>,
    /// Memory of the groups beyond `self.groups`.
    heap_bytes: usize,
}

/// The columns of a [`Moments`]' state.
pub(super) fn state_fields(name: &str) -> Vec<FieldRef> {
    let name = format_state_name(name, "moments");
    vec![Field::new(name, DataType::Binary, false).into()]
}

impl<const V: usize, const P: usize> Moments<V, P> {
    pub(super) fn new(statistic: Statistic) -> Self {
        Self {
            statistic,
            groups: Vec::new(),
            heap_bytes: 0,
        }
    }

    /// Makes room for so many groups, new ones for rows like these.
    fn resize(&mut self, groups: usize, rows: &Rows<'_, V>) {
        if groups > self.groups.len() {
            self.groups.resize(groups, Grid::like(rows.sample()));
        }
    }

    fn rows<'a>(&self, columns: &'a [ArrayRef], filter: Option<&BooleanArray>) -> Rows<'a, V> {
        // One variable of two columns is the second if it is called `x`.
        let first = match self.statistic.terms() {
            [Term::X, ..] => columns.len() - 1,
            _ => 0,
        };
        Rows::new(columns, first, filter)
    }

    fn add(&mut self, rows: &Rows<'_, V>, group_indices: &[usize]) {
        let far = size_of_val(self.groups.as_slice()) > FAR_BYTES;
        let block = if far { FETCHED } else { rows.len() };
        let mut start = 0;
        while start < rows.len() {
            let end = rows.len().min(start + block);
            if far {
                self.fetch(&group_indices[start..end]);
            }
            let mut growth = 0;
            rows.for_each(start..end, |row, values| {
                growth += self.groups[group_indices[row]].add(values);
            });
            self.heap_bytes += growth;
            start = end;
        }
    }

    /// Has groups fetched from memory. Nothing waits for one of them here, so they all come at once.
    fn fetch(&self, group_indices: &[usize]) {
        let mut fetched = 0;
        for group in group_indices {
            fetched ^= self.groups[*group].touch();
        }
        black_box(fetched);
    }

    fn merge(&mut self, states: &[ArrayRef], group_of: impl Fn(usize) -> usize) -> Result<()> {
        let states = states[0].as_binary::<i32>();
        for row in 0..states.len() {
            let state = Grid::decode(states.value(row))
                .ok_or_else(|| exec_datafusion_err!("the state of an exact sum is damaged"))?;
            self.heap_bytes += self.groups[group_of(row)].merge(&state);
        }
        Ok(())
    }

    /// The first groups, taken out.
    fn take(&mut self, emit_to: EmitTo) -> Self {
        let groups = emit_to.take_needed(&mut self.groups);
        let heap_bytes = match emit_to {
            EmitTo::All => self.heap_bytes,
            EmitTo::First(_) => groups.iter().map(Grid::heap_bytes).sum(),
        };
        self.heap_bytes -= heap_bytes;

        Self {
            statistic: self.statistic,
            groups,
            heap_bytes,
        }
    }

    fn results(&self) -> Float64Array {
        let groups = self.groups.iter();
        groups
            .map(|group| self.statistic.result(group.count(), group))
            .collect()
    }

    fn states(&self) -> Vec<ArrayRef> {
        let mut states = BinaryBuilder::with_capacity(self.groups.len(), 0);
        let mut bytes = Vec::new();
        for group in &self.groups {
            bytes.clear();
            group.encode(&mut bytes);
            states.append_value(&bytes);
        }
        vec![Arc::new(states.finish())]
    }

    fn heap_size(&self) -> usize {
        self.groups.capacity() * size_of::<Grid<V, P>>() + self.heap_bytes
    }
}

impl<const V: usize, const P: usize> GroupsAccumulator for Moments<V, P> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let rows = self.rows(values, opt_filter);
        self.resize(total_num_groups, &rows);
        self.add(&rows, group_indices);
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
        self.groups.resize(total_num_groups, Grid::default());
        self.merge(values, |row| group_indices[row])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut each = Self::new(self.statistic);
        let rows = self.rows(values, opt_filter);
        let group_indices: Vec<usize> = (0..values[0].len()).collect();
        each.resize(group_indices.len(), &rows);
        each.add(&rows, &group_indices);
        Ok(each.states())
    }

    fn size(&self) -> usize {
        self.heap_size()
    }
}

/// [`Moments`] of one group: all rows, or those of a window frame that slides.
#[derive(Debug)]
pub(super) struct Whole<const V: usize, const P: usize>(Moments<V, P>);

impl<const V: usize, const P: usize> Whole<V, P> {
    pub(super) fn new(statistic: Statistic) -> Self {
        let mut moments = Moments::new(statistic);
        moments.groups.push(Grid::default());
        Self(moments)
    }
}

impl<const V: usize, const P: usize> Accumulator for Whole<V, P> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = self.0.rows(values, None);
        let whole = &mut self.0.groups[0];
        whole.set_grid(|| rows.sample());
        self.0.heap_bytes += match rows.valid {
            None => whole.add_all(rows.values),
            Some(_) => rows.sum(|values| whole.add(values)),
        };
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = self.0.rows(values, None);
        let whole = &mut self.0.groups[0];
        self.0.heap_bytes += rows.sum(|values| whole.remove(values));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let whole = &self.0.groups[0];
        let result = self.0.statistic.result(whole.count(), whole);
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

/// The rows of a batch, and which of them count.
pub(super) struct Rows<'a, const V: usize> {
    values: [&'a [f64]; V],
    valid: Option<NullBuffer>,
}

impl<'a, const V: usize> Rows<'a, V> {
    /// The values are those of the columns from `first` on. A row counts if no column is null and the filter lets it
    /// through.
    pub(super) fn new(
        columns: &'a [ArrayRef],
        first: usize,
        filter: Option<&BooleanArray>,
    ) -> Self {
        Self {
            values: std::array::from_fn(|at| values(&columns[first + at])),
            valid: valid(columns, filter),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.values[0].len()
    }

    /// Passes on the rows of a range that count.
    #[inline]
    pub(super) fn for_each(&self, range: Range<usize>, mut each: impl FnMut(usize, [f64; V])) {
        for row in range {
            if self.valid.as_ref().is_none_or(|valid| valid.is_valid(row)) {
                each(row, grid::row(&self.values, row));
            }
        }
    }

    /// The sum of what is made of each row that counts.
    fn sum(&self, mut each: impl FnMut([f64; V]) -> usize) -> usize {
        let mut sum = 0;
        self.for_each(0..self.len(), |_, values| sum += each(values));
        sum
    }

    /// Some values of each variable.
    fn sample(&self) -> [&'a [f64]; V] {
        self.values
            .map(|values| &values[..values.len().min(SAMPLE)])
    }
}

/// Which rows count: those that the filter lets through, without a null; `None` if all do.
pub(super) fn valid(columns: &[ArrayRef], filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let filter = filter.map(|filter| {
        let chosen = NullBuffer::new(filter.values().clone());
        NullBuffer::union(Some(&chosen), filter.nulls()).unwrap_or(chosen)
    });
    columns
        .iter()
        .fold(filter, |valid, column| {
            NullBuffer::union(valid.as_ref(), column.nulls())
        })
        .filter(|valid| valid.null_count() > 0)
}

/// The values of a column of `Float64`.
pub(super) fn values(column: &ArrayRef) -> &[f64] {
    column.as_primitive::<Float64Type>().values()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_known_after_any_emission() {
        let mut moments = Moments::<2, 3>::new(Statistic::RegrR2);
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
        let truth = |moments: &Moments<2, 3>| {
            let groups = moments.groups.iter();
            groups.map(Grid::heap_bytes).sum::<usize>()
        };
        assert!(truth(&moments) > 0);
        for emit_to in [
            EmitTo::First(0),
            EmitTo::First(30),
            EmitTo::First(50),
            EmitTo::All,
        ] {
            assert_eq!(moments.heap_bytes, truth(&moments));
            assert!(moments.size() >= truth(&moments) + size_of_val(moments.groups.as_slice()));
            moments.evaluate(emit_to).unwrap();
        }
        assert_eq!(moments.heap_bytes, 0);
    }
}
