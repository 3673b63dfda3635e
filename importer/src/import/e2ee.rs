//! A user's end-to-end encryption: public keys, one-time keys, backups, messages that wait for a device.

use serde_json::{Value, json, value::RawValue};

use super::{Import, ImportError, user::json_text};
use crate::{
    conduit::{
        layout::{Order, Part},
        trees::{self, Tree},
    },
    dump::format::{DumpDevice, DumpKeyBackup, DumpUser},
    tally::Kind,
};

/// Cross-signing keys and the trees that point to them.
const POINTERS: [(&str, &Tree); 3] = [
    ("master", &trees::USERID_MASTERKEYID),
    ("self_signing", &trees::USERID_SELFSIGNINGKEYID),
    ("user_signing", &trees::USERID_USERSIGNINGKEYID),
];

impl Import<'_> {
    /// Imports what a user's devices and clients need for encryption.
    pub(super) fn encryption(&mut self, user: &DumpUser) -> Result<(), ImportError> {
        let id = user.user_id.as_str();
        for device in &user.devices {
            self.device_encryption(user, device)?;
        }
        for (usage, tree) in POINTERS {
            if let Some(key) = user.cross_signing_keys.get(usage) {
                self.cross_signing_key(id, usage, tree, key)?;
            }
        }
        if let Some((newest, older)) = user.key_backups.split_last() {
            for backup in older {
                self.tally.read(Kind::KeyBackup, 1);
                let item = format!("version {} of {id}", backup.version);
                let detail = "Conduit would take it for the newest; clients use the newest only";
                self.tally.skip(Kind::KeyBackup, item, "older-backup", detail);
            }
            self.key_backup(id, newest)?;
        }
        Ok(())
    }

    fn device_encryption(
        &mut self,
        user: &DumpUser,
        device: &DumpDevice,
    ) -> Result<(), ImportError> {
        let id = user.user_id.as_str();
        let name = &device.device_id;
        let gone = (user.deactivated || device.dehydrated)
            .then_some(("device-left-out", "its device is not in Conduit"));
        let mut account = |kind, item: String, refused: Option<(&str, &str)>| {
            self.tally.read(kind, 1);
            match refused {
                Some((reason, detail)) => self.tally.skip(kind, item, reason, detail),
                None => self.tally.written(kind, 1),
            }
            refused.is_none()
        };
        let of_device: [Part<'_>; 2] = [id.into(), name.as_str().into()];
        if let Some(keys) = &device.keys
            && account(Kind::DeviceKeys, format!("{name} of {id}"), gone)
        {
            self.rows.put(&trees::KEYID_KEY, &of_device, &[keys.get().into()])?;
        }
        for (key_id, key) in &device.one_time_keys {
            if account(Kind::OneTimeKey, format!("{key_id} of {name} of {id}"), gone) {
                let quoted = json_text(key_id);
                let key_of = [of_device[0], of_device[1], quoted.as_str().into()];
                let value = key.get();
                self.rows.put(&trees::ONETIMEKEYID_ONETIMEKEYS, &key_of, &[value.into()])?;
            }
        }
        let no_fallback =
            ("not-in-conduit", "Conduit knows no fallback keys; clients upload more one-time keys");
        for key_id in device.fallback_keys.keys() {
            account(Kind::FallbackKey, format!("{key_id} of {name} of {id}"), Some(no_fallback));
        }
        for message in &device.to_device {
            if account(Kind::ToDeviceMessage, format!("for {name} of {id}"), gone) {
                let count = self.rows.next();
                let key = [of_device[0], of_device[1], count.into()];
                let text = crate::conduit::json::rewrite(message.get(), Order::Sorted)
                    .unwrap_or_else(|_| message.get().to_owned());
                self.rows.put(&trees::TODEVICEID_EVENTS, &key, &[text.as_str().into()])?;
            }
        }
        Ok(())
    }

    fn cross_signing_key(
        &mut self,
        user: &str,
        usage: &str,
        tree: &'static Tree,
        key: &RawValue,
    ) -> Result<(), ImportError> {
        self.tally.read(Kind::CrossSigningKey, 1);
        let parsed = serde_json::from_str::<Value>(key.get()).ok().and_then(|mut key| {
            let keys = key.get("keys")?.as_object()?;
            let public = keys.values().next().filter(|_| keys.len() == 1)?.as_str()?.to_owned();
            // Without `signatures`, Conduit can add none later (src/database/key_value/users.rs:559-566).
            key.as_object_mut()?.entry("signatures").or_insert_with(|| json!({}));
            Some((public, key))
        });
        let Some((public, key)) = parsed else {
            let item = format!("{usage} key of {user}");
            self.tally.skip(Kind::CrossSigningKey, item, "key-unparsable", "it has not one key");
            return Ok(());
        };
        let id: [Part<'_>; 2] = [user.into(), public.as_str().into()];
        self.rows.put(&trees::KEYID_KEY, &id, &[key.to_string().as_str().into()])?;
        self.rows.put(tree, &[user.into()], &id)?;
        self.tally.written(Kind::CrossSigningKey, 1);
        Ok(())
    }

    fn key_backup(&mut self, user: &str, backup: &DumpKeyBackup) -> Result<(), ImportError> {
        self.tally.read(Kind::KeyBackup, 1);
        let id: [Part<'_>; 2] = [user.into(), backup.version.as_str().into()];
        let algorithm = format!(
            "{{\"algorithm\":{},\"auth_data\":{}}}",
            json!(backup.algorithm),
            backup.auth_data.get()
        );
        self.rows.put(&trees::BACKUPID_ALGORITHM, &id, &[algorithm.as_str().into()])?;
        let etag = backup.etag.parse::<u64>().unwrap_or(1);
        self.rows.put(&trees::BACKUPID_ETAG, &id, &[etag.into()])?;
        self.tally.written(Kind::KeyBackup, 1);
        for (room, sessions) in &backup.rooms {
            for (session, key) in sessions {
                self.tally.read(Kind::KeyBackupSession, 1);
                let key_id = [id[0], id[1], room.as_str().into(), session.as_str().into()];
                self.rows.put(&trees::BACKUPKEYID_BACKUP, &key_id, &[key.get().into()])?;
                self.tally.written(Kind::KeyBackupSession, 1);
            }
        }
        Ok(())
    }
}
