//! Reading a file of JSON lines.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::PathBuf,
};

use serde::de::DeserializeOwned;

use super::ReadError;

/// A file of JSON lines.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
    text: Vec<u8>,
}

impl Lines {
    pub(super) fn open(path: PathBuf) -> Result<Self, ReadError> {
        match File::open(&path) {
            Ok(file) => {
                let reader = BufReader::with_capacity(1 << 16, file);
                Ok(Self { path, reader, line: 0, text: Vec::new() })
            }
            Err(source) => Err(ReadError::Io { path, source }),
        }
    }

    /// The error that the line just read is another one than expected.
    pub(super) fn unexpected(&self, expected: &'static str) -> ReadError {
        ReadError::Layout { path: self.path.clone(), line: self.line, expected }
    }

    /// The next line; `None` at the end.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Option<Result<T, ReadError>> {
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
