//! What a manifest declares, and every way to get it wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use insta::assert_snapshot;
use mlbuild_action::Diagnostic;
use mlbuild_manifest::{Definition, Label, Manifest, SourceText, SubjectDefinition, parse};
use mlbuild_testing::render_diagnostics;

fn source(path: &str, text: &str) -> SourceText {
    SourceText {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

/// Parses targets of a project called `shop`.
fn read(targets: &str, sql: &[(&str, &str)]) -> (Manifest, Vec<Diagnostic>, Vec<SourceText>) {
    let manifest = source(
        "mlbuild.toml",
        &format!("[project]\nname = \"shop\"\n{targets}"),
    );
    let mut files: Vec<_> = sql.iter().map(|(path, text)| source(path, text)).collect();
    let (parsed, diagnostics) = parse(&manifest, &files);
    files.push(manifest);
    (parsed, diagnostics, files)
}

fn render(diagnostics: &[Diagnostic], files: &[SourceText]) -> String {
    render_diagnostics(diagnostics, |path| {
        let file = files.iter().find(|file| file.path == path);
        file.map(|file| file.text.as_str())
    })
}

/// The diagnostics of a manifest, or the labels and rules of its targets.
fn check(targets: &str) -> String {
    check_with(targets, &[])
}

fn check_with(targets: &str, sql: &[(&str, &str)]) -> String {
    let (manifest, diagnostics, files) = read(targets, sql);
    if !diagnostics.is_empty() {
        return render(&diagnostics, &files);
    }
    let targets = manifest.targets.iter();
    let lines =
        targets.map(|target| format!("{} {}", target.label, target.definition.rule().as_str()));
    lines.collect::<Vec<_>>().join("\n")
}

fn definition(targets: &str, label: &str) -> Definition {
    let (manifest, diagnostics, files) = read(targets, &[]);
    assert!(diagnostics.is_empty(), "{}", render(&diagnostics, &files));
    let label: Label = label.parse().unwrap();
    let mut targets = manifest.targets.into_iter();
    targets
        .find(|target| target.label == label)
        .unwrap()
        .definition
}

#[test]
fn targets_come_from_tables_and_from_sql_files() {
    assert_snapshot!(check_with(
        "[data.events]\npath = \"raw/*.csv\"\n[data.sessions]\nkey = [\"id\"]\n[features.inline]\nsql = \"select 1\"\n[model.m]\ntrain = \"markov\"\ninput = \"features:train\"\n[data.p]\npredict = \"model:m\"\ninput = \"features:test\"\n[report.r]\npredictions = \"data:p\"\ntruth = \"features:test\"\nmetrics = \"ndcg@10\"\n[model.c]\ncommand = [\"fit\", \"\"]\n",
        &[("features/train.sql", "select 2"), ("data/sessions.sql", "select 3")],
    ), @r#"
    data:events path
    data:p predict
    data:sessions sql
    features:inline sql
    features:train sql
    model:c command
    model:m train
    report:r evaluate
    "#);
}

#[test]
fn unknown_names_get_the_nearest_known_one() {
    assert_snapshot!(check("[dta.x]\npath = \"x.csv\"\n[pipeline.x]\n"), @r#"
    manifest::unknown-kind: unknown kind `dta`
      mlbuild.toml:3:2 `dta`: not a kind
      help: did you mean `data`?
    manifest::unknown-kind: unknown kind `pipeline`
      mlbuild.toml:5:2 `pipeline`: not a kind
      help: the kinds are `data`, `features`, `model` and `report`
    "#);
    assert_snapshot!(check("[data.x]\npth = \"x.csv\"\n"), @r#"
    manifest::unknown-key: unknown key `pth` in `data:x`
      mlbuild.toml:4:1 `pth`: not a key here
      help: did you mean `path`?
    "#);
    assert_snapshot!(check("[data.x]\npath = \"x.csv\"\nformt = \"csv\"\nzzz = 1\nk = 3\n"), @r#"
    manifest::unknown-key: unknown key `formt` in `data:x`
      mlbuild.toml:5:1 `formt`: not a key here
      help: did you mean `format`?
    manifest::unknown-key: unknown key `zzz` in `data:x`
      mlbuild.toml:6:1 `zzz`: not a key here
      help: the keys here are `checks`, `columns`, `description`, `format`, `key`, `owner`, `path`, `resources`, `row_number` and `tags`
    manifest::unknown-key: `k` does not belong to rule `path`
      mlbuild.toml:7:1 `k`: not a key here
      help: it is a key of rule `predict`
    "#);
    assert_snapshot!(check("[data.x]\npath = \"x\"\nformat = \"cvs\"\n[data.y]\npath = \"y\"\nformat = \"xml\"\n"), @r#"
    manifest::unknown-format: unknown format `cvs`
      mlbuild.toml:5:10 `"cvs"`: not a format
      help: did you mean `csv`?
    manifest::unknown-format: unknown format `xml`
      mlbuild.toml:8:10 `"xml"`: not a format
      help: the formats are `csv`, `tsv`, `jsonl`, `parquet` and `files`
    "#);
    assert_snapshot!(check("[data.x]\npath = \"x.csv\"\ncolumns = { a = \"int\", b = \"int46\", c = \"int64\" }\n"), @r#"
    manifest::unknown-type: unknown column type `int`
      mlbuild.toml:5:17 `"int"`: not a type
      help: the types are `boolean`, `date`, `float64`, `int64`, `timestamp` and `utf8`
    manifest::unknown-type: unknown column type `int46`
      mlbuild.toml:5:28 `"int46"`: not a type
      help: did you mean `int64`?
    "#);
    assert_snapshot!(check("[model.m]\ntrain = \"sasrek\"\ninput = \"features:t\"\n[model.n]\ntrain = \"transformer\"\ninput = \"features:t\"\n"), @r#"
    manifest::unknown-architecture: unknown architecture `sasrek`
      mlbuild.toml:4:9 `"sasrek"`: not built in
      help: did you mean `sasrec`?
    manifest::unknown-architecture: unknown architecture `transformer`
      mlbuild.toml:7:9 `"transformer"`: not built in
      help: the architectures are `bert4rec`, `constant`, `gru4rec`, `item_knn`, `linear`, `logistic`, `lstm`, `markov`, `popularity` and `sasrec`
    "#);
    assert_snapshot!(check("[report.r]\npredictions = \"data:p\"\ntruth = \"data:t\"\nmetrics = [\"ndgc@10\", \"mrr\", \"map@0\", \"accuracee\", \"pinball@9\"]\n"), @r#"
    manifest::unknown-metric: unknown metric `ndgc@10`
      mlbuild.toml:6:12 `"ndgc@10"`: not a metric
      help: did you mean `ndcg@10`?
    manifest::unknown-metric: unknown metric `mrr`
      mlbuild.toml:6:23 `"mrr"`: not a metric
      help: did you mean `mrr@10`?
    manifest::unknown-metric: unknown metric `map@0`
      mlbuild.toml:6:30 `"map@0"`: not a metric
      help: the cut-off after `@` is a positive integer, as in `ndcg@10`
    manifest::unknown-metric: unknown metric `accuracee`
      mlbuild.toml:6:39 `"accuracee"`: not a metric
      help: did you mean `accuracy`?
    manifest::unknown-metric: unknown metric `pinball@9`
      mlbuild.toml:6:52 `"pinball@9"`: not a metric
      help: the quantile after `@` is between 0 and 1, as in `pinball@0.9`
    "#);
}

#[test]
fn a_model_of_a_table_says_what_it_predicts_from_what() {
    let Definition::Train(train) = definition(
        "[model.m]\ntrain = \"logistic\"\ninput = \"data:x\"\nlabel = \"y\"\ncolumns = [\"b\", \"a\"]\ntime = \"at\"\nallow_leak = [\"b\"]\n",
        "model:m",
    ) else {
        panic!()
    };
    let SubjectDefinition::Table(table) = train.subject else {
        panic!()
    };
    assert_eq!(table.label[0].value, "y");
    assert_eq!(
        table.columns.unwrap(),
        ["a", "b"],
        "their order says nothing"
    );
    assert_eq!((table.time.as_deref(), table.task), (Some("at"), None));

    let Definition::Train(train) = definition(
        "[model.m]\ntrain = \"constant\"\ninput = \"data:x\"\nlabel = [\"y\", \"z\"]\ncategories = [\"a\"]\n",
        "model:m",
    ) else {
        panic!()
    };
    let SubjectDefinition::Table(table) = train.subject else {
        panic!()
    };
    assert_eq!(table.columns, Some(Vec::new()), "it looks at no feature");
    assert!(table.categories.is_empty() && table.label.len() == 2);
}

#[test]
fn keys_of_another_subject_and_labels_that_do_not_fit_are_named() {
    assert_snapshot!(check("[model.m]\ntrain = \"markov\"\ninput = \"data:x\"\ncolumns = [\"a\"]\ntask = \"binary\"\n[model.n]\ntrain = \"logistic\"\ninput = \"data:x\"\ncatalog = \"data:y\"\n[model.o]\ntrain = \"logistic\"\ninput = \"data:x\"\nlabel = [\"a\", \"b\"]\ntask = \"binary\"\n[model.p]\ntrain = \"logistic\"\ninput = \"data:x\"\nlabel = \"a\"\ntask = \"ranking\"\nparams = { class_weight = \"even\", l2 = -1 }\n"), @r#"
    manifest::unknown-key: `columns` does not belong to `markov`
      mlbuild.toml:6:1 `columns`: not a key here
      help: models of tables have it: `logistic`
    manifest::unknown-key: `task` does not belong to `markov`
      mlbuild.toml:7:1 `task`: not a key here
      help: models of tables have it: `logistic`
    manifest::missing-key: `model:n` has no `label`
      mlbuild.toml:8:8 `n`: needs `label`
      help: name the column to predict: `label = "churned"`
    manifest::unknown-key: `catalog` does not belong to `logistic`
      mlbuild.toml:11:1 `catalog`: not a key here
      help: models of sequences have it: `sasrec`
    manifest::bad-value: a task of 2 labels is `multilabel`
      mlbuild.toml:16:8 `"binary"`: does not fit `label`
      help: several labels are a list of boolean columns: `label = ["is_new", "is_big"]`
    manifest::bad-value: unknown task `ranking`
      mlbuild.toml:21:8 `"ranking"`: not a task
      help: its tasks are `binary`, `multiclass` and `multilabel`
    manifest::bad-parameter: `class_weight` must be `none` or `balanced`
      mlbuild.toml:22:27 `"even"`: not allowed
      help: `class_weight`: `balanced` weighs each row by rows / (classes * rows of its class)
    manifest::bad-parameter: `l2` must be a number from 0 to 1000000000000
      mlbuild.toml:22:40 `-1`: not allowed
      help: `l2`: penalty: what is least is the sum of the rows' log losses plus `l2`/2 times the sum of squared weights, over columns of mean 0 and variance 1
    "#);
}

#[test]
fn a_target_has_one_rule_and_its_kind_has_it() {
    assert_snapshot!(check("[data.x]\ndescription = \"nothing\"\n[model.m]\n"), @r#"
    manifest::no-rule: nothing says how `data:x` is made
      mlbuild.toml:3:7 `x`: has no rule
      help: add one of `path`, `sql`, `split`, `command`, `python` and `predict`, or write `data/x.sql`
    manifest::no-rule: nothing says how `model:m` is made
      mlbuild.toml:5:8 `m`: has no rule
      help: add one of `command`, `python` and `train`
    "#);
    assert_snapshot!(check("[data.x]\npath = \"x.csv\"\nsql = \"select 1\"\n"), @r#"
    manifest::two-rules: `data:x` has two rules: `path` and `sql`
      mlbuild.toml:5:1 `sql`: a second rule
      help: a target is made in one way; split it in two
    "#);
    assert_snapshot!(check_with("[data.x]\npath = \"x.csv\"\n", &[("data/x.sql", "select 1\nfrom data.y")]), @r#"
    manifest::two-rules: `data:x` is declared twice: here, and by its SQL file
      mlbuild.toml:4:1 `path`: says how it is made
      data/x.sql:1:1 `select 1`: so does this file
      help: rename the file or the target, or remove one of them
    "#);
    assert_snapshot!(check("[features.x]\npath = \"x.csv\"\n[data.y]\ntrain = \"markov\"\ninput = \"data:x\"\n"), @r#"
    manifest::wrong-kind: rule `path` does not make a feature table
      mlbuild.toml:4:1 `path`: not for kind `features`
      help: it makes targets of kind `data`; a feature table has one of `sql`, `split`, `command` and `python`
    manifest::wrong-kind: rule `train` does not make a dataset
      mlbuild.toml:6:1 `train`: not for kind `data`
      help: it makes targets of kind `model`; a dataset has one of `path`, `sql`, `split`, `command`, `python` and `predict`
    "#);
    assert_snapshot!(check("[data.x]\nurl = \"https://a\"\n"), @r#"
    manifest::unknown-rule: rule `url` is not in this version
      mlbuild.toml:4:1 `url`: not yet
      help: the rules are `path`, `sql`, `split`, `command`, `python`, `train`, `predict` and `evaluate`
    "#);
    assert_snapshot!(check("[data]\nx = 3\n"), @r#"
    manifest::wrong-type: `x` must be a table
      mlbuild.toml:4:5 `3`: this is an integer
    "#);
}

#[test]
fn a_function_is_named_and_given_what_it_declares() {
    assert_snapshot!(check("[data.x]\npython = \"lib.x\"\n"), @r#"
    manifest::bad-function: `lib.x` does not name a function
      mlbuild.toml:4:10 `"lib.x"`: not `module:function`
      help: write `module:function`, the module as from the project's root: `lib/labels.py` is `lib.labels`
    "#);
    assert_snapshot!(check("[data.x]\npython = \"a:b\"\ncolumns = { \"data:y\" = [\"id\"] }\n"), @r#"
    manifest::bad-value: `columns` names `data:y`, which is no input
      mlbuild.toml:5:13 `"data:y"`: not an input
      help: add `"data:y"` to `inputs`
    "#);
    assert_snapshot!(check("[data.x]\npython = \"a:b\"\ninputs = [\"data:y\"]\ncolumns = { \"data:y\" = [] }\nparams = { a = [1] }\n"), @r#"
    manifest::bad-value: `columns` lists no column of `data:y`
      mlbuild.toml:6:24 `[]`: empty
      help: leave the input away if its columns are not read
    manifest::wrong-type: `a` must be a number, a string or a boolean
      mlbuild.toml:7:16 `[1]`: this is an array
    "#);
    assert_snapshot!(check("[model.x]\npython = \"a:b\"\nformat = \"files\"\n"), @r#"
    manifest::not-a-table: `format` makes a table, and a model is none
      mlbuild.toml:5:1 `format`: not a table
    "#);
    assert_snapshot!(check("[data.x]\npython = \"a:b\"\nformat = \"csv\"\nrow_number = \"n\"\n"), @r#"
    manifest::bad-value: a function yields a table or files, not `csv`
      mlbuild.toml:5:10 `"csv"`: neither `parquet` nor `files`
      help: leave `format` away for a table, or write `format = "files"`
    manifest::unknown-key: `row_number` does not belong to rule `python`
      mlbuild.toml:6:1 `row_number`: not a key here
      help: it is a key of rule `path`
    "#);
    assert_snapshot!(check("[data.x]\npython = \"a:b\"\nformat = \"files\"\nkey = [\"id\"]\n"), @r#"
    manifest::not-a-table: `key` needs a table, and `data:x` keeps its files as they are
      mlbuild.toml:6:1 `key`: only tables have it
      help: leave `format` away to make a table
    "#);
}

#[test]
fn names_are_declared_once() {
    assert_snapshot!(check("[data.x]\npath = \"x.csv\"\n[data.x]\npath = \"y.csv\"\n"), @r#"
    manifest::duplicate: `[data.x]` is declared twice
      mlbuild.toml:5:7 `x`: declared again
      help: merge the two, or rename one
    "#);
    assert_snapshot!(check("[data.x]\npath = \"x.csv\"\npath = \"y.csv\"\n"), @r#"
    manifest::duplicate: `path` is declared twice
      mlbuild.toml:5:1 `path`: declared again
      help: merge the two, or rename one
    "#);
}

#[test]
fn syntax_errors_are_reported_alone_and_all() {
    assert_snapshot!(check("[data.x\npath = \"x.csv\"\n[data.y]\npath = \nbogus = true\n"), @r#"
    manifest::syntax: unclosed table, expected `]`
      mlbuild.toml:3:8 ``: not valid TOML
    manifest::syntax: string values must be quoted, expected literal string
      mlbuild.toml:6:8 ``: not valid TOML
    "#);
    assert_snapshot!(check("[data.x]\npath = \"x.csv\n"), @r#"
    manifest::syntax: invalid basic string, expected `"`
      mlbuild.toml:4:14 ``: not valid TOML
    "#);
}

#[test]
fn names_and_labels_have_one_spelling() {
    assert_snapshot!(check_with("[data.Events]\npath = \"x.csv\"\n[data.\"a-b\"]\npath = \"x.csv\"\n", &[("data/My Query.sql", "select 1\n")]), @r#"
    manifest::bad-name: `Events` cannot name a target
      mlbuild.toml:3:7 `Events`: not a name
      help: use lower case letters, digits and `_`, beginning with a letter
    manifest::bad-name: `a-b` cannot name a target
      mlbuild.toml:5:7 `"a-b"`: not a name
      help: use lower case letters, digits and `_`, beginning with a letter
    manifest::bad-name: `data/My Query.sql` cannot name a target
      data/My Query.sql:1:1 `select 1`: in this file
      help: name it in lower case letters, digits and `_`, beginning with a letter
    "#);
    assert_snapshot!(check("[model.m]\ntrain = \"markov\"\ninput = \"features.train\"\nvalidate = \"valid\"\ncatalog = \"feature:x\"\n"), @r#"
    manifest::bad-label: `features.train` is not a label
      mlbuild.toml:5:9 `"features.train"`: not a label
      help: write `features:train`
    manifest::bad-label: `valid` is not a label
      mlbuild.toml:6:12 `"valid"`: not a label
      help: a label is written `kind:name`, as in `data:sessions`
    manifest::bad-label: `feature:x` is not a label
      mlbuild.toml:7:11 `"feature:x"`: not a label
      help: did you mean `features:x`?
    "#);
    assert_snapshot!(check("[data.p]\npredict = \"data:m\"\ninput = \"data:Big\"\n"), @r#"
    manifest::wrong-kind: `data:m` is not a model
      mlbuild.toml:4:11 `"data:m"`: of kind `data`
    manifest::bad-label: `data:Big` is not a label
      mlbuild.toml:5:9 `"data:Big"`: not a label
      help: a name is lower case letters, digits and `_`, and begins with a letter
    "#);
}

#[test]
fn paths_stay_in_the_project() {
    assert_snapshot!(check("[data.a]\npath = \"../x.csv\"\n[data.b]\npath = \"/etc/x.csv\"\n[data.c]\npath = [\"a.csv\", \"b/./c.csv\", 'b\\c.csv', \"\"]\n[data.d]\npath = \"out/data/x.csv\"\n[data.e]\npath = \"C:/x.csv\"\n"), @r#"
    manifest::bad-path: `../x.csv` leaves the project
      mlbuild.toml:4:8 `"../x.csv"`: leaves the project
      help: paths are relative to the project, stay inside it, and are written with `/`
    manifest::bad-path: `/etc/x.csv` is an absolute path
      mlbuild.toml:6:8 `"/etc/x.csv"`: is an absolute path
      help: paths are relative to the project, stay inside it, and are written with `/`
    manifest::bad-value: `path` is empty
      mlbuild.toml:8:42 `""`: empty
    manifest::bad-path: `out/data/x.csv` is where builds put what they make
      mlbuild.toml:10:8 `"out/data/x.csv"`: not a source
      help: read another target by its label, not by its file
    manifest::bad-path: `C:/x.csv` is an absolute path
      mlbuild.toml:12:8 `"C:/x.csv"`: is an absolute path
      help: paths are relative to the project, stay inside it, and are written with `/`
    "#);
    assert_snapshot!(check("[model.m]\ncommand = \"fit\"\nsrcs = [\"../lib.py\"]\nout = \"/tmp/m\"\n"), @r#"
    manifest::bad-path: `../lib.py` leaves the project
      mlbuild.toml:5:9 `"../lib.py"`: leaves the project
      help: paths are relative to the project, stay inside it, and are written with `/`
    manifest::bad-path: `/tmp/m` is an absolute path
      mlbuild.toml:6:7 `"/tmp/m"`: is an absolute path
      help: paths are relative to the project, stay inside it, and are written with `/`
    "#);
}

#[test]
fn a_format_must_show() {
    assert_snapshot!(check("[data.a]\npath = \"raw\"\n[data.b]\npath = [\"a.csv\", \"b.tsv\"]\n[data.c]\npath = \"x.csv\"\nformat = \"files\"\nrow_number = \"line\"\nkey = [\"a\"]\n"), @r#"
    manifest::missing-key: the format of `data:a` does not show in its path
      mlbuild.toml:4:8 `"raw"`: files of which format?
      help: add `format`: one of `csv`, `tsv`, `jsonl`, `parquet` and `files`
    manifest::missing-key: the format of `data:b` does not show in its path
      mlbuild.toml:6:9 `"a.csv"`: files of which format?
      help: add `format`: one of `csv`, `tsv`, `jsonl`, `parquet` and `files`
    manifest::not-a-table: `row_number` needs a table, and format `files` is none
      mlbuild.toml:10:1 `row_number`: has no columns
    manifest::not-a-table: `key` needs a table, and `data:c` keeps its files as they are
      mlbuild.toml:11:1 `key`: only tables have it
      help: add `format` to read the files as a table
    "#);
    assert_snapshot!(check("[data.a]\npath = [\"a/*.parquet\", \"b.parquet\"]\n"), @r#"
    data:a path
    "#);
}

#[test]
fn values_have_types() {
    assert_snapshot!(check("[data.x]\npath = 3\nkey = \"id\"\ntags = [1]\nowner = true\nresources = \"big\"\nchecks = 1\n"), @r#"
    manifest::wrong-type: `path` must be a string or a list of strings
      mlbuild.toml:4:8 `3`: this is an integer
    manifest::wrong-type: `key` must be a list of strings
      mlbuild.toml:5:7 `"id"`: this is a string
    manifest::wrong-type: `tags` must be a list of strings
      mlbuild.toml:6:9 `1`: this is an integer
    manifest::wrong-type: `owner` must be a string
      mlbuild.toml:7:9 `true`: this is a boolean
    manifest::wrong-type: `resources` must be a table
      mlbuild.toml:8:13 `"big"`: this is a string
    manifest::wrong-type: `checks` must be a table
      mlbuild.toml:9:10 `1`: this is an integer
    "#);
    assert_snapshot!(check("[data.p]\npredict = \"model:m\"\ninput = \"data:x\"\nk = 0\nexclude_seen = \"yes\"\nresources = { cpus = 0, gpus = 2, memory = \"2 gigs\", disk = 1 }\n"), @r#"
    manifest::bad-value: `k` must be an integer from 1 to 100000
      mlbuild.toml:6:5 `0`: out of range
    manifest::wrong-type: `exclude_seen` must be `true` or `false`
      mlbuild.toml:7:16 `"yes"`: this is a string
    manifest::bad-value: `cpus` must be an integer from 1 to 4096
      mlbuild.toml:8:22 `0`: out of range
    manifest::bad-value: rule `predict` uses one GPU
      mlbuild.toml:8:32 `2`: too many
      help: write `gpus = 1`; a function or a command may use several
    manifest::bad-value: `2 gigs` is not an amount of memory
      mlbuild.toml:8:44 `"2 gigs"`: not a size
      help: write a number and a unit, as in `512MB` or `2GiB`
    manifest::unknown-key: unknown key `disk` in `resources` of `data:p`
      mlbuild.toml:8:54 `disk`: not a key here
      help: the keys here are `cpus`, `gpu_memory`, `gpus` and `memory`
    "#);
    assert_snapshot!(check("[data.x]\npath = \"x.csv\"\nkey = [\"a\", \"a\", \"\"]\n"), @r#"
    manifest::bad-value: `a` is listed twice in `key`
      mlbuild.toml:5:13 `"a"`: again
    manifest::bad-value: `key` is empty
      mlbuild.toml:5:18 `""`: empty
    "#);
    assert_snapshot!(check("[features.f]\nsql = \"select $a\"\nparams = { a = [1], b = 2024-01-01, c = inf, d = 99999999999999999999 }\n"), @r#"
    manifest::wrong-type: `a` must be a number, a string or a boolean
      mlbuild.toml:5:16 `[1]`: this is an array
    manifest::wrong-type: `b` must be a number, a string or a boolean
      mlbuild.toml:5:25 `2024-01-01`: this is a date or time
      help: write it as a string, and cast it in the query: `cast($name as timestamp)`
    manifest::bad-value: `c` is a number that cannot be represented
      mlbuild.toml:5:41 `inf`: neither a 64-bit integer nor a finite float
    manifest::bad-value: `d` is a number that cannot be represented
      mlbuild.toml:5:50 `99999999999999999999`: neither a 64-bit integer nor a finite float
    "#);
}

#[test]
fn commands_declare_what_they_name() {
    assert_snapshot!(check("[model.m]\ncommand = \"fit {src} {input:data:x} {input:data:y} > {out}\"\ninputs = [\"data:x\"]\ntimeout = \"10 minutes\"\ndigest = \"md5:00\"\nenv = { \"A-B\" = \"1\", C = 2 }\nformat = \"csv\"\n"), @r#"
    manifest::bad-command: the command names `{src}`, but declares no `srcs`
      mlbuild.toml:4:11 `"fit {src} {input:data:x} {input:data:y} > {out}"`: uses `{src}`
      help: add `srcs = ["FILE", ...]`
    manifest::bad-command: the command names `{input:data:y}`, which is not declared
      mlbuild.toml:4:11 `"fit {src} {input:data:x} {input:data:y} > {out}"`: uses an undeclared input
      help: add `"data:y"` to `inputs`
    manifest::bad-value: `10 minutes` is not a duration
      mlbuild.toml:6:11 `"10 minutes"`: not a duration
      help: write a number and a unit, as in `500ms`, `90s`, `10m` or `2h`
    manifest::missing-key: `digest` pins one file, and no `out` says which
      mlbuild.toml:7:1 `digest`: of which file?
      help: add `out = "FILE"`
    manifest::bad-value: `md5:00` is not a digest
      mlbuild.toml:7:10 `"md5:00"`: not a digest
      help: write `sha256:` or `blake3:` and 64 hexadecimal digits
    manifest::bad-value: `A-B` is not the name of an environment variable
      mlbuild.toml:8:9 `"A-B"`: not a variable's name
    manifest::wrong-type: `C` must be a string
      mlbuild.toml:8:26 `2`: this is an integer
    manifest::not-a-table: `format` makes a table, and a model is none
      mlbuild.toml:9:1 `format`: not a table
    "#);
    assert_snapshot!(check("[data.x]\ncommand = []\n[data.y]\ncommand = \" \"\n[data.z]\ncommand = \"get\"\nkey = [\"a\"]\n"), @r#"
    manifest::bad-value: `command` names no program
      mlbuild.toml:4:11 `[]`: empty
    manifest::bad-value: `command` is empty
      mlbuild.toml:6:11 `" "`: empty
    manifest::not-a-table: `key` needs a table, and `data:z` keeps its files as they are
      mlbuild.toml:9:1 `key`: only tables have it
      help: add `format` to read the files as a table
    "#);
}

#[test]
fn parameters_of_architectures_are_known_and_bounded() {
    assert_snapshot!(check("[model.m]\ntrain = \"sasrec\"\ninput = \"data:x\"\nparams = { dims = 3, layers = \"2\", dropout = 1.5, epochs = 0, lr = 1 }\n[model.n]\ntrain = \"markov\"\ninput = \"data:x\"\nparams = { order = 2 }\n[model.o]\ntrain = \"sasrec\"\ninput = \"data:x\"\nparams = { dim = 64, heads = 3 }\n"), @r#"
    manifest::unknown-parameter: `sasrec` has no parameter `dims`
      mlbuild.toml:6:12 `dims`: not a parameter
      help: did you mean `dim`?
    manifest::bad-parameter: `layers` must be an integer from 0 to 64
      mlbuild.toml:6:31 `"2"`: not allowed
      help: `layers`: number of attention blocks
    manifest::bad-parameter: `dropout` must be a number from 0 to 0.95
      mlbuild.toml:6:46 `1.5`: not allowed
      help: `dropout`: share of activations dropped in training
    manifest::bad-parameter: `epochs` must be an integer from 1 to 100000
      mlbuild.toml:6:60 `0`: not allowed
      help: `epochs`: passes over the training table at most; without a validation table, exactly
    manifest::unknown-parameter: `markov` has no parameter `order`
      mlbuild.toml:10:12 `order`: not a parameter
      help: it has none
    manifest::bad-parameter: `dim` 64 is not a multiple of `heads` 3
      mlbuild.toml:14:30 `3`: does not divide `dim`
    "#);
}

#[test]
fn every_parameter_ends_in_the_declaration() {
    let sasrec =
        "[model.m]\ntrain = \"sasrec\"\ninput = \"data:x\"\nparams = { dim = 32, lr = 1 }\n";
    let Definition::Train(train) = definition(sasrec, "model:m") else {
        panic!()
    };
    let params: Vec<_> = train
        .params
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_snapshot!(params.join(" "), @r#"
    batch=16 clip=0.0 dim=32 dropout=0.3 ema=0.99 epochs=20 heads=2 label_smoothing=0.0 layers=2 loss="softmax" lr=1.0 max_length=100 momentum=0.9 monitor="valid_ndcg@10" negatives=128 optimizer="adamw" patience=10 sampling="popularity" schedule="linear" seed=0 warmup=100 weight_decay=0.01
    "#);
}

#[test]
fn checks_are_named_and_well_formed() {
    let checks = "[data.x]\npath = \"x.csv\"\n[data.x.checks]\nnot_null = [\"a\", \"b\"]\nunique = [[\"a\"], [\"a\", \"b\"]]\naccepted_values = { c = [\"x\", \"y\"] }\nrange = { d = { min = 0 }, e = { min = \"2024\", max = \"2025\" } }\nrows = \">= 1\"\nsql = { none = \"select * from data.x where a < 0\" }\n[data.x.checks.warn]\nnot_null = [\"c\"]\n";
    let (manifest, diagnostics, files) = read(checks, &[]);
    assert_eq!(render(&diagnostics, &files), "");
    let checks = manifest.targets[0].checks.iter();
    let names: Vec<_> = checks
        .map(|check| {
            format!(
                "{}{}",
                check.name,
                if check.warn_only { " (warn)" } else { "" }
            )
        })
        .collect();
    assert_snapshot!(names.join("\n"), @r#"
    not_null(a)
    not_null(b)
    unique(a)
    unique(a, b)
    accepted_values(c)
    range(d)
    range(e)
    rows
    none
    not_null(c) (warn)
    "#);

    assert_snapshot!(check("[data.x]\npath = \"x.csv\"\n[data.x.checks]\nnotnull = [\"a\"]\nunique = []\naccepted_values = { c = [1, \"y\"], d = [] }\nrange = { d = { min = 2, max = 1 }, e = {}, f = { low = 1 } }\nrows = \"many\"\nsql = \"select 1\"\n[data.x.checks.warn]\nnot_null = [\"c\", \"c\"]\n"), @r#"
    manifest::unknown-key: unknown key `notnull` in `checks` of `data:x`
      mlbuild.toml:6:1 `notnull`: not a key here
      help: did you mean `not_null`?
    manifest::bad-value: `unique` lists no column
      mlbuild.toml:7:10 `[]`: empty
    manifest::bad-value: `c` must list values of one type, at least one
      mlbuild.toml:8:25 `[1, "y"]`: of different types
    manifest::bad-value: `d` must list values of one type, at least one
      mlbuild.toml:8:39 `[]`: empty
    manifest::bad-value: the range of `d` holds no value
      mlbuild.toml:9:11 `d`: `min` is not below `max`
    manifest::missing-key: `e` of `range` of `checks` of `data:x` has no `min`
      mlbuild.toml:9:37 `e`: needs `min`
      help: give `min`, `max` or both; they are inclusive
    manifest::unknown-key: unknown key `low` in `f` of `range` of `checks` of `data:x`
      mlbuild.toml:9:51 `low`: not a key here
      help: the keys here are `max` and `min`
    manifest::bad-value: `rows` is not a bound on a number of rows
      mlbuild.toml:10:8 `"many"`: not a bound
      help: write a comparison and a number, as in `rows = ">= 1000"`
    manifest::wrong-type: `sql` must be a table
      mlbuild.toml:11:7 `"select 1"`: this is a string
    manifest::bad-value: `c` is listed twice in `not_null`
      mlbuild.toml:13:18 `"c"`: again
    manifest::bad-value: check `not_null(c)` is declared twice
      mlbuild.toml:13:18 `"c"`: again
    "#);
    assert_snapshot!(check("[model.m]\ntrain = \"markov\"\ninput = \"data:x\"\n[model.m.checks]\nrows = \"> 1\"\n"), @r#"
    manifest::unknown-key: `checks` does not belong to rule `train`
      mlbuild.toml:6:10 `checks`: not a key here
      help: only tables have it
    "#);
}

#[test]
fn reports_have_metrics_and_sound_gates() {
    assert_snapshot!(check("[report.r]\npredictions = []\n[report.s]\npredictions = \"data:p\"\ntruth = \"data:t\"\nmetrics = [\"mrr@10\"]\n[[report.s.gate]]\nmetric = \"mrr@5\"\nmin = 0.1\n[[report.s.gate]]\nmetric = \"mrr@10\"\n[[report.s.gate]]\nmetric = \"mrr@10\"\nmin = 0\nmax = 1\n[[report.s.gate]]\nmetric = \"mrr@10\"\nmin = \"low\"\nmodell = \"m\"\n"), @r#"
    manifest::missing-key: `report:r` has no `truth`
      mlbuild.toml:3:9 `r`: needs `truth`
      help: name the table with what came true: `truth = "features:test"`
    manifest::missing-key: `report:r` has no `metrics`
      mlbuild.toml:3:9 `r`: needs `metrics`
      help: say what to measure: `metrics = ["ndcg@10"]`
    manifest::bad-value: `predictions` is empty
      mlbuild.toml:4:15 `[]`: empty
    manifest::unknown-metric: the report does not measure `mrr@5`
      mlbuild.toml:10:10 `"mrr@5"`: not measured
      help: add `"mrr@5"` to its `metrics`
    manifest::bad-gate: a gate of `report:s` needs one of `min`, `max`, `above` and `below`
      mlbuild.toml:12:1 `[[report.s.gate]]`: demands nothing
      help: declare a gate for each condition
    manifest::bad-gate: a gate of `report:s` needs one of `min`, `max`, `above` and `below`
      mlbuild.toml:14:1 `[[report.s.gate]]`: demands several things
      help: declare a gate for each condition
    manifest::wrong-type: `min` must be a number
      mlbuild.toml:20:7 `"low"`: this is a string
    manifest::unknown-key: unknown key `modell` in a gate of `report:s`
      mlbuild.toml:21:1 `modell`: not a key here
      help: did you mean `model`?
    "#);
}

#[test]
fn a_report_is_of_one_kind_of_predictions() {
    let report = |rest: &str| {
        check(&format!(
            "[report.r]\npredictions = \"data:p\"\ntruth = \"data:t\"\n{rest}"
        ))
    };
    assert_snapshot!(report("metrics = [\"accuracy\", \"rmse\"]\n"), @r#"
    manifest::mixed-metrics: `accuracy` is about one class a row, and `rmse` about numbers
      mlbuild.toml:6:24 `"rmse"`: of another kind
      help: a report is of one kind of predictions: declare one report for each
    "#);
    assert_snapshot!(report("metrics = [\"f1_macro\", \"accuracy\"]\nlabel = [\"a\", \"b\"]\n"), @r#"
    manifest::mixed-metrics: `label` names several labels a row, and `accuracy` is about one class a row
      mlbuild.toml:6:24 `"accuracy"`: of another kind
      help: name one column in `label` for one class a row, several boolean columns for labels
    "#);
    assert_snapshot!(report("metrics = \"log_loss\"\nconfidence = 95\nslices = [\"a\", { column = \"b\", bins = [2, 1] }, \"a\", \"popularity\"]\n[[report.r.gate]]\nmetric = \"log_loss\"\nabove = \"m\"\n[[report.r.gate]]\nmetric = \"log_loss\"\nmax = 1\nmargin = 0.1\nslice = \"c=1\"\n[[report.r.stability]]\nbaseline = \"data:p\"\nperturbed = \"data:q\"\nmetric = \"overlap\"\n"), @r#"
    manifest::bad-value: `confidence` must be at least 0.5 and less than 1
      mlbuild.toml:7:14 `95`: out of range
      help: 0.95 is usual
    manifest::bad-value: `bins` must be a list of rising numbers
      mlbuild.toml:8:39 `[2, 1]`: not bounds
    manifest::bad-value: rows are parted by `a` twice
      mlbuild.toml:8:49 `"a"`: again
    manifest::bad-value: `popularity` is what a report parts rows by of its own
      mlbuild.toml:8:54 `"popularity"`: not a column
    manifest::bad-gate: of `log_loss` a lower figure is better, so `above` demands a worse one
      mlbuild.toml:11:9 `"m"`: the wrong way
      help: write `below`
    manifest::bad-gate: `margin` is by how much another model must be beaten
      mlbuild.toml:15:1 `margin`: beats no model
      help: with `min` or `max`, move the bound itself
    manifest::unknown-slice: the report does not part its rows by `c`
      mlbuild.toml:16:9 `"c=1"`: not a slice
      help: did you mean `a`?
    manifest::unknown-metric: unknown comparison `overlap`
      mlbuild.toml:20:10 `"overlap"`: not a comparison
      help: predictions are compared by `overlap@10`, `rbo@10`, `changed`, `increased` and `decreased`
    "#);
}

#[test]
fn a_project_has_a_name() {
    let check = |text: &str| {
        let manifest = source("mlbuild.toml", text);
        render(&parse(&manifest, &[]).1, &[manifest])
    };
    assert_snapshot!(check(""), @r#"
    manifest::missing-key: the manifest has no `project`
      mlbuild.toml:1:1 ``: needs `project`
      help: begin the manifest with `[project]` and `name = "..."`
    "#);
    assert_snapshot!(check("[project]\nnme = \"x\"\n"), @r#"
    manifest::missing-key: `project` has no `name`
      mlbuild.toml:1:2 `project`: needs `name`
      help: give the project a name: `name = "recs"`
    manifest::unknown-key: unknown key `nme` in `project`
      mlbuild.toml:2:1 `nme`: not a key here
      help: did you mean `name`?
    "#);
    assert_snapshot!(check("[project]\nname = \"my shop\"\n"), @r#"
    manifest::bad-name: `my shop` is not a project's name
      mlbuild.toml:2:8 `"my shop"`: has other characters
      help: use letters, digits, `_` and `-`
    "#);
    assert_snapshot!(check("project = 1\n"), @r#"
    manifest::wrong-type: `project` must be a table
      mlbuild.toml:1:11 `1`: this is an integer
    "#);
}

#[test]
fn a_query_in_the_manifest_knows_its_place() {
    for (literal, at) in [
        ("\"select 1\"", "select 1"),
        ("'select 1'", "select 1"),
        ("'''\nselect 1'''", "select 1"),
        ("\"\"\"\r\nselect\n  1\"\"\"", "select"),
        ("\"\"\"'a' is what\"\"\"", "'a'"),
        ("\"'' is what\"", "''"),
    ] {
        let text = format!("[features.f]\nsql = {literal}\n");
        let (manifest, _, files) = read(&text, &[]);
        let Definition::Sql(sql) = &manifest.targets[0].definition else {
            panic!()
        };
        let range = sql.sql.locate(0..at.len());
        assert_eq!(&files[0].text[range.clone()], at, "{literal}");
        assert_eq!(&sql.sql.source[range], at);
        assert!(sql.sql.text().starts_with(at));
    }
    // Escapes move what follows them: then the place is the whole string.
    let text = "[features.f]\nsql = \"select \\\"a\\\" from data.x\"\n";
    let (manifest, _, files) = read(text, &[]);
    let Definition::Sql(sql) = &manifest.targets[0].definition else {
        panic!()
    };
    let written = &files[0].text[sql.sql.locate(18..24)];
    assert_eq!(written, "\"select \\\"a\\\" from data.x\"");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_query() {
    let (manifest, diagnostics, _) = read("", &[("data/x.sql", "\u{feff}select 1")]);
    assert!(diagnostics.is_empty());
    let Definition::Sql(sql) = &manifest.targets[0].definition else {
        panic!()
    };
    assert_eq!(sql.sql.text(), "   select 1");
}

/// No text makes the parser panic: every prefix of a manifest, and every one with a byte left out.
#[test]
fn broken_manifests_are_diagnosed_not_fatal() {
    let text = "[project]\nname = \"é\"\n[data.x]\npath = ['a.csv', \"b\\u00e9.csv\"]\ncolumns = { a = \"int64\" }\n[data.x.checks]\nrange = { a = { min = 0x10, max = 1e3 } }\nsql = { q = '''\nselect 1''' }\n[[report.r.gate]]\nmetric = \"mrr@10\"\n";
    for (end, _) in text.char_indices() {
        let next = end + text[end..].chars().next().unwrap().len_utf8();
        for mutated in [
            text[..end].to_owned(),
            format!("{}{}", &text[..end], &text[next..]),
        ] {
            let manifest = source("mlbuild.toml", &mutated);
            let (_, diagnostics) = parse(&manifest, &[]);
            render(&diagnostics, &[manifest]);
        }
    }
}
