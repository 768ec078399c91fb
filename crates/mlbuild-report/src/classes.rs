//! Predicted classes, of which a row has one, and predicted labels, of which it has any number.
//!
//! Both are decisions: for each row and class, whether the row is of it and whether the model says so; and with scores, how
//! sure the model is. Classes are in their own order (numbers by size, text by its bytes, `false` before `true`), labels as
//! declared, so that neither the order of rows nor that of tables shows.

use mlbuild_action::{ClassMetric, Failure, Value};

use crate::evidence::{invalid, null};
use crate::keys::{ItemId, Items};
use crate::parts::{Offenders, Part, Reading};
use crate::statistic::{PrAuc, Ranking, RocAuc, Sample, Statistic, Sums, mean};
use crate::table::{Batch, Kind, Scalar, Source};
use crate::words::plural;

/// The column of predictions that holds a row's class, labels or number.
pub(crate) const PREDICTION: &str = "prediction";
/// The column with the classes that have a score.
pub(crate) const CLASSES: &str = "classes";
/// The column with their scores.
pub(crate) const SCORES: &str = "scores";

/// How far the scores of a row may be from 1 together.
const SUM_TOLERANCE: f64 = 1e-6;

/// Bins of equal width that scores are parted into for the calibration error.
pub(crate) const CALIBRATION_BINS: usize = 15;

/// Whether the metric looks at scores.
pub(crate) fn needs_scores(metric: ClassMetric) -> bool {
    matches!(
        metric,
        ClassMetric::Brier
            | ClassMetric::Ece
            | ClassMetric::LogLoss
            | ClassMetric::PrAuc
            | ClassMetric::RocAuc
    )
}

/// Which classes each row has.
pub(crate) enum Answers {
    /// One a row.
    One(Vec<u32>),
    /// Any number: for each row, one flag a class.
    Any(Vec<bool>),
}

impl Answers {
    fn has(&self, row: usize, class: usize, classes: usize) -> bool {
        match self {
            Self::One(of) => of[row] as usize == class,
            Self::Any(flags) => flags[row * classes + class],
        }
    }
}

/// The classes, and which ones the rows have.
pub(crate) struct ClassTruth {
    /// The classes' names, in order.
    pub names: Vec<String>,
    /// Those of each row.
    pub answers: Answers,
    /// The class that F1 and the like are about, if there are two.
    pub positive: Option<usize>,
}

/// What one model says of the classes.
pub(crate) struct ClassPredictions {
    /// The classes of each row.
    pub answers: Answers,
    /// One score a class for each row; there if a metric needs them.
    pub scores: Option<Vec<f64>>,
}

/// One model's table as it was read: classes by the number that they were first seen with.
pub(crate) struct RawClasses {
    predicted: Vec<ItemId>,
    predicted_ends: Vec<u32>,
    scored: Vec<ItemId>,
    scores: Vec<f64>,
    scored_ends: Vec<u32>,
}

/// Reads the predictions of one model; new classes get a number in `classes`.
///
/// # Errors
/// Columns that are not there or hold something else, nulls, scores that are no probabilities.
pub(crate) fn read(
    reading: &Reading<'_>,
    classes: &mut Items,
    kind: Kind,
    of_labels: bool,
    with_scores: bool,
    rows: usize,
) -> Result<RawClasses, Failure> {
    check_columns(reading.source, kind, of_labels, with_scores)?;
    let reader = ClassReader {
        name: reading.source.name(),
        of_labels,
        with_scores,
        known: classes,
    };
    let mut parts = reading.parts(
        || reader.begin(),
        |part, batch, rows| reader.take(part, batch, rows),
    )?;
    let place = reading.join(&mut parts, rows)?;
    let name = reading.source.name();
    for Part { taken, rows, .. } in &parts {
        if let Some((at, problem)) = &taken.bad_scores {
            let key = reading.keys.display(rows[*at] as usize);
            return Err(invalid(
                "report::not-probabilities",
                format!("`{SCORES}` of `{name}` {problem}"),
                |d| {
                    d.detail([key]).help(
                        "scores are probabilities: each from 0 to 1, and those of a row 1 together",
                    )
                },
            ));
        }
    }
    let raw = merge(parts, classes);
    Ok(match place {
        None => raw,
        Some(place) => raw.in_order(&place),
    })
}

