//! The timeline of a room, page by page.
//!
//! Its order is that in which users saw the events: what arrived, in the order of arrival, and what Synapse backfilled, by
//! depth, as Synapse pages through it; before all that arrived, or in one of its [`Gaps`]. Events that were backfilled
//! have negative stream orderings, which go down from page to page but up within each: they are no order on their own.

use std::{iter::Peekable, ops::ControlFlow};

use ruma::{OwnedRoomId, RoomId};

use super::{
    super::{
        DatabaseError,
        connection::{Connection, Param},
        row::{BrokenRow, Row},
    },
    gaps::{Gap, Gaps, TimelinePlace},
    stored_event::{COLUMNS, EventRow, TABLES},
};

/// Most events in memory at a time.
const PAGE: i64 = if cfg!(test) { 100 } else { 1000 };
/// Most bytes of their JSON; an event can have 64 KiB.
const PAGE_BYTES: usize = 8 << 20;

/// Events that belong to timelines, but for soft-failed ones, which were never shown to anybody.
pub(super) const ACCEPTED: &str = "NOT e.outlier AND r.event_id IS NULL";
/// Events that belong to timelines.
pub(super) const SHOWN: &str = "NOT e.outlier AND r.event_id IS NULL \
    AND COALESCE(ej.internal_metadata, '') NOT LIKE '%\"soft_failed\":true%' \
    AND COALESCE(ej.internal_metadata, '') NOT LIKE '%\"soft_failed\": true%'";

/// An event's place in Synapse's order: backfilled events by depth, live ones by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StreamPosition {
    Backfilled { topological: i64, stream: i64 },
    Live { stream: i64 },
}

impl StreamPosition {
    /// The first of live events.
    pub(super) const LIVE: Self = Self::Live { stream: 0 };

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
    begin: TimelinePlace,
    /// How many events come before.
    pub(super) earlier: u64,
    /// Each event is known to be live.
    is_plain: bool,
}

/// A row of the timeline: its place and id, and its event unless it is broken.
#[derive(Clone, Debug)]
pub(super) struct TimelineRow {
    pub(super) position: StreamPosition,
    pub(super) event_id: String,
    pub(super) event: Result<EventRow, BrokenRow>,
}

impl Timeline {
    /// From a place on, before which there are so many events.
    pub(super) fn from(room_id: &RoomId, gaps: Gaps, begin: TimelinePlace, earlier: u64) -> Self {
        Self { room_id: room_id.to_owned(), gaps, begin, earlier, is_plain: false }
    }

    /// The whole timeline of a room of which each event is known to be live.
    pub(super) fn plain(room_id: &RoomId) -> Self {
        let room_id = room_id.to_owned();
        let (gaps, begin) = (Gaps::one(), TimelinePlace::BEGIN);
        Self { room_id, gaps, begin, earlier: 0, is_plain: true }
    }

    /// Its gaps.
    pub(super) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// Puts rows into its order, those at one place by their ids.
    pub(super) fn sort(&self, rows: &mut [TimelineRow]) {
        rows.sort_by_cached_key(|row| (self.gaps.place(row.position), row.event_id.clone()));
    }

    /// Whether an event is part of it.
    pub(super) fn contains(&self, event: &EventRow) -> bool {
        event.is_accepted() && self.gaps.place(event.position()) >= self.begin
    }

    /// Where reading it begins.
    pub(super) fn cursor(&self) -> TimelineCursor {
        if self.is_plain {
            return TimelineCursor::begin(0, StreamPosition::LIVE);
        }
        let TimelinePlace { stream, arrived, backfilled: (topological, number) } = self.begin;
        let position = if arrived {
            StreamPosition::Live { stream }
        } else {
            StreamPosition::Backfilled { topological, stream: number }
        };
        TimelineCursor::From { gap: self.gaps.before(stream), position, seen: Vec::new() }
    }

