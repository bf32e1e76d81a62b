//! Draining: what was spooled is brought to Kafka, in order, each record once.
//!
//! Each record says in a header which spool and offset it comes from. Before a batch is sent, the mark remembers where Kafka ends. After a crash, or when a
//! batch failed, nobody knows what of it has arrived: then Kafka is read from there to its end, and what is found is not sent again.
//!
//! One case is left. A request that a broker had received before the connection broke, and which it carries out only after Kafka was read, brings a copy. Silver
//! knows it for what it is.

use std::sync::Arc;

use tokio::time::sleep;

use super::log::{Log, PARTITION};
use super::metrics;
use super::state::State;
use crate::kafka::{Kafka, Mark, Outgoing};
use crate::origin::Arrived;
use crate::{Error, Journal as _, Offsets, Stored};

/// The header that says which spool a record was in, and at which place.
const HEADER: &str = "tidegate-spool";

/// Brings what is spooled to Kafka, for ever.
pub(super) async fn run(state: Arc<State>) {
    let kafka = state.reach().await;
    let mut drain = Drain::new(&state.log, &kafka);
    loop {
        state.something_to_do().await;
        match drain.step().await {
            Ok(()) => state.note_back(),
            // It has too much to do already, and nothing of the batch was sent.
            Err(Fault::Kafka(Error::Full(_))) => sleep(state.config.retry_interval).await,
            Err(Fault::Kafka(error)) => {
                state.note_away(&error);
                drain.fail().await;
                sleep(state.config.retry_interval).await;
            }
            Err(Fault::Spool(error)) => {
                state.note_stuck(&error);
                sleep(state.config.retry_interval).await;
            }
        }
    }
}

/// Where a step failed.
enum Fault {
    Kafka(Error),
    Spool(Error),
}

/// What draining knows.
struct Drain<'a> {
    log: &'a Log,
    kafka: &'a Kafka,
    /// What is in Kafka at or after the mark; `None` when that has to be found out.
    arrived: Option<Arrived>,
}

impl<'a> Drain<'a> {
    fn new(log: &'a Log, kafka: &'a Kafka) -> Self {
        let mark = log.mark();
        // A mark without ends says that nothing has been sent.
        let arrived = mark.ends.is_empty().then(|| Arrived::none_of(mark.id));
        Self { log, kafka, arrived }
    }

    /// Brings one batch; where there is none, finds out whether Kafka answers.
    async fn step(&mut self) -> Result<(), Fault> {
        let ends = self.kafka.end().await.map_err(Fault::Kafka)?;
        let arrived = self.arrived().await.map_err(Fault::Kafka)?;
        let records = self.log.read(self.kafka.batch_limit()).await.map_err(Fault::Spool)?;
        let Some(last) = records.last().map(|stored| stored.offset) else { return self.rest().await.map_err(Fault::Spool) };
        // While some that follow have arrived already, they are behind the ends that are remembered and before these.
        if !arrived.reaches(PARTITION, self.log.mark().drained) {
            self.log.remember(ends).await.map_err(Fault::Spool)?;
        }
        let count = records.len();
        self.kafka.append_marked(missing(records, &arrived)).await.map_err(Fault::Kafka)?;
        self.log.advance(last + 1);
        metrics::drained(count);
        self.log.trim().await.map_err(Fault::Spool)
    }

    /// Everything is in Kafka: makes that durable, so that nobody has to look for it again.
    async fn rest(&mut self) -> Result<(), Error> {
        let mark = self.log.mark();
        if mark.ends.is_empty() {
            return Ok(());
        }
        tracing::info!(offset = mark.drained, "the spool is drained: everything in it is in Kafka");
        self.log.remember(Offsets::new()).await
    }

    /// What of the spool is in Kafka at or after the mark.
    async fn arrived(&mut self) -> Result<Arrived, Error> {
        if let Some(arrived) = &self.arrived {
            return Ok(arrived.clone());
        }
        let mark = self.log.mark();
        let none = Arrived::none_of(mark.id);
        let arrived = self.kafka.collect_marks(mark.ends, HEADER, none, |arrived, origin| arrived.note(origin)).await?;
        self.arrived = Some(arrived.clone());
        Ok(arrived)
    }

    /// After a failure: nothing more of the batch shall leave, and what of it has arrived must be found out.
    async fn fail(&mut self) {
        self.kafka.give_up().await;
        if !self.log.mark().ends.is_empty() {
            self.arrived = None;
        }
    }
}

/// Those that have not arrived, ready to be sent.
fn missing(records: Vec<Stored>, arrived: &Arrived) -> Vec<Outgoing> {
    let is_missing = |stored: &Stored| !arrived.contains(stored.partition, stored.offset);
    let marked = |stored: Stored| {
        let mark = Mark { name: HEADER, value: arrived.origin(stored.partition, stored.offset) };
        Outgoing { record: stored.record, mark: Some(mark) }
    };
    records.into_iter().filter(is_missing).map(marked).collect()
}
