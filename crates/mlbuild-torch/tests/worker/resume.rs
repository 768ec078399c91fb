//! A training that is killed and started again ends with the bytes of one that never was.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use mlbuild_torch::order::Order;
use mlbuild_worker_protocol::{Checkpoint, FromWorker, ToWorker, write};

use crate::world::{Worker, World, done, with};

/// A training of 4 epochs, with all that has a state: dropout, averaged weights, a schedule, a best epoch.
fn request(world: &World, output: &str, architecture: &str, words: &[(&str, &str)]) -> ToWorker {
    let params = [
        ("epochs", 4.0),
        ("ema", 0.9),
        ("dropout", 0.2),
        ("clip", 1.0),
        ("patience", 0.0),
    ];
    with(world.train(output, &params), architecture, words)
}

fn kept_in(mut request: ToWorker, path: &Path) -> ToWorker {
    if let ToWorker::Train { checkpoint, .. } = &mut request {
        *checkpoint = Some(Checkpoint {
            folder: path.to_owned(),
            seconds: 0.0,
        });
    }
    request
}

/// The step of the latest checkpoint, sound or not.
fn latest(folder: &Path) -> u64 {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let steps = names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.split_once('-')?.0.parse().ok()
    });
    steps.max().unwrap_or(0)
}

/// Kills a worker once it has taken `step` steps; false if it was faster.
fn kill_at(request: &ToWorker, folder: &Path, step: u64) -> bool {
    let mut worker = Worker::start(&[]);
    write(&mut worker.input, request).unwrap();
    loop {
        if latest(folder) >= step {
            worker.child.kill().unwrap();
            worker.child.wait().unwrap();
            return true;
        }
        if worker.child.try_wait().unwrap().is_some() {
            return false;
        }
        thread::sleep(Duration::from_micros(200));
    }
}

fn check(architecture: &str, words: &[(&str, &str)], seed: i64) {
    let world = World::new();
    let figures = done(&request(&world, "whole", architecture, words));
    let whole = fs::read(world.path("whole")).unwrap();
    let folder = world.path("checkpoints");
    let request = kept_in(request(&world, "killed", architecture, words), &folder);
    let mut order = Order::new(seed);
    let mut step = 0;
    for _ in 0..2 {
        step += 1 + order.below(8) as u64;
        kill_at(&request, &folder, step);
    }
    let (messages, status) = Worker::start(&[]).ask(&request);
    assert_eq!(status, Some(0));
    match messages.first() {
        Some(FromWorker::Resumed { step: from }) => assert!(*from >= step, "{from} {step}"),
        other => panic!("{other:?}"),
    }
    let epochs: Vec<u32> = messages
        .iter()
        .filter_map(|message| match message {
            FromWorker::Epoch { epoch, .. } => Some(*epoch),
            _ => None,
        })
        .collect();
    assert_eq!(epochs, [1, 2, 3, 4], "{architecture}");
    match messages.last() {
        Some(FromWorker::Done { metrics }) => assert_eq!(metrics["steps"], figures["steps"]),
        other => panic!("{other:?}"),
    }
    let killed = fs::read(world.path("killed")).unwrap();
    assert!(
        killed == whole,
        "{architecture} differs when resumed from {step}"
    );
}

#[test]
fn sasrec_goes_on_to_the_same_bytes() {
    check("sasrec", &[], 1);
    check("sasrec", &[("loss", "sampled"), ("optimizer", "sgd")], 2);
}

#[test]
fn gru4rec_goes_on_to_the_same_bytes() {
    check("gru4rec", &[("loss", "bce"), ("schedule", "cosine")], 3);
}

#[test]
fn lstm_goes_on_to_the_same_bytes() {
    check("lstm", &[("optimizer", "adam")], 4);
}

#[test]
fn bert4rec_goes_on_to_the_same_bytes() {
    check("bert4rec", &[], 5);
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let world = World::new();
    done(&request(&world, "whole", "sasrec", &[]));
    let folder = world.path("checkpoints");
    let request = kept_in(request(&world, "killed", "sasrec", &[]), &folder);
    kill_at(&request, &folder, 9);
    let newest = latest(&folder);
    for entry in fs::read_dir(&folder).unwrap().flatten() {
        let path = entry.path();
        if path.to_str().unwrap().contains(&format!("/{newest}-")) {
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        }
    }
    let (messages, _) = Worker::start(&[]).ask(&request);
    let first = messages.first();
    assert!(
        matches!(first, Some(FromWorker::Resumed { step }) if *step == newest - 1),
        "{first:?}"
    );
    let [whole, killed] = ["whole", "killed"].map(|name| fs::read(world.path(name)).unwrap());
    assert!(whole == killed);
}