    /// The next rows, oldest first, soft-failed events too. None: there are no more.
    ///
    /// Rows at one place, which would be damage that Synapse does not notice, come in the order of their ids. The database is
    /// not asked for that order: it would have to sort, although an index has the rows in order.
    pub(super) async fn page(
        &self,
        db: &mut Connection,
        cursor: &mut TimelineCursor,
    ) -> Result<Vec<TimelineRow>, DatabaseError> {
        while let TimelineCursor::From { gap, position, seen } = &*cursor {
            let (sql, params, next) = self.part(*gap, *position, limit(seen));
            let page = TimelinePage::read(db, &sql, &params, *position, seen).await?;
            *cursor = page.end(cursor, next);
            if !page.rows.is_empty() {
                return Ok(page.rows);
            }
        }
        if !matches!(cursor, TimelineCursor::Nowhere) {
            return Ok(Vec::new());
        }
        *cursor = TimelineCursor::End;
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE e.room_id = $1 AND {ACCEPTED} \
             AND (e.stream_ordering IS NULL OR e.stream_ordering < 0 AND e.topological_ordering IS NULL)"
        );
        let begin = StreamPosition::Live { stream: i64::MAX };
        let room_id = Param::from(self.room_id.as_str());
        Ok(TimelinePage::read(db, &sql, &[room_id], begin, &[]).await?.rows)
    }

    /// How to read on from a position to the end of a gap, or to the next gap, and where it goes on from there.
    fn part(
        &self,
        gap: usize,
        position: StreamPosition,
        limit: i64,
    ) -> (String, Vec<Param<'_>>, TimelineCursor) {
        let from = format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.room_id = $1 AND {ACCEPTED}");
        let room_id = Param::from(self.room_id.as_str());
        let Gap { before, depth } = self.gaps.get(gap).unwrap_or(Gap::ALL);
        let after = self.gaps.get(gap.saturating_add(1));
        // Nothing bounds the last part: SQLite takes a text for a number, and it is more than every number.
        match position {
            StreamPosition::Backfilled { topological, stream } => {
                let mut params = vec![room_id, topological.into(), stream.into()];
                let bounded = depth < i64::MAX;
                params.extend(bounded.then(|| Param::from(depth)));
                let end = if bounded { "AND e.topological_ordering <= $4 " } else { "" };
                let sql = format!(
                    "{from} AND e.stream_ordering < 0 {end}\
                     AND (e.topological_ordering, e.stream_ordering) >= ($2, $3) \
                     ORDER BY e.topological_ordering, e.stream_ordering LIMIT {limit}"
                );
                (
                    sql,
                    params,
                    TimelineCursor::begin(gap, StreamPosition::Live { stream: before.max(0) }),
                )
            }
            StreamPosition::Live { stream } => {
                let mut params = vec![room_id, stream.into()];
                params.extend(after.map(|after| Param::from(after.before)));
                let end = if after.is_some() { "AND e.stream_ordering < $3 " } else { "" };
                let sql = format!(
                    "{from} AND e.stream_ordering >= $2 {end}ORDER BY e.stream_ordering LIMIT {limit}"
                );
                let topological = depth.saturating_add(1);
                let next = StreamPosition::Backfilled { topological, stream: i64::MIN };
                let next = after.map(|_| TimelineCursor::begin(gap.saturating_add(1), next));
                let end = if self.is_plain { TimelineCursor::End } else { TimelineCursor::Nowhere };
                (sql, params, next.unwrap_or(end))
            }
        }
    }
}

/// Where in a timeline the reading is.
#[derive(Clone, Debug)]
pub(super) enum TimelineCursor {
    /// At a position, of whose rows these have been read: their ids. In a gap, or after it.
    From {
        gap: usize,
        position: StreamPosition,
        seen: Vec<String>,
    },
    /// At rows without a place, which are damage.
    Nowhere,
    End,
}

impl TimelineCursor {
    fn begin(gap: usize, position: StreamPosition) -> Self {
        Self::From { gap, position, seen: Vec::new() }
    }
}

/// Rows to ask for, to get a page of others than those that have been read.
fn limit(seen: &[String]) -> i64 {
    PAGE.saturating_add(i64::try_from(seen.len()).unwrap_or(0))
}

