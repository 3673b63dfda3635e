//! Public keys of devices and users, with the signatures that Synapse keeps beside them.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use super::batch::UserTables;
use crate::{
    dump::format::DumpDevice,
    synapse::database::{
        DatabaseError,
        connection::Connection,
        counter::Items,
        row::{Row, row},
    },
    tally::{Kind, Tally},
};

row! {
    /// A row of `e2e_cross_signing_signatures`.
    #[derive(Clone, Debug)]
    pub(super) struct KeySignature {
        /// `user_id`.
        signer: String,
        key_id: String,
        /// `target_device_id`: a device id, or the public half of a cross-signing key.
        target: String,
        /// `signature`, base64.
        value: String,
    }
}

row! {
    /// A row of `e2e_cross_signing_signatures`: the user has signed a key of somebody else.
    struct SignatureOfOther {
        key_id: String,
        /// `target_user_id`: the key's owner.
        owner: OwnedUserId,
        /// `target_device_id`: the public half of the master key.
        target: String,
        /// `signature`, base64.
        value: String,
    }
}

/// Merges the signatures of the user's own keys into the keys of the user's devices.
pub(super) async fn device_keys(
    tables: &mut UserTables<'_>,
    signatures: &[KeySignature],
    devices: &mut BTreeMap<String, DumpDevice>,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    let sql =
        "SELECT device_id, key_json, user_id FROM e2e_device_keys_json WHERE user_id IN ($IDS)";
    let rows = tables.rows("e2e_device_keys_json", sql).await?;
    let mut items =
        Items::new(tally, Kind::DeviceKeys, tables.id.as_str()).of("e2e_device_keys_json");
    for (device_id, keys) in items.decode::<(String, Box<RawValue>)>(&rows) {
        let Some(device) = devices.get_mut(&device_id) else {
            items.skip(&device_id, "device-missing", "its device does not exist, or was left out");
            continue;
        };
        let own = signatures.iter().filter(|signature| signature.target == device_id);
        let Some(keys) = merge(&keys, own) else {
            let detail = "the device's keys are no JSON object of the expected form";
            items.skip(&device_id, "keys-invalid", detail);
            continue;
        };
        if device.keys.replace(keys).is_some() {
            items.twice(&device_id);
        } else {
            items.written(1);
        }
    }
    Ok(())
}

/// The newest key of each type, with all signatures. Older ones stay in the table.
pub(super) async fn cross_signing_keys(
    tables: &mut UserTables<'_>,
    signatures: &[KeySignature],
    tally: &mut Tally,
) -> Result<BTreeMap<String, Box<RawValue>>, DatabaseError> {
    let sql = "SELECT keytype, keydata, user_id FROM e2e_cross_signing_keys k WHERE user_id IN ($IDS) AND stream_id = \
               (SELECT MAX(stream_id) FROM e2e_cross_signing_keys n \
                WHERE n.user_id = k.user_id AND n.keytype = k.keytype)";
    let rows = tables.rows("e2e_cross_signing_keys", sql).await?;
    let mut items =
        Items::new(tally, Kind::CrossSigningKey, tables.id.as_str()).of("e2e_cross_signing_keys");
    let mut keys = BTreeMap::new();
    for (keytype, key) in items.decode::<(String, Box<RawValue>)>(&rows) {
        let public = public_keys(&key);
        let merged =
            merge(&key, signatures.iter().filter(|signature| public.contains(&signature.target)));
        match merged.filter(|_| !public.is_empty()) {
            Some(key) => items.put(&mut keys, keytype, key, Clone::clone),
            None => {
                items.skip(&keytype, "keys-invalid", "the cross-signing key has no public key");
            }
        }
    }
    Ok(keys)
}

/// The signatures of a user's keys by the user.
pub(super) async fn own_signatures(
    tables: &mut UserTables<'_>,
    tally: &mut Tally,
) -> Result<Vec<KeySignature>, DatabaseError> {
    let sql = "SELECT user_id, key_id, target_device_id, signature, user_id \
               FROM e2e_cross_signing_signatures WHERE user_id IN ($IDS) AND target_user_id = user_id";
    let table = "e2e_cross_signing_signatures";
    let rows = tables.rows(table, sql).await?;
    // They are counted with the keys that they are in, unless they can't be read.
    let mut items = Items::new(tally, Kind::KeySignature, tables.id.as_str());
    items.rows(table, rows.len());
    let mut signatures = Vec::with_capacity(rows.len());
    for row in &rows {
        match row.decode() {
            Ok(signature) => signatures.push(signature),
            Err(broken) => {
                items.broken(Row::Kept(row), &broken);
                items.row_left_out(table, broken.reason);
            }
        }
    }
    Ok(signatures)
}

