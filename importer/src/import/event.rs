//! Events in the form that Conduit stores.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, Int, OwnedEventId, OwnedUserId, UserId,
    room_version_rules::RoomVersionRules,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::dump::format::DumpEvent;

/// Why an event can't be stored: a reason code, and a sentence.
pub(super) type Refusal = (&'static str, String);

/// An event that both of Conduit's readers accept.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: OwnedEventId,
    /// The event as other servers know it, with its id; without `unsigned`.
    pub(super) json: CanonicalJsonObject,
    pub(super) sender: OwnedUserId,
    pub(super) kind: String,
    pub(super) state_key: Option<String>,
    pub(super) depth: u64,
}

impl Event {
    /// Parses an event of a room and checks what Conduit's readers expect: the typed one (src/service/pdu.rs:32-54) and
    /// canonical JSON.
    pub(super) fn parse(
        event: &DumpEvent,
        room_id: &str,
        rules: &RoomVersionRules,
    ) -> Result<Self, Refusal> {
        let json = serde_json::from_str(event.pdu.get())
            .map_err(|error| ("event-unparsable", error.to_string()))?;
        Self::of(&event.event_id, json, room_id, rules)
    }

    /// The same of canonical JSON.
    pub(super) fn of(
        id: &EventId,
        mut json: CanonicalJsonObject,
        room_id: &str,
        rules: &RoomVersionRules,
    ) -> Result<Self, Refusal> {
        let unparsable = |error: &dyn std::fmt::Display| ("event-unparsable", error.to_string());
        json.remove("unsigned");
        json.remove("event_id");
        match ruma::signatures::reference_hash(&json, rules) {
            Ok(hash) if id.as_str().strip_prefix('$') == Some(&hash) => {}
            Ok(_) => {
                return Err(("event-id-mismatch", "its id is not the hash of its content".into()));
            }
            Err(error) => return Err(unparsable(&error)),
        }
        let parts = Typed::read(&json).map_err(|field| unparsable(&format!("bad `{field}`")))?;
        let is_create = parts.kind == "m.room.create" && parts.state_key == Some("");
        let without_room = is_create && rules.authorization.room_create_event_id_as_room_id;
        let found = json.get("room_id").map(|id| id.as_str().unwrap_or_default());
        if found != (!without_room).then_some(room_id) {
            return Err(("event-of-other-room", "its `room_id` is not the room's".into()));
        }
        let (sender, kind) = (parts.sender, parts.kind.to_owned());
        let (state_key, depth) = (parts.state_key.map(str::to_owned), parts.depth);
        json.insert("event_id".into(), text(id.as_str()));
        Ok(Self { id: id.to_owned(), json, sender, kind, state_key, depth })
    }

    /// Whether this is the room's create event.
    pub(super) fn is_create(&self) -> bool {
        self.kind == "m.room.create" && self.state_key.as_deref() == Some("")
    }

    /// The user whose membership this event sets, and the membership.
    pub(super) fn membership(&self) -> Option<(OwnedUserId, &str)> {
        let user = self.state_key.as_deref().filter(|_| self.kind == "m.room.member")?;
        Some((UserId::parse(user).ok()?, self.content_text("membership")?))
    }

    /// The event's content.
    pub(super) fn content(&self) -> Option<&CanonicalJsonObject> {
        self.json.get("content").and_then(CanonicalJsonValue::as_object)
    }

    /// A text of the content.
    pub(super) fn content_text(&self, name: &str) -> Option<&str> {
        self.content()?.get(name)?.as_str()
    }

    /// The ids of the events before this one.
    pub(super) fn prev_events(&self) -> impl Iterator<Item = &str> {
        let ids = self.json.get("prev_events").and_then(CanonicalJsonValue::as_array);
        ids.unwrap_or_default().iter().filter_map(CanonicalJsonValue::as_str)
    }

