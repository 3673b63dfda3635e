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
//!
//! Continuwuity knows some of them: deactivated, locked and suspended accounts have rows that say so, and the latter two keep
//! their passwords and tokens. It also holds e-mail addresses, profile fields and the time at which a token expires.

#[cfg(test)]
mod tests;

use secrecy::ExposeSecret;

use crate::{
    conduit::schema::{
        dialect::Dialect,
        shapes::{
            AsSent, DeviceMetadata, Displayname, Email, Expiry, Localpart, Mxc, PasswordHash,
            Restriction, Token, User, UserDevice, UserField, Version,
        },
        table::Table,
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

const NO_PLACE: SkipReason =
    SkipReason::new("not-in-conduit", "Conduit has no place for it; it stays in the dump");

/// Writes an account. `created_ts` is the time of what has none.
pub(super) fn write(
    user: &DumpUser,
    created_ts: u64,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let mut writer = Writer { user, rows, tally };
    writer.password()?;
    writer.state(created_ts)?;
    writer.profile()?;
    writer.addresses()?;
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

/// Whether an address has the form of an e-mail address: something before and after the last `@`, and no white space.
fn is_email(address: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    address.rsplit_once('@').is_some_and(|(local, domain)| is_part(local) && is_part(domain))
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
        let stored = stored_password(self.user, self.rows.dialect());
        self.tally.read(Kind::PasswordHash, u64::from(hash.is_some()));
        if hash == Some(stored) {
            self.tally.written(Kind::PasswordHash, 1);
        } else if hash.is_some() {
            let detail = "the account can't be used; reset its password to let its owner in";
            self.tally.skip(Kind::PasswordHash, id, "account-without-rights", detail);
        }
        self.rows.put(&trees::USERID_PASSWORD, &User { user: id }, &PasswordHash { hash: stored })
    }

    /// Whether the account is deactivated, locked or suspended, where the server knows that.
    fn state(&mut self, created_ts: u64) -> Result<(), ImportError> {
        let DumpUser { user_id, deactivated, locked, suspended, .. } = self.user;
        let id = User { user: user_id.as_str() };
        if *deactivated && self.rows.holds(&trees::USERID_DEACTIVATED) {
            self.rows.mark(&trees::USERID_DEACTIVATED, &id)?;
        }
        let states: [(bool, &'static Table<_, Restriction<'_>>); 2] =
            [(*locked, &trees::USERID_LOCK), (*suspended, &trees::USERID_SUSPENSION)];
        for (_, table) in states.into_iter().filter(|(is_set, _)| *is_set && !deactivated) {
            if self.rows.holds(table) {
                let restriction = Restricted {
                    suspended: true,
                    suspended_at: created_ts,
                    suspended_by: &format!("@conduit:{}", user_id.server_name()),
                };
                self.rows.put(table, &id, &Restriction { json: &json_text(&restriction) })?;
            }
        }
        Ok(())
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
        let holds_fields = self.rows.holds(&trees::USERIDPROFILEKEY_VALUE);
        for (field, value) in &self.user.profile.fields {
            let item = || format!("{field} of {}", user.user);
            let reason = (!holds_fields).then_some(NO_PLACE);
            if self.tally.keeps(Kind::ProfileField, item, reason) {
                let key = UserField { user: user.user, field };
                let json = value.to_string();
                self.rows.put(&trees::USERIDPROFILEKEY_VALUE, &key, &AsSent { json: &json })?;
            }
        }
        Ok(())
    }

    /// E-mail addresses and telephone numbers. Continuwuity holds one e-mail address of an account, the first one here, which no
    /// other account has.
    fn addresses(&mut self) -> Result<(), ImportError> {
        let user = self.user;
        let localpart = Localpart { localpart: user.user_id.localpart() };
        let dialect = self.rows.dialect();
        let holds_email = self.rows.holds(&trees::EMAIL_LOCALPART);
        // By e-mail, Continuwuity lets the owner of the address set a password.
        let may_log_in = may_act(user, dialect) && user.appservice_id.is_none();
        let mut has_one = false;
        for threepid in &user.threepids {
            let email = Email { email: &threepid.address };
            let reason = if !holds_email || threepid.medium != "email" {
                Some(NO_PLACE)
            } else if !is_email(&threepid.address) {
                Some(SkipReason::new("value-invalid", "it is no e-mail address"))
            } else if !may_log_in {
                let detail = "whoever has the address could set a password for the account";
                Some(SkipReason::new("account-without-rights", detail))
            } else if has_one {
                Some(SkipReason::new("one-address", "Continuwuity holds one address of an account"))
            } else if self.rows.get(&trees::EMAIL_LOCALPART, email.email.as_bytes())?.is_some() {
                Some(SkipReason::new("address-taken", "another account has the address"))
            } else {
                None
            };
            let item = || format!("{} of {}", threepid.medium, user.user_id);
            if self.tally.keeps(Kind::ThirdPartyId, item, reason) {
                has_one = true;
                self.rows.put(&trees::EMAIL_LOCALPART, &email, &localpart)?;
                self.rows.put(&trees::LOCALPART_EMAIL, &localpart, &email)?;
            }
        }
        Ok(())
    }

    /// Counts what the server has no place for.
    fn left_in_the_dump(&mut self) {
        let user = self.user;
        for external in &user.external_ids {
            let item = || format!("{} of {}", external.auth_provider, user.user_id);
            self.tally.keeps(Kind::ExternalId, item, Some(NO_PLACE));
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
        let knows_expiry = self.rows.holds(&trees::USERDEVICEID_TOKENEXPIRES);
        let may_act = may_act(user, self.rows.dialect());
        for (token, reason) in tokens(device, may_act, knows_expiry) {
            if let Some(reason) = reason {
                self.tally.leave(Kind::AccessToken, &item, reason);
                continue;
            }
            if let Some(valid_until_ts) = token.valid_until_ts {
                let expiry = Expiry { expires_seconds: valid_until_ts.div_euclid(1000) };
                self.rows.put(&trees::USERDEVICEID_TOKENEXPIRES, &key, &expiry)?;
            }
            let token = Token { token: token.token.expose_secret() };
            self.rows.put(&trees::USERDEVICEID_TOKEN, &key, &token)?;
            self.rows.put(&trees::TOKEN_USERDEVICEID, &token, &key)?;
            self.tally.written(Kind::AccessToken, 1);
        }
        Ok(())
    }
}

/// What the server gets as the hash of an account's password.
fn stored_password(user: &DumpUser, dialect: Dialect) -> &str {
    if user.deactivated || user.guest || user.appservice_id.is_some() {
        ""
    } else if may_act(user, dialect) {
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

/// The tokens of a device, newest first, each with the reason to leave it out. At most one has none: the newest that never expires,
/// or if there is none and the server knows of expiry, the newest.
fn tokens(
    device: &DumpDevice,
    may_act: bool,
    knows_expiry: bool,
) -> impl Iterator<Item = (&DumpAccessToken, Option<SkipReason>)> {
    let mut is_taken = false;
    let has_lasting = device.access_tokens.iter().any(|token| token.valid_until_ts.is_none());
    let takes_ending = knows_expiry && !has_lasting;
    device.access_tokens.iter().rev().map(move |token| {
        let reason = if !may_act {
            let detail = "the account is a guest, locked, suspended or awaiting approval";
            Some(("account-without-rights", detail))
        } else if token.valid_until_ts.is_some() && !knows_expiry {
            Some((
                "token-expires",
                "tokens never expire on Conduit; the device has to log in again",
            ))
        } else if is_taken || (token.valid_until_ts.is_some() && !takes_ending) {
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

/// Whether the account may act by itself on the server, which keeps it from what it may not do.
pub(in crate::import) fn may_act(user: &DumpUser, dialect: Dialect) -> bool {
    let is_kept_back = (user.locked && !dialect.holds(&trees::USERID_LOCK))
        || (user.suspended && !dialect.holds(&trees::USERID_SUSPENSION));
    !(user.deactivated
        || user.guest
        || user.shadow_banned
        || user.awaiting_approval
        || is_kept_back)
}

/// What Continuwuity notes of a locked or suspended account, in its order of fields (src/service/users/mod.rs:29).
#[derive(serde::Serialize)]
struct Restricted<'a> {
    suspended: bool,
    suspended_at: u64,
    suspended_by: &'a str,
}

pub(in crate::import) fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn len<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
