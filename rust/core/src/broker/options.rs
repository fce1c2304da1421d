//! Transport options: which exist, which have an effect, and their typed reading.
//!
//! Source: the option names of kombu's transports (`protocol.md` 4.7 for Redis).

use std::time::Duration;

use super::url::Scheme;
use crate::error::{Error, Result};

/// Options that have an effect, and with which brokers and stores.
const HONOURED: &[(&str, &[Scheme])] = &[
    ("confirm_publish", &[Scheme::Amqp]),
    ("confirm_timeout", &[Scheme::Amqp]),
    ("connect_timeout", &[Scheme::Amqp]),
    ("consumer_timeout", &[Scheme::Amqp]),
    ("delayed_queue_type", &[Scheme::Amqp]),
    ("fanout_patterns", &[Scheme::Redis]),
    ("fanout_prefix", &[Scheme::Redis]),
    ("global_keyprefix", &[Scheme::Redis]),
    ("heartbeat", &[Scheme::Amqp]),
    ("lease_timeout", &[Scheme::Redis, Scheme::Sqlite, Scheme::Memory]),
    ("mandatory", &[Scheme::Amqp]),
    ("master_name", &[Scheme::Redis]),
    ("min_other_sentinels", &[Scheme::Redis]),
    ("poll_interval", &[Scheme::Sqlite]),
    ("priority_steps", &[Scheme::Redis]),
    ("sentinel_kwargs", &[Scheme::Redis]),
    ("sep", &[Scheme::Redis]),
    ("socket_connect_timeout", &[Scheme::Redis]),
    ("socket_timeout", &[Scheme::Redis]),
    ("ssl", &[Scheme::Amqp, Scheme::Redis]),
    ("ssl_ca_certs", &[Scheme::Amqp, Scheme::Redis]),
    ("ssl_cert_reqs", &[Scheme::Amqp, Scheme::Redis]),
    ("ssl_certfile", &[Scheme::Amqp, Scheme::Redis]),
    ("ssl_check_hostname", &[Scheme::Amqp, Scheme::Redis]),
    ("ssl_keyfile", &[Scheme::Amqp, Scheme::Redis]),
    ("ssl_min_version", &[Scheme::Amqp, Scheme::Redis]),
    ("ssl_server_hostname", &[Scheme::Amqp, Scheme::Redis]),
    ("synchronous", &[Scheme::Sqlite]),
    ("unacked_index_key", &[Scheme::Redis]),
    ("unacked_key", &[Scheme::Redis]),
    ("unacked_mutex_expire", &[Scheme::Redis]),
    ("unacked_mutex_key", &[Scheme::Redis]),
    ("unacked_restore_interval", &[Scheme::Redis]),
    ("unacked_restore_limit", &[Scheme::Redis]),
    ("unacked_restore_throttle", &[Scheme::Redis]),
    ("visibility_timeout", &[Scheme::Redis]),
];

/// Options of kombu's transports and Celery's result backends that are accepted without effect.
const KNOWN: &[&str] = &[
    "ack_emulation",
    "body_encoding",
    "channel_max",
    "client_name",
    "client_properties",
    "connect_retries_timeout",
    "deadletter_queue",
    "frame_max",
    "health_check_interval",
    "interval_max",
    "interval_start",
    "interval_step",
    "login_method",
    "max_connections",
    "max_retries",
    "polling_interval",
    "queue_order_strategy",
    "read_timeout",
    "reauth_check_interval",
    "result_chord_join_timeout",
    "result_chord_ordered",
    "retry_on_timeout",
    "retry_policy",
    "sentinel_fanout_compat",
    "socket_keepalive",
    "socket_keepalive_options",
    "socket_settings",
    "write_timeout",
];

/// Transport options as `(name, JSON text)`; every name is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(Vec<(String, String)>);

impl Options {
    /// Takes options over.
    ///
    /// # Errors
    /// [`Error::BadUrl`] for a name that no transport knows; it names those that exist.
    pub fn check(scheme: Scheme, all: Vec<(String, String)>) -> Result<Self> {
        for (name, _) in &all {
            if !is_honoured_anywhere(name) && !KNOWN.contains(&name.as_str()) {
                let honoured = honoured(scheme).collect::<Vec<_>>().join(", ");
                // What is no name may be the rest of a password.
                let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                let name = if is_name { name } else { "?" };
                return Err(bad(format!(
                    "unknown transport option {name:?}; known: {honoured}"
                )));
            }
        }
        Ok(Self(all))
    }

