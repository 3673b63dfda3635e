//! The events of all rooms, read in one pass over the tables.
//!
//! Read room by room, each event costs look-ups all over the database's files, and a page that has events of ten rooms is read ten
//! times. So the tables are read in their own order, by both readers, each a range of the stream at a time. The rows are put into the
//! order of timelines outside of the database: in sorted runs, in files without a name beside the dump, which need about as much of the
//! disk as the events in it.
//!
//! A row's key: the number of the room's group (u32), 1 if the event is live or 0 if it was backfilled, the number of the room (u32),
//! `topological_ordering` if it was backfilled or else zero, `stream_ordering` (both i64 with the sign inverted, so that they sort as
//! numbers), the event id, and a number that no other row of the reader has (u32). Big endian.

mod side_by_side;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    vec,
};

use ruma::RoomId;
use tokio::sync::watch;

use self::side_by_side::until_failed;
use super::{
    fingerprint::Fingerprints,
    gaps::Gaps,
    list::ListedRooms,
    stored_event::{COLUMN_NAMES, COLUMNS, TABLES, WHOLE_COLUMNS, WHOLE_TABLES},
    timeline::{ACCEPTED, StreamPosition, TimelineRow},
};
use crate::{
    dump::{WriteError, format::SourceKind},
    fs::sorted_rows::{Merged, Rows, Runs, WrittenRun},
    progress::{Phase, Progress},
    source::SourceError,
    synapse::database::{
        DatabaseError,
        connection::Connection,
        row::{Row, StoredRow},
    },
};

/// Most bytes of `event_json` that PostgreSQL joins as a whole.
const WHOLE: u64 = if cfg!(test) { 500_000 } else { 256 << 20 };
/// Bytes of rows that a reader holds, while it writes as much.
const MEMORY: usize = if cfg!(test) { 1 << 15 } else { 24 << 20 };
/// Bytes that the system reads before they are merged.
const AHEAD: u64 = 16 << 20;
/// Events of a range.
const RANGE: u64 = if cfg!(test) { 100 } else { 25_000 };

/// The events, and what is left to read.
#[derive(Debug)]
pub(in crate::synapse::database) struct AllEvents {
    /// Where the files are.
    directory: PathBuf,
    rooms: BTreeMap<String, Place>,
    way: Way,
    /// Ranges of `stream_ordering`, with their ends, that no reader has begun.
    ranges: Mutex<vec::IntoIter<(i64, i64)>>,
    phase: Mutex<Option<Phase>>,
    /// How many readers are reading.
    readers: watch::Sender<usize>,
    runs: Mutex<Vec<Arc<Runs>>>,
    /// The names of a row's columns.
    names: Arc<[String]>,
}

/// How the tables are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// PostgreSQL joins small tables as a whole, which takes half of the time, but needs temporary files for larger ones.
    Whole,
    /// By ranges of the stream, each event is looked up by its id.
    LookUps,
    /// By ranges of the stream, SQLite's tables side by side.
    SideBySide,
}

/// The numbers of a room and of its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    group: u32,
    room: u32,
}

impl AllEvents {
    /// Of the rooms whose events are known to have a place each.
    pub(in crate::synapse::database) async fn of(
        db: &mut Connection,
        listed: &ListedRooms,
        directory: &Path,
        progress: &Progress,
    ) -> Result<Self, DatabaseError> {
        let fingerprints = &listed.fingerprints;
        let mut rooms = BTreeMap::new();
        for (group, ids) in (0..).zip(listed.groups()) {
            let known = ids.iter().filter(|id| fingerprints.events_of(id.as_str()).is_some());
            rooms.extend(known.zip(0..).map(|(id, room)| (id.to_string(), Place { group, room })));
        }
        let way = Way::of(db).await?;
        let ranges = if rooms.is_empty() { Vec::new() } else { ranges(fingerprints, way) };
        let events = usize::try_from(fingerprints.events()).unwrap_or(usize::MAX);
        let phase = (!ranges.is_empty()).then(|| progress.phase("event", events));
        Ok(Self {
            directory: directory.to_owned(),
            rooms,
            way,
            ranges: Mutex::new(ranges.into_iter()),
            phase: Mutex::new(phase),
            readers: watch::Sender::new(0),
            runs: Mutex::default(),
            names: COLUMN_NAMES.map(str::to_owned).into(),
        })
    }

