//! The list of accounts.

use std::collections::BTreeSet;

use ruma::OwnedUserId;
use serde::Deserialize;

use super::{ApiError, ApiSource, counter::Counter};
use crate::tally::{Kind, Tally};

#[derive(Deserialize)]
struct Page {
    users: Vec<ListedUser>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct ListedUser {
    name: String,
}

impl ApiSource {
    pub(super) async fn read_users(
        &mut self,
        tally: &mut Tally,
    ) -> Result<Vec<OwnedUserId>, ApiError> {
        let mut counter = Counter::new(tally, "account");
        let mut names = BTreeSet::new();
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
            let page: Page = self.api.admin(&["v2", "users"], &query).await?;
            let known = names.len();
            names.extend(page.users.into_iter().map(|user| user.name));
            match page.next_token {
                Some(next) if names.len() > known => from = next,
                _ => break,
            }
        }
        let mut users = Vec::with_capacity(names.len());
        for name in names {
            match OwnedUserId::try_from(name.as_str()) {
                Ok(user_id) if user_id.server_name() == self.server_name => users.push(user_id),
                Ok(_) => counter.lost(Kind::User, &name, "foreign-user", "the account belongs to another server name; a server has only accounts of its own name"),
                Err(_) => counter.lost(Kind::User, &name, "user-id-invalid", "the account's name is no user id"),
            }
        }
        tally.read(Kind::User, u64::try_from(users.len()).unwrap_or(u64::MAX));
        self.users.clone_from(&users);
        Ok(users)
    }
}
