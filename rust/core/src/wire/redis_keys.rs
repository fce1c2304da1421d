//! Names on Redis: queues and their priority steps, bindings, what is unacked, results.
//!
//! Source: kombu 5.7 `transport/redis.py`, celery 5.7 `backends/redis.py`; recorded keys.

/// What kombu puts between the parts of a name.
pub const DEFAULT_SEP: &str = "\x06\x16";
/// kombu's priority steps.
pub const DEFAULT_PRIORITY_STEPS: [u8; 4] = [0, 3, 6, 9];
/// Hash: delivery tag → `[envelope, exchange, routing_key]`.
pub const UNACKED: &str = "unacked";
/// Sorted set: delivery tag → time of delivery in seconds.
pub const UNACKED_INDEX: &str = "unacked_index";
/// Lock of the restore sweep.
pub const UNACKED_MUTEX: &str = "unacked_mutex";
/// Sorted set: exchange → deadline of its binding table in ms.
pub const BINDING_DEADLINES: &str = "_kombu.binding_deadlines";

/// The step that a message of `priority` waits in: the greatest one that is not above it.
/// Priorities are clamped to 0..=9. 0 is served first.
pub fn priority_step(priority: i64, steps: &[u8]) -> u8 {
    let clamped = u8::try_from(priority.clamp(0, 9)).unwrap_or(0);
    steps
        .iter()
        .copied()
        .filter(|step| *step <= clamped)
        .max()
        .unwrap_or(0)
}

/// The list of a queue and priority step; step 0 has the queue's plain name.
pub fn queue(prefix: &str, name: &str, step: u8, separator: &str) -> String {
    if step == 0 {
        return format!("{prefix}{name}");
    }
    format!("{prefix}{name}{separator}{step}")
}

/// The set of an exchange's bindings.
pub fn binding(prefix: &str, exchange: &str) -> String {
    format!("{prefix}_kombu.binding.{exchange}")
}

/// The set of those bindings whose queues do not expire.
pub fn binding_permanent(prefix: &str, exchange: &str) -> String {
    format!("{prefix}_kombu.binding_permanent.{exchange}")
}

/// A member of a binding set. `pattern` is empty but for topic exchanges.
pub fn binding_member(routing_key: &str, pattern: &str, queue: &str, separator: &str) -> String {
    format!("{routing_key}{separator}{pattern}{separator}{queue}")
}

/// The regular expression that kombu stores for a topic binding: `*` is one word, `#` anything.
pub fn topic_pattern(binding_key: &str) -> String {
    let words: Vec<String> = binding_key
        .split('.')
        .map(|word| match word {
            "*" => r"[^\.]+".to_owned(),
            "#" => ".*?".to_owned(),
            other => escape_regex(other),
        })
        .collect();
    format!("^{}$", words.join(r"\."))
}

/// Escapes what Python's `re.escape` escapes.
fn escape_regex(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for character in word.chars() {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// The channel of a fanout exchange. `fanout_prefix` is `/{db}.` unless the user changed it;
/// `routing_key` is empty when patterns are off.
pub fn fanout_channel(prefix: &str, fanout_prefix: &str, exchange: &str, routing_key: &str) -> String {
    let slash = if routing_key.is_empty() { "" } else { "/" };
    format!("{prefix}{fanout_prefix}{exchange}{slash}{routing_key}")
}

/// The prefix of a result store's keys: Celery adds `_` unless the user's ends in one of `:_-.`.
pub fn result_prefix(global_keyprefix: &str) -> String {
    if global_keyprefix.is_empty() || global_keyprefix.ends_with([':', '_', '-', '.']) {
        return global_keyprefix.to_owned();
    }
    format!("{global_keyprefix}_")
}

/// The key (and channel) of a task's result document.
pub fn task_meta(prefix: &str, task_id: &str) -> String {
    format!("{prefix}celery-task-meta-{task_id}")
}

/// The key of a saved group; the keys of a chord add `.j`, `.s`, `.t`, `.d` or `.c`.
pub fn taskset_meta(prefix: &str, group_id: &str) -> String {
    format!("{prefix}celery-taskset-meta-{group_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_fall_to_the_step_below() {
        let steps = [-1, 0, 2, 3, 5, 6, 8, 9, 200].map(|p| priority_step(p, &DEFAULT_PRIORITY_STEPS));
        assert_eq!(steps, [0, 0, 0, 3, 3, 6, 6, 9, 9]);
    }

    #[test]
    fn a_queue_has_its_plain_name_at_step_zero() {
        assert_eq!(queue("", "celery", 0, DEFAULT_SEP), "celery");
        assert_eq!(queue("pre_", "celery", 3, DEFAULT_SEP), "pre_celery\x06\x163");
    }

    #[test]
    fn a_topic_key_becomes_the_expression_that_kombu_stores() {
        assert_eq!(topic_pattern("feed.#"), r"^feed\..*?$");
        assert_eq!(topic_pattern("a-b.*.c"), r"^a\-b\.[^\.]+\.c$");
    }

    #[test]
    fn channels_and_bindings_are_named_as_recorded() {
        assert_eq!(fanout_channel("", "/5.", "celery.pidbox", ""), "/5.celery.pidbox");
        assert_eq!(
            fanout_channel("", "/5.", "celeryev", "worker.heartbeat"),
            "/5.celeryev/worker.heartbeat"
        );
        assert_eq!(
            binding_member("celery", "", "celery", DEFAULT_SEP),
            "celery\x06\x16\x06\x16celery"
        );
    }

    #[test]
    fn a_result_prefix_ends_in_a_separator() {
        assert_eq!(result_prefix(""), "");
        assert_eq!(result_prefix("app"), "app_");
        assert_eq!(result_prefix("app:"), "app:");
        assert_eq!(task_meta("app_", "x"), "app_celery-task-meta-x");
    }
}
