//! The state before an event.
//!
//! Along the timeline it follows from the events themselves. Where branches meet, and at the edge of what was read,
//! Synapse is asked over federation, which it refuses for rooms that no local user is in. Then branches are resolved here,
//! and at the edge the state is put together from the event's auth events and the state that a user who left still sees.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedEventId, RoomId};

use super::{
    event::{Event, Version},
    events::RoomEvents,
    fetch::Fetcher,
    left_state::LeftState,
    resolve::Resolver,
    state_tree::{EMPTY, Entries, StateTree},
};
use crate::{
    synapse::api::{ApiError, counter::Counter},
    tally::Kind,
};

/// The state before an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateBefore {
    /// The event is the room's first.
    Nothing,
    /// A state.
    State(u64),
    /// Nobody knows it.
    Missing,
}

/// The states of a room, and after which event each is.
#[derive(Debug, Default)]
pub(super) struct RoomStates {
    pub(super) tree: StateTree,
    /// The state after each timeline event.
    pub(super) after: BTreeMap<OwnedEventId, u64>,
    /// The state after the event that was read last.
    pub(super) latest: Option<u64>,
    /// Whether a state had to be guessed.
    pub(super) guessed: bool,
    /// States where branches meet, by the states of the branches.
    resolved: BTreeMap<BTreeSet<u64>, u64>,
    resolver: Resolver,
}

impl RoomStates {
    /// The state before an event of the timeline.
    pub(super) async fn before(
        &mut self,
        event: &Event,
        events: &mut RoomEvents<'_>,
        left: &mut LeftState<'_>,
        counter: &mut Counter<'_>,
    ) -> Result<StateBefore, ApiError> {
        if event.is_create() {
            return Ok(StateBefore::Nothing);
        }
        let prevs: Vec<Option<u64>> =
            event.prev_events.iter().map(|prev| self.after.get(prev).copied()).collect();
        let states: BTreeSet<u64> = prevs.iter().flatten().copied().collect();
        let complete = !prevs.is_empty() && prevs.iter().all(Option::is_some);
        if complete {
            if let Some(only) = only(&states) {
                return Ok(StateBefore::State(only));
            }
            if let Some(state) = self.resolved.get(&states) {
                return Ok(StateBefore::State(*state));
            }
        }
        let state = match self.federated(event, &states, events, counter).await? {
            Some(state) => Some(state),
            None if states.is_empty() => self.guess(event, events, left, counter).await?,
            None => self.resolve(&states, &mut events.fetcher).await?,
        };
        if let (true, Some(state)) = (complete, state) {
            self.resolved.insert(states, state);
        }
        Ok(state.map_or(StateBefore::Missing, StateBefore::State))
    }

    /// The state in which some states result. `None` of none.
    pub(super) async fn resolve(
        &mut self,
        states: &BTreeSet<u64>,
        fetcher: &mut Fetcher<'_>,
    ) -> Result<Option<u64>, ApiError> {
        self.resolver.resolve(states, &mut self.tree, fetcher).await
    }

    /// Asks Synapse. `None`: it does not say.
    async fn federated(
        &mut self,
        event: &Event,
        near: &BTreeSet<u64>,
        events: &mut RoomEvents<'_>,
        counter: &mut Counter<'_>,
    ) -> Result<Option<u64>, ApiError> {
        let Fetcher { federation, room_id, joined, .. } = &events.fetcher;
        let (federation, room_id) = (*federation, *room_id);
        if !joined {
            return Ok(None);
        }
        let ids = match federation.state_ids(room_id, &event.id).await {
            Ok(answer) => answer.pdu_ids,
            Err(error) if error.ends_run() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(room = %room_id, event = %event.id, %error, "the state before the event is computed, because federation does not provide it");
                return Ok(None);
            }
        };
        let Some(entries) = entries(ids, events, counter).await? else { return Ok(None) };
        let near: Vec<u64> = near.iter().copied().chain(self.tree.last()).collect();
        Ok(Some(self.tree.whole(&near, &entries)))
    }

    /// The best guess of the state before an event whose previous events are missing: Synapse hides redactions that were not
    /// allowed, even from administrators, and does not know what came before a room was joined.
    async fn guess(
        &mut self,
        event: &Event,
        events: &mut RoomEvents<'_>,
        left: &mut LeftState<'_>,
        counter: &mut Counter<'_>,
    ) -> Result<Option<u64>, ApiError> {
        let mut entries = match self.latest {
            Some(latest) => self.tree.get(latest).clone(),
            None => left.before(event.depth, events, counter).await?,
        };
        for id in &event.auth_events {
            if let Some(key) =
                events.look_up(id, counter).await?.and_then(|known| known.key.clone())
            {
                entries.insert(key, id.clone());
            }
        }
        if let Some(create) = room_id_event(events.fetcher.room_id, &events.fetcher.version)
            && events.look_up(&create, counter).await?.is_some()
        {
            entries.insert(("m.room.create".to_owned(), String::new()), create);
        }
        if !is_room(&entries) {
            return Ok(None);
        }
        self.guessed = true;
        counter.lost(Kind::State, event.id.as_str(), "state-guessed", "no local user is in the room, so Synapse's APIs do not provide the state before the event; it was computed from earlier states and the event's auth events. The database has it");
        let near: Vec<u64> = self.tree.last().into_iter().collect();
        Ok(Some(self.tree.whole(&near, &entries)))
    }
}

/// A state from the ids of its events. `None` if it would have no create event: then it is none.
async fn entries(
    ids: Vec<OwnedEventId>,
    events: &mut RoomEvents<'_>,
    counter: &mut Counter<'_>,
) -> Result<Option<Entries>, ApiError> {
    let mut entries = Entries::new();
    for id in ids {
        match events.look_up(&id, counter).await?.and_then(|known| known.key.clone()) {
            Some(key) => {
                entries.insert(key, id);
            }
            None => counter.lost(
                Kind::State,
                id.as_str(),
                "event-missing",
                "a state of the room refers to the event, and Synapse does not provide it",
            ),
        }
    }
    Ok(Some(entries).filter(is_room))
}

/// The create event, where its id makes the room id: auth events do not name it then.
fn room_id_event(room_id: &RoomId, version: &Version) -> Option<OwnedEventId> {
    let rules = version.rules()?;
    let hash = room_id.as_str().strip_prefix('!')?;
    let id = || OwnedEventId::try_from(format!("${hash}")).ok();
    if rules.authorization.room_create_event_id_as_room_id { id() } else { None }
}

fn is_room(entries: &Entries) -> bool {
    entries.contains_key(&("m.room.create".to_owned(), String::new()))
}

/// The state, if it is one.
pub(super) fn only(states: &BTreeSet<u64>) -> Option<u64> {
    if states.len() == 1 { states.first().copied().filter(|state| *state != EMPTY) } else { None }
}
