//! The table of rooms.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use rayon::prelude::*;
use ruma::{EventId, OwnedEventId, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::{
    dump::{
        DumpReader, ReadError, RoomReader,
        format::{DumpEvent, DumpMember},
    },
    tally::{Kind, Tally},
};

/// A room of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoomFacts {
    /// The room id.
    pub room_id: String,
    /// Its name, or else an alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Local users who are in it.
    pub joined: u64,
    /// Timeline events in the dump.
    pub events: u64,
    /// Events from before these, which are left for later, if the dump says how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older: Option<u64>,
    /// Threads whose first event is among those that are left for later.
    pub unbegun_threads: u64,
    /// Entries of its present state.
    pub state: u64,
    /// Why it was left out, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// History that the dump leaves for later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Later {
    /// Events that can be fetched from Synapse afterwards.
    pub events: u64,
    /// Their rooms.
    pub rooms: u64,
    /// Events of rooms that all local users have left: Synapse gives these to nobody.
    pub lost_events: u64,
    /// Their rooms.
    pub lost_rooms: u64,
    /// Whether there may be more, which the dump does not count.
    pub uncounted: bool,
    /// Threads of which the dump has replies and not the event that they begin with.
    pub unbegun_threads: u64,
}

impl Later {
    /// Sums of the rooms that moved. `recent` says that the dump was asked for recent history only.
    pub(super) fn of(rooms: &[RoomFacts], recent: bool) -> Self {
        let mut later = Self::default();
        for room in rooms.iter().filter(|room| room.left_out.is_none()) {
            later.unbegun_threads = later.unbegun_threads.saturating_add(room.unbegun_threads);
            let Some(older) = room.older else {
                later.uncounted |= recent && room.joined > 0;
                continue;
            };
            if older == 0 {
                continue;
            }
            let (events, rooms) = if room.joined > 0 {
                (&mut later.events, &mut later.rooms)
            } else {
                (&mut later.lost_events, &mut later.lost_rooms)
            };
            *events = events.saturating_add(older);
            *rooms += 1;
        }
        later
    }
}

/// Reads all rooms, and counts in how many each user is.
pub(super) fn read(
    dump: &DumpReader,
    imported: &Tally,
    joined: &mut BTreeMap<OwnedUserId, u64>,
) -> Result<Vec<RoomFacts>, ReadError> {
    let left_out: BTreeMap<&str, &str> = imported
        .skipped
        .iter()
        .filter(|skip| skip.kind == Kind::Room)
        .map(|skip| (skip.item.as_str(), &*skip.detail))
        .collect();
    let joined = Mutex::new(joined);
    let read = |room: &RoomReader| {
        let mut facts = facts(room)?;
        facts.left_out = left_out.get(facts.room_id.as_str()).map(|&detail| detail.to_owned());
        let mut joined = joined.lock().unwrap_or_else(PoisonError::into_inner);
        for member in members(room) {
            *joined.entry(member.user_id.clone()).or_default() += 1;
        }
        Ok(facts)
    };
    let rooms = dump.rooms().enumerate().par_bridge();
    let rooms = rooms.map(|(at, room)| (at, room.and_then(|room| read(&room))));
    let mut rooms: Vec<_> = rooms.collect();
    // The first error is the one that is reported.
    rooms.sort_unstable_by_key(|(at, _)| *at);
    let rooms = rooms.into_iter().map(|(_, facts)| facts);
    let mut rooms = rooms.collect::<Result<Vec<_>, ReadError>>()?;
    rooms.sort_by(|a, b| a.room_id.cmp(&b.room_id));
    Ok(rooms)
}

/// Local users who are in a room.
fn members(room: &RoomReader) -> impl Iterator<Item = &DumpMember> {
    room.head().local_members.iter().filter(|member| member.membership == "join")
}

