//! The choice among the points of a `foreach`: an action without work.
//!
//! Its key holds the digest and the figure of each candidate, so it is made anew when one of them changes, and what it yields
//! is the chosen candidate's artifact as it is: nothing is copied, and what reads the model sees a change only when another
//! one wins or the winner itself changed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mlbuild_action::{
    Action, ActionResult, Artifact, Diagnostic, Executor, Failure, Input, InputContent, Output,
    Pick, Request, Work,
};
use mlbuild_graph::{InputSource, Target};
use mlbuild_manifest::{Label, list, nearest};

use crate::plan::{Planned, figures_of};
use crate::project::Project;
use crate::resolve::{Material, Resolved};

/// Final figures, by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// Answers what is asked of every executor; the choice itself is [`picked`].
pub(crate) struct Picker;

impl Executor for Picker {
    fn toolchain(&self, _: &Work) -> Result<String, Failure> {
        Ok("pick 1".to_owned())
    }

    fn execute(&self, _: &Request<'_>) -> Result<Output, Failure> {
        unreachable!("the engine chooses itself")
    }
}

/// What of a candidate is identity.
///
/// # Errors
/// If it has no such figure, or one that is no number.
pub(crate) fn candidate(
    pick: &Pick,
    point: &str,
    artifact: &Artifact,
    figures: &Figures,
) -> Result<InputContent, Failure> {
    let Pick { metric, .. } = pick;
    let Some(&figure) = figures.get(metric) else {
        let message =
            format!("`pick` goes by `{metric}`, and the point {point} has no such figure");
        let names = figures.keys().map(String::as_str);
        let help = match nearest(metric, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if figures.is_empty() => "it has no figures at all".to_owned(),
            None if metric.starts_with("valid_")
                && !figures.keys().any(|f| f.starts_with("valid_")) =>
            {
                format!(
                    "its figures are {}; those of a validation table need `validate`",
                    list(names)
                )
            }
            None => format!("its figures are {}", list(names)),
        };
        let diagnostic = Diagnostic::error("pick::no-figure", message).help(help);
        return Err(Failure::Invalid(diagnostic));
    };
    if figure.is_nan() {
        let message = format!("`{metric}` of the point {point} is not a number");
        let diagnostic = Diagnostic::error("pick::not-a-number", message)
            .help("it cannot be compared: leave the point out, or find out why (`mlbuild log` shows its training)");
        return Err(Failure::Failed(diagnostic));
    }
    Ok(InputContent::Candidate {
        files: artifact.tree.digest(),
        // One zero, as everywhere in a key.
        figure: figure + 0.0,
    })
}

/// The name of the best candidate of an action that is a choice.
pub(crate) fn chosen<'a>(pick: &'a Pick, action: &Action) -> Option<&'a str> {
    let figures: BTreeMap<&str, f64> = judged(action).collect();
    pick.best(&|point| figures.get(point).copied().unwrap_or(f64::NAN))
}

/// What a choice came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Picked {
    /// The chosen point, without its model: `dim=32@lr=0.001`.
    pub point: String,
    /// The figure that decided.
    pub metric: String,
    /// Its value.
    pub figure: f64,
    /// Among how many points.
    pub points: usize,
}

impl fmt::Display for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            point,
            metric,
            figure,
            points,
        } = self;
        write!(f, "{point}, best of {points} by {metric}: {figure:.6}")
    }
}

/// What an action that is a choice came to; `None` for every other one.
pub(crate) fn outcome(action: &Action) -> Option<Picked> {
    let Work::Pick(pick) = &action.work else {
        return None;
    };
    let best = chosen(pick, action)?;
    let (_, figure) = judged(action).find(|(point, _)| *point == best)?;
    Some(Picked {
        point: best.to_owned(),
        metric: pick.metric.clone(),
        figure,
        points: pick.points.len(),
    })
}

/// The candidates of an action that is a choice, each with the figure that counts.
pub(crate) fn judged(action: &Action) -> impl Iterator<Item = (&str, f64)> {
    let inputs = action.inputs.iter();
    inputs.filter_map(|Input { name, content }| match content {
        InputContent::Candidate { figure, .. } => Some((name.as_str(), *figure)),
        _ => None,
    })
}

/// The result of a choice: the artifact and the figures of the best candidate.
pub(crate) fn picked(pick: &Pick, resolved: &Resolved) -> ActionResult {
    let best = chosen(pick, &resolved.action).expect("a choice has candidates");
    let Some(Material::Artifact(artifact)) = resolved.inputs.get(best) else {
        unreachable!("a candidate is an artifact")
    };
    ActionResult {
        artifact: artifact.clone(),
        metrics: resolved.figures.get(best).cloned().unwrap_or_default(),
        warnings: Vec::new(),
        duration: Duration::ZERO,
    }
}

/// A point of a `foreach`, as it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// The point.
    pub label: Label,
    /// The figure that decides, if the point is built.
    pub figure: Option<f64>,
    /// Whether the choice falls on it; never while a point is missing.
    pub picked: bool,
}

/// The points of a target that is picked among them, in declared order, as `planned` found them; nothing for other targets.
pub fn candidates(project: &Project, target: &Target, planned: &[Planned]) -> Vec<Candidate> {
    let Some((stage, pick)) = target.stages.iter().find_map(|stage| match &stage.work {
        Work::Pick(pick) => Some((stage, pick)),
        _ => None,
    }) else {
        return Vec::new();
    };
    let figure = |label: &Label| {
        let planned = planned.iter().find(|planned| planned.label == *label)?;
        planned.artifact.as_ref()?;
        figures_of(project, &planned.keys)
            .get(&pick.metric)
            .copied()
    };
    let labels = stage.inputs.iter().filter_map(|input| match &input.from {
        InputSource::Target(label) => Some((input.name.clone(), label.clone())),
        InputSource::Previous | InputSource::Files(_) | InputSource::Pinned(..) => None,
    });
    let points: Vec<(String, Label, Option<f64>)> = labels
        .map(|(name, label)| {
            let figure = figure(&label);
            (name, label, figure)
        })
        .collect();
    let whole = points.iter().all(|(_, _, figure)| figure.is_some());
    let figures: BTreeMap<&str, f64> = points
        .iter()
        .filter_map(|(name, _, figure)| Some((name.as_str(), (*figure)?)))
        .collect();
    let best = pick.best(&|point| figures.get(point).copied().unwrap_or(f64::NAN));
    let candidate = |(name, label, figure): &(String, Label, Option<f64>)| Candidate {
        label: label.clone(),
        figure: *figure,
        picked: whole && best == Some(name),
    };
    points.iter().map(candidate).collect()
}
