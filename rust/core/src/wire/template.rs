//! A task's messages: everything that does not differ from call to call, encoded once.
//!
//! Source: the emission order of Celery 5.7 `app/amqp.py`, held by `tests/vectors`.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::cuts;
use super::envelope;
use super::letter::Sealed;
use super::message::{Message, Outgoing, Properties, Target};
use super::mould::Mould;
use crate::codec::json::{append_str, raw};
use crate::ids;

/// What all messages of a task have in common.
#[derive(Clone, Debug)]
pub struct Task {
    /// Registered name.
    pub name: String,
    /// Display name that overrides it, if any.
    pub shadow: Option<String>,
    /// `[hard, soft]` in seconds, as JSON text (the difference between 1 and 1.0 is kept).
    pub timelimit: String,
    /// Publishing node, `gen<pid>@<host>`.
    pub origin: String,
    /// `None` leaves it to the worker (null).
    pub ignore_result: Option<bool>,
    /// MIME type of the body.
    pub content_type: String,
    /// `utf-8` or `binary`.
    pub content_encoding: String,
    /// The client's reply queue.
    pub reply_to: Option<String>,
    /// 2 persistent, 1 transient.
    pub delivery_mode: u8,
    /// Priority; see [`Properties::priority`].
    pub priority: Option<u8>,
    /// Where to.
    pub target: Target,
    /// Custom headers as `(name, JSON text)`.
    pub headers: Vec<(String, String)>,
    /// What the bodies are compressed with: the last header.
    pub compression: Option<String>,
}

/// What may differ per call; `None` takes the task's own value or Celery's default.
/// Texts are plain, structured values JSON text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// The task's id; a fresh UUID4 otherwise.
    pub task_id: Option<&'a str>,
    /// ISO-8601.
    pub eta: Option<&'a str>,
    /// ISO-8601.
    pub expires: Option<&'a str>,
    /// What is left until `expires`, in ms as decimal text.
    pub expiration: Option<&'a str>,
    /// Group id.
    pub group: Option<&'a str>,
    /// Position in the group.
    pub group_index: Option<i64>,
    /// Attempts already made.
    pub retries: Option<u32>,
    /// JSON text of `[hard, soft]`.
    pub timelimit: Option<&'a str>,
    /// The id of the workflow's first task; the task's own id otherwise.
    pub root_id: Option<&'a str>,
    /// The task that publishes this one.
    pub parent_id: Option<&'a str>,
    /// Overrides the repr given to [`Template::build`]. Like `origin` and every option that Celery's
    /// publisher does not know, it also becomes a property.
    pub argsrepr: Option<&'a str>,
    /// Overrides the repr given to [`Template::build`].
    pub kwargsrepr: Option<&'a str>,
    /// Publishing node.
    pub origin: Option<&'a str>,
    /// Display name.
    pub shadow: Option<&'a str>,
    /// `Some(None)` is null.
    pub ignore_result: Option<Option<bool>>,
    /// Depth of `Task.replace`.
    pub replaced_task_nesting: Option<i64>,
    /// JSON text of an array.
    pub stamped_headers: Option<&'a str>,
    /// JSON text of an object.
    pub stamps: Option<&'a str>,
    /// Custom headers as `(name, JSON text)`, merged over the task's. One that has the name of a
    /// standard header replaces it, as in Celery.
    pub extra_headers: &'a [(String, String)],
    /// The task's id otherwise.
    pub correlation_id: Option<&'a str>,
    /// Reply queue.
    pub reply_to: Option<&'a str>,
    /// 2 persistent, 1 transient.
    pub delivery_mode: Option<u8>,
    /// Priority.
    pub priority: Option<u8>,
    /// A fresh UUID4 otherwise.
    pub delivery_tag: Option<&'a str>,
    /// Further properties as `(name, JSON text)`.
    pub extra_properties: &'a [(String, String)],
    /// Exchange.
    pub exchange: Option<&'a str>,
    /// Routing key.
    pub routing_key: Option<&'a str>,
    /// See [`Outgoing::mandatory`].
    pub mandatory: Option<bool>,
}

