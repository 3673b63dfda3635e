//! What Continuwuity has a place for and Conduit has not: the states of accounts, profile fields, e-mail addresses, fallback keys,
//! the devices of pushers, when tokens expire, earlier signing keys, who sent an invite.

use std::collections::BTreeSet;

use ruma::OwnedOneTimeKeyId;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    Findings, KvRead, VerifyError, codes,
    json::Json,
    named::{Named, differences},
    users,
};
use crate::{
    conduit::schema::{
        shapes::{
            Event, FallbackKeyId, Localpart, Pushkey, Server, User, UserDevice, UserField,
            UserPushkey, UserRoom,
        },
        table::{Shape, Table},
        trees::{self, Tree},
    },
    dump::format::{DumpOldSigningKey, DumpRoom, DumpServer, DumpUser},
    hash::hash,
    verify::tools::lookup::get,
};

/// What ends the user in a key.
const SEPARATOR: u8 = 0xff;

/// Compares what belongs to an account. `created_ts` is when the dump was made, in milliseconds; `rights`: whether the account may
/// act.
pub(super) fn account(
    store: &dyn KvRead,
    user: &DumpUser,
    created_ts: u64,
    rights: bool,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    states(store, user, created_ts, found)?;
    profile(store, user, found)?;
    address(store, user, rights, found)?;
    fallback_keys(store, user, found)?;
    token_expiry(store, user, rights, found)
}

fn states(
    store: &dyn KvRead,
    user: &DumpUser,
    created_ts: u64,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let is_deactivated = get(store, &trees::USERID_DEACTIVATED, &User { user: id })?.is_some();
    if is_deactivated != user.deactivated {
        found.add(&codes::DIFFERS_FROM_DUMP, id, "is deactivated in one and not in the other");
    }
    let by = format!("@conduit:{}", user.user_id.server_name());
    let expected = json!({"suspended": true, "suspended_at": created_ts, "suspended_by": by});
    for (is_set, tree, word) in [
        (user.locked, &trees::USERID_LOCK, "locked"),
        (user.suspended, &trees::USERID_SUSPENSION, "suspended"),
    ] {
        let stored = get(store, tree, &User { user: id })?;
        let expected = (is_set && !user.deactivated).then(|| Json::Value(expected.clone()));
        if stored.map(|stored| Json::of(&stored)) != expected {
            let text = format!("is {word} in one and not in the other");
            found.add(&codes::DIFFERS_FROM_DUMP, id, text);
        }
    }
    Ok(())
}

fn profile(store: &dyn KvRead, user: &DumpUser, found: &mut Findings) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let fields = user.profile.fields.iter();
    let expected =
        fields.map(|(name, value)| (name.clone(), Json::of(value.to_string()))).collect();
    let table = &trees::USERIDPROFILEKEY_VALUE;
    let prefix = table.key_of(&UserField { user: id, field: "" });
    let stored = named(store, table, &prefix, |key| key.field.to_owned(), |json| Json::of(json))?;
    differences(&expected, &stored, |name| format!("profile field {name} of {id}"), found);
    Ok(())
}

/// An account that may act, and has a password, has one of its addresses, unless others have all of them: by e-mail, Continuwuity
/// lets the owner of the address in.
fn address(
    store: &dyn KvRead,
    user: &DumpUser,
    rights: bool,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let localpart = user.user_id.localpart();
    let own: BTreeSet<_> = user
        .threepids
        .iter()
        .filter(|threepid| threepid.medium == "email" && rights && user.appservice_id.is_none())
        .filter(|threepid| is_address(&threepid.address))
        .map(|threepid| threepid.address.as_bytes().to_vec())
        .collect();
    let owner = |address: &[u8]| store.get(&trees::EMAIL_LOCALPART, address);
    let stored = get(store, &trees::LOCALPART_EMAIL, &Localpart { localpart })?;
    let Some(stored) = stored else {
        for address in &own {
            if owner(address)?.is_none() {
                found.add(&codes::MISSING_IN_DATABASE, id, "the e-mail address is missing");
            }
        }
        return Ok(());
    };
    if !own.contains(&stored) {
        found.add(&codes::NOT_IN_DUMP, id, "has an e-mail address that the dump does not have");
    } else if owner(&stored)?.as_deref() != Some(localpart.as_bytes()) {
        found.add(&codes::DIFFERS_FROM_DUMP, id, "its e-mail address belongs to another account");
    }
    Ok(())
}

