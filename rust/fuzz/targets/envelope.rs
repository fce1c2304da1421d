//! kombu's envelope: read, written, marked as restored.
#![no_main]

use celeriac_core::wire::envelope;
use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::message::Outgoing;
use celeriac_core::wire::protocol1;
use celeriac_fuzz::answered;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let decoded = answered(envelope::decode(data));
    let marked = answered(envelope::mark_redelivered(data));
    let Some(decoded) = decoded else { return };
    // Whoever restores a message must not make another one of it.
    let peek = answered(Peek::parse(&decoded.message.headers));
    assert!(marked.is_some() || peek.is_none(), "what may be executed can be given back");
    if let Some(marked) = marked {
        let again = envelope::decode(&marked).expect("what is restored can be read");
        assert_eq!(again.message.body, decoded.message.body);
        assert_eq!(again.message.properties, decoded.message.properties);
        assert_eq!(again.target, decoded.target);
    }
    if let Some(translated) = protocol1::read(&decoded.message) {
        answered(Peek::parse(&translated.headers));
    }
    let outgoing = Outgoing {
        message: decoded.message,
        target: decoded.target,
        mandatory: None,
    };
    let again = envelope::decode(&envelope::encode(&outgoing)).expect("what we write can be read");
    let mut sent = outgoing.message;
    sent.properties.priority = sent.properties.priority.or(Some(0));
    assert_eq!(again.message, sent);
    assert_eq!(again.target, outgoing.target);
});
