//! One room.
//!
//! A room is read once, page by page; states, timeline and outliers wait in memory (as differences) and in temporary
//! files until all is known that stands in the room's head. So a room that can't be read leaves no file.
//!
//! | module | holds or reads |
//! |---|---|
//! | [`fetch`] | single events |
//! | [`event`], [`event_spool`] | an event; a list of events in a temporary file |
//! | [`events`] | which events are known or missing; outliers |
//! | [`state_tree`], [`state_before`], [`resolve`] | the states, and after which event each is |
//! | [`left_state`] | the state that a user who left still sees |
//! | [`recent`] | where a timeline begins of which only what is recent is read |
//! | [`timeline`], [`timeline_reader`] | pages of the timeline, and what each event adds |
//! | [`members`] | aliases, present state, memberships |

mod event;
mod event_spool;
mod events;
mod fetch;
mod left_state;
mod members;
mod recent;
mod resolve;
mod state_before;
mod state_tree;
mod timeline;
mod timeline_reader;

use std::collections::{BTreeMap, BTreeSet};

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};
use serde::Deserialize;

use self::{
    event::Version,
    event_spool::EventSpool,
    events::RoomEvents,
    fetch::Fetcher,
    left_state::LeftState,
    members::Members,
    state_before::RoomStates,
    state_tree::{Entries, StateTree},
    timeline_reader::TimelineReader,
};
use super::{ApiError, Noted, Synapse, counter::Counter, seen_by_users::Seen};
use crate::{
    dump::{
        DumpWriter, Extent, History,
        format::{DumpEvent, DumpMember, DumpRemoteReceipt, DumpRoom},
    },
    source::SourceError,
    synapse::{
        SOFT_FAILED,
        erased::{Erased, Pruning},
    },
    tally::{Kind, Tally},
};

/// Reads a room and writes it, or skips it.
pub(super) async fn write(
    synapse: &mut Synapse,
    noted: &mut Noted,
    extent: &Extent,
    room_id: &OwnedRoomId,
    writer: &DumpWriter,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let mut own = Tally::default();
    let room = match read(synapse, noted, extent, room_id, &mut own).await {
        Ok(room) => room,
        Err(error) if error.ends_run() => return Err(error.into()),
        Err(error) => {
            tally.skip(Kind::Room, room_id.as_str(), "room-unreadable", error.to_string());
            return Ok(());
        }
    };
    let receipts = noted.seen.take_receipts(room_id);
    Counter::new(&mut own, room_id.as_str()).kept(Kind::Receipt, receipts.len());
    room.write(receipts, &noted.erased, writer, &mut own)?;
    tally.merge(own);
    tally.written(Kind::Room, 1);
    Ok(())
}

/// A room that has been read.
struct ReadRoom {
    head: DumpRoom,
    states: StateTree,
    /// States that are dumped, with their ids in the dump.
    numbers: BTreeMap<u64, u64>,
    outliers: EventSpool,
    /// Events that something refers to.
    needed: BTreeSet<OwnedEventId>,
    timeline: EventSpool,
    /// The events of the timeline: what was spooled as an outlier before it turned up there is none.
    after: BTreeMap<OwnedEventId, u64>,
    pruning: Pruning,
}

impl ReadRoom {
    fn write(
        self,
        receipts: BTreeSet<DumpRemoteReceipt>,
        erased: &Erased,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let prune = |tally: &mut Tally, kind, event: DumpEvent| {
            let event_id = event.event_id.clone();
            let pruned = erased.prune(event, &self.pruning);
            pruned.map_err(|why| tally.revoke(kind, event_id, why.reason(), why.to_string())).ok()
        };
        let mut file = writer.room(&self.head)?;
        for state in self.states.dump(&self.numbers) {
            file.state(&state)?;
        }
        for event in self.outliers.read()? {
            let event = event?;
            if event.soft_failed && !self.needed.contains(&event.event_id) {
                tally.revoke(Kind::Outlier, event.event_id, "soft-failed", SOFT_FAILED);
                continue;
            }
            if (event.soft_failed || !self.after.contains_key(&event.event_id))
                && let Some(event) = prune(tally, Kind::Outlier, event)
            {
                file.outlier(&event)?;
            }
        }
        for event in self.timeline.read()? {
            let Some(mut event) = prune(tally, Kind::TimelineEvent, event?) else { continue };
            event.state_before = event.state_before.and_then(|id| self.numbers.get(&id).copied());
            file.timeline(&event)?;
        }
        for receipt in receipts {
            file.receipt(&receipt)?;
        }
        writer.finish_room(file)?;
        Ok(())
    }
}

