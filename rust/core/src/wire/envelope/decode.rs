//! An envelope to its message: tolerant where Celery is, and strict where its worker would fail.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::Envelope;
use crate::codec::json::raw;
use crate::error::{Error, Result};
use crate::wire::headers::is_true;
use crate::wire::message::{Message, Properties, Target};

/// Decodes an envelope.
///
/// `body_encoding` may be absent or `utf-8` (the body is then the text itself), `delivery_tag` any
/// scalar, or absent (`""`).
///
/// # Errors
/// [`Error::Malformed`] where kombu loses the item or its worker exits.
pub fn decode(raw: &[u8]) -> Result<Envelope> {
    let mut parts = Parts::default();
    raw::for_each_member(raw, |name, value| {
        match &*name {
            "body" => parts.body = Some(value),
            "content-type" => parts.content_type = optional_text("content-type", value)?,
            "content-encoding" => parts.content_encoding = optional_text("content-encoding", value)?,
            "headers" if value != "null" => parts.headers = value,
            "properties" => parts.properties = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    parts.into_envelope()
}

/// The members of an envelope, as found.
#[derive(Debug)]
struct Parts<'a> {
    body: Option<&'a str>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    headers: &'a str,
    properties: Option<&'a str>,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self {
            body: None,
            content_type: None,
            content_encoding: None,
            headers: "{}",
            properties: None,
        }
    }
}

impl Parts<'_> {
    fn into_envelope(self) -> Result<Envelope> {
        let body = self.body.ok_or_else(|| malformed("it has no \"body\""))?;
        let properties = self
            .properties
            .ok_or_else(|| malformed("it has no \"properties\""))?;
        let content_type = self
            .content_type
            .filter(|mime| !mime.is_empty())
            .ok_or_else(|| malformed("it has no \"content-type\""))?;
        if !self.headers.starts_with('{') {
            return Err(malformed("\"headers\" is not an object"));
        }
        let mut read = ReadProperties::parse(properties)?;
        read.properties.content_type = content_type;
        read.properties.content_encoding = self.content_encoding.unwrap_or_else(|| "utf-8".to_owned());
        let redelivered = read.redelivered || header_says_redelivered(self.headers)?;
        Ok(Envelope {
            message: Message {
                headers: Bytes::copy_from_slice(self.headers.as_bytes()),
                body: decoded_body(body, read.body_encoding.as_deref())?,
                properties: read.properties,
            },
            target: read.target.ok_or_else(|| {
                malformed("\"properties\" has no \"delivery_info\" with \"exchange\" and \"routing_key\"")
            })?,
            redelivered,
        })
    }
}

fn header_says_redelivered(headers: &str) -> Result<bool> {
    // A search is several times cheaper than a pass over all headers, and nearly always enough.
    if memchr::memmem::find(headers.as_bytes(), b"redelivered").is_none() {
        return Ok(false);
    }
    let mut found = false;
    raw::for_each_member_of_part(headers, |name, value| {
        if name == "redelivered" {
            found = is_true(value);
        }
        Ok(())
    })?;
    Ok(found)
}

/// `properties`, with what is not a property of the message beside it.
#[derive(Debug)]
struct ReadProperties {
    properties: Properties,
    body_encoding: Option<String>,
    target: Option<Target>,
    redelivered: bool,
}

impl ReadProperties {
    fn parse(text: &str) -> Result<Self> {
        let mut read = Self {
            properties: Properties {
                content_type: String::new(),
                content_encoding: String::new(),
                correlation_id: None,
                reply_to: None,
                delivery_mode: 2,
                priority: None,
                expiration: None,
                delivery_tag: String::new(),
                extra: Vec::new(),
            },
            body_encoding: None,
            target: None,
            redelivered: false,
        };
        if !text.starts_with('{') {
            return Err(malformed("\"properties\" is not an object"));
        }
        raw::for_each_member_of_part(text, |name, value| read.read(name, value))?;
        Ok(read)
    }

    fn read(&mut self, name: Cow<'_, str>, value: &str) -> Result<()> {
        let properties = &mut self.properties;
        match &*name {
            "correlation_id" => properties.correlation_id = scalar("correlation_id", value)?,
            "reply_to" => properties.reply_to = scalar("reply_to", value)?,
            "expiration" => properties.expiration = scalar("expiration", value)?,
            "delivery_tag" => properties.delivery_tag = scalar("delivery_tag", value)?.unwrap_or_default(),
            "delivery_mode" => properties.delivery_mode = small_number(value).unwrap_or(2),
            "priority" => properties.priority = small_number(value),
            "body_encoding" => self.body_encoding = optional_text("body_encoding", value)?,
            "delivery_info" => self.read_delivery_info(value)?,
            _ => properties.extra.push((name.into_owned(), value.to_owned())),
        }
        Ok(())
    }

    fn read_delivery_info(&mut self, value: &str) -> Result<()> {
        if !value.starts_with('{') {
            return Err(malformed("\"delivery_info\" is not an object"));
        }
        let (mut exchange, mut routing_key) = (None, None);
        raw::for_each_member_of_part(value, |name, value| {
            match &*name {
                // A null exchange is the default one.
                "exchange" => exchange = Some(optional_text("exchange", value)?.unwrap_or_default()),
                "routing_key" => routing_key = Some(optional_text("routing_key", value)?.unwrap_or_default()),
                "redelivered" => self.redelivered = is_true(value),
                _ => {}
            }
            Ok(())
        })?;
        if let (Some(exchange), Some(routing_key)) = (exchange, routing_key) {
            self.target = Some(Target {
                exchange,
                routing_key,
            });
        }
        Ok(())
    }
}