/// All that a plain call says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// The task's id.
    pub task_id: &'a str,
    /// The delivery tag.
    pub delivery_tag: &'a str,
    /// Reply queue.
    pub reply_to: &'a str,
    /// Group id, and position in the group.
    pub group: Option<(&'a str, i64)>,
}

impl<'a> From<Plain<'a>> for Call<'a> {
    fn from(plain: Plain<'a>) -> Self {
        Self {
            task_id: Some(plain.task_id),
            delivery_tag: Some(plain.delivery_tag),
            reply_to: Some(plain.reply_to),
            group: plain.group.map(|(group, _)| group),
            group_index: plain.group.map(|(_, index)| index),
            ..Self::default()
        }
    }
}

/// How the arguments are shown.
#[derive(Clone, Copy, Debug)]
pub enum Repr<'a> {
    /// Plain text.
    Text(&'a str),
    /// A JSON string. For the rare repr that is no UTF-8, because it quotes a lone surrogate.
    Json(&'a str),
}

impl Repr<'_> {
    pub(super) fn append(self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => append_str(out, text),
            Self::Json(json) => out.extend_from_slice(json.as_bytes()),
        }
    }
}

/// A task's messages with the common part encoded.
#[derive(Clone, Debug)]
pub struct Template {
    task: Task,
    /// `{"lang": "py", "task": "…", "id": `
    head: Vec<u8>,
    shadow: Vec<u8>,
    origin: Vec<u8>,
    target: Arc<Target>,
    /// The header `compression`, and its JSON text.
    compression: Option<(String, String)>,
    /// For calls that say next to nothing.
    pub(super) mould: Option<Mould>,
}

impl Template {
    /// Encodes what is common.
    pub fn new(task: Task) -> Self {
        let mut head = b"{\"lang\": \"py\", \"task\": ".to_vec();
        append_str(&mut head, &task.name);
        head.extend_from_slice(b", \"id\": ");
        let mut shadow = Vec::new();
        append_optional(&mut shadow, task.shadow.as_deref());
        let mut origin = Vec::new();
        append_str(&mut origin, &task.origin);
        let compression = task
            .compression
            .as_deref()
            .map(|name| ("compression".to_owned(), json_text(name)));
        let mut template = Self {
            target: Arc::new(task.target.clone()),
            task,
            head,
            shadow,
            origin,
            compression,
            mould: None,
        };
        template.mould = Mould::of(&template);
        template
    }

    /// What the template was made from.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Builds one message. The body is encoded (and compressed) already.
    pub fn build(&self, call: &Call<'_>, body: Bytes, argsrepr: &str, kwargsrepr: &str) -> Outgoing {
        self.build_with(call, body, Repr::Text(argsrepr), Repr::Text(kwargsrepr))
    }

    /// [`Template::build`] for reprs that may be no UTF-8.
    pub fn build_with(
        &self,
        call: &Call<'_>,
        body: Bytes,
        argsrepr: Repr<'_>,
        kwargsrepr: Repr<'_>,
    ) -> Outgoing {
        let mut fresh_id = Uuid::encode_buffer();
        let task_id = match call.task_id {
            Some(id) => id,
            None => ids::fresh().hyphenated().encode_lower(&mut fresh_id),
        };
        let mut headers = Vec::with_capacity(1024);
        self.append_headers(&mut headers, call, task_id, (argsrepr, kwargsrepr));
        Outgoing {
            message: Message {
                headers: Bytes::from(headers),
                properties: self.properties(call, task_id),
                body,
            },
            target: Target {
                exchange: call.exchange.unwrap_or(&self.task.target.exchange).to_owned(),
                routing_key: call
                    .routing_key
                    .unwrap_or(&self.task.target.routing_key)
                    .to_owned(),
            },
            mandatory: call.mandatory,
        }
    }

