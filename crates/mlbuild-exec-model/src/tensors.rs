//! Tensors in safetensors files, written and read whole.
//!
//! A file's bytes depend on its tensors alone: the library orders them by type and name, and no metadata is added.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use mlbuild_action::{Diagnostic, Failure};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};

use crate::io_failure;

/// A tensor to write; its bytes are little-endian.
pub(crate) struct Tensor {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    /// A tensor of i64.
    ///
    /// # Panics
    /// Later, in [`write`], if there are more or fewer values than `shape` says.
    pub(crate) fn i64(
        name: &'static str,
        shape: &[usize],
        values: impl Iterator<Item = i64>,
    ) -> Self {
        Self {
            name,
            dtype: Dtype::I64,
            shape: shape.to_vec(),
            bytes: values.flat_map(i64::to_le_bytes).collect(),
        }
    }

    /// A tensor of f64; as [`Tensor::i64`].
    pub(crate) fn f64(
        name: &'static str,
        shape: &[usize],
        values: impl Iterator<Item = f64>,
    ) -> Self {
        Self {
            name,
            dtype: Dtype::F64,
            shape: shape.to_vec(),
            bytes: values.flat_map(f64::to_le_bytes).collect(),
        }
    }
}

/// Writes a safetensors file.
pub(crate) fn write(path: &Path, tensors: &[Tensor]) -> Result<(), Failure> {
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)
            .expect("a tensor has as many values as its shape says");
        (tensor.name, view)
    });
    let io = |error: &std::io::Error| io_failure("write tensors", error);
    match safetensors::serialize_to_file(views, None, path) {
        Ok(()) => Ok(()),
        Err(SafeTensorError::IoError(error)) => Err(io(&error)),
        Err(error) => Err(io(&std::io::Error::other(error.to_string()))),
    }
}

/// The bytes of a safetensors file.
pub(crate) struct TensorFile {
    /// What the file is, for diagnostics: `the model`.
    what: &'static str,
    bytes: Vec<u8>,
}

impl TensorFile {
    pub(crate) fn read(what: &'static str, path: &Path) -> Result<Self, Failure> {
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => broken(what, "is not there"),
            _ => io_failure(&format!("read {what}"), &error),
        })?;
        let file = Self { what, bytes };
        file.tensors()?;
        Ok(file)
    }

    fn tensors(&self) -> Result<SafeTensors<'_>, Failure> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|error| broken(self.what, format!("is not a safetensors file: {error}")))
    }

    /// The names of the tensors.
    pub(crate) fn len(&self) -> Result<usize, Failure> {
        Ok(self.tensors()?.len())
    }

    /// A tensor of i64 and its shape.
    pub(crate) fn i64(&self, name: &str) -> Result<(Vec<usize>, Vec<i64>), Failure> {
        self.values(name, Dtype::I64, i64::from_le_bytes)
    }

    /// A tensor of f64 and its shape.
    pub(crate) fn f64(&self, name: &str) -> Result<(Vec<usize>, Vec<f64>), Failure> {
        self.values(name, Dtype::F64, f64::from_le_bytes)
    }

    /// A tensor of f32 and its shape.
    pub(crate) fn f32(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), Failure> {
        self.values(name, Dtype::F32, f32::from_le_bytes)
    }

    fn values<T, const N: usize>(
        &self,
        name: &str,
        dtype: Dtype,
        value: impl Fn([u8; N]) -> T,
    ) -> Result<(Vec<usize>, Vec<T>), Failure> {
        let tensors = self.tensors()?;
        let tensor = tensors
            .tensor(name)
            .map_err(|_| broken(self.what, format!("has no tensor `{name}`")))?;
        if tensor.dtype() != dtype {
            let found = tensor.dtype();
            return Err(broken(
                self.what,
                format!("holds `{name}` as {found}, not {dtype}"),
            ));
        }
        let (values, _) = tensor.data().as_chunks::<N>();
        let values = values.iter().map(|bytes| value(*bytes)).collect();
        Ok((tensor.shape().to_vec(), values))
    }
}

/// Says that a file which we or the worker wrote is not as it must be.
pub(crate) fn broken(what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::Failed(
        Diagnostic::error("model::broken", format!("{what} {why}"))
            .help("build with `--force` to make it again; if it happens again, please report it"),
    )
}
