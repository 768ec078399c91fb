//! The folder of a model of tables: `model.json`, format 2, and `model.safetensors` (`spec/model.md`).
//!
//! What is a number is a tensor, so that it is read back to the bit; names, types, categories and classes are JSON.

use std::collections::BTreeMap;
use std::path::Path;

use mlbuild_action::{Failure, Task, Value};

use super::encoder::{Encoded, Encoder, Encoding};
use super::label::Label;
use super::model::Fitted;
use crate::artifact::{self, WEIGHTS};
use crate::tensors::{self, Tensor, TensorFile, broken};

/// What a model of tables is, besides its weights.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Model {
    pub(crate) architecture: String,
    pub(crate) params: BTreeMap<String, Value>,
    /// What trained it.
    pub(crate) library: String,
    pub(crate) task: Task,
    pub(crate) labels: Vec<Label>,
    pub(crate) encoder: Encoder,
    pub(crate) metrics: BTreeMap<String, f64>,
    pub(crate) curve: Vec<BTreeMap<String, f64>>,
}

/// Writes a native model.
pub(crate) fn write(folder: &Path, model: &Model, fitted: &Fitted) -> Result<(), Failure> {
    artifact::write_json(folder, &wire::Model::from(model))?;
    let outputs = fitted.bias.len();
    let shape = [outputs, fitted.weights.len() / outputs];
    let mut all = encoding(&model.encoder);
    all.push(Tensor::f64(
        "weights",
        &shape,
        fitted.weights.iter().copied(),
    ));
    all.push(Tensor::f64("bias", &[outputs], fitted.bias.iter().copied()));
    tensors::write(&folder.join(WEIGHTS), &all)
}

/// Mean and scale of every feature of numbers, in order.
fn encoding(encoder: &Encoder) -> Vec<Tensor> {
    let numbers = encoder
        .features
        .iter()
        .filter_map(|feature| match feature.encoding {
            Encoding::Number { mean, scale, .. } => Some((mean, scale)),
            _ => None,
        });
    let numbers: Vec<_> = numbers.collect();
    let tensor = |name, value: fn(&(f64, f64)) -> f64| {
        Tensor::f64(name, &[numbers.len()], numbers.iter().map(value))
    };
    vec![
        tensor("mean", |(mean, _)| *mean),
        tensor("scale", |(_, scale)| *scale),
    ]
}

/// Reads a native model.
pub(crate) fn read(folder: &Path) -> Result<(Model, Fitted), Failure> {
    let which = "that of a model of tables is";
    let wire: wire::Model = artifact::read_json(folder, wire::FORMAT, which)?;
    let file = TensorFile::read("the model", &folder.join(WEIGHTS))?;
    let (means, scales) = (file.f64("mean")?.1, file.f64("scale")?.1);
    let mut numbers = means.into_iter().zip(scales);
    let model = wire.into_model(&mut numbers);
    let model = model.ok_or_else(|| broken("`model.json`", "does not fit the model's numbers"))?;
    let (shape, weights) = file.f64("weights")?;
    let (_, bias) = file.f64("bias")?;
    let outputs = outputs(&model);
    let width = model.encoder.width();
    if shape != [outputs, width] || bias.len() != outputs {
        return Err(broken(
            "the model",
            format!("has weights of shape {shape:?}, not {:?}", [outputs, width]),
        ));
    }
    Ok((model, Fitted { weights, bias }))
}

/// How many scores a row has.
fn outputs(model: &Model) -> usize {
    match (model.task, &model.labels[..]) {
        (Task::Regression, _) => 1,
        (Task::Multilabel, labels) => labels.len(),
        (Task::Binary | Task::Multiclass, labels) => {
            super::model::outputs_of(labels[0].classes.len()).count()
        }
    }
}

/// `model.json`, format 2.
mod wire {
    use std::collections::BTreeMap;

    use mlbuild_action::Task;
    use mlbuild_worker_protocol::ParamValue;
    use serde::{Deserialize, Serialize};

    use super::{Encoded, Encoder, Encoding, Label};
    use crate::worker::{from_param, to_param};

