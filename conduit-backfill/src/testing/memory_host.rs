//! The reference implementation of [`Host`], in memory.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedRoomId, OwnedServerName,
    RoomId, RoomVersionId, ServerName,
};

use crate::{
    host::{
        GivenUp, Host, HostError, Page, PageEvent, Pdu, Place, StateBefore, StateMap, VerifyKey,
    },
    pdu::event::redacts,
    verdict::{self, Verdict},
};

/// A homeserver's past in memory: what each method of [`Host`] means, in as few words as can be.
#[derive(Debug, Default)]
pub struct MemoryHost {
    rooms: Mutex<BTreeMap<OwnedRoomId, Room>>,
    keys: Mutex<BTreeMap<OwnedServerName, Vec<VerifyKey>>>,
    /// How far its clock is ahead, in milliseconds.
    ahead: AtomicU64,
}

#[derive(Debug)]
struct Room {
    version: RoomVersionId,
    timeline: VecDeque<OwnedEventId>,
    events: BTreeMap<OwnedEventId, CanonicalJsonObject>,
    /// Of the events in the timeline.
    states: BTreeMap<OwnedEventId, Arc<StateMap>>,
    redacted_by: BTreeMap<OwnedEventId, OwnedEventId>,
    /// Redactions in the timeline, by what they redact, the oldest first.
    redactions: BTreeMap<String, Vec<OwnedEventId>>,
    given_up: BTreeMap<OwnedEventId, Verdict>,
    missing: BTreeSet<OwnedEventId>,
}

impl MemoryHost {
    /// A homeserver without rooms.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a room known, without events.
    pub fn add_room(&self, room: &RoomId, version: RoomVersionId) {
        let empty = Room {
            version,
            timeline: VecDeque::new(),
            events: BTreeMap::new(),
            states: BTreeMap::new(),
            redacted_by: BTreeMap::new(),
            redactions: BTreeMap::new(),
            given_up: BTreeMap::new(),
            missing: BTreeSet::new(),
        };
        self.lock().insert(room.to_owned(), empty);
    }

    /// Makes keys of a server known.
    pub fn add_keys(&self, server: &ServerName, keys: Vec<VerifyKey>) {
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(server.to_owned(), keys);
    }

    /// Puts an event at the end of a room's timeline, as a new one.
    ///
    /// # Errors
    ///
    /// If the room is unknown, the event is there already, or the state before it names an event that isn't.
    pub fn push(&self, room: &RoomId, event: PageEvent) -> Result<(), HostError> {
        let mut rooms = self.lock();
        let room = rooms.get_mut(room).ok_or("the room is unknown")?;
        let id = event.pdu.event_id.clone();
        room.place(event)?;
        room.timeline.push_back(id);
        Ok(())
    }

    /// A room's timeline, oldest first.
    pub fn timeline(&self, room: &RoomId) -> Vec<OwnedEventId> {
        self.of(room, |room| room.timeline.iter().cloned().collect())
    }

    /// The events of a room that were given up.
    pub fn given_up(&self, room: &RoomId) -> BTreeMap<OwnedEventId, GivenUp> {
        let reason = |(id, verdict): (&OwnedEventId, &Verdict)| (id.clone(), verdict.reason);
        self.of(room, |room| room.given_up.iter().map(reason).collect())
    }

