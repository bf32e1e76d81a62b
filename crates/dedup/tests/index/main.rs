//! The index from outside: what it promises, whatever happens to it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod damage;
mod lifecycle;
mod model;
mod support;
