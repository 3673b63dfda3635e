//! Every event: form, id, hashes, signatures, auth events, its place in the indexes.

mod compact;
mod cryptography;
mod outside;
pub(in crate::verify) mod row;
mod signatures;

use std::collections::{BTreeMap, BTreeSet};

pub(in crate::verify) use compact::{Events, Known, key_hash};
use ed25519_dalek::VerifyingKey;
pub(in crate::verify) use outside::Outside;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomVersionId, room_version_rules::RoomVersionRules,
};

use self::{
    row::{Auth, Canonical, Links, Read, text},
    signatures::Signatures,
};
use super::{rows::public_key, states};
use crate::{
    conduit::{
        canonical_text::{Member, members},
        event_hashes,
        schema::trees,
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    hash::hash,
    verify::{
        VerifyError,
        tools::{
            cursor::Cursor,
            parts::{self, Part},
            sequence_hash::event_hash,
        },
    },
};

/// About how many signatures are checked. Of more events a sample is taken, by a hash of their ids. The id, which is checked for each
/// event, is a hash of all but the content, and the content has a hash.
const SIGNATURES: u64 = 20_000;

/// Pairs of rooms and auth events of which those that are there twice are not looked for.
const MANY_PAIRS: usize = if cfg!(test) { 2 } else { 1 << 16 };

/// Rooms whose versions one core looks up.
const ROOMS: usize = 32;

/// This server's name and present key.
#[derive(Debug)]
pub(in crate::verify) struct Own<'a> {
    name: &'a str,
    key: Option<OwnKey>,
    /// Events have their signatures checked whose ids have a hash up to this.
    checked: u64,
}

#[derive(Debug)]
struct OwnKey {
    /// `ed25519:` and its name.
    id: String,
    public: Vec<u8>,
    verifying: Option<VerifyingKey>,
}

impl<'a> Own<'a> {
    pub(in crate::verify) fn read(store: &dyn KvRead, name: &'a str) -> Result<Self, VerifyError> {
        let key = public_key(store)?.map(|(id, public)| {
            let verifying = public.as_slice().try_into().ok();
            let verifying = verifying.and_then(|key| VerifyingKey::from_bytes(key).ok());
            OwnKey { id, public, verifying }
        });
        Ok(Self { name, key, checked: sample(store.rows(&trees::PDUID_PDU)?) })
    }

    /// Whether an event is one of those whose signature is checked.
    fn checks_signature(&self, id: &str) -> bool {
        hash(id) <= self.checked
    }
}

/// The hash up to which about [`SIGNATURES`] of so many hashes are.
fn sample(events: u64) -> u64 {
    u64::MAX.checked_div(events).unwrap_or(u64::MAX).saturating_mul(SIGNATURES)
}

/// Rooms with the version that their create event names.
pub(in crate::verify) type Versions = BTreeMap<String, RoomVersionId>;

/// The rules of each room that has a create event.
#[derive(Debug, Default)]
pub(in crate::verify) struct Rules(BTreeMap<String, RoomVersionRules>);

impl Rules {
    pub(in crate::verify) fn of(versions: &Versions) -> Self {
        let rules =
            |(room, version): (&String, &RoomVersionId)| Some((room.clone(), version.rules()?));
        Self(versions.iter().filter_map(rules).collect())
    }

    pub(in crate::verify) fn get(&self, room: &str) -> Option<&RoomVersionRules> {
        self.0.get(room)
    }
}

