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

/// The bindings of one exchange: `(binding key, queue)`.
pub(crate) type Table = Vec<(String, String)>;

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
            let (routing_key, queue) = names.read_binding(&member)?;
            Some((routing_key.to_owned(), queue.to_owned()))
        })
        .collect();
    table.sort_unstable();
    Ok(table)
}

/// The queues that a message for `target` reaches; `kind` is the type of its exchange as far as we
/// know (kombu: one that nobody declared here is direct).
pub(crate) fn queues(target: &Target, kind: &ExchangeType, table: &Table) -> Vec<String> {
    if target.exchange.is_empty() {
        return vec![target.routing_key.clone()];
    }
    let mut queues: Vec<String> = table
        .iter()
        .filter(|(binding_key, _)| match kind {
            ExchangeType::Topic => matches_topic(binding_key, &target.routing_key),
            ExchangeType::Direct => *binding_key == target.routing_key,
            ExchangeType::Fanout | ExchangeType::Headers => false,
        })
        .map(|(_, queue)| queue.clone())
        .collect();
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

/// The commands that declare a queue's binding, as kombu sends them; none for the default exchange.
pub(crate) fn declare(pipe: &mut redis::Pipeline, names: &Names, queue: &QueueSpec, now_ms: u64) {
    if queue.exchange.is_empty() {
        return;
    }
    let pattern = match queue.exchange_type {
        ExchangeType::Topic => redis_keys::topic_pattern(&queue.routing_key),
        ExchangeType::Direct | ExchangeType::Fanout | ExchangeType::Headers => String::new(),
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
    /// Remembers the exchange of a queue.
    pub(crate) fn learn(&mut self, queue: &QueueSpec) {
        self.0.insert(queue.exchange.clone(), queue.exchange_type.clone());
    }

    /// The type of an exchange; direct unless it was declared otherwise.
    pub(crate) fn kind(&self, exchange: &str) -> ExchangeType {
        self.0.get(exchange).cloned().unwrap_or_default()
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

    #[test]
    fn default_exchange_leads_to_the_queue_of_the_routing_key() {
        assert_eq!(
            queues(&target("", "q"), &ExchangeType::Direct, &Vec::new()),
            ["q"]
        );
    }

    #[test]
    fn direct_exchange_leads_to_every_queue_with_that_key() {
        let table = vec![
            ("k".to_owned(), "a".to_owned()),
            ("k".to_owned(), "b".to_owned()),
            ("other".to_owned(), "c".to_owned()),
        ];
        assert_eq!(
            queues(&target("x", "k"), &ExchangeType::Direct, &table),
            ["a", "b"]
        );
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
