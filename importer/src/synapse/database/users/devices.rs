//! Devices with their tokens and keys.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::{
    batch::OneUser,
    keys::{self, Signature},
};
use crate::{
    dump::format::{DumpAccessToken, DumpDevice, DumpFallbackKey},
    synapse::database::{
        DatabaseError,
        counter::Items,
        row::{FromRow, Known, Present, Row},
    },
    tally::{Kind, Tally},
};

type Devices = BTreeMap<String, DumpDevice>;

/// What is known of logins.
#[derive(Clone, Copy)]
pub(super) struct Logins {
    /// The present time: what is over by then is expired.
    pub(super) now_ts: u64,
    /// Another service does logins: tokens here are of before.
    pub(super) delegated: bool,
    /// The newest token of a session that can be refreshed lasts.
    pub(super) keep_expiring: bool,
}

pub(super) async fn read(
    one: &mut OneUser<'_>,
    logins: Logins,
    signatures: &[Signature],
    tally: &mut Tally,
) -> Result<Vec<DumpDevice>, DatabaseError> {
    let mut devices = devices(one, tally).await?;
    access_tokens(one, logins, &mut devices, tally).await?;
    one_time_keys(one, &mut devices, tally).await?;
    fallback_keys(one, &mut devices, tally).await?;
    let sql =
        "SELECT device_id, device_data, user_id FROM dehydrated_devices WHERE user_id IN ($IDS)";
    for row in one.rows("dehydrated_devices", sql).await? {
        if let Some(device) = devices.get_mut(&row.label()) {
            device.dehydrated = true;
            let data = row.decode::<(String, Box<RawValue>)>().ok();
            device.dehydrated_data = data.map(|(_, data)| data);
        }
    }
    keys::device_keys(one, signatures, &mut devices, tally).await?;
    Ok(devices.into_values().collect())
}

/// Rows of `devices`, without the hidden ones: those are cross-signing keys.
async fn devices(one: &mut OneUser<'_>, tally: &mut Tally) -> Result<Devices, DatabaseError> {
    let sql = "SELECT device_id, display_name, last_seen, ip, user_id FROM devices \
               WHERE user_id IN ($IDS) AND NOT COALESCE(hidden, FALSE)";
    let rows = one.rows("devices", sql).await?;
    let mut items = Items::new(tally, Kind::Device, one.id.as_str()).of("devices");
    let decoded = items.decode::<(String, Known<String>, Known<u64>, Known<String>)>(&rows);
    let mut devices = Devices::new();
    for (device_id, Known(display_name), Known(last_seen_ts), Known(last_seen_ip)) in decoded {
        let device = DumpDevice {
            device_id: device_id.clone(),
            display_name,
            last_seen_ts,
            last_seen_ip,
            access_tokens: Vec::new(),
            keys: None,
            one_time_keys: BTreeMap::new(),
            fallback_keys: BTreeMap::new(),
            dehydrated: false,
            dehydrated_data: None,
        };
        items.put(&mut devices, device_id, device, Clone::clone);
    }
    Ok(devices)
}

/// Ids of the refresh tokens that Synapse would still take and has not given another one for (`refresh_token` of
/// `synapse/handlers/auth.py`): each belongs to the newest access token of a session.
async fn refreshable(one: &mut OneUser<'_>, now_ts: u64) -> Result<BTreeSet<i64>, DatabaseError> {
    let now = i64::try_from(now_ts).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT id, user_id FROM refresh_tokens WHERE user_id IN ($IDS) AND next_token_id IS NULL \
         AND COALESCE(expiry_ts, {now}) >= {now} AND COALESCE(ultimate_session_expiry_ts, {now}) >= {now}"
    );
    let rows = one.rows("refresh_tokens", &sql).await?;
    Ok(rows.iter().filter_map(|row| row.integer(0)).collect())
}

