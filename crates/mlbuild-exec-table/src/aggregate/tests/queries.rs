//! Queries over the same rows in every order, number of partitions, size of batches and size of memory.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{AggregateUDF, Expr, WindowFunctionDefinition};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::Random;
use crate::aggregate::function::ExactFunction;
use crate::aggregate::{functions, register};

/// How a query is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    partitions: usize,
    batch_rows: usize,
    memory_bytes: usize,
    /// Which order the rows come in.
    seed: u64,
}

pub(super) const PLAIN: Way = Way {
    partitions: 1,
    batch_rows: 8192,
    memory_bytes: 1 << 30,
    seed: 0,
};

/// Other ways: partitions, small batches, any order.
const WAYS: [Way; 4] = [
    Way {
        partitions: 2,
        seed: 1,
        ..PLAIN
    },
    Way {
        partitions: 3,
        batch_rows: 7,
        seed: 2,
        ..PLAIN
    },
    Way {
        partitions: 8,
        batch_rows: 100,
        seed: 3,
        ..PLAIN
    },
    Way {
        partitions: 1,
        batch_rows: 33,
        seed: 4,
        ..PLAIN
    },
];

/// A row: its id, two groupings, and floats of very different sizes, with nulls.
pub(super) type Row = (i64, i64, i64, Option<f64>, Option<f64>, f32);

/// `count` rows with floats of so many orders of magnitude.
fn rows(count: i64, magnitudes: u64) -> Vec<Row> {
    let random = &mut Random::new(7);
    (0..count)
        .map(|id| {
            let size = 10_f64.powi(random.below(magnitudes) as i32);
            let y = (random.below(2_000_001) as f64 - 1e6) / 1e6 * size;
            let x = y * 0.5 + random.below(1000) as f64 / 300.0;
            let y = (random.below(20) > 0).then_some(y);
            (
                id,
                id % 7,
                id % 700,
                y,
                (id % 11 > 0).then_some(x),
                x as f32 / 3.0,
            )
        })
        .collect()
}

/// `count` rows with amounts, in so many groups of `many`.
pub(super) fn grouped_rows(count: i64, groups: i64) -> Vec<Row> {
    let random = &mut Random::new(11);
    let mut amount = || random.below(10_000_000) as f64 / 100.0;
    (0..count)
        .map(|id| {
            (
                id,
                0,
                id * 7919 % groups,
                Some(amount()),
                Some(amount()),
                0.0,
            )
        })
        .collect()
}

fn shuffled(mut rows: Vec<Row>, seed: u64) -> Vec<Row> {
    let random = &mut Random::new(seed);
    for i in (1..rows.len()).rev() {
        rows.swap(i, random.below(i as u64 + 1) as usize);
    }
    rows
}

fn batch(rows: &[Row]) -> RecordBatch {
    let integers = |of: fn(&Row) -> i64| {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef
    };
    let floats = |of: fn(&Row) -> Option<f64>| {
        Arc::new(Float64Array::from_iter(rows.iter().map(of))) as ArrayRef
    };
    RecordBatch::try_from_iter_with_nullable([
        ("id", integers(|row| row.0), false),
        ("few", integers(|row| row.1), false),
        ("many", integers(|row| row.2), false),
        ("y", floats(|row| row.3), true),
        ("x", floats(|row| row.4), true),
        (
            "f",
            Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.5))) as ArrayRef,
            false,
        ),
    ])
    .unwrap()
}

/// A session with the table `t` of these rows.
pub(super) fn session(way: Way, rows: &[Row]) -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(way.partitions)
        .with_batch_size(way.batch_rows)
        .set_u64(
            "datafusion.execution.sort_spill_reservation_bytes",
            64 << 10,
        );
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(way.memory_bytes)))
        .build_arc()
        .unwrap();
    let context = SessionContext::new_with_config_rt(config, runtime);
    let rows = shuffled(rows.to_vec(), way.seed);
    let mut partitions = vec![Vec::new(); way.partitions];
    for (i, rows) in rows.chunks(way.batch_rows).enumerate() {
        partitions[i % way.partitions].push(batch(rows));
    }
    let table = MemTable::try_new(batch(&[]).schema(), partitions).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    context
}

/// A session with the functions of [`crate::aggregate`].
pub(super) fn exact(way: Way, rows: &[Row]) -> SessionContext {
    let context = session(way, rows);
    register(&context);
    context
}

pub(super) fn run(context: &SessionContext, query: &str) -> RecordBatch {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let frame = context
            .sql(query)
            .await
            .unwrap_or_else(|e| panic!("{query}: {e}"));
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let batches = frame
            .collect()
            .await
            .unwrap_or_else(|e| panic!("{query}: {e}"));
        concat_batches(&schema, &batches).unwrap()
    })
}

