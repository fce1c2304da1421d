//! Compression: a bomb is refused, and what was packed is unpacked.
#![no_main]

use celeriac_core::compress::Method;
use celeriac_fuzz::answered;
use libfuzzer_sys::fuzz_target;

const MAX_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((chosen, rest)) = data.split_first() else { return };
    let method = Method::ALL[usize::from(*chosen) % Method::ALL.len()];
    if let Some(large) = answered(method.decompress(rest, MAX_BYTES)) {
        assert!(large.len() <= MAX_BYTES);
    }
    if chosen & 0x80 != 0 && rest.len() < 4096 {
        let small = method.compress(rest).expect("all can be compressed");
        assert_eq!(method.decompress(&small, rest.len()).expect("and unpacked"), rest);
    }
});
