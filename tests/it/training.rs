//! Models of processes: the figures that they report, and how their trainings end.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::faults::{process_id, wait_until};
use crate::project::{Built, Project};

/// A model that this shell script makes.
fn model(more: &str, script: &str) -> Project {
    let manifest = format!(
        "[model.fit]\ncommand = [\"sh\", \"{{src}}/fit.sh\", \"{{out}}\"]\nsrcs = [\"fit.sh\"]\n{more}"
    );
    Project::new(&manifest).file("fit.sh", script)
}

/// Three epochs, and figures at the end.
const FIGURES: &str = r#"
for epoch in 1 2 3; do
    echo "{\"epoch\": $epoch, \"epochs\": 3, \"metrics\": {\"loss\": 0.$epoch}}" >&3
done
echo '{"metrics": {"auc": 0.75}}' >&"$MLBUILD_EVENTS"
echo model > "$1/model"
"#;

fn events<'b>(built: &'b Built, name: &str) -> Vec<&'b Value> {
    let events = built.events.iter();
    events.filter(|event| event["event"] == name).collect()
}

#[test]
fn epochs_are_told_as_they_end_and_final_figures_are_the_models() {
    let project = model("", FIGURES);
    let built = project.build(&[]);
    let epochs = events(&built, "epoch");
    let expected = json!({
        "event": "epoch", "target": "model:fit", "epoch": 2, "epochs": 3, "metrics": { "loss": 0.2 },
    });
    assert_eq!((epochs.len(), epochs[1]), (3, &expected));
    let query = |sql: &str| project.run(&["query", "--format", "jsonl", sql]).stdout;
    let curve = query(
        "select epoch, value from epochs where label = 'model:fit' and name = 'loss' order by epoch",
    );
    assert_eq!(curve.lines().count(), 3, "{curve}");
    assert_eq!(
        query("select name, value from metrics"),
        "{\"name\":\"auc\",\"value\":0.75}\n"
    );
    assert_eq!(
        query("select kind from artifacts"),
        "{\"kind\":\"model\"}\n"
    );

    // They are kept with the result, wherever it is found.
    project.run(&["clean"]);
    project.build(&[]).restored(&["model:fit"]);
    let shown = project.run(&["show", "model:fit"]).stdout;
    assert!(shown.contains("auc        0.750000"), "{shown}");
}

#[test]
fn many_short_epochs_are_few_writes_and_none_is_lost() {
    let script = r#"
i=0
while [ $i -lt 3000 ]; do
    i=$((i + 1))
    echo "{\"epoch\": $i, \"metrics\": {\"loss\": 1}}" >&3
done
echo model > "$1/model"
"#;
    let project = model("", script);
    project.build(&[]);
    let sql = "select count(*) as n, max(epoch) as last from epochs";
    let found = project.run(&["query", "--format", "jsonl", sql]).stdout;
    assert_eq!(found, "{\"last\":3000,\"n\":3000}\n");
}

#[test]
fn a_wrong_line_is_a_warning_that_shows_it() {
    let project = model("", "echo 'loss: 0.3' >&3\necho model > \"$1/model\"\n");
    let built = project.build(&[]);
    let warnings = events(&built, "warning");
    let warning = warnings[0]["warning"].as_str().unwrap();
    assert!(
        warning.starts_with("line 1 of `MLBUILD_EVENTS` is no event"),
        "{warning}"
    );
    assert!(warning.ends_with(": loss: 0.3"), "{warning}");
}

#[test]
fn a_training_that_diverges_is_stopped_at_once_unless_it_may() {
    let script = r#"
echo '{"epoch": 4, "metrics": {"loss": NaN}}' >&3
test -e "$MLBUILD_CHECKPOINTS/go" || sleep 1000
echo model > "$1/model"
"#;
    let project = model("timeout = \"5m\"\n", script);
    let built = project.try_build(&[]);
    assert_eq!(built.ran.exit, Some(1));
    let diagnostic = built.diagnostic("model:fit");
    assert_eq!(
        diagnostic["message"],
        "`sh {src}/fit.sh {out}` reported NaN for `loss` in epoch 4"
    );
    assert_eq!(diagnostic["code"], "training::not-a-number");
    let may = model(
        "may_be_nan = [\"loss\"]\n",
        &script.replace("sleep 1000", "true"),
    );
    may.build(&[]).built(&["model:fit"]);
}