    /// Reads ranges while there are any that no reader has begun, and waits for the other reader.
    pub(in crate::synapse::database) async fn read(
        &self,
        db: &mut Connection,
    ) -> Result<(), SourceError> {
        self.readers.send_modify(|readers| *readers = readers.saturating_add(1));
        let mut reading = Reading::new(self).map_err(|source| self.error(source))?;
        while let Some(range) = self.next() {
            reading.range(db, range).await?;
        }
        let runs = reading.finish().map_err(|source| self.error(source))?;
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(runs));
        self.readers.send_modify(|readers| *readers = readers.saturating_sub(1));
        let mut readers = self.readers.subscribe();
        // The sender is here, so there is no error.
        drop(readers.wait_for(|readers| *readers == 0).await);
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    fn next(&self) -> Option<(i64, i64)> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    fn advance(&self, events: u64) {
        if let Some(phase) = &*self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            phase.advance(events);
        }
    }

    /// The numbers of a room whose events are here.
    pub(super) fn place(&self, room_id: &RoomId) -> Option<Place> {
        self.rooms.get(room_id.as_str()).copied()
    }

    /// The events of a room's group, and how many bytes they have.
    pub(super) fn group(
        &self,
        Place { group, .. }: Place,
    ) -> Result<(GroupEvents, u64), WriteError> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sections = [section(group, false), section(group, true)];
        let size = sections.iter().flat_map(|section| runs.iter().map(|runs| runs.size(*section)));
        let size = size.fold(0, u64::saturating_add);
        let names = &self.names;
        let stream = |section| {
            let merged = Merged::new(runs.iter().map(AsRef::as_ref), section).read_ahead(AHEAD);
            Stream { merged, names: Arc::clone(names), next: None }.begin()
        };
        let streams = sections.map(stream);
        let [backfilled, live] = streams.map(|stream| stream.map_err(|source| self.error(source)));
        let directory = self.directory.clone();
        Ok((GroupEvents { directory, backfilled: backfilled?, live: live? }, size))
    }

    /// An error of the files.
    fn error(&self, source: io::Error) -> WriteError {
        WriteError::Io { path: self.directory.clone(), source }
    }
}

impl Way {
    async fn of(db: &mut Connection) -> Result<Self, DatabaseError> {
        if db.kind() != SourceKind::Postgres {
            let is_possible = side_by_side::is_possible(db).await?;
            return Ok(if is_possible { Self::SideBySide } else { Self::LookUps });
        }
        let sql = "SELECT pg_table_size(CAST('event_json' AS regclass))";
        let rows = db.rows("event_json", sql, &[]).await?;
        let size = rows.first().and_then(|row| u64::try_from(row.integer(0)?).ok());
        let is_small = size.is_some_and(|size| size <= WHOLE);
        Ok(if is_small { Self::Whole } else { Self::LookUps })
    }
}

/// Divides the stream.
fn ranges(fingerprints: &Fingerprints, way: Way) -> Vec<(i64, i64)> {
    let Some((first, last)) = fingerprints.streams() else { return Vec::new() };
    let number = if way == Way::Whole { 1 } else { fingerprints.events().div_ceil(RANGE).max(1) };
    let width = last.abs_diff(first).checked_div(number).unwrap_or(0);
    let mut ranges = Vec::new();
    let mut begin = first;
    loop {
        let end = begin.saturating_add_unsigned(width).min(last);
        ranges.push((begin, end));
        match end.checked_add(1).filter(|next| *next <= last) {
            Some(next) => begin = next,
            None => return ranges,
        }
    }
}

