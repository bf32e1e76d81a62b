//! Digests of sets of rows: what a count cannot see, that one row is lost and another is there twice, a digest does.
//!
//! A digest is a number of 256 bits: the sum, modulo 2^256, of one such number for each row. So it does not hang on the order of the rows or on how they are
//! parted into batches, files, commits or engines; digests of parts are added, and what was taken away is subtracted. It guards against mistakes, not
//! against someone who may choose the rows: such a one could, with much work, make two sets with one sum.
//!
//! The number of a row is BLAKE3 in key-derivation mode, read as a little-endian number, over one of these:
//!
//! - Of an **identity** (context `tidegate 2026-11 ledger identity v1`): the length of the source in bytes, the source, the event id.
//! - Of a **row of Silver** (context `tidegate 2026-11 silver row v1`): for each column that is not null, in the order of [`crate::schema::silver_events`],
//!   its number in that order from 0 and its value. A null is written as nothing, so that a column added later changes no digest of the rows before it.
//!   Texts are their length in bytes and their UTF-8; whole numbers, days since 1970-01-01 and microseconds since 1970-01-01T00:00:00Z are 64 bits,
//!   signed; flags are one byte, 0 or 1. JSON is in the canonical form of [`contract::json`] already.
//!
//! Numbers of columns are 16 bits, lengths 64 bits, all little-endian. A digest is shown as 64 hexadecimal digits, the most significant first.

use std::sync::LazyLock;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use blake3::Hasher;
use contract::Identity;

use crate::columns::{Columns, conform};
use crate::{Error, schema};

// A hasher for a context is made once and copied: making one hashes the context.
static OF_IDENTITY: LazyLock<Hasher> = LazyLock::new(|| Hasher::new_derive_key("tidegate 2026-11 ledger identity v1"));
static OF_ROW: LazyLock<Hasher> = LazyLock::new(|| Hasher::new_derive_key("tidegate 2026-11 silver row v1"));

/// The digest of a multiset of rows. The default is that of no rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest {
    /// The number's 64-bit parts, the least significant first.
    parts: [u64; 4],
}

/// Why a text is no [`Digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct InvalidDigest;

impl Digest {
    /// The digest of one row of this identity.
    pub fn of(identity: Identity<'_>) -> Self {
        let mut hasher = OF_IDENTITY.clone();
        hasher.update(&(identity.source.len() as u64).to_le_bytes());
        hasher.update(identity.source.as_bytes());
        hasher.update(identity.event_id.as_bytes());
        Self::finish(&hasher)
    }

    fn finish(hasher: &Hasher) -> Self {
        let hash = hasher.finalize();
        let (parts, _) = hash.as_bytes().as_chunks::<8>();
        let mut digest = Self::default();
        for (part, bytes) in digest.parts.iter_mut().zip(parts) {
            *part = u64::from_le_bytes(*bytes);
        }
        digest
    }

    /// Adds the rows of `other`.
    pub fn merge(&mut self, other: &Self) {
        let mut carry = false;
        for (part, other) in self.parts.iter_mut().zip(other.parts) {
            (*part, carry) = part.carrying_add(other, carry);
        }
    }

    /// Takes the rows of `other` away.
    pub fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (part, other) in self.parts.iter_mut().zip(other.parts) {
            (*part, borrow) = part.borrowing_sub(other, borrow);
        }
    }

    /// As 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.to_string()
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d] = self.parts;
        write!(f, "{d:016x}{c:016x}{b:016x}{a:016x}")
    }
}

impl std::str::FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidDigest);
        }
        let mut digest = Self::default();
        for (index, part) in digest.parts.iter_mut().rev().enumerate() {
            let digits = text.get(index * 16..(index + 1) * 16).ok_or(InvalidDigest)?;
            *part = u64::from_str_radix(digits, 16).map_err(|_| InvalidDigest)?;
        }
        Ok(digest)
    }
}

impl Extend<Digest> for Digest {
    fn extend<T: IntoIterator<Item = Digest>>(&mut self, digests: T) {
        for digest in digests {
            self.merge(&digest);
        }
    }
}

/// The digest of the identities of these rows: any that have the columns `source` and `event_id`.
///
/// # Errors
///
/// [`Error::Column`] when they have not.
pub fn identities(batch: &RecordBatch) -> Result<Digest, Error> {
    let batch = conform(batch, &schema::identity(), "the rows")?;
    let columns = Columns { batch: &batch, table: "the rows" };
    let (sources, ids) = (columns.text("source")?, columns.text("event_id")?);
    let mut digest = Digest::default();
    digest.extend((0..batch.num_rows()).map(|row| Digest::of(Identity { source: sources.value(row), event_id: ids.value(row) })));
    Ok(digest)
}

