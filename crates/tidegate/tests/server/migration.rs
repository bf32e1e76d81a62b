//! A laptop trial grows into production: what the embedded journal still holds goes to Kafka, and the lake goes on.

use servers::Kafka;

use crate::process::{Place, text};
use crate::traffic::{Load, Traffic, check_silver};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_journal_moves_to_kafka_without_losing_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(folder.path()).unwrap();
    let load = Load { batch: 20, rate: 0, events: 4_000 };
    let place = Place::new();
    let server = place.start();
    let told = Traffic::start(vec![place.url()], load).finish().await;
    server.stop(&place);
    // Taken, and not in the lake: no stage runs. These are copies, which must stay so.
    let gate_only = place.start_with(&[("TIDEGATE_SERVER__ROLES", "ingest")]);
    Traffic::start(vec![place.url()], load).finish().await;
    gate_only.stop(&place);
    let bronze = place.number("SELECT count(*) FROM bronze.events");

    let brokers = ("TIDEGATE_JOURNAL__KAFKA__BROKERS".to_owned(), kafka.bootstrap().to_owned());
    let copy = |generation: &str| {
        let settings = [brokers.clone(), ("TIDEGATE_JOURNAL__KAFKA__GENERATION".to_owned(), generation.to_owned())];
        place.run_with(&["journal", "copy"], &settings)
    };
    let refused = copy("1");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("set journal.kafka.generation = 2"), "{}", text(&refused.stderr));
    let copied = copy("2");
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    assert!(text(&copied.stderr).contains(" records copied to the topic tidegate.events as generation 2, 0 were there already"));
    // Begun again it copies nothing.
    assert!(text(&copy("2").stderr).contains("0 records copied"));

    let settings = [("TIDEGATE_JOURNAL__KIND", "kafka"), (&brokers.0, &brokers.1), ("TIDEGATE_JOURNAL__KAFKA__GENERATION", "2")];
    let server = place.start_with(&settings);
    place.wait_for("SELECT count(*) FROM bronze.events", 2 * bronze);
    place.wait_for("SELECT count(*) FROM silver.events", 4_000);
    server.stop(&place);
    check_silver(&place, &told);
    place.run_sound(&["audit"]);

    // Whoever starts the old journal on this lake is told.
    let old = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(old.status.code(), Some(1));
    assert!(text(&old.stderr).contains("this journal is generation 1") || text(&old.stdout).contains("this journal is generation 1"));
}
