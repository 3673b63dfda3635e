//! Which accounts there are.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, ServerName};
use serde::Deserialize;

use super::{
    ApiError,
    connection::{Connection, flag},
    counter::Counter,
};
use crate::tally::{Kind, Tally};

/// An account as the admin API lists it.
#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "Synapse's flags")]
pub(super) struct ListedUser {
    pub(super) name: String,
    #[serde(default, deserialize_with = "flag")]
    pub(super) admin: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(super) deactivated: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(super) erased: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(super) is_guest: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(super) shadow_banned: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(super) locked: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(super) suspended: bool,
    pub(super) appservice_id: Option<String>,
}

/// The accounts of this server, sorted.
pub(super) async fn list(
    api: &Connection,
    server_name: &ServerName,
    tally: &mut Tally,
) -> Result<Vec<OwnedUserId>, ApiError> {
    let mut counter = Counter::new(tally, "account");
    let listed = listed(api).await?;
    let mut users = Vec::with_capacity(listed.len());
    for name in listed.into_keys() {
        match OwnedUserId::try_from(name.as_str()) {
            Ok(user_id) if user_id.server_name() == server_name => users.push(user_id),
            Ok(_) => counter.lost(Kind::User, &name, "foreign-user", "the account belongs to another server name; a server has only accounts of its own name"),
            Err(_) => counter.lost(Kind::User, &name, "user-id-invalid", "the account's name is no user id"),
        }
    }
    tally.read(Kind::User, u64::try_from(users.len()).unwrap_or(u64::MAX));
    Ok(users)
}

/// All accounts that the admin API lists, by name.
pub(super) async fn listed(api: &Connection) -> Result<BTreeMap<String, ListedUser>, ApiError> {
    #[derive(Deserialize)]
    struct UsersPage {
        users: Vec<ListedUser>,
        next_token: Option<String>,
    }

    let mut users = BTreeMap::new();
    let mut from = "0".to_owned();
    loop {
        // A Synapse that knows no locked users has no such parameter, and passes over it.
        let query = [
            ("from", from.as_str()),
            ("limit", "500"),
            ("guests", "true"),
            ("deactivated", "true"),
            ("locked", "true"),
        ];
        let page: UsersPage = api.admin(&["v2", "users"], &query).await?;
        let known = users.len();
        users.extend(page.users.into_iter().map(|user| (user.name.clone(), user)));
        match page.next_token {
            Some(next) if users.len() > known => from = next,
            _ => return Ok(users),
        }
    }
}
