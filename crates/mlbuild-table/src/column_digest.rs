//! The digest of one column, block by block; `spec/table.md` draws the bytes.
//!
//! A block's encoding depends on its values alone: neither offsets, spare null buffers, nor what a null slot or an
//! unreachable list element happens to hold can show. All NaNs count as one; `-0.0` and `0.0` differ.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::filter;
use arrow::datatypes::DataType;
use mlbuild_digest::{Digest, Encoder};

use crate::type_name;

/// The digest of the values of a column, in row order.
pub(crate) struct ColumnDigest {
    encoder: Encoder,
    /// The encoding of one block, kept for its capacity.
    block: Vec<u8>,
}

impl ColumnDigest {
    /// A digest of no rows. The type must be canonical.
    pub(crate) fn new(data_type: &DataType) -> Self {
        let mut encoder = Encoder::new("mlbuild column v1");
        encoder.part("type", type_name(data_type).as_bytes());
        Self {
            encoder,
            block: Vec::new(),
        }
    }

    /// Takes the next block: [`crate::BLOCK_ROWS`] rows, fewer only in the last.
    pub(crate) fn update(&mut self, block: &ArrayRef) {
        self.block.clear();
        encode(block, block.nulls(), &mut self.block);
        self.encoder
            .part("rows", &(block.len() as u64).to_le_bytes());
        self.encoder.part("values", &self.block);
    }

    /// The digest of all rows so far.
    pub(crate) fn finish(&self) -> Digest {
        self.encoder.finish()
    }
}

/// Appends the encoding of `array`, of whose slots `nulls` says which are null.
fn encode(array: &ArrayRef, nulls: Option<&NullBuffer>, out: &mut Vec<u8>) {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    match nulls {
        None => out.push(0),
        Some(nulls) => {
            out.push(1);
            encode_bits(nulls.inner(), out);
        }
    }
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean().values();
            match nulls {
                None => encode_bits(values, out),
                Some(nulls) => encode_bits(&(values & nulls.inner()), out),
            }
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            encode_bytes(array.offsets(), array.value_data(), nulls, out);
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            encode_bytes(array.offsets(), array.value_data(), nulls, out);
        }
        DataType::List(_) => {
            let array = array.as_list::<i32>();
            encode_lengths(array.offsets(), nulls, out);
            let values = reachable(array.values(), array.offsets(), nulls);
            encode(&values, values.nulls(), out);
        }
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                let nulls = NullBuffer::union(nulls, column.nulls());
                encode(column, nulls.as_ref(), out);
            }
        }
        _ => encode_fixed(array, nulls, out),
    }
}

/// Appends the bits, least significant first, filled up with zeros to a whole byte.
fn encode_bits(bits: &BooleanBuffer, out: &mut Vec<u8>) {
    let bytes = bits.sliced();
    out.extend_from_slice(&bytes.as_slice()[..bits.len().div_ceil(8)]);
    let spare = bits.len() % 8;
    if let Some(last) = out.last_mut().filter(|_| spare > 0) {
        *last &= (1 << spare) - 1;
    }
}

/// Appends values of one width, little-endian; nulls as zeros.
fn encode_fixed(array: &ArrayRef, nulls: Option<&NullBuffer>, out: &mut Vec<u8>) {
    const {
        assert!(
            cfg!(target_endian = "little"),
            "arrow's buffers are in native order"
        );
    };
    let width = array
        .data_type()
        .primitive_width()
        .expect("canonical types that are not nested have a width");
    let data = array.to_data();
    let from = data.offset() * width;
    let start = out.len();
    out.extend_from_slice(&data.buffers()[0].as_slice()[from..from + data.len() * width]);
    let values = &mut out[start..];
    match array.data_type() {
        DataType::Float32 => unify_nans(values, |bytes| {
            let value = f32::from_le_bytes(bytes);
            value.is_nan().then_some(0x7fc0_0000_u32.to_le_bytes())
        }),
        DataType::Float64 => unify_nans(values, |bytes| {
            let value = f64::from_le_bytes(bytes);
            value
                .is_nan()
                .then_some(0x7ff8_0000_0000_0000_u64.to_le_bytes())
        }),
        _ => {}
    }
    if let Some(nulls) = nulls {
        for (slot, value) in values.chunks_exact_mut(width).enumerate() {
            if nulls.is_null(slot) {
                value.fill(0);
            }
        }
    }
}

fn unify_nans<const N: usize>(values: &mut [u8], one_nan: impl Fn([u8; N]) -> Option<[u8; N]>) {
    let (values, _) = values.as_chunks_mut::<N>();
    for value in values {
        if let Some(nan) = one_nan(*value) {
            *value = nan;
        }
    }
}

/// Appends the lengths of texts or byte strings, then their bytes.
fn encode_bytes(
    offsets: &OffsetBuffer<i32>,
    bytes: &[u8],
    nulls: Option<&NullBuffer>,
    out: &mut Vec<u8>,
) {
    encode_lengths(offsets, nulls, out);
    for range in runs(offsets, nulls) {
        out.extend_from_slice(&bytes[range]);
    }
}

/// Appends each slot's length as a little-endian `u32`; a null's is 0.
fn encode_lengths(offsets: &OffsetBuffer<i32>, nulls: Option<&NullBuffer>, out: &mut Vec<u8>) {
    for (slot, length) in offsets.lengths().enumerate() {
        let length = if nulls.is_some_and(|nulls| nulls.is_null(slot)) {
            0
        } else {
            length
        };
        let length = u32::try_from(length).expect("offsets are `i32`");
        out.extend_from_slice(&length.to_le_bytes());
    }
}

/// The elements of all lists that are not null, one after the other.
fn reachable(
    elements: &ArrayRef,
    offsets: &OffsetBuffer<i32>,
    nulls: Option<&NullBuffer>,
) -> ArrayRef {
    let runs = runs(offsets, nulls);
    match runs.as_slice() {
        [] => elements.slice(0, 0),
        [run] => elements.slice(run.start, run.len()),
        runs => {
            let mut wanted = BooleanBufferBuilder::new(elements.len());
            for run in runs {
                wanted.append_n(run.start - wanted.len(), false);
                wanted.append_n(run.len(), true);
            }
            wanted.append_n(elements.len() - wanted.len(), false);
            filter(elements, &BooleanArray::new(wanted.finish(), None))
                .expect("the mask has a bit for every element")
        }
    }
}

/// The ranges that the slots which are not null occupy, neighbours merged.
fn runs(offsets: &OffsetBuffer<i32>, nulls: Option<&NullBuffer>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut add = |run: Range<i32>| {
        let run = run.start as usize..run.end as usize;
        match runs.last_mut() {
            _ if run.is_empty() => {}
            Some(last) if last.end == run.start => last.end = run.end,
            _ => runs.push(run),
        }
    };
    match nulls {
        None => add(offsets[0]..offsets[offsets.len() - 1]),
        Some(nulls) => nulls
            .valid_indices()
            .for_each(|slot| add(offsets[slot]..offsets[slot + 1])),
    }
    runs
}
