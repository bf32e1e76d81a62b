//! What the gate takes: single events and batches, beside the same API in Python, Kafka's own producer, a server with nothing behind it, and the disk.

use std::time::Duration;

use anyhow::Result;
use servers::{Kafka, free_port};

use super::broker;
use super::comparison::{Comparison, Target as Aim};
use super::load::{self, Figures, Load, Target};
use super::peers::{FAST_API, FastApi};
use super::product::{self, Product, Settings};
use super::report::Found;
use super::running::Running;
use super::scene::Scene;

/// A load before the first round: code is compiled, pages are mapped, topics have their leaders.
const WARM_UP_SECONDS: u32 = 3;
const EMPTY: &str = "an empty handler";
const APPEND: &str = "append and sync alone";
const PRODUCER: &str = "ProducerPerformance";
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// Each of its limits takes as long as it is told.
const LIMITS_PATIENCE: Duration = Duration::from_secs(600);
/// Lines of the file that Kafka's producer draws from.
const LINES: u32 = 50_000;
const PRODUCER_TRIAL_RECORDS: u64 = 300_000;

const SAME_ON_KAFKA: &str = "Both sides answer after Kafka has acknowledged every event with acks=all from an idempotent producer, one replica, lz4, linger of 2 ms; the gate's spool, which would say yes without Kafka, is off. 4 partitions each.";
const SAME_MACHINE: &str = "Kafka and what sends share the two cores with what is measured.";
const SYNCED: &str = "The gate answers after its journal is synced to the disk.";

/// One event a request, on Kafka.
pub(crate) fn single_kafka(scene: &Scene<'_>) -> Result<Found> {
    let kafka = broker::start_for_loads(scene)?;
    let (gate, peer) = (gate_on_kafka(scene, &kafka)?, FastApi::start(scene, &kafka)?);
    let (ours, theirs) = (target(&gate), peer.target());
    load::ingest(scene, "warm-up-ours", &ours, Load::singles(WARM_UP_SECONDS))?;
    let warm = load::ingest(scene, "warm-up-fastapi", &theirs, Load::singles(WARM_UP_SECONDS))?;
    // What the slower one can well bear: at a rate, waiting for a slow answer does not make the load smaller.
    let rate = (warm.get("events_per_second")? / 2.0).max(1.0) as u32;

    let seconds = scene.options.seconds;
    let mut fast = Pairs::new(FAST_API);
    let mut steady = Comparison::beside(FAST_API, &format!("p99 at {rate} requests/s"), "ms").target(Aim::RatioAtMost(0.2));
    for round in scene.rounds() {
        let ours_fast = load::ingest(scene, &format!("ours-{round}"), &ours, Load::singles(seconds))?;
        let theirs_fast = load::ingest(scene, &format!("fastapi-{round}"), &theirs, Load::singles(seconds))?;
        fast.round(&ours_fast, &theirs_fast)?;
        let at_rate = Load { rate: Some(rate), ..Load::singles(seconds) };
        let ours_steady = load::ingest(scene, &format!("ours-steady-{round}"), &ours, at_rate)?;
        let theirs_steady = load::ingest(scene, &format!("fastapi-steady-{round}"), &theirs, at_rate)?;
        steady.round(ours_steady.get("answer_p99_ms")?, theirs_steady.get("answer_p99_ms")?);
    }
    let Pairs { requests, p99, per_cpu } = fast;
    Ok(Found {
        comparisons: vec![requests.target(Aim::RatioAtLeast(10.0)), p99.target(Aim::RatioAtMost(0.2)), steady, per_cpu],
        notes: notes(&[SAME_ON_KAFKA, SAME_MACHINE, "At a rate, each request is measured from when it was due (open loop)."]),
    })
}

