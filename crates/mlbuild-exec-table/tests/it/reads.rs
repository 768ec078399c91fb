//! What a query is said to read is what its result depends on: on random queries, tables and edits of them.
//!
//! An action is keyed as the engine keys it: row counts, the columns read, the plan. The law is that equal keys give
//! equal tables. And the columns said to be read are exactly those that the scans of DataFusion's own physical plan read:
//! neither canonical order nor the breaking of ties adds one.
//! `MLBUILD_ROUNDS` sets the number of queries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::MemorySchemaProvider;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use mlbuild_action::{
    Action, Analysis, Executor, Failure, Input, InputContent, Schema, Table, Work,
};
use mlbuild_exec_table::TableExecutor;

use crate::harness::{Bench, sql};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }

    fn often(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

/// A table as CSV columns: name and values.
#[derive(Clone)]
struct Columns(Vec<(String, Vec<String>)>);

impl Columns {
    fn random(names: &[&str], dice: &mut Dice) -> Self {
        let rows = 3 + dice.roll(6);
        let column = |name: &&str| {
            let value = |row: usize, dice: &mut Dice| match *name {
                "id" => (row + 1).to_string(),
                "s" | "t" => format!("\"{}\"", dice.pick(&["red", "green", "blue"])),
                _ => dice.roll(5).to_string(),
            };
            let values = (0..rows).map(|row| value(row, dice)).collect();
            ((*name).to_owned(), values)
        };
        Self(names.iter().map(column).collect())
    }

    fn csv(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        let mut csv = names.join(",") + "\n";
        for row in 0..self.0[0].1.len() {
            let values: Vec<_> = self
                .0
                .iter()
                .map(|(_, values)| values[row].as_str())
                .collect();
            csv += &(values.join(",") + "\n");
        }
        csv
    }

    /// One edit that leaves the first column, and so the number of rows, alone.
    fn edit(&mut self, dice: &mut Dice) {
        let at = 1 + dice.roll(self.0.len() - 1);
        match dice.roll(5) {
            0 | 1 => {
                let values = &mut self.0[at].1;
                let row = dice.roll(values.len());
                values[row] = if values[row].starts_with('"') {
                    "\"violet\""
                } else {
                    "9"
                }
                .to_owned();
            }
            2 => {
                // Another type, too.
                let values = &mut self.0[at].1;
                let texts = values
                    .iter()
                    .map(|value| format!("\"v{}\"", value.trim_matches('"')));
                *values = texts.collect();
            }
            3 => {
                let values = self.0[at].1.clone();
                let name = dice.pick(&["extra", "x", "u", "s"]);
                if self.0.iter().all(|(known, _)| known != name) {
                    self.0.push((name.to_owned(), values));
                }
            }
            _ => {
                let column = self.0.remove(at);
                if dice.often(50) {
                    self.0.push(column);
                }
            }
        }
    }
}

/// A random query over `data.a (id, x, y, s)` and `data.b (id, u, v, t)`.
fn query(dice: &mut Dice) -> String {
    let number = |dice: &mut Dice| match dice.roll(6) {
        0 => format!("a.{} + 1", dice.pick(&["x", "y"])),
        1 => "case when a.s = 'red' then a.x else 0 end".to_owned(),
        2 => "length(a.s)".to_owned(),
        3 => "a.y * 0".to_owned(),
        _ => format!("a.{}", dice.pick(&["id", "x", "y"])),
    };
    let filter = |dice: &mut Dice| {
        dice.pick(&[
            "",
            "",
            " where a.x > 1",
            " where a.s <> 'green' and a.id < 5",
            " where a.y = a.y or a.x = 2",
            " where a.id in (select b.id from data.b as b where b.u > 1)",
            " where a.x > (select min(u) from data.b)",
            " where false",
        ])
        .to_owned()
    };
    match dice.roll(8) {
        0 => format!("select * from data.a as a{}", filter(dice)),
        1 => format!("select count(*) as n from data.a as a{}", filter(dice)),
        2 => format!(
            "select {} as p, {} as q from data.a as a{}",
            number(dice),
            number(dice),
            filter(dice)
        ),
        3 => format!(
            "select a.s, {}({}) as m, count(*) as n from data.a as a{} group by a.s",
            dice.pick(&["min", "max", "sum", "count"]),
            number(dice),
            filter(dice)
        ),
        4 => format!(
            "select {} as p, b.{} as q from data.a as a {}join data.b as b on a.id = b.id{}",
            number(dice),
            dice.pick(&["u", "v", "t"]),
            dice.pick(&["", "left "]),
            filter(dice)
        ),
        5 => format!(
            "with c as (select *, row_number() over (partition by s order by x, id) as r from data.a) select {} as p from c as a where a.r <= 2",
            number(dice)
        ),
        6 => format!(
            "select id, x from data.a union all select {}, v from data.b",
            dice.pick(&["id", "u"])
        ),
        _ => format!(
            "select {} as p from data.a as a{} order by p limit {}",
            number(dice),
            filter(dice),
            1 + dice.roll(3)
        ),
    }
}

fn bench(tables: &BTreeMap<&str, Columns>) -> Bench {
    let bench = Bench::new();
    tables.iter().fold(bench, |bench, (label, columns)| {
        bench.table(label, &columns.csv())
    })
}

fn tables_of(bench: &Bench) -> BTreeMap<String, Table> {
    let inputs = bench.inputs.iter();
    inputs
        .map(|(name, input)| (name.clone(), input.table.clone().unwrap()))
        .collect()
}

fn analyze(work: &Work, tables: &BTreeMap<String, Table>) -> Result<Analysis, Failure> {
    let schemas = tables
        .iter()
        .map(|(name, table)| (name.clone(), table.schema()));
    TableExecutor::new().analyze(work, &schemas.collect::<BTreeMap<String, Schema>>())
}

/// The key, as the engine makes it.
fn key(work: &Work, tables: &BTreeMap<String, Table>, analysis: &Analysis) -> String {
    let input = |(name, table): (&String, &Table)| {
        let read = &analysis.reads[name];
        let columns = table
            .columns
            .iter()
            .filter(|column| read.contains(&column.name));
        Input {
            name: name.clone(),
            content: InputContent::Columns {
                rows: table.rows,
                columns: columns.cloned().collect(),
            },
        }
    };
    let action = Action {
        work: work.clone(),
        inputs: tables.iter().map(input).collect(),
        plan: analysis.plan,
        code: BTreeMap::new(),
        toolchain: String::new(),
    };
    action.key().to_string()
}

fn rounds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the long form of a test is asked for by name"
    )]
    let rounds = std::env::var("MLBUILD_ROUNDS");
    rounds.ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

