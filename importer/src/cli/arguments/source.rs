//! Which Synapse to read, and how.

use std::path::{Path, PathBuf};

use anyhow::bail;
use async_trait::async_trait;
use clap::Args;
use conduit_backfill::http::HttpOptions;
use secrecy::SecretString;

use crate::{
    dump::{Extent, History, MediaFiles, REACH_BACK},
    fs::read_small_text,
    migration::{Connect, Homeserver},
    runtime::now_ms,
    source::{Source, SourceError},
    synapse::{
        api::{ApiOptions, ApiSource},
        config::{ConfigError, Configuration, Conninfo, ConninfoError, Given, MappedPath, PathMap},
        database::DatabaseSource,
    },
};

/// Arguments that name a Synapse.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct SourceArguments {
    /// Synapse's configuration, whose database is read. A file, or a directory for all `*.yaml` in it; may be given
    /// several times, in the order in which Synapse is started with them [default: SYNAPSE_CONFIG_PATH, as in Synapse's image]
    #[arg(long, value_name = "PATH")]
    synapse_config: Vec<PathBuf>,
    #[command(flatten)]
    place: PlaceArguments,
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
    history: History,
    /// With `--history recent`: how many older events of a room to dump at most, to include what its newest ones
    /// answer, edit or react to. A stock Conduit refuses replies in a thread whose first event is missing
    #[arg(long, value_name = "EVENTS", default_value_t = REACH_BACK)]
    reach_back: u32,
    /// How the dump holds media files [default: refer with a database, copy with the APIs, which can't refer]
    #[arg(long, value_enum)]
    media: Option<MediaFiles>,
    /// Also dump the files of other servers that this one has cached; only the database lists them
    #[arg(long, conflicts_with = "homeserver")]
    remote_media: bool,
    /// Move the newest access token of each session that its client would refresh, instead of logging the session out.
    /// Tokens never expire on Conduit: whoever obtains such a token can use it until the user logs out
    #[arg(long, conflicts_with = "homeserver")]
    keep_expiring_tokens: bool,
}

/// Arguments that say where what Synapse's configuration names is here.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct PlaceArguments {
    /// Where a directory named in Synapse's configuration is on this machine, if Synapse runs in a container; may be
    /// given several times
    #[arg(long, value_name = "/THERE=/HERE", conflicts_with = "homeserver")]
    map_path: Vec<MappedPath>,
    /// How PostgreSQL is reached from here, as `postgresql://USER@HOST:PORT/DATABASE` or `host=… port=…`; the
    /// configuration supplies the rest. No password: it comes from the configuration, `PGPASSWORD` or `~/.pgpass`
    #[arg(long, value_name = "URL", value_parser = without_password, conflicts_with = "homeserver")]
    synapse_database: Option<Conninfo>,
    /// File with the password for `--synapse-database`
    #[arg(long, value_name = "FILE", requires = "synapse_database")]
    synapse_database_password_file: Option<PathBuf>,
}

impl PlaceArguments {
    /// With the files of the configuration, or those that the environment names.
    fn given(&self, files: &[PathBuf]) -> Result<Given, ConfigError> {
        let files = if files.is_empty() { of_environment() } else { files.to_vec() };
        let password = self.synapse_database_password_file.as_deref().map(|path| {
            read_small_text(path).map_err(|source| ConfigError::Io {
                key: None,
                path: path.to_owned(),
                proposed: None,
                source,
            })
        });
        let password = password.transpose()?;
        Ok(Given {
            files,
            map: PathMap::new(self.map_path.clone()),
            database: self.synapse_database.clone(),
            database_password: password.map(|text| text.trim_end_matches(['\r', '\n']).into()),
        })
    }
}

/// The configuration that Synapse's container image takes (`docker/start.py` of Synapse).
fn of_environment() -> Vec<PathBuf> {
    std::env::var_os("SYNAPSE_CONFIG_PATH").map(PathBuf::from).into_iter().collect()
}

/// Connection settings without a password, which all users of a machine could see.
fn without_password(text: &str) -> Result<Conninfo, String> {
    let settings: Conninfo = text.parse().map_err(|error: ConninfoError| error.to_string())?;
    if settings.get("password").is_some() {
        return Err("a password on a command line can be seen by others; put it into a file and name the file with `--synapse-database-password-file`".into());
    }
    Ok(settings)
}

