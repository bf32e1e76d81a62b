//! The gate's note beside an event: what is read is written, and reads as the same again; erased, it holds no content.
#![no_main]

use contract::trace::Traceparent;
use contract::{Receipt, WireFormat};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(found) = Traceparent::sampled_of(bytes) {
        assert_eq!(found.to_string().parse::<Traceparent>(), Ok(found));
    }
    let Ok(mut receipt) = Receipt::from_bytes(bytes) else { return };
    let written = receipt.to_bytes().expect("what was read can be written");
    let again = Receipt::from_bytes(&written).expect("what is written can be read");
    assert_eq!(again.to_bytes().expect("and again"), written);
    assert_eq!(Receipt::newer_version(&written), None);

    let identity = (receipt.source.clone(), receipt.event_id.clone(), receipt.received_at);
    receipt.erase();
    assert_eq!(receipt.format, WireFormat::Erased);
    assert!(receipt.envelope.is_none() && receipt.client_ip.is_none() && receipt.user_agent.is_none());
    assert_eq!((receipt.source, receipt.event_id, receipt.received_at), identity);
});
