//! The read side: SQL over the lake, within bounds.
//!
//! [`Reader`] answers one statement at a time, for a command or a shell; [`postgres`] lets whoever speaks the protocol of Postgres ask the same; [`pages`] are what a browser
//! shows, and [`live`] the events as they come. A statement sees each table as it is when the statement begins. It never writes: only statements that read are planned, and the tables it hands out cannot be changed through it.

pub mod access;
mod bounded;
mod catalog;
mod chart;
mod config;
mod error;
mod events;
pub mod experiment;
pub mod live;
pub mod metrics;
pub mod pages;
pub mod picture;
pub mod postgres;
mod reader;

pub use config::Config;
pub use error::{Error, ErrorKind};
pub use reader::Reader;
