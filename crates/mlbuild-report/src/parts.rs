//! Reads a table of predictions with all threads, and joins it to truth.
//!
//! Each thread takes a part of consecutive rows. A part's rows come back with the rows of truth that they belong to;
//! [`join`] then sees to it that every row of truth has exactly one. Nothing of what comes out depends on how many parts
//! there were.

use std::ops::Range;

use mlbuild_action::{Cancel, Failure};

use crate::evidence::{invalid, key_columns};
use crate::keys::Keys;
use crate::table::{Batch, Source};
use crate::words::plural;

/// How many offending rows a diagnostic shows.
const EXAMPLES: usize = 5;
/// Fewer rows than this are no work for two threads.
const PART_ROWS: usize = 20_000;

/// Rows that are not as they must be: how many, and the first few of them.
#[derive(Default)]
pub(crate) struct Offenders {
    pub count: u64,
    pub examples: Vec<String>,
}

impl Offenders {
    /// Notes one.
    pub(crate) fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    /// Notes those of the rows that follow.
    pub(crate) fn append(&mut self, other: Self) {
        self.count += other.count;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }
}

/// What of a table is read, and how it is joined.
pub(crate) struct Reading<'a> {
    pub source: &'a Source<'a>,
    /// The key columns, then those of the predictions.
    pub columns: &'a [&'a str],
    pub key: &'a [String],
    pub keys: &'a Keys,
    pub threads: usize,
    pub cancel: &'a Cancel,
}

/// The rows of one part, in the order of the table.
pub(crate) struct Part<P> {
    /// The rows of truth that they belong to.
    pub rows: Vec<u32>,
    /// What was taken of them.
    pub taken: P,
    unknown: Offenders,
}

impl Reading<'_> {
    /// Reads all rows: `begin` makes what a part takes, `take` takes the rows of a batch, given the row of truth of each
    /// (`None` for one that truth lacks, which is not to be taken).
    ///
    /// # Errors
    /// Those of reading, and what `take` says; the first one in the order of the table.
    pub(crate) fn parts<P: Send>(
        &self,
        begin: impl Fn() -> P + Sync,
        take: impl Fn(&mut P, &Batch<'_>, &[Option<u32>]) -> Result<(), Failure> + Sync,
    ) -> Result<Vec<Part<P>>, Failure> {
        let rows = self.source.rows() as usize;
        let parts = self.threads.min(rows / PART_ROWS).max(1);
        let ranges = (0..parts).map(|part| (rows * part / parts)..(rows * (part + 1) / parts));
        let read = |range: Range<usize>| self.part(range, &begin, &take);
        if parts == 1 {
            return Ok(vec![read(0..rows)?]);
        }
        std::thread::scope(|scope| {
            let read = &read;
            let threads: Vec<_> = ranges
                .map(|range| scope.spawn(move || read(range)))
                .collect();
            let results = threads.into_iter().map(|thread| match thread.join() {
                Ok(part) => part,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            // All threads end before the first failure is told.
            let results: Vec<_> = results.collect();
            results.into_iter().collect()
        })
    }

    fn part<P>(
        &self,
        range: Range<usize>,
        begin: &impl Fn() -> P,
        take: &impl Fn(&mut P, &Batch<'_>, &[Option<u32>]) -> Result<(), Failure>,
    ) -> Result<Part<P>, Failure> {
        let whole = range.len() as u64 == self.source.rows();
        let mut at = range.start;
        let selection = (!whole).then_some(range);
        let mut batches = self
            .source
            .read_rows(self.columns, selection, self.cancel)?;
        let mut part = Part {
            rows: Vec::new(),
            taken: begin(),
            unknown: Offenders::default(),
        };
        let mut found = Vec::new();
        while let Some(batch) = batches.next()? {
            let keys = key_columns(&batch, self.key)?;
            found.clear();
            for index in 0..batch.rows() {
                let row = self.keys.find(&keys, index, at + index);
                match row {
                    Some(row) => part.rows.push(row as u32),
                    None => part.unknown.add(|| self.keys.display_other(&keys, index)),
                }
                found.push(row.map(|row| row as u32));
            }
            at += batch.rows();
            take(&mut part.taken, &batch, &found)?;
        }
        Ok(part)
    }

    /// Sees to it that the parts hold every row of truth once. Returns for each row of truth which row of the parts, counted
    /// over all of them, it is; `None` if they come in the order of truth.
    pub(crate) fn join<P>(
        &self,
        parts: &mut [Part<P>],
        truth_rows: usize,
    ) -> Result<Option<Vec<u32>>, Failure> {
        const NONE: u32 = u32::MAX;
        let name = self.source.name();
        let help = "`truth` and predictions need one row each for every key: predict on the table that is the truth";
        let wrong = |code, message: String, examples| {
            Err(invalid(code, message, |d| d.detail(examples).help(help)))
        };
        let mut unknown = Offenders::default();
        let mut repeated = Offenders::default();
        let mut place = vec![NONE; truth_rows];
        let mut count = 0u32;
        let mut in_order = true;
        for part in parts.iter_mut() {
            unknown.append(std::mem::take(&mut part.unknown));
            for row in &part.rows {
                in_order &= *row == count;
                let place = &mut place[*row as usize];
                if *place == NONE {
                    *place = count;
                } else {
                    repeated.add(|| self.keys.display(*row as usize));
                }
                count += 1;
            }
        }
        if repeated.count > 0 {
            let rows = plural(repeated.count, "row");
            let message = format!("`{name}` has {rows} with a key that an earlier row has");
            return wrong("report::duplicate-key", message, repeated.examples);
        }
        if unknown.count > 0 {
            let rows = plural(unknown.count, "row");
            let message = format!("`{name}` has {rows} with a key that `truth` lacks");
            return wrong("report::extra-key", message, unknown.examples);
        }
        let mut missing = Offenders::default();
        for (row, place) in place.iter().enumerate() {
            if *place == NONE {
                missing.add(|| self.keys.display(row));
            }
        }
        if missing.count > 0 {
            let (missing, examples) = (missing.count, missing.examples);
            let rows = plural(truth_rows as u64, "row");
            let message = format!("`{name}` lacks {missing} of {rows} of `truth`");
            return wrong("report::missing-key", message, examples);
        }
        Ok((!in_order).then_some(place))
    }
}

/// `values`, one or more (`width`) a row of the parts, in the order of truth.
pub(crate) fn in_order<T: Copy>(values: Vec<T>, width: usize, place: Option<&[u32]>) -> Vec<T> {
    let Some(place) = place else {
        return values;
    };
    let rows = place.iter().flat_map(|row| {
        let start = *row as usize * width;
        &values[start..start + width]
    });
    rows.copied().collect()
}
