//! The contract of [`KvRead`], [`KvLoad`] and [`KvCommit`], run on each engine.

use super::{
    Backend, KvCommit, KvError, KvLoad, KvRead, NewStore, Row, change, create, detect,
    memory::MemoryStore, read,
};
use crate::{
    conduit::schema::trees::{ALIAS_ROOMID, PDUID_PDU, Tree, USERROOMID_JOINED},
    fs::open_by::tests::Other,
};

fn row(tree: &'static Tree, key: &[u8], value: &[u8]) -> Row {
    Row { tree, key: key.to_vec(), value: value.to_vec() }
}

fn all(store: &dyn KvRead, tree: &'static Tree, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    store
        .scan(tree, prefix)
        .unwrap()
        .map(Result::unwrap)
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

fn pair(key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), value.to_vec())
}

/// The sentences of the traits' documentation.
fn obeys_the_contract(store: &mut dyn KvLoad) {
    assert_eq!(all(store, &PDUID_PDU, &[]), []);
    assert_eq!(store.get(&PDUID_PDU, b"a").unwrap(), None);
    store
        .write(vec![
            row(&PDUID_PDU, b"b\xff\x01", b"2"),
            row(&PDUID_PDU, b"b", b""),
            row(&PDUID_PDU, b"\xff\xff", b"last"),
            row(&PDUID_PDU, b"a", b"old"),
            row(&PDUID_PDU, b"a", b"new"),
            row(&ALIAS_ROOMID, b"a", b"other tree"),
        ])
        .unwrap();
    store.write(vec![row(&PDUID_PDU, b"b\xff", b"1")]).unwrap();
    assert_eq!(store.get(&ALIAS_ROOMID, b"a").unwrap().as_deref(), Some(&b"other tree"[..]));
    store.settle().unwrap();
    let expected = [
        pair(b"a", b"new"),
        pair(b"b", b""),
        pair(b"b\xff", b"1"),
        pair(b"b\xff\x01", b"2"),
        pair(b"\xff\xff", b"last"),
    ];
    assert_eq!(all(store, &PDUID_PDU, &[]), expected);
    assert_eq!(all(store, &PDUID_PDU, b"b\xff"), expected[2..4]);
    assert_eq!(all(store, &PDUID_PDU, b"\xff"), expected[4..]);
    assert_eq!(store.get(&PDUID_PDU, b"b").unwrap(), Some(Vec::new()));
    assert_eq!(all(store, &ALIAS_ROOMID, &[]), [pair(b"a", b"other tree")]);
    assert_eq!(all(store, &USERROOMID_JOINED, &[]), []);

    // More rows than an engine reads at once.
    let many: Vec<_> =
        (0..2500_u64).map(|n| row(&USERROOMID_JOINED, &n.to_be_bytes(), &[])).collect();
    store.write(many.clone()).unwrap();
    // What is settled later replaces what was settled before.
    store.write(vec![row(&PDUID_PDU, b"b", b"again"), row(&PDUID_PDU, b"b", b"")]).unwrap();
    store.settle().unwrap();
    assert_eq!(all(store, &PDUID_PDU, &[]), expected);
    let keys: Vec<_> =
        all(store, &USERROOMID_JOINED, &[]).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, many.into_iter().map(|row| row.key).collect::<Vec<_>>());
    assert_eq!(store.foreign_trees().unwrap(), Vec::<String>::new());
    store.finish().unwrap();
}

/// Of a store that has the rows of [`obeys_the_contract`].
fn commits(store: &mut dyn KvCommit) {
    let change =
        |tree, key: &[u8], value: Option<&[u8]>| ((tree, key.to_vec()), value.map(<[u8]>::to_vec));
    let changes = [
        change(PDUID_PDU.tree(), b"a", None),
        change(PDUID_PDU.tree(), b"absent", None),
        change(PDUID_PDU.tree(), b"b", Some(b"")),
        change(PDUID_PDU.tree(), b"c", Some(b"3")),
        change(ALIAS_ROOMID.tree(), b"a", Some(b"changed")),
    ];
    store.commit(changes.into()).unwrap();
    let keys: Vec<_> = all(store, &PDUID_PDU, &[]).into_iter().map(|(key, _)| key).collect();
    let expected: [&[u8]; 5] = [b"b", b"b\xff", b"b\xff\x01", b"c", b"\xff\xff"];
    assert_eq!(keys, expected);
    assert_eq!(all(store, &ALIAS_ROOMID, &[]), [pair(b"a", b"changed")]);
}

