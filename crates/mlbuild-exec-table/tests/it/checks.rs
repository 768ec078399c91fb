//! Checks: what violates them, and how that is told.

use mlbuild_action::{Check, CheckRule, Comparison, Failure, RowsBound, Value, Work};

use crate::harness::{Bench, diagnostic, sql};

fn verdict(rule: CheckRule) -> Result<(), (String, Vec<String>)> {
    let bench = Bench::new()
        .table("table", "id,kind,amount\n1,a,1\n2,b,\n3,b,30\n")
        .table("data:other", "id\n1\n");
    let check = |warn_only| {
        bench.run(&Work::Check(Check {
            name: "c".to_owned(),
            rule: rule.clone(),
            warn_only,
        }))
    };
    let warnings = check(true).map(|ran| ran.output.warnings);
    match check(false) {
        Ok(_) => {
            assert_eq!(warnings, Ok(vec![]));
            Ok(())
        }
        Err(Failure::Rejected(diagnostic)) => {
            assert!(warnings.unwrap()[0].starts_with(&diagnostic.message));
            Err((diagnostic.message, diagnostic.detail))
        }
        Err(other) => Err((
            diagnostic(&other).to_string(),
            vec![diagnostic(&other).help.clone().unwrap_or_default()],
        )),
    }
}

fn violated(rule: CheckRule) -> (String, Vec<String>) {
    verdict(rule).unwrap_err()
}

#[test]
fn what_holds_passes() {
    for rule in [
        CheckRule::NotNull("id".to_owned()),
        CheckRule::Unique(vec!["id".to_owned()]),
        CheckRule::AcceptedValues(
            "kind".to_owned(),
            vec![Value::Text("a".to_owned()), Value::Text("b".to_owned())],
        ),
        CheckRule::Range(
            "amount".to_owned(),
            Some(Value::Int(1)),
            Some(Value::Float(30.5)),
        ),
        CheckRule::Rows(RowsBound {
            comparison: Comparison::GreaterOrEqual,
            rows: 3,
        }),
        CheckRule::Sql(sql(
            "select * from data.other where id not in (select id from \"table\")",
        )),
    ] {
        assert_eq!(verdict(rule.clone()), Ok(()), "{rule:?}");
    }
}

#[test]
fn violations_are_counted_and_shown() {
    let (message, detail) = violated(CheckRule::NotNull("amount".to_owned()));
    assert_eq!(message, "check `c` does not hold: 1 row");
    assert_eq!(detail, ["id  kind  amount", "2   b     null"]);
    let (_, detail) = violated(CheckRule::Unique(vec!["kind".to_owned()]));
    assert_eq!(detail, ["kind  rows", "b     2"]);
    let (_, detail) = violated(CheckRule::AcceptedValues(
        "kind".to_owned(),
        vec![Value::Text("b".to_owned())],
    ));
    assert_eq!(detail, ["id  kind  amount", "1   a     1"]);
    let (_, detail) = violated(CheckRule::Range(
        "amount".to_owned(),
        Some(Value::Float(1.5)),
        None,
    ));
    assert_eq!(detail, ["id  kind  amount", "1   a     1"]);
    let (message, _) = violated(CheckRule::Rows(RowsBound {
        comparison: Comparison::Less,
        rows: 3,
    }));
    assert_eq!(
        message,
        "check `c` does not hold: 3 rows where < 3 are expected"
    );
    let (_, detail) = violated(CheckRule::Sql(sql("select id from data.other")));
    assert_eq!(detail, ["id", "1"]);
}

#[test]
fn a_check_that_does_not_fit_its_table_is_refused() {
    let (message, help) = violated(CheckRule::NotNull("ammount".to_owned()));
    assert_eq!(
        message,
        "check::unknown-column: the table has no column `ammount`"
    );
    assert_eq!(
        help,
        ["did you mean `amount` (Int64)? there are also `id` (Int64), `kind` (Utf8)"]
    );
    let (message, _) = violated(CheckRule::Range(
        "amount".to_owned(),
        Some(Value::Text("x".to_owned())),
        None,
    ));
    assert_eq!(
        message,
        "check::value: \"x\" is not a value of column `amount`, which has type Int64"
    );
}
