//! Whole projects, from texts to graphs.

mod common;
mod resolve;
mod spec;