/// The versions of rooms whose present state names their create event, as it should. What the events themselves say is known
/// when all have been read.
pub(in crate::verify) fn likely_versions<'a>(
    store: &dyn KvRead,
    rooms: impl Iterator<Item = &'a String>,
) -> Result<Versions, VerifyError> {
    let key = states::short_key(store, "m.room.create", "")?;
    let mut versions = Versions::new();
    let rooms: Vec<_> = rooms.collect();
    let of_rooms = |store: &dyn KvRead, rooms: &[&String]| {
        let mut versions = Vec::new();
        for room in rooms {
            let state = states::current(store, room)?;
            let Some(short) = key.and_then(|key| state?.get(key)) else { continue };
            let Some(row) = event_of(store, short)? else { continue };
            versions.extend(version(&row));
        }
        Ok(versions)
    };
    parts::work(store, rooms.chunks(ROOMS), of_rooms, |some| {
        versions.extend(some);
        Ok(())
    })?;
    Ok(versions)
}

/// The room that a row's create event makes, and its version, if it is one with rules.
fn version(row: &[u8]) -> Option<(String, RoomVersionId)> {
    let (room, version) = row::created(row)?;
    let version = RoomVersionId::try_from(version).ok()?;
    version.rules().is_some().then_some((room, version))
}

/// The row of an event, in a timeline or outside.
fn event_of(store: &dyn KvRead, short: u64) -> Result<Option<Vec<u8>>, VerifyError> {
    let Some(id) = store.get(&trees::SHORTEVENTID_EVENTID, &short.to_be_bytes())? else {
        return Ok(None);
    };
    match store.get(&trees::EVENTID_PDUID, &id)? {
        Some(place) => Ok(store.get(&trees::PDUID_PDU, &place)?),
        None => Ok(store.get(&trees::EVENTID_OUTLIERPDU, &id)?),
    }
}

/// An event of a row.
pub(in crate::verify) struct Event<'a> {
    /// Whether the row is canonical JSON.
    is_canonical: bool,
    /// What Conduit reads of it.
    pub(in crate::verify) read: Option<Read<'a>>,
    /// What ties it to others.
    pub(in crate::verify) links: Option<Links<'a>>,
    /// What stands for it in the sequence of a timeline; `None` if parsers have to read the row.
    pub(in crate::verify) hash: Option<u64>,
}

impl Event<'_> {
    pub(in crate::verify) fn id(&self) -> Option<&str> {
        let of_read = self.read.as_ref().map(|read| &*read.id);
        of_read.or_else(|| self.links.as_ref().map(|links| &*links.id))
    }

    /// What has to be looked at to know whether the row is JSON.
    pub(in crate::verify) fn json<'b>(&self, row: &'b [u8]) -> &'b [u8] {
        if self.is_canonical { b"{}" } else { row }
    }
}

/// What is seen of the events of some rows, before all have been.
#[derive(Debug, Default)]
pub(in crate::verify) struct Seen {
    events: Events,
    /// Rooms and the hashes of auth events that events of theirs name, each pair once or a few times.
    auth: Vec<(u64, u64)>,
    /// How many of these there were when each was there once.
    tidy: usize,
    /// The rooms' versions, by their create events.
    pub(in crate::verify) versions: Versions,
    /// The auth events of the event before.
    last_auth: Vec<u64>,
    /// Signatures that wait to be checked.
    signatures: Signatures,
}

impl Seen {
    /// Space for all events of a database.
    pub(in crate::verify) fn for_all(store: &dyn KvRead) -> Result<Self, VerifyError> {
        let number =
            store.rows(&trees::PDUID_PDU)?.saturating_add(store.rows(&trees::EVENTID_OUTLIERPDU)?);
        Ok(Self { events: Events::of(number), ..Self::default() })
    }

