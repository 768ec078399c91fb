//! Splits: a row's part is decided by what it is, never by where it stands or beside what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use mlbuild_action::{Parts, Split, SplitBy, Value, Work};
use mlbuild_testing::Dice;

use crate::harness::{Bench, diagnostic};

fn by_hash(columns: &[&str], parts: Parts, seed: i64) -> Work {
    Work::Split(Split {
        by: SplitBy::Hash {
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            parts,
            seed,
        },
    })
}

fn thirds() -> Parts {
    shares(&[("train", 0.6), ("valid", 0.2), ("test", 0.2)])
}

fn shares(shares: &[(&str, f64)]) -> Parts {
    Parts::Shares(named(shares))
}

fn named<T: Clone>(pairs: &[(&str, T)]) -> Vec<(String, T)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

/// The part of each row by its first column.
fn parts(rows: &[String]) -> BTreeMap<String, String> {
    let pair = |row: &String| {
        let (first, last) = (
            row.split('|').next().unwrap(),
            row.rsplit('|').next().unwrap(),
        );
        (first.to_owned(), last.to_owned())
    };
    rows.iter().map(pair).collect()
}

/// Rows of these ids, each of a user and a time.
fn rows(ids: impl IntoIterator<Item = usize>) -> String {
    let mut csv = "id,user,at\n".to_owned();
    for id in ids {
        let _ = writeln!(csv, "{id},u{},2024-01-{:02}", id % 13, 1 + id % 28);
    }
    csv
}

/// The rows of a split.
fn split(work: &Work, csv: &str) -> Vec<String> {
    let bench = Bench::new().table("input", csv);
    bench.run(work).unwrap().rows()
}

/// Whoever has split a table expects the same split of every later version.
#[test]
fn the_part_of_a_row_does_not_move() {
    let csv = "id,name,day,ok\n1,a,2024-01-01,true\n2,b,2024-01-02,false\n3,ä,2024-01-03,true\n40000000000,x,2024-01-04,true\n\
        -5,e e,1960-01-05,false\n6,f,2024-01-06,true\n7,g,2024-01-07,true\n8,h,2024-01-08,false\n";
    let work = |columns: &[&str], seed| by_hash(columns, shares(&[("a", 0.5), ("b", 0.5)]), seed);
    let of = |columns: &[&str], seed| {
        split(&work(columns, seed), csv)
            .iter()
            .map(|row| row.rsplit('|').next().unwrap().to_owned())
            .collect::<String>()
    };
    let golden = [
        of(&["id"], 0),
        of(&["id"], 1),
        of(&["name"], 0),
        of(&["day"], 0),
        of(&["id", "ok"], 0),
    ];
    assert_eq!(golden, GOLDEN);
}

/// Made by another implementation of `spec/table.md`, in Python:
///
/// ```python
/// def field(b): return struct.pack("<Q", len(b)) + b
/// def place(seed, values):
///     h = field(b"mlbuild split v1") + field(b"seed") + field(struct.pack("<q", seed))
///     for value in values: h += field(b"value") + field(value)
///     return (int.from_bytes(blake3(h).digest()[:8], "little") >> 11) / 2**53
/// ```
const GOLDEN: [&str; 5] = ["baaababb", "aaaabbbb", "aaababaa", "aaabbaaa", "bbbabaaa"];

#[test]
fn rows_keep_their_parts_when_others_come_and_in_any_order() {
    let mut dice = Dice::new(3);
    for seed in 0..8 {
        let work = by_hash(&["id"], thirds(), seed);
        let few = parts(&split(&work, &rows(0..200)));
        let mut shuffled: Vec<usize> = (0..500).collect();
        for i in (1..shuffled.len()).rev() {
            shuffled.swap(i, dice.roll(i + 1));
        }
        let many = parts(&split(&work, &rows(shuffled)));
        for (id, part) in &few {
            assert_eq!(many[id], *part, "row {id}, seed {seed}");
        }
        let of_part = |part: &str| many.values().filter(|found| *found == part).count();
        let (train, valid) = (of_part("train"), of_part("valid"));
        assert!(
            (250..350).contains(&train) && (60..140).contains(&valid),
            "{train} {valid}"
        );
    }
    let seeds = [0, 1].map(|seed| parts(&split(&by_hash(&["id"], thirds(), seed), &rows(0..200))));
    assert_ne!(seeds[0], seeds[1]);
}

