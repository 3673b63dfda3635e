//! Rooms of the dump and of the database.

mod timeline;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};
use serde_json::Value;

use super::{
    Findings, KvRead, Skipped, VerifyError, codes, continuwuity, directory, encryption,
    extra::Seen, receipts_and_unread, states::States as DumpStates,
};
use crate::{
    conduit::{
        canonical_json::{Canonical, Object},
        canonical_text::{Member, members, pick, unsigned_of_row},
        schema::{
            dialect::Dialect,
            shapes::{Event, RoomEvent, UserRoom},
            trees,
        },
    },
    dump::{
        RoomReader,
        format::{DumpEvent, DumpMember, DumpRoom},
    },
    tally::Kind,
    verify::{
        StateComparison,
        structure::{events, states},
        tools::{
            lookup::{account_data, get},
            sequence_hash::{Timelines, event_hash},
            since_import::SinceImport,
        },
    },
};

/// Room versions that a Conduit holds.
const VERSIONS: std::ops::RangeInclusive<u8> = 3..=12;

/// What comes of a room.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) seen: Seen,
    pub(super) reading: receipts_and_unread::OfRoom,
    pub(super) found: Findings,
}

/// Compares a room.
pub(super) fn compare(
    store: &dyn KvRead,
    mut reader: RoomReader,
    skipped: &Skipped<'_>,
    how: StateComparison,
    timelines: &Timelines,
    server_name: &str,
) -> Result<Compared, VerifyError> {
    let mut compared = Compared::default();
    let Compared { seen, reading, found } = &mut compared;
    let head = reader.head().clone();
    let id = head.room_id.as_str();
    // Of a room that the server is not in, the memberships hold the invites, and the events are nowhere else.
    let mut invites = BTreeMap::new();
    if head.current_state.is_none() {
        for event in reader.outliers()? {
            let event = event?;
            let pdu = serde_json::from_str::<Value>(event.pdu.get()).unwrap_or_default();
            let sender = pdu.get("sender").and_then(Value::as_str).unwrap_or_default();
            invites.insert(event.event_id.to_string(), sender.to_owned());
        }
    }
    let room = Room { store, skipped, head: &head, rules: rules(&head), invites };
    room.memberships(found)?;
    let short = store.get(&trees::ROOMID_SHORTROOMID, id.as_bytes())?;
    let there = short.is_some();
    let expected =
        head.current_state.is_some() && room.rules.is_some() && !skipped.explains(Kind::Room, id);
    if there != expected {
        let (code, text) = if expected {
            (codes::MISSING_IN_DATABASE, "the room is missing")
        } else {
            (codes::NOT_IN_DUMP, "the room should not be there")
        };
        found.add(&code, id, text);
    }
    if expected {
        seen.rooms.insert(id.to_owned());
        if head.earlier_events != Some(0) {
            seen.with_a_past.insert(id.to_owned());
        }
        seen.aliases.extend(head.aliases.iter().map(|alias| alias.alias.alias().to_owned()));
    }
    if !there || !expected {
        return Ok(compared);
    }
    let mut states = DumpStates::read(store, how, &mut reader)?;
    room.outliers(&mut reader, seen, found)?;
    let mut timeline = None;
    let short = short.and_then(|short| Some(u64::from_be_bytes(short.try_into().ok()?)));
    if let Some(stored) = short.and_then(|short| timelines.get(&short)) {
        timeline = room.sequence(&reader, &mut states, seen, *stored, found)?;
        if timeline.is_none() {
            states.begin_again();
        }
    }
    let timeline = match timeline {
        Some(timeline) => timeline,
        None => room.timeline(&reader, &mut states, seen, found)?,
    };
    let since = SinceImport::read(store)?;
    let stored = states::number(store, &trees::ROOMID_SHORTSTATEHASH, id.as_bytes())?;
    if let Some(state) = head.current_state.filter(|_| !stored.is_some_and(|s| since.is_new(s))) {
        states.compare(id, state, stored, skipped, found)?;
    }
    let first = timeline.first.as_deref();
    *reading = receipts_and_unread::OfRoom::of(store, id, first, reader.receipts()?, server_name)?;
    if !timeline.is_new {
        extremities(store, &head, found)?;
    }
    let encrypted = states::current_event(store, id, "m.room.encryption", "")?.is_some();
    encryption::room_key_changes(store, id, encrypted, found)?;
    directory::compare(store, &head, skipped, found)?;
    if store.dialect() == Dialect::Continuwuity {
        continuwuity::left_rooms(store, &head, found)?;
    }
    Ok(compared)
}

/// The rules of the room's version, if Conduit can hold it.
fn rules(head: &DumpRoom) -> Option<RoomVersionRules> {
    let version = head.room_version.as_deref()?;
    VERSIONS.contains(&version.parse().ok()?).then_some(())?;
    RoomVersionId::try_from(version).ok()?.rules()
}

/// A room under comparison.
struct Room<'a> {
    store: &'a dyn KvRead,
    skipped: &'a Skipped<'a>,
    head: &'a DumpRoom,
    rules: Option<RoomVersionRules>,
    /// Senders of the invites and knocks of a room that the server is not in, by event.
    invites: BTreeMap<String, String>,
}

