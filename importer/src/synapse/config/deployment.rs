//! What of Synapse's configuration concerns its operation, not its data: for checks alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, MappedPath, document::Document, is_on, providers, scalar};

/// How Synapse is operated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    /// Addresses at which a running Synapse answers from this machine.
    pub listeners: Vec<SocketAddr>,
    /// `pid_file`, where a Synapse that was started as a daemon notes its process.
    pub pid_file: Option<PathBuf>,
    /// `media_storage_providers` that are no directories, by module.
    pub media_providers: Vec<String>,
    /// `modules`, by name.
    pub modules: Vec<String>,
    /// Keys that let somebody else decide about logins, such as `oidc_providers`.
    pub other_logins: Vec<&'static str>,
    /// What Synapse does for its users and Conduit may not.
    pub services: BTreeSet<Service>,
    /// `public_baseurl`.
    pub public_baseurl: Option<String>,
    /// `enable_registration`.
    pub registration: bool,
    /// `max_upload_size` in bytes.
    pub max_upload_bytes: u64,
    /// Whether `enable_media_repo` is off: another process, or another program, keeps the media.
    pub media_elsewhere: bool,
    /// Relative paths that mean one file from the present directory and another beside the configuration: the key, what
    /// was taken, what else is there.
    pub ambiguous_paths: Vec<(String, PathBuf, PathBuf)>,
    /// What would make absolute paths exist that are not there, as in a container.
    pub proposed_paths: Vec<MappedPath>,
    /// Files given as configuration that hold no mapping: Synapse passes over them.
    pub passed_over: Vec<PathBuf>,
}

/// Keys of other ways to log in, and the key within them that switches them on, if there is one.
const OTHER_LOGINS: [(&str, Option<&str>); 6] = [
    ("oidc_providers", None),
    ("oidc_config", Some("enabled")),
    ("saml2_config", Some("enabled")),
    ("cas_config", Some("enabled")),
    ("password_providers", None),
    ("ldap_config", Some("enabled")),
];

/// Something that Synapse does if its configuration says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// `turn_uris`: calls through a TURN server. `turn_shared_secret` is not read: the operator copies it to Conduit's
    /// configuration.
    Turn,
    /// `federation_domain_whitelist`: only these servers.
    FederationWhitelist,
    /// `retention`: messages are deleted after a time.
    Retention,
    /// `media_retention`: files are.
    MediaRetention,
    /// `serve_server_wellknown`: Synapse tells other servers where it is.
    ServerWellKnown,
    /// `extra_well_known_client_content`: it tells clients more than its address.
    ExtraWellKnown,
    /// `auto_join_rooms`: new accounts join rooms.
    AutoJoin,
    /// `email`: passwords reset by e-mail, notifications.
    Email,
    /// `user_consent`: terms that users have to accept.
    Consent,
    /// `server_notices`: messages of the server's own.
    Notices,
    /// `enable_media_repo: false`: another program has the media.
    OtherMediaRepository,
    /// `jwt_config`: logins by JSON Web Tokens.
    Jwt,
}

/// Keys that are lists or tables, and what they are for if they hold anything.
const FILLED: [(&str, Service); 6] = [
    ("turn_uris", Service::Turn),
    ("extra_well_known_client_content", Service::ExtraWellKnown),
    ("auto_join_rooms", Service::AutoJoin),
    ("email", Service::Email),
    ("user_consent", Service::Consent),
    ("server_notices", Service::Notices),
];
/// Switches, and the tables in which they are.
const SWITCHES: [(Option<&str>, &str, Service); 3] = [
    (Some("retention"), "enabled", Service::Retention),
    (Some("jwt_config"), "enabled", Service::Jwt),
    (None, "serve_server_wellknown", Service::ServerWellKnown),
];

#[derive(Deserialize)]
struct Listener {
    port: Option<u16>,
    #[serde(default)]
    bind_addresses: Vec<String>,
    bind_address: Option<String>,
}

