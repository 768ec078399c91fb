//! The client against workers that a shell script plays: frames recorded by the test, said in order.
//!
//! A script gets by with `sh`'s built-ins, `cat`, `cp` and `sleep`, as its environment is cleared too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mlbuild_action::*;
use mlbuild_worker_protocol::{FromWorker, PROTOCOL, ParamValue, ToWorker, read, write};

use crate::tensors::{self, Tensor, TensorFile};
use crate::tests::{Bench, diagnostic, ints, predict, ranked, sequences, train};

fn hello(protocol: u32, library: &str) -> FromWorker {
    FromWorker::Hello {
        protocol,
        worker: "mlbuild-torch 0.1.0".to_owned(),
        library: library.to_owned(),
        gpus: 0,
    }
}

fn good_hello() -> FromWorker {
    hello(PROTOCOL, "libtorch 2.11.0")
}

fn metrics(name: &str, value: f64) -> BTreeMap<String, f64> {
    BTreeMap::from([(name.to_owned(), value), ("seconds".to_owned(), 1.5)])
}

fn epoch(epoch: u32) -> FromWorker {
    FromWorker::Epoch {
        epoch,
        epochs: 2,
        metrics: metrics("loss", 1.0 / f64::from(epoch)),
    }
}

fn done() -> FromWorker {
    FromWorker::Done {
        metrics: metrics("epochs", 2.0),
    }
}

/// A worker as a shell script under construction.
struct Script {
    folder: PathBuf,
    text: String,
    frames: usize,
}

impl Script {
    fn new(bench: &Bench) -> Self {
        let folder = bench.path().join("worker");
        fs::create_dir_all(&folder).unwrap();
        Self {
            folder,
            text: "#!/bin/sh\n".to_owned(),
            frames: 0,
        }
    }

    fn line(mut self, line: &str) -> Self {
        writeln!(self.text, "{line}").unwrap();
        self
    }

    fn say(self, message: &FromWorker) -> Self {
        let mut frame = Vec::new();
        write(&mut frame, message).unwrap();
        self.bytes(&frame)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.frames += 1;
        let path = self.folder.join(format!("frame{}", self.frames));
        fs::write(&path, bytes).unwrap();
        self.line(&format!("cat '{}'", path.display()))
    }

