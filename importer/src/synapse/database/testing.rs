//! Databases for tests: few tables, few rows, the same for both engines.

mod postgres;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, postgres::PgConnectOptions};

pub(super) use self::postgres::{Server, run_as_postgres};
use super::{DatabaseError, DatabaseSource};
use crate::{
    dump::{
        DumpReader, Extent, History,
        census::Census,
        format::{DumpSigningKey, Manifest},
        names,
    },
    progress::Progress,
    source::dump::dump,
    synapse::config::{DatabaseConfig, PostgresConfig, SynapseConfig},
};

const SCHEMA: &str = include_str!("testing/schema.sql");

/// The time of all tests.
pub(super) const NOW: u64 = 1_700_000_000_000;

/// The SQL that makes a database.
#[derive(Clone)]
pub(super) struct Fixture {
    sql: Vec<String>,
    next_stream: i64,
}

/// An event to be stored; the fields are those that tests vary.
#[derive(Clone)]
pub(super) struct NewEvent<'a> {
    pub(super) id: &'a str,
    pub(super) kind: &'a str,
    pub(super) state_key: Option<&'a str>,
    pub(super) sender: &'a str,
    pub(super) prev: &'a [&'a str],
    pub(super) auth: &'a [&'a str],
    pub(super) content: Value,
    pub(super) unsigned: Value,
    pub(super) metadata: Value,
    pub(super) group: Option<i64>,
    pub(super) outlier: bool,
    /// Depth; also whether the event was backfilled, if `stream` is negative.
    pub(super) depth: i64,
    pub(super) stream: Option<i64>,
}

impl Default for NewEvent<'_> {
    fn default() -> Self {
        Self {
            id: "$event",
            kind: "m.room.message",
            state_key: None,
            sender: "@alice:own.test",
            prev: &[],
            auth: &[],
            content: json!({}),
            unsigned: json!({}),
            metadata: json!({}),
            group: None,
            outlier: false,
            depth: 1,
            stream: None,
        }
    }
}

impl Fixture {
    /// Tables, and one user.
    pub(super) fn new() -> Self {
        let mut fixture = Self {
            sql: SCHEMA.split_inclusive(";\n").map(str::to_owned).collect(),
            next_stream: 1,
        };
        fixture.sql("INSERT INTO schema_version VALUES (94)");
        fixture.sql("INSERT INTO users (name, creation_ts) VALUES ('@alice:own.test', 1600000000)");
        fixture
    }

    /// Adds a statement. `BYTES` is the type of byte strings.
    pub(super) fn sql(&mut self, statement: &str) {
        self.sql.push(statement.to_owned());
    }

    /// Adds an event of the room `!room:own.test`; returns its JSON.
    pub(super) fn event(&mut self, event: &NewEvent<'_>) -> Value {
        self.event_in("!room:own.test", event)
    }

    /// Adds an event of a room of version 10; returns its JSON without `unsigned`.
    pub(super) fn event_in(&mut self, room: &str, event: &NewEvent<'_>) -> Value {
        let NewEvent { id, kind, sender, depth, outlier, .. } = event;
        let mut pdu = json!({
            "type": kind, "sender": sender, "room_id": room, "prev_events": event.prev,
            "auth_events": event.auth, "content": event.content, "depth": depth,
            "origin_server_ts": 1, "hashes": {"sha256": "hash"}, "signatures": {},
        });
        if let Some(state_key) = event.state_key {
            pdu["state_key"] = json!(state_key);
            self.sql(&format!(
                "INSERT INTO state_events VALUES ('{id}', '{room}', '{kind}', '{state_key}')"
            ));
        }
        let mut stored = pdu.clone();
        stored["unsigned"] = event.unsigned.clone();
        let stream = event.stream.unwrap_or(self.next_stream);
        self.next_stream = self.next_stream.max(stream.saturating_add(1));
        self.sql(&format!(
            "INSERT INTO events VALUES ({stream}, {depth}, '{id}', '{kind}', '{room}', {outlier}, 1, '{sender}')"
        ));
        self.sql(&format!(
            "INSERT INTO event_json VALUES ('{id}', '{}', '{}', 3)",
            event.metadata,
            stored.to_string().replace('\'', "''")
        ));
        if let Some(group) = event.group {
            self.sql(&format!("INSERT INTO event_to_state_groups VALUES ('{id}', {group})"));
        }
        pdu
    }

    /// Adds a state group.
    pub(super) fn group(
        &mut self,
        group: i64,
        previous: Option<i64>,
        entries: &[(&str, &str, &str)],
    ) {
        if let Some(previous) = previous {
            self.sql(&format!("INSERT INTO state_group_edges VALUES ({group}, {previous})"));
        }
        for (kind, state_key, event_id) in entries {
            self.sql(&format!(
                "INSERT INTO state_groups_state VALUES ({group}, '{kind}', '{state_key}', '{event_id}')"
            ));
        }
    }