/// What one reader reads.
struct Reading<'a> {
    all: &'a AllEvents,
    rows: Rows,
    runs: Runs,
    under_way: Option<JoinHandle<io::Result<WrittenRun>>>,
    number: u32,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<'a> Reading<'a> {
    fn new(all: &'a AllEvents) -> io::Result<Self> {
        let runs = Runs::new(&all.directory)?;
        let (key, value) = (Vec::new(), Vec::new());
        Ok(Self { all, rows: Rows::new(), runs, under_way: None, number: 0, key, value })
    }

    /// Reads a range of the stream.
    async fn range(&mut self, db: &mut Connection, range: (i64, i64)) -> Result<(), SourceError> {
        let all = self.all;
        let number = match all.way {
            Way::SideBySide => self.side_by_side(db, range).await?,
            Way::Whole | Way::LookUps => self.joined(db, range).await?,
        };
        all.advance(number);
        Ok(())
    }

    /// The same by joining the tables.
    async fn joined(
        &mut self,
        db: &mut Connection,
        (begin, end): (i64, i64),
    ) -> Result<u64, SourceError> {
        let is_whole = self.all.way == Way::Whole;
        let (columns, tables) =
            if is_whole { (WHOLE_COLUMNS, WHOLE_TABLES) } else { (COLUMNS, TABLES) };
        let sql = format!(
            "SELECT {columns} FROM {tables} WHERE {ACCEPTED} AND e.stream_ordering BETWEEN $1 AND $2"
        );
        let (mut number, mut failed) = (0_u64, None);
        let each = |row: Row<'_>| {
            number = number.saturating_add(1);
            until_failed(self.add(row), &mut failed)
        };
        let params = [begin.into(), end.into()];
        if is_whole {
            db.each_of_whole_tables("events", &sql, &params, each).await?;
        } else {
            db.each_until("events", &sql, &params, each).await?;
        }
        self.done(failed)?;
        Ok(number)
    }

    fn done(&self, failed: Option<io::Error>) -> Result<(), SourceError> {
        failed.map_or(Ok(()), |error| Err(self.all.error(error).into()))
    }

    /// Where a row's event belongs, and its id, if its room is one of those that are read.
    fn place<'r>(&self, row: Row<'r>) -> Option<(Place, StreamPosition, Cow<'r, str>)> {
        let place = row.as_text(3).and_then(|room| self.all.rooms.get(&*room).copied())?;
        let number = |column| row.integer(column).unwrap_or_default();
        let position = StreamPosition::new(number(1), number(2));
        Some((place, position, row.as_text(0).unwrap_or_default()))
    }

    /// Adds a row of all columns.
    fn add(&mut self, row: Row<'_>) -> io::Result<()> {
        let Some((place, position, id)) = self.place(row) else { return Ok(()) };
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        row.store(0..COLUMN_NAMES.len(), &mut value);
        self.push(place, position, &id, &value)?;
        self.value = value;
        Ok(())
    }

    fn push(
        &mut self,
        place: Place,
        position: StreamPosition,
        event_id: &str,
        value: &[u8],
    ) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        place.key(position, event_id, self.number, &mut self.key);
        self.rows.push(&self.key, value);
        if self.rows.size() >= MEMORY { self.write() } else { Ok(()) }
    }

    /// Has a run of the rows written.
    fn write(&mut self) -> io::Result<()> {
        self.wait()?;
        let run = self.runs.write(self.rows.take(), |key| {
            let (group, rest) = key.split_first_chunk().unwrap_or((&[0; 4], &[]));
            section(u32::from_be_bytes(*group), rest.first() == Some(&1))
        })?;
        self.under_way = Some(run);
        Ok(())
    }

    /// Waits for the run under way.
    fn wait(&mut self) -> io::Result<()> {
        let Some(run) = self.under_way.take() else { return Ok(()) };
        self.runs.add(run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        Ok(())
    }

    fn finish(mut self) -> io::Result<Runs> {
        if !self.rows.is_empty() {
            self.write()?;
        }
        self.wait()?;
        Ok(self.runs)
    }
}

