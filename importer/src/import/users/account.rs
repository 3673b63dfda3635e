//! A user with profile, devices, account data, pushers and filters.
//!
//! Flags that Conduit doesn't know become the nearest thing that gives no more rights than before:
//!
//! | on Synapse | in Conduit |
//! |---|---|
//! | deactivated, erased | empty password (deactivated), no devices, no tokens |
//! | guest | empty password (guest); tokens are left out: Conduit checks guests less than Synapse |
//! | locked, suspended, awaiting approval, shadow-banned | the password `!`, which nobody has, no tokens: an administrator resets the password to let them in |
//! | of an application service | empty password, as Conduit's own |
//! | without password (single sign-on), or its hash is not known | the password `*`, which nobody has; a patched Conduit asks Synapse instead |

#[cfg(test)]
mod tests;

use secrecy::ExposeSecret as _;

use crate::{
    conduit::schema::{layout::Part, trees},
    dump::{
        MessageReader,
        format::{DumpDevice, DumpUser},
    },
    import::{Import, ImportError},
    tally::Kind,
};

/// A hash that is not known: Conduit takes what is no argon2 hash for "does not match", a patched one asks Synapse.
const UNKNOWN: &str = "*";
/// The hash of an account that may not log in: patched or not, Conduit takes it for "does not match".
const LOCKED: &str = "!";

