//! Which Conduit database to write or read.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use crate::{
    conduit::kv::{self, Backend},
    config::conduit::ConduitConfig,
    media::{ContentDirectory, Layout},
};

/// Arguments that name a Conduit database.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct TargetArguments {
    /// Directory of the database
    #[arg(long, value_name = "DIR", conflicts_with = "conduit_config")]
    database: Option<PathBuf>,
    /// Conduit's configuration, which names the database, its engine and the server
    #[arg(long, value_name = "FILE")]
    conduit_config: Option<PathBuf>,
    /// Storage engine [default: the one found, or rocksdb]
    #[arg(long, value_enum, requires = "database")]
    backend: Option<Backend>,
    /// Conduit's media directory [default: the configuration's, or `media` in the database's directory]. For a Conduit
    /// with an S3 bucket: the directory whose content you upload
    #[arg(long, value_name = "DIR")]
    media_directory: Option<PathBuf>,
}

/// A Conduit database on disk.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its directory.
    pub(super) directory: PathBuf,
    /// Its engine.
    pub(super) backend: Backend,
    /// The server's name, if a configuration says it.
    pub(super) server_name: Option<String>,
    /// Its media directory.
    pub(super) media: ContentDirectory,
    /// Whether the configuration makes Conduit delete its own users' uploads after a time.
    pub(super) deletes_uploads: bool,
}

impl TargetArguments {
    /// The same from arguments that are not required.
    pub(super) fn of(
        database: Option<PathBuf>,
        conduit_config: Option<PathBuf>,
        backend: Option<Backend>,
    ) -> Option<Self> {
        let is_said = database.is_some() || conduit_config.is_some();
        is_said.then_some(Self { database, conduit_config, backend, media_directory: None })
    }

    /// Conduit's configuration.
    pub(super) fn config(&self) -> Option<&Path> {
        self.conduit_config.as_deref()
    }

    /// Works out the database from the arguments.
    pub(super) fn resolve(&self) -> anyhow::Result<Target> {
        if let Some(path) = &self.conduit_config {
            let config = ConduitConfig::read(path)?;
            let Some(media) = self.media_directory.clone().or(config.media.path) else {
                bail!(
                    "Conduit's configuration keeps media in an S3 bucket; name a new directory by \
                     `--media-directory`, and upload what is written there before you start Conduit"
                );
            };
            return Ok(Target {
                directory: config.database_path,
                backend: config.backend,
                server_name: Some(config.server_name),
                media: ContentDirectory::new(media, config.media.layout),
                deletes_uploads: config.media.deletes_uploads,
            });
        }
        let Some(directory) = self.database.clone() else {
            bail!("`--database` or `--conduit-config` is needed");
        };
        let backend = self.backend.or_else(|| kv::detect(&directory)).unwrap_or(Backend::Rocksdb);
        let media = self.media_directory.clone().unwrap_or_else(|| directory.join("media"));
        let media = ContentDirectory::new(media, Layout::default());
        Ok(Target { directory, backend, server_name: None, media, deletes_uploads: false })
    }
}

impl Target {
    /// Refuses a configuration for another server than the dump's.
    pub(super) fn check_server_name(&self, dumped: &str) -> anyhow::Result<()> {
        match &self.server_name {
            Some(name) if name != dumped => bail!(
                "Conduit's configuration is for `{name}`, the dump is of `{dumped}`; \
                 set `server_name` to `{dumped}`"
            ),
            _ => Ok(()),
        }
    }
}
