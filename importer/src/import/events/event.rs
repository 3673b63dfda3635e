//! Events in the form that Conduit stores.

use std::ops::Range;

use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, OwnedUserId, UserId,
    room_version_rules::RoomVersionRules,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

pub(in crate::import) use super::content::Relations;
use super::content::words;
use crate::{
    conduit::{
        canonical_json::{Canonical, Object},
        event_hashes,
    },
    dump::format::DumpEvent,
    import::skip::SkipReason,
};

/// An event that both of Conduit's readers accept.
#[derive(Clone, Debug)]
pub(in crate::import) struct Event {
    pub(in crate::import) id: OwnedEventId,
    pub(in crate::import) sender: OwnedUserId,
    pub(in crate::import) kind: String,
    pub(in crate::import) state_key: Option<String>,
    pub(in crate::import) depth: u64,
    pub(in crate::import) origin_server_ts: u64,
    /// The ids of the events before this one.
    pub(in crate::import) prev_events: Vec<String>,
    /// What its content points to.
    pub(in crate::import) relations: Relations,
    /// The words of a message, for the search index.
    pub(in crate::import) words: Vec<String>,
    /// `membership` of the content.
    membership: Option<String>,
    /// See [`Self::json`].
    json: String,
    /// Where the content is in `json`.
    content: Range<usize>,
    /// Where `unsigned` belongs in `json`, a comma before it.
    unsigned: usize,
}

impl Event {
    /// Parses an event of a room and checks what Conduit's readers expect: the typed one (src/service/pdu.rs:32-54) and
    /// canonical JSON. The id must be the reference hash. The content hash is not checked: an event with a wrong one moves
    /// as Synapse shows it, and `verify` warns (V109).
    pub(in crate::import) fn parse(
        event: &DumpEvent,
        room_id: &str,
        rules: &RoomVersionRules,
    ) -> Result<Self, SkipReason> {
        let json = serde_json::from_str(event.pdu.get())
            .map_err(|error| SkipReason::with("event-unparsable", error.to_string()))?;
        Self::of(&event.event_id, json, room_id, rules)
    }