#[derive(Deserialize)]
struct Module {
    module: Option<String>,
}

impl Deployment {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn read(files: &[PathBuf]) -> Result<Self, ConfigError> {
        Self::of(&Document::read(&files.into())?)
    }

    pub(super) fn of(document: &Document) -> Result<Self, ConfigError> {
        let listeners: Vec<Listener> = document.get("listeners")?.unwrap_or_default();
        let mut other_logins = Vec::new();
        for (key, switch) in OTHER_LOGINS {
            let on = match document.get::<Value>(key)? {
                Some(Value::Array(entries)) => !entries.is_empty(),
                Some(Value::Object(section)) => {
                    switch.is_none_or(|switch| section.get(switch).is_some_and(is_on))
                }
                Some(_) | None => false,
            };
            if on {
                other_logins.push(key);
            }
        }
        Ok(Self {
            listeners: listeners.iter().filter_map(Listener::address).collect(),
            pid_file: document
                .get::<Value>("pid_file")?
                .as_ref()
                .and_then(Value::as_str)
                .map(|path| document.mapped(path.as_ref())),
            media_providers: providers(document)?
                .into_iter()
                .filter(|provider| provider.directory().is_none())
                .map(|provider| provider.module)
                .collect(),
            modules: modules(document, "modules")?,
            other_logins,
            services: services(document)?,
            public_baseurl: document
                .get::<Value>("public_baseurl")?
                .as_ref()
                .and_then(Value::as_str)
                .map(ToOwned::to_owned),
            registration: document.get::<Value>("enable_registration")?.as_ref().is_some_and(is_on),
            max_upload_bytes: document
                .get::<Value>("max_upload_size")?
                .as_ref()
                .and_then(scalar)
                .and_then(|size| bytes(&size))
                .unwrap_or(50 << 20),
            media_elsewhere: document.get::<Value>("enable_media_repo")?
                == Some(Value::Bool(false)),
            ambiguous_paths: document.ambiguous(),
            proposed_paths: document.proposed(),
            passed_over: document.passed_over().to_vec(),
        })
    }
}

impl Listener {
    /// Where it answers from here: a wildcard address does on loopback, too. Sockets without a port are passed over.
    fn address(&self) -> Option<SocketAddr> {
        let first = self.bind_addresses.first().or(self.bind_address.as_ref());
        let bound: Option<IpAddr> = first.and_then(|address| address.parse().ok());
        let address = bound.filter(|address| !address.is_unspecified());
        Some(SocketAddr::new(address.unwrap_or(Ipv4Addr::LOCALHOST.into()), self.port?))
    }
}

fn services(document: &Document) -> Result<BTreeSet<Service>, ConfigError> {
    let mut services = BTreeSet::new();
    for (key, service) in FILLED {
        let is_filled = match document.get::<Value>(key)? {
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(table)) => !table.is_empty(),
            Some(_) | None => false,
        };
        services.extend(is_filled.then_some(service));
    }
    for (table, key, service) in SWITCHES {
        let value = match table {
            Some(table) => document.get::<Value>(table)?.and_then(|table| table.get(key).cloned()),
            None => document.get(key)?,
        };
        services.extend(value.as_ref().is_some_and(is_on).then_some(service));
    }
    // Even an empty list keeps all others out.
    let whitelist: Option<Value> = document.get("federation_domain_whitelist")?;
    services.extend(whitelist.is_some().then_some(Service::FederationWhitelist));
    let media: Option<Value> = document.get("media_retention")?;
    let lifetimes = ["local_media_lifetime", "remote_media_lifetime"];
    let has =
        |key: &&str| media.as_ref().and_then(|media| media.get(key)).is_some_and(|v| !v.is_null());
    services.extend(lifetimes.iter().any(has).then_some(Service::MediaRetention));
    let repository: Option<Value> = document.get("enable_media_repo")?;
    let is_elsewhere = repository.as_ref().is_some_and(|on| !is_on(on));
    services.extend(is_elsewhere.then_some(Service::OtherMediaRepository));
    Ok(services)
}

