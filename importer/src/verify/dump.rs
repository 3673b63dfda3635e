//! A database against the dump it was made from, in both directions.
//!
//! What the dump holds and the database lacks must be among what the import left out; when nobody says what that was,
//! rooms of versions other than 3 to 12 and accounts without rights explain themselves.

mod rooms;
mod users;

use std::collections::BTreeSet;

use super::{VerifyError, found::Found};
use crate::{
    conduit::kv::KvStore,
    dump::DumpReader,
    progress::Progress,
    tally::{Kind, Skip},
};

/// Items that the import left out, by kind.
struct Skipped<'a> {
    items: BTreeSet<(Kind, &'a str)>,
    known: bool,
}

impl<'a> Skipped<'a> {
    fn of(skips: &'a [Skip]) -> Self {
        let items = skips.iter().map(|skip| (skip.kind, skip.item.as_str())).collect();
        Self { items, known: !skips.is_empty() }
    }

    /// Whether an absence is explained.
    fn explains(&self, kind: Kind, item: &str) -> bool {
        self.items.contains(&(kind, item))
    }
}

pub(super) fn compare(
    store: &dyn KvStore,
    dump: &DumpReader,
    skipped: &[Skip],
    progress: Progress,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let skipped = Skipped::of(skipped);
    let server_name = dump.manifest().server_name.clone();

    let phase = progress.phase("users", dump.number_of_users());
    let mut users = BTreeSet::new();
    for user in dump.users() {
        let user = user?;
        users::compare(store, &user, &skipped, found)?;
        users.insert(user.user_id.to_string());
        phase.advance(1);
    }
    drop(phase);
    users::extra(store, &users, &server_name, found)?;

    let phase = progress.phase("rooms", dump.number_of_rooms());
    let mut rooms = BTreeSet::new();
    for room in dump.rooms() {
        let room = room?;
        let id = room.head().room_id.to_string();
        if rooms::compare(store, room, &skipped, found)? {
            rooms.insert(id);
        }
        phase.advance(1);
    }
    drop(phase);
    rooms::extra(store, &rooms, found)
}
