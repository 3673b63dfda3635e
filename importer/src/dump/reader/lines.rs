//! Reading a file of JSON lines.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    iter,
    path::PathBuf,
};

use rayon::prelude::*;
use serde::de::DeserializeOwned;

use super::ReadError;

/// Lines that are worth the way to another core.
const PARSED_TOGETHER: usize = 64;

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
            Ok(_) => Some(self.parse(self.line, &self.text)),
            Err(source) => Some(Err(ReadError::Io { path: self.path.clone(), source })),
        }
    }

    /// The next lines, which have about this many bytes; none at the end. All cores parse them.
    pub(super) fn next_all<T: DeserializeOwned + Send>(
        &mut self,
        bytes: usize,
    ) -> Vec<Result<T, ReadError>> {
        let first = self.line.saturating_add(1);
        self.text.clear();
        let (mut ends, mut failed) = (Vec::new(), None);
        while self.text.len() < bytes {
            match self.reader.read_until(b'\n', &mut self.text) {
                Ok(0) => break,
                Ok(_) => ends.push(self.text.len()),
                Err(source) => {
                    failed = Some(Err(ReadError::Io { path: self.path.clone(), source }));
                    break;
                }
            }
            self.line = self.line.saturating_add(1);
        }
        let starts = iter::once(0).chain(ends.iter().copied());
        let lines = (first..).zip(starts).zip(&ends);
        let lines: Vec<_> =
            lines.map(|((line, start), end)| (line, self.text.get(start..*end))).collect();
        let lines = lines.into_par_iter().with_min_len(PARSED_TOGETHER);
        let parse = |(line, text): (u64, Option<&[u8]>)| self.parse(line, text.unwrap_or_default());
        let mut parsed: Vec<_> = lines.map(parse).collect();
        parsed.extend(failed);
        parsed
    }

    fn parse<T: DeserializeOwned>(&self, line: u64, text: &[u8]) -> Result<T, ReadError> {
        serde_json::from_slice(text).map_err(|source| ReadError::Parse {
            path: self.path.clone(),
            line,
            source,
        })
    }
}
