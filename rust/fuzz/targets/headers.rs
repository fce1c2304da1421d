//! The headers that a worker decides on.
#![no_main]

use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::protocol1;
use celeriac_fuzz::answered;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(peek) = answered(Peek::parse(data)) {
        // What decides is never an empty text, and protocol 2 has an id.
        for text in [&peek.task, &peek.id, &peek.eta, &peek.expires, &peek.compression] {
            assert_ne!(text.as_deref(), Some(""));
        }
        assert!(peek.task.is_none() || peek.id.is_some());
        for limit in [peek.timelimit.0, peek.timelimit.1].into_iter().flatten() {
            assert!(limit >= 0.0, "{limit} seconds");
        }
    }
    let middle = data.len() / 2;
    if let Some(headers) = answered(protocol1::headers(&data[..middle], &data[middle..])) {
        answered(Peek::parse(&headers));
    }
});
