//! All statements about messages.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{OptionalExtension, Statement, Transaction, params};

use super::rows::{COLUMNS, pack, read, whole};
use crate::broker::topology::{ExchangeType, QueueSpec, priority_step};
use crate::broker::{AckToken, Aside, Delivery, History, Verdict};
use crate::wire::message::{Outgoing, Target};

/// The owner of what is set aside.
const ASIDE: i64 = 0;

/// The queues a target leads to.
type Route = Vec<String>;

/// Inserts messages, in order; the routes say where each of them went.
pub(super) fn insert<'a>(
    transaction: &Transaction<'_>,
    messages: impl Iterator<Item = &'a Outgoing>,
) -> rusqlite::Result<Vec<Route>> {
    let mut known: HashMap<&Target, Route> = HashMap::new();
    let mut insert = transaction.prepare_cached(
        "INSERT INTO messages (queue, step, exchange, routing_key, properties, headers, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut routes = Vec::new();
    for Outgoing { message, target, .. } in messages {
        let route = match known.get(target) {
            Some(route) => route.clone(),
            None => known
                .entry(target)
                .or_insert(route_of(transaction, target)?)
                .clone(),
        };
        let properties = pack(&message.properties);
        for queue in &route {
            insert.execute(params![
                queue,
                priority_step(message.properties.priority),
                target.exchange,
                target.routing_key,
                properties,
                &message.headers[..],
                &message.body[..],
            ])?;
        }
        routes.push(route);
    }
    Ok(routes)
}

fn route_of(transaction: &Transaction<'_>, target: &Target) -> rusqlite::Result<Route> {
    if target.exchange.is_empty() {
        return Ok(vec![target.routing_key.clone()]);
    }
    let mut select = transaction
        .prepare_cached("SELECT exchange_type, routing_key, queue FROM bindings WHERE exchange = ?1")?;
    let mut rows = select.query([&target.exchange])?;
    let mut route = Route::new();
    while let Some(row) = rows.next()? {
        let kind = ExchangeType::from_name(row.get_ref(0)?.as_str()?).unwrap_or_default();
        let queue: String = row.get(2)?;
        if kind.routes(row.get_ref(1)?.as_str()?, &target.routing_key) && !route.contains(&queue) {
            route.push(queue);
        }
    }
    Ok(route)
}

pub(super) fn is_bound(transaction: &Transaction<'_>, queue: &QueueSpec) -> rusqlite::Result<bool> {
    if queue.exchange.is_empty() || queue.is_exchange() || queue.no_declare {
        return Ok(true);
    }
    transaction
        .prepare_cached(
            "SELECT 1 FROM bindings
             WHERE exchange = ?1 AND routing_key = ?2 AND queue = ?3 AND exchange_type = ?4",
        )?
        .exists(params![
            queue.exchange,
            queue.routing_key,
            queue.name,
            queue.exchange_type.name()
        ])
}

/// Binds a queue; with `owner`, until that ends.
pub(super) fn bind(
    transaction: &Transaction<'_>,
    queue: &QueueSpec,
    owner: Option<i64>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO bindings (exchange, exchange_type, routing_key, queue, owner)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            queue.exchange,
            queue.exchange_type.name(),
            queue.routing_key,
            queue.name,
            owner
        ])?;
    Ok(())
}

pub(super) fn purge(transaction: &Transaction<'_>, queue: &str) -> rusqlite::Result<u64> {
    let purged = transaction
        .prepare_cached("DELETE FROM messages WHERE queue = ?1 AND owner IS NULL AND run_at_ms IS NULL")?
        .execute([queue])?;
    Ok(u64::try_from(purged).unwrap_or(u64::MAX))
}

pub(super) fn depth(transaction: &Transaction<'_>, queue: &str) -> rusqlite::Result<u64> {
    transaction
        .prepare_cached(
            "SELECT count(*) FROM messages WHERE queue = ?1 AND owner IS NULL AND run_at_ms IS NULL",
        )?
        .query_row([queue], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}

/// What a reservation would find.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Something waits, or is due.
    Now,
    /// Nothing until that time (milliseconds since the epoch), unless something is published.
    At(i64),
    /// Nothing.
    Nothing,
}

pub(super) fn outlook(
    transaction: &Transaction<'_>,
    queues: &[String],
    now_ms: i64,
) -> rusqlite::Result<Outlook> {
    let mut waiting = transaction.prepare_cached(
        "SELECT 1 FROM messages WHERE queue = ?1 AND owner IS NULL AND run_at_ms IS NULL LIMIT 1",
    )?;
    // A cast makes a number of whatever is there, and leaves NULL.
    let mut delayed = transaction.prepare_cached(
        "SELECT CAST(min(run_at_ms) AS INTEGER) FROM messages WHERE queue = ?1 AND run_at_ms IS NOT NULL",
    )?;
    let mut next: Option<i64> = None;
    for queue in queues {
        if waiting.exists([queue])? {
            return Ok(Outlook::Now);
        }
        let due: Option<i64> = delayed.query_row([queue], |row| row.get(0))?;
        next = due.into_iter().chain(next).min();
    }
    Ok(match next {
        Some(due_ms) if due_ms <= now_ms => Outlook::Now,
        Some(due_ms) => Outlook::At(due_ms),
        None => Outlook::Nothing,
    })
}

