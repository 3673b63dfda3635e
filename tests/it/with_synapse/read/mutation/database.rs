//! A small part of the laboratory's database without constraints, and copies of it with changes.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use importer::synapse::config::{DatabaseConfig, Deployment, PostgresConfig, SynapseConfig};
use migration_tests::lab::{Engine, Lab};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    schema::{self, Column, Kind, Table},
    values::Value,
};

/// Of rooms with as many events, how many stay; they are much alike. And how many events a room may have.
const ALIKE: usize = 2;
const EVENTS: usize = 33;

/// The database's name on PostgreSQL, and that of its copies.
const SMALL: &str = "small";
const CASE: &str = "mutated";

pub(super) struct Database {
    pub(super) config: SynapseConfig,
    pub(super) deployment: Deployment,
    /// Where cases are made: in memory, if there is such a file system.
    scratch: TempDir,
    tables: Vec<Table>,
}

impl Database {
    /// Makes it of a laboratory's.
    pub(super) fn small(engine: Engine, lab: &Lab) -> Self {
        let files = [PathBuf::from(lab.note("config"))];
        let config = SynapseConfig::read(&files).unwrap();
        let deployment = Deployment::read(&files).unwrap();
        let memory = PathBuf::from("/dev/shm");
        let memory = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let scratch = tempfile::tempdir_in(memory).unwrap();
        let mut database = Self { config, deployment, scratch, tables: Vec::new() };
        match engine {
            Engine::Sqlite => database.sqlite(),
            Engine::Postgres => database.postgres(),
        }
        database.tables = database.read_tables();
        database
    }

    pub(super) fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Where files of a case go.
    pub(super) fn scratch(&self) -> &std::path::Path {
        self.scratch.path()
    }

    fn file(&self) -> PathBuf {
        self.scratch.path().join("small.db")
    }

    fn server(&self) -> Option<&PostgresConfig> {
        match &self.config.database {
            DatabaseConfig::Postgres(config) => Some(config),
            DatabaseConfig::Sqlite { .. } => None,
        }
    }

    /// Tables as plain as can be: no constraint, no index.
    fn sqlite(&self) {
        let DatabaseConfig::Sqlite { path } = &self.config.database else { panic!("no SQLite") };
        let connection = Connection::open(self.file()).unwrap();
        let attach =
            format!("PRAGMA synchronous = off; ATTACH '{}' AS whole; BEGIN", path.display());
        connection.execute_batch(&attach).unwrap();
        let tables: Vec<String> = column(
            &connection,
            "SELECT name FROM whole.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
             AND sql NOT LIKE 'CREATE VIRTUAL%' AND name NOT LIKE 'event_search_%'",
        );
        for table in tables {
            let sql = format!("CREATE TABLE main.{table} AS SELECT * FROM whole.{table}");
            connection.execute_batch(&sql).unwrap();
        }
        for statement in smaller() {
            connection.execute_batch(&statement).unwrap();
        }
        connection.execute_batch("COMMIT; DETACH whole; VACUUM").unwrap();
    }

    fn postgres(&self) {
        let whole = self.server().unwrap().database.clone().unwrap();
        self.psql("postgres", &[&format!("CREATE DATABASE {SMALL} TEMPLATE {whole}")]).unwrap();
        let plain = "\
            DO $$ DECLARE c record; BEGIN \
            FOR c IN SELECT conrelid::regclass AS place, conname FROM pg_constraint \
            JOIN pg_class r ON r.oid = conrelid WHERE r.relnamespace = 'public'::regnamespace \
            ORDER BY contype = 'f' DESC LOOP \
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', c.place, c.conname); END LOOP; \
            FOR c IN SELECT indexrelid::regclass AS place FROM pg_index JOIN pg_class r ON r.oid = indrelid \
            WHERE r.relnamespace = 'public'::regnamespace LOOP \
            EXECUTE format('DROP INDEX %s', c.place); END LOOP; \
            FOR c IN SELECT tgrelid::regclass AS place, tgname FROM pg_trigger WHERE NOT tgisinternal LOOP \
            EXECUTE format('DROP TRIGGER %I ON %s', c.tgname, c.place); END LOOP; \
            FOR c IN SELECT attrelid::regclass AS place, attname FROM pg_attribute JOIN pg_class r ON r.oid = attrelid \
            WHERE r.relkind = 'r' AND r.relnamespace = 'public'::regnamespace AND attnum > 0 AND attnotnull \
            AND NOT attisdropped AND attidentity = '' LOOP \
            EXECUTE format('ALTER TABLE %s ALTER %I DROP NOT NULL', c.place, c.attname); END LOOP; END $$";
        self.psql(SMALL, &[plain]).unwrap();
        self.psql(SMALL, &[&smaller().join(";")]).unwrap();
    }

