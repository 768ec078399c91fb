//! The networks over item sequences, by their names: what each is made of, and how it is fitted and applied.

use crate::bert4rec::{Bert4Rec, Cloze};
use crate::item_loss::{ItemLoss, Sampler};
use crate::next_item::{self, Encoder, NextItem};
use crate::params::Params;
use crate::problem::{Code, Problem};
use crate::rank::Scorer;
use crate::recurrent::{Cell, Recurrent};
use crate::sasrec::{Sasrec, Shape};
use crate::sequences::Sequences;
use crate::weights::Spec;
use crate::work::Job;

/// A network over item sequences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SequenceModel {
    /// Reads from left to right.
    Sasrec(Sasrec),
    /// Reads from left to right.
    Recurrent(Recurrent),
    /// Fills in masks.
    Bert4Rec(Bert4Rec),
}

impl SequenceModel {
    /// The network of that name.
    ///
    /// # Errors
    /// [`Code::Params`] when the name is not one of a network over sequences, or parameters do not go together.
    pub fn new(architecture: &str, params: &Params, items: i64) -> Result<Self, Problem> {
        Ok(match architecture {
            "sasrec" => SequenceModel::Sasrec(Sasrec {
                shape: Shape {
                    items,
                    dim: params.int("dim")?,
                    layers: params.int("layers")?,
                    heads: heads(params)?,
                    max_length: params.int("max_length")?,
                },
            }),
            "gru4rec" => SequenceModel::Recurrent(Recurrent {
                cell: Cell::Gru,
                items,
                dim: params.int("dim")?,
                hidden: params.int("dim")?,
                layers: params.int("layers")?,
                max_length: params.int("max_length")?,
                tied: true,
            }),
            "lstm" => SequenceModel::Recurrent(Recurrent {
                cell: Cell::Lstm,
                items,
                dim: params.int("dim")?,
                hidden: params.int("hidden")?,
                layers: params.int("layers")?,
                max_length: params.int("max_length")?,
                tied: false,
            }),
            "bert4rec" => SequenceModel::Bert4Rec(Bert4Rec {
                items,
                dim: params.int("dim")?,
                layers: params.int("layers")?,
                heads: heads(params)?,
                max_length: params.int("max_length")?,
            }),
            other => {
                let message = format!("the worker has no architecture `{other}`");
                return Err(Problem::new(Code::Params, message));
            }
        })
    }

    /// Names, sizes and starts of its weights.
    pub fn specs(&self) -> Vec<Spec> {
        match self {
            SequenceModel::Sasrec(network) => network.specs(),
            SequenceModel::Recurrent(network) => network.specs(),
            SequenceModel::Bert4Rec(network) => network.specs(),
        }
    }

    /// What ranks with it.
    pub fn scorer(&self) -> &dyn Scorer {
        match self {
            SequenceModel::Sasrec(network) => network,
            SequenceModel::Recurrent(network) => network,
            SequenceModel::Bert4Rec(network) => network,
        }
    }

    /// Fits it.
    ///
    /// # Errors
    /// See [`Code`].
    pub fn fit(
        &self,
        params: &Params,
        train: &Sequences,
        valid: Option<&Sequences>,
        job: Job<'_>,
    ) -> Result<crate::work::Figures, Problem> {
        next_item::check(self.scorer().items(), train, valid)?;
        match self {
            SequenceModel::Sasrec(network) => next_item(network, params, train, valid, job),
            SequenceModel::Recurrent(network) => next_item(network, params, train, valid, job),
            SequenceModel::Bert4Rec(network) => {
                let objective = Cloze {
                    network: *network,
                    train,
                    valid,
                    mask: params.float("mask")?,
                    mask_last: params.float("mask_last")?,
                    dropout: params.float("dropout")?,
                    loss: item_loss(params, network.items, train)?,
                };
                job.run(&objective, &params.training()?)
            }
        }
    }
}

fn next_item<E: Encoder>(
    encoder: &E,
    params: &Params,
    train: &Sequences,
    valid: Option<&Sequences>,
    job: Job<'_>,
) -> Result<crate::work::Figures, Problem> {
    let objective = NextItem {
        encoder,
        train,
        valid,
        dropout: params.float("dropout")?,
        loss: item_loss(params, Encoder::items(encoder), train)?,
    };
    job.run(&objective, &params.training()?)
}

fn item_loss(params: &Params, items: i64, train: &Sequences) -> Result<ItemLoss, Problem> {
    let negatives = params.int("negatives")?;
    let items = items as usize;
    let sampler = || {
        Ok::<_, Problem>(match params.word("sampling")? {
            "popularity" => Sampler::by_popularity(negatives, items, train.items()),
            _ => Sampler::uniform(negatives, items),
        })
    };
    Ok(match params.word("loss")? {
        "sampled" => ItemLoss::Sampled(sampler()?),
        "bce" => ItemLoss::Bce(sampler()?),
        _ => ItemLoss::Softmax {
            smoothing: params.float("label_smoothing")?,
        },
    })
}

fn heads(params: &Params) -> Result<i64, Problem> {
    let (dim, heads): (i64, i64) = (params.int("dim")?, params.int("heads")?);
    if dim % heads != 0 {
        let message = format!("`dim` {dim} is not a multiple of `heads` {heads}");
        return Err(Problem::new(Code::Params, message));
    }
    Ok(heads)
}
