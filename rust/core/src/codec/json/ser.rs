//! The encoder.

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::{escape, float};
use crate::codec::{BIG_INT, MAX_ENCODED_DEPTH, WTF8};
use crate::error::{Error, Result};

/// Appends values to a buffer.
#[derive(Debug)]
pub(super) struct Serializer<'out> {
    out: &'out mut Vec<u8>,
    depth: usize,
    role: Role,
}

/// What the value to come is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Value,
    /// The name of a member: scalars are written in quotes.
    Key,
    /// What [`BIG_INT`] wraps: text that is written as it is.
    Digits,
    /// What [`WTF8`] wraps: bytes that are written as a string.
    Wtf8,
}

impl<'out> Serializer<'out> {
    pub(super) fn new(out: &'out mut Vec<u8>) -> Self {
        Self {
            out,
            depth: 0,
            role: Role::Value,
        }
    }

    /// Writes something that Python writes bare as a value and in quotes as a key.
    fn bare(&mut self, text: &[u8]) -> Result<()> {
        match self.role {
            Role::Value | Role::Digits => self.out.extend_from_slice(text),
            Role::Key | Role::Wtf8 => {
                return self.quoted(|this| {
                    this.out.extend_from_slice(text);
                    Ok(())
                });
            }
        }
        Ok(())
    }

    fn quoted(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.out.push(b'"');
        write(self)?;
        self.out.push(b'"');
        Ok(())
    }

    fn with_role<T: Serialize + ?Sized>(&mut self, role: Role, value: &T) -> Result<()> {
        let before = std::mem::replace(&mut self.role, role);
        value.serialize(&mut *self)?;
        self.role = before;
        Ok(())
    }

    fn open(&mut self, bracket: u8) -> Result<()> {
        if self.role != Role::Value {
            return Err(unencodable("keys must be str, int, float, bool or None"));
        }
        if self.depth == MAX_ENCODED_DEPTH {
            return Err(unencodable(&format!(
                "nested deeper than {MAX_ENCODED_DEPTH} levels (or it contains itself)"
            )));
        }
        self.depth += 1;
        self.out.push(bracket);
        Ok(())
    }

    /// Opens the object `{"variant": …` of an enum's variant that holds data.
    fn open_variant(&mut self, variant: &str) -> Result<()> {
        self.open(b'{')?;
        escape::append_str(self.out, variant);
        self.out.extend_from_slice(b": ");
        Ok(())
    }

    fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        self.out.push(bracket);
    }
}

fn unencodable(detail: &str) -> Error {
    Error::Unencodable {
        detail: detail.to_owned(),
    }
}

/// Writes one method a line for each integer type.
macro_rules! integers {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<()> {
            self.bare(itoa::Buffer::new().format(value).as_bytes())
        })*
    };
}

impl<'a, 'out> serde::Serializer for &'a mut Serializer<'out> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Items<'a, 'out>;
    type SerializeTuple = Items<'a, 'out>;
    type SerializeTupleStruct = Items<'a, 'out>;
    type SerializeTupleVariant = Items<'a, 'out>;
    type SerializeMap = Items<'a, 'out>;
    type SerializeStruct = Items<'a, 'out>;
    type SerializeStructVariant = Items<'a, 'out>;

    integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128
    }

    fn serialize_bool(self, value: bool) -> Result<()> {
        self.bare(if value { b"true" } else { b"false" })
    }

    fn serialize_f32(self, value: f32) -> Result<()> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<()> {
        if self.role == Role::Value {
            float::append(self.out, value);
            return Ok(());
        }
        self.quoted(|this| {
            float::append(this.out, value);
            Ok(())
        })
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        if self.role == Role::Digits {
            return self.bare(value.as_bytes());
        }
        escape::append_str(self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        if self.role == Role::Wtf8 {
            return escape::append_wtf8(self.out, value);
        }
        Err(unencodable("JSON has no bytes"))
    }

    fn serialize_none(self) -> Result<()> {
        self.bare(b"null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        self.bare(b"null")
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<()> {
        self.bare(b"null")
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<()> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<()> {
        match name {
            BIG_INT if self.role == Role::Key => self.quoted(|this| this.with_role(Role::Digits, value)),
            BIG_INT => self.with_role(Role::Digits, value),
            WTF8 => self.with_role(Role::Wtf8, value),
            _ => value.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.open_variant(variant)?;
        value.serialize(&mut *self)?;
        self.close(b'}');
        Ok(())
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Items<'a, 'out>> {
        Items::open(self, b'[')
    }

    fn serialize_tuple(self, _length: usize) -> Result<Items<'a, 'out>> {
        Items::open(self, b'[')
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Items<'a, 'out>> {
        Items::open(self, b'[')
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Items<'a, 'out>> {
        self.open_variant(variant)?;
        Items::open(self, b'[')
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Items<'a, 'out>> {
        Items::open(self, b'{')
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Items<'a, 'out>> {
        Items::open(self, b'{')
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Items<'a, 'out>> {
        self.open_variant(variant)?;
        Items::open(self, b'{')
    }
}

/// What is between two brackets.
#[derive(Debug)]
pub(super) struct Items<'a, 'out> {
    serializer: &'a mut Serializer<'out>,
    close: u8,
    is_first: bool,
}

impl<'a, 'out> Items<'a, 'out> {
    fn open(serializer: &'a mut Serializer<'out>, bracket: u8) -> Result<Self> {
        serializer.open(bracket)?;
        let close = if bracket == b'[' { b']' } else { b'}' };
        Ok(Self {
            serializer,
            close,
            is_first: true,
        })
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.serializer.out.extend_from_slice(b", ");
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.separate();
        value.serialize(&mut *self.serializer)
    }

    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.separate();
        self.serializer.with_role(Role::Key, key)
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.serializer.out.extend_from_slice(b": ");
        value.serialize(&mut *self.serializer)
    }

    fn finish(self) {
        self.serializer.close(self.close);
    }

    fn finish_variant(self) {
        self.serializer.close(self.close);
        self.serializer.close(b'}');
    }
}

/// The traits of sequences and of structs differ in names only.
macro_rules! sequence {
    ($trait:ident, $method:ident, $finish:ident) => {
        impl $trait for Items<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.element(value)
            }

            fn end(self) -> Result<()> {
                self.$finish();
                Ok(())
            }
        }
    };
}

macro_rules! fields {
    ($trait:ident, $finish:ident) => {
        impl $trait for Items<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<()> {
                self.key(name)?;
                self.value(value)
            }

            fn end(self) -> Result<()> {
                self.$finish();
                Ok(())
            }
        }
    };
}

sequence!(SerializeSeq, serialize_element, finish);
sequence!(SerializeTuple, serialize_element, finish);
sequence!(SerializeTupleStruct, serialize_field, finish);
sequence!(SerializeTupleVariant, serialize_field, finish_variant);
fields!(SerializeStruct, finish);
fields!(SerializeStructVariant, finish_variant);

impl SerializeMap for Items<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.value(value)
    }

    fn end(self) -> Result<()> {
        self.finish();
        Ok(())
    }
}
