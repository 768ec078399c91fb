//! Plans, schedules, executes and commits actions.
//!
//! The engine knows targets and contents. For each target whose inputs are final it computes the key of its
//! next stage, asks the action cache, and only on a miss hands the work to an executor. There is no other
//! staleness rule: no time stamp, no dirty flag, nothing remembered from the last build decides anything.
//! What the last build was is used for one thing: to say *why* something differs ([`StaleReason`]).
//!
//! Invariants: objects are stored before the result that names them, and the result before lineage and
//! `out/`; an action whose sources changed while it ran is not published; a failure poisons its consumers
//! and nothing else; events are emitted by one thread.
//!
//! Absent here: DataFusion, processes, models, printing, the clock. [`Executors`] are handed in.

mod analysis;
mod build;
mod code;
mod columns;
mod devices;
mod diff;
mod event;
mod fsck;
mod gc;
mod job;
mod logs;
mod pick;
mod pin;
mod plan;
mod project;
mod reads;
mod reason;
mod record;
mod resolve;
mod schedule;
mod snapshot;
mod source;
mod verify;
mod witness;

pub use build::{Build, Emit, build};
pub use columns::{ColumnLineage, FlowKind, Place, Reached, column_lineage};
pub use devices::{GpuDevice, Gpus};
pub use diff::{ArtifactDiff, Compared, RowDiff, RunDifference, Side, TargetDiff, diff};
pub use event::{Event, Fault, Outcome, Summary};
pub use fsck::{Finding, Findings, fsck};
pub use gc::{
    Collection, CollectionOptions, Leaving, LeavingCheckpoint, collect, collection, usage,
};
pub use logs::log_path;
pub use mlbuild_lineage::{Rebuild, RunId};
pub use pick::{Candidate, Picked, candidates};
pub use pin::pin;
pub use plan::{Planned, Verdict, plan};
pub use project::{Executors, Options, Project, TableFiles, lineage_path, state_folder};
pub use reason::{Change, ColumnChange, FileChange, PointChange, StaleReason, Unread};
pub use record::{
    Estimate, Recorder, RunRecord, estimates, last_rebuild, last_spared, open_lineage,
};
pub use schedule::Slots;
pub use snapshot::{Differences, Question, Snapshot, Standing};
pub use verify::{Difference, Reproduction, RowDifference, Verified, VerifyOptions, verify};
pub use witness::Witness;
