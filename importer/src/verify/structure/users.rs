//! Users: devices, tokens, keys, push rules, what Conduit must be able to parse.

use ruma::{
    api::client::{filter::FilterDefinition, push::Pusher},
    events::push_rules::PushRulesEventContent,
};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    conduit::{
        schema::{
            shapes::{AccountDataType, UserDevice},
            trees::{self, Tree},
        },
        store::KvRead,
    },
    findings::{codes, collector::Found},
    verify::{VerifyError, tools::lookup::get},
};

/// An account data event.
#[derive(Deserialize)]
struct AccountData<T> {
    #[serde(rename = "type")]
    kind: String,
    content: T,
}

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    server_name: &str,
    found: &mut Found,
) -> Result<(), VerifyError> {
    for row in store.scan(&trees::USERID_PASSWORD, &[])? {
        let (user, password) = row?;
        let user = String::from_utf8_lossy(&user).into_owned();
        let local = user.split_once(':').map(|(_, server)| server) == Some(server_name);
        if local && !password.is_empty() {
            push_rules(store, &user, found)?;
        }
    }
    for row in store.scan(&trees::ROOMUSERDATAID_ACCOUNTDATA, &[])? {
        let (key, value) = row?;
        let Ok(fields) = trees::ROOMUSERDATAID_ACCOUNTDATA.read_key(&key) else { continue };
        let event = serde_json::from_slice::<AccountData<IgnoredAny>>(&value);
        if !event.is_ok_and(|event| event.kind == fields.r#type) {
            let subject = format!("{} of {} {}", fields.r#type, fields.user, fields.room);
            found.add(&codes::ACCOUNT_DATA_UNREADABLE, subject.trim(), "is no event of this type");
        }
    }
    let of_devices: [&'static Tree; 2] =
        [&trees::USERDEVICEID_TOKEN, &trees::ONETIMEKEYID_ONETIMEKEYS];
    for tree in of_devices {
        for row in store.scan(tree, &[])? {
            let (key, _) = row?;
            let Ok(fields) = tree.decode_key(&key) else { continue };
            let (user, device) = (fields.text("user"), fields.text("device"));
            if get(store, &trees::USERDEVICEID_METADATA, &UserDevice { user, device })?.is_none() {
                let subject = format!("{device} of {user}");
                let text = format!("has a row in `{tree}` and is no device");
                // Conduit leaves one-time keys behind (src/database/key_value/users.rs:250).
                if tree == &trees::ONETIMEKEYID_ONETIMEKEYS {
                    found.add(&codes::KEY_UNUSED, subject, text);
                } else {
                    found.add(&codes::DEVICE_MISSING, subject, text);
                }
            }
        }
    }
    for row in store.scan(&trees::USERFILTERID_FILTER, &[])? {
        let (key, value) = row?;
        if let Err(error) = serde_json::from_slice::<FilterDefinition>(&value) {
            found.add(
                &codes::ROW_UNDECODABLE,
                format!("filter {}", hex::encode(&key)),
                error.to_string(),
            );
        }
    }
    for row in store.scan(&trees::SENDERKEY_PUSHER, &[])? {
        let (key, value) = row?;
        let Ok(fields) = trees::SENDERKEY_PUSHER.read_key(&key) else { continue };
        if let Err(error) = serde_json::from_slice::<Pusher>(&value) {
            found.add(
                &codes::PUSHER_UNREADABLE,
                format!("a pusher of {}", fields.user),
                error.to_string(),
            );
        }
    }
    Ok(())
}

fn push_rules(store: &dyn KvRead, user: &str, found: &mut Found) -> Result<(), VerifyError> {
    let parsed = account_data(store, "", user, "m.push_rules")?
        .map(|event| serde_json::from_slice::<AccountData<PushRulesEventContent>>(&event));
    match parsed {
        Some(Ok(event)) => drop(event.content),
        Some(Err(error)) => found.add(&codes::PUSH_RULES_UNREADABLE, user, error.to_string()),
        None => found.add(&codes::PUSH_RULES_UNREADABLE, user, "has no push rules"),
    }
    Ok(())
}

/// An account data event.
pub(in crate::verify) fn account_data(
    store: &dyn KvRead,
    room: &str,
    user: &str,
    kind: &str,
) -> Result<Option<Vec<u8>>, VerifyError> {
    let key = AccountDataType { room, user, r#type: kind };
    match get(store, &trees::ROOMUSERTYPE_ROOMUSERDATAID, &key)? {
        Some(id) => Ok(store.get(&trees::ROOMUSERDATAID_ACCOUNTDATA, &id)?),
        None => Ok(None),
    }
}
