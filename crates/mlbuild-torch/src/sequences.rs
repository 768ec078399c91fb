//! Item sequences: read from safetensors, checked before libtorch sees an index.

use std::collections::BTreeMap;
use std::path::Path;

use tch::{Kind, Tensor};

use crate::problem::{Code, Problem};

/// Item sequences of many rows, oldest item first, in one vector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sequences {
    /// All rows' items, one row after the other; each in `0..items`.
    items: Vec<i64>,
    /// Where rows start and end in `items`: one more than there are rows.
    offsets: Vec<usize>,
    /// The item after each row; empty if the file has none.
    labels: Vec<i64>,
}

impl Sequences {
    /// Reads `items`, `offsets` and, when asked for, `labels`; `catalog` is the number of items.
    ///
    /// # Errors
    /// [`Code::Io`], [`Code::Input`] or [`Code::OutOfRange`].
    pub fn read(path: &Path, catalog: i64, with_labels: bool) -> Result<Sequences, Problem> {
        let mut tensors = read_tensors(path)?;
        let items = vector(&mut tensors, "items", path)?;
        let offsets = vector(&mut tensors, "offsets", path)?;
        let labels = with_labels
            .then(|| vector(&mut tensors, "labels", path))
            .transpose()?;
        Sequences::new(items, &offsets, labels, catalog)
    }

    /// Checks sequences; `labels`, if there are any, has one item a row.
    ///
    /// # Errors
    /// [`Code::Input`] or [`Code::OutOfRange`].
    pub fn new(
        items: Vec<i64>,
        offsets: &[i64],
        labels: Option<Vec<i64>>,
        catalog: i64,
    ) -> Result<Sequences, Problem> {
        let wrong = |message: String| Err(Problem::new(Code::Input, message));
        let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
            return wrong("`offsets` is empty; it has one entry more than there are rows".into());
        };
        if first != 0 || usize::try_from(last) != Ok(items.len()) {
            return wrong(format!(
                "`offsets` goes from {first} to {last}, not from 0 to {}",
                items.len()
            ));
        }
        if let Some(row) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            return wrong(format!(
                "`offsets` falls from {} to {} at row {row}",
                offsets[row],
                offsets[row + 1]
            ));
        }
        let rows = offsets.len() - 1;
        let labelled = labels.is_some();
        let labels = labels.unwrap_or_default();
        if labelled && labels.len() != rows {
            return wrong(format!(
                "`labels` has {} entries for {rows} rows",
                labels.len()
            ));
        }
        for (name, values) in [("items", &items), ("labels", &labels)] {
            if let Some(place) = values.iter().position(|item| !(0..catalog).contains(item)) {
                let message = format!(
                    "`{name}` holds {} at {place}; the catalog has {catalog} items",
                    values[place]
                );
                return Err(Problem::new(Code::OutOfRange, message));
            }
        }
        // They rise from 0 to a length, so they are no negative numbers.
        let offsets = offsets.iter().map(|offset| *offset as usize).collect();
        Ok(Sequences {
            items,
            offsets,
            labels,
        })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The items of a row, oldest first.
    pub fn row(&self, row: usize) -> &[i64] {
        &self.items[self.offsets[row]..self.offsets[row + 1]]
    }

    /// The items of all rows, one row after the other.
    pub fn items(&self) -> &[i64] {
        &self.items
    }

    /// The item after each row, if they were read.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }
}

/// Packs `rows` into i64 `[rows, longest]`, padded on the right with 0.
///
/// # Errors
/// Those of libtorch.
pub fn pad(rows: &[&[i64]]) -> Result<Tensor, Problem> {
    let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut padded = vec![0_i64; rows.len() * longest];
    for (row, place) in rows.iter().zip(padded.chunks_exact_mut(longest.max(1))) {
        place[..row.len()].copy_from_slice(row);
    }
    Ok(Tensor::f_from_slice(&padded)?.f_view([rows.len() as i64, longest as i64])?)
}