fn check_columns(
    source: &Source<'_>,
    kind: Kind,
    of_labels: bool,
    with_scores: bool,
) -> Result<(), Failure> {
    let same = |column: &str, found: Kind| {
        if found == kind {
            return Ok(());
        }
        let (found, expected, name) = (found.as_str(), kind.as_str(), source.name());
        let message = format!(
            "`{column}` of `{name}` holds {found}, but the label of `truth` holds {expected}"
        );
        Err(invalid("report::type-mismatch", message, |d| {
            d.help("both must hold the same classes; cast one in its query")
        }))
    };
    if of_labels {
        same(PREDICTION, source.list_kind(PREDICTION)?)?;
    } else {
        same(PREDICTION, source.scalar_kind(PREDICTION)?)?;
    }
    if with_scores {
        same(CLASSES, source.list_kind(CLASSES)?)?;
        source.must_be_numeric_lists(SCORES)?;
    }
    Ok(())
}

struct ClassReader<'a> {
    name: &'a str,
    of_labels: bool,
    with_scores: bool,
    known: &'a Items,
}

struct Taken {
    classes: Items,
    predicted: Vec<ItemId>,
    predicted_ends: Vec<u32>,
    scored: Vec<ItemId>,
    scores: Vec<f64>,
    scored_ends: Vec<u32>,
    /// The first row whose scores are no probabilities.
    bad_scores: Option<(usize, String)>,
}

impl ClassReader<'_> {
    fn begin(&self) -> Taken {
        Taken {
            classes: self.known.clone(),
            predicted: Vec::new(),
            predicted_ends: Vec::new(),
            scored: Vec::new(),
            scores: Vec::new(),
            scored_ends: Vec::new(),
            bad_scores: None,
        }
    }

    fn take(
        &self,
        taken: &mut Taken,
        batch: &Batch<'_>,
        rows: &[Option<u32>],
    ) -> Result<(), Failure> {
        let wanted = || (0..rows.len()).filter(|index| rows[*index].is_some());
        if self.of_labels {
            let lists = batch.lists(PREDICTION)?;
            for index in wanted() {
                let labels = lists
                    .get(index)
                    .ok_or_else(|| null(self.name, PREDICTION))?;
                for label in labels {
                    let label = label.ok_or_else(|| null(self.name, PREDICTION))?;
                    taken.predicted.push(taken.classes.intern(label));
                }
                taken.predicted_ends.push(taken.predicted.len() as u32);
            }
        } else {
            let values = batch.scalars(PREDICTION)?;
            for index in wanted() {
                let class = values
                    .get(index)
                    .ok_or_else(|| null(self.name, PREDICTION))?;
                taken.predicted.push(taken.classes.intern(class));
                taken.predicted_ends.push(taken.predicted.len() as u32);
            }
        }
        if !self.with_scores {
            return Ok(());
        }
        let (classes, scores) = (batch.lists(CLASSES)?, batch.number_lists(SCORES)?);
        for index in wanted() {
            let of = classes.get(index).ok_or_else(|| null(self.name, CLASSES))?;
            let range = scores.range(index).ok_or_else(|| null(self.name, SCORES))?;
            let start = taken.scores.len();
            for class in of {
                let class = class.ok_or_else(|| null(self.name, CLASSES))?;
                taken.scored.push(taken.classes.intern(class));
            }
            for place in range {
                let valid = arrow::array::Array::is_valid(&scores.values, place);
                let score = valid.then(|| scores.values.value(place));
                taken
                    .scores
                    .push(score.ok_or_else(|| null(self.name, SCORES))?);
            }
            taken.scored_ends.push(taken.scores.len() as u32);
            if taken.bad_scores.is_none() {
                let row = taken.scored_ends.len() - 1;
                taken.bad_scores = self.problem(taken, start).map(|problem| (row, problem));
            }
        }
        Ok(())
    }

    /// What is wrong with the scores of the last row, which begin at `start`.
    fn problem(&self, taken: &Taken, start: usize) -> Option<String> {
        let (scores, classes) = (&taken.scores[start..], &taken.scored[start..]);
        if scores.len() != taken.scored.len() - start {
            let (scores, classes) = (scores.len(), taken.scored.len() - start);
            return Some(format!("has {scores} scores for {classes} classes"));
        }
        if let Some(score) = scores.iter().find(|score| !(0.0..=1.0).contains(*score)) {
            return Some(format!("holds {score}"));
        }
        if (1..classes.len()).any(|i| classes[..i].contains(&classes[i])) {
            return Some("has two scores for one class".to_owned());
        }
        let sum: f64 = scores.iter().sum();
        if !self.of_labels && (sum - 1.0).abs() > SUM_TOLERANCE {
            return Some(format!("has scores that are {sum} together"));
        }
        None
    }
}

