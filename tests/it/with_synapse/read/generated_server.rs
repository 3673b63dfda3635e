//! A generated server: a real Synapse takes its rows for its own, and all of it moves.

use std::{collections::BTreeMap, path::Path};

use migration_tests::{
    command,
    generate::{Shape, generate},
    lab::{Engine, Lab},
    skip,
};
use serde_json::{Value, json};

fn generated(engine: Engine) -> Lab {
    let lab = Lab::empty(engine).unwrap();
    generate(&lab.directory(), &Shape::default()).unwrap();
    lab
}

fn verify(dump: &Path, database: &Path) -> command::Run {
    command::run(["verify".as_ref(), "--dump".as_ref(), dump, "--database".as_ref(), database])
        .unwrap()
}

/// Everything is read, imported and found again.
fn moves(engine: Engine, backend: &str) {
    let lab = generated(engine);
    let shape = Shape::default();
    let [dump, database] = ["dump", "conduit"].map(|name| lab.directory().join(name));
    let manifest = command::dump(&lab.by_database(), &dump).unwrap();
    let tally = &manifest["tally"];
    assert_eq!(tally["skipped"], json!([]));
    assert_eq!(tally["written"]["timeline-event"], shape.events);
    assert_eq!(tally["written"]["user"], shape.users);
    assert_eq!(tally["written"]["room"], shape.rooms);
    let imported = command::import(&dump, &database, backend).unwrap();
    assert_eq!(imported["tally"]["skipped"], json!([]));
    let found = verify(&dump, &database).json().unwrap();
    assert_eq!(found["findings"], json!([]));
}

#[test]
fn a_generated_server_moves_from_sqlite_to_rocksdb() {
    moves(Engine::Sqlite, "rocksdb");
}

#[test]
fn a_generated_server_moves_from_postgres_to_sqlite() {
    moves(Engine::Postgres, "sqlite");
}

#[test]
fn the_same_seed_gives_the_same_server() {
    let [one, other] = [(); 2].map(|()| Lab::empty(Engine::Sqlite).unwrap());
    let shape = Shape { events: 600, ..Shape::default() };
    let ids = |lab: &Lab, shape: &Shape| {
        generate(&lab.directory(), shape).unwrap();
        timelines(lab)
    };
    let first = ids(&one, &shape);
    assert_eq!(first, ids(&other, &shape));
    let third = Lab::empty(Engine::Sqlite).unwrap();
    assert_ne!(first, ids(&third, &Shape { seed: 2, ..shape }));
}

/// The ids of each room's events, newest first, as they stand in the database.
fn timelines(lab: &Lab) -> BTreeMap<String, Vec<String>> {
    let database = rusqlite::Connection::open(lab.path("homeserver.db")).unwrap();
    let mut rows = database
        .prepare("SELECT room_id, event_id FROM events ORDER BY topological_ordering DESC, stream_ordering DESC")
        .unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).fold(BTreeMap::new(), |mut rooms, (room, event): (String, String)| {
        rooms.entry(room).or_default().push(event);
        rooms
    })
}

/// What `scripts/lab history` has seen.
fn seen(lab: &Lab, name: &str, more: &[&str]) -> Value {
    let path = lab.path(name).to_string_lossy().into_owned();
    lab.run("history", &[&["--output", &path], more].concat()).unwrap();
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_real_synapse_serves_the_rooms() {
    let mut lab = generated(Engine::Sqlite);
    let written = timelines(&lab);
    lab.resume().unwrap();
    let seen = seen(&lab, "synapse.json", &[]);
    let notes: Value =
        serde_json::from_slice(&std::fs::read(lab.path("lab.json")).unwrap()).unwrap();
    for (name, room) in notes["rooms"].as_object().unwrap() {
        let creator = &seen[name][room["creator"].as_str().unwrap()];
        let id = room["room_id"].as_str().unwrap();
        assert_eq!(creator["order"], json!(written[id]), "{name}");
        assert!(!creator["state"].as_object().unwrap().is_empty());
    }
    let words: usize = seen
        .as_object()
        .unwrap()
        .values()
        .flat_map(|room| room.as_object().unwrap().values())
        .filter_map(|user| user["search"].as_object())
        .flat_map(|found| found.values())
        .map(|found| found.as_array().unwrap().len())
        .sum();
    assert!(words > 10, "only {words} messages found");
}

/// What members see of the past on the server `binary`, with what was imported for it.
fn shows_the_past(binary: &str, import: fn(&Path, &Path) -> anyhow::Result<Value>) {
    let mut lab = generated(Engine::Sqlite);
    let [dump, database] = ["dump", "moved"].map(|name| lab.directory().join(name));
    command::dump(&lab.by_database(), &dump).unwrap();
    import(&dump, &database).unwrap();
    lab.resume().unwrap();
    seen(&lab, "synapse.json", &[]);
    lab.stop().unwrap();
    let [before, database] =
        [lab.path("synapse.json"), database].map(|path| path.to_string_lossy().into_owned());
    let options = ["--bin", binary, "--database", &database, "--before", &before];
    seen(&lab, "moved.json", &options);
}

#[test]
fn conduit_shows_the_past_as_synapse_does() {
    let Some(conduit) = skip::conduit() else { return };
    shows_the_past(&conduit, |dump, database| command::import(dump, database, "rocksdb"));
}

#[test]
fn continuwuity_shows_the_past_as_synapse_does() {
    let Some(continuwuity) = skip::continuwuity() else { return };
    shows_the_past(&continuwuity, command::import_for_continuwuity);
}
