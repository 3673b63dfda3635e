//! One account with all it owns.

mod backups;
mod keys;
mod own;
mod sync;

use std::collections::BTreeMap;

use ruma::{OwnedRoomId, OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use self::own::Owner;
use super::{
    ApiError, Noted, Synapse,
    connection::{As, Connection},
    counter::Counter,
};
use crate::{
    dump::format::{
        DumpAccountData, DumpDevice, DumpExternalId, DumpProfile, DumpPusher, DumpThreepid,
        DumpUser,
    },
    tally::{Kind, Tally},
};

/// The answer to `GET /_synapse/admin/v2/users/{user}`.
#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "Synapse's flags")]
struct AccountAnswer {
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    deactivated: bool,
    #[serde(default)]
    erased: bool,
    #[serde(default)]
    is_guest: bool,
    #[serde(default)]
    locked: bool,
    #[serde(default)]
    suspended: bool,
    #[serde(default)]
    shadow_banned: bool,
    /// Absent unless approval is switched on.
    approved: Option<bool>,
    user_type: Option<String>,
    appservice_id: Option<String>,
    /// In seconds, unlike in the list of users.
    creation_ts: Option<u64>,
    consent_version: Option<String>,
    displayname: Option<String>,
    avatar_url: Option<String>,
    #[serde(default)]
    threepids: Vec<Threepid>,
    #[serde(default)]
    external_ids: Vec<DumpExternalId>,
}

#[derive(Deserialize)]
struct Threepid {
    medium: String,
    address: String,
    validated_at: u64,
    added_at: u64,
}

/// Reads accounts one by one.
pub(super) struct UserReader<'a> {
    pub(super) synapse: &'a mut Synapse,
    pub(super) noted: &'a mut Noted,
    /// All accounts of the server.
    pub(super) users: &'a [OwnedUserId],
    /// The position of the server's device lists, once Synapse has answered.
    pub(super) device_list_stream_id: &'a mut Option<u64>,
}

impl UserReader<'_> {
    /// Reads an account. `None`: it can't be read, which is counted.
    pub(super) async fn read(
        &mut self,
        user_id: &OwnedUserId,
        tally: &mut Tally,
    ) -> Result<Option<DumpUser>, ApiError> {
        let api = &self.synapse.api;
        let mut counter = Counter::new(tally, user_id.as_str());
        let path = ["v2", "users", user_id.as_str()];
        let mut user = match api.admin::<AccountAnswer>(&path, &[]).await {
            Ok(account) => dump_user(user_id, account),
            Err(error) if error.ends_run() => return Err(error),
            Err(error) => {
                counter.skip(Kind::User, "", "user-unreadable", error.to_string());
                return Ok(None);
            }
        };
        if user.erased {
            self.noted.erased.insert(user_id.as_str());
        }
        counter.kept(Kind::ThirdPartyId, user.threepids.len());
        counter.kept(Kind::ExternalId, user.external_ids.len());
        user.account_data = account_data(api, user_id, &mut counter).await?;
        user.devices = devices(api, user_id, &mut counter).await?;
        user.pushers = pushers(api, user_id, &mut counter).await?;
        user.device_list_stream_id = self.device_list_stream_id(user_id).await?;
        self.read_own(&mut user, tally).await?;
        Counter::new(tally, user_id.as_str()).kept(Kind::ProfileField, fields(&user.profile));
        Ok(Some(user))
    }

    /// What only the user sees: with the admin's own token for the admin, with a login token for anybody else.
    async fn read_own(&mut self, user: &mut DumpUser, tally: &mut Tally) -> Result<(), ApiError> {
        let user_id = user.user_id.clone();
        let Synapse { api, federation, admin, logins, .. } = &mut *self.synapse;
        let Noted { listed, seen, .. } = &mut *self.noted;
        let mut counter = Counter::new(tally, user_id.as_str());
        if user.user_id == *admin {
            let token = As::Admin;
            return Owner { api, token, counter, listed, users: self.users }.read(user, seen).await;
        }
        if user.locked {
            counter.lost(Kind::AccountData, "", "user-locked", "Synapse lets nobody read as a locked user; unlock the account to read its push rules, filters, receipts, invites and key backups");
            return keys::read_federated(federation, user, &mut counter).await;
        }
        let token = match logins.login(&user_id).await {
            Ok(token) => token,
            Err(error) if error.ends_run() => return Err(error),
            Err(error) => {
                counter.lost(Kind::AccountData, "", "no-login", format!("push rules, filters, receipts, invites and key backups need a login token: {error}"));
                return keys::read_federated(federation, user, &mut counter).await;
            }
        };
        let mut owner = Owner { api, token: As::User(&token), counter, listed, users: self.users };
        let read = owner.read(user, seen).await;
        let closed = logins.close().await;
        read.and(closed)
    }

    /// The position of the server's device lists, which is the same for all users, so it is asked for once.
    async fn device_list_stream_id(&mut self, user_id: &UserId) -> Result<Option<u64>, ApiError> {
        if self.device_list_stream_id.is_none() {
            match self.synapse.federation.user_devices(user_id).await {
                Ok(devices) => *self.device_list_stream_id = Some(devices.stream_id),
                Err(error) if error.ends_run() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "the position of the device lists is not known");
                }
            }
        }
        Ok(self.device_list_stream_id.filter(|position| *position > 0))
    }
}

