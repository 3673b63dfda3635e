//! Aliases and the room directory.

use crate::{
    conduit::{
        schema::{shapes::AliasLocalpart, trees},
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    verify::{VerifyError, tools::lookup::get},
};

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    server_name: &str,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let exists = |room: &[u8]| store.get(&trees::ROOMID_SHORTROOMID, room).map(|id| id.is_some());
    for row in store.scan(&trees::ALIAS_ROOMID, &[])? {
        let (alias, room) = row?;
        if !exists(&room)? {
            let alias = format!("#{}:{server_name}", String::from_utf8_lossy(&alias));
            found.add(&codes::DIRECTORY_DANGLING, alias, "names a room that does not exist");
        }
    }
    // The other direction is not checked: Conduit forgets all aliases of a room here when one is removed
    // (src/database/key_value/rooms/alias.rs:22-38).
    for row in store.scan(&trees::ALIASID_ALIAS, &[])? {
        let (key, value) = row?;
        let Ok(fields) = trees::ALIASID_ALIAS.read_key(&key) else { continue };
        let alias = String::from_utf8_lossy(&value).into_owned();
        let localpart = alias.strip_prefix('#').and_then(|alias| alias.split_once(':'));
        let localpart = localpart.map_or("", |(localpart, _)| localpart);
        let named =
            get(store, &trees::ALIAS_ROOMID, &AliasLocalpart { alias_localpart: localpart })?;
        if named.as_deref() != Some(fields.room.as_bytes()) {
            // Conduit leaves this behind when an upgraded room takes the alias along.
            let text = format!("is still listed for {}, which it has left", fields.room);
            found.add(&codes::ALIAS_LISTED_TWICE, alias, text);
        }
    }
    for row in store.scan(&trees::PUBLICROOMIDS, &[])? {
        let (room, _) = row?;
        if !exists(&room)? {
            let room = String::from_utf8_lossy(&room).into_owned();
            found.add(&codes::DIRECTORY_DANGLING, room, "is in the directory and does not exist");
        }
    }
    Ok(())
}
