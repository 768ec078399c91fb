//! Why work failed, as it is told to the client.

use std::any::Any;
use std::fmt;
use std::path::Path;

use tch::TchError;

/// A failure: a stable code, one sentence, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What went wrong, for programs.
    pub code: Code,
    /// What went wrong, for people: lower case, no final period.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The kinds of failure; the names in `spec/worker-protocol.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// `train::params`: an unknown architecture or parameter, or a value out of its range.
    Params,
    /// `train::input`: a tensor is missing or has the wrong dtype, shape or order.
    Input,
    /// `train::out-of-range`: an item index outside of the catalog.
    OutOfRange,
    /// `train::empty`: nothing to learn from.
    Empty,
    /// `train::diverged`: the loss or the scores are no longer finite.
    Diverged,
    /// `train::no-gpu`: a GPU was asked for and there is none.
    NoGpu,
    /// `train::weights`: the weights do not fit the model.
    Weights,
    /// `train::io`: a file could not be read or written.
    Io,
    /// `train::out-of-memory`: libtorch could not allocate.
    OutOfMemory,
    /// `train::libtorch`: libtorch refused an operation.
    Libtorch,
    /// `train::bug`: the worker broke one of its own rules.
    Bug,
}

impl Code {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Params => "train::params",
            Code::Input => "train::input",
            Code::OutOfRange => "train::out-of-range",
            Code::Empty => "train::empty",
            Code::Diverged => "train::diverged",
            Code::NoGpu => "train::no-gpu",
            Code::Weights => "train::weights",
            Code::Io => "train::io",
            Code::OutOfMemory => "train::out-of-memory",
            Code::Libtorch => "train::libtorch",
            Code::Bug => "train::bug",
        }
    }
}

impl Problem {
    /// A failure without advice.
    pub fn new(code: Code, message: impl Into<String>) -> Problem {
        Problem {
            code,
            message: message.into(),
            help: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    /// A file could not be read or written.
    pub fn io(what: &str, path: &Path, error: impl fmt::Display) -> Problem {
        Problem::new(
            Code::Io,
            format!("cannot {what} `{}`: {error}", path.display()),
        )
    }
}

impl Problem {
    /// What a panic says. tch turns libtorch's error into a panic when a scalar argument is dropped while the error is
    /// pending, so the error is then inside the message, with its line ends escaped.
    pub fn from_panic(payload: &(dyn Any + Send)) -> Problem {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        if let Some((_, error)) = text.split_once("Torch(\"") {
            return Problem::libtorch(&error.replace("\\n", "\n").replace("\\\"", "\""));
        }
        Problem::new(
            Code::Bug,
            format!("the worker panicked: {}", first_line(text)),
        )
        .help("please report this, with the log")
    }

    /// What libtorch says, without its C++ stack trace.
    fn libtorch(text: &str) -> Problem {
        let exhausted = ["not enough memory", "out of memory"];
        if exhausted.iter().any(|words| text.contains(words)) {
            return Problem::new(Code::OutOfMemory, first_line(text))
                .help("a smaller `batch`, `max_length` or `dim` needs less memory");
        }
        Problem::new(Code::Libtorch, first_line(text))
    }
}

impl From<TchError> for Problem {
    fn from(error: TchError) -> Problem {
        let text = error.to_string();
        Problem::libtorch(text.strip_prefix("Internal torch error: ").unwrap_or(&text))
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libtorch_error_keeps_its_first_line_only() {
        let error =
            TchError::Torch("mat1 and mat2 do not fit\nException raised from f\nframe #0".into());
        assert_eq!(
            Problem::from(error),
            Problem::new(Code::Libtorch, "mat1 and mat2 do not fit")
        );
    }

    #[test]
    fn a_panic_of_tch_is_libtorchs_error() {
        let error = TchError::Torch("sizes \"a\" differ\nException raised".into());
        let text = format!("called `Result::unwrap()` on an `Err` value: {error:?}");
        let problem = Problem::from_panic(&text);
        assert_eq!(problem, Problem::new(Code::Libtorch, "sizes \"a\" differ"));
        assert_eq!(
            Problem::from_panic(&"index 3").message,
            "the worker panicked: index 3"
        );
    }

    #[test]
    fn exhausted_memory_has_a_code_of_its_own() {
        let error = TchError::Torch(
            "[enforce fail] DefaultCPUAllocator: not enough memory: you tried".into(),
        );
        assert_eq!(Problem::from(error).code, Code::OutOfMemory);
    }
}
