//! Which rooms there are.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedRoomId;
use serde::Deserialize;

use super::{ApiError, Noted, connection::Connection};
use crate::tally::{Kind, Tally};

/// A room as the admin API lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ListedRoom {
    pub(super) room_id: OwnedRoomId,
    pub(super) name: Option<String>,
    pub(super) canonical_alias: Option<String>,
    pub(super) version: Option<String>,
    /// Whether the room is in the public directory.
    #[serde(default)]
    pub(super) public: bool,
    #[serde(default)]
    pub(super) joined_local_members: u64,
}

/// All rooms that an account has to do with; sorted.
pub(super) async fn list(
    api: &Connection,
    noted: &mut Noted,
    tally: &mut Tally,
) -> Result<Vec<OwnedRoomId>, ApiError> {
    if noted.listed.is_empty() {
        noted.listed = listed(api).await?;
    }
    let rooms: BTreeSet<_> = noted.listed.keys().chain(noted.seen.rooms()).cloned().collect();
    tally.read(Kind::Room, u64::try_from(rooms.len()).unwrap_or(u64::MAX));
    Ok(rooms.into_iter().collect())
}

/// The rooms that the admin API lists: not those known by a pending invite or knock alone.
pub(super) async fn listed(
    api: &Connection,
) -> Result<BTreeMap<OwnedRoomId, ListedRoom>, ApiError> {
    #[derive(Deserialize)]
    struct RoomsPage {
        rooms: Vec<ListedRoom>,
        next_batch: Option<u64>,
    }

    let mut rooms = BTreeMap::new();
    let mut from = 0;
    loop {
        let query = [("limit", "500"), ("order_by", "name"), ("from", &from.to_string())];
        let page: RoomsPage = api.admin(&["v1", "rooms"], &query).await?;
        rooms.extend(page.rooms.into_iter().map(|room| (room.room_id.clone(), room)));
        match page.next_batch {
            Some(next) if next > from => from = next,
            _ => return Ok(rooms),
        }
    }
}
