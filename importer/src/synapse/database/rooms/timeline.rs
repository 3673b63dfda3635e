//! The timeline of a room, page by page.
//!
//! Its order is that in which users saw the events: history that was backfilled from other servers first, sorted as
//! Synapse pages through it, by depth; then what arrived since, in the order of arrival. Events that Synapse backfilled
//! have negative stream orderings, which go down from page to page but up within each: they are no order on their own.

use std::ops::ControlFlow;

use ruma::{OwnedRoomId, RoomId};

use super::{
    super::{
        DatabaseError,
        connection::{Connection, Param},
        row::{BrokenRow, Row},
    },
    event::{COLUMNS, Record, TABLES},
};
use crate::synapse::History;

/// How many of the newest events are dumped at least.
pub(super) const RECENT: i64 = 50;
/// Most events in memory at a time.
const PAGE: i64 = if cfg!(test) { 100 } else { 1000 };
/// Most bytes of their JSON; an event can have 64 KiB.
const PAGE_BYTES: usize = 8 << 20;

/// Events that belong to timelines, but for soft-failed ones, which were never shown to anybody.
const ACCEPTED: &str = "NOT e.outlier AND r.event_id IS NULL";
/// Events that belong to timelines.
const SHOWN: &str = "NOT e.outlier AND r.event_id IS NULL \
    AND COALESCE(ej.internal_metadata, '') NOT LIKE '%\"soft_failed\":true%' \
    AND COALESCE(ej.internal_metadata, '') NOT LIKE '%\"soft_failed\": true%'";

/// A place in a room's timeline; earlier ones are less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Position {
    Backfilled { topological: i64, stream: i64 },
    Live { stream: i64 },
}

impl Position {
    /// Before everything.
    const BEGIN: Self = Self::Backfilled { topological: i64::MIN, stream: i64::MIN };

    pub(super) fn new(stream: i64, topological: i64) -> Self {
        if stream < 0 { Self::Backfilled { topological, stream } } else { Self::Live { stream } }
    }
}

/// The part of a room's timeline that is dumped.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    room_id: OwnedRoomId,
    /// Where it begins.
    begin: Position,
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
    /// The part that `history` asks for; it reaches back to the oldest forward extremity.
    pub(super) async fn read(
        db: &mut Connection,
        room_id: &RoomId,
        history: History,
        extremities: &[Position],
    ) -> Result<Self, DatabaseError> {
        let mut timeline = Self { room_id: room_id.to_owned(), begin: Position::BEGIN, earlier: 0 };
        if history == History::Recent {
            let newest = newest(db, room_id).await?;
            if let (Some(oldest), true) = (newest.last(), i64::try_from(newest.len()) == Ok(RECENT))
            {
                let first = extremities.iter().chain([oldest]).min().copied().unwrap_or(*oldest);
                timeline.begin = first;
                timeline.earlier = earlier(db, room_id, first).await?;
            }
        }
        Ok(timeline)
    }

    /// Whether an event is part of it.
    pub(super) fn contains(&self, event: &Record) -> bool {
        event.is_accepted() && event.position >= self.begin
    }

    /// Where reading it begins.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor::From(self.begin, Vec::new())
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
        let room_id = Param::from(self.room_id.as_str());
        if let Cursor::From(Position::Backfilled { topological, stream }, seen) = &*cursor {
            let sql = format!(
                "SELECT {COLUMNS} FROM {TABLES} WHERE e.room_id = $1 AND {ACCEPTED} AND e.stream_ordering < 0 \
                 AND (e.topological_ordering, e.stream_ordering) >= ($2, $3) \
                 ORDER BY e.topological_ordering, e.stream_ordering LIMIT {}",
                limit(seen)
            );
            let params = [room_id, (*topological).into(), (*stream).into()];
            let begin = Position::Backfilled { topological: *topological, stream: *stream };
            let page = Page::read(db, &sql, &params, begin, seen).await?;
            *cursor = page.end(cursor, Cursor::From(Position::Live { stream: 0 }, Vec::new()));
            if !page.rows.is_empty() {
                return Ok(page.rows);
            }
        }
        if let Cursor::From(Position::Live { stream }, seen) = &*cursor {
            let sql = format!(
                "SELECT {COLUMNS} FROM {TABLES} WHERE e.room_id = $1 AND {ACCEPTED} AND e.stream_ordering >= $2 \
                 ORDER BY e.stream_ordering LIMIT {}",
                limit(seen)
            );
            let begin = Position::Live { stream: *stream };
            let params = [room_id, (*stream).into()];
            let page = Page::read(db, &sql, &params, begin, seen).await?;
            *cursor = page.end(cursor, Cursor::Nowhere);
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
        Ok(Page::read(db, &sql, &[room_id], begin, &[]).await?.rows)
    }
}

/// Where in a timeline the reading is.
#[derive(Clone, Debug)]
pub(super) enum Cursor {
    /// At a place, of whose rows these have been read: their ids.
    From(Position, Vec<String>),
    /// At rows without a place, which are damage.
    Nowhere,
    End,
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
        let mut seen = match begin {
            Cursor::From(place, seen) if *place == last.position => seen.clone(),
            Cursor::From(..) | Cursor::Nowhere | Cursor::End => Vec::new(),
        };
        let there = self.rows.iter().rev().take_while(|row| row.position == last.position);
        seen.extend(there.map(|row| row.event_id.clone()));
        Cursor::From(last.position, seen)
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

/// Places of the newest events, newest first; at most [`RECENT`].
async fn newest(db: &mut Connection, room_id: &RoomId) -> Result<Vec<Position>, DatabaseError> {
    let mut newest = Vec::new();
    for order in [
        "e.stream_ordering >= 0 ORDER BY e.stream_ordering DESC",
        "e.stream_ordering < 0 ORDER BY e.topological_ordering DESC, e.stream_ordering DESC",
    ] {
        let sql = format!(
            "SELECT e.stream_ordering, e.topological_ordering FROM {TABLES} \
             WHERE e.room_id = $1 AND {SHOWN} AND {order} LIMIT $2"
        );
        let left = RECENT.saturating_sub(i64::try_from(newest.len()).unwrap_or(RECENT));
        let rows = db.rows("events", &sql, &[room_id.as_str().into(), left.into()]).await?;
        newest.extend(rows.iter().filter_map(|row| {
            row.decode().ok().map(|(stream, topological)| Position::new(stream, topological))
        }));
    }
    Ok(newest)
}

/// How many events come before a place.
async fn earlier(
    db: &mut Connection,
    room_id: &RoomId,
    first: Position,
) -> Result<u64, DatabaseError> {
    let (condition, params) = match first {
        Position::Live { stream } => ("e.stream_ordering < $2", vec![stream]),
        Position::Backfilled { topological, stream } => (
            "e.stream_ordering < 0 AND (e.topological_ordering, e.stream_ordering) < ($2, $3)",
            vec![topological, stream],
        ),
    };
    let sql =
        format!("SELECT COUNT(*) FROM {TABLES} WHERE e.room_id = $1 AND {SHOWN} AND {condition}");
    let mut all = vec![room_id.as_str().into()];
    all.extend(params.into_iter().map(Param::from));
    let rows = db.rows("events", &sql, &all).await?;
    Ok(rows.first().and_then(|row| row.decode().ok()).map_or(0, |(number,)| number))
}
