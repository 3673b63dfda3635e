//! The rows of a page. `room/writer.rs` writes the same for the events of a dump.

use std::collections::BTreeMap;

use conduit_backfill::host::{Page, PageEvent, Pdu, StateBefore, StateMap};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, RoomId, ServerName};

use super::{
    PastError, Removed,
    lookup::Lookup,
    room::{Relating, Room},
    thread::{Thread, set_unsigned},
};
use crate::{
    conduit::{
        canonical_json::Object,
        schema::{
            layout::Part,
            pdu_id::PduCount,
            trees::{self, Tree},
        },
    },
    import::{
        events::{event::Event, relation_rows, state_layers::State},
        rooms::{
            hidden::{Hidden, Place, hide},
            unsigned::unknown_redaction,
        },
        row_writer::Rows,
    },
};

/// An event on its way into the timeline.
struct Entry {
    event: Event,
    /// The same as other servers know it, with its id.
    json: CanonicalJsonObject,
    short: u64,
    count: PduCount,
    /// `None` for the create event.
    before: Option<State>,
    redacted_by: Option<OwnedEventId>,
}

/// A page under way.
struct Writer<'a, 'b> {
    room_id: &'a RoomId,
    room: &'a mut Room,
    server_name: &'a str,
    rows: &'a mut Rows<'b>,
    removed: Removed,
}

/// Stores events outside of the timeline, those that are nowhere yet.
pub(super) fn outliers(
    place: &Place<'_>,
    room: &mut Room,
    events: Vec<Pdu>,
    rows: &mut Rows<'_>,
) -> Result<Removed, PastError> {
    for pdu in events {
        rows.flush()?;
        if Lookup(rows.store()).is_stored(&pdu.event_id)? {
            continue;
        }
        let room_id = place.room;
        let (event, mut json) = parse(room_id, room, pdu)?;
        let short = known(room_id, &event, rows)?;
        hide(short, hidden(place, room, rows)?, rows)?;
        if event.state_key.is_some() {
            json.insert("unsigned".into(), CanonicalJsonValue::Object(CanonicalJsonObject::new()));
        }
        if let Some(redaction) = room.redactions_of(&event.id).next()
            && is_redacted(&json)
        {
            let because = because(room_id, redaction, &event.id, rows)?;
            set_unsigned(&mut json, "redacted_because", because);
        }
        rows.put_raw(&trees::EVENTID_OUTLIERPDU, event.id.as_bytes().to_vec(), write(&json))?;
    }
    Ok(Removed::new())
}

/// The state of a room that hides events: the one that its import wrote, or else a new one.
fn hidden(place: &Place<'_>, room: &mut Room, rows: &mut Rows<'_>) -> Result<u64, PastError> {
    if let Some(hidden) = room.hidden {
        return Ok(hidden);
    }
    let (event, _) = place.event()?;
    rows.flush()?;
    let lookup = Lookup(rows.store());
    let hidden = if let Some(hidden) = lookup.short_state(&event)? {
        hidden
    } else {
        let current = lookup.current(place.room)?;
        let own_members = lookup.members_of(&current, place.server_name)?;
        Hidden::write(place, &current, &own_members, rows)?.outside
    };
    room.hidden = Some(hidden);
    Ok(hidden)
}

/// Puts a page before the timeline.
pub(super) fn prepend(
    room_id: &RoomId,
    server_name: &str,
    room: &mut Room,
    page: Page,
    rows: &mut Rows<'_>,
) -> Result<Removed, PastError> {
    let mut writer = Writer { room_id, room, server_name, rows, removed: Removed::new() };
    let mut entries = writer.entries(page)?;
    // What comes later is there when an event is written: its relations, its redaction, its replies.
    for index in (0..entries.len()).rev() {
        let count = writer.room.step_back(|| writer.rows.next());
        let (older, rest) = entries.split_at_mut(index);
        let Some(entry) = rest.first_mut() else { break };
        entry.count = count;
        writer.event(entry, older)?;
    }
    Ok(writer.removed)
}

