//! Tables to sequences of item indices.
//!
//! All mistakes of a table are counted before it is refused, and the first of each kind is shown with its row: rows are
//! numbered from 1, as they lie in the table.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use mlbuild_action::{Cancel, Diagnostic, Failure, InputFolder, Schema, Table};
use mlbuild_table::{FILE_NAME, TableError, TableReader, type_name};

use crate::catalog::{Catalog, ItemType, Items, not_items};
use crate::{invalid, stop_if_cancelled};

/// Sequences of catalog indices, oldest item first, in the table's row order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sequences {
    /// All rows' items, one row after the other.
    pub(crate) items: Vec<u32>,
    /// Where each row's items begin, and at last where they end: `[rows + 1]`.
    pub(crate) offsets: Vec<usize>,
}

impl Sequences {
    pub(crate) fn new() -> Self {
        Self {
            items: Vec::new(),
            offsets: vec![0],
        }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The sequence of a row, from 0.
    pub(crate) fn get(&self, row: usize) -> &[u32] {
        &self.items[self.offsets[row]..self.offsets[row + 1]]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.len()).map(|row| self.get(row))
    }

    fn end_row(&mut self) {
        self.offsets.push(self.items.len());
    }
}

/// Where the items of sequences are looked up.
pub(crate) enum Lookup<'a> {
    /// In a catalog that has them all.
    In(&'a Catalog),
    /// In a catalog that takes those it does not have, once the type of items is known.
    Growing(&'a mut Option<Catalog>),
}

/// Opens columns of the table that is the input `name`.
pub(crate) fn open(
    name: &str,
    input: &InputFolder,
    columns: &[&str],
) -> Result<TableReader, Failure> {
    open_file(name, &input.path.join(FILE_NAME), columns)
}

/// Opens columns of a table, called `name` in diagnostics.
pub(crate) fn open_file(name: &str, path: &Path, columns: &[&str]) -> Result<TableReader, Failure> {
    TableReader::open_columns(path, columns).map_err(|error| match error {
        TableError::NoColumn { column, available } => Failure::Invalid(
            Diagnostic::error(
                "model::no-column",
                format!("`{name}` has no column `{column}`"),
            )
            .help(format!("it has `{}`", available.join("`, `"))),
        ),
        error => error.into(),
    })
}

/// Reads the catalog: the first key column of the table, else its column `item_id`, else its first column.
pub(crate) fn read_catalog(input: &InputFolder, cancel: &Cancel) -> Result<Catalog, Failure> {
    const NAME: &str = "catalog";
    let path = input.path.join(FILE_NAME);
    let table = input.table.as_ref().map(Table::schema);
    let column = table.as_ref().and_then(Schema::item_column);
    let column = column.ok_or_else(|| invalid("model::catalog", "`catalog` is not a table"))?;
    read_catalog_column(NAME, &path, column, cancel)
}

/// Reads a catalog from the column of a table.
pub(crate) fn read_catalog_column(
    name: &str,
    path: &Path,
    column: &str,
    cancel: &Cancel,
) -> Result<Catalog, Failure> {
    let reader = open_file(name, path, &[column])?;
    let data_type = reader.schema().field(0).data_type();
    let item_type = ItemType::of(data_type).ok_or_else(|| not_items(name, column, data_type))?;
    let mut catalog = Catalog::new(item_type);
    each_item(
        reader,
        name,
        column,
        cancel,
        |items, slot, row, mistakes| match catalog.get(items, slot) {
            Some(_) => mistakes.add("model::catalog-duplicate", "occurs twice", row, || {
                items.show(slot)
            }),
            None => {
                catalog.add(items, slot);
            }
        },
    )?;
    if catalog.len() == 0 {
        return Err(invalid("model::empty", format!("`{name}` has no rows")));
    }
    Ok(catalog)
}

/// Calls `each` with every item of the column that `reader` reads, and its row; refuses nulls and what `each` complains
/// about.
fn each_item(
    reader: TableReader,
    name: &str,
    column: &str,
    cancel: &Cancel,
    mut each: impl FnMut(&Items, usize, u64, &mut Mistakes),
) -> Result<(), Failure> {
    let mut mistakes = Mistakes::new(name, column);
    let mut row = 0;
    for batch in reader {
        stop_if_cancelled(cancel)?;
        let items = Items::new(column, batch?.column(0))?;
        for slot in 0..items.len() {
            row += 1;
            if items.is_null(slot) {
                mistakes.null(row);
            } else {
                each(&items, slot, row, &mut mistakes);
            }
        }
    }
    mistakes.refuse()
}

/// Reads the column with sequences of the input `name`.
///
/// # Errors
/// A column that is missing or does not hold lists of items; rows without a sequence; items that are null or not in the
/// catalog.
pub(crate) fn read_sequences(
    name: &str,
    input: &InputFolder,
    column: &str,
    mut lookup: Lookup<'_>,
    cancel: &Cancel,
) -> Result<Sequences, Failure> {
    let reader = open(name, input, &[column])?;
    let data_type = reader.schema().field(0).data_type().clone();
    let item_type = list_items(name, input, column, &data_type)?;
    if let Lookup::Growing(catalog) = &mut lookup {
        catalog.get_or_insert_with(|| Catalog::new(item_type));
    }
    same_type(name, column, item_type, &lookup)?;
    let mut sequences = Sequences::new();
    let mut mistakes = Mistakes::new(name, column);
    for batch in reader {
        stop_if_cancelled(cancel)?;
        let batch = batch?;
        add_lists(
            batch.column(0),
            column,
            &mut lookup,
            &mut sequences,
            &mut mistakes,
        )?;
    }
    mistakes.refuse()?;
    Ok(sequences)
}

fn add_lists(
    lists: &ArrayRef,
    column: &str,
    lookup: &mut Lookup<'_>,
    sequences: &mut Sequences,
    mistakes: &mut Mistakes<'_>,
) -> Result<(), Failure> {
    let lists = lists.as_list::<i32>();
    let items = Items::new(column, lists.values())?;
    for slot in 0..lists.len() {
        let row = sequences.len() as u64 + 1;
        if lists.is_null(slot) {
            mistakes.add("model::null", "is null", row, String::new);
            sequences.end_row();
            continue;
        }
        let offsets = lists.offsets();
        for element in offsets[slot] as usize..offsets[slot + 1] as usize {
            if items.is_null(element) {
                mistakes.null(row);
                continue;
            }
            match index_of(lookup, &items, element) {
                Some(index) => sequences.items.push(index),
                None => mistakes.unknown(row, || items.show(element)),
            }
        }
        sequences.end_row();
    }
    Ok(())
}

fn index_of(lookup: &mut Lookup<'_>, items: &Items, slot: usize) -> Option<u32> {
    match lookup {
        Lookup::In(catalog) => catalog.get(items, slot),
        Lookup::Growing(catalog) => {
            let catalog = catalog.as_mut().expect("made before the first row is read");
            Some(match catalog.get(items, slot) {
                Some(index) => index,
                None => catalog.add(items, slot),
            })
        }
    }
}

/// Reads the column with one item a row of the input `name`.
///
/// # Errors
/// As [`read_sequences`].
pub(crate) fn read_labels(
    name: &str,
    input: &InputFolder,
    column: &str,
    catalog: &Catalog,
    cancel: &Cancel,
) -> Result<Vec<u32>, Failure> {
    let reader = open(name, input, &[column])?;
    let data_type = reader.schema().field(0).data_type();
    let item_type = ItemType::of(data_type).ok_or_else(|| not_items(name, column, data_type))?;
    same_type(name, column, item_type, &Lookup::In(catalog))?;
    let mut labels = Vec::new();
    each_item(
        reader,
        name,
        column,
        cancel,
        |items, slot, row, mistakes| match catalog.get(items, slot) {
            Some(index) => labels.push(index),
            None => mistakes.unknown(row, || items.show(slot)),
        },
    )?;
    Ok(labels)
}

fn list_items(
    name: &str,
    input: &InputFolder,
    column: &str,
    data_type: &DataType,
) -> Result<ItemType, Failure> {
    match data_type {
        DataType::List(item) => {
            ItemType::of(item.data_type()).ok_or_else(|| not_items(name, column, data_type))
        }
        _ => {
            let message = format!(
                "column `{column}` of `{name}` is {}, not a list of items",
                type_name(data_type)
            );
            let diagnostic = Diagnostic::error("model::sequence-type", message);
            let all = TableReader::open(&input.path.join(FILE_NAME))?;
            Err(Failure::Invalid(diagnostic.help(format!(
                "`sequence` names the column with each row's items, oldest first; `{name}` has {}",
                described(all.schema())
            ))))
        }
    }
}

fn described(schema: &ArrowSchema) -> String {
    let fields = schema.fields().iter();
    let described: Vec<_> = fields
        .map(|field| format!("`{}: {}`", field.name(), type_name(field.data_type())))
        .collect();
    described.join(", ")
}

fn same_type(
    name: &str,
    column: &str,
    found: ItemType,
    lookup: &Lookup<'_>,
) -> Result<(), Failure> {
    let expected = match lookup {
        Lookup::In(catalog) => catalog.item_type(),
        Lookup::Growing(_) => return Ok(()),
    };
    if found == expected {
        return Ok(());
    }
    Err(invalid(
        "model::item-type",
        format!(
            "items in column `{column}` of `{name}` are {}, those of the catalog {}",
            found.as_str(),
            expected.as_str()
        ),
    ))
}

/// The first mistake found in a column, and how many of its kind there are.
struct Mistakes<'a> {
    table: &'a str,
    column: &'a str,
    first: Option<Mistake>,
}