    /// Checks the event of a row by itself, and remembers what is needed of it.
    pub(in crate::verify) fn event<'a>(
        &mut self,
        row: &'a [u8],
        rules: &Rules,
        own: &Own<'_>,
        found: &mut Findings,
    ) -> Event<'a> {
        let canonical = Canonical::of(row);
        let is_canonical = canonical.is_some();
        let hash_of =
            |event: &Canonical<'_>| event_hash(&event.read.id, &event.members, event.is_redacted);
        let in_sequence = canonical.as_ref().map(hash_of);
        let (read, links, auth) = match canonical {
            Some(event) if self.is_sound(&event, row, rules, own, found) => {
                if event.read.kind == "m.room.create" {
                    self.versions.extend(version(row));
                }
                (Some(event.read), Some(event.links), Some(event.auth))
            }
            _ => {
                self.versions.extend(version(row));
                (parse(row, rules, own, found), Links::parse(row), Auth::parse(row))
            }
        };
        let Some(read) = read else {
            return Event { is_canonical, read, links, hash: in_sequence };
        };
        let room = self.events.room(&read.room);
        let names = read.state_key.as_deref().map(|key| (&*read.kind, key));
        let membership = read.membership.as_deref().unwrap_or_default();
        self.events.add(&read.id, Known::new(room, names, membership));
        // Invites and knocks of rooms that the server is not in come alone.
        if let Some(auth) = auth.filter(|_| rules.get(&read.room).is_some()) {
            let ids: Vec<_> = auth.events.iter().map(|id| hash(&**id)).collect();
            if ids != self.last_auth {
                self.auth.extend(ids.iter().map(|id| (room, *id)));
                self.last_auth = ids;
            }
        }
        Event { is_canonical, read: Some(read), links, hash: in_sequence }
    }

    /// Whether nothing is wrong with an event by itself. If something is, nothing was found.
    fn is_sound(
        &mut self,
        event: &Canonical<'_>,
        row: &[u8],
        rules: &Rules,
        own: &Own<'_>,
        found: &mut Findings,
    ) -> bool {
        let Some(of_room) = rules.get(&event.read.room) else { return true };
        let waiting = &mut self.signatures;
        let is_sound = cryptography::is_sound(event, row, of_room, own, waiting, found);
        if waiting.are_enough() {
            self.check_signatures(rules, own, found);
        }
        is_sound
    }

    /// Checks the signatures that wait. A parser says what is wrong with one.
    fn check_signatures(&mut self, rules: &Rules, own: &Own<'_>, found: &mut Findings) {
        let key = own.key.as_ref().and_then(|key| key.verifying);
        for row in self.signatures.check(key) {
            parse(&row, rules, own, found);
        }
    }

    /// After the last row of a part: checks the signatures that wait, forgets pairs that are there twice.
    pub(in crate::verify) fn end(&mut self, rules: &Rules, own: &Own<'_>, found: &mut Findings) {
        self.check_signatures(rules, own, found);
        self.tidy();
    }

    fn tidy(&mut self) {
        self.auth.sort_unstable();
        self.auth.dedup();
        self.tidy = self.auth.len();
    }

    /// Adds what was seen of later rows.
    pub(in crate::verify) fn merge(&mut self, later: Self) {
        let rooms = self.events.merge(later.events);
        let renumber = |(room, id): (u64, u64)| {
            let room = usize::try_from(room).ok().and_then(|room| rooms.get(room)).copied();
            (room.unwrap_or(u64::MAX), id)
        };
        self.auth.extend(later.auth.into_iter().map(renumber));
        // The parts of a room name mostly the same ones.
        if self.auth.len() > self.tidy.saturating_mul(2).max(MANY_PAIRS) {
            self.tidy();
        }
        self.versions.extend(later.versions);
    }

    /// All events, when all have been seen. Each one's auth events are there and of its room; Conduit gives up on one of
    /// another room (src/service/rooms/auth_chain/mod.rs:135-140).
    pub(in crate::verify) fn finish(
        mut self,
        store: &dyn KvRead,
        rules: &Rules,
        found: &mut Findings,
    ) -> Result<Events, VerifyError> {
        self.events.sort();
        self.tidy();
        let fits = |(room, id): &(u64, u64)| {
            self.events.by_hash(*id).is_some_and(|event| event.room() == *room)
        };
        if !self.auth.iter().all(fits) {
            auth_events(store, rules, &self.events, found)?;
        }
        let mut events = self.events;
        let tree = &trees::SHORTEVENTID_EVENTID;
        let known = &events;
        let mut by_short = Vec::new();
        let of_part = |store: &dyn KvRead, part: &Part| {
            let mut by_short = Vec::new();
            part.each(store, |short, id| {
                if let (Ok(short), Ok(id)) = (short.try_into(), std::str::from_utf8(id)) {
                    by_short.extend(known.state_event(id).map(|k| (u64::from_be_bytes(short), k)));
                }
                Ok(())
            })?;
            Ok(by_short)
        };
        parts::work(store, &Part::of(store, tree)?, of_part, |part| {
            by_short.extend(part);
            Ok(())
        })?;
        events.set_by_short(by_short);
        Ok(events)
    }
}

