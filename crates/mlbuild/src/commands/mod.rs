//! The commands, one module each.

pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod clean;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod fsck;
pub(crate) mod gc;
pub(crate) mod init;
pub(crate) mod lineage;
pub(crate) mod log;
pub(crate) mod ls;
pub(crate) mod pin;
pub(crate) mod plan;
pub(crate) mod query;
pub(crate) mod runs;
pub(crate) mod show;
pub(crate) mod verify;
pub(crate) mod why;
