//! What only the user sees, with a token that acts as the user.

use std::collections::BTreeMap;

use ruma::{OwnedRoomId, OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    dump::format::DumpUser,
    synapse::api::{
        ApiError,
        connection::{As, Connection},
        counter::Counter,
        error::optional,
        rooms::ListedRoom,
        seen_by_users::SeenByUsers,
    },
    tally::Kind,
};

/// More filters than any user has; ids count from 0.
const MAX_FILTERS: u32 = 10_000;

/// A user who reads its own data.
pub(super) struct Owner<'a> {
    pub(super) api: &'a Connection,
    pub(super) token: As<'a>,
    pub(super) counter: Counter<'a>,
    /// The rooms that the admin API lists.
    pub(super) listed: &'a BTreeMap<OwnedRoomId, ListedRoom>,
    /// All accounts of the server.
    pub(super) users: &'a [OwnedUserId],
}

impl Owner<'_> {
    /// Completes `user`, and notes the rooms that it sees.
    pub(super) async fn read(
        &mut self,
        user: &mut DumpUser,
        seen_by_users: &mut SeenByUsers,
    ) -> Result<(), ApiError> {
        self.profile(user).await?;
        self.push_rules(user).await?;
        self.sync(user, seen_by_users).await?;
        user.filters = self.filters(&user.user_id).await?;
        user.key_backups = self.backups().await?;
        self.keys(user).await?;
        self.signed_keys(user).await
    }

    /// `GET` of the client API.
    pub(super) async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        self.api.client(self.token, path, query).await
    }

    /// All fields of the profile; an erased user has none.
    async fn profile(&mut self, user: &mut DumpUser) -> Result<(), ApiError> {
        let path = ["profile", user.user_id.as_str()];
        let result = optional(self.get::<BTreeMap<String, Box<RawValue>>>(&path, &[]).await);
        if let Some(mut fields) = self.counter.or_lost(Kind::ProfileField, "", result)? {
            for standard in ["displayname", "avatar_url"] {
                fields.remove(standard);
            }
            user.profile.fields = fields;
        }
        Ok(())
    }

    /// The whole tree. Synapse gives guests none.
    async fn push_rules(&mut self, user: &mut DumpUser) -> Result<(), ApiError> {
        let result = self.get::<Box<RawValue>>(&["pushrules", ""], &[]).await;
        let rules = self.counter.or_lost(Kind::AccountData, "m.push_rules", result.map(Some))?;
        self.counter.kept(Kind::AccountData, usize::from(rules.is_some()));
        user.push_rules = rules;
        Ok(())
    }

    async fn filters(
        &mut self,
        user_id: &UserId,
    ) -> Result<BTreeMap<String, Box<RawValue>>, ApiError> {
        let mut filters = BTreeMap::new();
        for id in 0..MAX_FILTERS {
            let id = id.to_string();
            let path = ["user", user_id.as_str(), "filter", &id];
            let result = optional(self.get::<Box<RawValue>>(&path, &[]).await);
            match self.counter.or_lost(Kind::Filter, &id, result)? {
                Some(filter) => filters.insert(id, filter),
                None => break,
            };
        }
        self.counter.kept(Kind::Filter, filters.len());
        Ok(filters)
    }
}

/// A list of events in an answer to `/sync`.
#[derive(Debug, Deserialize)]
pub(super) struct EventList<T> {
    #[serde(default = "Vec::new")]
    pub(super) events: Vec<T>,
}

impl<T> Default for EventList<T> {
    fn default() -> Self {
        Self { events: Vec::new() }
    }
}
