//! `verify`: the same key, the same bits, and an alarm where not.

use crate::project::Project;

#[test]
fn what_is_reproducible_is_the_same_bit_for_bit() {
    let project = Project::new(
        r#"
[data.orders]
path = "raw/orders.csv"
key = ["id"]

[data.big.checks]
not_null = ["id"]

[data.copy]
command = "cp {input:data:big}/table.parquet {out} || cp {input:data:big} {out}"
inputs = ["data:big"]
out = "copy.parquet"
format = "parquet"

[features.lists]
key = ["g"]

[model.next]
train = "popularity"
input = "features:lists"
sequence = "items"
"#,
    )
    .file("raw/orders.csv", "id,amount\n1,0.1\n2,0.2\n3,0.3\n")
    .file(
        "data/big.sql",
        "select a.id * 7 + b.id * 3 + c.id as id, avg(a.amount * b.amount) as mean, sum(c.amount) as total \
         from data.orders a cross join data.orders b cross join data.orders c group by 1",
    )
    .file(
        "features/lists.sql",
        "select id % 2 as g, array_agg(id order by id) as items from data.big group by 1",
    );
    let before = project.run(&["verify"]);
    assert_eq!(before.exit, Some(2), "nothing is built: {}", before.stdout);
    project.build(&[]);
    let ran = project.run(&["verify"]);
    assert_eq!(ran.exit, Some(0), "{}{}", ran.stdout, ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines.contains(&"same       data:big  check not_null(id)"),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"same       model:next  train popularity"),
        "{lines:?}"
    );
    let last = lines.last().unwrap();
    assert!(last.starts_with("7 actions verified in "), "{last}");
    assert!(last.ends_with(": 7 the same bit for bit"), "{last}");
    // And it left no trace.
    project.build(&[]).built(&[]).restored(&[]);
}

#[test]
fn what_is_not_reproducible_is_named_with_column_and_row() {
    let project = Project::new(
        r#"
[data.noise]
command = "echo id,noise > {out}; echo 1,same >> {out}; echo 2,$(cat /proc/sys/kernel/random/uuid) >> {out}"
out = "noise.csv"
format = "csv"
"#,
    )
    .file("data/after.sql", "select noise from data.noise");
    project.build(&[]);
    let ran = project.run(&["verify", "--json"]);
    assert_eq!(ran.exit, Some(1), "{}{}", ran.stdout, ran.stderr);
    let lines: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let verified: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "verified")
        .map(|line| format!("{} {} {}", line["target"], line["stage"], line["verdict"]))
        .collect();
    // The query is run on what the cache holds of the noise: it is not to blame.
    assert_eq!(
        verified,
        [
            r#""data:noise" "ingest" "differs""#,
            r#""data:after" "sql" "bitwise""#
        ]
    );
    assert_eq!(
        (&lines[0]["column"], &lines[0]["row"]),
        (&"noise".into(), &2.into())
    );
    let text = lines[0]["text"].as_str().unwrap();
    assert!(text.starts_with("column noise, row 2: "), "{text}");
    assert_eq!(lines.last().unwrap()["differs"], 1);
}

#[test]
fn a_project_of_models_and_a_report_is_the_same_bit_for_bit() {
    let project = Project::empty();
    let init = project.run(&["init", "."]);
    assert_eq!(init.exit, Some(0), "{}", init.stderr);
    project.build(&[]);
    // The report reads two tables of predictions, and not all columns of either.
    let ran = project.run(&["verify", "kind:model", "kind:report"]);
    assert_eq!(ran.exit, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("same       report:"), "{}", ran.stdout);
}
