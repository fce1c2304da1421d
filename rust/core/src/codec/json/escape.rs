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
    const SHORT: usize = 16;
    let mut rest = text.as_bytes();
    let mut room = None;
    while !rest.is_empty() {
        let plain = plain_length(rest);
        if plain >= SHORT || plain == rest.len() {
            let (run, after) = rest.split_at(plain);
            out.extend_from_slice(run);
            rest = after;
        } else {
            let room = room.get_or_insert([0; ROOM]);
            let (written, after) = escape_some(room, rest);
            out.extend_from_slice(&room[..written]);
            rest = after;
        }
    }
}

/// Escapes are gathered here, because growing the buffer for each takes longer than making it.
const ROOM: usize = 512;
/// How long `\uXXXX` is.
const ESCAPE: usize = 6;
/// Written at a time: an escape, and what the next one overwrites. One store is all it takes.
const STORE: usize = 8;

/// Writes the start of some UTF-8 into `room`; returns how much that is, and what is left.
fn escape_some<'a>(room: &mut [u8; ROOM], utf8: &'a [u8]) -> (usize, &'a [u8]) {
    let mut at = 0;
    let mut rest = utf8;
    while at <= ROOM - ESCAPE - STORE {
        rest = match rest {
            [first, after @ ..] if PLAIN[usize::from(*first)] => {
                room[at] = *first;
                at += 1;
                after
            }
            [first @ 0xC0..=0xDF, second, after @ ..] => {
                put(room, &mut at, (u16::from(first & 0x1F) << 6) | six(*second));
                after
            }
            [first @ 0xE0..=0xEF, second, third, after @ ..] => {
                let top = (u16::from(*first) << 12) | (six(*second) << 6);
                put(room, &mut at, top | six(*third));
                after
            }
            [first @ 0xF0..=0xFF, second, third, fourth, after @ ..] => {
                // The twenty bits above 0x10000, ten in each unit of the pair.
                let top = (u16::from(first & 7) << 8) | (six(*second) << 2) | (six(*third) >> 4);
                put(room, &mut at, 0xD800 | top.wrapping_sub(0x40));
                let low = ((six(*third) & 0xF) << 6) | six(*fourth);
                put(room, &mut at, 0xDC00 | low);
                after
            }
            [first, after @ ..] => {
                put_ascii(room, &mut at, *first);
                after
            }
            [] => break,
        };
    }
    (at, rest)
}

fn six(byte: u8) -> u16 {
    u16::from(byte & 0x3F)
}

/// Writes the escape of an ASCII character that needs one.
fn put_ascii(room: &mut [u8; ROOM], at: &mut usize, byte: u8) {
    if let Some(letter) = short_escape(byte) {
        room[*at..*at + 2].copy_from_slice(&[b'\\', letter]);
        *at += 2;
    } else {
        put(room, at, u16::from(byte));
    }
}

#[inline]
fn put(room: &mut [u8; ROOM], at: &mut usize, unit: u16) {
    // Not `copy_from_slice`, of which the compiler may make a call.
    if let Some(place) = room[*at..].first_chunk_mut() {
        *place = escaped(unit);
    }
    *at += ESCAPE;
}

/// The escape of a UTF-16 unit, and two zeros.
#[inline]
fn escaped(unit: u16) -> [u8; STORE] {
    let [high, low] = unit.to_be_bytes();
    let (first, last) = (HEX[usize::from(high)], HEX[usize::from(low)]);
    let digits = (u64::from(first) << 16) | (u64::from(last) << 32);
    (digits | u64::from(u16::from_le_bytes(*b"\\u"))).to_le_bytes()
}

/// The two digits of each byte, the first one lowest.
const HEX: [u16; 256] = {
    let digits = *b"0123456789abcdef";
    let mut table = [0; 256];
    let mut place = 0;
    while place < 256 {
        table[place] = u16::from_le_bytes([digits[place / 16], digits[place % 16]]);
        place += 1;
    }
    table
};

/// How many bytes at the start need no escape.
fn plain_length(bytes: &[u8]) -> usize {
    const LANES: usize = 16;
    let mut length = 0;
    // Sixteen at a time, and gathered in a byte: of flags the compiler makes no vector instructions.
    for lanes in bytes.chunks_exact(LANES) {
        let found = lanes
            .iter()
            .fold(0, |found, &byte| found | u8::from(needs_escape(byte)));
        if found != 0 {
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

/// Which bytes need no escape: one look for what texts have most of.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut place = 0;
    let mut byte = 0;
    while byte < 0x80 {
        table[place] = !needs_escape(byte);
        place += 1;
        byte += 1;
    }
    table
};

const fn needs_escape(byte: u8) -> bool {
    // Below the blank wraps, and so is beyond the tilde, too.
    (byte.wrapping_sub(b' ') > b'~' - b' ') || byte == b'"' || byte == b'\\'
}

/// The letter of the escapes that have one.
const fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        0x08 => Some(b'b'),
        0x0C => Some(b'f'),
        _ => None,
    }
}

fn append_unit(out: &mut Vec<u8>, unit: u16) {
    out.extend_from_slice(&escaped(unit)[..ESCAPE]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        let mut out = Vec::new();
        append_str(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn control_characters_quotes_and_delete_are_escaped_as_python_does() {
        assert_eq!(
            quoted("\"\\/\n\r\t\u{8}\u{c}\0\u{1f}\u{7f}~"),
            r#""\"\\/\n\r\t\b\f\u0000\u001f\u007f~""#
        );
    }

    #[test]
    fn characters_beyond_the_basic_plane_become_surrogate_pairs() {
        assert_eq!(quoted("é€😀x"), r#""\u00e9\u20ac\ud83d\ude00x""#);
    }

    #[test]
    fn a_long_run_of_escapes_is_whole_across_its_blocks() {
        for length in 0..200 {
            let text = format!("{}{}", "é".repeat(length), "😀".repeat(length));
            let expected = format!(
                "\"{}{}\"",
                "\\u00e9".repeat(length),
                "\\ud83d\\ude00".repeat(length)
            );
            assert_eq!(quoted(&text), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_escaped_unit_by_unit(text in ".{0,300}|[a-zé€😀\n\u{7f}]{0,200}") {
            let mut expected = String::from("\"");
            for character in text.chars() {
                match character {
                    ' '..='~' if !['"', '\\'].contains(&character) => expected.push(character),
                    _ => {
                        let letter = u8::try_from(character).ok().and_then(short_escape);
                        if let Some(letter) = letter {
                            expected.extend(['\\', char::from(letter)]);
                            continue;
                        }
                        for unit in character.encode_utf16(&mut [0; 2]) {
                            expected.extend([format!("\\u{unit:04x}")]);
                        }
                    }
                }
            }
            expected.push('"');
            proptest::prop_assert_eq!(quoted(&text), expected);
        }
    }

    #[test]
    fn an_escape_is_found_at_every_place_of_a_vector_lane() {
        for place in 0..40 {
            let text = format!("{}\n{}", "a".repeat(place), "b".repeat(40 - place));
            assert_eq!(quoted(&text), format!("\"{}\"", text.replace('\n', "\\n")));
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