fn merge(parts: Vec<Part<Taken>>, classes: &mut Items) -> RawClasses {
    let mut raw = RawClasses {
        predicted: Vec::new(),
        predicted_ends: Vec::new(),
        scored: Vec::new(),
        scores: Vec::new(),
        scored_ends: Vec::new(),
    };
    for Part { taken, .. } in parts {
        let mut numbers = vec![0; taken.classes.len()];
        for (class, id) in taken.classes.sorted() {
            numbers[id as usize] = classes.intern(class);
        }
        let renumbered = |ids: Vec<ItemId>| {
            ids.into_iter()
                .map(|id| numbers[id as usize])
                .collect::<Vec<_>>()
        };
        let moved = |ends: Vec<u32>, by: usize| ends.into_iter().map(move |end| end + by as u32);
        raw.predicted_ends
            .extend(moved(taken.predicted_ends, raw.predicted.len()));
        raw.predicted.extend(renumbered(taken.predicted));
        raw.scored_ends
            .extend(moved(taken.scored_ends, raw.scored.len()));
        raw.scored.extend(renumbered(taken.scored));
        raw.scores.extend(taken.scores);
    }
    raw
}

fn range(ends: &[u32], row: usize) -> std::ops::Range<usize> {
    let start = row.checked_sub(1).map_or(0, |before| ends[before]);
    start as usize..ends[row] as usize
}

impl RawClasses {
    fn in_order(self, place: &[u32]) -> Self {
        fn sorted<T: Copy>(ends: &[u32], values: &[T], place: &[u32]) -> (Vec<u32>, Vec<T>) {
            let (mut new_ends, mut new) = (Vec::new(), Vec::with_capacity(values.len()));
            for row in place {
                new.extend_from_slice(&values[range(ends, *row as usize)]);
                new_ends.push(new.len() as u32);
            }
            (new_ends, new)
        }
        let (predicted_ends, predicted) = sorted(&self.predicted_ends, &self.predicted, place);
        if self.scored_ends.is_empty() {
            return Self {
                predicted,
                predicted_ends,
                ..self
            };
        }
        let (_, scores) = sorted(&self.scored_ends, &self.scores, place);
        let (scored_ends, scored) = sorted(&self.scored_ends, &self.scored, place);
        Self {
            predicted,
            predicted_ends,
            scored,
            scores,
            scored_ends,
        }
    }

    /// The same by class in order; `class_of` says which class a number is.
    pub(crate) fn finish(
        self,
        class_of: &[u32],
        of_labels: bool,
        classes: usize,
    ) -> ClassPredictions {
        let rows = self.predicted_ends.len();
        let answers = if of_labels {
            let mut flags = vec![false; rows * classes];
            for row in 0..rows {
                for id in &self.predicted[range(&self.predicted_ends, row)] {
                    flags[row * classes + class_of[*id as usize] as usize] = true;
                }
            }
            Answers::Any(flags)
        } else {
            Answers::One(
                self.predicted
                    .iter()
                    .map(|id| class_of[*id as usize])
                    .collect(),
            )
        };
        let scores = (!self.scored_ends.is_empty()).then(|| {
            let mut scores = vec![0.0; rows * classes];
            for row in 0..rows {
                for place in range(&self.scored_ends, row) {
                    let class = class_of[self.scored[place] as usize] as usize;
                    scores[row * classes + class] = self.scores[place];
                }
            }
            scores
        });
        ClassPredictions { answers, scores }
    }
}

