//! The program as its users run it: a process, its HTTP API, its commands, its signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod alerts;
mod backfill;
mod bad_days;
mod chaos;
mod cluster;
mod console;
mod erasure;
mod exhaustion;
mod experiments;
mod figures;
mod formats;
mod kill;
mod lifecycle;
mod metrics;
mod micro;
mod migration;
mod outage;
mod policies;
mod process;
mod recovery;
mod replay;
mod scaled;
mod spark;
mod tls;
mod traffic;
mod upgrade;
