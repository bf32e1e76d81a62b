//! The lake: Delta tables in a local folder or a bucket of S3.
//!
//! It writes rows and the progress that produced them in one commit, refuses the commit of a writer that was overtaken, and never makes one twice; it
//! reads tables by version, by file or through DataFusion; it keeps them small in files and log. It knows no events, no HTTP and no journal: what is in
//! a row is its caller's.

mod cluster;
mod commit;
mod compact;
mod conflict;
mod environment;
mod error;
mod expire;
pub mod functions;
mod lake;
mod local;
mod log;
mod maintain;
mod metrics;
mod objects;
mod options;
mod partition;
mod probe;
mod reader;
mod restore;
mod rewrite;
mod s3;
mod schema;
mod session;
mod shape;
mod spec;
mod stats;
mod table;
mod take_over;
mod writer;

pub use compact::{Compacted, Compaction};
pub use environment::Environment;
pub use error::{Error, ErrorKind};
pub use lake::Lake;
pub use log::{Added, Changes, Removed};
pub use metrics::describe as describe_metrics;
pub use objects::{Object, Objects};
pub use options::Options;
pub use probe::Probe;
pub use restore::{Restoration, Version};
pub use rewrite::{Edit, Rewrite, RowEdit, RowFilter};
pub use s3::S3Options;
pub use spec::TableSpec;
pub use table::{Commit, Committed, Table};
pub use take_over::Keep;