impl Writer<'_, '_> {
    /// Parses the events, the oldest first, and stores the state before each.
    fn entries(&mut self, page: Page) -> Result<Vec<Entry>, PastError> {
        let room_id = self.room_id;
        let mut entries: Vec<Entry> = Vec::with_capacity(page.events.len());
        let mut states = Vec::with_capacity(page.events.len());
        for PageEvent { pdu, state_before, redacted_by } in page.events {
            if self.lookup()?.count(room_id, &pdu.event_id)?.is_some() {
                continue;
            }
            let (event, json) = parse(self.room_id, self.room, pdu)?;
            let short = known(self.room_id, &event, self.rows)?;
            let count = PduCount::Normal(0);
            entries.push(Entry { event, json, short, count, before: None, redacted_by });
            states.push(state_before);
        }
        // States that name events of the page can be written when all have their short ids.
        let mut in_page: BTreeMap<OwnedEventId, State> = BTreeMap::new();
        let mut last = self.first_state()?;
        for (entry, before) in entries.iter_mut().zip(states) {
            let id = &entry.event.id;
            let state = match before {
                StateBefore::Nothing => {
                    in_page.insert(id.clone(), State::default());
                    continue;
                }
                StateBefore::Changed { from, set, unset } => {
                    let base = match in_page.get(&from) {
                        Some(state) => state.clone(),
                        None => self.earlier(id, &from)?,
                    };
                    let mut changes = self.shorts(id, &set)?;
                    for (kind, key) in unset {
                        changes.insert(self.rows.short_state_key(&kind, &key)?, None);
                    }
                    base.change(&changes, self.rows)?
                }
                // A whole state is cheaper to store as a difference to the one before.
                StateBefore::Whole(state) => {
                    let mut changes: BTreeMap<_, _> =
                        last.entries().into_keys().map(|key| (key, None)).collect();
                    changes.extend(self.shorts(id, &state)?);
                    last.change(&changes, self.rows)?
                }
            };
            in_page.insert(id.clone(), state.clone());
            last = state.clone();
            entry.before = Some(state);
        }
        Ok(entries)
    }

    /// The state before an event of the timeline, on which that before `of` builds.
    fn earlier(&mut self, of: &EventId, from: &OwnedEventId) -> Result<State, PastError> {
        let room_id = self.room_id;
        let lookup = self.lookup()?;
        if lookup.count(room_id, from)?.is_none() {
            return Err(PastError::State { event: of.to_owned(), missing: from.clone() });
        }
        Ok(lookup.state_before(from)?.unwrap_or_default())
    }

    /// The state before the first event of the timeline, which the page's are likely to be like.
    fn first_state(&mut self) -> Result<State, PastError> {
        let Some(first) = self.room.first else { return Ok(State::default()) };
        let key = first.key(self.room.short);
        let lookup = self.lookup()?;
        let first = lookup.id_at(&key)?;
        Ok(lookup.state_before(&first)?.unwrap_or_default())
    }

    /// A state in short ids.
    fn shorts(
        &mut self,
        of: &EventId,
        state: &StateMap,
    ) -> Result<BTreeMap<u64, Option<u64>>, PastError> {
        let mut shorts = BTreeMap::new();
        for ((kind, key), event) in state {
            let lookup = self.lookup()?;
            let short = lookup.number(&trees::EVENTID_SHORTEVENTID, event.as_str().as_bytes())?;
            let Some(short) = short else {
                return Err(PastError::State { event: of.to_owned(), missing: event.clone() });
            };
            shorts.insert(self.rows.short_state_key(kind, key)?, Some(short));
        }
        Ok(shorts)
    }

