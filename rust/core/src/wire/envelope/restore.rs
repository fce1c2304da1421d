//! What a restore changes in an envelope.

use super::encode::append_member;
use crate::codec::json::raw;
use crate::error::Result;

/// Marks an envelope as kombu does when it restores one: `headers.redelivered` and
/// `properties.delivery_info.redelivered`. Nothing else changes, unknown members included.
///
/// # Errors
/// [`Error::Malformed`] when it is not an object.
pub fn mark_redelivered(raw: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len() + 48);
    out.push(b'{');
    for (name, value) in raw::members(raw)? {
        match &*name {
            "headers" if value.starts_with('{') => {
                let marked = with_true(value, "redelivered")?;
                append_member(&mut out, &name, |out| out.extend_from_slice(&marked));
            }
            "properties" if value.starts_with('{') => {
                let marked = mark_properties(value)?;
                append_member(&mut out, &name, |out| out.extend_from_slice(&marked));
            }
            _ => append_member(&mut out, &name, |out| out.extend_from_slice(value.as_bytes())),
        }
    }
    out.push(b'}');
    Ok(out)
}

fn mark_properties(properties: &str) -> Result<Vec<u8>> {
    let mut out = vec![b'{'];
    for (name, value) in raw::members(properties.as_bytes())? {
        if name == "delivery_info" && value.starts_with('{') {
            let marked = with_true(value, "redelivered")?;
            append_member(&mut out, &name, |out| out.extend_from_slice(&marked));
        } else {
            append_member(&mut out, &name, |out| out.extend_from_slice(value.as_bytes()));
        }
    }
    out.push(b'}');
    Ok(out)
}

/// An object with one member set to `true`: in its place, or at the end.
fn with_true(object: &str, member: &str) -> Result<Vec<u8>> {
    let mut out = vec![b'{'];
    let mut is_there = false;
    for (name, value) in raw::members(object.as_bytes())? {
        let is_it = name == member;
        is_there |= is_it;
        let value = if is_it { "true" } else { value };
        append_member(&mut out, &name, |out| out.extend_from_slice(value.as_bytes()));
    }
    if !is_there {
        append_member(&mut out, member, |out| out.extend_from_slice(b"true"));
    }
    out.push(b'}');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marking_keeps_what_it_does_not_know_and_marks_once() {
        let raw = br#"{"mine": [1], "headers": {"redelivered": false, "a": 1}, "properties": {"delivery_info": {}}}"#;
        let marked = mark_redelivered(raw).unwrap();
        let expected = br#"{"mine": [1], "headers": {"redelivered": true, "a": 1}, "properties": {"delivery_info": {"redelivered": true}}}"#;
        assert_eq!(marked, expected);
        assert_eq!(mark_redelivered(&marked).unwrap(), marked);
    }
}
