//! The gate: what all requests share, and how it closes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header::ORIGIN;
use contract::plan::ClientAddress;
use contract::{Erased, Plan, SourceName, Timestamp, mask};
use journal::Sink;
use telemetry::clock::{SharedClock, SystemClock};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::Error;
use crate::admission::Budget;
use crate::config::{self, Config};
use crate::keys::{Keyring, Lookup, Source};
use crate::rate::Rates;
use crate::signature::{self, SigningKey};

/// For how long after the journal last failed the gate says that it is not ready. After that it must be tried again.
const UNREADY_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// The gate. Cheap to clone; all clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) journal: Arc<dyn Sink>,
    pub(crate) keyring: Keyring,
    pub(crate) config: Config,
    pub(crate) over_tls: bool,
    pub(crate) memory: Arc<Budget>,
    pub(crate) rates: Rates,
    pub(crate) sifting: Semaphore,
    pub(crate) pii_key: mask::Key,
    pub(crate) signing_key: SigningKey,
    plan: RwLock<Arc<Plan>>,
    erased: RwLock<Arc<Erased>>,
    clock: SharedClock,
    requests: Arc<Semaphore>,
    closing: AtomicBool,
    in_flight: AtomicUsize,
    left: Notify,
    journal_fault: Mutex<Option<(Error, Instant)>>,
}

/// Puts a [`Gate`] together.
#[derive(Debug)]
pub struct Builder {
    journal: Arc<dyn Sink>,
    keyring: Keyring,
    plan: Arc<Plan>,
    clock: SharedClock,
    config: Config,
    over_tls: bool,
    pii_key: mask::Key,
    signing_key: SigningKey,
}

impl Builder {
    /// The tracking plan; without this it is the built-in one.
    #[must_use]
    pub fn plan(mut self, plan: Arc<Plan>) -> Self {
        self.plan = plan;
        self
    }

    /// The clock that says when a request was received; without this it is the system's.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// The bounds.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Whether clients reach the gate over TLS where no proxy is in between; without this they do not.
    #[must_use]
    pub fn over_tls(mut self, over_tls: bool) -> Self {
        self.over_tls = over_tls;
        self
    }

    /// The key of the hashes that stand for personal data; without this it is one of this gate's own, and nobody else's hashes are like its.
    #[must_use]
    pub fn pii_key(mut self, key: mask::Key) -> Self {
        self.pii_key = key;
        self
    }

    /// What the secrets of keys that sign are made of; without this it is one of this gate's own, and nobody has a secret for it.
    #[must_use]
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        self.signing_key = key;
        self
    }

    /// The gate, open.
    ///
    /// # Errors
    ///
    /// Settings that contradict each other.
    pub fn build(self) -> Result<Gate, config::Invalid> {
        let config = self.config;
        config.check()?;
        let inner = Inner {
            journal: self.journal,
            keyring: self.keyring,
            memory: Budget::new(config.in_flight_bytes_max),
            rates: Rates::new(config.events_per_second_max, config.events_burst_max),
            sifting: Semaphore::new(config.sifting_max),
            requests: Arc::new(Semaphore::new(config.requests_max)),
            config,
            over_tls: self.over_tls,
            pii_key: self.pii_key,
            signing_key: self.signing_key,
            plan: RwLock::new(self.plan),
            erased: RwLock::default(),
            clock: self.clock,
            closing: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            left: Notify::new(),
            journal_fault: Mutex::new(None),
        };
        Ok(Gate { inner: Arc::new(inner) })
    }
}

impl Gate {
    /// A gate in front of this journal, for the sources of this keyring.
    pub fn builder(journal: Arc<dyn Sink>, keyring: Keyring) -> Builder {
        Builder {
            journal,
            keyring,
            plan: Arc::new(Plan::built_in()),
            clock: Arc::new(SystemClock),
            config: Config::default(),
            over_tls: false,
            pii_key: mask::Key::new(rand::random()),
            signing_key: SigningKey::new(rand::random()),
        }
    }

