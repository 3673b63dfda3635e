//! A patched Conduit in front of the Synapse that it replaced. `CONDUIT_BIN` names it; without one, or with a stock
//! Conduit, this is skipped, and says so.

use migration_tests::{
    command,
    lab::{Engine, Lab},
    skip,
};

/// The program, if there is one and it is patched: a text of the patches is in it.
pub(crate) fn patched() -> Option<String> {
    let path = skip::conduit()?;
    let program = std::fs::read(&path).unwrap();
    if program.windows(12).any(|bytes| bytes == b"predecessor:") {
        return Some(path);
    }
    skip::skipped("CONDUIT_BIN names a Conduit without the patches");
    None
}

#[test]
fn passwords_devices_keys_and_files_of_the_old_synapse() {
    let Some(binary) = patched() else { return };
    let mut lab = Lab::start(Engine::Sqlite).unwrap();
    lab.run("expire", &[]).unwrap();
    let [dump, by_api] = ["dump", "dump-api"].map(|name| lab.directory().join(name));
    command::dump(&lab.by_api(), &by_api).unwrap();
    lab.stop().unwrap();
    command::dump(&lab.by_database(), &dump).unwrap();
    let [first, second] = ["conduit", "conduit-api"].map(|name| lab.directory().join(name));
    command::import(&dump, &first, "rocksdb").unwrap();
    command::import(&by_api, &second, "rocksdb").unwrap();
    lab.resume().unwrap();
    let [first, second] = [first, second].map(|path| path.to_string_lossy().into_owned());
    let arguments = ["--bin", &binary, "--database", &first, "--database-by-api", &second];
    lab.run("predecessor", &arguments).unwrap();
}

/// What `scripts/lab WHAT` tries on the rooms that `scripts/lab TOLD` made, after they were moved with what is recent; and what
/// Conduit wrote meanwhile.
fn on_recent_rooms(told: &str, what: &str, backend: &str) {
    let Some(binary) = patched() else { return };
    let mut lab = Lab::start(Engine::Sqlite).unwrap();
    lab.run(told, &[]).unwrap();
    lab.stop().unwrap();
    let [dump, database] = ["dump", "conduit"].map(|name| lab.directory().join(name));
    // Such a Conduit needs no event of the past for a reply to it.
    command::dump_recent(&lab.by_database(), &dump, 0).unwrap();
    command::import(&dump, &database, backend).unwrap();
    lab.resume().unwrap();
    let path = database.to_string_lossy().into_owned();
    lab.run(what, &["--bin", &binary, "--database", &path]).unwrap();
    // What Conduit wrote is what the importer would have written.
    command::verify_alone(&database, lab.note("server_name")).unwrap();
}

#[test]
fn people_scroll_back_into_the_old_synapse() {
    on_recent_rooms("live-long", "past", "rocksdb");
}

#[test]
fn people_scroll_back_into_the_old_synapse_from_sqlite() {
    on_recent_rooms("live-long", "past", "sqlite");
}

#[test]
fn ten_devices_drain_a_long_room_in_bounded_memory() {
    on_recent_rooms("live-crowd", "crowd", "rocksdb");
}

#[test]
fn wrong_answers_of_the_old_synapse_lose_nothing() {
    on_recent_rooms("live-long", "hostile", "rocksdb");
}