/// Checks one event by itself, by a parser.
fn parse(row: &[u8], rules: &Rules, own: &Own<'_>, found: &mut Findings) -> Option<Read<'static>> {
    let json: CanonicalJsonObject = match serde_json::from_slice(row) {
        Ok(json) => json,
        Err(error) => {
            let text = format!("is no canonical JSON: {error}");
            found.add(&codes::EVENT_UNREADABLE, "an event", text);
            return None;
        }
    };
    let Some(id) = text(&json, "event_id").map(str::to_owned) else {
        found.add(&codes::EVENT_UNREADABLE, "an event", "has no `event_id`");
        return None;
    };
    let Some(read) = row::read(&id, &json) else {
        found.add(&codes::EVENT_UNREADABLE, &id, "lacks what Conduit needs to read it");
        return None;
    };
    if let Some(rules) = rules.get(&read.room) {
        cryptography::check(&id, json, rules, own, found);
    }
    Some(read)
}

/// Names the auth events that are missing or of another room.
fn auth_events(
    store: &dyn KvRead,
    rules: &Rules,
    events: &Events,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let of_row = |row: &[u8], found: &mut Findings| {
        let Some(auth) = Auth::parse(row) else { return };
        let known = events.get(&auth.id);
        let known = known.filter(|event| rules.get(events.name(event.room())).is_some());
        let Some(event) = known else { return };
        for id in &auth.events {
            match events.get(id).map(Known::room) {
                Some(room) if room == event.room() => {}
                Some(room) => {
                    let text = format!("its auth event {id} is of {}", events.name(room));
                    found.add(&codes::AUTH_EVENT_OF_OTHER_ROOM, &*auth.id, text);
                }
                None => {
                    // Conduit goes on without (src/service/rooms/auth_chain/mod.rs:152-154).
                    let text = format!("its auth event {id} is missing");
                    found.add(&codes::AUTH_EVENT_MISSING, &*auth.id, text);
                }
            }
        }
    };
    let of_part = |store: &dyn KvRead, part: &Part| {
        let mut found = Findings::default();
        part.each(store, |_, row| {
            of_row(row, &mut found);
            Ok(())
        })?;
        Ok(found)
    };
    let mut all = Part::of(store, &trees::PDUID_PDU)?;
    all.extend(Part::of(store, &trees::EVENTID_OUTLIERPDU)?);
    parts::work(store, &all, of_part, |of_part| {
        found.merge(of_part);
        Ok(())
    })
}

/// Names the events whose places don't agree.
pub(in crate::verify) fn places_one_by_one(
    store: &dyn KvRead,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let mut seen = BTreeSet::new();
    for row in store.scan(&trees::PDUID_PDU, &[])? {
        let (pdu_id, value) = row?;
        let Ok(json) = serde_json::from_slice::<CanonicalJsonObject>(&value) else { continue };
        let Some(id) = text(&json, "event_id") else { continue };
        if store.get(&trees::EVENTID_PDUID, id.as_bytes())?.as_deref() != Some(&*pdu_id) {
            found.add(&codes::ROWS_DISAGREE, id, "`eventid_pduid` does not point to it");
        }
        if !seen.insert(hash(&id)) {
            found.add(&codes::SHORT_ID_AMBIGUOUS, id, "is stored twice");
        }
    }
    for row in store.scan(&trees::EVENTID_PDUID, &[])? {
        let (id, pdu_id) = row?;
        if store.get(&trees::PDUID_PDU, &pdu_id)?.is_none() {
            found.add(&codes::ROWS_DISAGREE, String::from_utf8_lossy(&id), "points to no event");
        }
    }
    Ok(())
}

/// Finds the short id of timeline events, and the state before them.
pub(in crate::verify) struct Places<'a> {
    store: &'a dyn KvRead,
    ids: Cursor<'a>,
    states: Cursor<'a>,
    /// The short id that was found last.
    last: Option<u64>,
}

