//! Layouts as data, and what decodes by them: for whatever treats all trees alike. What knows its tree uses the types of
//! [`super::shapes`].
//!
//! A [`Layout`] is a list of alternatives, each a list of [`Field`]s. Bytes are decoded by the first alternative that
//! consumes them whole. All numbers are big-endian. Texts are UTF-8, in which the separator `0xff` can't occur.

use std::fmt;

/// A field of a key or value. Each `&str` is the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Text up to the next separator or the end; may be empty.
    Text(&'static str),
    /// The same, beginning with this byte.
    Sigil(&'static str, u8),
    /// Text up to the last occurrence of this byte, which begins the next field; there is no separator between them.
    TextBefore(&'static str, u8),
    /// Fixed text.
    Literal(&'static str),
    /// The separator `0xff`.
    Sep,
    /// Eight zero bytes.
    Zero,
    /// Eight bytes, big-endian.
    U64(&'static str),
    /// Four bytes, big-endian.
    U32(&'static str),
    /// One byte: 0 or 1.
    Flag(&'static str),
    /// 32 bytes.
    Hash(&'static str),
    /// Numbers of eight bytes, to the end.
    U64s(&'static str),
    /// Texts with separators between them, to the end.
    Texts(&'static str),
    /// Any bytes, to the end.
    Bytes(&'static str),
    /// JSON, to the end.
    Json(&'static str, Order),
}

/// The order in which Conduit writes the keys of a JSON object; reading is not sensitive to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Sorted at each level: canonical JSON, or a map.
    Sorted,
    /// The fields of a struct, in this order; below them as they came.
    Fields(&'static [&'static str]),
    /// As a client or another server sent it.
    AsSent,
}

/// Alternatives of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout(pub &'static [&'static [Field]]);

/// A decoded field, borrowed from the bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value<'a> {
    /// UTF-8 text, JSON among it.
    Text(&'a str),
    /// A number of eight bytes.
    U64(u64),
    /// A number of four bytes.
    U32(u32),
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// Several numbers.
    U64s(Vec<u64>),
    /// Several texts.
    Texts(Vec<&'a str>),
}

/// The fields of a decoded key or value, in order, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fields<'a>(Vec<(&'static str, Value<'a>)>);

/// Bytes that no alternative of the layout fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What the layout expects.
    expected: Layout,
}

impl Misfit {
    pub(super) fn of(expected: Layout) -> Self {
        Self { expected }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fields) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" or ")?;
            }
            if fields.is_empty() {
                f.write_str("nothing")?;
            }
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    f.write_str(" · ")?;
                }
                match field {
                    Field::Text(name) | Field::TextBefore(name, _) => f.write_str(name),
                    Field::Sigil(name, sigil) => write!(f, "{name} ({}…)", char::from(*sigil)),
                    Field::Literal(text) => write!(f, "`{text}`"),
                    Field::Sep => f.write_str("ff"),
                    Field::Zero => f.write_str("u64 0"),
                    Field::U64(name) => write!(f, "u64 {name}"),
                    Field::U32(name) => write!(f, "u32 {name}"),
                    Field::Flag(name) => write!(f, "0 or 1 {name}"),
                    Field::Hash(name) => write!(f, "32 bytes {name}"),
                    Field::U64s(name) => write!(f, "u64s {name}"),
                    Field::Texts(name) => write!(f, "{name}, ff between"),
                    Field::Bytes(name) => write!(f, "bytes {name}"),
                    Field::Json(name, _) => write!(f, "JSON {name}"),
                }?;
            }
        }
        Ok(())
    }
}

impl Layout {
    /// Decodes bytes, all of them.
    ///
    /// # Errors
    ///
    /// [`Misfit`]. Any bytes are fine as input.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Fields<'a>, Misfit> {
        self.0.iter().find_map(|fields| decode(fields, bytes)).ok_or(Misfit { expected: *self })
    }

    /// The largest number of eight bytes among the fields of these names, 0 if there is none. It takes the same bytes as
    /// [`Self::decode`], and keeps no fields.
    ///
    /// # Errors
    ///
    /// [`Misfit`].
    pub fn largest(&self, bytes: &[u8], names: &[&str]) -> Result<u64, Misfit> {
        self.0
            .iter()
            .find_map(|fields| largest(fields, bytes, names))
            .ok_or(Misfit { expected: *self })
    }

    /// The names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().flat_map(|fields| fields.iter()).map(|field| field.name())
    }

    /// The JSON order of the layout, if it has JSON.
    pub fn json_order(&self) -> Option<Order> {
        self.0.iter().flat_map(|fields| fields.iter()).find_map(|field| match field {
            Field::Json(_, order) => Some(*order),
            _ => None,
        })
    }
}

impl<'a> Fields<'a> {
    /// The field of that name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &(&'static str, Value<'a>)> {
        self.0.iter()
    }
}

