//! Commands given in a way that cannot work.

/// A command given in a way that cannot work, whatever the state of the world. The text says what is wrong and what to give instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);
