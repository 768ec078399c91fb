//! What people do to a project between builds.

use crate::world::{COLUMNS, Derived, Dress, Expression, Query, Source, Term, World};
use mlbuild_testing::Dice;

/// Edits a declaration or a source file, and says how.
pub(crate) fn edit(world: &mut World, dice: &mut Dice) -> String {
    match dice.roll(10) {
        0..=3 => {
            let at = dice.roll(world.sources.len());
            edit_source(&mut world.sources[at], dice)
        }
        4 => {
            let fresh = (0..).map(|number| format!("t{number}"));
            let mut fresh =
                fresh.filter(|name| world.queries.iter().all(|query| query.name != *name));
            let name = fresh.next().expect("there are more numbers than targets");
            world.add_query(name.clone(), dice);
            format!("add {name}")
        }
        5 => remove_query(world, dice),
        _ => {
            let at = dice.roll(world.queries.len());
            let mut derived = world.queries[at].clone();
            let said = edit_query(&mut derived, world, at, dice);
            world.queries[at] = derived;
            said
        }
    }
}

fn edit_source(source: &mut Source, dice: &mut Dice) -> String {
    let Source { name, content, key } = source;
    let column = dice.roll(content.columns.len());
    match dice.roll(9) {
        0..=3 if content.rows > 0 => {
            let (row, value) = (dice.roll(content.rows), dice.roll(5) as i64);
            let (column, values) = &mut content.columns[column];
            values[row] = value;
            format!("set {name}.{column}[{row}] = {value}")
        }
        4 if content.rows > 0 => {
            content.rows -= 1;
            for (_, values) in &mut content.columns {
                values.pop();
            }
            format!("remove the last row of {name}")
        }
        5 => {
            let fresh = COLUMNS.iter().find(|known| content.column(known).is_none());
            let Some(fresh) = fresh else {
                return "nothing".to_owned();
            };
            let values = (0..content.rows).map(|_| dice.roll(5) as i64).collect();
            content
                .columns
                .insert(column, ((*fresh).to_owned(), values));
            format!("add column {fresh} to {name}")
        }
        6 if content.columns.len() > 1 => {
            let (column, _) = content.columns.remove(column);
            format!("remove column {column} of {name}")
        }
        7 => {
            content.columns.rotate_left(column);
            format!("reorder {name}: {:?}", content.names())
        }
        8 => {
            *key = match key.is_empty() {
                true => vec![content.columns[column].0.clone()],
                false => Vec::new(),
            };
            format!("key of {name} = {key:?}")
        }
        _ => {
            content.rows += 1;
            for (_, values) in &mut content.columns {
                values.push(dice.roll(5) as i64);
            }
            format!("add a row to {name}")
        }
    }
}

fn remove_query(world: &mut World, dice: &mut Dice) -> String {
    let reads = |reader: &Derived, name: &String| reader.query.inputs().contains(name);
    let is_read = |name: &String| world.queries.iter().any(|reader| reads(reader, name));
    let last = (0..world.queries.len()).filter(|at| !is_read(&world.queries[*at].name));
    let last: Vec<usize> = last.collect();
    if world.queries.len() < 2 {
        return "nothing".to_owned();
    }
    let removed = world.queries.remove(*dice.pick(&last));
    format!("remove {}", removed.name)
}

fn edit_query(derived: &mut Derived, world: &World, at: usize, dice: &mut Dice) -> String {
    let name = derived.name.clone();
    let mut query = derived.query.clone();
    match (dice.roll(10), &mut query) {
        (0, _) => {
            derived.dress = Dress::random(dice);
            return format!("write {name} otherwise");
        }
        (1 | 2, _) if !derived.params.is_empty() => {
            let names: Vec<String> = derived.params.keys().cloned().collect();
            let (param, value) = (dice.pick(&names).clone(), dice.roll(5) as i64);
            derived.params.insert(param.clone(), value);
            return format!("${param} of {name} = {value}");
        }
        (3, _) => {
            let columns = world.columns_of(&name);
            derived.key = match derived.key.is_empty() && !columns.is_empty() {
                true => vec![dice.pick(&columns).clone()],
                false => Vec::new(),
            };
            return format!("key of {name} = {:?}", derived.key);
        }
        (4 | 5, Query::Select { items, .. }) => {
            let item = dice.roll(items.len());
            items[item].0 = items[item].0.equivalent();
        }
        (6 | 7, Query::Select { items, from }) => {
            let item = dice.roll(items.len());
            items[item].0 = world.random_expression(from, dice);
        }
        (8, Query::Select { items, .. }) => {
            let item = dice.roll(items.len());
            items[item].0 = Expression::Binary(Term::Number(1), '/', Term::Number(0));
        }
        _ => query = world.random_query(at, dice),
    }
    derived.set_query(query, dice);
    format!("make {name} {:?}", derived.sql())
}
