//! What the gate writes beside the bytes of each event: where, when and how it came, and what the gate decided about it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{EventId, SourceName, Timestamp, Violation};

/// Which of the wire formats an event's bytes are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireFormat {
    /// Tidegate's own shape.
    Native,
    /// The shape of Segment's clients (analytics.js, rudder and others).
    Segment,
    /// CloudEvents 1.0.
    Cloudevents,
    /// None any more: a person asked for it, and the content is gone.
    Erased,
}

impl WireFormat {
    /// The name as it stands in Bronze.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Segment => "segment",
            Self::Cloudevents => "cloudevents",
            Self::Erased => "erased",
        }
    }
}

impl std::str::FromStr for WireFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "native" => Ok(Self::Native),
            "segment" => Ok(Self::Segment),
            "cloudevents" => Ok(Self::Cloudevents),
            "erased" => Ok(Self::Erased),
            other => Err(format!("unknown wire format {other:?}")),
        }
    }
}

/// What the gate decided about an event under the tracking plan of that moment. It travels with the event, so that every later stage, and every
/// rebuild, needs no plan to come to the same Silver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within the plan.
    Accepted,
    /// Breaks the plan; goes to Silver, marked (policy `flag`).
    Flagged,
    /// Breaks the plan; taken, and kept as a dead letter (policy `quarantine`).
    Quarantined,
    /// Not taken: the client was told so; kept, within a bound, as a dead letter of the gate.
    Refused,
}

impl Verdict {
    /// The name as it stands in Bronze.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Flagged => "flagged",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
        }
    }
}

impl std::str::FromStr for Verdict {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "accepted" => Ok(Self::Accepted),
            "flagged" => Ok(Self::Flagged),
            "quarantined" => Ok(Self::Quarantined),
            "refused" => Ok(Self::Refused),
            other => Err(format!("unknown verdict {other:?}")),
        }
    }
}

/// The gate's note on one event, stored beside its bytes in the journal and as columns in Bronze.
///
/// Serialised as JSON (see [`Receipt::to_bytes`]). Fields may be added, never renamed: an old reader ignores what it does not know, and a new
/// reader takes the default for what is missing. What an old reader must not pass over, such as another [`WireFormat`] or [`Verdict`], is of another version, see
/// [`Receipt::newer_version`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Receipt {
    /// The source whose key came with the request.
    pub source: SourceName,
    /// The event's id. For [`Verdict::Refused`], the id if one could be read, else one made by the gate.
    pub event_id: EventId,
    /// Whether the gate made `event_id`, because the client sent none. Such an event cannot be told from a resend of itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub event_id_generated: bool,
    /// When the gate had read the request.
    pub received_at: Timestamp,
    /// When the client says it sent the request: the event's own `sentAt`/`sent_at`, else the batch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The format of the payload.
    pub format: WireFormat,
    /// The decision.
    pub verdict: Verdict,
    /// Why, for every verdict but [`Verdict::Accepted`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
    /// The version of the tracking plan the decision was made under.
    pub plan_version: String,
    /// The client's address, as the gate's policy allows it to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// The `User-Agent` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// What the request said for all of its events, or outside of their bytes, as a JSON object: a Segment batch's `context` and
    /// `integrations`, the `type` that the path implied, CloudEvents attributes from headers. Absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Box<RawValue>>,
    /// The client's own retry counter (`X-Retry-Count` and its kin), where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_retries: Option<u32>,
    /// For [`Verdict::Refused`]: the payload's full length in bytes, where only a prefix was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_from: Option<u64>,
}

/// The newest version of receipts that this program reads, and the one that it writes. A receipt that does not begin with a version is of version 1.
pub const RECEIPT_VERSION: u32 = 1;

/// How a receipt begins that names its version: with that as its first member.
const VERSION_BEGINS: &[u8] = br#"{"version":"#;

impl Receipt {
    /// The version of a receipt that a newer program wrote: it is not to be read, for it does not mean what it seems to. `None` for any other bytes.
    pub fn newer_version(bytes: &[u8]) -> Option<u32> {
        let rest = bytes.strip_prefix(VERSION_BEGINS)?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let version: u32 = str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()?;
        (version > RECEIPT_VERSION).then_some(version)
    }

    /// The receipt as bytes for the journal.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads what [`Receipt::to_bytes`] of this or an earlier version wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first version wrote it, every field set. It must be readable for ever.
    const FULL: &str = concat!(
        r#"{"source":"web","event_id":"e","event_id_generated":true,"received_at":1795428000000000,"sent_at":1795428000000001,"format":"segment","#,
        r#""verdict":"flagged","violations":[{"code":"wrong_type","field":"/properties/price","message":"must be a number, is a string"}],"#,
        r#""plan_version":"built-in-1","client_ip":"::1","user_agent":"x","envelope":{"type": "track"},"client_retries":2,"truncated_from":9}"#,
    );
    const LEAST: &str = r#"{"source":"web","event_id":"e","received_at":0,"format":"native","verdict":"accepted","plan_version":"1"}"#;

    #[test]
    fn is_written_as_it_was_read() {
        for text in [FULL, LEAST] {
            let receipt = Receipt::from_bytes(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(receipt.to_bytes().unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn an_old_reader_takes_what_a_new_writer_adds() {
        let newer = LEAST.replace("\"plan_version\"", "\"colour\":[1],\"plan_version\"");
        assert_eq!(Receipt::from_bytes(newer.as_bytes()).unwrap().plan_version, "1");
    }

    #[test]
    fn a_newer_version_is_known_by_its_beginning() {
        let check = |text: &str, expect| assert_eq!(Receipt::newer_version(text.as_bytes()), expect, "{text}");
        check(&LEAST.replacen('{', r#"{"version":2,"#, 1), Some(2));
        check(r#"{"version":31}"#, Some(31));
        check(&LEAST.replacen('{', r#"{"version":1,"#, 1), None);
        for other in
            [FULL, LEAST, "", r#"{"version":"#, r#"{"version":2"#, r#"{"version":"2"}"#, r#"{"version":-2}"#, r#"{"version":99999999999}"#]
        {
            check(other, None);
        }
    }

    #[test]
    fn what_is_no_receipt_is_refused() {
        for text in ["", "{}", "[]", "null"] {
            assert!(Receipt::from_bytes(text.as_bytes()).is_err(), "{text}");
        }
        for (from, to) in [("\"web\"", "\"w b\""), ("\"e\"", "\"\""), ("\"native\"", "\"avro\""), ("\"accepted\"", "\"maybe\"")] {
            assert!(Receipt::from_bytes(LEAST.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn names_in_bronze_read_back() {
        for format in [WireFormat::Native, WireFormat::Segment, WireFormat::Cloudevents, WireFormat::Erased] {
            assert_eq!((format.as_str().parse(), serde_json::to_value(format).unwrap()), (Ok(format), format.as_str().into()));
        }
        for verdict in [Verdict::Accepted, Verdict::Flagged, Verdict::Quarantined, Verdict::Refused] {
            assert_eq!((verdict.as_str().parse(), serde_json::to_value(verdict).unwrap()), (Ok(verdict), verdict.as_str().into()));
        }
        assert!("Native".parse::<WireFormat>().is_err() && "".parse::<Verdict>().is_err());
    }
}
