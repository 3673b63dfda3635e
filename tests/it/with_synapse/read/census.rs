//! The census of a database that a real Synapse made, filled and damaged.

use std::{collections::BTreeMap, path::Path};

use importer::dump::{
    DumpReader,
    census::{Census, Fate},
    format::DumpRoom,
};
use migration_tests::{
    command,
    lab::{Engine, Lab},
};

fn census(lab: &Lab, name: &str) -> Census {
    let dump = lab.path(name);
    command::dump(&lab.by_database(), &dump).unwrap();
    DumpReader::peek(&dump).unwrap().census.unwrap()
}

/// Local users' memberships by room.
fn memberships(dump: &Path) -> BTreeMap<String, serde_json::Value> {
    let reader = DumpReader::open(dump, |_| {}).unwrap();
    let heads = reader.rooms().map(|room| room.unwrap().head().clone());
    let members = |head: DumpRoom| serde_json::to_value(head.local_members).unwrap();
    heads.map(|head| (head.room_id.to_string(), members(head))).collect()
}

fn every_table_is_known_and_every_row_accounted_for(engine: Engine) {
    let lab = Lab::database(engine).unwrap();
    let census = census(&lab, "census");
    let faults: Vec<_> = census
        .tables
        .iter()
        .filter(|table| table.fate == Fate::Unknown || table.unaccounted != 0)
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(census.tables.len() > 150, "{}", census.tables.len());
    assert!(census.meets());
}

#[test]
fn every_row_of_a_real_sqlite_database_is_accounted_for() {
    every_table_is_known_and_every_row_accounted_for(Engine::Sqlite);
}

#[test]
fn every_row_of_a_real_postgresql_database_is_accounted_for() {
    every_table_is_known_and_every_row_accounted_for(Engine::Postgres);
}

#[test]
fn what_damage_takes_from_the_tables_that_say_whose_rows_are_is_told() {
    let lab = Lab::stopped().unwrap();
    let before = census(&lab, "before");
    let memberships = memberships(&lab.path("before"));
    let database = rusqlite::Connection::open(lab.directory().join("homeserver.db")).unwrap();
    database
        .execute_batch(
            "DELETE FROM local_current_membership; \
             INSERT INTO event_json SELECT '$orphan', room_id, internal_metadata, json, format_version FROM event_json LIMIT 1; \
             INSERT INTO room_memberships (event_id, user_id, sender, room_id, membership) \
                 VALUES ('$nowhere', '@ghost:family.test', '@ghost:family.test', '!lost:family.test', 'join'); \
             INSERT INTO devices (user_id, device_id) VALUES ('@gone:family.test', 'PHONE'); \
             INSERT INTO account_data (user_id, account_data_type, stream_id, content) VALUES ('@gone:family.test', 'm.x', 900001, '{}'); \
             INSERT INTO room_aliases VALUES ('#lost:family.test', '!lost:family.test', NULL); \
             UPDATE current_state_events SET event_id = 'bad' WHERE rowid = (SELECT MIN(rowid) FROM current_state_events WHERE type = 'm.room.topic'); \
             CREATE TABLE module_pizzas (name TEXT); INSERT INTO module_pizzas VALUES ('funghi')",
        )
        .unwrap();
    drop(database);
    let check =
        command::text(&["check", "--synapse-config", lab.note("config"), "--format", "json"])
            .unwrap();
    let check: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    let has = |code: &str, subject: &str| {
        let findings = check["findings"].as_array().unwrap();
        findings.iter().any(|finding| finding["code"] == code && finding["subject"] == subject)
    };
    assert!(has("C601", "@gone:family.test"), "{check:#}");
    assert!(has("C603", "`module_pizzas`"), "{check:#}");
    assert!(has("C608", "!lost:family.test"), "{check:#}");
    assert!(has("C609", "@ghost:family.test"), "{check:#}");
    assert!(has("C610", "`event_json`"), "{check:#}");
    for code in ["C604", "C605"] {
        let findings = check["findings"].as_array().unwrap();
        assert!(findings.iter().any(|finding| finding["code"] == code), "{code}: {check:#}");
    }
    let arguments = [["dump".to_owned()].as_slice(), &lab.by_database()].concat();
    let end = ["--dump".to_owned(), lab.path("after").to_str().unwrap().to_owned()];
    let run = command::run(arguments.iter().chain(&end)).unwrap();
    assert_eq!(run.code, 11, "{}", run.err);
    let dump = run.json().unwrap();
    for code in ["C601", "C603", "C608", "C609", "C610"] {
        assert!(dump["findings"].as_array().unwrap().iter().any(|one| one["code"] == code));
    }
    let after = DumpReader::peek(&lab.path("after")).unwrap().census.unwrap();
    // What the table said, the states and the member events say, too.
    assert_eq!(self::memberships(&lab.path("after")), memberships);
    let of = |census: &Census, name: &str| {
        census.tables.iter().find(|table| table.table == name).unwrap().clone()
    };
    let unaccounted: Vec<_> = after
        .tables
        .iter()
        .filter(|table| table.unaccounted != 0)
        .map(|table| table.table.as_str())
        .collect();
    assert_eq!(unaccounted, ["module_pizzas"]);
    assert_eq!(of(&after, "devices").left_out.get("owner-missing"), Some(&1));
    assert_eq!(of(&after, "room_aliases").left_out.get("nobody-here"), Some(&1));
    // Rooms that somebody is in are found by their states.
    assert!(
        of(&after, "current_state_events").moved + 30 > of(&before, "current_state_events").moved
    );
}