/// Some rows of a timeline.
struct TimelinePage {
    rows: Vec<TimelineRow>,
    /// There may be more.
    is_full: bool,
}

impl TimelinePage {
    async fn read(
        db: &mut Connection,
        sql: &str,
        params: &[Param<'_>],
        begin: StreamPosition,
        seen: &[String],
    ) -> Result<Self, DatabaseError> {
        let mut last = begin;
        let mut page = Self { rows: Vec::new(), is_full: false };
        let (mut number, mut bytes) = (0_i64, 0_usize);
        db.each_until("events", sql, params, |row| {
            let placed = TimelineRow::new(row, last);
            last = placed.position;
            if seen.contains(&placed.event_id) {
                return ControlFlow::Continue(());
            }
            bytes = bytes.saturating_add(placed.size());
            page.rows.push(placed);
            number = number.saturating_add(1);
            page.is_full = is_full(number, bytes);
            if page.is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        TimelineRow::sort(&mut page.rows);
        Ok(page)
    }

    /// Where the page ends that began at a cursor; `next` if it has all.
    fn end(&self, begin: &TimelineCursor, next: TimelineCursor) -> TimelineCursor {
        let Some(last) = self.rows.last().filter(|_| self.is_full) else { return next };
        let TimelineCursor::From { gap, position, seen } = begin else { return next };
        let mut seen = if *position == last.position { seen.clone() } else { Vec::new() };
        let there = self.rows.iter().rev().take_while(|row| row.position == last.position);
        seen.extend(there.map(|row| row.event_id.clone()));
        TimelineCursor::From { gap: *gap, position: last.position, seen }
    }
}

impl TimelineRow {
    /// Decodes a row, and its place in any case, so that a broken one does not end the reading. A place that is no number, which
    /// SQLite takes, is that of the row before.
    pub(super) fn new(row: Row<'_>, before: StreamPosition) -> Self {
        let event = EventRow::decode(row);
        let position = match (&event, row.integer(1)) {
            (Ok(event), _) => event.position(),
            (Err(_), Some(stream)) => StreamPosition::new(stream, row.integer(2).unwrap_or(0)),
            (Err(_), None) => before,
        };
        Self { position, event_id: row.label(), event }
    }

    /// The state group after it.
    pub(super) fn group(&self) -> Option<i64> {
        self.event.as_ref().ok()?.group
    }

    /// Its id, if something may have redacted it.
    pub(super) fn redacted(&self) -> Option<&str> {
        self.event.as_ref().is_ok_and(|event| event.is_redacted).then_some(&self.event_id)
    }

    /// Bytes of its JSON.
    pub(super) fn size(&self) -> usize {
        self.event.as_ref().map_or(0, |event| event.json.len())
    }

    /// Sorts rows by their places, and those at one place by their ids.
    pub(super) fn sort(rows: &mut [Self]) {
        rows.sort_by(|a, b| (a.position, &a.event_id).cmp(&(b.position, &b.event_id)));
    }
}

fn is_full(rows: i64, bytes: usize) -> bool {
    rows >= PAGE || bytes >= PAGE_BYTES
}

/// The next page of rows that come in order. Two rows of one event are on one page.
pub(super) fn page<E>(
    rows: &mut Peekable<impl Iterator<Item = Result<TimelineRow, E>>>,
) -> Result<Vec<TimelineRow>, E> {
    let mut page: Vec<TimelineRow> = Vec::new();
    let (mut number, mut bytes) = (0_i64, 0_usize);
    loop {
        let last = page.last().filter(|_| is_full(number, bytes));
        let belongs = |row: &Result<TimelineRow, E>| {
            let row = row.as_ref().ok();
            row.zip(last).is_none_or(|(row, last)| row.event_id == last.event_id)
        };
        let Some(row) = rows.next_if(belongs).transpose()? else { return Ok(page) };
        number = number.saturating_add(1);
        bytes = bytes.saturating_add(row.size());
        page.push(row);
    }
}
