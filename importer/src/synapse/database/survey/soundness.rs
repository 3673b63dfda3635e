//! Whether the database can be read to its end: its tables, and the pages of its file. A dump would learn it in its middle.

use std::panic::resume_unwind;

use tokio::task::JoinSet;

use crate::{
    dump::format::SourceKind,
    synapse::database::{
        DatabaseError,
        connection::{Connection, Databases},
        schema::Schema,
    },
};

/// Tables that are read, whichever version of the schema it is, in every database.
const TABLES: &[&str] = &[
    "access_tokens",
    "account_data",
    "background_updates",
    "blocked_rooms",
    "current_state_events",
    "device_inbox",
    "device_lists_outbound_pokes",
    "device_lists_stream",
    "devices",
    "e2e_cross_signing_keys",
    "e2e_cross_signing_signatures",
    "e2e_device_keys_json",
    "e2e_fallback_keys_json",
    "e2e_one_time_keys_json",
    "e2e_room_keys",
    "e2e_room_keys_versions",
    "erased_users",
    "event_forward_extremities",
    "event_json",
    "event_push_actions",
    "event_push_summary",
    "event_push_summary_stream_ordering",
    "event_to_state_groups",
    "events",
    "local_current_membership",
    "profiles",
    "push_rules",
    "push_rules_enable",
    "pushers",
    "receipts_linearized",
    "redactions",
    "rejections",
    "room_account_data",
    "room_aliases",
    "room_memberships",
    "room_tags",
    "rooms",
    "user_external_ids",
    "user_filters",
    "user_signature_stream",
    "user_threepids",
    "users",
];
/// Tables of states, which can be in a database of their own.
const STATE_TABLES: [(&str, &str); 2] = [
    ("state_groups_state", "SELECT 1 FROM state_groups_state LIMIT 1"),
    ("state_group_edges", "SELECT 1 FROM state_group_edges LIMIT 1"),
];

/// Looks for tables that are not there.
pub(super) async fn tables(
    databases: &mut Databases,
    schema: &Schema,
) -> Result<(), DatabaseError> {
    let missing: Vec<_> = TABLES.iter().copied().filter(|table| !schema.has_table(table)).collect();
    if !missing.is_empty() {
        return Err(DatabaseError::TablesMissing { tables: missing.join("`, `") });
    }
    for (table, sql) in STATE_TABLES {
        databases.states().rows(table, sql, &[]).await?;
    }
    Ok(())
}

/// The look for damaged pages of SQLite, which reads the whole file, by the connections of the second reader.
pub(super) struct Pages(JoinSet<(Databases, Result<(), DatabaseError>)>);

impl Pages {
    /// Begins it, and takes the connections for it. Does neither with PostgreSQL, which has no such check: its queries fail where they
    /// can't read.
    pub(super) fn begin(second: &mut Option<Databases>) -> Self {
        let mut check = JoinSet::new();
        if let Some(mut databases) = second.take_if(|second| is_sqlite(&second.main)) {
            check.spawn(async move {
                let checked = pages(&mut databases).await;
                (databases, checked)
            });
        }
        Self(check)
    }

    /// Ends it, and gives the connections back. If there is no second reader, the first one looks now.
    pub(super) async fn end(
        mut self,
        first: &mut Databases,
        second: &mut Option<Databases>,
    ) -> Result<(), DatabaseError> {
        match self.0.join_next().await {
            Some(Ok((databases, checked))) => {
                *second = Some(databases);
                checked
            }
            Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
            _ => pages(first).await,
        }
    }
}

/// Asks SQLite whether the pages of its files fit together (<https://sqlite.org/pragma.html#pragma_quick_check>).
async fn pages(databases: &mut Databases) -> Result<(), DatabaseError> {
    for connection in databases.all().filter(|connection| is_sqlite(connection)) {
        let rows = connection.rows("the database's pages", "PRAGMA quick_check(1)", &[]).await?;
        let said = rows.first().and_then(|row| row.decode::<(String,)>().ok());
        if let Some((said,)) = said.filter(|(said,)| said != "ok") {
            return Err(DatabaseError::Damaged { said });
        }
    }
    Ok(())
}

fn is_sqlite(connection: &Connection) -> bool {
    connection.kind() == SourceKind::Sqlite
}
