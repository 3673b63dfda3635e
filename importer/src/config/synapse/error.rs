//! Why Synapse's configuration can't be used.

use std::{io, path::PathBuf};

/// Why Synapse's configuration can't be used. Never holds a value of the configuration, which may be a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The operating system refused.
    #[error(
        "reading `{}`, which Synapse's configuration names; run the importer as Synapse's user, from the directory that Synapse runs in",
        path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Not YAML, or no mapping.
    #[error("`{}`, line {line}: this is no YAML mapping; check the file with Synapse itself", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; 0 if unknown.
        line: u64,
    },
    /// A key that must be there is not.
    #[error(
        "the configuration has no `{key}`; give all files that Synapse is started with (`-c`), in the same order"
    )]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key holds something else than Synapse's documentation says.
    #[error(
        "`{key}` of the configuration has a form that Synapse would not take either; correct it"
    )]
    Form {
        /// The key.
        key: String,
    },
    /// A database that is not supported.
    #[error(
        "`{key}` of the configuration names the database engine `{engine}`; only `sqlite3` and `psycopg2` (PostgreSQL) are known"
    )]
    Engine {
        /// The key.
        key: String,
        /// Its `name`.
        engine: String,
    },
    /// Tables are spread in a way that is not supported.
    #[error(
        "`databases` of the configuration must have exactly one database for the data store `main` and one for `state`, of the same engine; this one has not"
    )]
    DataStores,
    /// Not a signing key.
    #[error(
        "`{source_name}`, line {line}: expected `ed25519 VERSION SEED` with a seed of 32 bytes in base64; use the key file of the running Synapse"
    )]
    SigningKey {
        /// The file, or `signing_key`.
        source_name: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// Not the registration of an application service.
    #[error("`{}` has no `id`: it is no registration of an application service", path.display())]
    Registration {
        /// The file.
        path: PathBuf,
    },
}
