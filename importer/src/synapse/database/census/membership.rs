//! Rooms of which the table of memberships does not know all that their present state says.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedEventId, OwnedUserId};
use serde::Deserialize;

use crate::synapse::database::{DatabaseError, DatabaseSource, row::KeptRow};

/// A local user of whom the table of memberships says another thing than the state of a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::synapse::database) struct Disagreement {
    pub(in crate::synapse::database) room: String,
    pub(in crate::synapse::database) user: String,
    /// The table says nothing; else it names another event.
    pub(in crate::synapse::database) is_missing: bool,
}

const COLUMNS: &str =
    "SELECT c.room_id, c.state_key, CASE WHEN l.user_id IS NULL THEN 1 ELSE 0 END";
const CONDITION: &str = "LEFT JOIN local_current_membership l ON l.room_id = c.room_id AND l.user_id = c.state_key \
                         WHERE (l.user_id IS NULL OR l.event_id <> c.event_id)";

impl DatabaseSource {
    /// Where the table of memberships and the states of rooms disagree about accounts, sorted.
    pub(in crate::synapse::database) async fn disagreements(
        &mut self,
    ) -> Result<Vec<Disagreement>, DatabaseError> {
        let table = "local_current_membership";
        let of_accounts = format!(
            "{COLUMNS} FROM users u JOIN current_state_events c ON c.type = 'm.room.member' AND c.state_key = u.name {CONDITION}"
        );
        let of_senders = format!(
            "{COLUMNS} FROM current_state_events c {CONDITION} AND c.type = 'm.room.member' AND c.state_key IN ($IDS)"
        );
        let mut rows = self.main.rows(table, &of_accounts, &[]).await?;
        let senders: Vec<&str> = self.owners.senders.keys().map(|user| user.as_str()).collect();
        rows.extend(self.main.rows_in(table, &of_senders, &senders).await?);
        let mut all: Vec<_> = rows
            .iter()
            .filter_map(|row| row.decode::<(String, String, bool)>().ok())
            .map(|(room, user, is_missing)| Disagreement { room, user, is_missing })
            .collect();
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Rooms that no local user has to do with but by their states.
    pub(in crate::synapse::database) async fn rooms_of_state(
        &mut self,
    ) -> Result<BTreeSet<String>, DatabaseError> {
        let all = self.disagreements().await?;
        let rooms: BTreeSet<String> =
            all.into_iter().filter(|one| one.is_missing).map(|one| one.room).collect();
        let ids: Vec<&str> = rooms.iter().map(String::as_str).collect();
        let sql = "SELECT DISTINCT room_id FROM local_current_membership WHERE room_id IN ($IDS)";
        let known = self.main.rows_in("local_current_membership", sql, &ids).await?;
        let known: BTreeSet<String> = known.iter().map(KeptRow::label).collect();
        Ok(rooms.difference(&known).cloned().collect())
    }

    /// What member events say.
    pub(in crate::synapse::database) async fn memberships(
        &mut self,
        events: &[(OwnedUserId, OwnedEventId)],
    ) -> Result<Vec<(OwnedUserId, OwnedEventId, String)>, DatabaseError> {
        #[derive(Deserialize)]
        struct Event {
            content: Content,
        }
        #[derive(Deserialize)]
        struct Content {
            membership: String,
        }
        let ids: Vec<&str> = events.iter().map(|(_, event_id)| event_id.as_str()).collect();
        let sql = "SELECT event_id, json FROM event_json WHERE event_id IN ($IDS)";
        let rows = self.main.rows_in("event_json", sql, &ids).await?;
        let memberships = rows.iter().filter_map(|row| {
            let (event_id, json) = row.decode::<(String, String)>().ok()?;
            let event: Event = serde_json::from_str(&json).ok()?;
            Some((event_id, event.content.membership))
        });
        let memberships: BTreeMap<String, String> = memberships.collect();
        let known = |(user_id, event_id): &(OwnedUserId, OwnedEventId)| {
            let membership = memberships.get(event_id.as_str())?;
            Some((user_id.clone(), event_id.clone(), membership.clone()))
        };
        Ok(events.iter().filter_map(known).collect())
    }
}
