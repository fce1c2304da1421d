//! All statements about chords.

use bytes::Bytes;
use rusqlite::{OptionalExtension, Transaction, params};

use super::documents::expiry_ms;
use crate::backend::chords::{Join, Part};

/// What is known of a chord beside its parts.
struct State {
    wanted: Option<i64>,
    arrived: i64,
    is_claimed: bool,
    is_done: bool,
}

pub(super) fn set_size(
    transaction: &Transaction<'_>,
    group_id: &str,
    size: u64,
    expires_ms: Option<i64>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO chords (group_id, size, expires_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (group_id) DO UPDATE SET size = ?2, expires_ms = ?3,
                 claim = NULL, claim_until_ms = NULL, done_until_ms = NULL",
        )?
        .execute(params![group_id, whole(size), expires_ms])?;
    Ok(())
}

pub(super) fn add(
    transaction: &Transaction<'_>,
    group_id: &str,
    more: u64,
    expires_ms: Option<i64>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO chords (group_id, added, expires_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (group_id) DO UPDATE SET added = added + ?2",
        )?
        .execute(params![group_id, whole(more), expires_ms])?;
    Ok(())
}

pub(super) fn join(transaction: &Transaction<'_>, part: &Part, now_ms: i64) -> rusqlite::Result<Join> {
    let state = state(transaction, &part.group_id, now_ms)?;
    if state.as_ref().is_some_and(|state| state.is_done) {
        return Ok(Join::Done);
    }
    let place = if part.is_ordered {
        whole(part.place())
    } else {
        i64::MAX
    };
    let expires_ms = expiry_ms(part.expires_s, now_ms);
    let added = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO chord_parts (group_id, identity, place, expires_ms, content)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            part.group_id,
            part.identity(),
            place,
            expires_ms,
            &part.content[..]
        ])?;
    if added == 1 {
        transaction
            .prepare_cached(
                "INSERT INTO chords (group_id, arrived, expires_ms) VALUES (?1, 1, ?2)
                 ON CONFLICT (group_id) DO UPDATE SET arrived = arrived + 1",
            )?
            .execute(params![part.group_id, expires_ms])?;
    }
    let Some(State {
        wanted: Some(wanted),
        arrived,
        is_claimed,
        ..
    }) = state
    else {
        return Ok(Join::Open);
    };
    // To count the rows at every part would make a chord cost the square of its size; parts that
    // expired meanwhile are still among those that have arrived.
    if arrived + i64::from(added == 1) < wanted || count(transaction, &part.group_id)? < wanted {
        return Ok(Join::Open);
    }
    if is_claimed {
        return Ok(Join::Taken);
    }
    transaction
        .prepare_cached("UPDATE chords SET claim = ?2, claim_until_ms = ?3 WHERE group_id = ?1")?
        .execute(params![
            part.group_id,
            part.token,
            expiry_ms(Some(part.claim_s), now_ms)
        ])?;
    Ok(Join::Complete(parts(transaction, &part.group_id)?))
}

fn count(transaction: &Transaction<'_>, group_id: &str) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached("SELECT count(*) FROM chord_parts WHERE group_id = ?1")?
        .query_row([group_id], |row| row.get(0))
}

fn state(transaction: &Transaction<'_>, group_id: &str, now_ms: i64) -> rusqlite::Result<Option<State>> {
    transaction
        .prepare_cached(
            "SELECT size + added, coalesce(claim_until_ms > ?2, 0), coalesce(done_until_ms > ?2, 0),
                 arrived
             FROM chords WHERE group_id = ?1",
        )?
        .query_row(params![group_id, now_ms], |row| {
            Ok(State {
                wanted: row.get(0)?,
                is_claimed: row.get(1)?,
                is_done: row.get(2)?,
                arrived: row.get(3)?,
            })
        })
        .optional()
}

fn parts(transaction: &Transaction<'_>, group_id: &str) -> rusqlite::Result<Vec<Bytes>> {
    let mut select = transaction
        .prepare_cached("SELECT content FROM chord_parts WHERE group_id = ?1 ORDER BY place, rowid")?;
    let rows = select.query_map([group_id], |row| {
        Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?))
    })?;
    rows.collect()
}

pub(super) fn keep_claim(
    transaction: &Transaction<'_>,
    group_id: &str,
    token: &str,
    until_ms: Option<i64>,
) -> rusqlite::Result<bool> {
    let changed = transaction
        .prepare_cached("UPDATE chords SET claim_until_ms = ?3 WHERE group_id = ?1 AND claim = ?2")?
        .execute(params![group_id, token, until_ms])?;
    Ok(changed == 1)
}

pub(super) fn close(
    transaction: &Transaction<'_>,
    group_id: &str,
    token: &str,
    done_until_ms: Option<i64>,
) -> rusqlite::Result<bool> {
    let changed = transaction
        .prepare_cached(
            "UPDATE chords SET size = NULL, added = 0, arrived = 0, claim = NULL, claim_until_ms = NULL,
                 done_until_ms = ?3, expires_ms = ?3
             WHERE group_id = ?1 AND claim = ?2",
        )?
        .execute(params![group_id, token, done_until_ms])?;
    if changed == 1 {
        transaction
            .prepare_cached("DELETE FROM chord_parts WHERE group_id = ?1")?
            .execute([group_id])?;
    }
    Ok(changed == 1)
}

pub(super) fn fail(transaction: &Transaction<'_>, group_id: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE chords SET size = NULL WHERE group_id = ?1")?
        .execute([group_id])?;
    Ok(())
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