fn modules(document: &Document, key: &str) -> Result<Vec<String>, ConfigError> {
    let modules: Option<Vec<Module>> = document.get(key)?;
    Ok(modules.into_iter().flatten().filter_map(|module| module.module).collect())
}

/// Synapse's sizes: a number of bytes, or one with `K`, `M` or `G`.
fn bytes(size: &str) -> Option<u64> {
    let units: BTreeMap<char, u64> = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)].into();
    let unit = size.chars().last().and_then(|last| units.get(&last).copied());
    let number = if unit.is_some() { size.get(..size.len().checked_sub(1)?)? } else { size };
    number.trim().parse::<u64>().ok()?.checked_mul(unit.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Deployment {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Deployment::read(&[file.path().to_owned()]).unwrap()
    }

    #[test]
    fn everything_is_read() {
        let deployment = read(
            "pid_file: /run/synapse.pid\n\
             listeners: [{port: 8008, bind_addresses: ['::', '0.0.0.0']}, {port: 8009, bind_addresses: ['127.0.0.2']}, {path: /run/s}]\n\
             media_storage_providers: [{module: s3_storage_provider.S3StorageProviderBackend, config: {}}, {module: file_system, config: {directory: /x}}]\n\
             modules: [{module: spam.Checker}]\n\
             oidc_providers: [{idp_id: x}]\njwt_config: {enabled: true}\ncas_config: {enabled: false}\n\
             enable_registration: yes\nmax_upload_size: 2M\n",
        );
        assert_eq!(
            deployment,
            Deployment {
                listeners: vec![
                    "127.0.0.1:8008".parse().unwrap(),
                    "127.0.0.2:8009".parse().unwrap()
                ],
                pid_file: Some("/run/synapse.pid".into()),
                media_providers: vec!["s3_storage_provider.S3StorageProviderBackend".into()],
                modules: vec!["spam.Checker".into()],
                other_logins: vec!["oidc_providers"],
                services: [Service::Jwt].into(),
                public_baseurl: None,
                registration: true,
                max_upload_bytes: 2 << 20,
                ..Deployment::default()
            }
        );
    }

    #[test]
    fn what_synapse_does_for_its_users_is_known() {
        for (text, service) in [
            ("turn_uris: ['turn:t']", Service::Turn),
            ("federation_domain_whitelist: []", Service::FederationWhitelist),
            ("retention: {enabled: true}", Service::Retention),
            ("media_retention: {local_media_lifetime: 90d}", Service::MediaRetention),
            ("serve_server_wellknown: true", Service::ServerWellKnown),
            ("extra_well_known_client_content: {a: b}", Service::ExtraWellKnown),
            ("auto_join_rooms: ['#a:own.test']", Service::AutoJoin),
            ("email: {smtp_host: mail}", Service::Email),
            ("user_consent: {version: 1.0}", Service::Consent),
            ("server_notices: {system_mxid_localpart: notices}", Service::Notices),
            ("enable_media_repo: false", Service::OtherMediaRepository),
            ("jwt_config: {enabled: true}", Service::Jwt),
        ] {
            assert_eq!(read(text).services, [service].into(), "{text}");
        }
        for nothing in [
            "turn_uris: []",
            "retention: {enabled: false}",
            "media_retention: {local_media_lifetime: null}",
            "email: null",
            "enable_media_repo: true",
            "jwt_config: {enabled: false}",
        ] {
            assert_eq!(read(nothing).services, BTreeSet::new(), "{nothing}");
        }
        let url = read("public_baseurl: https://m.own.test/").public_baseurl;
        assert_eq!(url.as_deref(), Some("https://m.own.test/"));
    }

    #[test]
    fn defaults_are_synapses() {
        let defaults = Deployment { max_upload_bytes: 50 << 20, ..Deployment::default() };
        assert_eq!(read("server_name: own.test\n"), defaults);
        assert_eq!(read("max_upload_size: many\n"), defaults);
    }
}
