//! The libtorch worker: fits and applies models for `mlbuild`, in a process of its own.
//!
//! The client (`mlbuild-exec-model`) starts one worker for one piece of work and talks to it as
//! `spec/worker-protocol.md` says; [`serve`] is that conversation. What is computed is [`train`] and [`rank`] over
//! [`sasrec`]. A crash in libtorch or CUDA ends this process and nothing else.
//!
//! Invariants: libtorch never sees an index that was not checked ([`sequences`]); equal requests give equal bytes on CPU
//! ([`runtime`]); an output file exists only when it is complete.

pub mod bert4rec;
pub mod checkpoint;
pub mod item_loss;
pub mod layers;
pub mod next_item;
pub mod objective;
pub mod optimizer;
pub mod order;
pub mod params;
pub mod problem;
pub mod rank;
pub mod recurrent;
pub mod runtime;
pub mod sasrec;
pub mod schedule;
pub mod sequence_model;
pub mod sequences;
pub mod serve;
pub mod train;
pub mod weights;
pub mod work;
