//! Reading a room as a stream.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{Lines, ReadError};
use crate::dump::{
    format::{DumpEvent, DumpHistory, DumpRemoteReceipt, DumpRoom, DumpState},
    writer::Section,
};

/// Bytes of a timeline that are read at once, and parsed by all cores.
const AHEAD: usize = 256 << 10;

/// A room's files. Read [`Self::states`], then [`Self::outliers`], then [`Self::receipts`], and [`Self::timeline`] at any
/// time; each gives its items one by one, and what was left unread of an earlier section is passed over.
#[derive(Debug)]
pub struct RoomReader {
    path: PathBuf,
    timeline: PathBuf,
    head: DumpRoom,
    lines: BufReader<File>,
    line: u64,
    text: Vec<u8>,
    /// The section whose items come next, if one is open.
    open: Option<Section>,
    /// Whether the last section was read to its end.
    is_end: bool,
}

impl RoomReader {
    pub(super) fn open(path: PathBuf, timeline: PathBuf) -> Result<Self, ReadError> {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let mut text = Vec::new();
        if let Err(source) = lines.read_until(b'\n', &mut text) {
            return Err(ReadError::Io { path, source });
        }
        let Some(head) = text.trim_ascii_end().strip_suffix(b",") else {
            return Err(ReadError::Layout { path, line: 1, expected: "the room's head and `,`" });
        };
        let mut head = head.to_vec();
        head.push(b'}');
        match serde_json::from_slice(&head) {
            Ok(head) => {
                Ok(Self { path, timeline, head, lines, line: 1, text, open: None, is_end: false })
            }
            Err(source) => Err(ReadError::Parse { path, line: 1, source }),
        }
    }

    /// The same room from its beginning.
    ///
    /// # Errors
    ///
    /// Those of [`super::DumpReader::rooms`].
    pub fn reopen(&self) -> Result<Self, ReadError> {
        Self::open(self.path.clone(), self.timeline.clone())
    }

    /// The room itself.
    pub fn head(&self) -> &DumpRoom {
        &self.head
    }

    /// The room itself; closes its file.
    pub fn into_head(self) -> DumpRoom {
        self.head
    }

    /// Bytes of both files.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`].
    pub fn size(&self) -> Result<u64, ReadError> {
        [&self.path, &self.timeline].into_iter().try_fold(0, |sum: u64, path| {
            let file = std::fs::metadata(path)
                .map_err(|source| ReadError::Io { path: path.clone(), source })?;
            Ok(sum.saturating_add(file.len()))
        })
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The room's states; bases come before what differs from them.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Layout`]; the items' own.
    pub fn states(&mut self) -> Result<Items<'_, DumpState>, ReadError> {
        self.section(Section::States)
    }

    /// The events outside the timeline.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Layout`]; the items' own.
    pub fn outliers(&mut self) -> Result<Items<'_, DumpEvent>, ReadError> {
        self.section(Section::Outliers)
    }

    /// The timeline, oldest first.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`]; the items' own.
    pub fn timeline(&self) -> Result<Timeline, ReadError> {
        Ok(Timeline { lines: Lines::open(self.timeline.clone())?, ready: VecDeque::new() })
    }

    /// Read receipts of other servers' users, in no particular order.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Layout`]; the items' own.
    pub fn receipts(&mut self) -> Result<Items<'_, DumpRemoteReceipt>, ReadError> {
        self.section(Section::Receipts)
    }

    /// What a later dump needs to take the history over, if that is known.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`], [`ReadError::Layout`], [`ReadError::Parse`].
    pub fn history(&mut self) -> Result<Option<DumpHistory>, ReadError> {
        self.receipts()?;
        while self.item_line()?.is_some() {}
        if self.is_end {
            return Ok(None);
        }
        self.section(Section::History)?.next().transpose()
    }

    pub(in crate::dump) fn section<T: DeserializeOwned>(
        &mut self,
        section: Section,
    ) -> Result<Items<'_, T>, ReadError> {
        loop {
            if self.open.is_some() {
                while self.item_line()?.is_some() {}
            }
            self.next_line()?;
            let found = Section::ALL
                .into_iter()
                .find(|s| self.text == format!("\"{}\":[", s.name()).as_bytes());
            let Some(found) = found.filter(|found| *found <= section) else {
                return Err(
                    self.layout("the next of `\"states\":[`, `\"outliers\":[`, `\"receipts\":[`")
                );
            };
            self.open = Some(found);
            if found == section {
                return Ok(Items { room: self, item: std::marker::PhantomData });
            }
        }
    }

    /// The next item's line without its comma; `None` at the array's end.
    fn item_line(&mut self) -> Result<Option<&[u8]>, ReadError> {
        if self.open.is_none() {
            return Ok(None);
        }
        self.next_line()?;
        match self.text.as_slice() {
            b"]," | b"]}" => {
                self.open = None;
                self.is_end = self.text == b"]}";
                Ok(None)
            }
            [b'{', ..] => Ok(Some(self.text.strip_suffix(b",").unwrap_or(&self.text))),
            _ => Err(self.layout("an item or the array's end")),
        }
    }

    fn next_line(&mut self) -> Result<(), ReadError> {
        self.text.clear();
        self.line = self.line.saturating_add(1);
        self.lines
            .read_until(b'\n', &mut self.text)
            .map_err(|source| ReadError::Io { path: self.path.clone(), source })?;
        if self.text.pop() == Some(b'\n') { Ok(()) } else { Err(self.layout("a whole line")) }
    }

    fn layout(&self, expected: &'static str) -> ReadError {
        ReadError::Layout { path: self.path.clone(), line: self.line, expected }
    }
}

/// The items of one section.
#[derive(Debug)]
pub struct Items<'a, T> {
    room: &'a mut RoomReader,
    item: std::marker::PhantomData<T>,
}

impl<T: DeserializeOwned> Iterator for Items<'_, T> {
    type Item = Result<T, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let parsed = match self.room.item_line() {
            Ok(line) => serde_json::from_slice(line?),
            Err(error) => {
                self.room.open = None;
                return Some(Err(error));
            }
        };
        Some(parsed.map_err(|source| ReadError::Parse {
            path: self.room.path.clone(),
            line: self.room.line,
            source,
        }))
    }
}

/// The events of a timeline.
#[derive(Debug)]
pub struct Timeline {
    lines: Lines,
    /// Events that were read ahead.
    ready: VecDeque<Result<DumpEvent, ReadError>>,
}

impl Iterator for Timeline {
    type Item = Result<DumpEvent, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            self.ready = self.lines.next_all(AHEAD).into();
        }
        self.ready.pop_front()
    }
}
