//! Which Conduit database to write or read.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use tracing::info;

use crate::{
    conduit::{
        config::{ConduitConfig, ConduitFiles},
        schema::dialect::Dialect,
        store::{self, Backend},
    },
    fs::{ContentDirectory, Layout, atomic_dir::normal},
    migration::{Target, TargetError},
};

/// Arguments that name a Conduit database.
#[derive(Clone, Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("a database").required(true).multiple(true).args(NAMES))]
pub(in crate::cli) struct TargetArguments {
    #[command(flatten)]
    options: TargetOptions,
}

/// Arguments that name a Conduit database, where its media does not matter.
#[derive(Clone, Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("a database").required(true).multiple(true).args(NAMES))]
pub(in crate::cli) struct DatabaseArguments {
    #[command(flatten)]
    options: DatabaseOptions,
}

/// What names a database.
const NAMES: [&str; 3] = ["database", "conduit_config", "conduit_env"];

/// The options of [`TargetArguments`], of which none need be given.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(in crate::cli) struct TargetOptions {
    #[command(flatten)]
    options: DatabaseOptions,
    /// Conduit's media directory [default: the configuration's, or `media` in the database's directory]. For a Conduit
    /// with an S3 bucket: the directory whose content you upload
    #[arg(long, value_name = "DIR")]
    media_directory: Option<PathBuf>,
}

/// Those that name a database and its engine.
#[derive(Clone, Debug, Args)]
#[group(skip)]
struct DatabaseOptions {
    /// The server that the database is for [default: conduit; of a database that is there, its own]
    #[arg(long, value_enum)]
    target: Option<Dialect>,
    /// Directory of the database. With a configuration: where its `database_path` is on this machine, if that is a path in
    /// a container
    #[arg(long, value_name = "DIR")]
    database: Option<PathBuf>,
    /// Conduit's configuration, or with `--target continuwuity` Continuwuity's, which names the database, its engine and the server
    #[arg(long, value_name = "FILE")]
    conduit_config: Option<PathBuf>,
    /// File with the variables `CONDUIT_…` or `CONTINUWUITY_…` that the server is started with, one a line, as `docker inspect` prints them; they
    /// override `--conduit-config`, which is optional then. May be given several times
    #[arg(long, value_name = "FILE")]
    conduit_env: Vec<PathBuf>,
    /// Storage engine [default: the one found, or rocksdb]
    #[arg(long, value_enum, requires = "database")]
    #[arg(conflicts_with_all = ["conduit_config", "conduit_env"])]
    backend: Option<Backend>,
}

impl TargetArguments {
    /// Works out the database from the arguments.
    pub(in crate::cli) fn resolve(&self) -> anyhow::Result<Target> {
        self.options.resolve()
    }

    /// Refuses a database of another server than the one that is said.
    pub(in crate::cli) fn expect(&self, found: Dialect) -> Result<(), TargetError> {
        self.options.options.expect(found)
    }
}

impl DatabaseArguments {
    /// Works out the database from the arguments.
    pub(in crate::cli) fn resolve(&self) -> anyhow::Result<Target> {
        // A configuration with an S3 bucket names no directory, and none is needed.
        let options = self.options.clone();
        let may_have_bucket = options.target.unwrap_or_default() == Dialect::Conduit;
        let media_directory = may_have_bucket.then(|| PathBuf::from("media"));
        TargetOptions { options, media_directory }.resolve()
    }

    /// Refuses a database of another server than the one that is said.
    pub(in crate::cli) fn expect(&self, found: Dialect) -> Result<(), TargetError> {
        self.options.expect(found)
    }
}

impl DatabaseOptions {
    fn has_config(&self) -> bool {
        self.conduit_config.is_some() || !self.conduit_env.is_empty()
    }

    fn expect(&self, found: Dialect) -> Result<(), TargetError> {
        match self.target {
            Some(said) if said != found => Err(TargetError::OtherTarget { said, found }),
            None if self.has_config() && found != Dialect::default() => {
                Err(TargetError::OtherConfig { said: Dialect::default(), found })
            }
            _ => Ok(()),
        }
    }
}

impl TargetOptions {
    /// Whether a database is named.
    pub(in crate::cli) fn is_said(&self) -> bool {
        self.options.database.is_some() || self.options.has_config()
    }

    /// The server that the database is for.
    pub(in crate::cli) fn dialect(&self) -> Dialect {
        self.options.target.unwrap_or_default()
    }

