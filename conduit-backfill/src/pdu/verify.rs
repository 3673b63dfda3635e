//! Checks of one event: size, format, id, hashes, signatures. What its room's version asks for is data of ruma's.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedRoomId, OwnedServerName,
    RoomVersionId, UserId,
    canonical_json::redact,
    room_version_rules::RoomVersionRules,
    serde::Base64,
    signatures::{PublicKeyMap, Verified, reference_hash, verify_event},
    state_res::check_pdu_format,
};
use serde_json::value::RawValue;

use crate::{
    host::VerifyKey,
    pdu::event::{Event, redacts},
};

/// Largest event, in bytes of canonical JSON without `unsigned`.
const LARGEST_EVENT: usize = 65_536;

/// Longest text in which an event may come: each byte may be escaped, and `unsigned` may repeat an earlier content.
const LONGEST_TEXT: usize = 1 << 20;

/// The fields on which the format has rules.
const FORMAT: [&str; 7] =
    ["type", "sender", "room_id", "state_key", "prev_events", "auth_events", "depth"];

/// Why an event is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("it is no canonical JSON")]
    NotCanonical,
    #[error("it is larger than {LARGEST_EVENT} bytes")]
    TooLarge,
    #[error("its format is wrong: {0}")]
    Format(String),
    #[error("it is of another room")]
    OtherRoom,
    #[error("its signatures are wrong: {0}")]
    Signatures(String),
    #[error("it is not allowed: {0}")]
    Forbidden(String),
}

/// An event of which nothing but the id is known to be true: the id is the hash of what must not change.
#[derive(Clone, Debug)]
pub(crate) struct Unverified {
    pub(crate) id: OwnedEventId,
    json: CanonicalJsonObject,
    redacted_because: Option<CanonicalJsonObject>,
}

impl Unverified {
    /// Its `prev_events`, as many of them as are ids.
    pub(crate) fn prev(&self) -> impl Iterator<Item = OwnedEventId> + '_ {
        self.ids("prev_events")
    }

    /// Its `auth_events`, as many of them as are ids.
    pub(crate) fn auth(&self) -> impl Iterator<Item = OwnedEventId> + '_ {
        self.ids("auth_events")
    }

    /// No more than the format allows; an event that has more is refused later.
    fn ids(&self, name: &str) -> impl Iterator<Item = OwnedEventId> + '_ {
        let ids = self.json.get(name).and_then(CanonicalJsonValue::as_array);
        ids.into_iter().flatten().take(20).filter_map(|id| EventId::parse(id.as_str()?).ok())
    }

    /// Its `depth`; 0 if it has none.
    pub(crate) fn depth(&self) -> u64 {
        let depth = self.json.get("depth").and_then(CanonicalJsonValue::as_integer);
        depth.and_then(|depth| u64::try_from(i64::from(depth)).ok()).unwrap_or_default()
    }

    /// The servers that must have signed it.
    pub(crate) fn servers(&self) -> BTreeSet<OwnedServerName> {
        let content = self.json.get("content").and_then(CanonicalJsonValue::as_object);
        let authorised =
            content.and_then(|content| content.get("join_authorised_via_users_server"));
        [self.json.get("sender"), authorised]
            .into_iter()
            .flatten()
            .filter_map(|user| Some(<&UserId>::try_from(user.as_str()?).ok()?.server_name().into()))
            .collect()
    }
}

/// What the events of a room must be like.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    room: OwnedRoomId,
    pub(crate) version: RoomVersionRules,
}

impl Rules {
    /// `None` for versions whose event ids are not hashes, and those that ruma doesn't know.
    pub(crate) fn new(room: OwnedRoomId, version: &RoomVersionId) -> Option<Self> {
        let version = version.rules().filter(|rules| !rules.event_format.require_event_id)?;
        Some(Self { room, version })
    }

    /// The create event, where the room's id says which it is.
    pub(crate) fn create_event(&self) -> Option<OwnedEventId> {
        if !self.version.authorization.room_create_event_id_as_room_id {
            return None;
        }
        EventId::parse(format!("${}", self.room.as_str().strip_prefix('!')?)).ok()
    }

