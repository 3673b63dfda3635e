//! A user's end-to-end encryption: public keys, one-time keys, backups, messages that wait for a device.
//!
//! What Conduit could not hand out again is left out with a reason: one bad row would fail the whole `/sync` or
//! `/keys/query` that it belongs to.

mod cross_signing;
mod key_backups;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use ruma::{OneTimeKeyAlgorithm, OneTimeKeyName, OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

pub(in crate::import) use self::cross_signing::SignedKeys;
use super::account::json_text;
use crate::{
    conduit::{
        account_data::is_parsable_object,
        schema::{
            shapes::{
                AsSent, FallbackKey, FallbackKeyId, KeyChange, OneTimeKey, Sorted, ToDevice, User,
                UserKey,
            },
            trees,
        },
    },
    dump::{
        MessageReader,
        format::{DumpDevice, DumpFallbackKey, DumpMessage, DumpUser},
    },
    import::{ImportError, row_writer::Rows, skip::SkipReason},
    tally::{Kind, Tally},
};

const GONE: SkipReason = SkipReason::new("device-left-out", "its device is not in Conduit");
const FALLBACK: SkipReason = SkipReason::new(
    "not-in-conduit",
    "Conduit knows no fallback keys; clients upload more one-time keys",
);
/// Device keys and cross-signing keys are named in one tree.
const TAKEN: SkipReason =
    SkipReason::new("key-name-taken", "another key of the user has the same name");

/// Writes what a user's devices and clients need for encryption. Key backups, which can be a hundred megabytes, are freed as
/// they are written.
pub(super) fn write(
    mut user: DumpUser,
    messages: MessageReader,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let backups = std::mem::take(&mut user.key_backups);
    let mut names = cross_signing::write(&user, rows, tally)?;
    let mut writer = Writer { user: &user, rows, tally };
    for device in &user.devices {
        writer.device(device, &mut names)?;
    }
    writer.messages(messages)?;
    if !names.is_empty() {
        // For the user's own devices; see `rooms/membership.rs`.
        let id = user.user_id.as_str();
        let key = KeyChange { room_or_user: id, count: rows.next() };
        rows.put(&trees::KEYCHANGEID_USERID, &key, &User { user: id })?;
    }
    key_backups::write(user.user_id.as_str(), backups, rows, tally)
}

/// Writes the keys and messages of one user's devices.
struct Writer<'a, 's> {
    user: &'a DumpUser,
    rows: &'a mut Rows<'s>,
    tally: &'a mut Tally,
}

impl Writer<'_, '_> {
    /// Writes a device's keys. `names` are those that the user's keys have taken.
    fn device(
        &mut self,
        device: &DumpDevice,
        names: &mut BTreeSet<String>,
    ) -> Result<(), ImportError> {
        let user = self.user;
        let id = user.user_id.as_str();
        let name = device.device_id.as_str();
        let gone = (!moves(user, device)).then_some(GONE);
        if let Some(keys) = &device.keys {
            let reason = gone
                .clone()
                .or_else(|| unfit_keys(keys, &user.user_id, name))
                .or_else(|| names.contains(name).then_some(TAKEN));
            if self.tally.keeps(Kind::DeviceKeys, || format!("{name} of {id}"), reason) {
                names.insert(name.to_owned());
                let key_of = UserKey { user: id, key: name };
                self.rows.put(&trees::KEYID_KEY, &key_of, &AsSent { json: keys.get() })?;
            }
        }
        for (key_id, key) in &device.one_time_keys {
            let reason = gone.clone().or_else(|| unfit_one_time_key(key_id));
            let item = || format!("{key_id} of {name} of {id}");
            if self.tally.keeps(Kind::OneTimeKey, item, reason) {
                let quoted = json_text(key_id);
                let key_of = OneTimeKey { user: id, device: name, quoted_key: &quoted };
                let value = AsSent { json: key.get() };
                self.rows.put(&trees::ONETIMEKEYID_ONETIMEKEYS, &key_of, &value)?;
            }
        }
        self.fallback_keys(device, gone.as_ref())
    }

