//! The timeline of a room, page by page.
//!
//! Its order is that in which users saw the events: what arrived, in the order of arrival, and what Synapse backfilled, by
//! depth, as Synapse pages through it; before all that arrived, or in one of its [`Gaps`]. Events that were backfilled
//! have negative stream orderings, which go down from page to page but up within each: they are no order on their own.

use std::ops::ControlFlow;

use ruma::{OwnedRoomId, RoomId};

use super::{
    super::{
        DatabaseError,
        connection::{Connection, Param},
        row::{BrokenRow, Row},
    },
    gaps::{Gap, Gaps, Place},
    stored_event::{COLUMNS, Record, TABLES},
};

/// Most events in memory at a time.
const PAGE: i64 = if cfg!(test) { 100 } else { 1000 };
/// Most bytes of their JSON; an event can have 64 KiB.
const PAGE_BYTES: usize = 8 << 20;

/// Events that belong to timelines, but for soft-failed ones, which were never shown to anybody.
const ACCEPTED: &str = "NOT e.outlier AND r.event_id IS NULL";
/// Events that belong to timelines.
pub(super) const SHOWN: &str = "NOT e.outlier AND r.event_id IS NULL \
    AND COALESCE(ej.internal_metadata, '') NOT LIKE '%\"soft_failed\":true%' \
    AND COALESCE(ej.internal_metadata, '') NOT LIKE '%\"soft_failed\": true%'";

/// What Synapse says of an event's place. Of those that were backfilled, and of those that were not, earlier ones are less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Position {
    Backfilled { topological: i64, stream: i64 },
    Live { stream: i64 },
}

impl Position {
    pub(super) fn new(stream: i64, topological: i64) -> Self {
        if stream < 0 { Self::Backfilled { topological, stream } } else { Self::Live { stream } }
    }

    /// The place in Synapse's stream of events.
    pub(super) fn stream(self) -> i64 {
        match self {
            Self::Backfilled { stream, .. } | Self::Live { stream } => stream,
        }
    }
}

/// The part of a room's timeline that is dumped.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    room_id: OwnedRoomId,
    gaps: Gaps,
    /// Where it begins.
    begin: Place,
    /// How many events come before.
    pub(super) earlier: u64,
}

/// A row of the timeline: its place and id, and its event unless it is broken.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    position: Position,
    pub(super) event_id: String,
    pub(super) event: Result<Record, BrokenRow>,
}

impl Timeline {
    /// From a place on, before which there are so many events.
    pub(super) fn from(room_id: &RoomId, gaps: Gaps, begin: Place, earlier: u64) -> Self {
        Self { room_id: room_id.to_owned(), gaps, begin, earlier }
    }

    /// Whether an event is part of it.
    pub(super) fn contains(&self, event: &Record) -> bool {
        event.is_accepted() && self.gaps.place(event.position) >= self.begin
    }

    /// Where reading it begins.
    pub(super) fn cursor(&self) -> Cursor {
        let Place { stream, arrived, backfilled: (topological, number) } = self.begin;
        let position = if arrived {
            Position::Live { stream }
        } else {
            Position::Backfilled { topological, stream: number }
        };
        Cursor::From { gap: self.gaps.before(stream), position, seen: Vec::new() }
    }

