//! Compression as a whole: an inverse, deaf to noise, and never larger than allowed.

use celeriac_core::compress::{DEFAULT_MAX_BYTES, Method, unpacked};
use proptest::prelude::*;

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(Method::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_compressed_comes_back(method in method(), data in prop::collection::vec(any::<u8>(), 0..4096)) {
        let small = method.compress(&data).unwrap();
        prop_assert_eq!(method.decompress(&small, data.len()).unwrap(), data);
    }

    #[test]
    fn noise_is_refused_or_read_but_never_panics(method in method(), noise in prop::collection::vec(any::<u8>(), 0..512)) {
        let _read_or_refused = method.decompress(&noise, 1 << 20).is_ok();
    }

    #[test]
    fn one_changed_byte_never_panics_and_never_exceeds_the_limit(
        method in method(),
        data in prop::collection::vec(0_u8..4, 1..2048),
        place in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let mut small = method.compress(&data).unwrap();
        let place = place.index(small.len());
        small[place] ^= change;
        if let Ok(read) = method.decompress(&small, 4096) {
            prop_assert!(read.len() <= 4096);
        }
    }

    #[test]
    fn no_more_than_the_limit_is_ever_given_back(method in method(), size in 0_usize..100_000, limit in 0_usize..100_000) {
        let small = method.compress(&vec![b'a'; size]).unwrap();
        let read = method.decompress(&small, limit);
        prop_assert_eq!(read.is_ok(), size <= limit);
    }
}

#[test]
fn a_name_that_no_method_has_is_an_error_that_says_the_name() {
    let error = unpacked(b"x", Some("application/x-lz5"), DEFAULT_MAX_BYTES).unwrap_err();
    assert!(error.to_string().contains("application/x-lz5"), "{error}");
    assert_eq!(&*unpacked(b"x", None, 0).unwrap(), b"x");
}
