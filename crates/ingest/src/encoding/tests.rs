use std::io::Write as _;

use axum::http::HeaderValue;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;
use crate::admission::Budget;

const CAPS: Caps = Caps { bytes_max: 4 * 1024 * 1024, ratio_max: 250 };

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(plain, 3).unwrap()
}

fn open(packed: &[u8], codings: &[Coding]) -> Result<Vec<u8>, Error> {
    let budget = Budget::new(usize::MAX);
    unpack(Bytes::copy_from_slice(packed), codings, CAPS, &mut budget.share()).map(|bytes| bytes.to_vec())
}

#[test]
fn names_of_encodings() {
    let check = |values: &[&'static str], expect: Result<Vec<Coding>, Error>| {
        let headers = values.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_static(value))).collect();
        assert_eq!(named(&headers), expect, "{values:?}");
    };
    check(&[], Ok(vec![]));
    check(&["identity"], Ok(vec![]));
    check(&["GZip"], Ok(vec![Coding::Gzip]));
    check(&["x-gzip"], Ok(vec![Coding::Gzip]));
    check(&["deflate, br"], Ok(vec![Coding::Deflate, Coding::Brotli]));
    check(&["gzip", "identity, zstd"], Ok(vec![Coding::Gzip, Coding::Zstd]));
    check(&["gzip, gzip, gzip"], Err(Error::UnsupportedEncoding("more than 2 encodings".to_owned())));
    check(&["compress"], Err(Error::UnsupportedEncoding("compress".to_owned())));
}

#[test]
fn what_was_packed_comes_out() {
    let plain = br#"{"event_type":"page_view"}"#.repeat(10);
    let check = |packed: Vec<u8>, codings: &[Coding]| assert_eq!(open(&packed, codings), Ok(plain.clone()), "{codings:?}");
    check(plain.clone(), &[]);
    check(gzip(&plain), &[Coding::Gzip]);
    check(zlib(&plain), &[Coding::Deflate]);
    check(deflate(&plain), &[Coding::Deflate]);
    check(zstd(&plain), &[Coding::Zstd]);
    check(zstd(&gzip(&plain)), &[Coding::Gzip, Coding::Zstd]);
    // Members and frames one after another are one text.
    let (front, back) = plain.split_at(100);
    check([gzip(front), gzip(back)].concat(), &[Coding::Gzip]);
    check([zstd(front), zstd(back)].concat(), &[Coding::Zstd]);
    assert_eq!(
        (sniffed(&gzip(&plain)), sniffed(&zstd(&plain)), sniffed(&plain), sniffed(b"")),
        (Some(Coding::Gzip), Some(Coding::Zstd), None, None)
    );
}

#[test]
fn brotli_of_another_maker_comes_out() {
    // zlib.brotliCompressSync(Buffer.from('{"event_type":"page_view"}'.repeat(10))) of Node.js.
    let packed: &[u8] = &[
        27, 3, 1, 80, 28, 9, 118, 76, 226, 55, 20, 79, 12, 37, 93, 222, 94, 233, 244, 181, 200, 87, 25, 220, 22, 100, 146, 93, 38, 147, 37,
        33, 62, 14, 73, 31, 246, 120, 146, 1,
    ];
    assert_eq!(open(packed, &[Coding::Brotli]), Ok(br#"{"event_type":"page_view"}"#.repeat(10)));
    assert!(matches!(open(&packed[..packed.len() - 1], &[Coding::Brotli]), Err(Error::InvalidEncoding { encoding: "br", .. })));
}

#[test]
fn what_is_cut_off_or_damaged_is_named() {
    let plain = br#"{"event_type":"page_view"}"#.repeat(1000);
    let check = |packed: &[u8], coding: Coding, part: &str| match open(packed, &[coding]) {
        Err(Error::InvalidEncoding { encoding, problem }) => {
            assert_eq!(encoding, coding.name());
            assert!(problem.contains(part), "{coding:?}: {problem}");
        }
        other => panic!("{coding:?}: {other:?}"),
    };
    for (packed, coding) in
        [(gzip(&plain), Coding::Gzip), (zlib(&plain), Coding::Deflate), (deflate(&plain), Coding::Deflate), (zstd(&plain), Coding::Zstd)]
    {
        for length in [1, 3, packed.len() / 2, packed.len() - 1] {
            check(&packed[..length], coding, "");
        }
        check(&packed[..packed.len() / 2], coding, "cut off");
        check(b"{}", coding, "");
        check(&[&packed[..], b"more"].concat(), coding, "");
    }
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli] {
        check(b"", coding, "cut off");
    }
}

#[test]
fn growth_stops_at_the_caps() {
    let zeros = vec![b' '; 5 * 1024 * 1024];
    let too_large = Err(Error::BodyTooLarge { bytes_max: CAPS.bytes_max });
    // Says its size in front.
    assert_eq!(open(&zstd::bulk::compress(&zeros, 3).unwrap(), &[Coding::Zstd]), too_large);
    let ratio = Err(Error::ExpandsTooMuch { ratio_max: 250 });
    assert_eq!(open(&gzip(&zeros), &[Coding::Gzip]), ratio);
    assert_eq!(open(&zlib(&zeros), &[Coding::Deflate]), ratio);
    assert_eq!(open(&zstd(&zeros), &[Coding::Zstd]), ratio);
    assert_eq!(open(&gzip(&gzip(&zeros)), &[Coding::Gzip, Coding::Gzip]), ratio);
    // Up to 1 MiB growth is free.
    assert_eq!(open(&gzip(&zeros[..1024 * 1024]), &[Coding::Gzip]).map(|bytes| bytes.len()), Ok(1024 * 1024));
    // Real text does not grow that much, but may be too large.
    let noise: Vec<u8> = (0..5 * 1024 * 1024_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x7f).collect();
    assert_eq!(open(&gzip(&noise), &[Coding::Gzip]), too_large);
}

#[test]
fn memory_is_asked_for_before_it_is_taken() {
    let budget = Budget::new(1000);
    let mut share = budget.share();
    assert_eq!(unpack(Bytes::from(gzip(&[b' '; 1001])), &[Coding::Gzip], CAPS, &mut share), Err(Error::OutOfMemory));
    assert!(unpack(Bytes::from(gzip(&[b' '; 1000])), &[Coding::Gzip], CAPS, &mut share).is_ok());
    assert_eq!(budget.used(), 1000);
}

#[test]
fn a_window_over_the_bound_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&[b' '; 4096]).unwrap();
    let packed = encoder.finish().unwrap();
    assert!(matches!(open(&packed, &[Coding::Zstd]), Err(Error::InvalidEncoding { encoding: "zstd", .. })));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            let outcome = open(&bytes, &[coding]);
            let foreseen = matches!(outcome, Ok(_) | Err(Error::InvalidEncoding { .. } | Error::BodyTooLarge { .. } | Error::ExpandsTooMuch { .. }));
            prop_assert!(foreseen, "{:?}", outcome);
        }
    }

    #[test]
    fn any_text_survives(plain in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(open(&gzip(&plain), &[Coding::Gzip]), Ok(plain.clone()));
        prop_assert_eq!(open(&zlib(&plain), &[Coding::Deflate]), Ok(plain.clone()));
        prop_assert_eq!(open(&zstd(&plain), &[Coding::Zstd]), Ok(plain));
    }
}