/// As [`pad`], on a device.
///
/// # Errors
/// Those of libtorch.
pub fn pad_on(rows: &[&[i64]], device: tch::Device) -> Result<Tensor, Problem> {
    Ok(pad(rows)?.f_to_device(device)?)
}

/// Reads every tensor of a safetensors file.
///
/// # Errors
/// [`Code::Io`], naming the file.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, Problem> {
    let tensors =
        Tensor::read_safetensors(path).map_err(|error| Problem::io("read", path, reason(error)))?;
    Ok(tensors.into_iter().collect())
}

/// Writes tensors, aside first: `path` exists only when it is complete.
///
/// # Errors
/// [`Code::Io`], naming the file.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), Problem> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".partial");
    let aside = Path::new(&aside);
    Tensor::write_safetensors(tensors, aside)
        .map_err(|error| Problem::io("write", path, reason(error)))?;
    std::fs::rename(aside, path).map_err(|error| Problem::io("write", path, error))
}

/// What went wrong without the path, which the caller names.
fn reason(error: tch::TchError) -> String {
    match error {
        tch::TchError::SafeTensorError { err, .. } => err.to_string(),
        other => Problem::from(other).message,
    }
}

fn vector(
    tensors: &mut BTreeMap<String, Tensor>,
    name: &str,
    path: &Path,
) -> Result<Vec<i64>, Problem> {
    let wrong = |message| Problem::new(Code::Input, message);
    let tensor = tensors.remove(name);
    let tensor =
        tensor.ok_or_else(|| wrong(format!("`{}` has no tensor `{name}`", path.display())))?;
    let (kind, size) = (tensor.kind(), tensor.size());
    if kind != Kind::Int64 || size.len() != 1 {
        return Err(wrong(format!(
            "`{name}` is {kind:?} {size:?}, not an Int64 vector"
        )));
    }
    let mut values = vec![0; tensor.numel()];
    tensor.f_copy_data(&mut values, size[0] as usize)?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(items: &[i64], offsets: &[i64], labels: Option<&[i64]>) -> String {
        Sequences::new(items.to_vec(), offsets, labels.map(<[i64]>::to_vec), 10)
            .unwrap_err()
            .message
    }

    #[test]
    fn rows_lie_between_offsets() {
        let sequences =
            Sequences::new(vec![1, 2, 3], &[0, 2, 2, 3], Some(vec![4, 5, 6]), 10).unwrap();
        assert_eq!(sequences.rows(), 3);
        assert_eq!(
            (sequences.row(0), sequences.row(1), sequences.row(2)),
            (&[1, 2][..], &[][..], &[3][..])
        );
    }

    #[test]
    fn broken_input_is_named() {
        assert_eq!(
            message(&[], &[], None),
            "`offsets` is empty; it has one entry more than there are rows"
        );
        assert_eq!(
            message(&[1], &[0, 2], None),
            "`offsets` goes from 0 to 2, not from 0 to 1"
        );
        assert_eq!(
            message(&[1, 2], &[0, 5, 2], None),
            "`offsets` falls from 5 to 2 at row 1"
        );
        assert_eq!(
            message(&[1, 2], &[0, 2], Some(&[1, 1])),
            "`labels` has 2 entries for 1 rows"
        );
        assert_eq!(
            message(&[1, 10], &[0, 2], None),
            "`items` holds 10 at 1; the catalog has 10 items"
        );
        assert_eq!(
            message(&[1, 2], &[0, 2], Some(&[-1])),
            "`labels` holds -1 at 0; the catalog has 10 items"
        );
        assert_eq!(
            message(&[1, 2], &[0, 2], Some(&[])),
            "`labels` has 0 entries for 1 rows"
        );
    }

    #[test]
    fn rows_are_padded_on_the_right() {
        let padded = pad(&[&[7], &[8, 9]]).unwrap();
        assert_eq!(Vec::<Vec<i64>>::try_from(padded).unwrap(), [[7, 0], [8, 9]]);
    }
}
