//! What a process does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Role {
    /// Takes events in.
    Ingest,
    /// Brings them from the journal to Gold.
    Pipeline,
    /// Lets people and tools read.
    Console,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "ingest",
            Self::Pipeline => "pipeline",
            Self::Console => "console",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.trim() {
            "ingest" => Ok(Self::Ingest),
            "pipeline" => Ok(Self::Pipeline),
            "console" => Ok(Self::Console),
            other => Err(format!("there is no role {other:?}; use some of ingest, pipeline and console, separated by commas")),
        }
    }
}

impl TryFrom<String> for Role {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.to_string()
    }
}
