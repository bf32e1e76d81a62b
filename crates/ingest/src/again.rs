//! The gate's judgement once more, on an event that came before: under another plan, or by mended code.

use contract::wire::Envelope;
use contract::{Erased, Plan, Receipt, Verdict};

use crate::config::Config;
use crate::judge::{Judgement, Rules, judge};
use crate::keys::Scope;

/// What the gate would decide about this event if it came now. The new receipt keeps all that the old one says of how it came, the time included; the verdict,
/// the reasons and the plan's version are new, and so is what could not be read of the event before.
pub fn judge_again(receipt: &Receipt, payload: &[u8], plan: &Plan, config: &Config) -> Receipt {
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
            };
            judge(payload, &rules)
        }
        Err(violations) => Judgement::refused(None, violations),
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
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = concat!(
        r#"{"source":"web","event_id":"a","received_at":1795428000000000,"sent_at":1795427000000000,"format":"native","verdict":"quarantined","#,
        r#""violations":[{"code":"wrong_type","field":"/properties/price","message":"m"}],"plan_version":"1","user_agent":"x"}"#,
    );

    fn again(plan: &str, payload: &str) -> Receipt {
        let plan = Plan::parse(plan, "plan.yaml").unwrap();
        judge_again(&Receipt::from_bytes(OLD.as_bytes()).unwrap(), payload.as_bytes(), &plan, &Config::default())
    }

    #[test]
    fn a_mended_plan_accepts_and_the_rest_of_the_note_stays() {
        let payload = r#"{"event_id":"a","event_type":"buy","sent_at":"2026-11-23T10:13:20Z","properties":{"price":"1"}}"#;
        let mended = again("{version: '2', types: {buy: {properties: {price: {type: string}}}}}", payload);
        assert_eq!((mended.verdict, mended.violations.len(), mended.plan_version.as_str()), (Verdict::Accepted, 0, "2"));
        let old = Receipt::from_bytes(OLD.as_bytes()).unwrap();
        assert_eq!((mended.received_at, mended.event_id, mended.user_agent), (old.received_at, old.event_id, old.user_agent));
        let still = again("{version: '2', types: {buy: {properties: {price: {type: number}}}}}", payload);
        assert_eq!((still.verdict, still.violations[0].field.as_str()), (Verdict::Quarantined, "/properties/price"));
        assert_eq!(again("{version: '2', types: {}}", "{").verdict, Verdict::Refused);
    }
}
