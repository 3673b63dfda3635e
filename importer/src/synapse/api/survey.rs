//! A look through the admin API before anything is read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    ApiError, ApiSource,
    connection::{As, Get},
    error::optional,
};
use crate::source::survey::{Account, Room, Survey};

#[derive(Deserialize)]
struct Accounts {
    users: Vec<ListedAccount>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "Synapse's flags")]
struct ListedAccount {
    name: String,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    deactivated: bool,
    #[serde(default)]
    erased: bool,
    #[serde(default)]
    is_guest: bool,
    #[serde(default)]
    shadow_banned: bool,
    #[serde(default)]
    locked: bool,
    #[serde(default)]
    suspended: bool,
    appservice_id: Option<String>,
}

#[derive(Deserialize)]
struct Rooms {
    rooms: Vec<ListedRoom>,
    next_batch: Option<u64>,
}

#[derive(Deserialize)]
struct ListedRoom {
    room_id: String,
    name: Option<String>,
    canonical_alias: Option<String>,
    version: Option<String>,
    #[serde(default)]
    joined_local_members: u64,
}

impl ApiSource {
    pub(super) async fn look(&self) -> Result<Survey, ApiError> {
        Ok(Survey {
            server_name: self.server_name.to_string(),
            accounts: self.look_at_accounts().await?,
            rooms: self.look_at_rooms().await?,
            admins_alias: self.room_of(&format!("#admins:{}", self.server_name)).await?,
            ..Survey::default()
        })
    }

    async fn look_at_accounts(&self) -> Result<Vec<Account>, ApiError> {
        let mut accounts = BTreeMap::new();
        let mut from = "0".to_owned();
        loop {
            let query = [
                ("from", from.as_str()),
                ("limit", "500"),
                ("guests", "true"),
                ("deactivated", "true"),
                ("locked", "true"),
            ];
            let page: Accounts = self.api.admin(&["v2", "users"], &query).await?;
            let known = accounts.len();
            accounts.extend(page.users.into_iter().map(|user| (user.name.clone(), user.into())));
            match page.next_token {
                Some(next) if accounts.len() > known => from = next,
                _ => return Ok(accounts.into_values().collect()),
            }
        }
    }

    async fn look_at_rooms(&self) -> Result<Vec<Room>, ApiError> {
        let mut rooms = Vec::new();
        let mut from = 0;
        loop {
            let query = [("limit", "500"), ("order_by", "name"), ("from", &from.to_string())];
            let page: Rooms = self.api.admin(&["v1", "rooms"], &query).await?;
            rooms.extend(page.rooms.into_iter().map(Room::from));
            match page.next_batch {
                Some(next) if next > from => from = next,
                _ => break,
            }
        }
        rooms.sort();
        Ok(rooms)
    }

    async fn room_of(&self, alias: &str) -> Result<Option<String>, ApiError> {
        #[derive(Deserialize)]
        struct Found {
            room_id: String,
        }

        let get = Get {
            token: As::Admin,
            api: &["_matrix", "client", "v3"],
            path: &["directory", "room", alias],
            query: &[],
        };
        let found: Option<Found> = optional(self.api.get(get).await)?;
        Ok(found.map(|found| found.room_id))
    }
}

impl From<ListedAccount> for Account {
    fn from(user: ListedAccount) -> Self {
        Self {
            user_id: user.name,
            admin: user.admin,
            deactivated: user.deactivated,
            erased: user.erased,
            guest: user.is_guest,
            restricted: user.shadow_banned || user.locked || user.suspended,
            password: None,
            appservice: user.appservice_id,
        }
    }
}

impl From<ListedRoom> for Room {
    fn from(room: ListedRoom) -> Self {
        Self {
            room_id: room.room_id,
            name: room.name.or(room.canonical_alias),
            version: room.version,
            joined: room.joined_local_members,
            stateless: false,
            created: None,
            partial: false,
        }
    }
}
