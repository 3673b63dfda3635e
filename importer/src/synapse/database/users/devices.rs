//! Devices with their tokens and keys.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::{
    batch::UserTables,
    keys::{self, KeySignature},
};
use crate::{
    dump::format::{DumpAccessToken, DumpDevice, DumpFallbackKey},
    synapse::database::{
        DatabaseError,
        counter::Items,
        row::{FromRow, Known, Present, Row, row},
    },
    tally::{Kind, Tally},
};

type Devices = BTreeMap<String, DumpDevice>;

row! {
    /// A row of `access_tokens`.
    struct AccessTokenRow {
        /// First, as it names the row in messages: the token must not.
        id: Known<i64>,
        device_id: Option<String>,
        token: String,
        /// `valid_until_ms`.
        valid_until_ts: Option<u64>,
        /// `puppets_user_id`: with it, the token lets an administrator act as another user.
        puppets: Present,
        /// `last_validated`.
        last_used_ts: Known<u64>,
        /// Whether there is a `refresh_token_id`.
        refreshable: Present,
        refresh_token_id: Known<i64>,
    }
}

row! {
    /// A row of `e2e_one_time_keys_json`.
    struct OneTimeKeyRow {
        _device_id: String,
        algorithm: String,
        key_id: String,
        /// `key_json`.
        key: Box<RawValue>,
    }
}

row! {
    /// A row of `e2e_fallback_keys_json`.
    struct FallbackKeyRow {
        _device_id: String,
        algorithm: String,
        key_id: String,
        /// `key_json`.
        key: Box<RawValue>,
        /// Whether somebody was given the key.
        used: bool,
    }
}

/// What decides which access tokens last.
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
    tables: &mut UserTables<'_>,
    logins: Logins,
    signatures: &[KeySignature],
    tally: &mut Tally,
) -> Result<Vec<DumpDevice>, DatabaseError> {
    let mut devices = devices(tables, tally).await?;
    access_tokens(tables, logins, &mut devices, tally).await?;
    one_time_keys(tables, &mut devices, tally).await?;
    fallback_keys(tables, &mut devices, tally).await?;
    let sql =
        "SELECT device_id, device_data, user_id FROM dehydrated_devices WHERE user_id IN ($IDS)";
    for row in tables.rows("dehydrated_devices", sql).await? {
        if let Some(device) = devices.get_mut(&row.label()) {
            device.dehydrated = true;
            let data = row.decode::<(String, Box<RawValue>)>().ok();
            device.dehydrated_data = data.map(|(_, data)| data);
        }
    }
    keys::device_keys(tables, signatures, &mut devices, tally).await?;
    Ok(devices.into_values().collect())
}

/// Rows of `devices`, without the hidden ones: those are cross-signing keys.
async fn devices(tables: &mut UserTables<'_>, tally: &mut Tally) -> Result<Devices, DatabaseError> {
    let sql = "SELECT device_id, display_name, last_seen, ip, user_id FROM devices \
               WHERE user_id IN ($IDS) AND NOT COALESCE(hidden, FALSE)";
    let rows = tables.rows("devices", sql).await?;
    let mut items = Items::new(tally, Kind::Device, tables.id.as_str()).of("devices");
    let decoded = items.decode::<(String, Known<String>, Known<u64>, Known<String>)>(&rows);
    let mut devices = Devices::new();
    for (device_id, Known(display_name), Known(last_seen_ts), Known(last_seen_ip)) in decoded {
        let device = DumpDevice {
            display_name,
            last_seen_ts,
            last_seen_ip,
            ..DumpDevice::new(device_id.clone())
        };
        items.put(&mut devices, device_id, device, Clone::clone);
    }
    Ok(devices)
}

/// Ids of the refresh tokens that Synapse would still take and has not given another one for (`refresh_token` of
/// `synapse/handlers/auth.py`): each belongs to the newest access token of a session.
async fn refreshable(
    tables: &mut UserTables<'_>,
    now_ts: u64,
) -> Result<BTreeSet<i64>, DatabaseError> {
    let now = i64::try_from(now_ts).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT id, user_id FROM refresh_tokens WHERE user_id IN ($IDS) AND next_token_id IS NULL \
         AND COALESCE(expiry_ts, {now}) >= {now} AND COALESCE(ultimate_session_expiry_ts, {now}) >= {now}"
    );
    let rows = tables.rows("refresh_tokens", &sql).await?;
    Ok(rows.iter().filter_map(|row| row.integer(0)).collect())
}

