//! Public keys of devices and of the user.

use std::collections::BTreeMap;

use conduit_backfill::http::Repeat;
use serde::Deserialize;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::own::Owner;
use crate::{
    dump::format::DumpUser,
    synapse::api::{ApiError, connection::CLIENT},
    tally::Kind,
};

type ByUser<T> = BTreeMap<String, T>;

#[derive(Default, Deserialize)]
struct Keys {
    #[serde(default)]
    device_keys: ByUser<BTreeMap<String, Box<RawValue>>>,
    #[serde(default)]
    master_keys: ByUser<Box<RawValue>>,
    #[serde(default)]
    self_signing_keys: ByUser<Box<RawValue>>,
    #[serde(default)]
    user_signing_keys: ByUser<Box<RawValue>>,
}

impl Owner<'_> {
    /// Keys with their signatures. Signatures by other users show to those users only, and are not among them.
    pub(super) async fn keys(&mut self, user: &mut DumpUser) -> Result<(), ApiError> {
        let name = user.user_id.as_str();
        let body = json!({"device_keys": {name: []}});
        let path: (&[&str], &[&str]) = (&CLIENT, &["keys", "query"]);
        let result = self.api.post::<Keys>(self.token, path, &body, Repeat::Safe).await;
        let mut keys = self.counter.or_lost(Kind::DeviceKeys, "", result)?;
        for (kind, mut by_user) in [
            ("master", keys.master_keys),
            ("self_signing", keys.self_signing_keys),
            ("user_signing", keys.user_signing_keys),
        ] {
            if let Some(key) = by_user.remove(name) {
                user.cross_signing_keys.insert(kind.to_owned(), key);
            }
        }
        self.counter.kept(Kind::CrossSigningKey, user.cross_signing_keys.len());
        for (device_id, keys) in keys.device_keys.remove(name).unwrap_or_default() {
            let device = user.devices.iter_mut().find(|device| device.device_id == device_id);
            match (device, without_unsigned(&keys)) {
                (Some(device), Some(keys)) => {
                    device.keys = Some(keys);
                    self.counter.kept(Kind::DeviceKeys, 1);
                }
                (None, _) => self.counter.lost(
                    Kind::DeviceKeys,
                    &device_id,
                    "device-missing",
                    "the device does not exist any more",
                ),
                (_, None) => self.counter.lost(
                    Kind::DeviceKeys,
                    &device_id,
                    "keys-invalid",
                    "the device's keys are no JSON object",
                ),
            }
        }
        Ok(())
    }
}

/// Synapse adds the device's name there.
fn without_unsigned(keys: &RawValue) -> Option<Box<RawValue>> {
    let mut keys: BTreeMap<String, Box<RawValue>> = serde_json::from_str(keys.get()).ok()?;
    keys.remove("unsigned");
    to_raw_value(&keys).ok()
}