    /// The program. Its file is never open for writing in this process: a child that another test starts meanwhile
    /// would inherit it, and a file open for writing cannot be executed.
    #[expect(clippy::disallowed_methods, reason = "only a child may write the file")]
    fn program(self) -> PathBuf {
        let path = self.folder.join("worker.sh");
        let mut cat = Command::new("sh")
            .args(["-c", "cat > \"$0\"", path.to_str().unwrap()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        cat.stdin
            .take()
            .unwrap()
            .write_all(self.text.as_bytes())
            .unwrap();
        assert!(cat.wait().unwrap().success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

fn bench() -> Bench {
    let history = sequences(&[&[10, 20, 30], &[30, 10]]);
    Bench::new()
        .table(
            "input",
            &["id"],
            &[("id", ints([1, 2])), ("history", history.clone())],
        )
        .table(
            "validate",
            &[],
            &[("history", history), ("label", ints([40, 20]))],
        )
        .table("catalog", &["item"], &[("item", ints([10, 20, 30, 40]))])
}

/// A file that passes for weights.
fn weights(bench: &Bench) -> PathBuf {
    let path = bench.path().join("weights.safetensors");
    tensors::write(&path, &[Tensor::f64("w", &[1], [1.0].into_iter())]).unwrap();
    path
}

/// What the client's failure says when this script is the worker.
fn failure(script: impl FnOnce(Script) -> Script) -> Failure {
    let mut bench = bench();
    bench.settings.silence = Duration::from_secs(20);
    bench.settings.program = Some(script(Script::new(&bench)).program());
    bench.run(&train("sasrec", &[("dim", 4)])).unwrap_err()
}

fn copy(from: &Path, to: &Path) -> String {
    format!("cp '{}' '{}'", from.display(), to.display())
}

#[test]
fn training_forwards_epochs_and_keeps_the_weights() {
    let mut bench = bench();
    let weights = weights(&bench);
    let asked = bench.path().join("asked");
    let script = Script::new(&bench);
    let number = fs::read_dir(bench.path()).unwrap().count();
    let output = bench.path().join(format!("output{number}"));
    let program = script
        .say(&good_hello())
        .line(&format!("exec 3<&0; cat <&3 > '{}' &", asked.display()))
        .line("echo warming up >&2")
        .line("echo \"threads $OMP_NUM_THREADS extra $EXTRA home ${HOME-none}\" >&2")
        .say(&FromWorker::Heartbeat)
        .say(&FromWorker::Resumed { step: 7 })
        .say(&epoch(1))
        .say(&epoch(2))
        .line(&copy(&weights, &output.join("model.safetensors")))
        .say(&done())
        .line("wait")
        .program();
    bench.settings.program = Some(program);
    bench.settings.env.insert("EXTRA".to_owned(), "yes".into());
    let (result, folder) = bench.run(&train("sasrec", &[("dim", 4)])).unwrap();
    assert_eq!(folder, output);
    assert_eq!(result.metrics, metrics("epochs", 2.0));

    let progress = bench.progress.lock().unwrap();
    assert!(progress.contains(&Progress::Resumed { step: 7 }));
    let epochs = progress.iter().filter_map(|progress| match progress {
        Progress::Epoch { epoch, epochs, .. } => Some((*epoch, *epochs)),
        _ => None,
    });
    assert_eq!(epochs.collect::<Vec<_>>(), [(1, Some(2)), (2, Some(2))]);
    let lines = progress.iter().filter_map(|progress| match progress {
        Progress::Log { line } => Some(line.as_str()),
        _ => None,
    });
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines, ["warming up", "threads 1 extra yes home none"]);

    let asked = fs::read(asked).unwrap();
    let ToWorker::Train {
        model,
        input,
        validate,
        checkpoint,
        threads,
        ..
    } = read(&mut asked.as_slice()).unwrap()
    else {
        panic!("asked to train")
    };
    assert_eq!((model.items, threads), (4, 1));
    let checkpoint = checkpoint.unwrap();
    assert_eq!(checkpoint.folder, bench.path().join("checkpoints"));
    assert_eq!(checkpoint.seconds, 30.0);
    assert_eq!(model.params["dim"], ParamValue::Int(4));
    let file = TensorFile::read("input", &input).unwrap();
    assert_eq!(file.i64("items").unwrap(), (vec![5], vec![0, 1, 2, 2, 0]));
    assert_eq!(file.i64("offsets").unwrap(), (vec![3], vec![0, 3, 5]));
    let file = TensorFile::read("validate", &validate.unwrap()).unwrap();
    assert_eq!(file.i64("labels").unwrap(), (vec![2], vec![3, 1]));

    // Durations stay out of the model's files.
    let text = fs::read_to_string(folder.join("model.json")).unwrap();
    assert!(text.contains("\"library\": \"libtorch 2.11.0\""), "{text}");
    assert!(
        text.contains("\"loss\": 0.5") && !text.contains("seconds"),
        "{text}"
    );
}

/// Predicts for the bench's two rows with a worker that yields these lists.
fn predict_with(items: &[i64; 4], scores: &[f32; 4]) -> Result<PathBuf, Failure> {
    let mut bench = bench();
    let weights = weights(&bench);
    let ranked = bench.path().join("ranked.safetensors");
    let bytes: Vec<u8> = scores
        .iter()
        .flat_map(|score| score.to_le_bytes())
        .collect();
    let items_bytes: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
    let view =
        |dtype, bytes| safetensors::tensor::TensorView::new(dtype, vec![2, 2], bytes).unwrap();
    let views = [
        ("items", view(safetensors::Dtype::I64, &items_bytes)),
        ("scores", view(safetensors::Dtype::F32, &bytes)),
    ];
    safetensors::serialize_to_file(views, None, &ranked).unwrap();
    let script = Script::new(&bench)
        .say(&good_hello())
        // The working folder is the scratch folder.
        .line("case \"$(pwd)\" in *scratch*) ;; *) exit 9 ;; esac")
        .line("if [ -e input.safetensors ]; then")
        .line(&format!("cp '{}' ranked.safetensors", ranked.display()))
        .line("else for output in ../output*; do")
        .line(&format!(
            "cp '{}' $output/model.safetensors",
            weights.display()
        ))
        .line("done; fi")
        .say(&done());
    bench.settings.program = Some(script.program());
    let (_, path) = bench.run(&train("sasrec", &[])).unwrap();
    bench
        .inputs
        .insert("model".to_owned(), InputFolder { path, table: None });
    let (_, folder) = bench.run(&predict(2, true))?;
    assert_eq!(ranked_first(&folder), Some((40, 2.5)));
    Ok(folder)
}

fn ranked_first(folder: &Path) -> Option<(i64, f32)> {
    ranked(folder)[0].first().copied()
}

#[test]
fn predictions_are_looked_at_before_they_are_believed() {
    predict_with(&[3, 0, 3, -1], &[2.5, 1.0, 1.0, 0.0]).unwrap();
    for (items, scores) in [
        // Beyond the catalog, after the end, falling scores, not a number.
        ([4, 0, 1, -1], [2.5, 1.0, 1.0, 0.0]),
        ([3, 0, -1, 1], [2.5, 1.0, 1.0, 0.0]),
        ([3, 0, -2, -1], [2.5, 1.0, 1.0, 0.0]),
        ([3, 0, 1, 0], [2.5, 1.0, 1.0, 2.0]),
        ([3, 0, 1, 0], [f32::NAN, 1.0, 1.0, 0.0]),
    ] {
        let failure = diagnostic(predict_with(&items, &scores).unwrap_err());
        assert_eq!(failure.code, "model::broken", "{items:?} {scores:?}");
    }
}

#[test]
fn a_missing_worker_is_named_with_the_way_to_get_it() {
    let mut bench = bench();
    for program in [None, Some(bench.path().join("nowhere"))] {
        bench.settings.program = program;
        let failure = bench.run(&train("sasrec", &[])).unwrap_err();
        assert!(matches!(failure, Failure::Environment(_)));
        let failure = diagnostic(failure);
        assert_eq!(failure.code, "worker::missing");
        assert!(failure.help.unwrap().contains("cargo xtask demo"));
    }
}

#[test]
fn another_version_is_refused_and_both_are_named() {
    let refused = failure(|script| script.say(&hello(9, "libtorch 2.11.0")).line("sleep 30"));
    assert!(matches!(refused, Failure::Environment(_)));
    let refused = diagnostic(refused);
    assert_eq!(refused.code, "worker::version");
    assert!(refused.message.contains("protocol 9") && refused.message.contains("protocol 2"));

    let refused = diagnostic(failure(|script| {
        script.say(&hello(PROTOCOL, "libtorch 2.110.0"))
    }));
    assert_eq!(refused.code, "worker::version");
    assert!(
        refused.message.contains("`libtorch 2.110.0`")
            && refused.message.contains("`libtorch 2.11`")
    );
}

#[test]
fn a_worker_killed_in_training_fails_its_action_alone() {
    let died = failure(|script| {
        script
            .say(&good_hello())
            .say(&epoch(1))
            .line("echo the last words >&2")
            .line("kill -9 $$")
    });
    assert!(matches!(died, Failure::Failed(_)));
    let died = diagnostic(died);
    assert_eq!(died.code, "worker::died");
    assert_eq!(died.message, "the model worker was killed (signal 9)");
    assert_eq!(died.detail, ["the last words"]);

    let died = diagnostic(failure(|script| script.line("exit 3")));
    assert_eq!(
        died.message,
        "the model worker exited with status 3 before it was done"
    );

    // Half a frame.
    let died = diagnostic(failure(|script| {
        script
            .say(&good_hello())
            .bytes(b"\x20\0\0\0{")
            .line("exit 0")
    }));
    assert_eq!(
        died.message,
        "the model worker exited with status 0 before it was done"
    );
}

#[test]
fn a_silent_worker_is_stopped() {
    let mut bench = bench();
    bench.settings.silence = Duration::from_millis(300);
    let program = Script::new(&bench)
        .say(&good_hello())
        .line("exec sleep 600")
        .program();
    bench.settings.program = Some(program);
    let failure = bench.run(&train("sasrec", &[])).unwrap_err();
    assert_eq!(diagnostic(failure).code, "worker::silent");
}

#[test]
fn nonsense_is_an_error() {
    for bytes in [
        b"\xff\xff\xff\xff".as_slice(),
        b"\x02\0\0\0{]",
        b"\x10\0\0\0{\"type\":\"dance\"}",
        b"hello, world, this is not a frame",
    ] {
        let garbled = diagnostic(failure(|script| script.bytes(bytes).line("exec sleep 600")));
        assert_eq!(garbled.code, "worker::garbled", "{bytes:?}");
    }
    let garbled = diagnostic(failure(|script| {
        script.say(&epoch(1)).line("exec sleep 600")
    }));
    assert_eq!(garbled.code, "worker::garbled");
}

#[test]
fn what_the_worker_reports_keeps_its_code_if_it_is_known() {
    let report = |code: &str| FromWorker::Failed {
        code: code.to_owned(),
        message: "the loss is not finite".to_owned(),
        help: Some("a smaller `lr`".to_owned()),
    };
    let failed = failure(|script| script.say(&good_hello()).say(&report("train::diverged")));
    assert!(matches!(failed, Failure::Failed(_)));
    let failed = diagnostic(failed);
    assert_eq!(
        (failed.code, failed.help.as_deref()),
        ("train::diverged", Some("a smaller `lr`"))
    );

    let params = failure(|script| script.say(&good_hello()).say(&report("train::params")));
    assert!(matches!(params, Failure::Invalid(_)));

    let unknown = failure(|script| script.say(&good_hello()).say(&report("train::new")));
    assert_eq!(diagnostic(unknown).code, "worker::failed");
}

#[test]
fn a_worker_that_is_done_without_weights_is_not_believed() {
    let failed = diagnostic(failure(|script| script.say(&good_hello()).say(&done())));
    assert_eq!(failed.code, "model::broken");
}

#[test]
fn a_gpu_that_is_asked_for_must_be_there() {
    let mut bench = bench();
    let program = Script::new(&bench)
        .line("[ \"$1\" = --gpu ] || exit 9")
        .say(&good_hello())
        .line("exec sleep 600")
        .program();
    bench.settings.program = Some(program);
    let Work::Train(mut work) = train("sasrec", &[]) else {
        unreachable!()
    };
    work.device = Device::Gpu;
    let failure = bench.run(&Work::Train(work)).unwrap_err();
    assert_eq!(diagnostic(failure).code, "worker::no-gpu");
}

#[test]
fn cancelling_leaves_no_worker_behind() {
    let mut bench = bench();
    let pid = bench.path().join("pid");
    let program = Script::new(&bench)
        .line(&format!("echo $$ > '{}'", pid.display()))
        .say(&good_hello())
        .say(&epoch(1))
        .line("exec sleep 600")
        .program();
    bench.settings.program = Some(program);
    let cancel = bench.cancel.clone();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| bench.run(&train("sasrec", &[])).map(|_| ()));
        // The first epoch means that it is at work.
        while bench.progress.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        cancel.cancel();
        assert_eq!(running.join().unwrap(), Err(Failure::Cancelled));
    });
    let pid = fs::read_to_string(pid).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}
