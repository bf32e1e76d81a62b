//! Ports that are free, and stay a server's own while it is down.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// Below what systems give to outgoing connections: a server that was killed finds its port free when it comes back.
const PORTS: std::ops::Range<u64> = 15_000..30_000;
const ATTEMPTS_MAX: u32 = 200;

/// A port of 127.0.0.1 on which nothing listens.
///
/// # Errors
///
/// When none was found in many attempts.
pub fn free() -> Result<u16> {
    for _ in 0..ATTEMPTS_MAX {
        let port = u16::try_from(PORTS.start + random() % (PORTS.end - PORTS.start))?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {} and {} after {ATTEMPTS_MAX} attempts", PORTS.start, PORTS.end)
}

/// A number that two processes do not share.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
