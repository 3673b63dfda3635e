//! Accounts: the row in `users` and what hangs on it.
//!
//! A query of some users goes by an index of Synapse's, so a dump takes time in proportion to what it writes.

mod account_data;
mod backups;
mod batch;
mod clients;
mod devices;
mod keys;
mod list;
mod messages;
mod receipts;
mod unread;

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use secrecy::SecretString;
use serde_json::value::RawValue;

use self::batch::UserTables;
pub(super) use self::{
    list::{ListedUsers, list},
    messages::write as write_messages,
    receipts::ReceiptData,
};
use super::{
    DatabaseError, Facts,
    connection::Connection,
    counter::{Items, count},
    row::{KeptRow, Known, row},
    schema::Schema,
};
use crate::{
    dump::format::{DumpExternalId, DumpProfile, DumpThreepid, DumpUser},
    synapse::push_ruleset,
    tally::{Kind, Tally},
};

row! {
    /// A row of `users`.
    struct AccountRow {
        /// `name`.
        user_id: OwnedUserId,
        /// Empty for accounts of application services.
        password_hash: Option<Known<String>>,
        /// `creation_ts`: the one time in seconds.
        created_seconds: Known<u64>,
        admin: bool,
        /// `is_guest`.
        guest: bool,
        appservice_id: Known<String>,
        consent_version: Known<String>,
        user_type: Known<String>,
        deactivated: bool,
        shadow_banned: bool,
        /// NULL: from before there were approvals.
        approved: Option<bool>,
        locked: bool,
        suspended: bool,
    }
}

/// Reads an account with all it owns but its messages. `None`: it can't move; `users` notes that.
pub(super) async fn read(
    db: &mut Connection,
    users: &mut ListedUsers,
    facts: &Facts,
    user_id: &UserId,
    tally: &mut Tally,
) -> Result<Option<DumpUser>, DatabaseError> {
    let Facts { schema, config, extent, erased, senders, now_ts } = facts;
    let (features, delegated) = (&config.experimental_features, config.delegated_auth);
    let tables = &mut UserTables::new(db, &mut users.batch, user_id);
    let account = match senders.get(user_id) {
        Some(service) => Some(sender_account(user_id, service)),
        None => account(tables, schema, delegated, tally).await?,
    };
    let Some(mut user) = account else {
        users.left_out.insert(user_id.to_string());
        return Ok(None);
    };
    user.erased = erased.contains(user_id.as_str());
    user.profile = profile(tables, schema, tally).await?;
    user.threepids = threepids(tables, tally).await?;
    user.external_ids = external_ids(tables, tally).await?;
    user.account_data = account_data::read(tables, features, tally).await?;
    let rules = account_data::push_rules(tables, tally).await?;
    user.push_rules = push_ruleset::tree(user_id, &rules, features).ok();
    user.pushers = clients::pushers(tables, schema, tally).await?;
    user.filters = clients::filters(tables, tally).await?;
    user.key_backups = backups::read(tables, tally).await?;
    user.receipts = receipts::read(tables, schema, tally).await?;
    user.unread = unread::read(tables, schema, tally).await?;
    let signatures = keys::own_signatures(tables, tally).await?;
    let keep_expiring = extent.keep_expiring_tokens;
    let logins = devices::Logins { now_ts: *now_ts, delegated, keep_expiring };
    user.devices = devices::read(tables, logins, &signatures, tally).await?;
    user.cross_signing_keys = keys::cross_signing_keys(tables, &signatures, tally).await?;
    user.signed_keys = keys::signed_keys(tables, tally).await?;
    user.device_list_stream_id = users.device_list_stream_id;
    Ok(Some(user))
}

/// The row in `users`. With logins `delegated`, what it says of them is out of date and does not count.
async fn account(
    tables: &mut UserTables<'_>,
    schema: &Schema,
    delegated: bool,
    tally: &mut Tally,
) -> Result<Option<DumpUser>, DatabaseError> {
    let sql = format!(
        "SELECT name, password_hash, creation_ts, admin, is_guest, appservice_id, consent_version, user_type, \
         deactivated, shadow_banned, {}, {}, {}, name FROM users WHERE name IN ($IDS)",
        schema.column("users", "approved", "NULL"),
        schema.column("users", "locked", "FALSE"),
        schema.column("users", "suspended", "FALSE"),
    );
    let rows = tables.rows("users", &sql).await?;
    let id = tables.id.as_str();
    let (reason, detail) = match rows.last().map(KeptRow::decode::<AccountRow>) {
        Some(Ok(row)) => {
            let password_hash = password_hash(id, row.password_hash, delegated, tally);
            return Ok(Some(DumpUser {
                admin: row.admin && !delegated,
                deactivated: row.deactivated,
                guest: row.guest,
                locked: row.locked,
                suspended: row.suspended,
                shadow_banned: row.shadow_banned,
                awaiting_approval: row.approved == Some(false),
                user_type: row.user_type.0,
                appservice_id: row.appservice_id.0,
                created_ts: row.created_seconds.0.map(|seconds| seconds.saturating_mul(1000)),
                password_hash,
                consent_version: row.consent_version.0,
                ..DumpUser::new(row.user_id)
            }));
        }
        Some(Err(broken)) => (broken.reason, broken.to_string()),
        None => ("user-missing", "the account has no row in `users`".to_owned()),
    };
    tally.skip(Kind::User, id, reason, detail);
    tally.rows.left_out("users", reason, 1);
    Ok(None)
}

