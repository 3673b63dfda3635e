//! The numbers of a room's events.

#![warn(clippy::arithmetic_side_effects, reason = "the numbers that rows get are calculated here")]

use std::{collections::BTreeMap, mem};

use conduit_backfill::predecessor::token;
use ruma::EventId;

use crate::import::row_writer::Rows;

/// Where in Synapse's stream of events those of a timeline came, and their counts, which say the same.
#[derive(Debug)]
enum StreamPlaces {
    Streams(Vec<i64>),
    Counts(Vec<u64>),
    Unknown,
}

impl Default for StreamPlaces {
    fn default() -> Self {
        Self::Streams(Vec::new())
    }
}

impl StreamPlaces {
    fn add(&mut self, stream: Option<i64>) {
        match (&mut *self, stream) {
            (Self::Streams(streams), Some(stream)) => streams.push(stream),
            _ => *self = Self::Unknown,
        }
    }

    /// The counts, if there is one for each event.
    fn counts(self) -> Option<Vec<u64>> {
        let Self::Streams(mut streams) = self else { return None };
        streams.sort_unstable();
        let counts: Option<Vec<_>> = streams.into_iter().map(token::count).collect();
        counts.filter(|counts| counts.is_sorted_by(|a, b| a < b))
    }
}

/// An event's place: counted from 0 among the outliers or in the timeline, in the order of the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Outlier(u64),
    Timeline(u64),
}

/// Knows the slots of a room's events, and the numbers that belong to them: the short event id, and for timeline events
/// the count.
///
/// If the dump says of each event where in Synapse's stream it came, its count says the same ([`token::count`]), so that
/// tokens of Synapse, which are such places, can be found in the timeline. Events that Synapse fetched later may stand before
/// others that came earlier: then the room's counts are handed out in the timeline's order, and no event gets a higher one
/// than its own. Without places the count is the number after the short event id, and all places lie behind the timeline.
///
/// Events are known by 64 bits of a hash of their id, to fit millions into memory. Ids are hashes of the events and are
/// checked, so two events that collide would take 2⁶⁴ attempts.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// A slot is its number, times two, plus one if it is in the timeline.
    slots: BTreeMap<u64, u64>,
    /// Of state events: hashes of type and state key.
    keys: BTreeMap<u64, u64>,
    outliers: u64,
    timeline: u64,
    first_outlier: u64,
    first_timeline: u64,
    /// The stream positions of the timeline's events as long as all are known, then their counts.
    places: StreamPlaces,
}

impl Numbering {
    /// Gives an event a slot outside the timeline unless it has one.
    pub(super) fn add_outlier(&mut self, id: &EventId) {
        let number = self.outliers;
        self.slots.entry(hash(id)).or_insert_with(|| {
            self.outliers = number.saturating_add(1);
            number.saturating_mul(2)
        });
    }

    /// Gives an event a slot in the timeline; `None` if it has one already. `stream` is where in Synapse's stream it came.
    pub(super) fn add_timeline(&mut self, id: &EventId, stream: Option<i64>) -> Option<Slot> {
        if matches!(self.get(id), Some(Slot::Timeline(_))) {
            return None;
        }
        let number = self.timeline;
        self.timeline = number.saturating_add(1);
        self.places.add(stream);
        self.slots.insert(hash(id), number.saturating_mul(2).saturating_add(1));
        Some(Slot::Timeline(number))
    }

    /// Notes the type and state key of a state event.
    pub(super) fn note_key(&mut self, id: &EventId, kind: &str, state_key: &str) {
        self.keys.insert(hash(id), crate::hash::hash(&(kind, state_key)));
    }

    /// The slot of an event, if a state can have it at this key: a damaged one may name any event.
    pub(super) fn get_at(&self, id: &EventId, kind: &str, state_key: &str) -> Option<Slot> {
        let fits = self.keys.get(&hash(id)) == Some(&crate::hash::hash(&(kind, state_key)));
        self.get(id).filter(|_| fits)
    }

