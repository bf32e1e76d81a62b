//! The program as its users run it: a process, its HTTP API, its commands, its signals.

mod bad_days;
mod kill;
mod lifecycle;
mod process;
