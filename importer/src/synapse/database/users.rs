//! Accounts: the row in `users` and what hangs on it.
//!
//! A query of some users goes by an index of Synapse's, so a dump takes time in proportion to what it writes.

mod account_data;
mod backups;
mod batch;
mod clients;
mod devices;
mod keys;
mod messages;
mod receipts;
mod unread;

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedUserId;
use secrecy::SecretString;
use serde_json::value::RawValue;

pub(super) use self::batch::Batch;
use self::batch::OneUser;
use super::{
    DatabaseError, DatabaseSource,
    counter::{Items, count},
    row::Known,
    schema::Schema,
};
use crate::{
    dump::format::{DumpAccountData, DumpExternalId, DumpProfile, DumpThreepid, DumpUser},
    synapse::push_rules,
    tally::{Kind, Tally},
};

impl DatabaseSource {
    pub(super) async fn read_users(
        &mut self,
        tally: &mut Tally,
    ) -> Result<Vec<OwnedUserId>, DatabaseError> {
        let rows = self.main.rows("users", "SELECT name FROM users", &[]).await?;
        let mut items = Items::new(tally, Kind::User, "").of("users");
        let mut users = BTreeSet::new();
        for (user_id,) in items.decode::<(OwnedUserId,)>(&rows) {
            if user_id.server_name() == self.config.server_name {
                if let Some(user_id) = users.replace(user_id) {
                    items.twice(user_id.as_str());
                }
            } else {
                items.skip(user_id.as_str(), "foreign-user", "the account belongs to another server name; a server has only accounts of its own name");
                self.owners.users_left_out.insert(user_id.into());
            }
        }
        let senders: Vec<_> = self.owners.senders.keys().cloned().collect();
        tally.read(Kind::User, count(senders.len()));
        users.extend(senders);
        let users: Vec<_> = users.into_iter().collect();
        self.batch = Batch::of(users.clone());
        Ok(users)
    }

    pub(super) async fn read_user(
        &mut self,
        user_id: &OwnedUserId,
        tally: &mut Tally,
    ) -> Result<Option<DumpUser>, DatabaseError> {
        let schema = &self.schema;
        let features = &self.config.experimental_features;
        let one = &mut OneUser::new(&mut self.main, &mut self.batch, user_id);
        let delegated = self.config.delegated_auth;
        let account = match self.owners.senders.get(user_id) {
            Some(service) => Some(sender_account(user_id, service)),
            None => account(one, schema, delegated, tally).await?,
        };
        let Some(mut user) = account else {
            self.owners.users_left_out.insert(user_id.to_string());
            return Ok(None);
        };
        user.erased = self.erased.contains(user_id.as_str());
        user.profile = profile(one, schema, tally).await?;
        user.threepids = threepids(one, tally).await?;
        user.external_ids = external_ids(one, tally).await?;
        user.account_data = account_data::read(one, features, tally).await?;
        let rules = account_data::push_rules(one, tally).await?;
        user.push_rules = push_rules::tree(user_id, &rules, features).ok();
        user.pushers = clients::pushers(one, schema, tally).await?;
        user.filters = clients::filters(one, tally).await?;
        user.key_backups = backups::read(one, tally).await?;
        user.receipts = receipts::read(one, schema, tally).await?;
        user.unread = unread::read(one, schema, tally).await?;
        let signatures = keys::own_signatures(one, tally).await?;
        let logins = devices::Logins {
            now_ts: self.now_ts,
            delegated,
            keep_expiring: self.keep_expiring_tokens,
        };
        user.devices = devices::read(one, logins, &signatures, tally).await?;
        user.cross_signing_keys = keys::cross_signing_keys(one, &signatures, tally).await?;
        user.signed_keys = keys::signed_keys(one, tally).await?;
        user.device_list_stream_id = self.device_list_stream_id().await?;
        Ok(Some(user))
    }
}

