//! The lexer: white space, strings, numbers, words, and skipping of whole values.

use smallvec::SmallVec;

use super::wide;
use crate::codec::Limits;
use crate::error::{Error, Result};

/// A position in a JSON text.
#[derive(Debug)]
pub(crate) struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth_left: usize,
    /// Whether long strings beyond ASCII are read as [`Text::Utf16`].
    is_wide: bool,
}

/// A string, borrowed where it has no escapes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text<'de> {
    Borrowed(&'de str),
    Owned(String),
    /// Holds lone surrogates, see [`crate::codec::WTF8`].
    Wtf8(Vec<u8>),
    /// A long one with escapes beyond ASCII, see [`super::from_slice_wide`].
    Utf16(Vec<u8>),
}

/// A number, as exact as JSON wrote it.
#[derive(Debug, PartialEq)]
pub(crate) enum Number<'de> {
    Signed(i64),
    Unsigned(u64),
    Big(&'de str),
    Float(f64),
}

/// How many bytes of a string are read before it is a long one; then looked at again when doubled.
const FIRST_LOOK: usize = 64;

impl<'de> Reader<'de> {
    pub(crate) fn new(data: &'de [u8], limits: Limits) -> Result<Self> {
        if data.len() > limits.max_bytes {
            let (found, limit) = (data.len(), limits.max_bytes);
            return Err(malformed(format!("{found} bytes, the limit is {limit}")));
        }
        let text = std::str::from_utf8(data)
            .map_err(|error| malformed(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
        Ok(Self::of_part(text, limits))
    }

    /// Reads a part of a text that a reader has checked already.
    pub(crate) fn of_part(text: &'de str, limits: Limits) -> Self {
        Self {
            text,
            at: 0,
            depth_left: limits.max_depth,
            is_wide: false,
        }
    }

    /// Reads long strings beyond ASCII as [`Text::Utf16`] from now on.
    pub(crate) fn widen(&mut self) {
        self.is_wide = true;
    }

    /// The text between an earlier offset and now.
    pub(crate) fn since(&self, start: usize) -> &'de str {
        &self.text[start..self.at]
    }

    /// Skips white space and looks at the next byte.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes the byte that [`Reader::peek`] showed.
    pub(crate) fn bump(&mut self) {
        self.at += 1;
    }

    /// Takes `byte`, after white space, or says that it is missing.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(&format!("'{}'", char::from(byte))));
        }
        self.bump();
        Ok(())
    }

    /// Only white space may be left.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end")),
        }
    }

    /// Enters an array or object (the opening bracket is next).
    pub(crate) fn enter(&mut self) -> Result<()> {
        self.depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| malformed(format!("nested too deeply at byte {}", self.at)))?;
        self.bump();
        Ok(())
    }

    /// Leaves an array or object (the closing bracket is next).
    pub(crate) fn leave(&mut self) {
        self.depth_left += 1;
        self.bump();
    }

    /// Moves to the next element of an array or member of an object; `false` at its end.
    pub(crate) fn next_item(&mut self, is_first: bool, close: u8) -> Result<bool> {
        match self.peek() {
            Some(byte) if byte == close => {
                self.leave();
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.bump();
                if self.peek() == Some(close) {
                    return Err(self.unexpected("a value after ','"));
                }
                Ok(true)
            }
            Some(_) if is_first => Ok(true),
            _ => Err(self.unexpected("',' or the closing bracket")),
        }
    }

    pub(crate) fn unexpected(&self, wanted: &str) -> Error {
        let found = match self.text[self.at..].chars().next() {
            Some(character) => format!("{character:?}"),
            None => "the end".to_owned(),
        };
        malformed(format!("expected {wanted}, found {found} at byte {}", self.at))
    }

    /// Takes a bare word if it is next.
    pub(crate) fn word(&mut self, word: &str) -> Result<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads a string; its opening quote is next.
    pub(crate) fn string(&mut self) -> Result<Text<'de>> {
        self.expect(b'"')?;
        let start = self.at;
        self.skip_plain();
        if self.text.as_bytes().get(self.at) == Some(&b'"') {
            let text = self.since(start);
            self.bump();
            return Ok(Text::Borrowed(text));
        }
        self.string_with_escapes(start)
    }

    fn string_with_escapes(&mut self, start: usize) -> Result<Text<'de>> {
        let mut bytes = self.since(start).as_bytes().to_vec();
        let mut has_lone_surrogate = false;
        let mut looked_at = FIRST_LOOK;
        loop {
            if self.is_wide && bytes.len() >= looked_at {
                if !bytes.is_ascii() {
                    return self.wide_string(start);
                }
                looked_at *= 2;
            }
            let run = self.at;
            self.skip_plain();
            bytes.extend_from_slice(self.since(run).as_bytes());
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => break self.bump(),
                Some(b'\\') => has_lone_surrogate |= self.escape(&mut bytes)?,
                _ => return Err(self.unexpected("the rest of a string")),
            }
        }
        if has_lone_surrogate {
            return Ok(Text::Wtf8(bytes));
        }
        String::from_utf8(bytes)
            .map(Text::Owned)
            .map_err(|_| malformed(format!("a broken string before byte {}", self.at)))
    }

    /// Reads a string again, from its first character, as UTF-16.
    fn wide_string(&mut self, start: usize) -> Result<Text<'de>> {
        let bytes = self.text.as_bytes();
        let (units, read) = wide::units(bytes.get(start..).unwrap_or_default());
        self.at = start + read;
        match bytes.get(self.at) {
            Some(b'"') => self.bump(),
            // What the loop above could not read either has the words for what is wrong with it.
            Some(b'\\') => {
                return self
                    .escape(&mut Vec::new())
                    .and(Err(self.unexpected("an escape")));
            }
            _ => return Err(self.unexpected("the rest of a string")),
        }
        Ok(Text::Utf16(units))
    }

    /// Moves to the next quote, backslash or control character.
    fn skip_plain(&mut self) {
        const LANES: usize = 16;
        let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        let bytes = self.text.as_bytes();
        for lanes in bytes[self.at..].chunks_exact(LANES) {
            // Gathered in a byte: of flags the compiler makes no vector instructions.
            let found = lanes
                .iter()
                .fold(0, |found, &byte| found | u8::from(is_special(byte)));
            if found != 0 {
                break;
            }
            self.at += LANES;
        }
        while bytes.get(self.at).is_some_and(|&byte| !is_special(byte)) {
            self.at += 1;
        }
    }

    /// Decodes one escape (the backslash is next); says whether it is a lone surrogate.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<bool> {
        self.bump();
        let plain = match self.text.as_bytes().get(self.at) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode_escape(bytes),
            _ => return Err(self.unexpected("an escape")),
        };
        self.bump();
        bytes.push(plain);
        Ok(false)
    }

    fn unicode_escape(&mut self, bytes: &mut Vec<u8>) -> Result<bool> {
        let unit = self.code_unit()?;
        let mut code = u32::from(unit);
        if (0xD800..0xDC00).contains(&unit) && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.bump();
            let second = self.code_unit()?;
            if (0xDC00..0xE000).contains(&second) {
                code = 0x1_0000 + ((code - 0xD800) << 10) + (u32::from(second) - 0xDC00);
            } else {
                self.at = before;
            }
        }
        if let Some(character) = char::from_u32(code) {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(false);
        }
        let [high, low] = unit.to_be_bytes();
        bytes.extend_from_slice(&[
            0xED,
            0x80 | ((high & 0x0F) << 2) | (low >> 6),
            0x80 | (low & 0x3F),
        ]);
        Ok(true)
    }

    /// Reads `uXXXX`; the `u` is next.
    fn code_unit(&mut self) -> Result<u16> {
        self.bump();
        let digits = self.text.as_bytes()[self.at..].first_chunk();
        let unit = digits
            .and_then(|digits| wide::unit_of(*digits))
            .ok_or_else(|| self.unexpected("four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }

    /// Reads a number, `NaN` or an infinity.
    pub(crate) fn number(&mut self) -> Result<Number<'de>> {
        let start = self.at;
        let is_negative = self.next_is(b'-');
        if is_negative {
            self.bump();
        }
        if self.next_is(b'I') {
            self.word("Infinity")?;
            let infinity = if is_negative {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            };
            return Ok(Number::Float(infinity));
        }
        let is_float = self.number_tail()?;
        let text = self.since(start);
        if is_float {
            return text
                .parse()
                .map(Number::Float)
                .map_err(|_| malformed(format!("a broken number at byte {start}")));
        }
        Ok(text
            .parse()
            .map(Number::Signed)
            .or_else(|_| text.parse().map(Number::Unsigned))
            .unwrap_or(Number::Big(text)))
    }

    /// Takes digits, fraction and exponent; says whether there was one of the latter two.
    fn number_tail(&mut self) -> Result<bool> {
        if self.next_is(b'0') {
            self.bump();
        } else if self.digits() == 0 {
            return Err(self.unexpected("a value"));
        }
        let mut is_float = false;
        if self.next_is(b'.') {
            is_float = true;
            self.bump();
            if self.digits() == 0 {
                return Err(self.unexpected("a digit"));
            }
        }
        if self.next_is(b'e') || self.next_is(b'E') {
            is_float = true;
            self.bump();
            if self.next_is(b'+') || self.next_is(b'-') {
                self.bump();
            }
            if self.digits() == 0 {
                return Err(self.unexpected("a digit"));
            }
        }
        Ok(is_float)
    }

    fn next_is(&self, byte: u8) -> bool {
        self.text.as_bytes().get(self.at) == Some(&byte)
    }

    fn digits(&mut self) -> usize {
        let digits = self.text.as_bytes()[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.at += digits;
        digits
    }

    /// Skips one value, checking its form, and returns its text. Needs no stack for nesting.
    pub(crate) fn skip(&mut self) -> Result<&'de str> {
        self.peek();
        let start = self.at;
        let mut open: SmallVec<[u8; 32]> = SmallVec::new();
        loop {
            let mut is_first = false;
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.enter()?;
                    open.push(if bracket == b'{' { b'}' } else { b']' });
                    is_first = true;
                }
                _ => self.skip_scalar()?,
            }
            if !self.skip_to_next_value(&mut open, is_first)? {
                return Ok(self.since(start));
            }
        }
    }

    /// Closes what ends here and skips the name of the next member; `false` when all is closed.
    fn skip_to_next_value(&mut self, open: &mut SmallVec<[u8; 32]>, is_first: bool) -> Result<bool> {
        let mut is_first = is_first;
        while let Some(&close) = open.last() {
            if self.next_item(is_first, close)? {
                if close == b'}' {
                    self.peek();
                    self.skip_string()?;
                    self.expect(b':')?;
                }
                return Ok(true);
            }
            open.pop();
            is_first = false;
        }
        Ok(false)
    }

    fn skip_scalar(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'N') => self.word("NaN"),
            _ => self.number().map(|_| ()),
        }
    }

    fn skip_string(&mut self) -> Result<()> {
        self.expect(b'"')?;
        loop {
            self.skip_plain();
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    return {
                        self.bump();
                        Ok(())
                    };
                }
                Some(b'\\') => self.skip_escape()?,
                _ => return Err(self.unexpected("the rest of a string")),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<()> {
        self.bump();
        match self.text.as_bytes().get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.bump(),
            Some(b'u') => drop(self.code_unit()?),
            _ => return Err(self.unexpected("an escape")),
        }
        Ok(())
    }
}

fn malformed(detail: String) -> Error {
    Error::Malformed { what: "json", detail }
}
