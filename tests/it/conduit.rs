//! A stock Conduit on a migrated database. `CONDUIT_BIN` names it; without one these tests are skipped, and say so.

use migration_tests::{
    command,
    lab::{Engine, Lab},
    skip,
};

/// Everybody sees on Conduit what they saw on Synapse, can speak, and still can after a second start.
fn moves(engine: Engine, backend: &str) {
    let Some(binary) = skip::conduit() else { return };
    let lab = Lab::start(engine).unwrap();
    let path = |name: &str| lab.directory().join(name).to_string_lossy().into_owned();
    lab.run("snapshot", &["--output", &path("before.json")]).unwrap();
    let [dump, database] = ["dump", "conduit"].map(|name| lab.directory().join(name));
    // Nobody talks any more; `stop` would take PostgreSQL with it.
    command::dump(&lab.by_database(), &dump).unwrap();
    lab.stop().unwrap();
    command::import(&dump, &database, backend).unwrap();
    lab.run(
        "conduit",
        &[
            "--bin",
            &binary,
            "--database",
            &path("conduit"),
            "--before",
            &path("before.json"),
            "--after",
            &path("after.json"),
        ],
    )
    .unwrap();
}

#[test]
fn a_family_moves_from_sqlite_to_rocksdb() {
    moves(Engine::Sqlite, "rocksdb");
}

#[test]
fn a_family_moves_from_postgres_to_sqlite() {
    moves(Engine::Postgres, "sqlite");
}
