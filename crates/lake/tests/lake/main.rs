//! The lake as its users see it, on a folder and on a store that misbehaves.

mod common;
mod faults;
mod maintenance;
mod measure;
mod queries;
mod tables;
mod writers;