/// Lets what is due wait like everything else, in its old place; at most `room` of each queue.
///
/// Text and blobs, which another program has written there, come after all numbers: they would
/// never be due, and are so at once. The worker looks at a message's eta itself.
pub(super) fn promote(
    transaction: &Transaction<'_>,
    queues: &[String],
    now_ms: i64,
    room: usize,
) -> rusqlite::Result<()> {
    let mut update = transaction.prepare_cached(
        "UPDATE messages SET run_at_ms = NULL
         WHERE id IN (
             SELECT id FROM (
                 SELECT id FROM messages WHERE queue = ?1 AND run_at_ms IS NOT NULL AND run_at_ms <= ?2
                 ORDER BY run_at_ms LIMIT ?3)
             UNION ALL
             SELECT id FROM messages WHERE queue = ?1 AND run_at_ms IS NOT NULL AND run_at_ms >= '')",
    )?;
    let limit = i64::try_from(room).unwrap_or(i64::MAX);
    for queue in queues {
        update.execute(params![queue, now_ms, limit])?;
    }
    Ok(())
}

/// Leases at most `room` messages to `owner`: an equal share of each queue, and what some leave
/// over to the others, handed out in turn.
pub(super) fn lease(
    transaction: &Transaction<'_>,
    queues: &[String],
    owner: i64,
    room: usize,
) -> rusqlite::Result<Vec<Delivery>> {
    let mut taken: Vec<Vec<Delivery>> = queues.iter().map(|_| Vec::new()).collect();
    let mut open: Vec<usize> = (0..queues.len()).collect();
    let mut left = room;
    while left > 0 && !open.is_empty() {
        let share = left.div_ceil(open.len());
        let mut still_open = Vec::new();
        for index in open {
            let wanted = share.min(left);
            let more = lease_of(transaction, &queues[index], owner, wanted)?;
            left -= more.len();
            if more.len() == wanted {
                still_open.push(index);
            }
            taken[index].extend(more);
        }
        open = still_open;
    }
    Ok(in_turn(taken))
}

fn in_turn(lists: Vec<Vec<Delivery>>) -> Vec<Delivery> {
    let mut all = Vec::with_capacity(lists.iter().map(Vec::len).sum());
    let mut rest: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    while !rest.is_empty() {
        rest.retain_mut(|list| list.next().map(|delivery| all.push(delivery)).is_some());
    }
    all
}

fn lease_of(
    transaction: &Transaction<'_>,
    queue: &str,
    owner: i64,
    room: usize,
) -> rusqlite::Result<Vec<Delivery>> {
    if room == 0 {
        return Ok(Vec::new());
    }
    let mut update = transaction.prepare_cached(
        "UPDATE messages SET owner = ?1, deliveries = deliveries + 1
         WHERE id IN (
             SELECT id FROM messages WHERE queue = ?2 AND owner IS NULL AND run_at_ms IS NULL
             ORDER BY step, id LIMIT ?3)
         RETURNING exchange, routing_key, properties, headers, body, id, step, deliveries, losses",
    )?;
    let limit = i64::try_from(room).unwrap_or(i64::MAX);
    let mut rows = update.query(params![owner, queue, limit])?;
    let mut placed = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, step, deliveries): (i64, i64, i64) = (row.get(5)?, whole(row, 6)?, whole(row, 7)?);
        let (message, target) = read(row)?;
        let delivery = Delivery {
            message,
            target,
            queue: queue.to_owned(),
            redelivered: deliveries > 1,
            losses: whole(row, 8)?,
            token: AckToken {
                tag: tag(id),
                epoch: owner.unsigned_abs(),
            },
        };
        placed.push(((step, id), delivery));
    }
    // RETURNING promises no order.
    placed.sort_unstable_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, delivery)| delivery).collect())
}

/// A name for one lease. The id alone is not: the last message's is given again once it is gone.
fn tag(id: i64) -> String {
    static LAST_LEASE: AtomicU64 = AtomicU64::new(0);
    format!("{id}-{}", LAST_LEASE.fetch_add(1, Ordering::Relaxed))
}

fn id_of(tag: &str) -> Option<i64> {
    let (id, _) = tag.split_once('-')?;
    id.parse().ok()
}