impl Room<'_> {
    fn outliers(
        &self,
        reader: &mut RoomReader,
        seen: &mut Seen,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        for event in reader.outliers()? {
            let event = event?;
            let id = event.event_id.as_str();
            seen.event(id);
            let stored = match get(self.store, &trees::EVENTID_OUTLIERPDU, &Event { event: id })? {
                Some(stored) => Some(stored),
                None => self.in_timeline(id)?,
            };
            let event = Dumped::of(&event);
            let is_same = stored.as_deref().is_some_and(|stored| event.is_same(stored).is_some());
            if !is_same && self.keeps(Kind::Outlier, &event, false) {
                event.compare(stored.as_deref(), found);
            }
        }
        Ok(())
    }

    /// Whether Conduit can hold the event. One that is stored as the dump has it needs no second look: the structure says
    /// whether it is good.
    fn keeps(&self, kind: Kind, event: &Dumped<'_>, is_stored: bool) -> bool {
        let (rules, room) = (self.rules.as_ref(), self.head.room_id.as_str());
        let is_storable = || rules.is_some_and(|rules| event.is_storable(room, rules));
        self.skipped.keeps(kind, event.id(), || is_stored || is_storable())
    }

    fn in_timeline(&self, event: &str) -> Result<Option<Vec<u8>>, VerifyError> {
        match get(self.store, &trees::EVENTID_PDUID, &Event { event })? {
            Some(pdu_id) => Ok(self.store.get(&trees::PDUID_PDU, &pdu_id)?),
            None => Ok(None),
        }
    }

    fn memberships(&self, found: &mut Findings) -> Result<(), VerifyError> {
        let room = self.head.room_id.as_str();
        if self.head.current_state.is_some() && self.rules.is_none() && !self.skipped.known {
            return Ok(());
        }
        for member in &self.head.local_members {
            let item = format!("{} in {room}", member.user_id);
            let key = UserRoom { user: member.user_id.as_str(), room };
            let row = match member.membership.as_str() {
                "join" => get(self.store, &trees::USERROOMID_JOINED, &key)?,
                "invite" => get(self.store, &trees::USERROOMID_INVITESTATE, &key)?,
                "knock" => get(self.store, &trees::USERROOMID_KNOCKSTATE, &key)?,
                _ => get(self.store, &trees::USERROOMID_LEFTSTATE, &key)?,
            };
            let there = row.is_some();
            let gone = self.is_gone(member)? || self.skipped.explains(Kind::Membership, &item);
            if there == gone && (there || !self.explains_absence(member)?) {
                let text = format!("membership {} is not what the rows say", member.membership);
                found.add(&codes::DIFFERS_FROM_DUMP, item, text);
            }
        }
        Ok(())
    }

    /// Whether the membership has no row on purpose: a room that was forgotten, an invite from somebody whom the user ignores, a
    /// refused invite to a room that the server is not in.
    fn is_gone(&self, member: &DumpMember) -> Result<bool, VerifyError> {
        Ok(match member.membership.as_str() {
            "leave" | "ban" => member.forgotten || self.head.current_state.is_none(),
            "invite" => self.is_ignored(member)?,
            _ => false,
        })
    }

    /// Whether the import could not write a membership: its event is not there, which is reported where it should be, or
    /// the room's state says otherwise.
    fn explains_absence(&self, member: &DumpMember) -> Result<bool, VerifyError> {
        let event = Event { event: member.event_id.as_str() };
        if self.skipped.known {
            return Ok(false);
        }
        if self.invites.contains_key(member.event_id.as_str()) {
            return Ok(false);
        }
        if get(self.store, &trees::EVENTID_SHORTEVENTID, &event)?.is_none() {
            return Ok(true);
        }
        let room = self.head.room_id.as_str();
        let user = member.user_id.as_str();
        let in_state = states::current_event(self.store, room, "m.room.member", user)?;
        Ok(member.membership == "join"
            && in_state.is_none_or(|event| event != member.event_id.as_str()))
    }

    /// Whether the invited user ignores the sender of the invite.
    fn is_ignored(&self, member: &DumpMember) -> Result<bool, VerifyError> {
        let id = member.event_id.as_str();
        let event = match get(self.store, &trees::EVENTID_OUTLIERPDU, &Event { event: id })? {
            Some(event) => Some(event),
            None => self.in_timeline(id)?,
        };
        let list = account_data(self.store, "", member.user_id.as_str(), "m.ignored_user_list")?;
        let [event, list] = [event, list].map(|json| {
            serde_json::from_slice::<Value>(&json.unwrap_or_default()).unwrap_or_default()
        });
        let ignored = list.pointer("/content/ignored_users").and_then(Value::as_object);
        let sender = event.get("sender").and_then(Value::as_str);
        let sender = sender.or_else(|| self.invites.get(id).map(String::as_str));
        Ok(ignored.zip(sender).is_some_and(|(ignored, sender)| ignored.contains_key(sender)))
    }
}

