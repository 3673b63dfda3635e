//! Timeline events in their order: the state before each follows from the one before its predecessor, and what Conduit
//! derives from events is there.

mod words;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use self::words::{set_token, words};
use super::{
    Ground,
    events::{
        self, Places, Rules,
        row::{self, Links, Read},
    },
    rows::{self, Amount},
    states,
};
use crate::{
    conduit::{
        schema::{
            pdu_id::PduCount,
            shapes::{RoomEvent, RoomReferenced},
            trees,
        },
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    hash::hash,
    verify::{
        VerifyError,
        tools::{
            lookup::beginning,
            multiset_hash::Sum,
            number_set::Numbers,
            parts::{self, Part},
            sequence_hash::{self, SequenceHash},
            state_layers::Layers,
        },
    },
};

/// What is seen of a part of the timelines.
#[derive(Debug, Default)]
pub(in crate::verify) struct Seen {
    pub(in crate::verify) events: events::Seen,
    pub(in crate::verify) amount: Amount,
    pub(in crate::verify) found: Findings,
    /// Ids of events and their places.
    stored: Sum,
    /// The rows of the search index that the messages should have.
    said: Sum,
    /// Counts of events that Conduit can read.
    taken: Numbers,
    /// Whether two of them have the same.
    is_ambiguous: bool,
    /// Counts of all events; 0 stands for backfilled ones.
    counts: Numbers,
    pieces: Vec<Piece>,
    /// All rows, room by room.
    sequences: Vec<(u64, SequenceHash)>,
}

/// Events of one room, next to each other.
#[derive(Debug)]
struct Piece {
    short: u64,
    /// Hashes of the events that others follow.
    previous: Vec<u64>,
    first: First,
    chain: Chain,
    /// Where the state before an event does not follow, as far as the piece belongs to a chain.
    breaks: Findings,
}

/// The first event of a piece.
#[derive(Debug)]
struct First {
    id: String,
    previous: Option<String>,
    /// Whether it has one predecessor at most.
    is_single: bool,
    place: Option<(u64, u64)>,
}

/// Whether events, each after one predecessor, were one chain so far.
#[derive(Debug)]
enum Chain {
    After(Last),
    Broken,
}

/// The last event of a chain.
#[derive(Debug)]
struct Last {
    id: String,
    /// Type and state key of a state event.
    names: Option<(String, String)>,
    /// The short ids of itself and of the state before it.
    place: Option<(u64, u64)>,
}

/// Reads a part of the timelines.
pub(in crate::verify) fn read(
    store: &dyn KvRead,
    part: &Part,
    ground: &Ground<'_>,
    rules: &Rules,
) -> Result<Seen, VerifyError> {
    let (places, layers) = (Places::new(store), Layers::new(store));
    let mut reader =
        Reader { ground, rules, places, layers, token: Vec::new(), seen: Seen::default() };
    part.each(store, |key, row| reader.row(key, row))?;
    let mut seen = reader.seen;
    seen.events.end(rules, &ground.own, &mut seen.found);
    Ok(seen)
}

struct Reader<'a> {
    ground: &'a Ground<'a>,
    rules: &'a Rules,
    places: Places<'a>,
    layers: Layers<'a>,
    /// The key of a word in the search index.
    token: Vec<u8>,
    seen: Seen,
}

impl Reader<'_> {
    fn row(&mut self, key: &[u8], row: &[u8]) -> Result<(), VerifyError> {
        let Seen { events, amount, found, sequences, .. } = &mut self.seen;
        let event = events.event(row, self.rules, &self.ground.own, found);
        push(sequences, key, event.hash.unwrap_or_else(|| hash(row)));
        let largest = rows::largest(&trees::PDUID_PDU, key, event.json(row));
        amount.add(&trees::PDUID_PDU, (key, row), largest, self.ground.counter, found);
        let Some(id) = event.id() else { return Ok(()) };
        let pdu_id = PduCount::read(key);
        let count = pdu_id.and_then(|(_, count)| count.normal());
        let place = self.places.before(id)?;
        if let Some(read) = &event.read {
            self.seen.event(self.ground, key, read, count, place.is_some());
        }
        match (pdu_id, event.links) {
            (Some((short_room, _)), Some(links)) => {
                self.links(short_room, key, links, count, place)
            }
            _ => Ok(()),
        }
    }

    fn links(
        &mut self,
        short_room: u64,
        pdu_id: &[u8],
        links: Links<'_>,
        count: Option<u64>,
        place: Option<(u64, u64)>,
    ) -> Result<(), VerifyError> {
        let Self { seen, token, .. } = self;
        seen.counts.insert(count.unwrap_or(0));
        for word in words(&links) {
            set_token(token, short_room, &word, pdu_id);
            seen.said.add(hash(token.as_slice()));
        }
        let Some(name) = self.ground.rooms.get(&short_room) else {
            seen.found.add(&codes::ROWS_DISAGREE, links.id, "is in a room without a short id");
            return Ok(());
        };
        if links.room.as_ref().is_some_and(|named| *named != name.as_str()) {
            let text = format!("is stored in {name} but belongs to another room");
            seen.found.add(&codes::ROWS_DISAGREE, &*links.id, text);
        }
        if let Some(piece) = seen.pieces.last_mut().filter(|piece| piece.short == short_room) {
            return piece.event(links, place, &mut self.layers);
        }
        seen.pieces.push(Piece::new(short_room, links, place));
        Ok(())
    }
}

