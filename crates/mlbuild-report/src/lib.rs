//! Metrics, gates and reports over tables of predictions.
