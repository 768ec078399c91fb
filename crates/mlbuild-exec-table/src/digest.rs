//! The digest of a column: what it holds in row order, over any batch, row-group or file boundaries.
//!
//! A column is a tree of nodes: a list has one child, a struct one a field, everything else none. Each node digests
//! up to three streams, in the order of its slots: the numbers of the slots that are null, the lengths of the others,
//! and the others' bytes. Streams are only ever appended to, so where one batch ends and the next begins leaves no
//! trace, and a batch without nulls is hashed buffer by buffer, at BLAKE3's speed. `spec/table.md` draws the bytes;
//! golden digests in the tests hold them.

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
    Fixed(Box<Hasher>),
    /// Texts: their lengths, their bytes.
    Bytes(Box<Hasher>, Box<Hasher>),
    /// Lists: their lengths, their items.
    List(Box<Hasher>, Box<ColumnDigest>),
    /// Structs: their fields.
    Struct(Vec<ColumnDigest>),
}

impl ColumnDigest {
    /// The digest of an empty column of a canonical type.
    pub(crate) fn new(data_type: &DataType) -> Self {
        let body = match data_type {
            DataType::Utf8 | DataType::Binary => Body::Bytes(Box::default(), Box::default()),
            DataType::List(item) => {
                Body::List(Box::default(), Box::new(Self::new(item.data_type())))
            }
            DataType::Struct(fields) => {
                Body::Struct(fields.iter().map(|f| Self::new(f.data_type())).collect())
            }
            _ => Body::Fixed(Box::default()),
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
    let width = array
        .data_type()
        .primitive_width()
        .expect("the other canonical types are primitive");
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
    };
    use arrow::compute::take;
    use arrow::datatypes::{Field, Int64Type};

    use super::*;

    fn digest(parts: &[ArrayRef]) -> Digest {
        let mut digest = ColumnDigest::new(parts[0].data_type());
        for part in parts {
            digest.update(part).unwrap();
        }
        digest.finish()
    }

    /// Columns of every kind of node, `rows` long, with nulls.
    fn columns(rows: u64) -> Vec<ArrayRef> {
        // A linear congruential generator (Knuth's MMIX constants): the same columns in every run.
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let mut draw = || next() % 7;
        let ints: Int64Array = (0..rows)
            .map(|_| Some(draw() as i64).filter(|v| *v > 1))
            .collect();
        let floats: Float64Array = (0..rows)
            .map(|_| Some(draw() as f64 / 3.0).filter(|v| *v > 0.5))
            .collect();
        let booleans: BooleanArray = (0..rows).map(|_| Some(draw() > 2).filter(|v| *v)).collect();
        let texts: StringArray = (0..rows)
            .map(|_| Some("ab".repeat(draw() as usize)).filter(|v| v != "ab"))
            .collect();
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>((0..rows).map(|_| {
            let length = draw();
            (length > 1).then(|| {
                (0..length - 2)
                    .map(|_| Some(draw() as i64).filter(|v| *v > 0))
                    .collect::<Vec<_>>()
            })
        }));
        let field =
            |name, array: &dyn Array| Arc::new(Field::new(name, array.data_type().clone(), true));
        let structs = StructArray::new(
            vec![field("a", &ints), field("b", &texts)].into(),
            vec![Arc::new(ints.clone()), Arc::new(texts.clone())],
            booleans.nulls().cloned(),
        );
        vec![
            Arc::new(ints),
            Arc::new(floats),
            Arc::new(booleans),
            Arc::new(texts),
            Arc::new(lists),
            Arc::new(structs),
        ]
    }

    #[test]
    fn batches_leave_no_trace() {
        let rows = 200;
        for column in columns(rows as u64) {
            let whole = digest(std::slice::from_ref(&column));
            for size in [1, 2, 7, 64, 199] {
                let parts: Vec<_> = (0..rows)
                    .step_by(size)
                    .map(|at| column.slice(at, size.min(rows - at)))
                    .collect();
                assert_eq!(
                    digest(&parts),
                    whole,
                    "{} in parts of {size}",
                    column.data_type()
                );
            }
        }
    }

    #[test]
    fn every_row_and_its_place_count() {
        let rows = 40;
        for column in columns(rows) {
            let whole = digest(std::slice::from_ref(&column));
            for a in 0..rows {
                for b in 0..a {
                    let swapped = (0..rows).map(|i| {
                        if i == a {
                            b
                        } else if i == b {
                            a
                        } else {
                            i
                        }
                    });
                    let other = take(
                        &column,
                        &arrow::array::UInt64Array::from_iter_values(swapped),
                        None,
                    )
                    .unwrap();
                    let same = column.to_data() == other.to_data();
                    assert_eq!(
                        digest(&[other]) == whole,
                        same,
                        "{} {a} {b}",
                        column.data_type()
                    );
                }
            }
            assert_ne!(digest(&[column.slice(0, rows as usize - 1)]), whole);
        }
    }

    #[test]
    fn types_nulls_and_signs_count() {
        let of = |array: ArrayRef| digest(&[array]);
        let all = [
            of(Arc::new(Int64Array::from(vec![0]))),
            of(Arc::new(Int64Array::from(vec![None]))),
            of(Arc::new(Int64Array::from(vec![None, Some(0)]))),
            of(Arc::new(Int64Array::from(vec![Some(0), None]))),
            of(Arc::new(Float64Array::from(vec![0.0]))),
            of(Arc::new(Float64Array::from(vec![-0.0]))),
            of(Arc::new(StringArray::from(vec!["ab", "c"]))),
            of(Arc::new(StringArray::from(vec!["a", "bc"]))),
            of(Arc::new(StringArray::from(vec![Some("")]))),
            of(Arc::new(StringArray::from(vec![None::<&str>]))),
            of(Arc::new(Int64Array::from(Vec::<i64>::new()))),
            of(Arc::new(StringArray::from(Vec::<&str>::new()))),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b), "{i}");
        }
    }

    /// The example that `spec/table.md` works out by hand, from the encoder alone.
    #[test]
    fn the_specifications_example_holds() {
        let stream = |bytes: &[u8]| *Digest::of(bytes).as_bytes();
        let mut by_hand = Encoder::new("mlbuild column v1");
        by_hand.part("type", b"Utf8");
        by_hand.part("slots", &3_u64.to_le_bytes());
        by_hand.part("nulls", &stream(&1_u64.to_le_bytes()));
        by_hand.part("lengths", &stream(&[2, 0, 0, 0, 1, 0, 0, 0]));
        by_hand.part("values", &stream(b"abc"));
        let column = StringArray::from(vec![Some("ab"), None, Some("c")]);
        assert_eq!(digest(&[Arc::new(column)]), by_hand.finish());
        // Computed from the specification alone, with Python's `blake3`.
        let independent = "a212735eddb41cf67e72398a037661f682068e90da28192d3962e01dfc92b056";
        assert_eq!(by_hand.finish().to_string(), independent);
    }

    /// These never change: every table artifact out there is named by such digests.
    #[test]
    fn golden_digests() {
        let golden = columns(10).into_iter().map(|column| {
            (
                types::name(column.data_type()),
                digest(&[column]).to_string(),
            )
        });
        let expect = [
            (
                "Int64",
                "cc5a776b354770e543b553503e4b68b6a8df408bac8df5f492fa2890c1abdc79",
            ),
            (
                "Float64",
                "031495d4d9e2bfa6a1c272c738f3dbc5a606588f3facf02cae49f81ae62de049",
            ),
            (
                "Boolean",
                "020157853d75ac743d503763402df29f62021e865f4c60572a692e0962be9c9b",
            ),
            (
                "Utf8",
                "013b39b0c16cba0882d93ee052902381de9539ff31de9e578570e8aceceea96d",
            ),
            (
                "List(Int64)",
                "54f5f2a1c5a34bbf6605d029b08ebc3eb3a46fcec857519c4ea9caf501e7a820",
            ),
            (
                "Struct(\"a\": Int64, \"b\": Utf8)",
                "a74c26ebcf39514287177f3c33961a3793cea4952d6c3f1dfce0bed1cba8e80f",
            ),
        ];
        let expect = expect.map(|(name, digest)| (name.to_owned(), digest.to_owned()));
        assert_eq!(golden.collect::<Vec<_>>(), expect);
    }
}
