//! Which lists a message goes to: kombu's exchanges on Redis.
//!
//! Source: kombu 5.7 `transport/virtual/base.py` (`_lookup`) and `virtual/exchange.py`.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisResult};

use super::names::Names;
use crate::broker::topology::{ExchangeType, QueueSpec};
use crate::wire::message::Target;
use crate::wire::redis_keys;

/// kombu keeps the table of an expiring queue's bindings at least this long.
const MIN_BINDING_TTL_MS: u64 = 3_600_000;

/// The bindings of one exchange.
pub(crate) type Table = Vec<Binding>;

/// A queue and what binds it to its exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Binding {
    key: String,
    /// Whether the key has wildcards: the exchange is a topic exchange. The table says so to those,
    /// too, who did not declare it; kombu would take it for a direct one and drop the message.
    is_topic: bool,
    queue: String,
}

/// Reads the bindings of an exchange.
pub(crate) async fn table(
    connection: &mut MultiplexedConnection,
    names: &Names,
    exchange: &str,
) -> RedisResult<Table> {
    let members: Vec<Vec<u8>> = connection.smembers(names.binding(exchange)).await?;
    let mut table: Table = members
        .iter()
        .filter_map(|member| {
            let member = String::from_utf8_lossy(member);
            let (key, pattern, queue) = names.read_binding(&member)?;
            Some(Binding {
                key: key.to_owned(),
                is_topic: !pattern.is_empty(),
                queue: queue.to_owned(),
            })
        })
        .collect();
    table.sort_unstable();
    Ok(table)
}

/// The queues that a message for `target` reaches.
pub(crate) fn queues(target: &Target, table: &Table) -> Vec<String> {
    if target.exchange.is_empty() {
        return vec![target.routing_key.clone()];
    }
    let mut queues: Vec<String> = table
        .iter()
        .filter(|binding| {
            if binding.is_topic {
                matches_topic(&binding.key, &target.routing_key)
            } else {
                binding.key == target.routing_key
            }
        })
        .map(|binding| binding.queue.clone())
        .collect();
    queues.sort_unstable();
    queues.dedup();
    queues
}

/// Compat: kombu turns a binding key into a regular expression in which `#` is any text and the
/// dots around it stay (kombu/transport/virtual/exchange.py `key_to_pattern`): `feed.#` takes
/// `feed.a.b` and not `feed`.
fn matches_topic(binding_key: &str, routing_key: &str) -> bool {
    let (word, others) = match binding_key.split_once('.') {
        Some((word, others)) => (word, Some(others)),
        None => (binding_key, None),
    };
    let ends = |at: usize| match (others, routing_key.get(at..)) {
        (None, Some(rest)) => rest.is_empty(),
        (Some(others), Some(rest)) => rest
            .strip_prefix('.')
            .is_some_and(|rest| matches_topic(others, rest)),
        (_, None) => false,
    };
    match word {
        "#" => (0..=routing_key.len()).any(ends),
        "*" => match routing_key.find('.').unwrap_or(routing_key.len()) {
            0 => false,
            end => ends(end),
        },
        _ => routing_key.starts_with(word) && ends(word.len()),
    }
}

/// The commands that declare a queue's bindings, as kombu sends them.
pub(crate) fn declare(pipe: &mut redis::Pipeline, names: &Names, queue: &QueueSpec, now_ms: u64) {
    if !queue.no_declare {
        queue
            .bindings()
            .for_each(|binding| bind(pipe, names, binding, now_ms));
    }
}

/// The commands of one binding; none for the default exchange.
///
/// A fanout exchange has no table with us. kombu keeps one that it does not read, and in which the
/// queue of every worker that was killed stays; who takes the exchange for a direct one would fill
/// lists that nobody empties.
fn bind(pipe: &mut redis::Pipeline, names: &Names, queue: &QueueSpec, now_ms: u64) {
    let pattern = match queue.exchange_type {
        ExchangeType::Fanout | ExchangeType::Headers => return,
        _ if queue.exchange.is_empty() || queue.is_exchange() => return,
        ExchangeType::Topic => redis_keys::topic_pattern(&queue.routing_key),
        ExchangeType::Direct => String::new(),
    };
    let member = names.binding_member(&queue.routing_key, &pattern, &queue.name);
    pipe.sadd(names.binding(&queue.exchange), &member).ignore();
    match expires_ms(queue) {
        Some(expires_ms) => {
            let deadline_ms = now_ms.saturating_add(MIN_BINDING_TTL_MS.max(expires_ms.saturating_mul(2)));
            pipe.cmd("ZADD")
                .arg(names.binding_deadlines())
                .arg("GT")
                .arg(deadline_ms)
                .arg(&queue.exchange)
                .ignore();
        }
        None => {
            pipe.sadd(names.binding_permanent(&queue.exchange), &member)
                .ignore();
        }
    }
}

fn expires_ms(queue: &QueueSpec) -> Option<u64> {
    let (_, json) = queue.arguments.iter().find(|(name, _)| name == "x-expires")?;
    json.trim().parse().ok()
}

/// Types of the exchanges that were declared here.
#[derive(Debug, Default)]
pub(crate) struct Exchanges(HashMap<String, ExchangeType>);

impl Exchanges {
    /// Remembers the exchanges of a queue.
    pub(crate) fn learn(&mut self, queue: &QueueSpec) {
        for binding in queue.bindings() {
            self.0
                .insert(binding.exchange.clone(), binding.exchange_type.clone());
        }
    }

    /// Whether an exchange was declared here as a fanout exchange.
    pub(crate) fn is_fanout(&self, exchange: &str) -> bool {
        self.0.get(exchange) == Some(&ExchangeType::Fanout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(exchange: &str, routing_key: &str) -> Target {
        Target {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
        }
    }

    fn bound(key: &str, is_topic: bool, queue: &str) -> Binding {
        Binding {
            key: key.to_owned(),
            is_topic,
            queue: queue.to_owned(),
        }
    }

    #[test]
    fn default_exchange_leads_to_the_queue_of_the_routing_key() {
        assert_eq!(queues(&target("", "q"), &Vec::new()), ["q"]);
    }

    #[test]
    fn direct_exchange_leads_to_every_queue_with_that_key() {
        let table = vec![
            bound("k", false, "b"),
            bound("k", false, "a"),
            bound("#", false, "c"),
        ];
        assert_eq!(queues(&target("x", "k"), &table), ["a", "b"]);
    }

    #[test]
    fn topic_exchange_leads_each_queue_once_to_what_its_keys_match() {
        let table = vec![
            bound("a.*", true, "q"),
            bound("*.b", true, "q"),
            bound("c", true, "r"),
        ];
        assert_eq!(queues(&target("x", "a.b"), &table), ["q"]);
    }

    #[test]
    fn topic_keys_match_as_the_expressions_of_kombu_do() {
        let cases = [
            ("feed.#", "feed.a.b", true),
            ("feed.#", "feed.", true),
            ("feed.#", "feed", false),
            ("#", "", true),
            ("*.b", "a.b", true),
            ("*.b", "a.c.b", false),
            ("*", "", false),
            ("#.b", "a.c.b", true),
            ("a.*.c", "a.ä.c", true),
            ("a.#.c", "a.c", false),
            ("a", "ab", false),
        ];
        for (binding_key, routing_key, expected) in cases {
            assert_eq!(
                matches_topic(binding_key, routing_key),
                expected,
                "{binding_key} {routing_key}"
            );
        }
    }
}
