//! `foreach`: one declaration, a model a point of a grid or list of parameters; and `pick`, which says which one counts.
//!
//! The points become targets of their own, each with one definition like any other, so nothing behind the manifest has to
//! know of sweeps: what is left of the declaration is rule `pick`, whose inputs they are.

use std::collections::{BTreeMap, BTreeSet};

use mlbuild_action::{Goal, Value};
use toml::de::DeValue;

use super::Target;
use crate::reader::{Entry, Reader, Section};
use crate::{Definition, Label, PickDefinition, Spanned, keys};

/// How many points a `foreach` may have: more is a mistake, or a search that needs another method.
const POINTS: usize = 1000;

/// Parameters by name, each with the place of its value.
pub(super) type Point = BTreeMap<String, Spanned<Value>>;

/// Reads one value of a parameter, by its name; complains about a wrong one.
pub(super) type Accept<'a, 't> =
    dyn FnMut(&mut Reader<'t>, &Spanned<String>, Entry<'t>) -> Option<Value> + 'a;

/// What a target comes to: one definition, or one a point and the choice among them.
#[derive(Debug)]
pub(crate) struct Made {
    /// The targets beside the declared one.
    pub(crate) points: Vec<(Label, Definition)>,
    /// The declared one.
    pub(crate) definition: Definition,
}

impl From<Definition> for Made {
    fn from(definition: Definition) -> Self {
        Self {
            points: Vec::new(),
            definition,
        }
    }
}

/// The target as `make` defines it for each point; without `foreach`, as it defines it for none.
///
/// `make` gets the parameters of a point, to be laid over those of the target.
pub(super) fn made<'t>(
    reader: &mut Reader<'t>,
    target: &Target<'_, 't>,
    accept: &mut Accept<'_, 't>,
    make: &mut dyn FnMut(&mut Reader<'t>, &Point) -> Option<Definition>,
) -> Option<Made> {
    let section = target.section;
    let pick = pick(reader, section);
    let Some((range, value)) = section.get("foreach") else {
        if let Some((range, _)) = section.get("pick") {
            let message = format!("{} has `pick` and nothing to pick from", section.name);
            let help = "say what to try: `foreach = { lr = [1e-3, 3e-3] }`".to_owned();
            reader.error(
                "manifest::missing-key",
                message,
                range,
                "needs `foreach`",
                help,
            );
            return None;
        }
        return make(reader, &Point::new()).map(Made::from);
    };
    if section.get("pick").is_none() {
        let message = format!("{} has `foreach` and no `pick`", section.name);
        let help = format!(
            "say which point becomes `{}`: `pick = {{ metric = \"valid_ndcg@10\", max = true }}`",
            target.label
        );
        reader.error(
            "manifest::missing-key",
            message,
            range,
            "which of these?",
            help,
        );
    }
    let points = points(reader, section, value, accept)?;
    let mut definitions = Vec::new();
    for point in &points {
        definitions.push(make(reader, point)?);
    }
    refuse_alike(reader, &points, &definitions)?;
    let (metric, goal) = pick?;
    let labels = labels(target.label, &points);
    Some(Made {
        definition: Definition::Pick(PickDefinition {
            points: labels.clone(),
            metric,
            goal,
        }),
        points: labels.into_iter().zip(definitions).collect(),
    })
}

/// Labels of the points; those that would come out alike get a digest each.
fn labels(target: &Label, points: &[Point]) -> Vec<Label> {
    let values = points.iter().map(|point| {
        let pairs = point.iter();
        let pairs = pairs.map(|(name, value)| (name.clone(), value.value.clone()));
        pairs.collect::<BTreeMap<_, _>>()
    });
    let values: Vec<_> = values.collect();
    let plain: Vec<_> = values.iter().map(|values| target.point(values)).collect();
    let label =
        |(label, values): (&Label, _)| match plain.iter().filter(|other| *other == label).count() {
            1 => label.clone(),
            _ => target.point_by_digest(values),
        };
    plain.iter().zip(&values).map(label).collect()
}

/// Complains about a point that makes what another one makes.
fn refuse_alike(
    reader: &mut Reader<'_>,
    points: &[Point],
    definitions: &[Definition],
) -> Option<()> {
    for (i, definition) in definitions.iter().enumerate() {
        if !definitions[..i].contains(definition) {
            continue;
        }
        let ranges = points[i].values().map(|value| value.range.clone());
        let range = ranges.max_by_key(|range| range.start).unwrap_or_default();
        let message = "two points of `foreach` have the same parameters".to_owned();
        let help = "each is trained once: leave one of them out".to_owned();
        reader.error("manifest::bad-value", message, range, "the second", help);
        return None;
    }
    Some(())
}

