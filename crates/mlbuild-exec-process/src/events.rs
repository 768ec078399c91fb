//! What a training tells of itself: a line of JSON for each epoch, and one for its final figures, on a pipe of its own.
//!
//! ```json
//! {"epoch": 3, "metrics": {"loss": 0.31, "valid_auc": 0.84}}
//! {"metrics": {"test_auc": 0.83}}
//! ```
//!
//! A line that is none of these costs a warning and never the training. A figure that is no number is another matter: a
//! training that diverged is stopped at once, unless its manifest says that this figure may be undefined.

use std::collections::BTreeMap;

use mlbuild_action::{Diagnostic, Output, Progress, Training};
use serde_json::Value;

use crate::lines::{Line, Lines};
use crate::process::Sink;

/// The variable that names the descriptor to write to.
pub(crate) const EVENTS: &str = "MLBUILD_EVENTS";

/// The descriptor that a program is given.
pub(crate) const DESCRIPTOR: i32 = 3;

/// Longest line that is taken; figures of an epoch are few.
const LINE_BYTES: usize = 1 << 16;

/// Longest name of a figure.
const NAME_BYTES: usize = 200;

/// How much of a wrong line a warning shows.
const SHOWN_BYTES: usize = 120;

/// How many wrong lines have a warning each.
const WARNINGS: usize = 5;

/// Takes the lines of one training.
pub(crate) struct Events<'a> {
    lines: Lines,
    number: u64,
    wrong: u64,
    name: &'a str,
    epochs: Option<u32>,
    training: &'a Training,
    secrets: &'a [String],
    emit: &'a (dyn Fn(Progress) + Sync),
    metrics: BTreeMap<String, f64>,
    warnings: Vec<String>,
    failure: Option<Diagnostic>,
}

/// What a training said, once it is over.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Its final figures.
    pub(crate) metrics: BTreeMap<String, f64>,
    /// About lines that were no events.
    pub(crate) warnings: Vec<String>,
}

impl From<Said> for Output {
    fn from(said: Said) -> Self {
        let Said { metrics, warnings } = said;
        Self {
            table: None,
            metrics,
            warnings,
        }
    }
}

/// A line, understood.
struct Event {
    epoch: Option<u32>,
    epochs: Option<u32>,
    metrics: BTreeMap<String, f64>,
}

impl<'a> Events<'a> {
    /// Takes the events of the training `name`, which has at most `epochs` if that is known; hands epochs to `emit`.
    pub(crate) fn new(
        name: &'a str,
        epochs: Option<u32>,
        training: &'a Training,
        secrets: &'a [String],
        emit: &'a (dyn Fn(Progress) + Sync),
    ) -> Self {
        Self {
            lines: Lines::new(LINE_BYTES),
            number: 0,
            wrong: 0,
            name,
            epochs,
            training,
            secrets,
            emit,
            metrics: BTreeMap::new(),
            warnings: Vec::new(),
            failure: None,
        }
    }

    /// What was said; a last line without an end counts.
    ///
    /// # Errors
    /// If a figure was no number.
    pub(crate) fn finish(mut self) -> Result<Said, Diagnostic> {
        if let Some(line) = self.lines.finish() {
            self.take(&line);
        }
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let more = self.wrong - self.warnings.len() as u64;
        if more > 0 {
            let lines = if more == 1 { "line" } else { "lines" };
            let warning = format!(
                "{more} more {lines} of `{EVENTS}` {} no events",
                if more == 1 { "is" } else { "are" }
            );
            self.warnings.push(warning);
        }
        Ok(Said {
            metrics: self.metrics,
            warnings: self.warnings,
        })
    }

    fn take(&mut self, Line { bytes, is_cut }: &Line) {
        self.number += 1;
        if bytes.trim_ascii().is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        let event = match is_cut {
            true => Err(format!("it is longer than {LINE_BYTES} bytes")),
            false => event(&text),
        };
        match event {
            Ok(event) => self.take_event(event),
            Err(why) => self.complain(&text, &why),
        }
    }

    fn take_event(&mut self, event: Event) {
        let Event {
            epoch,
            epochs,
            metrics,
        } = event;
        let is_wrong = |(name, value): &(&String, &f64)| {
            !value.is_finite() && !self.training.may_be_nan.contains(*name)
        };
        if let Some((name, value)) = metrics.iter().find(is_wrong) {
            self.failure
                .get_or_insert_with(|| not_a_number(self.name, name, *value, epoch));
            return;
        }
        match epoch {
            Some(epoch) => (self.emit)(Progress::Epoch {
                epoch,
                epochs: epochs.or(self.epochs),
                metrics,
            }),
            None => self.metrics.extend(metrics),
        }
    }

