//! What of Conduit's configuration concerns its operation, not its database: for checks alone.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use serde::Deserialize;

use super::ConduitConfigError;

/// How Conduit will be operated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConduitService {
    /// `address` and `port`.
    pub listen: SocketAddr,
    /// `allow_registration`.
    pub registration: bool,
    /// `allow_federation`.
    pub federation: bool,
    /// `max_request_size` in bytes.
    pub max_request_bytes: u64,
}

#[derive(Deserialize)]
struct File {
    global: Global,
}

/// Defaults are Conduit's (src/config/mod.rs:730-765).
#[derive(Deserialize)]
struct Global {
    address: Option<IpAddr>,
    port: Option<u16>,
    #[serde(default)]
    allow_registration: bool,
    #[serde(default)]
    allow_federation: bool,
    max_request_size: Option<u64>,
}

impl ConduitService {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// [`ConduitConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConduitConfigError> {
        let File { global } = super::parse(path)?;
        let address = global.address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        Ok(Self {
            listen: SocketAddr::new(address, global.port.unwrap_or(8000)),
            registration: global.allow_registration,
            federation: global.allow_federation,
            max_request_bytes: global.max_request_size.unwrap_or(20 << 20),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_defaults_are_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            ConduitService::read(file.path()).unwrap()
        };
        assert_eq!(
            read("[global]\n"),
            ConduitService {
                listen: "127.0.0.1:8000".parse().unwrap(),
                registration: false,
                federation: false,
                max_request_bytes: 20 << 20,
            }
        );
        assert_eq!(
            read(
                "[global]\naddress = \"::1\"\nport = 6167\nallow_registration = true\nallow_federation = true\nmax_request_size = 5\n"
            ),
            ConduitService {
                listen: "[::1]:6167".parse().unwrap(),
                registration: true,
                federation: true,
                max_request_bytes: 5,
            }
        );
    }
}
