//! The protocol between `mlbuild` and a model worker: framed, versioned messages over the worker's standard streams.
//!
//! A frame is a little-endian `u32` length and that many bytes of UTF-8 JSON, one message (`spec/worker-protocol.md`).
//! The worker speaks first: [`FromWorker::Hello`]. Then the client sends one [`ToWorker::Train`] or
//! [`ToWorker::Predict`], receives any number of [`FromWorker::Epoch`] and [`FromWorker::Heartbeat`] (with a checkpoint
//! perhaps a [`FromWorker::Resumed`] first), and at last one
//! [`FromWorker::Done`] or [`FromWorker::Failed`]; then the worker exits. End of input on the worker's side means that
//! the client is gone or no longer interested: the worker exits at once. Bulk data travels in safetensors files.
//!
//! Invariants: a frame is at most [`MAX_FRAME_BYTES`]; whoever reads a message it does not know stops with an error.

#[cfg(test)]
mod fuzz;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The version of this protocol. Both sides must have the same.
pub const PROTOCOL: u32 = 2;

/// The longest frame that either side accepts.
pub const MAX_FRAME_BYTES: u32 = 16 << 20;

/// Environment variables that a client sets when it starts a worker, names and values. libtorch reads them while it is
/// loaded: they pin the instruction set and with it the bits, and let idle threads sleep. A worker that finds others
/// starts itself anew with these, which costs a second start.
pub const ENVIRONMENT: [(&str, &str); 6] = [
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
    ("GOMP_SPINCOUNT", "0"),
    ("MKL_CBWR", "AVX2,STRICT"),
    ("OMP_WAIT_POLICY", "PASSIVE"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
];

/// A parameter's value.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
}

/// The accelerator to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// CPU only.
    Cpu,
    /// The first visible CUDA device; the worker fails if there is none.
    Gpu,
}

/// What identifies a model's shape.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Model {
    /// The architecture's name: `sasrec`.
    pub architecture: String,
    /// Every parameter of the architecture, by name.
    pub params: BTreeMap<String, ParamValue>,
    /// Size of the item catalog: items are `0..items`.
    pub items: u64,
}

/// Where checkpoints are kept.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// A folder of this work's own: the same for the same inputs, parameters and threads, and for nothing else. It may
    /// not exist yet. The worker removes nothing from it but its own older checkpoints.
    pub folder: PathBuf,
    /// The least time between two, in seconds; 0 for one after every step.
    pub seconds: f64,
}

/// Messages to the worker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToWorker {
    /// Fit a model.
    Train {
        /// What to fit.
        model: Model,
        /// Safetensors file with `items` (i64, `[n]`, catalog indices, all rows' sequences one after the other, oldest
        /// item first) and `offsets` (i64, `[rows + 1]`, rising from 0 to `n`).
        input: PathBuf,
        /// As `input`, with `labels` (i64, `[rows]`): the item that follows each sequence.
        validate: Option<PathBuf>,
        /// Where to write the weights (safetensors); does not exist yet.
        output: PathBuf,
        /// Where an interrupted training is gone on with, and how often it is kept.
        checkpoint: Option<Checkpoint>,
        /// CPU threads.
        threads: u32,
        /// The accelerator.
        device: Device,
    },
    /// Rank the catalog for each sequence.
    Predict {
        /// What was fitted.
        model: Model,
        /// The weights, as `Train` wrote them.
        weights: PathBuf,
        /// As the input of `Train`.
        input: PathBuf,
        /// Where to write (safetensors) `items` (i64, `[rows, k]`, best first, -1 where fewer than `k` are left) and
        /// `scores` (f32, `[rows, k]`, 0 there); does not exist yet. Ties go to the lower index.
        output: PathBuf,
        /// Length of each list.
        k: u32,
        /// Whether items of the row's own sequence are left out.
        exclude_seen: bool,
        /// CPU threads.
        threads: u32,
        /// The accelerator.
        device: Device,
    },
}

