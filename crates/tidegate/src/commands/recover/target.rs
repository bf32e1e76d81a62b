//! The journal that recovered events are appended to: directly, or through the server that has it open.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use journal::embedded::{Embedded, OpenError};
use journal::kafka::Kafka;
use journal::{ErrorKind, Record, Sink};
use pipeline::recovery::Arrival;
use reqwest::StatusCode;

use crate::platform::control::{self, Line};
use crate::settings::{JournalKind, Settings};

/// How often a journal that is full or away is asked again, and how long is waited between.
const ATTEMPTS_MAX: u32 = 120;
const PAUSE: Duration = Duration::from_millis(500);
/// How long one append may take.
const APPEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Any host: the address is the socket.
const ADDRESS: &str = "http://localhost";

/// Where events are appended.
#[derive(Debug)]
pub(super) enum Target {
    Embedded(Box<Embedded>),
    Kafka(Box<Kafka>),
    /// The server that has the embedded journal open.
    Server(reqwest::Client),
}

/// Why an append came to nothing.
enum Failure {
    /// It may be tried again.
    Passing(anyhow::Error),
    Lasting(anyhow::Error),
}

impl Target {
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        if settings.journal.kind == JournalKind::Kafka {
            let kafka = Kafka::open(settings.journal.kafka.clone()).await.context("the journal in Kafka cannot be opened")?;
            return Ok(Self::Kafka(Box::new(kafka)));
        }
        let folder = settings.journal_folder();
        if !folder.is_dir() {
            bail!("there is no journal in {}; name the data folder of the server with --data", folder.display());
        }
        match Embedded::open(&folder, settings.journal.embedded.clone()).await {
            Ok(journal) => Ok(Self::Embedded(Box::new(journal))),
            Err(locked @ OpenError::Locked { .. }) => server(&settings.data).with_context(|| locked.to_string()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns when all of it is durable.
    pub(super) async fn append(&self, arrivals: &[Arrival]) -> anyhow::Result<()> {
        let mut attempts = 1;
        loop {
            match self.try_append(arrivals).await {
                Ok(()) => return Ok(()),
                Err(Failure::Passing(error)) if attempts < ATTEMPTS_MAX => tracing::warn!(error = format!("{error:#}"), "trying again"),
                Err(Failure::Passing(error) | Failure::Lasting(error)) => {
                    return Err(
                        error.context("not all dead letters were put through; run the command again, it goes on with those that are left")
                    );
                }
            }
            attempts += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_append(&self, arrivals: &[Arrival]) -> Result<(), Failure> {
        match self {
            Self::Embedded(journal) => put(journal.as_ref(), arrivals).await,
            Self::Kafka(kafka) => put(kafka.as_ref(), arrivals).await,
            Self::Server(client) => hand_over(client, arrivals).await,
        }
    }

    /// Lets go of the journal, and tells when the events will be in Silver.
    pub(super) async fn close(self) -> &'static str {
        match self {
            Self::Embedded(mut journal) => {
                journal.close().await;
                "they will be in Silver when a server runs"
            }
            Self::Kafka(_) | Self::Server(_) => "they will be in Silver in a moment",
        }
    }
}

async fn put(journal: &dyn Sink, arrivals: &[Arrival]) -> Result<(), Failure> {
    let record = |arrival: &Arrival| ingest::record(&arrival.receipt, arrival.payload.clone());
    let records: Vec<Record> = arrivals.iter().map(record).collect::<Result<_, _>>().map_err(|error| Failure::Lasting(error.into()))?;
    journal.put(records).await.map_err(|error| match error.kind() {
        ErrorKind::Full | ErrorKind::Unavailable => Failure::Passing(error.into()),
        ErrorKind::TooLarge | ErrorKind::Trimmed | ErrorKind::Corrupt | ErrorKind::Closed => Failure::Lasting(error.into()),
    })
}

/// The server of this data folder.
fn server(data: &Path) -> anyhow::Result<Target> {
    let socket = control::socket(data);
    if !socket.exists() {
        bail!("whoever has it open offers no {}; stop it, or run this where it runs", socket.display());
    }
    let client = reqwest::Client::builder().unix_socket(socket).no_proxy().timeout(APPEND_TIMEOUT).build()?;
    Ok(Target::Server(client))
}

async fn hand_over(client: &reqwest::Client, arrivals: &[Arrival]) -> Result<(), Failure> {
    let mut body = Vec::new();
    for Arrival { receipt, payload, .. } in arrivals {
        serde_json::to_writer(&mut body, &Line::new(receipt.clone(), payload)).map_err(|error| Failure::Lasting(error.into()))?;
        body.push(b'\n');
    }
    let sent = client.post(format!("{ADDRESS}{}", control::RECORDS)).body(body).send().await;
    let answer =
        sent.map_err(|error| Failure::Passing(anyhow::Error::new(error).context("the server does not answer on its control socket")))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let why = anyhow!("the server answers {status}: {}", answer.text().await.unwrap_or_default());
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Failure::Passing(why),
        _ => Failure::Lasting(why),
    })
}
