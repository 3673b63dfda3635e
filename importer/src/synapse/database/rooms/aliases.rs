//! Aliases of rooms.

use std::collections::BTreeMap;

use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, ServerName};

use super::batch::RoomTables;
use crate::{
    dump::format::DumpAlias,
    synapse::database::{DatabaseError, connection::Connection, counter::Items, row::Known},
    tally::{Kind, Tally},
};

/// Aliases that the table gives to several rooms: the last one of `rooms`, which are sorted, keeps each.
pub(super) async fn of_several(
    db: &mut Connection,
    rooms: &[OwnedRoomId],
) -> Result<BTreeMap<String, String>, DatabaseError> {
    // As an expression, so that PostgreSQL does not read it from the index that may be broken.
    let sql = "SELECT room_alias, room_id FROM room_aliases WHERE (room_alias || '') IN \
               (SELECT (room_alias || '') FROM room_aliases GROUP BY (room_alias || '') HAVING COUNT(*) > 1) \
               ORDER BY room_id";
    let mut all = db.rows("room_aliases", sql, &[]).await?;
    all.retain(|row| {
        row.decode::<(String, OwnedRoomId)>()
            .is_ok_and(|(_, room)| rooms.binary_search(&room).is_ok())
    });
    Ok(all.iter().filter_map(|row| row.decode().ok()).collect())
}

/// The aliases of a room; `of_several` are those that the table gives to other rooms, too.
pub(super) async fn read(
    tables: &mut RoomTables<'_>,
    server_name: &ServerName,
    of_several: &BTreeMap<String, String>,
    tally: &mut Tally,
) -> Result<Vec<DumpAlias>, DatabaseError> {
    let sql = "SELECT room_alias, creator, room_id FROM room_aliases WHERE room_id IN ($IDS)";
    let rows = tables.rows("room_aliases", sql).await?;
    let room_id = tables.id;
    let mut items = Items::new(tally, Kind::Alias, room_id.as_str()).of("room_aliases");
    let mut aliases: Vec<DumpAlias> = Vec::new();
    for (alias, creator) in items.decode::<(OwnedRoomAliasId, Known<String>)>(&rows) {
        if alias.server_name() != server_name {
            let detail = "the alias belongs to another server name";
            items.skip(alias.as_str(), "foreign-alias", detail);
            continue;
        }
        let is_of_other =
            of_several.get(alias.as_str()).is_some_and(|room| room != room_id.as_str());
        if is_of_other || aliases.iter().any(|known| known.alias == alias) {
            items.twice(alias.as_str());
        } else {
            let creator = creator.0.and_then(|creator| OwnedUserId::try_from(creator).ok());
            aliases.push(DumpAlias { alias, creator });
        }
    }
    items.written(aliases.len());
    aliases.sort();
    Ok(aliases)
}