    /// The same of canonical JSON.
    pub(in crate::import) fn of<'a>(
        id: &'a EventId,
        mut json: Object<'a>,
        room_id: &str,
        rules: &RoomVersionRules,
    ) -> Result<Self, SkipReason> {
        let unparsable =
            |error: &dyn std::fmt::Display| SkipReason::with("event-unparsable", error.to_string());
        json.remove("unsigned");
        json.insert("event_id", Canonical::Text(id.as_str().into()));
        let text = Text::of(&json).map_err(|error| unparsable(&error))?;
        if !text.has_id(id, rules) {
            // ruma decides, and hashes what slices could not: what is too large, or has escapes in names.
            let mut event = CanonicalJsonObject::from(&json);
            event.remove("event_id");
            let hash = ruma::signatures::reference_hash(&event, rules);
            let hash = hash.map_err(|error| unparsable(&error))?;
            if id.as_str().strip_prefix('$') != Some(&hash) {
                let detail = "its id is not the hash of its content";
                return Err(SkipReason::new("event-id-mismatch", detail));
            }
        }
        let mut read =
            Self::read(id, &json).map_err(|field| unparsable(&format!("bad `{field}`")))?;
        let without_room = read.is_create() && rules.authorization.room_create_event_id_as_room_id;
        let found = json.get("room_id").map(|id| id.as_text().unwrap_or_default());
        if found != (!without_room).then_some(room_id) {
            let detail = "its `room_id` is not the room's";
            return Err(SkipReason::new("event-of-other-room", detail));
        }
        read.content = text.place("content").unwrap_or_default();
        read.unsigned = text.before("unsigned");
        read.json = text.json;
        Ok(read)
    }

    /// What the typed reader takes from an event; otherwise the name of the first field that is missing or of another type.
    fn read(id: &EventId, json: &Object<'_>) -> Result<Self, &'static str> {
        let ids = |name: &'static str| {
            let ids = json.get(name).and_then(Canonical::as_array).ok_or(name)?;
            let good =
                ids.iter().all(|id| id.as_text().is_some_and(|id| EventId::parse(id).is_ok()));
            if good { Ok(ids) } else { Err(name) }
        };
        let number = |name: &'static str| json.get(name).and_then(Canonical::as_u64).ok_or(name);
        let prev_events = ids("prev_events")?;
        ids("auth_events")?;
        let origin_server_ts = number("origin_server_ts")?;
        let content = json.get("content").and_then(Canonical::as_object).ok_or("content")?;
        json.get("hashes").and_then(|hashes| hashes.as_object()?.text("sha256")).ok_or("hashes")?;
        match json.get("redacts") {
            None | Some(Canonical::Null) => {}
            Some(id) => {
                id.as_text().and_then(|id| EventId::parse(id).ok()).ok_or("redacts")?;
            }
        }
        let sender = json.text("sender").and_then(|id| UserId::parse(id).ok()).ok_or("sender")?;
        let kind = json.text("type").ok_or("type")?.to_owned();
        let state_key = match json.get("state_key") {
            None | Some(Canonical::Null) => None,
            Some(key) => Some(key.as_text().ok_or("state_key")?.to_owned()),
        };
        let depth = number("depth")?;
        let prev_events =
            prev_events.iter().filter_map(|id| id.as_text().map(str::to_owned)).collect();
        Ok(Self {
            id: id.to_owned(),
            relations: Relations::of(content),
            words: words(&kind, content),
            membership: content.text("membership").map(str::to_owned),
            sender,
            kind,
            state_key,
            depth,
            origin_server_ts,
            prev_events,
            json: String::new(),
            content: 0..0,
            unsigned: 0,
        })
    }

    /// Whether this is the room's create event.
    pub(in crate::import) fn is_create(&self) -> bool {
        self.kind == "m.room.create" && self.state_key.as_deref() == Some("")
    }

    /// The user whose membership this event sets, and the membership.
    pub(in crate::import) fn membership(&self) -> Option<(OwnedUserId, &str)> {
        let user = self.state_key.as_deref().filter(|_| self.kind == "m.room.member")?;
        Some((UserId::parse(user).ok()?, self.membership.as_deref()?))
    }

    /// Canonical JSON of the event as other servers know it, with its id; without `unsigned`.
    pub(in crate::import) fn json(&self) -> &str {
        &self.json
    }

    /// The event's content, as canonical JSON.
    pub(in crate::import) fn content(&self) -> &str {
        self.json.get(self.content.clone()).unwrap_or("{}")
    }

    /// The bytes to store, with the members of this `unsigned`. State events always have one, as Conduit's own.
    pub(in crate::import) fn stored(&self, unsigned: &Unsigned) -> Vec<u8> {
        if unsigned.0.is_empty() && self.state_key.is_none() {
            return self.json.clone().into_bytes();
        }
        let mut members = unsigned.0.iter().collect::<Vec<_>>();
        members.sort_unstable();
        let (before, after) = self.json.split_at_checked(self.unsigned).unwrap_or_default();
        let mut bytes = Vec::with_capacity(self.json.len() + 64);
        bytes.extend_from_slice(before.as_bytes());
        bytes.extend_from_slice(b",\"unsigned\":{");
        for (index, (name, value)) in members.into_iter().enumerate() {
            bytes.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b"\":");
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes.push(b'}');
        bytes.extend_from_slice(after.as_bytes());
        bytes
    }

    /// The stripped form, as invites carry it (`type`, `state_key`, `content`, `sender`).
    pub(in crate::import) fn stripped(&self) -> serde_json::Value {
        let json = serde_json::from_str(&self.json).unwrap_or_default();
        stripped(&json).unwrap_or_default()
    }
}

/// An event as canonical JSON, and where its members are in it.
struct Text<'a> {
    json: String,
    members: Vec<(&'a str, Range<usize>)>,
}

