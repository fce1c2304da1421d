//! ISO-8601: what is read lies within the years 1 to 9999, give or take an offset.
#![no_main]

use celeriac_core::wire::times::parse_iso;
use celeriac_fuzz::answered;
use libfuzzer_sys::fuzz_target;

const DAY_MS: i64 = 86_400_000;
const FIRST_MS: i64 = -62_135_596_800_000;
const LAST_MS: i64 = 253_402_300_800_000;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(time) = answered(parse_iso(text)) {
        // A week date may begin in the year before, and an hour 24 is the next day.
        let around = FIRST_MS - 8 * DAY_MS..=LAST_MS + 8 * DAY_MS;
        assert!(around.contains(&time.unix_ms), "{text:?} {time:?}");
    }
});
