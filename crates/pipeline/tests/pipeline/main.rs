//! The stages on a real journal and a real lake, in a folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod anomaly;
mod audit;
mod crashes;
mod erasure;
mod experiments;
mod gold;
mod lost;
mod path;
mod place;
mod replay;
mod restored;
mod retention;
mod workers;
