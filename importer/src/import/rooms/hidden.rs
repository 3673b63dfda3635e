//! States that keep events outside of the timelines from being read.
//!
//! Conduit shows an event without a state before it to everybody who knows its id
//! (src/service/rooms/state_accessor/mod.rs:176-179, src/api/client_server/room.rs:505-535). Synapse shows such events to no
//! client (synapse/visibility.py:426-443) and gives them to servers that are in the room (765-790). So each room with such
//! events has one more event, which nobody sends: a history visibility `joined` by `@conduit:NAME`, and two states:
//!
//! * [`Hidden::outside`]: the room's present state with that visibility and without the users of this server. As nobody of
//!   them is joined there, none of them sees an event with it; servers whose users are, do. It is made to be looked into and
//!   never to be used as a state: the place of its create event has a number that no event has, so Conduit fails to put it
//!   together and does what it does without a state, it asks the server that sent an event
//!   (src/service/rooms/event_handler/mod.rs:562-604, 711-790). Otherwise an event that names one of these as its
//!   predecessor would get a state of another time.
//! * [`Hidden::own_members`]: the visibility alone, for member events of this server's users in the present state. Conduit
//!   puts the state before a user's leave together in each of the user's first syncs, and answers with an error if it can't
//!   (src/api/client_server/sync.rs:389-430).

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, RoomId,
    room_version_rules::RoomVersionRules,
    signatures::{Ed25519KeyPair, hash_and_sign_event, reference_hash},
};
use serde_json::json;

use crate::{
    conduit::schema::trees,
    import::{
        ImportError,
        events::{state_layers::State, timeline_rows::write_state_before},
        row_writer::Rows,
    },
};

const VISIBILITY: &str = "m.room.history_visibility";

/// The short state hashes of a room's states that hide.
#[derive(Clone, Copy, Debug)]
pub(in crate::import) struct Hidden {
    /// For events outside of the timeline.
    pub(in crate::import) outside: u64,
    /// For those of them that are the present member events of users of this server.
    pub(in crate::import) own_members: u64,
}

/// A room, and who signs for the server.
#[derive(Clone, Copy)]
pub(in crate::import) struct RoomSigner<'a> {
    pub(in crate::import) room: &'a RoomId,
    pub(in crate::import) rules: &'a RoomVersionRules,
    pub(in crate::import) server_name: &'a str,
    pub(in crate::import) key: &'a Ed25519KeyPair,
}

impl RoomSigner<'_> {
    /// The event, always the same for a room of a server, and its id.
    pub(in crate::import) fn event(
        &self,
    ) -> Result<(OwnedEventId, CanonicalJsonObject), ImportError> {
        self.build().map_err(|reason| ImportError::Hidden { room: self.room.to_owned(), reason })
    }

    fn build(&self) -> Result<(OwnedEventId, CanonicalJsonObject), String> {
        let event = json!({
            "auth_events": [],
            "content": { "history_visibility": "joined" },
            "depth": 1,
            "origin": self.server_name,
            "origin_server_ts": 0,
            "prev_events": [],
            "room_id": self.room,
            "sender": format!("@conduit:{}", self.server_name),
            "state_key": "",
            "type": VISIBILITY,
        });
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let mut event: CanonicalJsonObject =
            serde_json::from_value(event).map_err(|error| text(&error))?;
        hash_and_sign_event(self.server_name, self.key, &mut event, &self.rules.redaction)
            .map_err(|error| text(&error))?;
        let hash = reference_hash(&event, self.rules).map_err(|error| text(&error))?;
        let id = OwnedEventId::try_from(format!("${hash}")).map_err(|error| text(&error))?;
        event.insert("event_id".into(), CanonicalJsonValue::String(id.to_string()));
        event.insert("unsigned".into(), CanonicalJsonValue::Object(CanonicalJsonObject::new()));
        Ok((id, event))
    }
}

impl Hidden {
    /// Writes the event and both states. `own_members`: the short state keys of this server's users.
    pub(in crate::import) fn write(
        signer: &RoomSigner<'_>,
        current: &State,
        own_members: &BTreeSet<u64>,
        rows: &mut Rows<'_>,
    ) -> Result<Self, ImportError> {
        let (id, event) = signer.event()?;
        let short = rows.next();
        let visibility = rows.short_state_key(VISIBILITY, "")?;
        let create = rows.short_state_key("m.room.create", "")?;
        let mut changes: BTreeMap<u64, Option<u64>> =
            own_members.iter().map(|key| (*key, None)).collect();
        changes.insert(visibility, Some(short));
        changes.insert(create, Some(rows.next()));
        let outside = current.change(&changes, rows)?.short_state_hash();
        let alone = BTreeMap::from([(visibility, Some(short))]);
        let own_members = State::default().change(&alone, rows)?.short_state_hash();
        rows.name_event(&id, short)?;
        // Canonical JSON, which has no floats and no keys but texts, can always be written.
        let json = serde_json::to_vec(&event).unwrap_or_default();
        rows.put_raw(&trees::EVENTID_OUTLIERPDU, id.as_bytes().to_vec(), json)?;
        let hidden = Self { outside, own_members };
        write_state_before(short, outside, rows)?;
        Ok(hidden)
    }
}