async fn read(
    synapse: &mut Synapse,
    noted: &mut Noted,
    extent: &Extent,
    room_id: &RoomId,
    tally: &mut Tally,
) -> Result<ReadRoom, ApiError> {
    let Synapse { api, federation, server_name, admin, logins, has_fetch_event, .. } = synapse;
    let listed = noted.listed.get(room_id);
    let seen = noted.seen.take(room_id);
    let room_version =
        listed.and_then(|room| room.version.clone()).or_else(|| stripped_version(&seen));
    let version = Version::new(room_version.as_deref());
    let joined = listed.is_some_and(|room| room.joined_local_members > 0);
    let fetcher = Fetcher { api, federation, has_fetch_event, room_id, version, joined };
    let leaves = seen.iter().filter_map(|(user, seen)| match seen {
        Seen::Left(Some((event_id, _))) => Some((user.clone(), event_id.clone())),
        Seen::Left(None) | Seen::Invite(..) | Seen::Knock(_) => None,
    });
    let left = LeftState { api, logins, admin, room_id, leaves: leaves.collect(), entries: None };
    let counter = Counter::new(tally, room_id.as_str());
    let mut room = TimelineReader::new(RoomEvents::new(fetcher), left, counter);
    let mut head = DumpRoom {
        room_id: room_id.to_owned(),
        room_version,
        published: listed.is_some_and(|room| room.public),
        aliases: Vec::new(),
        current_state: None,
        forward_extremities: Vec::new(),
        earlier_events: Some(0),
        local_members: Vec::new(),
    };
    if listed.is_some() {
        room.counter.kept(Kind::PublishedRoom, usize::from(head.published));
        head.aliases = members::aliases(api, server_name, room_id, &mut room.counter).await?;
        read_timeline(&mut room, &mut head, extent).await?;
    }
    let members = Members { server_name, seen: &seen, seen_by_users: &noted.seen };
    let current = head.current_state.map(|state| room.states.tree.get(state));
    head.local_members = members.read(current, &mut room.events, &mut room.counter).await?;
    finish(room, head, listed.is_some(), &noted.erased).await
}

/// Reads the timeline of a room that the server is or was in.
async fn read_timeline(
    room: &mut TimelineReader<'_>,
    head: &mut DumpRoom,
    extent: &Extent,
) -> Result<(), ApiError> {
    let Fetcher { api, room_id, joined, .. } = room.events.fetcher;
    let present = members::present_state(api, room_id).await?;
    let extremities = timeline::extremities(api, room_id).await?;
    let mut begin = 0;
    // The timeline of a room without a local user has to be read in full, to know its states.
    if joined && extent.history == History::Recent {
        let fetcher = &mut room.events.fetcher;
        begin = recent::depth(&extremities, extent.reach_back, fetcher).await?;
    }
    if begin > 0 {
        head.earlier_events = None;
    }
    room.events.read_redactions().await?;
    let ends: Vec<_> = extremities.into_iter().map(|end| end.event_id).collect();
    room.read(begin, &ends).await?;
    head.forward_extremities =
        ends.into_iter().filter(|end| room.states.after.contains_key(end)).collect();
    head.current_state = current_state(room, present, &head.forward_extremities).await?;
    Ok(())
}

/// The state after the newest events. `None`: it is unknown.
async fn current_state(
    room: &mut TimelineReader<'_>,
    present: Option<Entries>,
    extremities: &[OwnedEventId],
) -> Result<Option<u64>, ApiError> {
    let RoomStates { tree, after, guessed, .. } = &mut room.states;
    let ends: BTreeSet<u64> = extremities.iter().filter_map(|id| after.get(id).copied()).collect();
    let candidates: Vec<u64> = ends.iter().copied().collect();
    if let Some(present) = present {
        return Ok(Some(tree.whole(&candidates, &present)));
    }
    if *guessed {
        let left = room.left.read(&mut room.events, &mut room.counter).await?;
        if !left.is_empty() {
            return Ok(Some(tree.whole(&candidates, &left)));
        }
    }
    let state = room.states.resolve(&ends, &mut room.events.fetcher).await?;
    Ok(state.filter(|state| !room.states.tree.get(*state).is_empty()))
}

/// Fetches what is needed outside the timeline, and numbers the states.
async fn finish(
    mut room: TimelineReader<'_>,
    mut head: DumpRoom,
    listed: bool,
    erased: &Erased,
) -> Result<ReadRoom, ApiError> {
    let RoomStates { tree, after, .. } = &mut room.states;
    let present = head.current_state.map(|state| tree.get(state));
    let present = present.into_iter().flat_map(BTreeMap::values);
    let pruning = erased.room(head.room_version.as_deref(), present);
    room.used.extend(head.current_state);
    let numbers = tree.number(&room.used);
    head.current_state = head.current_state.and_then(|id| numbers.get(&id).copied());
    let mut needed = std::mem::take(&mut room.needed);
    needed.extend(tree.event_ids(&numbers).cloned());
    needed.extend(head.local_members.iter().map(|DumpMember { event_id, .. }| event_id.clone()));
    let is_in_timeline = |id: &EventId| after.contains_key(id);
    // The auth events of an invite from elsewhere are elsewhere.
    let needed = room.events.read_needed(needed, is_in_timeline, listed, &mut room.counter).await?;
    room.counter.kept(Kind::State, numbers.len());
    let outliers = room.events.outlier_ids().filter(|id| !after.contains_key(*id)).count();
    room.counter.kept(Kind::Outlier, outliers);
    Ok(ReadRoom {
        head,
        states: room.states.tree,
        numbers,
        outliers: room.events.outliers,
        needed,
        timeline: room.timeline,
        after: room.states.after,
        pruning,
    })
}

/// The room version in the stripped create event of an invite or knock.
fn stripped_version(seen: &BTreeMap<OwnedUserId, Seen>) -> Option<String> {
    #[derive(Deserialize)]
    struct Create {
        #[serde(rename = "type")]
        kind: String,
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        room_version: Option<String>,
    }

    let stripped = seen.values().flat_map(|seen| match seen {
        Seen::Invite(stripped, _) | Seen::Knock(stripped) => stripped.as_slice(),
        Seen::Left(_) => &[],
    });
    let mut creates = stripped
        .filter_map(|event| serde_json::from_str::<Create>(event.get()).ok())
        .filter(|event| event.kind == "m.room.create");
    creates.next().map(|create| create.content.room_version.unwrap_or_else(|| "1".into()))
}