/// The digest of these rows of `silver.events`, every column included.
///
/// # Errors
///
/// [`Error::Column`] when they are not rows of `silver.events`.
pub fn rows(batch: &RecordBatch) -> Result<Digest, Error> {
    let batch = conform(batch, &schema::silver_events(), "silver.events")?;
    let mut digest = Digest::default();
    for row in 0..batch.num_rows() {
        let mut hasher = OF_ROW.clone();
        for (number, column) in (0_u16..).zip(batch.columns()).filter(|(_, column)| column.is_valid(row)) {
            hasher.update(&number.to_le_bytes());
            if !hash_value(&mut hasher, column, row) {
                let column = batch.schema_ref().field(usize::from(number)).name().clone();
                return Err(Error::Column { table: "silver.events", column, problem: "its type has no specified encoding".to_owned() });
            }
        }
        digest.merge(&Digest::finish(&hasher));
    }
    Ok(digest)
}

/// `false`: the type has no encoding.
fn hash_value(hasher: &mut Hasher, column: &ArrayRef, row: usize) -> bool {
    let number = match column.data_type() {
        DataType::Utf8 => {
            let text = column.as_string::<i32>().value(row);
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
            return true;
        }
        DataType::Boolean => {
            hasher.update(&[u8::from(column.as_boolean().value(row))]);
            return true;
        }
        DataType::Int32 => i64::from(column.as_primitive::<Int32Type>().value(row)),
        DataType::Date32 => i64::from(column.as_primitive::<Date32Type>().value(row)),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row),
        DataType::Timestamp(TimeUnit::Microsecond, _) => column.as_primitive::<TimestampMicrosecondType>().value(row),
        _ => return false,
    };
    hasher.update(&number.to_le_bytes());
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest() -> impl Strategy<Value = Digest> {
        any::<[u64; 4]>().prop_map(|parts| Digest { parts })
    }

    fn sum(mut left: Digest, right: &Digest) -> Digest {
        left.merge(right);
        left
    }

    proptest! {
        #[test]
        fn digests_are_a_group(a in digest(), b in digest(), c in digest()) {
            prop_assert_eq!(sum(a, &b), sum(b, &a));
            prop_assert_eq!(sum(sum(a, &b), &c), sum(a, &sum(b, &c)));
            prop_assert_eq!(sum(a, &Digest::default()), a);
            let mut back = sum(a, &b);
            back.subtract(&b);
            prop_assert_eq!(back, a);
            prop_assert_eq!(a.to_hex().parse::<Digest>(), Ok(a));
        }
    }

    #[test]
    fn carries_go_all_the_way() {
        let mut digest = Digest { parts: [u64::MAX; 4] };
        digest.merge(&Digest { parts: [1, 0, 0, 0] });
        assert_eq!(digest, Digest::default());
        digest.subtract(&Digest { parts: [1, 0, 0, 0] });
        assert_eq!(digest.to_hex(), "f".repeat(64));
    }

    #[test]
    fn texts_that_are_no_digest() {
        for text in ["", "0", &"g".repeat(64), &"+".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest), "{text}");
        }
    }

    #[test]
    fn a_digest_never_changes() {
        // It is in the commits of tables.
        let digest = |source, event_id| Digest::of(Identity { source, event_id }).to_hex();
        assert_eq!(digest("web", "1"), "17152fa51ea18cafe5c3068905d76fd0ff9aa1707cbb4b4bcac3182305331dd0");
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
    }

    #[test]
    fn the_digest_of_rows_is_that_of_every_column() {
        use crate::testing::{arrival, silver_of};
        let silver = |text: &str| silver_of(&[arrival(0, text)]);
        let plain = silver(r#"{"event_type":"a","properties":{"x":1}}"#);
        let pinned = rows(&plain).unwrap();
        assert_eq!(pinned.to_hex(), "b1a5da046364335d33cd373da18c43b9a0f088bc6ad8ca363ef0f43fb7e9cca0");
        assert_ne!(rows(&silver(r#"{"event_type":"a","properties":{"x":2}}"#)).unwrap(), pinned);
        assert_ne!(rows(&silver(r#"{"event_type":"a","user_id":"u","properties":{"x":1}}"#)).unwrap(), pinned);
        assert_eq!(rows(&silver(r#"{"properties":{"x":1.0},"event_type":"a"}"#)).unwrap(), pinned);

        let two = silver_of(&[arrival(0, r#"{"event_type":"a","properties":{"x":1}}"#), arrival(1, r#"{"event_type":"b"}"#)]);
        let parts = [0, 1].map(|row| two.slice(row, 1));
        assert_eq!(rows(&two).unwrap(), sum(rows(&parts[1]).unwrap(), &rows(&parts[0]).unwrap()));
        assert_eq!(identities(&two).unwrap(), sum(identities(&parts[1]).unwrap(), &identities(&parts[0]).unwrap()));
        assert_eq!(rows(&two.slice(0, 0)).unwrap(), Digest::default());
    }
}
