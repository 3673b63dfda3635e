//! Texts that are needed again later: in memory as long as they are few, then in a temporary file.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use tempfile::SpooledTempFile;

/// Bytes that are kept in memory.
const IN_MEMORY: usize = 16 << 20;

/// A text in the spool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpooledText {
    offset: u64,
    length: usize,
}

/// Texts, each of which is found by what [`Self::put`] gives.
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
    pub(crate) fn put(&mut self, text: &str) -> io::Result<SpooledText> {
        let place = SpooledText { offset: self.end, length: text.len() };
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(text.as_bytes())?;
        self.end = self.end.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        Ok(place)
    }

    pub(crate) fn get(&mut self, place: SpooledText) -> io::Result<String> {
        self.file.seek(SeekFrom::Start(place.offset))?;
        let mut text = vec![0; place.length];
        self.file.read_exact(&mut text)?;
        String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_from_memory_and_from_the_file() {
        let mut spool = Spool::default();
        let large = "x".repeat(IN_MEMORY);
        let places = ["ü", "", &large, "last"].map(|text| (text, spool.put(text).unwrap()));
        for (text, place) in places.into_iter().rev() {
            assert_eq!(spool.get(place).unwrap(), text);
        }
    }
}