/// The row in `users`. With logins `delegated`, what it says of them is of before and counts no more.
async fn account(
    one: &mut OneUser<'_>,
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
    let rows = one.rows("users", &sql).await?;
    let decoded = rows.last().map(|row| {
        type Account = (
            OwnedUserId,
            Option<Known<String>>,
            Known<u64>,
            bool,
            bool,
            Known<String>,
            Known<String>,
            Known<String>,
            bool,
            bool,
            Option<bool>,
            bool,
            bool,
        );
        row.decode::<Account>()
    });
    let (
        user_id,
        hash,
        created,
        admin,
        guest,
        appservice_id,
        consent_version,
        user_type,
        deactivated,
        shadow_banned,
        approved,
        locked,
        suspended,
    ) = match decoded {
        Some(Ok(account)) => account,
        Some(Err(broken)) => {
            tally.skip(Kind::User, one.id.as_str(), broken.reason, broken.to_string());
            tally.rows.left_out("users", broken.reason, 1);
            return Ok(None);
        }
        None => {
            tally.skip(
                Kind::User,
                one.id.as_str(),
                "user-missing",
                "the account has no row in `users`",
            );
            tally.rows.left_out("users", "user-missing", 1);
            return Ok(None);
        }
    };
    // Synapse has an empty hash for accounts of application services.
    let password_hash = password_hash(one.id.as_str(), hash, delegated, tally);
    Ok(Some(DumpUser {
        admin: admin && !delegated,
        deactivated,
        guest,
        locked,
        suspended,
        shadow_banned,
        // NULL: from before approvals.
        awaiting_approval: approved == Some(false),
        user_type: user_type.0,
        appservice_id: appservice_id.0,
        // The one time in seconds.
        created_ts: created.0.map(|seconds| seconds.saturating_mul(1000)),
        password_hash,
        consent_version: consent_version.0,
        ..empty(user_id)
    }))
}

/// The account of an application service's user that has no row in `users`.
fn sender_account(user_id: &OwnedUserId, service: &str) -> DumpUser {
    DumpUser { appservice_id: Some(service.to_owned()), ..empty(user_id.clone()) }
}

/// An account without anything.
fn empty(user_id: OwnedUserId) -> DumpUser {
    DumpUser {
        user_id,
        admin: false,
        deactivated: false,
        erased: false,
        guest: false,
        locked: false,
        suspended: false,
        shadow_banned: false,
        awaiting_approval: false,
        user_type: None,
        appservice_id: None,
        created_ts: None,
        password_hash: None,
        profile: DumpProfile::default(),
        threepids: Vec::new(),
        external_ids: Vec::new(),
        consent_version: None,
        account_data: DumpAccountData::default(),
        push_rules: None,
        devices: Vec::new(),
        pushers: Vec::new(),
        filters: BTreeMap::new(),
        cross_signing_keys: BTreeMap::new(),
        signed_keys: BTreeMap::new(),
        device_list_stream_id: None,
        key_backups: Vec::new(),
        receipts: Vec::new(),
        unread: Vec::new(),
    }
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
        let detail = "another service does logins; the password is of before";
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
    one: &mut OneUser<'_>,
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
    let mut rows = one.rows("profiles", &format!("{sql} AND user_id LIKE '@%'")).await?;
    rows.extend(one.rows_of_localpart("profiles", &sql).await?);
    tally.rows.met("profiles", one.id.as_str(), count(rows.len()));
    let mut profile = DumpProfile::default();
    let mut items = Items::new(tally, Kind::ProfileField, one.id.as_str());
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
    one: &mut OneUser<'_>,
    tally: &mut Tally,
) -> Result<Vec<DumpThreepid>, DatabaseError> {
    let sql = "SELECT address, medium, validated_at, added_at, user_id FROM user_threepids WHERE user_id IN ($IDS)";
    let rows = one.rows("user_threepids", sql).await?;
    let mut items = Items::new(tally, Kind::ThirdPartyId, one.id.as_str()).of("user_threepids");
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
    one: &mut OneUser<'_>,
    tally: &mut Tally,
) -> Result<Vec<DumpExternalId>, DatabaseError> {
    let sql =
        "SELECT auth_provider, external_id, user_id FROM user_external_ids WHERE user_id IN ($IDS)";
    let rows = one.rows("user_external_ids", sql).await?;
    let mut items = Items::new(tally, Kind::ExternalId, one.id.as_str()).of("user_external_ids");
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