    /// The bytes to store, with this `unsigned`. State events always have one, as Conduit's own.
    pub(super) fn stored(&self, unsigned: CanonicalJsonObject) -> Vec<u8> {
        if unsigned.is_empty() && self.state_key.is_none() {
            return write(&self.json);
        }
        let mut json = self.json.clone();
        json.insert("unsigned".into(), CanonicalJsonValue::Object(unsigned));
        write(&json)
    }

    /// The stripped form, as invites carry it (`type`, `state_key`, `content`, `sender`).
    pub(super) fn stripped(&self) -> serde_json::Value {
        stripped(&CanonicalJsonValue::Object(self.json.clone()).into()).unwrap_or_default()
    }
}

/// What the typed reader takes from an event.
struct Typed<'a> {
    sender: OwnedUserId,
    kind: &'a str,
    state_key: Option<&'a str>,
    depth: u64,
}

impl<'a> Typed<'a> {
    /// The name of the first field that is missing or of another type.
    fn read(json: &'a CanonicalJsonObject) -> Result<Self, &'static str> {
        let ids = |name: &'static str| {
            let ids = json.get(name).and_then(CanonicalJsonValue::as_array).ok_or(name)?;
            let good =
                ids.iter().all(|id| id.as_str().is_some_and(|id| EventId::parse(id).is_ok()));
            if good { Ok(()) } else { Err(name) }
        };
        let number = |name: &'static str| {
            json.get(name)
                .and_then(CanonicalJsonValue::as_integer)
                .and_then(|number| u64::try_from(i64::from(number)).ok())
                .ok_or(name)
        };
        ids("prev_events")?;
        ids("auth_events")?;
        number("origin_server_ts")?;
        json.get("content").and_then(CanonicalJsonValue::as_object).ok_or("content")?;
        json.get("hashes")
            .and_then(|hashes| hashes.as_object()?.get("sha256")?.as_str())
            .ok_or("hashes")?;
        match json.get("redacts") {
            None | Some(CanonicalJsonValue::Null) => {}
            Some(id) => {
                id.as_str().and_then(|id| EventId::parse(id).ok()).ok_or("redacts")?;
            }
        }
        let text = |name| json.get(name).and_then(CanonicalJsonValue::as_str);
        Ok(Self {
            sender: text("sender").and_then(|id| UserId::parse(id).ok()).ok_or("sender")?,
            kind: text("type").ok_or("type")?,
            state_key: match json.get("state_key") {
                None | Some(CanonicalJsonValue::Null) => None,
                Some(key) => Some(key.as_str().ok_or("state_key")?),
            },
            depth: number("depth")?,
        })
    }
}

/// Whether an event is a state event, without the work of [`Event::parse`].
pub(super) fn is_state(pdu: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Peek {
        #[serde(default)]
        state_key: Option<IgnoredAny>,
    }
    serde_json::from_str(pdu.get()).is_ok_and(|peek: Peek| peek.state_key.is_some())
}

/// Canonical JSON.
pub(super) fn write(json: &CanonicalJsonObject) -> Vec<u8> {
    // `CanonicalJsonValue` writes itself without any whitespace; its map is sorted.
    serde_json::to_vec(json).unwrap_or_default()
}

/// The stripped form of a state event; `None` if it is none.
pub(super) fn stripped(event: &serde_json::Value) -> Option<serde_json::Value> {
    let mut kept = serde_json::Map::new();
    for name in ["content", "sender", "state_key", "type"] {
        kept.insert(name.into(), event.get(name)?.clone());
    }
    let texts = ["sender", "state_key", "type"]
        .iter()
        .all(|name| kept.get(*name).is_some_and(serde_json::Value::is_string));
    (texts && kept.get("content")?.is_object()).then_some(kept.into())
}

/// JSON text.
pub(super) fn text(text: &str) -> CanonicalJsonValue {
    CanonicalJsonValue::String(text.into())
}

/// A number; those beyond what JSON may hold become the largest.
pub(super) fn integer(number: u64) -> CanonicalJsonValue {
    CanonicalJsonValue::Integer(Int::try_from(number).unwrap_or(Int::MAX))
}
