//! The scenarios: what each compares, what it needs, and what plays it.

use anyhow::Result;

use super::equipment::Need;
use super::report::Found;
use super::scene::Scene;
use super::{delay, footprint, history, ingest, replay, stages, workers};

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) play: fn(&Scene<'_>) -> Result<Found>,
}

/// All, in the order in which they are played.
pub(crate) static ALL: [Scenario; 13] = [
    Scenario {
        name: "single-kafka",
        about: "one event a request on Kafka, beside FastAPI with aiokafka",
        needs: &[Need::Servers, Need::FastApi],
        play: ingest::single_kafka,
    },
    Scenario {
        name: "single-embedded",
        about: "one event a request, synced to the disk, beside the same server with an empty handler",
        needs: &[],
        play: ingest::single_embedded,
    },
    Scenario {
        name: "batch-kafka",
        about: "500 events a request on Kafka, beside Kafka's own ProducerPerformance and FastAPI",
        needs: &[Need::Servers, Need::FastApi],
        play: ingest::batch_kafka,
    },
    Scenario {
        name: "batch-embedded",
        about: "500 events a request, synced to the disk, beside appending alone and FastAPI",
        needs: &[Need::Servers, Need::FastApi],
        play: ingest::batch_embedded,
    },
    Scenario {
        name: "bronze",
        about: "Kafka to Bronze, beside Spark and the limit of reading and writing",
        needs: &[Need::Servers, Need::Spark],
        play: stages::bronze,
    },
    Scenario {
        name: "silver",
        about: "Kafka to Silver with exact deduplication, beside Spark",
        needs: &[Need::Servers, Need::Spark],
        play: stages::silver,
    },
    Scenario {
        name: "delay-embedded",
        about: "from answered to visible in silver.events at 5,000 events/s, as by default",
        needs: &[],
        play: delay::embedded,
    },
    Scenario {
        name: "delay-kafka",
        about: "the same on Kafka and S3, with a gate and a worker",
        needs: &[Need::Servers],
        play: delay::kafka,
    },
    Scenario {
        name: "history",
        about: "deduplication with 100 million ids of history, beside 1 million",
        needs: &[],
        play: history::history,
    },
    Scenario {
        name: "replay",
        about: "Silver anew from Bronze, beside how fast it was made at first",
        needs: &[Need::Servers],
        play: replay::replay,
    },
    Scenario {
        name: "memory-and-start",
        about: "memory under load, and the start on a lake with a history of 100,000 files",
        needs: &[Need::Python],
        play: footprint::memory_and_start,
    },
    Scenario {
        name: "storage",
        about: "bytes an event in Bronze and Silver, beside gzip of the same events",
        needs: &[],
        play: footprint::storage,
    },
    Scenario {
        name: "workers",
        about: "1, 2 and 4 workers on one topic and one lake on S3",
        needs: &[Need::Servers],
        play: workers::workers,
    },
];