fn points<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    value: Entry<'t>,
    accept: &mut Accept<'_, 't>,
) -> Option<Vec<Point>> {
    let before = reader.diagnostics.len();
    let points = match value.get_ref() {
        DeValue::Table(_) => grid(reader, section, accept)?,
        DeValue::Array(listed) => {
            let mut points = Vec::new();
            for item in listed {
                let DeValue::Table(table) = item.get_ref() else {
                    reader.wrong_type("foreach", item, "a list of tables of parameters");
                    continue;
                };
                let point = Section {
                    name: "a point of `foreach`".to_owned(),
                    table,
                    range: item.span(),
                };
                let mut values = Point::new();
                for (name, value) in point.entries() {
                    if let Some(accepted) = accept(reader, &name, value) {
                        let range = value.span();
                        values.insert(
                            name.value,
                            Spanned {
                                value: accepted,
                                range,
                            },
                        );
                    }
                }
                if point.entries().is_empty() {
                    let message = "a point of `foreach` has no parameter".to_owned();
                    let help = "write one, if only with its default: `{ seed = 0 }`".to_owned();
                    reader.error("manifest::bad-value", message, item.span(), "empty", help);
                }
                points.push(values);
            }
            points
        }
        _ => {
            let expected = "a table of lists, or a list of tables";
            reader.wrong_type("foreach", value, expected);
            return None;
        }
    };
    if reader.diagnostics.len() > before {
        return None;
    }
    let (message, label) = match points.len() {
        0 => ("`foreach` has no point".to_owned(), "empty"),
        many if many > POINTS => (too_many(many), "too many"),
        _ => return Some(points),
    };
    let help =
        "a table of lists gives all combinations, a list of tables each as it stands".to_owned();
    reader.error("manifest::bad-value", message, value.span(), label, help);
    None
}

fn too_many(points: usize) -> String {
    format!("`foreach` has {points} points, and may have {POINTS}")
}

/// All combinations of the values listed for each parameter: the first parameter moves slowest.
fn grid<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    accept: &mut Accept<'_, 't>,
) -> Option<Vec<Point>> {
    let grid = reader.table(section, "foreach")?;
    let given: BTreeSet<String> = match section.get("params").map(|(_, value)| value.get_ref()) {
        Some(DeValue::Table(params)) => {
            params.keys().map(|key| key.get_ref().to_string()).collect()
        }
        _ => BTreeSet::new(),
    };
    let mut lists: Vec<(String, Vec<Spanned<Value>>)> = Vec::new();
    for (name, value) in grid.entries() {
        if given.contains(&name.value) {
            let message = format!("`{}` stands in `params` and in `foreach`", name.value);
            let help = "leave it out of `params`: `foreach` says all of its values".to_owned();
            let (code, range) = ("manifest::duplicate", name.range.clone());
            reader.error(code, message, range, "given twice", help);
        }
        let DeValue::Array(values) = value.get_ref() else {
            reader.wrong_type(&name.value, value, "a list of values to try");
            continue;
        };
        if values.is_empty() {
            let message = format!("`{}` has no value to try", name.value);
            reader.error("manifest::bad-value", message, value.span(), "empty", None);
        }
        let mut accepted: Vec<Spanned<Value>> = Vec::new();
        for value in values {
            let Some(found) = accept(reader, &name, value) else {
                continue;
            };
            if accepted.iter().any(|other| other.value == found) {
                let message = format!("`{}` is to try {found} twice", name.value);
                reader.error("manifest::bad-value", message, value.span(), "again", None);
            }
            accepted.push(Spanned {
                value: found,
                range: value.span(),
            });
        }
        lists.push((name.value, accepted));
    }
    if lists.is_empty() {
        return Some(Vec::new());
    }
    let counts = lists.iter().map(|(_, values)| values.len());
    let count = counts.fold(1, usize::saturating_mul);
    if count > POINTS {
        let code = "manifest::bad-value";
        reader.error(code, too_many(count), grid.range, "too many", None);
        return None;
    }
    let one = vec![Point::new()];
    Some(lists.iter().fold(one, |points, (name, values)| {
        let with = |point: &Point, value: &Spanned<Value>| {
            let mut point = point.clone();
            point.insert(name.clone(), value.clone());
            point
        };
        let points = points.iter();
        points
            .flat_map(|point| values.iter().map(|value| with(point, value)))
            .collect()
    }))
}

/// The metric by which to choose, and which value of it is best.
fn pick<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<(String, Goal)> {
    let pick = reader.table(section, "pick")?;
    reader.only(&pick, keys::PICK);
    if pick.get("metric").is_none() {
        reader.missing(
            &pick,
            "metric",
            "name the figure that decides: `metric = \"valid_ndcg@10\"`",
        );
    }
    let metric = reader.name(&pick, "metric");
    let mut goals = Vec::new();
    for (key, goal) in [("max", Goal::Max), ("min", Goal::Min)] {
        if let Some(wanted) = reader.boolean(&pick, key) {
            let (range, _) = pick.get(key)?;
            goals.push((goal, wanted, range));
        }
    }
    let goal = match &goals[..] {
        [(goal, true, _)] => *goal,
        [] if pick.get("max").or(pick.get("min")).is_some() => return None,
        [] => {
            let help = "write `max = true` where more is better, `min = true` where less is";
            reader.missing(&pick, "max", help);
            return None;
        }
        [(_, _, range), ..] => {
            let message = format!("{} does not say which value is best", pick.name);
            let help = "write `max = true` where more is better, `min = true` where less is";
            let code = "manifest::bad-value";
            reader.error(
                code,
                message,
                range.clone(),
                "one of the two, and `true`",
                help.to_owned(),
            );
            return None;
        }
    };
    Some((metric?.value, goal))
}