struct Mistake {
    code: &'static str,
    what: &'static str,
    row: u64,
    value: String,
    count: u64,
}

impl<'a> Mistakes<'a> {
    fn new(table: &'a str, column: &'a str) -> Self {
        Self {
            table,
            column,
            first: None,
        }
    }

    fn null(&mut self, row: u64) {
        self.add("model::null", "holds a null item", row, String::new);
    }

    fn unknown(&mut self, row: u64, value: impl FnOnce() -> String) {
        self.add("model::unknown-item", "is not in the catalog", row, value);
    }

    fn add(
        &mut self,
        code: &'static str,
        what: &'static str,
        row: u64,
        value: impl FnOnce() -> String,
    ) {
        match &mut self.first {
            None => {
                self.first = Some(Mistake {
                    code,
                    what,
                    row,
                    value: value(),
                    count: 1,
                });
            }
            Some(first) if first.what == what => first.count += 1,
            Some(_) => {}
        }
    }

    fn refuse(self) -> Result<(), Failure> {
        let Self { table, column, .. } = self;
        let Some(Mistake {
            code,
            what,
            row,
            value,
            count,
        }) = self.first
        else {
            return Ok(());
        };
        let place = format!("column `{column}` of `{table}`");
        let message = if value.is_empty() {
            format!("{place} {what} in row {row}")
        } else {
            format!("item {value} in {place}, row {row}, {what}")
        };
        let diagnostic = Diagnostic::error(code, message);
        let more = (count > 1).then(|| format!("{count} of this kind in all"));
        let diagnostic = diagnostic.detail(more);
        let help = match code {
            "model::unknown-item" => {
                Some("every item needs a row in the catalog; filter out those it lacks")
            }
            "model::null" => Some("filter out nulls in the query that makes the table"),
            "model::catalog-duplicate" => Some("a catalog has one row an item"),
            _ => None,
        };
        Err(Failure::Invalid(match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }))
    }
}