/// Messages from the worker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromWorker {
    /// The first message.
    Hello {
        /// [`PROTOCOL`] of the worker.
        protocol: u32,
        /// Name and version: `mlbuild-torch 0.1.0`.
        worker: String,
        /// The library that computes: `libtorch 2.11.0`.
        library: String,
        /// Number of GPUs it can use.
        gpus: u32,
    },
    /// Still alive; sent at least every second while working.
    Heartbeat,
    /// Training goes on from a checkpoint. The epochs that had ended before it follow, then the new ones.
    Resumed {
        /// Steps that had been taken.
        step: u64,
    },
    /// An epoch ended.
    Epoch {
        /// The epoch, from 1.
        epoch: u32,
        /// How many there are at most.
        epochs: u32,
        /// Figures by name: `loss`, `valid_hit_rate@10`, `seconds`.
        metrics: BTreeMap<String, f64>,
    },
    /// The work is done and the output file complete.
    Done {
        /// Final figures by name: `epochs`, `best_epoch`, `valid_hit_rate@10`.
        metrics: BTreeMap<String, f64>,
    },
    /// The work failed; there is no output file.
    Failed {
        /// A stable name: `train::diverged`.
        code: String,
        /// One sentence: what is wrong.
        message: String,
        /// What to do about it.
        help: Option<String>,
    },
}

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream ended between two frames.
    #[error("the stream ended")]
    End,
    /// The stream broke, or ended within a frame.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// A frame announces more than [`MAX_FRAME_BYTES`].
    #[error("a frame of {0} bytes is too long")]
    TooLong(u32),
    /// A frame does not hold a message known here.
    #[error("unknown message: {0}")]
    Unknown(#[from] serde_json::Error),
}

/// Reads one message.
///
/// # Errors
/// See [`ReadError`].
pub fn read<M: for<'de> Deserialize<'de>>(stream: &mut impl Read) -> Result<M, ReadError> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match stream.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Err(ReadError::End),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_FRAME_BYTES {
        return Err(ReadError::TooLong(length));
    }
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame)?;
    Ok(serde_json::from_slice(&frame)?)
}

/// Writes one message and flushes.
///
/// # Errors
/// Those of the stream; `InvalidInput` if the message is longer than [`MAX_FRAME_BYTES`].
pub fn write(stream: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let frame = serde_json::to_vec(message)?;
    let length = u32::try_from(frame.len())
        .ok()
        .filter(|length| *length <= MAX_FRAME_BYTES);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&frame)?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> FromWorker {
        FromWorker::Hello {
            protocol: 1,
            worker: "w 1".into(),
            library: "l 2".into(),
            gpus: 0,
        }
    }

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let mut bytes = Vec::new();
        write(&mut bytes, &hello()).unwrap();
        write(&mut bytes, &FromWorker::Heartbeat).unwrap();
        let mut stream = bytes.as_slice();
        assert_eq!(read::<FromWorker>(&mut stream).unwrap(), hello());
        assert_eq!(
            read::<FromWorker>(&mut stream).unwrap(),
            FromWorker::Heartbeat
        );
        assert!(matches!(
            read::<FromWorker>(&mut stream),
            Err(ReadError::End)
        ));
    }

    #[test]
    fn the_bytes_of_a_frame_are_those_of_the_specification() {
        let mut bytes = Vec::new();
        write(&mut bytes, &FromWorker::Heartbeat).unwrap();
        assert_eq!(bytes, b"\x14\0\0\0{\"type\":\"heartbeat\"}");
    }

    #[test]
    fn a_broken_stream_is_an_error_at_every_byte() {
        let mut bytes = Vec::new();
        write(&mut bytes, &hello()).unwrap();
        for end in 1..bytes.len() {
            assert!(
                matches!(
                    read::<FromWorker>(&mut &bytes[..end]),
                    Err(ReadError::Io(_))
                ),
                "{end}"
            );
        }
    }

    #[test]
    fn a_frame_cannot_claim_the_memory() {
        let mut stream: &[u8] = &[0xff, 0xff, 0xff, 0xff, b'{'];
        assert!(matches!(
            read::<FromWorker>(&mut stream),
            Err(ReadError::TooLong(u32::MAX))
        ));
    }

    #[test]
    fn an_unknown_message_is_an_error() {
        let mut stream: &[u8] = b"\x0f\0\0\0{\"type\":\"dance\"}";
        assert!(matches!(
            read::<FromWorker>(&mut stream),
            Err(ReadError::Io(_) | ReadError::Unknown(_))
        ));
    }
}