    /// Holds events that come from now on to another plan.
    pub fn set_plan(&self, plan: Arc<Plan>) {
        *self.inner.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// Keeps the content of events of these persons out from now on. Such an event is taken as any other, and of it only what the books need comes into the journal.
    pub fn keep_out(&self, erased: Arc<Erased>) {
        *self.inner.erased.write().unwrap_or_else(PoisonError::into_inner) = erased;
    }

    /// Takes no more requests: each is told to go elsewhere (503). Those in work are finished; wait for them with [`Gate::idle`].
    pub fn shutdown(&self) {
        self.inner.closing.store(true, Ordering::SeqCst);
    }

    /// How many requests are in work, those included whose client has gone while the journal was writing.
    pub fn in_flight(&self) -> usize {
        self.inner.in_flight.load(Ordering::SeqCst)
    }

    /// Waits until no request is in work.
    pub async fn idle(&self) {
        loop {
            let left = self.inner.left.notified();
            tokio::pin!(left);
            // Before the count is looked at, so that no one leaves unnoticed in between.
            left.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            left.await;
        }
    }

    /// Whether requests have a chance now; if not, why. A full journal is no reason: clients are to be told to wait.
    ///
    /// # Errors
    ///
    /// [`Error::Closing`]; [`Error::JournalUnavailable`] and [`Error::JournalSlow`] for ten seconds after the journal failed.
    pub fn ready(&self) -> Result<(), Error> {
        if self.inner.is_closing() {
            return Err(Error::Closing);
        }
        match &*self.inner.journal_fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((fault @ (Error::JournalUnavailable | Error::JournalSlow), at)) if at.elapsed() < UNREADY_AFTER_FAILURE => {
                Err(fault.clone())
            }
            _ => Ok(()),
        }
    }

    /// Lets a request in.
    pub(crate) fn enter(&self) -> Result<Ticket, Error> {
        let presence = Presence::of(self);
        if self.inner.is_closing() {
            return Err(Error::Closing);
        }
        let permit = Arc::clone(&self.inner.requests).try_acquire_owned().map_err(|_| Error::Busy)?;
        Ok(Ticket { _permit: permit, _presence: presence })
    }
}

impl Inner {
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn erased(&self) -> Arc<Erased> {
        Arc::clone(&self.erased.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is stored of the addresses of a source's clients.
    pub(crate) fn client_address(&self, source: &SourceName) -> ClientAddress {
        self.plan().client_address(source).unwrap_or(self.config.client_address)
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_micros())
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Notes how the journal took the last append, and logs where that differs from the time before: a full journal is met by every request.
    pub(crate) fn note_journal(&self, outcome: Result<(), &Error>) {
        let mut known = self.journal_fault.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.take().map(|(fault, _)| fault);
        match outcome {
            Ok(()) if before.is_some() => tracing::info!("the journal takes records again"),
            Err(fault) if before.as_ref() != Some(fault) => tracing::warn!(%fault, "the journal does not take records"),
            Ok(()) | Err(_) => {}
        }
        *known = outcome.err().map(|fault| (fault.clone(), Instant::now()));
    }

    /// The source of a key, if it may send now and from where it sends.
    pub(crate) fn authenticate(&self, key: &str, headers: &HeaderMap) -> Result<Arc<Source>, Error> {
        let source = match self.keyring.find(key, self.now()) {
            Lookup::Known(source) => source,
            Lookup::Revoked => return Err(Error::RevokedKey),
            Lookup::Unknown => return Err(Error::UnknownKey),
        };
        let allowed = headers.get(ORIGIN).is_none_or(|origin| source.scope.allows_origin(&String::from_utf8_lossy(origin.as_bytes())));
        if !allowed {
            return Err(Error::OriginNotAllowed);
        }
        self.rates.enter(&source, Instant::now())?;
        Ok(source)
    }

    /// Whether a request is signed, where its key asks for that.
    pub(crate) fn check_signature(&self, source: &Source, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Error> {
        match source.key.filter(|_| source.scope.signed) {
            Some(key) => signature::verify(&self.signing_key.secret(&key), headers, body, now),
            None => Ok(()),
        }
    }
}

/// A request's place within the bounds, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    _permit: OwnedSemaphorePermit,
    _presence: Presence,
}

#[derive(Debug)]
struct Presence(Gate);

impl Presence {
    fn of(gate: &Gate) -> Self {
        gate.inner.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(gate.clone())
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.0.inner.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.inner.left.notify_waiters();
        }
    }
}