#[test]
fn equal_keys_give_equal_tables_whatever_else_differs() {
    let (mut kept, mut moved) = (0, 0);
    for round in 0..rounds() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (round + 1));
        for _ in 0..10 {
            dice.roll(2);
        }
        let text = query(&mut dice);
        let work = Work::Sql(sql(&text));
        let tables = BTreeMap::from([
            ("data:a", Columns::random(&["id", "x", "y", "s"], &mut dice)),
            ("data:b", Columns::random(&["id", "u", "v", "t"], &mut dice)),
        ]);
        let before = bench(&tables);
        let analysis =
            analyze(&work, &tables_of(&before)).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let ran = before
            .run(&work)
            .unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let old = key(&work, &tables_of(&before), &analysis);
        for _ in 0..4 {
            let label = dice.pick(&["data:a", "data:b"]);
            let mut edited = tables.clone();
            edited.get_mut(label).unwrap().edit(&mut dice);
            let after = bench(&edited);
            let Ok(analysis) = analyze(&work, &tables_of(&after)) else {
                continue; // it no longer fits, and says so before any key is made
            };
            if key(&work, &tables_of(&after), &analysis) != old {
                moved += 1;
                continue;
            }
            kept += 1;
            let again = after.run(&work).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            let (old, new) = (ran.table().digest(), again.table().digest());
            assert_eq!(old, new, "round {round}: {text}\n{}", edited[label].csv());
        }
    }
    // Both happen, or the test shows nothing.
    assert!(
        kept * 5 > moved && moved * 5 > kept,
        "{kept} kept, {moved} moved"
    );
}

