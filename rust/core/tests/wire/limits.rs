//! Limits: depth on a small stack, size, announced lengths.
#![expect(clippy::unwrap_used, reason = "a thread that failed must fail the test")]

use celeriac_core::Error;
use celeriac_core::codec::{Limits, MAX_ENCODED_DEPTH, json, msgpack};
use celeriac_core::wire::{body, headers::Peek};

use crate::value::{Build, Value, from_json, from_msgpack, to_json, to_msgpack};

fn nested(depth: usize) -> Value {
    (1..depth).fold(Value::List(Vec::new()), |inner, _| {
        Value::Map(vec![(Value::Text("k".to_owned()), inner)])
    })
}

/// Runs on a thread with the 2 MB of stack that Rust's and many of Python's threads have.
fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    thread.spawn(work).unwrap().join().unwrap()
}

#[test]
fn the_deepest_value_we_write_is_read_back_inside_a_body_on_a_small_stack() {
    on_a_small_stack(|| {
        let text = to_json(&nested(MAX_ENCODED_DEPTH)).unwrap();
        let body = body::join(&text, b"{}", body::DEFAULT_EMBED);
        assert!(from_json(&body).is_ok());
        assert_eq!(body::split(&body).unwrap().args, text);
        let packed = to_msgpack(&nested(MAX_ENCODED_DEPTH)).unwrap();
        assert_eq!(from_msgpack(&packed).unwrap(), nested(MAX_ENCODED_DEPTH));
    });
}

#[test]
fn a_deeper_value_is_not_encodable() {
    on_a_small_stack(|| {
        let value = nested(MAX_ENCODED_DEPTH + 1);
        assert!(matches!(to_json(&value), Err(Error::Unencodable { .. })));
        assert!(matches!(to_msgpack(&value), Err(Error::Unencodable { .. })));
    });
}

#[test]
fn a_million_open_brackets_are_malformed_not_a_crash() {
    on_a_small_stack(|| {
        let lists = "[".repeat(1_000_000);
        let maps = "{\"a\":".repeat(1_000_000);
        for text in [lists.as_bytes(), maps.as_bytes()] {
            assert!(matches!(from_json(text), Err(Error::Malformed { .. })));
            let headers = [b"{\"task\": \"t\", \"id\": ", text].concat();
            assert!(matches!(Peek::parse(&headers), Err(Error::Malformed { .. })));
        }
        assert!(matches!(
            from_msgpack(&vec![0x91; 1_000_000]),
            Err(Error::Malformed { .. })
        ));
    });
}

#[test]
fn a_text_beyond_the_size_limit_is_refused_unread() {
    let limits = Limits {
        max_bytes: 4,
        ..Limits::default()
    };
    assert!(json::from_slice(b"1234", Build, limits).is_ok());
    assert!(json::from_slice(b"12345", Build, limits).is_err());
    assert!(msgpack::from_slice(&[0x94, 1, 1, 1, 1], Build, limits).is_err());
}

#[test]
fn a_length_that_the_data_cannot_hold_is_refused_before_anything_is_built() {
    for header in [
        [0xDD, 0xFF, 0xFF, 0xFF, 0xFF],
        [0xDF, 0xFF, 0xFF, 0xFF, 0xFF],
        [0xC6, 0xFF, 0xFF, 0xFF, 0xFF],
    ] {
        assert!(matches!(from_msgpack(&header), Err(Error::Malformed { .. })));
    }
}

#[test]
fn extension_types_and_text_that_is_not_utf8_are_malformed() {
    assert!(from_msgpack(&[0xD4, 1, 0]).is_err());
    assert!(from_msgpack(&[0xA1, 0xFF]).is_err());
}

#[test]
fn an_error_names_the_byte() {
    let error = from_json(b"[1, 2, oops]").unwrap_err().to_string();
    assert_eq!(error, "malformed json: expected a value, found 'o' at byte 7");
}
