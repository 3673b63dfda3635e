//! Where in a timeline backfilled events belong.
//!
//! Events from before the server joined a room come before all live events. But a server also backfills events from a time when
//! it was down, or had left the room. Synapse orders them by depth, so each belongs before the first live event that is as deep.

use ruma::RoomId;

use super::{
    super::{DatabaseError, connection::Connection},
    stored_event::TABLES,
    timeline::{SHOWN, StreamPosition},
};

/// The place of an event in the order in which a timeline is dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimelinePlace {
    /// The event's own stream ordering, or that of the live event before which it belongs.
    pub(super) stream: i64,
    /// Whether the event is live, rather than backfilled.
    pub(super) arrived: bool,
    /// Depth and stream ordering of a backfilled event.
    pub(super) backfilled: (i64, i64),
}

impl TimelinePlace {
    /// Before everything.
    pub(super) const BEGIN: Self =
        Self { stream: i64::MIN, arrived: false, backfilled: (i64::MIN, i64::MIN) };
}

/// Backfilled events up to a depth, which belong before one live event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The stream ordering of that live event; less than all for the gap before everything.
    pub(super) before: i64,
    /// The greatest depth. All that are less deep belong to gaps before this one.
    pub(super) depth: i64,
}

impl Gap {
    /// All backfilled events, before all live ones.
    pub(super) const ALL: Self = Self { before: i64::MIN, depth: i64::MAX };
}

/// All gaps of a room, in order. The first one is before all live events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gaps(Vec<Gap>);

impl Gaps {
    /// Finds the gaps. Where no backfilled event is deeper than the first live one, there is one.
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

    /// One gap: all backfilled events are before all live ones.
    pub(super) fn one() -> Self {
        Self(vec![Gap::ALL])
    }

    pub(super) fn get(&self, number: usize) -> Option<Gap> {
        self.0.get(number).copied()
    }

    /// The number of the gap to which a backfilled event of this depth belongs.
    fn of_depth(&self, depth: i64) -> usize {
        self.0.partition_point(|gap| gap.depth < depth)
    }

    /// The number of the last gap before a live event.
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

/// The search for the live events that end a gap, in one pass over all live events in order.
struct Search {
    gaps: Vec<Gap>,
    /// Depths of backfilled events whose gap is not known yet, greatest first.
    waiting: Vec<i64>,
    /// The deepest live event so far.
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

    /// Backfilled events deeper than every live one are not the newest for that: no live event follows them. They go before
    /// the deepest live event.
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
