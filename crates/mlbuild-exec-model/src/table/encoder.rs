//! Features to numbers, by what the training table alone showed.
//!
//! | column | becomes |
//! |---|---|
//! | numbers, booleans | `(x - mean) / scale`; with nulls seen in training the mean for a null, and a column that is 1 there |
//! | categories | a column for each category seen, 1 where the row has it; with nulls seen in training one for null |
//! | one value only | nothing |
//!
//! A category that training did not see is none of the columns, so nothing is added for it; a number that is null where
//! training saw none is refused. Mean and scale are those of the population, over the values that are not null.

use std::collections::HashMap;
use std::ops::Range;

use mlbuild_action::{Diagnostic, Failure};

use super::columns::{Feature, Kind};
use super::matrix::Matrix;
use super::read::{Column, Words};

/// How each feature is encoded, in order of name.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Encoder {
    pub(crate) features: Vec<Encoded>,
}

/// How a feature is encoded.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Encoded {
    pub(crate) name: String,
    /// Its type in the training table.
    pub(crate) data_type: String,
    pub(crate) encoding: Encoding,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Encoding {
    Number {
        mean: f64,
        scale: f64,
        nulls: bool,
    },
    /// Sorted words.
    Category {
        words: Vec<String>,
        nulls: bool,
    },
    /// It had one value in training, and tells nothing.
    Constant,
}

/// What encoding did not know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Unseen {
    /// By feature: in how many rows, and one such category.
    rows: HashMap<usize, (u64, Option<String>)>,
}

impl Encoder {
    /// Learns from the columns of the training table; also says which tell nothing.
    pub(crate) fn fit(features: &[Feature], columns: &[Column]) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        let features = features.iter().zip(columns).map(|(feature, column)| {
            let Feature {
                name, data_type, ..
            } = feature;
            let encoding = match column {
                Column::Numbers(values) => number(values),
                Column::Words(words) => category(words),
            };
            if encoding == Encoding::Constant {
                warnings.push(format!(
                    "column `{name}` has one value only in `input`, and is left out"
                ));
            }
            Encoded {
                name: name.clone(),
                data_type: data_type.clone(),
                encoding,
            }
        });
        let features = features.collect();
        (Self { features }, warnings)
    }

    /// The features that a table must have: those that were not constant.
    pub(crate) fn needed(&self) -> impl Iterator<Item = &Encoded> {
        let needed = |feature: &&Encoded| feature.encoding != Encoding::Constant;
        self.features.iter().filter(needed)
    }

    /// Those of [`needed`](Self::needed), and how they are read.
    pub(crate) fn reads(&self) -> Vec<(&str, Kind)> {
        let kind = |feature: &Encoded| match feature.encoding {
            Encoding::Category { .. } => Kind::Category,
            Encoding::Number { .. } | Encoding::Constant => Kind::Number,
        };
        self.needed()
            .map(|feature| (feature.name.as_str(), kind(feature)))
            .collect()
    }

    /// How many numbers a row has, indicators of nulls included.
    pub(crate) fn numbers(&self) -> usize {
        let count = |feature: &Encoded| match feature.encoding {
            Encoding::Number { nulls, .. } => 1 + usize::from(nulls),
            _ => 0,
        };
        self.features.iter().map(count).sum()
    }

    /// The slots of each categorical feature, as columns of the matrix.
    pub(crate) fn groups(&self) -> Vec<Range<usize>> {
        let mut end = self.numbers();
        let groups = self.features.iter().filter_map(|feature| {
            let Encoding::Category { words, nulls } = &feature.encoding else {
                return None;
            };
            let start = end;
            end += words.len() + usize::from(*nulls);
            Some(start..end)
        });
        groups.collect()
    }

    /// The columns of the matrix.
    pub(crate) fn width(&self) -> usize {
        self.groups().last().map_or(self.numbers(), |last| last.end)
    }

    /// What a column of the matrix is, in words: `age`, `age is null`, `sex = female`.
    pub(crate) fn column_name(&self, column: usize) -> String {
        let mut names = Vec::new();
        for feature in &self.features {
            if let Encoding::Number { nulls, .. } = feature.encoding {
                names.push(format!("`{}`", feature.name));
                names.extend(nulls.then(|| format!("`{}` is null", feature.name)));
            }
        }
        for feature in &self.features {
            if let Encoding::Category { words, nulls } = &feature.encoding {
                let name = &feature.name;
                names.extend(words.iter().map(|word| format!("`{name}` = {word:?}")));
                names.extend(nulls.then(|| format!("`{name}` is null")));
            }
        }
        names.swap_remove(column)
    }

    /// Encodes columns, which are those of [`reads`](Self::reads) in that order, of the table `table`; its first row is
    /// `from` of the whole table, from 0.
    ///
    /// # Errors
    /// Nulls in a column of numbers that had none in training.
    pub(crate) fn encode(
        &self,
        table: &str,
        columns: &[Column],
        rows: usize,
        from: usize,
        unseen: &mut Unseen,
    ) -> Result<Matrix, Failure> {
        let (numbers, groups) = (self.numbers(), self.groups());
        let mut matrix = Matrix {
            rows,
            numbers,
            dense: vec![0.0; rows * numbers],
            categorical: groups.len(),
            slots: vec![None; rows * groups.len()],
            width: self.width(),
        };
        let (mut number, mut slot) = (0, 0);
        for (index, (feature, column)) in self.needed().zip(columns).enumerate() {
            match (&feature.encoding, column) {
                (Encoding::Number { mean, scale, nulls }, Column::Numbers(values)) => {
                    for (row, value) in values.iter().enumerate() {
                        let at = row * numbers + number;
                        match value {
                            Some(value) => matrix.dense[at] = (value - mean) / scale,
                            None if *nulls => matrix.dense[at + 1] = 1.0,
                            None => return Err(new_null(table, &feature.name, from, values)),
                        }
                    }
                    number += 1 + usize::from(*nulls);
                }
                (Encoding::Category { words, nulls }, Column::Words(column)) => {
                    let group = &groups[slot];
                    // Each word is looked up once, whatever the rows.
                    let known: Vec<Option<u32>> = column
                        .words
                        .iter()
                        .map(|word| words.binary_search(word).ok())
                        .map(|found| found.map(|index| (group.start + index) as u32))
                        .collect();
                    let null = nulls.then_some(group.end as u32 - 1);
                    for (row, code) in column.codes.iter().enumerate() {
                        let found = code.map_or(null, |code| known[code as usize]);
                        matrix.slots[row * groups.len() + slot] = found;
                        if found.is_none() {
                            let word = code.map(|code| column.words[code as usize].clone());
                            unseen.rows.entry(index).or_insert((0, word)).0 += 1;
                        }
                    }
                    slot += 1;
                }
                _ => unreachable!("columns are read as the encoder says"),
            }
        }
        Ok(matrix)
    }

    /// Warnings about categories that training did not see, in order of column.
    pub(crate) fn warnings(&self, table: &str, unseen: &Unseen) -> Vec<String> {
        let warning = |(index, feature): (usize, &Encoded)| {
            let (rows, example) = unseen.rows.get(&index)?;
            let name = &feature.name;
            let rows = match rows {
                1 => "1 row".to_owned(),
                rows => format!("{rows} rows"),
            };
            let example = match example {
                Some(word) => format!("such as {word:?}"),
                None => "null".to_owned(),
            };
            Some(format!(
                "column `{name}` of `{table}` holds categories in {rows} that training did not see, {example}: \
                 the model knows nothing of them"
            ))
        };
        self.needed().enumerate().filter_map(warning).collect()
    }
}

