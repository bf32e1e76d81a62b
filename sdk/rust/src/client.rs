//! The client: what an application calls.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::{Deadline, now};
use crate::config::{Config, ConfigError, WhenFull};
use crate::engine::{Engine, OnDelivery};
use crate::event::{Event, Unsendable, json};
use crate::experiments::{Experiment, Subject};
use crate::exposures::Exposures;
use crate::scope::Scope;
use crate::stats::{Delivery, Outcome, Reason, Stats};
use crate::transport::Transport;

/// What dropping the last handle gives a client to send what it has.
const DROP: Duration = Duration::from_secs(2);
const URL: &str = "http://127.0.0.1:8099";

/// Sends events. One for each write key and process is enough: it may be used from all threads, and its clones are the same client.
///
/// No call panics, fails or waits (but with [`WhenFull::Block`]); what cannot be sent is counted in [`stats`](Self::stats), told to
/// [`on_delivery`](ClientBuilder::on_delivery), and logged by `tracing` with the target `tidegate`.
///
/// When the last handle is dropped, the client is closed, and has 2 seconds for what is left. A handle in a `static` is never dropped: then call [`close`](Self::close).
#[derive(Clone)]
pub struct Client(Arc<Handle>);

impl Debug for Client {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.0.engine.url).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Tells the `traceparent` of the span that is active.
type Traceparent = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// What the clones share.
struct Handle {
    engine: Arc<Engine>,
    context: Map<String, Value>,
    traceparent: Option<Traceparent>,
    experiments: HashMap<String, Experiment>,
    exposures: Exposures,
    is_enabled: AtomicBool,
    #[cfg(feature = "plan")]
    plan: Option<rules::Rules>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.engine.close(Deadline::after(DROP));
    }
}

