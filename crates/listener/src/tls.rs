//! TLS of the listeners: what connections shake hands with, renewed while they go on.
//!
//! The files are looked at every few seconds, and at SIGHUP. A new pair holds for handshakes from then on; one that cannot be used is told, and the one before it is served on.

use std::sync::Arc;
use std::time::Duration;

use contract::Timestamp;
use telemetry::clock::SharedClock;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

mod handshake;
mod pair;
#[cfg(test)]
mod tests;

use crate::metrics;
pub(crate) use handshake::shake;
pub use pair::{Error, Files, Pair, Texts};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const SECOND_MICROS: i64 = 1_000_000;

/// What connections shake hands with. Cheap to clone; all clones are renewed together.
#[derive(Debug, Clone)]
pub struct Tls {
    current: watch::Receiver<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads these files and keeps up to them from then on.
    ///
    /// # Errors
    ///
    /// Files that cannot be served, with what to do.
    pub fn open(files: Files, clock: SharedClock) -> Result<(Self, Keeping), Error> {
        let hangup = signal(SignalKind::hangup()).map_err(Error::Signals)?;
        let (keeper, tls) = Keeper::open(files, clock)?;
        Ok((tls, Keeping(tokio::spawn(keeper.run(hangup)))))
    }

    /// What a handshake that begins now is done with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.borrow()))
    }
}

/// The task that looks at the files. Dropped, it ends, and what is served stays as it is.
#[derive(Debug)]
pub struct Keeping(JoinHandle<()>);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct Keeper {
    files: Files,
    clock: SharedClock,
    current: watch::Sender<Arc<ServerConfig>>,
    /// Of the files as they are served.
    served: blake3::Hash,
    /// Why the files as they are now cannot be served, as it was told last.
    problem: Option<String>,
}

impl Keeper {
    /// A certificate that has expired is served where there is no other: whoever looks at it sees what is wrong.
    fn open(files: Files, clock: SharedClock) -> Result<(Self, Tls), Error> {
        let texts = files.read()?;
        let pair = texts.pair(&files)?;
        if let Err(error) = pair.check(&files, seconds(&clock)) {
            tracing::warn!(%error, "clients will refuse the certificate");
        }
        note(&files, &pair);
        metrics::tls_files_unusable(false);
        let (current, seen) = watch::channel(pair.config);
        let keeper = Self { files, clock, current, served: texts.digest(), problem: None };
        Ok((keeper, Tls { current: seen }))
    }

    async fn run(mut self, mut hangup: Signal) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = hangup.recv() => tracing::info!("SIGHUP: the files of server.tls are looked at"),
            }
            self.look();
        }
    }

    /// Takes the files as they are now, and tells once where they cannot be taken.
    fn look(&mut self) {
        let problem = self.take().err().map(|error| error.to_string());
        metrics::tls_files_unusable(problem.is_some());
        if let Some(error) = problem.as_ref().filter(|error| self.problem.as_ref() != Some(*error)) {
            tracing::warn!(error, "the files of server.tls cannot be used; what was served before is served on");
        }
        self.problem = problem;
    }

    fn take(&mut self) -> Result<(), Error> {
        let texts = self.files.read()?;
        let digest = texts.digest();
        if digest == self.served {
            return Ok(());
        }
        let pair = texts.pair(&self.files)?;
        // That one would be refused by all clients, and the one before it may still be good.
        pair.check(&self.files, seconds(&self.clock))?;
        note(&self.files, &pair);
        tracing::info!(valid_until = %day(pair.valid_until), "new handshakes use a new certificate");
        self.current.send_replace(pair.config);
        self.served = digest;
        Ok(())
    }
}

fn note(files: &Files, pair: &Pair) {
    metrics::tls_certificate_expires(pair.valid_until);
    if files.is_key_open() {
        tracing::warn!(file = %files.key.display(), "the key of server.tls can be read by others than its owner; take the right from them (chmod 600)");
    }
}

fn seconds(clock: &SharedClock) -> i64 {
    clock.now_micros().div_euclid(SECOND_MICROS)
}

/// The day of a second since 1970, for people.
pub fn day(seconds: i64) -> String {
    Timestamp(seconds.saturating_mul(SECOND_MICROS)).date_text()
}