/// The number of the section of a group's events that are live, or were backfilled.
fn section(group: u32, is_live: bool) -> u64 {
    u64::from(group) << 1 | u64::from(is_live)
}

/// Bytes of a key before the number of the room.
const BEFORE_ROOM: usize = 5;

impl Place {
    fn key(self, position: StreamPosition, event_id: &str, number: u32, key: &mut Vec<u8>) {
        let (is_live, topological, stream) = match position {
            StreamPosition::Backfilled { topological, stream } => (0, topological, stream),
            StreamPosition::Live { stream } => (1, 0, stream),
        };
        let sortable = |number: i64| (number ^ i64::MIN).to_be_bytes();
        key.clear();
        key.extend_from_slice(&self.group.to_be_bytes());
        key.push(is_live);
        key.extend_from_slice(&self.room.to_be_bytes());
        key.extend_from_slice(&sortable(topological));
        key.extend_from_slice(&sortable(stream));
        key.extend_from_slice(event_id.as_bytes());
        key.extend_from_slice(&number.to_be_bytes());
    }
}

/// The events of a group of rooms: room by room, in the order of the group.
#[derive(Debug)]
pub(super) struct GroupEvents {
    directory: PathBuf,
    backfilled: Stream,
    live: Stream,
}

impl GroupEvents {
    /// All events of a room that is the next one, backfilled ones first.
    pub(super) fn rows(&mut self, place: Place) -> Result<Vec<TimelineRow>, WriteError> {
        let gaps = Gaps::one();
        std::iter::from_fn(|| self.next(place, &gaps).transpose()).collect()
    }

    /// The next event of a room's timeline. Those of the rooms before it must have been taken, or are passed over.
    pub(super) fn next(
        &mut self,
        place: Place,
        gaps: &Gaps,
    ) -> Result<Option<TimelineRow>, WriteError> {
        self.take(place, gaps)
            .map_err(|source| WriteError::Io { path: self.directory.clone(), source })
    }

    fn take(&mut self, place: Place, gaps: &Gaps) -> io::Result<Option<TimelineRow>> {
        let Self { backfilled, live, .. } = self;
        let at = |stream: &Stream| Some(gaps.place(stream.next.as_ref()?.1.position));
        backfilled.pass(place.room)?;
        live.pass(place.room)?;
        match (backfilled.is_at(place.room), live.is_at(place.room)) {
            (false, false) => Ok(None),
            (true, true) if at(live) < at(backfilled) => live.next(),
            (true, _) => backfilled.next(),
            (false, true) => live.next(),
        }
    }
}

/// A section, and its next row.
#[derive(Debug)]
struct Stream {
    merged: Merged,
    names: Arc<[String]>,
    /// With the number of its room.
    next: Option<(u32, TimelineRow)>,
}

impl Stream {
    fn begin(mut self) -> io::Result<Self> {
        self.next()?;
        Ok(self)
    }

    fn is_at(&self, room: u32) -> bool {
        self.next.as_ref().is_some_and(|(of, _)| *of == room)
    }

    /// Passes over the rooms before this one.
    fn pass(&mut self, room: u32) -> io::Result<()> {
        while self.next.as_ref().is_some_and(|(of, _)| *of < room) {
            self.next()?;
        }
        Ok(())
    }

    /// Takes the next row.
    fn next(&mut self) -> io::Result<Option<TimelineRow>> {
        let row = match self.merged.next()? {
            Some((key, value)) => {
                let room = key.get(BEFORE_ROOM..).and_then(<[u8]>::first_chunk);
                let room = u32::from_be_bytes(*room.ok_or(io::ErrorKind::InvalidData)?);
                let row = StoredRow::read(value, &self.names)?;
                Some((room, TimelineRow::new(Row::Stored(&row), StreamPosition::LIVE)))
            }
            None => None,
        };
        Ok(std::mem::replace(&mut self.next, row).map(|(_, row)| row))
    }
}
