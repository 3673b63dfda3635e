//! Rows of several rooms, read together: a query for each room would be a round trip to the database for each.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    iter::Peekable,
    ops::RangeInclusive,
    sync::Arc,
    vec,
};

use ruma::{OwnedRoomId, RoomId};

use super::{
    all_events::{AllEvents, GroupEvents, Place},
    fingerprint::Fingerprints,
    redactions::{self, Redactions},
    state_groups::StateGroups,
    timeline::{self, Timeline, TimelineRow},
};
use crate::{
    dump::WriteError,
    source::SourceError,
    synapse::database::{
        DatabaseError,
        connection::{Connection, Databases},
        row::{KeptRow, Row},
    },
};

/// Of so many events a group has one: small groups let two readers come to an end at about the same time.
const SHARE: u64 = 16;
/// Fewest and most events of a group.
const SHARES: RangeInclusive<u64> = 1_000..=25_000;
/// Bytes of a group's events that are held, so that what belongs to them is read together.
const HELD: u64 = if cfg!(test) { 1 << 16 } else { 48 << 20 };

/// Rows by the room that they belong to.
type ByRoom = BTreeMap<String, Vec<KeptRow>>;

/// Which rooms are read together, and those of the rows of one such group that were read and not yet taken.
#[derive(Clone, Debug, Default)]
pub(super) struct RoomBatch {
    /// All rooms that will be asked for, in groups, each of which is sorted.
    groups: Arc<[Vec<OwnedRoomId>]>,
    /// The events of all rooms, if they were read in one pass.
    all: Option<Arc<AllEvents>>,
    /// The rooms that are read together.
    group: Vec<OwnedRoomId>,
    /// The rows, by query.
    rows: BTreeMap<String, ByRoom>,
    /// The events of the rooms' timelines, after the first room has asked for them.
    events: BatchEvents,
    /// The redactions of these events.
    redactions: BTreeMap<String, Redactions>,
    /// The state groups after these events.
    states: StateGroups,
}

/// The events of a group of rooms.
#[derive(Debug, Default)]
enum BatchEvents {
    #[default]
    Unread,
    Held(BTreeMap<OwnedRoomId, Vec<TimelineRow>>),
    /// Too large to be held.
    Streamed(Box<GroupEvents>),
}

/// Another reader reads its own.
impl Clone for BatchEvents {
    fn clone(&self) -> Self {
        Self::Unread
    }
}

impl RoomBatch {
    /// Puts rooms into groups: as few as can be, but two at least, as there are two readers; all with about the same number of
    /// events. A room with many events, or of which it is not known how many it has, is alone. The largest come first.
    pub(super) fn of(rooms: &[OwnedRoomId], fingerprints: &Fingerprints) -> Self {
        let most = fingerprints.events().div_euclid(SHARE).clamp(*SHARES.start(), *SHARES.end());
        let number = |room: &OwnedRoomId| fingerprints.events_of(room.as_str());
        let (mut small, mut large): (Vec<_>, Vec<_>) =
            rooms.iter().partition(|room| number(room).is_some_and(|events| events <= most));
        large.sort_by_key(|room| Reverse(number(room).unwrap_or(u64::MAX)));
        let events = small.iter().filter_map(|room| number(room)).fold(0, u64::saturating_add);
        let least = usize::try_from(events.div_ceil(most)).unwrap_or(usize::MAX).max(2);
        // The largest first, each to the group that has the fewest events so far.
        small.sort_by_key(|room| Reverse(number(room)));
        let mut groups: BinaryHeap<_> =
            (0..least).map(|place| Reverse((0_u64, place, Vec::new()))).collect();
        for room in small {
            let Some(Reverse((events, place, mut group))) = groups.pop() else { break };
            group.push(room.clone());
            let events = events.saturating_add(number(room).unwrap_or(0));
            groups.push(Reverse((events, place, group)));
        }
        let alone = large.into_iter().map(|room| vec![room.clone()]);
        let together = groups.into_sorted_vec().into_iter().map(|Reverse((_, _, mut group))| {
            group.sort();
            group
        });
        let groups = alone.chain(together).filter(|group| !group.is_empty()).collect();
        Self { groups, ..Self::default() }
    }