/// Adds a row to the sequence of its room, whose short id its key begins with.
fn push(sequences: &mut Vec<(u64, SequenceHash)>, key: &[u8], row: u64) {
    let Some(short) = key.first_chunk().map(|short| u64::from_be_bytes(*short)) else { return };
    if sequences.last().is_none_or(|(room, _)| *room != short) {
        sequences.push((short, SequenceHash::default()));
    }
    if let Some((_, sequence)) = sequences.last_mut() {
        sequence.push(row);
    }
}

impl Seen {
    /// An event that Conduit can read.
    fn event(
        &mut self,
        ground: &Ground<'_>,
        pdu_id: &[u8],
        read: &Read<'_>,
        count: Option<u64>,
        has_state: bool,
    ) {
        let since = ground.since;
        self.stored.add(hash(&(read.id.as_bytes(), pdu_id)));
        self.is_ambiguous |= count.is_some_and(|count| !self.taken.insert(count));
        if !has_state {
            let is_imported = since.is_imported() && !count.is_none_or(|count| since.is_new(count));
            let is_lost = is_imported || read.kind != "m.room.create" && !since.has_run();
            let code =
                if is_lost { codes::STATE_BEFORE_MISSING } else { codes::OWN_EVENT_WITHOUT_STATE };
            self.found.add(&code, &*read.id, "has no state before it");
        }
    }
}

impl Piece {
    fn new(short: u64, links: Links<'_>, place: Option<(u64, u64)>) -> Self {
        let first = First {
            id: links.id.clone().into_owned(),
            previous: links.previous.first().map(|id| id.clone().into_owned()),
            is_single: links.previous.len() < 2,
            place,
        };
        let is_single = first.is_single;
        let previous = hashes(&links).collect();
        let chain = if is_single { Chain::After(Last::new(links, place)) } else { Chain::Broken };
        Self { short, previous, first, chain, breaks: Findings::default() }
    }

    /// In a chain, after one predecessor that is a timeline event too, the state before is the one before that, with its
    /// effect.
    fn event(
        &mut self,
        links: Links<'_>,
        place: Option<(u64, u64)>,
        layers: &mut Layers<'_>,
    ) -> Result<(), VerifyError> {
        self.previous.extend(hashes(&links));
        let previous = links.previous.first().map(|id| &**id);
        // After a fork, Conduit gives an event of its own the room's resolved state, not that after its predecessor
        // (src/service/rooms/state/mod.rs:192-202).
        let follows = self.chain.leads_to(links.previous.len() < 2, previous);
        if follows {
            self.chain.check(&links.id, place, layers, &mut self.breaks)?;
        }
        self.chain = if follows { Chain::After(Last::new(links, place)) } else { Chain::Broken };
        Ok(())
    }
}

/// Hashes of an event's predecessors.
fn hashes<'a>(links: &'a Links<'_>) -> impl Iterator<Item = u64> + use<'a> {
    links.previous.iter().filter(|id| id.starts_with('$')).map(|id| hash(id.as_bytes()))
}

impl Chain {
    /// Whether it goes on with an event.
    fn leads_to(&self, is_single: bool, previous: Option<&str>) -> bool {
        matches!(self, Self::After(last) if is_single && previous == Some(last.id.as_str()))
    }

    /// Checks the state before the next event.
    fn check(
        &self,
        next: &str,
        place: Option<(u64, u64)>,
        layers: &mut Layers<'_>,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        if let Self::After(last) = self
            && !last.leads_to(place, layers)?
        {
            let text = format!("the state before it is not the one after {}", last.id);
            found.add(&codes::STATE_BEFORE_DOES_NOT_FOLLOW, next, text);
        }
        Ok(())
    }
}

impl Last {
    fn new(links: Links<'_>, place: Option<(u64, u64)>) -> Self {
        let names = links.state_key.map(|key| (links.kind.into_owned(), key.into_owned()));
        Self { id: links.id.into_owned(), names, place }
    }

