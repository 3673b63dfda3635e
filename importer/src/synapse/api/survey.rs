//! A look through the admin API before anything is read.

use ruma::ServerName;
use serde::Deserialize;

use super::{
    ApiError,
    connection::{As, CLIENT, Connection, Get},
    error::optional,
    rooms::{self, ListedRoom},
    users::{self, ListedUser},
};
use crate::source::survey::{AccountFacts, RoomFacts, Survey};

/// Lists accounts and rooms.
pub(super) async fn read(api: &Connection, server_name: &ServerName) -> Result<Survey, ApiError> {
    let accounts = users::listed(api).await?.into_values().map(AccountFacts::from).collect();
    let mut rooms: Vec<_> = rooms::listed(api).await?.into_values().map(RoomFacts::from).collect();
    rooms.sort();
    let admins_alias = room_of(api, &format!("#admins:{server_name}")).await?;
    let server_name = server_name.to_string();
    Ok(Survey { server_name, accounts, rooms, admins_alias, ..Survey::default() })
}

/// The room that an alias names.
async fn room_of(api: &Connection, alias: &str) -> Result<Option<String>, ApiError> {
    #[derive(Deserialize)]
    struct AliasAnswer {
        room_id: String,
    }

    let path = ["directory", "room", alias];
    let get = Get { token: As::Admin, api: &CLIENT, path: &path, query: &[] };
    let found: Option<AliasAnswer> = optional(api.get(get).await)?;
    Ok(found.map(|found| found.room_id))
}

impl From<ListedUser> for AccountFacts {
    fn from(user: ListedUser) -> Self {
        Self {
            user_id: user.name,
            admin: user.admin,
            deactivated: user.deactivated,
            erased: user.erased,
            guest: user.is_guest,
            suspended: user.locked || user.suspended,
            restricted: user.shadow_banned,
            password: None,
            appservice: user.appservice_id,
        }
    }
}

impl From<ListedRoom> for RoomFacts {
    fn from(room: ListedRoom) -> Self {
        Self {
            room_id: room.room_id.into(),
            name: room.name.or(room.canonical_alias),
            version: room.version,
            joined: room.joined_local_members,
            stateless: false,
            created: None,
            partial: false,
        }
    }
}
