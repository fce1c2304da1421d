//! MessagePack: what is read is written, and read again, as the same.
#![no_main]

use celeriac_fuzz::answered;
use libfuzzer_sys::fuzz_target;
use value::{from_msgpack, to_msgpack};

#[path = "../../core/tests/wire/value.rs"]
#[allow(dead_code)]
mod value;

fuzz_target!(|data: &[u8]| {
    let Some(value) = answered(from_msgpack(data)) else { return };
    let Ok(packed) = to_msgpack(&value) else { return };
    let again = from_msgpack(&packed).expect("what we write can be read");
    // NaN equals nothing, itself included.
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
});
