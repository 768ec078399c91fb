//! Queries: what they yield, in which order, and which are refused.

use mlbuild_action::{Failure, RowOrder, Sql, Value, Work};

use crate::harness::{Bench, diagnostic, sql, with_params};

fn orders() -> Bench {
    Bench::new().table("data:orders", "id,user_id,amount\n3,b,1.5\n1,a,2\n2,a,4\n")
}

#[test]
fn rows_stand_in_a_total_order() {
    let bench = orders();
    let rows = |text: &str| bench.sql(text).unwrap().rows();
    assert_eq!(
        rows("select user_id, id from data.orders"),
        ["a|1", "a|2", "b|3"]
    );
    assert_eq!(
        rows("select id from data.orders order by user_id desc"),
        ["3", "1", "2"]
    );
    assert_eq!(
        rows("select id from data.orders order by user_id desc limit 2"),
        ["3", "1"]
    );
    let keyed = Work::Sql(Sql {
        key: vec!["id".to_owned()],
        ..sql("select user_id, id from data.orders")
    });
    assert_eq!(bench.run(&keyed).unwrap().rows(), ["a|1", "a|2", "b|3"]);
}

#[test]
fn sequences_windows_strings_and_dates_work() {
    let bench = orders();
    let ran = bench.sql(
        "select user_id, array_agg(id order by id desc) as items from data.orders group by user_id",
    );
    let ran = ran.unwrap();
    assert_eq!(ran.columns(), ["user_id Utf8", "items List(Int64)"]);
    assert_eq!(ran.rows(), ["a|[2, 1]", "b|[3]"]);
    let ran = bench
        .sql(
            "with w as (select *, lag(amount) over (partition by user_id order by id) as before,
               sum(amount) over (partition by user_id order by id) as running from data.orders)
             select id, before, running, upper(user_id) || '!' as u, round(amount, 0) as r,
               date_trunc('month', timestamp '2024-05-06 07:08:09') as m,
               extract(epoch from timestamp '1970-01-01 00:01:00') as e,
               row_number() over (order by id) as n, case when id > 1 then 'x' end as c,
               coalesce(before, 0) as z from w",
        )
        .unwrap();
    assert_eq!(
        ran.rows(),
        [
            "1|null|2.0|A!|2.0|2024-05-01T00:00:00|60.0|1|null|0.0",
            "2|2.0|6.0|A!|4.0|2024-05-01T00:00:00|60.0|2|x|2.0",
            "3|null|1.5|B!|2.0|2024-05-01T00:00:00|60.0|3|x|0.0",
        ]
    );
}

#[test]
fn parameters_are_literals() {
    let bench = orders();
    let work = with_params(
        "select id, $name as n, cast($gap || ' minutes' as interval) > interval '1 hour' as long, $neg as x from data.orders where amount >= $min",
        &[
            ("name", Value::Text("o'hara".to_owned())),
            ("gap", Value::Int(90)),
            ("neg", Value::Int(-5)),
            ("min", Value::Float(2.0)),
        ],
    );
    assert_eq!(
        bench.run(&work).unwrap().rows(),
        ["1|o'hara|true|-5", "2|o'hara|true|-5"]
    );
}

#[test]
fn an_unknown_column_is_pointed_at_with_the_nearest_name() {
    let text = "select\n  o.amout\nfrom data.orders as o";
    let error = orders().sql_error(text);
    assert_eq!(error.code, "sql::unknown-column");
    assert_eq!(error.message, "no column `amout` in `data:orders`");
    assert_eq!(
        error.help.as_deref(),
        Some("did you mean `amount` (Float64)? there are also `id` (Int64), `user_id` (Utf8)")
    );
    assert_eq!(&text[error.spans[0].range.clone()], "o.amout");
    assert_eq!(error.spans[0].file, "data/q.sql");
    let error = orders().sql_error("select amout from data.orders");
    assert_eq!(error.message, "no column `amout` in `data:orders`");
}

#[test]
fn what_changes_from_run_to_run_is_refused() {
    for text in [
        "select now() as t",
        "select id from data.orders where amount > random()",
        "select current_date as d",
    ] {
        let error = orders().sql_error(text);
        assert_eq!(error.code, "sql::nondeterministic", "{text}");
        assert!(error.spans[0].range.len() >= 3, "{text}: {error:?}");
    }
}

