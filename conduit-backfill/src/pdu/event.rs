//! An event that has been checked, as the walk and the auth rules look at it.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId,
    OwnedUserId, RoomId, UserId, events::TimelineEventType, state_res,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::host::{Pdu, StateKey};

/// An event, and what others ask of it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    id: OwnedEventId,
    json: CanonicalJsonObject,
    body: Body,
    /// Its redaction, as the upstream says.
    pub(crate) redacted_by: Option<OwnedEventId>,
    /// Whether its content is what it was signed with.
    pub(crate) intact: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Body {
    sender: OwnedUserId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(rename = "type")]
    kind: TimelineEventType,
    content: Box<RawValue>,
    state_key: Option<String>,
    room_id: Option<OwnedRoomId>,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
}

impl Event {
    /// `None` if a field is not what the format says.
    pub(crate) fn new(id: OwnedEventId, json: CanonicalJsonObject) -> Option<Self> {
        let body = serde_json::to_string(&json).ok()?;
        let body = serde_json::from_str(&body).ok()?;
        Some(Self { id, json, body, redacted_by: None, intact: true })
    }

    pub(crate) fn id(&self) -> &OwnedEventId {
        &self.id
    }

    pub(crate) fn prev(&self) -> &[OwnedEventId] {
        &self.body.prev_events
    }

    pub(crate) fn auth(&self) -> &[OwnedEventId] {
        &self.body.auth_events
    }

    pub(crate) fn sender(&self) -> &UserId {
        &self.body.sender
    }

    pub(crate) fn is_create(&self) -> bool {
        self.body.kind == TimelineEventType::RoomCreate
            && self.body.state_key.as_deref() == Some("")
    }

    /// Its place in a state, if it has one.
    pub(crate) fn key(&self) -> Option<StateKey> {
        Some((self.body.kind.to_string(), self.body.state_key.clone()?))
    }

    /// What it redacts, if it is a redaction.
    pub(crate) fn redaction_target(&self) -> Option<&str> {
        if self.body.kind != TimelineEventType::RoomRedaction {
            return None;
        }
        redacts(&self.json)
    }

    pub(crate) fn json(&self) -> &CanonicalJsonObject {
        &self.json
    }

    pub(crate) fn into_pdu(self) -> Pdu {
        Pdu { event_id: self.id, json: self.json }
    }
}

/// `redacts`, which is in the content since room version 11.
pub(crate) fn redacts(json: &CanonicalJsonObject) -> Option<&str> {
    let content = json.get("content").and_then(CanonicalJsonValue::as_object)?;
    json.get("redacts").or_else(|| content.get("redacts"))?.as_str()
}

impl state_res::Event for Event {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.body.room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.body.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.body.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.body.kind
    }

    fn content(&self) -> &RawValue {
        &self.body.content
    }

    fn state_key(&self) -> Option<&str> {
        self.body.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.body.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.body.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        // Asked in rooms of version 1 and 2 only.
        None
    }

    fn rejected(&self) -> bool {
        false
    }
}
