//! Reading `media.jsonl`.

use std::path::PathBuf;

use super::{DumpReader, Lines, ReadError};
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
        if self.files(names::MEDIA).next().is_none() {
            return Ok(None);
        }
        let mut lines = Lines::open(self.directory.join(names::MEDIA))?;
        match lines.next() {
            Some(head) => Ok(Some(MediaReader { head: head?, lines })),
            None => Err(ReadError::Layout {
                path: self.directory.join(names::MEDIA),
                line: 1,
                expected: "a first line",
            }),
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
