//! What a random project declares: sources, and queries over them and over earlier queries.

use std::collections::{BTreeMap, BTreeSet};

use crate::frame::Frame;
use mlbuild_testing::Dice;

/// Names of columns: few, so that unqualified names are often ambiguous.
pub(crate) const COLUMNS: [&str; 5] = ["x", "y", "z", "u", "v"];
const ALIASES: [&str; 3] = ["a", "b", "c"];

/// A project's declarations and source files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct World {
    pub(crate) sources: Vec<Source>,
    /// Each reads sources and queries before it.
    pub(crate) queries: Vec<Derived>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// As its file holds it, which has no key.
    pub(crate) content: Frame,
    pub(crate) key: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Derived {
    pub(crate) name: String,
    pub(crate) query: Query,
    /// Values of exactly the parameters that the query uses.
    pub(crate) params: BTreeMap<String, i64>,
    pub(crate) key: Vec<String>,
    pub(crate) dress: Dress,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Query {
    /// Every column of a table.
    All { from: String },
    /// How many rows a table has.
    Count { from: String },
    /// Row by row, as long as every table has one.
    Select {
        items: Vec<(Expression, String)>,
        from: Vec<String>,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Expression {
    Term(Term),
    Binary(Term, char, Term),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Term {
    /// A column of the input of this number; without one, of the first input that has it.
    Column(Option<usize>, String),
    Number(i64),
    Param(String),
}

/// How a query is written: nothing of it means anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Dress {
    upper: bool,
    spaced: bool,
    comment: bool,
}

impl Dress {
    pub(crate) fn random(dice: &mut Dice) -> Self {
        Self {
            upper: dice.often(50),
            spaced: dice.often(50),
            comment: dice.often(50),
        }
    }
}

impl World {
    pub(crate) fn random(dice: &mut Dice) -> Self {
        let mut world = Self::default();
        for number in 0..dice.between(1, 2) {
            world
                .sources
                .push(Source::random(format!("s{number}"), dice));
        }
        for number in 0..dice.between(2, 5) {
            world.add_query(format!("t{number}"), dice);
        }
        world
    }

    pub(crate) fn add_query(&mut self, name: String, dice: &mut Dice) {
        let mut derived = Derived {
            name,
            query: Query::All {
                from: String::new(),
            },
            params: BTreeMap::new(),
            key: Vec::new(),
            dress: Dress::random(dice),
        };
        derived.set_query(self.random_query(self.queries.len(), dice), dice);
        self.queries.push(derived);
    }

    /// A query that the one at `position` may be: it reads only what is before. It may name columns that are not there.
    pub(crate) fn random_query(&self, position: usize, dice: &mut Dice) -> Query {
        let before: Vec<String> = self.names().take(self.sources.len() + position).collect();
        // The latest more often than the others, which makes chains.
        let table = |dice: &mut Dice| match before.last() {
            Some(last) if dice.often(35) => last.clone(),
            _ => dice.pick(&before).clone(),
        };
        match dice.roll(10) {
            0 | 1 => Query::All { from: table(dice) },
            2 => Query::Count { from: table(dice) },
            _ => {
                let from: Vec<String> = (0..dice.between(1, 2)).map(|_| table(dice)).collect();
                let names = &COLUMNS[..dice.between(1, 3)];
                let item = |name: &&str| (self.random_expression(&from, dice), (*name).to_owned());
                let items = names.iter().map(item).collect();
                Query::Select { items, from }
            }
        }
    }

    pub(crate) fn random_expression(&self, from: &[String], dice: &mut Dice) -> Expression {
        let left = self.random_term(from, dice);
        if dice.often(55) {
            return Expression::Term(left);
        }
        let operator = *dice.pick(&['+', '+', '-', '*']);
        Expression::Binary(left, operator, self.random_term(from, dice))
    }

    fn random_term(&self, from: &[String], dice: &mut Dice) -> Term {
        match dice.roll(10) {
            0 => Term::Number(dice.roll(5) as i64),
            1 => Term::Param((*dice.pick(&["p", "q"])).to_owned()),
            _ => {
                let input = dice.roll(from.len());
                let known = self.columns_of(&from[input]);
                let name = match known.is_empty() || dice.often(2) {
                    true => (*dice.pick(&COLUMNS)).to_owned(),
                    false => dice.pick(&known).clone(),
                };
                Term::Column((!dice.often(25)).then_some(input), name)
            }
        }
    }

    /// The columns that a table declares, whether or not it can be made.
    pub(crate) fn columns_of(&self, name: &str) -> Vec<String> {
        if let Some(source) = self.sources.iter().find(|source| source.name == name) {
            return source.content.names();
        }
        match self.queries.iter().find(|query| query.name == name) {
            None => Vec::new(),
            Some(derived) => match &derived.query {
                Query::All { from } => self.columns_of(from),
                Query::Count { .. } => vec!["n".to_owned()],
                Query::Select { items, .. } => items.iter().map(|(_, name)| name.clone()).collect(),
            },
        }
    }

    /// The targets, each after what it reads.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let sources = self.sources.iter().map(|source| source.name.clone());
        sources.chain(self.queries.iter().map(|query| query.name.clone()))
    }

    /// `wanted` and all they read, as far as they exist.
    pub(crate) fn needed(&self, wanted: &BTreeSet<String>) -> BTreeSet<String> {
        let mut needed = wanted.clone();
        for derived in self.queries.iter().rev() {
            if needed.contains(&derived.name) {
                needed.extend(derived.query.inputs().iter().cloned());
            }
        }
        self.names().filter(|name| needed.contains(name)).collect()
    }

    pub(crate) fn manifest(&self) -> String {
        let mut text = "[project]\nname = \"oracle\"\n".to_owned();
        for Source { name, key, .. } in &self.sources {
            text += &format!(
                "\n[data.{name}]\npath = \"{}\"\nkey = {key:?}\n",
                path(name)
            );
        }
        for derived in &self.queries {
            text += &format!("\n[data.{}]\nkey = {:?}\n", derived.name, derived.key);
            if !derived.params.is_empty() {
                let params = derived.params.iter();
                let params: Vec<_> = params
                    .map(|(name, value)| format!("{name} = {value}"))
                    .collect();
                text += &format!("params = {{ {} }}\n", params.join(", "));
            }
        }
        text
    }
}

/// Where the file of a source is.
pub(crate) fn path(source: &str) -> String {
    format!("raw/{source}.csv")
}

impl Source {
    fn random(name: String, dice: &mut Dice) -> Self {
        let rows = dice.roll(4);
        let names = &COLUMNS[..dice.between(1, 4)];
        let values = |dice: &mut Dice| (0..rows).map(|_| dice.roll(5) as i64).collect();
        let columns = names.iter().map(|name| ((*name).to_owned(), values(dice)));
        let content = Frame {
            rows,
            columns: columns.collect(),
            key: Vec::new(),
        };
        Self {
            name,
            content,
            key: Vec::new(),
        }
    }
}

impl Derived {
    /// Makes it `query`, with values for the parameters that are new.
    pub(crate) fn set_query(&mut self, query: Query, dice: &mut Dice) {
        let used = query.params().into_iter();
        let value = |name: String| {
            let value = self.params.get(&name).copied();
            let value = value.unwrap_or_else(|| dice.roll(5) as i64);
            (name, value)
        };
        self.params = used.map(value).collect();
        self.query = query;
    }

    /// The text of its SQL file.
    pub(crate) fn sql(&self) -> String {
        let Dress {
            upper,
            spaced,
            comment,
        } = self.dress;
        let word = |word: &str| match upper {
            true => word.to_uppercase(),
            false => word.to_owned(),
        };
        let space = if spaced { "\n   " } else { " " };
        let (what, from) = match &self.query {
            Query::All { from } => ("*".to_owned(), vec![from]),
            Query::Count { from } => (format!("count(*){space}{} n", word("as")), vec![from]),
            Query::Select { items, from } => {
                let item = |(expression, name): &(Expression, String)| {
                    format!("{}{space}{} {name}", expression.sql(space), word("as"))
                };
                let items: Vec<String> = items.iter().map(item).collect();
                (items.join(", "), from.iter().collect())
            }
        };
        let table =
            |(table, alias): (&&String, &&str)| format!("data.{table} {} {alias}", word("as"));
        let from: Vec<String> = from.iter().zip(&ALIASES).map(table).collect();
        let comment = if comment { "-- a remark\n" } else { "" };
        format!(
            "{comment}{}{space}{what}{space}{} {}\n",
            word("select"),
            word("from"),
            from.join(", ")
        )
    }
}

impl Query {
    /// The tables that it reads, as often as it names them.
    pub(crate) fn inputs(&self) -> &[String] {
        match self {
            Self::All { from } | Self::Count { from } => std::slice::from_ref(from),
            Self::Select { from, .. } => from,
        }
    }

    pub(crate) fn terms(&self) -> Vec<&Term> {
        let Self::Select { items, .. } = self else {
            return Vec::new();
        };
        let terms = items.iter().flat_map(|(expression, _)| expression.terms());
        terms.collect()
    }

    fn params(&self) -> BTreeSet<String> {
        let terms = self.terms().into_iter();
        let params = terms.filter_map(|term| match term {
            Term::Param(name) => Some(name.clone()),
            _ => None,
        });
        params.collect()
    }
}

impl Expression {
    fn terms(&self) -> Vec<&Term> {
        match self {
            Self::Term(term) => vec![term],
            Self::Binary(left, _, right) => vec![left, right],
        }
    }

    /// The same values, written otherwise.
    pub(crate) fn equivalent(&self) -> Self {
        match self.clone() {
            Self::Term(term) => Self::Binary(term, '+', Term::Number(0)),
            Self::Binary(left, operator @ ('+' | '*'), right) if left != right => {
                Self::Binary(right, operator, left)
            }
            // No other way to write it in so small a language.
            other => other,
        }
    }

    fn sql(&self, space: &str) -> String {
        match self {
            Self::Term(term) => term.sql(),
            Self::Binary(left, operator, right) => {
                format!("{}{space}{operator} {}", left.sql(), right.sql())
            }
        }
    }
}

impl Term {
    fn sql(&self) -> String {
        match self {
            Self::Column(Some(input), name) => format!("{}.{name}", ALIASES[*input]),
            Self::Column(None, name) => name.clone(),
            Self::Number(number) => number.to_string(),
            Self::Param(name) => format!("${name}"),
        }
    }
}
