//! Runs declared commands as isolated processes.
