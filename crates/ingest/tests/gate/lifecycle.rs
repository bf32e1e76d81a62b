//! Coming and going, of the gate and of clients.

use std::time::Duration;

use ingest::Error;

use crate::support::{Fault, Request, Server, event};

#[tokio::test]
async fn a_closing_gate_finishes_what_it_took_and_takes_no_more() {
    let server = Server::start().await;
    let bytes = Request::events(event("1")).bytes();
    let (most, last) = bytes.split_at(bytes.len() - 1);
    let mut begun = server.connect().await;
    begun.write(most).await;
    let mut idle = server.connect().await;
    idle.send(Request::events(event("0"))).await.taken(1);
    while server.gate.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(idle.send(Request::get("/readyz")).await.status, 200);

    server.gate.shutdown();
    assert_eq!(idle.send(Request::get("/readyz")).await.status, 503);
    assert_eq!(idle.send(Request::get("/healthz")).await.status, 200);
    let refused = idle.send(Request::events(event("2"))).await;
    assert_eq!((refused.error(503).as_str(), refused.header("connection")), ("closing", Some("close")));
    assert!(idle.is_closed().await);
    assert_eq!(server.gate.ready(), Err(Error::Closing));
    assert!(tokio::time::timeout(Duration::from_millis(50), server.gate.idle()).await.is_err(), "one is in work");

    begun.write(last).await;
    begun.answer().await.taken(1);
    tokio::time::timeout(Duration::from_secs(5), server.gate.idle()).await.unwrap();
    let ids: Vec<String> = server.kept().await.iter().map(|kept| kept.receipt.event_id.to_string()).collect();
    assert_eq!(ids, ["0", "1"]);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_half_done() {
    let server = Server::start().await;
    // Within the body: nothing was received.
    let bytes = Request::events(event("half")).bytes();
    let mut half = server.connect().await;
    half.write(&bytes[..bytes.len() - 5]).await;
    while server.gate.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(half);
    server.gate.idle().await;
    assert_eq!(server.kept().await.len(), 0);
    // After the body: it is taken as a whole or not at all, and no request stays in work.
    for round in 0..20 {
        let mut gone = server.connect().await;
        gone.write(&Request::events(format!("[{},{}]", event(&format!("a{round}")), event(&format!("b{round}")))).bytes()).await;
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.gate.idle().await;
    let ids: Vec<String> = server.kept().await.iter().map(|kept| kept.receipt.event_id.to_string()).collect();
    assert_eq!(ids.len() % 2, 0, "{ids:?}");
    for pair in ids.chunks(2) {
        assert_eq!(pair[0].replace('a', "b"), pair[1]);
    }
}

#[tokio::test]
async fn a_resend_is_taken_again_under_the_same_identity() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    connection.send(Request::events(event("1"))).await.taken(1);
    connection.send(Request::events(event("1"))).await.taken(1);
    let kept = server.kept().await;
    assert_eq!((kept.len(), kept[0].payload == kept[1].payload), (2, true), "telling copies is not the gate's business");
}

#[tokio::test]
async fn many_clients_at_once_all_get_what_is_true() {
    let server = Server::start().await;
    let clients = (0..16).map(|client| {
        let server = &server;
        async move {
            let mut connection = server.connect().await;
            for number in 0..10 {
                let events: Vec<String> = (0..5).map(|part| event(&format!("{client}-{number}-{part}"))).collect();
                connection.send(Request::events(events.join("\n"))).await.taken(5);
            }
        }
    });
    futures::future::join_all(clients).await;
    let mut ids: Vec<String> = server.kept().await.iter().map(|kept| kept.receipt.event_id.to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), server.gate.in_flight()), (800, 0));
}

#[tokio::test]
async fn a_closed_journal_sends_clients_elsewhere() {
    let server = Server::start().await;
    server.medium.set(Fault::Closed);
    assert_eq!(server.send(Request::events(event("1"))).await.error(503), "closing");
}

#[tokio::test]
async fn a_client_that_goes_while_the_journal_writes_does_not_stop_it() {
    let server = Server::start().await;
    server.medium.set(Fault::Stalled);
    let mut gone = server.connect().await;
    gone.write(&Request::events(event("1")).bytes()).await;
    while server.medium.appends_begun() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(gone);
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.gate.shutdown();
    assert_eq!(server.gate.in_flight(), 1);
    server.medium.set(Fault::None);
    server.gate.idle().await;
    assert_eq!(server.kept().await.len(), 1);
}
