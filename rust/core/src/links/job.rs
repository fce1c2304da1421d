//! A delivery as its child sees it.

use bytes::{BufMut, Bytes};

use super::frame::{Fields, Kind, begin, end, put_field};
use crate::error::Result;
use crate::wire::headers::Peek;
use crate::wire::message::{Message, Properties, Target};

/// A task message on its way to a child, with what its worker adds.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Names the job between worker and child until its outcome.
    pub seq: u64,
    /// What the worker tells the child beside the message; opaque here.
    pub extra: Bytes,
    /// The message.
    pub message: Message,
    /// What its worker has read from the headers.
    pub peek: Peek,
    /// Its exchange and routing key.
    pub target: Target,
    /// The queue it was taken from.
    pub queue: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

/// The same where it still lies in its worker: sending copies a small one once, and of a large
/// one all but the body.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// As in [`Job`].
    pub seq: u64,
    /// As in [`Job`].
    pub extra: &'a [u8],
    /// As in [`Job`].
    pub message: &'a Message,
    /// As in [`Job`]; eta, expiry and retries are not sent.
    pub peek: &'a Peek,
    /// As in [`Job`].
    pub target: &'a Target,
    /// As in [`Job`].
    pub queue: &'a str,
    /// As in [`Job`].
    pub redelivered: bool,
}

impl Outgoing<'_> {
    /// Appends the job as a frame but for its body, which is to follow.
    pub(super) fn encode_head(&self, out: &mut Vec<u8>) -> Result<()> {
        let start = begin(out, Kind::Job);
        out.put_u64_le(self.seq);
        out.put_u8(u8::from(self.redelivered));
        put_field(out, self.extra)?;
        put_peek(out, self.peek)?;
        put_field(out, &self.message.headers)?;
        put_properties(out, &self.message.properties)?;
        for text in [self.queue, &self.target.exchange, &self.target.routing_key] {
            put_field(out, text.as_bytes())?;
        }
        end(out, start, self.message.body.len())
    }
}

impl Job {
    /// The job as its worker sends it.
    pub fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            seq: self.seq,
            extra: &self.extra,
            message: &self.message,
            peek: &self.peek,
            target: &self.target,
            queue: &self.queue,
            redelivered: self.redelivered,
        }
    }

    pub(super) fn decode(payload: Bytes) -> Result<Self> {
        let mut fields = Fields(payload);
        let seq = fields.u64()?;
        let redelivered = fields.u8()? == 1;
        let extra = fields.bytes()?;
        let peek = peek(&mut fields)?;
        let headers = fields.bytes()?;
        let properties = properties(&mut fields)?;
        let queue = fields.text()?;
        let target = Target {
            exchange: fields.text()?,
            routing_key: fields.text()?,
        };
        let message = Message {
            headers,
            properties,
            body: fields.rest(),
        };
        Ok(Self {
            seq,
            extra,
            message,
            peek,
            target,
            queue,
            redelivered,
        })
    }
}

fn put_peek(out: &mut Vec<u8>, peek: &Peek) -> Result<()> {
    for text in [
        &peek.task,
        &peek.id,
        &peek.compression,
        &peek.group,
        &peek.parent_id,
    ] {
        put_optional(out, text.as_deref())?;
    }
    for limit_s in [peek.timelimit.0, peek.timelimit.1] {
        out.put_u8(u8::from(limit_s.is_some()));
        out.put_f64_le(limit_s.unwrap_or_default());
    }
    out.put_u8(match peek.ignore_result {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    });
    out.put_u8(u8::from(peek.is_shadowed));
    Ok(())
}

fn peek(fields: &mut Fields) -> Result<Peek> {
    Ok(Peek {
        task: optional(fields)?,
        id: optional(fields)?,
        compression: optional(fields)?,
        group: optional(fields)?,
        parent_id: optional(fields)?,
        timelimit: (limit_s(fields)?, limit_s(fields)?),
        ignore_result: match fields.u8()? {
            0 => None,
            number => Some(number == 2),
        },
        is_shadowed: fields.u8()? == 1,
        ..Peek::default()
    })
}