fn decode<'a>(fields: &[Field], bytes: &'a [u8]) -> Option<Fields<'a>> {
    let mut rest = bytes;
    let mut decoded = Vec::with_capacity(fields.len());
    for field in fields {
        let (name, value, after) = decode_field(*field, rest)?;
        rest = after;
        if let Some(value) = value {
            decoded.push((name, value));
        }
    }
    rest.is_empty().then_some(Fields(decoded))
}

fn largest(fields: &[Field], bytes: &[u8], names: &[&str]) -> Option<u64> {
    let (mut rest, mut largest) = (bytes, 0);
    for field in fields {
        let (name, value, after) = decode_field(*field, rest)?;
        rest = after;
        if let Some(Value::U64(number)) = value
            && number > largest
            && names.contains(&name)
        {
            largest = number;
        }
    }
    rest.is_empty().then_some(largest)
}

/// The field's name, its value unless it is fixed, and the bytes after it.
fn decode_field(field: Field, bytes: &[u8]) -> Option<(&'static str, Option<Value<'_>>, &[u8])> {
    let (value, rest) = match field {
        Field::Text(_) => text_until(bytes, position(bytes, 0xff))?,
        Field::Sigil(_, sigil) => {
            text_until(bytes, position(bytes, 0xff)).filter(|_| bytes.first() == Some(&sigil))?
        }
        Field::TextBefore(_, byte) => {
            text_until(bytes, bytes.iter().rposition(|found| *found == byte)?)?
        }
        Field::Literal(text) => return Some(("", None, bytes.strip_prefix(text.as_bytes())?)),
        Field::Sep => return Some(("", None, bytes.strip_prefix(&[0xff])?)),
        Field::Zero => return Some(("", None, bytes.strip_prefix(&[0; 8])?)),
        Field::U64(_) => {
            let (number, rest) = bytes.split_first_chunk()?;
            (Value::U64(u64::from_be_bytes(*number)), rest)
        }
        Field::U32(_) => {
            let (number, rest) = bytes.split_first_chunk()?;
            (Value::U32(u32::from_be_bytes(*number)), rest)
        }
        Field::Flag(_) => {
            let (flag, rest) = bytes.split_first()?;
            (Value::U32((*flag <= 1).then_some(u32::from(*flag))?), rest)
        }
        Field::Hash(_) => {
            let (hash, rest) = bytes.split_at_checked(32)?;
            (Value::Bytes(hash), rest)
        }
        Field::U64s(_) => {
            let (numbers, rest) = bytes.as_chunks::<8>();
            let numbers = numbers.iter().map(|number| u64::from_be_bytes(*number)).collect();
            (Value::U64s(numbers), rest)
        }
        Field::Texts(_) => {
            let texts: Result<_, _> =
                bytes.split(|byte| *byte == 0xff).map(std::str::from_utf8).collect();
            (Value::Texts(texts.ok()?), &[][..])
        }
        Field::Bytes(_) => (Value::Bytes(bytes), &[][..]),
        Field::Json(..) => {
            let text = std::str::from_utf8(bytes).ok()?;
            serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
            (Value::Text(text), &[][..])
        }
    };
    Some((field.name(), Some(value), rest))
}

fn position(bytes: &[u8], byte: u8) -> usize {
    bytes.iter().position(|found| *found == byte).unwrap_or(bytes.len())
}

fn text_until(bytes: &[u8], end: usize) -> Option<(Value<'_>, &[u8])> {
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((Value::Text(std::str::from_utf8(text).ok()?), rest))
}

impl Field {
    const fn name(self) -> &'static str {
        match self {
            Self::Text(name)
            | Self::Sigil(name, _)
            | Self::TextBefore(name, _)
            | Self::U64(name)
            | Self::U32(name)
            | Self::Flag(name)
            | Self::Hash(name)
            | Self::U64s(name)
            | Self::Texts(name)
            | Self::Bytes(name)
            | Self::Json(name, _) => name,
            Self::Literal(_) | Self::Sep | Self::Zero => "",
        }
    }
}

#[cfg(test)]
mod tests;
