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

use ruma::api::client::{filter::FilterDefinition, push::Pusher};
use secrecy::ExposeSecret as _;
use serde_json::{json, value::RawValue};

use super::{Import, ImportError, push_rules};
use crate::{
    conduit::{layout::Part, trees},
    dump::{
        MessageReader,
        format::{DumpDevice, DumpPusher, DumpUser},
    },
    tally::Kind,
};

/// A hash that is not known: Conduit takes what is no argon2 hash for "does not match", a patched one asks Synapse.
const UNKNOWN: &str = "*";
/// The hash of an account that may not log in: patched or not, Conduit takes it for "does not match".
const LOCKED: &str = "!";

impl Import<'_> {
    /// Imports a user, and the messages that wait for the user's devices.
    pub(super) fn user(
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
            (&trees::USERID_DISPLAYNAME, &user.profile.displayname),
            (&trees::USERID_AVATARURL, &user.profile.avatar_url),
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

    fn account_data(&mut self, user: &DumpUser) -> Result<(), ImportError> {
        let id = user.user_id.as_str();
        for (kind, content) in &user.account_data.global {
            self.account_data_row(Kind::AccountData, "", id, kind, content)?;
        }
        for (room, types) in &user.account_data.rooms {
            for (kind, content) in types {
                self.account_data_row(Kind::RoomAccountData, room.as_str(), id, kind, content)?;
            }
        }
        if !user.deactivated && !user.guest {
            let rules =
                push_rules::content(&user.user_id, user.push_rules.as_deref(), &mut self.tally);
            self.tally.read(Kind::AccountData, 1);
            self.put_account_data("", id, "m.push_rules", &rules.to_string())?;
            self.tally.written(Kind::AccountData, 1);
        }
        Ok(())
    }

    fn account_data_row(
        &mut self,
        counted: Kind,
        room: &str,
        user: &str,
        kind: &str,
        content: &RawValue,
    ) -> Result<(), ImportError> {
        self.tally.read(counted, 1);
        let refused = match kind {
            // Conduit itself reads these when somebody sends, joins or invites.
            "m.ignored_user_list" | "m.direct" | "m.tag" => well_formed(kind, content).err(),
            _ => None,
        };
        if let Some(error) = refused {
            let item = format!("{kind} of {user} {room}");
            self.tally.skip(counted, item.trim(), "account-data-unparsable", error);
            return Ok(());
        }
        self.put_account_data(room, user, kind, content.get())?;
        self.tally.written(counted, 1);
        Ok(())
    }

    fn put_account_data(
        &mut self,
        room: &str,
        user: &str,
        kind: &str,
        content: &str,
    ) -> Result<(), ImportError> {
        let count = self.rows.next();
        let key = [room.into(), user.into(), count.into(), kind.into()];
        let event = format!("{{\"content\":{content},\"type\":{}}}", json!(kind));
        self.rows.put(&trees::ROOMUSERDATAID_ACCOUNTDATA, &key, &[event.as_str().into()])?;
        let index = [room.into(), user.into(), kind.into()];
        self.rows.put(&trees::ROOMUSERTYPE_ROOMUSERDATAID, &index, &key)
    }

    fn pusher(&mut self, user: &DumpUser, pusher: &DumpPusher) -> Result<(), ImportError> {
        let item = format!("{} of {}", pusher.app_id, user.user_id);
        self.tally.read(Kind::Pusher, 1);
        let mut json = json!({
            "pushkey": pusher.pushkey.expose_secret(),
            "app_id": pusher.app_id,
            "kind": pusher.kind,
            "data": pusher.data,
            "app_display_name": pusher.app_display_name,
            "device_display_name": pusher.device_display_name,
            "lang": pusher.lang,
        });
        if let (Some(tag), Some(object)) = (&pusher.profile_tag, json.as_object_mut())
            && !tag.is_empty()
        {
            object.insert("profile_tag".into(), json!(tag));
        }
        let refused = if pusher.kind != "http" {
            Some(("not-in-conduit", format!("Conduit sends no {} pushes", pusher.kind)))
        } else if !pusher.enabled {
            Some(("pusher-disabled", "Conduit would switch it on".into()))
        } else if !may_act(user) {
            Some(("account-without-rights", "the account may not act".into()))
        } else {
            let parsed = serde_json::from_value::<Pusher>(json.clone());
            parsed.err().map(|error| ("pusher-unparsable", error.to_string()))
        };
        if let Some((reason, detail)) = refused {
            self.tally.skip(Kind::Pusher, item, reason, detail);
            return Ok(());
        }
        let key = [Part::Text(user.user_id.as_str()), Part::Text(pusher.pushkey.expose_secret())];
        self.rows.put(&trees::SENDERKEY_PUSHER, &key, &[json.to_string().as_str().into()])?;
        self.tally.written(Kind::Pusher, 1);
        Ok(())
    }

    fn filter(&mut self, user: &str, id: &str, filter: &RawValue) -> Result<(), ImportError> {
        self.tally.read(Kind::Filter, 1);
        if let Err(error) = serde_json::from_str::<FilterDefinition>(filter.get()) {
            let item = format!("filter {id} of {user}");
            self.tally.skip(Kind::Filter, item, "filter-unparsable", error.to_string());
            return Ok(());
        }
        self.rows.put(
            &trees::USERFILTERID_FILTER,
            &[user.into(), id.into()],
            &[filter.get().into()],
        )?;
        self.tally.written(Kind::Filter, 1);
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
pub(super) fn may_act(user: &DumpUser) -> bool {
    !(user.deactivated
        || user.guest
        || user.locked
        || user.suspended
        || user.shadow_banned
        || user.awaiting_approval)
}

fn well_formed(kind: &str, content: &RawValue) -> Result<(), String> {
    use ruma::events::{
        direct::DirectEventContent, ignored_user_list::IgnoredUserListEventContent,
        tag::TagEventContent,
    };
    let text = content.get();
    match kind {
        "m.direct" => serde_json::from_str::<DirectEventContent>(text).map(drop),
        "m.ignored_user_list" => {
            serde_json::from_str::<IgnoredUserListEventContent>(text).map(drop)
        }
        _ => serde_json::from_str::<TagEventContent>(text).map(drop),
    }
    .map_err(|error| error.to_string())
}

pub(super) fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn len<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
