//! JSON: what is read is written, and read again, as the same; skipping accepts what reading accepts.
#![no_main]

use celeriac_core::codec::{Limits, json};
use celeriac_core::wire::body;
use celeriac_fuzz::answered;
use libfuzzer_sys::fuzz_target;
use value::{Build, Value, from_json, to_json};

#[path = "../../core/tests/wire/value.rs"]
#[allow(dead_code)]
mod value;

fuzz_target!(|data: &[u8]| {
    let read = answered(from_json(data));
    let wide = answered(json::from_slice_wide(data, Build, Limits::default()));
    assert_eq!(read.is_some(), wide.is_some());
    // A body is one level deeper, so that only what nests less than the limit can be compared.
    let wrapped = [b"[", data, b", 0, 0]"].concat();
    if let (Some(value), Ok(parts)) = (&read, body::split(&wrapped)) {
        assert_eq!(parts.kwargs, b"0", "{value:?}");
    }
    let Some(value) = read else { return };
    let Ok(text) = to_json(&value) else { return };
    assert!(text.is_ascii());
    let again = from_json(&text).expect("what we write can be read");
    // NaN equals nothing, itself included.
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
    assert_eq!(matches!(value, Value::Map(_)), text.starts_with(b"{"));
});
