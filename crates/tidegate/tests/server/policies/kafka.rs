//! The ACLs for Kafka.

use std::fs::File;
use std::process::{Output, Stdio};

use servers::{Kafka, S3, Secure};

use super::{ALICE, EVENTS, OF_ALICE, check_quiet, check_refused, is_refusal, lake, said, send, start_s3, wait_for_silver, wait_until};
use crate::process::{Place, text};

const TOPIC: &str = "tidegate.events";
const GROUP: &str = "tidegate";

const GATE: &str = include_str!("../../../../../deploy/policies/kafka/gate.acl");
const GATE_SPOOL: &str = include_str!("../../../../../deploy/policies/kafka/gate-spool.acl");
const WORKER: &str = include_str!("../../../../../deploy/policies/kafka/worker.acl");
const WORKER_ERASURE: &str = include_str!("../../../../../deploy/policies/kafka/worker-erasure.acl");
const OPERATOR: &str = include_str!("../../../../../deploy/policies/kafka/operator.acl");
const SPARK: &str = include_str!("../../../../../deploy/policies/kafka/spark.acl");

/// The lines of a list of ACLs as `kafka-acls.sh` takes them.
fn acls(list: &str) -> Vec<String> {
    let names = [
        ("GATE_USER", "gate"),
        ("WORKER_USER", "worker"),
        ("OPERATOR_USER", "operator"),
        ("SPARK_USER", "spark"),
        ("KAFKA_TOPIC", TOPIC),
        ("KAFKA_GROUP", GROUP),
    ];
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| names.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value))).collect()
}

/// Applies lists of ACLs.
fn allow(kafka: &Kafka, lists: &[&str]) {
    for line in lists.iter().flat_map(|list| acls(list)) {
        kafka.acls(&line).unwrap();
    }
}