/// The classes in their order: their names, and which one each number is.
///
/// # Errors
/// If there are fewer than two.
pub(crate) fn in_class_order(
    classes: &Items,
    label: &str,
) -> Result<(Vec<String>, Vec<u32>), Failure> {
    let sorted = classes.sorted();
    if let [(only, _)] = sorted[..] {
        let message = format!("`{label}` of `truth` and all predictions are {only}");
        return Err(invalid("report::one-class", message, |d| {
            d.help("there is nothing to tell apart; look at the query that makes `truth`")
        }));
    }
    let mut class_of = vec![0; sorted.len()];
    let mut names = Vec::new();
    for (class, (scalar, id)) in (0u32..).zip(sorted) {
        class_of[id as usize] = class;
        names.push(match scalar {
            Scalar::Text(text) => text.to_owned(),
            other => other.to_string(),
        });
    }
    Ok((names, class_of))
}

/// The class that F1 and the like are about: the declared one, else the greater one of two.
///
/// # Errors
/// If the declared one is not there, or if there are more than two and a metric needs one.
pub(crate) fn positive(
    declared: Option<&Value>,
    names: &[String],
    metrics: &[ClassMetric],
) -> Result<Option<usize>, Failure> {
    let listed = || {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    if let Some(metric) = metrics.iter().find(|metric| metric.is_binary())
        && names.len() != 2
    {
        let metric = metric.as_str();
        let message = format!(
            "`{metric}` is about one of two classes, and there are {}",
            names.len()
        );
        return Err(invalid("report::not-binary", message, |d| {
            d.detail([listed()])
                .help(format!("measure `{metric}_macro`"))
        }));
    }
    let Some(declared) = declared else {
        return Ok((names.len() == 2).then_some(1));
    };
    let name = match declared {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    };
    let found = names.iter().position(|known| *known == name);
    match found {
        Some(class) if names.len() == 2 => Ok(Some(class)),
        Some(_) => Ok(None),
        None => Err(invalid(
            "report::unknown-class",
            format!("no row is of the class `{name}`, which `positive` names"),
            |d| {
                d.detail([listed()])
                    .help("these are the classes of `truth` and of the predictions")
            },
        )),
    }
}

/// Decisions of one model against the truth.
#[derive(Clone, Copy)]
pub(crate) struct Decisions<'a> {
    pub truth: &'a ClassTruth,
    pub model: &'a ClassPredictions,
}

impl<'a> Decisions<'a> {
    fn classes(&self) -> usize {
        self.truth.names.len()
    }

    /// Whether the row is of the class.
    pub(crate) fn is_true(&self, row: usize, class: usize) -> bool {
        self.truth.answers.has(row, class, self.classes())
    }

    fn is_predicted(&self, row: usize, class: usize) -> bool {
        self.model.answers.has(row, class, self.classes())
    }

    /// The score of a class on a row; 0 without scores.
    pub(crate) fn score(&self, row: usize, class: usize) -> f64 {
        let scores = self.model.scores.as_deref().unwrap_or_default();
        let place = row * self.classes() + class;
        scores.get(place).copied().unwrap_or(0.0)
    }

