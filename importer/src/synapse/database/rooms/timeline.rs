//! The timeline of a room, page by page.
//!
//! Its order is that in which users saw the events: history that was backfilled from other servers first, sorted as
//! Synapse pages through it, by depth; then what arrived since, in the order of arrival. Events that Synapse backfilled
//! have negative stream orderings, which go down from page to page but up within each: they are no order on their own.

use ruma::{OwnedEventId, OwnedRoomId, RoomId};

use super::{
    super::{
        DatabaseError,
        connection::Connection,
        row::{BrokenRow, Row},
    },
    StoredEvent,
    event::{COLUMNS, TABLES},
};
use crate::synapse::History;

/// How many of the newest events are dumped at least.
pub(super) const RECENT: i64 = 50;
/// Events in memory at a time; each can have 64 KiB.
const PAGE: i64 = 200;

/// Events that belong to timelines. Soft-failed ones were never shown to anybody.
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
    pub(super) const BEGIN: Self = Self::Backfilled { topological: i64::MIN, stream: i64::MIN };

    pub(super) fn new(stream: i64, topological: i64) -> Self {
        if stream < 0 { Self::Backfilled { topological, stream } } else { Self::Live { stream } }
    }

    /// A place after which this one comes first.
    fn just_before(self) -> Self {
        match self {
            Self::Backfilled { topological, stream } => {
                Self::Backfilled { topological, stream: stream.saturating_sub(1) }
            }
            Self::Live { stream } => Self::Live { stream: stream.saturating_sub(1) },
        }
    }
}

/// The part of a room's timeline that is dumped.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    room_id: OwnedRoomId,
    /// It begins after this place.
    pub(super) begin: Position,
    /// How many events come before.
    pub(super) earlier: u64,
}

/// An event with its place, or the id of a broken one.
pub(super) type Placed = (Position, Result<StoredEvent, (String, BrokenRow)>);

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
                timeline.begin = first.just_before();
                timeline.earlier = earlier(db, room_id, first).await?;
            }
        }
        Ok(timeline)
    }

    /// Whether an event is part of it.
    pub(super) fn contains(&self, event: &StoredEvent) -> bool {
        !event.outlier
            && !event.rejected
            && !event.metadata.soft_failed
            && event.position > self.begin
    }

    /// The next events after a place, oldest first. None: there are no more.
    pub(super) async fn page(
        &self,
        db: &mut Connection,
        after: Position,
    ) -> Result<Vec<Placed>, DatabaseError> {
        let room_id = self.room_id.as_str().into();
        let mut rows = Vec::new();
        let mut after_live = -1;
        match after {
            Position::Backfilled { topological, stream } => {
                let sql = format!(
                    "SELECT {COLUMNS} FROM {TABLES} WHERE e.room_id = $1 AND {SHOWN} AND e.stream_ordering < 0 \
                     AND (e.topological_ordering, e.stream_ordering) > ($2, $3) \
                     ORDER BY e.topological_ordering, e.stream_ordering LIMIT $4"
                );
                let params = [room_id, topological.into(), stream.into(), PAGE.into()];
                rows = db.rows("events", &sql, &params).await?;
            }
            Position::Live { stream } => after_live = stream,
        }
        if rows.is_empty() {
            let sql = format!(
                "SELECT {COLUMNS} FROM {TABLES} WHERE e.room_id = $1 AND {SHOWN} AND e.stream_ordering > $2 \
                 ORDER BY e.stream_ordering LIMIT $3"
            );
            rows = db.rows("events", &sql, &[room_id, after_live.into(), PAGE.into()]).await?;
        }
        Ok(rows.iter().filter_map(placed).collect())
    }

    /// Soft-failed events since the beginning: a later event may refer to them.
    pub(super) async fn soft_failed(
        &self,
        db: &mut Connection,
    ) -> Result<Vec<OwnedEventId>, DatabaseError> {
        let sql = "SELECT e.event_id FROM events e JOIN event_json ej ON ej.event_id = e.event_id \
                   WHERE e.room_id = $1 AND e.stream_ordering > $2 AND NOT e.outlier \
                   AND (ej.internal_metadata LIKE '%\"soft_failed\":true%' \
                        OR ej.internal_metadata LIKE '%\"soft_failed\": true%')";
        let after = match self.begin {
            Position::Backfilled { .. } => i64::MIN,
            Position::Live { stream } => stream,
        };
        let rows = db.rows("events", sql, &[self.room_id.as_str().into(), after.into()]).await?;
        Ok(rows.iter().filter_map(|row| row.decode().ok()).map(|(event_id,)| event_id).collect())
    }
}

/// Decodes a row, and its place in any case, so that a broken one does not end the reading.
fn placed(row: &Row) -> Option<Placed> {
    let event = StoredEvent::decode(row).map_err(|broken| (row.label(), broken));
    let position = match &event {
        Ok(event) => event.position,
        Err(_) => Position::new(row.integer(1)?, row.integer(2).unwrap_or(0)),
    };
    Some((position, event))
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
    all.extend(params.into_iter().map(super::super::connection::Param::from));
    let rows = db.rows("events", &sql, &all).await?;
    Ok(rows.first().and_then(|row| row.decode().ok()).map_or(0, |(number,)| number))
}
