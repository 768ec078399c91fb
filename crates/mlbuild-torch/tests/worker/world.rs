//! A worker to talk to, and a small world to learn.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use mlbuild_torch::sequences::{read_tensors, write_tensors};
use mlbuild_worker_protocol::{
    Device, ENVIRONMENT, FromWorker, Model, PROTOCOL, ParamValue, ReadError, ToWorker, read, write,
};
use tch::Tensor;
use tempfile::TempDir;

pub(crate) const ITEMS: i64 = 12;

/// A worker that has said hello.
pub(crate) struct Worker {
    pub(crate) child: Child,
    pub(crate) input: ChildStdin,
    pub(crate) output: ChildStdout,
}

impl Worker {
    pub(crate) fn start(arguments: &[&str]) -> Worker {
        Worker::spawn(
            Command::new(env!("CARGO_BIN_EXE_mlbuild-torch"))
                .args(arguments)
                .envs(ENVIRONMENT),
        )
    }

    pub(crate) fn spawn(command: &mut Command) -> Worker {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let FromWorker::Hello {
            protocol,
            worker,
            library,
            ..
        } = read(&mut output).unwrap()
        else {
            panic!()
        };
        assert_eq!(protocol, PROTOCOL);
        assert_eq!(
            (worker.as_str(), library.as_str()),
            ("mlbuild-torch 0.1.0", "libtorch 2.11.0")
        );
        Worker {
            child,
            input,
            output,
        }
    }

    /// Everything that the worker says to a request, heartbeats aside, and its exit status.
    pub(crate) fn ask(mut self, request: &ToWorker) -> (Vec<FromWorker>, Option<i32>) {
        write(&mut self.input, request).unwrap();
        let mut messages = Vec::new();
        loop {
            match read(&mut self.output) {
                Ok(FromWorker::Heartbeat) => {}
                Ok(message) => messages.push(message),
                Err(ReadError::End) => break,
                Err(error) => panic!("{error}"),
            }
        }
        (messages, self.child.wait().unwrap().code())
    }
}

/// A folder with the tables of a small world: item `i` is always followed by item `i + 1`, around a circle.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> World {
        let world = World {
            folder: TempDir::new().unwrap(),
        };
        let rows: Vec<Vec<i64>> = (0..48).map(|row| circle(row, 5 + row % 7)).collect();
        world.write("train", &rows, None);
        let labels = (0..48).map(|row| (row + 5 + row % 7) % ITEMS).collect();
        world.write("valid", &rows, Some(labels));
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.safetensors"))
    }

    pub(crate) fn write(&self, name: &str, rows: &[Vec<i64>], labels: Option<Vec<i64>>) {
        let mut offsets = vec![0];
        for row in rows {
            offsets.push(offsets[offsets.len() - 1] + row.len() as i64);
        }
        let mut tensors = vec![
            ("items".to_owned(), Tensor::from_slice(&rows.concat())),
            ("offsets".to_owned(), Tensor::from_slice(&offsets)),
        ];
        if let Some(labels) = labels {
            tensors.push(("labels".to_owned(), Tensor::from_slice(&labels)));
        }
        write_tensors(&self.path(name), &tensors).unwrap();
    }

    pub(crate) fn train(&self, output: &str, params: &[(&str, f64)]) -> ToWorker {
        ToWorker::Train {
            model: model(params),
            input: self.path("train"),
            validate: Some(self.path("valid")),
            output: self.path(output),
            checkpoint: None,
            threads: 1,
            device: Device::Cpu,
        }
    }

    pub(crate) fn predict(
        &self,
        weights: &str,
        input: &str,
        k: u32,
        exclude_seen: bool,
    ) -> ToWorker {
        ToWorker::Predict {
            model: model(&[]),
            weights: self.path(weights),
            input: self.path(input),
            output: self.path("lists"),
            k,
            exclude_seen,
            threads: 1,
            device: Device::Cpu,
        }
    }

    pub(crate) fn lists(&self) -> (Vec<Vec<i64>>, Vec<Vec<f32>>) {
        let lists = read_tensors(&self.path("lists")).unwrap();
        (
            Vec::try_from(&lists["items"]).unwrap(),
            Vec::try_from(&lists["scores"]).unwrap(),
        )
    }
}

pub(crate) fn circle(start: i64, length: i64) -> Vec<i64> {
    (start..start + length).map(|item| item % ITEMS).collect()
}

/// A small model; whole numbers become integers.
pub(crate) fn model(params: &[(&str, f64)]) -> Model {
    let small = [
        ("dim", 16.0),
        ("max_length", 8.0),
        ("batch", 8.0),
        ("warmup", 10.0),
        ("lr", 0.01),
        ("epochs", 15.0),
        ("dropout", 0.1),
    ];
    let value = |value: f64| match value.fract() {
        0.0 => ParamValue::Int(value as i64),
        _ => ParamValue::Float(value),
    };
    let params = small
        .iter()
        .chain(params)
        .map(|(name, v)| ((*name).to_owned(), value(*v)));
    Model {
        architecture: "sasrec".into(),
        params: params.collect::<BTreeMap<_, _>>(),
        items: ITEMS as u64,
    }
}

/// A request with other words among its parameters, and of another architecture.
pub(crate) fn with(mut request: ToWorker, architecture: &str, words: &[(&str, &str)]) -> ToWorker {
    let (ToWorker::Train { model, .. } | ToWorker::Predict { model, .. }) = &mut request;
    model.architecture = architecture.into();
    for (name, word) in words {
        let word = ParamValue::Text((*word).into());
        model.params.insert((*name).into(), word);
    }
    request
}

/// The figures of a request that succeeded.
pub(crate) fn done(request: &ToWorker) -> BTreeMap<String, f64> {
    let (mut messages, status) = Worker::start(&[]).ask(request);
    assert_eq!(status, Some(0));
    match messages.pop() {
        Some(FromWorker::Done { metrics }) => metrics,
        other => panic!("{other:?}"),
    }
}

/// Code and message of a request that failed; there is no output.
pub(crate) fn failed(request: &ToWorker) -> (String, String) {
    let (mut messages, status) = Worker::start(&[]).ask(request);
    assert_eq!(status, Some(0));
    let (ToWorker::Train { output, .. } | ToWorker::Predict { output, .. }) = request;
    assert!(!output.exists());
    match messages.pop() {
        Some(FromWorker::Failed { code, message, .. }) => (code, message),
        other => panic!("{other:?}"),
    }
}