    /// The value on one row of a metric that is a mean over rows.
    pub(crate) fn row_value(&self, metric: ClassMetric, row: usize) -> Option<f64> {
        let classes = 0..self.classes();
        let flag = |holds: bool| f64::from(u8::from(holds));
        let wrong = || {
            let wrong = |class: &usize| self.is_true(row, *class) != self.is_predicted(row, *class);
            (0..self.classes()).filter(wrong).count()
        };
        let log = |p: f64| -p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
        Some(match (metric, &self.truth.answers) {
            (ClassMetric::Accuracy | ClassMetric::SubsetAccuracy, _) => flag(wrong() == 0),
            (ClassMetric::HammingLoss, _) => wrong() as f64 / self.classes() as f64,
            (ClassMetric::LogLoss, Answers::One(of)) => log(self.score(row, of[row] as usize)),
            (ClassMetric::LogLoss, Answers::Any(_)) => {
                let losses = classes.map(|class| {
                    let score = self.score(row, class);
                    log(if self.is_true(row, class) {
                        score
                    } else {
                        1.0 - score
                    })
                });
                losses.sum::<f64>() / self.classes() as f64
            }
            (ClassMetric::Brier, _) => {
                let distance = |class| self.score(row, class) - flag(self.is_true(row, class));
                match self.truth.positive {
                    Some(positive) => distance(positive).powi(2),
                    None => classes.map(|class| distance(class).powi(2)).sum(),
                }
            }
            _ => return None,
        })
    }

    /// The figure of `metric` over the rows of `sample`.
    pub(crate) fn statistic(
        &self,
        metric: ClassMetric,
        sample: &Sample,
    ) -> Box<dyn Statistic + 'a> {
        let this = *self;
        match metric {
            ClassMetric::Accuracy
            | ClassMetric::Brier
            | ClassMetric::HammingLoss
            | ClassMetric::LogLoss
            | ClassMetric::SubsetAccuracy => mean(sample, |row| {
                self.row_value(metric, row).unwrap_or(f64::NAN)
            }),
            ClassMetric::RocAuc => Box::new(RocAuc(self.rankings(sample))),
            ClassMetric::PrAuc => Box::new(PrAuc(self.rankings(sample))),
            ClassMetric::Ece => self.calibration_error(sample),
            _ => {
                let classes = self.classes();
                let add = |row: usize, sums: &mut [f64]| {
                    for class in 0..classes {
                        let (t, p) = (this.is_true(row, class), this.is_predicted(row, class));
                        let sums = &mut sums[3 * class..];
                        sums[0] += f64::from(u8::from(t && p));
                        sums[1] += f64::from(u8::from(p));
                        sums[2] += f64::from(u8::from(t));
                    }
                };
                let of_labels = matches!(self.truth.answers, Answers::Any(_));
                let positive = self.truth.positive;
                let combine = move |sums: &[f64]| of_counts(metric, sums, positive, of_labels);
                Box::new(Sums::new(sample, 3 * classes, add, combine))
            }
        }
    }

    /// One ranking a class of the rows by its score; of two classes only that of the positive one.
    pub(crate) fn rankings(&self, sample: &Sample) -> Vec<Ranking> {
        let classes = match self.truth.positive {
            Some(positive) => positive..positive + 1,
            None => 0..self.classes(),
        };
        let ranking = |class| {
            Ranking::new(
                sample,
                |row| self.score(row, class),
                |row| self.is_true(row, class),
            )
        };
        classes.map(ranking).collect()
    }

    fn calibration_error(&self, sample: &Sample) -> Box<dyn Statistic + 'a> {
        let this = *self;
        let add = |row: usize, sums: &mut [f64]| {
            let (class, score) = this.surest(row);
            let bin = calibration_bin(score);
            let sums = &mut sums[3 * bin..];
            sums[0] += 1.0;
            sums[1] += score;
            sums[2] += f64::from(u8::from(this.is_true(row, class)));
        };
        let error = Sums::new(sample, 3 * CALIBRATION_BINS, add, |sums| {
            let rows: f64 = sums.iter().step_by(3).sum();
            let bins = sums.chunks_exact(3).map(|bin| (bin[1] - bin[2]).abs());
            bins.sum::<f64>() / rows
        });
        // Chance in a draw moves the bins apart as it does in the rows, a second time.
        Box::new(error.shifted())
    }

    /// The class with the highest score, the first of several, and that score.
    pub(crate) fn surest(&self, row: usize) -> (usize, f64) {
        let scores = (0..self.classes()).map(|class| (class, self.score(row, class)));
        scores.fold((0, f64::NEG_INFINITY), |best, next| {
            if next.1 > best.1 { next } else { best }
        })
    }
}

