//! Layouts as data, and the one codec that encodes and decodes by them.

/// A part of a key or value, as given to [`super::trees::Tree::key`] and [`super::trees::Tree::value`]. Separators and
/// other fixed bytes are the layout's business and never given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part<'a> {
    /// UTF-8 text: an id, a type, a state key, JSON.
    Text(&'a str),
    /// Eight bytes, big-endian.
    U64(u64),
    /// Four bytes, big-endian.
    U32(u32),
    /// Raw bytes: hashes, keys, whole blobs.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a str> for Part<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Part<'_> {
    fn from(number: u64) -> Self {
        Self::U64(number)
    }
}

impl<'a> From<&'a [u8]> for Part<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}
