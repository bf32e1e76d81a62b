//! The workers: journal → Bronze → Silver → Gold, the ledger beside them, upkeep behind them, the audit of it all, and its rebuild from Bronze.
//!
//! Each stage reads what the one before it committed, lets `medallion` decide, and commits rows and progress together through `lake`; whatever happens to
//! it, it begins again at the progress it finds there. Nothing is decided here that `medallion` or `lake` can decide, and no state here outlives a crash
//! but the index of identities, which is derived from Silver.

mod alone;
pub mod anomaly;
mod audit;
mod bronze;
pub mod care;
mod config;
mod diff;
pub mod engine;
pub mod erasure;
mod error;
mod glance;
pub mod gold;
mod hold;
mod identities;
mod ledger;
mod lost;
pub mod metrics;
mod reached;
pub mod recovery;
pub mod replay;
pub mod retention;
mod rows;
mod run;
mod silver;
mod stage;
mod status;
pub mod tables;
pub mod trace;
mod traced;
mod upkeep;
mod watch;
mod work;

pub use alone::SilverAlone;
pub use audit::{Books, Finding, Line, audit, audit_deep};
pub use config::Config;
pub use diff::{ColumnDifference, Compared, Day, Difference, diff};
pub use error::{Error, ErrorKind};
pub use glance::{Glance, Standing, TableStanding};
pub use reached::reached;
pub use run::{Pipeline, prepare};
pub use status::{Progress, Status};
