//! Why Synapse's database can't be read.

use std::path::{Path, PathBuf};

use super::schema::SUPPORTED;

/// Why the database can't be read. Never holds a password or a row's content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The SQLite file is not there.
    #[error("Synapse's database `{}` does not exist; {}", path.display(), where_else(path, "database.args.database"))]
    FileMissing {
        /// The file.
        path: PathBuf,
    },
    /// The SQLite file can't be opened.
    #[error(
        "opening Synapse's database `{}`; run the importer as Synapse's user (reading a database in WAL mode needs write access to its directory)",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Files shall be copied, and the directory is not there.
    #[error(
        "Synapse's media store `{}` does not exist; {}, or leave media out with `--media none`",
        path.display(),
        where_else(path, "media_store_path")
    )]
    MediaStoreMissing {
        /// The directory.
        path: PathBuf,
    },
    /// PostgreSQL does not answer.
    #[error(
        "PostgreSQL does not answer at {address}; start it, correct `host` and `port` under `database.args`, or if that name is a container's, name the address that reaches it from here: `--synapse-database 'host=127.0.0.1 port=5432'`"
    )]
    Unreachable {
        /// Host or socket, and port.
        address: String,
        /// What the system said.
        #[source]
        source: sqlx::Error,
    },
    /// PostgreSQL answers, and takes no connection: it has too many, or it starts.
    #[error(
        "PostgreSQL at {address} answers, but refuses connections for now; see its message below, and try again later"
    )]
    Refused {
        /// Host or socket, and port.
        address: String,
        /// What PostgreSQL said.
        #[source]
        source: sqlx::Error,
    },
    /// PostgreSQL refuses the role or its password.
    #[error(
        "PostgreSQL at {address} does not let `{user}` in; correct `user` and `password` under `database.args`, or `--synapse-database` and `--synapse-database-password-file`; or run the importer as the system user that Synapse runs as"
    )]
    Authentication {
        /// Host or socket, and port.
        address: String,
        /// The role.
        user: String,
        /// What PostgreSQL said.
        #[source]
        source: sqlx::Error,
    },
    /// PostgreSQL lets a role in only if the system user of the same name connects.
    #[error(
        "PostgreSQL at {address} accepts `{user}` from the system user of that name only (`peer` in `pg_hba.conf`); {}",
        peer(user, *is_here)
    )]
    Peer {
        /// The socket, and port.
        address: String,
        /// The role.
        user: String,
        /// Whether the machine has a user of that name.
        is_here: bool,
        /// What PostgreSQL said.
        #[source]
        source: sqlx::Error,
    },
    /// PostgreSQL has no such database.
    #[error(
        "PostgreSQL at {address} has no database `{database}`; correct `dbname` under `database.args`"
    )]
    DatabaseMissing {
        /// Host or socket, and port.
        address: String,
        /// The name.
        database: String,
    },
    /// PostgreSQL can't be reached by TLS, or is not who `sslmode` asks for.
    #[error(
        "PostgreSQL at {address} can't be reached over TLS as `sslmode` asks; see `sslmode`, `sslrootcert`, `sslcert` and `sslkey` under `database.args`"
    )]
    Tls {
        /// Host and port.
        address: String,
        /// What was wrong.
        #[source]
        source: sqlx::Error,
    },
    /// The server shall be verified, and nobody is known who may certify it.
    #[error(
        "`sslmode` requires a verified server, and the certificate file `{}` does not exist; name the file with its certificate authority as `sslrootcert` under `database.args`, or `sslrootcert: system` with `sslmode: verify-full`",
        path.display()
    )]
    Authorities {
        /// `sslrootcert`, or its default.
        path: PathBuf,
    },
    /// A setting of the connection has a value that is not known.
    #[error(
        "the importer does not know this value of the PostgreSQL connection setting `{key}`, or its combination with others; give `--synapse-database` with settings that reach this PostgreSQL without it"
    )]
    Setting {
        /// The setting.
        key: &'static str,
    },
    /// No server is of the kind that is asked for.
    #[error("none of the PostgreSQL servers is `{attributes}`, as `target_session_attrs` asks")]
    NoneFits {
        /// `target_session_attrs`.
        attributes: String,
    },
    /// The role may not read Synapse's tables.
    #[error(
        "the role `{role}` may not read {tables}; connect as Synapse's own role, or let its owner run `GRANT USAGE ON SCHEMA {schema} TO \"{role}\"; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO \"{role}\"`"
    )]
    Rights {
        /// The role.
        role: String,
        /// The schema, quoted.
        schema: String,
        /// Tables, or how many.
        tables: String,
    },
    /// Synapse's tables are in a schema that the search path does not name.
    #[error(
        "{place} has Synapse's tables, but in the schema {schemas}, which is not in the search path of this connection; connect as the role that Synapse uses, or add `options: \"-c search_path={schemas}\"` under `database.args`"
    )]
    OtherSchema {
        /// The PostgreSQL database.
        place: String,
        /// The schemas, quoted.
        schemas: String,
    },
    /// The SQLite file is shorter than it says, or its first page is damaged.
    #[error(
        "Synapse's database `{}` is damaged or cut off; restore it from a backup, or see what `sqlite3 FILE .recover` can save", path.display()
    )]
    CutOff {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Synapse was ended while it wrote.
    #[error(
        "Synapse or its machine crashed while writing to the database `{}`: the unfinished transaction in `{}-journal` has to be rolled back first; start Synapse once and stop it", path.display(), path.display()
    )]
    Unfinished {
        /// The file.
        path: PathBuf,
    },
    /// Another program writes to the SQLite file.
    #[error(
        "Synapse's database `{}` is locked: another program, perhaps Synapse, is writing to it; try again, or stop that program", path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The database is not Synapse's.
    #[error("{place} is not a Synapse database: {missing}; correct `database` in homeserver.yaml")]
    NotSynapse {
        /// The file, or the PostgreSQL database.
        place: String,
        /// What it lacks.
        missing: &'static str,
    },
    /// Tables that must be read are not there.
    #[error(
        "the database has no table `{tables}`, which every Synapse creates: restore it from a backup; a table of which nothing is left can be created again, empty, with the statement in Synapse's `storage/schema`"
    )]
    TablesMissing {
        /// Their names.
        tables: String,
    },
    /// Pages of an SQLite file do not fit together.
    #[error(
        "Synapse's SQLite database is damaged ({said}): stop Synapse, let `sqlite3 homeserver.db .recover | sqlite3 new.db` save what can be read, and start Synapse on that, or restore a backup"
    )]
    Damaged {
        /// What SQLite said.
        said: String,
    },
    /// The schema is older than what can be read.
    #[error(
        "the database has schema version {found}, and versions from {} on can be read; {}",
        SUPPORTED.start(),
        UPGRADE
    )]
    SchemaTooOld {
        /// `schema_version.version`.
        found: i64,
    },
    /// The schema is newer than what is known.
    #[error(
        "the database has schema version {found}; this importer knows versions up to {} and would have to guess; use a newer importer",
        SUPPORTED.end()
    )]
    SchemaTooNew {
        /// `schema_version.version`.
        found: i64,
    },
    /// Synapse has not finished rewriting a table that must be read.
    #[error(
        "Synapse's background update `{name}` has not finished, and users would be misread without it; start Synapse and wait until it has"
    )]
    BackgroundUpdate {
        /// Its name.
        name: String,
    },
    /// The configuration belongs to another server.
    #[error(
        "no user of the database belongs to `{configured}`, but for example `{found}`; give the homeserver.yaml that belongs to this database"
    )]
    ServerName {
        /// `server_name`.
        configured: String,
        /// One of the users.
        found: String,
    },
    /// A query failed.
    #[error("reading Synapse's database ({table})")]
    Query {
        /// What was read.
        table: &'static str,
        /// What the database said.
        #[source]
        source: EngineError,
    },
}

