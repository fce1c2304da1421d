//! Strings of JSON as UTF-16: where most characters are escapes, these are its units already.

/// Units are gathered here, because growing the buffer for each takes longer than reading it.
const ROOM: usize = 1024;
/// Bytes of plain ASCII that are taken at once.
const LANES: usize = 16;
/// The most that one step writes.
const MOST: usize = 2 * LANES;

/// Reads a string up to what ends it, or to what is no part of a string.
///
/// Returns its units in this machine's byte order, after a byte order mark, and how many bytes
/// were read. Lone surrogates are units like others.
pub(super) fn units(text: &[u8]) -> (Vec<u8>, usize) {
    let mut units = 0xFEFF_u16.to_ne_bytes().to_vec();
    let mut room = [0; ROOM];
    let mut rest = text;
    loop {
        let before = rest.len();
        let (written, after) = some_units(&mut room, rest);
        units.extend_from_slice(room.get(..written).unwrap_or_default());
        rest = after;
        if rest.len() == before {
            return (units, text.len() - rest.len());
        }
    }
}

/// Reads the start of a string into `room`; returns how much that is, and what is left.
fn some_units<'a>(room: &mut [u8; ROOM], text: &'a [u8]) -> (usize, &'a [u8]) {
    let mut at = 0;
    let mut rest = text;
    while at <= ROOM - MOST {
        rest = match rest {
            [b'\\', b'u', first, second, third, fourth, after @ ..] => {
                let Some(unit) = unit_of([*first, *second, *third, *fourth]) else {
                    break;
                };
                put(room, &mut at, unit);
                after
            }
            [b'\\', letter, after @ ..] => {
                let Some(character) = short_escape(*letter) else {
                    break;
                };
                put(room, &mut at, u16::from(character));
                after
            }
            [b' '..=b'!' | b'#'..=b'[' | b']'..=0x7F, ..] => put_plain(room, &mut at, rest),
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
                put(room, &mut at, 0xDC00 | ((six(*third) & 0xF) << 6) | six(*fourth));
                after
            }
            _ => break,
        };
    }
    (at, rest)
}

/// Takes plain ASCII: sixteen bytes at once where there are as many, else what there is of it.
fn put_plain<'a>(room: &mut [u8; ROOM], at: &mut usize, text: &'a [u8]) -> &'a [u8] {
    let Some((lanes, after)) = text.split_first_chunk::<LANES>() else {
        return put_short(room, at, text);
    };
    let found = lanes
        .iter()
        .fold(0, |found, &byte| found | u8::from(!is_plain(byte)));
    if found != 0 {
        return put_short(room, at, text);
    }
    for byte in lanes {
        put(room, at, u16::from(*byte));
    }
    after
}

/// Takes plain ASCII one by one, as far as it goes and fewer than [`LANES`].
fn put_short<'a>(room: &mut [u8; ROOM], at: &mut usize, text: &'a [u8]) -> &'a [u8] {
    let mut rest = text;
    for _ in 0..LANES {
        match rest {
            [first, after @ ..] if is_plain(*first) => {
                put(room, at, u16::from(*first));
                rest = after;
            }
            _ => break,
        }
    }
    rest
}

#[inline]
fn put(room: &mut [u8; ROOM], at: &mut usize, unit: u16) {
    // Not `copy_from_slice`, of which the compiler may make a call.
    if let Some(place) = room[*at..].first_chunk_mut() {
        *place = unit.to_ne_bytes();
    }
    *at += 2;
}

fn is_plain(byte: u8) -> bool {
    byte.wrapping_sub(b' ') < 0x80 - b' ' && byte != b'"' && byte != b'\\'
}

fn six(byte: u8) -> u16 {
    u16::from(byte & 0x3F)
}

fn short_escape(letter: u8) -> Option<u8> {
    match letter {
        b'"' | b'\\' | b'/' => Some(letter),
        b'b' => Some(0x08),
        b'f' => Some(0x0C),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        _ => None,
    }
}

/// The unit that four hexadecimal digits are.
#[inline]
pub(super) fn unit_of(digits: [u8; 4]) -> Option<u16> {
    let [first, second, third, fourth] = digits;
    let (first, second) = (MEANING[usize::from(first)], MEANING[usize::from(second)]);
    let (third, fourth) = (MEANING[usize::from(third)], MEANING[usize::from(fourth)]);
    let unit = u16::from_be_bytes([(first << 4) | second, (third << 4) | fourth]);
    ((first | second | third | fourth) <= 0xF).then_some(unit)
}

/// What each hexadecimal digit means, and more than that for what is none.
const MEANING: [u8; 256] = {
    let mut table = [0xFF; 256];
    let mut place = 0;
    let mut byte = 0_u8;
    while place < 256 {
        table[place] = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => 0xFF,
        };
        place += 1;
        byte = byte.wrapping_add(1);
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Limits;
    use crate::codec::json::reader::{Reader, Text};

    /// The units that a reader finds in a document which is a string.
    fn read(json: &str, is_wide: bool) -> Result<Vec<u16>, String> {
        let mut reader = Reader::of_part(json, Limits::default());
        if is_wide {
            reader.widen();
        }
        let text = reader.string().map_err(|error| error.to_string())?;
        reader.end().map_err(|error| error.to_string())?;
        Ok(match text {
            Text::Borrowed(text) => text.encode_utf16().collect(),
            Text::Owned(text) => text.encode_utf16().collect(),
            Text::Utf16(units) => units[2..]
                .chunks_exact(2)
                .map(|unit| u16::from_ne_bytes([unit[0], unit[1]]))
                .collect(),
            Text::Wtf8(_) => Vec::new(),
        })
    }

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        crate::codec::json::append_str(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_pair_of_digits_is_read_and_nothing_else() {
        for unit in 0..=u16::MAX {
            let lower = format!("{unit:04x}");
            assert_eq!(unit_of(*lower.as_bytes().first_chunk().unwrap()), Some(unit));
        }
        for wrong in [*b"00g0", *b"00 0", *b"+000", *b"000\x80", *b"G000"] {
            assert_eq!(unit_of(wrong), None);
        }
        assert_eq!(unit_of(*b"AbCd"), Some(0xABCD));
    }

    #[test]
    fn a_byte_order_mark_of_the_text_is_kept_behind_ours() {
        let (units, read) = units(b"\\ufeffa\"");
        assert_eq!(units, [0xFEFF_u16, 0xFEFF, 0x61].map(u16::to_ne_bytes).concat());
        assert_eq!(read, 7);
    }

    proptest! {
        #[test]
        fn a_long_text_has_the_units_it_has(
            text in "(.|[a-zé€😀\n\"\\\\]){0,400}",
            plain in 0..300_usize,
            is_escaped in any::<bool>(),
        ) {
            let text = "p".repeat(plain) + &text;
            let json = if is_escaped { escaped(&text) } else { serde_json::to_string(&text).unwrap() };
            prop_assert_eq!(read(&json, true).unwrap(), text.encode_utf16().collect::<Vec<_>>());
        }

        #[test]
        fn what_one_way_refuses_the_other_refuses_in_the_same_words(
            text in "[é€]{60,90}",
            at in 0..400_usize,
            damage in prop::sample::select(vec!["\"", "\\", "\\u12", "\\x", "\n", "g"]),
        ) {
            let mut json = escaped(&text);
            json.insert_str(at.min(json.len()), damage);
            prop_assert_eq!(read(&json, true), read(&json, false));
        }
    }
}
