//! Result documents: their state, and what they are compressed with.
#![no_main]

use celeriac_core::compress::Method;
use celeriac_core::wire::result_meta;
use celeriac_fuzz::answered;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(status) = answered(result_meta::status(data)) {
        result_meta::is_final(&status);
    }
    if let Some((name, packed)) = result_meta::compressed(data)
        && let Some(method) = Method::named(name)
    {
        let beginning = answered(method.beginning(packed, 64));
        assert!(beginning.is_none_or(|beginning| beginning.len() <= 64));
        let document = answered(method.decompress(packed, 1 << 20));
        assert!(document.is_none_or(|document| document.len() <= 1 << 20));
    }
});
