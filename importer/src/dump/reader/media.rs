//! Reading `media.jsonl`.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::PathBuf,
};

use serde::de::DeserializeOwned;

use super::{DumpReader, ReadError};
use crate::dump::{
    format::{DumpMedia, DumpMediaHead},
    names,
};

impl DumpReader {
    /// The records of `media.jsonl`, one by one; `None` if media was left out of the dump.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Layout`], [`ReadError::Parse`]; the records' own.
    pub fn media(&self) -> Result<Option<MediaReader>, ReadError> {
        if self.paths(names::MEDIA).next().is_none() {
            return Ok(None);
        }
        let path = self.directory.join(names::MEDIA);
        let reader = match File::open(&path) {
            Ok(file) => BufReader::with_capacity(1 << 16, file),
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let mut lines = Lines { path, reader, line: 0, text: Vec::new() };
        match lines.next() {
            Some(head) => Ok(Some(MediaReader { head: head?, lines })),
            None => Err(ReadError::Layout { path: lines.path, line: 1, expected: "a first line" }),
        }
    }

    /// The dump's own folder for media files; it need not be there.
    pub fn media_directory(&self) -> PathBuf {
        self.directory.join(names::MEDIA_FILES)
    }
}

/// The records of `media.jsonl`. One is in memory at a time.
#[derive(Debug)]
pub struct MediaReader {
    head: DumpMediaHead,
    lines: Lines,
}

impl MediaReader {
    /// The first line.
    pub fn head(&self) -> &DumpMediaHead {
        &self.head
    }
}

impl Iterator for MediaReader {
    type Item = Result<DumpMedia, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lines.next()
    }
}

/// A file of JSON lines.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
    text: Vec<u8>,
}

impl Lines {
    fn next<T: DeserializeOwned>(&mut self) -> Option<Result<T, ReadError>> {
        self.text.clear();
        self.line = self.line.saturating_add(1);
        match self.reader.read_until(b'\n', &mut self.text) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&self.text).map_err(|source| ReadError::Parse {
                path: self.path.clone(),
                line: self.line,
                source,
            })),
            Err(source) => Some(Err(ReadError::Io { path: self.path.clone(), source })),
        }
    }
}
