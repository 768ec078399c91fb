//! What is read from a query, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write;

use insta::assert_snapshot;
use mlbuild_sql::analyze;

/// What `analyze` says of a text: canonical form, tables, parameters; or each error with the text it is about.
fn check(sql: &str) -> String {
    let mut out = String::new();
    match analyze(sql) {
        Ok(query) => {
            writeln!(out, "{}", query.canonical).unwrap();
            for table in &query.tables {
                let written = &sql[table.range.clone()];
                writeln!(out, "table {}.{} `{written}`", table.kind, table.name).unwrap();
            }
            for param in &query.params {
                writeln!(out, "param {} `{}`", param.name, &sql[param.range.clone()]).unwrap();
            }
        }
        Err(errors) => {
            for error in errors {
                let written = &sql[error.range.clone()];
                writeln!(
                    out,
                    "{error}\n  at {} `{written}`: {}",
                    error.range.start, error.label
                )
                .unwrap();
                if let Some(help) = &error.help {
                    writeln!(out, "  help: {help}").unwrap();
                }
            }
        }
    }
    out
}

fn canonical(sql: &str) -> String {
    analyze(sql)
        .unwrap_or_else(|errors| panic!("{sql}: {errors:?}"))
        .canonical
}

#[test]
fn tables_and_parameters_are_read_from_the_query() {
    assert_snapshot!(check("select e.id from data.events e join features.users u on u.id = e.id where e.ts > $since and e.ts < $until or e.ts = $since"), @r#"
    SELECT e.id FROM data.events e JOIN features.users u ON u.id = e.id WHERE e.ts > $since AND e.ts < $until OR e.ts = $since
    table data.events `data.events`
    table features.users `features.users`
    param since `$since`
    param until `$until`
    "#);
    assert_snapshot!(check("with a as (select * from data.x), b as (select * from a) select * from b union all select * from data.x"), @r#"
    WITH a AS (SELECT * FROM data.x), b AS (SELECT * FROM a) SELECT * FROM b UNION ALL SELECT * FROM data.x
    table data.x `data.x`
    "#);
    assert_snapshot!(check("select * from (select 1 as one) t where exists (select 1 from data.y where y.id in (select id from features.z))"), @r#"
    SELECT * FROM (SELECT 1 AS one) t WHERE EXISTS (SELECT 1 FROM data.y WHERE y.id IN (SELECT id FROM features.z))
    table data.y `data.y`
    table features.z `features.z`
    "#);
    assert_snapshot!(check("values (1, 'a'), (2, 'b');"), @r#"
    VALUES (1, 'a'), (2, 'b')
    "#);
    assert_snapshot!(check("select * from generate_series(1, 10) g, unnest([1, 2]) u"), @r#"
    SELECT * FROM generate_series(1, 10) g, UNNEST([1, 2]) u
    "#);
}

#[test]
fn unquoted_names_ignore_case() {
    assert_snapshot!(check("WITH Recent AS (SELECT * FROM Data.Events) SELECT * FROM RECENT"), @r#"
    WITH Recent AS (SELECT * FROM Data.Events) SELECT * FROM RECENT
    table data.events `Data.Events`
    "#);
    assert_snapshot!(check(r#"select * from data."Events""#), @r#"
    SELECT * FROM data."Events"
    table data.Events `data."Events"`
    "#);
}

#[test]
fn a_common_table_expression_is_seen_only_where_it_is_in_scope() {
    assert_snapshot!(check("select * from (with inner_one as (select 1) select * from inner_one) t, inner_one"), @r#"
    sql::unknown-table: no table `inner_one`
      at 72 `inner_one`: not a target, nor a common table expression in sight
      help: a target's table is written with its kind: `data.inner_one`
    "#);
    assert_snapshot!(check("with b as (select * from a), a as (select 1) select * from b"), @r#"
    sql::unknown-table: no table `a`
      at 25 `a`: not a target, nor a common table expression in sight
      help: a target's table is written with its kind: `data.a`
    "#);
    assert_snapshot!(check("with a as (select * from a) select * from a"), @r#"
    sql::unknown-table: no table `a`
      at 25 `a`: not a target, nor a common table expression in sight
      help: a target's table is written with its kind: `data.a`
    "#);
    assert_snapshot!(check("with recursive n as (select 1 as i union all select i + 1 from n where i < 9) select * from n"), @r#"
    WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT * FROM n
    "#);
    assert_snapshot!(check("with outer_one as (select 1 as x) select (select max(x) from outer_one) as m"), @r#"
    WITH outer_one AS (SELECT 1 AS x) SELECT (SELECT max(x) FROM outer_one) AS m
    "#);
}

#[test]
fn a_table_needs_its_kind() {
    assert_snapshot!(check("select * from sessions s join cat.data.events e on true"), @r#"
    sql::unknown-table: no table `sessions`
      at 14 `sessions`: not a target, nor a common table expression in sight
      help: a target's table is written with its kind: `data.sessions`
    sql::unknown-table: `cat.data.events` is not a table's name
      at 30 `cat.data.events`: has more than two parts
      help: a target's table is written `kind.name`, as in `data.sessions`
    "#);
    assert_snapshot!(check("with \"data.x\" as (select 1) select * from data.x"), @r#"
    sql::bad-name: a common table expression cannot be named `data.x`
      at 5 `"data.x"`: could be taken for a target's table
      help: choose a name without a point
    "#);
    assert_snapshot!(check("table data"), @r#"
    sql::syntax: expected an SQL statement, found `table`
      at 0 `table`: here
    "#);
}

#[test]
fn one_query_and_nothing_else() {
    assert_snapshot!(check(""), @r#"
    sql::empty: there is no query
      at 0 ``: empty
      help: write one `select` statement
    "#);
    assert_snapshot!(check("  -- nothing here\n;"), @r#"
    sql::empty: there is no query
      at 0 `  -- nothing here
    ;`: empty
      help: write one `select` statement
    "#);
    assert_snapshot!(check("select 1; select 2"), @r#"
    sql::two-statements: a target is one query, and here is another statement
      at 10 `select`: the second statement begins here
      help: give each query a file of its own, or put the first one into a `with` clause
    "#);
    assert_snapshot!(check("select 1;; -- the end"), @r#"
    SELECT 1
    "#);
    assert_snapshot!(check("insert into data.x values (1)"), @r#"
    sql::not-a-query: this statement is not a query
      at 0 `insert`: only `select`, `with` and `values` make a table
      help: a query says what the table holds; the build creates and replaces it
    "#);
    assert_snapshot!(check("drop table data.x"), @r#"
    sql::not-a-query: this statement is not a query
      at 0 `drop`: only `select`, `with` and `values` make a table
      help: a query says what the table holds; the build creates and replaces it
    "#);
    assert_snapshot!(check("create table t as select 1"), @r#"
    sql::not-a-query: this statement is not a query
      at 0 `create`: only `select`, `with` and `values` make a table
      help: a query says what the table holds; the build creates and replaces it
    "#);
    assert_snapshot!(check("select 1 into t from data.x"), @r#"
    sql::not-a-query: this statement is not a query
      at 14 `t`: only `select`, `with` and `values` make a table
      help: a query says what the table holds; the build creates and replaces it
    "#);
    assert_snapshot!(check("explain select 1"), @r#"
    sql::not-a-query: this statement is not a query
      at 0 `explain`: only `select`, `with` and `values` make a table
      help: a query says what the table holds; the build creates and replaces it
    "#);
}

#[test]
fn a_syntax_error_points_at_its_token() {
    assert_snapshot!(check("selct * from data.x"), @r#"
    sql::syntax: expected an SQL statement, found `selct`
      at 0 `selct`: here
    "#);
    assert_snapshot!(check("select\n  a,\n  from data.x where"), @r#"
    sql::syntax: expected an expression, found the end of the query
      at 31 ``: here
    "#);
    assert_snapshot!(check("select 'é', (1 + ) from data.x"), @r#"
    sql::syntax: expected an expression, found `)`
      at 18 `)`: here
    "#);
    assert_snapshot!(check("select 'open from data.x"), @r#"
    sql::syntax: unterminated string literal
      at 7 `'open from data.x`: from here
    "#);
    assert_snapshot!(check("select a from data.x group a"), @r#"
    sql::syntax: expected the end of the query, found `group`
      at 21 `group`: here
    "#);
    assert_snapshot!(check("select a b c from data.x"), @r#"
    sql::syntax: expected the end of the query, found `c`
      at 11 `c`: here
    "#);
    assert_snapshot!(check("select (a from data.x"), @r#"
    sql::syntax: expected ), found `from`
      at 10 `from`: here
    "#);
}

#[test]
fn nesting_without_end_is_an_error_not_a_crash() {
    let deep = format!("select {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(analyze(&deep).unwrap_err()[0].code, "sql::syntax");
    let long = format!("select 1{}", " + 1".repeat(5000));
    assert!(analyze(&long).is_ok());
}

#[test]
fn the_clock_and_the_dice_are_refused() {
    assert_snapshot!(check("select now(), current_date, Random() as r from data.x where ts < CURRENT_TIMESTAMP"), @r#"
    sql::nondeterministic: `now` gives another result each time
      at 7 `now`: would make the table depend on when it is built
      help: declare what it stands for as a parameter: `$at` here, and `params = { at = ... }` in the manifest
    sql::nondeterministic: `current_date` gives another result each time
      at 14 `current_date`: would make the table depend on when it is built
      help: declare what it stands for as a parameter: `$today` here, and `params = { today = ... }` in the manifest
    sql::nondeterministic: `random` gives another result each time
      at 28 `Random`: would make the table depend on when it is built
      help: declare what it stands for as a parameter: `$seed` here, and `params = { seed = ... }` in the manifest
    sql::nondeterministic: `current_timestamp` gives another result each time
      at 65 `CURRENT_TIMESTAMP`: would make the table depend on when it is built
      help: declare what it stands for as a parameter: `$at` here, and `params = { at = ... }` in the manifest
    "#);
    assert_snapshot!(check("select uuid() from data.x tablesample bernoulli (10)"), @r#"
    sql::nondeterministic: `uuid` gives another result each time
      at 7 `uuid`: would make the table depend on when it is built
      help: declare what it stands for as a parameter: `$id` here, and `params = { id = ... }` in the manifest
    sql::nondeterministic: a sample gives other rows each time
      at 19 `data.x`: sampled
      help: keep rows by a digest of their key: `where md5(id) < '1'`
    "#);
    // Columns may have these names.
    assert_snapshot!(check("select x.today, now from data.x"), @r#"
    SELECT x.today, now FROM data.x
    table data.x `data.x`
    "#);
}

#[test]
fn parameters_have_names() {
    assert_snapshot!(check("select * from data.x where a = ? and b = $1 and c = $Gap and d = :d"), @r#"
    sql::bad-parameter: `?` is not a parameter
      at 31 `?`: parameters have names
      help: write `$name`, and give the value in the manifest: `params = { name = 1 }`
    sql::bad-parameter: `$1` is not a parameter
      at 41 `$1`: parameters have names
      help: write `$name`, and give the value in the manifest: `params = { name = 1 }`
    sql::bad-parameter: `$Gap` is not a parameter
      at 52 `$Gap`: parameters have names
      help: write `$name`, and give the value in the manifest: `params = { name = 1 }`
    sql::bad-parameter: `:d` is not a parameter
      at 65 `:d`: parameters have names
      help: write `$name`, and give the value in the manifest: `params = { name = 1 }`
    "#);
}

#[test]
fn layout_comments_and_keyword_case_do_not_count() {
    let same = [
        "select a, count(*) as n from data.x where s = 'It''s' group by a order by n desc limit 3",
        "SELECT a , COUNT( * ) AS n\nFROM data.x -- a comment\nWHERE s='It''s' GROUP BY a\tORDER BY n DESC LIMIT 3;",
        "/* head */ Select a,Count(*) n From data.x Where s = 'It''s' Group By a Order By n Desc Limit 3",
    ];
    for sql in same {
        assert_eq!(canonical(sql), canonical(same[0]), "{sql}");
    }
}

#[test]
fn literals_names_and_aliases_count() {
    let different = [
        "select a from data.x where s = 'a'",
        "select a from data.x where s = 'A'",
        "select a from data.x where s = 'a '",
        "select a from data.x where s = '--a'",
        "select \"a\" from data.x where s = 'a'",
        "select a as b from data.x where s = 'a'",
        "select a from data.x t where s = 'a'",
        "select distinct a from data.x where s = 'a'",
        "select a from data.x where s = 'a' limit 1",
        "select a from data.x where s = $s",
        "select cast(a as int) from data.x where s = 'a'",
        "select try_cast(a as int) from data.x where s = 'a'",
        "select a from data.x where s = 'a' order by a",
        "select a from data.x where s = 'a' order by a nulls first",
    ];
    for (i, one) in different.iter().enumerate() {
        for other in &different[..i] {
            assert_ne!(canonical(one), canonical(other));
        }
    }
}

/// What DataFusion users write, so that no canonical form is lossy or unparsable.
const QUERIES: &[&str] = &[
    "select e'a\\nb', 'it''s', $$dollar 'quoted'$$, x'ff', 1e3, .5, null, true",
    "select a, row_number() over (partition by b order by c desc nulls last rows between 1 preceding and current row) from data.x",
    "select sum(a) filter (where b > 0) over w from data.x window w as (partition by c)",
    "select array_agg(a order by b desc)[1:3], [1, 2, 3], {'k': 1}, map {'a': 1} from data.x",
    "select interval '30 minutes', date '2024-01-01', timestamp '2024-01-01T00:00:00', extract(epoch from ts) from data.x",
    "select * exclude (a) from data.x",
    "select * except (a) from data.x",
    "select * replace (a + 1 as a) from data.x",
    "select a::int, cast(b as decimal(10, 2)), try_cast(c as timestamp), arrow_cast(d, 'Int8') from data.x",
    "select case when a > 1 then 'x' when a is distinct from b then 'y' else 'z' end from data.x",
    "select a from data.x intersect select a from data.y except all select a from data.z",
    "select * from data.x left join data.y using (id) full outer join data.z on x.id = z.id cross join data.w",
    "select * from data.x left semi join data.y on x.id = y.id right anti join data.z on y.id = z.id",
    "select * from data.x natural join data.y",
    "select a, grouping(a) from data.x group by grouping sets ((a), ()), rollup (b), cube (c)",
    "select distinct on (a) a, b from data.x order by a, b desc",
    "select a from data.x qualify row_number() over (partition by a order by b) = 1",
    "select a from data.x where a like 'a%' escape '!' and b not ilike '_' and c similar to 'x' and d ~ '^a' and e between 1 and 2",
    "select a from data.x where a in ('x', 'y') and (b, c) in (select b, c from data.y) and not exists (select 1)",
    "select position('a' in s), substring(s from 1 for 2), trim(both 'x' from s), overlay(s placing 'a' from 1) from data.x",
    "select s.a.b, s['a'], a -> 'b', a ->> 'c', a @> b, a || b from data.x",
    "select lag(a, 1) ignore nulls over (order by b), first_value(a) respect nulls over (order by b) from data.x",
    "select \"Mixed Case\", `back tick` from data.x as \"T\" (a, b)",
    "select x.* from data.x x, lateral (select * from data.y where y.id = x.id) l",
    "select count(distinct a), approx_percentile_cont(0.5) within group (order by b) from data.x",
    "(select 1) union (select 2) order by 1 offset 1 limit 2",
    "select ts at time zone 'UTC' from data.x fetch first 3 rows only",
    "select a from data.x pivot (sum(b) for c in ('x', 'y'))",
    "select -a, +b, not c, a % 2, a ^ b, a & b, a | b, a << 1, ~a from data.x",
    "with a(x, y) as (values (1, 2)), b as (select * from a) select * from b",
    "from data.x select a",
    "select unnest(a) as item, list_transform(a, x -> x + 1) from data.x",
];

#[test]
fn the_canonical_form_is_a_fixed_point() {
    for sql in QUERIES {
        let once = canonical(sql);
        assert_eq!(canonical(&once), once, "{sql}");
    }
}

#[test]
fn no_comment_and_no_white_space_shows_in_the_canonical_form() {
    for sql in QUERIES {
        // Between any two tokens a comment may stand; tokens are told apart by sqlparser itself.
        let tokens =
            sqlparser::tokenizer::Tokenizer::new(&sqlparser::dialect::GenericDialect {}, sql)
                .with_unescape(false)
                .tokenize()
                .unwrap();
        let mut commented = String::from("-- head\n");
        for token in tokens {
            let white = matches!(token, sqlparser::tokenizer::Token::Whitespace(_));
            commented.push_str(&if white {
                " /* here */\n\t".to_owned()
            } else {
                token.to_string()
            });
        }
        assert_eq!(canonical(&commented), canonical(sql), "{commented}");
    }
}