impl<'a> Places<'a> {
    pub(in crate::verify) fn new(store: &'a dyn KvRead) -> Self {
        Self {
            store,
            ids: Cursor::new(store, &trees::SHORTEVENTID_EVENTID),
            states: Cursor::new(store, &trees::SHORTEVENTID_SHORTSTATEHASH),
            last: None,
        }
    }

    /// The short id of an event. Mostly it is the next one after that of the event before.
    fn short(&mut self, id: &str) -> Result<Option<u64>, VerifyError> {
        if let Some(next) = self.last.and_then(|last| last.checked_add(1))
            && self.ids.get(next)?.as_deref() == Some(id.as_bytes())
        {
            return Ok(Some(next));
        }
        states::number(self.store, &trees::EVENTID_SHORTEVENTID, id.as_bytes())
    }

    /// The short id of an event, and that of the state before it.
    pub(in crate::verify) fn before(
        &mut self,
        id: &str,
    ) -> Result<Option<(u64, u64)>, VerifyError> {
        let Some(short) = self.short(id)? else { return Ok(None) };
        self.last = Some(short);
        Ok(self.states.number(short)?.map(|before| (short, before)))
    }
}

/// Whether Conduit can hold an event of a dump: both of its readers accept it, its id is its hash, it is of the room.
pub(in crate::verify) fn is_storable(
    pdu: &str,
    id: &str,
    room: &str,
    rules: &RoomVersionRules,
) -> bool {
    if members(pdu).is_some_and(|event| has_hash(event, id, room, rules)) {
        return true;
    }
    let Ok(mut json) = serde_json::from_str::<CanonicalJsonObject>(pdu) else { return false };
    json.remove("unsigned");
    json.remove("event_id");
    let hash = ruma::signatures::reference_hash(&json, rules).ok();
    json.insert("event_id".into(), CanonicalJsonValue::String(id.to_owned()));
    let of_room = row::read(id, &json).is_some_and(|known| known.room == room);
    of_room && hash.is_some_and(|hash| id.strip_prefix('$') == Some(&hash))
}

/// Whether an event is sound and of the room, and its id is its hash. False leaves the answer to a parser.
pub(in crate::verify) fn has_hash(
    event: Vec<Member<'_>>,
    id: &str,
    room: &str,
    rules: &RoomVersionRules,
) -> bool {
    let Some(event) = Canonical::of_members(event, id) else { return false };
    event.read.room == room
        && event_hashes::signed(&event.members, &rules.redaction)
            .is_some_and(|signed| event_hashes::is_id(id, &signed, rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_as_many_signatures_are_checked_of_any_number_of_events() {
        let checked = |events: u64| {
            let up_to = sample(events);
            (0..events).filter(|number| hash(&format!("${number}")) <= up_to).count()
        };
        assert_eq!([0, 1, 20_000].map(checked), [0, 1, 20_000]);
        for events in [20_001, 39_999, 100_000] {
            assert!((19_000..=21_000).contains(&checked(events)), "{events}: {}", checked(events));
        }
    }
}
