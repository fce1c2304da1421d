//! Options in a URL's query.

use super::bad;
use crate::error::Result;

/// Query options as `(name, JSON text)`: what reads as a number or a truth value is one.
pub(super) fn parse(query: &str) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = super::decoded(&value.replace('+', " "))?;
        let json = match value.to_ascii_lowercase().as_str() {
            "true" => "true".to_owned(),
            "false" => "false".to_owned(),
            _ if value.starts_with(['[', '{']) => value,
            _ if serde_json::from_str::<serde_json::Number>(&value).is_ok() => value,
            _ => serde_json::Value::String(value).to_string(),
        };
        all.push((super::decoded(name)?, json));
    }
    Ok(all)
}

/// Refuses what is most likely the rest of a password that was not encoded.
pub(super) fn check_no_at(query: &str) -> Result<()> {
    if query.contains('@') {
        return Err(bad(
            "there is an @ after the URL's ?: percent-encode special characters, in passwords and in \
             options (? is %3F, @ is %40)"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Takes an option out.
pub(super) fn take(all: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let at = all.iter().rposition(|(known, _)| known == name)?;
    let (_, json) = all.remove(at);
    all.retain(|(known, _)| known != name);
    Some(serde_json::from_str::<String>(&json).unwrap_or(json))
}
