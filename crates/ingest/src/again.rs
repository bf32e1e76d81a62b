//! The gate's judgement elsewhere than in the gate: once more on an event that came before, under another plan or by mended code, and on one that is yet to come.

use bytes::Bytes;
use contract::wire::Envelope;
use contract::{Erased, Plan, Receipt, Verdict, mask};
use serde_json::value::RawValue;

use crate::config::Config;
use crate::judge::{Judgement, Kept, Rules, judge};
use crate::keys::Scope;

/// What comes of judging an event again.
#[derive(Debug, Clone)]
pub struct Again {
    /// The new note on it.
    pub receipt: Receipt,
    /// Its bytes, without what the plan marks as personal by now.
    pub payload: Bytes,
}

/// What the gate would decide about this event if it came now. The new receipt keeps all that the old one says of how it came, the time included; the verdict,
/// the reasons and the plan's version are new, and so is what could not be read of the event before. Where a value was masked, the plan has no complaint about how it looks.
pub fn judge_again(receipt: &Receipt, payload: &Bytes, plan: &Plan, config: &Config, pii_key: &mask::Key) -> Again {
    let (receipt, masked) = judged(receipt, payload, plan, config, (pii_key, true));
    Again { receipt, payload: masked.unwrap_or_else(|| payload.clone()) }
}

/// What the gate would decide about an event that no gate has had yet, as the note on it.
pub fn judge_ahead(receipt: &Receipt, payload: &[u8], plan: &Plan, config: &Config) -> Receipt {
    // Nothing is stored, so what a hash is like makes no difference.
    judged(receipt, payload, plan, config, (&mask::Key::new([0; 32]), false)).0
}

/// The new note, and the new payload where it is not the old one.
fn judged(
    receipt: &Receipt,
    payload: &[u8],
    plan: &Plan,
    config: &Config,
    (pii_key, masked_before): (&mask::Key, bool),
) -> (Receipt, Option<Bytes>) {
    let judgement = match Envelope::parse(receipt.envelope.as_deref(), &config.json) {
        Ok(envelope) => {
            let rules = Rules {
                plan,
                policy: plan.policy(&receipt.source),
                // Whoever puts an event through again has decided that it may be sent.
                scope: &Scope::default(),
                format: receipt.format,
                envelope: &envelope,
                json: &config.json,
                event_bytes_max: config.event_bytes_max,
                // Whose events are kept out is for the stages to see to, which the event still goes through.
                erased: &Erased::default(),
                raw_envelope: receipt.envelope.as_deref(),
                pii_key,
                masked_before,
            };
            judge(payload, &rules)
        }
        Err(violations) => Judgement::refused(None, violations, plan),
    };
    let mut again = receipt.clone();
    if judgement.verdict != Verdict::Refused {
        if let Some(event_id) = judgement.event_id {
            again.event_id = event_id;
            again.event_id_generated = false;
        }
        again.sent_at = judgement.sent_at;
    }
    again.verdict = judgement.verdict;
    again.violations = judgement.violations;
    plan.version().clone_into(&mut again.plan_version);
    let payload = match judgement.kept {
        // What cannot be read is not put through, and stays where it is.
        Kept::Whole | Kept::Nothing => None,
        Kept::Masked(masked) => {
            again.envelope = masked.envelope.and_then(|envelope| RawValue::from_string(envelope).ok());
            Some(Bytes::from(masked.payload))
        }
        Kept::Out(_) => {
            again.erase();
            Some(Bytes::new())
        }
    };
    (again, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = concat!(
        r#"{"source":"web","event_id":"a","received_at":1795428000000000,"sent_at":1795427000000000,"format":"native","verdict":"quarantined","#,
        r#""violations":[{"code":"wrong_type","field":"/properties/price","message":"m"}],"plan_version":"1","user_agent":"x"}"#,
    );

    fn again(plan: &str, payload: &str) -> Again {
        let plan = Plan::parse(plan, "plan.yaml").unwrap();
        let receipt = Receipt::from_bytes(OLD.as_bytes()).unwrap();
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        judge_again(&receipt, &payload, &plan, &Config::default(), &mask::Key::new([7; 32]))
    }

    #[test]
    fn a_mended_plan_accepts_and_the_rest_of_the_note_stays() {
        let payload = r#"{"event_id":"a","event_type":"buy","sent_at":"2026-11-23T10:13:20Z","properties":{"price":"1"}}"#;
        let mended = again("{version: '2', types: {buy: {properties: {price: {type: string}}}}}", payload).receipt;
        assert_eq!((mended.verdict, mended.violations.len(), mended.plan_version.as_str()), (Verdict::Accepted, 0, "2"));
        let old = Receipt::from_bytes(OLD.as_bytes()).unwrap();
        assert_eq!((mended.received_at, mended.event_id, mended.user_agent), (old.received_at, old.event_id, old.user_agent));
        let still = again("{version: '2', types: {buy: {properties: {price: {type: number}}}}}", payload).receipt;
        assert_eq!((still.verdict, still.violations[0].field.as_str()), (Verdict::Quarantined, "/properties/price"));
        assert_eq!(again("{version: '2', types: {}}", "{").receipt.verdict, Verdict::Refused);
    }

    #[test]
    fn what_was_masked_passes_and_what_is_marked_by_now_is_masked() {
        let plan = "{version: '2', types: {buy: {properties: {email: {type: string, format: email, pii: hash}, phone: {type: string, pii: drop}}, required: [email, phone]}}}";
        let hashed = mask::Key::new([7; 32]).hash("a@b.example");
        let event = |email: &str| format!(r#"{{"event_id":"a","event_type":"buy","properties":{{"email":"{email}"}}}}"#);
        for email in ["a@b.example", &hashed] {
            let again = again(plan, &event(email));
            assert_eq!((again.receipt.verdict, &again.payload[..]), (Verdict::Accepted, event(&hashed).as_bytes()), "{email}");
        }
        let missing = again(plan, r#"{"event_id":"a","event_type":"buy"}"#);
        assert_eq!(missing.receipt.violations.iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>(), ["/properties/email"]);
    }
}