/// What a result holds, to the bit.
fn bits(result: &RecordBatch) -> Vec<String> {
    let column = |column: &ArrayRef| match column.data_type() {
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().iter();
            format!(
                "{:x?}",
                values.map(|v| v.map(f64::to_bits)).collect::<Vec<_>>()
            )
        }
        _ => format!("{column:?}"),
    };
    result.columns().iter().map(column).collect()
}

/// One call of each function.
fn calls(of: &str) -> String {
    let one = ["sum", "avg", "var", "var_pop", "stddev", "stddev_pop"];
    let two = [
        "covar_samp",
        "covar_pop",
        "corr",
        "regr_slope",
        "regr_intercept",
        "regr_r2",
        "regr_avgx",
        "regr_avgy",
        "regr_sxx",
        "regr_syy",
        "regr_sxy",
        "regr_count",
    ];
    let one = one.iter().map(|f| format!("{f}(y) {of} as {f}"));
    let two = two.iter().map(|f| format!("{f}(y, x) {of} as {f}"));
    one.chain(two).collect::<Vec<_>>().join(", ")
}

fn queries() -> Vec<String> {
    let grouped =
        |calls: &str, by: &str| format!("select {by}, {calls} from t group by {by} order by {by}");
    vec![
        format!("select {} from t", calls("")),
        grouped(&calls(""), "few"),
        grouped(&calls(""), "many"),
        grouped(&calls("filter (where y > 0)"), "few"),
        grouped(
            "sum(f) as s, avg(f) as a, stddev(f) as d, avg(id) as i, sum(id) as n",
            "few",
        ),
        grouped(
            "sum(distinct y) as s, avg(distinct y) as a, var(distinct y) as v, count(distinct y) as n",
            "few",
        ),
        "select sum(distinct y) as s from t".to_owned(),
        format!(
            "select id, {} from t order by id",
            calls("over (partition by few order by id)")
        ),
        format!(
            "select id, {} from t order by id",
            calls("over (partition by few order by id rows between 5 preceding and 2 following)")
        ),
    ]
}

#[test]
fn the_same_rows_give_the_same_bits_in_every_way() {
    let rows = rows(2000, 12);
    for query in queries() {
        let expected = {
            let context = session(PLAIN, &rows);
            register(&context);
            bits(&run(&context, &query))
        };
        for way in WAYS {
            let context = session(way, &rows);
            register(&context);
            assert!(bits(&run(&context, &query)) == expected, "{way:?}: {query}");
        }
    }
}

/// Zeros of both signs, NaN of any bits, and infinities, by which the built-in ones show the order of the rows.
#[test]
fn extremes_follow_one_total_order_in_every_way() {
    let special = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, 1.0];
    let mut rows = rows(600, 1);
    for (i, row) in rows.iter_mut().enumerate() {
        // Even groups of zeros only, odd ones of all.
        let among = if row.1 % 2 == 0 { 2 } else { special.len() };
        row.3 = Some(special[i / 7 % among]);
        row.5 = special[i / 7 % among] as f32;
    }
    let calls =
        "min(y) as a, max(y) as b, cast(min(f) as double) as c, cast(max(f) as double) as d";
    let query = format!("select few, {calls} from t group by few order by few");
    let whole = format!("select {calls} from t");
    let sliding = "select id, min(y) over w as a, max(y) over w as b from t
        window w as (order by id rows between 3 preceding and current row) order by id";
    for query in [query.as_str(), whole.as_str(), sliding] {
        let expected = bits(&run(&exact(PLAIN, &rows), query));
        for way in WAYS {
            let result = bits(&run(&exact(way, &rows), query));
            assert_eq!(result, expected, "{way:?}: {query}");
        }
    }
    let (zero, minus_zero, nan) = (Some(0), Some(1_u64 << 63), Some(f64::NAN.to_bits()));
    let result = run(&exact(PLAIN, &rows), &query);
    let column = |at: usize, row: usize| {
        let column = result.column(at).as_primitive::<Float64Type>();
        Some(column.value(row).to_bits())
    };
    for (min, max) in [(1, 2), (3, 4)] {
        assert_eq!((column(min, 0), column(max, 0)), (minus_zero, zero));
        assert_eq!((column(min, 1), column(max, 1)), (minus_zero, nan));
    }
}

#[test]
fn an_aggregate_that_spills_gives_the_same_bits() {
    let rows = rows(30_000, 12);
    let query = "select id / 2 as k, sum(y) as s, stddev(x) as d from t group by k order by k";
    let [roomy, tight] = [1 << 30, 3 << 20].map(|memory_bytes| {
        let way = Way {
            batch_rows: 1000,
            memory_bytes,
            ..PLAIN
        };
        spills_and_bits(&exact(way, &rows), query)
    });
    assert_eq!(roomy.0, 0);
    assert!(tight.0 > 0);
    assert!(roomy.1 == tight.1);
}

