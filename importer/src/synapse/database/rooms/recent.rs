//! Where a timeline begins of which only what is recent is dumped.
//!
//! At the oldest of the newest events, or at an earlier forward extremity. Or, if they are not too far back, at the
//! earliest event that one of the newest answers, edits or reacts to: Conduit refuses a reply in a thread whose first
//! event is not in the timeline (src/service/rooms/threads/mod.rs:29-40), and can't show what somebody answered. So the
//! timeline has no gaps, and what is fetched later is put before it.

use ruma::{OwnedEventId, RoomId};

use super::{
    gaps::{Gap, Gaps, TimelinePlace},
    stored_event::TABLES,
    timeline::{SHOWN, StreamPosition, Timeline},
};
use crate::{
    dump::{Extent, History},
    synapse::{
        database::{
            DatabaseError,
            connection::{Connection, Param},
        },
        relations,
    },
};

/// How many of the newest events are dumped at least.
const RECENT: i64 = 50;

/// An event and its position.
type ShownEvent = (OwnedEventId, StreamPosition);

/// The part of a room's timeline that is asked for. `is_plain`: each event of the room is known to be live.
pub(super) async fn timeline(
    db: &mut Connection,
    room_id: &RoomId,
    extent: &Extent,
    extremities: &[StreamPosition],
    is_plain: bool,
) -> Result<Timeline, DatabaseError> {
    if is_plain && extent.history == History::Full {
        return Ok(Timeline::plain(room_id));
    }
    let gaps = Gaps::read(db, room_id).await?;
    let begin = match extent.history {
        History::Full => TimelinePlace::BEGIN,
        History::Recent => begin(db, room_id, extent.reach_back, &gaps, extremities).await?,
    };
    let earlier = match begin {
        TimelinePlace::BEGIN => 0,
        begin => earlier(db, room_id, &gaps, begin).await?,
    };
    Ok(Timeline::from(room_id, gaps, begin, earlier))
}

/// The place at which what is recent begins.
async fn begin(
    db: &mut Connection,
    room_id: &RoomId,
    reach_back: u32,
    gaps: &Gaps,
    extremities: &[StreamPosition],
) -> Result<TimelinePlace, DatabaseError> {
    let newest = newest(db, room_id, RECENT).await?;
    let places = newest.iter().map(|(_, position)| gaps.place(*position));
    let (Some(oldest), true) = (places.min(), i64::try_from(newest.len()) == Ok(RECENT)) else {
        return Ok(TimelinePlace::BEGIN);
    };
    let ends = extremities.iter().map(|position| gaps.place(*position));
    let related = earliest_related(db, room_id, reach_back, gaps, (&newest, oldest)).await?;
    Ok(ends.chain(related).min().unwrap_or(oldest).min(oldest))
}

/// The place of the earliest event that one of the `recent` ones relates to and that is at most `reach_back` events before them.
/// `oldest`: where the recent events begin.
async fn earliest_related(
    db: &mut Connection,
    room_id: &RoomId,
    reach_back: u32,
    gaps: &Gaps,
    (recent, oldest): (&[ShownEvent], TimelinePlace),
) -> Result<Option<TimelinePlace>, DatabaseError> {
    if reach_back == 0 {
        return Ok(None);
    }
    let sql = format!(
        "SELECT event_id, json FROM event_json WHERE event_id IN ($IDS) AND json LIKE '%\"{}\"%'",
        relations::FIELD
    );
    let ids: Vec<&str> = recent.iter().map(|(event_id, _)| event_id.as_str()).collect();
    let rows = db.rows_in("event_json", &sql, &ids).await?;
    let json = rows.iter().filter_map(|row| row.decode::<(String, String)>().ok());
    let targets: Vec<_> = json.flat_map(|(_, json)| relations::targets(&json)).collect();
    let positions = positions(db, room_id, &targets).await?;
    let places = positions.into_iter().map(|position| gaps.place(position));
    let places: Vec<_> = places.filter(|place| *place < oldest).collect();
    if places.is_empty() {
        return Ok(None);
    }
    let within = newest(db, room_id, RECENT.saturating_add(reach_back.into())).await?;
    let end = within.iter().map(|(_, position)| gaps.place(*position)).min();
    Ok(places.into_iter().filter(|place| Some(*place) >= end).min())
}

/// The positions of those of the events that the room's timeline has.
async fn positions(
    db: &mut Connection,
    room_id: &RoomId,
    event_ids: &[OwnedEventId],
) -> Result<Vec<StreamPosition>, DatabaseError> {
    let sql = format!(
        "SELECT e.room_id, e.stream_ordering, e.topological_ordering FROM {TABLES} \
         WHERE e.event_id IN ($IDS) AND {SHOWN}"
    );
    let ids: Vec<&str> = event_ids.iter().map(|event_id| event_id.as_str()).collect();
    let rows = db.rows_in("events", &sql, &ids).await?;
    let rows = rows.iter().filter_map(|row| row.decode::<(String, i64, i64)>().ok());
    let here = rows.filter(|(room, _, _)| room == room_id.as_str());
    Ok(here.map(|(_, stream, topological)| StreamPosition::new(stream, topological)).collect())
}

/// The newest events, newest first; at most so many.
async fn newest(
    db: &mut Connection,
    room_id: &RoomId,
    most: i64,
) -> Result<Vec<ShownEvent>, DatabaseError> {
    let mut newest = Vec::new();
    for order in [
        "e.stream_ordering >= 0 ORDER BY e.stream_ordering DESC",
        "e.stream_ordering < 0 ORDER BY e.topological_ordering DESC, e.stream_ordering DESC",
    ] {
        let sql = format!(
            "SELECT e.event_id, e.stream_ordering, e.topological_ordering FROM {TABLES} \
             WHERE e.room_id = $1 AND {SHOWN} AND {order} LIMIT $2"
        );
        let left = most.saturating_sub(i64::try_from(newest.len()).unwrap_or(most));
        let params = [room_id.as_str().into(), left.into()];
        let rows = db.rows("events", &sql, &params).await?;
        newest.extend(rows.iter().filter_map(|row| {
            let (event_id, stream, topological) = row.decode().ok()?;
            Some((event_id, StreamPosition::new(stream, topological)))
        }));
    }
    Ok(newest)
}

/// How many events come before a place.
async fn earlier(
    db: &mut Connection,
    room_id: &RoomId,
    gaps: &Gaps,
    TimelinePlace { stream, arrived, backfilled: (depth, number) }: TimelinePlace,
) -> Result<u64, DatabaseError> {
    let end = if arrived {
        let gap = gaps.get(gaps.before(stream)).unwrap_or(Gap::ALL);
        (gap.depth, i64::MAX)
    } else {
        (depth, number)
    };
    let count = format!("SELECT COUNT(*) FROM {TABLES} WHERE e.room_id = $1 AND {SHOWN}");
    let came = format!("{count} AND e.stream_ordering >= 0 AND e.stream_ordering < $2");
    let before = format!(
        "{count} AND e.stream_ordering < 0 \
         AND (e.topological_ordering, e.stream_ordering) < ($2, $3)"
    );
    let room_id = Param::from(room_id.as_str());
    let mut number: u64 = 0;
    for (sql, params) in
        [(came, vec![room_id, stream.into()]), (before, vec![room_id, end.0.into(), end.1.into()])]
    {
        let rows = db.rows("events", &sql, &params).await?;
        let counted = rows.first().and_then(|row| row.decode::<(u64,)>().ok());
        number = number.saturating_add(counted.map_or(0, |(number,)| number));
    }
    Ok(number)
}