fn is_create(event: &DumpEvent) -> bool {
    let kind = serde_json::from_str::<Value>(event.pdu.get()).unwrap_or_default();
    kind.get("type").is_some_and(|kind| kind == "m.room.create")
        && kind.get("state_key").is_some_and(|key| key == "")
}

/// An event of the dump.
struct Dumped<'a> {
    event: &'a DumpEvent,
    /// As canonical JSON, if it can be written so.
    canonical: Option<Cow<'a, str>>,
    /// Its members, if the dump has it as canonical JSON.
    members: Option<Vec<Member<'a>>>,
}

impl<'a> Dumped<'a> {
    fn of(event: &'a DumpEvent) -> Self {
        let text = event.pdu.get();
        let written = || {
            let parsed: Object<'_> = serde_json::from_str(text).ok()?;
            serde_json::to_string(&parsed).ok().map(Cow::Owned)
        };
        let members = members(text);
        let canonical = if members.is_some() { Some(text.into()) } else { written() };
        Self { event, canonical, members }
    }

    fn id(&self) -> &'a str {
        self.event.event_id.as_str()
    }

    /// What stands for it in a sequence; `None` if it has no canonical JSON.
    fn hash(&self) -> Option<u64> {
        let is_redacted = self.event.redacted_by.is_some();
        let hash = |members: &[Member<'_>]| event_hash(self.id(), members, is_redacted);
        match &self.members {
            Some(of_dump) => Some(hash(of_dump)),
            None => members(self.canonical.as_deref()?).as_deref().map(hash),
        }
    }

    /// Whether Conduit can hold it.
    fn is_storable(&self, room: &str, rules: &RoomVersionRules) -> bool {
        let event = self.members.clone().or_else(|| members(self.canonical.as_deref()?));
        event.is_some_and(|event| events::has_hash(event, self.id(), room, rules))
            || events::is_storable(self.event.pdu.get(), self.id(), room, rules)
    }

    /// The event is stored, equal but for its id and what Conduit adds in `unsigned`; redacted exactly if the dump says so.
    fn compare(&self, stored: Option<&[u8]>, found: &mut Findings) {
        let id = self.id();
        let Some(stored) = stored else {
            return found.add(&codes::MISSING_IN_DATABASE, id, "the event is missing");
        };
        if self.is_same(stored).is_some() {
            return;
        }
        let (in_database, unsigned) = plain(stored);
        let (in_dump, _) = plain(self.event.pdu.get().as_bytes());
        if in_database != in_dump {
            found.add(&codes::DIFFERS_FROM_DUMP, id, "the event differs");
        }
        let unsigned = unsigned.as_ref().and_then(Canonical::as_object);
        let redacted = unsigned.is_some_and(|unsigned| unsigned.get("redacted_because").is_some());
        if redacted != self.event.redacted_by.is_some() {
            let text = "is redacted in one and not in the other";
            found.add(&codes::DIFFERS_FROM_DUMP, id, text);
        }
    }

    /// Whether nothing differs; `None` leaves it to parsers to say what does.
    fn is_same(&self, stored: &[u8]) -> Option<()> {
        let stored = std::str::from_utf8(stored).ok()?;
        let unsigned = match &self.members {
            Some(members) => unsigned_of_row(stored, members, self.id())?,
            None => unsigned_of_row(stored, &members(self.canonical.as_deref()?)?, self.id())?,
        };
        let is_redacted = match unsigned {
            "" => false,
            unsigned => matches!(pick(unsigned, ["redacted_because"])?, [Some(_)]),
        };
        (is_redacted == self.event.redacted_by.is_some()).then_some(())
    }
}

/// An event without its id, and its `unsigned`. What is no canonical JSON is empty; others say so.
fn plain(json: &[u8]) -> (Object<'_>, Option<Canonical<'_>>) {
    let mut json: Object<'_> = serde_json::from_slice(json).unwrap_or_default();
    json.remove("event_id");
    let unsigned = json.remove("unsigned");
    (json, unsigned)
}

/// Those of the dump that are in the timeline; if none is, Conduit goes on from another event.
fn extremities(
    store: &dyn KvRead,
    head: &DumpRoom,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let room = head.room_id.as_str();
    let mut expected = BTreeSet::new();
    for event in &head.forward_extremities {
        if get(store, &trees::EVENTID_PDUID, &Event { event: event.as_str() })?.is_some() {
            expected.insert(event.to_string());
        }
    }
    let mut stored = BTreeSet::new();
    let prefix = trees::ROOMID_PDULEAVES.key_of(&RoomEvent { room, event: "" });
    for row in store.scan(&trees::ROOMID_PDULEAVES, &prefix)? {
        let (_, event) = row?;
        stored.insert(String::from_utf8_lossy(&event).into_owned());
    }
    if !expected.is_empty() && stored != expected {
        let text = format!("has {} forward extremities, not the dump's", stored.len());
        found.add(&codes::DIFFERS_FROM_DUMP, room, text);
    }
    Ok(())
}
