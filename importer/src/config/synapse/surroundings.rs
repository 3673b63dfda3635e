//! What of Synapse's configuration concerns its operation, not its data: for checks alone.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, document::Document, is_on, scalar};

/// How Synapse is operated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Addresses at which a running Synapse answers from this machine.
    pub listeners: Vec<SocketAddr>,
    /// `pid_file`, where a Synapse that was started as a daemon notes its process.
    pub pid_file: Option<PathBuf>,
    /// `media_storage_providers`, by module.
    pub media_providers: Vec<String>,
    /// `modules`, by name.
    pub modules: Vec<String>,
    /// Keys that let somebody else decide about logins, such as `oidc_providers`.
    pub other_logins: Vec<&'static str>,
    /// `enable_registration`.
    pub registration: bool,
    /// `max_upload_size` in bytes.
    pub max_upload_bytes: u64,
}

/// Keys of other ways to log in, and the key within them that switches them on, if there is one.
const OTHER_LOGINS: [(&str, Option<&str>); 7] = [
    ("oidc_providers", None),
    ("oidc_config", Some("enabled")),
    ("saml2_config", Some("enabled")),
    ("cas_config", Some("enabled")),
    ("jwt_config", Some("enabled")),
    ("password_providers", None),
    ("ldap_config", Some("enabled")),
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

impl Surroundings {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn read(files: &[PathBuf]) -> Result<Self, ConfigError> {
        let document = Document::read(files)?;
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
                .map(PathBuf::from),
            media_providers: modules(&document, "media_storage_providers")?,
            modules: modules(&document, "modules")?,
            other_logins,
            registration: document.get::<Value>("enable_registration")?.as_ref().is_some_and(is_on),
            max_upload_bytes: document
                .get::<Value>("max_upload_size")?
                .as_ref()
                .and_then(scalar)
                .and_then(|size| bytes(&size))
                .unwrap_or(50 << 20),
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

    fn read(text: &str) -> Surroundings {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Surroundings::read(&[file.path().to_owned()]).unwrap()
    }

    #[test]
    fn everything_is_read() {
        let surroundings = read(
            "pid_file: /run/synapse.pid\n\
             listeners: [{port: 8008, bind_addresses: ['::', '0.0.0.0']}, {port: 8009, bind_addresses: ['127.0.0.2']}, {path: /run/s}]\n\
             media_storage_providers: [{module: s3_storage_provider.S3StorageProviderBackend, config: {}}]\n\
             modules: [{module: spam.Checker}]\n\
             oidc_providers: [{idp_id: x}]\njwt_config: {enabled: true}\ncas_config: {enabled: false}\n\
             enable_registration: yes\nmax_upload_size: 2M\n",
        );
        assert_eq!(
            surroundings,
            Surroundings {
                listeners: vec![
                    "127.0.0.1:8008".parse().unwrap(),
                    "127.0.0.2:8009".parse().unwrap()
                ],
                pid_file: Some("/run/synapse.pid".into()),
                media_providers: vec!["s3_storage_provider.S3StorageProviderBackend".into()],
                modules: vec!["spam.Checker".into()],
                other_logins: vec!["oidc_providers", "jwt_config"],
                registration: true,
                max_upload_bytes: 2 << 20,
            }
        );
    }

    #[test]
    fn defaults_are_synapses() {
        let defaults = Surroundings { max_upload_bytes: 50 << 20, ..Surroundings::default() };
        assert_eq!(read("server_name: own.test\n"), defaults);
        assert_eq!(read("max_upload_size: many\n"), defaults);
    }
}
