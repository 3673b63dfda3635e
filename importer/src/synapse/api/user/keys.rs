//! Public keys of devices and of the user.

use std::collections::BTreeMap;

use conduit_backfill::{Client, http::Repeat};
use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};

use super::own::Owner;
use crate::{
    dump::format::DumpUser,
    synapse::api::{ApiError, connection::CLIENT, counter::Counter},
    tally::Kind,
};

/// Accounts in one request for keys.
const USERS_AT_ONCE: usize = 200;

type ByUser<T> = BTreeMap<String, T>;

#[derive(Default, Deserialize)]
struct KeysAnswer {
    #[serde(default, rename = "device_keys")]
    devices: ByUser<BTreeMap<String, Box<RawValue>>>,
    #[serde(default, rename = "master_keys")]
    master: ByUser<Box<RawValue>>,
    #[serde(default, rename = "self_signing_keys")]
    self_signing: ByUser<Box<RawValue>>,
    #[serde(default, rename = "user_signing_keys")]
    user_signing: ByUser<Box<RawValue>>,
}

impl Owner<'_> {
    /// Keys with their signatures. Signatures by other users show to those users only, and are not among them.
    pub(super) async fn keys(&mut self, user: &mut DumpUser) -> Result<(), ApiError> {
        let name = user.user_id.as_str();
        let body = json!({"device_keys": {name: []}});
        let path: (&[&str], &[&str]) = (&CLIENT, &["keys", "query"]);
        let result = self.api.post::<KeysAnswer>(self.token, path, &body, Repeat::Safe).await;
        let mut keys = self.counter.or_lost(Kind::DeviceKeys, "", result)?;
        for (kind, mut by_user) in [
            ("master", keys.master),
            ("self_signing", keys.self_signing),
            ("user_signing", keys.user_signing),
        ] {
            if let Some(key) = by_user.remove(name) {
                user.cross_signing_keys.insert(kind.to_owned(), key);
            }
        }
        let devices = keys.devices.remove(name).unwrap_or_default();
        give(user, devices, &mut self.counter);
        Ok(())
    }

    /// Master keys of other accounts of this server that the user has signed: Synapse shows each signer its own
    /// signatures. Users of other servers are not asked for, as Synapse might ask their servers.
    pub(super) async fn signed_keys(&mut self, user: &mut DumpUser) -> Result<(), ApiError> {
        if !user.cross_signing_keys.contains_key("user_signing") {
            return Ok(());
        }
        let signer = user.user_id.as_str();
        let path: (&[&str], &[&str]) = (&CLIENT, &["keys", "query"]);
        for users in self.users.chunks(USERS_AT_ONCE) {
            // No device has this id, so there are no device keys in the answer.
            let asked: BTreeMap<_, _> = users.iter().map(|user| (user.as_str(), [""])).collect();
            let body = json!({"device_keys": asked});
            let result = self.api.post::<KeysAnswer>(self.token, path, &body, Repeat::Safe).await;
            let keys = self.counter.or_lost(Kind::KeySignature, "", result)?;
            for (owner, key) in keys.master {
                let Ok(owner) = OwnedUserId::try_from(owner) else { continue };
                if owner != user.user_id
                    && let Some((key, signatures)) = signed_by(&key, signer)
                {
                    self.counter.kept(Kind::KeySignature, signatures);
                    user.signed_keys.insert(owner, key);
                }
            }
        }
        Ok(())
    }
}

/// The key with the signer's signatures alone, and how many they are; `None` if there are none.
fn signed_by(key: &RawValue, signer: &str) -> Option<(Box<RawValue>, usize)> {
    let mut key: Map<String, Value> = serde_json::from_str(key.get()).ok()?;
    let own = key.get_mut("signatures")?.as_object_mut()?.remove(signer)?;
    let number = own.as_object()?.len();
    key.insert("signatures".into(), json!({signer: own}));
    Some((to_raw_value(&key).ok()?, number))
}

/// The keys of a user for whom there is no token, as other servers see them: all but the user-signing key.
pub(super) async fn read_federated(
    federation: &Client,
    user: &mut DumpUser,
    counter: &mut Counter<'_>,
) -> Result<(), ApiError> {
    let answer = match federation.user_devices(&user.user_id).await {
        Ok(answer) => answer,
        Err(error) if error.ends_run() => return Err(error.into()),
        Err(error) => {
            counter.lost(Kind::DeviceKeys, "", "not-given", error.to_string());
            return Ok(());
        }
    };
    for (kind, key) in [("master", answer.master_key), ("self_signing", answer.self_signing_key)] {
        if let Some(key) = key {
            user.cross_signing_keys.insert(kind.to_owned(), key);
        }
    }
    let devices = answer.devices.into_iter();
    let devices = devices.filter_map(|device| Some((device.device_id, device.keys?))).collect();
    give(user, devices, counter);
    Ok(())
}

/// Gives keys to their devices, and counts all keys of the user.
fn give(user: &mut DumpUser, devices: BTreeMap<String, Box<RawValue>>, counter: &mut Counter<'_>) {
    counter.kept(Kind::CrossSigningKey, user.cross_signing_keys.len());
    for (device_id, keys) in devices {
        let device = user.devices.iter_mut().find(|device| device.device_id == device_id);
        match (device, without_unsigned(&keys)) {
            (Some(device), Some(keys)) => {
                device.keys = Some(keys);
                counter.kept(Kind::DeviceKeys, 1);
            }
            (None, _) => counter.lost(
                Kind::DeviceKeys,
                &device_id,
                "device-missing",
                "the device does not exist any more",
            ),
            (_, None) => counter.lost(
                Kind::DeviceKeys,
                &device_id,
                "keys-invalid",
                "the device's keys are no JSON object",
            ),
        }
    }
}

/// Synapse adds the device's name there.
fn without_unsigned(keys: &RawValue) -> Option<Box<RawValue>> {
    let mut keys: BTreeMap<String, Box<RawValue>> = serde_json::from_str(keys.get()).ok()?;
    keys.remove("unsigned");
    to_raw_value(&keys).ok()
}
