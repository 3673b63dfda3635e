//! What waits to be sent: each item of the dump is in one of Conduit's two queues, and nothing else is.

use std::collections::BTreeMap;

use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Findings, KvRead, Skipped, VerifyError, codes};
use crate::{
    conduit::schema::{
        shapes::{Event, Id, RoomServer},
        trees::{self, Tree},
    },
    dump::{DumpReader, format::DumpOutgoing},
    hash::hash,
    tally::Kind,
    verify::tools::lookup::get,
};

/// What waits for a destination, and how often.
type Waiting = BTreeMap<(String, Sent), i64>;

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sent {
    /// An event, by its `PduId`.
    Pdu(Vec<u8>),
    /// An EDU, by its type and the hash of its content.
    Edu(String, u64),
}

pub(super) fn compare(
    store: &dyn KvRead,
    dump: &DumpReader,
    skipped: &Skipped<'_>,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let mut waiting = Waiting::new();
    for item in dump.outbox()? {
        let Expected { destination, kind, name, sent } = expected(store, &item?)?;
        if !skipped.keeps(kind, &name, || sent.is_some()) {
            continue;
        }
        match sent {
            Some(sent) => {
                let number = waiting.entry((destination, sent)).or_default();
                *number += 1;
            }
            None => found.add(
                &codes::MISSING_IN_DATABASE,
                name,
                "can't be sent, and is not among what was left out",
            ),
        }
    }
    for tree in [&trees::SERVERCURRENTEVENT_DATA, &trees::SERVERNAMEEVENT_DATA] {
        stored(store, tree, &mut waiting)?;
    }
    for ((destination, sent), number) in waiting {
        let what = match sent {
            Sent::Pdu(_) => "an event".to_owned(),
            Sent::Edu(kind, _) => kind,
        };
        match number {
            1.. => found.add(
                &codes::MISSING_IN_DATABASE,
                destination,
                format!("{what} does not wait to be sent"),
            ),
            0 => {}
            ..0 => found.add(
                &codes::NOT_IN_DUMP,
                destination,
                format!("{what} waits to be sent, unlike in the dump"),
            ),
        }
    }
    Ok(())
}

/// An item of the dump.
struct Expected {
    /// As Conduit's keys begin.
    destination: String,
    kind: Kind,
    name: String,
    /// What should be in a queue; `None` if Conduit can't send it.
    sent: Option<Sent>,
}

fn expected(store: &dyn KvRead, item: &DumpOutgoing) -> Result<Expected, VerifyError> {
    Ok(match item {
        DumpOutgoing::ToDevice { server, content } => Expected {
            destination: server.to_string(),
            kind: Kind::QueuedMessage,
            name: format!("{} for {server}", message_id(content)),
            sent: serde_json::from_str(content.get())
                .ok()
                .map(|content| edu("m.direct_to_device", &content)),
        },
        DumpOutgoing::DeviceList { server, user_id } => Expected {
            destination: server.to_string(),
            kind: Kind::QueuedDeviceList,
            name: format!("{user_id} for {server}"),
            sent: Some(Sent::Edu("m.device_list_update".to_owned(), hash(user_id.as_str()))),
        },
        DumpOutgoing::Event { server, room_id, event_id } => {
            let key = RoomServer { room: room_id.as_str(), server: server.as_str() };
            let is_there = get(store, &trees::ROOMSERVERIDS, &key)?.is_some();
            Expected {
                destination: server.to_string(),
                kind: Kind::QueuedEvent,
                name: format!("{event_id} for {server}"),
                sent: pdu(store, event_id.as_str())?.filter(|_| is_there),
            }
        }
        DumpOutgoing::Appservice { appservice, event_id } => {
            let key = Id { id: appservice };
            let is_there = get(store, &trees::ID_APPSERVICEREGISTRATIONS, &key)?.is_some();
            Expected {
                destination: format!("+{appservice}"),
                kind: Kind::QueuedEvent,
                name: format!("{event_id} for {appservice}"),
                sent: pdu(store, event_id.as_str())?.filter(|_| is_there),
            }
        }
    })
}

/// The id of a message, whatever else it holds.
fn message_id(content: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Id {
        message_id: String,
    }
    serde_json::from_str::<Id>(content.get()).map(|id| id.message_id).unwrap_or_default()
}

fn pdu(store: &dyn KvRead, event_id: &str) -> Result<Option<Sent>, VerifyError> {
    Ok(get(store, &trees::EVENTID_PDUID, &Event { event: event_id })?.map(Sent::Pdu))
}

fn edu(kind: &str, content: &CanonicalJsonObject) -> Sent {
    let text = serde_json::to_string(content).unwrap_or_default();
    Sent::Edu(kind.to_owned(), hash(&text))
}

/// Takes what a queue holds from what should wait.
fn stored(
    store: &dyn KvRead,
    tree: &'static Tree,
    waiting: &mut Waiting,
) -> Result<(), VerifyError> {
    for row in store.scan(tree, &[])? {
        let (key, value) = row?;
        let Some(end) = key.iter().position(|byte| *byte == 0xff) else { continue };
        let (destination, rest) = key.split_at(end);
        let destination = String::from_utf8_lossy(destination).into_owned();
        let sent = if value.is_empty() {
            Sent::Pdu(rest.get(1..).unwrap_or_default().to_vec())
        } else {
            of_edu(&value)
        };
        let number = waiting.entry((destination, sent)).or_default();
        *number = number.saturating_sub(1);
    }
    Ok(())
}

/// An EDU of a queue. Of a changed device list only the user counts: the rest is made up.
fn of_edu(json: &[u8]) -> Sent {
    let parsed = serde_json::from_slice::<CanonicalJsonObject>(json).unwrap_or_default();
    let kind = parsed.get("edu_type").and_then(CanonicalJsonValue::as_str).unwrap_or_default();
    let empty = CanonicalJsonObject::new();
    let content = parsed.get("content").and_then(CanonicalJsonValue::as_object).unwrap_or(&empty);
    if kind == "m.device_list_update" {
        let user = content.get("user_id").and_then(CanonicalJsonValue::as_str).unwrap_or_default();
        Sent::Edu(kind.to_owned(), hash(user))
    } else {
        edu(kind, content)
    }
}
