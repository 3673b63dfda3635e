//! Where a timeline begins of which only what is recent is dumped.
//!
//! At the oldest of the newest events, or at an earlier forward extremity. Or, if they are not too far back, at the
//! earliest event that one of the newest answers, edits or reacts to: Conduit refuses a reply in a thread whose first
//! event is not in the timeline (src/service/rooms/threads/mod.rs:29-40), and can't show what somebody answered. So the
//! timeline has no gaps, and what is fetched later is put before it.

use ruma::{OwnedEventId, RoomId};

use super::{
    super::{DatabaseError, DatabaseSource, connection::Param},
    gaps::{Gap, Gaps, Place},
    stored_event::TABLES,
    timeline::{Position, SHOWN, Timeline},
};
use crate::{dump::History, synapse::relations};

/// How many of the newest events are dumped at least.
const RECENT: i64 = 50;

/// An event and its place.
type Shown = (OwnedEventId, Position);

impl DatabaseSource {
    /// The part of a room's timeline that is asked for.
    pub(super) async fn timeline(
        &mut self,
        room_id: &RoomId,
        extremities: &[Position],
    ) -> Result<Timeline, DatabaseError> {
        let gaps = Gaps::read(&mut self.main, room_id).await?;
        let begin = match self.history {
            History::Full => Place::BEGIN,
            History::Recent => self.begin(room_id, &gaps, extremities).await?,
        };
        let earlier = match begin {
            Place::BEGIN => 0,
            begin => self.earlier(room_id, &gaps, begin).await?,
        };
        Ok(Timeline::from(room_id, gaps, begin, earlier))
    }

    /// The place at which what is recent begins.
    async fn begin(
        &mut self,
        room_id: &RoomId,
        gaps: &Gaps,
        extremities: &[Position],
    ) -> Result<Place, DatabaseError> {
        let newest = self.newest(room_id, RECENT).await?;
        let places = newest.iter().map(|(_, position)| gaps.place(*position));
        let (Some(oldest), true) = (places.min(), i64::try_from(newest.len()) == Ok(RECENT)) else {
            return Ok(Place::BEGIN);
        };
        let ends = extremities.iter().map(|position| gaps.place(*position));
        let related = self.earliest_related(room_id, gaps, &newest, oldest).await?;
        Ok(ends.chain(related).min().unwrap_or(oldest).min(oldest))
    }

    /// The place of the earliest event that one of these relates to and that is not too far back.
    async fn earliest_related(
        &mut self,
        room_id: &RoomId,
        gaps: &Gaps,
        newest: &[Shown],
        oldest: Place,
    ) -> Result<Option<Place>, DatabaseError> {
        if self.reach_back == 0 {
            return Ok(None);
        }
        let sql = format!(
            "SELECT event_id, json FROM event_json WHERE event_id IN ($IDS) AND json LIKE '%\"{}\"%'",
            relations::FIELD
        );
        let ids: Vec<&str> = newest.iter().map(|(event_id, _)| event_id.as_str()).collect();
        let rows = self.main.rows_in("event_json", &sql, &ids).await?;
        let json = rows.iter().filter_map(|row| row.decode::<(String, String)>().ok());
        let targets: Vec<_> = json.flat_map(|(_, json)| relations::targets(&json)).collect();
        let positions = self.positions(room_id, &targets).await?;
        let places = positions.into_iter().map(|position| gaps.place(position));
        let places: Vec<_> = places.filter(|place| *place < oldest).collect();
        if places.is_empty() {
            return Ok(None);
        }
        let within = self.newest(room_id, RECENT.saturating_add(self.reach_back.into())).await?;
        let end = within.iter().map(|(_, position)| gaps.place(*position)).min();
        Ok(places.into_iter().filter(|place| Some(*place) >= end).min())
    }

    /// The positions of those of the events that the room's timeline has.
    async fn positions(
        &mut self,
        room_id: &RoomId,
        event_ids: &[OwnedEventId],
    ) -> Result<Vec<Position>, DatabaseError> {
        let sql = format!(
            "SELECT e.room_id, e.stream_ordering, e.topological_ordering FROM {TABLES} \
             WHERE e.event_id IN ($IDS) AND {SHOWN}"
        );
        let ids: Vec<&str> = event_ids.iter().map(|event_id| event_id.as_str()).collect();
        let rows = self.main.rows_in("events", &sql, &ids).await?;
        let rows = rows.iter().filter_map(|row| row.decode::<(String, i64, i64)>().ok());
        let here = rows.filter(|(room, _, _)| room == room_id.as_str());
        Ok(here.map(|(_, stream, topological)| Position::new(stream, topological)).collect())
    }

    /// The newest events, newest first; at most so many.
    async fn newest(&mut self, room_id: &RoomId, most: i64) -> Result<Vec<Shown>, DatabaseError> {
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
            let rows = self.main.rows("events", &sql, &params).await?;
            newest.extend(rows.iter().filter_map(|row| {
                let (event_id, stream, topological) = row.decode().ok()?;
                Some((event_id, Position::new(stream, topological)))
            }));
        }
        Ok(newest)
    }

    /// How many events come before a place.
    async fn earlier(
        &mut self,
        room_id: &RoomId,
        gaps: &Gaps,
        Place { stream, arrived, backfilled: (depth, number) }: Place,
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
        for (sql, params) in [
            (came, vec![room_id, stream.into()]),
            (before, vec![room_id, end.0.into(), end.1.into()]),
        ] {
            let rows = self.main.rows("events", &sql, &params).await?;
            let counted = rows.first().and_then(|row| row.decode::<(u64,)>().ok());
            number = number.saturating_add(counted.map_or(0, |(number,)| number));
        }
        Ok(number)
    }
}