    /// From now on, the events of rooms come from these.
    pub(super) fn take(&mut self, all: Option<Arc<AllEvents>>) {
        self.all = all;
        self.events = BatchEvents::Unread;
    }

    pub(super) fn groups(&self) -> &[Vec<OwnedRoomId>] {
        &self.groups
    }

    /// Makes a room one of those that are read together.
    fn turn_to(&mut self, room_id: &RoomId) {
        if self.group.iter().any(|room| room == room_id) {
            return;
        }
        self.rows.clear();
        self.events = BatchEvents::Unread;
        self.redactions.clear();
        self.states = StateGroups::default();
        let is_here = |group: &&Vec<OwnedRoomId>| {
            group.binary_search_by(|room| (**room).cmp(room_id)).is_ok()
        };
        let group = self.groups.iter().find(is_here);
        self.group = group.map_or_else(|| vec![room_id.to_owned()], Clone::clone);
    }
}

/// The events of a room's timeline, from those of all rooms.
pub(super) struct RoomEvents<'a> {
    rows: Peekable<EventRows<'a>>,
    /// What belongs to them, if it was read with that of other rooms.
    pub(super) held: Option<Held<'a>>,
}

/// What belongs to the events of a group of rooms.
pub(super) struct Held<'a> {
    pub(super) redactions: Redactions,
    /// The state groups after the events of all rooms.
    pub(super) groups: &'a mut StateGroups,
}

/// The rows of a room's timeline, in its order.
enum EventRows<'a> {
    Held(vec::IntoIter<TimelineRow>),
    Streamed { events: &'a mut GroupEvents, place: Place, timeline: &'a Timeline },
}

impl Iterator for EventRows<'_> {
    type Item = Result<TimelineRow, WriteError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Held(rows) => rows.next().map(Ok),
            Self::Streamed { events, place, timeline } => {
                events.next(*place, timeline.gaps()).transpose()
            }
        }
    }
}

impl RoomEvents<'_> {
    /// The next rows. None: there are no more.
    pub(super) fn page(&mut self) -> Result<Vec<TimelineRow>, WriteError> {
        timeline::page(&mut self.rows)
    }
}

/// The tables, for one room: rows come from the batch.
pub(super) struct RoomTables<'a> {
    pub(super) databases: &'a mut Databases,
    batch: &'a mut RoomBatch,
    pub(super) id: &'a RoomId,
}

impl<'a> RoomTables<'a> {
    pub(super) fn new(
        databases: &'a mut Databases,
        batch: &'a mut RoomBatch,
        id: &'a RoomId,
    ) -> Self {
        batch.turn_to(id);
        Self { databases, batch, id }
    }

    /// The main database.
    pub(super) fn db(&mut self) -> &mut Connection {
        &mut self.databases.main
    }

    /// The room's rows of a query, once: the last column is the room's id, and `IN ($IDS)` stands for the ids of the rooms whose rows
    /// it gives.
    pub(super) async fn rows(
        &mut self,
        table: &'static str,
        sql: &str,
    ) -> Result<Vec<KeptRow>, DatabaseError> {
        let Self { databases, batch, id } = self;
        if !batch.rows.contains_key(sql) {
            let ids: Vec<_> = batch.group.iter().map(|room| room.as_str()).collect();
            let mut read = ByRoom::new();
            for row in databases.main.rows_in(table, sql, &ids).await? {
                read.entry(row.owner()).or_default().push(row);
            }
            batch.rows.insert(sql.to_owned(), read);
        }
        let read = batch.rows.get_mut(sql);
        Ok(read.and_then(|read| read.remove(id.as_str())).unwrap_or_default())
    }

