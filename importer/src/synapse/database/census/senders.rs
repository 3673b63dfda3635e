//! Users of application services that were never registered.

use std::collections::BTreeMap;

use ruma::OwnedUserId;

use super::{table::Of, tables};
use crate::synapse::database::{DatabaseError, DatabaseSource, row::KeptRow};

impl DatabaseSource {
    /// Configured users of application services that have no row in `users`, and own something.
    pub(in crate::synapse::database) async fn active_senders(
        &mut self,
    ) -> Result<BTreeMap<OwnedUserId, String>, DatabaseError> {
        let mut senders = self.config.appservice_senders();
        let ids: Vec<String> = senders.keys().map(ToString::to_string).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let sql = "SELECT name FROM users WHERE name IN ($IDS)";
        for row in self.main.rows_in("users", sql, &ids).await? {
            senders.retain(|user, _| *user != row.label());
        }
        let mut active = BTreeMap::new();
        let owned =
            tables::all().flat_map(|table| table.owners.iter().map(|owner| (table.name, *owner)));
        let owned = owned
            .filter(|(_, owner)| !owner.of.is_room())
            .map(|(table, owner)| (table, owner.column, owner.of));
        for (table, column, of) in owned.chain([("local_current_membership", "user_id", Of::User)])
        {
            if senders.is_empty() {
                break;
            }
            if !self.schema.has_table(table) {
                continue;
            }
            let mut ids: Vec<&str> = senders.keys().map(|user| user.as_str()).collect();
            if of == Of::Localpart {
                ids.extend(senders.keys().map(|user| user.localpart()));
            }
            let sql = format!("SELECT DISTINCT {column} FROM {table} WHERE {column} IN ($IDS)");
            let found = self.main.rows_in(table, &sql, &ids).await?;
            for name in found.iter().map(KeptRow::label) {
                let is = |user: &OwnedUserId| {
                    *user == name || (of == Of::Localpart && user.localpart() == name)
                };
                let (owners, rest) = senders.into_iter().partition(|(user, _)| is(user));
                active.extend::<BTreeMap<_, _>>(owners);
                senders = rest;
            }
        }
        Ok(active)
    }
}
