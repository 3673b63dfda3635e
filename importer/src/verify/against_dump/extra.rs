//! What the database has and the dump does not.

use std::collections::BTreeSet;

use super::{Findings, KvRead, VerifyError, codes};
use crate::{
    conduit::schema::{shapes::AliasLocalpart, trees},
    hash::hash,
    verify::tools::lookup::get,
};

/// What the dump has.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Rooms that should be in the database.
    pub(super) rooms: BTreeSet<String>,
    /// Those of them whose history the dump has not all.
    pub(super) with_a_past: BTreeSet<String>,
    /// Localparts of aliases.
    pub(super) aliases: BTreeSet<String>,
    /// Hashes of the ids of events that may be outside of timelines.
    events: BTreeSet<u64>,
}

impl Seen {
    pub(super) fn event(&mut self, id: &str) {
        self.events.insert(hash(id));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.rooms.extend(other.rooms);
        self.with_a_past.extend(other.with_a_past);
        self.aliases.extend(other.aliases);
        self.events.extend(other.events);
    }

    /// Rooms, aliases and outliers that the dump does not have, other than those of the admin room. Events of timelines
    /// are compared with each room.
    pub(super) fn extra(
        &self,
        store: &dyn KvRead,
        server_name: &str,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        let admin_room =
            get(store, &trees::ALIAS_ROOMID, &AliasLocalpart { alias_localpart: "admins" })?;
        for row in store.scan(&trees::ROOMID_SHORTROOMID, &[])? {
            let (room, _) = row?;
            let is_admin_room = admin_room.as_deref() == Some(&*room);
            let room = String::from_utf8_lossy(&room).into_owned();
            if !is_admin_room && !self.rooms.contains(&room) {
                found.add(&codes::NOT_IN_DUMP, room, "is a room that the dump does not have");
            }
        }
        for row in store.scan(&trees::ALIAS_ROOMID, &[])? {
            let (alias, _) = row?;
            let alias = String::from_utf8_lossy(&alias).into_owned();
            if alias != "admins" && !self.aliases.contains(&alias) {
                let alias = format!("#{alias}:{server_name}");
                found.add(&codes::NOT_IN_DUMP, alias, "is an alias that the dump does not have");
            }
        }
        for row in store.scan(&trees::EVENTID_OUTLIERPDU, &[])? {
            let (event, json) = row?;
            let event = String::from_utf8_lossy(&event).into_owned();
            let is_known = self.events.contains(&hash(&event)) || hides(&json, server_name);
            if !is_known && !self.may_be_fetched(&json) {
                found.add(&codes::NOT_IN_DUMP, event, "is an event that the dump does not have");
            }
        }
        Ok(())
    }

    /// Whether an event may have come with a room's history.
    fn may_be_fetched(&self, json: &[u8]) -> bool {
        #[derive(serde::Deserialize)]
        struct Event {
            room_id: String,
        }
        let event = serde_json::from_slice::<Event>(json);
        event.is_ok_and(|event| self.with_a_past.contains(&event.room_id))
    }
}

/// Whether this is the event of a room that hides others, which the importer makes: nobody sends it, so it has no time.
fn hides(json: &[u8], server_name: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        kind: String,
        sender: String,
        origin_server_ts: u64,
        content: Content,
    }
    #[derive(serde::Deserialize)]
    struct Content {
        history_visibility: String,
    }
    serde_json::from_slice::<Event>(json).is_ok_and(|event| {
        event.kind == "m.room.history_visibility"
            && event.sender == format!("@conduit:{server_name}")
            && event.origin_server_ts == 0
            && event.content.history_visibility == "joined"
    })
}