    /// Lets so many milliseconds pass.
    pub fn pass(&self, time: u64) {
        self.ahead.fetch_add(time, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        verdict::now().saturating_add(self.ahead.load(Ordering::Relaxed))
    }

    /// The events of a room that were redacted, with their redactions.
    pub fn redacted_by(&self, room: &RoomId) -> BTreeMap<OwnedEventId, OwnedEventId> {
        self.of(room, |room| room.redacted_by.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OwnedRoomId, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said of a room; of an unknown one, nothing.
    fn of<T: Default>(&self, room: &RoomId, say: impl FnOnce(&Room) -> T) -> T {
        self.lock().get(room).map(say).unwrap_or_default()
    }
}

impl Room {
    /// Keeps an event of the timeline, with the state before it.
    fn place(&mut self, event: PageEvent) -> Result<(), HostError> {
        let PageEvent { pdu, state_before, redacted_by } = event;
        let id = pdu.event_id;
        if self.states.contains_key(&id) {
            return Err(format!("{id} is in the timeline already").into());
        }
        let state = match state_before {
            StateBefore::Nothing => Arc::default(),
            StateBefore::Whole(state) => Arc::new(state),
            StateBefore::Changed { from, set, unset } => {
                let from = self.states.get(&from).ok_or("the state is said by an unknown one")?;
                if set.is_empty() && unset.is_empty() {
                    from.clone()
                } else {
                    let mut state = StateMap::clone(from);
                    state.retain(|key, _| !unset.contains(key));
                    state.extend(set);
                    Arc::new(state)
                }
            }
        };
        self.states.insert(id.clone(), state);
        self.missing.remove(&id);
        self.given_up.remove(&id);
        self.miss(prev_events(&pdu.json));
        if let Some(redaction) = redacted_by {
            self.redacted_by.insert(id.clone(), redaction);
        }
        if pdu.json.get("type").and_then(CanonicalJsonValue::as_str) == Some("m.room.redaction") {
            if let Some(redacted) = redacts(&pdu.json) {
                self.redactions.entry(redacted.to_owned()).or_default().push(id.clone());
            }
        }
        self.events.insert(id, pdu.json);
        Ok(())
    }

    /// Whether all of a page can be kept: all or nothing is.
    fn check(&self, page: &Page) -> Result<(), HostError> {
        let mut new = BTreeSet::new();
        for PageEvent { pdu, state_before, .. } in &page.events {
            if let StateBefore::Changed { from, .. } = state_before {
                if !self.states.contains_key(from) && !new.contains(from) {
                    return Err(format!(
                        "the state before {} is said by an unknown one",
                        pdu.event_id
                    )
                    .into());
                }
            }
            if self.states.contains_key(&pdu.event_id) || !new.insert(pdu.event_id.clone()) {
                return Err(format!("{} is in the timeline already", pdu.event_id).into());
            }
        }
        Ok(())
    }

    fn miss(&mut self, events: Vec<OwnedEventId>) {
        let new = events
            .into_iter()
            .filter(|id| !self.states.contains_key(id) && !self.given_up.contains_key(id));
        self.missing.extend(new.collect::<Vec<_>>());
    }
}

fn prev_events(json: &CanonicalJsonObject) -> Vec<OwnedEventId> {
    let prev = json.get("prev_events").and_then(CanonicalJsonValue::as_array);
    prev.into_iter().flatten().filter_map(|id| EventId::parse(id.as_str()?).ok()).collect()
}

#[async_trait]
impl Host for MemoryHost {
    async fn room_version(&self, room: &RoomId) -> Result<Option<RoomVersionId>, HostError> {
        Ok(self.of(room, |room| Some(room.version.clone())))
    }

    async fn first(&self, room: &RoomId) -> Result<Option<OwnedEventId>, HostError> {
        Ok(self.of(room, |room| room.timeline.front().cloned()))
    }

    async fn missing(&self, room: &RoomId) -> Result<BTreeSet<OwnedEventId>, HostError> {
        let now = self.now();
        Ok(self.of(room, |room| {
            let due = room.given_up.iter().filter(|(_, verdict)| verdict.is_due(now));
            room.missing.iter().chain(due.map(|(id, _)| id)).cloned().collect()
        }))
    }

    async fn place(&self, room: &RoomId, event: &EventId) -> Result<Place, HostError> {
        let place = self.of(room, |room| {
            Some(match () {
                () if room.states.contains_key(event) => Place::Timeline,
                () if room.events.contains_key(event) => Place::Outlier,
                () => Place::Unknown,
            })
        });
        Ok(place.unwrap_or(Place::Unknown))
    }

    async fn event(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<CanonicalJsonObject>, HostError> {
        Ok(self.of(room, |room| room.events.get(event).cloned()))
    }

    async fn state_before(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<StateMap>, HostError> {
        Ok(self.of(room, |room| room.states.get(event).map(|state| StateMap::clone(state))))
    }

    async fn redactions_of(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Vec<OwnedEventId>, HostError> {
        Ok(self.of(room, |room| {
            room.redactions.get(event.as_str()).into_iter().flatten().rev().cloned().collect()
        }))
    }

    async fn verify_keys(&self, server: &ServerName) -> Result<Vec<VerifyKey>, HostError> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.get(server).cloned().unwrap_or_default())
    }

    async fn add_outliers(&self, room: &RoomId, events: Vec<Pdu>) -> Result<(), HostError> {
        let mut rooms = self.lock();
        let room = rooms.get_mut(room).ok_or("the room is unknown")?;
        for Pdu { event_id, json } in events {
            room.events.entry(event_id).or_insert(json);
        }
        Ok(())
    }

    async fn prepend(&self, room: &RoomId, page: Page) -> Result<(), HostError> {
        let mut rooms = self.lock();
        let room = rooms.get_mut(room).ok_or("the room is unknown")?;
        room.check(&page)?;
        let ids: Vec<_> = page.events.iter().map(|event| event.pdu.event_id.clone()).collect();
        // Those that are there are newer.
        let there = std::mem::take(&mut room.redactions);
        for event in page.events {
            room.place(event)?;
        }
        for (target, newer) in there {
            room.redactions.entry(target).or_default().extend(newer);
        }
        for id in ids.into_iter().rev() {
            room.timeline.push_front(id);
        }
        Ok(())
    }

    async fn give_up(
        &self,
        room: &RoomId,
        event: &EventId,
        reason: GivenUp,
    ) -> Result<(), HostError> {
        let now = self.now();
        let mut rooms = self.lock();
        let room = rooms.get_mut(room).ok_or("the room is unknown")?;
        let earlier = room.given_up.get(event).copied();
        room.given_up.insert(event.to_owned(), Verdict::after(earlier, reason, now));
        room.missing.remove(event);
        if reason == GivenUp::Withheld {
            let prev = room.events.get(event).map(prev_events).ok_or("the event is unknown")?;
            room.miss(prev);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use ruma::{EventId, OwnedEventId, RoomId};

    use super::MemoryHost;
    use crate::{
        host::{Host, HostError},
        testing::host_contract::{Factory, Start, check},
    };

    /// Remembers the hosts that it made: what is in memory is stored, here.
    #[derive(Default)]
    struct Memory(Mutex<Vec<Arc<MemoryHost>>>);

    #[async_trait]
    impl Factory for Memory {
        async fn open(&self, start: Start) -> Result<Arc<dyn Host>, HostError> {
            let host = MemoryHost::new();
            for (server, keys) in start.keys {
                host.add_keys(&server, keys);
            }
            for room in start.rooms {
                host.add_room(&room.room, room.version);
                host.add_outliers(&room.room, room.outliers).await?;
                for event in room.timeline {
                    host.push(&room.room, event)?;
                }
            }
            let host = Arc::new(host);
            self.0.lock().unwrap().push(host.clone());
            Ok(host)
        }

        async fn reopen(&self, host: Arc<dyn Host>) -> Result<Arc<dyn Host>, HostError> {
            Ok(host)
        }

        async fn timeline(
            &self,
            _: &Arc<dyn Host>,
            room: &RoomId,
        ) -> Result<Vec<OwnedEventId>, HostError> {
            Ok(self.0.lock().unwrap().last().unwrap().timeline(room))
        }

        async fn is_shown(
            &self,
            host: &Arc<dyn Host>,
            room: &RoomId,
            event: &EventId,
        ) -> Result<bool, HostError> {
            Ok(self.timeline(host, room).await?.iter().any(|id| id == event))
        }
    }

    #[tokio::test]
    async fn the_contract_holds() {
        check(&Memory::default()).await.unwrap();
    }
}
