//! The model and its training step against numbers that `golden/make_sasrec.py` made without libtorch.

#![allow(clippy::unwrap_used, reason = "tests; their helpers too")]

use std::collections::BTreeMap;
use std::path::Path;

use mlbuild_torch::adamw::AdamW;
use mlbuild_torch::sasrec::{Sasrec, Shape};
use mlbuild_torch::sequences::{pad, read_tensors};
use mlbuild_torch::train::backward;
use tch::{Device, Tensor};

const SHAPE: Shape = Shape {
    items: 7,
    dim: 4,
    layers: 2,
    heads: 2,
    max_length: 5,
};
/// Float32 against float64 over some hundred operations.
const TOLERANCE: f64 = 2e-5;

#[test]
fn hidden_states_scores_loss_gradients_and_steps_are_the_golden_ones() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sasrec.safetensors");
    let golden = read_tensors(&file).unwrap();
    let mut model =
        Sasrec::from_weights(SHAPE, with_prefix(&golden, "before."), Device::Cpu).unwrap();
    for weight in model.weights() {
        let _ = weight.tensor.set_requires_grad(true);
    }
    let mut optimizer = AdamW::new(&model, 0.1).unwrap();
    for step in 0..2 {
        let hidden = hidden(&model);
        let targets = Tensor::from_slice(&[2_i64, 3, 2, 4, 6, 0]);
        let loss = backward(&model, &hidden, &targets, 0.1).unwrap();
        if step == 0 {
            assert_close("hidden", &hidden, &golden["hidden"]);
            assert_close("scores", &model.scores(&hidden).unwrap(), &golden["scores"]);
            assert_close("loss", &Tensor::from_slice(&[loss]), &golden["loss"]);
            for weight in model.weights() {
                assert_close(
                    &weight.name,
                    &weight.tensor.grad(),
                    &golden[&format!("gradient.{}", weight.name)],
                );
            }
        }
        optimizer.step(&mut model, 0.01).unwrap();
    }
    for weight in model.weights() {
        let after = &golden[&format!("after.{}", weight.name)];
        if weight.name.ends_with("attention.in.bias") {
            // A key's bias adds the same to all scores of a softmax: its gradient is 0 but for rounding, which AdamW
            // blows up to a step of any size.
            for (start, part) in [(0, "query"), (8, "value")] {
                assert_close(
                    part,
                    &weight.tensor.narrow(0, start, 4),
                    &after.narrow(0, start, 4),
                );
            }
        } else {
            assert_close(&weight.name, &weight.tensor, after);
        }
    }
}

/// The hidden states of the real positions of two windows, the second of them padded.
fn hidden(model: &Sasrec) -> Tensor {
    let items = pad(&[&[1, 2, 3, 2], &[5, 6]], Device::Cpu).unwrap();
    let hidden = model.hidden(&items, 0.0).unwrap().view([-1, 4]);
    hidden.index_select(0, &Tensor::from_slice(&[0_i64, 1, 2, 3, 4, 5]))
}

fn with_prefix(tensors: &BTreeMap<String, Tensor>, prefix: &str) -> BTreeMap<String, Tensor> {
    let named = |(name, tensor): (&String, &Tensor)| {
        Some((
            name.strip_prefix(prefix)?.to_owned(),
            tensor.shallow_clone(),
        ))
    };
    tensors.iter().filter_map(named).collect()
}

fn assert_close(name: &str, found: &Tensor, golden: &Tensor) {
    assert_eq!(found.size(), golden.size(), "{name}");
    let worst = (found - golden).abs().max().double_value(&[]);
    assert!(worst < TOLERANCE, "{name}: {worst} apart");
}
