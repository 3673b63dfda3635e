//! The timeline of a room, in the dump and in the database, which have the same order: by a hash of each, or if these differ, side by
//! side.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::{Dumped, Room, is_create};
use crate::{
    conduit::{
        canonical_text::{pick, plain},
        schema::{pdu_id::PduCount, shapes, trees},
        store::Entries,
    },
    counted::{count, counted},
    dump::{ReadError, RoomReader, format::DumpEvent},
    findings::{codes, collector::Findings},
    tally::Kind,
    verify::{
        VerifyError,
        against_dump::{extra, states::States},
        structure::events::Places,
        tools::{lookup::get, sequence_hash::SequenceHash, since_import::SinceImport},
    },
};

/// Bytes of events that are compared at once.
const BATCH_BYTES: usize = 1 << 20;

/// The timeline in the database.
struct Stored<'a> {
    rows: Entries<'a>,
    next: Option<Event>,
    /// How many there were so far.
    number: u64,
    since: SinceImport,
    /// How many came after the import.
    new: u64,
}

/// A stored event.
struct Event {
    key: Box<[u8]>,
    pdu: Box<[u8]>,
}

impl Stored<'_> {
    fn advance(&mut self) -> Result<(), VerifyError> {
        self.next = None;
        for row in self.rows.by_ref() {
            let (key, pdu) = row?;
            let count = PduCount::read(&key).and_then(|(_, count)| count.normal());
            if self.since.has_run() && count.is_none_or(|count| self.since.is_new(count)) {
                self.new += 1;
                continue;
            }
            self.number += 1;
            self.next = Some(Event { key, pdu });
            break;
        }
        Ok(())
    }
}

/// The id of a stored event.
fn id_of(row: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Id {
        event_id: String,
    }
    let picked = std::str::from_utf8(row).ok().and_then(|row| pick(row, ["event_id"]));
    match picked.and_then(|[id]| plain(id?)) {
        Some(id) => Some(id.to_owned()),
        None => serde_json::from_slice::<Id>(row).ok().map(|id| id.event_id),
    }
}

/// What was seen of a room's timeline.
pub(super) struct Seen {
    /// The first event of the dump that should be there.
    pub(super) first: Option<String>,
    /// Whether something is new in it.
    pub(super) is_new: bool,
}

/// Where the two timelines are.
struct Compared<'a> {
    stored: Stored<'a>,
    places: Places<'a>,
    /// Whether an event of the dump was found.
    has_begun: bool,
    /// The first event of the dump that should be stored.
    first: Option<String>,
    /// Events of the dump that should be stored.
    expected: u64,
    /// The number of the first that is not in its place.
    differs_from: Option<u64>,
    /// Events that the dump has twice, and that were met.
    twice: BTreeSet<String>,
}

/// The next events of the dump. `None`: there are no more.
fn next_batch(
    events: &mut impl Iterator<Item = Result<DumpEvent, ReadError>>,
) -> Result<Option<Vec<DumpEvent>>, VerifyError> {
    let mut batch = Vec::new();
    let mut bytes: usize = 0;
    while bytes < BATCH_BYTES {
        let Some(event) = events.next() else { break };
        let event = event?;
        bytes += event.pdu.get().len();
        batch.push(event);
    }
    Ok((!batch.is_empty()).then_some(batch))
}

