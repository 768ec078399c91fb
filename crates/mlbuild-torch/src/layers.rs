//! What networks are built of: layer norm, attention, dropout.

use tch::{Kind, TchError, Tensor};

/// The `eps` of every layer norm.
const NORM_EPS: f64 = 1e-5;

/// Layer norm over the last dimension. Scale and bias are applied outside of libtorch's kernel, which adds up their
/// gradients by thread, so that the bits would depend on the number of threads.
///
/// # Errors
/// Those of libtorch.
pub fn norm(x: &Tensor, scale: &Tensor, bias: &Tensor) -> Result<Tensor, TchError> {
    let normal = x.f_layer_norm::<Tensor>(scale.size(), None, None, NORM_EPS, false)?;
    normal.f_mul(scale)?.f_add(bias)
}

/// Multi-head attention of every position of `x` (`[b, t, d]`) to those that `mask` lets it see: what is added to the scores
/// `[b, heads, t, t]`, 0 or -inf, of a size that spreads to theirs. The weights are those of one matrix for query, key and
/// value, `[3 d, d]` and `[3 d]`, and of the output, `[d, d]` and `[d]`.
///
/// # Errors
/// Those of libtorch.
pub fn attend(
    x: &Tensor,
    heads: i64,
    mask: &Tensor,
    weights: [&Tensor; 4],
) -> Result<Tensor, TchError> {
    let (b, t, d) = x.size3()?;
    let width = d / heads;
    let [in_weight, in_bias, out_weight, out_bias] = weights;
    let projected = x
        .f_linear(in_weight, Some(in_bias))?
        .f_view([b, t, 3, heads, width])?;
    // Three tensors [b, heads, t, width].
    let projected = projected.f_permute([2, 0, 3, 1, 4])?;
    let (query, key, value) = (
        projected.f_get(0)?,
        projected.f_get(1)?,
        projected.f_get(2)?,
    );
    let query = query.f_mul_scalar((width as f64).sqrt().recip())?;
    let scores = query.f_matmul(&key.f_transpose(2, 3)?)?.f_add(mask)?;
    let shares = scores.f_softmax(-1, Kind::Float)?;
    let mixed = shares.f_matmul(&value)?;
    let mixed = mixed.f_transpose(1, 2)?.f_reshape([b, t, d])?;
    mixed.f_linear(out_weight, Some(out_bias))
}

/// Sets a share of activations to 0, with libtorch's generator, and scales up the others.
///
/// # Errors
/// Those of libtorch.
pub fn drop(x: &Tensor, dropout: f64) -> Result<Tensor, TchError> {
    if dropout > 0.0 {
        x.f_dropout(dropout, true)
    } else {
        Ok(x.shallow_clone())
    }
}
