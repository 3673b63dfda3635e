//! Rows into an SQLite file.

use std::path::Path;

use rusqlite::{
    CachedStatement, Connection, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};

use super::table::{Searchable, Sink, Table, Value};

/// One transaction, without the indexes that can be built when all rows are there.
pub(super) struct Sqlite {
    connection: Connection,
    indexes: Vec<String>,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path)?;
        connection.set_prepared_statement_cache_capacity(64);
        // If the machine stops, the database is made again.
        connection.execute_batch(
            "PRAGMA foreign_keys = OFF; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
             PRAGMA cache_size = -1000000; PRAGMA temp_store = FILE; BEGIN",
        )?;
        let indexes = connection
            .prepare(
                "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL \
                 ORDER BY tbl_name, name",
            )?
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        for (name, _) in &indexes {
            connection.execute_batch(&format!("DROP INDEX \"{name}\""))?;
        }
        Ok(Self { connection, indexes: indexes.into_iter().map(|(_, sql)| sql).collect() })
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }
}

impl Sink for Sqlite {
    fn row(&mut self, table: &'static Table, values: &[Value<'_>]) -> anyhow::Result<()> {
        let Table { name, columns } = table;
        let places = vec!["?"; values.len()].join(", ");
        let sql = format!("INSERT INTO {name} ({}) VALUES ({places})", columns.join(", "));
        self.statement(&sql)?.execute(params_from_iter(values))?;
        Ok(())
    }

    fn words(&mut self, words: &Searchable<'_>) -> anyhow::Result<()> {
        let Searchable { event_id, room_id, key, value, .. } = words;
        self.statement(
            "INSERT INTO event_search (event_id, room_id, key, value) VALUES (?, ?, ?, ?)",
        )?
        .execute([event_id, room_id, key, value])?;
        Ok(())
    }

    fn run(&mut self, sql: &str) -> anyhow::Result<()> {
        Ok(self.connection.execute_batch(sql)?)
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        for sql in &self.indexes {
            self.connection.execute_batch(sql)?;
        }
        self.connection.execute_batch("COMMIT; PRAGMA journal_mode = DELETE")?;
        self.connection.close().map_err(|(_, error)| error.into())
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Bool(value) => ValueRef::Integer(value.into()),
            Value::Int(value) => ValueRef::Integer(value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
