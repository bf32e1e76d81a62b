use proptest::prelude::*;

use super::*;

fn record(header: &[u8], value: &[u8]) -> Record {
    Record { key: [7; 16], header: Bytes::copy_from_slice(header), value: Bytes::copy_from_slice(value) }
}

fn group(salt: u64, at: u64, records: &[Record]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.begin(salt, at);
    for (offset, record) in records.iter().enumerate() {
        encoder.push(3, offset as u64, record);
    }
    encoder.finish().to_vec()
}

/// All records of sound frames from the front on.
fn decode(salt: u64, mut at: u64, bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut rest = Bytes::copy_from_slice(bytes);
    while let Some(head) = rest.first_chunk().and_then(|header| Head::read(salt, at, header)) {
        let Some(body) = rest.get(HEADER_BYTES..HEADER_BYTES + head.body_bytes()) else { break };
        if !head.covers(body) {
            break;
        }
        let mut frame = rest.split_to(HEADER_BYTES + head.body_bytes()).split_off(HEADER_BYTES);
        at += (HEADER_BYTES + head.body_bytes()) as u64;
        for _ in 0..head.records() {
            entries.push(take_entry(&mut frame).unwrap());
        }
        assert!(frame.is_empty());
    }
    entries
}

#[test]
fn large_groups_are_several_frames() {
    let records = vec![record(b"h", &[1; 50_000]); 7];
    let bytes = group(1, 64, &records);
    assert!(bytes.len() <= encoded_bytes_max(7, 7 * 50_001));
    assert_eq!(bytes.windows(4).filter(|window| *window == MAGIC.to_le_bytes()).count(), 3);
    assert_eq!(decode(1, 64, &bytes).len(), 7);
}

#[test]
fn a_frame_is_sound_only_where_it_was_written() {
    let bytes = group(1, 64, &[record(b"h", b"v")]);
    assert_eq!(decode(1, 64, &bytes).len(), 1);
    assert_eq!(decode(1, 65, &bytes).len(), 0);
    assert_eq!(decode(2, 64, &bytes).len(), 0);
}

#[test]
fn an_empty_group_is_one_empty_frame() {
    let bytes = group(1, 64, &[]);
    assert_eq!(bytes.len(), HEADER_BYTES);
    assert!(Head::read(1, 64, bytes.first_chunk().unwrap()).unwrap().covers(&[]));
}

#[test]
fn a_tear_is_told_from_damage() {
    let first = group(1, 64, &vec![record(b"h", &[1; 100_000]); 4]);
    let second = group(1, 64 + first.len() as u64, &[record(b"", b"later")]);
    let frame_bytes = HEADER_BYTES + 2 * (RECORD_BYTES + 100_001);

    // Pages of one group may reach the disk in any order: its first frame is torn though its second is whole.
    let mut torn = first.clone();
    torn[100] ^= 1;
    assert_eq!(tear(1, 64, &torn), None);
    assert_eq!(tear(1, 64, &torn[..frame_bytes]), None);
    assert_eq!(tear(1, 64, &[0; 1000]), None);
    assert_eq!(tear(1, 64, &[]), None);

    // A later group was written only after the first had been made durable.
    let damaged = [torn, second].concat();
    assert_eq!(tear(1, 64, &damaged), Some(64 + first.len() as u64));
    assert_eq!(tear(1, 64 + frame_bytes as u64, &damaged[frame_bytes..]), Some(64 + first.len() as u64));
}

#[test]
fn a_payload_cannot_pass_for_a_frame() {
    let forged = group(0, 64 + (HEADER_BYTES + RECORD_BYTES) as u64, &[record(b"", b"forged")]);
    let mut bytes = group(1, 64, &[record(b"", &forged)]);
    bytes.truncate(bytes.len() - 1);
    assert_eq!(tear(1, 64, &bytes), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_is_decoded(
        salt: u64,
        at in 0u64..1 << 40,
        contents in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..3000).prop_map(|value| value.repeat(25))), 1..10),
    ) {
        let records: Vec<Record> = contents.iter().map(|(header, value)| record(header, value)).collect();
        let entries = decode(salt, at, &group(salt, at, &records));
        prop_assert_eq!(entries.len(), records.len());
        for (offset, (entry, record)) in entries.iter().zip(&records).enumerate() {
            prop_assert_eq!((entry.partition, entry.offset, entry.key), (3, offset as u64, record.key));
            prop_assert_eq!((&entry.header, &entry.value), (&record.header, &record.value));
        }
    }

    #[test]
    fn no_flipped_bit_goes_unseen(byte in 0usize..300, bit in 0u8..8) {
        let mut bytes = group(9, 64, &[record(b"header", &[5; 200])]);
        let byte = byte % bytes.len();
        bytes[byte] ^= 1 << bit;
        prop_assert_eq!(decode(9, 64, &bytes).len(), 0);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode(1, 64, &bytes);
        tear(1, 64, &bytes);
        while take_entry(&mut Bytes::from(bytes.clone())).is_some_and(|entry| entry.value.len() > bytes.len()) {}
    }
}