impl Client {
    /// Sets up a client.
    pub fn builder(write_key: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            write_key: write_key.into(),
            signing_secret: None,
            url: URL.to_owned(),
            config: Config::default(),
            on_delivery: None,
            context: Map::new(),
            traceparent: None,
            fault: None,
            is_enabled: true,
            experiments: Vec::new(),
            #[cfg(feature = "plan")]
            plan: None,
        }
    }

    /// Sends an event, and tells its id; `None` where it will not be sent.
    pub fn track(&self, event: impl Into<Event>) -> Option<String> {
        self.track_event(&event.into())
    }

    fn track_event(&self, event: &Event) -> Option<String> {
        let engine = &self.0.engine;
        if !self.enabled() {
            engine.suppress();
            return None;
        }
        let mut random = [0; 10];
        if event.given_id().is_empty()
            && let Err(error) = getrandom::fill(&mut random)
        {
            let message = format!("there is no randomness to make an id of: {error}");
            engine.refuse(String::new(), Unsendable { code: "invalid", message }.into());
            return None;
        }
        let parent = self.0.traceparent.as_ref().and_then(|tell| tell());
        let traced = parent.map(|parent| {
            let mut context = self.0.context.clone();
            context.insert("traceparent".to_owned(), parent.into());
            context
        });
        match event.write(traced.as_ref().unwrap_or(&self.0.context), now(), random) {
            Ok((event_id, payload)) => {
                if let Some(why) = self.rejects(event) {
                    engine.refuse(event_id, Outcome::Rejected(why));
                    return None;
                }
                engine.put(event_id.clone(), payload).then_some(event_id)
            }
            Err(why) => {
                engine.refuse(event.given_id().to_owned(), why.into());
                None
            }
        }
    }

    /// Why the gate would not take the event, where the tracking plan says so. Of one that it takes and keeps apart or marks, the log tells.
    #[cfg(feature = "plan")]
    fn rejects(&self, event: &Event) -> Option<Reason> {
        let plan = self.0.plan.as_ref()?;
        let violations = event.check(plan);
        let code = violations.first()?.code.clone();
        let told =
            || violations.iter().map(|found| format!("{} {}", found.field, found.message).trim().to_owned()).collect::<Vec<_>>().join("; ");
        if plan.policy == rules::Policy::Reject {
            return Some(Reason { message: told().into(), code: code.into() });
        }
        self.0.engine.warn(format!("plan {code}"), || format!("an event breaks the tracking plan ({code}): {}", told()));
        None
    }

    #[cfg(not(feature = "plan"))]
    fn rejects(&self, _: &Event) -> Option<Reason> {
        None
    }

    /// The variation that a subject sees, and logs once a session that it does. The subject is the id of the scope that the experiment names.
    ///
    /// `None` where the subject does not take part: without such an id, outside of the coverage, or where there is no such experiment. It sees the application's default.
    pub fn variation(&self, experiment_id: &str, subject: &Scope) -> Option<&str> {
        let Some(experiment) = self.experiment(experiment_id) else {
            self.0.engine.warn(format!("experiment {experiment_id}"), || {
                format!("there is no experiment {experiment_id}, everyone sees the default")
            });
            return None;
        };
        let id = match experiment.subject {
            Subject::UserId => &subject.user_id,
            Subject::AnonymousId => &subject.anonymous_id,
        };
        if id.is_empty() {
            return None;
        }
        let variation = experiment.variation(id)?;
        if self.enabled() && self.0.exposures.is_first(experiment_id, variation, id, &subject.session_id, Instant::now()) {
            self.track_event(&Event::exposure(experiment_id, variation).in_scope(subject));
        }
        Some(variation)
    }

    /// One of those that [`variation`](Self::variation) knows.
    pub fn experiment(&self, id: &str) -> Option<&Experiment> {
        self.0.experiments.get(id)
    }

    /// Sends what is queued without waiting for batches to fill. Whether everything that was tracked before is delivered, rejected or dropped in time.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.engine.flush(Deadline::after(timeout))
    }

    /// With a spool: waits until everything that was tracked before is on disk, or settled. From then on nothing but the loss of the disk loses it.
    pub fn sync(&self, timeout: Duration) -> bool {
        self.0.engine.sync(Deadline::after(timeout))
    }

    /// As [`flush`](Self::flush), then ends. What is left is in the spool, or dropped as `closed`, as are the events of later calls.
    pub fn close(&self, timeout: Duration) -> bool {
        self.0.engine.close(Deadline::after(timeout))
    }

    /// [`flush`](Self::flush) for async code, on any runtime.
    pub fn flush_async(&self, timeout: Duration) -> impl Future<Output = bool> + Send + 'static {
        self.on_a_thread(timeout, Engine::flush)
    }

    /// [`sync`](Self::sync) for async code, on any runtime.
    pub fn sync_async(&self, timeout: Duration) -> impl Future<Output = bool> + Send + 'static {
        self.on_a_thread(timeout, Engine::sync)
    }

    /// [`close`](Self::close) for async code, on any runtime.
    pub fn close_async(&self, timeout: Duration) -> impl Future<Output = bool> + Send + 'static {
        self.on_a_thread(timeout, Engine::close)
    }

    /// Whether it is switched on.
    pub fn enabled(&self) -> bool {
        self.0.is_enabled.load(Ordering::Relaxed)
    }

    /// Switches it on, as when a visitor has said yes.
    pub fn opt_in(&self) {
        self.0.is_enabled.store(true, Ordering::Relaxed);
        self.start_draining();
    }

    /// Switches it off: calls do nothing but count as `suppressed`. What is queued or in the spool is thrown away, as `opted_out`.
    pub fn opt_out(&self) {
        self.0.is_enabled.store(false, Ordering::Relaxed);
        self.0.engine.throw_away();
    }

    /// The counts.
    pub fn stats(&self) -> Stats {
        self.0.engine.stats()
    }

    /// With a spool, what earlier processes left there is sent at once.
    fn start_draining(&self) {
        if self.0.engine.config.spool.is_some() {
            self.0.engine.start();
        }
    }

    /// It begins at once, not when it is first polled; a wait is rare enough for a thread of its own.
    fn on_a_thread(&self, timeout: Duration, wait: fn(&Engine, Deadline) -> bool) -> impl Future<Output = bool> + Send + 'static {
        let deadline = Deadline::after(timeout);
        let (tells, told) = oneshot::channel();
        let engine = Arc::clone(&self.0.engine);
        let spawned = thread::Builder::new().name("tidegate-wait".to_owned()).spawn(move || {
            // It is nobody's concern if the future was dropped.
            tells.send(wait(&engine, deadline)).ok();
        });
        if let Err(error) = spawned {
            self.0.engine.warn("thread", || format!("the thread tidegate-wait cannot be started: {error}"));
        }
        async { told.await.unwrap_or(false) }
    }
}

/// How a client is set up. What is not said is as docs/sdk-contract.md has it.
#[must_use = "`build` makes the client"]
pub struct ClientBuilder {
    write_key: String,
    signing_secret: Option<String>,
    url: String,
    config: Config,
    on_delivery: Option<OnDelivery>,
    context: Map<String, Value>,
    traceparent: Option<Traceparent>,
    fault: Option<String>,
    is_enabled: bool,
    experiments: Vec<Experiment>,
    #[cfg(feature = "plan")]
    plan: Option<Result<rules::Rules, rules::RulesError>>,
}