    /// Runs SQL by `psql`, each in a transaction of its own; gives lines, or what went wrong.
    fn psql(&self, database: &str, sql: &[&str]) -> Result<Vec<String>, String> {
        let server = self.server().unwrap();
        let output = Command::new("psql")
            .args([
                "--quiet",
                "--no-psqlrc",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
            ])
            .args([
                "--host",
                server.host.as_deref().unwrap(),
                "--username",
                server.user.as_deref().unwrap(),
            ])
            .args(sql.iter().flat_map(|sql| ["--command", sql]))
            .arg(database)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            return Err(text(&output.stderr));
        }
        Ok(text(&output.stdout).lines().map(ToOwned::to_owned).collect())
    }

    /// One column of a query, on either engine.
    fn query(&self, sql: &str) -> Vec<String> {
        if self.server().is_some() {
            return self.psql(SMALL, &[sql]).unwrap();
        }
        column(&Connection::open(self.file()).unwrap(), sql)
    }

    fn read_tables(&self) -> Vec<Table> {
        let sql = if self.server().is_some() {
            "SELECT table_name || ' ' || column_name || ' ' || udt_name FROM information_schema.columns c \
             JOIN information_schema.tables USING (table_name) WHERE c.table_schema = 'public' \
             AND table_type = 'BASE TABLE' ORDER BY table_name, ordinal_position"
        } else {
            "SELECT m.name || ' ' || p.name || ' ' || p.type FROM sqlite_master m, pragma_table_info(m.name) p \
             ORDER BY m.name, p.cid"
        };
        let words = schema::words();
        let mut columns: BTreeMap<String, Vec<Column>> = BTreeMap::new();
        for line in self.query(sql) {
            let [table, column, kind] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
            // A table of SQLite that was made by a query has no types of text.
            let kind = if kind.is_empty() { Some(Kind::Text) } else { Kind::of(kind) };
            if let Some(kind) = kind.filter(|_| words.contains(table) && words.contains(column)) {
                let json = format!(
                    "SELECT 1 FROM {table} WHERE substr(CAST({column} AS TEXT), 1, 1) IN ('{{', '[') LIMIT 1"
                );
                let json =
                    !matches!(kind, Kind::Number | Kind::Truth) && !self.query(&json).is_empty();
                columns.entry(table.into()).or_default().push(Column {
                    name: column.into(),
                    kind,
                    json,
                });
            }
        }
        let row = if self.server().is_some() { "ctid" } else { "rowid" };
        let tables = columns.into_iter().map(|(name, columns)| {
            let rows =
                self.query(&format!("SELECT CAST({row} AS TEXT) FROM {name} ORDER BY {row}"));
            let all = self.all_columns(&name);
            Table { name, columns, all, rows }
        });
        let tables: Vec<_> = tables.filter(|table| !table.rows.is_empty()).collect();
        assert!(tables.iter().any(|table| table.name == "users"));
        tables
    }

    /// The condition that a row fulfils.
    pub(super) fn is_row(&self, row: &str) -> String {
        if self.server().is_some() { format!("ctid = '{row}'") } else { format!("rowid = {row}") }
    }

    /// The names of all columns of a table that can be written.
    fn all_columns(&self, table: &str) -> Vec<String> {
        let sql = if self.server().is_some() {
            format!(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' \
                 AND table_name = '{table}' AND is_generated = 'NEVER' AND identity_generation IS NULL"
            )
        } else {
            format!("SELECT name FROM pragma_table_info('{table}')")
        };
        self.query(&sql)
    }

    /// A value as text.
    pub(super) fn text(&self, table: &str, column: &str, row: &str) -> Option<String> {
        let value = if self.server().is_some() {
            format!(
                "CASE WHEN pg_typeof({column}) = 'bytea'::regtype THEN convert_from(CAST(CAST({column} AS TEXT) AS BYTEA), 'UTF8') ELSE CAST({column} AS TEXT) END"
            )
        } else {
            format!("CAST({column} AS TEXT)")
        };
        let lines = self.query(&format!("SELECT {value} FROM {table} WHERE {}", self.is_row(row)));
        Some(lines.join("\n")).filter(|text| !text.is_empty())
    }

    /// A value in SQL, and what has to be done so that a column can hold it; `None` if it never can.
    pub(super) fn literal(
        &self,
        table: &str,
        column: &Column,
        value: &Value,
    ) -> Option<(Vec<String>, String)> {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let plain = |sql: String| Some((Vec::new(), sql));
        if self.server().is_none() {
            return plain(match value {
                Value::Null => "NULL".into(),
                Value::Bytes => "X'00ff'".into(),
                Value::Number(number) => number.to_string(),
                Value::Fraction => "0.5".into(),
                Value::Text(text) if column.kind == Kind::Bytes => {
                    format!("CAST({} AS BLOB)", quoted(text).replace('\u{0}', "' || char(0) || '"))
                }
                Value::Text(text) => quoted(text).replace('\u{0}', "' || char(0) || '"),
                Value::Inside(_) => return None,
            });
        }
        let name = &column.name;
        match (column.kind, value) {
            (_, Value::Null) => plain("NULL".into()),
            (Kind::Number, Value::Number(number)) => plain(number.to_string()),
            // As a tool that moves databases makes of it.
            (Kind::Number, Value::Fraction) => {
                let change = format!(
                    "ALTER TABLE {table} ALTER {name} DROP DEFAULT, ALTER {name} TYPE numeric"
                );
                Some((vec![change], format!("{name} + 0.5")))
            }
            (Kind::Truth, Value::Number(number)) => plain((*number != 0).to_string()),
            (Kind::Bytes, Value::Bytes) => plain("'\\x00ff'".into()),
            (Kind::Bytes, Value::Text(text)) if !text.contains('\u{0}') => {
                plain(format!("convert_to({}, 'UTF8')", quoted(text)))
            }
            (Kind::Text | Kind::Json, Value::Text(text)) if !text.contains('\u{0}') => {
                plain(quoted(text))
            }
            _ => None,
        }
    }

    /// A copy with changes; `Err` if they can't be made.
    pub(super) fn with(&self, sql: &[String]) -> Result<SynapseConfig, String> {
        let mut config = self.config.clone();
        config.database = if let Some(server) = self.server() {
            let drop = format!("DROP DATABASE IF EXISTS {CASE} WITH (FORCE)");
            let create = format!("CREATE DATABASE {CASE} TEMPLATE {SMALL} STRATEGY file_copy");
            self.psql("postgres", &[&drop, &create])?;
            if !sql.is_empty() {
                self.psql(CASE, &[&sql.join(";")])?;
            }
            DatabaseConfig::Postgres(PostgresConfig {
                database: Some(CASE.into()),
                ..server.clone()
            })
        } else {
            let path = self.scratch.path().join("case.db");
            fs::copy(self.file(), &path).unwrap();
            let connection = Connection::open(&path).unwrap();
            connection
                .execute_batch("PRAGMA synchronous = off; PRAGMA journal_mode = memory")
                .map_err(|e| e.to_string())?;
            for statement in sql {
                connection.execute_batch(statement).map_err(|error| error.to_string())?;
            }
            DatabaseConfig::Sqlite { path }
        };
        Ok(config)
    }
}