fn number(values: &[Option<f64>]) -> Encoding {
    let known = || values.iter().flatten();
    let count = known().count();
    let nulls = count < values.len();
    let first = known().next();
    let same = known().all(|value| Some(value) == first);
    if count == 0 || (same && !nulls) {
        return Encoding::Constant;
    }
    if same {
        // Only whether it is null tells anything.
        let mean = first.copied().unwrap_or(0.0);
        return Encoding::Number {
            mean,
            scale: 1.0,
            nulls,
        };
    }
    let mean = known().sum::<f64>() / count as f64;
    let squares: f64 = known().map(|value| (value - mean).powi(2)).sum();
    let scale = (squares / count as f64).sqrt();
    match scale > 0.0 && scale.is_finite() {
        true => Encoding::Number { mean, scale, nulls },
        // They differ by less than their squares can show.
        false => Encoding::Constant,
    }
}

fn category(Words { codes, words }: &Words) -> Encoding {
    let nulls = codes.iter().any(Option::is_none);
    if words.len() + usize::from(nulls) < 2 {
        return Encoding::Constant;
    }
    let mut words = words.clone();
    words.sort_unstable();
    Encoding::Category { words, nulls }
}

fn new_null(table: &str, name: &str, from: usize, values: &[Option<f64>]) -> Failure {
    let first = values.iter().position(Option::is_none).unwrap_or(0);
    let row = from + first + 1;
    let message = format!(
        "column `{name}` of `{table}` is null in row {row}, and was never null in training"
    );
    Failure::Invalid(
        Diagnostic::error("model::new-null", message)
            .help("what a null means can only be learned from some; fill them in, or filter them out, in the query"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(name: &str, kind: Kind) -> Feature {
        Feature {
            name: name.to_owned(),
            data_type: "Int64".to_owned(),
            kind,
        }
    }

    fn words(values: &[Option<&str>]) -> Column {
        let mut words = Words::default();
        for value in values {
            let code = value.map(|value| {
                let known = words.words.iter().position(|word| word == value);
                known.unwrap_or_else(|| {
                    words.words.push(value.to_owned());
                    words.words.len() - 1
                }) as u32
            });
            words.codes.push(code);
        }
        Column::Words(words)
    }

    /// Numbers 1, 3 and null; categories b, a, b; a constant; numbers without nulls.
    fn fitted() -> Encoder {
        let features = [
            feature("age", Kind::Number),
            feature("color", Kind::Category),
            feature("fixed", Kind::Number),
            feature("size", Kind::Number),
        ];
        let columns = [
            Column::Numbers(vec![Some(1.0), Some(3.0), None]),
            words(&[Some("b"), Some("a"), Some("b")]),
            Column::Numbers(vec![Some(7.0); 3]),
            Column::Numbers(vec![Some(-1.0), Some(-1.0), Some(2.0)]),
        ];
        let (encoder, warnings) = Encoder::fit(&features, &columns);
        assert_eq!(
            warnings,
            ["column `fixed` has one value only in `input`, and is left out"]
        );
        encoder
    }

    #[test]
    fn what_training_showed_is_what_counts() {
        let encoder = fitted();
        assert_eq!((encoder.numbers(), encoder.width()), (3, 5));
        assert_eq!(encoder.groups().first(), Some(&(3..5)));
        let names: Vec<_> = (0..5).map(|column| encoder.column_name(column)).collect();
        let expected = [
            "`age`",
            "`age` is null",
            "`size`",
            "`color` = \"a\"",
            "`color` = \"b\"",
        ];
        assert_eq!(names, expected);
        let reads: Vec<_> = encoder.reads().into_iter().map(|(name, _)| name).collect();
        assert_eq!(reads, ["age", "color", "size"]);
        let columns = [
            Column::Numbers(vec![Some(5.0), None]),
            words(&[Some("b"), Some("zebra")]),
            Column::Numbers(vec![Some(0.0), Some(2.0)]),
        ];
        let mut unseen = Unseen::default();
        let matrix = encoder.encode("test", &columns, 2, 0, &mut unseen).unwrap();
        let root2 = 2.0_f64.sqrt();
        let expected = [3.0, 0.0, 0.0, 0.0, 1.0, root2];
        for (found, expected) in matrix.dense.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{:?}", matrix.dense);
        }
        assert_eq!(matrix.slots, [Some(4), None]);
        assert_eq!(
            encoder.warnings("test", &unseen),
            [
                "column `color` of `test` holds categories in 1 row that training did not see, such as \"zebra\": the model \
              knows nothing of them"
            ]
        );
    }

    #[test]
    fn a_null_that_training_never_saw_is_refused_in_numbers_and_unknown_in_categories() {
        let encoder = fitted();
        let columns = |size| {
            [
                Column::Numbers(vec![None]),
                words(&[None]),
                Column::Numbers(vec![size]),
            ]
        };
        let mut unseen = Unseen::default();
        let failure = encoder.encode("test", &columns(None), 1, 8192, &mut unseen);
        let Err(Failure::Invalid(diagnostic)) = failure else {
            panic!("{failure:?}")
        };
        assert_eq!(
            diagnostic.message,
            "column `size` of `test` is null in row 8193, and was never null in training"
        );
        let mut unseen = Unseen::default();
        let matrix = encoder.encode("test", &columns(Some(1.0)), 1, 0, &mut unseen);
        assert_eq!(matrix.unwrap().slots, [None]);
        assert_eq!(encoder.warnings("test", &unseen).len(), 1);
    }

    #[test]
    fn nulls_alone_may_tell_something() {
        let columns = [
            Column::Numbers(vec![Some(4.0), None]),
            words(&[None, Some("x")]),
            Column::Numbers(vec![None, None]),
        ];
        let features = ["a", "b", "c"].map(|name| feature(name, Kind::Number));
        let (encoder, warnings) = Encoder::fit(&features, &columns);
        let expected = [
            Encoding::Number {
                mean: 4.0,
                scale: 1.0,
                nulls: true,
            },
            Encoding::Category {
                words: vec!["x".to_owned()],
                nulls: true,
            },
            Encoding::Constant,
        ];
        let encodings = encoder.features.iter().map(|feature| &feature.encoding);
        assert!(encodings.eq(&expected));
        assert_eq!(warnings.len(), 1);
    }
}
