use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rusqlite::Connection;

use super::{begin, begin_two, connect, open_two};

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
