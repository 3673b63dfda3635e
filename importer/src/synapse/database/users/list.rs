//! Which accounts there are.

use std::collections::BTreeSet;

use ruma::OwnedUserId;

use super::batch::Batch;
use crate::{
    synapse::database::{
        DatabaseError, Facts,
        connection::Connection,
        counter::{Items, count},
        schema::Schema,
    },
    tally::{Kind, Tally},
};

/// The accounts, with what reading them one by one needs and finds.
#[derive(Debug, Default)]
pub(in crate::synapse::database) struct ListedUsers {
    /// Rows of the users that come next.
    pub(super) batch: Batch,
    /// Users with a row in `users` that can't move.
    pub(in crate::synapse::database) left_out: BTreeSet<String>,
    /// The position of the server's device list stream; `None` if nothing has ever been sent.
    pub(super) device_list_stream_id: Option<u64>,
}

impl ListedUsers {
    /// The accounts, sorted.
    pub(in crate::synapse::database) fn ids(&self) -> &[OwnedUserId] {
        self.batch.all()
    }
}

/// Lists the accounts of this server: those of `users`, and application services' users without a row there.
pub(in crate::synapse::database) async fn list(
    db: &mut Connection,
    facts: &Facts,
    tally: &mut Tally,
) -> Result<ListedUsers, DatabaseError> {
    let rows = db.rows("users", "SELECT name FROM users", &[]).await?;
    let mut items = Items::new(tally, Kind::User, "").of("users");
    let (mut users, mut left_out) = (BTreeSet::new(), BTreeSet::new());
    for (user_id,) in items.decode::<(OwnedUserId,)>(&rows) {
        if user_id.server_name() == facts.config.server_name {
            if let Some(user_id) = users.replace(user_id) {
                items.twice(user_id.as_str());
            }
        } else {
            items.skip(user_id.as_str(), "foreign-user", "the account belongs to another server name; a server has only accounts of its own name");
            left_out.insert(user_id.into());
        }
    }
    tally.read(Kind::User, count(facts.senders.len()));
    users.extend(facts.senders.keys().cloned());
    Ok(ListedUsers {
        batch: Batch::of(users.into_iter().collect()),
        left_out,
        device_list_stream_id: device_list_stream_id(db, &facts.schema).await?,
    })
}

/// The position of the server's device list stream. It bounds what other servers have seen of any user: they get it with
/// every answer to a query of a user's devices. `None`: nothing has ever been sent.
async fn device_list_stream_id(
    db: &mut Connection,
    schema: &Schema,
) -> Result<Option<u64>, DatabaseError> {
    let mut position = 0;
    for table in [
        "device_lists_stream",
        "user_signature_stream",
        "device_lists_outbound_pokes",
        "device_lists_changes_in_room",
    ] {
        if schema.has_table(table) {
            let rows = db.rows(table, &format!("SELECT MAX(stream_id) FROM {table}"), &[]).await?;
            let newest = rows.first().and_then(|row| row.decode::<(u64,)>().ok());
            position = newest.map_or(0, |(newest,)| newest).max(position);
        }
    }
    Ok(Some(position).filter(|position| *position > 0))
}
