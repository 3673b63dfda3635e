//! What Synapse had not yet delivered goes into Conduit's queues (src/database/key_value/sending.rs:61-111).
//!
//! At its start, Conduit sends the rows of `servercurrentevent_data`, at most 31 of a destination, and deletes further ones
//! (src/service/sending/mod.rs:126-155); when a destination has accepted them, those of `servernameevent_data` follow, 30 at a
//! time (156-180). So the oldest go into the first tree and the rest into the second one.

use std::collections::BTreeMap;

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, UserId};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{ImportError, row_writer::Rows, skip::SkipReason};
use crate::{
    conduit::schema::{
        pdu_id::PduCount,
        shapes::{
            AppserviceEdu, AppservicePdu, AsSent, FederationEdu, FederationPdu, NOTHING, Queue,
            Queued, RoomServer,
        },
        trees,
    },
    dump::{DumpReader, format::DumpOutgoing},
    tally::{Kind, Tally},
};

/// Rows of a destination that Conduit sends together.
const TOGETHER: usize = 30;

/// What is put into a queue.
enum Payload {
    /// An event of the timeline, by its `PduId`: short room id and count.
    Pdu(u64, u64),
    /// An EDU, as JSON.
    Edu(String),
}

/// Writes what had not been delivered. All rooms and application services are there.
pub(super) fn import(
    dump: &DumpReader,
    server_name: &str,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let mut queued = BTreeMap::new();
    for item in dump.outbox()? {
        let item = item?;
        let (kind, name) = describe(&item);
        tally.read(kind, 1);
        match payload(&item, server_name, rows)? {
            Err(reason) => tally.leave(kind, name, reason),
            Ok(payload) => {
                let destination = destination(&item);
                let number: &mut usize = queued.entry(destination.clone()).or_default();
                *number += 1;
                queue(&destination, *number <= TOGETHER, &payload, rows)?;
                tally.written(kind, 1);
            }
        }
    }
    Ok(())
}

fn queue(
    destination: &str,
    is_among_first: bool,
    payload: &Payload,
    rows: &mut Rows<'_>,
) -> Result<(), ImportError> {
    let tree =
        if is_among_first { &trees::SERVERCURRENTEVENT_DATA } else { &trees::SERVERNAMEEVENT_DATA };
    let is_appservice = destination.starts_with('+');
    let (server, appservice) = (destination, destination);
    match payload {
        Payload::Pdu(short_room, count) => {
            let (short_room, count) = (*short_room, *count);
            let key = if is_appservice {
                Queue::AppservicePdu(AppservicePdu { appservice, short_room, count })
            } else {
                Queue::FederationPdu(FederationPdu { server, short_room, count })
            };
            rows.put(tree, &key, &Queued::Pdu(NOTHING))
        }
        Payload::Edu(json) => {
            let count = rows.next();
            let key = if is_appservice {
                Queue::AppserviceEdu(AppserviceEdu { appservice, count })
            } else {
                Queue::FederationEdu(FederationEdu { server, count })
            };
            rows.put(tree, &key, &Queued::Edu(AsSent { json }))
        }
    }
}

fn payload(
    item: &DumpOutgoing,
    server_name: &str,
    rows: &mut Rows<'_>,
) -> Result<Result<Payload, SkipReason>, ImportError> {
    Ok(match item {
        DumpOutgoing::ToDevice { content, .. } => to_device(content, server_name),
        DumpOutgoing::DeviceList { user_id, .. } => Ok(device_list(user_id)),
        DumpOutgoing::Event { server, room_id, event_id } => {
            if is_in_room(server, room_id.as_str(), rows)? {
                pdu(event_id.as_str(), rows)?
            } else {
                let detail = "the server is not in the room any more";
                Err(SkipReason::new("server-not-in-room", detail))
            }
        }
        DumpOutgoing::Appservice { appservice, event_id } => {
            let tree = &trees::ID_APPSERVICEREGISTRATIONS;
            if rows.get(tree, appservice.as_bytes())?.is_some() {
                pdu(event_id.as_str(), rows)?
            } else {
                let detail = "the application service is not in Conduit";
                Err(SkipReason::new("appservice-left-out", detail))
            }
        }
    })
}

fn is_in_room(
    server: &OwnedServerName,
    room: &str,
    rows: &mut Rows<'_>,
) -> Result<bool, ImportError> {
    let tree = &trees::ROOMSERVERIDS;
    let key = tree.key_of(&RoomServer { room, server: server.as_str() });
    Ok(rows.get(tree, &key)?.is_some())
}

/// An event of the timeline. Conduit sends no other.
fn pdu(event_id: &str, rows: &mut Rows<'_>) -> Result<Result<Payload, SkipReason>, ImportError> {
    let id = rows.get(&trees::EVENTID_PDUID, event_id.as_bytes())?;
    let place = id.as_deref().and_then(PduCount::read);
    let pdu = place.and_then(|(room, count)| Some(Payload::Pdu(room, count.normal()?)));
    let detail = "the event is not in the timeline of an imported room";
    Ok(pdu.ok_or(SkipReason::new("event-missing", detail)))
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
fn to_device(content: &RawValue, server_name: &str) -> Result<Payload, SkipReason> {
    let parse = || {
        let content: CanonicalJsonObject = serde_json::from_str(content.get()).ok()?;
        let text = |name: &str| content.get(name).and_then(CanonicalJsonValue::as_str);
        let sender = UserId::parse(text("sender")?).ok()?;
        text("type").and(text("message_id"))?;
        content.get("messages")?.as_object()?;
        Some((sender, content))
    };
    let Some((sender, content)) = parse() else {
        let detail = "it is not the canonical JSON of a to-device message";
        return Err(SkipReason::new("message-unparsable", detail));
    };
    if sender.server_name() != server_name {
        let detail = "its sender is a user of another server";
        return Err(SkipReason::new("message-of-another", detail));
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
