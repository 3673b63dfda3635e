//! Users of the dump and of the database.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{Findings, KvRead, Skipped, VerifyError, account_data, codes, pushers};
use crate::{
    conduit::schema::{
        dialect::Dialect,
        shapes::{User, UserDevice},
        trees::{self, Tree},
    },
    dump::format::{DumpAccessToken, DumpDevice, DumpUser},
    hash::hash,
    verify::tools::lookup::get,
};

/// Account data that the dump has, as hashes of room, user and type: there are millions.
#[derive(Debug, Default)]
pub(super) struct KnownAccountData(BTreeSet<u64>);

impl KnownAccountData {
    pub(super) fn insert(&mut self, room: &str, user: &str, kind: &str) {
        self.0.insert(Self::hash(room, user, kind));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    fn contains(&self, room: &str, user: &str, kind: &str) -> bool {
        self.0.contains(&Self::hash(room, user, kind))
    }

    fn hash(room: &str, user: &str, kind: &str) -> u64 {
        hash(&(room, user, kind))
    }
}

pub(super) fn compare(
    store: &dyn KvRead,
    user: &DumpUser,
    skipped: &Skipped<'_>,
    known: &mut KnownAccountData,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    if user.user_id.localpart() == "conduit" {
        return Ok(());
    }
    let of_user = User { user: id };
    let rights = may_act(user, store.dialect());
    match get(store, &trees::USERID_PASSWORD, &of_user)? {
        None => {
            found.add(&codes::MISSING_IN_DATABASE, id, "the user is missing");
            return Ok(());
        }
        Some(password) => {
            let empty = user.deactivated || user.guest || user.appservice_id.is_some();
            let hash = user.password_hash.as_ref().map(|hash| hash.expose_secret().as_bytes());
            // `*`: the hash is not known. `!`: the account may not log in.
            let expected = match (empty, rights) {
                (true, _) => b"".as_slice(),
                (false, true) => hash.unwrap_or(b"*"),
                (false, false) => b"!",
            };
            if password != expected {
                found.add(&codes::DIFFERS_FROM_DUMP, id, "the password row differs");
            }
        }
    }
    let mut equal = |tree: &'static Tree, expected: Option<&str>| -> Result<(), VerifyError> {
        let expected = expected.filter(|text| !text.is_empty()).map(str::as_bytes);
        if store.get(tree, id.as_bytes())?.as_deref() != expected {
            found.add(&codes::DIFFERS_FROM_DUMP, id, format!("`{tree}` differs"));
        }
        Ok(())
    };
    equal(&trees::USERID_DISPLAYNAME, user.profile.displayname.as_deref())?;
    equal(&trees::USERID_AVATARURL, user.profile.avatar_url.as_deref())?;
    devices(store, user, rights, found)?;
    account_data::compare(store, user, skipped, known, found)?;
    pushers::compare(store, user, rights, found)?;
    pushers::compare_filters(store, user, skipped, found)
}

/// Whether an account may act by itself: Continuwuity keeps those that are locked or suspended from what they may not do.
pub(super) fn may_act(user: &DumpUser, dialect: Dialect) -> bool {
    let is_kept_back = dialect == Dialect::Conduit && (user.locked || user.suspended);
    !(user.deactivated
        || user.guest
        || user.shadow_banned
        || user.awaiting_approval
        || is_kept_back)
}

/// A device's token: the newest that never ends; for Continuwuity, which knows when one does, else the newest.
pub(super) fn token(device: &DumpDevice, dialect: Dialect) -> Option<&DumpAccessToken> {
    let mut tokens = device.access_tokens.iter();
    let lasting = tokens.clone().rfind(|token| token.valid_until_ts.is_none());
    lasting.or_else(|| tokens.next_back().filter(|_| dialect == Dialect::Continuwuity))
}

fn devices(
    store: &dyn KvRead,
    user: &DumpUser,
    rights: bool,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let mut expected = BTreeMap::new();
    for device in user.devices.iter().filter(|device| !user.deactivated && !device.dehydrated) {
        let token = token(device, store.dialect()).filter(|_| rights);
        expected.insert(device.device_id.as_str(), (device, token));
    }
    let prefix = trees::USERDEVICEID_METADATA.key_of(&UserDevice { user: id, device: "" });
    let mut stored = BTreeSet::new();
    for row in store.scan(&trees::USERDEVICEID_METADATA, &prefix)? {
        let (key, value) = row?;
        let Ok(fields) = trees::USERDEVICEID_METADATA.read_key(&key) else { continue };
        let name = fields.device;
        stored.insert(name.to_owned());
        let item = format!("{name} of {id}");
        let Some((device, token)) = expected.get(name) else {
            found.add(&codes::NOT_IN_DUMP, item, "is no device in the dump");
            continue;
        };
        let metadata: Value = serde_json::from_slice(&value).unwrap_or_default();
        let same = metadata.get("display_name").and_then(Value::as_str)
            == device.display_name.as_deref()
            && metadata.get("last_seen_ts").and_then(Value::as_u64) == device.last_seen_ts;
        if !same {
            found.add(&codes::DIFFERS_FROM_DUMP, &item, "its description differs");
        }
        let key = UserDevice { user: id, device: name };
        let in_database = get(store, &trees::USERDEVICEID_TOKEN, &key)?;
        let in_dump = token.map(|token| token.token.expose_secret().as_bytes());
        if in_database.as_deref() != in_dump {
            found.add(&codes::DIFFERS_FROM_DUMP, item, "its access token differs");
        }
    }
    for name in expected.keys().filter(|name| !stored.contains(**name)) {
        found.add(&codes::MISSING_IN_DATABASE, format!("{name} of {id}"), "the device is missing");
    }
    Ok(())
}

/// Local users of the database that the dump does not have, other than those that only a room's state knows.
pub(super) fn extra(
    store: &dyn KvRead,
    users: &BTreeSet<String>,
    server_name: &str,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    for row in store.scan(&trees::USERID_PASSWORD, &[])? {
        let (user, password) = row?;
        let user = String::from_utf8_lossy(&user).into_owned();
        let local = user.split_once(':').map(|(_, server)| server) == Some(server_name);
        if local && !password.is_empty() && !users.contains(&user) {
            found.add(&codes::NOT_IN_DUMP, user, "is a user that the dump does not have");
        }
    }
    Ok(())
}

/// Account data of the dump's users that the dump does not have. Push rules are compared with each user.
pub(super) fn extra_account_data(
    store: &dyn KvRead,
    users: &BTreeSet<String>,
    known: &KnownAccountData,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    for row in store.scan(&trees::ROOMUSERTYPE_ROOMUSERDATAID, &[])? {
        let (key, _) = row?;
        let Ok(fields) = trees::ROOMUSERTYPE_ROOMUSERDATAID.read_key(&key) else { continue };
        let (room, user, kind) = (fields.room, fields.user, fields.r#type);
        let is_push_rules = room.is_empty() && kind == "m.push_rules";
        if users.contains(user) && !is_push_rules && !known.contains(room, user, kind) {
            found.add(
                &codes::NOT_IN_DUMP,
                format!("{kind} of {user} {room}"),
                "is not in the dump",
            );
        }
    }
    Ok(())
}
