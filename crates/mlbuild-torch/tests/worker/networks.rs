//! What holds for every network: it learns what can be learned, and equal requests give equal bytes.

use std::fs;

use mlbuild_worker_protocol::ToWorker;

use crate::world::{self, ITEMS, World, circle, done, with};

/// Every network, and every loss, sampler, rule and schedule at least once.
const NETWORKS: [(&str, &[(&str, &str)]); 5] = [
    ("sasrec", &[("loss", "sampled")]),
    ("sasrec", &[("loss", "bce"), ("sampling", "uniform")]),
    ("gru4rec", &[("schedule", "cosine")]),
    ("lstm", &[("optimizer", "adam"), ("schedule", "constant")]),
    ("bert4rec", &[]),
];

/// Rows are up to 11 items long, and BERT4Rec puts its mask after them.
const PARAMS: [(&str, f64); 4] = [
    ("dim", 32.0),
    ("epochs", 60.0),
    ("lr", 0.003),
    ("max_length", 12.0),
];

/// Popularity says nothing about a circle, on which every item is as frequent.
#[test]
fn a_pattern_is_learned_by_every_network() {
    let world = World::new();
    let rows: Vec<Vec<i64>> = (0..ITEMS).map(|start| circle(start, 6)).collect();
    world.write("test", &rows, None);
    for (place, (architecture, words)) in NETWORKS.into_iter().enumerate() {
        let name = format!("weights_{place}");
        // The softmax wants many of them here, the binary loss, where each counts for itself, few.
        let negatives = if words.contains(&("loss", "bce")) {
            8.0
        } else {
            100.0
        };
        let params = [&PARAMS[..], &[("negatives", negatives)]].concat();
        let mut request = with(world.train(&name, &params), architecture, words);
        if let ToWorker::Train { validate, .. } = &mut request {
            // The last epoch is kept.
            *validate = None;
        }
        done(&request);
        let mut request = with(world.predict(&name, "test", 3, false), architecture, words);
        if let ToWorker::Predict { model, output, .. } = &mut request {
            model.params = world::model(&params).params;
            // Lists are written once.
            let _ = fs::remove_file(output);
        }
        done(&request);
        let (items, _) = world.lists();
        let right = |(row, list): &(&Vec<i64>, &Vec<i64>)| list[0] == (row[5] + 1) % ITEMS;
        let hits = rows.iter().zip(&items).filter(right).count();
        assert!(hits >= 10, "{architecture} {words:?}: {hits} of 12");
    }
}

#[test]
fn equal_requests_give_equal_bytes_for_every_network() {
    let world = World::new();
    for (place, (architecture, words)) in NETWORKS.into_iter().enumerate() {
        for threads_wanted in [1, 2, 4] {
            let [once, again] = [0, 1].map(|run| {
                let name = format!("{place}_{threads_wanted}_{run}");
                let params = [("epochs", 2.0), ("dropout", 0.2)];
                let mut request = with(world.train(&name, &params), architecture, words);
                if let ToWorker::Train { threads, .. } = &mut request {
                    *threads = threads_wanted;
                }
                done(&request);
                fs::read(world.path(&name)).unwrap()
            });
            assert!(
                once == again,
                "{architecture} {words:?} at {threads_wanted} threads"
            );
        }
    }
}