    /// One key of each algorithm, where the server knows fallback keys.
    fn fallback_keys(
        &mut self,
        device: &DumpDevice,
        gone: Option<&SkipReason>,
    ) -> Result<(), ImportError> {
        let (user, name) = (self.user.user_id.as_str(), device.device_id.as_str());
        let is_held = self.rows.holds(&trees::FALLBACKKEYID_FALLBACKKEY);
        for (key_id, DumpFallbackKey { key, used }) in &device.fallback_keys {
            let reason = if is_held {
                gone.cloned().or_else(|| unfit_one_time_key(key_id))
            } else {
                Some(FALLBACK)
            };
            let item = || format!("{key_id} of {name} of {user}");
            if self.tally.keeps(Kind::FallbackKey, item, reason) {
                let algorithm = key_id.split(':').next().unwrap_or_default();
                let id = FallbackKeyId { user, device: name, algorithm };
                let value = FallbackKey { used: *used, key_id, json: key.get() };
                self.rows.put(&trees::FALLBACKKEYID_FALLBACKKEY, &id, &value)?;
            }
        }
        Ok(())
    }

    fn messages(&mut self, messages: MessageReader) -> Result<(), ImportError> {
        let user = self.user;
        let id = user.user_id.as_str();
        let devices = user.devices.iter().filter(|device| moves(user, device));
        let devices: BTreeSet<_> = devices.map(|device| &device.device_id).collect();
        for message in messages {
            let DumpMessage { device_id, message } = message?;
            let message = to_device(&message);
            let reason = if !devices.contains(&device_id) {
                Some(GONE)
            } else if message.is_none() {
                Some(SkipReason::new("message-unparsable", "it has no sender, type or content"))
            } else {
                None
            };
            let item = || format!("for {device_id} of {id}");
            if self.tally.keeps(Kind::ToDeviceMessage, item, reason)
                && let Some(message) = message
            {
                let key = ToDevice { user: id, device: &device_id, count: self.rows.next() };
                self.rows.put(&trees::TODEVICEID_EVENTS, &key, &Sorted { json: &message })?;
            }
        }
        Ok(())
    }
}

/// Whether a device is in Conduit.
fn moves(user: &DumpUser, device: &DumpDevice) -> bool {
    !user.deactivated && !device.dehydrated
}

/// Why Conduit or clients could not use device keys. An answer to `/keys/query` fails as a whole if one is no object
/// (src/api/client_server/keys.rs:546-563).
fn unfit_keys(keys: &RawValue, user: &UserId, device: &str) -> Option<SkipReason> {
    #[derive(Deserialize)]
    struct Owner {
        user_id: OwnedUserId,
        device_id: String,
    }
    match serde_json::from_str::<Owner>(keys.get()) {
        Ok(_) if !is_parsable_object(keys.get()) => Some(SkipReason::new(
            "key-unparsable",
            "Conduit could not read it, and would then answer no query for keys",
        )),
        Ok(owner) if owner.user_id == user && owner.device_id == device => None,
        Ok(_) => Some(SkipReason::new(
            "key-of-another",
            "it names another user or device; clients refuse it",
        )),
        Err(_) => {
            Some(SkipReason::new("key-unparsable", "it names no user or device; clients refuse it"))
        }
    }
}

/// Why Conduit could not count a one-time key: `/sync` would fail for its device
/// (src/database/key_value/users.rs:400-424).
fn unfit_one_time_key(key_id: &str) -> Option<SkipReason> {
    type Id = ruma::OwnedKeyId<OneTimeKeyAlgorithm, OneTimeKeyName>;
    let detail = "its name is no algorithm and id; its device uploads others";
    Id::try_from(key_id).is_err().then_some(SkipReason::new("key-unparsable", detail))
}

/// A message as Conduit stores it: three fields, keys sorted; content that is no value, such as one with a lone surrogate,
/// as it stands: clients are given it unread (src/database/key_value/users.rs:790-810).
fn to_device(message: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(rename = "type")]
        kind: String,
        sender: OwnedUserId,
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let Message { kind, sender, content } = serde_json::from_str(message.get()).ok()?;
    let value = serde_json::from_str::<Value>(content.get()).map(|value| value.to_string());
    let content = value.as_deref().unwrap_or_else(|_opaque| content.get());
    let (sender, kind) = (json_text(&sender), json_text(&kind));
    Some(format!("{{\"content\":{content},\"sender\":{sender},\"type\":{kind}}}"))
}