/// Whether a text has the form of an e-mail address.
fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once('@').map(<[&str; 2]>::from);
    let is_part = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    parts.is_some_and(|parts| parts.into_iter().all(is_part))
}

fn fallback_keys(
    store: &dyn KvRead,
    user: &DumpUser,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let mut expected = Named::new();
    for device in user.devices.iter().filter(|device| !user.deactivated && !device.dehydrated) {
        for (key_id, fallback) in &device.fallback_keys {
            let Ok(id) = OwnedOneTimeKeyId::try_from(key_id.as_str()) else { continue };
            let key = Some((fallback.used, key_id.clone(), Json::of(fallback.key.get())));
            expected.insert(format!("{} of {}", id.algorithm(), device.device_id), key);
        }
    }
    let table = &trees::FALLBACKKEYID_FALLBACKKEY;
    let prefix = table.key_of(&FallbackKeyId { user: id, device: "", algorithm: "" });
    // Without the separator before the algorithm: all devices of the user.
    let prefix = prefix.strip_suffix(b"\xff").unwrap_or(&prefix);
    let name = |key: FallbackKeyId<'_>| format!("{} of {}", key.algorithm, key.device);
    let value = |bytes: &[u8]| {
        let key = table.read_value(&[], bytes).ok()?;
        Some((key.used, key.key_id.to_owned(), Json::of(key.json)))
    };
    let stored = named(store, table, prefix, name, value)?;
    differences(&expected, &stored, |name| format!("fallback key {name} of {id}"), found);
    Ok(())
}

fn token_expiry(
    store: &dyn KvRead,
    user: &DumpUser,
    rights: bool,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    for device in user.devices.iter().filter(|device| !user.deactivated && !device.dehydrated) {
        let token = users::token(device, store.dialect()).filter(|_| rights);
        let expected = token.and_then(|token| token.valid_until_ts).map(|ms| ms.div_euclid(1000));
        let key = UserDevice { user: id, device: &device.device_id };
        let stored = get(store, &trees::USERDEVICEID_TOKENEXPIRES, &key)?;
        if stored != expected.map(|seconds| seconds.to_be_bytes().to_vec()) {
            let item = format!("{} of {id}", device.device_id);
            found.add(&codes::DIFFERS_FROM_DUMP, item, "when its access token expires differs");
        }
    }
    Ok(())
}

/// Devices of pushers, as hashes of key and device: a key that several users have names the device of one of them.
#[derive(Debug, Default)]
pub(super) struct PusherDevices(BTreeSet<u64>);