#[test]
fn an_analysis_is_the_same_every_time() {
    let mut dice = Dice(7);
    for _ in 0..30 {
        let text = query(&mut dice);
        let work = Work::Sql(sql(&text));
        let tables = BTreeMap::from([
            ("data:a", Columns::random(&["id", "x", "y", "s"], &mut dice)),
            ("data:b", Columns::random(&["id", "u", "v", "t"], &mut dice)),
        ]);
        let tables = tables_of(&bench(&tables));
        let first = analyze(&work, &tables).unwrap();
        // Every hash map in DataFusion is seeded anew.
        for _ in 0..5 {
            assert_eq!(analyze(&work, &tables).unwrap(), first, "{text}");
        }
    }
}

/// Which columns of each input a physical plan reads from its file.
type Reads = BTreeMap<String, BTreeSet<String>>;

/// What DataFusion, left alone, reads for a query: it plans the text itself, over the files, without their statistics.
fn physical_reads(bench: &Bench, text: &str) -> Reads {
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_collect_statistics(false);
    let context = SessionContext::new_with_config(config);
    let catalog = context.catalog("datafusion").unwrap();
    let schema = Arc::new(MemorySchemaProvider::new());
    catalog.register_schema("data", schema).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for (label, input) in &bench.inputs {
            let file = input.path.join("table.parquet");
            context
                .register_parquet(
                    label.replace(':', "."),
                    file.to_str().unwrap(),
                    ParquetReadOptions::default(),
                )
                .await
                .unwrap();
        }
        let frame = context.sql(text).await.unwrap();
        let plan = frame.create_physical_plan().await.unwrap();
        let mut reads = bench
            .inputs
            .keys()
            .map(|label| (label.clone(), BTreeSet::new()))
            .collect();
        add_scans(plan.as_ref(), bench, &mut reads);
        reads
    })
}

fn add_scans(plan: &dyn ExecutionPlan, bench: &Bench, reads: &mut Reads) {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        let source = scan.data_source().downcast_ref::<FileScanConfig>().unwrap();
        let file = source.file_groups[0].files()[0].path().to_string();
        let (label, _) = bench
            .inputs
            .iter()
            .find(|(_, input)| {
                let folder = input.path.to_str().unwrap().trim_start_matches('/');
                file.starts_with(&format!("{folder}/"))
            })
            .expect("an input's file");
        let read = reads.get_mut(label).unwrap();
        let columns = source.file_schema().fields();
        match source.file_source().projection() {
            None => read.extend(columns.iter().map(|column| column.name().clone())),
            Some(projection) => {
                let projected = projection.column_indices().into_iter();
                read.extend(projected.map(|at| columns[at].name().clone()));
            }
        }
        let filters = source.file_source().filter();
        let filtered = filters.iter().flat_map(collect_columns);
        read.extend(filtered.map(|column| column.name().to_owned()));
    }
    for child in plan.children() {
        add_scans(child.as_ref(), bench, reads);
    }
}

#[test]
fn what_an_analysis_says_is_what_datafusion_reads() {
    let mut narrow = 0;
    for round in 0..rounds() {
        let mut dice = Dice(0x51_7c_c1_b7_27_22_0a_95 ^ (round + 1));
        for _ in 0..10 {
            dice.roll(2);
        }
        let text = query(&mut dice);
        let tables = BTreeMap::from([
            ("data:a", Columns::random(&["id", "x", "y", "s"], &mut dice)),
            ("data:b", Columns::random(&["id", "u", "v", "t"], &mut dice)),
        ]);
        let bench = bench(&tables);
        let expected = physical_reads(&bench, &text);
        let analysis = analyze(&Work::Sql(sql(&text)), &tables_of(&bench)).unwrap();
        assert_eq!(analysis.reads, expected, "round {round}: {text}");
        narrow += usize::from(expected.values().any(|read| read.len() < 4));
    }
    assert!(narrow > 0, "all queries read everything");
}
