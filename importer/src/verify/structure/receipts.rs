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
        schema::{layout::Value, trees},
        store::KvRead,
    },
    findings::{codes, collector::Found},
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

pub(in crate::verify) fn check(store: &dyn KvRead, found: &mut Found) -> Result<(), VerifyError> {
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

fn unread(store: &dyn KvRead, found: &mut Found) -> Result<(), VerifyError> {
    for tree in
        [trees::USERROOMID_NOTIFICATIONCOUNT.tree(), trees::USERROOMID_HIGHLIGHTCOUNT.tree()]
    {
        for row in store.scan(tree, &[])? {
            let (key, value) = row?;
            let Ok(fields) = tree.decode_value(&key, &value) else { continue };
            let is_too_large = |value: &Value<'_>| matches!(value, Value::U64(number) if UInt::new(*number).is_none());
            if fields.iter().any(|(_, value)| is_too_large(value)) {
                let (user, room) = match tree.decode_key(&key) {
                    Ok(key) => (key.text("user").to_owned(), key.text("room").to_owned()),
                    Err(_) => continue,
                };
                found.add(
                    &codes::UNREAD_COUNT_TOO_LARGE,
                    format!("{user} in {room}"),
                    "the unread count is too large",
                );
            }
        }
    }
    Ok(())
}
