//! Writing a room.

use std::path::Path;

use serde::Serialize;

use super::{HashingFile, WriteError, to_vec, write_line};
use crate::dump::{
    format::{DumpEvent, DumpRemoteReceipt, DumpRoom, DumpState, FileEntry},
    names,
};

/// The arrays of a room file, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Room states.
    States,
    /// Events outside the timeline.
    Outliers,
    /// Read receipts of other servers' users.
    Receipts,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::States, Self::Outliers, Self::Receipts];

    /// The array's name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::States => "states",
            Self::Outliers => "outliers",
            Self::Receipts => "receipts",
        }
    }
}

/// Writes one room's files: the arrays of the one, an item a line, in the order states, outliers, receipts; and the
/// timeline at any time.
#[derive(Debug)]
pub struct RoomWriter {
    file: HashingFile,
    timeline: HashingFile,
    section: Option<Section>,
    first: bool,
    /// The line that is being written.
    line: Vec<u8>,
}

impl RoomWriter {
    pub(super) fn create(directory: &Path, room: &DumpRoom) -> Result<Self, WriteError> {
        let id = room.room_id.as_str();
        let path = names::room(id);
        let timeline = names::timeline(&path).unwrap_or_default();
        let timeline = HashingFile::create(directory, timeline, id)?;
        let mut file = HashingFile::create(directory, path, id)?;
        let mut head = to_vec(room);
        // The head is an object with at least `room_id`; the arrays take the place of its closing brace.
        head.pop();
        file.write(&head)?;
        Ok(Self { file, timeline, section: None, first: true, line: Vec::new() })
    }

    pub(super) fn finish(mut self) -> Result<[FileEntry; 2], WriteError> {
        self.advance_to(None)?;
        self.file.write(b"}\n")?;
        Ok([self.file.finish()?, self.timeline.finish()?])
    }

    /// Appends a state.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Order`].
    pub fn state(&mut self, state: &DumpState) -> Result<(), WriteError> {
        self.item(Section::States, state)
    }

    /// Appends an event that is known, but not part of the timeline: state, auth events, soft-failed events.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Order`].
    pub fn outlier<P: Serialize>(&mut self, event: &DumpEvent<P>) -> Result<(), WriteError> {
        self.item(Section::Outliers, event)
    }

    /// Appends a timeline event; oldest first, in the order in which users saw them.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`].
    pub fn timeline<P: Serialize>(&mut self, event: &DumpEvent<P>) -> Result<(), WriteError> {
        write_line(&mut self.line, event);
        self.line.push(b'\n');
        self.timeline.write(&self.line)
    }

    /// Appends the receipt of a user of another server.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Order`].
    pub fn receipt(&mut self, receipt: &DumpRemoteReceipt) -> Result<(), WriteError> {
        self.item(Section::Receipts, receipt)
    }

    fn item(&mut self, section: Section, item: &impl Serialize) -> Result<(), WriteError> {
        if self.section > Some(section) {
            return Err(WriteError::Order { section });
        }
        if self.section != Some(section) {
            self.advance_to(Some(section))?;
        }
        self.file.write(if self.first { b"\n" } else { b",\n" })?;
        self.first = false;
        write_line(&mut self.line, item);
        self.file.write(&self.line)
    }

    /// Closes the open array, writes empty ones for sections that had nothing, opens the next.
    fn advance_to(&mut self, target: Option<Section>) -> Result<(), WriteError> {
        for section in Section::ALL {
            if Some(section) == self.section {
                self.file.write(b"\n]")?;
            }
            if Some(section) <= self.section {
                continue;
            }
            if target.is_some_and(|target| section > target) {
                break;
            }
            self.file.write(format!(",\n\"{}\":[", section.name()).as_bytes())?;
            if Some(section) != target {
                self.file.write(b"\n]")?;
            }
        }
        self.section = target;
        self.first = true;
        Ok(())
    }
}
