//! In place of a gate: its judge, on this machine, with nothing made durable anywhere.

use std::sync::Arc;

use contract::{EventId, Plan, Receipt, SourceName, Timestamp, Verdict, WireFormat};

use super::batches::Batch;
use super::deliver::{Answer, Notice, Outcome};
use super::line::Shape;

/// Judges events as a gate with this plan and these bounds would that took them for this source.
#[derive(Debug)]
pub(crate) struct Judge {
    plan: Arc<Plan>,
    config: ingest::Config,
    receipt: Receipt,
}

impl Judge {
    pub(crate) fn new(plan: Arc<Plan>, config: ingest::Config, source: SourceName, event_id: EventId, now: Timestamp) -> Self {
        let receipt = Receipt {
            source,
            event_id,
            event_id_generated: true,
            received_at: now,
            sent_at: None,
            format: WireFormat::Native,
            verdict: Verdict::Accepted,
            violations: Vec::new(),
            plan_version: String::new(),
            client_ip: None,
            user_agent: None,
            envelope: None,
            client_retries: None,
            truncated_from: None,
        };
        Self { plan, config, receipt }
    }

    pub(super) fn judge(&self, batch: &Batch) -> Outcome {
        let mut receipt = self.receipt.clone();
        receipt.format = match batch.shape {
            Shape::Native => WireFormat::Native,
            Shape::Segment => WireFormat::Segment,
        };
        let mut answer = Answer::default();
        for (index, (_, payload)) in batch.events.iter().enumerate() {
            let judged = ingest::judge_ahead(&receipt, payload, &self.plan, &self.config);
            let Some(violation) = judged.violations.into_iter().next() else { continue };
            let notice = Notice { index, code: violation.code, field: violation.field, message: violation.message };
            match judged.verdict {
                Verdict::Accepted => {}
                Verdict::Flagged => answer.flagged.push(notice),
                Verdict::Quarantined => answer.quarantined.push(notice),
                Verdict::Refused => answer.rejected.push(notice),
            }
        }
        Outcome::Judged(answer)
    }
}