#[test]
fn what_the_rows_do_not_determine_is_refused_with_a_way_out() {
    let check = |text: &str, at: &str, help: &str| {
        let error = orders().sql_error(text);
        assert_eq!(error.code, "sql::nondeterministic", "{text}");
        assert_eq!(&text[error.spans[0].range.clone()], at, "{text}");
        assert_eq!(error.help.as_deref(), Some(help), "{text}");
    };
    check(
        "select user_id, array_agg(id) as l from data.orders group by user_id",
        "array_agg",
        "say which order is meant: `array_agg(x order by ..)`",
    );
    check(
        "select string_agg(user_id, ',') as l from data.orders",
        "string_agg",
        "say which order is meant: `string_agg(x, ',' order by ..)`",
    );
    check(
        "select * from (select LAST_VALUE(id) as l from data.orders) as t",
        "LAST_VALUE",
        "say which order is meant: `last_value(x order by ..)`",
    );
    check(
        "select id from data.orders where id > (select any_value(id) from data.orders)",
        "any_value",
        "say which value is meant: `min(x)`, or `first_value(x order by ..)`",
    );
    check(
        "select nth_value(id, 2) over (partition by user_id) as n from data.orders",
        "nth_value",
        "say which order is meant: `nth_value(x, 2) over (order by ..)`",
    );
    check(
        "select approx_distinct(id) as n from data.orders",
        "approx_distinct",
        "use the exact `count(distinct x)`",
    );
    check(
        "select approx_percentile_cont(0.9) within group (order by amount) as p from data.orders",
        "approx_percentile_cont",
        "use the exact `percentile_cont(0.5) within group (order by x)`",
    );
    let ordered = "select first_value(id) over (partition by user_id order by id desc) as f,
        last_value(id) over w as l, row_number() over w as n
        from data.orders window w as (order by id)";
    assert_eq!(
        orders().sql(ordered).unwrap().rows(),
        ["2|1|1", "2|2|2", "3|3|3"]
    );
}

/// All names are as long: what is aggregated decides.
#[test]
fn ties_of_an_aggregates_order_are_broken() {
    for order in ["3,c\n1,a\n2,b\n,d\n", "1,a\n,d\n2,b\n3,c\n"] {
        let bench = Bench::new().table("data:t", &format!("id,name\n{order}"));
        let ran = bench
            .sql(
                "select array_agg(id order by length(name)) as l, first_value(id order by length(name)) as f,
                 string_agg(name, '' order by length(name) desc) as s,
                 array_agg(id order by id desc) filter (where id > 1) as d,
                 array_agg(distinct id order by id) as u
                 from data.t group by id is not null or id is null",
            )
            .unwrap();
        assert_eq!(ran.columns()[1..3], ["f Int64", "s Utf8"]);
        assert_eq!(
            ran.rows(),
            ["[1, 2, 3, null]|1|abcd|[3, 2]|[1, 2, 3, null]"]
        );
    }
    let bench = orders();
    let unnamed = bench
        .sql("select array_agg(id order by user_id) from data.orders having count(*) > 1")
        .unwrap();
    assert!(
        unnamed.columns()[0].starts_with("array_agg("),
        "{:?}",
        unnamed.columns()
    );
    assert_eq!(unnamed.rows(), ["[1, 2, 3]"]);
}

#[test]
fn mistakes_are_pointed_at() {
    let check = |text: &str, code: &str, at: &str| {
        let error = orders().sql_error(text);
        assert_eq!(error.code, code, "{error:?}");
        assert_eq!(&text[error.spans[0].range.clone()], at, "{error:?}");
    };
    check("select id fro data.orders", "sql::syntax", "data");
    check("select foo(id) from data.orders", "sql::invalid", "foo");
    check("select id from data.ordrs", "sql::invalid", "data.ordrs");
    check("drop table data.orders", "sql::not-a-query", "d");
    check("select $x as x", "sql::missing-parameter", "$x");
    let error = orders()
        .sql_error("select a.id, b.id from data.orders a join data.orders b using (user_id)");
    assert_eq!(error.message, "two columns are named `id`");
    let error = orders().sql_error("select timestamp '2024-01-02' - timestamp '2024-01-01' as d");
    assert_eq!(error.code, "table::unsupported-type");
}