/// Carries out a verdict on a lease of `token`'s owner. Returns the queue that a message went
/// back to, now or later; a lease that is lost changes nothing. `history` is that of what is set
/// aside, but for the losses.
pub(super) fn settle(
    transaction: &Transaction<'_>,
    token: &AckToken,
    verdict: &Verdict,
    history: &History,
) -> rusqlite::Result<Option<String>> {
    let (Some(id), Ok(owner)) = (id_of(&token.tag), i64::try_from(token.epoch)) else {
        return Ok(None);
    };
    match verdict {
        Verdict::Ack | Verdict::Reject => transaction
            .prepare_cached("DELETE FROM messages WHERE id = ?1 AND owner = ?2")?
            .execute([id, owner])
            .map(|_| None),
        Verdict::Requeue => transaction
            .prepare_cached("UPDATE messages SET owner = NULL WHERE id = ?1 AND owner = ?2 RETURNING queue")?
            .query_row([id, owner], |row| row.get(0))
            .optional(),
        Verdict::RequeueLost => transaction
            .prepare_cached(
                "UPDATE messages SET owner = NULL, losses = losses + 1
                 WHERE id = ?1 AND owner = ?2 RETURNING queue",
            )?
            .query_row([id, owner], |row| row.get(0))
            .optional(),
        Verdict::SetAside(reason) | Verdict::SetAsideLost(reason) => {
            let at_ms = i64::try_from(history.at_unix_ms).unwrap_or(i64::MAX);
            transaction
                .prepare_cached(
                    "UPDATE messages SET owner = ?3, reason = ?4, aside_at_ms = ?5, aside_by = ?6,
                         losses = losses + ?7
                     WHERE id = ?1 AND owner = ?2",
                )?
                .execute(params![
                    id,
                    owner,
                    ASIDE,
                    reason,
                    at_ms,
                    history.worker,
                    verdict.is_loss(),
                ])
                .map(|_| None)
        }
        // Who waits may have to wake earlier than it thinks. It was not delivered: nobody saw it.
        Verdict::Delay { until_unix_ms } => transaction
            .prepare_cached(
                "UPDATE messages SET owner = NULL, run_at_ms = ?3, deliveries = deliveries - 1
                 WHERE id = ?1 AND owner = ?2 RETURNING queue",
            )?
            .query_row(
                params![id, owner, i64::try_from(*until_unix_ms).unwrap_or(i64::MAX)],
                |row| row.get(0),
            )
            .optional(),
    }
}

/// Hands everything that `owner` holds back, ends the queues that are its own, and strikes it off;
/// returns how many messages went back. With `is_lost` each of them counts as a loss.
pub(super) fn release(transaction: &Transaction<'_>, owner: i64, is_lost: bool) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached("DELETE FROM messages WHERE queue IN (SELECT queue FROM bindings WHERE owner = ?1)")?
        .execute([owner])?;
    transaction
        .prepare_cached("DELETE FROM bindings WHERE owner = ?1")?
        .execute([owner])?;
    transaction
        .prepare_cached("DELETE FROM owners WHERE id = ?1")?
        .execute([owner])?;
    transaction
        .prepare_cached("UPDATE messages SET owner = NULL, losses = losses + ?2 WHERE owner = ?1")?
        .execute([owner, i64::from(is_lost)])
}

pub(super) fn list_aside(
    transaction: &Transaction<'_>,
    queue: &str,
    max: usize,
) -> rusqlite::Result<Vec<Aside>> {
    let mut select = transaction.prepare_cached(&format!(
        "SELECT {COLUMNS}, id, reason, aside_at_ms, aside_by, losses
         FROM messages WHERE owner = ?1 AND queue = ?2 ORDER BY id LIMIT ?3"
    ))?;
    let limit = i64::try_from(max).unwrap_or(i64::MAX);
    let rows = select.query_map(params![ASIDE, queue, limit], |row| {
        let (message, target) = read(row)?;
        Ok(Aside {
            tag: row.get::<_, i64>(5)?.to_string(),
            reason: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
            message,
            target,
            history: History {
                at_unix_ms: row.get::<_, Option<i64>>(7)?.map_or(0, i64::unsigned_abs),
                worker: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
                losses: whole(row, 9)?,
            },
        })
    })?;
    rows.collect()
}

pub(super) fn restore_aside(
    transaction: &Transaction<'_>,
    queue: &str,
    tags: &[String],
) -> rusqlite::Result<u64> {
    let mut update = transaction.prepare_cached(
        "UPDATE messages SET owner = NULL, reason = NULL, losses = 0, aside_at_ms = NULL, aside_by = NULL
         WHERE id = ?1 AND owner = ?2 AND queue = ?3",
    )?;
    for_each_aside(&mut update, queue, tags)
}

pub(super) fn drop_aside(
    transaction: &Transaction<'_>,
    queue: &str,
    tags: &[String],
) -> rusqlite::Result<u64> {
    let mut delete =
        transaction.prepare_cached("DELETE FROM messages WHERE id = ?1 AND owner = ?2 AND queue = ?3")?;
    for_each_aside(&mut delete, queue, tags)
}

/// Executes a statement for each tag; returns how many messages it concerned.
fn for_each_aside(statement: &mut Statement<'_>, queue: &str, tags: &[String]) -> rusqlite::Result<u64> {
    let mut count = 0;
    for id in tags.iter().filter_map(|tag| tag.parse::<i64>().ok()) {
        count += statement.execute(params![id, ASIDE, queue])?;
    }
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}
