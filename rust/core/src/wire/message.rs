//! A message as every broker carries it: headers and body as bytes, the rest in fields.

use bytes::Bytes;

/// Where a message goes. `exchange == ""` is the default exchange: straight to the queue that
/// `routing_key` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    /// Name of the exchange.
    pub exchange: String,
    /// Routing key.
    pub routing_key: String,
}

impl Target {
    /// Why a message for it reaches nobody, and what to do.
    pub(crate) fn unroutable(&self) -> String {
        let Self {
            exchange,
            routing_key,
        } = self;
        format!("no queue is bound to exchange {exchange:?} with routing key {routing_key:?}; declare one")
    }
}

/// The properties beside headers and body (AMQP basic properties; `properties` of kombu's
/// envelope).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: String,
    /// `utf-8` or `binary`.
    pub content_encoding: String,
    /// The task's id.
    pub correlation_id: Option<String>,
    /// The queue that rpc results go to; also the producing app's identity.
    pub reply_to: Option<String>,
    /// 2 persistent, 1 transient.
    pub delivery_mode: u8,
    /// 0 to 255. `None` is written as 0 on Redis and left out on AMQP.
    pub priority: Option<u8>,
    /// Milliseconds as decimal text, from `expires`.
    pub expiration: Option<String>,
    /// Unique for each publish; the name under which Redis keeps an unacked message.
    pub delivery_tag: String,
    /// Unknown options of `apply_async`, as one JSON object's members: `(name, JSON text)`.
    pub extra: Vec<(String, String)>,
}

/// A message, immutable once built.
///
/// Headers stay JSON text on the whole way: the worker reads only what it decides on
/// ([`crate::wire::headers::Peek`]), the process that runs the task reads the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// One JSON object, in emission order, written as Celery's encoder writes it.
    pub headers: Bytes,
    /// Properties.
    pub properties: Properties,
    /// The body, compressed if the headers say so; never base64.
    pub body: Bytes,
}

/// A message and where it is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// What.
    pub message: Message,
    /// Whither.
    pub target: Target,
    /// Whether it is an error that no queue takes it; `None` leaves that to the publisher. A message
    /// that names its queue always has one; what goes to an exchange of the user's may reach nobody.
    pub mandatory: Option<bool>,
}

impl Outgoing {
    /// Whether its sender wants to hear of it that no queue takes it.
    pub fn is_mandatory(&self) -> bool {
        self.mandatory == Some(true)
    }
}
