//! JSON: the tree it is read into, strictly, and its one canonical form.

use serde::{Deserialize, Serialize};

mod canonical;
mod object;
mod strict;
#[cfg(test)]
mod tests;
mod value;

pub use canonical::{canonical, canonical_object};
pub use object::Object;
pub use strict::parse_strict;
pub use value::Value;

/// The deepest nesting that [`Limits::depth_max`] may allow. It keeps every recursion over a parsed value (reading, writing, dropping) within a small stack.
pub const DEPTH_CEILING: usize = 120;

/// Bounds on one JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How many objects and arrays may stand inside one another, the outermost counting as one. At most [`DEPTH_CEILING`]; more is taken as that.
    pub depth_max: usize,
    /// The longest string or key, in bytes after unescaping.
    pub string_bytes_max: usize,
}

impl Limits {
    /// The widest that there are.
    pub const WIDEST: Self = Self { depth_max: DEPTH_CEILING, string_bytes_max: usize::MAX };
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 64, string_bytes_max: 262_144 }
    }
}
