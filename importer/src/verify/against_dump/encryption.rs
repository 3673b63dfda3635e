//! A user's keys, and the messages that wait for its devices.
//!
//! What the import left out is not asked for here: an item is expected exactly if Conduit can hand it out.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedOneTimeKeyId, OwnedUserId, encryption::CrossSigningKey};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    Findings, KvRead, VerifyError, codes,
    json::Json,
    named::{Named, differences},
    signatures::Signatures,
};
use crate::{
    conduit::{
        schema::{
            shapes::User,
            table::{Shape, Table},
            trees,
        },
        store::Entries,
    },
    dump::{
        MessageReader,
        format::{DumpDevice, DumpMessage, DumpUser},
    },
    verify::tools::lookup::get,
};

/// Items of one tree by their names.
type Items = Named<Json>;

pub(super) fn compare(
    store: &dyn KvRead,
    user: &DumpUser,
    messages: MessageReader,
    signatures: &mut Signatures,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let devices: Vec<_> =
        user.devices.iter().filter(|device| !user.deactivated && !device.dehydrated).collect();
    let has_keys = keys(store, user, &devices, signatures, found)?;
    one_time_keys(store, user, &devices, found)?;
    to_device(store, user, &devices, messages, found)?;
    device_list(store, user, !devices.is_empty(), found)?;
    key_change(store, user.user_id.as_str(), has_keys, found)
}

/// Compares device keys and cross-signing keys with the pointers to them; whether there are any.
fn keys(
    store: &dyn KvRead,
    user: &DumpUser,
    devices: &[&DumpDevice],
    signatures: &mut Signatures,
    found: &mut Findings,
) -> Result<bool, VerifyError> {
    let id = user.user_id.as_str();
    let mut expected = Items::new();
    for (usage, tree) in [
        ("master", &trees::USERID_MASTERKEYID),
        ("self_signing", &trees::USERID_SELFSIGNINGKEYID),
        ("user_signing", &trees::USERID_USERSIGNINGKEYID),
    ] {
        let key = user.cross_signing_keys.get(usage).and_then(|key| cross_signing_key(key, id));
        let key = key.filter(|(name, _)| !expected.contains_key(name));
        let target =
            key.as_ref().map(|(name, _)| [id.as_bytes(), b"\xff", name.as_bytes()].concat());
        if get(store, tree, &User { user: id })? != target {
            found.add(&codes::DIFFERS_FROM_DUMP, id, format!("the {usage} key differs"));
        }
        if let Some((name, key)) = key {
            if usage == "master" {
                signatures.master(&user.user_id, &name);
            }
            expected.insert(name, Json::Value(key));
        }
    }
    let cross_signing: Vec<_> = expected.keys().cloned().collect();
    for device in devices {
        let keys = device.keys.as_ref().and_then(|keys| parse(keys));
        let name = &device.device_id;
        let own = |keys: &Value| {
            keys.get("user_id").is_some_and(|user| user == id)
                && keys.get("device_id").is_some_and(|device| device == name.as_str())
        };
        if let Some(keys) = keys.filter(own) {
            expected.entry(name.clone()).or_insert(Json::Value(keys));
        }
    }
    let mut stored = named(store, &trees::KEYID_KEY, id, |key| key.key.to_owned())?;
    for name in cross_signing {
        if let (Some(Json::Value(stored)), Some(Json::Value(expected))) =
            (stored.get_mut(&name), expected.get(&name))
        {
            signatures.take_foreign(&user.user_id, &name, stored, expected);
        }
    }
    differences(&expected, &stored, |name| format!("key {name} of {id}"), found);
    Ok(!expected.is_empty())
}

/// The public key, and the key as Conduit needs it.
pub(super) fn cross_signing_key(key: &RawValue, owner: &str) -> Option<(String, Value)> {
    let mut key = parse(key)?;
    if key.get("signatures").is_none() {
        key.as_object_mut()?.insert("signatures".into(), json!({}));
    }
    let typed = serde_json::from_value::<CrossSigningKey>(key.clone()).ok()?;
    let name = typed.keys.values().next().filter(|_| typed.keys.len() == 1)?;
    (typed.user_id == owner).then(|| (name.clone(), key))
}

fn one_time_keys(
    store: &dyn KvRead,
    user: &DumpUser,
    devices: &[&DumpDevice],
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let mut expected = Items::new();
    for device in devices {
        for (name, key) in &device.one_time_keys {
            let name = Value::from(name.as_str());
            if serde_json::from_value::<OwnedOneTimeKeyId>(name.clone()).is_ok() {
                let name = format!("{name} of {}", device.device_id);
                expected.insert(name, Json::of(key.get()));
            }
        }
    }
    let stored = named(store, &trees::ONETIMEKEYID_ONETIMEKEYS, id, |key| {
        format!("{} of {}", key.quoted_key, key.device)
    })?;
    differences(&expected, &stored, |name| format!("one-time key {name} of {id}"), found);
    Ok(())
}

