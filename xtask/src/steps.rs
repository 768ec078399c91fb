//! A chore as a list of named steps, each with its time.

use std::time::{Duration, Instant};

use crate::Result;

/// The steps of a chore that have passed.
#[derive(Default)]
pub(crate) struct Steps {
    passed: Vec<(String, Duration)>,
}

impl Steps {
    /// Runs one step and says what it is and how long it took.
    ///
    /// # Errors
    /// What the step failed with, after its name.
    pub(crate) fn step(&mut self, name: &str, step: impl FnOnce() -> Result) -> Result {
        println!("== {name}");
        let start = Instant::now();
        step().map_err(|message| format!("step `{name}`: {message}"))?;
        let elapsed = start.elapsed();
        println!("-- {name}: {}", seconds(elapsed));
        self.passed.push((name.to_owned(), elapsed));
        Ok(())
    }

    /// All steps with their times, and the sum.
    pub(crate) fn table(&self) -> String {
        let total = self.passed.iter().map(|(_, elapsed)| *elapsed).sum();
        let rows = self
            .passed
            .iter()
            .map(|(name, elapsed)| (name.as_str(), *elapsed));
        rows.chain([("total", total)])
            .map(|(name, elapsed)| format!("{:>9}  {name}\n", seconds(elapsed)))
            .collect()
    }
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_is_named_and_ends_the_chore() {
        let mut steps = Steps::default();
        assert_eq!(steps.step("one", || Ok(())), Ok(()));
        let failure = steps.step("two", || Err("no".to_owned()));
        assert_eq!(failure, Err("step `two`: no".to_owned()));
        assert_eq!(steps.passed.len(), 1);
    }

    #[test]
    fn the_table_ends_with_the_sum() {
        let passed = vec![
            ("build".to_owned(), Duration::from_millis(61_500)),
            ("test".to_owned(), Duration::from_millis(2_500)),
        ];
        let table = Steps { passed }.table();
        assert_eq!(
            table,
            "   61.5 s  build\n    2.5 s  test\n   64.0 s  total\n"
        );
    }
}