fn limit_s(fields: &mut Fields) -> Result<Option<f64>> {
    let is_set = fields.u8()? == 1;
    let seconds = f64::from_bits(fields.u64()?);
    Ok(is_set.then_some(seconds))
}

fn put_properties(out: &mut Vec<u8>, properties: &Properties) -> Result<()> {
    put_field(out, properties.content_type.as_bytes())?;
    put_field(out, properties.content_encoding.as_bytes())?;
    put_optional(out, properties.correlation_id.as_deref())?;
    put_optional(out, properties.reply_to.as_deref())?;
    out.put_u8(properties.delivery_mode);
    out.put_u8(u8::from(properties.priority.is_some()));
    out.put_u8(properties.priority.unwrap_or_default());
    put_optional(out, properties.expiration.as_deref())?;
    put_field(out, properties.delivery_tag.as_bytes())?;
    for (name, json) in &properties.extra {
        out.put_u8(1);
        put_field(out, name.as_bytes())?;
        put_field(out, json.as_bytes())?;
    }
    out.put_u8(0);
    Ok(())
}

fn properties(fields: &mut Fields) -> Result<Properties> {
    Ok(Properties {
        content_type: fields.text()?,
        content_encoding: fields.text()?,
        correlation_id: optional(fields)?,
        reply_to: optional(fields)?,
        delivery_mode: fields.u8()?,
        priority: {
            let is_set = fields.u8()? == 1;
            let priority = fields.u8()?;
            is_set.then_some(priority)
        },
        expiration: optional(fields)?,
        delivery_tag: fields.text()?,
        extra: {
            let mut extra = Vec::new();
            while fields.u8()? == 1 {
                extra.push((fields.text()?, fields.text()?));
            }
            extra
        },
    })
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) -> Result<()> {
    out.put_u8(u8::from(text.is_some()));
    text.map_or(Ok(()), |text| put_field(out, text.as_bytes()))
}

fn optional(fields: &mut Fields) -> Result<Option<String>> {
    if fields.u8()? == 1 {
        return fields.text().map(Some);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::frame::FrameReader;
    use super::*;

    fn job(priority: Option<u8>, reply_to: Option<&str>) -> Job {
        Job {
            seq: 12,
            extra: Bytes::from_static(b"\xffextra"),
            message: Message {
                headers: Bytes::from_static(br#"{"task": "t", "id": "i"}"#),
                properties: Properties {
                    content_type: "application/json".into(),
                    content_encoding: "utf-8".into(),
                    correlation_id: Some("i".into()),
                    reply_to: reply_to.map(Into::into),
                    delivery_mode: 2,
                    priority,
                    expiration: Some("60000".into()),
                    delivery_tag: "tag".into(),
                    extra: vec![("origin".into(), "\"gen1@host\"".into())],
                },
                body: Bytes::from(vec![7; 100_000]),
            },
            peek: Peek {
                task: Some("t".into()),
                id: Some("i".into()),
                timelimit: (None, Some(1.5)),
                ignore_result: Some(true),
                is_shadowed: true,
                group: Some("g".into()),
                ..Peek::default()
            },
            target: Target {
                exchange: String::new(),
                routing_key: "celery".into(),
            },
            queue: "celery".into(),
            redelivered: true,
        }
    }

    #[test]
    fn a_job_survives_the_way_there() {
        for job in [job(None, None), job(Some(0), Some("oid")), job(Some(9), Some(""))] {
            let mut reader = FrameReader::new(1 << 20);
            let mut head = Vec::new();
            job.outgoing().encode_head(&mut head).unwrap();
            reader.feed(&head);
            reader.feed(&job.message.body);
            let (kind, payload) = reader.next().unwrap().unwrap();
            assert_eq!(kind, Kind::Job);
            assert_eq!(Job::decode(payload).unwrap(), job);
        }
    }

    #[test]
    fn a_job_cut_anywhere_is_an_error_or_a_shorter_body_and_never_a_panic() {
        let whole = job(Some(1), None);
        let mut head = Vec::new();
        whole.outgoing().encode_head(&mut head).unwrap();
        let head = Bytes::from(head);
        for cut in 5..head.len() {
            assert!(Job::decode(head.slice(5..cut)).is_err(), "cut at {cut}");
        }
    }
}
