//! Trains and predicts: native baselines, and the client of the libtorch worker.
