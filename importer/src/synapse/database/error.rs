//! Why Synapse's database can't be read.

use std::path::PathBuf;

use super::schema::SUPPORTED;

/// Why the database can't be read. Never holds a password or a row's content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The SQLite file is not there.
    #[error(
        "Synapse's database `{}` is not there; run the importer from the directory that Synapse runs in, or correct `database.args.database`",
        path.display()
    )]
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
        "Synapse's media store `{}` is not there; run the importer from the directory that Synapse runs in, correct `media_store_path`, or leave media out by `--media none`",
        path.display()
    )]
    MediaStoreMissing {
        /// The directory.
        path: PathBuf,
    },
    /// PostgreSQL does not answer.
    #[error(
        "PostgreSQL does not answer at {address}; start it, or correct `host` and `port` under `database.args`"
    )]
    Unreachable {
        /// Host or socket, and port.
        address: String,
        /// What the system said.
        #[source]
        source: sqlx::Error,
    },
    /// PostgreSQL refuses the role or its password.
    #[error(
        "PostgreSQL at {address} does not let `{user}` in; correct `user` and `password` under `database.args`, or run the importer as the system user that Synapse runs as"
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
    /// The configuration asks for TLS.
    #[error(
        "`sslmode: {mode}` asks for a TLS connection to PostgreSQL, which the importer does not make; run it on the database's machine, or through an SSH tunnel, with `sslmode: prefer`"
    )]
    Tls {
        /// The mode.
        mode: String,
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
        "the database has no table `{tables}`, which every Synapse makes: restore it from a backup; a table of which nothing is left can be made anew, empty, by the statement in Synapse's `storage/schema`"
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
        "the database has schema version {found}; upgrade Synapse to 1.62 (schema {}) or later first, start it once, and let its background updates finish",
        SUPPORTED.start()
    )]
    SchemaTooOld {
        /// `schema_version.version`.
        found: i64,
    },
    /// The schema is newer than what is known.
    #[error(
        "the database has schema version {found}; this importer knows versions up to {}, so it would have to guess; use a newer importer",
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

/// What one of the engines said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}