    /// The next rows, oldest first, soft-failed events too. None: there are no more.
    ///
    /// Rows at one place, which would be damage that Synapse does not notice, come in the order of their ids. The database is
    /// not asked for that: it would have to sort what an index gives in order.
    pub(super) async fn page(
        &self,
        db: &mut Connection,
        cursor: &mut Cursor,
    ) -> Result<Vec<Placed>, DatabaseError> {
        while let Cursor::From { gap, position, seen } = &*cursor {
            let (sql, params, next) = self.part(*gap, *position, limit(seen));
            let page = Page::read(db, &sql, &params, *position, seen).await?;
            *cursor = page.end(cursor, next);
            if !page.rows.is_empty() {
                return Ok(page.rows);
            }
        }
        if !matches!(cursor, Cursor::Nowhere) {
            return Ok(Vec::new());
        }
        *cursor = Cursor::End;
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE e.room_id = $1 AND {ACCEPTED} \
             AND (e.stream_ordering IS NULL OR e.stream_ordering < 0 AND e.topological_ordering IS NULL)"
        );
        let begin = Position::Live { stream: i64::MAX };
        let room_id = Param::from(self.room_id.as_str());
        Ok(Page::read(db, &sql, &[room_id], begin, &[]).await?.rows)
    }

    /// How to read on from a position to the end of a gap, or to the next gap, and where it goes on from there.
    fn part(&self, gap: usize, position: Position, limit: i64) -> (String, Vec<Param<'_>>, Cursor) {
        let from = format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.room_id = $1 AND {ACCEPTED}");
        let room_id = Param::from(self.room_id.as_str());
        let Gap { before, depth } = self.gaps.get(gap).unwrap_or(Gap::ALL);
        let after = self.gaps.get(gap.saturating_add(1));
        // Nothing bounds the last part: SQLite takes a text for a number, and it is more than every number.
        match position {
            Position::Backfilled { topological, stream } => {
                let mut params = vec![room_id, topological.into(), stream.into()];
                let bounded = depth < i64::MAX;
                params.extend(bounded.then(|| Param::from(depth)));
                let end = if bounded { "AND e.topological_ordering <= $4 " } else { "" };
                let sql = format!(
                    "{from} AND e.stream_ordering < 0 {end}\
                     AND (e.topological_ordering, e.stream_ordering) >= ($2, $3) \
                     ORDER BY e.topological_ordering, e.stream_ordering LIMIT {limit}"
                );
                (sql, params, Cursor::begin(gap, Position::Live { stream: before.max(0) }))
            }
            Position::Live { stream } => {
                let mut params = vec![room_id, stream.into()];
                params.extend(after.map(|after| Param::from(after.before)));
                let end = if after.is_some() { "AND e.stream_ordering < $3 " } else { "" };
                let sql = format!(
                    "{from} AND e.stream_ordering >= $2 {end}ORDER BY e.stream_ordering LIMIT {limit}"
                );
                let topological = depth.saturating_add(1);
                let next = Position::Backfilled { topological, stream: i64::MIN };
                let next = after.map(|_| Cursor::begin(gap.saturating_add(1), next));
                (sql, params, next.unwrap_or(Cursor::Nowhere))
            }
        }
    }
}

/// Where in a timeline the reading is.
#[derive(Clone, Debug)]
pub(super) enum Cursor {
    /// At a position, of whose rows these have been read: their ids. In a gap, or after it.
    From {
        gap: usize,
        position: Position,
        seen: Vec<String>,
    },
    /// At rows without a place, which are damage.
    Nowhere,
    End,
}

impl Cursor {
    fn begin(gap: usize, position: Position) -> Self {
        Self::From { gap, position, seen: Vec::new() }
    }
}

/// Rows to ask for, to get a page of others than those that have been read.
fn limit(seen: &[String]) -> i64 {
    PAGE.saturating_add(i64::try_from(seen.len()).unwrap_or(0))
}

/// Some rows of a timeline.
struct Page {
    rows: Vec<Placed>,
    /// There may be more.
    is_full: bool,
}

impl Page {
    async fn read(
        db: &mut Connection,
        sql: &str,
        params: &[Param<'_>],
        begin: Position,
        seen: &[String],
    ) -> Result<Self, DatabaseError> {
        let mut last = begin;
        let mut page = Self { rows: Vec::new(), is_full: false };
        let (mut number, mut bytes) = (0_i64, 0_usize);
        db.each_until("events", sql, params, |row| {
            let placed = placed(row, last);
            last = placed.position;
            if seen.contains(&placed.event_id) {
                return ControlFlow::Continue(());
            }
            let size = placed.event.as_ref().map_or(0, |event| event.json.len());
            bytes = bytes.saturating_add(size);
            page.rows.push(placed);
            number = number.saturating_add(1);
            page.is_full = number >= PAGE || bytes >= PAGE_BYTES;
            if page.is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        page.rows.sort_by(|a, b| (a.position, &a.event_id).cmp(&(b.position, &b.event_id)));
        Ok(page)
    }

    /// Where the page ends that began at a cursor; `next` if it has all.
    fn end(&self, begin: &Cursor, next: Cursor) -> Cursor {
        let Some(last) = self.rows.last().filter(|_| self.is_full) else { return next };
        let Cursor::From { gap, position, seen } = begin else { return next };
        let mut seen = if *position == last.position { seen.clone() } else { Vec::new() };
        let there = self.rows.iter().rev().take_while(|row| row.position == last.position);
        seen.extend(there.map(|row| row.event_id.clone()));
        Cursor::From { gap: *gap, position: last.position, seen }
    }
}

/// Decodes a row, and its place in any case, so that a broken one does not end the reading. A place that is no number, which
/// SQLite takes, is that of the row before.
fn placed(row: Row<'_>, before: Position) -> Placed {
    let event = Record::decode(row);
    let position = match (&event, row.integer(1)) {
        (Ok(event), _) => event.position,
        (Err(_), Some(stream)) => Position::new(stream, row.integer(2).unwrap_or(0)),
        (Err(_), None) => before,
    };
    Placed { position, event_id: row.label(), event }
}