/// Settings of a process that is known to both as this account.
fn deployed(kafka: &Kafka, s3: &S3, account: &str) -> Vec<(String, String)> {
    let secure = kafka.secure().unwrap();
    let mut settings = lake(s3, account);
    let own = [
        ("KIND", "kafka".to_owned()),
        ("KAFKA__BROKERS", secure.address.clone()),
        ("KAFKA__SESSION_TIMEOUT", "6s".to_owned()),
        ("KAFKA__SECURITY__PROTOCOL", "sasl_ssl".to_owned()),
        ("KAFKA__SECURITY__CA_FILE", secure.authority.display().to_string()),
        ("KAFKA__SECURITY__MECHANISM", "scram_sha_256".to_owned()),
        ("KAFKA__SECURITY__USERNAME", account.to_owned()),
        ("KAFKA__SECURITY__PASSWORD", Secure::password_of(account)),
    ];
    settings.extend(own.map(|(name, value)| (format!("TIDEGATE_JOURNAL__{name}"), value)));
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_for_kafka_are_enough_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = start_s3(folder.path());
    let kafka = Kafka::start_authorized(&folder.path().join("kafka"), &["gate", "worker", "operator", "spark"]).unwrap();
    let of = |account: &str| Place::with(deployed(&kafka, &s3, account));
    let (gate, worker, operator) = (of("gate"), of("worker"), of("operator"));
    let reader = Place::with(lake(&s3, "reader"));
    let (ingest, pipeline) = ([("TIDEGATE_SERVER__ROLES", "ingest")], [("TIDEGATE_SERVER__ROLES", "pipeline")]);
    let tool = |account: &str, class: &str, arguments: &[&str]| {
        let mut tool = kafka.tool_of(account, &format!("org.apache.kafka.tools.{class}")).unwrap();
        tool.args(arguments).stdin(Stdio::null()).output().unwrap()
    };
    let read = |account: &str| {
        let from = ["--topic", TOPIC, "--partition", "0", "--offset", "earliest", "--max-messages", "1", "--timeout-ms", "20000"];
        tool(account, "consumer.ConsoleConsumer", &from)
    };

    // An operator makes the topic: by starting the program once, or with Kafka's own tool.
    allow(&kafka, &[GATE]);
    check_refused("a gate makes the topic", &gate.run_with(&["serve", "--listen", "127.0.0.1:0"], &owned(&ingest)));
    allow(&kafka, &[OPERATOR]);
    operator.start_with(&ingest).stop(&operator);
    check_quiet("the operator", &operator.log());
    allow(&kafka, &[WORKER, SPARK]);

    // No more.
    let refused = |what: &str, output: &Output| assert!(is_refusal(&said(output)), "{what}: {}", said(output));
    refused("a gate reads", &read("gate"));
    refused("an operator reads", &read("operator"));
    let delete = ["--delete", "--topic", TOPIC];
    refused("a gate deletes the topic", &tool("gate", "TopicCommand", &delete));
    refused("a worker deletes the topic", &tool("worker", "TopicCommand", &delete));
    refused("an operator makes another topic", &tool("operator", "TopicCommand", &["--create", "--topic", "others"]));
    refused("a worker makes a topic", &tool("worker", "TopicCommand", &["--create", "--topic", "others"]));
    let line = folder.path().join("line");
    std::fs::write(&line, "not an event\n").unwrap();
    let mut writing = kafka.tool_of("worker", "org.apache.kafka.tools.ConsoleProducer").unwrap();
    refused("a worker writes", &writing.args(["--topic", TOPIC]).stdin(File::open(&line).unwrap()).output().unwrap());

    // Enough: the events of a gate come into Silver, and a person out of all of it.
    allow(&kafka, &[GATE_SPOOL, WORKER_ERASURE]);
    let (taking, working) = (gate.start_with(&ingest), worker.start_with(&pipeline));
    send(&gate).await;
    wait_for_silver(&reader, EVENTS);
    assert!(text(&read("gate").stdout).contains("page_view"), "with the right to read, the same question is answered");
    operator.run_sound(&["erase", "--user", ALICE, "--yes"]);
    wait_for_silver(&reader, EVENTS - OF_ALICE);
    reader.run_sound(&["audit"]);
    working.stop(&worker);
    taking.stop(&gate);
    check_quiet("the gate", &gate.log());
    check_quiet("the worker", &worker.log());

    // Each right is needed, and what is said tells which one is missing.
    for line in acls(WORKER_ERASURE).iter().chain(&acls(GATE_SPOOL)) {
        kafka.acls(&format!("{} --force", line.replace("--add", "--remove"))).unwrap();
    }
    let told = |place: &Place| said(&place.run(&["doctor", "--format", "csv"]));
    for (account, operation, place, expect) in [
        ("gate", "DescribeConfigs", &gate, "needs DescribeConfigs on the topic"),
        ("gate", "Write", &gate, "may not describe it"),
        ("worker", "DescribeConfigs", &worker, "needs DescribeConfigs on the topic"),
        ("worker", "Read", &worker, "may not describe it"),
    ] {
        let right = format!("--allow-principal User:{account} --operation {operation} --topic {TOPIC}");
        assert!(!told(place).contains(expect), "{account} has {operation}");
        kafka.acls(&format!("--remove --force {right}")).unwrap();
        wait_until(&format!("{account} misses {operation}"), || told(place).contains(expect));
        kafka.acls(&format!("--add {right}")).unwrap();
        wait_until(&format!("{account} has {operation} again"), || !told(place).contains(expect));
    }
    let before = worker.log().len();
    let says = |what: &str| worker.log().get(before..).is_some_and(|log| log.contains(what));
    kafka.acls(&format!("--remove --force --allow-principal User:worker --operation Read --group {GROUP}")).unwrap();
    let alone = worker.spawn(&pipeline);
    wait_until("a worker tells that the group refuses it", || says("may not join the consumer group"));
    assert!(!says("the consumer group gives partitions"), "{}", worker.log());
    // What was missing is noticed without a restart.
    allow(&kafka, &[WORKER]);
    wait_until("a worker that may join is given partitions", || says("the consumer group gives partitions"));
    alone.stop(&worker);
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
