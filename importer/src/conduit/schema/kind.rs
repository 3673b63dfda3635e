//! Kinds of fields, by the names of [`super::layout::Field`]: what each is in Rust, and how it is read and written.

/// A kind of fields.
pub trait Kind {
    /// The field, borrowed from bytes.
    type Of<'a>;

    /// Appends the field.
    fn write(field: &Self::Of<'_>, bytes: &mut Vec<u8>);

    /// Takes the field from the front of `bytes`; `None` if they begin with something else.
    fn read<'a>(bytes: &mut &'a [u8]) -> Option<Self::Of<'a>>;
}

/// UTF-8 text up to the next separator or the end.
#[derive(Debug)]
pub enum Text {}
/// The same, beginning with the byte that the layout says.
#[derive(Debug)]
pub enum Sigil {}
/// UTF-8 text up to the last `$`, which begins the next field.
#[derive(Debug)]
pub enum TextBefore {}
/// Eight bytes, big-endian.
#[derive(Debug)]
pub enum U64 {}
/// Four bytes, big-endian.
#[derive(Debug)]
pub enum U32 {}
/// One byte: 0 or 1.
#[derive(Debug)]
pub enum Flag {}
/// 32 bytes.
#[derive(Debug)]
pub enum Hash {}
/// Numbers of eight bytes, to the end.
#[derive(Debug)]
pub enum U64s {}
/// Texts with separators between them, to the end.
#[derive(Debug)]
pub enum Texts {}
/// Any bytes, to the end.
#[derive(Debug)]
pub enum Bytes {}
/// JSON, to the end.
#[derive(Debug)]
pub enum Json {}

/// Takes `end` bytes of text.
fn text<'a>(bytes: &mut &'a [u8], end: usize) -> Option<&'a str> {
    let (text, rest) = bytes.split_at_checked(end)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

impl Kind for Text {
    type Of<'a> = &'a str;

    fn write(field: &&str, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(field.as_bytes());
    }

    fn read<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
        let end = bytes.iter().position(|byte| *byte == 0xff).unwrap_or(bytes.len());
        text(bytes, end)
    }
}

impl Kind for Sigil {
    type Of<'a> = &'a str;

    fn write(field: &&str, bytes: &mut Vec<u8>) {
        Text::write(field, bytes);
    }

    fn read<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
        Text::read(bytes)
    }
}

impl Kind for TextBefore {
    type Of<'a> = &'a str;

    fn write(field: &&str, bytes: &mut Vec<u8>) {
        Text::write(field, bytes);
    }

    fn read<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
        let end = bytes.iter().rposition(|byte| *byte == b'$')?;
        text(bytes, end)
    }
}

impl Kind for U64 {
    type Of<'a> = u64;

    fn write(field: &u64, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&field.to_be_bytes());
    }

    fn read(bytes: &mut &[u8]) -> Option<u64> {
        let (number, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(u64::from_be_bytes(*number))
    }
}

impl Kind for U32 {
    type Of<'a> = u32;

    fn write(field: &u32, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&field.to_be_bytes());
    }

    fn read(bytes: &mut &[u8]) -> Option<u32> {
        let (number, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(u32::from_be_bytes(*number))
    }
}

impl Kind for Flag {
    type Of<'a> = bool;

    fn write(field: &bool, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*field));
    }

    fn read(bytes: &mut &[u8]) -> Option<bool> {
        let (flag, rest) = bytes.split_first()?;
        *bytes = rest;
        match flag {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Kind for Hash {
    type Of<'a> = &'a [u8; 32];

    fn write(field: &&[u8; 32], bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(*field);
    }

    fn read<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8; 32]> {
        let (hash, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(hash)
    }
}

impl Kind for U64s {
    type Of<'a> = Vec<u64>;

    fn write(field: &Vec<u64>, bytes: &mut Vec<u8>) {
        bytes.extend(field.iter().flat_map(|number| number.to_be_bytes()));
    }

    fn read(bytes: &mut &[u8]) -> Option<Vec<u64>> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        *bytes = rest;
        Some(numbers.iter().map(|number| u64::from_be_bytes(*number)).collect())
    }
}

impl Kind for Texts {
    type Of<'a> = Vec<&'a str>;

    fn write(field: &Vec<&str>, bytes: &mut Vec<u8>) {
        for (index, text) in field.iter().enumerate() {
            if index > 0 {
                bytes.push(0xff);
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }

    fn read<'a>(bytes: &mut &'a [u8]) -> Option<Vec<&'a str>> {
        let texts = std::mem::take(bytes).split(|byte| *byte == 0xff);
        texts.map(|text| std::str::from_utf8(text).ok()).collect()
    }
}

impl Kind for Bytes {
    type Of<'a> = &'a [u8];

    fn write(field: &&[u8], bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(field);
    }

    fn read<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        Some(std::mem::take(bytes))
    }
}

impl Kind for Json {
    type Of<'a> = &'a str;

    fn write(field: &&str, bytes: &mut Vec<u8>) {
        Text::write(field, bytes);
    }

    fn read<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
        let text = std::str::from_utf8(std::mem::take(bytes)).ok()?;
        serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
        Some(text)
    }
}
