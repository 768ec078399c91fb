//! The parameters of one model: as given, else the defaults of `mlbuild_manifest`'s table, which is the only one.
//!
//! A parameter that is not in the table is refused, so a typing mistake cannot silently train another model.

use std::collections::BTreeMap;

use mlbuild_action::Value;
use mlbuild_manifest::Architecture;
use mlbuild_worker_protocol::ParamValue;

use crate::optimizer::Rule;
use crate::problem::{Code, Problem};
use crate::schedule::Schedule;
use crate::train::Training;

/// Every parameter of an architecture, with a value within its bounds.
#[derive(Clone, PartialEq, Debug)]
pub struct Params(BTreeMap<&'static str, Value>);

impl Params {
    /// Reads the parameters of `architecture`; those that are not given have their defaults.
    ///
    /// # Errors
    /// [`Code::Params`] for an unknown architecture or name, a wrong type or a value out of range.
    pub fn new(
        architecture: &str,
        given: &BTreeMap<String, ParamValue>,
    ) -> Result<Params, Problem> {
        let wrong = |message: String| Problem::new(Code::Params, message);
        let known = Architecture::find(architecture)
            .ok_or_else(|| wrong(format!("no architecture `{architecture}`")))?;
        if let Some(name) = given.keys().find(|name| known.param(name).is_none()) {
            let names: Vec<_> = known
                .params
                .iter()
                .map(|p| format!("`{}`", p.name))
                .collect();
            let message = format!("`{architecture}` has no parameter `{name}`");
            return Err(wrong(message).help(format!("its parameters are {}", names.join(", "))));
        }
        let mut values = BTreeMap::new();
        for param in known.params {
            let value = match given.get(param.name) {
                None => param.range.default(),
                Some(given) => param.range.accept(&value(given)).ok_or_else(|| {
                    let (name, wanted) = (param.name, param.range.describe());
                    wrong(format!("`{name}` must be {wanted}, not {}", shown(given)))
                })?,
            };
            values.insert(param.name, value);
        }
        Ok(Params(values))
    }

    /// An integer.
    ///
    /// # Errors
    /// [`Code::Bug`] if there is no such parameter, or it does not fit the type.
    pub fn int<T: TryFrom<i64>>(&self, name: &str) -> Result<T, Problem> {
        let value = self.0.get(name).and_then(Value::as_i64);
        let value = value.and_then(|value| T::try_from(value).ok());
        value.ok_or_else(|| lacking(name))
    }

    /// A float.
    ///
    /// # Errors
    /// [`Code::Bug`] if there is no such parameter.
    pub fn float(&self, name: &str) -> Result<f64, Problem> {
        let value = self.0.get(name).and_then(Value::as_f64);
        value.ok_or_else(|| lacking(name))
    }

    /// A word.
    ///
    /// # Errors
    /// [`Code::Bug`] if there is no such parameter.
    pub fn word(&self, name: &str) -> Result<&str, Problem> {
        let value = self.0.get(name).and_then(Value::as_str);
        value.ok_or_else(|| lacking(name))
    }

    /// What of them every network has.
    ///
    /// # Errors
    /// [`Code::Bug`] if one is missing.
    pub fn training(&self) -> Result<Training, Problem> {
        Ok(Training {
            epochs: self.int("epochs")?,
            batch: self.int("batch")?,
            rule: match self.word("optimizer")? {
                "sgd" => Rule::Sgd {
                    momentum: self.float("momentum")?,
                },
                "adam" => Rule::Adam,
                _ => Rule::AdamW,
            },
            lr: self.float("lr")?,
            schedule: match self.word("schedule")? {
                "constant" => Schedule::Constant,
                "cosine" => Schedule::Cosine,
                _ => Schedule::Linear,
            },
            warmup: self.int("warmup")?,
            weight_decay: self.float("weight_decay")?,
            clip: self.float("clip")?,
            ema: self.float("ema")?,
            patience: self.int("patience")?,
            monitor: Some(self.word("monitor")?.to_owned()),
            seed: self.int("seed")?,
        })
    }
}

fn lacking(name: &str) -> Problem {
    Problem::new(
        Code::Bug,
        format!("there is no parameter `{name}` of this type"),
    )
}

fn value(given: &ParamValue) -> Value {
    match given {
        ParamValue::Bool(value) => Value::Bool(*value),
        ParamValue::Int(value) => Value::Int(*value),
        ParamValue::Float(value) => Value::Float(*value),
        ParamValue::Text(value) => Value::Text(value.clone()),
    }
}

fn shown(value: &ParamValue) -> String {
    match value {
        ParamValue::Bool(value) => format!("`{value}`"),
        ParamValue::Int(value) => format!("`{value}`"),
        ParamValue::Float(value) => format!("`{value}`"),
        ParamValue::Text(value) => format!("the text `{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[(&str, ParamValue)]) -> Result<Params, Problem> {
        let given = given
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()));
        Params::new("sasrec", &given.collect())
    }

    fn message(given: &[(&str, ParamValue)]) -> String {
        parse(given).unwrap_err().message
    }

    #[test]
    fn every_network_has_the_parameters_of_training() {
        for name in ["bert4rec", "gru4rec", "lstm", "sasrec"] {
            let params = Params::new(name, &BTreeMap::new()).unwrap();
            assert!(params.training().unwrap().epochs > 1, "{name}");
        }
    }

    #[test]
    fn an_integer_serves_as_a_float() {
        let params = parse(&[("lr", ParamValue::Int(1))]).unwrap();
        assert_eq!(params.training().unwrap().lr, 1.0);
    }

    #[test]
    fn words_choose_rule_and_schedule() {
        let text = |text: &str| ParamValue::Text(text.into());
        let params = parse(&[("optimizer", text("sgd")), ("schedule", text("cosine"))]);
        let training = params.unwrap().training().unwrap();
        assert_eq!(training.rule, Rule::Sgd { momentum: 0.9 });
        assert_eq!(training.schedule, Schedule::Cosine);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            message(&[("dims", ParamValue::Int(1))]),
            "`sasrec` has no parameter `dims`"
        );
        assert_eq!(
            message(&[("dim", ParamValue::Float(1.5))]),
            "`dim` must be an integer from 1 to 4096, not `1.5`"
        );
        assert_eq!(
            message(&[("lr", ParamValue::Text("high".into()))]),
            "`lr` must be a number from 0 to 10, not the text `high`"
        );
        assert_eq!(
            message(&[("epochs", ParamValue::Int(0))]),
            "`epochs` must be an integer from 1 to 100000, not `0`"
        );
        assert_eq!(
            message(&[("dropout", ParamValue::Float(f64::NAN))]),
            "`dropout` must be a number from 0 to 0.95, not `NaN`"
        );
        assert_eq!(
            message(&[("optimizer", ParamValue::Text("adagrad".into()))]),
            "`optimizer` must be one of `adam`, `adamw` and `sgd`, not the text `adagrad`"
        );
    }
}
