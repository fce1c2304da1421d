//! The decoder.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::reader::{Number, Reader, Text};
use crate::codec::BIG_INT;
use crate::error::{Error, Result};

/// Reads one value where the reader stands.
#[derive(Debug)]
pub(super) struct Deserializer<'a, 'de> {
    reader: &'a mut Reader<'de>,
}

impl<'a, 'de> Deserializer<'a, 'de> {
    pub(super) fn new(reader: &'a mut Reader<'de>) -> Self {
        Self { reader }
    }

    fn word<V>(&mut self, word: &str, visit: impl FnOnce() -> Result<V>) -> Result<V> {
        self.reader.word(word)?;
        visit()
    }

    fn map<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.reader.enter()?;
        let mut items = Items::new(self.reader, b'}');
        let value = visitor.visit_map(&mut items)?;
        items.finish()?;
        Ok(value)
    }

    fn list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.reader.enter()?;
        let mut items = Items::new(self.reader, b']');
        let value = visitor.visit_seq(&mut items)?;
        items.finish()?;
        Ok(value)
    }

    fn scalar<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        match self.reader.peek() {
            Some(b'"') => visit_text(self.reader.string()?, visitor),
            Some(b'n') => self.word("null", || visitor.visit_unit()),
            Some(b't') => self.word("true", || visitor.visit_bool(true)),
            Some(b'f') => self.word("false", || visitor.visit_bool(false)),
            Some(b'N') => self.word("NaN", || visitor.visit_f64(f64::NAN)),
            _ => self.number(visitor),
        }
    }

    fn number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        match self.reader.number()? {
            Number::Signed(value) => visitor.visit_i64(value),
            Number::Unsigned(value) => visitor.visit_u64(value),
            Number::Float(value) => visitor.visit_f64(value),
            Number::Big(digits) => visitor.visit_map(BigInt { digits: Some(digits) }),
        }
    }
}

impl<'de> serde::Deserializer<'de> for &mut Deserializer<'_, 'de> {
    type Error = Error;

    // Kept small: this frame and one of `map` or `list` are on the stack for each level.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.reader.peek() {
            Some(b'{') => self.map(visitor),
            Some(b'[') => self.list(visitor),
            _ => self.scalar(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.reader.peek() == Some(b'n') {
            return self.word("null", || visitor.visit_none());
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.reader.skip()?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier
    }
}

fn visit_text<'de, V: Visitor<'de>>(text: Text<'de>, visitor: V) -> Result<V::Value> {
    match text {
        Text::Borrowed(text) => visitor.visit_borrowed_str(text),
        Text::Owned(text) => visitor.visit_string(text),
        Text::Wtf8(bytes) => visitor.visit_bytes(&bytes),
        Text::Utf16(units) => visitor.visit_byte_buf(units),
    }
}

/// What is between two brackets.
#[derive(Debug)]
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    close: u8,
    is_first: bool,
    is_open: bool,
}

impl<'a, 'de> Items<'a, 'de> {
    fn new(reader: &'a mut Reader<'de>, close: u8) -> Self {
        Self {
            reader,
            close,
            is_first: true,
            is_open: true,
        }
    }

    fn advance(&mut self) -> Result<bool> {
        self.is_open = self.is_open && self.reader.next_item(self.is_first, self.close)?;
        self.is_first = false;
        Ok(self.is_open)
    }

    /// The visitor must have taken every item.
    fn finish(self) -> Result<()> {
        if self.is_open && self.reader.next_item(self.is_first, self.close)? {
            return Err(self.reader.unexpected("no further item"));
        }
        Ok(())
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if !self.advance()? {
            return Ok(None);
        }
        seed.deserialize(&mut Deserializer::new(self.reader)).map(Some)
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if !self.advance()? {
            return Ok(None);
        }
        if self.reader.peek() != Some(b'"') {
            return Err(self.reader.unexpected("a name in double quotes"));
        }
        seed.deserialize(&mut Deserializer::new(self.reader)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        self.reader.expect(b':')?;
        seed.deserialize(&mut Deserializer::new(self.reader))
    }
}

/// An integer outside of 64 bits, see [`BIG_INT`].
struct BigInt<'de> {
    digits: Option<&'de str>,
}

impl<'de> MapAccess<'de> for BigInt<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if self.digits.is_none() {
            return Ok(None);
        }
        seed.deserialize(BorrowedStrDeserializer::new(BIG_INT)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let digits = self.digits.take().unwrap_or_default();
        seed.deserialize(BorrowedStrDeserializer::new(digits))
    }
}
