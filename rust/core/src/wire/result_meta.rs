//! Result documents: what the carrying half needs to know of them.

use crate::codec::json::raw;
use crate::error::{Error, Result};

/// What a compressed document starts with (`result_compression`, Celery 5.7).
pub const COMPRESSED_MAGIC: &[u8] = b"\x00celery-compressed\x00";

/// The content type of the compression of a compressed document, and the compressed bytes.
pub fn compressed(document: &[u8]) -> Option<(&str, &[u8])> {
    let described = document.strip_prefix(COMPRESSED_MAGIC)?;
    let end = memchr::memchr(0, described)?;
    let name = std::str::from_utf8(&described[..end]).ok()?;
    Some((name, &described[end + 1..]))
}

/// The state of a JSON document, read without decoding the rest.
///
/// # Errors
/// [`Error::Malformed`] when there is none, as in a compressed document.
pub fn status(document: &[u8]) -> Result<String> {
    let mut status = None;
    raw::for_each_member(document, |name, value| {
        if name == "status" {
            status = raw::string(value)?;
        }
        Ok(())
    })?;
    status
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| Error::Malformed {
            what: "result",
            detail: "it has no \"status\"".to_owned(),
        })
}

/// Whether nothing follows a state. Source: `celery.states.READY_STATES`.
pub fn is_final(status: &str) -> bool {
    matches!(status, "SUCCESS" | "FAILURE" | "REVOKED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_found_wherever_it_stands() {
        let document = br#"{"result": {"status": "inner"}, "status": "SUCCESS", "task_id": "a"}"#;
        assert_eq!(status(document).unwrap(), "SUCCESS");
    }

    #[test]
    fn a_document_without_status_is_malformed() {
        for document in [&b"{}"[..], b"[]", b"{\"status\": 1}", b"\x80\x04"] {
            assert!(matches!(status(document), Err(Error::Malformed { .. })));
        }
    }

    #[test]
    fn a_compressed_document_says_with_what() {
        assert_eq!(
            compressed(b"\x00celery-compressed\x00application/zstd\x00a\0b"),
            Some(("application/zstd", b"a\0b".as_slice()))
        );
        for other in [
            &b"{}"[..],
            b"\x00celery-compressed\x00",
            b"\x00celery-compressed\x00\xFF\x00",
        ] {
            assert_eq!(compressed(other), None);
        }
    }

    #[test]
    fn only_ready_states_are_final() {
        let states = [
            "SUCCESS", "FAILURE", "REVOKED", "RETRY", "STARTED", "PENDING", "custom",
        ];
        assert_eq!(
            states.map(is_final),
            [true, true, true, false, false, false, false]
        );
    }
}
