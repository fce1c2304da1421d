//! A delivery as it came over the wire, of which only that is read that somebody asks for.

use std::borrow::Cow;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::protocol::basic::parse_properties;
use memchr::memmem;

use super::cursor::Cursor;
use super::table_text::table_text;
use crate::codec::json::append_str;
use crate::error::{Error, Result};
use crate::wire::message::{Message, Properties};

/// What a delivery begins with.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) consumer_tag: String,
    pub(super) delivery_tag: u64,
    pub(super) redelivered: bool,
    pub(super) exchange: String,
    pub(super) routing_key: String,
}

impl Envelope {
    /// Reads the arguments of `basic.deliver`.
    pub(super) fn read(arguments: &[u8]) -> Option<Self> {
        let mut left = Cursor::over(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Self {
            consumer_tag: text(left.short_string()?),
            delivery_tag: left.long_long()?,
            redelivered: left.octet()? & 1 == 1,
            exchange: text(left.short_string()?),
            routing_key: text(left.short_string()?),
        })
    }
}

/// A whole delivery.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) envelope: Envelope,
    pub(super) properties: RawProperties,
    pub(super) body: Bytes,
}

/// The properties of a message as they came: flags, then what they say is there.
#[derive(Clone, Debug)]
pub(super) struct RawProperties(pub(super) Bytes);

/// The same, each found and none read.
#[derive(Default)]
struct Fields<'a> {
    content_type: Option<&'a [u8]>,
    content_encoding: Option<&'a [u8]>,
    headers: Option<&'a [u8]>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    correlation_id: Option<&'a [u8]>,
    reply_to: Option<&'a [u8]>,
    expiration: Option<&'a [u8]>,
    timestamp: Option<u64>,
    /// What Celery never sets itself, by our names for it.
    extra: [(&'static str, Option<&'a [u8]>); 5],
}

impl RawProperties {
    /// Whether one of these headers may be there; only if not, that is sure.
    pub(super) fn may_have(&self, names: &[&str]) -> bool {
        let has = |name: &&str| memmem::find(&self.0, name.as_bytes()).is_some();
        names.iter().any(has)
    }

    /// All of them as lapin has them, which takes a tree and more memory than the message.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(super) fn read(&self) -> Result<BasicProperties> {
        // Refuses what goes too deep for a parser that recurses without a bound.
        self.fields()?.headers()?;
        let (_, properties) = parse_properties(&self.0[..]).map_err(|error| Error::Malformed {
            what: "properties",
            detail: error.to_string(),
        })?;
        Ok(properties)
    }

    /// The message with this body.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(super) fn message(&self, body: Bytes, tag: u64) -> Result<Message> {
        let found = self.fields()?;
        Ok(Message {
            headers: found.headers()?,
            properties: Properties {
                content_type: text(found.content_type)?.unwrap_or_default(),
                content_encoding: text(found.content_encoding)?.unwrap_or_default(),
                correlation_id: text(found.correlation_id)?,
                reply_to: text(found.reply_to)?,
                // AMQP: a message without a mode is transient.
                delivery_mode: found.delivery_mode.unwrap_or(1),
                priority: found.priority,
                expiration: text(found.expiration)?,
                delivery_tag: tag.to_string(),
                extra: found.extra()?,
            },
            body,
        })
    }

    fn fields(&self) -> Result<Fields<'_>> {
        Fields::find(&self.0).ok_or_else(|| malformed("they end before they should"))
    }
}

impl<'a> Fields<'a> {
    fn find(properties: &'a [u8]) -> Option<Self> {
        let mut left = Cursor::over(properties);
        let mut flags = left.short()?;
        let mut is_there = || {
            let is_there = flags & (1 << 15) != 0;
            flags <<= 1;
            is_there
        };
        let mut found = Self::default();
        let short = |left: &mut Cursor<'a>, is_there: bool| {
            if is_there {
                left.short_string().map(Some)
            } else {
                Some(None)
            }
        };
        found.content_type = short(&mut left, is_there())?;
        found.content_encoding = short(&mut left, is_there())?;
        if is_there() {
            found.headers = Some(left.long_string()?);
        }
        if is_there() {
            found.delivery_mode = Some(left.octet()?);
        }
        if is_there() {
            found.priority = Some(left.octet()?);
        }
        found.correlation_id = short(&mut left, is_there())?;
        found.reply_to = short(&mut left, is_there())?;
        found.expiration = short(&mut left, is_there())?;
        let message_id = short(&mut left, is_there())?;
        if is_there() {
            found.timestamp = Some(left.long_long()?);
        }
        found.extra = [
            ("message_id", message_id),
            ("type", short(&mut left, is_there())?),
            ("user_id", short(&mut left, is_there())?),
            ("app_id", short(&mut left, is_there())?),
            ("cluster_id", short(&mut left, is_there())?),
        ];
        Some(found)
    }

    fn headers(&self) -> Result<Bytes> {
        table_text(self.headers.unwrap_or_default()).map(Bytes::from)
    }

    fn extra(&self) -> Result<Vec<(String, String)>> {
        let mut extra = Vec::new();
        for (name, value) in self.extra {
            if let Some(value) = text(value)? {
                let mut json = Vec::new();
                append_str(&mut json, &value);
                extra.push((name.to_owned(), String::from_utf8_lossy(&json).into_owned()));
            }
        }
        if let Some(seconds) = self.timestamp {
            extra.push(("timestamp".to_owned(), seconds.to_string()));
        }
        Ok(extra)
    }
}

