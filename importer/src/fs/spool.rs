//! Texts that are needed again later, by their place or in their order: in memory as long as they are few, then in a nameless
//! temporary file.

use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};

use tempfile::SpooledTempFile;

/// Bytes that are kept in memory.
const IN_MEMORY: usize = 16 << 20;

/// A text in the spool: where it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpooledText(u64);

/// The texts, one after the other: the length of each in eight bytes, big-endian, and the text.
#[derive(Debug)]
pub(crate) struct Spool {
    file: SpooledTempFile,
    end: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self { file: tempfile::spooled_tempfile(IN_MEMORY), end: 0 }
    }
}

impl Spool {
    /// Adds a text.
    pub(crate) fn put(&mut self, text: &str) -> io::Result<SpooledText> {
        let place = SpooledText(self.end);
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let entry = [&length.to_be_bytes(), text.as_bytes()].concat();
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&entry)?;
        self.end += u64::try_from(entry.len()).unwrap_or(u64::MAX);
        Ok(place)
    }

    /// A text that was added.
    pub(crate) fn get(&mut self, place: SpooledText) -> io::Result<String> {
        self.file.seek(SeekFrom::Start(place.0))?;
        let text = next(&mut self.file)?;
        text.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// All texts, in their order.
    pub(crate) fn texts(mut self) -> io::Result<impl Iterator<Item = io::Result<String>>> {
        self.file.rewind()?;
        let mut file = BufReader::new(self.file);
        Ok(std::iter::from_fn(move || next(&mut file).transpose()))
    }
}

/// The next text; `None` at the end.
fn next(file: &mut impl Read) -> io::Result<Option<String>> {
    let mut length = [0; 8];
    match file.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u64::from_be_bytes(length)).map_err(io::Error::other)?;
    let mut text = vec![0; length];
    file.read_exact(&mut text)?;
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    String::from_utf8(text).map(Some).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_from_memory_and_from_the_file() {
        let mut spool = Spool::default();
        let large = "x".repeat(IN_MEMORY);
        let texts = ["ü", "", &large, "two\nlines"];
        let places = texts.map(|text| spool.put(text).unwrap());
        for (text, place) in texts.into_iter().zip(places).rev() {
            assert_eq!(spool.get(place).unwrap(), text);
        }
        let all: Vec<_> = spool.texts().unwrap().map(Result::unwrap).collect();
        assert_eq!(all, texts);
    }
}
