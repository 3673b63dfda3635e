//! Read receipts: for local users, Conduit's sending task ends for good on one of another form
//! (src/service/sending/mod.rs:301-322). Numbers of what is unread: Conduit panics at one that JSON can't hold
//! (src/api/client_server/sync.rs:1099-1123).

use std::collections::BTreeSet;

use ruma::{
    CanonicalJsonObject, UInt,
    events::{
        AnySyncEphemeralRoomEvent,
        receipt::{ReceiptEventContent, ReceiptType},
    },
};

use crate::{
    conduit::{
        schema::{
            shapes::{Number, Unread},
            table::{Shape, Table},
            trees,
        },
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    verify::VerifyError,
};

/// The receipt, as Conduit's two readers take it (src/database/key_value/rooms/edus/read_receipt.rs:85-101,
/// src/service/sending/mod.rs:301-304).
fn parse(json: &[u8]) -> Option<ReceiptEventContent> {
    serde_json::from_slice::<CanonicalJsonObject>(json).ok()?;
    match serde_json::from_slice(json).ok()? {
        AnySyncEphemeralRoomEvent::Receipt(event) => Some(event.content),
        _ => None,
    }
}

/// One event, one `m.read`, one user.
fn is_of(receipt: &ReceiptEventContent, user: &str) -> bool {
    let mut events = receipt.0.values();
    let (Some(types), None) = (events.next(), events.next()) else { return false };
    let Some(users) = types.get(&ReceiptType::Read).filter(|_| types.len() == 1) else {
        return false;
    };
    users.len() == 1 && users.keys().all(|id| id == user)
}

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let mut room = String::new();
    let mut users = BTreeSet::new();
    for row in store.scan(&trees::READRECEIPTID_READRECEIPT, &[])? {
        let (key, value) = row?;
        let Ok(fields) = trees::READRECEIPTID_READRECEIPT.read_key(&key) else { continue };
        // Rows come by room.
        if fields.room != room {
            fields.room.clone_into(&mut room);
            users.clear();
        }
        let user = fields.user;
        let subject = || format!("{user} in {room}");
        if !users.insert(user.to_owned()) {
            found.add(&codes::RECEIPT_UNUSABLE, subject(), "has two receipts");
        }
        if !parse(&value).is_some_and(|receipt| is_of(&receipt, user)) {
            found.add(
                &codes::RECEIPT_UNUSABLE,
                subject(),
                "the receipt is not one `m.read` of this user",
            );
        }
    }
    unread(store, found)
}

fn unread(store: &dyn KvRead, found: &mut Findings) -> Result<(), VerifyError> {
    let notifications = |key: &[u8]| {
        let key = trees::USERROOMID_NOTIFICATIONCOUNT.read_key(key).ok()?;
        Some(format!("{} in {}", key.user, key.room))
    };
    let highlights = |key: &[u8]| {
        let (user, room) = match trees::USERROOMID_HIGHLIGHTCOUNT.read_key(key).ok()? {
            Unread::UserRoom(key) => (key.user, key.room),
            Unread::RoomUser(key) => (key.user, key.room),
        };
        Some(format!("{user} in {room}"))
    };
    too_large(store, &trees::USERROOMID_NOTIFICATIONCOUNT, notifications, found)?;
    too_large(store, &trees::USERROOMID_HIGHLIGHTCOUNT, highlights, found)
}

/// Names the numbers of a tree that JSON can't hold.
fn too_large<K: Shape>(
    store: &dyn KvRead,
    table: &'static Table<K, Number<'static>>,
    subject: impl Fn(&[u8]) -> Option<String>,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    for row in store.scan(table.tree(), &[])? {
        let (key, value) = row?;
        let Ok(Number { number }) = table.read_value(&key, &value) else { continue };
        if UInt::new(number).is_none()
            && let Some(subject) = subject(&key)
        {
            found.add(&codes::UNREAD_COUNT_TOO_LARGE, subject, "the unread count is too large");
        }
    }
    Ok(())
}
