//! Where in a timeline the events belong that Synapse backfilled.
//!
//! What was said before the server came into a room is before all that has arrived since. But a server also backfills what was said
//! while it was away: after it was down, or left a room and came back. Synapse shows that by its depth, so it
//! belongs before the first event that has arrived and is as deep.

use ruma::RoomId;

use super::{
    super::{DatabaseError, connection::Connection},
    stored_event::TABLES,
    timeline::{SHOWN, StreamPosition},
};

/// The place of an event in the order in which a timeline is dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimelinePlace {
    /// Its own number in the stream, or that of the event before which it belongs.
    pub(super) stream: i64,
    /// Whether it has arrived, rather than been backfilled.
    pub(super) arrived: bool,
    /// Depth and number of an event that was backfilled.
    pub(super) backfilled: (i64, i64),
}

impl TimelinePlace {
    /// Before everything.
    pub(super) const BEGIN: Self =
        Self { stream: i64::MIN, arrived: false, backfilled: (i64::MIN, i64::MIN) };
}

/// Events that were backfilled, up to a depth, and belong before one that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The number of that one in the stream; less than all for what is before everything.
    pub(super) before: i64,
    /// The greatest depth. All that are less deep belong to gaps before this one.
    pub(super) depth: i64,
}

impl Gap {
    /// All that was backfilled, before everything that has arrived.
    pub(super) const ALL: Self = Self { before: i64::MIN, depth: i64::MAX };
}

/// All gaps of a room, in order. The first one is before everything that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gaps(Vec<Gap>);

impl Gaps {
    /// Looks for what was backfilled and is deeper than what arrived first.
    pub(super) async fn read(db: &mut Connection, room_id: &RoomId) -> Result<Self, DatabaseError> {
        let room = room_id.as_str();
        let sql = format!(
            "SELECT e.topological_ordering FROM {TABLES} WHERE e.room_id = $1 AND {SHOWN} \
             AND e.stream_ordering >= 0 ORDER BY e.stream_ordering LIMIT 1"
        );
        let first = db.rows("events", &sql, &[room.into()]).await?;
        let Some(first) = first.first().and_then(|row| row.integer(0)) else {
            return Ok(Self::one());
        };
        let sql = format!(
            "SELECT DISTINCT e.topological_ordering FROM {TABLES} WHERE e.room_id = $1 AND {SHOWN} \
             AND e.stream_ordering < 0 AND e.topological_ordering > $2 ORDER BY e.topological_ordering"
        );
        let deep = db.rows("events", &sql, &[room.into(), first.into()]).await?;
        let deep: Vec<i64> = deep.iter().filter_map(|row| row.integer(0)).collect();
        if deep.is_empty() {
            return Ok(Self::one());
        }
        let mut search = Search::new(first, deep);
        let sql = format!(
            "SELECT e.stream_ordering, e.topological_ordering FROM {TABLES} WHERE e.room_id = $1 \
             AND {SHOWN} AND e.stream_ordering >= 0 ORDER BY e.stream_ordering"
        );
        db.each("events", &sql, &[room.into()], |row| {
            if let (Some(stream), Some(depth)) = (row.integer(0), row.integer(1)) {
                search.arrived(stream, depth);
            }
        })
        .await?;
        Ok(search.finish())
    }

    /// Everything that was backfilled is before everything that has arrived.
    fn one() -> Self {
        Self(vec![Gap::ALL])
    }

    pub(super) fn get(&self, number: usize) -> Option<Gap> {
        self.0.get(number).copied()
    }

    /// The number of the gap to which something of this depth belongs that was backfilled.
    fn of_depth(&self, depth: i64) -> usize {
        self.0.partition_point(|gap| gap.depth < depth)
    }

    /// The number of the last gap before something that has arrived.
    pub(super) fn before(&self, stream: i64) -> usize {
        self.0.partition_point(|gap| gap.before <= stream).saturating_sub(1)
    }

    pub(super) fn place(&self, position: StreamPosition) -> TimelinePlace {
        match position {
            StreamPosition::Live { stream } => {
                TimelinePlace { stream, arrived: true, backfilled: (0, 0) }
            }
            StreamPosition::Backfilled { topological, stream } => {
                let gap = self.get(self.of_depth(topological));
                let before = gap.map_or(i64::MIN, |gap| gap.before);
                TimelinePlace { stream: before, arrived: false, backfilled: (topological, stream) }
            }
        }
    }
}

/// The search for the events before which others belong, while all that have arrived go by in order.
struct Search {
    gaps: Vec<Gap>,
    /// The depths for which the places are not known yet, greatest first.
    waiting: Vec<i64>,
    /// The deepest event that went by.
    deepest: Gap,
}

impl Search {
    fn new(first: i64, mut deep: Vec<i64>) -> Self {
        deep.reverse();
        let first = Gap { before: i64::MIN, depth: first };
        Self { gaps: vec![first], waiting: deep, deepest: first }
    }

    fn arrived(&mut self, stream: i64, depth: i64) {
        if depth <= self.deepest.depth {
            return;
        }
        self.deepest = Gap { before: stream, depth };
        if self.waiting.last().is_some_and(|next| *next <= depth) {
            self.gaps.push(self.deepest);
            while self.waiting.last().is_some_and(|next| *next <= depth) {
                self.waiting.pop();
            }
        }
    }

    /// What is deeper than everything that has arrived is not the newest for that: nothing that arrived follows it. It goes
    /// before the deepest.
    fn finish(mut self) -> Gaps {
        if self.gaps.last().is_none_or(|last| last.before != self.deepest.before) {
            self.gaps.push(self.deepest);
        }
        if let Some(last) = self.gaps.last_mut() {
            last.depth = i64::MAX;
        }
        Gaps(self.gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(arrived: &[(i64, i64)], backfilled: &[i64]) -> Vec<(i64, i64)> {
        let mut search = Search::new(arrived[0].1, backfilled.to_vec());
        for (stream, depth) in arrived {
            search.arrived(*stream, *depth);
        }
        search.finish().0.iter().map(|gap| (gap.before, gap.depth)).collect()
    }

    #[test]
    fn what_was_backfilled_belongs_before_the_first_that_is_as_deep() {
        const ALL: i64 = i64::MAX;
        const FIRST: i64 = i64::MIN;
        let arrived = [(1, 5), (2, 6), (3, 20), (4, 7), (5, 21), (6, 30)];
        assert_eq!(gaps(&arrived, &[7, 12, 19]), [(FIRST, 5), (3, 20), (6, ALL)]);
        assert_eq!(gaps(&arrived, &[20, 22]), [(FIRST, 5), (3, 20), (6, ALL)]);
        assert_eq!(gaps(&arrived, &[21]), [(FIRST, 5), (5, 21), (6, ALL)]);
        // Deeper than all.
        assert_eq!(gaps(&arrived, &[40]), [(FIRST, 5), (6, ALL)]);
        assert_eq!(gaps(&[(1, 5), (2, 4)], &[40]), [(FIRST, ALL)]);
    }
}
