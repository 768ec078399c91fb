//! What `analyse.py` answers, which is also how its answers are remembered, and what `run.py` is told and tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mlbuild_digest::Encoder;
use serde::{Deserialize, Serialize};

/// An interpreter, and the packages that it finds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Environment {
    /// Implementation and version: `cpython 3.11.7`.
    pub(super) identity: String,
    /// Set where the interpreter is older than what the scripts need; then nothing else is known.
    #[serde(default)]
    pub(super) too_old: bool,
    /// The program itself, behind any link or wrapper.
    #[serde(default)]
    pub(super) executable: String,
    /// The folders that the interpreter is installed in.
    #[serde(default)]
    pub(super) prefixes: Vec<String>,
    /// The folders in which it looks for packages.
    #[serde(default)]
    pub(super) sites: Vec<String>,
    /// Modules of the standard library, without what lies below them.
    #[serde(default)]
    pub(super) stdlib: BTreeSet<String>,
    /// Distributions by the modules that can be imported from them.
    #[serde(default)]
    pub(super) modules: BTreeMap<String, Vec<String>>,
    /// Versions by distribution.
    #[serde(default)]
    pub(super) versions: BTreeMap<String, String>,
    /// Distributions whose code is elsewhere and can change without its version.
    #[serde(default)]
    pub(super) editable: BTreeSet<String>,
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.identity, self.executable)
    }
}

/// What a file of code imports, and the parts of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Analysis {
    /// Set for a file that is not Python; then nothing else is known.
    pub(super) broken: Option<Broken>,
    pub(super) imports: Vec<Import>,
    /// Imports whose module only shows when they run.
    pub(super) dynamic: Vec<Dynamic>,
    /// Names that the module has.
    pub(super) bound: Vec<String>,
    /// Whether it may have more of them.
    pub(super) open: bool,
    /// Names that `from package import *` imports.
    pub(super) all: Vec<String>,
    /// Modules that are imported by what it calls, if they are there.
    pub(super) implied: Vec<String>,
    /// Functions and classes by name; under the empty name, all other statements.
    pub(super) parts: BTreeMap<String, Part>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Broken {
    pub(super) line: u32,
    pub(super) message: String,
}

/// `import module`, or `from module import names`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Import {
    pub(super) module: String,
    pub(super) names: Vec<String>,
    /// How many points stand before the module.
    pub(super) level: usize,
    pub(super) line: u32,
    /// Whether the code goes on without it.
    pub(super) optional: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Dynamic {
    pub(super) line: u32,
    pub(super) code: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    /// `function`, `class` or `statements`.
    pub(super) kind: String,
    /// The code without comments and layout; once [`Analysis::digested`], its digest.
    pub(super) code: String,
}

impl Analysis {
    /// The analysis with digests in place of code.
    pub(super) fn digested(mut self) -> Self {
        for part in self.parts.values_mut() {
            let mut encoder = Encoder::new("mlbuild python code v1");
            encoder.part("code", part.code.as_bytes());
            part.code = encoder.finish().to_string();
        }
        self
    }
}

/// What `run.py` is to do.
#[derive(Debug, Serialize)]
pub(super) struct Call<'a> {
    pub(super) module: &'a str,
    pub(super) function: &'a str,
    pub(super) inputs: BTreeMap<&'a str, CallInput>,
    pub(super) out: String,
    pub(super) params: serde_json::Map<String, serde_json::Value>,
    pub(super) table: bool,
    /// The folder to start in.
    pub(super) work: String,
    /// Variables that are this call's own.
    pub(super) env: BTreeMap<&'a str, String>,
    /// Where to say how it went.
    pub(super) result: String,
}

#[derive(Debug, Serialize)]
pub(super) struct CallInput {
    pub(super) path: String,
    /// Set for a table.
    pub(super) columns: Option<Vec<String>>,
    pub(super) rows: Option<u64>,
}

/// How a call went.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Outcome {
    Done,
    /// The function raised an exception.
    Raised {
        message: String,
        frames: Vec<String>,
        /// The file that the exception is about.
        file: Option<String>,
        /// The module that could not be found.
        module: Option<String>,
    },
    /// It called `sys.exit`.
    Exited {
        message: String,
        frames: Vec<String>,
    },
    NoFunction(Refused),
    Arguments(Refused),
    /// It returned what cannot be taken.
    Returned(Refused),
}

#[derive(Debug, Deserialize)]
pub(super) struct Refused {
    pub(super) message: String,
    pub(super) help: Option<String>,
}
