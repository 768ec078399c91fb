//! Networks, losses and steps against numbers that others made: `golden/make_sasrec.py` with NumPy alone, and
//! `golden/make_networks.py` with PyTorch's own modules.

#![allow(clippy::unwrap_used, reason = "tests; their helpers too")]

use std::collections::BTreeMap;
use std::path::Path;

use mlbuild_torch::bert4rec::Bert4Rec;
use mlbuild_torch::item_loss::{ItemLoss, Sampler};
use mlbuild_torch::next_item::Encoder;
use mlbuild_torch::optimizer::{Optimizer, Rule};
use mlbuild_torch::order::Order;
use mlbuild_torch::recurrent::{Cell, Recurrent};
use mlbuild_torch::sasrec::{Sasrec, Shape};
use mlbuild_torch::sequences::{pad, read_tensors};
use mlbuild_torch::weights::{Spec, Weights};
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
    let network = Sasrec { shape: SHAPE };
    let before = with_prefix(&golden, "before.");
    let mut weights = Weights::named(network.specs(), before, Device::Cpu).unwrap();
    weights.require_gradients().unwrap();
    let mut optimizer = Optimizer::new(Rule::AdamW, 0.1, &weights).unwrap();
    for step in 0..2 {
        let hidden = hidden(&network, &weights);
        let output = network.output(&weights).unwrap();
        let loss = ItemLoss::Softmax { smoothing: 0.1 };
        let targets = loss
            .targets(&[2, 3, 2, 4, 6, 0], &mut Order::new(0))
            .unwrap();
        let loss = loss.backward(&hidden, output, &targets).unwrap();
        if step == 0 {
            assert_close("hidden", &hidden, &golden["hidden"]);
            let scores = hidden.linear(output.0, Some(output.1));
            assert_close("scores", &scores, &golden["scores"]);
            assert_close("loss", &Tensor::from_slice(&[loss]), &golden["loss"]);
            for weight in weights.iter() {
                assert_close(
                    &weight.name,
                    &weight.tensor.grad(),
                    &golden[&format!("gradient.{}", weight.name)],
                );
            }
        }
        optimizer.step(&mut weights, 0.01).unwrap();
    }
    for weight in weights.iter() {
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
fn hidden(network: &Sasrec, weights: &Weights) -> Tensor {
    let items = pad(&[&[1, 2, 3, 2], &[5, 6]]).unwrap();
    let hidden = network.hidden(weights, &items, 0.0).unwrap().view([-1, 4]);
    hidden.index_select(0, &Tensor::from_slice(&[0_i64, 1, 2, 3, 4, 5]))
}

/// What a network yields and learns from one batch.
struct Case {
    name: &'static str,
    specs: Vec<Spec>,
    rule: Rule,
    lr: f64,
    targets: &'static [i64],
    /// The loss, and the negatives it is given.
    loss: ItemLoss,
    negatives: Option<Vec<i64>>,
}

/// One batch of `case`: states, loss, gradients and weights after a step against those of PyTorch.
fn check(
    case: Case,
    states: impl Fn(&Weights) -> Tensor,
    output: impl Fn(&Weights) -> (Tensor, Tensor),
) {
    let Case { name, specs, .. } = case;
    let file = format!("tests/golden/{name}.safetensors");
    let golden = read_tensors(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let before = with_prefix(&golden, "before.");
    let mut weights = Weights::named(specs, before, Device::Cpu).unwrap();
    weights.require_gradients().unwrap();
    let mut optimizer = Optimizer::new(case.rule, 0.0, &weights).unwrap();
    let states = states(&weights);
    assert_close(name, &states, &golden["states"]);
    let mut targets = case.loss.targets(case.targets, &mut Order::new(0)).unwrap();
    if let Some(negatives) = &case.negatives {
        targets.negatives = Some(Tensor::from_slice(negatives));
        if let ItemLoss::Sampled(sampler) = &case.loss {
            let all = [negatives, case.targets].concat();
            targets.log_q = Some(Tensor::from_slice(&sampler.log_probabilities(&all)));
        }
    }
    let (matrix, bias) = output(&weights);
    let loss = case.loss.backward(&states, (&matrix, &bias), &targets);
    let loss = Tensor::from_slice(&[loss.unwrap()]);
    assert_close(name, &loss, &golden["loss"]);
    for weight in weights.iter() {
        let golden = &golden[&format!("gradient.{}", weight.name)];
        assert_close(&weight.name, &weight.tensor.grad(), golden);
    }
    optimizer.step(&mut weights, case.lr).unwrap();
    for weight in weights.iter() {
        let golden = &golden[&format!("after.{}", weight.name)];
        assert_close(&weight.name, &weight.tensor, golden);
    }
}

const SGD: Rule = Rule::Sgd { momentum: 0.9 };
const TARGETS: &[i64] = &[2, 3, 2, 4, 6, 0];
const SOFTMAX: ItemLoss = ItemLoss::Softmax { smoothing: 0.0 };

fn check_recurrent(network: Recurrent, case: Case) {
    let states = |weights: &Weights| {
        let items = pad(&[&[1, 2, 3, 2], &[5, 6]]).unwrap();
        let hidden = network.hidden(weights, &items, 0.0).unwrap();
        let places = Tensor::from_slice(&[0_i64, 1, 2, 3, 4, 5]);
        hidden.view([-1, network.hidden]).index_select(0, &places)
    };
    check(case, states, |weights| {
        let (matrix, bias) = network.output(weights).unwrap();
        (matrix.shallow_clone(), bias.shallow_clone())
    });
}

fn gru4rec(name: &'static str, loss: ItemLoss, negatives: Option<Vec<i64>>) {
    let network = Recurrent {
        cell: Cell::Gru,
        items: 7,
        dim: 4,
        hidden: 4,
        layers: 2,
        max_length: 5,
        tied: true,
    };
    let case = Case {
        name,
        specs: network.specs(),
        rule: SGD,
        lr: 0.1,
        targets: TARGETS,
        loss,
        negatives,
    };
    check_recurrent(network, case);
}

#[test]
fn gru4rec_is_the_golden_one() {
    gru4rec("gru4rec", SOFTMAX, None);
}

#[test]
fn the_sampled_softmax_is_the_golden_one() {
    // Counts 1, 2, 4, 2, 1, 2, 2, as each item counts once more than it is seen.
    let sampler = Sampler::by_popularity(5, 7, &[1, 2, 2, 2, 3, 5, 6]);
    gru4rec(
        "sampled",
        ItemLoss::Sampled(sampler),
        Some(NEGATIVES.to_vec()),
    );
}

#[test]
fn binary_cross_entropy_is_the_golden_one() {
    let negatives = NEGATIVES.iter().copied().cycle().take(12).collect();
    gru4rec(
        "bce",
        ItemLoss::Bce(Sampler::uniform(2, 7)),
        Some(negatives),
    );
}

const NEGATIVES: [i64; 5] = [0, 3, 3, 5, 6];

#[test]
fn lstm_is_the_golden_one() {
    let network = Recurrent {
        cell: Cell::Lstm,
        items: 7,
        dim: 4,
        hidden: 6,
        layers: 2,
        max_length: 5,
        tied: false,
    };
    let case = Case {
        name: "lstm",
        specs: network.specs(),
        rule: Rule::Adam,
        lr: 0.01,
        targets: TARGETS,
        loss: SOFTMAX,
        negatives: None,
    };
    check_recurrent(network, case);
}

#[test]
fn bert4rec_is_the_golden_one() {
    let network = Bert4Rec {
        items: 7,
        dim: 4,
        layers: 2,
        heads: 2,
        max_length: 5,
    };
    let case = Case {
        name: "bert4rec",
        specs: network.specs(),
        rule: SGD,
        lr: 0.1,
        targets: &[2, 4, 5],
        loss: SOFTMAX,
        negatives: None,
    };
    let states = |weights: &Weights| {
        let items = pad(&[&[1, 7, 3, 7], &[7, 6]]).unwrap();
        let lengths = Tensor::from_slice(&[4_i64, 2]);
        let hidden = network.hidden(weights, &items, &lengths, 0.0).unwrap();
        let places = Tensor::from_slice(&[1_i64, 3, 4]);
        let hidden = hidden.view([-1, 4]).index_select(0, &places);
        network.head(weights, &hidden).unwrap()
    };
    check(case, states, |weights| {
        let (matrix, bias) = network.output(weights).unwrap();
        (matrix.shallow_clone(), bias.shallow_clone())
    });
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