/// Other users' master keys that the user has signed, with these signatures and no others. Synapse keeps master keys
/// of users of other servers as well.
pub(super) async fn signed_keys(
    tables: &mut UserTables<'_>,
    tally: &mut Tally,
) -> Result<BTreeMap<OwnedUserId, Box<RawValue>>, DatabaseError> {
    let table = "e2e_cross_signing_signatures";
    let sql = "SELECT key_id, target_user_id, target_device_id, signature, user_id \
               FROM e2e_cross_signing_signatures WHERE user_id IN ($IDS) \
               AND (target_user_id <> user_id OR target_user_id IS NULL)";
    let rows = tables.rows(table, sql).await?;
    let mut items = Items::new(tally, Kind::KeySignature, tables.id.as_str()).of(table);
    let mut by_owner: BTreeMap<OwnedUserId, Vec<KeySignature>> = BTreeMap::new();
    for SignatureOfOther { key_id, owner, target, value } in items.decode(&rows) {
        let signature = KeySignature { signer: tables.id.to_string(), key_id, target, value };
        by_owner.entry(owner).or_default().push(signature);
    }
    let mut keys = BTreeMap::new();
    for (owner, signatures) in by_owner {
        let key = master_key(tables.db, &owner).await?;
        let public = key.as_deref().map(public_keys).unwrap_or_default();
        let (present, old): (Vec<_>, Vec<_>) =
            signatures.iter().partition(|signature| public.contains(&signature.target));
        for _ in old {
            let detail = "the key that was signed is not its owner's any more";
            items.skip(owner.as_str(), "key-replaced", detail);
        }
        let key = key.and_then(|key| merge(&unsigned(&key)?, present.iter().copied()));
        match key.filter(|_| !present.is_empty()) {
            Some(key) => {
                items.written(present.len());
                keys.insert(owner, key);
            }
            None => {
                for _ in present {
                    items.skip(
                        owner.as_str(),
                        "keys-invalid",
                        "the key is no JSON object of the expected form",
                    );
                }
            }
        }
    }
    Ok(keys)
}

async fn master_key(
    db: &mut Connection,
    owner: &UserId,
) -> Result<Option<Box<RawValue>>, DatabaseError> {
    let sql = "SELECT user_id, keydata FROM e2e_cross_signing_keys \
               WHERE user_id = $1 AND keytype = 'master' ORDER BY stream_id DESC LIMIT 1";
    let rows = db.rows("e2e_cross_signing_keys", sql, &[owner.as_str().into()]).await?;
    let decoded = rows.first().and_then(|row| row.decode::<(String, Box<RawValue>)>().ok());
    Ok(decoded.map(|(_, key)| key))
}

/// `keys` with signatures added; `None` if it is no object.
fn merge<'a>(
    keys: &RawValue,
    signatures: impl Iterator<Item = &'a KeySignature>,
) -> Option<Box<RawValue>> {
    let mut keys: Map<String, Value> = serde_json::from_str(keys.get()).ok()?;
    for KeySignature { signer, key_id, value, .. } in signatures {
        let all = keys.entry("signatures").or_insert_with(|| Value::Object(Map::new()));
        let by_signer =
            all.as_object_mut()?.entry(signer).or_insert_with(|| Value::Object(Map::new()));
        by_signer.as_object_mut()?.insert(key_id.clone(), Value::String(value.clone()));
    }
    to_raw_value(&keys).ok()
}

/// A key without signatures.
fn unsigned(key: &RawValue) -> Option<Box<RawValue>> {
    let mut key: Map<String, Value> = serde_json::from_str(key.get()).ok()?;
    key.remove("signatures");
    to_raw_value(&key).ok()
}

/// The values of `keys`.
fn public_keys(key: &RawValue) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Key {
        keys: BTreeMap<String, String>,
    }
    serde_json::from_str::<Key>(key.get())
        .map(|key| key.keys.into_values().collect())
        .unwrap_or_default()
}
