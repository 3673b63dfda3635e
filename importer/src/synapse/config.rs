//! `homeserver.yaml`: only what a migration needs of it.
//!
//! Several files make one configuration, as with Synapse's `-c a.yaml -c b.yaml`: a top-level key of a later file replaces
//! the whole key of an earlier one. A directory stands for its `*.yaml` files, sorted. Relative paths mean what they
//! mean to Synapse, which resolves them against the directory it runs in; what is not found from the present directory
//! is looked for beside the file that names it. Absolute ones mean what `--map-path` says.

mod conninfo;
mod database;
mod deployment;
mod document;
mod error;
mod given;
mod keys;
mod postgres;
mod yaml;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ruma::{OwnedServerName, OwnedUserId};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

pub use self::{
    conninfo::{Conninfo, ConninfoError},
    database::DatabaseConfig,
    deployment::{Deployment, Service},
    error::{ConfigError, Unreadable},
    given::{Given, MappedPath, PathMap},
    keys::parse_signing_keys,
    postgres::PostgresConfig,
};
use self::{
    document::{Document, scalar},
    keys::OldKey,
};
use crate::dump::format::{DumpAppservice, DumpOldSigningKey, DumpSigningKey};

/// What a migration needs of Synapse's configuration.
#[derive(Clone, Debug)]
pub struct SynapseConfig {
    /// `server_name`.
    pub server_name: OwnedServerName,
    /// Where Synapse's `main` tables are.
    pub database: DatabaseConfig,
    /// Where the tables of room states are, if elsewhere (`databases` with several `data_stores`).
    pub state_database: Option<DatabaseConfig>,
    /// The first key of `signing_key_path` or `signing_key`: the one that signs.
    pub signing_key: DumpSigningKey,
    /// Further keys of that file: still published as valid, but not signing.
    pub further_signing_keys: Vec<DumpSigningKey>,
    /// `old_signing_keys`, sorted by id.
    pub old_signing_keys: Vec<DumpOldSigningKey>,
    /// `password_config.pepper`, if it is not empty.
    pub password_pepper: Option<SecretString>,
    /// `media_store_path`.
    pub media_store_path: PathBuf,
    /// Further directories with media: `backup_media_store_path`, and `media_storage_providers` that are directories.
    pub media_providers: Vec<PathBuf>,
    /// The files of `app_service_config_files`, in their order.
    pub appservices: Vec<DumpAppservice>,
    /// Whether another service does logins (Matrix Authentication Service): tokens, passwords and single sign-on ids are
    /// then not in Synapse's database.
    pub delegated_auth: bool,
    /// Whether Synapse runs in several processes.
    pub workers: bool,
    /// The switches of `experimental_features` that are on.
    pub experimental_features: BTreeSet<String>,
}

/// Synapse's whole configuration, as far as it matters here: read once.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What a migration needs.
    pub config: SynapseConfig,
    /// What checks look at.
    pub deployment: Deployment,
    /// The file of the signing key; `None` if the configuration itself holds the key.
    pub signing_key_path: Option<PathBuf>,
}

impl Configuration {
    /// Reads the configuration and the files it names.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; each names the file or key, none holds a value.
    pub fn read(given: &Given) -> Result<Self, ConfigError> {
        let document = Document::read(given)?;
        let config = SynapseConfig::of(&document, given)?;
        let signing_key_path = keys::path(&document, config.server_name.as_str())?;
        Ok(Self { config, deployment: Deployment::of(&document)?, signing_key_path })
    }
}

