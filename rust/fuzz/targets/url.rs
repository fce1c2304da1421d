//! URLs: read or refused; a password never shows; with its options in its query it is the same URL.
#![no_main]

use celeriac_core::Error;
use celeriac_core::broker::url::{BrokerUrl, redacted};
use libfuzzer_sys::fuzz_target;

/// What no scheme, host, option or message of ours contains.
const SECRET: &str = "S3CR3Tq";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    look(text);
    // The same text as the password of a URL that is whole otherwise, and around a secret.
    for scheme in ["redis", "amqp", "sentinel", "redis+socket"] {
        let url = format!("{scheme}://user:{SECRET}{text}@host/1");
        assert!(!redacted(&url).contains(SECRET), "{url}");
        if let Err(error) = BrokerUrl::parse(&url, Vec::new()) {
            assert!(!error.to_string().contains(SECRET), "{url}: {error}");
        }
    }
});

fn look(text: &str) {
    let _ = redacted(text);
    let url = match BrokerUrl::parse(text, Vec::new()) {
        Ok(url) => url,
        Err(Error::BadUrl { .. }) => return,
        Err(other) => panic!("an error that does not blame the URL: {other}"),
    };
    let again = BrokerUrl::parse(&url.with_options(), Vec::new()).expect("the same URL");
    assert_eq!((again.host(), again.port()), (url.host(), url.port()));
    assert_eq!((again.path(), again.db()), (url.path(), url.db()));
    assert_eq!((again.vhost(), again.server()), (url.vhost(), url.server()));
    assert_eq!((again.username(), again.password()), (url.username(), url.password()));
    let _ = (format!("{url:?}"), url.not_honoured());
}