impl Room<'_> {
    /// Compares events and their order by a hash of the stored ones. `None`: something differs, of which nothing is said.
    pub(super) fn sequence(
        &self,
        reader: &RoomReader,
        states: &mut States<'_>,
        seen: &mut extra::Seen,
        stored: SequenceHash,
        found: &mut Findings,
    ) -> Result<Option<Seen>, VerifyError> {
        let (mut sequence, mut first) = (SequenceHash::default(), None);
        let mut twice = BTreeSet::new();
        let mut places = Places::new(self.store);
        let mut of_states = Findings::default();
        let mut events = reader.timeline()?;
        while let Some(batch) = next_batch(&mut events)? {
            let hash = |event| Dumped::of(event).hash();
            let hashes: Vec<_> = batch.par_iter().with_min_len(16).map(hash).collect();
            for (event, hash) in batch.iter().zip(hashes) {
                let id = event.event_id.as_str();
                let is_second = self.is_second(id, &mut twice);
                let is_explained = self.skipped.explains(Kind::TimelineEvent, id);
                if is_second || is_explained || !self.has_place(event, states) {
                    seen.event(id);
                    continue;
                }
                let Some(hash) = hash else { return Ok(None) };
                sequence.push(hash);
                first.get_or_insert_with(|| id.to_owned());
                if let Some(state) = event.state_before {
                    let before = places.before(id)?.map(|(_, before)| before);
                    states.compare(id, state, before, self.skipped, &mut of_states)?;
                }
            }
        }
        if sequence != stored {
            return Ok(None);
        }
        found.merge(of_states);
        Ok(Some(Seen { first, is_new: false }))
    }

    /// Whether an event of the dump can be in the timeline: the state before it is known, or there is none.
    fn has_place(&self, event: &DumpEvent, states: &States<'_>) -> bool {
        self.skipped.known
            || event.state_before.is_some_and(|state| states.contains(state))
            || is_create(event)
    }

    /// Whether an event of the dump is one that was met before.
    fn is_second(&self, id: &str, twice: &mut BTreeSet<String>) -> bool {
        self.skipped.is_twice(id) && !twice.insert(id.to_owned())
    }

    /// Compares events and their order.
    pub(super) fn timeline(
        &self,
        reader: &RoomReader,
        states: &mut States<'_>,
        seen: &mut extra::Seen,
        found: &mut Findings,
    ) -> Result<Seen, VerifyError> {
        let room = self.head.room_id.as_str();
        let short = get(self.store, &trees::ROOMID_SHORTROOMID, &shapes::Room { room })?;
        let rows = self.store.scan(&trees::PDUID_PDU, &short.unwrap_or_default())?;
        let mut compared = Compared {
            stored: Stored {
                rows,
                next: None,
                number: 0,
                since: SinceImport::read(self.store)?,
                new: 0,
            },
            places: Places::new(self.store),
            // What the dump left out at the beginning may have been fetched since.
            has_begun: self.head.earlier_events == Some(0),
            first: None,
            expected: 0,
            differs_from: None,
            twice: BTreeSet::new(),
        };
        compared.stored.advance()?;
        let mut events = reader.timeline()?;
        while let Some(batch) = next_batch(&mut events)? {
            self.batch(&batch, &mut compared, states, seen, found)?;
        }
        // If the dump has no event, all were fetched.
        let none = !compared.has_begun && compared.expected == 0;
        while !none && compared.stored.next.is_some() {
            compared.differs_from.get_or_insert(compared.expected + 1);
            compared.stored.advance()?;
        }
        if let Some(number) = compared.differs_from {
            let text = format!(
                "the timeline has {}, the dump {}; they differ from number {number} on",
                count(compared.stored.number, "event"),
                compared.expected,
            );
            found.add(&codes::DIFFERS_FROM_DUMP, room, text);
        }
        if compared.stored.new > 0 {
            let text = format!(
                "{} new in its timeline",
                counted(compared.stored.new, ["event is", "events are"])
            );
            found.add(&codes::NEW_SINCE_IMPORT, room, text);
        }
        Ok(Seen { first: compared.first, is_new: compared.stored.new > 0 })
    }

    fn batch(
        &self,
        batch: &[DumpEvent],
        compared: &mut Compared<'_>,
        states: &mut States<'_>,
        seen: &mut extra::Seen,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        let batch: Vec<_> = batch.par_iter().with_min_len(16).map(Dumped::of).collect();
        let mut differing = Vec::new();
        for dumped in batch {
            let (event, id) = (dumped.event, dumped.id());
            let is_same = |next: &Event| dumped.is_same(&next.pdu).is_some();
            let mut is_next = compared.stored.next.as_ref().is_some_and(is_same);
            let kept = self.keeps(Kind::TimelineEvent, &dumped, is_next);
            let is_second = self.is_second(id, &mut compared.twice);
            if !kept || is_second || !self.has_place(event, states) {
                seen.event(id);
                continue;
            }
            compared.first.get_or_insert_with(|| id.to_owned());
            if !compared.has_begun {
                self.begin(id, compared)?;
                is_next = compared.stored.next.as_ref().is_some_and(is_same);
            }
            compared.expected += 1;
            if is_next {
                compared.stored.advance()?;
            } else {
                let in_place =
                    compared.stored.next.take_if(|next| id_of(&next.pdu).as_deref() == Some(id));
                let pdu = if let Some(next) = in_place {
                    compared.stored.advance()?;
                    Some(next.pdu.into_vec())
                } else {
                    compared.differs_from.get_or_insert(compared.expected);
                    self.in_timeline(id)?
                };
                differing.push((dumped, pdu));
            }
            if let Some(state) = event.state_before {
                let before = compared.places.before(id)?.map(|(_, before)| before);
                states.compare(id, state, before, self.skipped, found)?;
            }
        }
        let differences: Vec<Findings> = differing
            .par_iter()
            .with_min_len(16)
            .map(|(event, pdu)| {
                let mut found = Findings::default();
                event.compare(pdu.as_deref(), &mut found);
                found
            })
            .collect();
        for of_event in differences {
            found.merge(of_event);
        }
        Ok(())
    }

    /// Skips stored events before the first one of the dump, if that is stored.
    fn begin(&self, id: &str, compared: &mut Compared<'_>) -> Result<(), VerifyError> {
        let event = shapes::Event { event: id };
        let Some(key) = get(self.store, &trees::EVENTID_PDUID, &event)? else { return Ok(()) };
        while compared.stored.next.as_ref().is_some_and(|next| *next.key < *key) {
            compared.stored.advance()?;
        }
        compared.has_begun = true;
        Ok(())
    }
}
