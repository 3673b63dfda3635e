//! The `database` and `databases` keys.

use std::{collections::BTreeMap, path::PathBuf};

use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;

use super::{
    ConfigError, Given,
    conninfo::Conninfo,
    document::{Document, scalar},
    postgres::{PostgresConfig, Refused},
};

/// Where a database is.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a program has one or two")]
pub enum DatabaseConfig {
    /// `sqlite3`.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// `psycopg2`.
    Postgres(PostgresConfig),
}

/// One entry as Synapse writes it.
#[derive(Deserialize)]
struct Entry {
    #[serde(default = "sqlite3")]
    name: String,
    #[serde(default)]
    args: Option<BTreeMap<String, Value>>,
    data_stores: Option<Vec<String>>,
}

/// Arguments of Python's `sqlite3.connect` that don't change which file is read.
const SQLITE: [&str; 7] = [
    "database",
    "timeout",
    "detect_types",
    "isolation_level",
    "check_same_thread",
    "factory",
    "cached_statements",
];

fn sqlite3() -> String {
    "sqlite3".into()
}

/// The database of the `main` data store, and that of `state` if it is another one.
pub(super) fn read(
    document: &Document,
    given: &Given,
) -> Result<(DatabaseConfig, Option<DatabaseConfig>), ConfigError> {
    let reading = Reading { document, given };
    let single = document.get_true::<Entry>("database")?;
    let several = document.get_true::<BTreeMap<String, Entry>>("databases")?;
    let path = document.get_true::<PathBuf>("database_path")?;
    match (single, several, path) {
        (Some(_), Some(_), _) | (_, Some(_), Some(_)) => {
            Err(ConfigError::Form { key: "databases".into() })
        }
        (Some(entry), None, _) => Ok((reading.connection(&entry, "database")?, None)),
        (None, None, _) if given.database.is_some() => reading.given_alone(),
        (None, None, Some(path)) => {
            let path = document.resolve("database_path", &path);
            Ok((DatabaseConfig::Sqlite { path }, None))
        }
        (None, Some(entries), None) => reading.several(&entries),
        (None, None, None) => Err(ConfigError::Missing { key: "database" }),
    }
}

struct Reading<'a> {
    document: &'a Document,
    given: &'a Given,
}

impl Reading<'_> {
    fn several(
        &self,
        entries: &BTreeMap<String, Entry>,
    ) -> Result<(DatabaseConfig, Option<DatabaseConfig>), ConfigError> {
        let of = |store: &str| {
            let mut holding = entries.values().filter(|entry| entry.holds(store));
            match (holding.next(), holding.next()) {
                (Some(entry), None) => Ok(entry),
                _ => Err(ConfigError::DataStores),
            }
        };
        let (main, state) = (of("main")?, of("state")?);
        let connection = self.connection(main, "databases")?;
        if std::ptr::eq(main, state) {
            return Ok((connection, None));
        }
        // What names one database can't be meant for two.
        let names = self.given.database.as_ref().is_some_and(|given| given.get("dbname").is_some());
        if main.name != state.name || names {
            return Err(ConfigError::DataStores);
        }
        Ok((connection, Some(self.connection(state, "databases")?)))
    }

    fn connection(&self, entry: &Entry, key: &str) -> Result<DatabaseConfig, ConfigError> {
        let form = |name: &str| ConfigError::Form { key: format!("{key}.args.{name}") };
        let none = BTreeMap::new();
        let args = entry.args.as_ref().unwrap_or(&none);
        match entry.name.as_str() {
            "sqlite3" if self.given.database.is_some() => Ok(self.given_alone()?.0),
            "sqlite3" => {
                let path = args.get("database").and_then(scalar).ok_or_else(|| form("database"))?;
                let known =
                    |name: &&String| SQLITE.contains(&name.as_str()) || name.starts_with("cp_");
                if let Some(name) = args.keys().find(|name| !known(name)) {
                    let key = format!("{key}.args.{name}");
                    return Err(ConfigError::Setting { key });
                }
                Ok(DatabaseConfig::Sqlite { path: self.document.resolve(key, path.as_ref()) })
            }
            "psycopg2" => self.postgres(settings(args, form)?, key),
            engine => Err(ConfigError::Engine { key: key.to_owned(), engine: engine.to_owned() }),
        }
    }

    /// What `--synapse-database` says, where the configuration knows of no PostgreSQL.
    fn given_alone(&self) -> Result<(DatabaseConfig, Option<DatabaseConfig>), ConfigError> {
        Ok((self.postgres(Conninfo::default(), "database")?, None))
    }

    /// Settings of the configuration, and what replaces them.
    fn postgres(&self, mut settings: Conninfo, key: &str) -> Result<DatabaseConfig, ConfigError> {
        if let Some(given) = &self.given.database {
            if given.get("host").is_some() {
                settings.remove("hostaddr");
            }
            settings.extend(given.clone());
        }
        if let Some(password) = &self.given.database_password {
            settings.set("password", password.expose_secret());
        }
        let environment = |name: &str| std::env::var(name).ok();
        let path = |path: &std::path::Path| self.document.resolve(key, path);
        let config = PostgresConfig::new(settings, environment, path);
        config.map(DatabaseConfig::Postgres).map_err(|refused| match refused {
            Refused::Setting(name) if name.starts_with("PG") => ConfigError::Setting { key: name },
            Refused::Setting(name) => ConfigError::Setting { key: format!("{key}.args.{name}") },
            Refused::Service => ConfigError::Service,
        })
    }
}

impl Entry {
    /// Without `data_stores`, an entry holds everything.
    fn holds(&self, store: &str) -> bool {
        self.data_stores.as_ref().is_none_or(|stores| stores.iter().any(|name| name == store))
    }
}

/// What psycopg2 makes of the arguments: those of `dsn`, and what replaces them. It takes any scalar as Python prints it,
/// and null for absent.
fn settings(
    args: &BTreeMap<String, Value>,
    form: impl Fn(&str) -> ConfigError,
) -> Result<Conninfo, ConfigError> {
    let mut settings = Conninfo::default();
    if let Some(dsn) = args.get("dsn").and_then(scalar) {
        settings = dsn.parse().map_err(|_secret| form("dsn"))?;
    }
    if args.contains_key("database") && args.contains_key("dbname") {
        return Err(form("database"));
    }
    for (name, value) in args {
        if name.starts_with("cp_") || name == "dsn" || value.is_null() {
            continue;
        }
        let value = scalar(value).ok_or_else(|| form(name))?;
        settings.set(if name == "database" { "dbname" } else { name }, value);
    }
    Ok(settings)
}
