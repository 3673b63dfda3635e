//! Public keys of servers: those of this server, and those of other servers as Conduit has kept them. The library asks the old
//! Synapse for further ones.

use std::collections::BTreeMap;

use conduit_backfill::{
    host::VerifyKey,
    http::{Http, HttpError, HttpOptions, Repeat},
};
use reqwest::Url;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, OwnedServerSigningKeyId, ServerName,
    serde::{Base64, base64::Standard},
    signatures::{PublicKeyMap, verify_json},
};

/// The largest integer of Matrix's JSON.
const NEVER: u64 = (1 << 53) - 1;

/// Keys that are known without the database.
#[derive(Clone, Debug)]
pub struct Keys {
    server_name: OwnedServerName,
    known: BTreeMap<OwnedServerName, Vec<VerifyKey>>,
}

/// Why the old Synapse can't be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not `http://…` or `https://…`.
    #[error(
        "`--homeserver` begins with neither http:// nor https://; give one such as http://127.0.0.1:8008"
    )]
    BadUrl,
    /// Nobody answers, or the HTTP client can't be made.
    #[error("Synapse does not answer at {url}; start it, or correct `--homeserver`")]
    Unreachable {
        /// The URL, without user and password.
        url: String,
        /// What happened.
        #[source]
        source: HttpError,
    },
    /// What answers publishes no keys.
    #[error(
        "what answers at {url} publishes no signing keys; name a listener with the resource `federation`"
    )]
    NotFederation {
        /// The URL.
        url: String,
    },
    /// The server signs with another key.
    #[error(
        "the server at {url} does not sign with the key {key_id}; name the key file that its `signing_key_path` names"
    )]
    OtherKey {
        /// The URL.
        url: String,
        /// The key.
        key_id: String,
    },
}

impl Keys {
    /// Asks the Synapse at `base` who it is and which keys it had (`/_matrix/key/v2/server`), and believes it if it signs
    /// with the key `own`: its id and the public key.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(
        base: &Url,
        own: &(String, Vec<u8>),
        options: HttpOptions,
    ) -> Result<Self, ConnectError> {
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(ConnectError::BadUrl);
        }
        let url = base.origin().ascii_serialization();
        let unreachable = |source| ConnectError::Unreachable { url: url.clone(), source };
        let http = Http::new(options).map_err(unreachable)?;
        let mut server = base.clone();
        if let Ok(mut segments) = server.path_segments_mut() {
            segments.pop_if_empty().extend(["_matrix", "key", "v2", "server"]);
        }
        let answer = http.send(Repeat::Safe, |client| client.get(server.clone())).await;
        let answer = answer.map_err(unreachable)?;
        let object = serde_json::from_slice::<CanonicalJsonObject>(&answer.body).ok();
        let name = object.as_ref().and_then(|object| object.get("server_name")?.as_str());
        let name = name.and_then(|name| ServerName::parse(name).ok());
        let (Some(object), Some(server_name)) = (&object, name) else {
            return Err(ConnectError::NotFederation { url });
        };
        if !is_signed(object, &server_name, own) {
            return Err(ConnectError::OtherKey { url, key_id: own.0.clone() });
        }
        let mut keys = published(object);
        if let Ok(key_id) = OwnedServerSigningKeyId::try_from(own.0.as_str()) {
            // It signs for as long as this server lives.
            keys.push(VerifyKey { key_id, key: own.1.clone(), valid_until_ts: NEVER });
        }
        Ok(Self::known(server_name.clone(), BTreeMap::from([(server_name, keys)])))
    }

    /// These keys, and what the database has.
    pub fn known(
        server_name: OwnedServerName,
        known: BTreeMap<OwnedServerName, Vec<VerifyKey>>,
    ) -> Self {
        Self { server_name, known }
    }

    /// The server's name.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// The keys of a server; `kept` is what Conduit has. Of one key, the longest time counts.
    pub(super) fn of(&self, server: &ServerName, kept: Option<&[u8]>) -> Vec<VerifyKey> {
        let kept = kept.and_then(|kept| serde_json::from_slice(kept).ok());
        let kept = kept.as_ref().map(published).unwrap_or_default();
        let known = self.known.get(server).into_iter().flatten().cloned();
        let mut keys: BTreeMap<_, VerifyKey> = BTreeMap::new();
        for key in known.chain(kept) {
            let same = keys.entry((key.key_id.clone(), key.key.clone()));
            let same = same.or_insert_with(|| key.clone());
            same.valid_until_ts = same.valid_until_ts.max(key.valid_until_ts);
        }
        keys.into_values().collect()
    }
}

/// Whether the own key has signed it.
fn is_signed(object: &CanonicalJsonObject, server: &ServerName, own: &(String, Vec<u8>)) -> bool {
    let mut object = object.clone();
    if let Some(CanonicalJsonValue::Object(signatures)) = object.get_mut("signatures") {
        signatures.retain(|name, _| name == server.as_str());
        if let Some(CanonicalJsonValue::Object(signatures)) = signatures.get_mut(server.as_str()) {
            signatures.retain(|key, _| *key == own.0);
        }
    }
    let key = [(own.0.clone(), Base64::new(own.1.clone()))];
    verify_json(&PublicKeyMap::from([(server.to_string(), key.into())]), &object).is_ok()
}

/// The keys of a server's own publication: <https://spec.matrix.org/v1.16/server-server-api/#publishing-keys>.
fn published(object: &CanonicalJsonObject) -> Vec<VerifyKey> {
    let number = |object: &CanonicalJsonObject, name: &str| {
        let number = object.get(name).and_then(CanonicalJsonValue::as_integer);
        number.and_then(|number| u64::try_from(i64::from(number)).ok())
    };
    let valid_until = number(object, "valid_until_ts");
    let mut keys = Vec::new();
    for (name, ends) in [("verify_keys", None), ("old_verify_keys", Some("expired_ts"))] {
        let listed = object.get(name).and_then(CanonicalJsonValue::as_object);
        for (id, key) in listed.into_iter().flatten() {
            let Some(key) = key.as_object() else { continue };
            let valid_until_ts = ends.map_or(valid_until, |ends| number(key, ends));
            let bytes = key.get("key").and_then(CanonicalJsonValue::as_str);
            let bytes = bytes.and_then(|key| Base64::<Standard>::parse(key).ok());
            let id = OwnedServerSigningKeyId::try_from(id.as_str()).ok();
            if let (Some(key_id), Some(bytes), Some(valid_until_ts)) = (id, bytes, valid_until_ts) {
                keys.push(VerifyKey { key_id, key: bytes.into_inner(), valid_until_ts });
            }
        }
    }
    keys
}
