//! Whole projects, from texts to graphs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod resolve;
mod spec;
