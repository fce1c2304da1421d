//! All statements about results.

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Transaction, params};

use crate::backend::{Put, is_success};

/// How long a document stays that a later one has replaced, for listeners in other processes.
const SUPERSEDED_MS: i64 = 60_000;
/// Expired documents that each transaction which stores some deletes on its way.
const SWEEP: i64 = 32;

/// The moment at which something expires that lives for `expires_s`.
pub(crate) fn expiry_ms(expires_s: Option<u64>, now_ms: i64) -> Option<i64> {
    let lifetime_ms = expires_s?.saturating_mul(1_000);
    Some(now_ms.saturating_add(i64::try_from(lifetime_ms).unwrap_or(i64::MAX)))
}

/// Stores documents in order, except over a SUCCESS.
pub(crate) fn store<'a>(
    transaction: &Transaction<'_>,
    puts: impl Iterator<Item = &'a Put>,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let mut has_stored = false;
    for put in puts {
        has_stored |= store_one(transaction, put, now_ms)?;
    }
    if has_stored {
        transaction
            .prepare_cached(
                "DELETE FROM results WHERE seq IN
                 (SELECT seq FROM results WHERE expires_ms <= ?1 LIMIT ?2)",
            )?
            .execute([now_ms, SWEEP])?;
    }
    Ok(())
}

fn store_one(transaction: &Transaction<'_>, put: &Put, now_ms: i64) -> rusqlite::Result<bool> {
    let expires_ms = expiry_ms(put.expires_s, now_ms);
    let current: Option<(bool, Option<i64>)> = transaction
        .prepare_cached(
            "SELECT is_success, expires_ms FROM results WHERE task_id = ?1 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([&put.task_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((is_success, current_expires_ms)) = current {
        if is_success && current_expires_ms.is_none_or(|then_ms| then_ms > now_ms) {
            return Ok(false);
        }
        // Never longer than the new one, or it would be current again afterwards.
        let superseded_ms = expires_ms
            .unwrap_or(i64::MAX)
            .min(now_ms.saturating_add(SUPERSEDED_MS));
        transaction
            .prepare_cached(
                "UPDATE results SET expires_ms = min(coalesce(expires_ms, ?2), ?2) WHERE task_id = ?1",
            )?
            .execute(params![put.task_id, superseded_ms])?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO results (task_id, expires_ms, is_success, document) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            put.task_id,
            expires_ms,
            is_success(&put.document),
            &put.document[..]
        ])?;
    Ok(true)
}

/// The current document of a task.
pub(super) fn current(
    transaction: &Transaction<'_>,
    task_id: &str,
    now_ms: i64,
) -> rusqlite::Result<Option<Bytes>> {
    let found: Option<Option<Bytes>> = transaction
        .prepare_cached(
            "SELECT expires_ms, document FROM results WHERE task_id = ?1 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([task_id], |row| {
            let expires_ms: Option<i64> = row.get(0)?;
            let is_live = expires_ms.is_none_or(|then_ms| then_ms > now_ms);
            is_live.then(|| bytes(row.get_ref(1)?)).transpose()
        })
        .optional()?;
    Ok(found.flatten())
}

fn bytes(value: ValueRef<'_>) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(value.as_blob()?))
}

/// The number of the document stored last.
pub(super) fn last_seq(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM results")?
        .query_row([], |row| row.get(0))
}

/// Hands out what was stored after `seq` and is asked for, in order; returns the last number.
pub(super) fn each_after(
    transaction: &Transaction<'_>,
    seq: i64,
    is_wanted: impl Fn(&str) -> bool,
    mut hand_out: impl FnMut(&str, &Bytes),
) -> rusqlite::Result<i64> {
    let mut last = seq;
    let mut select = transaction
        .prepare_cached("SELECT seq, task_id, document FROM results WHERE seq > ?1 ORDER BY seq")?;
    let mut rows = select.query([seq])?;
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        let task_id = row.get_ref(1)?.as_str()?;
        // Nobody's document is not even read: SQLite fetches a column when it is asked for.
        if is_wanted(task_id) {
            hand_out(task_id, &bytes(row.get_ref(2)?)?);
        }
    }
    Ok(last)
}

pub(super) fn forget(transaction: &Transaction<'_>, task_id: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM results WHERE task_id = ?1")?
        .execute([task_id])?;
    Ok(())
}

pub(super) fn put_raw(
    transaction: &Transaction<'_>,
    key: &str,
    value: &[u8],
    expires_ms: Option<i64>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO raw_values (key, expires_ms, value) VALUES (?1, ?2, ?3)")?
        .execute(params![key, expires_ms, value])?;
    Ok(())
}

pub(super) fn raw(transaction: &Transaction<'_>, key: &str, now_ms: i64) -> rusqlite::Result<Option<Bytes>> {
    transaction
        .prepare_cached(
            "SELECT value FROM raw_values WHERE key = ?1 AND (expires_ms IS NULL OR expires_ms > ?2)",
        )?
        .query_row(params![key, now_ms], |row| bytes(row.get_ref(0)?))
        .optional()
}

pub(super) fn forget_raw(transaction: &Transaction<'_>, key: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM raw_values WHERE key = ?1")?
        .execute([key])?;
    Ok(())
}

/// Deletes what has expired; returns how many values that was.
pub(super) fn cleanup(transaction: &Transaction<'_>, now_ms: i64) -> rusqlite::Result<u64> {
    let mut deleted = 0;
    for table in ["results", "raw_values", "chords", "chord_parts"] {
        deleted += transaction
            .prepare_cached(&format!("DELETE FROM {table} WHERE expires_ms <= ?1"))?
            .execute([now_ms])?;
    }
    Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
}
