//! Strings as `ensure_ascii` writes them.

use crate::error::{Error, Result};

/// Appends `text` in quotes.
pub(crate) fn append_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    append_escaped(out, text);
    out.push(b'"');
}

/// Appends a string with lone surrogates (see [`crate::codec::WTF8`]) in quotes.
pub(super) fn append_wtf8(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    out.push(b'"');
    let mut rest = bytes;
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, invalid) = rest.split_at(error.valid_up_to());
        append_escaped(out, std::str::from_utf8(valid).unwrap_or_default());
        let [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, after @ ..] = invalid else {
            return Err(Error::Unencodable {
                detail: "a string is neither UTF-8 nor does it hold lone surrogates".to_owned(),
            });
        };
        append_unit(
            out,
            0xD000 | (u16::from(second & 0x3F) << 6) | u16::from(third & 0x3F),
        );
        rest = after;
    }
    append_escaped(out, std::str::from_utf8(rest).unwrap_or_default());
    out.push(b'"');
    Ok(())
}

fn append_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut done = 0;
    loop {
        let plain = plain_length(&bytes[done..]);
        out.extend_from_slice(&bytes[done..done + plain]);
        done += plain;
        let Some(&byte) = bytes.get(done) else { return };
        if byte < 0x80 {
            append_ascii(out, byte);
            done += 1;
        } else {
            done += append_beyond_ascii(out, &text[done..]);
        }
    }
}

/// How many bytes at the start need no escape.
fn plain_length(bytes: &[u8]) -> usize {
    const LANES: usize = 16;
    let mut length = 0;
    // Sixteen at a time without a branch inside, so that the compiler uses vector instructions.
    for lanes in bytes.chunks_exact(LANES) {
        if lanes
            .iter()
            .fold(false, |found, &byte| found | needs_escape(byte))
        {
            break;
        }
        length += LANES;
    }
    length
        + bytes[length..]
            .iter()
            .position(|&byte| needs_escape(byte))
            .unwrap_or(bytes.len() - length)
}

const fn needs_escape(byte: u8) -> bool {
    (byte < b' ') || (byte == b'"') || (byte == b'\\') || (byte >= 0x7F)
}

fn append_ascii(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0C => out.extend_from_slice(b"\\f"),
        other => append_unit(out, u16::from(other)),
    }
}

/// Escapes the run of non-ASCII characters at the start; returns its length in bytes.
fn append_beyond_ascii(out: &mut Vec<u8>, text: &str) -> usize {
    let mut units = [0; 2];
    let mut length = 0;
    for character in text.chars().take_while(|character| !character.is_ascii()) {
        for &unit in &*character.encode_utf16(&mut units) {
            append_unit(out, unit);
        }
        length += character.len_utf8();
    }
    length
}

fn append_unit(out: &mut Vec<u8>, unit: u16) {
    let [high, low] = unit.to_be_bytes();
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 0xF)];
    out.extend_from_slice(&[
        b'\\',
        b'u',
        digit(high >> 4),
        digit(high),
        digit(low >> 4),
        digit(low),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        append_str(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn control_characters_quotes_and_delete_are_escaped_as_python_does() {
        assert_eq!(
            escaped("\"\\/\n\r\t\u{8}\u{c}\0\u{1f}\u{7f}~"),
            r#""\"\\/\n\r\t\b\f\u0000\u001f\u007f~""#
        );
    }

    #[test]
    fn characters_beyond_the_basic_plane_become_surrogate_pairs() {
        assert_eq!(escaped("é€😀x"), r#""\u00e9\u20ac\ud83d\ude00x""#);
    }

    #[test]
    fn an_escape_is_found_at_every_place_of_a_vector_lane() {
        for place in 0..40 {
            let text = format!("{}\n{}", "a".repeat(place), "b".repeat(40 - place));
            assert_eq!(escaped(&text), format!("\"{}\"", text.replace('\n', "\\n")));
        }
    }

    #[test]
    fn lone_surrogates_are_escaped_one_by_one() {
        let mut out = Vec::new();
        append_wtf8(&mut out, b"a\xED\xA0\xBD\xED\xB8\x80\xC3\xA9").unwrap();
        assert_eq!(out, br#""a\ud83d\ude00\u00e9""#);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert!(append_wtf8(&mut Vec::new(), b"\xFF").is_err());
    }
}