#[test]
fn memory_obeys_the_contract() {
    let mut store = MemoryStore::default();
    obeys_the_contract(&mut store);
    commits(&mut store);
}

fn engine_obeys_the_contract(backend: Backend) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("database");
    assert_eq!(detect(&directory), None);
    let mut store = create(&NewStore::of_conduit(backend, &directory)).unwrap();
    obeys_the_contract(store.as_mut());
    drop(store);
    assert_eq!(detect(&directory), Some(backend));
    let store = read(backend, &directory).unwrap();
    assert_eq!(all(store.as_ref(), &PDUID_PDU, b"a"), [pair(b"a", b"new")]);
    assert_eq!(all(store.as_ref(), &USERROOMID_JOINED, &[]).len(), 2500);

    drop(store);

    let mut store = change(backend, &directory).unwrap();
    commits(store.as_mut());
    let second = change(backend, &directory).err().unwrap();
    assert!(matches!(second, KvError::InUse { .. }), "{second}");
    // As after a kill: without `finish`.
    drop(store);
    let store = read(backend, &directory).unwrap();
    assert_eq!(all(store.as_ref(), &PDUID_PDU, b"a"), []);
    assert_eq!(all(store.as_ref(), &PDUID_PDU, b"c"), [pair(b"c", b"3")]);
    drop(store);

    let again = create(&NewStore::of_conduit(backend, &directory)).err().unwrap();
    assert!(again.to_string().contains("already"), "{again}");
}

/// As Conduit has it open: in the mode with a log, with a connection that has read.
#[test]
fn a_sqlite_database_that_another_has_open_is_not_written() {
    let scratch = tempfile::tempdir().unwrap();
    create(&NewStore::of_conduit(Backend::Sqlite, scratch.path())).unwrap().finish().unwrap();
    let conduit = rusqlite::Connection::open(scratch.path().join("conduit.db")).unwrap();
    let rows = || conduit.query_row("SELECT count(*) FROM pduid_pdu", [], |row| row.get(0));
    assert_eq!(rows(), Ok(0));
    let refused = change(Backend::Sqlite, scratch.path()).err().unwrap();
    assert!(matches!(refused, KvError::InUse { .. }), "{refused}");
    drop(conduit);
    let mut store = change(Backend::Sqlite, scratch.path()).unwrap();
    store.commit([((PDUID_PDU.tree(), b"a".to_vec()), Some(b"1".to_vec()))].into()).unwrap();
    let conduit = rusqlite::Connection::open(scratch.path().join("conduit.db")).unwrap();
    conduit.query_row("SELECT count(*) FROM pduid_pdu", [], |_| Ok(())).unwrap_err();
}

#[test]
fn rocksdb_obeys_the_contract() {
    engine_obeys_the_contract(Backend::Rocksdb);
}

#[test]
fn sqlite_obeys_the_contract() {
    engine_obeys_the_contract(Backend::Sqlite);
}

#[test]
fn a_sqlite_database_that_another_process_has_open_is_in_use() {
    let scratch = tempfile::tempdir().unwrap();
    create(&NewStore::of_conduit(Backend::Sqlite, scratch.path())).unwrap().finish().unwrap();
    let conduit = Other::reading(&scratch.path().join("conduit.db"));
    let error = read(Backend::Sqlite, scratch.path()).err().unwrap();
    assert!(matches!(error, KvError::InUse { .. }), "{error}");
    drop(conduit);
    read(Backend::Sqlite, scratch.path()).unwrap();
}

#[test]
fn the_wrong_engine_and_no_database_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    let error = |backend| match read(backend, scratch.path()) {
        Err(KvError::Open { reason, .. }) => reason,
        _ => panic!("opened"),
    };
    assert!(error(Backend::Rocksdb).contains("no database of Conduit"));
    create(&NewStore::of_conduit(Backend::Sqlite, scratch.path())).unwrap().finish().unwrap();
    assert!(error(Backend::Rocksdb).contains("--backend sqlite"));
}

#[test]
fn rocksdb_is_the_version_that_conduit_links() {
    let scratch = tempfile::tempdir().unwrap();
    create(&NewStore::of_conduit(Backend::Rocksdb, scratch.path())).unwrap().finish().unwrap();
    let options = std::fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("OPTIONS-"))
        .unwrap();
    let text = std::fs::read_to_string(options).unwrap();
    assert!(text.contains("rocksdb_version=10.5.1"), "{text}");
}