/// One event a request, embedded.
pub(crate) fn single_embedded(scene: &Scene<'_>) -> Result<Found> {
    let empty = Empty::start(scene)?;
    let mut pairs = Pairs::new(EMPTY);
    for round in scene.rounds() {
        // New for each round: the journal keeps what nobody reads.
        let gate = Product::start(scene, &format!("gate-{round}"), &scene.folder("gate")?, "ingest", &embedded())?;
        load::ingest(scene, &format!("warm-up-{round}"), &target(&gate), Load::singles(WARM_UP_SECONDS))?;
        let ours = load::ingest(scene, &format!("ours-{round}"), &target(&gate), Load::singles(scene.options.seconds))?;
        drop(gate);
        let theirs = load::ingest(scene, &format!("empty-{round}"), &empty.target, Load::singles(scene.options.seconds))?;
        pairs.round(&ours, &theirs)?;
    }
    let Pairs { requests, p99, per_cpu } = pairs;
    Ok(Found {
        comparisons: vec![requests.target(Aim::RatioAtLeast(0.4)), p99, per_cpu],
        notes: notes(&[SYNCED, SAME_MACHINE, "The empty handler reads the body over the same listener and says yes."]),
    })
}

/// 500 events a request, on Kafka.
pub(crate) fn batch_kafka(scene: &Scene<'_>) -> Result<Found> {
    let kafka = broker::start_for_loads(scene)?;
    let (gate, peer) = (gate_on_kafka(scene, &kafka)?, FastApi::start(scene, &kafka)?);
    let topic = "producer.events";
    broker::make_topic(scene, &kafka, topic)?;
    let lines = scene.temporary("lines.ndjson");
    load::write_large_events(scene, &lines, LINES)?;
    load::ingest(scene, "warm-up-ours", &target(&gate), Load::batches(WARM_UP_SECONDS))?;
    load::ingest(scene, "warm-up-fastapi", &peer.target(), Load::batches(WARM_UP_SECONDS))?;
    let trial = broker::produced_per_second(scene, "warm-up-producer", &kafka, topic, &lines, PRODUCER_TRIAL_RECORDS)?;
    let seconds = scene.options.seconds;
    // As long as the others, with what is to warm up.
    let records = (trial * f64::from(seconds) * 1.2) as u64;

    let mut producer = Comparison::beside(PRODUCER, "events a second", "events/s").target(Aim::RatioAtLeast(0.75));
    let mut python = Comparison::beside(FAST_API, "events a second", "events/s");
    let mut p99 = Comparison::beside(FAST_API, "p99", "ms");
    for round in scene.rounds() {
        let ours = load::ingest(scene, &format!("ours-{round}"), &target(&gate), Load::batches(seconds))?;
        let alone = broker::produced_per_second(scene, &format!("producer-{round}"), &kafka, topic, &lines, records)?;
        let theirs = load::ingest(scene, &format!("fastapi-{round}"), &peer.target(), Load::batches(seconds))?;
        producer.round(ours.get("events_per_second")?, alone);
        python.round(ours.get("events_per_second")?, theirs.get("events_per_second")?);
        p99.round(ours.get("answer_p99_ms")?, theirs.get("answer_p99_ms")?);
    }
    Ok(Found {
        comparisons: vec![producer, python, p99],
        notes: notes(&[
            SAME_ON_KAFKA,
            "ProducerPerformance sends the same events, read from a file beforehand, with the same acks, idempotence, compression and linger, in batches of up to 1 MB and 64 MiB on their way.",
            SAME_MACHINE,
        ]),
    })
}