    /// Writes an event; `older` are those of the page before it.
    fn event(&mut self, entry: &Entry, older: &[Entry]) -> Result<(), PastError> {
        let Entry { event, json, short, count, before, redacted_by } = entry;
        let id = Part::Text(event.id.as_str());
        let mut unsigned = CanonicalJsonObject::new();
        if let Some(redaction) = redacted_by {
            let because = because(self.room_id, redaction, &event.id, self.rows)?;
            unsigned.insert("redacted_because".into(), because);
        } else if let Some(before) = before {
            unsigned = self.replaced(entry, before, older)?;
        }
        // The state before a room's first event is empty.
        let hash = match before {
            Some(before) => before.short_state_hash(),
            None => State::default().change(&BTreeMap::new(), self.rows)?.short_state_hash(),
        };
        hide(*short, hash, self.rows)?;
        let has_unsigned = !unsigned.is_empty() || event.state_key.is_some();
        let mut json = json.clone();
        if has_unsigned {
            json.insert("unsigned".into(), CanonicalJsonValue::Object(unsigned));
        }
        let key = count.key(self.room.short);
        self.rows.put_raw(&trees::EVENTID_PDUID, trees::EVENTID_PDUID.key(&[id]), key.clone())?;
        let awaited = self.room.awaited.remove(&event.id).unwrap_or_default();
        self.relations(*count, awaited, &mut json)?;
        self.rows.put_raw(&trees::PDUID_PDU, key, write(&json))?;
        relation_rows::index_words(event, self.room.short, *count, self.rows)?;
        self.references(event)?;
        self.redacts_outlier(&entry.json)?;
        self.leave_elsewhere(&event.id);
        self.room.is_there(&event.id);
        self.rows.flush()?;
        let lookup = Lookup(self.rows.store());
        let room_id = self.room_id;
        let is_there = |event: &EventId| Ok(lookup.count(room_id, event)?.is_some());
        self.room.add(&Object::from(&entry.json), *count, is_there)
    }

    /// What a state event replaces.
    fn replaced(
        &mut self,
        entry: &Entry,
        before: &State,
        older: &[Entry],
    ) -> Result<CanonicalJsonObject, PastError> {
        let mut unsigned = CanonicalJsonObject::new();
        let event = &entry.event;
        let Some(state_key) = &event.state_key else { return Ok(unsigned) };
        let key = self.rows.short_state_key(&event.kind, state_key)?;
        let Some(old) = before.get(key).filter(|old| *old != entry.short) else {
            return Ok(unsigned);
        };
        let in_page = older.iter().find(|entry| entry.short == old);
        let (json, is_later) = if let Some(old) = in_page {
            (Some(old.json.clone()), false)
        } else {
            let room_id = self.room_id;
            let lookup = self.lookup()?;
            let Some(old) = lookup.event_id(old)? else { return Ok(unsigned) };
            let is_later = lookup.count(room_id, &old)?.is_some_and(|c| c > entry.count);
            (lookup.event(room_id, &old)?, is_later)
        };
        let Some(mut json) = json else { return Ok(unsigned) };
        if let Some(content) = json.remove("content") {
            unsigned.insert("prev_content".into(), content);
        }
        let is_local = ServerName::parse(self.server_name)
            .is_ok_and(|server| event.sender.server_name() == server);
        if let Some(sender) = json.remove("sender").filter(|_| is_local && !is_later) {
            unsigned.insert("prev_sender".into(), sender);
        }
        Ok(unsigned)
    }

    /// Relations of later events to this one; its thread, if it is the root of one.
    fn relations(
        &mut self,
        count: PduCount,
        mut relating: Vec<Relating>,
        json: &mut CanonicalJsonObject,
    ) -> Result<(), PastError> {
        let Some(target) = count.normal() else { return Ok(()) };
        relating.sort_by_key(|relating| relating.count);
        let mut thread: Option<Thread> = None;
        for relating in relating {
            let key = [Part::U64(target), Part::U64(relating.count)];
            self.rows.mark(&trees::TOFROM_RELATION, &key)?;
            if relating.in_thread {
                let key = PduCount::Normal(relating.count).key(self.room.short);
                let reply = self.lookup()?.json(&trees::PDUID_PDU, &key)?.unwrap_or_default();
                thread.get_or_insert_default().add(&reply);
            }
        }
        if let Some(thread) = thread {
            thread.write(json, &count.key(self.room.short), self.rows)?;
        }
        Ok(())
    }

    /// The events before it are referenced, unless they are ends of the graph (see `room/writer.rs`).
    fn references(&mut self, event: &Event) -> Result<(), PastError> {
        let room_id = self.room_id;
        for previous in &event.prev_events {
            if !self.lookup()?.is_leaf(room_id, previous)? {
                let key = [Part::Text(room_id.as_str()), Part::Text(previous)];
                self.rows.mark(&trees::REFERENCEDEVENTS, &key)?;
            }
        }
        Ok(())
    }

