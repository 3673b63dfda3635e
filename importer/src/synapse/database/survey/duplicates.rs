//! Duplicate rows in tables with a unique index. A change of the collation that PostgreSQL sorts by (an upgrade of the system's C
//! library) breaks indexes; a row that the index does not find any more is inserted again.

use super::super::{
    DatabaseError,
    connection::Connection,
    row::{Known, Row},
    schema::Schema,
};
use crate::{dump::format::SourceKind, source::survey::Duplicate};

/// Keys of one table that are named.
const NAMED: usize = 20;

/// Rows up to which a table is searched. In larger ones, duplicates are found when the rows are read.
pub(super) const LARGEST: i64 = 2_000_000;

/// A table with a unique index.
struct Unique {
    table: &'static str,
    /// Columns that must be unique together.
    key: &'static [&'static str],
    /// Columns that name a row, if those of the key are secret.
    shown: &'static [&'static str],
    /// The index is on rows where this column is NULL; on all of a table that does not have it.
    without: Option<&'static str>,
}

const fn unique(table: &'static str, key: &'static [&'static str]) -> Unique {
    Unique { table, key, shown: key, without: None }
}

/// The same for a table whose keys are secret; `shown` columns name its rows.
const fn secret(
    table: &'static str,
    key: &'static [&'static str],
    shown: &'static [&'static str],
) -> Unique {
    Unique { table, key, shown, without: None }
}

const RECEIPT: &[&str] = &["room_id", "receipt_type", "user_id"];

/// The unique indexes of Synapse's schema, of tables that are read. A test compares them with those of a real database.
const UNIQUE: &[Unique] = &[
    unique("users", &["name"]),
    unique("profiles", &["user_id"]),
    unique("devices", &["user_id", "device_id"]),
    secret("access_tokens", &["token"], &["user_id", "device_id"]),
    unique("account_data", &["user_id", "account_data_type"]),
    unique("room_account_data", &["user_id", "room_id", "account_data_type"]),
    unique("room_tags", &["user_id", "room_id", "tag"]),
    unique("push_rules", &["user_name", "rule_id"]),
    unique("push_rules_enable", &["user_name", "rule_id"]),
    secret("pushers", &["app_id", "pushkey", "user_name"], &["app_id", "user_name"]),
    unique("user_filters", &["user_id", "filter_id"]),
    unique("dehydrated_devices", &["user_id"]),
    unique("e2e_device_keys_json", &["user_id", "device_id"]),
    unique("e2e_cross_signing_keys", &["user_id", "keytype", "stream_id"]),
    unique("e2e_one_time_keys_json", &["user_id", "device_id", "algorithm", "key_id"]),
    unique("e2e_fallback_keys_json", &["user_id", "device_id", "algorithm"]),
    unique("e2e_room_keys_versions", &["user_id", "version"]),
    unique("e2e_room_keys", &["user_id", "version", "room_id", "session_id"]),
    secret("user_threepids", &["medium", "address"], &["user_id", "medium"]),
    secret("user_external_ids", &["auth_provider", "external_id"], &["user_id", "auth_provider"]),
    unique("erased_users", &["user_id"]),
    unique("rooms", &["room_id"]),
    unique("room_aliases", &["room_alias"]),
    unique("blocked_rooms", &["room_id"]),
    unique("local_current_membership", &["room_id", "user_id"]),
    unique("current_state_events", &["room_id", "type", "state_key"]),
    unique("current_state_events", &["event_id"]),
    unique("event_forward_extremities", &["room_id", "event_id"]),
    unique("events", &["event_id"]),
    unique("event_json", &["event_id"]),
    unique("event_to_state_groups", &["event_id"]),
    unique("state_group_edges", &["state_group", "prev_state_group"]),
    unique("rejections", &["event_id"]),
    unique("redactions", &["event_id"]),
    unique("room_ban_redactions", &["room_id", "user_id"]),
    unique("state_events", &["event_id"]),
    unique("room_memberships", &["event_id"]),
    Unique {
        table: "receipts_linearized",
        key: RECEIPT,
        shown: RECEIPT,
        without: Some("thread_id"),
    },
    unique("receipts_linearized", &["room_id", "receipt_type", "user_id", "thread_id"]),
    unique("event_push_actions", &["room_id", "event_id", "user_id", "profile_tag"]),
    unique("event_push_summary", &["user_id", "room_id", "thread_id"]),
    unique("application_services_txns", &["as_id", "txn_id"]),
    unique("destinations", &["destination"]),
    unique("destination_rooms", &["destination", "room_id"]),
    unique("local_media_repository", &["media_id"]),
    unique("remote_media_cache", &["media_origin", "media_id"]),
];

