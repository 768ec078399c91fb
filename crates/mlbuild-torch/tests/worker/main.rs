//! The worker as its client sees it: a process, frames, files, exit statuses.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests; their helpers too"
)]

mod networks;
mod resume;
mod world;

use std::fs;
use std::io::Write;
use std::process::Command;

use mlbuild_worker_protocol::{Device, ENVIRONMENT, FromWorker, ToWorker, read, write};

use world::{ITEMS, Worker, World, circle, done, failed};

#[test]
fn a_pattern_is_learned_and_predicted() {
    let world = World::new();
    let mut request = world.train("weights", &[("epochs", 40.0)]);
    if let ToWorker::Train { validate, .. } = &mut request {
        // The last epoch is kept.
        *validate = None;
    }
    let figures = done(&request);
    assert_eq!((figures["best_epoch"], figures["epochs"]), (40.0, 40.0));
    let rows: Vec<Vec<i64>> = (0..ITEMS).map(|start| circle(start, 6)).collect();
    world.write("test", &rows, None);
    done(&world.predict("weights", "test", 3, false));
    let (items, scores) = world.lists();
    let hits = rows
        .iter()
        .zip(&items)
        .filter(|(row, list)| list[0] == (row[5] + 1) % ITEMS)
        .count();
    assert!(
        hits as f64 / rows.len() as f64 > 0.9,
        "{hits} of {}",
        rows.len()
    );
    assert!(scores.iter().all(|row| row.is_sorted_by(|a, b| a >= b)));
}

#[test]
fn lists_leave_out_what_was_seen_and_end_early() {
    let world = World::new();
    done(&world.train("weights", &[("epochs", 1.0)]));
    // Longer than the model looks back, which must not bring an item back.
    let rows = [circle(0, 11), Vec::new(), vec![3]];
    world.write("test", &rows, None);
    done(&world.predict("weights", "test", 4, true));
    let (items, scores) = world.lists();
    assert_eq!(items[0], [11, -1, -1, -1]);
    assert_eq!(scores[0][1..], [0.0; 3]);
    assert_eq!(
        (&items[1][..], &scores[1][..]),
        (&[-1; 4][..], &[0.0; 4][..])
    );
    assert!(!items[2].contains(&3) && !items[2].contains(&-1));
}

#[test]
fn equal_requests_give_equal_bytes() {
    let world = World::new();
    let bytes = |output: &str, wanted| {
        let mut request = world.train(output, &[("epochs", 3.0), ("ema", 0.9)]);
        if let ToWorker::Train { threads, .. } = &mut request {
            *threads = wanted;
        }
        done(&request);
        fs::read(world.path(output)).unwrap()
    };
    // Equal at any number of threads; between two numbers only where the processor's matrix products allow it.
    for threads in [1, 2, 4] {
        let [once, again] = [0, 1].map(|run| bytes(&format!("{threads}_{run}"), threads));
        assert!(once == again, "two processes differ at {threads} threads");
    }
    done(&world.train("seed", &[("epochs", 3.0), ("ema", 0.9), ("seed", 1.0)]));
    assert!(bytes("plain", 1) != fs::read(world.path("seed")).unwrap());
}

