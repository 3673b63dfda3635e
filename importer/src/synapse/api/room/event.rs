//! An event: from the raw form of the admin API, or from federation, to the form that was signed.
//!
//! Synapse's raw form differs from it in four ways: `unsigned` is filled, `event_id` is there in every room version,
//! `room_id` is in the create event of room version 12 too, and redactions have `redacts` at both places that room
//! versions know.

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, RoomId, RoomVersionId,
    canonical_json::redact,
    room_version_rules::RoomVersionRules,
    signatures::{content_hash, reference_hash},
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::{RawValue, to_raw_value};

use crate::dump::format::DumpEvent;

/// Type and state key.
pub(super) type Key = (String, String);

/// The rules of a room's version, unless it is unknown.
#[derive(Clone, Debug)]
pub(super) struct Version {
    rules: Option<RoomVersionRules>,
}

/// An event as it was signed, with what is needed of it.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: OwnedEventId,
    pub(super) kind: String,
    pub(super) state_key: Option<String>,
    pub(super) sender: String,
    pub(super) depth: u64,
    pub(super) prev_events: Vec<OwnedEventId>,
    pub(super) auth_events: Vec<OwnedEventId>,
    /// The event that this one redacts.
    pub(super) redacts: Option<OwnedEventId>,
    /// The event that redacted this one, which is then in its redacted form.
    pub(super) redacted_by: Option<OwnedEventId>,
    pub(super) soft_failed: bool,
    /// `content.membership`.
    pub(super) membership: Option<String>,
    /// `invite_room_state` or `knock_room_state`.
    pub(super) stripped_state: Option<Vec<Box<RawValue>>>,
    fields: Fields,
}

type Fields = BTreeMap<String, Box<RawValue>>;

/// Why an event can't be dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BrokenEvent {
    /// Not an object with a type, a sender and an id.
    #[error("Synapse's answer is no event")]
    NoEvent,
    /// The hash of the event is not its id.
    #[error("the event's id is not the hash of its content, so other servers would refuse it")]
    Hash,
    /// JSON that the room's version does not allow.
    #[error("the event holds numbers that its room version does not allow")]
    NotCanonical,
    /// An event of another room.
    #[error("the event belongs to another room")]
    OtherRoom,
    /// The event was redacted, but can't be brought into its redacted form.
    #[error("the event was redacted, and what its room version keeps of it is not known")]
    Unredactable,
}

impl BrokenEvent {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NoEvent | Self::NotCanonical => "event-unparsable",
            Self::Hash => "event-id-wrong",
            Self::OtherRoom => "event-foreign",
            Self::Unredactable => "redaction-rules-unknown",
        }
    }
}

#[derive(Default, Deserialize)]
struct Unsigned {
    #[serde(default)]
    redacted_because: Option<RedactedBecause>,
    #[serde(default, rename = "io.element.synapse.soft_failed")]
    soft_failed: Option<serde_json::Value>,
    #[serde(default)]
    invite_room_state: Option<Vec<Box<RawValue>>>,
    #[serde(default)]
    knock_room_state: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
struct RedactedBecause {
    event_id: OwnedEventId,
}

/// A reference to an event: the id, in room versions 1 and 2 with a hash.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Id(OwnedEventId),
    Pair(OwnedEventId, IgnoredAny),
}

impl Version {
    pub(super) fn new(version: Option<&str>) -> Self {
        let version = version.and_then(|version| RoomVersionId::try_from(version).ok());
        Self { rules: version.and_then(|version| version.rules()) }
    }

    pub(super) fn rules(&self) -> Option<&RoomVersionRules> {
        self.rules.as_ref()
    }

    /// Whether the id is part of the event. In rooms of an unknown version it is if it has a server name.
    fn keeps_event_id(&self, id: &EventId) -> bool {
        self.rules().map_or(id.as_str().contains(':'), |rules| rules.event_format.require_event_id)
    }