impl Debug for ClientBuilder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Without the write key.
        f.debug_struct("ClientBuilder").field("url", &self.url).field("config", &self.config).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// What requests are signed with, for a write key that asks for it.
    pub fn signing_secret(mut self, secret: impl Into<String>) -> Self {
        self.signing_secret = Some(secret.into());
        self
    }

    /// Where the gate is, `http://127.0.0.1:8099` if nothing is said; or a path of one's own that a proxy passes on to it.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// A folder where events are kept on disk until they are answered. Several processes may have the same.
    pub fn spool(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.spool = Some(folder.into());
        self
    }

    /// Is called for each event when it is known what became of it, on a thread of the client's.
    pub fn on_delivery(mut self, tell: impl Fn(Delivery) + Send + Sync + 'static) -> Self {
        self.on_delivery = Some(Box::new(tell));
        self
    }

    /// What goes into the context of every event.
    pub fn context(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match json(&value) {
            Ok(value) => drop(self.context.insert(name, value)),
            Err(error) => drop(self.fault.get_or_insert_with(|| format!("context {name}: {error}"))),
        }
        self
    }

    /// Tells the W3C `traceparent` of the span that is active, where the application records a trace: the event's way through the platform becomes a part of it. Called in each call that sends
    /// an event, on the caller's thread.
    pub fn traceparent(mut self, tell: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.traceparent = Some(Box::new(tell));
        self
    }

    /// `false` makes a client that is switched off until [`opt_in`](Client::opt_in).
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.is_enabled = enabled;
        self
    }

    /// Those that [`variation`](Client::variation) knows.
    pub fn experiments(mut self, experiments: impl IntoIterator<Item = Experiment>) -> Self {
        self.experiments.extend(experiments);
        self
    }

    /// A tracking plan that events are checked against before they are sent, with the gate's verdicts: `PLAN` of the code that `tidegate plan codegen` makes. Where the plan's policy
    /// is to reject, an event that breaks it counts as rejected and is not sent; else it is sent, and the log tells.
    #[cfg(feature = "plan")]
    pub fn plan(mut self, plan: &str) -> Self {
        self.plan = Some(rules::Rules::parse(plan));
        self
    }

    /// Events in one request at most: 500.
    pub fn batch_events_max(mut self, events: usize) -> Self {
        self.config.batch_events_max = events;
        self
    }

    /// Bytes of JSON in one request at most: 512 KiB. A single event may have more.
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.config.batch_bytes_max = bytes;
        self
    }

    /// How long an event waits for others: 1 second.
    pub fn batch_interval(mut self, interval: Duration) -> Self {
        self.config.batch_interval = interval;
        self
    }

    /// Events that wait at most: 10,000.
    pub fn queue_events_max(mut self, events: usize) -> Self {
        self.config.queue_events_max = events;
        self
    }

    /// Bytes that wait at most: 32 MiB.
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.config.queue_bytes_max = bytes;
        self
    }

    /// What a call does when the queue is full: it drops its own event.
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.config.when_full = policy;
        self
    }

    /// How long the gate may say nothing before a request counts as unanswered: 10 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// Bytes that this process keeps in the spool at most: 256 MiB.
    pub fn spool_bytes_max(mut self, bytes: u64) -> Self {
        self.config.spool_bytes_max = bytes;
        self
    }

    /// How long events wait to be written to disk together: 50 milliseconds.
    pub fn spool_interval(mut self, interval: Duration) -> Self {
        self.config.spool_interval = interval;
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// Where it is set up wrongly. A gate that cannot be reached is no error: events wait for it.
    pub fn build(self) -> Result<Client, ConfigError> {
        self.config.check()?;
        let transport = Transport::new(&self.url, &self.write_key, self.signing_secret, self.config.timeout)?;
        if let Some(fault) = self.fault {
            return Err(ConfigError::Context(fault));
        }
        for experiment in &self.experiments {
            experiment.check()?;
        }
        let mut context = Map::from_iter([("library".to_owned(), json!({"name": "tidegate-rust", "version": env!("CARGO_PKG_VERSION")}))]);
        context.extend(self.context);
        let client = Client(Arc::new(Handle {
            engine: Arc::new(Engine::new(self.config, transport, self.url, self.on_delivery)),
            context,
            traceparent: self.traceparent,
            experiments: self.experiments.into_iter().map(|experiment| (experiment.id.clone(), experiment)).collect(),
            exposures: Exposures::new(),
            is_enabled: AtomicBool::new(self.is_enabled),
            #[cfg(feature = "plan")]
            plan: self.plan.transpose()?,
        }));
        if self.is_enabled {
            client.start_draining();
        }
        Ok(client)
    }
}
