//! Read receipts: for local users, Conduit's sending task ends for good on one of another form
//! (src/service/sending/mod.rs:301-322).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{VerifyError, found::Found};
use crate::conduit::{kv::KvStore, trees};

#[derive(Deserialize)]
struct Receipt {
    content: BTreeMap<String, BTreeMap<String, BTreeMap<String, serde_json::Value>>>,
}

impl Receipt {
    /// One event, one `m.read`, one user.
    fn is_of(&self, user: &str) -> bool {
        let mut events = self.content.values();
        let (Some(types), None) = (events.next(), events.next()) else { return false };
        let Some(users) = types.get("m.read").filter(|_| types.len() == 1) else { return false };
        users.len() == 1 && users.contains_key(user)
    }
}

pub(super) fn check(store: &dyn KvStore, found: &mut Found) -> Result<(), VerifyError> {
    let mut room = String::new();
    let mut users = BTreeSet::new();
    for row in store.scan(&trees::READRECEIPTID_READRECEIPT, &[])? {
        let (key, value) = row?;
        let Ok(fields) = trees::READRECEIPTID_READRECEIPT.decode_key(&key) else { continue };
        // Rows come by room.
        if fields.text("room") != room {
            fields.text("room").clone_into(&mut room);
            users.clear();
        }
        let user = fields.text("user");
        let subject = || format!("{user} in {room}");
        if !users.insert(user.to_owned()) {
            found.error("V123", subject(), "has two receipts");
        }
        if !serde_json::from_slice::<Receipt>(&value).is_ok_and(|receipt| receipt.is_of(user)) {
            found.error("V123", subject(), "the receipt is not one `m.read` of this user");
        }
    }
    Ok(())
}
