//! The events of a page and events outside of the timeline, as [`TimelineEvent`] and `rooms/writer.rs` write those of a dump.

use std::collections::{BTreeMap, BTreeSet};

use conduit_backfill::host::{Page, PageEvent, Pdu, StateBefore, StateMap};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, RoomId, UserId};
use serde::Serialize;

use super::{
    HistoryError, Removed,
    lookup::Lookup,
    room::{Relating, RoomTimeline},
};
use crate::{
    conduit::{
        canonical_json::Object,
        schema::{
            pdu_id::PduCount,
            shapes::{RoomEvent, UserRoom},
            trees::{self, Tree},
        },
    },
    import::{
        events::{
            event::{Event, Unsigned},
            state_layers::State,
            timeline_rows::{
                Replaced, Thread, TimelineEvent, relate, unknown_redaction, write_state_before,
            },
        },
        rooms::hidden::{Hidden, RoomSigner},
        row_writer::Rows,
    },
};

/// The fields of a reply that the summary of its thread shows.
const LATEST_REPLY: [&str; 5] = ["content", "event_id", "origin_server_ts", "sender", "type"];

/// An event on its way into the timeline.
struct Entry {
    event: Event,
    short: u64,
    count: PduCount,
    /// `None` for the create event.
    before: Option<State>,
    redacted_by: Option<OwnedEventId>,
}

/// Writes a page of events before a room's timeline.
struct Writer<'a, 'b> {
    room_id: &'a RoomId,
    room: &'a mut RoomTimeline,
    server_name: &'a str,
    rows: &'a mut Rows<'b>,
    removed: Removed,
}

/// Stores events outside of the timeline, those that are nowhere yet.
pub(super) fn outliers(
    signer: &RoomSigner<'_>,
    room: &mut RoomTimeline,
    events: Vec<Pdu>,
    rows: &mut Rows<'_>,
) -> Result<Removed, HistoryError> {
    for pdu in events {
        if Lookup(rows.store()).is_stored(&pdu.event_id)? {
            continue;
        }
        let room_id = signer.room;
        let event = parse(room_id, room, &pdu)?;
        let short = register(room_id, &event, rows)?;
        write_state_before(short, hidden(signer, room, rows)?, rows)?;
        let mut unsigned = Unsigned::default();
        if let Some(redaction) = room.redactions_of(&event.id).next()
            && is_redacted(&pdu.json)
        {
            let lookup = Lookup(rows.store());
            let because = redacted_because(room_id, redaction, &event.id, &lookup)?;
            unsigned.add("redacted_because", because);
        }
        let key = event.id.as_bytes().to_vec();
        rows.put_raw(&trees::EVENTID_OUTLIERPDU, key, event.stored(&unsigned))?;
    }
    Ok(Removed::new())
}

/// The state of a room that hides events: the one that its import wrote, or else a new one.
fn hidden(
    signer: &RoomSigner<'_>,
    room: &mut RoomTimeline,
    rows: &mut Rows<'_>,
) -> Result<u64, HistoryError> {
    if let Some(hidden) = room.hidden {
        return Ok(hidden);
    }
    let (event, _) = signer.event()?;
    let lookup = Lookup(rows.store());
    let hidden = if let Some(hidden) = lookup.short_state(&event)? {
        hidden
    } else {
        let current = lookup.current(signer.room)?;
        let own_members = lookup.members_of(&current, signer.server_name)?;
        Hidden::write(signer, &current, &own_members, rows)?.outside
    };
    room.hidden = Some(hidden);
    Ok(hidden)
}

