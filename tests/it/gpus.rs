//! GPUs: counted, handed out, shared only by those who say how much they take, and asked for in vain with a word on what to do.
//!
//! The devices are pretended; what they are handed out by is the same.

use crate::project::{Built, Project, Ran};

/// Runs the binary on a machine with these GPUs, of which `visible` are this user's.
fn run(project: &Project, gpus: &str, visible: Option<&str>, arguments: &[&str]) -> Ran {
    let mut command = project.command(arguments);
    command.env("MLBUILD_PRETENDED_GPUS", gpus);
    command.envs(visible.map(|visible| ("CUDA_VISIBLE_DEVICES", visible)));
    project.ran(command.output().unwrap())
}

pub(crate) fn build(project: &Project, gpus: &str, visible: Option<&str>) -> Built {
    let ran = run(project, gpus, visible, &["build", "--json", "-k", "-j4"]);
    let lines = ran.stdout.lines();
    let events = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    Built { ran, events }
}

/// A model that says which GPUs it sees, and from when to when it ran.
fn model(name: &str, seconds: f64, resources: &str) -> String {
    let command = format!(
        "date +%s%N > {{out}}/begun; sleep {seconds}; date +%s%N > {{out}}/ended; echo \\\"$CUDA_VISIBLE_DEVICES\\\" > {{out}}/gpus"
    );
    format!("[model.{name}]\ncommand = \"{command}\"\nresources = {{ {resources} }}\n\n")
}

fn gpus_of(project: &Project, name: &str) -> String {
    let text = project.read(&format!("out/model/{name}/gpus"));
    text.trim_end().to_owned()
}

/// Whether `a` had ended when `b` began.
fn one_after_the_other(project: &Project) -> bool {
    let moment = |path: &str| project.read(path).trim().parse::<u64>().unwrap();
    moment("out/model/a/ended") <= moment("out/model/b/begun")
}

const TWO: &str = "A100:40GB,A100:40GB";

#[test]
fn each_gets_devices_of_its_own_the_lowest_first_and_who_asks_for_none_sees_none() {
    let manifest = [
        model("a", 0.0, "gpus = 1"),
        model("b", 0.0, "gpus = 2"),
        model("none", 0.0, "cpus = 1"),
    ];
    let project = Project::new(&manifest.concat());
    let built = build(&project, TWO, None);
    assert_eq!(built.ran.exit, Some(0), "{}", built.ran.stderr);
    assert_eq!(gpus_of(&project, "a"), "GPU-0");
    assert_eq!(gpus_of(&project, "b"), "GPU-0,GPU-1");
    assert_eq!(gpus_of(&project, "none"), "");
    let log = run(&project, TWO, None, &["log", "model:a"]).stdout;
    assert!(log.contains("--- on A100 (GPU-0), driver 1.2.3\n"), "{log}");
    let started = built
        .events
        .iter()
        .find(|event| event["event"] == "started" && event["target"] == "model:b");
    assert_eq!(
        started.unwrap()["gpus"],
        serde_json::json!(["GPU-0", "GPU-1"])
    );
}

#[test]
fn no_two_run_on_one_device_unless_both_say_how_much_of_it_they_take() {
    let one = "A100:40GB";
    let both = |a: &str, b: &str| {
        let project = Project::new(&[model("a", 2.0, a), model("b", 0.0, b)].concat());
        assert_eq!(build(&project, one, None).ran.exit, Some(0));
        assert_eq!(gpus_of(&project, "a"), gpus_of(&project, "b"));
        project
    };
    assert!(one_after_the_other(&both("gpus = 1", "gpus = 1")));
    let (large, small) = (
        "gpus = 1, gpu_memory = \"30GB\"",
        "gpus = 1, gpu_memory = \"10GB\"",
    );
    assert!(one_after_the_other(&both(large, "gpus = 1")));
    assert!(one_after_the_other(&both(large, large)));
    assert!(!one_after_the_other(&both(large, small)));
}

#[test]
fn what_the_user_makes_visible_is_all_there_is() {
    let project = Project::new(&model("a", 0.0, "gpus = 1"));
    build(&project, TWO, Some("1"));
    assert_eq!(gpus_of(&project, "a"), "1", "by the user's own name for it");
    let hidden = Project::new(&model("a", 0.0, "gpus = 1"));
    let built = build(&hidden, TWO, Some(""));
    assert_eq!(built.ran.exit, Some(3));
    built.failed(&["model:a"]);
}

#[test]
fn where_none_is_large_enough_the_choices_are_named_and_a_cached_result_needs_none() {
    let project = Project::new(&model("a", 0.0, "gpus = 1, gpu_memory = \"80GB\""));
    let built = build(&project, TWO, None);
    assert_eq!(built.ran.exit, Some(3));
    let diagnostic = built.diagnostic("model:a");
    assert_eq!(
        diagnostic["message"],
        "`model:a` asks for a GPU with 80.0 GB, and there is A100 (40.0 GB), A100 (40.0 GB)"
    );
    let help = diagnostic["help"].to_string();
    assert!(
        help.contains("--device cpu") && help.contains("cached"),
        "{help}"
    );

    build(&project, "H100:80GB", None).built(&["model:a"]);
    let elsewhere = project.try_build(&[]);
    assert_eq!(
        elsewhere.ran.exit,
        Some(0),
        "a machine without a GPU takes it from the cache"
    );
    // What is made on the CPU is another model.
    let on_cpu = project.run(&["build", "--json", "--device", "cpu"]);
    assert!(
        on_cpu.stdout.contains("\"built\":[\"model:a\"]"),
        "{}",
        on_cpu.stdout
    );
    assert_eq!(gpus_of(&project, "a"), "");
    let doctor = run(&project, TWO, None, &["doctor"]).stdout;
    assert!(
        doctor.contains("A100, 40.0 GB, driver 1.2.3 (GPU-0)"),
        "{doctor}"
    );
}

#[test]
fn verify_needs_a_gpu_where_the_action_does() {
    let model = model("a", 0.0, "gpus = 1").replace("date +%s%N", "echo once");
    let project = Project::new(&model);
    build(&project, TWO, None);
    let ran = run(&project, TWO, None, &["verify"]);
    assert_eq!(ran.exit, Some(0), "{}{}", ran.stdout, ran.stderr);
    let ran = run(&project, TWO, Some("-1"), &["verify"]);
    assert_eq!(ran.exit, Some(1), "{}{}", ran.stdout, ran.stderr);
}
