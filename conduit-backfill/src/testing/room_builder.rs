//! Rooms for tests: built event by event as their server would, with real hashes and signatures, and the state before each
//! event.

mod view;

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, OwnedRoomId, OwnedServerName, RoomId,
    RoomVersionId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
    serde::Base64,
    state_res,
};
use serde_json::{Value, json, value::to_raw_value};

use super::signed_event::{self, EventSigner};
use crate::{
    client::SigningKey,
    host::{PageEvent, Pdu, StateBefore, StateMap, VerifyKey},
    pdu::event::Event,
};

#[expect(clippy::disallowed_types, reason = "the type that ruma takes; nothing is iterated")]
type IdSet = std::collections::HashSet<OwnedEventId>;

/// Until when the key is valid: the last moment that JSON can name.
const ALWAYS: u64 = (1 << 53) - 1;

/// A room's whole history, as the homeserver has it on which everything happened.
#[derive(Clone, Debug)]
pub struct RoomBuilder {
    room: OwnedRoomId,
    version: RoomVersionId,
    server: OwnedServerName,
    signer: EventSigner,
    /// In the order in which they happened.
    events: Vec<BuiltEvent>,
    clock: u64,
}

/// An event of a [`RoomBuilder`].
#[derive(Clone, Debug)]
pub struct BuiltEvent {
    /// The event, with its content even if it was redacted.
    pub pdu: Pdu,
    /// The state before it.
    pub state_before: StateMap,
    /// Its depth.
    pub depth: u64,
    /// Its redaction.
    pub redacted_by: Option<OwnedEventId>,
    /// Whether anybody was shown it; soft-failed events were not.
    pub shown: bool,
    event: Event,
}

impl BuiltEvent {
    /// Those before it.
    pub fn prev(&self) -> &[OwnedEventId] {
        self.event.prev()
    }
}

/// Something that can't be told.
#[derive(Debug, thiserror::Error)]
#[error("the story can't go on: {0}")]
pub struct BuildError(pub(super) String);

impl RoomBuilder {
    /// A room that `@ada` of the server creates.
    ///
    /// # Errors
    ///
    /// If the version has no rules, or the key can't sign.
    pub fn new(version: RoomVersionId, server: &str, key: SigningKey) -> Result<Self, BuildError> {
        let signer = EventSigner::new(&version, key)?;
        let server: OwnedServerName =
            server.try_into().map_err(|_| BuildError("bad server name".into()))?;
        let room = RoomId::parse(format!("!room:{server}"));
        let room = room.map_err(|error| BuildError(error.to_string()))?;
        let mut story = Self { room, version, server, signer, events: Vec::new(), clock: 0 };
        let mut content = json!({"room_version": story.version.as_str()});
        if !story.signer.rules().authorization.use_room_create_sender {
            put(&mut content, "creator", story.user("ada").into());
        }
        let create = story.send_after(&[], "ada", "m.room.create", Some(""), content)?;
        if story.signer.rules().authorization.room_create_event_id_as_room_id {
            let room = RoomId::parse(create.as_str().replacen('$', "!", 1));
            story.room = room.map_err(|error| BuildError(error.to_string()))?;
        }
        let ada = story.user("ada");
        story.member("ada", "ada", "join")?;
        let mut power = json!({"users": {&ada: 100}, "users_default": 0, "redact": 50});
        if story.signer.rules().authorization.explicitly_privilege_room_creators {
            put(&mut power, "users", json!({}));
        }
        story.state("ada", "m.room.power_levels", "", power)?;
        story.state("ada", "m.room.join_rules", "", json!({"join_rule": "public"}))?;
        Ok(story)
    }

    /// The room.
    pub fn room(&self) -> &RoomId {
        &self.room
    }

    /// Its version.
    pub fn version(&self) -> &RoomVersionId {
        &self.version
    }

    fn rules(&self) -> &RoomVersionRules {
        self.signer.rules()
    }

    /// Its server.
    pub fn server(&self) -> &OwnedServerName {
        &self.server
    }

    /// The server's key.
    pub fn keys(&self) -> Vec<VerifyKey> {
        let key: Result<Base64, _> = Base64::parse(self.signer.key().public_key());
        let key = key.map(Base64::into_inner).unwrap_or_default();
        vec![VerifyKey { key_id: self.signer.key().id().to_owned(), key, valid_until_ts: ALWAYS }]
    }

    /// All events, in the order in which they happened.
    pub fn events(&self) -> &[BuiltEvent] {
        &self.events
    }

    /// An event.
    pub fn get(&self, id: &EventId) -> Option<&BuiltEvent> {
        self.events.iter().find(|told| told.pdu.event_id == id)
    }

    /// The events that nothing follows.
    pub fn tips(&self) -> Vec<OwnedEventId> {
        let shown = || self.events.iter().filter(|told| told.shown);
        let followed: BTreeSet<_> = shown().flat_map(|told| told.event.prev()).collect();
        shown()
            .map(|told| &told.pdu.event_id)
            .filter(|id| !followed.contains(id))
            .cloned()
            .collect()
    }