    pub(super) const FORMAT: u32 = 2;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Model {
        format: u32,
        architecture: String,
        params: BTreeMap<String, ParamValue>,
        library: String,
        task: String,
        labels: Vec<WireLabel>,
        features: Vec<Feature>,
        metrics: BTreeMap<String, f64>,
        curve: Vec<BTreeMap<String, f64>>,
    }

    #[derive(Serialize, Deserialize)]
    struct WireLabel {
        name: String,
        #[serde(rename = "type")]
        data_type: String,
        classes: Vec<String>,
    }

    #[derive(Serialize, Deserialize)]
    struct Feature {
        name: String,
        #[serde(rename = "type")]
        data_type: String,
        #[serde(flatten)]
        encoding: FeatureEncoding,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(tag = "encoding", rename_all = "snake_case")]
    enum FeatureEncoding {
        Number {
            nulls: bool,
        },
        Category {
            nulls: bool,
            categories: Vec<String>,
        },
        Constant,
    }

    impl From<&super::Model> for Model {
        fn from(model: &super::Model) -> Self {
            let params = model.params.iter();
            let label = |label: &Label| WireLabel {
                name: label.name.clone(),
                data_type: label.data_type.clone(),
                classes: label.classes.clone(),
            };
            let feature = |feature: &Encoded| Feature {
                name: feature.name.clone(),
                data_type: feature.data_type.clone(),
                encoding: match &feature.encoding {
                    Encoding::Number { nulls, .. } => FeatureEncoding::Number { nulls: *nulls },
                    Encoding::Category { words, nulls } => FeatureEncoding::Category {
                        nulls: *nulls,
                        categories: words.clone(),
                    },
                    Encoding::Constant => FeatureEncoding::Constant,
                },
            };
            Self {
                format: FORMAT,
                architecture: model.architecture.clone(),
                params: params
                    .map(|(name, value)| (name.clone(), to_param(value)))
                    .collect(),
                library: model.library.clone(),
                task: model.task.as_str().to_owned(),
                labels: model.labels.iter().map(label).collect(),
                features: model.encoder.features.iter().map(feature).collect(),
                metrics: model.metrics.clone(),
                curve: model.curve.clone(),
            }
        }
    }

    impl Model {
        /// The model, with mean and scale of each feature of numbers; `None` if it does not make sense.
        pub(super) fn into_model(
            self,
            numbers: &mut dyn Iterator<Item = (f64, f64)>,
        ) -> Option<super::Model> {
            let task = Task::ALL
                .into_iter()
                .find(|task| task.as_str() == self.task)?;
            let params = self.params.into_iter();
            let labels = self.labels.into_iter().map(|label| Label {
                name: label.name,
                data_type: label.data_type,
                classes: label.classes,
            });
            let labels: Vec<Label> = labels.collect();
            let feature = |feature: Feature| {
                let encoding = match feature.encoding {
                    FeatureEncoding::Number { nulls } => {
                        let (mean, scale) = numbers.next()?;
                        Encoding::Number { mean, scale, nulls }
                    }
                    FeatureEncoding::Category { nulls, categories } => Encoding::Category {
                        words: categories,
                        nulls,
                    },
                    FeatureEncoding::Constant => Encoding::Constant,
                };
                Some(Encoded {
                    name: feature.name,
                    data_type: feature.data_type,
                    encoding,
                })
            };
            let features: Vec<Encoded> = self
                .features
                .into_iter()
                .map(feature)
                .collect::<Option<_>>()?;
            let classes = |label: &Label| task == Task::Regression || label.classes.len() >= 2;
            let whole = numbers.next().is_none()
                && !labels.is_empty()
                && labels.iter().all(classes)
                && features.iter().all(is_sorted);
            whole.then(|| super::Model {
                architecture: self.architecture,
                params: params
                    .map(|(name, value)| (name, from_param(value)))
                    .collect(),
                library: self.library,
                task,
                labels,
                encoder: Encoder { features },
                metrics: self.metrics,
                curve: self.curve,
            })
        }
    }

    /// Categories are looked up by halving.
    fn is_sorted(feature: &Encoded) -> bool {
        match &feature.encoding {
            Encoding::Category { words, .. } => words.is_sorted_by(|a, b| a < b),
            _ => true,
        }
    }
}
