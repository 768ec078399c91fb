//! What the tests of several crates share: seeded fuzzing and dice, and diagnostics as text.
//!
//! Only dev-dependencies name this crate. It knows no decoder: a test hands one in as a closure with its law.

mod dice;
mod draw;
mod fuzz;
mod mutate;
mod render;

pub use dice::{Dice, setting};
pub use draw::Draw;
pub use fuzz::{Corpus, fuzz};
pub use render::{assert_spans, render_diagnostics};
