//! What is written to Conduit's database.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use importer::conduit::{
    schema::trees::{self, TREES, Tree},
    store::{self, Backend, Row},
};
use migration_tests::{command, lab::Lab};

type Rows = BTreeMap<&'static str, Vec<(Vec<u8>, Vec<u8>)>>;

/// Every row of every tree.
fn rows(backend: Backend, directory: &Path) -> Rows {
    let store = store::read(backend, directory).unwrap();
    TREES
        .iter()
        .map(|tree| {
            let rows = store.scan(tree, &[]).unwrap().map(|row| {
                let (key, value) = row.unwrap();
                (key.to_vec(), value.to_vec())
            });
            (tree.name, rows.collect())
        })
        .collect()
}

#[test]
fn the_rows_are_the_same_each_time_and_in_each_engine() {
    let lab = Lab::stopped().unwrap();
    let dump = lab.directory().join("dump");
    command::dump(&lab.by_database(), &dump).unwrap();
    let import = |name: &str, backend: Backend, engine: &str| {
        let directory = lab.directory().join(name);
        command::import(&dump, &directory, engine).unwrap();
        rows(backend, &directory)
    };
    let first = import("first", Backend::Rocksdb, "rocksdb");
    let second = import("second", Backend::Rocksdb, "rocksdb");
    let sqlite = import("sqlite", Backend::Sqlite, "sqlite");
    assert!(first["pduid_pdu"].len() > 400, "only {} events", first["pduid_pdu"].len());
    for (name, rows) in &first {
        assert!(rows == &second[name], "{name}: two imports differ");
        assert!(rows == &sqlite[name], "{name}: RocksDB and SQLite differ");
    }
}

/// A migration in a directory of its own: the dump, and the database made from it.
fn migrated() -> (Lab, PathBuf, PathBuf) {
    let lab = Lab::stopped().unwrap();
    let [dump, database] = ["dump", "conduit"].map(|name| lab.directory().join(name));
    command::dump(&lab.by_database(), &dump).unwrap();
    command::import(&dump, &database, "sqlite").unwrap();
    (lab, dump, database)
}

fn verify(dump: &Path, database: &Path) -> command::Run {
    command::run(["verify".as_ref(), "--dump".as_ref(), dump, "--database".as_ref(), database])
        .unwrap()
}

#[test]
fn verification_finds_one_changed_row() {
    let (lab, dump, database) = migrated();
    let clean = verify(&dump, &database).json().unwrap();
    assert_eq!(clean["findings"], serde_json::json!([]));

    for (tree, change) in [
        (trees::TOKEN_USERDEVICEID.tree(), "another device"),
        (trees::PDUID_PDU.tree(), "{}"),
        (trees::USERID_DISPLAYNAME.tree(), "Mallory"),
    ] {
        let changed = lab.directory().join(format!("changed-{}", tree.name));
        copy_with_one_change(&database, &changed, tree, change);
        let found = verify(&dump, &changed);
        assert_eq!(found.code, 10, "{}: {}{}", tree.name, found.out, found.err);
    }
}

/// Copies a database row by row; the first row of a tree gets another value.
fn copy_with_one_change(from: &Path, to: &Path, changed: &'static Tree, value: &str) {
    let mut target = store::create(&store::NewStore::of_conduit(Backend::Sqlite, to)).unwrap();
    for (name, rows) in rows(Backend::Sqlite, from) {
        let tree = TREES.iter().copied().find(|tree| tree.name == name).unwrap();
        let mut rows: Vec<_> =
            rows.into_iter().map(|(key, value)| Row { tree, key, value }).collect();
        if tree == changed {
            rows[0].value = value.into();
        }
        target.write(rows).unwrap();
    }
    target.finish().unwrap();
}
