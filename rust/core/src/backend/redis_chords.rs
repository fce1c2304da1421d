//! Chords on Redis, under Celery's keys: its workers and ours join one chord together.

use bytes::Bytes;
use redis::{AsyncCommands, RedisResult};

use super::chords::{ChordStore, Join, Part};
use super::redis::RedisStore;
use crate::broker::redis::hub::Hub;
use crate::broker::redis::script;
use crate::error::Result;
use crate::time::Deadline;

/// The keys of one chord.
struct Keys {
    parts: String,
    size: String,
    added: String,
    seen: String,
    claim: String,
}

impl Keys {
    fn of(hub: &Hub, group_id: &str) -> Self {
        let key = |suffix: &str| hub.key(&format!("celery-taskset-meta-{group_id}{suffix}"));
        Self {
            parts: key(".j"),
            size: key(".s"),
            added: key(".t"),
            seen: key(".d"),
            claim: key(".c"),
        }
    }
}

impl ChordStore for RedisStore {
    fn set_chord_size(
        &self,
        group_id: &str,
        size: u64,
        expires_s: Option<u64>,
        deadline: Deadline,
    ) -> Result<()> {
        self.ask(
            "storing the size of a chord",
            deadline,
            async |hub, connection| {
                let keys = Keys::of(hub, group_id);
                let mut pipe = redis::pipe();
                pipe.atomic().del(&keys.claim).ignore();
                match expires_s {
                    None | Some(0) => pipe.set(&keys.size, size),
                    Some(seconds) => pipe.set_ex(&keys.size, size, seconds),
                };
                pipe.ignore().query_async(connection).await
            },
        )
    }

    fn add_to_chord(
        &self,
        group_id: &str,
        more: u64,
        expires_s: Option<u64>,
        deadline: Deadline,
    ) -> Result<()> {
        self.ask("adding to a chord", deadline, async |hub, connection| {
            let keys = Keys::of(hub, group_id);
            let mut pipe = redis::pipe();
            pipe.atomic().incr(&keys.added, more).ignore();
            if let Some(seconds) = expires_s.filter(|seconds| *seconds > 0) {
                let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
                pipe.expire(&keys.added, seconds).ignore();
            }
            pipe.query_async(connection).await
        })
    }

    fn join(&self, part: &Part, deadline: Deadline) -> Result<Join> {
        let mut answer: Vec<Vec<u8>> = self.ask("joining a chord", deadline, async |hub, connection| {
            let keys = Keys::of(hub, &part.group_id);
            script::CHORD_PART
                .key(keys.parts)
                .key(keys.size)
                .key(keys.added)
                .key(keys.seen)
                .key(keys.claim)
                .arg(part.identity())
                .arg(&part.content[..])
                .arg(part.position.map_or_else(String::new, |at| at.to_string()))
                .arg(u8::from(part.is_ordered))
                .arg(part.expires_s.unwrap_or(0))
                .arg(part.claim_s)
                .arg(&part.token)
                .invoke_async(connection)
                .await
        })?;
        if answer.is_empty() {
            return Ok(Join::Open);
        }
        Ok(match answer.remove(0).as_slice() {
            b"complete" => Join::Complete(answer.into_iter().map(Bytes::from).collect()),
            b"taken" => Join::Taken,
            b"done" => Join::Done,
            _ => Join::Open,
        })
    }

    fn keep_claim(&self, group_id: &str, token: &str, claim_s: u64, deadline: Deadline) -> Result<bool> {
        self.ask(
            "keeping the claim on a chord",
            deadline,
            async |hub, connection| {
                let keys = Keys::of(hub, group_id);
                let kept: RedisResult<bool> = script::CHORD_CLAIM
                    .key(keys.claim)
                    .arg(token)
                    .arg(claim_s)
                    .invoke_async(connection)
                    .await;
                kept
            },
        )
    }

    fn close_chord(&self, group_id: &str, token: &str, done_s: u64, deadline: Deadline) -> Result<bool> {
        self.ask("closing a chord", deadline, async |hub, connection| {
            let keys = Keys::of(hub, group_id);
            let closed: RedisResult<bool> = script::CHORD_CLAIM
                .key(keys.claim)
                .key(keys.parts)
                .key(keys.size)
                .key(keys.added)
                .key(keys.seen)
                .arg(token)
                .arg(done_s)
                .invoke_async(connection)
                .await;
            closed
        })
    }

    fn fail_chord(&self, group_id: &str, deadline: Deadline) -> Result<()> {
        self.ask("closing a failed chord", deadline, async |hub, connection| {
            connection.del(Keys::of(hub, group_id).size).await
        })
    }
}