#[test]
fn a_failure_at_run_time_is_plain() {
    let bench = orders();
    let message = |text: &str| match bench.sql(text) {
        Err(Failure::Failed(diagnostic)) => diagnostic.message,
        Err(other) => panic!("{other:?}"),
        Ok(ran) => panic!("{:?}", ran.rows()),
    };
    assert_eq!(
        message("select 1 / (id - 1) as x from data.orders"),
        "division by zero"
    );
    assert_eq!(
        message("select cast(user_id as bigint) as x from data.orders"),
        "cannot cast string 'b' to value of Int64 type"
    );
}

#[test]
fn keys_must_exist_and_be_unique() {
    let bench = orders();
    let run = |key: &str| {
        bench.run(&Work::Sql(Sql {
            key: vec![key.to_owned()],
            ..sql("select * from data.orders")
        }))
    };
    assert!(run("id").is_ok());
    let error = run("user").err().unwrap();
    assert_eq!(diagnostic(&error).code, "table::unknown-key-column");
    let error = run("user_id").err().unwrap();
    assert_eq!(diagnostic(&error).code, "table::duplicate-key");
    assert_eq!(diagnostic(&error).detail, ["user_id  rows", "a        2"]);
}

#[test]
fn threads_and_memory_do_not_show_in_the_bytes() {
    let mut csv = "k,v,s\n".to_owned();
    for i in 0..40_000_u64 {
        let r = i.wrapping_mul(2_654_435_761) % 100_003;
        csv += &format!(
            "{r},{},text-{}-{}\n",
            (r as f64) * 0.1,
            r * 7,
            "x".repeat(80)
        );
    }
    let mut bench = Bench::new().table("data:big", &csv);
    let text = "select k, max(s) as s, sum(v) as v from data.big group by k";
    let roomy = bench.sql(text).unwrap();
    bench.memory_bytes = 5 << 20;
    bench.threads = 2;
    let tight = bench.sql(text).unwrap();
    assert_eq!(roomy.table(), tight.table());
    assert!(roomy.bytes() == tight.bytes(), "same bytes");
}

/// Rows in another order, cut into as many partitions as there are threads.
#[test]
fn threads_do_not_show_in_any_query() {
    let lines: Vec<String> = (0..10_000_u64)
        .map(|i| {
            let r = i.wrapping_mul(2_654_435_761) % 100_003;
            let size = 10_f64.powi((r % 20) as i32 - 10);
            format!("{i},{},{:e},n{}", r % 300, r as f64 * size, r % 17)
        })
        .collect();
    let table = |lines: &[String]| format!("id,k,v,s\n{}\n", lines.join("\n"));
    let turned: Vec<String> = lines.iter().rev().cloned().collect();
    let mut benches =
        [table(&lines), table(&turned)].map(|csv| Bench::new().table("data:big", &csv));
    for query in [
        "select k, sum(v) as a, avg(v) as b, stddev(v) as c, corr(v, id) as d, min(v) as e, count(distinct s) as f
         from data.big group by k",
        "select sum(v) as a, var_pop(v) as b, sum(distinct v) as c, regr_slope(v, id) as d from data.big",
        "select a.s, sum(a.v * b.v) as v from data.big a join data.big b on a.k = b.k and a.id < b.id group by a.s",
        "select distinct k, s from data.big union all select k, s from data.big where id < 1000",
        "select k, v from data.big order by s limit 100",
        "select id, sum(v) over (partition by k order by id) as v, row_number() over (order by v, id) as n from data.big",
        "select k, array_agg(s order by v > 0) as l from data.big group by k",
    ] {
        let mut runs = Vec::new();
        for bench in &mut benches {
            for threads in [1, 2, 3, 8] {
                bench.threads = threads;
                runs.push(bench.sql(query).unwrap());
            }
        }
        for run in &runs {
            assert_eq!(run.table(), runs[0].table(), "{query}");
            assert!(run.bytes() == runs[0].bytes(), "{query}");
        }
    }
}

/// What needs more memory in partitions than it has runs in one.
#[test]
fn threads_do_not_exhaust_memory() {
    let mut csv = "k,v\n".to_owned();
    for i in 0..60_000_u64 {
        csv += &format!(
            "{},{}\n",
            i.wrapping_mul(2_654_435_761) % 100_003,
            i as f64 * 0.1
        );
    }
    let mut bench = Bench::new().table("data:big", &csv);
    let query = "select k, sum(v) as s, stddev(v) as d from data.big group by k";
    let roomy = bench.sql(query).unwrap();
    bench.threads = 8;
    bench.memory_bytes = 6 << 20;
    let tight = bench.sql(query).unwrap();
    assert_eq!(roomy.table(), tight.table());
}

