//! How declarations fit together, and how they fail to.

use crate::common;

use insta::assert_snapshot;
use mlbuild_action::{Device, Question, Subject, Work};
use mlbuild_graph::{Graph, Label};

/// Splits a text at lines `== path`; what stands before the first is the manifest, without its `[project]`.
fn files(text: &str) -> Vec<(String, String)> {
    let mut files = vec![(
        "mlbuild.toml".to_owned(),
        "[project]\nname = \"shop\"\n".to_owned(),
    )];
    for line in text.lines().map(|line| line.trim_start_matches(' ')) {
        match line.strip_prefix("== ") {
            Some(path) => files.push((path.to_owned(), String::new())),
            None => files.last_mut().unwrap().1 += &format!("{line}\n"),
        }
    }
    files
}

/// The diagnostics of a project, or if there are none its graph.
fn check(text: &str) -> String {
    let files = files(text);
    let (graph, diagnostics) = common::project(&files);
    match diagnostics.is_empty() {
        true => common::render_graph(&graph),
        false => common::render_diagnostics(&diagnostics, &files),
    }
}

fn graph(text: &str) -> Graph {
    let (graph, diagnostics) = common::project(&files(text));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    graph
}

const SHOP: &str = "
    [data.wheel]
    command = \"get\"
    out = \"a.tsv\"
    [data.events]
    command = \"cat {input:data:wheel} {src} > {out}/a.tsv\"
    srcs = [\"tools/*.sh\"]
    inputs = [\"data:wheel\"]
    format = \"tsv\"
    [data.events.checks]
    rows = \"> 0\"
    sql = { known = \"select * from data.events anti join data.items using (item)\" }
    [data.items]
    path = [\"raw/*.csv\", \"more.csv\"]
    tags = [\"raw\"]
    [data.items.checks.warn]
    not_null = [\"item\"]
    [features.train]
    params = { gap = 30, unit = \"minutes\" }
    [features.test]
    key = [\"user\"]
    [features.test.checks.sql]
    own = \"select * from features.test where item is null\"
    [model.recs]
    train = \"sasrec\"
    input = \"features:train\"
    validate = \"features:test\"
    catalog = \"data:items\"
    resources = { gpus = 1 }
    tags = [\"nightly\"]
    [model.markov]
    train = \"markov\"
    input = \"features:train\"
    [data.recs]
    predict = \"model:recs\"
    input = \"features:test\"
    [data.base]
    predict = \"model:markov\"
    input = \"features:test\"
    k = 20
    [report.shop]
    predictions = [\"data:recs\", \"data:base\"]
    truth = \"features:test\"
    catalog = \"data:items\"
    metrics = [\"ndcg@10\"]
    [[report.shop.gate]]
    model = \"recs\"
    metric = \"ndcg@10\"
    above = \"markov\"
    == features/train.sql
    select * from data.events where gap > $gap and unit = $unit
    == features/test.sql
    with e as (select * from data.events) select * from e join data.items using (item)
";

#[test]
fn a_target_is_a_chain_of_stages() {
    assert_snapshot!(check(SHOP), @r#"
    data:items
      ingest csv: files=[raw/*.csv, more.csv]
      check not_null(item) (warn): table=previous
    data:wheel
      command
    data:events
      command: src=[tools/*.sh] data:wheel
      ingest tsv: files=previous
      check rows: table=previous
      check known: data:events=previous data:items
    features:test
      sql: data:events data:items
      check own: features:test=previous
    features:train
      sql: data:events
    model:markov
      train markov: input=features:train
    data:base
      predict by user: model=model:markov input=features:test
    model:recs
      train sasrec: input=features:train validate=features:test catalog=data:items
    data:recs
      predict by user: model=model:recs input=features:test
    report:shop
      evaluate recs, markov by user: truth=features:test catalog=data:items model.recs=model:recs model.markov=model:markov predictions.recs=data:recs predictions.markov=data:base
    "#);
}

#[test]
fn what_is_asked_for_is_in_the_work() {
    let graph = graph(SHOP);
    let work = |label: &str| {
        let label: Label = label.parse().unwrap();
        graph.target(&label).unwrap().stages[0].work.clone()
    };
    let Work::Train(train) = work("model:recs") else {
        panic!()
    };
    assert_eq!((train.device, train.threads), (Device::Gpu, 2));
    let subject = Subject::Sequences {
        sequence: "history".to_owned(),
        label: "target".to_owned(),
    };
    assert_eq!(train.subject, subject);
    let Work::Sql(sql) = work("features:train") else {
        panic!()
    };
    assert_eq!(sql.params.keys().collect::<Vec<_>>(), ["gap", "unit"]);
    assert_eq!(sql.file, "features/train.sql");
    let Work::Predict(predict) = work("data:base") else {
        panic!()
    };
    let question = Question::Sequences {
        sequence: "history".to_owned(),
        k: 20,
        exclude_seen: true,
    };
    assert_eq!((predict.question, predict.device), (question, Device::Cpu));
    let Work::Evaluate(evaluate) = work("report:shop") else {
        panic!()
    };
    assert_eq!(evaluate.title, "shop");
}

#[test]
fn what_is_asked_of_a_model_is_what_it_learned() {
    const CHURN: &str = "
        [features.train]
        sql = \"select 1 as id\"
        key = [\"id\"]
        [model.churn]
        train = \"logistic\"
        input = \"features:train\"
        label = \"left\"
        time = \"joined\"
        [data.churn]
        predict = \"model:churn\"
        input = \"features:train\"
    ";
    let graph = graph(CHURN);
    let work = |label: &str| {
        let label: Label = label.parse().unwrap();
        graph.target(&label).unwrap().stages[0].work.clone()
    };
    let Work::Train(train) = work("model:churn") else {
        panic!()
    };
    let Subject::Table(table) = train.subject else {
        panic!()
    };
    assert_eq!(table.key, ["id"], "the key of its table");
    let Work::Predict(predict) = work("data:churn") else {
        panic!()
    };
    let question = Question::Table {
        columns: None,
        without: ["left", "id", "joined"].map(str::to_owned).to_vec(),
    };
    assert_eq!(predict.question, question);
    assert_snapshot!(check(&format!("{CHURN}\n[data.more]\npredict = \"model:churn\"\ninput = \"features:train\"\nk = 5\n")), @r#"
    graph::not-of-sequences: `k` needs a model of sequences
      mlbuild.toml:19:1 `k`: not a key here
      help: `model:churn` predicts a column, one value a row
    "#);
}

#[test]
fn missing_targets_get_the_nearest_one() {
    assert_snapshot!(check("
        [model.m]
        train = \"markov\"
        input = \"features:trian\"
        [data.p]
        predict = \"model:n\"
        input = \"data:train\"
        == features/train.sql
        select * from data.pp
        == features/other.sql
        select * from dataa.p, something.else, features.zzzzzz
    "), @r#"
    sql::unknown-table: no table `dataa.p`, which `features:other` reads
      features/other.sql:1:15 `dataa.p`: not a target
      help: did you mean `data.p`?
    sql::unknown-table: no table `something.else`, which `features:other` reads
      features/other.sql:1:24 `something.else`: not a target
      help: the tables are `data.p`, `features.other` and `features.train`
    sql::unknown-table: no table `features.zzzzzz`, which `features:other` reads
      features/other.sql:1:40 `features.zzzzzz`: not a target
      help: the tables are `data.p`, `features.other` and `features.train`
    sql::unknown-table: no table `data.pp`, which `features:train` reads
      features/train.sql:1:15 `data.pp`: not a target
      help: did you mean `data.p`?
    graph::unknown-target: no target `features:trian`, which `model:m` asks for
      mlbuild.toml:6:9 `"features:trian"`: not a target
      help: did you mean `features:train`?
    graph::unknown-target: no target `model:n`, which `data:p` asks for
      mlbuild.toml:8:11 `"model:n"`: not a target
      help: did you mean `model:m`?
    graph::unknown-target: no target `data:train`, which `data:p` asks for
      mlbuild.toml:9:9 `"data:train"`: not a target
      help: did you mean `features:train`?
    "#);
}

#[test]
fn a_broken_target_is_complained_about_once() {
    assert_snapshot!(check("
        [data.x]
        path = 3
        [model.m]
        train = \"markov\"
        input = \"data:x\"
        [data.p]
        predict = \"model:m\"
        input = \"data:x\"
    "), @r#"
    manifest::wrong-type: `path` must be a string or a list of strings
      mlbuild.toml:5:8 `3`: this is an integer
    "#);
}

#[test]
fn parameters_match_the_query() {
    assert_snapshot!(check("
        [features.a]
        params = { gap_minutes = 30, other = 1 }
        [features.b]
        sql = 'select $x'
        == features/a.sql
        select $gap_minute
    "), @r#"
    sql::missing-parameter: parameter `$gap_minute` has no value
      features/a.sql:1:8 `$gap_minute`: used here
      help: did you mean `$gap_minutes`?
    sql::unused-parameter: the query of `features:a` has no parameter `gap_minutes`
      mlbuild.toml:5:12 `gap_minutes`: not used
      help: did you mean `gap_minute`?
    sql::unused-parameter: the query of `features:a` has no parameter `other`
      mlbuild.toml:5:30 `other`: not used
      help: the query uses `gap_minute`
    sql::missing-parameter: parameter `$x` has no value
      mlbuild.toml:7:15 `$x`: used here
      help: give it a value in `[features.b]`: `params = { x = ... }`
    "#);
}

#[test]
fn mistakes_in_queries_point_into_their_file() {
    assert_snapshot!(check("
        [features.a]
        sql = 'select now()'
        [features.b]
        sql = '''
        select *
        from bare'''
        [features.a.checks.sql]
        q = \"selec 1\"
        == features/c.sql
        select 1;
        drop table x
    "), @r#"
    sql::two-statements: a target is one query, and here is another statement
      features/c.sql:2:1 `drop`: the second statement begins here
      help: give each query a file of its own, or put the first one into a `with` clause
    sql::nondeterministic: `now` gives another result each time
      mlbuild.toml:5:15 `now`: would make the table depend on when it is built
      help: declare what it stands for as a parameter: `$at` here, and `params = { at = ... }` in the manifest
    sql::unknown-table: no table `bare`
      mlbuild.toml:9:6 `bare`: not a target, nor a common table expression in sight
      help: a target's table is written with its kind: `data.bare`
    sql::syntax: expected an SQL statement, found `selec`
      mlbuild.toml:11:6 `selec`: here
    "#);
}

#[test]
fn kinds_fit() {
    assert_snapshot!(check("
        [data.files]
        command = \"get\"
        [model.c]
        command = \"fit\"
        [model.m]
        train = \"markov\"
        input = \"model:c\"
        validate = \"data:files\"
        [data.keyless]
        path = \"a.csv\"
        [data.p]
        predict = \"model:c\"
        input = \"data:keyless\"
        [data.q]
        predict = \"model:n\"
        input = \"data:keyless\"
        [model.n]
        train = \"markov\"
        input = \"data:keyless\"
        == features/a.sql
        select * from model.m, data.files
    "), @r#"
    graph::not-a-table: `model:m` is not a table
      features/a.sql:1:15 `model.m`: not a table
      help: queries read targets of kind `data` and `features`
    graph::not-a-table: `data:files` is not a table
      features/a.sql:1:24 `data.files`: not a table
      help: give `data:files` a `format` to read its files as a table
    graph::not-a-table: `model:c` is not a table, and `model:m` needs one
      mlbuild.toml:10:9 `"model:c"`: not a table
      help: name a target of kind `data` or `features`
    graph::not-a-table: `data:files` is not a table, and `model:m` needs one
      mlbuild.toml:11:12 `"data:files"`: not a table
      help: give `data:files` a `format` to read its files as a table
    graph::not-a-model: `model:c` cannot be applied: rule `command` makes it
      mlbuild.toml:15:11 `"model:c"`: not trained
      help: `predict` applies models that `train` makes; for others write a function: `python = "module:function"` with `inputs = ["model:c", "data:keyless"]`
    graph::no-key: `data:keyless` has no key, and `data:q` needs one
      mlbuild.toml:19:9 `"data:keyless"`: has no key
      help: say which columns identify a row of `data:keyless`: `key = ["id"]`
    "#);
}

#[test]
fn cycles_are_shown_as_their_path() {
    assert_snapshot!(check("
        == data/a.sql
        select * from data.b
        == data/b.sql
        select * from features.c, data.d
        == features/c.sql
        select * from data.a
        == data/d.sql
        select * from data.b
        == data/self.sql
        select * from data.self
        == data/fine.sql
        select * from data.a
    "), @r#"
    graph::cycle: `data:a` is made from itself: `data:a` -> `data:b` -> `features:c` -> `data:a`
      data/a.sql:1:15 `data.b`: `data:a` reads `data:b`
      data/b.sql:1:15 `features.c`: `data:b` reads `features:c`
      features/c.sql:1:15 `data.a`: `features:c` reads `data:a`
      help: let one of them read something else; a target cannot read its own output
    graph::cycle: `data:self` is made from itself: `data:self` -> `data:self`
      data/self.sql:1:15 `data.self`: `data:self` reads `data:self`
      help: let one of them read something else; a target cannot read its own output
    "#);
    // A check may read its own table, but not one that is made from it.
    assert_snapshot!(check("
        [data.x]
        path = \"x.csv\"
        [data.x.checks.sql]
        own = \"select * from data.x\"
        later = \"select * from data.y\"
        == data/y.sql
        select * from data.x
    "), @r#"
    graph::cycle: `data:x` is made from itself: `data:x` -> `data:y` -> `data:x`
      mlbuild.toml:8:24 `data.y`: `data:x` reads `data:y`
      data/y.sql:1:15 `data.x`: `data:y` reads `data:x`
      help: let one of them read something else; a target cannot read its own output
    "#);
}

#[test]
fn reports_compare_models_that_can_be_compared() {
    assert_snapshot!(check("
        [data.t]
        path = \"t.csv\"
        key = [\"user\"]
        [model.m]
        train = \"markov\"
        input = \"data:t\"
        [data.a]
        predict = \"model:m\"
        input = \"data:t\"
        [data.b]
        predict = \"model:m\"
        input = \"data:t\"
        [data.c]
        path = \"c.csv\"
        key = [\"session\"]
        [report.twice]
        predictions = [\"data:a\", \"data:b\"]
        truth = \"data:t\"
        metrics = [\"mrr@10\"]
        [report.gates]
        predictions = [\"data:a\", \"data:c\"]
        truth = \"data:t\"
        metrics = [\"mrr@20\"]
        [[report.gates.gate]]
        metric = \"mrr@20\"
        min = 0.1
        [[report.gates.gate]]
        model = \"mm\"
        metric = \"mrr@20\"
        above = \"popularity\"
        [[report.gates.gate]]
        model = \"m\"
        metric = \"mrr@20\"
        above = \"m\"
        [report.keyless]
        predictions = \"data:a\"
        truth = \"data:k\"
        metrics = [\"mrr@10\"]
        [data.k]
        path = \"k.csv\"
    "), @r#"
    graph::same-model: two tables of predictions of model `m`
      mlbuild.toml:20:26 `"data:b"`: the second
      help: `data:a` is another; a report shows each model once
    graph::wrong-key: `data:c` has no key column `user`
      mlbuild.toml:24:26 `"data:c"`: cannot be joined
      help: its key is `session`, and the report joins by `user`
    graph::short-lists: `mrr@20` looks at 20 entries, and the lists of `data:a` have 10
      mlbuild.toml:26:12 `"mrr@20"`: looks too far
      help: raise `k` of `data:a`, or lower the cut-off
    graph::bad-gate: a gate of `report:gates` does not say of which model
      mlbuild.toml:27:1 `[[report.gates.gate]]`: about which model?
      help: add `model`: one of `m` and `c`
    graph::unknown-model: the report has no model `mm`
      mlbuild.toml:31:9 `"mm"`: not compared
      help: did you mean `m`?
    graph::unknown-model: the report has no model `popularity`
      mlbuild.toml:33:9 `"popularity"`: not compared
      help: it compares `m` and `c`
    graph::bad-gate: model `m` cannot be better than itself
      mlbuild.toml:37:9 `"m"`: the same model
      help: name another model of the report
    graph::no-key: `data:k` has no key, and `report:keyless` needs one
      mlbuild.toml:40:9 `"data:k"`: has no key
      help: say which columns identify a row of `data:k`: `key = ["id"]`
    "#);
}

#[test]
fn neighbours_and_closures() {
    let graph = graph(SHOP);
    let label = |text: &str| text.parse::<Label>().unwrap();
    let texts = |labels: Vec<Label>| {
        labels
            .iter()
            .map(Label::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_snapshot!(texts(graph.inputs(&label("features:test"))), @r#"
    data:events data:items
    "#);
    assert_snapshot!(texts(graph.consumers(&label("features:test"))), @r#"
    data:base data:recs model:recs report:shop
    "#);
    assert_snapshot!(texts(graph.upstream([&label("model:markov")])), @r#"
    data:items data:wheel data:events features:train model:markov
    "#);
    assert_snapshot!(texts(graph.downstream([&label("features:test")])), @r#"
    features:test data:base model:recs data:recs report:shop
    "#);
}

fn select(expressions: &[&str]) -> String {
    let expressions: Vec<_> = expressions.iter().map(|text| text.to_string()).collect();
    match graph(SHOP).select(&expressions, &|label| label.name() == "recs") {
        Ok(labels) => labels
            .iter()
            .map(Label::to_string)
            .collect::<Vec<_>>()
            .join(" "),
        Err(diagnostic) => format!(
            "{diagnostic}\n  help: {}",
            diagnostic.help.as_deref().unwrap_or("-")
        ),
    }
}

#[test]
fn selection_has_the_grammar_of_dbt() {
    assert_snapshot!(select(&["model:recs"]), @r#"
    model:recs
    "#);
    assert_snapshot!(select(&["events"]), @r#"
    data:events
    "#);
    assert_snapshot!(select(&["+model:markov"]), @r#"
    data:items data:wheel data:events features:train model:markov
    "#);
    assert_snapshot!(select(&["model:recs+"]), @r#"
    model:recs data:recs report:shop
    "#);
    assert_snapshot!(select(&["1+model:markov"]), @r#"
    features:train model:markov
    "#);
    assert_snapshot!(select(&["features:test+1"]), @r#"
    features:test data:base model:recs data:recs report:shop
    "#);
    assert_snapshot!(select(&["+model:markov+"]), @r#"
    data:items data:wheel data:events features:train model:markov data:base report:shop
    "#);
    assert_snapshot!(select(&["@model:markov"]), @r#"
    data:items data:wheel data:events features:test features:train model:markov data:base model:recs data:recs report:shop
    "#);
    assert_snapshot!(select(&["tag:raw", "tag:night*"]), @r#"
    data:items model:recs
    "#);
    assert_snapshot!(select(&["kind:model data:ba*"]), @r#"
    model:markov data:base model:recs
    "#);
    assert_snapshot!(select(&["+report:shop,kind:features"]), @r#"
    features:test features:train
    "#);
    assert_snapshot!(select(&["state:stale"]), @r#"
    model:recs data:recs
    "#);
    assert_snapshot!(select(&["+state:stale,kind:features"]), @r#"
    features:test features:train
    "#);
    assert_snapshot!(select(&["*:recs"]), @r#"
    model:recs data:recs
    "#);
    assert_snapshot!(select(&["*e*s"]), @r#"
    data:items data:events model:recs data:recs
    "#);
    assert_eq!(select(&[]), select(&["*"]));
}

#[test]
fn a_selection_of_nothing_is_an_error() {
    assert_snapshot!(select(&["recs"]), @r#"
    select::ambiguous: `recs` is the name of several targets
      help: write one of `data:recs` and `model:recs`
    "#);
    assert_snapshot!(select(&["model:reks"]), @r#"
    select::no-match: no target `model:reks`
      help: did you mean `model:recs`?
    "#);
    assert_snapshot!(select(&["marko"]), @r#"
    select::no-match: no target is named `marko`
      help: did you mean `model:markov`?
    "#);
    assert_snapshot!(select(&["model.recs"]), @r#"
    select::no-match: no target `model.recs`
      help: write `model:recs`
    "#);
    assert_snapshot!(select(&["tag:nihgtly"]), @r#"
    select::no-match: no target has tag `nihgtly`
      help: did you mean `nightly`?
    "#);
    assert_snapshot!(select(&["kind:models"]), @r#"
    select::no-match: unknown kind `models`
      help: did you mean `model`?
    "#);
    assert_snapshot!(select(&["state:fresh"]), @r#"
    select::no-match: unknown state `fresh`
      help: the state to ask for is `state:stale`
    "#);
    assert_snapshot!(select(&["tag:raw,kind:model"]), @r#"
    select::no-match: `tag:raw,kind:model` selects nothing: no target is in all of its parts
      help: a comma intersects, a space unites
    "#);
    assert_snapshot!(select(&["x+y"]), @r#"
    select::no-match: no target is named `x+y`
      help: the targets are `data:items`, `data:wheel`, `data:events`, `features:test`, `features:train`, `model:markov`, `data:base`, `model:recs`, `data:recs` and `report:shop`
    "#);
    assert_snapshot!(select(&["model:recs,"]), @r#"
    select::no-match: there is an empty expression
      help: name a target: `model:recs`
    "#);
    assert_snapshot!(select(&["+"]), @r#"
    select::no-match: there is an empty expression
      help: name a target: `model:recs`
    "#);
}

/// No project makes anything panic: one with any line, or any word, left out.
#[test]
fn broken_projects_are_diagnosed_not_fatal() {
    let check_quietly = |text: &str| drop(check(text));
    for (start, _) in SHOP.match_indices(['\n', ' ', '"', '.', ':']) {
        let end = SHOP[start + 1..]
            .find(['\n', ' ', '"', '.', ':'])
            .map_or(SHOP.len(), |end| start + 1 + end);
        check_quietly(&format!("{}{}", &SHOP[..start], &SHOP[end..]));
    }
    for line in SHOP.lines() {
        check_quietly(&SHOP.replacen(line, "", 1));
    }
}
