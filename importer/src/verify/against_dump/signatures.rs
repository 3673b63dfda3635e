//! Users' signatures of each other's master keys: an owner's row holds those of all signers, so they are compared when
//! all users have been read.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedUserId;
use serde_json::Value;

use super::{Findings, KvRead, VerifyError, codes, encryption::cross_signing_key};
use crate::{
    conduit::schema::{
        shapes::{User, UserKey},
        trees::{self, Tree},
    },
    dump::format::DumpUser,
    verify::tools::lookup::get,
};

/// The user of a key.
type UserOf = fn(&[u8]) -> Option<&str>;

/// Trees with readers of the users in their keys.
macro_rules! of_users {
    ($($tree:ident)*) => {
        [$((trees::$tree.tree(), |key| Some(trees::$tree.read_key(key).ok()?.user))),*]
    };
}

/// Trees whose keys begin with a user of this server, or with one of another for [`trees::KEYID_KEY`] and master keys.
static OF_USERS: [(&Tree, UserOf); 9] = of_users!(
    KEYID_KEY
    USERID_MASTERKEYID
    USERID_SELFSIGNINGKEYID
    USERID_USERSIGNINGKEYID
    ONETIMEKEYID_ONETIMEKEYS
    TODEVICEID_EVENTS
    BACKUPID_ALGORITHM
    BACKUPKEYID_BACKUP
    USERID_DEVICELISTVERSION
);

/// Owner, public master key, signer, id of the signing key.
type Id = (String, String, String, String);

/// Signatures of the dump and of the database.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    expected: BTreeMap<Id, Value>,
    stored: BTreeMap<Id, Value>,
    /// The public master key of each user that has one. A key of another server's user is the first that is signed.
    masters: BTreeMap<String, String>,
}

impl Signatures {
    /// Adds the signatures of later users.
    pub(super) fn merge(&mut self, later: Self) {
        self.expected.extend(later.expected);
        self.stored.extend(later.stored);
        for (owner, name) in later.masters {
            self.masters.entry(owner).or_insert(name);
        }
    }

    /// Notes the master key of a user.
    pub(super) fn master(&mut self, owner: &OwnedUserId, name: &str) {
        self.masters.insert(owner.to_string(), name.to_owned());
    }

    /// Notes what a user has signed.
    pub(super) fn signed_by(&mut self, user: &DumpUser) {
        for (owner, key) in &user.signed_keys {
            let Some((name, key)) = cross_signing_key(key, owner.as_str()) else { continue };
            if owner.server_name() != user.user_id.server_name() {
                self.masters.entry(owner.to_string()).or_insert_with(|| name.clone());
            }
            let own = key.get("signatures").and_then(|all| all.get(user.user_id.as_str()));
            for (key_id, signature) in own.and_then(Value::as_object).into_iter().flatten() {
                let signer = user.user_id.to_string();
                let id = (owner.to_string(), name.clone(), signer, key_id.clone());
                self.expected.insert(id, signature.clone());
            }
        }
    }

    /// Takes the signatures by others out of a stored key, but those that its owner uploaded with it.
    pub(super) fn take_foreign(
        &mut self,
        owner: &OwnedUserId,
        name: &str,
        stored: &mut Value,
        expected: &Value,
    ) {
        let uploaded = expected.get("signatures");
        let Some(all) = stored.get_mut("signatures").and_then(Value::as_object_mut) else { return };
        for (signer, signatures) in all.iter_mut().filter(|(signer, _)| **signer != *owner) {
            let uploaded = uploaded.and_then(|all| all.get(signer));
            let Some(signatures) = signatures.as_object_mut() else { continue };
            signatures.retain(|key_id, signature| {
                if uploaded.and_then(|uploaded| uploaded.get(key_id)) == Some(signature) {
                    return true;
                }
                let id = (owner.to_string(), name.to_owned(), signer.clone(), key_id.clone());
                self.stored.insert(id, signature.clone());
                false
            });
        }
        all.retain(|signer, signatures| {
            signatures != &serde_json::json!({})
                || uploaded.is_some_and(|all| all.get(signer).is_some())
        });
    }

    /// Compares signatures, and looks for rows of users that the dump does not have.
    pub(super) fn finish(
        mut self,
        store: &dyn KvRead,
        users: &BTreeSet<String>,
        server_name: &str,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        // The owner has another key by now.
        self.expected.retain(|(owner, name, ..), _| self.masters.get(owner) == Some(name));
        let mut elsewhere = BTreeMap::new();
        for (owner, name, ..) in self.expected.keys() {
            if owner.split_once(':').is_none_or(|(_, server)| server != server_name) {
                elsewhere.insert(owner.clone(), name.clone());
            }
        }
        for (tree, user_of) in OF_USERS {
            for row in store.scan(tree, &[])? {
                let (key, value) = row?;
                let Some(owner) = user_of(&key) else { continue };
                if users.contains(owner) {
                    continue;
                }
                let name = elsewhere.get(owner);
                let known = if tree == &trees::KEYID_KEY {
                    let Ok(UserKey { key, .. }) = trees::KEYID_KEY.read_key(&key) else { continue };
                    self.stored_elsewhere(owner, key, &value);
                    name.is_some_and(|name| name == key)
                } else {
                    tree == &trees::USERID_MASTERKEYID && name.is_some()
                };
                if !known {
                    found.add(
                        &codes::NOT_IN_DUMP,
                        owner,
                        format!("has a row in `{tree}` and no file in the dump"),
                    );
                }
            }
        }
        for (owner, name) in elsewhere {
            let target = [owner.as_bytes(), b"\xff", name.as_bytes()].concat();
            let pointer = get(store, &trees::USERID_MASTERKEYID, &User { user: &owner })?;
            if pointer != Some(target) {
                found.add(&codes::DIFFERS_FROM_DUMP, owner, "the master key differs");
            }
        }
        self.compare(found);
        Ok(())
    }

    fn stored_elsewhere(&mut self, owner: &str, name: &str, key: &[u8]) {
        let key: Value = serde_json::from_slice(key).unwrap_or_default();
        let all = key.get("signatures").and_then(Value::as_object);
        for (signer, signatures) in all.into_iter().flatten() {
            for (key_id, signature) in signatures.as_object().into_iter().flatten() {
                let id = (owner.to_owned(), name.to_owned(), signer.clone(), key_id.clone());
                self.stored.insert(id, signature.clone());
            }
        }
    }

    fn compare(&self, found: &mut Findings) {
        let item = |(owner, _, signer, _): &Id| format!("master key of {owner} by {signer}");
        for (id, signature) in &self.expected {
            match self.stored.get(id) {
                None => {
                    found.add(&codes::MISSING_IN_DATABASE, item(id), "the signature is missing");
                }
                Some(stored) if stored != signature => {
                    found.add(&codes::DIFFERS_FROM_DUMP, item(id), "the signature differs");
                }
                Some(_) => {}
            }
        }
        for id in self.stored.keys().filter(|id| !self.expected.contains_key(id)) {
            found.add(&codes::NOT_IN_DUMP, item(id), "the signature is not in the dump");
        }
    }
}