/// Puts a page before the timeline.
pub(super) fn prepend(
    room_id: &RoomId,
    server_name: &str,
    room: &mut RoomTimeline,
    page: Page,
    rows: &mut Rows<'_>,
) -> Result<Removed, HistoryError> {
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
    fn entries(&mut self, page: Page) -> Result<Vec<Entry>, HistoryError> {
        let room_id = self.room_id;
        let mut entries: Vec<Entry> = Vec::with_capacity(page.events.len());
        let mut states = Vec::with_capacity(page.events.len());
        for PageEvent { pdu, state_before, redacted_by } in page.events {
            if self.lookup().count(room_id, &pdu.event_id)?.is_some() {
                continue;
            }
            let event = parse(room_id, self.room, &pdu)?;
            let short = register(room_id, &event, self.rows)?;
            let count = PduCount::Normal(0);
            entries.push(Entry { event, short, count, before: None, redacted_by });
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
    fn earlier(&self, of: &EventId, from: &OwnedEventId) -> Result<State, HistoryError> {
        let lookup = self.lookup();
        if lookup.count(self.room_id, from)?.is_none() {
            return Err(HistoryError::State { event: of.to_owned(), missing: from.clone() });
        }
        Ok(lookup.state_before(from)?.unwrap_or_default())
    }

    /// The state before the first event of the timeline, which the page's are likely to be like.
    fn first_state(&self) -> Result<State, HistoryError> {
        let Some(first) = self.room.first else { return Ok(State::default()) };
        let lookup = self.lookup();
        let first = lookup.id_at(&first.key(self.room.short))?;
        Ok(lookup.state_before(&first)?.unwrap_or_default())
    }

    /// A state in short ids.
    fn shorts(
        &mut self,
        of: &EventId,
        state: &StateMap,
    ) -> Result<BTreeMap<u64, Option<u64>>, HistoryError> {
        let mut shorts = BTreeMap::new();
        for ((kind, key), event) in state {
            let id = event.as_str().as_bytes();
            let Some(short) = self.lookup().number(&trees::EVENTID_SHORTEVENTID, id)? else {
                return Err(HistoryError::State { event: of.to_owned(), missing: event.clone() });
            };
            shorts.insert(self.rows.short_state_key(kind, key)?, Some(short));
        }
        Ok(shorts)
    }

    /// Writes an event; `older` are those of the page before it.
    fn event(&mut self, entry: &Entry, older: &[Entry]) -> Result<(), HistoryError> {
        let Entry { event, short, count, before, redacted_by } = entry;
        let (room_id, short_room) = (self.room_id, self.room.short);
        let redaction = match redacted_by {
            Some(redaction) => {
                Some(redacted_because(room_id, redaction, &event.id, &self.lookup())?)
            }
            None => None,
        };
        let replaced = match before {
            Some(before) if redaction.is_none() => self.replaced(entry, before, older)?,
            _ => None,
        };
        let mut unsigned = Unsigned::of(&event.sender, redaction, replaced, self.server_name);
        let awaited = self.room.awaited.remove(&event.id).unwrap_or_default();
        if let Some(thread) = self.relations(event, *count, awaited)? {
            unsigned.add("m.relations", thread);
        }
        let mut extremities = BTreeSet::new();
        for previous in &event.prev_events {
            if self.lookup().is_leaf(room_id, previous)? {
                extremities.insert(previous.as_str());
            }
        }
        let state_before = before.as_ref().map(State::short_state_hash);
        let count = *count;
        TimelineEvent { event, short: *short, room_id, short_room, count, state_before, unsigned }
            .write(|id| extremities.contains(id), self.rows)?;
        // What was written by this program can be read.
        let json = serde_json::from_str::<Object<'_>>(event.json()).unwrap_or_default();
        self.redacts_outlier(&json)?;
        self.leave_elsewhere(&event.id);
        self.room.is_there(&event.id);
        let lookup = Lookup(self.rows.store());
        let is_there = |event: &EventId| Ok(lookup.count(room_id, event)?.is_some());
        self.room.add(&json, count, is_there)
    }

    /// What a state event replaces.
    fn replaced(
        &mut self,
        entry: &Entry,
        before: &State,
        older: &[Entry],
    ) -> Result<Option<Replaced>, HistoryError> {
        let event = &entry.event;
        let Some(state_key) = &event.state_key else { return Ok(None) };
        let key = self.rows.short_state_key(&event.kind, state_key)?;
        let Some(old) = before.get(key).filter(|old| *old != entry.short) else {
            return Ok(None);
        };
        if let Some(Entry { event, .. }) = older.iter().find(|entry| entry.short == old) {
            let content = event.content().to_owned();
            return Ok(Some(Replaced { content, sender: event.sender.to_string() }));
        }
        let lookup = self.lookup();
        let Some(old) = lookup.event_id(old)? else { return Ok(None) };
        let old = lookup.event(self.room_id, &old)?.unwrap_or_default();
        let sender = old.get("sender").and_then(CanonicalJsonValue::as_str);
        let replaced = old.get("content").zip(sender).map(|(content, sender)| Replaced {
            content: text(content),
            sender: sender.to_owned(),
        });
        Ok(replaced)
    }

    /// Writes the relations of later events to this one. If it is the root of a thread, writes the participants and gives the
    /// summary.
    fn relations(
        &mut self,
        event: &Event,
        count: PduCount,
        mut relating: Vec<Relating>,
    ) -> Result<Option<String>, HistoryError> {
        let Some(target) = count.normal() else { return Ok(None) };
        relating.sort_by_key(|relating| relating.count);
        let mut thread: Option<(Thread, CanonicalJsonObject)> = None;
        for relating in relating {
            relate(target, relating.count, self.rows)?;
            if relating.in_thread {
                let key = PduCount::Normal(relating.count).key(self.room.short);
                let reply = self.lookup().json(&trees::PDUID_PDU, &key)?.unwrap_or_default();
                let (thread, latest) = thread.get_or_insert_default();
                let sender = reply.get("sender").and_then(CanonicalJsonValue::as_str);
                if let Some(Ok(sender)) = sender.map(<&UserId>::try_from) {
                    thread.add(sender);
                }
                *latest = reply;
            }
        }
        let Some((thread, mut latest)) = thread else { return Ok(None) };
        latest.retain(|name, _| LATEST_REPLY.contains(&name.as_str()));
        let root = count.key(self.room.short);
        Ok(Some(thread.write(&event.sender, &text(&latest), root, self.rows)?))
    }

    /// An event outside of the timeline that came in redacted form learns of its redaction.
    fn redacts_outlier(&mut self, redaction: &Object<'_>) -> Result<(), HistoryError> {
        let Some(target) = self.room.redacts(redaction) else { return Ok(()) };
        let Some(mut json) = self.lookup().outlier(self.room_id, target)? else { return Ok(()) };
        if is_redacted(&json) && !is_marked(&json) {
            let unsigned = json
                .entry("unsigned".into())
                .or_insert_with(|| CanonicalJsonValue::Object(CanonicalJsonObject::new()));
            if let CanonicalJsonValue::Object(unsigned) = unsigned {
                let because = CanonicalJsonValue::Object(redaction.into());
                unsigned.insert("redacted_because".into(), because);
            }
            let key = target.as_bytes().to_vec();
            self.rows.put_raw(&trees::EVENTID_OUTLIERPDU, key, text(&json).into_bytes())?;
        }
        Ok(())
    }

    /// Removes what there was of an event before it came into the timeline.
    fn leave_elsewhere(&mut self, id: &EventId) {
        let mut remove = |tree: &'static Tree, key| self.removed.push((tree, key));
        remove(&trees::EVENTID_OUTLIERPDU, id.as_bytes().to_vec());
        remove(&trees::SOFTFAILEDEVENTIDS, id.as_bytes().to_vec());
        let key = RoomEvent { room: self.room_id.as_str(), event: id.as_str() };
        remove(&trees::PREDECESSOR_GIVENUP, trees::PREDECESSOR_GIVENUP.key_of(&key));
    }

    fn lookup(&self) -> Lookup<'_> {
        Lookup(self.rows.store())
    }
}

fn parse(room_id: &RoomId, room: &RoomTimeline, pdu: &Pdu) -> Result<Event, HistoryError> {
    let json = Object::from(&pdu.json);
    Event::of(&pdu.event_id, json, room_id.as_str(), &room.rules).map_err(|reason| {
        HistoryError::Event { event: pdu.event_id.clone(), reason: reason.detail.into_owned() }
    })
}

/// Canonical JSON. `CanonicalJsonValue` writes itself without any whitespace; its map is sorted.
fn text(json: &impl Serialize) -> String {
    serde_json::to_string(json).unwrap_or_default()
}

/// Writes the rows that an event has in the timeline and outside of it. Gives the short event id.
fn register(room_id: &RoomId, event: &Event, rows: &mut Rows<'_>) -> Result<u64, HistoryError> {
    if let Some(state_key) = &event.state_key {
        rows.short_state_key(&event.kind, state_key)?;
    }
    if let Some((user, "join")) = event.membership() {
        let key = UserRoom { user: user.as_str(), room: room_id.as_str() };
        rows.mark(&trees::ROOMUSERONCEJOINEDIDS, &key)?;
    }
    Ok(rows.short_event(&event.id)?)
}

/// The redaction of an event, as it is stored.
fn redacted_because(
    room_id: &RoomId,
    redaction: &OwnedEventId,
    target: &EventId,
    lookup: &Lookup<'_>,
) -> Result<String, HistoryError> {
    let stored = lookup.event(room_id, redaction)?;
    Ok(stored.map_or_else(|| unknown_redaction(redaction, target), |event| text(&event)))
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