    /// Writes the database as an SQLite file.
    pub(super) fn sqlite(&self, directory: &Path) -> DatabaseConfig {
        let path = directory.join("homeserver.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA synchronous = off; BEGIN").unwrap();
        for statement in &self.sql {
            connection.execute_batch(&statement.replace("BYTES", "BLOB")).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        DatabaseConfig::Sqlite { path }
    }

    /// Writes it as a PostgreSQL database.
    pub(super) async fn postgres(&self, server: &Server) -> DatabaseConfig {
        self.fill(server.options()).await;
        DatabaseConfig::Postgres(PostgresConfig {
            host: Some(server.socket().display().to_string()),
            user: Some("postgres".into()),
            database: Some("postgres".into()),
            ..PostgresConfig::default()
        })
    }

    /// Writes it into a database that is there.
    pub(super) async fn fill(&self, options: PgConnectOptions) {
        let mut connection = options.connect().await.unwrap();
        for statement in &self.sql {
            let statement =
                statement.replace("BYTES", "BYTEA").replace("fields TEXT", "fields JSONB");
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    }

    /// Dumps it through SQLite.
    pub(super) async fn dump(&self, history: History) -> Dumped {
        let directory = tempfile::tempdir().unwrap();
        let database = self.sqlite(directory.path());
        dumped(&config(database), history).await
    }

    /// Dumps the newest events through SQLite, and so many more where these relate to earlier ones.
    pub(super) async fn dump_reaching(&self, reach_back: u32) -> Dumped {
        let directory = tempfile::tempdir().unwrap();
        let config = config(self.sqlite(directory.path()));
        let extent = Extent { history: History::Recent, reach_back, ..Extent::FULL };
        dumped_from(DatabaseSource::open(&config, extent, NOW).await.unwrap()).await
    }
}

/// A configuration of `own.test`.
pub(super) fn config(database: DatabaseConfig) -> SynapseConfig {
    let seed = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    SynapseConfig {
        server_name: "own.test".try_into().unwrap(),
        database,
        state_database: None,
        signing_key: DumpSigningKey { version: "a".into(), seed: seed.into() },
        further_signing_keys: Vec::new(),
        old_signing_keys: Vec::new(),
        password_pepper: None,
        media_store_path: PathBuf::from("media"),
        media_providers: Vec::new(),
        appservices: Vec::new(),
        delegated_auth: false,
        workers: false,
        experimental_features: std::collections::BTreeSet::new(),
    }
}

/// Opens a database of which everything is read.
pub(super) async fn opened(config: &SynapseConfig) -> DatabaseSource {
    DatabaseSource::open(config, Extent::FULL, NOW).await.unwrap()
}

/// What a dump holds.
#[derive(Debug, PartialEq)]
pub(super) struct Dumped {
    /// Files as JSON, `users/…` and `rooms/…` by the id inside.
    pub(super) users: Vec<Value>,
    pub(super) rooms: Vec<Value>,
    /// Lines of `media.jsonl`, without the first.
    pub(super) media: Vec<Value>,
    /// Lines of `outbox.jsonl`.
    pub(super) outbox: Vec<Value>,
    /// Kind, item and reason of what was skipped.
    pub(super) skipped: Vec<(String, String, String)>,
    /// What became of every row.
    pub(super) census: Census,
}

/// Dumps a database; the tally must be balanced.
pub(super) async fn dumped(config: &SynapseConfig, history: History) -> Dumped {
    dumped_from(
        DatabaseSource::open(config, Extent { history, ..Extent::FULL }, NOW).await.unwrap(),
    )
    .await
}

async fn dumped_from(mut source: DatabaseSource) -> Dumped {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dump");
    let manifest: Manifest =
        dump(&mut source, &path, None, NOW, &Progress::Hidden, std::future::pending())
            .await
            .unwrap();
    assert_eq!(manifest.tally.unbalanced(), [], "{:?}", manifest.tally);
    DumpReader::open(&path, |_| {}).unwrap();
    let files = |prefix: &str| {
        let entries = manifest.files.iter().filter(|entry| entry.path.starts_with(prefix));
        let mut files: Vec<Value> = entries
            .filter(|entry| names::timeline(&entry.path).is_some())
            .map(|entry| {
                let mut file: Value =
                    serde_json::from_slice(&std::fs::read(path.join(&entry.path)).unwrap())
                        .unwrap();
                if file.get("room_id").is_some() {
                    file["timeline"] = lines(&path.join(names::timeline(&entry.path).unwrap()));
                }
                let messages = file.get("user_id").and_then(Value::as_str).map(names::messages);
                if let Some(messages) = messages.map(|name| path.join(name)).filter(|p| p.exists())
                {
                    file["messages"] = lines(&messages);
                }
                file
            })
            .collect();
        files.sort_by_key(|file| file.get("user_id").or(file.get("room_id")).map(Value::to_string));
        files
    };
    let media = std::fs::read_to_string(path.join("media.jsonl")).unwrap();
    let outbox = std::fs::read_to_string(path.join(names::OUTBOX)).unwrap_or_default();
    let kind = |kind| serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned();
    let census = manifest.census.unwrap();
    let faults: Vec<_> = census.tables.iter().filter(|table| table.unaccounted != 0).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    Dumped {
        census,
        users: files("users/"),
        rooms: files("rooms/"),
        media: media.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect(),
        outbox: outbox.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        skipped: manifest
            .tally
            .skipped
            .into_iter()
            .map(|skip| (kind(skip.kind), skip.item, skip.reason))
            .collect(),
    }
}

/// The lines of a timeline's file, or of one of messages.
fn lines(path: &Path) -> Value {
    let lines = std::fs::read_to_string(path).unwrap();
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
}

/// The error of opening a database.
pub(super) async fn refusal(config: &SynapseConfig) -> DatabaseError {
    DatabaseSource::open(config, Extent { history: History::Recent, ..Extent::FULL }, NOW)
        .await
        .unwrap_err()
}