impl SynapseConfig {
    /// The directories of the media store, the main one first, as absolute paths: later commands may run in another directory.
    pub fn media_roots(&self) -> Vec<PathBuf> {
        let roots = std::iter::once(&self.media_store_path).chain(&self.media_providers);
        roots.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())).collect()
    }

    /// Reads the configuration and the files it names: signing key and application services.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; each names the file or key, none holds a value.
    pub fn read(files: &[PathBuf]) -> Result<Self, ConfigError> {
        let given = files.into();
        Self::of(&Document::read(&given)?, &given)
    }

    fn of(document: &Document, given: &Given) -> Result<Self, ConfigError> {
        Self::all_of(document, given).map_err(|error| with_others(error, document, given))
    }

    fn all_of(document: &Document, given: &Given) -> Result<Self, ConfigError> {
        let server_name: OwnedServerName =
            document.get("server_name")?.ok_or(ConfigError::Missing { key: "server_name" })?;
        let (database, state_database) = database::read(document, given)?;
        let mut keys = keys::read(document, server_name.as_str())?.into_iter();
        let signing_key = keys.next().ok_or(ConfigError::Missing { key: "signing_key_path" })?;
        Ok(Self {
            server_name,
            database,
            state_database,
            signing_key,
            further_signing_keys: keys.collect(),
            old_signing_keys: document
                .get::<BTreeMap<String, OldKey>>("old_signing_keys")?
                .unwrap_or_default()
                .into_iter()
                .map(|(key_id, old)| old.named(key_id))
                .collect(),
            password_pepper: pepper(document)?,
            media_store_path: media_store_path(document)?,
            media_providers: media_providers(document)?,
            appservices: appservices(document)?,
            delegated_auth: delegated_auth(document)?,
            workers: workers(document)?,
            experimental_features: experimental_features(document)?,
        })
    }
}

impl SynapseConfig {
    /// The users that application services act as when they say nobody else, and the services. Synapse lets them do what
    /// users do whether or not they were ever registered.
    pub fn appservice_senders(&self) -> BTreeMap<OwnedUserId, String> {
        #[derive(serde::Deserialize)]
        struct Sender {
            sender_localpart: String,
        }
        let sender = |service: &DumpAppservice| {
            let text = service.registration.expose_secret();
            let Sender { sender_localpart } = serde_saphyr::from_str(text).ok()?;
            let user_id = format!("@{sender_localpart}:{}", self.server_name).try_into().ok()?;
            Some((user_id, service.id.clone()))
        };
        self.appservices.iter().filter_map(sender).collect()
    }
}

/// An error about a file that the configuration names, with those of all other such files: in a container, none of them is
/// where it says.
fn with_others(error: ConfigError, document: &Document, given: &Given) -> ConfigError {
    if !matches!(error, ConfigError::Io { key: Some(_), .. }) {
        return error;
    }
    let files = unreadable(document, given);
    if files.len() < 2 { error } else { ConfigError::Several { files } }
}

/// What keeps each file that the configuration names from being read.
fn unreadable(document: &Document, given: &Given) -> Vec<Unreadable> {
    let mut paths: Vec<(&str, PathBuf)> = Vec::new();
    if let Ok(Some(server_name)) = document.get::<String>("server_name") {
        paths.extend(
            keys::path(document, &server_name)
                .ok()
                .flatten()
                .map(|path| ("signing_key_path", path)),
        );
    }
    let services: Option<Vec<PathBuf>> = document.get_true(APPSERVICES).ok().flatten();
    let services = services.into_iter().flatten();
    paths.extend(services.map(|file| (APPSERVICES, document.resolve(APPSERVICES, &file))));
    if let Ok((main, state)) = database::read(document, given) {
        for database in [Some(main), state].into_iter().flatten() {
            if let DatabaseConfig::Sqlite { path } = database {
                paths.push(("database", path));
            }
        }
    }
    // Without the key, it is a directory that may have to be named by `--media-store`.
    let media = document.get::<PathBuf>("media_store_path").ok().flatten();
    paths.extend(
        media.map(|path| ("media_store_path", document.resolve("media_store_path", &path))),
    );
    let unreadable = |(key, path): (&str, PathBuf)| document.unreadable(key, &path);
    paths.into_iter().filter_map(unreadable).collect()
}

type Section = BTreeMap<String, Value>;

fn pepper(document: &Document) -> Result<Option<SecretString>, ConfigError> {
    let section: Section = document.get("password_config")?.unwrap_or_default();
    Ok(section
        .get("pepper")
        .and_then(scalar)
        .filter(|pepper| !pepper.is_empty())
        .map(SecretString::from))
}