impl Import<'_> {
    /// Imports a user, and the messages that wait for the user's devices.
    pub(in crate::import) fn user(
        &mut self,
        mut user: DumpUser,
        messages: MessageReader,
    ) -> Result<(), ImportError> {
        let user = &mut user;
        self.tally.read(Kind::User, 1);
        let id = user.user_id.as_str();
        if user.user_id.localpart() == "conduit" {
            let detail = "Conduit needs the name for itself; the account was deactivated";
            self.tally.skip(Kind::User, id, "name-taken-by-conduit", detail);
            return Ok(());
        }
        self.password(user)?;
        self.profile(user)?;
        self.nowhere(user);
        let may_act = may_act(user);
        if may_act && user.admin {
            self.admins.push((user.user_id.clone(), user.profile.displayname.clone()));
        }
        for device in &user.devices {
            self.device(user, device, may_act)?;
        }
        if !user.devices.is_empty() && !user.deactivated {
            let version = user.device_list_stream_id.unwrap_or(0).max(len(&user.devices)).max(1);
            self.rows.put(&trees::USERID_DEVICELISTVERSION, &[id.into()], &[version.into()])?;
        }
        self.account_data(user)?;
        for pusher in &user.pushers {
            self.pusher(user, pusher)?;
        }
        for (filter_id, filter) in &user.filters {
            self.filter(id, filter_id, filter)?;
        }
        self.encryption(user, messages)?;
        self.tally.written(Kind::User, 1);
        Ok(())
    }

    fn password(&mut self, user: &DumpUser) -> Result<(), ImportError> {
        let id = user.user_id.as_str();
        let hash = user.password_hash.as_ref().map(secrecy::ExposeSecret::expose_secret);
        self.tally.read(Kind::PasswordHash, u64::from(hash.is_some()));
        let empty = user.deactivated || user.guest || user.appservice_id.is_some();
        let stored = if empty {
            ""
        } else if may_act(user) {
            hash.unwrap_or(UNKNOWN)
        } else {
            LOCKED
        };
        if hash == Some(stored) {
            self.tally.written(Kind::PasswordHash, 1);
        } else if hash.is_some() {
            let detail = "the account can't be used; reset its password to let its owner in";
            self.tally.skip(Kind::PasswordHash, id, "account-without-rights", detail);
        }
        self.rows.put(&trees::USERID_PASSWORD, &[id.into()], &[stored.into()])
    }

    fn profile(&mut self, user: &DumpUser) -> Result<(), ImportError> {
        let id = user.user_id.as_str();
        let fields = [
            (trees::USERID_DISPLAYNAME.tree(), &user.profile.displayname),
            (trees::USERID_AVATARURL.tree(), &user.profile.avatar_url),
        ];
        for (tree, value) in fields {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                self.tally.read(Kind::ProfileField, 1);
                self.rows.put(tree, &[id.into()], &[value.into()])?;
                self.tally.written(Kind::ProfileField, 1);
            }
        }
        Ok(())
    }

    /// What Conduit has no place for.
    fn nowhere(&mut self, user: &DumpUser) {
        let id = &user.user_id;
        let detail = "Conduit has no place for it; it stays in the dump";
        let mut skip = |kind, item: String| {
            self.tally.read(kind, 1);
            self.tally.skip(kind, item, "not-in-conduit", detail);
        };
        for name in user.profile.fields.keys() {
            skip(Kind::ProfileField, format!("{name} of {id}"));
        }
        for threepid in &user.threepids {
            skip(Kind::ThirdPartyId, format!("{} of {id}", threepid.medium));
        }
        for external in &user.external_ids {
            skip(Kind::ExternalId, format!("{} of {id}", external.auth_provider));
        }
    }

    fn device(
        &mut self,
        user: &DumpUser,
        device: &DumpDevice,
        may_act: bool,
    ) -> Result<(), ImportError> {
        let item = format!("{} of {}", device.device_id, user.user_id);
        self.tally.read(Kind::Device, 1);
        self.tally.read(Kind::AccessToken, len(&device.access_tokens));
        let refused = if user.deactivated {
            Some(("user-deactivated", "deactivated users have no devices"))
        } else if device.dehydrated {
            Some(("not-in-conduit", "Conduit has no dehydrated devices"))
        } else {
            None
        };
        if let Some((reason, detail)) = refused {
            self.tally.skip(Kind::Device, &item, reason, detail);
            for _ in &device.access_tokens {
                self.tally.skip(Kind::AccessToken, &item, reason, detail);
            }
            return Ok(());
        }
        let key: [Part<'_>; 2] = [user.user_id.as_str().into(), device.device_id.as_str().into()];
        let metadata = Metadata {
            device_id: &device.device_id,
            display_name: device.display_name.as_deref(),
            last_seen_ip: device.last_seen_ip.as_deref(),
            last_seen_ts: device.last_seen_ts,
        };
        let metadata = json_text(&metadata);
        self.rows.put(&trees::USERDEVICEID_METADATA, &key, &[metadata.as_str().into()])?;
        self.tally.written(Kind::Device, 1);
        self.tokens(device, may_act, &item, key)
    }

    /// One token for each device: the newest that Conduit, which knows no expiry, may have.
    fn tokens(
        &mut self,
        device: &DumpDevice,
        may_act: bool,
        item: &str,
        key: [Part<'_>; 2],
    ) -> Result<(), ImportError> {
        let mut taken = false;
        for token in device.access_tokens.iter().rev() {
            let refused = if !may_act {
                Some((
                    "account-without-rights",
                    "the account may not act: it is a guest, locked, suspended or waits",
                ))
            } else if token.valid_until_ts.is_some() {
                Some(("token-expires", "Conduit's tokens never end; the device logs in again"))
            } else if taken {
                Some(("older-token", "Conduit has one token for each device"))
            } else {
                None
            };
            if let Some((reason, detail)) = refused {
                self.tally.skip(Kind::AccessToken, item, reason, detail);
                continue;
            }
            taken = true;
            let text = Part::Text(token.token.expose_secret());
            self.rows.put(&trees::USERDEVICEID_TOKEN, &key, &[text])?;
            self.rows.put(&trees::TOKEN_USERDEVICEID, &[text], &key)?;
            self.tally.written(Kind::AccessToken, 1);
        }
        Ok(())
    }
}

/// A device's description, in Conduit's order of fields.
#[derive(serde::Serialize)]
struct Metadata<'a> {
    device_id: &'a str,
    display_name: Option<&'a str>,
    last_seen_ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_ts: Option<u64>,
}

/// Whether the account may act by itself on Conduit.
pub(in crate::import) fn may_act(user: &DumpUser) -> bool {
    !(user.deactivated
        || user.guest
        || user.locked
        || user.suspended
        || user.shadow_banned
        || user.awaiting_approval)
}

pub(in crate::import) fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn len<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
