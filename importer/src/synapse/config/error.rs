//! Why Synapse's configuration can't be used.

use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
};

use super::MappedPath;

/// Why Synapse's configuration can't be used. Never holds a value of the configuration, which may be a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The operating system refused.
    #[error("reading `{}`{}; {}", path.display(), By(key.as_deref()), remedy(path, source, proposed.as_ref()))]
    Io {
        /// The key that names the file; `None` for a file of the configuration itself.
        key: Option<String>,
        /// The file.
        path: PathBuf,
        /// What would make it be found, if it is in a container.
        proposed: Option<MappedPath>,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Several files that the configuration names can't be read.
    #[error("{}", Each(files))]
    Several {
        /// The files.
        files: Vec<Unreadable>,
    },
    /// Not UTF-8.
    #[error(
        "`{}`, line {line}: characters are not encoded in UTF-8, perhaps in a comment; Synapse reads UTF-8, too, unless its locale says otherwise: save the file as UTF-8 (`iconv -f latin1 -t utf-8`)",
        path.display()
    )]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// Not YAML.
    #[error(
        "`{}`, line {line}: this is not YAML that Synapse's parser accepts; see Synapse's own error:  `python -m synapse.config -c FILE`",
        path.display()
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; 0 if unknown.
        line: u64,
    },
    /// Directories without a configuration.
    #[error(
        "there is no `*.yaml` in {}; give the files that Synapse is started with (`-c`)",
        List(paths)
    )]
    NoFiles {
        /// What was given.
        paths: Vec<PathBuf>,
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
        "`{key}` of the configuration has a form that Synapse does not accept either; correct it"
    )]
    Form {
        /// The key.
        key: String,
    },
    /// A setting of a connection that the importer does not know.
    #[error(
        "the importer does not know the connection setting `{key}`, and without it might read another database or trust another server; give `--synapse-database` with settings that reach this PostgreSQL without it, or remove it in a copy of the configuration"
    )]
    Setting {
        /// The key, or the environment variable.
        key: String,
    },
    /// No file describes a service of PostgreSQL's library.
    #[error(
        "the configuration (or `PGSERVICE`) names a PostgreSQL connection service that no service file on this machine defines; name the file with `PGSERVICEFILE`, or give the service's settings with `--synapse-database`"
    )]
    Service,
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
        "`databases` of the configuration must have exactly one database for the data store `main` and one for `state`, of the same engine, and `--synapse-database` must not name one for both; this is not so here"
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
    /// Not YAML, in the registration of an application service.
    #[error(
        "`{}`, line {line}: this is not YAML that Synapse's parser accepts, so it is not a registration of an application service",
        path.display()
    )]
    RegistrationSyntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; 0 if unknown.
        line: u64,
    },
    /// Not the registration of an application service.
    #[error("`{}` has no `id`: it is no registration of an application service", path.display())]
    Registration {
        /// The file.
        path: PathBuf,
    },
}

/// A file that a key of Synapse's configuration names and that can't be read.
#[derive(Debug)]
pub struct Unreadable {
    /// The key.
    pub key: String,
    /// The file or directory.
    pub path: PathBuf,
    /// What would make it be found, if it is in a container.
    pub proposed: Option<MappedPath>,
    /// What the system said.
    pub source: io::Error,
}

impl Unreadable {
    /// What helps.
    pub fn remedy(&self) -> String {
        remedy(&self.path, &self.source, self.proposed.as_ref())
    }
}

/// The files, what is wrong with each, and what helps: each remedy once.
struct Each<'a>(&'a [Unreadable]);

impl fmt::Display for Each<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files that Synapse's configuration names can't be read:")?;
        let mut remedies = BTreeSet::new();
        for (place, file) in self.0.iter().enumerate() {
            let Unreadable { key, path, source, .. } = file;
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma} `{}` (`{key}`: {source})", path.display())?;
            remedies.insert(file.remedy());
        }
        remedies.iter().try_for_each(|remedy| write!(f, "; {remedy}"))
    }
}

struct By<'a>(Option<&'a str>);

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, ", which `{key}` of Synapse's configuration names"),
            None => Ok(()),
        }
    }
}

struct List<'a>(&'a [PathBuf]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.0.iter().map(|path| format!("`{}`", path.display())).collect();
        f.write_str(&paths.join(", "))
    }
}

/// What helps when a file can't be read.
fn remedy(path: &Path, error: &io::Error, proposed: Option<&MappedPath>) -> String {
    match (error.kind(), proposed) {
        (io::ErrorKind::NotFound, Some(proposed)) => {
            format!("if Synapse runs in a container, add `{proposed}`")
        }
        (io::ErrorKind::NotFound, None) if path.is_absolute() => {
            "if Synapse runs in a container, name its directories on this machine: `--map-path /THERE=/HERE`".into()
        }
        (io::ErrorKind::NotFound, None) => {
            "run the importer from Synapse's working directory".into()
        }
        _ => "run the importer as root; `check` and `dump` can be run as Synapse's user".into(),
    }
}