/// The bin of a score: those of equal width from 0 to 1, each without its lower end.
pub(crate) fn calibration_bin(score: f64) -> usize {
    let bin = (score * CALIBRATION_BINS as f64).ceil() as usize;
    bin.clamp(1, CALIBRATION_BINS) - 1
}

/// Metrics of how often each class was found (`sums[3 c]`), predicted (`+ 1`) and true (`+ 2`).
fn of_counts(metric: ClassMetric, sums: &[f64], positive: Option<usize>, of_labels: bool) -> f64 {
    let ratio = |a: f64, b: f64| if b == 0.0 { 0.0 } else { a / b };
    let f1 = |c: &[f64]| ratio(2.0 * c[0], c[1] + c[2]);
    let precision = |c: &[f64]| ratio(c[0], c[1]);
    let recall = |c: &[f64]| ratio(c[0], c[2]);
    let classes = || sums.chunks_exact(3);
    // Of classes, one that neither stands in the rows nor was predicted for one is none of these rows; labels are declared.
    let present = || classes().filter(|c| of_labels || c[1] + c[2] > 0.0);
    let macro_mean = |value: &dyn Fn(&[f64]) -> f64| {
        present().map(value).sum::<f64>() / present().count() as f64
    };
    let total = |index: usize| classes().map(|c| c[index]).sum::<f64>();
    let all = || [total(0), total(1), total(2)];
    let of_positive = |value: &dyn Fn(&[f64]) -> f64| {
        positive.map_or(f64::NAN, |class| value(&sums[3 * class..3 * class + 3]))
    };
    match metric {
        ClassMetric::F1 => of_positive(&f1),
        ClassMetric::Precision => of_positive(&precision),
        ClassMetric::Recall => of_positive(&recall),
        ClassMetric::F1Macro => macro_mean(&f1),
        ClassMetric::PrecisionMacro => macro_mean(&precision),
        ClassMetric::RecallMacro => macro_mean(&recall),
        ClassMetric::F1Micro => f1(&all()),
        ClassMetric::PrecisionMicro => precision(&all()),
        ClassMetric::RecallMicro => recall(&all()),
        ClassMetric::F1Weighted => ratio(classes().map(|c| c[2] * f1(c)).sum(), total(2)),
        ClassMetric::BalancedAccuracy => {
            let true_ones = || classes().filter(|c| c[2] > 0.0);
            true_ones().map(recall).sum::<f64>() / true_ones().count() as f64
        }
        ClassMetric::Mcc => {
            let rows = total(2);
            let cross: f64 = classes().map(|c| c[1] * c[2]).sum();
            let predicted: f64 = classes().map(|c| c[1] * c[1]).sum();
            let truth: f64 = classes().map(|c| c[2] * c[2]).sum();
            let spread = (rows * rows - predicted) * (rows * rows - truth);
            ratio(total(0) * rows - cross, spread.sqrt())
        }
        _ => unreachable!("other metrics are no functions of these counts"),
    }
}

/// Complains if a prediction names labels that are not declared.
pub(crate) fn only_labels(classes: &Items, labels: &[String]) -> Result<(), Failure> {
    let mut others = Offenders::default();
    for (label, _) in classes.sorted() {
        if !labels.iter().any(|known| Scalar::Text(known) == label) {
            others.add(|| label.to_string());
        }
    }
    if others.count == 0 {
        return Ok(());
    }
    let message = format!(
        "predictions name {} that `truth` has no column for",
        plural(others.count, "label")
    );
    Err(invalid("report::unknown-label", message, |d| {
        d.detail(others.examples)
            .help("`label` lists the columns, by the names that predictions use")
    }))
}