fn media_store_path(document: &Document) -> Result<PathBuf, ConfigError> {
    let path: Option<PathBuf> = document.get("media_store_path")?;
    Ok(match path {
        Some(path) => document.resolve("media_store_path", &path),
        None => document.resolve("media_store_path", Path::new("media_store")),
    })
}

/// An entry of `media_storage_providers`.
#[derive(serde::Deserialize)]
struct Provider {
    #[serde(default)]
    module: String,
    #[serde(default)]
    config: Value,
}

impl Provider {
    /// Its directory, if it is one: those are read like the media store.
    fn directory(&self) -> Option<&Path> {
        let is_directory = self.module == "file_system"
            || self.module == "synapse.rest.media.v1.storage_provider"
            || self.module.ends_with(".FileStorageProviderBackend");
        Some(Path::new(self.config.get("directory")?.as_str()?)).filter(|_| is_directory)
    }
}

/// The key of [`Provider`]s.
const PROVIDERS: &str = "media_storage_providers";

fn providers(document: &Document) -> Result<Vec<Provider>, ConfigError> {
    Ok(document.get_true(PROVIDERS)?.unwrap_or_default())
}

fn media_providers(document: &Document) -> Result<Vec<PathBuf>, ConfigError> {
    let backup: Option<PathBuf> = document.get_true("backup_media_store_path")?;
    let backup = backup.map(|path| document.resolve("backup_media_store_path", &path));
    let providers = providers(document)?;
    let directories = providers.iter().filter_map(Provider::directory);
    Ok(backup
        .into_iter()
        .chain(directories.map(|directory| document.resolve(PROVIDERS, directory)))
        .collect())
}

/// The key of files of application services.
const APPSERVICES: &str = "app_service_config_files";

fn appservices(document: &Document) -> Result<Vec<DumpAppservice>, ConfigError> {
    let key = APPSERVICES;
    let files: Vec<PathBuf> = document.get_true(key)?.unwrap_or_default();
    files.iter().map(|file| appservice(document, key, &document.resolve(key, file))).collect()
}

/// Reads one registration. Its text is kept as it stands, comments included.
fn appservice(document: &Document, key: &str, path: &Path) -> Result<DumpAppservice, ConfigError> {
    let text = document.read_named(key, path)?;
    let registration = document::yaml(path, &text).map_err(|error| match error {
        ConfigError::Syntax { path, line } => ConfigError::RegistrationSyntax { path, line },
        error => error,
    })?;
    let id = registration.get("id").and_then(scalar);
    match id {
        Some(id) => Ok(DumpAppservice { id, registration: text.into() }),
        None => Err(ConfigError::Registration { path: path.to_owned() }),
    }
}

fn delegated_auth(document: &Document) -> Result<bool, ConfigError> {
    let service: Section = document.get("matrix_authentication_service")?.unwrap_or_default();
    let experimental: Section = document.get("experimental_features")?.unwrap_or_default();
    let msc3861 = experimental.get("msc3861").and_then(|section| section.get("enabled"));
    Ok([service.get("enabled"), msc3861].into_iter().flatten().any(is_on))
}

fn workers(document: &Document) -> Result<bool, ConfigError> {
    let instances: Section = document.get("instance_map")?.unwrap_or_default();
    let redis: Section = document.get("redis")?.unwrap_or_default();
    Ok(!instances.is_empty() || redis.get("enabled").is_some_and(is_on))
}

fn experimental_features(document: &Document) -> Result<BTreeSet<String>, ConfigError> {
    let section: Section = document.get("experimental_features")?.unwrap_or_default();
    Ok(section.into_iter().filter(|(_, value)| is_on(value)).map(|(name, _)| name).collect())
}

/// Whether Python takes a value for true.
fn is_on(value: &Value) -> bool {
    match value {
        Value::Bool(on) => *on,
        Value::Null => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(word) => !word.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
