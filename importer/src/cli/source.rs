//! Which Synapse to read, and how.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use conduit_backfill::http::HttpOptions;
use secrecy::SecretString;

use super::now_ms;
use crate::{
    config::synapse::{ConfigError, Surroundings, SynapseConfig},
    synapse::{
        Extent, History, MediaFiles, MediaOptions, Source, SourceError,
        api::{ApiOptions, ApiSource},
        database::DatabaseSource,
    },
};

/// Arguments that name a Synapse.
#[derive(Clone, Debug, Args)]
pub(super) struct SourceArguments {
    /// Synapse's configuration; its database is read. Given several times as Synapse itself would be
    #[arg(long, value_name = "FILE", required_unless_present = "homeserver")]
    synapse_config: Vec<PathBuf>,
    /// Synapse's address, such as http://127.0.0.1:8008; its APIs are read
    #[arg(long, value_name = "URL", requires_all = ["admin_token_file", "signing_key"])]
    #[arg(conflicts_with = "synapse_config")]
    homeserver: Option<reqwest::Url>,
    /// File with the access token of a Synapse administrator
    #[arg(long, value_name = "FILE", requires = "homeserver")]
    admin_token_file: Option<PathBuf>,
    /// Synapse's signing key file
    #[arg(long, value_name = "FILE", requires = "homeserver")]
    signing_key: Option<PathBuf>,
    /// How much of each room's timeline to read
    #[arg(long, value_enum, default_value = "full")]
    pub(super) history: History,
    /// Where media files are to be [default: refer for a database, copy for APIs, which know no other]
    #[arg(long, value_enum)]
    media: Option<MediaFiles>,
    /// Dump files of other servers too, as far as this one has them; only the database knows which
    #[arg(long, requires = "synapse_config")]
    remote_media: bool,
}

impl SourceArguments {
    /// Connects to the Synapse.
    pub(super) async fn open(
        &self,
        configuration: Option<&Configuration>,
    ) -> anyhow::Result<Box<dyn Source>> {
        if let (Some(homeserver), Some(token), Some(key)) =
            (&self.homeserver, &self.admin_token_file, &self.signing_key)
        {
            let admin_token = read_secret("--admin-token-file", token)?;
            let options = ApiOptions {
                homeserver: homeserver.clone(),
                admin_token,
                signing_key: read_secret("--signing-key", key)?,
                server_name: None,
                history: self.history,
                now_ts: now_ms(),
                http: HttpOptions::default(),
            };
            let media = self.extent().media;
            if media == MediaFiles::Refer {
                bail!("the APIs can't tell where files are; say `--media copy` or `--media none`");
            }
            let source = ApiSource::connect(options).await.map_err(SourceError::from)?;
            return Ok(Box::new(source.with_media(media)));
        }
        let Configuration { config, .. } =
            configuration.context("`--synapse-config` or `--homeserver` is needed")?;
        let source = DatabaseSource::open(config, self.history, now_ms())
            .await
            .map_err(SourceError::from)?;
        let Extent { media: files, remote_media: remote, .. } = self.extent();
        Ok(Box::new(source.with_media(MediaOptions { files, remote })))
    }

    /// How much is asked for.
    pub(super) fn extent(&self) -> Extent {
        let default = if self.homeserver.is_some() { MediaFiles::Copy } else { MediaFiles::Refer };
        Extent {
            history: self.history,
            media: self.media.unwrap_or(default),
            remote_media: self.remote_media,
        }
    }

    /// Synapse's configuration, if it is read by its database. Checks and the dump go by the same value. `media_store` is
    /// where its media are, if elsewhere than it says.
    pub(super) fn configuration(
        &self,
        media_store: Option<&Path>,
    ) -> Result<Option<Configuration>, ConfigError> {
        if self.synapse_config.is_empty() {
            return Ok(None);
        }
        let (mut config, surroundings) = SynapseConfig::read_all(&self.synapse_config)?;
        if let Some(media_store) = media_store {
            media_store.clone_into(&mut config.media_store_path);
        }
        Ok(Some(Configuration { config, surroundings }))
    }
}

/// Synapse's configuration.
#[derive(Debug)]
pub(super) struct Configuration {
    /// What is read goes by this.
    pub(super) config: SynapseConfig,
    /// How Synapse is operated.
    pub(super) surroundings: Surroundings,
}

/// Why the file of a token or a key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("reading `{}`; run the importer as a user who may read it, or correct `{option}`", path.display())]
pub(super) struct SecretFileError {
    option: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// Reads the file of a token or a key.
pub(super) fn read_secret(
    option: &'static str,
    path: &Path,
) -> Result<SecretString, SecretFileError> {
    let text = std::fs::read_to_string(path).map_err(|source| SecretFileError {
        option,
        path: path.to_owned(),
        source,
    })?;
    Ok(SecretString::from(text.trim()))
}
