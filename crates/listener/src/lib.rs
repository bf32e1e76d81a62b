//! The HTTP listener: connections within a bound, handshakes and heads within a time, and an end that lets requests in work finish.
//!
//! What is answered is a router that somebody else gives. It knows nothing of events, and of requests only where they begin and end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinHandle};

mod addresses;
mod metrics;
pub mod tls;

pub use metrics::describe;

use addresses::{Addresses, Entered};
use tls::Tls;

/// The pause after the system could not give a connection, such as when no file can be opened; at once it would only be asked again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is said that all connections are open.
const TELL_FULL_EVERY: Duration = Duration::from_secs(60);
/// How long connections may take to end once the listener closes: by then no request should be in work.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to listen, and within which bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Host and port; port 0 takes a free one.
    pub listen: String,
    /// Connections open at a time, at least 1 and at most [`CONNECTIONS_MAX`]; more wait in the system's queue.
    pub connections_max: usize,
    /// Connections that one address may have open at a time, by IPv6 one network of 64 bits; more are closed at once. 0 is no bound.
    pub connections_per_address_max: usize,
    /// How long a handshake of TLS may take.
    pub handshake_timeout: Duration,
    /// How long the head of a request may take to arrive, and how long a connection may be idle.
    pub header_timeout: Duration,
}

/// As many connections as can be counted.
pub const CONNECTIONS_MAX: usize = Semaphore::MAX_PERMITS;

/// Why there is no listener, or none any more. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {help}")]
    Listen {
        /// The address that was given.
        listen: String,
        /// What to do.
        help: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The system does not say which address it is.
    #[error("the listener has no address")]
    NoAddress(#[source] io::Error),
    /// It ended without being told to.
    #[error("the listener ended by itself; please report it with the log")]
    Ended,
    /// A fault in the program.
    #[error("the listener panicked; please report it with the log")]
    Panicked(#[source] JoinError),
}

/// The listener and its connections, in a task of their own.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
    connections: Arc<Semaphore>,
    connections_max: usize,
}

impl Server {
    /// Listens, with TLS where there is some, and answers with the router.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on.
    pub async fn bind(options: &Options, tls: Option<Tls>, router: Router) -> Result<Self, Error> {
        let listener = TcpListener::bind(&options.listen).await.map_err(|source| unlistenable(&options.listen, source))?;
        let address = listener.local_addr().map_err(Error::NoAddress)?;
        let (closing, closed) = watch::channel(false);
        let connections = Arc::new(Semaphore::new(options.connections_max));
        let accepting = Accepting {
            listener,
            tls,
            connections: Arc::clone(&connections),
            addresses: Addresses::within(options.connections_per_address_max),
            handshake_timeout: options.handshake_timeout,
            answering: Answering { router, header_timeout: options.header_timeout },
        };
        let task = Some(tokio::spawn(accepting.run(closed)));
        Ok(Self { address, closing, task, connections, connections_max: options.connections_max })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and waits until those there are have finished their requests.
    ///
    /// # Errors
    ///
    /// When it had panicked.
    pub async fn close(mut self) -> Result<(), Error> {
        self.closing.send_replace(true);
        if let Some(task) = self.task.take() {
            task.await.map_err(Error::Panicked)?;
        }
        let all = u32::try_from(self.connections_max).unwrap_or(u32::MAX);
        match tokio::time::timeout(CLOSE_TIMEOUT, self.connections.acquire_many(all)).await {
            Ok(_) => {}
            Err(_) => tracing::warn!("connections that would not end are cut"),
        }
        Ok(())
    }

    /// Resolves when it ends by itself.
    pub async fn failed(&mut self) -> Error {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(()) => Error::Ended,
            Err(panic) => Error::Panicked(panic),
        }
    }
}

fn unlistenable(listen: &str, source: io::Error) -> Error {
    let help = match source.kind() {
        io::ErrorKind::AddrInUse => "something else listens there; stop it or choose another with --listen",
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose another with --listen",
        io::ErrorKind::InvalidInput => "give host and port, such as --listen 127.0.0.1:8099",
        _ => "choose another with --listen",
    };
    Error::Listen { listen: listen.to_owned(), help, source }
}

/// Says that no connection can be taken now, at most once in a while.
fn tell_full(told: &mut Option<Instant>) {
    if told.is_none_or(|at| at.elapsed() >= TELL_FULL_EVERY) {
        *told = Some(Instant::now());
        tracing::warn!(
            "server.connections_max connections are open: further ones wait until one ends; if few clients have many of them, set server.connections_per_address_max"
        );
    }
}

#[derive(Debug)]
struct Accepting {
    listener: TcpListener,
    tls: Option<Tls>,
    connections: Arc<Semaphore>,
    addresses: Addresses,
    handshake_timeout: Duration,
    answering: Answering,
}

impl Accepting {
    async fn run(self, closed: watch::Receiver<bool>) {
        let (mut own, mut told) = (closed.clone(), None);
        loop {
            // The place first: a connection that finds none waits with the system, not with us.
            let next = async {
                if self.connections.available_permits() == 0 {
                    tell_full(&mut told);
                }
                let place = Arc::clone(&self.connections).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            tokio::select! {
                () = closes(&mut own) => return,
                (place, accepted) = next => match (place, accepted) {
                    (Ok(place), Ok((stream, peer))) => self.take(stream, peer, place, closed.clone()),
                    (Ok(_), Err(error)) => {
                        tracing::warn!(%error, "no connection can be taken");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    (Err(_), _) => return,
                },
            }
        }
    }

    /// Serves a connection in a task of its own, its handshake included: a slow one holds up nobody else.
    fn take(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit, mut closed: watch::Receiver<bool>) {
        let Some(entered) = self.addresses.enter(peer) else {
            metrics::connection_refused();
            tracing::debug!(%peer, "a connection is closed: its address has server.connections_per_address_max");
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        let (tls, answering, handshake_timeout) = (self.tls.clone(), self.answering.clone(), self.handshake_timeout);
        tokio::spawn(async move {
            let _held: (OwnedSemaphorePermit, Entered) = (place, entered);
            let Some(tls) = tls else { return answering.answer(stream, peer, closed).await };
            let acceptor = tls.acceptor();
            let shaken = tokio::select! {
                // Nothing was asked yet, so nothing is cut off.
                () = closes(&mut closed) => return,
                shaken = tls::shake(&acceptor, stream, handshake_timeout) => shaken,
            };
            match shaken {
                Ok(stream) => answering.answer(stream, peer, closed).await,
                Err(failure) => {
                    if let Some(reason) = failure.reason() {
                        metrics::handshake_failed(reason);
                    }
                    tracing::debug!(%peer, error = %failure, "a connection ended at its handshake");
                }
            }
        });
    }
}

/// What is done with a connection, whatever it comes over.
#[derive(Debug, Clone)]
struct Answering {
    router: Router,
    header_timeout: Duration,
}

impl Answering {
    /// Answers the requests of a connection until it ends; once the listener closes, those that are in work.
    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr, mut closed: watch::Receiver<bool>) {
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.call(request)
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.header_timeout);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = closes(&mut closed) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Waits until the listener is to close, or nobody is left who could say so.
async fn closes(closed: &mut watch::Receiver<bool>) {
    drop(closed.wait_for(|closed| *closed).await);
}
