//! What a project means: for each target its value and what identifies it, worked out from the declarations alone.
//!
//! Written from `spec/action-key.md`, without the engine, its encoding or digests: identities are compared whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::frame::Frame;
use crate::world::{Derived, Expression, Query, Source, Term, World, path};

/// The identity of a target's one action.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Identity {
    Ingest {
        path: String,
        csv: String,
        key: Vec<String>,
    },
    Sql {
        work: Work,
        /// What the names in it mean, input and column, where that is not written.
        plan: Vec<(String, String)>,
        inputs: BTreeMap<String, Seen>,
    },
}

/// A query, but for how it is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Work {
    pub(crate) code: String,
    pub(crate) params: BTreeMap<String, i64>,
    pub(crate) key: Vec<String>,
}

/// What is read of an input.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Seen {
    pub(crate) rows: usize,
    pub(crate) columns: BTreeMap<String, Vec<i64>>,
}

/// What an analysis depends on: the work, and of each input the columns and the key.
pub(crate) type Question = (Work, BTreeMap<String, (Vec<String>, Vec<String>)>);

/// What becomes of a target.
#[derive(Clone, Debug)]
pub(crate) struct Meaning {
    pub(crate) name: String,
    pub(crate) value: Result<Made, Broken>,
    /// The tables that it reads, whole.
    pub(crate) inputs: BTreeMap<String, Frame>,
    /// What its analysis was asked, if it is a query whose inputs could be made.
    pub(crate) question: Option<Question>,
}

#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) identity: Identity,
    pub(crate) frame: Frame,
}

/// Why a target has no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    /// A name means nothing: known before it runs.
    Name,
    /// It runs and fails.
    Execution,
    /// A target that it needs has no value.
    Input,
}

/// What `wanted` and all they need mean, each after what it reads.
pub(crate) fn meanings(world: &World, wanted: &BTreeSet<String>) -> Vec<Meaning> {
    let needed = world.needed(wanted);
    let mut frames = BTreeMap::new();
    let mut meanings = Vec::new();
    let sources = world.sources.iter().map(of_source);
    for meaning in sources.filter(|source| needed.contains(&source.name)) {
        keep(&meaning, &mut frames);
        meanings.push(meaning);
    }
    for derived in &world.queries {
        if needed.contains(&derived.name) {
            let meaning = of_query(derived, &frames);
            keep(&meaning, &mut frames);
            meanings.push(meaning);
        }
    }
    meanings
}

fn keep(meaning: &Meaning, frames: &mut BTreeMap<String, Frame>) {
    if let Ok(made) = &meaning.value {
        frames.insert(meaning.name.clone(), made.frame.clone());
    }
}

fn of_source(source: &Source) -> Meaning {
    let Source { name, content, key } = source;
    let identity = Identity::Ingest {
        path: path(name),
        csv: content.csv(),
        key: key.clone(),
    };
    let frame = content.clone().keyed(key);
    Meaning {
        name: name.clone(),
        value: frame
            .map(|frame| Made { identity, frame })
            .ok_or(Broken::Execution),
        inputs: BTreeMap::new(),
        question: None,
    }
}

fn of_query(derived: &Derived, frames: &BTreeMap<String, Frame>) -> Meaning {
    let names = derived.query.inputs();
    let known = |name: &String| Some((name.clone(), frames.get(name)?.clone()));
    let Some(inputs) = names.iter().map(known).collect::<Option<BTreeMap<_, _>>>() else {
        return Meaning {
            name: derived.name.clone(),
            value: Err(Broken::Input),
            inputs: BTreeMap::new(),
            question: None,
        };
    };
    let schema =
        |(name, frame): (&String, &Frame)| (name.clone(), (frame.names(), frame.key.clone()));
    let work = work(derived);
    let question = (work.clone(), inputs.iter().map(schema).collect());
    Meaning {
        name: derived.name.clone(),
        value: made(derived, work, &inputs),
        question: Some(question),
        inputs,
    }
}

