//! One connection that reads one snapshot, whichever engine it is.
//!
//! Queries are written once: `$1` placeholders and the functions used mean the same to both engines.
//!
//! A running Synapse goes on meanwhile. Its SQLite databases are in WAL mode, where a reader blocks no writer; but while
//! the snapshot lives, SQLite can't shorten the `-wal` file beside the database, which grows by what Synapse writes.
//! On PostgreSQL, vacuum keeps the rows of the snapshot until it ends. What Synapse writes after the beginning is not
//! read: stop it before the dump that the migration is made of.

use std::path::Path;

use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, SqliteConnection,
    postgres::{PgConnectOptions, PgSslMode},
    sqlite::SqliteConnectOptions,
};

use super::{
    DatabaseError,
    row::{self, Row},
};
use crate::{
    config::synapse::{DatabaseConfig, PostgresConfig},
    dump::format::SourceKind,
};

/// Statements of ours that are prepared at a time; there are fewer.
const STATEMENTS: usize = 200;

/// Ids in one query.
const LIST: usize = 100;

/// A connection within a read-only transaction.
#[derive(Debug)]
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
pub(super) enum Param<'a> {
    Text(&'a str),
    Integer(i64),
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Param<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

/// Runs a query on either engine's connection.
macro_rules! fetch {
    ($connection:expr, $convert:path, $sql:expr, $params:expr, $each:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql.to_owned()));
        for param in $params {
            query = match *param {
                Param::Text(text) => query.bind(text.to_owned()),
                Param::Integer(number) => query.bind(number),
            };
        }
        let mut rows = query.fetch($connection);
        let mut names = None;
        while let Some(row) = rows.try_next().await? {
            let names = names.get_or_insert_with(|| row::names(&row));
            $each($convert(&row, names));
        }
        Ok(())
    }};
}

impl Connection {
    /// Connects and begins the transaction.
    pub(super) async fn open(config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        match config {
            DatabaseConfig::Sqlite { path } => Ok(Self::Sqlite(sqlite(path).await?)),
            DatabaseConfig::Postgres(config) => Ok(Self::Postgres(postgres(config).await?)),
        }
    }

    /// Which engine this is.
    pub(super) fn kind(&self) -> SourceKind {
        match self {
            Self::Sqlite(_) => SourceKind::Sqlite,
            Self::Postgres(_) => SourceKind::Postgres,
        }
    }

    /// Ends the transaction.
    pub(super) async fn end(&mut self) -> Result<(), DatabaseError> {
        let ended = match self {
            Self::Sqlite(connection) => {
                sqlx::raw_sql("ROLLBACK").execute(connection).await.map(|_| ())
            }
            Self::Postgres(connection) => {
                sqlx::raw_sql("ROLLBACK").execute(connection).await.map(|_| ())
            }
        };
        ended.map_err(query_error("ending the transaction"))
    }

    /// All rows of a query. `table` names what is read, for an error.
    pub(super) async fn rows(
        &mut self,
        table: &'static str,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let mut rows = Vec::new();
        self.each(table, sql, params, |row| rows.push(row)).await?;
        Ok(rows)
    }

    /// The rows for any number of ids. `sql` has `$IDS` where their list goes.
    pub(super) async fn rows_in(
        &mut self,
        table: &'static str,
        sql: &str,
        ids: &[&str],
    ) -> Result<Vec<Row>, DatabaseError> {
        let placeholders: Vec<_> = (1..=LIST).map(|number| format!("${number}")).collect();
        let sql = sql.replace("$IDS", &placeholders.join(", "));
        let mut rows = Vec::new();
        for chunk in ids.chunks(LIST) {
            // Always the same number of parameters, so that one prepared statement does.
            let padding = chunk.last().into_iter().cycle().take(LIST.saturating_sub(chunk.len()));
            let params: Vec<_> = chunk.iter().chain(padding).map(|id| Param::Text(id)).collect();
            self.each(table, &sql, &params, |row| rows.push(row)).await?;
        }
        Ok(rows)
    }

    /// Gives each row of a query to `each`, without holding them all.
    pub(super) async fn each(
        &mut self,
        table: &'static str,
        sql: &str,
        params: &[Param<'_>],
        each: impl FnMut(Row) + Send,
    ) -> Result<(), DatabaseError> {
        self.fetch(sql, params, each).await.map_err(query_error(table))
    }

    async fn fetch(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut each: impl FnMut(Row) + Send,
    ) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => fetch!(connection, Row::from_sqlite, sql, params, each),
            Self::Postgres(connection) => fetch!(connection, Row::from_postgres, sql, params, each),
        }
    }
}

fn query_error(table: &'static str) -> impl Fn(sqlx::Error) -> DatabaseError {
    move |source| DatabaseError::Query { table, source }
}

/// The code that the engine gave.
fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// SQLite looks at a file only when it is first read, which is also when the snapshot is taken.
async fn sqlite(path: &Path) -> Result<SqliteConnection, DatabaseError> {
    if !path.exists() {
        return Err(DatabaseError::FileMissing { path: path.to_owned() });
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .statement_cache_capacity(STATEMENTS);
    let opened = async {
        let mut connection = options.connect().await?;
        let begin = "BEGIN; SELECT name FROM sqlite_master LIMIT 1";
        sqlx::raw_sql(begin).execute(&mut connection).await?;
        Ok(connection)
    };
    opened.await.map_err(|source| match code(&source).as_deref() {
        // SQLITE_NOTADB
        Some("26") => DatabaseError::NotSynapse {
            place: format!("`{}`", path.display()),
            missing: "it is not even an SQLite database",
        },
        _ => DatabaseError::Open { path: path.to_owned(), source },
    })
}

async fn postgres(config: &PostgresConfig) -> Result<PgConnection, DatabaseError> {
    let options = options(config)?;
    let address = match options.get_socket() {
        Some(socket) => format!("{}, port {}", socket.display(), options.get_port()),
        None => format!("{}, port {}", options.get_host(), options.get_port()),
    };
    // A long dump is idle between queries while it writes.
    let begin = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                 BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let opened = async {
        let mut connection = options.connect().await?;
        sqlx::raw_sql(begin).execute(&mut connection).await?;
        Ok(connection)
    };
    opened.await.map_err(|source| match code(&source).as_deref() {
        // invalid_password, invalid_authorization_specification
        Some("28P01" | "28000") => DatabaseError::Authentication {
            address,
            user: options.get_username().to_owned(),
            source,
        },
        // invalid_catalog_name
        Some("3D000") => DatabaseError::DatabaseMissing {
            address,
            database: options.get_database().unwrap_or(options.get_username()).to_owned(),
        },
        _ => DatabaseError::Unreachable { address, source },
    })
}

fn options(config: &PostgresConfig) -> Result<PgConnectOptions, DatabaseError> {
    let mut options = PgConnectOptions::new().statement_cache_capacity(STATEMENTS);
    if let Some(host) = &config.host {
        options = if host.starts_with('/') { options.socket(host) } else { options.host(host) };
    }
    if let Some(port) = config.port {
        options = options.port(port);
    }
    if let Some(user) = &config.user {
        options = options.username(user);
    }
    if let Some(password) = &config.password {
        options = options.password(password.expose_secret());
    }
    if let Some(database) = &config.database {
        options = options.database(database);
    }
    match config.sslmode.as_deref() {
        None | Some("disable" | "allow" | "prefer") => Ok(options.ssl_mode(PgSslMode::Disable)),
        Some(mode) => Err(DatabaseError::Tls { mode: mode.to_owned() }),
    }
}
