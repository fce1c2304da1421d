//! Objects and arrays whose members stay JSON text.

use std::borrow::Cow;

use super::reader::{Reader, Text};
use crate::codec::Limits;
use crate::error::{Error, Result};

/// The members of an object in the order of the text: name, and the value's own text.
pub(crate) fn members(text: &[u8]) -> Result<Vec<(Cow<'_, str>, &str)>> {
    let mut members = Vec::with_capacity(24);
    for_each_member(text, |name, value| {
        members.push((name, value));
        Ok(())
    })?;
    Ok(members)
}

/// Calls `visit` with each member of an object.
pub(crate) fn for_each_member<'de>(
    text: &'de [u8],
    visit: impl FnMut(Cow<'de, str>, &'de str) -> Result<()>,
) -> Result<()> {
    visit_members(Reader::new(text, Limits::default())?, visit)
}

/// The same for an object inside of a text that was read already.
pub(crate) fn for_each_member_of_part<'de>(
    text: &'de str,
    visit: impl FnMut(Cow<'de, str>, &'de str) -> Result<()>,
) -> Result<()> {
    visit_members(Reader::of_part(text, Limits::default()), visit)
}

fn visit_members<'de>(
    mut reader: Reader<'de>,
    mut visit: impl FnMut(Cow<'de, str>, &'de str) -> Result<()>,
) -> Result<()> {
    if reader.peek() != Some(b'{') {
        return Err(reader.unexpected("an object"));
    }
    reader.enter()?;
    let mut is_first = true;
    while reader.next_item(is_first, b'}')? {
        is_first = false;
        reader.peek();
        let name = plain(reader.string()?)?;
        reader.expect(b':')?;
        visit(name, reader.skip()?)?;
    }
    reader.end()
}

/// The elements of an array, as text.
pub(crate) fn elements(text: &[u8]) -> Result<Vec<&str>> {
    let mut reader = Reader::new(text, Limits::default())?;
    if reader.peek() != Some(b'[') {
        return Err(reader.unexpected("an array"));
    }
    reader.enter()?;
    let mut elements = Vec::new();
    while reader.next_item(elements.is_empty(), b']')? {
        elements.push(reader.skip()?);
    }
    reader.end()?;
    Ok(elements)
}

/// Reads a string's own text; `None` when the value is no string.
pub(crate) fn string(text: &str) -> Result<Option<Cow<'_, str>>> {
    let mut reader = Reader::of_part(text, Limits::default());
    if reader.peek() != Some(b'"') {
        return Ok(None);
    }
    plain(reader.string()?).map(Some)
}

fn plain(text: Text<'_>) -> Result<Cow<'_, str>> {
    match text {
        Text::Borrowed(text) => Ok(Cow::Borrowed(text)),
        Text::Owned(text) => Ok(Cow::Owned(text)),
        Text::Wtf8(_) | Text::Utf16(_) => Err(Error::Malformed {
            what: "json",
            detail: "a lone surrogate where a name belongs".to_owned(),
        }),
    }
}
