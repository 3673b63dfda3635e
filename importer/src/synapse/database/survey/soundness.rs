//! Whether the database can be read to its end: its tables, and the pages of its file. A dump would learn it in its middle.

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

/// Looks for tables that are not there, and for damaged pages of SQLite, which reads the whole file.
pub(super) async fn check(databases: &mut Databases, schema: &Schema) -> Result<(), DatabaseError> {
    let missing: Vec<_> = TABLES.iter().copied().filter(|table| !schema.has_table(table)).collect();
    if !missing.is_empty() {
        return Err(DatabaseError::TablesMissing { tables: missing.join("`, `") });
    }
    for (table, sql) in STATE_TABLES {
        databases.states().rows(table, sql, &[]).await?;
    }
    for connection in databases.all() {
        pages(connection).await?;
    }
    Ok(())
}

/// Asks SQLite whether its pages fit together (<https://sqlite.org/pragma.html#pragma_quick_check>). PostgreSQL has no such
/// check; its queries fail where they can't read.
async fn pages(connection: &mut Connection) -> Result<(), DatabaseError> {
    if connection.kind() != SourceKind::Sqlite {
        return Ok(());
    }
    let rows = connection.rows("the database's pages", "PRAGMA quick_check(1)", &[]).await?;
    let said = rows.first().and_then(|row| row.decode::<(String,)>().ok());
    match said {
        Some((said,)) if said != "ok" => Err(DatabaseError::Damaged { said }),
        _ => Ok(()),
    }
}
