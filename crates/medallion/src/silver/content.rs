//! What a client meant by an event, in 64 bits: two payloads under one id are one event sent twice if these agree, and two events if not.
//!
//! In: type, name, the client's time, user, anonymous and session id, properties and context. Out: what another sending changes (when it was sent and
//! received, where it is in the journal, retries) and how it was written (wire format, order of keys, spelling of numbers).
//!
//! The hash is the first 64 bits, little-endian, of BLAKE3 in key-derivation mode (context `tidegate 2026-11 event content v1`) over these fields in this order. Each
//! text is its length in bytes as 64 bits, little-endian, and its UTF-8; a time is the number 8 and its microseconds, likewise; what is absent is
//! 2^64 - 1. Properties and context are in the canonical form of [`contract::json`].

use std::sync::LazyLock;

use blake3::Hasher;
use contract::Event;

// Made once and copied: making one hashes the context.
static OF_CONTENT: LazyLock<Hasher> = LazyLock::new(|| Hasher::new_derive_key("tidegate 2026-11 event content v1"));

/// The hash of an event's content. `properties` and `context` are the canonical texts of the event's.
pub(crate) fn hash(event: &Event<'_>, properties: &str, context: &str) -> u64 {
    let mut hasher = OF_CONTENT.clone();
    let mut field = |bytes: Option<&[u8]>| {
        hasher.update(&bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
        hasher.update(bytes.unwrap_or_default());
    };
    let client_time = event.client_time.map(|time| time.micros().to_le_bytes());
    field(Some(event.event_type.as_bytes()));
    field(event.name.as_deref().map(str::as_bytes));
    field(client_time.as_ref().map(<[u8; 8]>::as_slice));
    field(event.user_id.as_deref().map(str::as_bytes));
    field(event.anonymous_id.as_deref().map(str::as_bytes));
    field(event.session_id.as_deref().map(str::as_bytes));
    field(Some(properties.as_bytes()));
    field(Some(context.as_bytes()));
    let hash = hasher.finalize();
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