    /// The create event's id makes the room id, so that the event can't hold it.
    fn create_makes_room_id(&self, id: &EventId, room_id: &RoomId) -> bool {
        match self.rules() {
            Some(rules) => rules.authorization.room_create_event_id_as_room_id,
            None => room_id.as_str().get(1..) == id.as_str().get(1..),
        }
    }
}

impl Event {
    /// Reads an event of a room. `id` is needed where the event does not hold it.
    pub(super) fn parse(
        json: &RawValue,
        id: Option<&EventId>,
        room_id: &RoomId,
        version: &Version,
    ) -> Result<Self, BrokenEvent> {
        let mut fields: Fields =
            serde_json::from_str(json.get()).map_err(|_| BrokenEvent::NoEvent)?;
        let unsigned = fields.remove("unsigned");
        let unsigned: Unsigned = unsigned
            .and_then(|unsigned| serde_json::from_str(unsigned.get()).ok())
            .unwrap_or_default();
        let held: Option<OwnedEventId> = field(&fields, "event_id");
        let id = match (held, id) {
            (Some(held), Some(id)) if held != id => return Err(BrokenEvent::Hash),
            (Some(held), _) => held,
            (None, Some(id)) => id.to_owned(),
            (None, None) => return Err(BrokenEvent::NoEvent),
        };
        let kind: String = field(&fields, "type").ok_or(BrokenEvent::NoEvent)?;
        if field::<String>(&fields, "room_id").is_some_and(|room| room != room_id.as_str()) {
            return Err(BrokenEvent::OtherRoom);
        }
        if !version.keeps_event_id(&id) {
            fields.remove("event_id");
        }
        if kind == "m.room.create" && version.create_makes_room_id(&id, room_id) {
            fields.remove("room_id");
        }
        let mut redacts = None;
        if kind == "m.room.redaction" {
            redacts = redacted_id(&fields);
            fields = one_redacts(fields, version);
        }
        check_id(&fields, &id, version)?;
        let content: BTreeMap<String, Box<RawValue>> =
            field(&fields, "content").unwrap_or_default();
        Ok(Self {
            kind,
            state_key: field(&fields, "state_key"),
            sender: field(&fields, "sender").ok_or(BrokenEvent::NoEvent)?,
            depth: field(&fields, "depth").unwrap_or(0),
            prev_events: references(&fields, "prev_events"),
            auth_events: references(&fields, "auth_events"),
            redacts,
            redacted_by: unsigned.redacted_because.map(|because| because.event_id),
            soft_failed: unsigned.soft_failed == Some(serde_json::Value::Bool(true)),
            membership: field(&content, "membership"),
            stripped_state: unsigned.invite_room_state.or(unsigned.knock_room_state),
            id,
            fields,
        })
    }

    /// Type and state key of a state event.
    pub(super) fn key(&self) -> Option<Key> {
        Some((self.kind.clone(), self.state_key.clone()?))
    }

    /// Whether this is a room's first event.
    pub(super) fn is_create(&self) -> bool {
        self.kind == "m.room.create" && self.state_key.as_deref() == Some("")
    }

    /// Brings the event into its redacted form.
    pub(super) fn redact(
        &mut self,
        by: OwnedEventId,
        version: &Version,
    ) -> Result<(), BrokenEvent> {
        let rules = version.rules().ok_or(BrokenEvent::Unredactable)?;
        let event = canonical(&self.fields).ok_or(BrokenEvent::Unredactable)?;
        let event = redact(event, &rules.redaction, None).map_err(|_| BrokenEvent::Unredactable)?;
        let text = CanonicalJsonValue::Object(event).to_string();
        self.fields = serde_json::from_str(&text).map_err(|_| BrokenEvent::Unredactable)?;
        self.redacted_by = Some(by);
        Ok(())
    }

    /// The event as it was signed.
    pub(super) fn pdu(&self) -> Result<Box<RawValue>, BrokenEvent> {
        to_raw_value(&self.fields).map_err(|_| BrokenEvent::NoEvent)
    }