    /// Builds one message in kombu's envelope: the same bytes as of [`Template::build_with`], without
    /// the parts.
    pub fn seal(&self, call: &Call<'_>, task_id: &str, body: &[u8], shown: (Repr<'_>, Repr<'_>)) -> Sealed {
        let task = &self.task;
        let mut fresh_tag = Uuid::encode_buffer();
        let delivery_tag = match call.delivery_tag {
            Some(tag) => tag,
            None => ids::fresh().hyphenated().encode_lower(&mut fresh_tag),
        };
        let extra = extra_properties(call);
        let target = self.target_of(call);
        let priority = call.priority.or(task.priority);
        let parts = envelope::Parts {
            content_type: &task.content_type,
            content_encoding: &task.content_encoding,
            correlation_id: Some(call.correlation_id.unwrap_or(task_id)),
            reply_to: call.reply_to.or(task.reply_to.as_deref()),
            extra: &extra,
            delivery_mode: call.delivery_mode.unwrap_or(task.delivery_mode),
            expiration: call.expiration,
            exchange: &target.exchange,
            routing_key: &target.routing_key,
            priority: priority.unwrap_or(0),
            delivery_tag,
        };
        let mut envelope = Vec::with_capacity(SEALED + body.len() / 3 * 4);
        let tag_at = envelope::append(&mut envelope, body, &parts, |out| {
            self.append_headers(out, call, task_id, shown);
        });
        Sealed {
            envelope: envelope.into(),
            tag_at,
            target,
            priority,
            mandatory: call.mandatory,
        }
    }

    /// As [`Template::seal`], of a plain call.
    pub fn seal_plain(&self, call: &Plain<'_>, body: &[u8], shown: (Repr<'_>, Repr<'_>)) -> Sealed {
        let Some(mould) = &self.mould else {
            return self.seal(&Call::from(*call), call.task_id, body, shown);
        };
        let (envelope, tag_at) = cuts::cut(mould.expected_bytes(body), |out| {
            mould.fill(out, call, body, shown)
        });
        Sealed {
            envelope,
            tag_at,
            target: Arc::clone(&self.target),
            priority: self.task.priority,
            mandatory: None,
        }
    }

    fn target_of(&self, call: &Call<'_>) -> Arc<Target> {
        if call.exchange.is_none() && call.routing_key.is_none() {
            return Arc::clone(&self.target);
        }
        let Target {
            exchange,
            routing_key,
        } = &*self.target;
        Arc::new(Target {
            exchange: call.exchange.unwrap_or(exchange).to_owned(),
            routing_key: call.routing_key.unwrap_or(routing_key).to_owned(),
        })
    }

    fn properties(&self, call: &Call<'_>, task_id: &str) -> Properties {
        let task = &self.task;
        Properties {
            content_type: task.content_type.clone(),
            content_encoding: task.content_encoding.clone(),
            correlation_id: Some(call.correlation_id.unwrap_or(task_id).to_owned()),
            reply_to: call.reply_to.map(str::to_owned).or_else(|| task.reply_to.clone()),
            delivery_mode: call.delivery_mode.unwrap_or(task.delivery_mode),
            priority: call.priority.or(task.priority),
            expiration: call.expiration.map(str::to_owned),
            delivery_tag: call.delivery_tag.map_or_else(ids::fresh_text, str::to_owned),
            extra: extra_properties(call),
        }
    }

    fn append_headers(
        &self,
        out: &mut Vec<u8>,
        call: &Call<'_>,
        task_id: &str,
        (argsrepr, kwargsrepr): (Repr<'_>, Repr<'_>),
    ) {
        let start = out.len();
        out.extend_from_slice(&self.head);
        append_str(out, task_id);
        self.append_schedule(out, call);
        append_text(out, b", \"root_id\": ", Some(call.root_id.unwrap_or(task_id)));
        append_text(out, b", \"parent_id\": ", call.parent_id);
        out.extend_from_slice(b", \"argsrepr\": ");
        call.argsrepr.map_or(argsrepr, Repr::Text).append(out);
        out.extend_from_slice(b", \"kwargsrepr\": ");
        call.kwargsrepr.map_or(kwargsrepr, Repr::Text).append(out);
        self.append_rest(out, call);
        out.push(b'}');
        if let Some(merged) = self.with_custom_headers(&out[start..], call.extra_headers) {
            out.truncate(start);
            out.extend_from_slice(&merged);
        }
    }

