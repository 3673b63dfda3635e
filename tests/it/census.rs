//! The census of a database that a real Synapse made, filled and damaged.

use importer::{
    census::{Census, Fate},
    dump::DumpReader,
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

fn every_table_is_known_and_every_row_accounted_for(engine: Engine) {
    let lab = Lab::start(engine).unwrap();
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
    let database = rusqlite::Connection::open(lab.directory().join("homeserver.db")).unwrap();
    database
        .execute_batch(
            "DELETE FROM local_current_membership; \
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
    for code in ["C604", "C605"] {
        let findings = check["findings"].as_array().unwrap();
        assert!(findings.iter().any(|finding| finding["code"] == code), "{code}: {check:#}");
    }
    let after = census(&lab, "after");
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
