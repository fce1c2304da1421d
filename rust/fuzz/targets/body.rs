//! Bodies, as one text and by their parts, of both protocols.
#![no_main]

use bytes::Bytes;
use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::message::{Message, Properties};
use celeriac_core::wire::{body, protocol1};
use celeriac_fuzz::answered;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(parts) = answered(body::split(data)) {
        let joined = body::join(parts.args, parts.kwargs, parts.embed);
        assert_eq!(body::split(&joined).expect("what we join can be split"), parts);
    }
    let message = Message {
        headers: Bytes::from_static(b"{}"),
        properties: Properties {
            content_type: "application/json".to_owned(),
            content_encoding: "utf-8".to_owned(),
            correlation_id: None,
            reply_to: None,
            delivery_mode: 2,
            priority: None,
            expiration: None,
            delivery_tag: String::new(),
            extra: Vec::new(),
        },
        body: Bytes::copy_from_slice(data),
    };
    if let Some(translated) = protocol1::read(&message) {
        answered(Peek::parse(&translated.headers));
        body::split(&translated.body).expect("a translated body has three parts");
    }
});