fn work(derived: &Derived) -> Work {
    let plain = Derived {
        dress: crate::world::Dress::default(),
        ..derived.clone()
    };
    Work {
        code: plain.sql(),
        params: derived.params.clone(),
        key: derived.key.clone(),
    }
}

fn made(derived: &Derived, work: Work, inputs: &BTreeMap<String, Frame>) -> Result<Made, Broken> {
    let plan = plan(&derived.query, inputs)?;
    let seen = |(name, frame): (&String, &Frame)| {
        let read = plan.iter().filter(|(input, _)| input == name);
        let column = |(_, column): &(String, String)| {
            let values = frame
                .column(column)
                .expect("a plan names columns that are there");
            (column.clone(), values.to_vec())
        };
        let columns = read.map(column).collect();
        let rows = frame.rows;
        (name.clone(), Seen { rows, columns })
    };
    let inputs_seen = inputs.iter().map(seen).collect();
    let frame = values(derived, &plan, inputs)?;
    let frame = frame.keyed(&derived.key).ok_or(Broken::Execution)?;
    let identity = Identity::Sql {
        work,
        plan,
        inputs: inputs_seen,
    };
    Ok(Made { identity, frame })
}

/// The columns that the names in a query mean, in the order in which they are used.
fn plan(query: &Query, inputs: &BTreeMap<String, Frame>) -> Result<Vec<(String, String)>, Broken> {
    if let Query::All { from } = query {
        let names = inputs[from].names().into_iter();
        return Ok(names.map(|name| (from.clone(), name)).collect());
    }
    let from = query.inputs();
    let mut plan = Vec::new();
    for term in query.terms() {
        if let Term::Column(input, name) = term {
            let mut candidates = match input {
                Some(input) => from[*input..=*input].iter(),
                None => from.iter(),
            };
            let meant = candidates.find(|input| inputs[*input].column(name).is_some());
            plan.push((meant.ok_or(Broken::Name)?.clone(), name.clone()));
        }
    }
    Ok(plan)
}

fn values(
    derived: &Derived,
    plan: &[(String, String)],
    inputs: &BTreeMap<String, Frame>,
) -> Result<Frame, Broken> {
    let (items, from) = match &derived.query {
        Query::All { from } => return Ok(inputs[from].clone()),
        Query::Count { from } => {
            return Ok(Frame {
                rows: 1,
                columns: vec![("n".to_owned(), vec![inputs[from].rows as i64])],
                key: Vec::new(),
            });
        }
        Query::Select { items, from } => (items, from),
    };
    let rows = from
        .iter()
        .map(|input| inputs[input].rows)
        .min()
        .unwrap_or(0);
    let mut plan = plan.iter();
    let mut term = |term: &Term| match term {
        Term::Number(number) => vec![*number; rows],
        Term::Param(name) => vec![derived.params[name]; rows],
        Term::Column(..) => {
            let (input, column) = plan.next().expect("a plan has every column");
            let values = inputs[input].column(column).expect("it is there");
            values[..rows].to_vec()
        }
    };
    let mut columns = Vec::new();
    for (expression, name) in items {
        let values = match expression {
            Expression::Term(one) => term(one),
            Expression::Binary(left, operator, right) => {
                let (left, right) = (term(left), term(right));
                let pairs = left.into_iter().zip(right);
                let values = pairs.map(|(left, right)| binary(left, *operator, right));
                values
                    .collect::<Option<Vec<i64>>>()
                    .ok_or(Broken::Execution)?
            }
        };
        columns.push((name.clone(), values));
    }
    let key = Vec::new();
    Ok(Frame { rows, columns, key })
}

fn binary(left: i64, operator: char, right: i64) -> Option<i64> {
    match operator {
        '+' => Some(left.wrapping_add(right)),
        '-' => Some(left.wrapping_sub(right)),
        '*' => Some(left.wrapping_mul(right)),
        _ => left.checked_div(right),
    }
}