    /// Whether an event with this hash of its id has a slot, and this type and state key.
    pub(super) fn has(&self, id: u64, kind: &str, state_key: &str) -> bool {
        self.slots.contains_key(&id)
            && self.keys.get(&id) == Some(&crate::hash::hash(&(kind, state_key)))
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

    /// Takes the numbers for all slots.
    pub(super) fn number(&mut self, rows: &mut Rows<'_>) {
        let counts = mem::take(&mut self.places).counts();
        self.places = counts.map_or(StreamPlaces::Unknown, StreamPlaces::Counts);
        let numbers = self.timeline.saturating_mul(self.step());
        self.first_timeline = rows.take(numbers);
        self.first_outlier = rows.take(self.outliers);
        if let StreamPlaces::Counts(counts) = &self.places {
            rows.pass(counts.last().copied().unwrap_or_default());
        }
    }

    /// From one short event id of the timeline to the next.
    fn step(&self) -> u64 {
        if matches!(self.places, StreamPlaces::Counts(_)) { 1 } else { 2 }
    }

    /// The short event id.
    pub(super) fn short(&self, slot: Slot) -> u64 {
        match slot {
            Slot::Outlier(number) => self.first_outlier.saturating_add(number),
            Slot::Timeline(number) => {
                self.first_timeline.saturating_add(number.saturating_mul(self.step()))
            }
        }
    }

    /// Whether a short event id is one of the timeline.
    pub(super) fn is_of_timeline(&self, short: u64) -> bool {
        let numbers = self.timeline.saturating_mul(self.step());
        (self.first_timeline..self.first_timeline.saturating_add(numbers)).contains(&short)
    }

    /// The count of a slot in the timeline; `None` for outliers.
    pub(super) fn count_of(&self, slot: Slot) -> Option<u64> {
        let Slot::Timeline(number) = slot else { return None };
        match &self.places {
            StreamPlaces::Counts(counts) => counts.get(usize::try_from(number).ok()?).copied(),
            StreamPlaces::Streams(_) | StreamPlaces::Unknown => {
                Some(self.short(slot).saturating_add(1))
            }
        }
    }

    /// The count of an event in the timeline.
    pub(super) fn count(&self, id: &EventId) -> Option<u64> {
        self.count_of(self.get(id)?)
    }
}

/// The hash that stands for an id.
pub(super) fn hash(id: impl AsRef<str>) -> u64 {
    crate::hash::hash(id.as_ref())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::{conduit::store::memory::MemoryStore, import::row_writer::START};

    fn id(number: usize) -> ruma::OwnedEventId {
        format!("$e{number}").try_into().unwrap()
    }

    /// The counts and short ids of a timeline of events that came there in the stream, and the counter after all.
    fn numbered(streams: &[Option<i64>]) -> (Vec<u64>, Vec<u64>, u64) {
        let mut store = MemoryStore::default();
        let mut rows = Rows::new(&mut store);
        let mut index = Numbering::default();
        index.add_outlier(&id(usize::MAX));
        for (number, stream) in streams.iter().enumerate() {
            index.add_timeline(&id(number), *stream).unwrap();
        }
        index.number(&mut rows);
        let counts = (0..streams.len()).map(|number| index.count(&id(number)).unwrap()).collect();
        let shorts = (0..streams.len()).map(|number| index.short(index.get(&id(number)).unwrap()));
        let mut shorts: Vec<_> = shorts.collect();
        assert!(shorts.iter().all(|short| index.is_of_timeline(*short)));
        let outlier = index.get(&id(usize::MAX)).unwrap();
        assert!(!index.is_of_timeline(index.short(outlier)) && index.count_of(outlier).is_none());
        shorts.push(index.short(outlier));
        (counts, shorts, rows.finish_counter(true).unwrap())
    }

    fn ascends(numbers: &[u64]) -> bool {
        numbers.is_sorted_by(|a, b| a < b)
    }

    #[test]
    fn counts_say_where_events_came() {
        let (counts, shorts, last) = numbered(&[-3, -2, 5, 9].map(Some));
        assert_eq!(counts, [-3, -2, 5, 9].map(|stream| token::count(stream).unwrap()));
        assert!(ascends(&shorts) && last == counts[3], "{shorts:?} {last}");
    }

    #[test]
    fn without_all_places_counts_are_numbers_of_the_counter() {
        for streams in [
            vec![None, None],
            vec![Some(1), None, Some(3)],
            vec![Some(1), Some(2), Some(2)],
            vec![Some(1), Some(i64::MAX)],
        ] {
            let (counts, shorts, last) = numbered(&streams);
            assert!(ascends(&counts) && ascends(&shorts), "{counts:?} {shorts:?}");
            assert!(counts.iter().all(|count| *count <= last), "{counts:?} {last}");
            assert!(shorts.iter().all(|short| *short <= last));
        }
    }

    /// How far numbers are from the beginning of the counter.
    fn from_start(numbers: &[u64]) -> Vec<u64> {
        numbers.iter().map(|number| number.saturating_sub(START)).collect()
    }

    #[test]
    fn the_timeline_comes_first_then_outliers() {
        // Each timeline event takes a short id and its count.
        let (counts, shorts, last) = numbered(&[None, None, None]);
        assert_eq!(from_start(&counts), [2, 4, 6]);
        assert_eq!(from_start(&shorts), [1, 3, 5, 7]);
        assert_eq!(last - START, 7);
        // A count that says where the event came is no number of the counter.
        let (_, shorts, _) = numbered(&[Some(3), Some(4), Some(5)]);
        assert_eq!(from_start(&shorts), [1, 2, 3, 4]);
    }

    #[test]
    fn an_event_has_one_slot_and_that_of_the_timeline_wins() {
        let mut numbering = Numbering::default();
        numbering.add_outlier(&id(1));
        numbering.add_outlier(&id(2));
        let slots = [
            numbering.add_timeline(&id(3), None),
            numbering.add_timeline(&id(1), None),
            numbering.add_timeline(&id(3), None),
        ];
        assert_eq!(slots, [Some(Slot::Timeline(0)), Some(Slot::Timeline(1)), None]);
        numbering.add_outlier(&id(3));
        numbering.add_outlier(&id(4));
        let slots = [1, 2, 3, 4, 5].map(|number| numbering.get(&id(number)));
        let expected = [
            Some(Slot::Timeline(1)),
            Some(Slot::Outlier(1)),
            Some(Slot::Timeline(0)),
            Some(Slot::Outlier(2)),
            None,
        ];
        assert_eq!(slots, expected);
        numbering.remove(&id(4));
        assert_eq!(numbering.get(&id(4)), None);
    }

    #[test]
    fn a_state_can_have_an_event_at_its_own_key_alone() {
        let mut numbering = Numbering::default();
        numbering.add_outlier(&id(1));
        numbering.add_outlier(&id(2));
        numbering.note_key(&id(1), "m.room.name", "");
        let at = |number, kind, key| numbering.get_at(&id(number), kind, key);
        let slots = [
            at(1, "m.room.name", ""),
            at(1, "m.room.topic", ""),
            at(1, "m.room.name", "x"),
            at(2, "m.room.name", ""),
        ];
        assert_eq!(slots, [Some(Slot::Outlier(0)), None, None, None]);
    }

    proptest! {
        /// What came by a place in the stream is before that place in the timeline, wherever what was fetched stands.
        #[test]
        fn no_event_is_behind_its_place(arrived in 1..40_i64, fetched in vec(0..40_usize, 0..20)) {
            let mut streams: Vec<i64> = (1..=arrived).collect();
            for (number, place) in (1..).zip(&fetched) {
                streams.insert(*place.min(&streams.len()), i64::saturating_neg(number));
            }
            let (counts, _, _) = numbered(&streams.iter().copied().map(Some).collect::<Vec<_>>());
            prop_assert!(ascends(&counts));
            for (count, stream) in counts.iter().zip(&streams).filter(|(_, stream)| **stream > 0) {
                prop_assert!(*count <= token::count(*stream).unwrap());
            }
            let mut own: Vec<_> = streams.into_iter().map(|stream| token::count(stream).unwrap()).collect();
            own.sort_unstable();
            prop_assert_eq!(own, counts);
        }
    }
}
