//! Reading `outbox.jsonl`.

use super::{DumpReader, Lines, ReadError};
use crate::dump::{format::DumpOutgoing, names};

impl DumpReader {
    /// The items of `outbox.jsonl`, one by one; none if nothing waited.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`]; the items' own.
    pub fn outbox(&self) -> Result<OutboxReader, ReadError> {
        let lines = if self.has(names::OUTBOX) {
            Some(Lines::open(self.directory.join(names::OUTBOX))?)
        } else {
            None
        };
        Ok(OutboxReader { lines })
    }
}

/// The items of `outbox.jsonl`. One is in memory at a time.
#[derive(Debug)]
pub struct OutboxReader {
    lines: Option<Lines>,
}

impl Iterator for OutboxReader {
    type Item = Result<DumpOutgoing, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lines.as_mut()?.next()
    }
}
