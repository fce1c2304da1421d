//! A table of headers as it came over the wire, to JSON text: [`headers::text`] without the tree in
//! between, whose making and unmaking cost more than all else that is done to a delivery.

use super::cursor::Cursor;
use super::headers::{append_bytes, append_float, append_integer, append_typed, decimal_text, iso_text};
use crate::codec::Limits;
use crate::codec::json::append_str;
use crate::error::{Error, Result};

/// The JSON text of a table, in the order of its sender.
///
/// # Errors
/// [`Error::Malformed`] for bytes that are no table, and for one that goes too deep.
pub(super) fn table_text(table: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(table.len() + table.len() / 4);
    append_table(&mut out, table, Limits::default().max_depth).ok_or_else(|| Error::Malformed {
        what: "headers",
        detail: "they are no table of AMQP's, or go too deep".to_owned(),
    })?;
    Ok(out)
}

fn append_table(out: &mut Vec<u8>, table: &[u8], depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let mut left = Cursor::over(table);
    out.push(b'{');
    while !left.is_at_end() {
        if left.rest().len() < table.len() {
            out.extend_from_slice(b", ");
        }
        append_str(out, std::str::from_utf8(left.short_string()?).ok()?);
        out.extend_from_slice(b": ");
        append_value(out, &mut left, depth)?;
    }
    out.push(b'}');
    Some(())
}

fn append_array(out: &mut Vec<u8>, array: &[u8], depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let mut left = Cursor::over(array);
    out.push(b'[');
    while !left.is_at_end() {
        if left.rest().len() < array.len() {
            out.extend_from_slice(b", ");
        }
        append_value(out, &mut left, depth)?;
    }
    out.push(b']');
    Some(())
}

/// The letters are those of `RabbitMQ`, which differ from the specification's.
fn append_value(out: &mut Vec<u8>, left: &mut Cursor<'_>, depth: usize) -> Option<()> {
    match left.octet()? {
        b't' => out.extend_from_slice(if left.octet()? == 0 { b"false" } else { b"true" }),
        b'b' => append_integer(out, i64::from(i8::from_be_bytes(left.array()?))),
        b'B' => append_integer(out, i64::from(left.octet()?)),
        b's' | b'U' => append_integer(out, i64::from(i16::from_be_bytes(left.array()?))),
        b'u' => append_integer(out, i64::from(left.short()?)),
        b'I' => append_integer(out, i64::from(i32::from_be_bytes(left.array()?))),
        b'i' => append_integer(out, i64::from(left.long()?)),
        b'L' | b'l' => append_integer(out, i64::from_be_bytes(left.array()?)),
        b'f' => append_float(out, f64::from(f32::from_be_bytes(left.array()?))),
        b'd' => append_float(out, f64::from_be_bytes(left.array()?)),
        b'D' => {
            let scale = left.octet()?;
            append_typed(out, "decimal", &decimal_text(scale, left.long()?));
        }
        b'S' | b'x' => append_bytes(out, left.long_string()?),
        b'A' => append_array(out, left.long_string()?, depth)?,
        b'T' => append_typed(out, "datetime", &iso_text(left.long_long()?)),
        b'F' => append_table(out, left.long_string()?, depth)?,
        b'V' => out.extend_from_slice(b"null"),
        _ => return None,
    }
    Some(())
}
