//! Experiments: what they are (`definition`), who sees what ([`assignment`]), what came of it ([`statistics`]), and how far that is to be believed ([`simulation`]). Numbers in, numbers out.

pub mod assignment;
#[cfg(feature = "definition")]
pub mod definition;
#[cfg(all(feature = "definition", feature = "statistics"))]
pub mod report;
#[cfg(feature = "statistics")]
pub mod simulation;
#[cfg(feature = "statistics")]
pub mod statistics;