    /// Whether the state before the next event is the one before this, with its effect.
    fn leads_to(
        &self,
        next: Option<(u64, u64)>,
        layers: &mut Layers<'_>,
    ) -> Result<bool, VerifyError> {
        // The create event has no state before it; what follows it has just that in its state.
        let (Some((event, earlier)), Some((_, own))) = (self.place, next) else { return Ok(true) };
        let effect = match &self.names {
            Some((kind, key)) => states::short_key(layers.store(), kind, key)?,
            None => None,
        };
        if effect.is_none() && own == earlier {
            return Ok(true);
        }
        let (Some(earlier), Some(own)) = (layers.state(earlier)?, layers.state(own)?) else {
            return Ok(true);
        };
        let keys = earlier.differing(&own).into_iter().chain(effect);
        let expected = |key| if effect == Some(key) { Some(event) } else { earlier.get(key) };
        Ok(keys.into_iter().all(|key| own.get(key) == expected(key)))
    }
}

/// All timelines, put together from their parts.
pub(in crate::verify) struct Timelines<'a> {
    store: &'a dyn KvRead,
    rooms: &'a BTreeMap<u64, String>,
    layers: Layers<'a>,
    room: Option<Room<'a>>,
    stored: Sum,
    said: Sum,
    taken: Numbers,
    is_ambiguous: bool,
    counts: Numbers,
    sequences: sequence_hash::Timelines,
}

impl<'a> Timelines<'a> {
    /// None yet; `rooms` are names by short ids.
    pub(in crate::verify) fn new(store: &'a dyn KvRead, rooms: &'a BTreeMap<u64, String>) -> Self {
        Self {
            store,
            rooms,
            layers: Layers::new(store),
            room: None,
            stored: Sum::default(),
            said: Sum::default(),
            taken: Numbers::default(),
            is_ambiguous: false,
            counts: Numbers::default(),
            sequences: sequence_hash::Timelines::new(),
        }
    }

    /// All rows of each room, when all parts were added.
    pub(in crate::verify) fn sequences(&mut self) -> sequence_hash::Timelines {
        std::mem::take(&mut self.sequences)
    }

    /// Adds the next part. Returns the part of it that concerns single events.
    pub(in crate::verify) fn take(
        &mut self,
        part: Seen,
        found: &mut Findings,
    ) -> Result<events::Seen, VerifyError> {
        found.merge(part.found);
        self.stored.merge(part.stored);
        self.said.merge(part.said);
        self.is_ambiguous |= !self.taken.merge(part.taken) || part.is_ambiguous;
        self.counts.merge(part.counts);
        for (room, sequence) in part.sequences {
            self.sequences.entry(room).or_default().append(sequence);
        }
        for piece in part.pieces {
            if let Some(room) = self.room.as_mut().filter(|room| room.short == piece.short) {
                room.go_on(piece, &mut self.layers, found)?;
                continue;
            }
            let Some(name) = self.rooms.get(&piece.short) else { continue };
            let room = Room::new(self.store, name, piece, found)?;
            if let Some(done) = self.room.replace(room) {
                done.references(self.store, found)?;
            }
        }
        Ok(part.events)
    }

    /// Compares all that was seen with the indexes: `places` is the sum of `eventid_pduid`, `words` that of `tokenids`.
    pub(in crate::verify) fn finish(
        self,
        places: Sum,
        words: Sum,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        let store = self.store;
        if let Some(done) = self.room {
            done.references(store, found)?;
        }
        if self.is_ambiguous {
            counts_one_by_one(store, found)?;
        }
        if self.stored != places {
            events::places_one_by_one(store, found)?;
        }
        relations(store, &self.counts, found)?;
        if self.said == words { Ok(()) } else { words::one_by_one(store, found) }
    }
}

/// Names the events whose count another one has.
fn counts_one_by_one(store: &dyn KvRead, found: &mut Findings) -> Result<(), VerifyError> {
    let mut counts = Numbers::default();
    for row in store.scan(&trees::PDUID_PDU, &[])? {
        let (key, row) = row?;
        let (Some(id), Some((_, count))) = (row::readable_id(&row), PduCount::read(&key)) else {
            continue;
        };
        if count.normal().is_some_and(|count| !counts.insert(count)) {
            found.add(&codes::SHORT_ID_AMBIGUOUS, id, "has the count of another event");
        }
    }
    Ok(())
}

/// What is compared at the end of a room.
struct Room<'a> {
    name: &'a str,
    short: u64,
    leaves: BTreeSet<u64>,
    /// Hashes of the events that others follow.
    previous: Vec<u64>,
    chain: Chain,
}

