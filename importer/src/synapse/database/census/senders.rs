//! Users of application services that were never registered.

use std::collections::BTreeMap;

use ruma::OwnedUserId;

use super::{table::OwnerKind, tables};
use crate::synapse::{
    config::SynapseConfig,
    database::{DatabaseError, connection::Connection, row::KeptRow, schema::Schema},
};

/// Configured users of application services that have no row in `users`, and own something.
pub(in crate::synapse::database) async fn active_senders(
    db: &mut Connection,
    schema: &Schema,
    config: &SynapseConfig,
) -> Result<BTreeMap<OwnedUserId, String>, DatabaseError> {
    let mut senders = config.appservice_senders();
    let ids: Vec<String> = senders.keys().map(ToString::to_string).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let sql = "SELECT name FROM users WHERE name IN ($IDS)";
    for row in db.rows_in("users", sql, &ids).await? {
        senders.retain(|user, _| *user != row.label());
    }
    let mut active = BTreeMap::new();
    let owned =
        tables::all().flat_map(|table| table.owners.iter().map(|owner| (table.name, *owner)));
    let owned = owned
        .filter(|(_, owner)| !owner.of.is_room())
        .map(|(table, owner)| (table, owner.column, owner.of));
    for (table, column, of) in
        owned.chain([("local_current_membership", "user_id", OwnerKind::User)])
    {
        if senders.is_empty() {
            break;
        }
        if !schema.has_table(table) {
            continue;
        }
        let mut ids: Vec<&str> = senders.keys().map(|user| user.as_str()).collect();
        if of == OwnerKind::Localpart {
            ids.extend(senders.keys().map(|user| user.localpart()));
        }
        let sql = format!("SELECT DISTINCT {column} FROM {table} WHERE {column} IN ($IDS)");
        let found = db.rows_in(table, &sql, &ids).await?;
        for name in found.iter().map(KeptRow::label) {
            let is = |user: &OwnedUserId| {
                *user == name || (of == OwnerKind::Localpart && user.localpart() == name)
            };
            let (owners, rest) = senders.into_iter().partition(|(user, _)| is(user));
            active.extend::<BTreeMap<_, _>>(owners);
            senders = rest;
        }
    }
    Ok(active)
}