fn malformed(detail: &str) -> Error {
    Error::Malformed {
        what: "envelope",
        detail: detail.to_owned(),
    }
}

fn optional_text(name: &str, value: &str) -> Result<Option<String>> {
    if value == "null" {
        return Ok(None);
    }
    match raw::string(value)? {
        Some(text) => Ok(Some(text.into_owned())),
        None => Err(malformed(&format!("\"{name}\" is not a string"))),
    }
}

/// A scalar as text: a string's own, otherwise its JSON; null is none.
fn scalar(name: &str, value: &str) -> Result<Option<String>> {
    if value.starts_with(['{', '[']) {
        return Err(malformed(&format!("\"{name}\" is not a scalar")));
    }
    if value.starts_with('"') {
        return optional_text(name, value);
    }
    Ok((value != "null").then(|| value.to_owned()))
}

/// A number that fits into a byte, clamped; none for anything else.
fn small_number(value: &str) -> Option<u8> {
    let number: i64 = value.parse().ok()?;
    u8::try_from(number.clamp(0, 255)).ok()
}

fn decoded_body(value: &str, body_encoding: Option<&str>) -> Result<Bytes> {
    let text = raw::string(value)?.ok_or_else(|| malformed("\"body\" is not a string"))?;
    if body_encoding != Some("base64") {
        return Ok(Bytes::from(text.into_owned()));
    }
    BASE64
        .decode(&*text)
        .map(Bytes::from)
        .map_err(|error| malformed(&format!("\"body\" is not base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An envelope with one member left out or put in another way.
    fn with(part: &str, text: &str) -> Vec<u8> {
        let parts = [
            ("body", r#""body": "W10=""#),
            (
                "type",
                r#""content-type": "application/json", "content-encoding": "utf-8""#,
            ),
            ("headers", r#""headers": {"task": "t", "id": "x"}"#),
            (
                "properties",
                r#""properties": {"delivery_tag": "d", "body_encoding": "base64",
                   "delivery_info": {"exchange": "", "routing_key": "q"}}"#,
            ),
        ];
        let chosen = parts.map(|(name, usual)| if name == part { text } else { usual });
        let filled: Vec<&str> = chosen.into_iter().filter(|text| !text.is_empty()).collect();
        format!("{{{}}}", filled.join(", ")).into_bytes()
    }

    fn detail(raw: &[u8]) -> String {
        decode(raw).unwrap_err().to_string()
    }

    #[test]
    fn a_body_without_encoding_is_the_text_itself() {
        for encoding in ["", r#""body_encoding": "utf-8", "#] {
            let properties = format!(
                r#""properties": {{{encoding}"delivery_tag": 5, "delivery_info": {{"exchange": null, "routing_key": "q"}}}}"#
            );
            let envelope = decode(&with("properties", &properties)).unwrap();
            assert_eq!(envelope.message.body, "W10=");
            assert_eq!(envelope.message.properties.delivery_tag, "5");
            assert_eq!(envelope.target.routing_key, "q");
        }
    }

    #[test]
    fn any_scalar_is_a_delivery_tag_and_none_is_empty() {
        for (tag, read) in [("\"a\"", "a"), ("1.5", "1.5"), ("true", "true"), ("null", "")] {
            let properties = format!(
                r#""properties": {{"delivery_tag": {tag}, "delivery_info": {{"exchange": "", "routing_key": "q"}}}}"#
            );
            let envelope = decode(&with("properties", &properties)).unwrap();
            assert_eq!(envelope.message.properties.delivery_tag, read);
        }
    }

    #[test]
    fn absent_headers_and_encoding_have_defaults() {
        let envelope = decode(&with("headers", "")).unwrap();
        assert_eq!(envelope.message.headers, "{}");
        let envelope = decode(&with("type", r#""content-type": "application/json""#)).unwrap();
        assert_eq!(envelope.message.properties.content_encoding, "utf-8");
        assert_eq!(envelope.message.properties.delivery_mode, 2);
    }

    #[test]
    fn what_stops_or_passes_a_celery_worker_is_malformed_and_says_why() {
        assert!(detail(b"not json").starts_with("malformed json"));
        assert!(detail(b"[]").contains("expected an object"));
        assert!(detail(&with("body", "")).contains("\"body\""));
        assert!(detail(&with("body", r#""body": 5"#)).contains("\"body\""));
        assert!(detail(&with("body", r#""body": "***""#)).contains("base64"));
        assert!(detail(&with("type", "")).contains("\"content-type\""));
        assert!(detail(&with("type", r#""content-type": """#)).contains("\"content-type\""));
        assert!(detail(&with("headers", r#""headers": []"#)).contains("\"headers\""));
        assert!(detail(&with("properties", "")).contains("\"properties\""));
        assert!(
            detail(&with("properties", r#""properties": {"delivery_tag": "d"}"#)).contains("delivery_info")
        );
    }
}
