//! The digest of a column: what it holds in row order, over any batch, row-group or file boundaries.
//!
//! A column is a tree of nodes: a list has one child, a struct one a field, everything else none. Each node digests
//! up to three streams, in the order of its slots: the numbers of the slots that are null, the lengths of the others,
//! and the others' bytes. Streams are only ever appended to, so where one batch ends and the next begins leaves no
//! trace, and a batch without nulls is hashed buffer by buffer, at BLAKE3's speed. `spec/table.md` draws the bytes;
//! golden digests in `tests/digest.rs` hold them.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::filter;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use mlbuild_digest::{Digest, Encoder, Hasher};

use crate::types;

#[cfg(target_endian = "big")]
compile_error!("column digests hash Arrow's buffers, which must be little-endian");

/// A digest in the making, of one node: a column, the items of a list, a field of a struct.
pub(crate) struct ColumnDigest {
    type_name: String,
    slots: u64,
    nulls: Hasher,
    body: Body,
}

/// What a node holds beside its nulls.
enum Body {
    /// Values of one width: their bytes.
    Fixed(Hasher),
    /// Texts: their lengths, their bytes.
    Bytes(Hasher, Hasher),
    /// Lists: their lengths, their items.
    List(Hasher, Box<ColumnDigest>),
    /// Structs: their fields.
    Struct(Vec<ColumnDigest>),
}

impl ColumnDigest {
    /// The digest of an empty column of a canonical type.
    pub(crate) fn new(data_type: &DataType) -> Self {
        let body = match data_type {
            DataType::Utf8 | DataType::Binary => Body::Bytes(Hasher::new(), Hasher::new()),
            DataType::List(item) => {
                Body::List(Hasher::new(), Box::new(Self::new(item.data_type())))
            }
            DataType::Struct(fields) => {
                Body::Struct(fields.iter().map(|f| Self::new(f.data_type())).collect())
            }
            _ => Body::Fixed(Hasher::new()),
        };
        Self {
            type_name: types::name(data_type),
            slots: 0,
            nulls: Hasher::new(),
            body,
        }
    }

    /// Appends values. `array` has the type that `new` was given.
    ///
    /// # Errors
    /// None are known; arrow's filter returns a result.
    pub(crate) fn update(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        let valid = match array.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => array.clone(),
            Some(nulls) => {
                let empty = (0..array.len()).filter(|&slot| nulls.is_null(slot));
                let numbers: Vec<u8> = empty
                    .flat_map(|slot| (self.slots + slot as u64).to_le_bytes())
                    .collect();
                self.nulls.update(&numbers);
                filter(array, &BooleanArray::new(nulls.inner().clone(), None))?
            }
        };
        self.slots += array.len() as u64;
        match &mut self.body {
            Body::Fixed(values) => update_fixed(values, &valid),
            Body::Bytes(lengths, bytes) => update_bytes(lengths, bytes, &valid),
            Body::List(lengths, items) => {
                let list = valid.as_list::<i32>();
                update_lengths(lengths, list.offsets());
                let (start, end) = range(list.offsets());
                items.update(&list.values().slice(start, end - start))?;
            }
            Body::Struct(fields) => {
                for (field, column) in fields.iter_mut().zip(valid.as_struct().columns()) {
                    field.update(column)?;
                }
            }
        }
        Ok(())
    }

    /// The digest of all values so far.
    pub(crate) fn finish(&self) -> Digest {
        let mut encoder = Encoder::new("mlbuild column v1");
        encoder.part("type", self.type_name.as_bytes());
        encoder.part("slots", &self.slots.to_le_bytes());
        encoder.part("nulls", self.nulls.finish().as_bytes());
        match &self.body {
            Body::Fixed(values) => {
                encoder.part("values", values.finish().as_bytes());
            }
            Body::Bytes(lengths, bytes) => {
                encoder.part("lengths", lengths.finish().as_bytes());
                encoder.part("values", bytes.finish().as_bytes());
            }
            Body::List(lengths, items) => {
                encoder.part("lengths", lengths.finish().as_bytes());
                encoder.part("child", items.finish().as_bytes());
            }
            Body::Struct(fields) => {
                for field in fields {
                    encoder.part("child", field.finish().as_bytes());
                }
            }
        }
        encoder.finish()
    }
}

fn update_fixed(values: &mut Hasher, array: &ArrayRef) {
    if let Some(booleans) = array.as_boolean_opt() {
        let bytes: Vec<u8> = booleans.values().iter().map(u8::from).collect();
        values.update(&bytes);
        return;
    }
    let data = array.to_data();
    let width = array.data_type().primitive_width().expect("the other canonical types are primitive");
    let start = data.offset() * width;
    values.update(&data.buffers()[0].as_slice()[start..start + data.len() * width]);
}

fn update_bytes(lengths: &mut Hasher, bytes: &mut Hasher, array: &ArrayRef) {
    let (offsets, values) = match array.as_string_opt::<i32>() {
        Some(texts) => (texts.offsets(), texts.values()),
        None => {
            let binary = array.as_binary::<i32>();
            (binary.offsets(), binary.values())
        }
    };
    update_lengths(lengths, offsets);
    let (start, end) = range(offsets);
    bytes.update(&values[start..end]);
}

fn update_lengths(lengths: &mut Hasher, offsets: &OffsetBuffer<i32>) {
    let bytes: Vec<u8> = offsets
        .lengths()
        .flat_map(|length| (length as u32).to_le_bytes())
        .collect();
    lengths.update(&bytes);
}

/// The part of the values that a possibly sliced array covers.
fn range(offsets: &OffsetBuffer<i32>) -> (usize, usize) {
    (offsets[0] as usize, offsets[offsets.len() - 1] as usize)
}