    /// From `shadow` to `timelimit`.
    fn append_schedule(&self, out: &mut Vec<u8>, call: &Call<'_>) {
        out.extend_from_slice(b", \"shadow\": ");
        match call.shadow {
            Some(shadow) => append_str(out, shadow),
            None => out.extend_from_slice(&self.shadow),
        }
        append_text(out, b", \"eta\": ", call.eta);
        append_text(out, b", \"expires\": ", call.expires);
        append_text(out, b", \"group\": ", call.group);
        append_integer(out, b", \"group_index\": ", call.group_index);
        append_integer(
            out,
            b", \"retries\": ",
            Some(i64::from(call.retries.unwrap_or(0))),
        );
        out.extend_from_slice(b", \"timelimit\": ");
        out.extend_from_slice(call.timelimit.unwrap_or(&self.task.timelimit).as_bytes());
    }

    /// From `origin` to `stamps`.
    fn append_rest(&self, out: &mut Vec<u8>, call: &Call<'_>) {
        out.extend_from_slice(b", \"origin\": ");
        match call.origin {
            Some(origin) => append_str(out, origin),
            None => out.extend_from_slice(&self.origin),
        }
        let ignore_result = match call.ignore_result.unwrap_or(self.task.ignore_result) {
            Some(true) => "true",
            Some(false) => "false",
            None => "null",
        };
        out.extend_from_slice(b", \"ignore_result\": ");
        out.extend_from_slice(ignore_result.as_bytes());
        append_integer(
            out,
            b", \"replaced_task_nesting\": ",
            Some(call.replaced_task_nesting.unwrap_or(0)),
        );
        out.extend_from_slice(b", \"stamped_headers\": ");
        out.extend_from_slice(call.stamped_headers.unwrap_or("null").as_bytes());
        out.extend_from_slice(b", \"stamps\": ");
        out.extend_from_slice(call.stamps.unwrap_or("{}").as_bytes());
    }

    /// Merges custom headers as `dict.update` does: a known name keeps its place.
    /// `None`: there are none.
    fn with_custom_headers(&self, standard: &[u8], extra: &[(String, String)]) -> Option<Vec<u8>> {
        if self.task.headers.is_empty() && extra.is_empty() && self.compression.is_none() {
            return None;
        }
        let members = raw::members(standard).ok()?;
        let mut merged: Vec<(&str, &str)> = members.iter().map(|(name, value)| (&**name, *value)).collect();
        for (name, value) in self.task.headers.iter().chain(extra).chain(&self.compression) {
            match merged.iter_mut().find(|(known, _)| known == name) {
                Some(member) => member.1 = value,
                None => merged.push((name, value)),
            }
        }
        let mut out = Vec::with_capacity(standard.len() + 64 * extra.len());
        for (index, (name, value)) in merged.into_iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{" } else { b", " });
            append_str(&mut out, name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
        Some(out)
    }
}

/// What an envelope takes beside the body, mostly.
const SEALED: usize = 1_280;

/// Compat: `apply_async` hands the options that it puts into headers to kombu as well, which keeps
/// those it does not know as properties (recorded: `origin`, `argsrepr`, `kwargsrepr`).
fn extra_properties(call: &Call<'_>) -> Vec<(String, String)> {
    let explicit = [
        ("argsrepr", call.argsrepr),
        ("kwargsrepr", call.kwargsrepr),
        ("origin", call.origin),
    ];
    let mut extra = Vec::new();
    for (name, value) in explicit {
        let is_given = call.extra_properties.iter().any(|(given, _)| given == name);
        if let Some(value) = value.filter(|_| !is_given) {
            extra.push((name.to_owned(), json_text(value)));
        }
    }
    extra.extend_from_slice(call.extra_properties);
    extra
}

fn json_text(text: &str) -> String {
    let mut json = Vec::new();
    append_str(&mut json, text);
    String::from_utf8(json).unwrap_or_default()
}

fn append_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => append_str(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

fn append_text(out: &mut Vec<u8>, name: &[u8], text: Option<&str>) {
    out.extend_from_slice(name);
    append_optional(out, text);
}

fn append_integer(out: &mut Vec<u8>, name: &[u8], number: Option<i64>) {
    out.extend_from_slice(name);
    match number {
        Some(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
}