    /// An event outside of the timeline that came in redacted form learns of its redaction.
    fn redacts_outlier(&mut self, event: &CanonicalJsonObject) -> Result<(), PastError> {
        let parsed = Object::from(event);
        let Some(target) = self.room.redacts(&parsed) else { return Ok(()) };
        let room_id = self.room_id;
        let Some(mut json) = self.lookup()?.outlier(room_id, target)? else { return Ok(()) };
        if is_redacted(&json) && !is_marked(&json) {
            let because = CanonicalJsonValue::Object(event.clone());
            set_unsigned(&mut json, "redacted_because", because);
            let key = target.as_bytes().to_vec();
            self.rows.put_raw(&trees::EVENTID_OUTLIERPDU, key, write(&json))?;
        }
        Ok(())
    }

    /// The event is in the timeline and nowhere else.
    fn leave_elsewhere(&mut self, id: &EventId) {
        let mut remove = |tree: &'static Tree, key| self.removed.push((tree, key));
        let key = [Part::Text(id.as_str())];
        remove(&trees::EVENTID_OUTLIERPDU, trees::EVENTID_OUTLIERPDU.key(&key));
        remove(&trees::SOFTFAILEDEVENTIDS, trees::SOFTFAILEDEVENTIDS.key(&key));
        let key = [Part::Text(self.room_id.as_str()), Part::Text(id.as_str())];
        remove(&trees::PREDECESSOR_GIVENUP, trees::PREDECESSOR_GIVENUP.key(&key));
    }

    fn lookup(&mut self) -> Result<Lookup<'_>, PastError> {
        self.rows.flush()?;
        Ok(Lookup(self.rows.store()))
    }
}

/// Parses an event; gives its JSON too, as other servers know it, with its id.
fn parse(
    room_id: &RoomId,
    room: &Room,
    pdu: Pdu,
) -> Result<(Event, CanonicalJsonObject), PastError> {
    let Pdu { event_id, mut json } = pdu;
    let event = Event::of(&event_id, Object::from(&json), room_id.as_str(), &room.rules);
    json.remove("unsigned");
    json.insert("event_id".into(), CanonicalJsonValue::String(event_id.to_string()));
    match event {
        Ok(event) => Ok((event, json)),
        Err((_, reason)) => Err(PastError::Event { event: event_id, reason }),
    }
}

/// Canonical JSON.
fn write(json: &CanonicalJsonObject) -> Vec<u8> {
    // `CanonicalJsonValue` writes itself without any whitespace; its map is sorted.
    serde_json::to_vec(json).unwrap_or_default()
}

/// What events have in the timeline and outside of it; the short event id.
fn known(room_id: &RoomId, event: &Event, rows: &mut Rows<'_>) -> Result<u64, PastError> {
    if let Some(state_key) = &event.state_key {
        rows.short_state_key(&event.kind, state_key)?;
    }
    if let Some((user, "join")) = event.membership() {
        let key = [Part::Text(user.as_str()), Part::Text(room_id.as_str())];
        rows.mark(&trees::ROOMUSERONCEJOINEDIDS, &key)?;
    }
    Ok(rows.short_event(&event.id)?)
}

/// The redaction of an event, as it is stored.
fn because(
    room_id: &RoomId,
    redaction: &OwnedEventId,
    target: &EventId,
    rows: &mut Rows<'_>,
) -> Result<CanonicalJsonValue, PastError> {
    rows.flush()?;
    let stored = Lookup(rows.store()).event(room_id, redaction)?;
    let unknown =
        || serde_json::from_str(&unknown_redaction(redaction, target)).unwrap_or_default();
    Ok(CanonicalJsonValue::Object(stored.unwrap_or_else(unknown)))
}

/// Whether the content is not the one that was signed.
fn is_redacted(json: &CanonicalJsonObject) -> bool {
    let mut event = json.clone();
    event.remove("event_id");
    let hash = event.get("hashes").and_then(|hashes| hashes.as_object()?.get("sha256")?.as_str());
    let hash = hash.map(str::to_owned);
    let found = ruma::signatures::content_hash(&event).ok().map(|hash| hash.encode());
    found != hash
}

fn is_marked(json: &CanonicalJsonObject) -> bool {
    let unsigned = json.get("unsigned").and_then(CanonicalJsonValue::as_object);
    unsigned.is_some_and(|unsigned| unsigned.contains_key("redacted_because"))
}
