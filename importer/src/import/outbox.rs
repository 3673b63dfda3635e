//! What Synapse had not yet delivered goes into Conduit's queues (src/database/key_value/sending.rs:61-111).
//!
//! At its start, Conduit sends the rows of `servercurrentevent_data`, at most 31 of a destination, and deletes further ones
//! (src/service/sending/mod.rs:126-155); when a destination has accepted them, those of `servernameevent_data` follow, 30 at a
//! time (156-180). So the oldest go into the first tree and the rest into the second one.

use std::collections::BTreeMap;

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, UserId};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{Import, ImportError};
use crate::{
    conduit::schema::{layout::Part, trees},
    dump::{DumpReader, format::DumpOutgoing},
    tally::Kind,
};

/// Rows of a destination that Conduit sends together.
const TOGETHER: usize = 30;

/// A code and a sentence.
type Refusal = (&'static str, &'static str);

/// What is put into a queue.
enum Payload {
    /// An event of the timeline, by its `PduId`: short room id and count.
    Pdu(u64, u64),
    /// An EDU, as JSON.
    Edu(String),
}

impl Import<'_> {
    /// Writes what had not been delivered. All rooms and application services are there.
    pub(super) fn outbox(&mut self, dump: &DumpReader) -> Result<(), ImportError> {
        let mut queued = BTreeMap::new();
        for item in dump.outbox()? {
            let item = item?;
            let (kind, name) = describe(&item);
            self.tally.read(kind, 1);
            match self.payload(&item)? {
                Err((reason, detail)) => self.tally.skip(kind, name, reason, detail),
                Ok(payload) => {
                    let destination = destination(&item);
                    let number: &mut usize = queued.entry(destination.clone()).or_default();
                    *number = number.saturating_add(1);
                    self.queue(&destination, *number <= TOGETHER, &payload)?;
                    self.tally.written(kind, 1);
                }
            }
        }
        Ok(())
    }

    fn queue(
        &mut self,
        destination: &str,
        first: bool,
        payload: &Payload,
    ) -> Result<(), ImportError> {
        let tree =
            if first { &trees::SERVERCURRENTEVENT_DATA } else { &trees::SERVERNAMEEVENT_DATA };
        let to = Part::Text(destination);
        match payload {
            Payload::Pdu(room, count) => {
                self.rows.mark(tree, &[to, Part::U64(*room), Part::U64(*count)])
            }
            Payload::Edu(json) => {
                let count = Part::U64(self.rows.next());
                self.rows.put(tree, &[to, count], &[Part::Text(json)])
            }
        }
    }

    fn payload(&mut self, item: &DumpOutgoing) -> Result<Result<Payload, Refusal>, ImportError> {
        Ok(match item {
            DumpOutgoing::ToDevice { content, .. } => to_device(content, &self.server_name),
            DumpOutgoing::DeviceList { user_id, .. } => Ok(device_list(user_id)),
            DumpOutgoing::Event { server, room_id, event_id } => {
                if self.shares(server, room_id.as_str())? {
                    self.pdu(event_id.as_str())?
                } else {
                    Err(("server-not-in-room", "the server is not in the room any more"))
                }
            }
            DumpOutgoing::Appservice { appservice, event_id } => {
                let tree = &trees::ID_APPSERVICEREGISTRATIONS;
                if self.rows.get(tree, &tree.key(&[Part::Text(appservice)]))?.is_some() {
                    self.pdu(event_id.as_str())?
                } else {
                    Err(("appservice-left-out", "the application service is not in Conduit"))
                }
            }
        })
    }

    /// Whether a server is in a room.
    fn shares(&mut self, server: &OwnedServerName, room: &str) -> Result<bool, ImportError> {
        let tree = &trees::ROOMSERVERIDS;
        let key = tree.key(&[Part::Text(room), Part::Text(server.as_str())]);
        Ok(self.rows.get(tree, &key)?.is_some())
    }

    /// An event of the timeline. Conduit sends no other.
    fn pdu(&mut self, event_id: &str) -> Result<Result<Payload, Refusal>, ImportError> {
        let tree = &trees::EVENTID_PDUID;
        let id = self.rows.get(tree, &tree.key(&[Part::Text(event_id)]))?;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        let id = id.as_deref().and_then(|id| id.split_at_checked(8));
        let id = id.and_then(|(room, count)| Some((number(room)?, number(count)?)));
        Ok(id
            .map(|(room, count)| Payload::Pdu(room, count))
            .ok_or(("event-missing", "the event is not in the timeline of an imported room")))
    }
}

/// The kind of an item, and its name in the list of what was left out.
fn describe(item: &DumpOutgoing) -> (Kind, String) {
    match item {
        DumpOutgoing::ToDevice { server, content } => {
            #[derive(Deserialize)]
            struct Id {
                message_id: String,
            }
            let id = serde_json::from_str::<Id>(content.get()).map(|id| id.message_id);
            (Kind::QueuedMessage, format!("{} for {server}", id.unwrap_or_default()))
        }
        DumpOutgoing::Event { server, event_id, .. } => {
            (Kind::QueuedEvent, format!("{event_id} for {server}"))
        }
        DumpOutgoing::DeviceList { server, user_id } => {
            (Kind::QueuedDeviceList, format!("{user_id} for {server}"))
        }
        DumpOutgoing::Appservice { appservice, event_id } => {
            (Kind::QueuedEvent, format!("{event_id} for {appservice}"))
        }
    }
}

/// The destination as Conduit's keys begin with it (src/service/sending/mod.rs:46-79).
fn destination(item: &DumpOutgoing) -> String {
    match item {
        DumpOutgoing::ToDevice { server, .. }
        | DumpOutgoing::Event { server, .. }
        | DumpOutgoing::DeviceList { server, .. } => server.to_string(),
        DumpOutgoing::Appservice { appservice, .. } => format!("+{appservice}"),
    }
}

/// The EDU of a to-device message. Conduit signs what it sends together as canonical JSON
/// (src/api/server_server.rs:256), so a message that is none would hold up the whole destination.
fn to_device(content: &RawValue, server_name: &str) -> Result<Payload, Refusal> {
    let unparsable = ("message-unparsable", "it is not the canonical JSON of a to-device message");
    let content: CanonicalJsonObject =
        serde_json::from_str(content.get()).map_err(|_| unparsable)?;
    let text = |name: &str| content.get(name).and_then(CanonicalJsonValue::as_str);
    let sender = text("sender").and_then(|id| UserId::parse(id).ok()).ok_or(unparsable)?;
    text("type").and(text("message_id")).ok_or(unparsable)?;
    content.get("messages").and_then(CanonicalJsonValue::as_object).ok_or(unparsable)?;
    if sender.server_name() != server_name {
        return Err(("message-of-another", "its sender is a user of another server"));
    }
    Ok(Payload::Edu(json!({"content": content, "edu_type": "m.direct_to_device"}).to_string()))
}

/// The EDU that makes another server ask for a user's devices: it names no earlier change, so nobody can take it for the next
/// one. Conduit itself announces changes in this form (src/service/sending/mod.rs:348-364).
fn device_list(user_id: &UserId) -> Payload {
    let content = json!({
        "user_id": user_id, "device_id": "dummy", "stream_id": 1, "prev_id": [],
    });
    Payload::Edu(json!({"content": content, "edu_type": "m.device_list_update"}).to_string())
}
