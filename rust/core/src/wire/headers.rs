//! Protocol-2 headers: what a worker decides on, read in one pass.

use crate::codec::json::raw;
use crate::error::{Error, Result};

/// The headers a worker decides on. The rest is skipped, not kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peek {
    /// Name of the task. `None`: not protocol 2.
    pub task: Option<String>,
    /// The task's id.
    pub id: Option<String>,
    /// Earliest start, ISO-8601.
    pub eta: Option<String>,
    /// When it is too late, ISO-8601.
    pub expires: Option<String>,
    /// Attempts already made.
    pub retries: u32,
    /// Hard and soft time limit in seconds.
    pub timelimit: (Option<f64>, Option<f64>),
    /// MIME type (or kombu's alias) of the body's compression.
    pub compression: Option<String>,
    /// Whether kombu restored it.
    pub redelivered: bool,
    /// Whether its result is wanted by nobody; `None` leaves it to the task.
    pub ignore_result: Option<bool>,
    /// Whether people see it by another name than the task's.
    pub is_shadowed: bool,
    /// The group it belongs to.
    pub group: Option<String>,
    /// The task that sent it.
    pub parent_id: Option<String>,
}

impl Peek {
    /// Reads headers. Unknown ones are skipped; a null counts as absent.
    ///
    /// # Errors
    /// [`Error::Malformed`] names the header that is not what it must be, and protocol-2 headers
    /// without an id.
    pub fn parse(headers: &[u8]) -> Result<Self> {
        let mut peek = Self::default();
        raw::for_each_member(headers, |name, value| peek.read(&name, value))?;
        if peek.task.is_some() && peek.id.is_none() {
            return Err(malformed("id", "missing beside the header \"task\""));
        }
        Ok(peek)
    }

    /// Whether these are the headers of a task that may run at once, with a body as it is.
    pub fn is_plain(&self) -> bool {
        self.task.is_some()
            && self.id.is_some()
            && self.eta.is_none()
            && self.expires.is_none()
            && self.compression.is_none()
    }

    fn read(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "task" => self.task = text(name, value)?,
            "id" => self.id = text(name, value)?,
            "eta" => self.eta = text(name, value)?,
            "expires" => self.expires = text(name, value)?,
            "compression" => self.compression = text(name, value)?,
            "retries" => self.retries = count(name, value)?,
            "timelimit" => self.timelimit = timelimit(name, value)?,
            "redelivered" => self.redelivered = is_true(value),
            "shadow" => self.is_shadowed = is_true(value),
            "group" => self.group = string_or_none(value),
            "parent_id" => self.parent_id = string_or_none(value),
            "ignore_result" => self.ignore_result = (value != "null").then(|| is_true(value)),
            _ => {}
        }
        Ok(())
    }
}

fn malformed(name: &str, detail: &str) -> Error {
    Error::Malformed {
        what: "headers",
        detail: format!("{name:?}: {detail}"),
    }
}

/// A non-empty string; null and `""` are none.
fn text(name: &str, value: &str) -> Result<Option<String>> {
    if value == "null" {
        return Ok(None);
    }
    let text = raw::string(value)?.ok_or_else(|| malformed(name, "expected a string or null"))?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

/// A non-empty string; whatever else it may be is for those who read all headers.
fn string_or_none(value: &str) -> Option<String> {
    let text = raw::string(value).ok().flatten()?;
    (!text.is_empty()).then(|| text.into_owned())
}

fn count(name: &str, value: &str) -> Result<u32> {
    if value == "null" {
        return Ok(0);
    }
    value
        .parse()
        .map_err(|_| malformed(name, "expected a number of attempts"))
}

fn timelimit(name: &str, value: &str) -> Result<(Option<f64>, Option<f64>)> {
    if value == "null" {
        return Ok((None, None));
    }
    let wrong = || malformed(name, "expected [hard, soft] in seconds");
    let elements = raw::elements(value.as_bytes()).map_err(|_| wrong())?;
    let seconds = |text: &str| match text {
        "null" => Ok(None),
        number => match number.parse::<f64>() {
            // No comparison with NaN is ever true: nobody would be held to it.
            Ok(limit) if limit >= 0.0 => Ok(Some(limit)),
            _ => Err(wrong()),
        },
    };
    match elements[..] {
        [] => Ok((None, None)),
        [hard, soft] => Ok((seconds(hard)?, seconds(soft)?)),
        _ => Err(wrong()),
    }
}

/// Python's truth of a JSON value.
pub(super) fn is_true(value: &str) -> bool {
    !matches!(value, "false" | "null" | "0" | "0.0" | "\"\"" | "[]" | "{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_a_worker_decides_on_are_read_and_the_rest_is_skipped() {
        let headers = br#"{"lang": "py", "task": "t.add", "id": "x", "eta": "2030-01-01T00:00:00+00:00",
            "expires": null, "retries": 2, "timelimit": [10, 5.5], "stamps": {"id": "no"},
            "redelivered": true, "compression": "application/zstd", "mine": [1, {"task": 3}],
            "ignore_result": false, "shadow": "s", "group": null, "parent_id": "p"}"#;
        let peek = Peek::parse(headers).unwrap();
        assert_eq!(
            peek,
            Peek {
                task: Some("t.add".to_owned()),
                id: Some("x".to_owned()),
                eta: Some("2030-01-01T00:00:00+00:00".to_owned()),
                expires: None,
                retries: 2,
                timelimit: (Some(10.0), Some(5.5)),
                compression: Some("application/zstd".to_owned()),
                redelivered: true,
                ignore_result: Some(false),
                is_shadowed: true,
                group: None,
                parent_id: Some("p".to_owned()),
            }
        );
    }

    #[test]
    fn the_smallest_accepted_headers_are_enough() {
        let peek = Peek::parse(br#"{"task":"t","id":"x"}"#).unwrap();
        assert_eq!((peek.retries, peek.timelimit), (0, (None, None)));
    }

    #[test]
    fn a_shadow_of_nothing_is_none() {
        for (value, is_shadowed) in [("null", false), ("\"\"", false), ("\"s\"", true), ("1", true)] {
            let headers = format!(r#"{{"task": "t", "id": "x", "shadow": {value}}}"#);
            let peek = Peek::parse(headers.as_bytes()).unwrap();
            assert_eq!(peek.is_shadowed, is_shadowed, "{value}");
        }
    }

    #[test]
    fn headers_of_another_protocol_name_no_task() {
        assert_eq!(Peek::parse(b"{}").unwrap(), Peek::default());
    }

    #[test]
    fn a_header_of_the_wrong_type_is_named() {
        for (name, value) in [
            ("task", "1"),
            ("id", "[]"),
            ("eta", "5"),
            ("retries", "\"many\""),
            ("retries", "-1"),
            ("timelimit", "[1]"),
            ("timelimit", "{}"),
            ("timelimit", "[\"a\", null]"),
            ("timelimit", "[NaN, null]"),
            ("timelimit", "[null, -1]"),
        ] {
            let headers = format!(r#"{{"task": "t", "id": "x", "{name}": {value}}}"#);
            let error = Peek::parse(headers.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_task_without_id_is_malformed() {
        assert!(Peek::parse(br#"{"task": "t"}"#).is_err());
        assert!(Peek::parse(br#"{"task": "t", "id": null}"#).is_err());
    }
}
