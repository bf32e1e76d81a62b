//! Experiments: who sees what ([`assignment`]), and what came of it ([`statistics`]). Numbers in, numbers out.

pub mod assignment;
#[cfg(feature = "statistics")]
pub mod statistics;
