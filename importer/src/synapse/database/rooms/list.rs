//! Which rooms there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::OwnedRoomId;

use super::{
    aliases,
    all_events::AllEvents,
    batch::RoomBatch,
    fingerprint::{self, Fingerprints},
};
use crate::{
    dump::History,
    synapse::database::{
        DatabaseError, Facts, connection::Connection, counter::Items, memberships, row::Row,
    },
    tally::{Kind, Tally},
};

/// What is known of the rooms when they are listed.
#[derive(Clone, Debug, Default)]
pub(in crate::synapse::database) struct ListedRooms {
    /// Rooms of which only the state, or member events, say that a local user is in them.
    pub(in crate::synapse::database) of_state: BTreeSet<String>,
    /// Rooms in the table of memberships that can't move.
    pub(in crate::synapse::database) left_out: BTreeSet<String>,
    /// The room of each alias that the table gives to several.
    pub(in crate::synapse::database) aliases: BTreeMap<String, String>,
    /// What tells whether an earlier dump still has a room's history.
    pub(in crate::synapse::database) fingerprints: Arc<Fingerprints>,
    /// Rows of the rooms that come next.
    pub(super) batch: RoomBatch,
}

impl ListedRooms {
    /// The rooms, in groups: the rows of a group are read together.
    pub(in crate::synapse::database) fn groups(&self) -> &[Vec<OwnedRoomId>] {
        self.batch.groups()
    }
}

impl ListedRooms {
    /// From now on, the events of rooms come from these.
    pub(in crate::synapse::database) fn take(&mut self, events: Arc<AllEvents>) {
        self.batch.take(Some(events));
    }

    /// No room will be read any more.
    pub(in crate::synapse::database) fn leave_events(&mut self) {
        self.batch.take(None);
    }
}

/// Lists the rooms that a local user is or was in, is invited to or knocks at.
pub(in crate::synapse::database) async fn list(
    db: &mut Connection,
    facts: &Facts,
    tally: &mut Tally,
) -> Result<ListedRooms, DatabaseError> {
    let table = "local_current_membership";
    let sql = "SELECT room_id, COUNT(*) FROM local_current_membership GROUP BY room_id";
    let rows = db.rows(table, sql, &[]).await?;
    let mut items = Items::new(tally, Kind::Room, "");
    let (mut rooms, mut left_out) = (Vec::with_capacity(rows.len()), BTreeSet::new());
    for row in &rows {
        match row.decode::<(OwnedRoomId,)>() {
            Ok((room_id,)) => {
                items.read(1);
                rooms.push(room_id);
            }
            Err(broken) => {
                items.broken(Row::Kept(row), &broken);
                let number = row.integer(1).and_then(|number| usize::try_from(number).ok());
                items.rows(table, number.unwrap_or(0));
                for _ in 0..number.unwrap_or(0) {
                    items.row_left_out(table, broken.reason);
                }
                left_out.insert(row.label());
            }
        }
    }
    let mut of_state = memberships::rooms_of_state(db, &facts.senders).await?;
    // Rows of what is no room belong to nobody.
    of_state.retain(|room| {
        items.read(1);
        let id = OwnedRoomId::try_from(room.as_str());
        if id.is_err() {
            items.skip(room, "id-invalid", "no room can have this id");
        }
        rooms.extend(id.as_ref().ok().cloned());
        id.is_ok()
    });
    rooms.sort();
    let aliases = aliases::of_several(db, &rooms).await?;
    let fingerprints = match facts.extent.history {
        History::Full => fingerprint::read(db, &facts.schema, &facts.erased).await?,
        History::Recent => Fingerprints::default(),
    };
    let batch = RoomBatch::of(&rooms, &fingerprints);
    let fingerprints = fingerprints.into();
    Ok(ListedRooms { of_state, left_out, aliases, fingerprints, batch })
}