/// Compares the messages of each device, in order.
fn to_device(
    store: &dyn KvRead,
    user: &DumpUser,
    devices: &[&DumpDevice],
    messages: MessageReader,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let item = |device: &str| format!("a message for {device} of {id}");
    let devices: BTreeSet<_> = devices.iter().map(|device| device.device_id.as_str()).collect();
    let mut compared = BTreeSet::new();
    let mut stored: Option<Entries<'_>> = None;
    let mut of = String::new();
    for message in messages {
        let DumpMessage { device_id, message } = message?;
        let known = devices.contains(device_id.as_str());
        let Some(message) = to_device_message(&message).filter(|_| known) else { continue };
        if of != device_id || stored.is_none() {
            further(stored.take(), &item(&of), found)?;
            let prefix = [id.as_bytes(), b"\xff", device_id.as_bytes(), b"\xff"].concat();
            stored = Some(store.scan(&trees::TODEVICEID_EVENTS, &prefix)?);
            compared.insert(device_id.clone());
            of = device_id;
        }
        match stored.as_mut().and_then(Iterator::next).transpose()? {
            None => found.add(&codes::MISSING_IN_DATABASE, item(&of), "is missing"),
            Some((_, value)) => {
                if Json::of(&value) != Json::of(&message) {
                    found.add(
                        &codes::DIFFERS_FROM_DUMP,
                        item(&of),
                        "differs, or is in another place",
                    );
                }
            }
        }
    }
    further(stored, &item(&of), found)?;
    for row in store.scan(&trees::TODEVICEID_EVENTS, &[id.as_bytes(), b"\xff"].concat())? {
        let (key, _) = row?;
        let Ok(fields) = trees::TODEVICEID_EVENTS.read_key(&key) else { continue };
        if !compared.contains(fields.device) {
            found.add(&codes::NOT_IN_DUMP, item(fields.device), "is not in the dump");
        }
    }
    Ok(())
}

/// Rows that are left when all that the dump has were compared.
fn further(rows: Option<Entries<'_>>, item: &str, found: &mut Findings) -> Result<(), VerifyError> {
    for row in rows.into_iter().flatten() {
        row?;
        found.add(&codes::NOT_IN_DUMP, item, "is not in the dump");
    }
    Ok(())
}

/// What Conduit gives to a device: type, sender and content.
fn to_device_message(message: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(rename = "type")]
        kind: Value,
        sender: OwnedUserId,
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let message: Message<'_> = serde_json::from_str(message.get()).ok()?;
    let kind = message.kind.as_str().map(Value::from)?;
    let sender = Value::from(message.sender.as_str());
    // Content that is no value is written as it stands, others in the order of their keys.
    let content = message.content.get();
    let value = serde_json::from_str::<Value>(content).map(|value| value.to_string());
    let content = value.unwrap_or_else(|_opaque| content.to_owned());
    Some(format!("{{\"content\":{content},\"sender\":{sender},\"type\":{kind}}}"))
}

/// Other servers must never see the version of a device list go back.
fn device_list(
    store: &dyn KvRead,
    user: &DumpUser,
    has_devices: bool,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let stored = get(store, &trees::USERID_DEVICELISTVERSION, &User { user: id })?;
    let stored = stored.and_then(|version| version.try_into().ok()).map(u64::from_be_bytes);
    match stored {
        None if has_devices => {
            found.add(&codes::MISSING_IN_DATABASE, id, "the device list has no version");
        }
        Some(version) if version < user.device_list_stream_id.unwrap_or(1).max(1) => {
            let text =
                format!("the device list has version {version}, others have seen a later one");
            found.add(&codes::DIFFERS_FROM_DUMP, id, text);
        }
        _ => {}
    }
    Ok(())
}

/// The user's own devices must be notified to fetch the user's keys again.
fn key_change(
    store: &dyn KvRead,
    user: &str,
    has_keys: bool,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let mut changed = false;
    for row in store.scan(&trees::KEYCHANGEID_USERID, &[user.as_bytes(), b"\xff"].concat())? {
        let (_, who) = row?;
        changed = true;
        if *who != *user.as_bytes() {
            found.add(&codes::NOT_IN_DUMP, user, "is told of a change of somebody else's keys");
        }
    }
    if has_keys && !changed {
        found.add(&codes::MISSING_IN_DATABASE, user, "is not told to ask for its own keys again");
    }
    Ok(())
}

/// In an encrypted room, members are notified of a key change of each joined user, and of no other.
pub(super) fn room_key_changes(
    store: &dyn KvRead,
    room: &str,
    encrypted: bool,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let mut changed = BTreeMap::new();
    for row in store.scan(&trees::KEYCHANGEID_USERID, &[room.as_bytes(), b"\xff"].concat())? {
        let (_, user) = row?;
        changed.insert(String::from_utf8_lossy(&user).into_owned(), false);
    }
    if !encrypted && changed.is_empty() {
        return Ok(());
    }
    for row in store.scan(&trees::ROOMUSERID_JOINED, &[room.as_bytes(), b"\xff"].concat())? {
        let (key, _) = row?;
        let Ok(fields) = trees::ROOMUSERID_JOINED.read_key(&key) else { continue };
        let user = fields.user;
        match changed.get_mut(user) {
            Some(joined) => *joined = true,
            None if encrypted => {
                found.add(
                    &codes::MISSING_IN_DATABASE,
                    room,
                    format!("nobody is told to ask for the keys of {user}"),
                );
            }
            None => {}
        }
    }
    for (user, _) in changed.iter().filter(|(_, joined)| !**joined) {
        found.add(
            &codes::NOT_IN_DUMP,
            room,
            format!("a change of the keys of {user}, who is not in it"),
        );
    }
    Ok(())
}

/// All rows of a user in a tree whose keys begin with the user.
fn named<K: Shape, V: Shape>(
    store: &dyn KvRead,
    table: &'static Table<K, V>,
    user: &str,
    name: impl Fn(&K::Row<'_>) -> String,
) -> Result<Items, VerifyError> {
    let mut rows = Items::new();
    for row in store.scan(table.tree(), &[user.as_bytes(), b"\xff"].concat())? {
        let (key, value) = row?;
        if let Ok(key) = table.read_key(&key) {
            rows.insert(name(&key), Json::of(&value));
        }
    }
    Ok(rows)
}

fn parse(json: &RawValue) -> Option<Value> {
    serde_json::from_str(json.get()).ok()
}