impl PusherDevices {
    /// Adds the pushers of an account; each that is stored must name a device.
    pub(super) fn add(
        &mut self,
        store: &dyn KvRead,
        user: &DumpUser,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        let id = user.user_id.as_str();
        for pusher in &user.pushers {
            let pushkey = pusher.pushkey.expose_secret();
            let Some(device) = pusher.device_id.as_deref() else { continue };
            let is_stored =
                get(store, &trees::SENDERKEY_PUSHER, &UserPushkey { user: id, pushkey })?.is_some();
            if !is_stored {
                continue;
            }
            self.0.insert(hash(&(pushkey.as_bytes(), device.as_bytes())));
            if get(store, &trees::PUSHKEY_DEVICEID, &Pushkey { pushkey })?.is_none() {
                let item = format!("{} of {id}", pusher.app_id);
                found.add(&codes::MISSING_IN_DATABASE, item, "the pusher has no device");
            }
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// No pusher names a device that none of its key has.
    fn check(&self, store: &dyn KvRead, found: &mut Findings) -> Result<(), VerifyError> {
        for row in store.scan(&trees::PUSHKEY_DEVICEID, &[])? {
            let (pushkey, device) = row?;
            if !self.0.contains(&hash(&(&*pushkey, &*device))) {
                let device = String::from_utf8_lossy(&device).into_owned();
                let text = "is named by a pusher that is not its own";
                found.add(&codes::NOT_IN_DUMP, format!("device {device}"), text);
            }
        }
        Ok(())
    }
}

/// Compares what belongs to the server, and finds rows of accounts that the dump does not have; `users` are its accounts.
pub(super) fn server(
    store: &dyn KvRead,
    server: &DumpServer,
    users: &BTreeSet<String>,
    pushers: &PusherDevices,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    old_signing_keys(store, server, found)?;
    pushers.check(store, found)?;
    for row in store.scan(&trees::USERID_DEACTIVATED, &[])? {
        let (user, _) = row?;
        if store.get(&trees::USERID_PASSWORD, &user)?.is_none() {
            let user = String::from_utf8_lossy(&user).into_owned();
            found.add(&codes::ROWS_DISAGREE, user, "is deactivated and has no account");
        }
    }
    let own = format!(":{}", server.server_name);
    let by_user: [&'static Tree; 6] = [
        &trees::FALLBACKKEYID_FALLBACKKEY,
        &trees::USERDEVICEID_TOKENEXPIRES,
        &trees::USERID_DEACTIVATED,
        &trees::USERID_LOCK,
        &trees::USERID_SUSPENSION,
        &trees::USERIDPROFILEKEY_VALUE,
    ];
    for tree in by_user {
        for row in store.scan(tree, &[])? {
            let (key, _) = row?;
            let user = key.split(|byte| *byte == SEPARATOR).next().unwrap_or_default();
            let user = String::from_utf8_lossy(user);
            // Continuwuity deactivates its own user at each start.
            if !users.contains(&*user) && *user != format!("@conduit{own}") {
                let text = format!("has a row in `{tree}`, and is not in the dump");
                found.add(&codes::NOT_IN_DUMP, user, text);
            }
        }
    }
    for row in store.scan(&trees::EMAIL_LOCALPART, &[])? {
        let (address, localpart) = row?;
        let inverse = store.get(&trees::LOCALPART_EMAIL, &localpart)?;
        let user = format!("@{}{own}", String::from_utf8_lossy(&localpart));
        if !users.contains(&user) {
            found.add(&codes::NOT_IN_DUMP, user, "has an e-mail address, and is not in the dump");
        } else if inverse.as_deref() != Some(&*address) {
            let text = "has another e-mail address than the one that names it";
            found.add(&codes::ROWS_DISAGREE, user, text);
        }
    }
    for row in store.scan(&trees::LOCALPART_EMAIL, &[])? {
        let (localpart, _) = row?;
        let user = format!("@{}{own}", String::from_utf8_lossy(&localpart));
        if !users.contains(&user) {
            found.add(&codes::NOT_IN_DUMP, user, "has an e-mail address, and is not in the dump");
        }
    }
    Ok(())
}

fn old_signing_keys(
    store: &dyn KvRead,
    server: &DumpServer,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let name = server.server_name.as_str();
    // Continuwuity reads the row as a whole.
    let readable = |key: &&DumpOldSigningKey| {
        let name = key.key_id.split_once(':').unwrap_or_default().1;
        !name.is_empty() && !name.contains(|char: char| char != '_' && !char.is_alphanumeric())
    };
    let published = || server.old_signing_keys.iter().filter(readable);
    let latest = published().map(|key| key.expired_ts).max();
    let expected = latest.map(|latest| {
        let mut keys = serde_json::Map::new();
        for key in published() {
            let value = json!({"expired_ts": key.expired_ts, "key": key.public_key});
            keys.insert(key.key_id.clone(), value);
        }
        json!({
            "old_verify_keys": keys, "server_name": name, "signatures": {}, "valid_until_ts": latest, "verify_keys": {},
        })
    });
    let stored = get(store, &trees::SERVER_SIGNINGKEYS, &Server { server: name })?;
    if stored.map(|stored| Json::of(&stored)) != expected.map(Json::Value) {
        found.add(&codes::DIFFERS_FROM_DUMP, name, "the earlier signing keys differ");
    }
    Ok(())
}

/// The rows with a prefix, by names.
fn named<K: Shape, V: Shape, T>(
    store: &dyn KvRead,
    table: &'static Table<K, V>,
    prefix: &[u8],
    name: impl for<'a> Fn(K::Row<'a>) -> String,
    value: impl Fn(&[u8]) -> T,
) -> Result<Named<T>, VerifyError> {
    let mut named = Named::new();
    for row in store.scan(table, prefix)? {
        let (key, bytes) = row?;
        if let Ok(key) = table.read_key(&key) {
            named.insert(name(key), value(&bytes));
        }
    }
    Ok(named)
}

/// Of a room that a local user has left, the event by which it was left, if Continuwuity could show the room by it; else nothing.
pub(super) fn left_rooms(
    store: &dyn KvRead,
    head: &DumpRoom,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let in_timeline = |event: &str| -> Result<Option<Vec<u8>>, VerifyError> {
        match get(store, &trees::EVENTID_PDUID, &Event { event })? {
            Some(place) => Ok(store.get(&trees::PDUID_PDU, &place)?),
            None => Ok(None),
        }
    };
    let room = head.room_id.as_str();
    for member in &head.local_members {
        let key = UserRoom { user: member.user_id.as_str(), room };
        let Some(stored) = get(store, &trees::USERROOMID_LEFTSTATE, &key)? else { continue };
        let event = in_timeline(member.event_id.as_str())?;
        let value = event.as_deref().and_then(|event| serde_json::from_slice::<Value>(event).ok());
        let was_joined = value.as_ref().is_some_and(|event| {
            let before = event.pointer("/unsigned/prev_content/membership");
            before.is_some_and(|membership| membership == "join")
        });
        let allowing = value.as_ref().and_then(|event| event.get("auth_events")?.as_array());
        let mut is_shown = false;
        for event in allowing.into_iter().flatten().filter_map(Value::as_str) {
            let event = in_timeline(event)?.unwrap_or_default();
            let event = serde_json::from_slice::<Value>(&event).unwrap_or_default();
            is_shown |= was_joined
                && event.get("type").is_some_and(|kind| kind == "m.room.member")
                && event.get("state_key").is_some_and(|key| key == member.user_id.as_str())
                && event.pointer("/content/membership").is_some_and(|found| found == "join");
        }
        // An event that was fetched later is no reason to change the row.
        let may_be_hidden = !is_shown || head.earlier_events != Some(0);
        let is_hidden = may_be_hidden && stored == b"[]";
        if !is_hidden && event.filter(|_| is_shown).is_none_or(|event| event != stored) {
            let item = format!("{} in {room}", member.user_id);
            found.add(&codes::DIFFERS_FROM_DUMP, item, "the event by which it was left differs");
        }
    }
    Ok(())
}

/// Who sent an invite is the sender of the invite's event.
pub(super) fn invite_senders(store: &dyn KvRead, found: &mut Findings) -> Result<(), VerifyError> {
    let table = &trees::USERROOMID_INVITESTATE;
    for row in store.scan(table, &[])? {
        let (key, state) = row?;
        let Ok(invited) = table.read_key(&key) else { continue };
        let state: Value = serde_json::from_slice(&state).unwrap_or_default();
        let own = |item: &&Value| {
            item.get("type").is_some_and(|kind| kind == "m.room.member")
                && item.get("state_key").is_some_and(|key| key == invited.user)
        };
        let event = state.as_array().and_then(|state| state.iter().rfind(own));
        let sender = event.and_then(|event| event.get("sender")).and_then(Value::as_str);
        let stored = get(store, &trees::USERROOMID_INVITESENDER, &invited)?;
        if stored.as_deref() != sender.map(str::as_bytes) {
            let item = format!("{} in {}", invited.user, invited.room);
            found.add(&codes::ROWS_DISAGREE, item, "the sender of the invite differs");
        }
    }
    Ok(())
}
