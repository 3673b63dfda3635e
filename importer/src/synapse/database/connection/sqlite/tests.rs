use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rusqlite::Connection;

use super::{begin, begin_two, connect, journal, open_two};
use crate::synapse::database::DatabaseError;

/// A database in WAL mode, as Synapse's is.
fn database(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    let sql = "PRAGMA journal_mode = wal; PRAGMA synchronous = off; CREATE TABLE t (n INTEGER)";
    connection.execute_batch(sql).unwrap();
    connection
}

fn insert(connection: &Connection) {
    connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
}

fn count(connection: &Connection) -> i64 {
    connection.query_row("SELECT COUNT(*) FROM t", (), |row| row.get(0)).unwrap()
}

#[test]
fn two_connections_see_the_same_while_synapse_writes() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("homeserver.db");
    let writer = database(&path);
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let done = &done;
        threads.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                insert(&writer);
            }
        });
        let mut together = 0;
        for _ in 0..100 {
            let (first, second) = open_two(&path).unwrap();
            let Some(second) = second else { continue };
            together += 1;
            assert_eq!(count(&first), count(&second));
        }
        done.store(true, Ordering::Relaxed);
        assert!(together > 0, "never");
    });
}

#[test]
fn there_is_no_second_connection_if_something_is_always_written() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("homeserver.db");
    let writer = database(&path);
    let (first, second) = (connect(&path).unwrap().unwrap(), connect(&path).unwrap().unwrap());
    let begin_late = |connection: &Connection| {
        insert(&writer);
        begin(connection)
    };
    assert!(!begin_two(&first, &second, begin_late).unwrap());
    let seen = count(&first);
    insert(&writer);
    assert_eq!(count(&first), seen, "the first one reads a snapshot all the same");
}

#[test]
fn a_file_that_is_cut_off_is_told_from_one_that_may_not_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("whole.db");
    fill(&Connection::open(&path).unwrap());
    let bytes = std::fs::read(&path).unwrap();
    let cut = directory.path().join("cut.db");
    std::fs::write(&cut, bytes.get(..bytes.len() / 2).unwrap()).unwrap();
    assert!(open_two(&path).is_ok());
    let error = open_two(&cut).map(drop).unwrap_err();
    assert!(matches!(error, DatabaseError::CutOff { .. }), "{error:?}");
}

#[test]
fn a_write_that_was_not_finished_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["writing.db", "copy.db"].map(|name| directory.path().join(name));
    let connection = Connection::open(&path).unwrap();
    fill(&connection);
    connection.execute_batch("PRAGMA cache_size = 2; BEGIN; UPDATE t SET x = x || 'y'").unwrap();
    // As a power failure would leave it.
    std::fs::copy(journal(&path), journal(&copy)).unwrap();
    std::fs::copy(&path, &copy).unwrap();
    let error = open_two(&copy).map(drop).unwrap_err();
    assert!(matches!(error, DatabaseError::Unfinished { .. }), "{error:?}");
}

#[test]
fn a_program_that_writes_is_told_from_one_that_was_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("locked.db");
    let connection = Connection::open(&path).unwrap();
    fill(&connection);
    connection.execute_batch("BEGIN EXCLUSIVE; UPDATE t SET x = x || 'y'").unwrap();
    assert!(journal(&path).exists());
    let error = open_two(&path).map(drop).unwrap_err();
    assert!(matches!(error, DatabaseError::Locked { .. }), "{error:?}");
}

/// A hundred pages.
fn fill(connection: &Connection) {
    connection
        .execute_batch(
            "CREATE TABLE t (x TEXT); INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
             WHERE i < 400) SELECT hex(randomblob(500)) FROM n",
        )
        .unwrap();
}
