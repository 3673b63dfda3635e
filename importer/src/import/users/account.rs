//! An account: password, profile, devices and their access tokens.
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

use secrecy::ExposeSecret;

use crate::{
    conduit::schema::{
        shapes::{
            DeviceMetadata, Displayname, Mxc, PasswordHash, Token, User, UserDevice, Version,
        },
        trees,
    },
    dump::format::{DumpAccessToken, DumpDevice, DumpUser},
    import::{ImportError, row_writer::Rows, skip::SkipReason},
    tally::{Kind, Tally},
};

/// A hash that is not known: Conduit takes what is no argon2 hash for "does not match", a patched one asks Synapse.
const UNKNOWN: &str = "*";
/// The hash of an account that may not log in: patched or not, Conduit takes it for "does not match".
const LOCKED: &str = "!";

/// Writes an account.
pub(super) fn write(
    user: &DumpUser,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let mut writer = Writer { user, rows, tally };
    writer.password()?;
    writer.profile()?;
    writer.left_in_the_dump();
    for device in &user.devices {
        writer.device(device)?;
    }
    if !user.devices.is_empty() && !user.deactivated {
        let version = user.device_list_stream_id.unwrap_or(0).max(len(&user.devices)).max(1);
        let id = User { user: user.user_id.as_str() };
        rows.put(&trees::USERID_DEVICELISTVERSION, &id, &Version { version })?;
    }
    Ok(())
}

/// Writes one account.
struct Writer<'a, 's> {
    user: &'a DumpUser,
    rows: &'a mut Rows<'s>,
    tally: &'a mut Tally,
}

impl Writer<'_, '_> {
    fn password(&mut self) -> Result<(), ImportError> {
        let id = self.user.user_id.as_str();
        let hash = self.user.password_hash.as_ref().map(ExposeSecret::expose_secret);
        let stored = stored_password(self.user);
        self.tally.read(Kind::PasswordHash, u64::from(hash.is_some()));
        if hash == Some(stored) {
            self.tally.written(Kind::PasswordHash, 1);
        } else if hash.is_some() {
            let detail = "the account can't be used; reset its password to let its owner in";
            self.tally.skip(Kind::PasswordHash, id, "account-without-rights", detail);
        }
        self.rows.put(&trees::USERID_PASSWORD, &User { user: id }, &PasswordHash { hash: stored })
    }

    fn profile(&mut self) -> Result<(), ImportError> {
        let user = User { user: self.user.user_id.as_str() };
        let is_set = |value: &&str| !value.is_empty();
        if let Some(displayname) = self.user.profile.displayname.as_deref().filter(is_set) {
            self.rows.put(&trees::USERID_DISPLAYNAME, &user, &Displayname { displayname })?;
            self.tally.keeps(Kind::ProfileField, String::new, None);
        }
        if let Some(mxc) = self.user.profile.avatar_url.as_deref().filter(is_set) {
            self.rows.put(&trees::USERID_AVATARURL, &user, &Mxc { mxc })?;
            self.tally.keeps(Kind::ProfileField, String::new, None);
        }
        Ok(())
    }

    /// Counts what Conduit has no place for.
    fn left_in_the_dump(&mut self) {
        let user = self.user;
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

    fn device(&mut self, device: &DumpDevice) -> Result<(), ImportError> {
        let user = self.user;
        let item = format!("{} of {}", device.device_id, user.user_id);
        self.tally.read(Kind::Device, 1);
        self.tally.read(Kind::AccessToken, len(&device.access_tokens));
        if let Some(reason) = unfit_device(user, device) {
            self.tally.leave(Kind::Device, &item, reason.clone());
            for _ in &device.access_tokens {
                self.tally.leave(Kind::AccessToken, &item, reason.clone());
            }
            return Ok(());
        }
        let key = UserDevice { user: user.user_id.as_str(), device: &device.device_id };
        let metadata = json_text(&Metadata {
            device_id: &device.device_id,
            display_name: device.display_name.as_deref(),
            last_seen_ip: device.last_seen_ip.as_deref(),
            last_seen_ts: device.last_seen_ts,
        });
        self.rows.put(&trees::USERDEVICEID_METADATA, &key, &DeviceMetadata { json: &metadata })?;
        self.tally.written(Kind::Device, 1);
        for (token, reason) in tokens(device, may_act(user)) {
            if let Some(reason) = reason {
                self.tally.leave(Kind::AccessToken, &item, reason);
                continue;
            }
            let token = Token { token: token.token.expose_secret() };
            self.rows.put(&trees::USERDEVICEID_TOKEN, &key, &token)?;
            self.rows.put(&trees::TOKEN_USERDEVICEID, &token, &key)?;
            self.tally.written(Kind::AccessToken, 1);
        }
        Ok(())
    }
}

/// What Conduit gets as the hash of an account's password.
fn stored_password(user: &DumpUser) -> &str {
    if user.deactivated || user.guest || user.appservice_id.is_some() {
        ""
    } else if may_act(user) {
        user.password_hash.as_ref().map_or(UNKNOWN, ExposeSecret::expose_secret)
    } else {
        LOCKED
    }
}

/// Why a device is left out.
fn unfit_device(user: &DumpUser, device: &DumpDevice) -> Option<SkipReason> {
    if user.deactivated {
        Some(SkipReason::new("user-deactivated", "deactivated users have no devices"))
    } else if device.dehydrated {
        Some(SkipReason::new("not-in-conduit", "Conduit has no dehydrated devices"))
    } else {
        None
    }
}

/// The tokens of a device, newest first, each with the reason to leave it out. At most one has none: the newest that Conduit,
/// which knows no expiry, may have.
fn tokens(
    device: &DumpDevice,
    may_act: bool,
) -> impl Iterator<Item = (&DumpAccessToken, Option<SkipReason>)> {
    let mut is_taken = false;
    device.access_tokens.iter().rev().map(move |token| {
        let reason = if !may_act {
            let detail = "the account is a guest, locked, suspended or awaiting approval";
            Some(("account-without-rights", detail))
        } else if token.valid_until_ts.is_some() {
            Some((
                "token-expires",
                "tokens never expire on Conduit; the device has to log in again",
            ))
        } else if is_taken {
            Some(("older-token", "Conduit has one token for each device"))
        } else {
            is_taken = true;
            None
        };
        (token, reason.map(|(code, detail)| SkipReason::new(code, detail)))
    })
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