impl<'a> Room<'a> {
    fn new(
        store: &dyn KvRead,
        name: &'a str,
        piece: Piece,
        found: &mut Findings,
    ) -> Result<Self, VerifyError> {
        let mut leaves = BTreeSet::new();
        let of_room = RoomEvent { room: name, event: "" };
        for row in beginning(store, &trees::ROOMID_PDULEAVES, &of_room)? {
            leaves.insert(hash(&*row?.1));
        }
        found.merge(piece.breaks);
        let Piece { short, previous, chain, .. } = piece;
        Ok(Self { name, short, leaves, previous, chain })
    }

    /// Adds the next events of the room.
    fn go_on(
        &mut self,
        piece: Piece,
        layers: &mut Layers<'_>,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        self.previous.extend(piece.previous);
        let First { id, previous, is_single, place } = &piece.first;
        if self.chain.leads_to(*is_single, previous.as_deref()) {
            self.chain.check(id, *place, layers, found)?;
            found.merge(piece.breaks);
            self.chain = piece.chain;
        } else {
            self.chain = Chain::Broken;
        }
        Ok(())
    }

    /// Each predecessor is referenced unless it is an extremity, which must not be
    /// (src/service/rooms/event_handler/mod.rs:894-912).
    fn references(mut self, store: &dyn KvRead, found: &mut Findings) -> Result<(), VerifyError> {
        let mut referenced = Vec::new();
        let of_room = RoomReferenced { room: self.name, event: "$" };
        for row in beginning(store, &trees::REFERENCEDEVENTS, &of_room)? {
            let (key, _) = row?;
            let Ok(RoomReferenced { event, .. }) = trees::REFERENCEDEVENTS.read_key(&key) else {
                continue;
            };
            let known = hash(event.as_bytes());
            referenced.push(known);
            if self.leaves.contains(&known) {
                let text = "is an extremity and marked as referenced";
                found.add(&codes::EXTREMITY_REFERENCED, event, text);
            }
        }
        referenced.sort_unstable();
        self.previous.sort_unstable();
        self.previous.dedup();
        self.previous.retain(|event| {
            referenced.binary_search(event).is_err() && !self.leaves.contains(event)
        });
        let missing = self.previous;
        if missing.is_empty() {
            return Ok(());
        }
        for row in store.scan(&trees::PDUID_PDU, &self.short.to_be_bytes())? {
            let (_, value) = row?;
            let Some(links) = Links::parse(&value) else { continue };
            let is_missing =
                |id: &&Cow<'_, str>| missing.binary_search(&hash(id.as_bytes())).is_ok();
            for previous in links.previous.iter().filter(is_missing) {
                let text = format!("{previous}, which precedes it, is not marked as referenced");
                found.add(&codes::REFERENCE_MISSING, &*links.id, text);
            }
        }
        Ok(())
    }
}

/// The names of rooms by their short ids.
pub(in crate::verify) fn rooms(store: &dyn KvRead) -> Result<BTreeMap<u64, String>, VerifyError> {
    let mut rooms = BTreeMap::new();
    for row in store.scan(&trees::ROOMID_SHORTROOMID, &[])? {
        let (key, value) = row?;
        if let (Ok(room), Ok(short)) =
            (std::str::from_utf8(&key), trees::ROOMID_SHORTROOMID.read_value(&key, &value))
        {
            rooms.insert(short.short_room, room.to_owned());
        }
    }
    Ok(rooms)
}

/// Relations and threads name events that exist.
fn relations(
    store: &dyn KvRead,
    counts: &Numbers,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let of_part = |store: &dyn KvRead, part: &Part| {
        let mut found = Findings::default();
        part.each(store, |key, _| {
            let Ok(relation) = trees::TOFROM_RELATION.read_key(key) else { return Ok(()) };
            let ends = [relation.to_count, relation.from_count];
            if ends.iter().any(|end| !counts.contains(*end)) {
                let subject = format!("{} {ends:?}", trees::TOFROM_RELATION);
                found.add(
                    &codes::RELATION_DANGLING,
                    subject,
                    "relates an event that does not exist",
                );
            }
            Ok(())
        })?;
        Ok(found)
    };
    parts::work(store, &Part::of(store, &trees::TOFROM_RELATION)?, of_part, |of_part| {
        found.merge(of_part);
        Ok(())
    })?;
    for row in store.scan(&trees::THREADID_USERIDS, &[])? {
        let (key, _) = row?;
        if store.get(&trees::PDUID_PDU, &key)?.is_none() {
            let subject = format!("{} {}", trees::THREADID_USERIDS, hex::encode(&key));
            found.add(&codes::RELATION_DANGLING, subject, "is a thread without its root");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
