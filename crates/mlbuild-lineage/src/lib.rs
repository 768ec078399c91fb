//! Runs, artifacts, edges and metrics in SQLite.
