//! The `database` and `databases` keys.

use std::{collections::BTreeMap, path::PathBuf};

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::{
    ConfigError,
    document::{Document, scalar},
};

/// Where a database is.
#[derive(Clone, Debug)]
pub enum DatabaseConfig {
    /// `sqlite3`.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// `psycopg2`.
    Postgres(PostgresConfig),
}

/// How to reach a PostgreSQL database. What is absent has PostgreSQL's own defaults, the `PG…` environment variables
/// and `~/.pgpass` among them.
#[derive(Clone, Debug, Default)]
pub struct PostgresConfig {
    /// A host name, an address, or the directory of a Unix socket.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The role.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// The database's name.
    pub database: Option<String>,
    /// `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`.
    pub sslmode: Option<String>,
}

/// One entry as Synapse writes it.
#[derive(Deserialize)]
struct Entry {
    #[serde(default = "sqlite3")]
    name: String,
    #[serde(default)]
    args: BTreeMap<String, Value>,
    data_stores: Option<Vec<String>>,
}

fn sqlite3() -> String {
    "sqlite3".into()
}

/// The database of the `main` data store, and that of `state` if it is another one.
pub(super) fn read(
    document: &Document,
) -> Result<(DatabaseConfig, Option<DatabaseConfig>), ConfigError> {
    if let Some(entry) = document.get::<Entry>("database")? {
        return Ok((entry.connection(document, "database")?, None));
    }
    if let Some(path) = document.get::<PathBuf>("database_path")? {
        return Ok((
            DatabaseConfig::Sqlite { path: document.resolve("database_path", &path) },
            None,
        ));
    }
    let entries: BTreeMap<String, Entry> =
        document.get("databases")?.ok_or(ConfigError::Missing { key: "database" })?;
    let of = |store: &str| {
        let mut holding = entries.values().filter(|entry| entry.holds(store));
        match (holding.next(), holding.next()) {
            (Some(entry), None) => Ok(entry),
            _ => Err(ConfigError::DataStores),
        }
    };
    let (main, state) = (of("main")?, of("state")?);
    let connection = main.connection(document, "databases")?;
    if std::ptr::eq(main, state) {
        Ok((connection, None))
    } else if main.name == state.name {
        Ok((connection, Some(state.connection(document, "databases")?)))
    } else {
        Err(ConfigError::DataStores)
    }
}

impl Entry {
    /// Without `data_stores`, an entry holds everything.
    fn holds(&self, store: &str) -> bool {
        self.data_stores.as_ref().is_none_or(|stores| stores.iter().any(|name| name == store))
    }

    fn connection(&self, document: &Document, key: &str) -> Result<DatabaseConfig, ConfigError> {
        let text = |name: &str| self.args.get(name).and_then(scalar);
        let form = |name: &str| ConfigError::Form { key: format!("{key}.args.{name}") };
        match self.name.as_str() {
            "sqlite3" => {
                let path = text("database").ok_or_else(|| form("database"))?;
                Ok(DatabaseConfig::Sqlite { path: document.resolve(key, path.as_ref()) })
            }
            "psycopg2" if self.args.contains_key("dsn") => Err(form("dsn")),
            "psycopg2" => Ok(DatabaseConfig::Postgres(PostgresConfig {
                host: text("host"),
                port: match text("port") {
                    Some(port) => Some(port.parse().map_err(|_secret| form("port"))?),
                    None => None,
                },
                user: text("user"),
                password: text("password").map(SecretString::from),
                database: text("dbname").or_else(|| text("database")),
                sslmode: text("sslmode"),
            })),
            engine => Err(ConfigError::Engine { key: key.to_owned(), engine: engine.to_owned() }),
        }
    }
}