#[test]
fn a_worker_started_by_hand_pins_its_environment() {
    let world = World::new();
    let request = |name| world.train(name, &[("epochs", 2.0)]);
    done(&request("client"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlbuild-torch"));
    ENVIRONMENT.iter().for_each(|(name, _)| {
        command.env_remove(name);
    });
    let (_, status) = Worker::spawn(&mut command).ask(&request("hand"));
    assert_eq!(status, Some(0));
    assert!(fs::read(world.path("client")).unwrap() == fs::read(world.path("hand")).unwrap());
}

#[test]
fn training_stops_when_patience_is_over() {
    let world = World::new();
    // Without a learning rate nothing ever gets better than the first epoch.
    let figures = done(&world.train("weights", &[("lr", 0.0), ("patience", 3.0)]));
    assert_eq!((figures["best_epoch"], figures["epochs"]), (1.0, 4.0));
}

#[test]
fn every_epoch_is_reported() {
    let world = World::new();
    let (messages, _) = Worker::start(&[]).ask(&world.train("weights", &[("epochs", 2.0)]));
    let names = [
        "loss",
        "seconds",
        "valid_hit_rate@10",
        "valid_mrr@10",
        "valid_ndcg@10",
    ];
    for (message, number) in messages[..2].iter().zip(1..) {
        let FromWorker::Epoch {
            epoch,
            epochs,
            metrics,
        } = message
        else {
            panic!("{message:?}")
        };
        assert_eq!((*epoch, *epochs), (number, 2));
        assert!(metrics.keys().eq(names), "{metrics:?}");
    }
}

fn check_failure(request: &ToWorker, code: &str, words: &str) {
    let (found, message) = failed(request);
    assert_eq!(found, code);
    assert!(message.contains(words), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn mistakes_in_parameters_are_named() {
    let world = World::new();
    let unknown = world.train("w", &[("dims", 1.0)]);
    check_failure(&unknown, "train::params", "no parameter `dims`");
    let (mut messages, _) = Worker::start(&[]).ask(&unknown);
    assert!(
        matches!(messages.pop(), Some(FromWorker::Failed { help: Some(help), .. }) if help.contains("`dim`, "))
    );
}

#[test]
fn a_loss_that_is_not_finite_fails() {
    let explode = [("lr", 10.0), ("weight_decay", 10.0), ("warmup", 0.0)];
    check_failure(
        &World::new().train("w", &explode),
        "train::diverged",
        "no longer finite at step ",
    );
}

#[test]
fn a_missing_gpu_fails() {
    let mut request = World::new().train("w", &[]);
    if let ToWorker::Train { device, .. } = &mut request {
        *device = Device::Gpu;
    }
    // Without `--gpu` there is none, whatever the machine has.
    check_failure(&request, "train::no-gpu", "no GPU that libtorch can use");
}

/// On a machine with CUDA the whole way; elsewhere the flag must do no harm.
#[test]
fn a_gpu_is_used_or_its_absence_explained() {
    let mut request = World::new().train("w", &[("epochs", 1.0)]);
    if let ToWorker::Train { device, .. } = &mut request {
        *device = Device::Gpu;
    }
    let (messages, status) = Worker::start(&["--gpu"]).ask(&request);
    assert_eq!(status, Some(0));
    match messages.last() {
        Some(FromWorker::Done { .. }) => {}
        Some(FromWorker::Failed { code, message, .. }) => {
            assert_eq!(code, "train::no-gpu");
            assert!(
                message.starts_with("this machine has no GPU that libtorch can use"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_item_outside_of_the_catalog_fails() {
    let world = World::new();
    let mut request = world.train("w", &[]);
    if let ToWorker::Train { model, .. } = &mut request {
        model.items = 11;
    }
    check_failure(&request, "train::out-of-range", "the catalog has 11 items");
}

#[test]
fn nothing_to_learn_from_fails() {
    let world = World::new();
    world.write("train", &[vec![1], Vec::new(), vec![2]], None);
    check_failure(&world.train("w", &[]), "train::empty", "two items");

    let world = World::new();
    world.write("valid", &[], Some(Vec::new()));
    check_failure(
        &world.train("w", &[]),
        "train::empty",
        "validation table has no rows",
    );
}

#[test]
fn broken_files_are_named() {
    let world = World::new();
    done(&world.train("weights", &[("epochs", 1.0)]));
    check_failure(
        &world.predict("nowhere", "valid", 3, true),
        "train::io",
        "nowhere.safetensors",
    );
    check_failure(
        &world.predict("valid", "valid", 3, true),
        "train::weights",
        "lack `item.weight`",
    );
    check_failure(
        &world.predict("weights", "weights", 3, true),
        "train::input",
        "no tensor `items`",
    );
    fs::write(world.path("text"), "not a tensor").unwrap();
    check_failure(
        &world.predict("weights", "text", 3, true),
        "train::io",
        "text.safetensors",
    );
}

#[test]
fn the_end_of_input_ends_the_worker_at_once() {
    let world = World::new();
    let mut worker = Worker::start(&[]);
    write(
        &mut worker.input,
        &world.train("weights", &[("epochs", 100_000.0), ("patience", 0.0)]),
    )
    .unwrap();
    while !matches!(read(&mut worker.output), Ok(FromWorker::Epoch { .. })) {}
    drop(worker.input);
    assert_eq!(worker.child.wait().unwrap().code(), Some(3));
    assert!(!world.path("weights").exists());
}

#[test]
fn a_worker_that_nobody_asks_ends() {
    let mut worker = Worker::start(&[]);
    drop(worker.input);
    assert_eq!(worker.child.wait().unwrap().code(), Some(3));
}

#[test]
fn an_unknown_request_is_refused() {
    let mut worker = Worker::start(&[]);
    worker
        .input
        .write_all(b"\x10\0\0\0{\"type\":\"dance\"}")
        .unwrap();
    let answer = read(&mut worker.output).unwrap();
    assert!(matches!(answer, FromWorker::Failed { code, .. } if code == "train::bug"));
    assert_eq!(worker.child.wait().unwrap().code(), Some(2));
}

#[test]
fn the_version_is_one_line() {
    let worker = env!("CARGO_BIN_EXE_mlbuild-torch");
    let output = Command::new(worker).arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "mlbuild-torch 0.1.0 (protocol 2, libtorch 2.11.0)\n"
    );
    assert_eq!(
        Command::new(worker)
            .arg("--dance")
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
}
