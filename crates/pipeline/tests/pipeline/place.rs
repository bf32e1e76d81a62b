//! A journal, a lake and an index in a folder, fed without a gate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int64Type;
use contract::{EventId, Identity, Receipt, SourceName, Timestamp, Verdict, Violation, WireFormat};
use journal::embedded::Embedded;
use journal::{Journal, Record};
use lake::{Lake, Options};
use pipeline::{Books, Config, Pipeline, Status};
use tokio::sync::watch;

/// 2026-11-23T10:00:00Z.
pub(crate) const RECEIVED: i64 = 1_795_428_000_000_000;
pub(crate) const HOUR: i64 = 3_600_000_000;

pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) config: Config,
}

/// What the gate would have made of one event.
#[derive(Clone)]
pub(crate) struct Arriving {
    pub(crate) id: String,
    pub(crate) payload: String,
    pub(crate) received: i64,
    pub(crate) verdict: Verdict,
}

impl Arriving {
    /// A page view half a minute old.
    pub(crate) fn page(id: &str) -> Self {
        Self::with(
            id,
            &format!(r#"{{"event_id":"{id}","event_type":"page_view","event_time":"2026-11-23T09:59:30Z","anonymous_id":"a1"}}"#),
        )
    }

    pub(crate) fn exposure(id: &str, subject: &str, variation: &str, time: &str) -> Self {
        let properties = format!(r#"{{"experiment_id":"checkout","variation_id":"{variation}"}}"#);
        Self::with(
            id,
            &format!(
                r#"{{"event_id":"{id}","event_type":"feature_exposure","event_time":"{time}","anonymous_id":"{subject}","properties":{properties}}}"#
            ),
        )
    }

    pub(crate) fn with(id: &str, payload: &str) -> Self {
        Self { id: id.to_owned(), payload: payload.to_owned(), received: RECEIVED, verdict: Verdict::Accepted }
    }

    pub(crate) fn judged(self, verdict: Verdict) -> Self {
        Self { verdict, ..self }
    }

    fn record(&self) -> Record {
        let source: SourceName = "web".parse().unwrap();
        let event_id: EventId = self.id.parse().unwrap();
        let sound = self.verdict == Verdict::Accepted;
        let violations = if sound { Vec::new() } else { vec![Violation::new("wrong_type", "/properties/price", "must be a number")] };
        let key = Identity { source: source.as_str(), event_id: event_id.as_str() }.digest();
        let receipt = Receipt {
            source,
            event_id,
            event_id_generated: false,
            received_at: Timestamp(self.received),
            sent_at: None,
            format: WireFormat::Native,
            verdict: self.verdict,
            violations,
            plan_version: "test".to_owned(),
            client_ip: None,
            user_agent: None,
            envelope: None,
            client_retries: None,
            truncated_from: None,
        };
        Record { key, header: receipt.to_bytes().unwrap().into(), value: self.payload.clone().into() }
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let config = Config { commit_interval: Duration::from_millis(20), gold_interval: Duration::from_millis(50), ..Config::default() };
        let config = Config { ledger_interval: Duration::from_millis(50), ..config };
        Self { folder: tempfile::tempdir().unwrap(), config }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn lake(&self) -> Lake {
        Lake::open(self.path().join("lake").to_str().unwrap(), Options::default()).await.unwrap()
    }

    pub(crate) async fn journal(&self) -> Arc<dyn Journal> {
        let config = journal::embedded::Config { disk_free_bytes_min: 0, ..Default::default() };
        Arc::new(Embedded::open(self.path().join("journal"), config).await.unwrap())
    }

    pub(crate) async fn append(&self, journal: &Arc<dyn Journal>, events: &[Arriving]) {
        journal.append(events.iter().map(Arriving::record).collect()).await.unwrap();
    }

    pub(crate) async fn pipeline(&self, journal: Arc<dyn Journal>) -> Result<Pipeline, pipeline::Error> {
        self.worker(journal, "index").await
    }

    /// One of several, each with an index of its own.
    pub(crate) async fn worker(&self, journal: Arc<dyn Journal>, index: &str) -> Result<Pipeline, pipeline::Error> {
        self.observed(journal, index, Status::default()).await
    }

    pub(crate) async fn observed(&self, journal: Arc<dyn Journal>, index: &str, status: Status) -> Result<Pipeline, pipeline::Error> {
        Pipeline::open(journal, self.lake().await, self.path().join(index), self.config.clone(), status).await
    }

    /// Appends the events and takes all the journal holds to Gold.
    pub(crate) async fn feed(&self, events: &[Arriving]) {
        let journal = self.journal().await;
        self.append(&journal, events).await;
        self.drain(journal).await;
    }

    pub(crate) async fn drain(&self, journal: Arc<dyn Journal>) {
        let pipeline = self.pipeline(journal).await.unwrap();
        let (_stop, stopped) = watch::channel(true);
        pipeline.run(stopped).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let batches = self.lake().await.session().await.unwrap().sql(sql).await.unwrap().collect().await.unwrap();
        let batch = batches.iter().find(|batch| batch.num_rows() > 0).unwrap();
        batch.column(0).as_primitive::<Int64Type>().value(0)
    }

    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let batches = self.lake().await.session().await.unwrap().sql(sql).await.unwrap().collect().await.unwrap();
        let of = |batch: &arrow::array::RecordBatch| {
            let column = batch.column(0).as_string::<i32>();
            (0..column.len()).map(|row| column.value(row).to_owned()).collect::<Vec<_>>()
        };
        batches.iter().flat_map(of).collect()
    }

    pub(crate) async fn audit(&self) -> Books {
        pipeline::audit(&self.lake().await).await.unwrap()
    }

    /// Bronze, Silver, dead letters.
    pub(crate) async fn counts(&self) -> (i64, i64, i64) {
        (
            self.number("SELECT count(*) FROM bronze.events").await,
            self.number("SELECT count(*) FROM silver.events").await,
            self.number("SELECT count(*) FROM dead_letters").await,
        )
    }
}
