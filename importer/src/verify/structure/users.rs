//! Users: devices, tokens, keys, push rules, what Conduit must be able to parse.

use ruma::{
    api::client::{filter::FilterDefinition, push::Pusher},
    events::push_rules::PushRulesEventContent,
};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    conduit::{
        schema::{
            shapes::{OneTimeKey, UserDevice},
            trees::{self, Tree},
        },
        store::KvRead,
    },
    findings::{codes, codes::Code, collector::Findings},
    verify::{
        VerifyError,
        tools::lookup::{account_data, get},
    },
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
    found: &mut Findings,
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
    let tree = &trees::USERDEVICEID_TOKEN;
    for row in store.scan(tree, &[])? {
        let (key, _) = row?;
        let Ok(device) = tree.read_key(&key) else { continue };
        is_device(store, tree, &device, &codes::DEVICE_MISSING, found)?;
    }
    let tree = &trees::ONETIMEKEYID_ONETIMEKEYS;
    for row in store.scan(tree, &[])? {
        let (key, _) = row?;
        let Ok(OneTimeKey { user, device, .. }) = tree.read_key(&key) else { continue };
        // Conduit leaves one-time keys behind (src/database/key_value/users.rs:250).
        is_device(store, tree, &UserDevice { user, device }, &codes::KEY_UNUSED, found)?;
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

/// Whether the device of a row in `tree` is there.
fn is_device(
    store: &dyn KvRead,
    tree: &Tree,
    key: &UserDevice<'_>,
    code: &Code,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    if get(store, &trees::USERDEVICEID_METADATA, key)?.is_none() {
        let subject = format!("{} of {}", key.device, key.user);
        found.add(code, subject, format!("has a row in `{tree}` and is no device"));
    }
    Ok(())
}

fn push_rules(store: &dyn KvRead, user: &str, found: &mut Findings) -> Result<(), VerifyError> {
    let parsed = account_data(store, "", user, "m.push_rules")?
        .map(|event| serde_json::from_slice::<AccountData<PushRulesEventContent>>(&event));
    match parsed {
        Some(Ok(event)) => drop(event.content),
        Some(Err(error)) => found.add(&codes::PUSH_RULES_UNREADABLE, user, error.to_string()),
        None => found.add(&codes::PUSH_RULES_UNREADABLE, user, "has no push rules"),
    }
    Ok(())
}