    /// The full id of a user: of the server, or of another one, if `name` is `name:server`.
    pub fn user(&self, name: &str) -> String {
        if name.contains(':') { format!("@{name}") } else { format!("@{name}:{}", self.server) }
    }

    /// Sends a message after all that nothing follows.
    ///
    /// # Errors
    ///
    /// As [`Self::send_after`].
    pub fn say(&mut self, sender: &str, text: &str) -> Result<OwnedEventId, BuildError> {
        let content = json!({"msgtype": "m.text", "body": text});
        self.send_after(&self.tips(), sender, "m.room.message", None, content)
    }

    /// Changes the state.
    ///
    /// # Errors
    ///
    /// As [`Self::send_after`].
    pub fn state(
        &mut self,
        sender: &str,
        kind: &str,
        state_key: &str,
        content: Value,
    ) -> Result<OwnedEventId, BuildError> {
        self.send_after(&self.tips(), sender, kind, Some(state_key), content)
    }

    /// Changes who is in the room.
    ///
    /// # Errors
    ///
    /// As [`Self::send_after`].
    pub fn member(
        &mut self,
        sender: &str,
        user: &str,
        membership: &str,
    ) -> Result<OwnedEventId, BuildError> {
        let user = self.user(user);
        self.state(sender, "m.room.member", &user, json!({"membership": membership}))
    }

    /// Redacts an event.
    ///
    /// # Errors
    ///
    /// As [`Self::send_after`].
    pub fn redact(&mut self, sender: &str, event: &EventId) -> Result<OwnedEventId, BuildError> {
        let id = self.redaction(sender, event)?;
        if let Some(told) = self.events.iter_mut().find(|told| told.pdu.event_id == event) {
            told.redacted_by = Some(id.clone());
        }
        Ok(id)
    }

    fn redaction(&mut self, sender: &str, event: &EventId) -> Result<OwnedEventId, BuildError> {
        let content = json!({"redacts": event});
        self.send_after(&self.tips(), sender, "m.room.redaction", None, content)
    }

    /// Sends an event after certain others.
    ///
    /// # Errors
    ///
    /// If it can't be signed, or the states of the events before it can't be resolved.
    pub fn send_after(
        &mut self,
        prev: &[OwnedEventId],
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        mut content: Value,
    ) -> Result<OwnedEventId, BuildError> {
        self.clock = self.clock.saturating_add(1000);
        let state_before = self.state_after_all(prev)?;
        let depths = prev.iter().filter_map(|id| self.get(id)).map(|told| told.depth);
        let depth = depths.max().unwrap_or(0).saturating_add(1);
        let sender = self.user(sender);
        let mut event = json!({
            "type": kind, "sender": sender, "origin_server_ts": self.clock, "depth": depth,
            "prev_events": prev, "auth_events": [],
        });
        if kind == "m.room.redaction" && !self.rules().redaction.content_field_redacts {
            put(&mut event, "redacts", content.get("redacts").cloned().unwrap_or_default());
            content = json!({});
        }
        if kind != "m.room.create" || self.rules().event_format.require_room_create_room_id {
            put(&mut event, "room_id", self.room.as_str().into());
        }
        if let Some(state_key) = state_key {
            put(&mut event, "state_key", state_key.into());
        }
        let auth = self.auth_events(kind, &sender, state_key, &content, &state_before)?;
        put(&mut event, "auth_events", json!(auth));
        let authoriser = content.get("join_authorised_via_users_server").and_then(Value::as_str);
        let authoriser = authoriser.map(str::to_owned);
        put(&mut event, "content", content);
        let signers = [Some(sender.as_str()), authoriser.as_deref()].into_iter().flatten();
        let servers: Vec<_> = signers.filter_map(signed_event::server).collect();
        let pdu = self.signer.sign_as(event, &servers)?;
        let id = pdu.event_id.clone();
        let event = Event::new(id.clone(), pdu.json.clone())
            .ok_or_else(|| BuildError("an event has a field of a wrong type".into()))?;
        let told = BuiltEvent { pdu, state_before, depth, redacted_by: None, shown: true, event };
        self.events.push(told);
        Ok(id)
    }

    fn auth_events(
        &self,
        kind: &str,
        sender: &str,
        state_key: Option<&str>,
        content: &Value,
        state: &StateMap,
    ) -> Result<Vec<OwnedEventId>, BuildError> {
        let content = to_raw_value(content).map_err(|error| BuildError(error.to_string()))?;
        let sender = sender.try_into().map_err(|_| BuildError("bad sender".into()))?;
        let kind = TimelineEventType::from(kind);
        let rules = &self.rules().authorization;
        let keys = state_res::auth_types_for_event(&kind, sender, state_key, &content, rules);
        let keys = keys.map_err(BuildError)?;
        let ids = keys.into_iter().filter_map(|(kind, key)| state.get(&(kind.to_string(), key)));
        let create = self.events.first().map(|told| &told.pdu.event_id);
        let implied = rules.room_create_event_id_as_room_id;
        Ok(ids.filter(|id| !implied || Some(*id) != create).cloned().collect())
    }