impl DatabaseError {
    /// The same, with the servers that were tried after it.
    pub(super) fn nor_at(mut self, others: &[&str]) -> Self {
        if let Self::Unreachable { address, .. } = &mut self {
            for other in others {
                address.push_str(", nor at ");
                address.push_str(other);
            }
        }
        self
    }

    /// Whether another server may do where this one failed.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { .. } | Self::Tls { .. })
    }
}

/// How a database gets to a schema that can be read. Synapse 1.163.2 has failed on schemas 53 and 54, on PostgreSQL also on 57 to 59 and,
/// with background updates pending, on 60 to 67; 1.68.0 on none of those that it was tried with (53 to 67).
const UPGRADE: &str = "a current Synapse may fail half-way, after which older versions refuse the database: make a backup, start Synapse \
    1.68.0 on it, wait until its background updates have finished (`SELECT * FROM background_updates` is empty), stop it, and check again. \
    If a newer Synapse has failed on it already, restore the backup of before; without one, and if `schema_version` is 58 or less, \
    `DELETE FROM schema_compat_version` first";

/// Who may read a database that lets nobody else in.
fn peer(user: &str, is_here: bool) -> String {
    let by_password = format!(
        "give the role a password (`sudo -u postgres psql -c '\\password {user}'`) and say `--synapse-database host=127.0.0.1 \
         --synapse-database-password-file FILE`, as root"
    );
    if !is_here {
        return format!("there is no such system user here: {by_password}");
    }
    format!(
        "read it as that user and write the new database as root: `sudo -u {user} importer dump --dump DIR` with Synapse's \
         configuration and a DIR that the user may write, then `importer import --dump DIR`; `sudo -u {user} importer check` \
         with Synapse's configuration alone checks before. For `migrate` in one go, {by_password}. `sudo -u postgres importer` does not work: that user may not read Synapse's configuration, key and files"
    )
}

/// What helps when a file is not where the configuration says.
fn where_else(path: &Path, key: &str) -> String {
    if path.is_absolute() {
        format!(
            "correct `{key}`, or if Synapse runs in a container, name its directories on this machine: `--map-path /THERE=/HERE`"
        )
    } else {
        format!("run the importer from Synapse's working directory, or correct `{key}`")
    }
}

/// What one of the engines said. Never a query, which may be pages long.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// SQLite.
    #[error("{}", of_sqlite(.0))]
    Sqlite(rusqlite::Error),
    /// PostgreSQL.
    #[error("{}", of_postgres(.0))]
    Postgres(#[from] sqlx::Error),
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Without the line of PostgreSQL's source.
fn of_postgres(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(said) => said.message().to_owned(),
        None => error.to_string(),
    }
}

fn of_sqlite(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    }
}
