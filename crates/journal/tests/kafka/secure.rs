//! TLS and a password, to a real listener that asks for both.

use journal::Journal as _;
use journal::kafka::{Config, Kafka, Mechanism, Protocol, Secret, Security};

use crate::support::{Broker, counts, record};

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_a_password_are_used() {
    let broker = Broker::secure();
    let secure = broker.server.secure().unwrap();
    let security = Security {
        protocol: Protocol::SaslSsl,
        ca_file: Some(secure.authority.clone()),
        mechanism: Some(Mechanism::ScramSha256),
        username: Some(secure.user.clone()),
        password: Some(Secret::new(&*secure.password)),
        ..Security::default()
    };
    let config = Config { brokers: vec![secure.address.clone()], security, ..broker.config() };
    let journal = Kafka::open(config.clone()).await.unwrap();
    journal.append((0..100).map(record).collect()).await.unwrap();
    assert_eq!(counts(&journal).await, (0..100).map(|number| (number, 1)).collect());

    let mut wrong = config.clone();
    wrong.security.password = Some(Secret::new("not the password"));
    let error = Kafka::open(wrong).await.unwrap_err().to_string();
    assert!(!error.contains("not the password"), "{error}");
    let mut untrusted = config;
    untrusted.security.ca_file = None;
    Kafka::open(untrusted).await.unwrap_err();
}