/// The account of an application service's user that has no row in `users`.
fn sender_account(user_id: &UserId, service: &str) -> DumpUser {
    DumpUser { appservice_id: Some(service.to_owned()), ..DumpUser::new(user_id.to_owned()) }
}

/// A password's hash, if there is one that can be one.
fn password_hash(
    user: &str,
    hash: Option<Known<String>>,
    delegated: bool,
    tally: &mut Tally,
) -> Option<SecretString> {
    let Known(hash) = hash?;
    if hash.as_ref().is_some_and(String::is_empty) {
        return None;
    }
    tally.read(Kind::PasswordHash, 1);
    if delegated {
        let detail = "another service handles logins; the password is outdated";
        tally.skip(Kind::PasswordHash, user, "login-elsewhere", detail);
        return None;
    }
    if hash.is_none() {
        let detail = "it is no text; reset the password";
        tally.skip(Kind::PasswordHash, user, "value-invalid", detail);
    } else {
        tally.written(Kind::PasswordHash, 1);
    }
    hash.map(SecretString::from)
}

async fn profile(
    tables: &mut UserTables<'_>,
    schema: &Schema,
    tally: &mut Tally,
) -> Result<DumpProfile, DatabaseError> {
    type Profile = (String, Option<String>, Option<String>, Option<Box<RawValue>>);
    // `jsonb` on PostgreSQL.
    let fields = schema.column("profiles", "fields", "NULL");
    let sql = format!(
        "SELECT user_id, displayname, avatar_url, CAST({fields} AS TEXT), user_id FROM profiles \
         WHERE user_id IN ($IDS)"
    );
    // Some old rows have the whole id; the one with the local part alone counts.
    let mut rows = tables.rows("profiles", &format!("{sql} AND user_id LIKE '@%'")).await?;
    rows.extend(tables.rows_of_localpart("profiles", &sql).await?);
    tally.rows.met("profiles", tables.id.as_str(), count(rows.len()));
    let mut profile = DumpProfile::default();
    let mut items = Items::new(tally, Kind::ProfileField, tables.id.as_str());
    let Some((row, others)) = rows.split_last() else { return Ok(profile) };
    for _ in others {
        items.read(1);
        items.twice("profile");
        items.row_left_out("profiles", "row-twice");
    }
    match row.decode::<Profile>() {
        Ok((_, displayname, avatar_url, fields)) => {
            let fields: Option<BTreeMap<String, Box<RawValue>>> = fields
                .map_or(Some(BTreeMap::new()), |fields| serde_json::from_str(fields.get()).ok());
            if fields.is_none() {
                items.read(1);
                items.skip("fields", "json-invalid", "column `fields` is no JSON object");
            }
            profile = DumpProfile { displayname, avatar_url, fields: fields.unwrap_or_default() };
        }
        Err(broken) => {
            items.read(1);
            items.skip(&broken.column, broken.reason, broken.to_string());
            items.row_left_out("profiles", broken.reason);
        }
    }
    let standard = [&profile.displayname, &profile.avatar_url].into_iter().flatten().count();
    let number = standard.saturating_add(profile.fields.len());
    items.read(number);
    items.written(number);
    Ok(profile)
}

async fn threepids(
    tables: &mut UserTables<'_>,
    tally: &mut Tally,
) -> Result<Vec<DumpThreepid>, DatabaseError> {
    let sql = "SELECT address, medium, validated_at, added_at, user_id FROM user_threepids WHERE user_id IN ($IDS)";
    let rows = tables.rows("user_threepids", sql).await?;
    let mut items = Items::new(tally, Kind::ThirdPartyId, tables.id.as_str()).of("user_threepids");
    let mut threepids: Vec<_> = items
        .decode::<(String, String, u64, u64)>(&rows)
        .into_iter()
        .map(|(address, medium, validated_ts, added_ts)| DumpThreepid {
            medium,
            address,
            validated_ts,
            added_ts,
        })
        .collect();
    items.written(threepids.len());
    threepids.sort();
    Ok(threepids)
}

async fn external_ids(
    tables: &mut UserTables<'_>,
    tally: &mut Tally,
) -> Result<Vec<DumpExternalId>, DatabaseError> {
    let sql =
        "SELECT auth_provider, external_id, user_id FROM user_external_ids WHERE user_id IN ($IDS)";
    let rows = tables.rows("user_external_ids", sql).await?;
    let mut items = Items::new(tally, Kind::ExternalId, tables.id.as_str()).of("user_external_ids");
    let mut ids: Vec<_> = items
        .decode::<(String, String)>(&rows)
        .into_iter()
        .map(|(auth_provider, external_id)| DumpExternalId { auth_provider, external_id })
        .collect();
    items.written(ids.len());
    ids.sort();
    Ok(ids)
}

#[cfg(test)]
pub(super) mod tests;
