//! Reports in a build: what a gate stops, what a pin of predictions is compared with, what makes a report anew.

use serde_json::Value;

use crate::project::Project;

const MANIFEST: &str = r#"
    [data.truth]
    path = "truth.csv"
    key = ["id"]

    [data.guess]
    sql = "select id, cast(guess as double) as prediction from data.truth"
    key = ["id"]

    [data.guess_dearer]
    sql = "select id, cast(guess as double) + 1 as prediction from data.truth"
    key = ["id"]

    [report.prices]
    predictions = "data:guess"
    truth = "data:truth"
    label = "price"
    metrics = ["mae", "rmse"]
    slices = ["country"]
    owner = "anna"

    [[report.prices.gate]]
    metric = "mae"
    max = 2

    [[report.prices.stability]]
    name = "dearer"
    baseline = "data:guess"
    perturbed = "data:guess_dearer"
    metric = "increased"
    min = 1
"#;

/// Twenty flats; the guess is off by one on every second one, and by `more` on the last one.
fn truth(more: i64) -> String {
    let mut text = "id,price,guess,country,note\n".to_owned();
    for id in 0..20 {
        let price = 100 + 7 * id;
        let guess = price + id % 2 + if id == 19 { more } else { 0 };
        let country = ["DE", "FR"][(id / 10) as usize];
        text.push_str(&format!("{id},{price},{guess},{country},{more}\n"));
    }
    text
}

fn project() -> Project {
    let project = Project::new(MANIFEST);
    project.write("truth.csv", truth(0));
    project
}

fn report(project: &Project) -> Value {
    serde_json::from_str(&project.read("out/report/prices/report.json")).unwrap()
}

const GATE: &str = "
    [[report.prices.gate]]
    metric = \"mae\"
    below = \"pin:champion\"
    confidence = 0.5
";

#[test]
fn a_report_is_built_with_its_gates_and_made_anew_for_what_it_reads() {
    let project = project();
    project.build(&["report:prices"]);
    let first = report(&project);
    assert_eq!(first["passed"], true);
    assert_eq!(first["owner"], "anna");
    assert_eq!(first["models"][0]["figures"][0]["value"], 0.5);
    assert_eq!(first["stability"][0]["value"], 1.0);
    let inputs = first["inputs"].as_array().unwrap();
    assert_eq!(
        (&inputs[0]["name"], &inputs[0]["target"]),
        (&"truth".into(), &"data:truth".into())
    );
    assert_eq!(inputs[1]["target"], "data:guess");

    // A column that it does not read changes nothing.
    project.write("truth.csv", truth(0).replace(",0\n", ",x\n"));
    project.build(&["report:prices"]).built(&["data:truth"]);
    project.write("truth.csv", truth(0).replace("DE", "IT"));
    project
        .build(&["report:prices"])
        .built(&["data:truth", "report:prices"]);
    project.build(&["report:prices"]).built(&[]);
}

#[test]
fn a_failing_gate_stops_what_depends_on_the_report() {
    let project = project();
    project.write("truth.csv", truth(60));
    let built = project.try_build(&["report:prices"]);
    assert_eq!(built.ran.exit, Some(1), "{}", built.ran.stderr);
    let said = built.diagnostic("report:prices");
    assert_eq!(said["code"], "report::gate-failed");
    let detail = said["detail"][0].as_str().unwrap();
    assert_eq!(detail, "guess mae = 3.5000, above max 2.0000 by 1.5000");
}

#[test]
fn a_gate_compares_with_what_a_pin_holds() {
    let project = project();
    project.build(&["data:guess"]);
    let manifest = format!("{}{GATE}", project.read("mlbuild.toml"));
    project.write("mlbuild.toml", manifest);
    let built = project.try_build(&["report:prices"]);
    assert_eq!(built.ran.exit, Some(2), "{}", built.ran.stderr);
    assert_eq!(built.diagnostic("report:prices")["code"], "pin::unknown");

    // The champion is what is built now: it is not beaten by itself.
    project.run(&["pin", "data:guess", "--name", "champion"]);
    let built = project.try_build(&["report:prices"]);
    assert_eq!(built.ran.exit, Some(1), "{}", built.ran.stderr);
    let detail = built.diagnostic("report:prices")["detail"][0].to_string();
    assert!(detail.contains("equal to pin:champion 0.5000"), "{detail}");

    // Half the error beats it, and again from the cache.
    project.replace(
        "mlbuild.toml",
        "cast(guess as double) as prediction",
        "(price + guess) / 2.0 as prediction",
    );
    project.build(&["report:prices"]);
    let report = report(&project);
    let gate = report["gates"]
        .as_array()
        .unwrap()
        .iter()
        .find(|gate| gate["bound"] == "below")
        .unwrap()
        .clone();
    assert_eq!(
        (&gate["passed"], &gate["reference"], &gate["value"]),
        (&true.into(), &0.5.into(), &0.25.into())
    );
    assert_eq!(report["models"][1]["name"], "pin:champion");
    project.build(&["report:prices"]).built(&[]);

    // Another champion is another key.
    assert_eq!(project.run(&["unpin", "champion"]).exit, Some(0));
    project.run(&["pin", "data:guess", "--name", "champion"]);
    let built = project.try_build(&["report:prices"]);
    assert_eq!(built.ran.exit, Some(1), "{}", built.ran.stderr);

    project.run(&["unpin", "champion"]);
    project.run(&["pin", "data:truth", "--name", "champion"]);
    let built = project.try_build(&["report:prices"]);
    assert_eq!(
        built.diagnostic("report:prices")["code"],
        "pin::other-target"
    );
}
