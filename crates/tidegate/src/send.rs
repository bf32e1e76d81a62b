//! Sends the events of files to a gate: lines into batches ([`batches`]), batches over HTTP until they are answered ([`deliver`]), answers into one
//! account ([`account`]).
//!
//! Memory is bounded by `concurrency` + 1 batches. Every event carries an id before it is sent for the first time, so a batch that is sent again because its answer was
//! lost adds nothing twice. A line that is no JSON object is no event: it is reported with its place and not sent. Everything else is the gate's to judge.

use std::sync::Arc;
use std::time::Duration;

use telemetry::clock::SharedClock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

mod account;
mod batches;
mod deliver;
mod judge;
pub(crate) mod line;
pub(crate) mod lines;
mod progress;
#[cfg(test)]
mod tests;
mod trust;

pub(crate) use account::{Account, Rejects};
pub(crate) use batches::{BATCH_BYTES_MAX, Batch, Found, Input, Place};
pub(crate) use judge::Judge;
pub(crate) use line::Shape;
pub(crate) use progress::Progress;
pub(crate) use trust::{Trust, TrustArgs};

use account::Problem;
use deliver::{Outcome, Target};

/// What is sent, where to, and how.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) inputs: Vec<Input>,
    /// `None`: as the first event of each file looks.
    pub(crate) shape: Option<Shape>,
    /// Events in one request at most.
    pub(crate) batch: usize,
    pub(crate) delivery: Delivery,
}

/// Where events are sent to, and how.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) url: reqwest::Url,
    pub(crate) key: String,
    /// What requests are signed with, where the key asks for it.
    pub(crate) signing_secret: Option<String>,
    /// Whom to trust over TLS, and who we are.
    pub(crate) trust: Trust,
    /// Requests in work at a time.
    pub(crate) concurrency: usize,
    /// How long a batch is sent again and again until it is given up.
    pub(crate) patience: Duration,
}

/// Who decides on events.
#[derive(Debug)]
pub(crate) enum Recipient {
    /// The gate, which makes them durable.
    Gate(Box<Delivery>),
    /// The gate's judge, here: nothing is sent.
    Judge(Box<Judge>),
}

/// Sends everything, and gives account of every line read. Ends early, saying why in the account, when the gate refuses the sender (a wrong key) or a batch had
/// to be given up.
///
/// # Errors
///
/// When no request can be made at all.
pub(crate) async fn run(order: Order, clock: SharedClock) -> anyhow::Result<Account> {
    let progress = Progress::new(order.inputs.iter().map(Input::bytes).sum());
    let reader = batches::Reader { shape: order.shape, batch: order.batch, clock, bytes: progress.bar(), batches: 0 };
    let read = move |found: &mpsc::Sender<Found>| reader.run(order.inputs, found);
    deliver_all(Recipient::Gate(Box::new(order.delivery)), Account::default(), progress, read, |_| ()).await
}

/// Delivers what a reader finds, in a thread of its own, and enters into the account what becomes of it. `settled` is told the number of each batch of which every event got
/// its answer.
///
/// # Errors
///
/// As [`run`].
pub(crate) async fn deliver_all(
    recipient: Recipient,
    mut account: Account,
    progress: Progress,
    read: impl FnOnce(&mpsc::Sender<Found>) + Send + 'static,
    mut settled: impl FnMut(u64),
) -> anyhow::Result<Account> {
    let (concurrency, courier) = match recipient {
        Recipient::Gate(delivery) => (delivery.concurrency, Courier::Gate(Box::new(Target::new(&delivery)?))),
        Recipient::Judge(judge) => (1, Courier::Judge(judge)),
    };
    let courier = Arc::new(courier);
    let (found, mut finds) = mpsc::channel(1);
    std::thread::Builder::new().name("read".to_owned()).spawn(move || read(&found))?;

    let mut sending = JoinSet::new();
    let mut reading = true;
    while reading || !sending.is_empty() {
        tokio::select! {
            find = finds.recv(), if reading && sending.len() < concurrency => match find {
                Some(Found::Batch(batch)) => {
                    let courier = Arc::clone(&courier);
                    sending.spawn(async move { (batch.number, courier.carry(batch).await) });
                }
                Some(Found::NoEvent { place, code, problem }) => {
                    account.refuse(code, Problem::of(place, "", &problem), &progress);
                }
                Some(Found::Unreadable { name, problem }) => {
                    account.stop(format!("cannot read {name}: {problem}"));
                    reading = false;
                }
                None => reading = false,
            },
            Some(sent) = sending.join_next() => {
                let (number, pieces) = sent?;
                if pieces.iter().all(|(_, outcome)| outcome.is_settled()) {
                    settled(number);
                }
                for piece in pieces {
                    account.enter(piece, &progress);
                }
                progress.show(&account);
                // What is on its way is waited for; nothing new is begun.
                reading &= !account.is_stopped();
            }
        }
    }
    account.finish();
    progress.end();
    Ok(account)
}

/// Who carries a batch to where it is decided on.
#[derive(Debug)]
enum Courier {
    Gate(Box<Target>),
    Judge(Box<Judge>),
}

impl Courier {
    async fn carry(&self, batch: Batch) -> Vec<(Batch, Outcome)> {
        match self {
            Self::Gate(target) => deliver::deliver(target, batch).await,
            Self::Judge(judge) => {
                let outcome = judge.judge(&batch);
                vec![(batch, outcome)]
            }
        }
    }
}
