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
mod line;
mod progress;
#[cfg(test)]
mod tests;

pub(crate) use account::Account;
pub(crate) use batches::Input;
pub(crate) use line::Shape;

use account::Problem;
use batches::Found;
use deliver::Target;
use progress::Progress;

/// What is sent, where to, and how.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) inputs: Vec<Input>,
    pub(crate) url: reqwest::Url,
    pub(crate) key: String,
    /// `None`: as the first event of each file looks.
    pub(crate) shape: Option<Shape>,
    /// Events in one request at most.
    pub(crate) batch: usize,
    /// Requests in work at a time.
    pub(crate) concurrency: usize,
    /// How long a batch is sent again and again until it is given up.
    pub(crate) patience: Duration,
}

/// Sends everything, and gives account of every line read. Ends early, saying why in the account, when the gate refuses the sender (a wrong key) or a batch had
/// to be given up.
///
/// # Errors
///
/// When no request can be made at all.
pub(crate) async fn run(order: Order, clock: SharedClock) -> anyhow::Result<Account> {
    let target = Arc::new(Target::new(&order.url, &order.key, order.patience)?);
    let progress = Progress::new(&order.inputs);
    let (found, mut finds) = mpsc::channel(1);
    let reader = batches::Reader { shape: order.shape, batch: order.batch, clock, bytes: progress.bar() };
    std::thread::Builder::new().name("read".to_owned()).spawn(move || reader.run(order.inputs, &found))?;

    let mut account = Account::default();
    let mut sending = JoinSet::new();
    let mut reading = true;
    while reading || !sending.is_empty() {
        tokio::select! {
            find = finds.recv(), if reading && sending.len() < order.concurrency => match find {
                Some(Found::Batch(batch)) => {
                    let target = Arc::clone(&target);
                    sending.spawn(async move { deliver::deliver(&target, batch).await });
                }
                Some(Found::NoEvent { place, problem }) => {
                    account.refuse("invalid_json", Problem::of(place, "", &problem), &progress);
                }
                Some(Found::Unreadable { name, problem }) => {
                    account.stop(format!("cannot read {name}: {problem}"));
                    reading = false;
                }
                None => reading = false,
            },
            Some(sent) = sending.join_next() => {
                for piece in sent? {
                    account.enter(piece, &progress);
                }
                progress.show(&account);
                // What is on its way is waited for; nothing new is begun.
                reading &= !account.is_stopped();
            }
        }
    }
    progress.end();
    Ok(account)
}