#[test]
fn a_group_stays_together_whatever_the_split() {
    let mut dice = Dice::new(5);
    let mut split = 0;
    for round in 0..12 {
        let count = dice.between(2, 5);
        let folds = Parts::Folds(u32::try_from(count).unwrap());
        let parts = if round % 2 == 0 {
            folds
        } else {
            shares(&[("a", 0.5), ("b", 0.5)])
        };
        // Some groups only: with few of them a part may be empty, which is refused.
        let csv = rows((0..400).filter(|id| id % 13 < 12 || round > 5));
        let work = by_hash(&["user"], parts, round);
        let bench = Bench::new().table("input", &csv);
        let Ok(ran) = bench.run(&work) else {
            continue;
        };
        split += 1;
        let mut of_user: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in ran.rows() {
            let values: Vec<&str> = row.split('|').collect();
            of_user
                .entry(values[1].to_owned())
                .or_default()
                .insert(values[3].to_owned());
        }
        assert!(
            of_user.values().all(|parts| parts.len() == 1),
            "{of_user:?}"
        );
    }
    assert!(split > 8, "few of them are refused");
}

#[test]
fn a_split_adds_a_column_and_nothing_else() {
    let csv = rows([5, 3, 9, 1, 7, 8, 2, 4]);
    let bench = Bench::new().table("input", &csv);
    let ran = bench.run(&by_hash(&["id"], Parts::Folds(2), 1)).unwrap();
    assert_eq!(
        ran.columns(),
        ["id Int64", "user Utf8", "at Date32", "fold Int64"]
    );
    let without = |row: &String| row.rsplit_once('|').unwrap().0.to_owned();
    let ids: Vec<String> = ran.rows().iter().map(without).collect();
    assert_eq!(ids[0], "5|u5|2024-01-06");
    assert_eq!(ids.len(), 8);
    let total = ran.output.metrics.values().sum::<f64>();
    assert_eq!(total, 8.0, "{:?}", ran.output.metrics);
}

#[test]
fn time_is_cut_where_it_is_said_or_at_its_quantiles() {
    let csv = "id,at,n\n1,2024-01-01,10\n2,2024-01-05,20\n3,2024-01-05,30\n4,2024-02-01,40\n5,2024-03-01,50\n";
    let until = |column: &str, until: &[(&str, Value)]| {
        Work::Split(Split {
            by: SplitBy::Until {
                column: column.to_owned(),
                until: named(until),
                rest: "test".to_owned(),
            },
        })
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let of = |work: &Work| {
        split(work, csv)
            .iter()
            .map(|row| row.rsplit('|').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let given = until(
        "at",
        &[
            ("train", text("2024-01-05T00:00:01Z")),
            ("valid", text("2024-02-02")),
        ],
    );
    assert_eq!(of(&given), ["train", "train", "train", "valid", "test"]);
    let exact = until("at", &[("train", text("2024-01-05"))]);
    assert_eq!(
        of(&exact),
        ["train", "test", "test", "test", "test"],
        "a bound is the first instant behind the part"
    );
    assert_eq!(
        of(&until("n", &[("train", Value::Int(30))])),
        ["train", "train", "test", "test", "test"]
    );

    let quantiles = |first: f64| {
        Work::Split(Split {
            by: SplitBy::Shares {
                column: "at".to_owned(),
                parts: named(&[("train", first), ("test", 1.0 - first)]),
            },
        })
    };
    assert_eq!(
        of(&quantiles(0.6)),
        ["train", "train", "train", "test", "test"]
    );
    // Two rows of one instant stay together, on the later side.
    assert_eq!(
        of(&quantiles(0.4)),
        ["train", "test", "test", "test", "test"]
    );

    let failed = |work: &Work| {
        let failure = Bench::new().table("input", csv).run(work).err().unwrap();
        let found = diagnostic(&failure);
        (found.code, found.message.clone())
    };
    assert_eq!(
        failed(&until("at", &[("train", text("2023-01-01"))])),
        (
            "split::empty-part",
            "part `train` got none of 5 rows".to_owned()
        )
    );
    assert_eq!(
        failed(&until(
            "at",
            &[("a", text("2024-02-01")), ("b", text("2024-01-01"))]
        ))
        .0,
        "split::order"
    );
    assert_eq!(
        failed(&until("at", &[("train", text("soon"))])).0,
        "split::bound"
    );
    assert_eq!(
        failed(&until("at", &[("train", Value::Int(3))])).0,
        "split::bound"
    );
    assert_eq!(
        failed(&until("when", &[("train", Value::Int(3))])).0,
        "split::unknown-column"
    );
}

#[test]
fn what_cannot_be_split_says_why() {
    let failed = |work: &Work, csv: &str| {
        let failure = Bench::new().table("input", csv).run(work).err().unwrap();
        diagnostic(&failure).to_string()
    };
    let work = by_hash(&["id"], Parts::Folds(2), 0);
    assert!(failed(&work, "id,x\n1,a\n,b\n3,c\n").contains("column `id` is null in row 2"));
    assert!(failed(&work, "id,fold\n1,2\n").contains("the table has a column `fold` already"));
    assert!(
        failed(&work, "id\n1.5\n2.5\n")
            .contains("column `id` is Float64, which does not tell rows apart here")
    );
    let folds = by_hash(&["id"], Parts::Folds(9), 0);
    assert!(failed(&folds, "id\n1\n2\n").contains("got none of 2 rows"));
}
