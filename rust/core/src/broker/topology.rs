//! Queues, exchanges and bindings, as `celery.app.amqp.Queues` and kombu describe them.

/// Type of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExchangeType {
    /// By equal routing key.
    #[default]
    Direct,
    /// By pattern: `*` one word, `#` any number.
    Topic,
    /// To every bound queue.
    Fanout,
    /// By headers (RabbitMQ only).
    Headers,
}

impl ExchangeType {
    /// The name users write.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "direct" => Some(Self::Direct),
            "topic" => Some(Self::Topic),
            "fanout" => Some(Self::Fanout),
            "headers" => Some(Self::Headers),
            _ => None,
        }
    }
}

/// A queue with its exchange and binding key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueSpec {
    /// Name of the queue.
    pub name: String,
    /// Name of its exchange; `""` is the default exchange (nothing to bind).
    pub exchange: String,
    /// Type of its exchange.
    pub exchange_type: ExchangeType,
    /// Binding key.
    pub routing_key: String,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Deleted with its last consumer.
    pub auto_delete: bool,
    /// `x-` arguments as `(name, JSON text)`, in the user's order.
    pub arguments: Vec<(String, String)>,
}