    /// Names and values (JSON text), later ones win.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, json)| (name.as_str(), json.as_str()))
    }

    /// Names that are accepted and have no effect with `scheme`, each once.
    pub(super) fn not_honoured(&self, scheme: Scheme) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.retain(|name| !honoured(scheme).any(|known| known == *name));
        names.sort_unstable();
        names.dedup();
        names
    }

    fn value(&self, name: &str) -> Result<Option<serde_json::Value>> {
        let Some((_, json)) = self.0.iter().rev().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        match serde_json::from_str(json) {
            Ok(serde_json::Value::Null) => Ok(None),
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(wrong(name, "a JSON value", json)),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// [`Error::BadUrl`] when the value is something else.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        match self.value(name)? {
            None => Ok(None),
            Some(serde_json::Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a text", &other)),
        }
    }

    /// A word, or a number for which somebody's enumeration stands.
    ///
    /// # Errors
    /// [`Error::BadUrl`] when the value is something else.
    pub fn word(&self, name: &str) -> Result<Option<String>> {
        match self.value(name)? {
            Some(serde_json::Value::Number(number)) => Ok(Some(number.to_string())),
            _ => self.text(name),
        }
    }

    /// Options within an option.
    ///
    /// # Errors
    /// [`Error::BadUrl`] when the value is no mapping.
    pub(super) fn nested(&self, name: &str) -> Result<Self> {
        match self.value(name)? {
            None => Ok(Self::default()),
            Some(serde_json::Value::Object(members)) => Ok(Self(
                members
                    .into_iter()
                    .map(|(name, value)| (name, value.to_string()))
                    .collect(),
            )),
            // Its value is not shown: there may be a password in it.
            Some(_) => Err(bad(format!("transport option {name:?} is a mapping"))),
        }
    }

    /// Whether an option asks for TLS, whatever the scheme.
    pub(super) fn asks_for_tls(&self) -> bool {
        match self.value("ssl") {
            Ok(Some(asked)) => asked == serde_json::Value::Bool(true),
            _ => self
                .iter()
                .any(|(name, json)| name.starts_with("ssl_") && json != "null"),
        }
    }

    /// A duration, from a number of seconds above zero.
    ///
    /// # Errors
    /// [`Error::BadUrl`] when the value is something else.
    pub fn seconds(&self, name: &str) -> Result<Option<Duration>> {
        let Some(value) = self.value(name)? else {
            return Ok(None);
        };
        value
            .as_f64()
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(Some)
            .ok_or_else(|| wrong(name, "a number of seconds above 0", &value))
    }

    /// A whole number from 0.
    ///
    /// # Errors
    /// [`Error::BadUrl`] when the value is something else.
    pub fn count(&self, name: &str) -> Result<Option<u64>> {
        let Some(value) = self.value(name)? else {
            return Ok(None);
        };
        value
            .as_u64()
            .map(Some)
            .ok_or_else(|| wrong(name, "a whole number from 0", &value))
    }

    /// A truth value.
    ///
    /// # Errors
    /// [`Error::BadUrl`] when the value is something else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.value(name)? {
            None => Ok(None),
            Some(serde_json::Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(name, "true or false", &other)),
        }
    }

    /// A list of numbers from 0 to 255.
    ///
    /// # Errors
    /// [`Error::BadUrl`] when the value is something else.
    pub fn steps(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(value) = self.value(name)? else {
            return Ok(None);
        };
        serde_json::from_value::<Vec<u8>>(value.clone())
            .ok()
            .filter(|steps| !steps.is_empty())
            .map(Some)
            .ok_or_else(|| wrong(name, "a list of numbers from 0 to 255", &value))
    }
}

fn honoured(scheme: Scheme) -> impl Iterator<Item = &'static str> {
    HONOURED
        .iter()
        .filter(move |(_, schemes)| schemes.contains(&scheme))
        .map(|(name, _)| *name)
}

fn is_honoured_anywhere(name: &str) -> bool {
    HONOURED.iter().any(|(known, _)| *known == name)
}

fn bad(detail: String) -> Error {
    Error::BadUrl { detail }
}

fn wrong(name: &str, expected: &str, found: &dyn std::fmt::Display) -> Error {
    bad(format!("transport option {name:?} is {expected}, not {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str, json: &str) -> Options {
        Options::check(Scheme::Redis, vec![(name.to_owned(), json.to_owned())]).unwrap()
    }

    #[test]
    fn known_option_without_effect_is_named() {
        assert_eq!(
            options("max_connections", "3").not_honoured(Scheme::Redis),
            ["max_connections"]
        );
        assert!(options("sep", "\":\"").not_honoured(Scheme::Redis).is_empty());
        assert_eq!(options("sep", "\":\"").not_honoured(Scheme::Sqlite), ["sep"]);
    }

    #[test]
    fn value_of_the_wrong_kind_is_refused_with_the_name() {
        for json in ["-1", "0", "\"5\"", "[]", "1e400"] {
            let message = options("visibility_timeout", json)
                .seconds("visibility_timeout")
                .unwrap_err()
                .to_string();
            assert!(message.contains("visibility_timeout"), "{message}");
        }
        assert!(
            options("priority_steps", "[0, 300]")
                .steps("priority_steps")
                .is_err()
        );
    }

    #[test]
    fn values_are_read_from_json() {
        assert_eq!(
            options("sep", r#""\u0006\u0016""#).text("sep").unwrap().unwrap(),
            "\u{6}\u{16}"
        );
        assert_eq!(
            options("priority_steps", "[0, 5]")
                .steps("priority_steps")
                .unwrap(),
            Some(vec![0, 5])
        );
        assert_eq!(
            options("socket_timeout", "null")
                .seconds("socket_timeout")
                .unwrap(),
            None
        );
        assert_eq!(
            options("unacked_restore_limit", "9")
                .count("unacked_restore_limit")
                .unwrap(),
            Some(9)
        );
    }
}
