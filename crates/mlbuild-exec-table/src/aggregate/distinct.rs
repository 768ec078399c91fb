//! The accumulator of `f(distinct ..)`: the distinct rows, from which exact sums are made in the end.
//!
//! The order in which a hash set yields its rows cannot show in exact sums.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::utils::format_state_name;

use super::exact::ExactSum;
use super::moments::{valid, values};
use super::statistic::{Statistic, Term};

/// The bits of a row's `y` and `x`, of which there may be one only.
type Bits = [u64; 2];

/// Distinct rows, and how often each of them is in the frame.
#[derive(Debug)]
pub(super) struct Distinct {
    statistic: Statistic,
    rows: HashMap<Bits, u64>,
}

/// The one column of a [`Distinct`]'s state: its rows, 16 bytes each.
pub(super) fn state_fields(name: &str) -> Vec<FieldRef> {
    let name = format_state_name(name, "distinct");
    vec![Field::new(name, DataType::Binary, false).into()]
}

impl Distinct {
    pub(super) fn new(statistic: Statistic) -> Self {
        Self {
            statistic,
            rows: HashMap::new(),
        }
    }

    fn sum(&self, term: Term) -> ExactSum {
        let mut sum = ExactSum::default();
        for [y, x] in self.rows.keys().map(|bits| bits.map(f64::from_bits)) {
            match term {
                Term::Y => sum.add(y),
                Term::X => sum.add(x),
                Term::YY => sum.add_product(y, y),
                Term::XX => sum.add_product(x, x),
                Term::YX => sum.add_product(y, x),
            };
        }
        sum
    }
}

/// The rows without a null.
fn rows(columns: &[ArrayRef]) -> impl Iterator<Item = Bits> {
    let (y, x) = (values(&columns[0]), values(&columns[columns.len() - 1]));
    let valid = valid(columns, None);
    let counts = move |row: &usize| valid.as_ref().is_none_or(|valid| valid.is_valid(*row));
    (0..y.len())
        .filter(counts)
        .map(|row| [y[row], x[row]].map(bits))
}

/// Zeros are one value, and so are NaNs.
fn bits(value: f64) -> u64 {
    match value {
        value if value.is_nan() => f64::NAN.to_bits(),
        value => (value + 0.0).to_bits(),
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in rows(values) {
            *self.rows.entry(row).or_default() += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in rows(values) {
            if let Some(count) = self.rows.get_mut(&row) {
                *count -= 1;
                if *count == 0 {
                    self.rows.remove(&row);
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let terms = self.statistic.terms().iter();
        let sums: Vec<ExactSum> = terms.map(|term| self.sum(*term)).collect();
        let result = self.statistic.result(self.rows.len() as u64, &sums);
        Ok(ScalarValue::Float64(result))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let words = self.rows.keys().flatten();
        let bytes = words.flat_map(|word| word.to_le_bytes()).collect();
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = states[0].as_binary::<i32>();
        for state in 0..states.len() {
            let (rows, rest) = states.value(state).as_chunks::<16>();
            if !rest.is_empty() {
                return Err(exec_datafusion_err!(
                    "the state of a distinct sum is damaged"
                ));
            }
            for row in rows {
                let (words, _) = row.as_chunks::<8>();
                let bits = [words[0], words[1]].map(u64::from_le_bytes);
                *self.rows.entry(bits).or_default() += 1;
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        // A byte an entry is the table's own.
        size_of::<Self>() + self.rows.capacity() * (size_of::<(Bits, u64)>() + 1)
    }
}
