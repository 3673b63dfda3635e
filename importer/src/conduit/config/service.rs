//! What of Conduit's configuration concerns its operation, not its database: for checks alone.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use toml::{Table, Value};

use super::{document::named, form::at};

/// How Conduit will be operated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "Conduit's switches, independent of each other")]
pub struct ConduitService {
    /// `address` and `port`.
    pub listen: SocketAddr,
    /// `allow_registration`.
    pub registration: bool,
    /// Whether `registration_token` is an empty text, with which Conduit does not start (src/database/mod.rs:295-297).
    pub empty_token: bool,
    /// `allow_federation`.
    pub federation: bool,
    /// `max_request_size` in bytes.
    pub max_request_bytes: u64,
    /// Whether clients are told of a TURN server: a table `turn`, or the older settings (src/config/mod.rs:330-345).
    pub turn: bool,
    /// `jwt_secret`.
    pub jwt: bool,
    /// The address that clients are told: `well_known.client`, or else `https://` and the server's name.
    pub client: String,
    /// The address that other servers are told: `well_known.server`, or else the server's name and port 443.
    pub server: String,
    /// Whether there is a policy in `media.retention`.
    pub media_retention: bool,
    /// `tls.certs` and `tls.key`.
    pub tls: Vec<PathBuf>,
    /// Whether there are variables of the environment that set any of this.
    pub has_variables: bool,
}

impl ConduitService {
    /// Reads settings that [`super::form`] has checked. Defaults are Conduit's (src/config/mod.rs:256-320, 730-800).
    pub(super) fn of(settings: &Table, has_variables: bool) -> Self {
        let text = |path: &str| at(settings, path).and_then(Value::as_str);
        let is_on = |path: &str| at(settings, path).and_then(Value::as_bool).unwrap_or(false);
        let number = |path: &str| at(settings, path).and_then(Value::as_integer);
        let unsigned = |path: &str| number(path).and_then(|number| u64::try_from(number).ok());
        let address: Option<IpAddr> = text("address").and_then(|address| address.parse().ok());
        let port = number("port").and_then(|port| u16::try_from(port).ok());
        let name = text("server_name").unwrap_or_default();
        let has_port = ruma::ServerName::parse(name).is_ok_and(|name| name.port().is_some());
        let older_turn = text("turn_secret").is_some()
            || (text("turn_username").is_some() && text("turn_password").is_some());
        Self {
            listen: SocketAddr::new(
                address.unwrap_or(Ipv4Addr::LOCALHOST.into()),
                port.unwrap_or(8000),
            ),
            registration: is_on("allow_registration"),
            empty_token: text("registration_token") == Some(""),
            federation: is_on("allow_federation"),
            max_request_bytes: unsigned("max_request_size").unwrap_or(20 << 20),
            turn: at(settings, "turn").is_some()
                || (older_turn && at(settings, "turn_uris").is_some()),
            jwt: text("jwt_secret").is_some(),
            client: text("well_known.client")
                .map_or_else(|| format!("https://{name}"), ToOwned::to_owned),
            server: text("well_known.server").map_or_else(
                || if has_port { name.to_owned() } else { format!("{name}:443") },
                ToOwned::to_owned,
            ),
            media_retention: at(settings, "media.retention").is_some(),
            tls: ["tls.certs", "tls.key"].into_iter().filter_map(text).map(PathBuf::from).collect(),
            has_variables,
        }
    }

    /// A setting as findings name it.
    pub fn named(&self, setting: &str) -> String {
        named(setting, self.has_variables)
    }
}
