//! Waiting for messages: what this consumer reads so that a change of it rings.
//!
//! `reserve.lua` says for which queues it is armed. It reads nothing for that by itself, and has no
//! declared keys: Redis 7.0 rings for every key that a script declares as soon as the script reads one,
//! so that each consumer would hear of everything that any other one does.

use std::time::Duration;

use redis::{RedisResult, Value, from_redis_value_ref};

use super::link::Live;
use super::names::Names;
use super::script;

/// How a consumer that found nothing waits.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Waiting {
    /// Something came meanwhile: it is not to wait at all.
    pub(super) is_over: bool,
    /// Others wake it: a message wakes those.
    pub(super) is_idle: bool,
    /// How long nothing that is delayed is due.
    pub(super) next_due: Option<Duration>,
}

/// Reads the lists of the queues that this owner is armed for, and what is delayed there; of the others
/// nothing but the key that wakes it.
pub(super) async fn arm(
    live: &Live,
    names: &Names,
    owner: &str,
    queues: &[(&String, bool)],
    now_ms: u64,
) -> RedisResult<Waiting> {
    let is_idle = queues.iter().any(|(_, is_armed)| !is_armed);
    let mut pipe = redis::pipe();
    for (queue, _) in queues.iter().filter(|(_, is_armed)| *is_armed) {
        pipe.zrange_withscores(names.delayed(queue), 0, 0);
        for list in names.lists(queue) {
            pipe.llen(list);
        }
    }
    if is_idle {
        pipe.exists(format!("{}{owner}", names.wake_prefix()));
    }
    let mut connection = live.connection.clone();
    let answers: Vec<Value> = pipe.query_async(&mut connection).await?;
    let mut waiting = Waiting {
        is_idle,
        ..Waiting::default()
    };
    for answer in &answers {
        if let Ok(count) = from_redis_value_ref::<u64>(answer) {
            waiting.is_over |= count > 0;
            continue;
        }
        let due: Vec<(String, f64)> = from_redis_value_ref(answer)?;
        let due = due.first().map(|(_, due_ms)| until(*due_ms, now_ms));
        waiting.next_due = waiting.next_due.into_iter().chain(due).min();
    }
    Ok(waiting)
}

fn until(due_ms: f64, now_ms: u64) -> Duration {
    let due = Duration::try_from_secs_f64(due_ms / 1000.0).unwrap_or_default();
    due.saturating_sub(Duration::from_millis(now_ms))
}

/// Waits no more, and lets others take the places.
pub(super) async fn disarm(
    live: &mut Live,
    names: &Names,
    owner: &str,
    queues: &[String],
) -> RedisResult<()> {
    let mut call = script::DISARM.prepare_invoke();
    for queue in queues {
        call.key(names.armed(queue));
    }
    for queue in queues {
        call.key(names.idle(queue));
    }
    call.arg(owner).arg(names.wake_prefix());
    call.invoke_async::<u64>(&mut live.connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_already_is_waited_for_no_time() {
        assert_eq!(until(1_500.0, 2_000), Duration::ZERO);
        assert_eq!(until(2_500.0, 2_000), Duration::from_millis(500));
    }
}