#[test]
fn what_is_no_model_hears_nothing() {
    let script = "test -z \"${MLBUILD_EVENTS-}${MLBUILD_CHECKPOINTS-}\" && echo x > {out}/x";
    let project = Project::new(&format!("[data.x]\ncommand = '''{script}'''\n"));
    project.build(&[]).built(&["data:x"]);
}

/// Which of these figures may be undefined changes no output.
#[test]
fn what_may_be_no_number_is_no_part_of_the_key() {
    let project = model("", FIGURES);
    project.build(&[]);
    project.write(
        "mlbuild.toml",
        format!(
            "{}\nmay_be_nan = [\"loss\"]\n",
            project.read("mlbuild.toml")
        ),
    );
    project.build(&[]).built(&[]);
}

/// Steps that are kept, and a pause in which the training can be ended.
const SLOW: &str = r#"
step=$(cat "$MLBUILD_CHECKPOINTS/step" 2> /dev/null || echo 0)
echo "from $step" >> "$MLBUILD_CHECKPOINTS/log"
while [ "$step" -lt 4 ]; do
    step=$((step + 1))
    echo "$step" > "$MLBUILD_CHECKPOINTS/new"
    mv "$MLBUILD_CHECKPOINTS/new" "$MLBUILD_CHECKPOINTS/step"
    echo "{\"epoch\": $step, \"metrics\": {\"loss\": 1}}" >&3
    if [ "$step" = 2 ]; then
        echo "waits as $$"
        # Without a process of its own, which would be left if the build is killed.
        mkfifo "$TMPDIR/never"
        read line <> "$TMPDIR/never"
    fi
done
cp "$MLBUILD_CHECKPOINTS/log" "$1/model"
"#;

/// Ends a build of `model:fit` with a signal once its training waits as process `N`, which it prints as `waits as N`;
/// returns the build's exit status. The training is gone afterwards.
pub(crate) fn interrupt(project: &Project, signal: libc::c_int) -> Option<i32> {
    let build = project
        .command(&["build"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = project.root().join(".mlbuild/logs/model/fit.log");
    let training = || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        let line = log.lines().find_map(|line| line.strip_prefix("waits as "));
        line.map(str::to_owned)
    };
    wait_until("the training waits", || training().is_some());
    let training = Path::new("/proc").join(training().unwrap());
    assert!(training.exists());
    // SAFETY: the build has not been waited for, so its number is still its own.
    assert_eq!(unsafe { libc::kill(process_id(build.id()), signal) }, 0);
    let ended = build.wait_with_output().unwrap();
    wait_until("the training is gone", || !training.exists());
    ended.status.code()
}

#[test]
fn an_interrupted_training_leaves_its_checkpoint_and_no_process_and_the_next_build_goes_on() {
    for (signal, exit) in [
        (libc::SIGINT, Some(130)),
        (libc::SIGTERM, Some(130)),
        (libc::SIGKILL, None),
    ] {
        let project = model("", SLOW);
        assert_eq!(interrupt(&project, signal), exit);
        let built = project.build(&[]);
        built.built(&["model:fit"]);
        assert_eq!(project.read("out/model/fit/model"), "from 0\nfrom 2\n");
        let epochs = events(&built, "epoch").into_iter();
        let epochs: Vec<u64> = epochs.filter_map(|event| event["epoch"].as_u64()).collect();
        assert_eq!(epochs, [3, 4], "only what was missing");
        let left = project.root().join(".mlbuild/cache/checkpoints");
        assert_eq!(fs::read_dir(left).unwrap().count(), 0);
    }
}

/// What lineage knows of an interrupted training tells people what they would lose.
#[test]
fn a_collection_says_of_how_many_epochs_a_checkpoint_is() {
    let project = model("", SLOW);
    interrupt(&project, libc::SIGINT);
    project.write("fit.sh", "echo model > \"$1/model\"");
    project.build(&[]);
    let ran = project.run(&["gc", "--dry-run", "--grace", "1ms", "--max-size", "1KB"]);
    let line = ran.stdout.lines().next().unwrap();
    assert!(
        line.starts_with("model:fit, checkpoint of 2 epochs  "),
        "{}",
        ran.stdout
    );
}
