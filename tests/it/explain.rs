//! `plan`, `why` and what they name.

use crate::project::Project;

#[test]
fn a_plan_says_what_is_sure_and_what_depends() {
    let project = Project::sums();
    project.build(&["data:page"]);
    let plan = project.run(&["plan", "data:page"]);
    assert_eq!(plan.stdout, "nothing to do: 3 targets up to date\n");

    project.write("raw/orders.csv", "id,amount,note\n1,10,a\n2,33,b\n");
    let plan = project.run(&["plan", "data:page"]);
    assert_eq!(plan.exit, Some(0));
    let without_estimates = plan.stdout.lines().map(|line| {
        let (what, estimate) = line.split_once("  (about ").expect("there is history");
        assert!(estimate.ends_with(" B)"), "{line}");
        what
    });
    insta::assert_snapshot!(without_estimates.collect::<Vec<_>>().join("\n"), @r"
    build      data:orders  ingest: files: raw/orders.csv changed
    may build  data:total   if amount of data:orders changes
    may build  data:page    if total of data:total changes
    ");
    project
        .build(&["data:page"])
        .built(&["data:orders", "data:page", "data:total"]);
}

#[test]
fn why_names_the_changed_column_of_a_rebuilt_target() {
    let project = Project::sums();
    project.build(&["data:page"]);
    project.write("raw/orders.csv", "id,amount,note\n1,10,a\n2,33,b\n");
    let built = project.build(&["data:page"]);
    assert_eq!(
        built.reasons("data:orders"),
        ["files: raw/orders.csv changed"]
    );
    assert_eq!(
        built.reasons("data:total"),
        ["data:orders: column amount changed"]
    );
    assert_eq!(
        built.reasons("data:page"),
        ["data:total: column total changed"]
    );

    let why = project.run(&["why", "data:total"]);
    let lines: Vec<&str> = why.stdout.lines().collect();
    assert_eq!(
        lines[0],
        "data:total is up to date: nothing that it reads differs from its last build"
    );
    assert!(
        lines[1].starts_with("data:total was last built on "),
        "{}",
        lines[1]
    );
    assert_eq!(lines[2], "  data:orders: column amount changed");
}

#[test]
fn why_says_afterwards_what_changed_and_was_not_read() {
    let project = Project::sums();
    project.build(&["data:page"]);
    project.write("raw/orders.csv", "id,amount,note\n1,10,a\n2,32,c\n");
    project.build(&["data:page"]).built(&["data:orders"]);
    project.build(&["data:page"]);
    let why = project.run(&["why", "data:total"]).stdout;
    let lines: Vec<&str> = why.lines().collect();
    assert!(
        lines[1].starts_with("data:total stayed as it was on "),
        "{why}"
    );
    assert!(lines[1].ends_with(" (run 2):"), "{why}");
    assert_eq!(lines[2], "  data:orders: column note changed, not read");
    assert!(lines[3].ends_with(" (run 1):"), "{why}");

    // Once it is built again, that is what there is to say.
    project.write("raw/orders.csv", "id,amount,note\n1,10,a\n2,33,c\n");
    project.build(&["data:page"]);
    let why = project.run(&["why", "data:total"]).stdout;
    assert!(!why.contains("stayed"), "{why}");
    assert!(
        why.contains("(run 4):\n  data:orders: column amount changed"),
        "{why}"
    );
}

#[test]
fn why_names_files_that_came_and_went() {
    let project = Project::sums();
    project.build(&["data:orders"]);
    project.write("raw/more.csv", "id,amount,note\n3,5,c\n");
    let built = project.build(&["data:orders"]);
    assert_eq!(built.reasons("data:orders"), ["files: raw/more.csv added"]);
}

#[test]
fn why_before_the_first_build_says_so() {
    let project = Project::sums();
    let why = project.run(&["why", "data:orders", "data:page"]);
    insta::assert_snapshot!(why.stdout, @r"
    data:orders would be rebuilt (ingest):
      never built before
    data:page would be rebuilt only if what it reads of these changes:
      data:total: undecided itself, because of data:orders
    ");
}

#[test]
fn a_target_with_checks_of_its_own_waits_for_the_columns_that_it_reads() {
    let project = Project::new(
        r#"
[data.orders]
path = "raw/orders.csv"

[data.big.checks]
not_null = ["id"]
sql = { known = "select b.id from data.big b left join data.orders o on o.id = b.id where o.id is null" }
"#,
    )
    .file("raw/orders.csv", "id,amount,note\n1,10,a\n2,32,b\n")
    .file("data/big.sql", "select id from data.orders where amount > 9");
    project.build(&[]);
    project.write("raw/orders.csv", "id,amount,note\n1,10,a\n2,32,c\n");
    let plan = project.run(&["plan"]).stdout;
    let line = plan
        .lines()
        .find(|line| line.starts_with("may build"))
        .unwrap();
    assert!(
        line.contains("if amount, id of data:orders changes"),
        "{plan}"
    );
    project.build(&[]).built(&["data:orders"]);
}
