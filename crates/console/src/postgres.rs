//! The lake for whoever speaks the protocol of Postgres, such as psql, Grafana and BI tools: read-only.
//!
//! The protocol, its types and the system tables that clients look at come from `datafusion-postgres`. Here is what makes it safe to leave open: who may read
//! ([`ReaderFile`]), that statements only read, that each sees the tables as they are when it runs (a prepared one too), and that it is bounded like any other.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion_postgres::pgwire;
use futures::future::BoxFuture;
use pgwire::api::ConnectionManager;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

mod connection;
mod guard;
mod login;
mod readers;
mod rows;
mod session;
#[cfg(test)]
mod tests;

pub use readers::{Entry, ReaderFile, ReaderFileError};

use crate::{Error, Reader, metrics};
use connection::Connection;
use session::Template;

/// The pause after the system could not give a connection, such as when no file can be opened; at once it would only be asked again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// `[postgres]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Host and port to listen on; port 0 takes a free one. Without it there is no such port.
    pub listen: Option<String>,
    /// Connections open at a time; more wait in the system's queue.
    pub connections_max: usize,
    /// The most of one answer that is put together before it is sent, in bytes. That is done where a client prepares a statement and asks for all rows at once; a
    /// simple statement, a cursor and a client that fetches so many rows at a time have no such bound.
    pub answer_bytes_max: u64,
    /// The file of those who may read; without it `readers.json` in the data folder.
    pub reader_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: None, connections_max: 64, answer_bytes_max: 64 << 20, reader_file: None }
    }
}

impl Config {
    /// Refuses what cannot be used.
    ///
    /// # Errors
    ///
    /// The setting, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=Semaphore::MAX_PERMITS).contains(&self.connections_max) {
            return Err("connections_max must be at least 1".to_owned());
        }
        if self.answer_bytes_max == 0 {
            return Err("answer_bytes_max must be at least 1".to_owned());
        }
        Ok(())
    }
}

/// The listener and its connections, in a task of their own.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    task: JoinHandle<Result<(), ServerError>>,
}

/// Why it does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be used.
    #[error("cannot listen on {listen} for Postgres clients: {source}; choose another with --postgres or postgres.listen")]
    Listen {
        /// As it was given.
        listen: String,
        /// What the system says.
        source: io::Error,
    },
    /// The tables cannot be offered.
    #[error("the port for Postgres clients cannot be served: {0}")]
    Reader(Error),
    /// A fault of this program.
    #[error("the listener for Postgres clients panicked; please report it with the log")]
    Panicked,
}

impl Server {
    /// Listens on an address of the form `host:port`. Connections wait with the system until the reader is there, which may take until a store answers.
    ///
    /// # Errors
    ///
    /// When it cannot be listened on.
    pub async fn bind(
        listen: &str,
        config: &Config,
        readers: ReaderFile,
        reader: BoxFuture<'static, Result<Reader, Error>>,
    ) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Listen { listen: listen.to_owned(), source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (closing, mut closed) = watch::channel(false);
        let (places, answer_bytes_max) = (Arc::new(Semaphore::new(config.connections_max)), config.answer_bytes_max);
        let task = tokio::spawn(async move {
            let reader = tokio::select! {
                () = closes(&mut closed) => return Ok(()),
                reader = reader => reader.map_err(ServerError::Reader)?,
            };
            let template = Template::new(&reader).map_err(ServerError::Reader)?;
            let shared = Arc::new(Shared { reader, template, readers, manager: Arc::default(), answer_bytes_max });
            Accepting { listener, places, shared }.run(closed).await;
            Ok(())
        });
        Ok(Self { address, closing, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and cuts those there are: they only read.
    ///
    /// # Errors
    ///
    /// Why it had ended before.
    pub async fn close(self) -> Result<(), ServerError> {
        self.closing.send_replace(true);
        self.task.await.unwrap_or(Err(ServerError::Panicked))
    }

    /// Resolves when it ends by itself.
    pub async fn failed(&mut self) -> ServerError {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => ServerError::Panicked,
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    reader: Reader,
    template: Template,
    readers: ReaderFile,
    /// So that one connection can cancel what another one waits for.
    manager: Arc<ConnectionManager>,
    answer_bytes_max: u64,
}

#[derive(Debug)]
struct Accepting {
    listener: TcpListener,
    places: Arc<Semaphore>,
    shared: Arc<Shared>,
}

impl Accepting {
    async fn run(self, mut closed: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            // The place first: a connection that finds none waits with the system, not with us.
            let next = async {
                let place = Arc::clone(&self.places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            tokio::select! {
                () = closes(&mut closed) => break,
                (place, accepted) = next => match (place, accepted) {
                    (Ok(place), Ok((stream, peer))) => {
                        connections.spawn(serve(stream, peer, place, Arc::clone(&self.shared)));
                    }
                    (Ok(_), Err(error)) => {
                        tracing::warn!(%error, "no connection of a Postgres client can be taken");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    (Err(_), _) => break,
                },
            }
            // Those that have ended.
            while connections.try_join_next().is_some() {}
        }
        connections.shutdown().await;
    }
}

/// Waits until the listener is to close, or nobody is left who could say so.
async fn closes(closed: &mut watch::Receiver<bool>) {
    drop(closed.wait_for(|closed| *closed).await);
}

async fn serve(stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit, shared: Arc<Shared>) {
    metrics::connected();
    let outcome = pgwire::tokio::process_socket(stream, None, Connection::new(shared)).await;
    metrics::disconnected();
    drop(place);
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "a connection of a Postgres client ended early");
    }
}