    /// The same for tables of which a large room can have very many rows: a room that is alone in its group gives each to `each`
    /// without holding them all.
    pub(super) async fn each(
        &mut self,
        table: &'static str,
        sql: &str,
        mut each: impl FnMut(Row<'_>) + Send,
    ) -> Result<(), DatabaseError> {
        if self.batch.group.len() > 1 {
            self.rows(table, sql).await?.iter().for_each(|row| each(Row::Kept(row)));
            return Ok(());
        }
        let id = self.id.as_str().into();
        self.db().each(table, &sql.replace("$IDS", "$1"), &[id], each).await
    }

    /// The events of the room's timeline, once, beside the databases. `None`: they were not read with those of all rooms.
    pub(super) async fn events<'t>(
        &'t mut self,
        timeline: &'t Timeline,
    ) -> Result<(&'t mut Databases, Option<RoomEvents<'t>>), SourceError> {
        let Self { databases, batch, id } = self;
        let Some((all, place)) = batch.all.as_ref().and_then(|all| Some((all, all.place(id)?)))
        else {
            return Ok((databases, None));
        };
        if let BatchEvents::Unread = batch.events {
            let (mut events, size) = all.group(place)?;
            batch.events = if size > HELD {
                BatchEvents::Streamed(Box::new(events))
            } else {
                let mut held = BTreeMap::new();
                for id in &batch.group {
                    let Some(place) = all.place(id) else { continue };
                    held.insert(id.clone(), events.rows(place)?);
                }
                let rows = || held.values().flatten();
                let redacted: Vec<_> = rows().filter_map(TimelineRow::redacted).collect();
                batch.redactions =
                    redactions::of_several_rooms(&mut databases.main, &redacted).await?;
                let groups: BTreeSet<_> = rows().filter_map(TimelineRow::group).collect();
                let groups = groups.into_iter().collect();
                batch.states = StateGroups::of_several_rooms(databases.states(), groups).await?;
                BatchEvents::Held(held)
            };
        }
        let (rows, held) = match &mut batch.events {
            BatchEvents::Unread => return Ok((databases, None)),
            BatchEvents::Streamed(events) => {
                (EventRows::Streamed { events, place, timeline }, None)
            }
            BatchEvents::Held(held) => {
                let mut rows = held.remove(*id).unwrap_or_default();
                timeline.sort(&mut rows);
                let redactions = batch.redactions.remove(id.as_str()).unwrap_or_default();
                let held = Held { redactions, groups: &mut batch.states };
                (EventRows::Held(rows.into_iter()), Some(held))
            }
        };
        Ok((databases, Some(RoomEvents { rows: rows.peekable(), held })))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_room_is_in_one_group_and_large_ones_come_first(
            events in proptest::collection::vec(0_u64..40_000, 0..40),
            unknown in 0_usize..3,
        ) {
            let name = |number: usize| format!("!{number:03}:own.test");
            let known: Vec<_> =
                events.iter().enumerate().map(|(number, events)| (name(number), *events)).collect();
            let all = known.len().saturating_add(unknown);
            let rooms: Vec<OwnedRoomId> =
                (0..all).map(|number| name(number).try_into().unwrap()).collect();
            let fingerprints = Fingerprints::with_events(&known);
            let batch = RoomBatch::of(&rooms, &fingerprints);
            let mut found: Vec<_> = batch.groups().iter().flatten().cloned().collect();
            found.sort();
            prop_assert_eq!(found, rooms);
            let sum: u64 = events.iter().sum();
            let most = (sum / SHARE).clamp(1_000, 25_000);
            let size = |group: &Vec<OwnedRoomId>| -> Option<u64> {
                group.iter().map(|room| fingerprints.events_of(room.as_str())).sum()
            };
            for group in batch.groups() {
                prop_assert!(group.is_sorted());
                // The last room of a group was put into the one with the fewest events.
                prop_assert!(group.len() == 1 || size(group).unwrap() <= most.saturating_mul(2));
            }
            let is_large = |group: &&Vec<OwnedRoomId>| size(group).is_none_or(|size| size > most) && group.len() == 1;
            prop_assert!(batch.groups().iter().skip_while(is_large).all(|group| !is_large(&group)));
        }
    }
}
