//! How much memory a reader takes for input that lies: in proportion to what was really sent.
//!
//! A binary of its own, for its allocator counts; one test, for it counts the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

use celeriac_core::codec::{Limits, json, msgpack};
use celeriac_core::compress::Method;
use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::{body, envelope, result_meta};
use serde::de::IgnoredAny;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; what is counted touches no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that were held at once while `work` ran, beyond those before.
fn taken(work: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    work();
    MOST.load(Ordering::Relaxed) - before
}

/// Texts that promise more than they hold, or hold as much trouble as a byte can.
fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let many = 200_000;
    let mut array32 = vec![0xDD, 0xFF, 0xFF, 0xFF, 0xFF];
    array32.extend(vec![0xC0; many]);
    let mut nested32 = Vec::new();
    for _ in 0..400 {
        nested32.extend([0xDD, 0x00, 0x03, 0x0D, 0x40]);
    }
    nested32.extend(vec![0xC0; many]);
    vec![
        ("brackets", "[".repeat(many).into_bytes()),
        ("objects", "{\"a\":".repeat(many).into_bytes()),
        (
            "escapes",
            format!("\"{}\"", "\\ud83d\\ude00".repeat(many / 12)).into_bytes(),
        ),
        ("digits", "9".repeat(many).into_bytes()),
        ("elements", format!("[{}1]", "1,".repeat(many / 2)).into_bytes()),
        (
            "members",
            format!("{{{}\"a\":1}}", "\"a\":1,".repeat(many / 6)).into_bytes(),
        ),
        (
            "headers",
            format!("{{\"headers\": {{{}\"a\":1}}}}", "\"a\":1,".repeat(many / 6)).into_bytes(),
        ),
        ("a long array", array32),
        ("long arrays in each other", nested32),
        (
            "a long text",
            [&[0xDB, 0xFF, 0xFF, 0xFF, 0xFF][..], &vec![b'x'; many]].concat(),
        ),
    ]
}

#[test]
fn a_reader_takes_memory_for_what_was_sent_and_not_for_what_was_promised() {
    for (name, lie) in lies() {
        let limits = Limits::default();
        let taken = taken(|| {
            json::from_slice(&lie, PhantomData::<IgnoredAny>, limits).ok();
            msgpack::from_slice(&lie, PhantomData::<IgnoredAny>, limits).ok();
            envelope::decode(&lie).ok();
            envelope::mark_redelivered(&lie).ok();
            Peek::parse(&lie).ok();
            body::split(&lie).ok();
            result_meta::status(&lie).ok();
        });
        // A member's name and value are kept as two slices: 40 bytes for six of the text.
        assert!(
            taken < 20 * lie.len() + 65_536,
            "{name}: {taken} bytes for {}",
            lie.len()
        );
    }
    for method in Method::ALL {
        let bomb = method.compress(&vec![0; 8 << 20]).unwrap();
        let taken = taken(|| drop(method.decompress(&bomb, 1 << 18).unwrap_err()));
        // Its own tables besides: bzip2 takes 4 MB of them.
        assert!(taken < 8 << 20, "{method:?}: {taken} bytes for {}", bomb.len());
    }
    for (method, greedy) in [
        // A window of 2 GiB, and one of 128 MiB, for three bytes.
        (Method::Zstd, &b"\x28\xb5\x2f\xfd\x00\xa8\x19\x00\x00abc"[..]),
        (Method::Zstd, &b"\x28\xb5\x2f\xfd\x00\x88\x19\x00\x00abc"[..]),
        // Windows of 2^30 (large) and 2^24.
        (Method::Brotli, &b"\x11\x1e\x00\x00\x00\x00\x00\x00"[..]),
        (Method::Brotli, &b"\x0f\x02\x80abc\x03"[..]),
    ] {
        let taken = taken(|| drop(method.decompress(greedy, 1 << 20)));
        assert!(taken < 24 << 20, "{method:?}: {taken} bytes for {greedy:?}");
    }
}