impl<'a> Text<'a> {
    fn of(event: &'a Object<'_>) -> Result<Self, serde_json::Error> {
        let mut json = Vec::with_capacity(1024);
        let mut members = Vec::with_capacity(20);
        for (name, value) in event.iter() {
            json.push(if json.is_empty() { b'{' } else { b',' });
            serde_json::to_writer(&mut json, name)?;
            json.push(b':');
            let start = json.len();
            serde_json::to_writer(&mut json, value)?;
            members.push((name, start..json.len()));
        }
        json.push(b'}');
        let json = String::from_utf8(json).map_err(serde::ser::Error::custom)?;
        Ok(Self { json, members })
    }

    /// Whether this id is the event's hash. False leaves the answer to a parser.
    fn has_id(&self, id: &EventId, rules: &RoomVersionRules) -> bool {
        let value = |place: &Range<usize>| self.json.get(place.clone()).unwrap_or_default();
        let members = self.members.iter().map(|(name, place)| (*name, value(place)));
        event_hashes::signed(&members.collect::<Vec<_>>(), &rules.redaction)
            .is_some_and(|signed| event_hashes::is_id(id.as_str(), &signed, rules))
    }

    /// Where the value of a member is.
    fn place(&self, name: &str) -> Option<Range<usize>> {
        let (_, place) = self.members.iter().find(|(found, _)| *found == name)?;
        Some(place.clone())
    }

    /// Where a member of this name, which there is not, belongs, a comma before it.
    fn before(&self, name: &str) -> usize {
        let members = self.members.iter().take_while(|(found, _)| *found < name);
        members.last().map_or(1, |(_, place)| place.end)
    }
}

/// What Conduit adds to an event: members by name, each canonical JSON.
#[derive(Clone, Debug, Default)]
pub(in crate::import) struct Unsigned(Vec<(&'static str, String)>);

impl Unsigned {
    /// Adds a member, which must be new.
    pub(in crate::import) fn add(&mut self, name: &'static str, json: String) {
        self.0.push((name, json));
    }
}

/// Whether an event is a state event, without the work of [`Event::parse`].
pub(in crate::import) fn is_state(pdu: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Peek {
        #[serde(default)]
        state_key: Option<IgnoredAny>,
    }
    serde_json::from_str(pdu.get()).is_ok_and(|peek: Peek| peek.state_key.is_some())
}

/// The stripped form of a state event; `None` if it is none.
pub(in crate::import) fn stripped(event: &serde_json::Value) -> Option<serde_json::Value> {
    let mut kept = serde_json::Map::new();
    for name in ["content", "sender", "state_key", "type"] {
        kept.insert(name.into(), event.get(name)?.clone());
    }
    let texts = ["sender", "state_key", "type"]
        .iter()
        .all(|name| kept.get(*name).is_some_and(serde_json::Value::is_string));
    (texts && kept.get("content")?.is_object()).then_some(kept.into())
}

/// JSON of a text.
pub(in crate::import) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use ruma::RoomVersionId;
    use serde_json::json;

    use super::*;

    /// Slices have no answer for names with escapes, so ruma gives it.
    #[test]
    fn an_id_is_the_hash_of_its_event_with_odd_names_too() {
        let rules = RoomVersionId::V10.rules().unwrap();
        for user in ["@a:x", "@\"a\\:x"] {
            let event = |depth: u64| {
                json!({
                    "auth_events": [], "content": {"users": {user: 100}, user: 1}, "depth": depth,
                    "hashes": {"sha256": "x"}, "origin_server_ts": 1, "prev_events": [], "room_id": "!r:x",
                    "sender": "@a:x", "signatures": {}, "state_key": "", "type": "m.room.power_levels",
                })
            };
            let canonical: CanonicalJsonObject = serde_json::from_value(event(3)).unwrap();
            let id = format!("${}", ruma::signatures::reference_hash(&canonical, &rules).unwrap());
            let id: OwnedEventId = id.try_into().unwrap();
            let parse = |depth: u64| {
                let text = event(depth).to_string();
                let json = serde_json::from_str(&text).unwrap();
                Event::of(&id, json, "!r:x", &rules).map(|event| event.depth)
            };
            assert_eq!(parse(3).unwrap(), 3);
            assert_eq!(parse(4).unwrap_err().code, "event-id-mismatch");
        }
    }
}
