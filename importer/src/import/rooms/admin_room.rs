//! Conduit's own account and its admin room, with Synapse's administrators in it: whoever has joined the room behind
//! `#admins:NAME` is an administrator (src/service/users/mod.rs:277-286).
//!
//! The room is made as Conduit makes it (src/service/admin/mod.rs:1721-1948, 1963-2094), as a room of a dump, and then
//! imported like any other.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UserId,
    room_version_rules::RoomVersionRules,
};
use serde_json::{Value, json, value::RawValue};

use super::{
    ImportedRooms,
    lazy_event::LazyEvent,
    source::{Item, RoomSource, Sections, Visit},
};
use crate::{
    conduit::schema::{
        shapes::{PasswordHash, User},
        trees,
    },
    dump::format::{DumpAlias, DumpEvent, DumpMember, DumpRoom, DumpState},
    import::{ImportError, context::Context, row_writer::Rows},
    tally::Tally,
};

/// The version that Conduit makes rooms with unless told otherwise (src/config/mod.rs:791-793).
const VERSION: RoomVersionId = RoomVersionId::V12;

/// Writes `@conduit:NAME` and the admin room, with these administrators and their display names.
pub(in crate::import) fn import(
    admins: &[(OwnedUserId, Option<String>)],
    context: &Context,
    rows: &mut Rows<'_>,
) -> Result<ImportedRooms, ImportError> {
    let fail = |error: &dyn std::fmt::Display| ImportError::AdminRoom(error.to_string());
    let server = UserId::parse(format!("@conduit:{}", context.server_name));
    let server = server.map_err(|error| fail(&error))?;
    let id = User { user: server.as_str() };
    rows.put(&trees::USERID_PASSWORD, &id, &PasswordHash { hash: "" })?;
    let mut builder = Builder {
        context,
        rules: VERSION.rules().ok_or_else(|| fail(&"no rules for its version"))?,
        id: None,
        events: Vec::new(),
        states: Vec::new(),
        state: BTreeMap::new(),
    };
    builder.build(&server, admins).map_err(|error| fail(&error))?;
    let room = builder.finish(&server, admins).map_err(|error| fail(&error))?;
    // The room was not read from the dump, so the report doesn't count it.
    let mut tally = Tally::default();
    let imported = super::import_room(&room, context, rows, &mut tally)?;
    match tally.skipped.first() {
        None => Ok(imported),
        Some(skip) => Err(fail(&format!("{}: {}", skip.item, skip.detail))),
    }
}

/// The admin room while it is made.
struct Builder<'a> {
    context: &'a Context,
    rules: RoomVersionRules,
    id: Option<OwnedRoomId>,
    events: Vec<DumpEvent>,
    states: Vec<DumpState>,
    state: BTreeMap<(String, String), OwnedEventId>,
}

