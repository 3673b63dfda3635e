//! Rows that are there twice, as broken indexes let them be: in each table that is read.

use std::collections::BTreeSet;

use importer::dump::census::Fate;
use migration_tests::{
    command::{self, Run},
    lab::Lab,
};
use rusqlite::Connection;

fn strings(database: &Connection, sql: &str, of: &str) -> Vec<String> {
    let mut statement = database.prepare(sql).unwrap();
    statement.query_map([of], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Whether a table has a unique index, of more than numbers that name nothing.
fn is_unique(database: &Connection, table: &str) -> bool {
    let indexes = "SELECT name FROM pragma_index_list(?) WHERE \"unique\"";
    strings(database, indexes, table).iter().any(|index| {
        let columns =
            strings(database, "SELECT COALESCE(name, '') FROM pragma_index_info(?)", index);
        columns != ["id"] && columns != ["Lock"]
    })
}

/// Drops what forbids rows that are there twice; what has no rows gets one.
fn loosen(database: &Connection, table: &str) {
    database
        .execute_batch(&format!(
            "CREATE TABLE loose AS SELECT * FROM {table}; DROP TABLE {table}; ALTER TABLE loose RENAME TO {table}"
        ))
        .unwrap();
    let rows: u64 =
        database.query_row(&format!("SELECT COUNT(*) FROM {table}"), (), |row| row.get(0)).unwrap();
    if rows == 0 {
        let row = match table {
            "dehydrated_devices" => {
                "(user_id, device_id, device_data) VALUES ('@eve:family.test', 'DRY', '{}')"
            }
            "event_push_summary" => {
                "(user_id, room_id, notif_count, stream_ordering, thread_id) VALUES ('@eve:family.test', '!no:family.test', 1, 1, 'main')"
            }
            "rejections" => "(event_id, reason, last_check) VALUES ('$no', 'auth_error', '0')",
            "remote_media_cache" => {
                "(media_origin, media_id, media_type, created_ts, media_length, filesystem_id) VALUES ('far.test', 'm', 'text/plain', 1, 1, 'AAbbCC')"
            }
            "room_ban_redactions" => {
                "(room_id, user_id, redacting_event_id) VALUES ('!no:family.test', '@far:far.test', '$no')"
            }
            "user_external_ids" => {
                "(auth_provider, external_id, user_id) VALUES ('oidc', 'eve', '@eve:family.test')"
            }
            "user_threepids" => {
                "(user_id, medium, address, validated_at, added_at) VALUES ('@eve:family.test', 'email', 'eve@family.test', 1, 1)"
            }
            other => {
                panic!("the laboratory has no rows in `{other}`, and this test none to put there")
            }
        };
        database.execute_batch(&format!("INSERT INTO {table} {row}")).unwrap();
    }
}

fn check(lab: &Lab) -> Run {
    command::run(["check", "--synapse-config", lab.note("config")]).unwrap()
}

/// The tables that a run names for rows that are there twice.
fn named(run: &Run) -> BTreeSet<String> {
    let out: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let findings = out["findings"].as_array().unwrap().iter();
    let twice = findings.filter(|finding| finding["code"] == "C220");
    twice.map(|finding| finding["subject"].as_str().unwrap().replace('`', "")).collect()
}

/// Tables that the census says are read.
fn read(lab: &Lab) -> BTreeSet<String> {
    let dump = lab.path("first");
    command::dump(&lab.by_database(), &dump).unwrap();
    let census = importer::dump::DumpReader::peek(&dump).unwrap().census.unwrap();
    let is_read = |fate: Fate| matches!(fate, Fate::Moves | Fate::Feeds);
    census.tables.into_iter().filter(|table| is_read(table.fate)).map(|table| table.table).collect()
}

#[test]
fn rows_that_are_there_twice_are_named_in_every_table_that_is_read_and_one_of_them_moves() {
    let lab = Lab::stopped().unwrap();
    assert_eq!(named(&check(&lab)), BTreeSet::new());
    let database = Connection::open(lab.path("homeserver.db")).unwrap();
    database.execute_batch("PRAGMA foreign_keys = off").unwrap();
    for trigger in strings(&database, "SELECT name FROM sqlite_master WHERE type = ?", "trigger") {
        database.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    let mut unique = read(&lab);
    unique.retain(|table| is_unique(&database, table));
    // A background update drops its unique index, and may not have come that far when Synapse was stopped.
    unique.remove("e2e_cross_signing_signatures");
    assert!(unique.len() > 35, "{unique:?}");
    // Where a column of an index is NULL, it holds nothing back.
    database.execute_batch("UPDATE event_push_actions SET profile_tag = ''").unwrap();
    for table in &unique {
        loosen(&database, table);
        let twice = format!("INSERT INTO {table} SELECT * FROM {table} LIMIT 1");
        database.execute_batch(&twice).unwrap();
    }
    // One alias in two rooms, one account with two passwords.
    database
        .execute_batch(
            "UPDATE room_aliases SET room_id = (SELECT MAX(room_id) FROM local_current_membership WHERE room_id <> room_aliases.room_id) \
             WHERE rowid = (SELECT MAX(rowid) FROM room_aliases); \
             UPDATE local_media_repository SET quarantined_by = '@ada:family.test' \
             WHERE rowid = (SELECT MAX(rowid) FROM local_media_repository); \
             UPDATE users SET password_hash = 'other' WHERE rowid = (SELECT MAX(rowid) FROM users)",
        )
        .unwrap();
    drop(database);
    assert_eq!(named(&check(&lab)), unique);

    let migrate = |accepted: &str| {
        let database = lab.path("conduit").to_str().unwrap().to_owned();
        let of = ["migrate", "--synapse-config", lab.note("config"), "--database", &database];
        command::run([of.as_slice(), &["--accept", "C301", "--accept", accepted]].concat()).unwrap()
    };
    let refused = migrate("C401");
    assert_eq!((refused.code, named(&refused)), (10, unique));
    let migrated = migrate("C220");
    assert_eq!(migrated.code, 11, "{}{}", migrated.out, migrated.err);
    let out: serde_json::Value = serde_json::from_str(&migrated.out).unwrap();
    let skipped = out["dumped"]["skipped"].as_array().unwrap().iter();
    let twice: BTreeSet<_> = skipped
        .filter(|skip| skip["reason"].as_str().is_some_and(|reason| reason.ends_with("-twice")))
        .map(|skip| skip["kind"].as_str().unwrap())
        .collect();
    // Older tokens and receipts are left out by rules of their own.
    for kind in [
        "account-data",
        "alias",
        "blocked-room",
        "cross-signing-key",
        "device",
        "device-keys",
        "fallback-key",
        "filter",
        "key-backup",
        "key-backup-session",
        "media",
        "membership",
        "one-time-key",
        "profile-field",
        "pusher",
        "queued-event",
        "room-account-data",
        "timeline-event",
        "user",
    ] {
        assert!(twice.contains(kind), "{kind} not in {twice:?}");
    }
    let said =
        |code: &str| out["findings"].as_array().unwrap().iter().any(|one| one["code"] == code);
    assert!(said("C220") && !said("C602"), "{}", migrated.out);
}