    /// Reads an event and computes its id.
    pub(crate) fn read(&self, text: &RawValue) -> Result<Unverified, Invalid> {
        if text.get().len() > LONGEST_TEXT {
            return Err(Invalid::TooLarge);
        }
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_str(text.get()).map_err(|_| Invalid::NotCanonical)?;
        let mut json = CanonicalJsonObject::new();
        let mut redacted_because = None;
        for (name, value) in fields {
            match name.as_str() {
                "unsigned" => redacted_because = redacted_because_of(value),
                "event_id" => {}
                _ => {
                    let value =
                        serde_json::from_str(value.get()).map_err(|_| Invalid::NotCanonical)?;
                    json.insert(name, value);
                }
            }
        }
        let id = self.id(&json)?;
        Ok(Unverified { id, json, redacted_because })
    }

    fn id(&self, json: &CanonicalJsonObject) -> Result<OwnedEventId, Invalid> {
        let hash = reference_hash(json, &self.version).map_err(|_| Invalid::NotCanonical)?;
        EventId::parse(format!("${hash}")).map_err(|_| Invalid::NotCanonical)
    }

    /// Checks an event with the keys of those who must have signed it. An event whose content is not what it was signed
    /// with is redacted.
    pub(crate) fn check(
        &self,
        event: Unverified,
        keys: &BTreeMap<OwnedServerName, Vec<VerifyKey>>,
    ) -> Result<Event, Invalid> {
        let Unverified { id, json, redacted_because } = event;
        let size = serde_json::to_string(&json).map_or(usize::MAX, |text| text.len());
        if size > LARGEST_EVENT {
            return Err(Invalid::TooLarge);
        }
        let format = FORMAT
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), json.get(name)?.clone())))
            .collect();
        check_pdu_format(&format, &self.version.event_format).map_err(Invalid::Format)?;
        let room = json.get("room_id").and_then(CanonicalJsonValue::as_str);
        if room.is_none() && self.create_event().as_ref() != Some(&id)
            || room.is_some_and(|room| room != self.room)
        {
            return Err(Invalid::OtherRoom);
        }
        let verified = verify_event(&self.public_keys(&json, keys), &json, &self.version)
            .map_err(|error| Invalid::Signatures(error.to_string()))?;
        let redacted_by = redacted_because.and_then(|because| self.redaction(&id, because));
        let intact = matches!(verified, Verified::All) && redacted_by.is_none();
        let json = if intact { json } else { self.redact(json)? };
        let malformed = || Invalid::Format("a field has a wrong type".to_owned());
        let mut event = Event::new(id, json).ok_or_else(malformed)?;
        event.intact = intact;
        event.redacted_by = redacted_by;
        Ok(event)
    }

    /// The redacted form of an event.
    pub(crate) fn redact(&self, json: CanonicalJsonObject) -> Result<CanonicalJsonObject, Invalid> {
        redact(json, &self.version.redaction, None)
            .map_err(|error| Invalid::Format(error.to_string()))
    }

    /// The id of a redaction, if it is one of this event. It can only hide something, so nobody needs to have signed it.
    fn redaction(&self, of: &EventId, mut because: CanonicalJsonObject) -> Option<OwnedEventId> {
        because.remove("unsigned");
        because.remove("event_id");
        let is_redaction = because.get("type")?.as_str() == Some("m.room.redaction");
        (is_redaction && redacts(&because) == Some(of.as_str()))
            .then(|| self.id(&because).ok())
            .flatten()
    }

    /// The keys that were valid when an event was sent, of those that signed it.
    fn public_keys(
        &self,
        json: &CanonicalJsonObject,
        keys: &BTreeMap<OwnedServerName, Vec<VerifyKey>>,
    ) -> PublicKeyMap {
        let sent = json.get("origin_server_ts").and_then(CanonicalJsonValue::as_integer);
        let sent = sent.and_then(|sent| u64::try_from(i64::from(sent)).ok()).unwrap_or_default();
        let is_valid =
            |key: &&VerifyKey| !self.version.enforce_key_validity || key.valid_until_ts >= sent;
        let of_server = |keys: &Vec<VerifyKey>| {
            keys.iter()
                .filter(is_valid)
                .map(|key| (key.key_id.to_string(), Base64::new(key.key.clone())))
                .collect()
        };
        keys.iter().map(|(server, keys)| (server.to_string(), of_server(keys))).collect()
    }
}

fn redacted_because_of(unsigned: &RawValue) -> Option<CanonicalJsonObject> {
    let mut unsigned: BTreeMap<String, &RawValue> = serde_json::from_str(unsigned.get()).ok()?;
    serde_json::from_str(unsigned.remove("redacted_because")?.get()).ok()
}