async fn access_tokens(
    tables: &mut UserTables<'_>,
    logins: Logins,
    devices: &mut Devices,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    let sql = "SELECT id, device_id, token, valid_until_ms, puppets_user_id, last_validated, refresh_token_id, \
               refresh_token_id, user_id \
               FROM access_tokens WHERE user_id IN ($IDS) ORDER BY id";
    let rows = tables.rows("access_tokens", sql).await?;
    let lasting = if logins.keep_expiring && !logins.delegated {
        refreshable(tables, logins.now_ts).await?
    } else {
        BTreeSet::new()
    };
    let mut items = Items::new(tally, Kind::AccessToken, tables.id.as_str()).of("access_tokens");
    for row in items.decode::<AccessTokenRow>(&rows) {
        let id = row.id.0.map_or_else(|| "?".to_owned(), |id| id.to_string());
        let id = format!("token {id}");
        let lasts = row.refresh_token_id.0.is_some_and(|id| lasting.contains(&id));
        let valid_until_ts = row.valid_until_ts.filter(|_| !lasts);
        let device = row.device_id.as_ref().and_then(|id| devices.get_mut(id));
        if logins.delegated {
            items.skip(
                &id,
                "login-elsewhere",
                "another service handles logins; the token is outdated",
            );
        } else if row.puppets.0 {
            items.skip(
                &id,
                "login-as-token",
                "an administrator's token to act as another user; it has no device",
            );
        } else if valid_until_ts.is_some_and(|until| until <= logins.now_ts) {
            items.skip(&id, "token-expired", "the token is no longer valid");
        } else if let Some(device) = device {
            device.access_tokens.push(DumpAccessToken {
                token: row.token.into(),
                valid_until_ts,
                refreshable: row.refreshable.0,
                last_used_ts: row.last_used_ts.0,
            });
            items.written(1);
        } else {
            let detail = match row.device_id {
                None => "the token belongs to no device; its user has to log in again",
                Some(_) => {
                    "its device does not exist, or was left out; its user has to log in again"
                }
            };
            items.skip(&id, "token-without-device", detail);
        }
    }
    Ok(())
}

/// Reads rows whose first column is the device id, and gives each to its device.
async fn by_device<T: FromRow>(
    tables: &mut UserTables<'_>,
    (table, sql): (&'static str, &str),
    kind: Kind,
    devices: &mut Devices,
    tally: &mut Tally,
    mut give: impl FnMut(&mut DumpDevice, T, &mut Items<'_>) + Send,
) -> Result<(), DatabaseError> {
    let rows = tables.rows(table, sql).await?;
    let mut items = Items::new(tally, kind, tables.id.as_str()).of(table);
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
                        "its device does not exist, or was left out",
                    );
                }
            }
        }
    }
    Ok(())
}

async fn one_time_keys(
    tables: &mut UserTables<'_>,
    devices: &mut Devices,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    let table = "e2e_one_time_keys_json";
    let sql = "SELECT device_id, algorithm, key_id, key_json, user_id FROM e2e_one_time_keys_json \
               WHERE user_id IN ($IDS)";
    let give = |device: &mut DumpDevice, row: OneTimeKeyRow, items: &mut Items<'_>| {
        let name = format!("{}:{}", row.algorithm, row.key_id);
        items.put(&mut device.one_time_keys, name, row.key, Clone::clone);
    };
    by_device(tables, (table, sql), Kind::OneTimeKey, devices, tally, give).await
}

async fn fallback_keys(
    tables: &mut UserTables<'_>,
    devices: &mut Devices,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    let table = "e2e_fallback_keys_json";
    let sql = "SELECT device_id, algorithm, key_id, key_json, used, user_id FROM e2e_fallback_keys_json \
               WHERE user_id IN ($IDS)";
    let give = |device: &mut DumpDevice, row: FallbackKeyRow, items: &mut Items<'_>| {
        let name = format!("{}:{}", row.algorithm, row.key_id);
        let key = DumpFallbackKey { key: row.key, used: row.used };
        items.put(&mut device.fallback_keys, name, key, Clone::clone);
    };
    by_device(tables, (table, sql), Kind::FallbackKey, devices, tally, give).await
}
