//! A stock Conduit, or a Continuwuity, on a migrated database. `CONDUIT_BIN` and `CONTINUWUITY_BIN` name them; without one, its tests
//! are skipped, and say so.

use std::path::Path;

use importer::dump::REACH_BACK;
use migration_tests::{
    command,
    lab::{Engine, Lab},
    skip,
};

/// Each device, with the access token that it has from Synapse, sees on Conduit what it saw on Synapse (`scripts/lab/snapshot.py`
/// asks both, `compare.py` compares), can send messages, and still can after a second start (`conduit.py`).
fn moves(binary: &str, engine: Engine, import: impl FnOnce(&Path, &Path)) {
    let lab = Lab::start(engine).unwrap();
    let path = |name: &str| lab.directory().join(name).to_string_lossy().into_owned();
    lab.run("snapshot", &["--output", &path("before.json")]).unwrap();
    let [dump, database] = ["dump", "conduit"].map(|name| lab.directory().join(name));
    // Nobody talks any more; `stop` would take PostgreSQL with it.
    command::dump(&lab.by_database(), &dump).unwrap();
    lab.stop().unwrap();
    import(&dump, &database);
    lab.run(
        "conduit",
        &[
            "--bin",
            binary,
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
    let Some(binary) = skip::conduit() else { return };
    moves(&binary, Engine::Sqlite, |dump, database| {
        command::import(dump, database, "rocksdb").unwrap();
    });
}

#[test]
fn a_family_moves_from_postgres_to_sqlite() {
    let Some(binary) = skip::conduit() else { return };
    moves(&binary, Engine::Postgres, |dump, database| {
        command::import(dump, database, "sqlite").unwrap();
    });
}

#[test]
fn a_family_moves_by_conduits_own_importer() {
    let (Some(binary), Some(program)) = (skip::conduit(), skip::conduit_import()) else { return };
    moves(&binary, Engine::Sqlite, |dump, database| {
        let arguments = command::import_arguments(dump, database, "rocksdb");
        command::run_other(&program, arguments).unwrap().json().unwrap();
    });
}

#[test]
fn a_family_moves_to_continuwuity() {
    let Some(binary) = skip::continuwuity() else { return };
    moves(&binary, Engine::Sqlite, |dump, database| {
        command::import_for_continuwuity(dump, database).unwrap();
    });
}

/// Threads that began before what is recent go on, as the dump goes back to their first events.
#[test]
fn threads_go_on_after_a_move_of_what_is_recent() {
    let Some(binary) = skip::conduit() else { return };
    let lab = Lab::long_ago().unwrap();
    let database = |name: &str, reach: u32| {
        let [dump, database] = [lab.path(&format!("{name}-dump")), lab.path(name)];
        command::dump_recent(&lab.by_database(), &dump, reach).unwrap();
        command::import(&dump, &database, "rocksdb").unwrap();
        database.to_string_lossy().into_owned()
    };
    let (database, without) = (database("conduit", REACH_BACK), database("without", 0));
    let arguments = ["--bin", &binary, "--database", &database, "--without", &without];
    lab.run("threads", &arguments).unwrap();
}