#[test]
fn a_join_that_does_not_fit_is_run_another_way() {
    let mut csv = "k,s\n".to_owned();
    for i in 0..40_000 {
        csv += &format!("{i},{}-{i}\n", "x".repeat(300));
    }
    let mut bench = Bench::new().table("data:big", &csv);
    bench.memory_bytes = 14 << 20;
    let ran = bench
        .sql("select count(*) as n from data.big a join data.big b on a.s = b.s")
        .unwrap();
    assert_eq!(ran.rows(), ["40000"]);
}

#[test]
fn cancelled_work_says_so() {
    let bench = orders();
    bench.cancel.cancel();
    assert_eq!(
        bench.sql("select * from data.orders").err(),
        Some(Failure::Cancelled)
    );
}

/// Programs write such queries; on an ordinary thread's stack the planner would overflow.
#[test]
fn a_deeply_nested_query_is_planned_or_refused_but_survived() {
    let sum = vec!["id"; 300].join(" + ");
    assert_eq!(
        orders()
            .sql(&format!("select {sum} as x from data.orders"))
            .unwrap()
            .rows(),
        ["300", "600", "900"]
    );
    let nested = format!(
        "select {}id{} as x from data.orders",
        "(".repeat(5000),
        ")".repeat(5000)
    );
    assert_eq!(orders().sql_error(&nested).code, "sql::syntax");
}

#[test]
fn a_folder_may_have_any_name() {
    let mut bench = orders();
    let input = bench.inputs.get_mut("data:orders").unwrap();
    let odd = input.path.with_file_name("50% [of] what? *é");
    std::fs::rename(&input.path, &odd).unwrap();
    input.path = odd;
    assert_eq!(
        bench
            .sql("select count(*) as n from data.orders")
            .unwrap()
            .rows(),
        ["3"]
    );
}

#[test]
fn an_empty_result_is_a_table() {
    let ran = orders()
        .sql("select id, null as x from data.orders where false")
        .unwrap();
    assert_eq!(ran.columns(), ["id Int64", "x Utf8"]);
    assert_eq!(ran.table().rows, 0);
}

#[test]
fn lists_order_rows_and_open_again() {
    let bench = orders();
    let ran = bench
        .sql("select array_agg(amount order by id) as l from data.orders group by user_id")
        .unwrap();
    assert_eq!(ran.rows(), ["[1.5]", "[2.0, 4.0]"]);
    let ran = bench
        .sql("select unnest(l) as a from (select array_agg(amount order by id) as l from data.orders) as t")
        .unwrap();
    assert_eq!(ran.rows(), ["1.5", "2.0", "4.0"]);
}

#[test]
fn the_order_of_the_input_is_kept_where_it_can_be() {
    let bench = Bench::new().table("data:t", "id,x\n3,1\n1,2\n2,3\n");
    let keep = |text: &str| {
        Work::Sql(Sql {
            order: RowOrder::Input,
            ..sql(text)
        })
    };
    let ran = bench
        .run(&keep("select id, x * 2 as y from data.t where x <> 2"))
        .unwrap();
    assert_eq!(ran.rows(), ["3|2", "2|6"]);
    let sorted = bench.run(&Work::Sql(sql(
        "select id, x * 2 as y from data.t where x <> 2",
    )));
    assert_eq!(sorted.unwrap().rows(), ["2|6", "3|2"]);
    for (text, what) in [
        (
            "select id, count(*) as n from data.t group by id",
            "an aggregate",
        ),
        (
            "select a.id from data.t a join data.t b on a.id = b.x",
            "a join",
        ),
        (
            "select id from data.t union all select x from data.t",
            "a union",
        ),
        (
            "select id, row_number() over (order by x) as n from data.t",
            "a window function",
        ),
        ("select id from data.t order by x", "an `order by`"),
    ] {
        let Err(Failure::Invalid(diagnostic)) = bench.run(&keep(text)) else {
            panic!("{text} cannot keep its order")
        };
        let expected = format!("the query cannot keep the order of its input: it has {what}");
        assert_eq!(diagnostic.message, expected);
    }
}
