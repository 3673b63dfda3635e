//! Writing a room.

use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{HashingFile, WriteError, to_vec, write_line};
use crate::dump::{
    format::{DumpEvent, DumpHistory, DumpRemoteReceipt, DumpRoom, DumpState, FileEntry},
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
    /// What a later dump needs to take the history over, one item.
    History,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::States, Self::Outliers, Self::Receipts, Self::History];

    /// The array's name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::States => "states",
            Self::Outliers => "outliers",
            Self::Receipts => "receipts",
            Self::History => "history",
        }
    }
}

/// Writes one room's files: the arrays of the one, an item a line, in the order states, outliers, receipts, history; and the
/// timeline at any time.
#[derive(Debug)]
pub struct RoomWriter {
    file: HashingFile,
    timeline: Timeline,
    section: Option<Section>,
    first: bool,
    /// The line that is being written.
    line: Vec<u8>,
}

/// The file of a timeline.
#[derive(Debug)]
enum Timeline {
    New(HashingFile),
    /// That of an earlier dump; nothing can be appended.
    Earlier(FileEntry),
}

impl RoomWriter {
    pub(super) fn create(directory: &Path, room: &DumpRoom) -> Result<Self, WriteError> {
        let id = room.room_id.as_str();
        let timeline = names::timeline(&names::room(id)).unwrap_or_default();
        let timeline = HashingFile::create(directory, timeline, id)?;
        Self::begin(directory, room, Timeline::New(timeline))
    }

    /// With a timeline that is complete.
    pub(super) fn with_timeline(
        directory: &Path,
        room: &DumpRoom,
        timeline: FileEntry,
    ) -> Result<Self, WriteError> {
        Self::begin(directory, room, Timeline::Earlier(timeline))
    }

    fn begin(directory: &Path, room: &DumpRoom, timeline: Timeline) -> Result<Self, WriteError> {
        let id = room.room_id.as_str();
        let mut file = HashingFile::create(directory, names::room(id), id)?;
        let mut head = to_vec(room);
        // The head is an object with at least `room_id`; the arrays take the place of its closing brace.
        head.pop();
        file.write(&head)?;
        Ok(Self { file, timeline, section: None, first: true, line: Vec::new() })
    }

    pub(super) fn finish(mut self) -> Result<[FileEntry; 2], WriteError> {
        self.advance_to(None)?;
        self.file.write(b"}\n")?;
        let timeline = match self.timeline {
            Timeline::New(file) => file.finish()?,
            Timeline::Earlier(entry) => entry,
        };
        Ok([self.file.finish()?, timeline])
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
    /// [`WriteError::Io`]; [`WriteError::Twice`] if the timeline was taken over from an earlier dump.
    pub fn timeline<P: Serialize>(&mut self, event: &DumpEvent<P>) -> Result<(), WriteError> {
        write_line(&mut self.line, event);
        self.line.push(b'\n');
        match &mut self.timeline {
            Timeline::New(file) => file.write(&self.line),
            Timeline::Earlier(_) => Err(WriteError::Twice { id: event.event_id.to_string() }),
        }
    }

    /// Appends the receipt of a user of another server.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Order`].
    pub fn receipt(&mut self, receipt: &DumpRemoteReceipt) -> Result<(), WriteError> {
        self.item(Section::Receipts, receipt)
    }

    /// Appends what a later dump needs to take the history over.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Order`].
    pub fn history(&mut self, history: &DumpHistory) -> Result<(), WriteError> {
        self.item(Section::History, history)
    }

    /// Appends an item of an earlier dump as it is.
    pub(super) fn earlier(&mut self, section: Section, item: &RawValue) -> Result<(), WriteError> {
        self.item(section, item)
    }

    fn item(
        &mut self,
        section: Section,
        item: &(impl Serialize + ?Sized),
    ) -> Result<(), WriteError> {
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

    /// Closes the open array, writes empty ones for sections that had nothing (but none for a missing history), opens the next.
    fn advance_to(&mut self, target: Option<Section>) -> Result<(), WriteError> {
        for section in Section::ALL {
            if Some(section) == self.section {
                self.file.write(b"\n]")?;
            }
            if Some(section) <= self.section {
                continue;
            }
            let is_absent = target.is_none() && section == Section::History;
            if is_absent || target.is_some_and(|target| section > target) {
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
