//! Aliases of a room, and its place in the directory.

use super::{Findings, KvRead, Skipped, VerifyError, codes};
use crate::{
    conduit::schema::{
        shapes::{AliasLocalpart, Room},
        trees,
    },
    dump::format::DumpRoom,
    tally::Kind,
    verify::tools::lookup::get,
};

pub(super) fn compare(
    store: &dyn KvRead,
    head: &DumpRoom,
    skipped: &Skipped<'_>,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let room = head.room_id.as_str();
    for alias in &head.aliases {
        if skipped.explains(Kind::Alias, alias.alias.as_str()) {
            continue;
        }
        let localpart = AliasLocalpart { alias_localpart: alias.alias.alias() };
        let stored = get(store, &trees::ALIAS_ROOMID, &localpart)?;
        if stored.as_deref() != Some(room.as_bytes()) {
            found.add(
                &codes::DIFFERS_FROM_DUMP,
                alias.alias.as_str(),
                format!("does not name {room}"),
            );
        }
        let creator = get(store, &trees::ALIAS_USERID, &localpart)?;
        if creator.as_deref() != alias.creator.as_ref().map(|user| user.as_bytes()) {
            found.add(&codes::DIFFERS_FROM_DUMP, alias.alias.as_str(), "its creator differs");
        }
    }
    let published = get(store, &trees::PUBLICROOMIDS, &Room { room })?.is_some();
    if published != head.published {
        found.add(
            &codes::DIFFERS_FROM_DUMP,
            room,
            "is in the directory of one and not of the other",
        );
    }
    Ok(())
}
