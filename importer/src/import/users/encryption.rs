//! A user's end-to-end encryption: public keys, one-time keys, backups, messages that wait for a device.
//!
//! What Conduit could not hand out again is left out with a reason: one bad row would fail the whole `/sync` or
//! `/keys/query` that it belongs to.

mod cross_signing;
mod key_backups;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub(in crate::import) use cross_signing::Signed;
use ruma::{OneTimeKeyAlgorithm, OneTimeKeyName, OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::account::json_text;
use crate::{
    conduit::{
        account_data::is_readable_object,
        schema::{layout::Part, trees},
    },
    dump::{
        MessageReader,
        format::{DumpDevice, DumpMessage, DumpUser},
    },
    import::{Import, ImportError},
    tally::Kind,
};

/// Why an item is left out: a code, and a sentence for a person.
type Refusal = (&'static str, &'static str);

const GONE: Refusal = ("device-left-out", "its device is not in Conduit");
const FALLBACK: Refusal =
    ("not-in-conduit", "Conduit knows no fallback keys; clients upload more one-time keys");
/// Device keys and cross-signing keys are named in one tree.
const TAKEN: Refusal = ("key-name-taken", "another key of the user has the same name");

impl Import<'_> {
    /// Imports what a user's devices and clients need for encryption. Key backups, which can be a hundred megabytes, are
    /// freed as they are written.
    pub(in crate::import) fn encryption(
        &mut self,
        user: &mut DumpUser,
        messages: MessageReader,
    ) -> Result<(), ImportError> {
        let mut names = BTreeSet::new();
        self.cross_signing_keys(user, &mut names)?;
        for device in &user.devices {
            self.device_encryption(user, device, &mut names)?;
        }
        self.messages(user, messages)?;
        if !names.is_empty() {
            // For the user's own devices; see `room/membership.rs`.
            let id = Part::Text(user.user_id.as_str());
            let key = [id, Part::U64(self.rows.next())];
            self.rows.put(&trees::KEYCHANGEID_USERID, &key, &[id])?;
        }
        let backups = std::mem::take(&mut user.key_backups);
        self.key_backups(user.user_id.as_str(), backups)
    }

    fn device_encryption(
        &mut self,
        user: &DumpUser,
        device: &DumpDevice,
        names: &mut BTreeSet<String>,
    ) -> Result<(), ImportError> {
        let id = user.user_id.as_str();
        let name = device.device_id.as_str();
        let gone = (!moves(user, device)).then_some(GONE);
        let of_device: [Part<'_>; 2] = [id.into(), name.into()];
        if let Some(keys) = &device.keys {
            let refused = gone
                .or_else(|| unfit_keys(keys, &user.user_id, name))
                .or_else(|| names.contains(name).then_some(TAKEN));
            if self.keeps(Kind::DeviceKeys, || format!("{name} of {id}"), refused) {
                names.insert(name.to_owned());
                self.rows.put(&trees::KEYID_KEY, &of_device, &[keys.get().into()])?;
            }
        }
        for (key_id, key) in &device.one_time_keys {
            let refused = gone.or_else(|| unfit_one_time_key(key_id));
            if self.keeps(Kind::OneTimeKey, || format!("{key_id} of {name} of {id}"), refused) {
                let quoted = json_text(key_id);
                let key_of = [of_device[0], of_device[1], quoted.as_str().into()];
                let value = key.get();
                self.rows.put(&trees::ONETIMEKEYID_ONETIMEKEYS, &key_of, &[value.into()])?;
            }
        }
        for key_id in device.fallback_keys.keys() {
            let item = || format!("{key_id} of {name} of {id}");
            self.keeps(Kind::FallbackKey, item, Some(FALLBACK));
        }
        Ok(())
    }

    fn messages(&mut self, user: &DumpUser, messages: MessageReader) -> Result<(), ImportError> {
        let id = user.user_id.as_str();
        let devices = user.devices.iter().filter(|device| moves(user, device));
        let devices: BTreeSet<_> = devices.map(|device| &device.device_id).collect();
        for message in messages {
            let DumpMessage { device_id, message } = message?;
            let gone = (!devices.contains(&device_id)).then_some(GONE);
            let (message, unfit) = match to_device(&message) {
                Some(message) => (message, None),
                None => (
                    String::new(),
                    Some(("message-unparsable", "it has no sender, type or content")),
                ),
            };
            let item = || format!("for {device_id} of {id}");
            if self.keeps(Kind::ToDeviceMessage, item, gone.or(unfit)) {
                let key = [id.into(), device_id.as_str().into(), self.rows.next().into()];
                self.rows.put(&trees::TODEVICEID_EVENTS, &key, &[message.as_str().into()])?;
            }
        }
        Ok(())
    }

    /// Counts an item; whether it is to be written.
    fn keeps(
        &mut self,
        kind: Kind,
        item: impl FnOnce() -> String,
        refused: Option<Refusal>,
    ) -> bool {
        self.tally.read(kind, 1);
        match refused {
            Some((reason, detail)) => self.tally.skip(kind, item(), reason, detail),
            None => self.tally.written(kind, 1),
        }
        refused.is_none()
    }
}

/// Whether a device is in Conduit.
fn moves(user: &DumpUser, device: &DumpDevice) -> bool {
    !user.deactivated && !device.dehydrated
}

/// Why Conduit or clients could not use device keys. An answer to `/keys/query` fails as a whole if one is no object
/// (src/api/client_server/keys.rs:546-563).
fn unfit_keys(keys: &RawValue, user: &UserId, device: &str) -> Option<Refusal> {
    #[derive(Deserialize)]
    struct Owner {
        user_id: OwnedUserId,
        device_id: String,
    }
    match serde_json::from_str::<Owner>(keys.get()) {
        Ok(_) if !is_readable_object(keys.get()) => Some((
            "key-unparsable",
            "Conduit could not read it, and would give nobody's keys with it",
        )),
        Ok(owner) if owner.user_id == user && owner.device_id == device => None,
        Ok(_) => Some(("key-of-another", "it names another user or device; clients refuse it")),
        Err(_) => Some(("key-unparsable", "it does not say whose it is; clients refuse it")),
    }
}

/// Why Conduit could not count a one-time key: `/sync` would fail for its device
/// (src/database/key_value/users.rs:400-424).
fn unfit_one_time_key(key_id: &str) -> Option<Refusal> {
    type Id = ruma::OwnedKeyId<OneTimeKeyAlgorithm, OneTimeKeyName>;
    Id::try_from(key_id)
        .is_err()
        .then_some(("key-unparsable", "its name is no algorithm and id; its device uploads others"))
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