/// Duplicate rows, by table and key. `has_own_states`: states are in a database of their own.
pub(super) async fn read(
    db: &mut Connection,
    schema: &Schema,
    has_own_states: bool,
) -> Result<Vec<Duplicate>, DatabaseError> {
    let mut found: Vec<Duplicate> = Vec::new();
    for unique in UNIQUE {
        let has = |column: &&str| schema.has_column(unique.table, column);
        let is_there = unique.key.iter().chain(unique.shown).all(has);
        // States can be in a database of their own; what the main one then has of them is of before.
        if !is_there || (unique.table == "state_group_edges" && has_own_states) {
            continue;
        }
        let without = unique.without.filter(has);
        if rows(db, unique.table).await? <= LARGEST {
            db.each(unique.table, &unique.sql(without), &[], |row| {
                found.push(unique.duplicate(row));
            })
            .await?;
        }
    }
    Ok(found)
}

impl Unique {
    /// Keys as expressions, so that PostgreSQL does not read them from the index that may be broken.
    fn sql(&self, without: Option<&str>) -> String {
        let shown = self.shown.iter().map(|column| format!("MIN(CAST({column} AS TEXT))"));
        let key = self.key.iter().map(|column| format!("(CAST({column} AS TEXT) || '')"));
        let is_there = self.key.iter().map(|column| format!("{column} IS NOT NULL"));
        let is_there = is_there.chain(without.map(|column| format!("{column} IS NULL")));
        format!(
            "SELECT {}, COUNT(*) FROM {} WHERE {} GROUP BY {} HAVING COUNT(*) > 1 ORDER BY 1 LIMIT {NAMED}",
            shown.collect::<Vec<_>>().join(", "),
            self.table,
            is_there.collect::<Vec<_>>().join(" AND "),
            key.collect::<Vec<_>>().join(", "),
        )
    }

    fn duplicate(&self, row: Row<'_>) -> Duplicate {
        let names = (0..self.shown.len()).map(|column| row.text(column));
        let rows = row.integer(self.shown.len()).and_then(|rows| u64::try_from(rows).ok());
        Duplicate {
            table: self.table,
            key: names.collect::<Vec<_>>().join(", "),
            rows: rows.unwrap_or(2),
        }
    }
}

/// About how many rows a table has.
pub(super) async fn rows(db: &mut Connection, table: &'static str) -> Result<i64, DatabaseError> {
    let sql = match db.kind() {
        SourceKind::Sqlite => format!("SELECT MAX(rowid) FROM {table}"),
        SourceKind::Postgres | SourceKind::Api => {
            format!(
                "SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE oid = to_regclass('{table}')"
            )
        }
    };
    let rows = db.rows(table, &sql, &[]).await?;
    let number = rows.first().and_then(|row| row.decode::<(Known<i64>,)>().ok());
    Ok(number.and_then(|(Known(number),)| number).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use crate::{
        source::{Source as _, survey::Duplicate},
        synapse::database::testing::{Fixture, Server, config, opened},
    };

    fn twice() -> Fixture {
        let mut fixture = Fixture::new();
        for row in [
            "users (name) VALUES ('@alice:own.test')",
            "access_tokens (id, user_id, device_id, token) VALUES (1, '@alice:own.test', 'A', 'secret')",
            "access_tokens (id, user_id, device_id, token) VALUES (2, '@alice:own.test', 'A', 'secret')",
            "room_aliases (room_alias, room_id) VALUES ('#a:own.test', '!r:own.test')",
            "room_aliases (room_alias, room_id) VALUES ('#b:own.test', '!r:own.test')",
            "user_filters (user_id, filter_id, filter_json) VALUES ('alice', 1, '')",
            "user_filters (user_id, filter_id, filter_json) VALUES ('alice', 1, '')",
            "user_filters (user_id, filter_id, filter_json) VALUES ('alice', 1, '')",
        ] {
            fixture.sql(&format!("INSERT INTO {row}"));
        }
        fixture
    }

    fn expected() -> Vec<Duplicate> {
        [
            ("users", "@alice:own.test", 2),
            ("access_tokens", "@alice:own.test, A", 2),
            ("user_filters", "alice, 1", 3),
        ]
        .map(|(table, key, rows)| Duplicate { table, key: key.into(), rows })
        .into()
    }

    #[tokio::test]
    async fn what_is_there_twice_is_named_without_secrets() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(twice().sqlite(directory.path()));
        let mut source = opened(&config).await;
        assert_eq!(source.survey().await.unwrap().duplicates, expected());
    }

    #[tokio::test]
    async fn postgres_finds_the_same() {
        let Some(server) = Server::start() else { return };
        let config = config(twice().postgres(&server).await);
        let mut source = opened(&config).await;
        assert_eq!(source.survey().await.unwrap().duplicates, expected());
    }
}