    fn complain(&mut self, text: &str, why: &str) {
        self.wrong += 1;
        if self.warnings.len() == WARNINGS {
            return;
        }
        let mut text = text.trim().to_owned();
        for secret in self.secrets {
            text = text.replace(secret, "***");
        }
        let mut shown: String = text.chars().take(SHOWN_BYTES).collect();
        if shown.len() < text.len() {
            shown.push_str(" ...");
        }
        let number = self.number;
        let warning = format!("line {number} of `{EVENTS}` is no event, since {why}: {shown}");
        self.warnings.push(warning);
    }
}

impl Sink for Events<'_> {
    fn push(&mut self, bytes: &[u8]) {
        for line in self.lines.push(bytes) {
            self.take(&line);
        }
    }

    fn is_hopeless(&self) -> bool {
        self.failure.is_some()
    }
}

fn not_a_number(name: &str, metric: &str, value: f64, epoch: Option<u32>) -> Diagnostic {
    let when = match epoch {
        Some(epoch) => format!("in epoch {epoch}"),
        None => "at its end".to_owned(),
    };
    let message = format!("`{name}` reported {value} for `{metric}` {when}");
    let help = format!(
        "look for what makes it diverge (the learning rate, a null or huge value in its inputs); if this figure may be \
         undefined, declare it: `may_be_nan = [\"{metric}\"]`"
    );
    Diagnostic::error("training::not-a-number", message).help(help)
}

/// Reads a line, or says why it is no event.
fn event(line: &str) -> Result<Event, String> {
    let value: Value = serde_json::from_str(line)
        .or_else(|error| serde_json::from_str(&quote_numbers(line)).map_err(|_| error))
        .map_err(|error| format!("it is not JSON ({error})"))?;
    let Value::Object(mut fields) = value else {
        return Err("it is not an object".to_owned());
    };
    let mut count = |name: &str| match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .or_else(|| {
                value
                    .as_f64()
                    .filter(|it| it.fract() == 0.0 && *it >= 0.0)
                    .map(|it| it as u64)
            })
            .and_then(|count| u32::try_from(count).ok())
            .map(Some)
            .ok_or_else(|| format!("`{name}` is no count")),
    };
    let (epoch, epochs) = (count("epoch")?, count("epochs")?);
    let Some(Value::Object(metrics)) = fields.remove("metrics") else {
        return Err("it has no `metrics`, an object of numbers by name".to_owned());
    };
    let metric = |(name, value): (String, Value)| {
        let is_name =
            !name.is_empty() && name.len() <= NAME_BYTES && !name.contains(char::is_control);
        if !is_name {
            return Err(format!("`{}` is no name of a figure", name.escape_debug()));
        }
        match number(&value) {
            Some(value) => Ok((name, value)),
            None => Err(format!("`{name}` is not a number")),
        }
    };
    Ok(Event {
        epoch,
        epochs,
        metrics: metrics.into_iter().map(metric).collect::<Result<_, _>>()?,
    })
}

/// A figure; `null` and the names of what is no number are figures too.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Null => Some(f64::NAN),
        Value::String(text) => SPECIAL
            .iter()
            .find(|(name, _)| name == text)
            .map(|(_, value)| *value),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// How libraries write what JSON has no numbers for.
const SPECIAL: [(&str, f64); 3] = [
    ("-Infinity", f64::NEG_INFINITY),
    ("Infinity", f64::INFINITY),
    ("NaN", f64::NAN),
];

/// Puts the bare words of [`SPECIAL`] in quotes, as which they are JSON.
fn quote_numbers(line: &str) -> String {
    let mut quoted = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            string_length(rest)
        } else if let Some((word, _)) = SPECIAL.iter().find(|(word, _)| rest.starts_with(word)) {
            quoted.push_str(&format!("\"{word}\""));
            rest = &rest[word.len()..];
            continue;
        } else {
            first.len_utf8()
        };
        quoted.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    quoted
}