impl SourceArguments {
    /// Synapse's configuration, as it was given.
    pub(in crate::cli) fn files(&self) -> &[PathBuf] {
        &self.synapse_config
    }

    /// The options that say where the directories of Synapse's container are.
    pub(in crate::cli) fn mapped(&self) -> Vec<String> {
        self.place.map_path.iter().map(ToString::to_string).collect()
    }

    /// Synapse's signing key file: the given one, or the one that its configuration names.
    pub(in crate::cli) fn signing_key<'a>(
        &'a self,
        configuration: &'a Result<Option<Configuration>, ConfigError>,
    ) -> Option<&'a Path> {
        let configured = configuration.as_ref().ok().and_then(Option::as_ref);
        let configured = || configured.and_then(|known| known.signing_key_path.as_deref());
        self.signing_key.as_deref().or_else(configured)
    }

    /// The homeserver that these arguments name, with its [`Self::configuration`].
    pub(in crate::cli) fn homeserver<'a>(
        &'a self,
        configuration: &'a Result<Option<Configuration>, ConfigError>,
    ) -> Homeserver<'a> {
        Homeserver {
            configuration: configuration.as_ref().map(Option::as_ref),
            extent: self.extent(),
            connect: self,
        }
    }

    /// Refuses a command line that names no Synapse.
    pub(in crate::cli) fn named(&self) -> Result<(), NoSource> {
        let is_named = self.homeserver.is_some()
            || !self.synapse_config.is_empty()
            || !of_environment().is_empty();
        if is_named { Ok(()) } else { Err(NoSource) }
    }

    /// How much is asked for.
    pub(in crate::cli) fn extent(&self) -> Extent {
        let default = if self.homeserver.is_some() { MediaFiles::Copy } else { MediaFiles::Refer };
        Extent {
            history: self.history,
            reach_back: if self.history == History::Recent { self.reach_back } else { 0 },
            media: self.media.unwrap_or(default),
            remote_media: self.remote_media,
            keep_expiring_tokens: self.keep_expiring_tokens,
        }
    }

    /// Synapse's configuration, if it is read by its database. Checks and the dump go by the same value. `media_store` is
    /// where its media are, if elsewhere than it says.
    pub(in crate::cli) fn configuration(
        &self,
        media_store: Option<&Path>,
    ) -> Result<Option<Configuration>, ConfigError> {
        if self.homeserver.is_some() || self.named().is_err() {
            return Ok(None);
        }
        let given = self.place.given(&self.synapse_config)?;
        let mut read = Configuration::read(&given)?;
        if let Some(media_store) = media_store {
            media_store.clone_into(&mut read.config.media_store_path);
        }
        Ok(Some(read))
    }
}

#[async_trait(?Send)]
impl Connect for SourceArguments {
    async fn connect(
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
                extent: self.extent(),
                now_ts: now_ms(),
                http: HttpOptions::default(),
            };
            if options.extent.media == MediaFiles::Refer {
                bail!(
                    "the APIs don't say where media files are; use `--media copy` or `--media none`"
                );
            }
            return Ok(Box::new(ApiSource::connect(options).await.map_err(SourceError::from)?));
        }
        let Configuration { config, .. } = configuration.ok_or(NoSource)?;
        let source = DatabaseSource::open(config, self.extent(), now_ms()).await;
        Ok(Box::new(source.map_err(SourceError::from)?))
    }
}

/// Nothing says which Synapse to read.
#[derive(Debug, thiserror::Error)]
#[error(
    "no Synapse is named; give `--synapse-config` to read its database, or `--homeserver` to read its APIs"
)]
pub(in crate::cli) struct NoSource;

/// Why the file of a token or a key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("reading `{}`; run the importer as a user who may read it, or correct `{option}`", path.display())]
pub(in crate::cli) struct SecretFileError {
    option: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// Reads the file of a token or a key.
pub(in crate::cli) fn read_secret(
    option: &'static str,
    path: &Path,
) -> Result<SecretString, SecretFileError> {
    let text = read_small_text(path).map_err(|source| SecretFileError {
        option,
        path: path.to_owned(),
        source,
    })?;
    Ok(SecretString::from(text.trim()))
}