/// 500 events a request, embedded.
pub(crate) fn batch_embedded(scene: &Scene<'_>) -> Result<Found> {
    let kafka = broker::start_for_loads(scene)?;
    let peer = FastApi::start(scene, &kafka)?;
    load::ingest(scene, "warm-up-fastapi", &peer.target(), Load::batches(WARM_UP_SECONDS))?;
    let seconds = scene.options.seconds;
    let mut append = Comparison::beside(APPEND, "events a second", "events/s").target(Aim::RatioAtLeast(0.5));
    let mut python = Comparison::beside(FAST_API, "events a second", "events/s").target(Aim::RatioAtLeast(8.0));
    for round in scene.rounds() {
        let gate = Product::start(scene, &format!("gate-{round}"), &scene.folder("gate")?, "ingest", &embedded())?;
        load::ingest(scene, &format!("warm-up-{round}"), &target(&gate), Load::batches(WARM_UP_SECONDS))?;
        let ours = load::ingest(scene, &format!("ours-{round}"), &target(&gate), Load::batches(seconds))?.get("events_per_second")?;
        drop(gate);
        append.round(ours, limits(scene, &format!("limits-{round}"))?.get("append_batches_events_per_second")?);
        let theirs = load::ingest(scene, &format!("fastapi-{round}"), &peer.target(), Load::batches(seconds))?;
        python.round(ours, theirs.get("events_per_second")?);
    }
    Ok(Found {
        comparisons: vec![append, python],
        notes: notes(&[
            SYNCED,
            "The limit writes groups of 2,000 records of 1 KiB to a file, each group with a checksum and a sync, from one thread.",
            "FastAPI answers after Kafka has acknowledged (acks=all, one replica), which syncs nothing to the disk: it promises less.",
            SAME_MACHINE,
        ]),
    })
}

/// The limits of this machine, on the disk that the data is on.
pub(crate) fn limits(scene: &Scene<'_>, name: &str) -> Result<Figures> {
    let folder = scene.folder("limits")?;
    let place = folder.display().to_string();
    let arguments = ["limits", "--seconds", "3", "--folder", &place];
    load::bench(scene, name, &folder, &Settings::new(), &arguments, LIMITS_PATIENCE)
}

/// What is told of two sides that answer requests.
struct Pairs {
    requests: Comparison,
    p99: Comparison,
    per_cpu: Comparison,
}

impl Pairs {
    fn new(beside: &'static str) -> Self {
        Self {
            requests: Comparison::beside(beside, "requests a second", "requests/s"),
            p99: Comparison::beside(beside, "p99 as fast as it answers", "ms"),
            per_cpu: Comparison::beside(beside, "events a second of CPU", "events"),
        }
    }

    fn round(&mut self, ours: &Figures, theirs: &Figures) -> Result<()> {
        let parts =
            [(&mut self.requests, "requests_per_second"), (&mut self.p99, "answer_p99_ms"), (&mut self.per_cpu, "events_per_cpu_second")];
        for (comparison, figure) in parts {
            comparison.round(ours.get(figure)?, theirs.get(figure)?);
        }
        Ok(())
    }
}

/// The listener with nothing behind it, running.
struct Empty {
    _running: Running,
    target: Target,
}

impl Empty {
    fn start(scene: &Scene<'_>) -> Result<Self> {
        let port = free_port()?;
        let mut empty = scene.tidegate();
        empty.args(["bench", "empty", "--listen", &format!("127.0.0.1:{port}")]);
        let mut running = Running::start("tidegate bench empty", &mut empty, &scene.kept("empty.log"))?;
        running.wait_until(READY_PATIENCE, || super::http::is_ready(port, "/readyz"))?;
        let target = Target { url: format!("http://127.0.0.1:{port}"), process: running.id() };
        Ok(Self { _running: running, target })
    }
}

/// A gate on Kafka, on a topic of its own.
pub(crate) fn gate_on_kafka(scene: &Scene<'_>, kafka: &Kafka) -> Result<Product> {
    Product::start(scene, "gate", &scene.folder("gate")?, "ingest", &product::on_kafka(kafka, &[]))
}

/// A gate alone: nobody reads what it writes, so that there must be room for all of it.
pub(crate) fn embedded() -> Settings {
    product::settings(&[("TIDEGATE_JOURNAL__DISK_BYTES_MAX", "68719476736")])
}

/// A process of ours as what is measured.
pub(crate) fn target(product: &Product) -> Target {
    Target { url: product.url(), process: product.id() }
}

/// Notes of constants.
pub(crate) fn notes(notes: &[&str]) -> Vec<String> {
    notes.iter().map(|note| (*note).to_owned()).collect()
}