impl Builder<'_> {
    fn build(
        &mut self,
        server: &UserId,
        admins: &[(OwnedUserId, Option<String>)],
    ) -> Result<(), String> {
        let name = &self.context.server_name;
        let id = server.as_str();
        self.event(id, "m.room.create", "", &json!({ "room_version": VERSION }))?;
        self.event(id, "m.room.member", id, &json!({ "membership": "join" }))?;
        let power_levels = json!({ "events": { "m.room.tombstone": 150 } });
        self.event(id, "m.room.power_levels", "", &power_levels)?;
        self.event(id, "m.room.join_rules", "", &json!({ "join_rule": "invite" }))?;
        let visibility = json!({ "history_visibility": "shared" });
        self.event(id, "m.room.history_visibility", "", &visibility)?;
        self.event(id, "m.room.guest_access", "", &json!({ "guest_access": "forbidden" }))?;
        self.event(id, "m.room.name", "", &json!({ "name": format!("{name} Admin Room") }))?;
        self.event(id, "m.room.topic", "", &json!({ "topic": format!("Manage {name}") }))?;
        let alias = json!({ "alias": format!("#admins:{name}") });
        self.event(id, "m.room.canonical_alias", "", &alias)?;
        for (admin, displayname) in admins {
            let admin = admin.as_str();
            self.event(id, "m.room.member", admin, &json!({ "membership": "invite" }))?;
            let mut join = json!({ "membership": "join" });
            if let (Some(displayname), Some(join)) = (displayname, join.as_object_mut()) {
                join.insert("displayname".into(), json!(displayname));
            }
            self.event(admin, "m.room.member", admin, &join)?;
        }
        if !admins.is_empty() {
            let users: BTreeMap<_, _> =
                admins.iter().map(|(admin, _)| (admin.as_str(), 100)).collect();
            let power_levels = json!({ "events": { "m.room.tombstone": 150 }, "users": users });
            self.event(id, "m.room.power_levels", "", &power_levels)?;
        }
        Ok(())
    }

    /// Signs a state event and appends it.
    fn event(
        &mut self,
        sender: &str,
        kind: &str,
        key: &str,
        content: &Value,
    ) -> Result<(), String> {
        let mut event = json!({
            "auth_events": self.auth_events(sender, kind, key),
            "content": content,
            "depth": self.events.len() + 1,
            "origin": self.context.server_name,
            "origin_server_ts": self.context.created_ts,
            "prev_events": self.events.last().map(|event| &event.event_id).into_iter().collect::<Vec<_>>(),
            "sender": sender,
            "state_key": key,
            "type": kind,
        });
        if let (Some(room_id), Some(event)) = (&self.id, event.as_object_mut()) {
            event.insert("room_id".into(), json!(room_id));
        }
        let mut event: CanonicalJsonObject =
            serde_json::from_value(event).map_err(|error| error.to_string())?;
        ruma::signatures::hash_and_sign_event(
            &self.context.server_name,
            &self.context.signer,
            &mut event,
            &self.rules.redaction,
        )
        .map_err(|error| error.to_string())?;
        let hash = ruma::signatures::reference_hash(&event, &self.rules)
            .map_err(|error| error.to_string())?;
        let event_id =
            OwnedEventId::try_from(format!("${hash}")).map_err(|error| error.to_string())?;
        if self.id.is_none() {
            let room_id = OwnedRoomId::try_from(format!("!{hash}"));
            self.id = Some(room_id.map_err(|error| error.to_string())?);
        }
        let pdu = serde_json::to_string(&event)
            .and_then(RawValue::from_string)
            .map_err(|error| error.to_string())?;
        self.events.push(DumpEvent {
            event_id: event_id.clone(),
            state_before: self.states.last().map(|state| state.id),
            redacted_by: None,
            erased: false,
            stream: None,
            soft_failed: false,
            pdu,
        });
        let base = self.states.last().map(|state| state.id);
        self.states.push(DumpState {
            id: base.unwrap_or(0) + 1,
            base,
            set: vec![(kind.to_owned(), key.to_owned(), event_id.clone())],
            unset: Vec::new(),
        });
        self.state.insert((kind.to_owned(), key.to_owned()), event_id);
        Ok(())
    }

    /// The auth events that the spec asks for; the create event is implied in this version (room version 12).
    fn auth_events(&self, sender: &str, kind: &str, key: &str) -> Vec<&OwnedEventId> {
        let mut wanted = vec![("m.room.power_levels", ""), ("m.room.member", sender)];
        if kind == "m.room.member" {
            wanted.push(("m.room.join_rules", ""));
            if key != sender {
                wanted.push(("m.room.member", key));
            }
        }
        wanted
            .into_iter()
            .filter_map(|(kind, key)| self.state.get(&(kind.to_owned(), key.to_owned())))
            .collect()
    }

    fn finish(
        self,
        server: &UserId,
        admins: &[(OwnedUserId, Option<String>)],
    ) -> Result<AdminRoom, String> {
        let room_id = self.id.ok_or("it has no events")?;
        let alias = format!("#admins:{}", self.context.server_name);
        let member = |user: OwnedUserId| {
            let event = self.state.get(&("m.room.member".to_owned(), user.to_string()))?;
            Some(DumpMember {
                user_id: user,
                membership: "join".into(),
                event_id: event.clone(),
                forgotten: false,
                stripped_state: None,
            })
        };
        let users = admins.iter().map(|(admin, _)| admin.clone());
        let mut local_members: Vec<_> =
            std::iter::once(server.to_owned()).chain(users).filter_map(member).collect();
        local_members.sort_by(|a, b| a.user_id.cmp(&b.user_id));
        let head = DumpRoom {
            room_id,
            room_version: Some(VERSION.to_string()),
            published: false,
            aliases: vec![DumpAlias {
                alias: alias.try_into().map_err(|error: ruma::IdParseError| error.to_string())?,
                creator: Some(server.to_owned()),
            }],
            current_state: self.states.last().map(|state| state.id),
            forward_extremities: self
                .events
                .last()
                .map(|e| e.event_id.clone())
                .into_iter()
                .collect(),
            earlier_events: Some(0),
            local_members,
        };
        Ok(AdminRoom { head, states: self.states, events: self.events })
    }
}

/// The finished room.
struct AdminRoom {
    head: DumpRoom,
    states: Vec<DumpState>,
    events: Vec<DumpEvent>,
}

impl RoomSource for AdminRoom {
    fn head(&self) -> &DumpRoom {
        &self.head
    }

    fn read(&self, sections: Sections, visit: &mut Visit<'_>) -> Result<(), ImportError> {
        let states = self.states.iter().cloned().map(|state| Item::State(Arc::new(state)));
        let events = self.events.iter().cloned();
        let events = events.map(|event| Item::Timeline(Arc::new(LazyEvent::new(event))));
        for item in states
            .filter(|_| sections != Sections::Events)
            .chain(events.filter(|_| sections != Sections::States))
        {
            if !visit(item)? {
                break;
            }
        }
        Ok(())
    }
}