async fn access_tokens(
    one: &mut OneUser<'_>,
    logins: Logins,
    devices: &mut Devices,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    type Token =
        (Known<i64>, Option<String>, String, Option<u64>, Present, Known<u64>, Present, Known<i64>);
    // The id comes first: it names the row in messages, the token must not.
    let sql = "SELECT id, device_id, token, valid_until_ms, puppets_user_id, last_validated, refresh_token_id, \
               refresh_token_id, user_id \
               FROM access_tokens WHERE user_id IN ($IDS) ORDER BY id";
    let rows = one.rows("access_tokens", sql).await?;
    let lasting = if logins.keep_expiring && !logins.delegated {
        refreshable(one, logins.now_ts).await?
    } else {
        BTreeSet::new()
    };
    let mut items = Items::new(tally, Kind::AccessToken, one.id.as_str()).of("access_tokens");
    for (Known(id), device_id, token, valid_until_ts, puppets, last_used_ts, refresh, by) in
        items.decode::<Token>(&rows)
    {
        let id = format!("token {}", id.map_or_else(|| "?".to_owned(), |id| id.to_string()));
        let lasts = by.0.is_some_and(|id| lasting.contains(&id));
        let valid_until_ts = valid_until_ts.filter(|_| !lasts);
        if logins.delegated {
            items.skip(
                &id,
                "login-elsewhere",
                "another service does logins; the token is of before",
            );
        } else if puppets.0 {
            items.skip(
                &id,
                "login-as-token",
                "an administrator's token to act as another user; it has no device",
            );
        } else if valid_until_ts.is_some_and(|until| until <= logins.now_ts) {
            items.skip(&id, "token-expired", "the token is no longer valid");
        } else if let Some(device) = device_id.as_ref().and_then(|id| devices.get_mut(id)) {
            device.access_tokens.push(DumpAccessToken {
                token: token.into(),
                valid_until_ts,
                refreshable: refresh.0,
                last_used_ts: last_used_ts.0,
            });
            items.written(1);
        } else {
            let detail = match device_id {
                None => "the token belongs to no device; its user has to log in again",
                Some(_) => "its device is not there, or was left out; its user has to log in again",
            };
            items.skip(&id, "token-without-device", detail);
        }
    }
    Ok(())
}

/// Reads rows whose first column is the device id, and gives each to its device.
async fn by_device<T: FromRow>(
    one: &mut OneUser<'_>,
    (table, sql): (&'static str, &str),
    kind: Kind,
    devices: &mut Devices,
    tally: &mut Tally,
    mut give: impl FnMut(&mut DumpDevice, T, &mut Items<'_>) + Send,
) -> Result<(), DatabaseError> {
    let rows = one.rows(table, sql).await?;
    let mut items = Items::new(tally, kind, one.id.as_str()).of(table);
    for row in &rows {
        let device_id = row.label();
        if let Some(item) = items.one(Row::Kept(row)) {
            match devices.get_mut(&device_id) {
                Some(device) => {
                    give(device, item, &mut items);
                }
                None => {
                    items.skip(
                        &device_id,
                        "device-missing",
                        "its device is not there, or was left out",
                    );
                }
            }
        }
    }
    Ok(())
}

async fn one_time_keys(
    one: &mut OneUser<'_>,
    devices: &mut Devices,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    type Key = (String, String, String, Box<RawValue>);
    let table = "e2e_one_time_keys_json";
    let sql = "SELECT device_id, algorithm, key_id, key_json, user_id FROM e2e_one_time_keys_json \
               WHERE user_id IN ($IDS)";
    by_device(one, (table, sql), Kind::OneTimeKey, devices, tally, |device, key: Key, items| {
        let (_, algorithm, key_id, key) = key;
        items.put(&mut device.one_time_keys, format!("{algorithm}:{key_id}"), key, Clone::clone);
    })
    .await
}

async fn fallback_keys(
    one: &mut OneUser<'_>,
    devices: &mut Devices,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    type Key = (String, String, String, Box<RawValue>, bool);
    let table = "e2e_fallback_keys_json";
    let sql = "SELECT device_id, algorithm, key_id, key_json, used, user_id FROM e2e_fallback_keys_json \
               WHERE user_id IN ($IDS)";
    by_device(one, (table, sql), Kind::FallbackKey, devices, tally, |device, key: Key, items| {
        let (_, algorithm, key_id, key, used) = key;
        let name = format!("{algorithm}:{key_id}");
        items.put(&mut device.fallback_keys, name, DumpFallbackKey { key, used }, Clone::clone);
    })
    .await
}
