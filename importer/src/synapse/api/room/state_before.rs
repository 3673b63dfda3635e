//! The state before an event.
//!
//! Along the timeline it follows from the events themselves. Where branches meet, and at the edge of what was read,
//! Synapse is asked over federation, which it refuses for rooms that no local user is in. Then branches are resolved here,
//! and at the edge the state is put together from the event's auth events and the state that a user who left still sees.

use std::collections::BTreeSet;

use ruma::OwnedEventId;

use super::{
    Room,
    event::Event,
    state_tree::{EMPTY, Entries},
};
use crate::{synapse::api::ApiError, tally::Kind};

/// The state before an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// The event is the room's first.
    Nothing,
    /// A state.
    State(u64),
    /// Nobody knows it.
    Missing,
}

impl Room<'_> {
    pub(super) async fn before(&mut self, event: &Event) -> Result<Before, ApiError> {
        if event.is_create() {
            return Ok(Before::Nothing);
        }
        let prevs: Vec<Option<u64>> =
            event.prev_events.iter().map(|prev| self.after.get(prev).copied()).collect();
        let states: BTreeSet<u64> = prevs.iter().flatten().copied().collect();
        let complete = !prevs.is_empty() && prevs.iter().all(Option::is_some);
        if complete {
            if let Some(only) = only(&states) {
                return Ok(Before::State(only));
            }
            if let Some(state) = self.resolved.get(&states) {
                return Ok(Before::State(*state));
            }
        }
        let state = match self.federated(event, &states).await? {
            Some(state) => Some(state),
            None if states.is_empty() => self.guess(event).await?,
            None => self.resolve(&states).await?,
        };
        if let (true, Some(state)) = (complete, state) {
            self.resolved.insert(states, state);
        }
        Ok(state.map_or(Before::Missing, Before::State))
    }

    /// Asks Synapse. `None`: it does not tell.
    async fn federated(
        &mut self,
        event: &Event,
        near: &BTreeSet<u64>,
    ) -> Result<Option<u64>, ApiError> {
        if !self.joined {
            return Ok(None);
        }
        let ids = match self.source.federation.state_ids(self.id, &event.id).await {
            Ok(answer) => answer.pdu_ids,
            Err(error) if error.ends_run() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(room = %self.id, event = %event.id, %error, "the state before the event is computed, as federation does not give it");
                return Ok(None);
            }
        };
        let Some(entries) = self.entries(ids).await? else { return Ok(None) };
        let near: Vec<u64> = near.iter().copied().chain(self.states.last()).collect();
        Ok(Some(self.states.whole(&near, &entries)))
    }

    /// A state from the ids of its events. `None` if it would have no create event: then it is none.
    async fn entries(&mut self, ids: Vec<OwnedEventId>) -> Result<Option<Entries>, ApiError> {
        let mut entries = Entries::new();
        for id in ids {
            match self.look_up(&id).await?.and_then(|known| known.key.clone()) {
                Some(key) => {
                    entries.insert(key, id);
                }
                None => self.counter.lost(
                    Kind::State,
                    id.as_str(),
                    "event-missing",
                    "a state of the room needs the event, and Synapse does not give it",
                ),
            }
        }
        Ok(Some(entries).filter(is_room))
    }

    /// The best that can be said of the state before an event whose past is not there: Synapse hides redactions that
    /// were not allowed, even from administrators, and does not know what came before a room was joined.
    async fn guess(&mut self, event: &Event) -> Result<Option<u64>, ApiError> {
        let mut entries = match self.latest {
            Some(latest) => self.states.get(latest).clone(),
            None => self.left_before(event.depth).await?,
        };
        for id in &event.auth_events {
            if let Some(key) = self.look_up(id).await?.and_then(|known| known.key.clone()) {
                entries.insert(key, id.clone());
            }
        }
        if let Some(create) = self.room_id_event()
            && self.look_up(&create).await?.is_some()
        {
            entries.insert(("m.room.create".to_owned(), String::new()), create);
        }
        if !is_room(&entries) {
            return Ok(None);
        }
        self.guessed = true;
        self.counter.lost(Kind::State, event.id.as_str(), "state-guessed", "no local user is in the room, so Synapse's APIs do not give the state before the event; it was put together from what is known before and from the event's auth events. The database has it");
        let near: Vec<u64> = self.states.last().into_iter().collect();
        Ok(Some(self.states.whole(&near, &entries)))
    }

    /// What a user who left still sees of the state, as far as it is older than a depth.
    async fn left_before(&mut self, depth: u64) -> Result<Entries, ApiError> {
        let mut entries = Entries::new();
        for (key, id) in self.left_state().await?.unwrap_or_default() {
            if self.look_up(&id).await?.is_some_and(|known| known.depth < depth) {
                entries.insert(key, id);
            }
        }
        Ok(entries)
    }

    /// The create event, where its id makes the room id: auth events do not name it then.
    fn room_id_event(&self) -> Option<OwnedEventId> {
        let rules = self.version.rules()?;
        let hash = self.id.as_str().strip_prefix('!')?;
        let id = || OwnedEventId::try_from(format!("${hash}")).ok();
        if rules.authorization.room_create_event_id_as_room_id { id() } else { None }
    }
}

fn is_room(entries: &Entries) -> bool {
    entries.contains_key(&("m.room.create".to_owned(), String::new()))
}

/// The state, if it is one.
pub(super) fn only(states: &BTreeSet<u64>) -> Option<u64> {
    if states.len() == 1 { states.first().copied().filter(|state| *state != EMPTY) } else { None }
}