/// How long the string is with which `text` begins, quotes included; all of it, if it does not end.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What is taken of these lines: epochs as text, and what was said or why it failed.
    fn hear(pieces: &[&str], may_be_nan: &[&str]) -> (Vec<String>, Result<Said, Diagnostic>) {
        let heard = Mutex::new(Vec::new());
        let emit = |progress| {
            let Progress::Epoch {
                epoch,
                epochs,
                metrics,
            } = progress
            else {
                panic!("only epochs are handed on")
            };
            heard
                .lock()
                .unwrap()
                .push(format!("{epoch} {epochs:?} {metrics:?}"));
        };
        let training = Training {
            may_be_nan: may_be_nan.iter().map(|name| (*name).to_owned()).collect(),
        };
        let secrets = ["s3cret".to_owned()];
        let mut events = Events::new("train:main", Some(9), &training, &secrets, &emit);
        for piece in pieces {
            events.push(piece.as_bytes());
        }
        let said = events.finish();
        (heard.into_inner().unwrap(), said)
    }

    #[test]
    fn epochs_are_handed_on_and_the_last_figures_kept() {
        let (heard, said) = hear(
            &[
                "{\"epoch\": 1, \"metrics\": {\"loss\": 0.5, \"n\": 3}}\n\n{\"ep",
                "och\": 2.0, \"epochs\": 4, \"metrics\": {}, \"more\": [1]}\n",
                "{\"metrics\": {\"auc\": 0.5}}\n{\"metrics\": {\"auc\": 0.75, \"f1\": 1e-3}}",
            ],
            &[],
        );
        assert_eq!(
            heard,
            ["1 Some(9) {\"loss\": 0.5, \"n\": 3.0}", "2 Some(4) {}"]
        );
        let said = said.unwrap();
        let metrics = [("auc", 0.75), ("f1", 0.001)].map(|(name, value)| (name.to_owned(), value));
        assert_eq!(said.metrics, metrics.into());
        assert_eq!(said.warnings, [""; 0]);
    }

    #[test]
    fn a_wrong_line_is_a_warning_that_shows_it_and_nothing_more() {
        for (line, why) in [
            (
                "loss 0.3 s3cret",
                "line 1 of `MLBUILD_EVENTS` is no event, since it is not JSON (expected value at line 1 column 1): loss 0.3 ***",
            ),
            ("[1]", "it is not an object"),
            ("{\"epoch\": 1}", "it has no `metrics`"),
            (
                "{\"metrics\": {\"loss\": \"low\"}}",
                "`loss` is not a number",
            ),
            ("{\"metrics\": {\"loss\": true}}", "`loss` is not a number"),
            ("{\"metrics\": {\"\": 1}}", "`` is no name"),
            ("{\"epoch\": -1, \"metrics\": {}}", "`epoch` is no count"),
            ("{\"epoch\": 1.5, \"metrics\": {}}", "`epoch` is no count"),
            ("{\"metrics\": {\"loss\": NaN}, \"NaN\": nope}", "not JSON"),
            ("{\"metrics\": {\"lo", "not JSON"),
        ] {
            let (heard, said) = hear(&[line, "\n{\"metrics\": {\"x\": 1}}\n"], &[]);
            let said = said.unwrap();
            assert_eq!((heard.len(), said.metrics.len()), (0, 1), "{line}");
            assert_eq!(said.warnings.len(), 1, "{line}");
            assert!(
                said.warnings[0].contains(why),
                "{line}: {}",
                said.warnings[0]
            );
        }
    }

    #[test]
    fn many_wrong_lines_are_few_warnings_and_a_long_one_is_bounded() {
        let (_, said) = hear(&["x\n".repeat(7).as_str()], &[]);
        let warnings = said.unwrap().warnings;
        assert_eq!(warnings.len(), WARNINGS + 1);
        assert_eq!(
            warnings[WARNINGS],
            "2 more lines of `MLBUILD_EVENTS` are no events"
        );
        let long = format!("{{\"metrics\": {{\"x\": {}}}}}", "1".repeat(100_000));
        let (_, said) = hear(&[&long, "\n{\"metrics\": {\"x\": 1}}"], &[]);
        let said = said.unwrap();
        assert_eq!(said.metrics["x"], 1.0);
        assert!(
            said.warnings[0].contains("longer than 65536 bytes"),
            "{:?}",
            said.warnings
        );
        assert!(said.warnings[0].len() < 300);
    }

    #[test]
    fn what_is_no_number_is_an_error_that_names_figure_and_epoch() {
        for (value, shown) in [
            ("NaN", "NaN"),
            ("null", "NaN"),
            ("\"NaN\"", "NaN"),
            ("Infinity", "inf"),
            ("-Infinity", "-inf"),
        ] {
            let line = format!("{{\"epoch\": 7, \"metrics\": {{\"a\": 1, \"loss\": {value}}}}}\n");
            let (heard, said) = hear(&[&line], &["a"]);
            assert_eq!(heard, [""; 0]);
            let expected = format!("`train:main` reported {shown} for `loss` in epoch 7");
            assert_eq!(said.unwrap_err().message, expected);
            let (heard, said) = hear(&[&line], &["loss"]);
            assert_eq!(heard.len(), 1, "it is declared");
            said.unwrap();
        }
        let (_, said) = hear(
            &["{\"metrics\": {\"auc\": NaN, \"note NaN \\\" NaN\": 1}}"],
            &[],
        );
        assert!(said.unwrap_err().message.ends_with("for `auc` at its end"));
    }
}