/// One column as text.
fn column(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let text = |row: &rusqlite::Row<'_>| {
        Ok(match row.get::<_, rusqlite::types::Value>(0)? {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Integer(number) => number.to_string(),
            _ => String::new(),
        })
    };
    statement.query_map((), text).unwrap().map(Result::unwrap).collect()
}

/// What leaves a few rooms of each kind.
fn smaller() -> Vec<String> {
    let rooms = format!(
        "CREATE TABLE kept_rooms AS SELECT room_id FROM (SELECT room_id, n, \
         ROW_NUMBER() OVER (PARTITION BY n ORDER BY room_id) AS place FROM \
         (SELECT room_id, COUNT(*) AS n FROM events GROUP BY room_id) a) b WHERE n <= {EVENTS} AND place <= {ALIKE}"
    );
    let by_room = [
        "events",
        "local_current_membership",
        "current_state_events",
        "event_forward_extremities",
        "rooms",
        "room_memberships",
        "receipts_linearized",
        "state_events",
        "event_json",
        "room_account_data",
        "room_tags",
    ];
    let by_event =
        ["event_to_state_groups", "redactions", "rejections", "event_edges", "event_auth"];
    let mut statements = vec![rooms];
    for table in by_room {
        statements.push(format!(
            "DELETE FROM {table} WHERE room_id NOT IN (SELECT room_id FROM kept_rooms)"
        ));
    }
    for table in by_event {
        statements.push(format!(
            "DELETE FROM {table} WHERE event_id NOT IN (SELECT event_id FROM events)"
        ));
    }
    for table in ["state_groups", "state_groups_state", "room_aliases"] {
        statements.push(format!(
            "DELETE FROM {table} WHERE room_id NOT IN (SELECT room_id FROM kept_rooms)"
        ));
    }
    statements.push(
        "DELETE FROM state_group_edges WHERE state_group NOT IN (SELECT id FROM state_groups)"
            .into(),
    );
    statements.push("DROP TABLE kept_rooms".into());
    statements
}