    /// Works out the database from the arguments. Paths get their one form here.
    pub(in crate::cli) fn resolve(&self) -> anyhow::Result<Target> {
        if self.dialect() == Dialect::Continuwuity && self.options.backend == Some(Backend::Sqlite)
        {
            return Err(TargetError::Engine.into());
        }
        if self.options.has_config() {
            return self.configured();
        }
        let Some(database) = &self.options.database else {
            return Err(TargetError::NotNamed.into());
        };
        let directory = normal(database);
        let backend = self.options.backend;
        let backend = backend.or_else(|| store::detect(&directory)).unwrap_or(Backend::Rocksdb);
        let media = self.media_directory.as_deref().map(normal);
        let media = media.unwrap_or_else(|| directory.join("media"));
        self.check_media(&media, &directory)?;
        let layout = match self.dialect() {
            Dialect::Conduit => Layout::default(),
            Dialect::Continuwuity => Layout::Flat,
        };
        let media = ContentDirectory::new(media, layout);
        Ok(Target {
            directory,
            backend,
            dialect: self.dialect(),
            server_name: None,
            media,
            uploads_media: false,
            deletes_uploads: false,
            service: None,
        })
    }

    /// Refuses a media directory in which the server does not look.
    fn check_media(&self, media: &Path, database: &Path) -> Result<(), TargetError> {
        let path = database.join("media");
        if self.dialect() == Dialect::Continuwuity && media != path {
            return Err(TargetError::Media { path });
        }
        Ok(())
    }

    fn configured(&self) -> anyhow::Result<Target> {
        let DatabaseOptions { database, conduit_config, conduit_env, .. } = &self.options;
        let files =
            ConduitFiles { config: conduit_config.clone(), environment: conduit_env.clone() };
        let config = ConduitConfig::read(&files, self.dialect())?;
        let directory = normal(database.as_ref().unwrap_or(&config.database_path));
        if database.is_none() && !conduit_env.is_empty() && !directory.exists() {
            info!(
                "the database's directory `{}` (`{}_DATABASE_PATH`) does not exist on this machine; if it is a path in a \
                 container, `--database DIR` names the directory here",
                directory.display(),
                self.dialect().to_string().to_uppercase()
            );
        }
        let media = match (&self.media_directory, &config.media.path) {
            (Some(said), _) => normal(said),
            // What is below the database goes with it, wherever that is seen.
            (None, Some(path)) => match path.strip_prefix(&config.database_path) {
                Ok(below) => directory.join(below),
                Err(_) => normal(path),
            },
            (None, None) => return Err(TargetError::Bucket.into()),
        };
        self.check_media(&media, &directory)?;
        Ok(Target {
            directory,
            backend: config.backend,
            dialect: self.dialect(),
            server_name: Some(config.server_name),
            media: ContentDirectory::new(media, config.media.layout),
            uploads_media: config.media.path.is_none(),
            deletes_uploads: config.media.deletes_uploads,
            service: Some(config.service),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        target: TargetArguments,
    }

    fn arguments(more: &[&str]) -> TargetArguments {
        let all = ["x", "--database", "/nowhere/database"].iter().chain(more);
        Command::try_parse_from(all).unwrap().target
    }

    #[test]
    fn continuwuity_has_media_in_one_place() {
        let of = |more: &[&str]| {
            let target = arguments(&[&["--target", "continuwuity"], more].concat()).resolve();
            target.map(|target| target.media.path().to_owned()).map_err(|error| error.to_string())
        };
        assert_eq!(of(&[]), Ok("/nowhere/database/media".into()));
        let same = ["--media-directory", "/nowhere/database/media"];
        assert_eq!(of(&same), Ok("/nowhere/database/media".into()));
        assert_eq!(
            of(&["--media-directory", "/srv"]).unwrap_err(),
            "Continuwuity reads media files in `/nowhere/database/media` only; leave out `--media-directory`"
        );
    }

    #[test]
    fn the_server_is_conduit_unless_another_one_is_said() {
        let dialect = |more: &[&str]| arguments(more).resolve().unwrap().dialect;
        assert_eq!(dialect(&[]), Dialect::Conduit);
        assert_eq!(dialect(&["--target", "continuwuity"]), Dialect::Continuwuity);
    }

    #[test]
    fn an_engine_that_the_server_lacks_is_refused() {
        let sqlite = ["--target", "continuwuity", "--backend", "sqlite"];
        assert_eq!(
            arguments(&sqlite).resolve().unwrap_err().to_string(),
            "Continuwuity opens RocksDB only; leave out `--backend sqlite`"
        );
        assert!(arguments(&["--backend", "sqlite"]).resolve().is_ok());
    }

    #[test]
    fn a_database_of_another_server_than_the_one_said_is_refused() {
        let of =
            |more: &[&str], found| arguments(more).expect(found).map_err(|error| error.to_string());
        assert_eq!(of(&[], Dialect::Continuwuity), Ok(()));
        assert_eq!(of(&["--target", "conduit"], Dialect::Conduit), Ok(()));
        assert_eq!(
            of(&["--target", "conduit"], Dialect::Continuwuity).unwrap_err(),
            "the database is Continuwuity's, and `--target` says Conduit; leave `--target` out, or name Conduit's database"
        );
    }
}
