//! More workers on the same topic and the same lake.

use anyhow::Result;

use super::broker;
use super::comparison::Comparison;
use super::ingest::notes;
use super::product::{self, BUCKET, Product};
use super::report::Found;
use super::scene::Scene;
use super::stages::{self, Staged, staged};

const ONE: &str = "one worker";
const MORE: [usize; 2] = [2, 4];

/// 1, 2 and 4 workers.
pub(crate) fn workers(scene: &Scene<'_>) -> Result<Found> {
    let kafka = stages::filled(scene)?;
    let comparison = |count: &usize| Comparison::beside(ONE, &format!("events a second to Silver by {count}"), "events/s");
    let mut comparisons: Vec<Comparison> = MORE.iter().map(comparison).collect();
    for round in scene.rounds() {
        let played = |count: usize| -> Result<Staged> {
            // A lake of its own, on an S3 server of its own: several workers share one there, and not in a folder.
            let s3 = broker::start_s3(scene)?;
            let name = format!("worker-{round}-of-{count}");
            let settings = product::on_kafka_and_s3(&kafka, &s3, &stages::waiting(&name));
            let mut workers = Vec::with_capacity(count);
            for number in 1..=count {
                let data = scene.folder(&format!("worker-{number}"))?;
                workers.push(Product::start(scene, &format!("{name}-{number}"), &data, "pipeline", &settings)?);
            }
            let staged = staged(&mut workers, scene.options.events)?;
            staged.write(&scene.kept(&format!("{name}.json")), "stages")?;
            Ok(staged)
        };
        let alone = played(1)?.silver_per_second;
        for (count, comparison) in MORE.iter().zip(&mut comparisons) {
            comparison.round(played(*count)?.silver_per_second, alone);
        }
    }
    Ok(Found {
        comparisons,
        notes: notes(&[
            "The lake is on an S3 server of this machine, the topic has 4 partitions. All workers, Kafka and the S3 server share the cores of one machine: what more machines would do is not to be seen here, only that workers do not stand in each other's way.",
            &format!(
                "The bucket is {BUCKET}, emptied before each count; measured from when the last worker is ready, less what the others have done by then."
            ),
        ]),
    })
}
