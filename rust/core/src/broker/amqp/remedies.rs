//! What to do about a refusal. The server has one code for very different things, so that its words
//! decide.

use lapin::protocol::AMQPSoftError;

/// Words of a refusal, and what to do about it; the first that fits.
const BY_WORDS: [(&str, &str); 6] = [
    (
        "delivery acknowledgement on channel",
        "a task ran, or waited, longer than the server's consumer_timeout: raise that (in its \
         configuration, or by the queue's x-consumer-timeout or a policy; since RabbitMQ 4.3 also by the \
         transport option \"consumer_timeout\"), or let such tasks acknowledge early",
    ),
    (
        "inequivalent arg",
        "declare it with the arguments it has, or delete it on the server",
    ),
    (
        "larger than configured max size",
        "keep it within the server's max_message_size: send where the data is, not the data",
    ),
    (
        "user_id property",
        "leave user_id out, or let it be the user of the connection",
    ),
    ("reserved prefix", "choose a name that does not begin so"),
    (
        "in exclusive use",
        "somebody else consumes it alone: end that consumer, or consume another queue; it is tried again",
    ),
];

/// What to do about a refusal.
pub(super) fn remedy(error: &AMQPSoftError, words: &str) -> &'static str {
    let by_words = BY_WORDS.iter().find(|(part, _)| words.contains(part));
    if let Some((_, remedy)) = by_words {
        return remedy;
    }
    match error {
        AMQPSoftError::NOTFOUND => "declare it first, or correct its name",
        AMQPSoftError::ACCESSREFUSED => "give the user this permission (rabbitmqctl set_permissions)",
        AMQPSoftError::RESOURCELOCKED => {
            "another connection owns it exclusively: use another name, or end that connection"
        }
        AMQPSoftError::PRECONDITIONFAILED
        | AMQPSoftError::CONTENTTOOLARGE
        | AMQPSoftError::NOCONSUMERS
        | AMQPSoftError::NOROUTE => "see the server's log",
    }
}
