//! Tests: no text makes the analysis panic; what it takes for a query has one canonical form, and every place is one of
//! whole characters.

use std::ops::Range;

use mlbuild_testing::{Corpus, fuzz};

use crate::analyze;

const INPUTS: [&[u8]; 6] = [
    b"select id, amount from data.orders -- all\nwhere note like 'a%' and amount > $least",
    b"with s as (select *, row_number() over (partition by u order by t desc) as n from data.events) select u, max(n) as n from s group by 1 having count(*) > 2 order by n limit 3",
    b"select case when a is null then 'none' else cast(a as varchar) end as \"\xc3\xa4\", b['x'], array_agg(distinct c) filter (where c > 1.5e3) from features.train t left join data.b using (id)",
    b"select * exclude (a) from data.a union all select * from (values (1, interval '1 day'), (2, null)) v (x, y)",
    b"select substring(x from 1 for 2) || $$dollar$$, x::int, extract(year from t), exists (select 1 from data.z) /* c /* d */ */ from data.a, unnest([1,2]) as u",
    // Found by fuzzing: neither the statement nor its tokens render back to what they were.
    b"select e like X''''",
];

const WORDS: [&str; 44] = [
    "select ",
    " from ",
    "data.",
    "features.x",
    " where ",
    "(",
    ")",
    ",",
    ";",
    "--",
    "/*",
    "*/",
    "$p",
    "$1",
    "?",
    "::",
    "now()",
    "random()",
    "'",
    "\"",
    "$$",
    "E'\\",
    "U&'",
    "X'0g'",
    "with recursive ",
    " as ",
    "insert into ",
    "create table ",
    "case ",
    " end ",
    "[",
    "]",
    "{",
    " group by all",
    " over (",
    " lateral ",
    " union ",
    " not ",
    "between ",
    " and ",
    "explain ",
    "\u{a0}",
    "N''",
    "@@",
];

fn assert_inside(text: &str, range: &Range<usize>) {
    assert!(text.get(range.clone()).is_some(), "{range:?} in {text:?}");
}

#[test]
fn no_text_breaks_the_analysis() {
    let corpus = Corpus {
        inputs: &INPUTS,
        words: &WORDS,
        rounds: 1_500,
    };
    fuzz("sql", corpus, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match analyze(&text) {
            Ok(query) => {
                let tables = query.tables.iter().map(|table| &table.range);
                let places = tables.chain(query.params.iter().map(|param| &param.range));
                places.for_each(|range| assert_inside(&text, range));
                let again = analyze(&query.canonical).expect("a canonical form is a query");
                assert_eq!(again.canonical, query.canonical);
                let names = |query: &crate::Query| {
                    let tables = query.tables.iter();
                    let tables: Vec<_> = tables.map(|t| (t.kind.clone(), t.name.clone())).collect();
                    let params: Vec<_> = query.params.iter().map(|p| p.name.clone()).collect();
                    (tables, params)
                };
                assert_eq!(names(&again), names(&query));
            }
            Err(errors) => {
                assert!(!errors.is_empty());
                for error in errors {
                    assert!(!error.message.is_empty());
                    assert_inside(&text, &error.range);
                }
            }
        }
    });
}
