//! The numbers of a room's events.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use ruma::EventId;

/// An event's place: counted from 0 among the outliers or in the timeline, in the order of the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Outlier(u64),
    Timeline(u64),
}

/// Knows the slots of a room's events, and the numbers that belong to them: the short event id, and for timeline events
/// the count, which is the next number.
///
/// Events are known by 64 bits of a hash of their id, to fit millions into memory. Ids are hashes of the events and are
/// checked, so two events that collide would take 2⁶⁴ attempts.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A slot is its number, times two, plus one if it is in the timeline.
    slots: BTreeMap<u64, u64>,
    /// Of state events: hashes of type and state key.
    keys: BTreeMap<u64, u64>,
    outliers: u64,
    timeline: u64,
    first_outlier: u64,
    first_timeline: u64,
}

impl Index {
    /// Gives an event a slot outside the timeline unless it has one.
    pub(super) fn add_outlier(&mut self, id: &EventId) {
        let number = self.outliers;
        self.slots.entry(hash(id)).or_insert_with(|| {
            self.outliers = number.saturating_add(1);
            number.saturating_mul(2)
        });
    }

    /// Gives an event a slot in the timeline; `None` if it has one already.
    pub(super) fn add_timeline(&mut self, id: &EventId) -> Option<Slot> {
        if matches!(self.get(id), Some(Slot::Timeline(_))) {
            return None;
        }
        let number = self.timeline;
        self.timeline = number.saturating_add(1);
        self.slots.insert(hash(id), number.saturating_mul(2).saturating_add(1));
        Some(Slot::Timeline(number))
    }

    /// Notes the type and state key of a state event.
    pub(super) fn note_key(&mut self, id: &EventId, kind: &str, state_key: &str) {
        self.keys.insert(hash(id), hash_of((kind, state_key)));
    }

    /// The slot of an event, if a state can have it at this key: a damaged one may name any event.
    pub(super) fn get_at(&self, id: &EventId, kind: &str, state_key: &str) -> Option<Slot> {
        let fits = self.keys.get(&hash(id)) == Some(&hash_of((kind, state_key)));
        self.get(id).filter(|_| fits)
    }

    /// Whether an event with this hash of its id has a slot, and this type and state key.
    pub(super) fn has(&self, id: u64, kind: &str, state_key: &str) -> bool {
        self.slots.contains_key(&id) && self.keys.get(&id) == Some(&hash_of((kind, state_key)))
    }

    /// An event that turned out not to be storable.
    pub(super) fn remove(&mut self, id: &EventId) {
        self.slots.remove(&hash(id));
    }

    pub(super) fn get(&self, id: &EventId) -> Option<Slot> {
        let slot = *self.slots.get(&hash(id))?;
        let number = slot.checked_div(2)?;
        Some(if slot.is_multiple_of(2) { Slot::Outlier(number) } else { Slot::Timeline(number) })
    }

    /// How many slots there are outside the timeline.
    pub(super) fn outliers(&self) -> u64 {
        self.outliers
    }

    /// How many slots the timeline has.
    pub(super) fn timeline(&self) -> u64 {
        self.timeline
    }

    /// Sets the first numbers: of as many as there are outliers, and of twice as many as there are timeline events.
    pub(super) fn number(&mut self, first_outlier: u64, first_timeline: u64) {
        (self.first_outlier, self.first_timeline) = (first_outlier, first_timeline);
    }

    /// The short event id.
    pub(super) fn short(&self, slot: Slot) -> u64 {
        match slot {
            Slot::Outlier(number) => self.first_outlier.saturating_add(number),
            Slot::Timeline(number) => self.first_timeline.saturating_add(number.saturating_mul(2)),
        }
    }

    /// The count of a timeline event, by its short event id; `None` for outliers.
    pub(super) fn count_of_short(&self, short: u64) -> Option<u64> {
        let numbers = self.first_timeline
            ..self.first_timeline.saturating_add(self.timeline.saturating_mul(2));
        numbers.contains(&short).then(|| short.saturating_add(1))
    }

    /// The count of an event in the timeline.
    pub(super) fn count(&self, id: &EventId) -> Option<u64> {
        self.count_of_short(self.short(self.get(id)?))
    }
}

/// What an id is known by.
pub(super) fn hash(id: impl AsRef<str>) -> u64 {
    hash_of(id.as_ref().as_bytes())
}

fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