fn facts(room: &RoomReader) -> Result<RoomFacts, ReadError> {
    let joined = u64::try_from(members(room).count()).unwrap_or(u64::MAX);
    let head = room.head();
    let state = present_state(room)?;
    let name = state.get("m.room.name");
    let mut room = room.reopen()?;
    let mut title = None;
    for event in room.outliers()? {
        look(&event?, name, &mut title);
    }
    let mut events: u64 = 0;
    let is_cut = head.earlier_events != Some(0);
    let mut threads = Threads::default();
    for event in room.timeline()? {
        let event = event?;
        events += 1;
        look(&event, name, &mut title);
        if is_cut {
            threads.see(&event);
        }
    }
    let head = room.head();
    let alias = head.aliases.first().map(|alias| alias.alias.to_string());
    Ok(RoomFacts {
        room_id: head.room_id.to_string(),
        name: title.filter(|name| !name.trim().is_empty()).or(alias),
        version: head.room_version.clone(),
        joined,
        events,
        older: head.earlier_events,
        unbegun_threads: threads.unbegun(),
        state: state.entries,
        left_out: None,
    })
}

/// The threads of a timeline that may lack its beginning.
#[derive(Default)]
struct Threads {
    seen: BTreeSet<OwnedEventId>,
    roots: BTreeSet<OwnedEventId>,
}

impl Threads {
    fn see(&mut self, event: &DumpEvent) {
        self.seen.insert(event.event_id.clone());
        if !event.pdu.get().contains("m.thread") {
            return;
        }
        let pdu = serde_json::from_str::<serde_json::Value>(event.pdu.get()).unwrap_or_default();
        let relation = pdu.get("content").and_then(|content| content.get("m.relates_to"));
        let field = |name| relation?.get(name)?.as_str();
        let root = field("event_id").and_then(|id| EventId::parse(id).ok());
        self.roots.extend(root.filter(|_| field("rel_type") == Some("m.thread")));
    }

    /// How many begin with an event that is not there.
    fn unbegun(self) -> u64 {
        u64::try_from(self.roots.difference(&self.seen).count()).unwrap_or(u64::MAX)
    }
}

/// A room's present state: how many entries, and the events of types that have one state key, the empty one.
#[derive(Default)]
struct State {
    entries: u64,
    single: BTreeMap<String, OwnedEventId>,
}

impl State {
    fn get(&self, kind: &str) -> Option<&OwnedEventId> {
        self.single.get(kind)
    }
}

/// Puts the state together from the differences that lead to it.
fn present_state(room: &RoomReader) -> Result<State, ReadError> {
    let Some(present) = room.head().current_state else { return Ok(State::default()) };
    let mut bases = BTreeMap::new();
    for state in room.reopen()?.states()? {
        let state = state?;
        bases.insert(state.id, state.base);
    }
    let mut chain = BTreeSet::new();
    let mut next = Some(present);
    while let Some(id) = next.filter(|id| chain.insert(*id)) {
        next = bases.get(&id).copied().flatten();
    }
    let mut entries = BTreeMap::new();
    for state in room.reopen()?.states()? {
        let state = state?;
        if state.id > present {
            break;
        }
        if !chain.contains(&state.id) {
            continue;
        }
        for key in state.unset {
            entries.remove(&key);
        }
        for (kind, state_key, event_id) in state.set {
            entries.insert((kind, state_key), event_id);
        }
    }
    Ok(State {
        entries: u64::try_from(entries.len()).unwrap_or(u64::MAX),
        single: entries
            .into_iter()
            .filter(|((_, state_key), _)| state_key.is_empty())
            .map(|((kind, _), event_id)| (kind, event_id))
            .collect(),
    })
}

/// Takes the room's name from its event.
fn look(event: &DumpEvent, name: Option<&OwnedEventId>, title: &mut Option<String>) {
    #[derive(Deserialize)]
    struct Pdu {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        name: Option<String>,
    }

    if Some(&event.event_id) == name {
        let pdu: Option<Pdu> = serde_json::from_str(event.pdu.get()).ok();
        *title = pdu.and_then(|pdu| pdu.content.name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn threads_that_began_earlier_are_counted_once() {
        let mut threads = Threads::default();
        for (id, kind, target) in [
            ("$root", "", ""),
            ("$a", "m.thread", "$root"),
            ("$b", "m.thread", "$earlier"),
            ("$c", "m.thread", "$earlier"),
            ("$d", "m.annotation", "$other"),
            ("$e", "m.thread", "$another"),
        ] {
            let relates_to = json!({"rel_type": kind, "event_id": target});
            let pdu = json!({"content": {"m.relates_to": relates_to}});
            threads.see(&from_value(json!({"event_id": id, "pdu": pdu})).unwrap());
        }
        assert_eq!(threads.unbegun(), 2);
    }
}
