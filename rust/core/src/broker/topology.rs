//! Queues, exchanges and bindings, as `celery.app.amqp.Queues` and kombu describe them.

use crate::error::{Error, Result};

/// The classes that priorities fall into (kombu's default `priority_steps`); the lowest is first.
pub const PRIORITY_STEPS: [u8; 4] = [0, 3, 6, 9];

/// The class of a message: the greatest step that its priority reaches.
pub fn priority_step(priority: Option<u8>) -> u8 {
    let priority = priority.unwrap_or(0);
    PRIORITY_STEPS
        .into_iter()
        .rfind(|&step| step <= priority)
        .unwrap_or(0)
}

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
    /// The type that users call `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "direct" => Some(Self::Direct),
            "topic" => Some(Self::Topic),
            "fanout" => Some(Self::Fanout),
            "headers" => Some(Self::Headers),
            _ => None,
        }
    }

    /// The name users write.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
        }
    }

    /// Whether an exchange of this type passes a message with `routing_key` on through a binding
    /// with `binding_key`. Headers exchanges pass nothing on here: they exist on RabbitMQ only.
    pub fn routes(&self, binding_key: &str, routing_key: &str) -> bool {
        match self {
            Self::Direct => binding_key == routing_key,
            Self::Fanout => true,
            Self::Headers => false,
            Self::Topic => {
                let pattern: Vec<&str> = binding_key.split('.').collect();
                let words: Vec<&str> = routing_key.split('.').collect();
                matches_words(&pattern, &words)
            }
        }
    }
}

fn matches_words(pattern: &[&str], words: &[&str]) -> bool {
    match pattern.split_first() {
        None => words.is_empty(),
        Some((&"#", rest)) => (0..=words.len()).any(|skipped| matches_words(rest, &words[skipped..])),
        Some((&word, rest)) => words
            .split_first()
            .is_some_and(|(&first, others)| (word == "*" || word == first) && matches_words(rest, others)),
    }
}

/// How an exchange is declared; brokers without exchanges of their own need none of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "kombu's attributes, by their names")]
pub struct ExchangeOptions {
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Deleted with its last queue.
    pub auto_delete: bool,
    /// Must be there already.
    pub passive: bool,
    /// Is somebody else's: only bound to.
    pub no_declare: bool,
    /// Arguments as `(name, JSON text)`.
    pub arguments: Vec<(String, String)>,
}

impl Default for ExchangeOptions {
    fn default() -> Self {
        Self {
            durable: true,
            auto_delete: false,
            passive: false,
            no_declare: false,
            arguments: Vec::new(),
        }
    }
}

/// A queue with its exchange and binding key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueSpec {
    /// Name of the queue; empty where only the exchange is meant: its sender has no queue.
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
    /// Is somebody else's: neither it nor its bindings are declared.
    pub no_declare: bool,
    /// How its exchange is declared.
    pub exchange_options: ExchangeOptions,
    /// Arguments of the binding as `(name, JSON text)`: what a headers exchange compares.
    pub binding_arguments: Vec<(String, String)>,
    /// The same queue once more, for each further binding.
    pub more: Vec<QueueSpec>,
}

impl QueueSpec {
    /// A durable queue of the default exchange.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            routing_key: name.clone(),
            name,
            exchange: String::new(),
            exchange_type: ExchangeType::Direct,
            durable: true,
            auto_delete: false,
            arguments: Vec::new(),
            no_declare: false,
            exchange_options: ExchangeOptions::default(),
            binding_arguments: Vec::new(),
            more: Vec::new(),
        }
    }

    /// It, with each of its bindings.
    pub fn bindings(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.more)
    }

    /// Whether this is an exchange alone.
    pub fn is_exchange(&self) -> bool {
        self.name.is_empty()
    }

    /// Whether this is the queue of one consumer, that ends with it: a `Broadcast`.
    pub fn is_broadcast(&self) -> bool {
        self.exchange_type == ExchangeType::Fanout && self.auto_delete && !self.is_exchange()
    }

    /// That its exchanges are such that brokers without exchanges of their own have.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names the exchange, and what to use instead.
    pub fn check_emulated(&self) -> Result<()> {
        let is_headers = |binding: &&Self| binding.exchange_type == ExchangeType::Headers;
        let Some(binding) = self.bindings().find(is_headers) else {
            return Ok(());
        };
        Err(Error::Unsupported {
            feature: format!(
                "the headers exchange {:?} (use a topic exchange, or RabbitMQ)",
                binding.exchange
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ExchangeType::{Direct, Fanout, Headers, Topic};

    #[test]
    fn a_topic_star_stands_for_one_word_and_a_hash_for_any_number() {
        assert!(Topic.routes("a.*.c", "a.b.c"));
        assert!(!Topic.routes("a.*.c", "a.c"));
        assert!(Topic.routes("#", ""));
        assert!(Topic.routes("a.#", "a"));
        assert!(Topic.routes("a.#.d", "a.b.c.d"));
        assert!(!Topic.routes("a.#.d", "a.b.c"));
        assert!(!Topic.routes("a", "a.b"));
    }

    #[test]
    fn direct_compares_fanout_takes_all_and_headers_nothing() {
        assert!(Direct.routes("a", "a"));
        assert!(!Direct.routes("a", "b"));
        assert!(Fanout.routes("a", "b"));
        assert!(!Headers.routes("a", "a"));
    }
}