    /// The state after an event.
    pub fn state_after(&self, id: &EventId) -> StateMap {
        let Some(told) = self.get(id) else { return StateMap::new() };
        let mut state = told.state_before.clone();
        state.extend(told.event.key().map(|key| (key, id.to_owned())));
        state
    }

    fn state_after_all(&self, ids: &[OwnedEventId]) -> Result<StateMap, BuildError> {
        let mut states: Vec<_> = ids.iter().map(|id| self.state_after(id)).collect();
        states.dedup();
        if states.len() < 2 {
            return Ok(states.pop().unwrap_or_default());
        }
        let rules = self.rules().state_res.v2_rules();
        let rules = rules.ok_or_else(|| BuildError("no state resolution".into()))?;
        let chains = states.iter().map(|state| self.chain(state.values().cloned())).collect();
        let maps: Vec<state_res::StateMap<OwnedEventId>> = states
            .iter()
            .map(|state| {
                let entry = |((kind, key), id): (&(String, String), &OwnedEventId)| {
                    ((StateEventType::from(kind.as_str()), key.clone()), id.clone())
                };
                state.iter().map(entry).collect()
            })
            .collect();
        let resolved = state_res::resolve(
            &self.rules().authorization,
            rules,
            &maps,
            chains,
            |id| self.get(id).map(|told| told.event.clone()),
            |conflicted| Some(self.between(&conflicted.values().flatten().cloned().collect())),
        );
        let resolved = resolved.map_err(|error| BuildError(error.to_string()))?;
        Ok(resolved.into_iter().map(|((kind, key), id)| ((kind.to_string(), key), id)).collect())
    }

    /// The auth chains of events, without themselves.
    pub(crate) fn chain(&self, ids: impl Iterator<Item = OwnedEventId>) -> IdSet {
        let auth = |id: &OwnedEventId| {
            self.get(id).map(|told| told.event.auth().to_vec()).unwrap_or_default()
        };
        let mut chain = IdSet::new();
        let mut waiting: Vec<_> = ids.flat_map(|id| auth(&id)).collect();
        while let Some(id) = waiting.pop() {
            if chain.insert(id.clone()) {
                waiting.extend(auth(&id));
            }
        }
        chain
    }

    /// The events on the ways between some along auth events.
    fn between(&self, ends: &IdSet) -> IdSet {
        let reached = self.chain(ends.iter().cloned());
        let leads = |id: &OwnedEventId| {
            ends.contains(id) || !self.chain(std::iter::once(id.clone())).is_disjoint(ends)
        };
        reached.into_iter().filter(leads).chain(ends.iter().cloned()).collect()
    }

    /// The events that people were shown, in the order of depth and of happening, as Synapse's clients see them.
    pub fn timeline(&self) -> Vec<OwnedEventId> {
        let mut shown: Vec<_> = self.events.iter().filter(|told| told.shown).collect();
        shown.sort_by_key(|told| told.depth);
        shown.into_iter().map(|told| told.pdu.event_id.clone()).collect()
    }

    /// An event as a host gets it: redacted if it was.
    ///
    /// # Errors
    ///
    /// If the event is unknown.
    pub fn page_event(&self, id: &EventId) -> Result<PageEvent, BuildError> {
        let told = self.get(id).ok_or_else(|| BuildError(format!("{id} is unknown")))?;
        let state_before = if told.event.is_create() {
            StateBefore::Nothing
        } else {
            StateBefore::Whole(told.state_before.clone())
        };
        let pdu = Pdu { event_id: id.to_owned(), json: self.json(told)? };
        Ok(PageEvent { pdu, state_before, redacted_by: told.redacted_by.clone() })
    }

    /// An event as its server gives it to others: redacted if it was.
    pub(crate) fn json(&self, told: &BuiltEvent) -> Result<CanonicalJsonObject, BuildError> {
        let json = told.pdu.json.clone();
        if told.redacted_by.is_none() {
            return Ok(json);
        }
        ruma::canonical_json::redact(json, &self.rules().redaction, None)
            .map_err(|error| BuildError(error.to_string()))
    }

    /// Public keys by server, as a host has them. All servers of a story have the same key.
    pub fn all_keys(&self) -> BTreeMap<OwnedServerName, Vec<VerifyKey>> {
        let senders = self.events.iter().map(|told| told.event.sender().server_name().to_owned());
        senders.chain([self.server.clone()]).map(|server| (server, self.keys())).collect()
    }
}

/// Sets a field of an object.
fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}