fn text(value: Option<&[u8]>) -> Result<Option<String>> {
    let Some(value) = value else {
        return Ok(None);
    };
    match std::str::from_utf8(value) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(malformed("a text among them is not in UTF-8")),
    }
}

fn malformed(detail: &str) -> Error {
    Error::Malformed {
        what: "properties",
        detail: detail.to_owned(),
    }
}

/// Properties of a delivery that is held: read where something had to be looked at, or as they came.
#[derive(Debug)]
pub(super) enum Kept {
    Read(Box<BasicProperties>),
    Raw(RawProperties),
}

impl Kept {
    /// # Errors
    /// [`Error::Malformed`].
    pub(super) fn read(&self) -> Result<Cow<'_, BasicProperties>> {
        match self {
            Self::Read(properties) => Ok(Cow::Borrowed(properties)),
            Self::Raw(properties) => properties.read().map(Cow::Owned),
        }
    }
}

impl From<BasicProperties> for Kept {
    fn from(properties: BasicProperties) -> Self {
        Self::Read(Box::new(properties))
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::basic::gen_properties;
    use lapin::types::{AMQPValue, FieldTable};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::headers::tests::amqp_values;
    use super::super::properties;
    use super::*;

    fn raw(properties: &BasicProperties) -> RawProperties {
        let written = gen_properties(properties)(Vec::new().into()).unwrap();
        RawProperties(Bytes::from(written.into_inner().0))
    }

    /// Properties of which those are there that a bit of `there` stands for.
    fn some(there: u16, headers: FieldTable) -> BasicProperties {
        let all: [fn(BasicProperties) -> BasicProperties; 13] = [
            |given| given.with_content_type("application/json".into()),
            |given| given.with_content_encoding("utf-8".into()),
            |given| given.with_delivery_mode(2),
            |given| given.with_priority(7),
            |given| given.with_correlation_id("c".into()),
            |given| given.with_reply_to("r".into()),
            |given| given.with_expiration("60000".into()),
            |given| given.with_message_id("m\"".into()),
            |given| given.with_timestamp(5),
            |given| given.with_type("t".into()),
            |given| given.with_user_id("u".into()),
            |given| given.with_app_id("a".into()),
            |given| given.with_cluster_id("".into()),
        ];
        let is_there = |at: &usize| there & (1 << at) != 0;
        let some = (0..all.len())
            .filter(is_there)
            .fold(BasicProperties::default(), |given, at| all[at](given));
        if is_there(&all.len()) {
            some.with_headers(headers)
        } else {
            some
        }
    }

    proptest! {
        #[test]
        fn what_is_read_off_the_wire_is_what_lapin_reads(value in amqp_values(), there in any::<u16>()) {
            let mut headers = FieldTable::default();
            headers.insert("mine".into(), value);
            headers.insert("other".into(), AMQPValue::Void);
            let sent = some(there, headers);
            let raw = raw(&sent);
            let expected = properties::from_amqp(&sent, Bytes::from_static(b"[]"), 9);
            prop_assert_eq!(&raw.message(Bytes::from_static(b"[]"), 9).unwrap(), &expected);
            let read = raw.read().unwrap();
            prop_assert_eq!(&properties::from_amqp(&read, Bytes::from_static(b"[]"), 9), &expected);
        }

        #[test]
        fn bytes_that_are_no_properties_are_refused_or_read(bytes in vec(any::<u8>(), 0..80)) {
            let raw = RawProperties(Bytes::from(bytes));
            for trouble in [raw.message(Bytes::new(), 1).err(), raw.read().err()] {
                let is_refusal = matches!(trouble, None | Some(Error::Malformed { .. }));
                prop_assert!(is_refusal);
            }
        }
    }

    #[test]
    fn a_table_that_goes_too_deep_is_refused_before_anybody_recurses() {
        let mut table = Vec::new();
        for _ in 0..2_000 {
            let mut outer = b"\x01nF".to_vec();
            outer.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
            outer.append(&mut table);
            table = outer;
        }
        let mut properties = vec![0x20, 0];
        properties.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
        properties.append(&mut table);
        let raw = RawProperties(Bytes::from(properties));
        assert!(matches!(raw.read(), Err(Error::Malformed { .. })));
        assert!(matches!(
            raw.message(Bytes::new(), 1),
            Err(Error::Malformed { .. })
        ));
    }

    #[test]
    fn headers_may_be_there_only_if_their_name_is() {
        let mut headers = FieldTable::default();
        headers.insert("x-delivery-count".into(), AMQPValue::LongInt(1));
        let raw = raw(&BasicProperties::default().with_headers(headers));
        assert!(raw.may_have(&["celeriac_losses", "x-delivery-count"]));
        assert!(!raw.may_have(&["celeriac_losses"]));
    }
}