    /// The event for the dump.
    pub(super) fn dump(&self, state_before: Option<u64>) -> Result<DumpEvent, BrokenEvent> {
        Ok(DumpEvent {
            event_id: self.id.clone(),
            state_before,
            redacted_by: self.redacted_by.clone(),
            stream: None,
            erased: false,
            soft_failed: self.soft_failed,
            pdu: self.pdu()?,
        })
    }
}

fn field<T: DeserializeOwned>(fields: &Fields, key: &str) -> Option<T> {
    serde_json::from_str(fields.get(key)?.get()).ok()
}

fn references(fields: &Fields, key: &str) -> Vec<OwnedEventId> {
    let references: Vec<Reference> = field(fields, key).unwrap_or_default();
    references.into_iter().map(|(Reference::Id(id) | Reference::Pair(id, _))| id).collect()
}

/// The id of an event that is not understood, as far as it has one.
pub(super) fn event_id(json: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Id {
        event_id: String,
    }

    serde_json::from_str::<Id>(json.get()).map(|id| id.event_id).unwrap_or_default()
}

fn canonical(fields: &impl Serialize) -> Option<CanonicalJsonObject> {
    serde_json::from_str(to_raw_value(fields).ok()?.get()).ok()
}

/// From room version 3 on the id is the hash of the event's redacted form.
fn check_id(fields: &Fields, id: &EventId, version: &Version) -> Result<(), BrokenEvent> {
    let Some(rules) = version.rules() else { return Ok(()) };
    let Some(event) = canonical(fields) else {
        // Numbers like these were allowed once.
        let allowed = !rules.authorization.strict_canonical_json;
        return if allowed { Ok(()) } else { Err(BrokenEvent::NotCanonical) };
    };
    if rules.event_format.require_event_id {
        return Ok(());
    }
    let hash = reference_hash(&event, rules).map_err(|_| BrokenEvent::NotCanonical)?;
    if id.as_str().strip_prefix('$') == Some(hash.as_str()) {
        Ok(())
    } else {
        Err(BrokenEvent::Hash)
    }
}

fn redacted_id(fields: &Fields) -> Option<OwnedEventId> {
    let content = || field::<Fields>(fields, "content");
    field(fields, "redacts").or_else(|| field(&content()?, "redacts"))
}

/// A redaction with `redacts` where it was when the event was signed, by the content hash; by the room version if the event was
/// redacted itself.
fn one_redacts(fields: Fields, version: &Version) -> Fields {
    let in_content = without_top_redacts(&fields);
    let at_top = without_content_redacts(&fields);
    let by_version = match version.rules() {
        Some(rules) if rules.redaction.content_field_redacts => in_content.clone(),
        Some(_) => at_top.clone(),
        None => fields.clone(),
    };
    let variants = [by_version.clone(), at_top, in_content, fields];
    variants.into_iter().find(has_content_hash).unwrap_or(by_version)
}

fn without_top_redacts(fields: &Fields) -> Fields {
    let mut fields = fields.clone();
    fields.remove("redacts");
    fields
}

fn without_content_redacts(fields: &Fields) -> Fields {
    let mut fields = fields.clone();
    let mut content: Fields = field(&fields, "content").unwrap_or_default();
    if content.remove("redacts").is_some()
        && let Ok(content) = to_raw_value(&content)
    {
        fields.insert("content".to_owned(), content);
    }
    fields
}

/// Whether the event has the content that was hashed, so that nothing was pruned.
fn has_content_hash(fields: &Fields) -> bool {
    #[derive(Deserialize)]
    struct Hashes {
        sha256: String,
    }

    let hash = canonical(fields).and_then(|event| content_hash(&event).ok());
    let hashes: Option<Hashes> = field(fields, "hashes");
    match (hash, hashes) {
        (Some(hash), Some(hashes)) => hash.encode() == hashes.sha256.trim_end_matches('='),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
