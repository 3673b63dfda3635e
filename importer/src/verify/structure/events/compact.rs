//! What is remembered of all events: 16 bytes each, and 16 more for those that change a room's state.

use std::collections::BTreeMap;

use rayon::slice::ParallelSliceMut as _;

use crate::hash::hash;

/// Memberships by number; an event that sets none of them has the first.
const MEMBERSHIPS: [&str; 6] = ["", "join", "invite", "knock", "leave", "ban"];

/// What is remembered of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verify) struct Known {
    /// 24 bits: the number of the room; 34 bits: a hash of type and state key, or 0; 4 bits: the membership.
    packed: u64,
}

impl Known {
    pub(super) fn new(room: u64, names: Option<(&str, &str)>, membership: &str) -> Self {
        let key = names.map_or(0, |(kind, key)| key_hash(kind, key));
        let membership = MEMBERSHIPS.iter().position(|known| *known == membership).unwrap_or(0);
        let membership = u64::try_from(membership).unwrap_or(0);
        Self { packed: (room << 38) | (key << 4) | membership }
    }

    /// The number of its room.
    pub(in crate::verify) fn room(self) -> u64 {
        self.packed >> 38
    }

    /// Whether it is the state event of that type and state key, by their hash.
    pub(in crate::verify) fn is_at(self, key: u64) -> bool {
        (self.packed >> 4) & KEY == key
    }

    fn with_room(self, room: u64) -> Self {
        Self { packed: (room << 38) | (self.packed & ((1 << 38) - 1)) }
    }

    fn is_state(self) -> bool {
        !self.is_at(0)
    }

    /// The membership that it sets.
    pub(in crate::verify) fn membership(self) -> &'static str {
        let number = usize::try_from(self.packed & 0xf).unwrap_or(0);
        MEMBERSHIPS.get(number).copied().unwrap_or_default()
    }
}

const KEY: u64 = (1 << 34) - 1;

/// 34 bits of a hash of type and state key; never 0.
pub(in crate::verify) fn key_hash(kind: &str, key: &str) -> u64 {
    (hash(&(kind, key)) & KEY).max(1)
}

/// All events.
#[derive(Debug, Default)]
pub(in crate::verify) struct Events {
    /// By the hash of the id.
    by_id: Vec<(u64, Known)>,
    /// State events by short id.
    by_short: Vec<(u64, Known)>,
    rooms: Vec<String>,
    numbers: BTreeMap<String, u64>,
}

impl Events {
    /// No events yet, and space for so many: a list that grows is in memory twice for a while.
    pub(super) fn of(number: u64) -> Self {
        let by_id = Vec::with_capacity(usize::try_from(number).unwrap_or(0));
        Self { by_id, ..Self::default() }
    }

    /// How many there are.
    pub(in crate::verify) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The number of a room.
    pub(super) fn room(&mut self, name: &str) -> u64 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u64::try_from(self.rooms.len()).unwrap_or(u64::MAX);
        self.rooms.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    pub(super) fn add(&mut self, id: &str, known: Known) {
        self.by_id.push((hash(id), known));
    }

    /// To be called after the last event was added.
    pub(super) fn sort(&mut self) {
        self.by_id.par_sort_unstable_by_key(|(id, _)| *id);
    }

    /// Adds other events. Their rooms get numbers of their own here, which are returned in the order of the former ones.
    pub(super) fn merge(&mut self, other: Self) -> Vec<u64> {
        let rooms: Vec<_> = other.rooms.iter().map(|room| self.room(room)).collect();
        let renumber = |(id, known): (u64, Known)| {
            let room = usize::try_from(known.room()).ok().and_then(|room| rooms.get(room)).copied();
            (id, known.with_room(room.unwrap_or(u64::MAX)))
        };
        self.by_id.extend(other.by_id.into_iter().map(renumber));
        rooms
    }

    /// State events by their short ids, which ascend.
    pub(super) fn set_by_short(&mut self, by_short: Vec<(u64, Known)>) {
        self.by_short = by_short;
    }

    /// What is known of an event, if it is a state event.
    pub(super) fn state_event(&self, id: &str) -> Option<Known> {
        self.get(id).filter(|known| known.is_state())
    }

    /// What is known of an event, by the hash of its id.
    pub(super) fn by_hash(&self, id: u64) -> Option<Known> {
        find(&self.by_id, id)
    }

    /// What is known of an event.
    pub(in crate::verify) fn get(&self, id: &str) -> Option<Known> {
        self.by_hash(hash(id))
    }

    /// What is known of a state event.
    pub(in crate::verify) fn get_short(&self, short: u64) -> Option<Known> {
        find(&self.by_short, short)
    }

    /// The number of a room that has events.
    pub(in crate::verify) fn number(&self, room: &str) -> Option<u64> {
        self.numbers.get(room).copied()
    }

    /// The room of that number.
    pub(in crate::verify) fn name(&self, room: u64) -> &str {
        usize::try_from(room).ok().and_then(|room| self.rooms.get(room)).map_or("", String::as_str)
    }
}

fn find(events: &[(u64, Known)], key: u64) -> Option<Known> {
    let at = events.binary_search_by_key(&key, |(found, _)| *found).ok()?;
    events.get(at).map(|(_, known)| *known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out() {
        let mut events = Events::default();
        let rooms = ["!a", "!b", "!a"].map(|room| events.room(room));
        assert_eq!(rooms, [0, 1, 0]);
        let member = Known::new(1, Some(("m.room.member", "@a:x")), "ban");
        let mut others = Events::default();
        others.room("!b");
        others.room("!c");
        others.add("$1", member.with_room(0));
        others.add("$2", Known::new(1, None, "nonsense"));
        assert_eq!(events.merge(others), [1, 2]);
        events.sort();
        assert_eq!((events.state_event("$1"), events.state_event("$2")), (Some(member), None));
        events.set_by_short(vec![(7, member)]);
        assert_eq!(events.get("$1"), Some(member));
        assert_eq!((events.get_short(7), events.get_short(8)), (Some(member), None));
        assert_eq!((member.room(), member.membership()), (1, "ban"));
        assert!(member.is_at(key_hash("m.room.member", "@a:x")));
        assert!(!member.is_at(key_hash("m.room.member", "@b:x")));
        assert_eq!(events.get("$2").map(Known::membership), Some(""));
        assert_eq!((events.name(1), events.name(2), events.name(3)), ("!b", "!c", ""));
        assert_eq!((events.number("!b"), events.get("$2").map(Known::room)), (Some(1), Some(2)));
    }
}
