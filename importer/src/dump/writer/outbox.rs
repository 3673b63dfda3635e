//! Writing `outbox.jsonl`.

use std::path::PathBuf;

use super::{DumpWriter, HashingFile, WriteError, write_line};
use crate::dump::{format::DumpOutgoing, names};

impl DumpWriter {
    /// Begins `outbox.jsonl`, which is there if something waits. [`Self::finish_outbox`] must follow.
    pub fn outbox(&self) -> OutboxWriter {
        OutboxWriter { directory: self.directory.path().to_owned(), file: None, line: Vec::new() }
    }

    /// Ends `outbox.jsonl`.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`].
    pub fn finish_outbox(&self, outbox: OutboxWriter) -> Result<(), WriteError> {
        if let Some(file) = outbox.file {
            self.complete([file.finish()?]);
        }
        Ok(())
    }
}

/// Writes the lines of `outbox.jsonl`.
#[derive(Debug)]
pub struct OutboxWriter {
    directory: PathBuf,
    file: Option<HashingFile>,
    line: Vec<u8>,
}

impl OutboxWriter {
    /// Appends an item.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Twice`].
    pub fn item(&mut self, item: &DumpOutgoing) -> Result<(), WriteError> {
        write_line(&mut self.line, item);
        self.line.push(b'\n');
        let file = match self.file.take() {
            Some(file) => file,
            None => HashingFile::create(&self.directory, names::OUTBOX.into(), names::OUTBOX)?,
        };
        self.file.insert(file).write(&self.line)
    }
}
