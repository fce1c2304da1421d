//! Bodies: `[args, kwargs, embed]`, put together and taken apart without decoding the arguments.

use crate::codec::json::raw;
use crate::error::{Error, Result};

/// The embed object of a task without callbacks, chain or chord, as JSON.
pub const DEFAULT_EMBED: &[u8] = br#"{"callbacks": null, "errbacks": null, "chain": null, "chord": null}"#;

/// The same as MessagePack.
pub const DEFAULT_EMBED_MSGPACK: &[u8] = b"\x84\xA9callbacks\xC0\xA8errbacks\xC0\xA5chain\xC0\xA5chord\xC0";

/// The three parts of a JSON body, each as its own JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Positional arguments (an array in what Celery sends).
    pub args: &'a [u8],
    /// Keyword arguments (an object in what Celery sends).
    pub kwargs: &'a [u8],
    /// Callbacks, errbacks, chain and chord (an object or null).
    pub embed: &'a [u8],
}

/// Puts a JSON body together from encoded parts.
pub fn join(args: &[u8], kwargs: &[u8], embed: &[u8]) -> Vec<u8> {
    [b"[".as_slice(), args, b", ", kwargs, b", ", embed, b"]"].concat()
}

/// Puts a MessagePack body together from encoded parts.
pub fn join_msgpack(args: &[u8], kwargs: &[u8], embed: &[u8]) -> Vec<u8> {
    [b"\x93".as_slice(), args, kwargs, embed].concat()
}

/// Puts a JSON embed object together; each member is JSON text (`null` where there is none).
pub fn embed(callbacks: &[u8], errbacks: &[u8], chain: &[u8], chord: &[u8]) -> Vec<u8> {
    [
        br#"{"callbacks": "#.as_slice(),
        callbacks,
        br#", "errbacks": "#,
        errbacks,
        br#", "chain": "#,
        chain,
        br#", "chord": "#,
        chord,
        b"}",
    ]
    .concat()
}

/// Whether a JSON body asks for nothing after its task, seen from its end and without decoding it:
/// `chord` comes last. One that does not end so may still ask for nothing.
pub fn ends_plainly(body: &[u8]) -> bool {
    body.strip_suffix(b"]")
        .and_then(|body| body.strip_suffix(DEFAULT_EMBED))
        .is_some_and(|body| body.ends_with(b", "))
}

/// Takes a JSON body apart.
///
/// # Errors
/// [`Error::Malformed`] when it is not an array of exactly three elements (a Celery worker exits
/// on such a message, so we must never send one).
pub fn split(body: &[u8]) -> Result<Parts<'_>> {
    let elements = raw::elements(body)?;
    let [args, kwargs, embed] = elements[..] else {
        return Err(Error::Malformed {
            what: "body",
            detail: format!(
                "expected [args, kwargs, embed], found {} elements",
                elements.len()
            ),
        });
    };
    Ok(Parts {
        args: args.as_bytes(),
        kwargs: kwargs.as_bytes(),
        embed: embed.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_asks_for_something_after_its_task_does_not_end_plainly() {
        assert!(ends_plainly(&join(b"[1]", b"{}", DEFAULT_EMBED)));
        let chain = embed(b"null", b"null", b"[{}]", b"null");
        assert!(!ends_plainly(&join(b"[1]", b"{}", &chain)));
        assert!(!ends_plainly(DEFAULT_EMBED));
        assert!(!ends_plainly(b""));
    }

    #[test]
    fn a_body_comes_apart_into_what_it_was_made_of() {
        let body = join(b"[1, \"a]\"]", b"{\"k\": [{}]}", DEFAULT_EMBED);
        let parts = split(&body).unwrap();
        assert_eq!(parts.args, b"[1, \"a]\"]");
        assert_eq!(parts.kwargs, b"{\"k\": [{}]}");
        assert_eq!(parts.embed, DEFAULT_EMBED);
    }

    #[test]
    fn a_body_of_two_elements_is_malformed() {
        assert!(matches!(
            split(b"[[1, 2], {}]"),
            Err(Error::Malformed { what: "body", .. })
        ));
    }

    #[test]
    fn an_embed_of_nulls_is_the_default_one() {
        assert_eq!(embed(b"null", b"null", b"null", b"null"), DEFAULT_EMBED);
    }
}
