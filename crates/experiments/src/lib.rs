//! Experiments: who sees what ([`assignment`]), what came of it ([`statistics`]), and how far that is to be believed ([`simulation`]). Numbers in, numbers out.

pub mod assignment;
#[cfg(feature = "statistics")]
pub mod simulation;
#[cfg(feature = "statistics")]
pub mod statistics;