fn dump_user(user_id: &OwnedUserId, account: AccountAnswer) -> DumpUser {
    let mut threepids: Vec<_> = account
        .threepids
        .into_iter()
        .map(|id| DumpThreepid {
            medium: id.medium,
            address: id.address,
            validated_ts: id.validated_at,
            added_ts: id.added_at,
        })
        .collect();
    threepids.sort();
    let mut external_ids = account.external_ids;
    external_ids.sort();
    DumpUser {
        admin: account.admin,
        deactivated: account.deactivated,
        erased: account.erased,
        guest: account.is_guest,
        locked: account.locked,
        suspended: account.suspended,
        shadow_banned: account.shadow_banned,
        awaiting_approval: account.approved == Some(false),
        user_type: account.user_type,
        appservice_id: account.appservice_id,
        created_ts: account.creation_ts.map(|seconds| seconds.saturating_mul(1000)),
        profile: DumpProfile {
            displayname: account.displayname,
            avatar_url: account.avatar_url,
            fields: BTreeMap::new(),
        },
        threepids,
        external_ids,
        consent_version: account.consent_version,
        ..DumpUser::new(user_id.clone())
    }
}

/// Account data; tags and push rules are not among it.
async fn account_data(
    api: &Connection,
    user_id: &UserId,
    counter: &mut Counter<'_>,
) -> Result<DumpAccountData, ApiError> {
    type Contents = BTreeMap<String, Box<RawValue>>;
    #[derive(Default, Deserialize)]
    struct AccountDataAnswer {
        account_data: AccountData,
    }
    #[derive(Default, Deserialize)]
    struct AccountData {
        #[serde(default)]
        global: Contents,
        #[serde(default)]
        rooms: BTreeMap<String, Contents>,
    }

    let path = ["v1", "users", user_id.as_str(), "accountdata"];
    let answer = api.admin::<AccountDataAnswer>(&path, &[]).await;
    let AccountData { global, rooms } =
        counter.or_lost(Kind::AccountData, "", answer)?.account_data;
    counter.kept(Kind::AccountData, global.len());
    let mut account_data = DumpAccountData { global, rooms: BTreeMap::new() };
    for (room, contents) in rooms {
        if let Ok(room_id) = OwnedRoomId::try_from(room.as_str()) {
            counter.kept(Kind::RoomAccountData, contents.len());
            account_data.rooms.insert(room_id, contents);
        } else {
            counter.lost(Kind::RoomAccountData, &room, "room-id-invalid", "no room has such an id");
        }
    }
    Ok(account_data)
}

/// Devices. Synapse leaves out its hidden ones here, which are cross-signing keys.
async fn devices(
    api: &Connection,
    user_id: &UserId,
    counter: &mut Counter<'_>,
) -> Result<Vec<DumpDevice>, ApiError> {
    #[derive(Default, Deserialize)]
    struct DevicesAnswer {
        devices: Vec<Device>,
    }
    #[derive(Deserialize)]
    struct Device {
        #[serde(rename = "device_id")]
        id: String,
        display_name: Option<String>,
        last_seen_ts: Option<u64>,
        last_seen_ip: Option<String>,
        #[serde(default)]
        dehydrated: Option<bool>,
    }

    let path = ["v2", "users", user_id.as_str(), "devices"];
    let answer = api.admin::<DevicesAnswer>(&path, &[]).await;
    let answer = counter.or_lost(Kind::Device, "", answer)?;
    let mut devices: Vec<_> = answer
        .devices
        .into_iter()
        .map(|device| DumpDevice {
            display_name: device.display_name,
            last_seen_ts: device.last_seen_ts,
            last_seen_ip: device.last_seen_ip,
            dehydrated: device.dehydrated.unwrap_or_default(),
            ..DumpDevice::new(device.id)
        })
        .collect();
    devices.sort_by(|a, b| a.device_id.cmp(&b.device_id));
    counter.kept(Kind::Device, devices.len());
    Ok(devices)
}

async fn pushers(
    api: &Connection,
    user_id: &UserId,
    counter: &mut Counter<'_>,
) -> Result<Vec<DumpPusher>, ApiError> {
    #[derive(Default, Deserialize)]
    struct PushersAnswer {
        pushers: Vec<Pusher>,
    }
    #[derive(Deserialize)]
    struct Pusher {
        pushkey: String,
        app_id: String,
        kind: String,
        app_display_name: String,
        device_display_name: String,
        profile_tag: Option<String>,
        lang: Option<String>,
        data: Box<RawValue>,
        enabled: Option<bool>,
        device_id: Option<String>,
    }

    let path = ["v1", "users", user_id.as_str(), "pushers"];
    let answer = api.admin::<PushersAnswer>(&path, &[]).await;
    let mut pushers = counter.or_lost(Kind::Pusher, "", answer)?.pushers;
    counter.kept(Kind::Pusher, pushers.len());
    pushers.sort_by(|a, b| (&a.app_id, &a.pushkey).cmp(&(&b.app_id, &b.pushkey)));
    Ok(pushers
        .into_iter()
        .map(|pusher| DumpPusher {
            pushkey: pusher.pushkey.into(),
            app_id: pusher.app_id,
            kind: pusher.kind,
            app_display_name: pusher.app_display_name,
            device_display_name: pusher.device_display_name,
            profile_tag: pusher.profile_tag,
            lang: pusher.lang.unwrap_or_default(),
            data: pusher.data,
            enabled: pusher.enabled.unwrap_or(true),
            device_id: pusher.device_id,
        })
        .collect())
}

fn fields(profile: &DumpProfile) -> usize {
    let standard = [&profile.displayname, &profile.avatar_url].into_iter().flatten().count();
    standard.saturating_add(profile.fields.len())
}
