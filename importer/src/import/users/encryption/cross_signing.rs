//! Cross-signing keys, and users' signatures of each other's.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedUserId, UserId, encryption::CrossSigningKey};
use serde_json::{Map, Value, json, value::RawValue};

use super::TAKEN;
use crate::{
    conduit::schema::{
        shapes::{AsSent, User, UserKey},
        table::Table,
        trees,
    },
    dump::format::DumpUser,
    import::{ImportError, row_writer::Rows, skip::SkipReason},
    tally::{Kind, Tally},
};

/// Cross-signing keys and the trees that point to them.
const POINTERS: [(&str, &Table<User<'static>, UserKey<'static>>); 3] = [
    ("master", &trees::USERID_MASTERKEYID),
    ("self_signing", &trees::USERID_SELFSIGNINGKEYID),
    ("user_signing", &trees::USERID_USERSIGNINGKEYID),
];

const UNPARSABLE: SkipReason =
    SkipReason::new("key-unparsable", "it is not a user's one key with its signatures");
const REPLACED: SkipReason =
    SkipReason::new("key-replaced", "the key is no longer its owner's; verify again");

/// Writes a user's own keys. Gives their names.
pub(super) fn write(
    user: &DumpUser,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<BTreeSet<String>, ImportError> {
    let mut names = BTreeSet::new();
    let id = user.user_id.as_str();
    for (usage, key) in &user.cross_signing_keys {
        let tree = POINTERS.iter().find(|(known, _)| known == usage).map(|(_, tree)| *tree);
        let parsed = tree.zip(parse(key, &user.user_id));
        let reason = match &parsed {
            None => Some(UNPARSABLE),
            Some((_, (public, _))) => names.contains(public).then_some(TAKEN),
        };
        let item = || format!("{usage} key of {id}");
        if tally.keeps(Kind::CrossSigningKey, item, reason)
            && let Some((tree, (public, key))) = parsed
        {
            let name = UserKey { user: id, key: &public };
            rows.put(&trees::KEYID_KEY, &name, &AsSent { json: &key.to_string() })?;
            rows.put(tree, &User { user: id }, &name)?;
            names.insert(public);
        }
    }
    Ok(names)
}

/// Master keys that other users have signed, by their owner: signer and key. Owners come before or after their signers, so
/// signatures are written when all keys are there.
#[derive(Debug, Default)]
pub(in crate::import) struct SignedKeys(BTreeMap<OwnedUserId, Vec<(OwnedUserId, Box<RawValue>)>>);

impl SignedKeys {
    /// Notes the keys that a user has signed.
    pub(in crate::import) fn note(&mut self, signer: &DumpUser) {
        for (owner, key) in &signer.signed_keys {
            let of_owner = self.0.entry(owner.clone()).or_default();
            of_owner.push((signer.user_id.clone(), key.clone()));
        }
    }

    /// Adds users' signatures to the master keys of others. Conduit has them in the key itself, and keeps the key of a
    /// user of another server for that (src/api/client_server/keys.rs:500-524).
    pub(in crate::import) fn write(
        self,
        server_name: &str,
        rows: &mut Rows<'_>,
        tally: &mut Tally,
    ) -> Result<(), ImportError> {
        for (owner, signed) in self.0 {
            let is_local = owner.server_name() == server_name;
            let pointer = owner.as_bytes().to_vec();
            let mut name = rows.get(&trees::USERID_MASTERKEYID, &pointer)?;
            let mut row = match &name {
                Some(name) => rows.get(&trees::KEYID_KEY, name)?,
                None => None,
            };
            for (signer, key) in signed {
                let item = || format!("master key of {owner} by {signer}");
                let parsed = parse(&key, &owner);
                let own_name = parsed.as_ref().map(|(public, _)| {
                    trees::KEYID_KEY.key_of(&UserKey { user: owner.as_str(), key: public })
                });
                if name.is_none() && !is_local {
                    name.clone_from(&own_name);
                }
                let reason = match &parsed {
                    None => Some(UNPARSABLE),
                    Some(_) => (name != own_name).then_some(REPLACED),
                };
                if tally.keeps(Kind::KeySignature, item, reason)
                    && let Some((_, key)) = parsed
                {
                    row = Some(with_signatures(row, key, signer.as_str()));
                }
            }
            if let (Some(name), Some(row)) = (name, row) {
                rows.put_raw(&trees::KEYID_KEY, name.clone(), row)?;
                rows.put_raw(&trees::USERID_MASTERKEYID, pointer, name)?;
            }
        }
        Ok(())
    }
}

/// The public key, and the key with a place for signatures, without which Conduit can add none
/// (src/database/key_value/users.rs:559-566). `None` if Conduit could not read it: it needs ids of users at the
/// signatures, and an answer to `/keys/query` fails as a whole without (src/service/users/mod.rs:643-669).
fn parse(key: &RawValue, owner: &UserId) -> Option<(String, Value)> {
    let mut json: Map<String, Value> = serde_json::from_str(key.get()).ok()?;
    json.entry("signatures").or_insert_with(|| json!({}));
    let json = Value::Object(json);
    let typed: CrossSigningKey = serde_json::from_value(json.clone()).ok()?;
    let mut public = typed.keys.into_values();
    match (public.next(), public.next()) {
        (Some(public), None) if typed.user_id == owner => Some((public, json)),
        _ => None,
    }
}

/// A stored key, or else this one, with the signer's signatures of this one.
fn with_signatures(stored: Option<Vec<u8>>, given: Value, signer: &str) -> Vec<u8> {
    let stored = stored.and_then(|stored| serde_json::from_slice::<Value>(&stored).ok());
    let own = given.get("signatures").and_then(|all| all.get(signer)).cloned();
    let mut key = stored.unwrap_or_else(|| {
        let mut key = given;
        if let Some(signatures) = key.get_mut("signatures") {
            *signatures = json!({});
        }
        key
    });
    let signatures = key.get_mut("signatures").and_then(Value::as_object_mut);
    if let (Some(signatures), Some(own)) = (signatures, own) {
        match signatures.entry(signer) {
            serde_json::map::Entry::Vacant(entry) => {
                entry.insert(own);
            }
            serde_json::map::Entry::Occupied(mut entry) => {
                if let (Some(before), Value::Object(own)) = (entry.get_mut().as_object_mut(), own) {
                    before.extend(own);
                }
            }
        }
    }
    key.to_string().into_bytes()
}
