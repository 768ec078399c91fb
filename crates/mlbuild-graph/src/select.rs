//! Selection, in dbt's grammar.
//!
//! ```text
//! selection    = expression { " " expression }            union
//! expression   = term { "," term }                        intersection
//! term         = "@" atom | [ [levels] "+" ] atom [ "+" [levels] ]
//! atom         = KIND ":" pattern | "tag:" pattern | "kind:" KIND | "state:stale" | pattern
//! ```
//!
//! A plus before an atom adds what it is made from, one behind it what is made from it, at most `levels` edges away;
//! `@` adds both what is made from it and everything needed to make that. In a pattern `*` stands for any characters.
//! A pattern without kind is a name of any kind; without `*` it must name one target only. The points of a `foreach` are selected
//! by their names (`model:recs@*`), and otherwise built as what their model needs.

use std::collections::BTreeSet;

use mlbuild_action::Diagnostic;
use mlbuild_manifest::{Kind, Label, list, nearest};

use crate::Graph;

impl Graph {
    /// The targets that any of the expressions selects, in the order of [`targets`](Self::targets); all of them if
    /// there is no expression. `stale` is asked only for `state:stale`.
    ///
    /// # Errors
    /// An expression that is malformed or selects nothing (`state:stale` aside, which may).
    pub fn select(
        &self,
        expressions: &[String],
        stale: &dyn Fn(&Label) -> bool,
    ) -> Result<Vec<Label>, Diagnostic> {
        let mut expressions = expressions
            .iter()
            .flat_map(|words| words.split_whitespace())
            .peekable();
        if expressions.peek().is_none() {
            return Ok(self.declared().map(|target| target.label.clone()).collect());
        }
        let mut selected = BTreeSet::new();
        for expression in expressions {
            selected.extend(self.intersection(expression, stale)?);
        }
        Ok(self.in_order(&selected))
    }

    fn intersection(
        &self,
        expression: &str,
        stale: &dyn Fn(&Label) -> bool,
    ) -> Result<BTreeSet<Label>, Diagnostic> {
        let mut common: Option<BTreeSet<Label>> = None;
        for term in expression.split(',') {
            let selected = self.term(term, stale)?;
            common = Some(match common {
                None => selected,
                Some(common) => common.intersection(&selected).cloned().collect(),
            });
        }
        let common = common.unwrap_or_default();
        if common.is_empty() && !expression.contains("state:") {
            let message =
                format!("`{expression}` selects nothing: no target is in all of its parts");
            return Err(Diagnostic::error("select::no-match", message)
                .help("a comma intersects, a space unites"));
        }
        Ok(common)
    }

    fn term(
        &self,
        term: &str,
        stale: &dyn Fn(&Label) -> bool,
    ) -> Result<BTreeSet<Label>, Diagnostic> {
        if let Some(atom) = term.strip_prefix('@') {
            let down = self.downstream_within(self.atom(atom, stale)?, usize::MAX);
            return Ok(self.upstream_within(down, usize::MAX));
        }
        let (up, rest) = levels_before(term);
        let (down, atom) = levels_behind(rest);
        let selected = self.atom(atom, stale)?;
        let mut all = selected.clone();
        if let Some(levels) = up {
            all.extend(self.upstream_within(selected.clone(), levels));
        }
        if let Some(levels) = down {
            all.extend(self.downstream_within(selected, levels));
        }
        Ok(all)
    }

    fn atom(
        &self,
        atom: &str,
        stale: &dyn Fn(&Label) -> bool,
    ) -> Result<BTreeSet<Label>, Diagnostic> {
        let selected: BTreeSet<Label> = match atom.split_once(':') {
            Some(("tag", tag)) => {
                self.matching(|target| target.tags.iter().any(|known| glob(tag, known)))
            }
            Some(("state", "stale")) => return Ok(self.matching(|target| stale(&target.label))),
            Some(("kind", kind)) => self.matching(|target| {
                target.label.kind().as_str() == kind && !target.label.is_point()
            }),
            Some((kind, name)) => self.matching(|target| {
                glob(kind, target.label.kind().as_str()) && glob(name, target.label.name())
            }),
            None => self.matching(|target| glob(atom, target.label.name())),
        };
        if selected.is_empty() {
            return Err(self.no_match(atom));
        }
        if !atom.contains([':', '*']) && selected.len() > 1 {
            let labels: Vec<_> = selected.iter().map(Label::to_string).collect();
            let labels = list(labels.iter().map(String::as_str));
            return Err(Diagnostic::error(
                "select::ambiguous",
                format!("`{atom}` is the name of several targets"),
            )
            .help(format!("write one of {labels}")));
        }
        Ok(selected)
    }