/// How often the aggregates of a query spill, and what it yields.
fn spills_and_bits(context: &SessionContext, query: &str) -> (usize, Vec<String>) {
    fn spills(plan: &dyn ExecutionPlan) -> usize {
        let own = match plan.name() {
            "AggregateExec" => plan.metrics().and_then(|m| m.spill_count()),
            _ => None,
        };
        let below = plan.children().into_iter();
        own.unwrap_or(0) + below.map(|plan| spills(plan.as_ref())).sum::<usize>()
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let frame = context.sql(query).await.unwrap();
        let plan = frame.create_physical_plan().await.unwrap();
        let batches = collect(plan.clone(), context.task_ctx()).await.unwrap();
        let result = concat_batches(&plan.schema(), &batches).unwrap();
        (spills(plan.as_ref()), bits(&result))
    })
}

/// Where both agree by definition: names, types, nulls, and values up to the rounding of the built-in.
#[test]
fn the_built_in_functions_mean_the_same() {
    let rows = rows(2000, 1);
    let few = "with t as (select * from (values (1, 1.5, 2.5), (1, null, 1.0), (2, 1.0, 1.0), (2, 1.0, 1.0), (3, null, null),
        (4, 0.5, 1.0), (4, 0.25, 1.0), (5, 1.0, 1.0), (5, 1.0, 2.0)) as v(few, y, x))";
    let edge = format!(
        "{few} select few, {} from t group by few order by few",
        calls("")
    );
    let none = format!("select {} from t where id < 0", calls(""));
    // DataFusion has no distinct sums of floats over sliding frames, hence only its own queries.
    for query in queries().into_iter().chain([edge, none]) {
        let builtin = run(&session(PLAIN, &rows), &query);
        let exact = run(&exact(PLAIN, &rows), &query);
        assert_eq!(builtin.schema(), exact.schema(), "{query}");
        for (at, field) in builtin.schema().fields().iter().enumerate() {
            let (builtin, exact) = (builtin.column(at), exact.column(at));
            let name = format!("{} of {query}", field.name());
            assert_eq!(builtin.logical_nulls(), exact.logical_nulls(), "{name}");
            match field.data_type() {
                DataType::Float64 => assert_close(builtin, exact, &name),
                _ => assert_eq!(builtin, exact, "{name}"),
            }
        }
    }
}

fn assert_close(builtin: &ArrayRef, exact: &ArrayRef, name: &str) {
    let (builtin, exact) = (
        builtin.as_primitive::<Float64Type>(),
        exact.as_primitive::<Float64Type>(),
    );
    let largest = exact.iter().flatten().fold(0.0, |a: f64, b| a.max(b.abs()));
    for (a, b) in builtin.iter().zip(exact).filter_map(|(a, b)| a.zip(b)) {
        let close = (a - b).abs() <= 1e-9 * b.abs().max(largest);
        assert!(close || a.is_nan() && b.is_nan(), "{name}: {a} {b}");
    }
}

#[test]
fn plans_call_the_exact_functions_under_every_name() {
    let context = exact(PLAIN, &[]);
    for (builtin, _) in functions() {
        let names =
            std::iter::once(builtin.name()).chain(builtin.aliases().iter().map(String::as_str));
        for name in names {
            let arguments = if builtin
                .return_type(&[DataType::Float64, DataType::Float64])
                .is_ok()
                && name.starts_with(['c', 'r'])
            {
                "y, x"
            } else {
                "y"
            };
            for query in [
                format!("select {name}({arguments}) from t"),
                format!(
                    "select few, {name}({arguments}) + 1 from t group by few having {name}({arguments}) > 0"
                ),
                format!("select {name}({arguments}) over (order by id) from t"),
                format!("select {name}({arguments} + 1), {name}({arguments} + 2) from t"),
            ] {
                let called = called(&context, &query);
                assert!(!called.is_empty(), "{query}");
                assert!(
                    called.iter().all(|f| f.inner().is::<ExactFunction>()),
                    "{query}"
                );
            }
        }
    }
    let called = called(&context, "select few, sum(distinct y) from t group by few");
    assert!(called.iter().all(|f| f.inner().is::<ExactFunction>()));
}

/// The aggregate functions in the optimised plan of a query.
fn called(context: &SessionContext, query: &str) -> Vec<Arc<AggregateUDF>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let plan = runtime
        .block_on(async { context.sql(query).await.unwrap().into_optimized_plan() })
        .unwrap();
    let mut called = Vec::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::AggregateFunction(f) => called.push(f.func.clone()),
                    Expr::WindowFunction(f) => match &f.fun {
                        WindowFunctionDefinition::AggregateUDF(f) => called.push(f.clone()),
                        WindowFunctionDefinition::WindowUDF(_) => (),
                    },
                    _ => (),
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .unwrap();
    called
}