    /// The targets that are no points.
    fn declared(&self) -> impl Iterator<Item = &crate::Target> {
        self.targets().filter(|target| !target.label.is_point())
    }

    fn matching(&self, wanted: impl Fn(&crate::Target) -> bool) -> BTreeSet<Label> {
        let targets = self.targets().filter(|target| wanted(target));
        targets.map(|target| target.label.clone()).collect()
    }

    fn no_match(&self, atom: &str) -> Diagnostic {
        let error = |message: String, help: String| {
            Diagnostic::error("select::no-match", message).help(help)
        };
        // A misspelt point is answered by the points of its model.
        let points = atom.contains('@');
        let labels: Vec<_> = self
            .targets()
            .filter(|target| target.label.is_point() == points)
            .map(|target| target.label.to_string())
            .collect();
        match atom.split_once(':') {
            _ if atom.is_empty() => error(
                "there is an empty expression".to_owned(),
                "name a target: `model:recs`".to_owned(),
            ),
            Some(("tag", tag)) => {
                let tags: BTreeSet<_> = self.targets().flat_map(|target| &target.tags).collect();
                let tags = tags.iter().map(|tag| tag.as_str());
                error(
                    format!("no target has tag `{tag}`"),
                    suggestion(tag, tags, "the tags are"),
                )
            }
            Some(("state", state)) => error(
                format!("unknown state `{state}`"),
                "the state to ask for is `state:stale`".to_owned(),
            ),
            Some(("kind", kind)) => {
                let kinds = Kind::ALL.map(Kind::as_str);
                let message = match Kind::from_name(kind) {
                    Some(kind) => format!("the project has no {}", kind.noun()),
                    None => format!("unknown kind `{kind}`"),
                };
                error(message, suggestion(kind, kinds, "the kinds are"))
            }
            Some(_) => {
                let labels = labels.iter().map(String::as_str);
                error(
                    format!("no target `{atom}`"),
                    suggestion(atom, labels, "the targets are"),
                )
            }
            None => {
                let dotted = atom.replacen('.', ":", 1);
                if labels.contains(&dotted) {
                    return error(format!("no target `{atom}`"), format!("write `{dotted}`"));
                }
                let near = nearest(atom, self.declared().map(|target| target.label.name()));
                let near = self
                    .targets()
                    .find(|target| Some(target.label.name()) == near);
                let help = match near {
                    Some(target) => format!("did you mean `{}`?", target.label),
                    None => suggestion(atom, labels.iter().map(String::as_str), "the targets are"),
                };
                error(format!("no target is named `{atom}`"), help)
            }
        }
    }
}

fn suggestion<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    otherwise: &str,
) -> String {
    match nearest(name, known.clone()) {
        Some(near) if near != name => format!("did you mean `{near}`?"),
        _ => format!("{otherwise} {}", list(known)),
    }
}

/// `2+x`: how many levels up, and `x`.
fn levels_before(term: &str) -> (Option<usize>, &str) {
    match term.split_once('+') {
        Some((levels, rest)) if !rest.is_empty() => match number(levels) {
            Some(levels) => (Some(levels), rest),
            None => (None, term),
        },
        _ => (None, term),
    }
}

/// `x+2`: how many levels down, and `x`.
fn levels_behind(term: &str) -> (Option<usize>, &str) {
    match term.rsplit_once('+') {
        Some((rest, levels)) => match number(levels) {
            Some(levels) => (Some(levels), rest),
            None => (None, term),
        },
        None => (None, term),
    }
}

/// A number of levels; nothing stands for all of them.
fn number(text: &str) -> Option<usize> {
    match text {
        "" => Some(usize::MAX),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(before) else {
        return false;
    };
    let mut ends = text.char_indices().map(|(end, _)| end).chain([text.len()]);
    ends.any(|end| glob(rest, &text[end..]))
}
