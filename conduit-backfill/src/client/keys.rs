//! Keys of other servers, as the upstream knows them.

use std::collections::BTreeMap;

use reqwest::Method;
use ruma::{
    CanonicalJsonObject, MilliSecondsSinceUnixEpoch, OwnedServerName, OwnedServerSigningKeyId,
    ServerName,
    serde::Base64,
    signatures::{PublicKeyMap, verify_json},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Client, ClientError};
use crate::{client::error::Subject, host::VerifyKey};

#[derive(Deserialize)]
struct Answer {
    server_keys: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ServerKeys {
    server_name: OwnedServerName,
    valid_until_ts: MilliSecondsSinceUnixEpoch,
    verify_keys: BTreeMap<OwnedServerSigningKeyId, Key>,
    #[serde(default)]
    old_verify_keys: BTreeMap<OwnedServerSigningKeyId, OldKey>,
}

#[derive(Deserialize)]
struct Key {
    key: Base64,
}

#[derive(Deserialize)]
struct OldKey {
    key: Base64,
    expired_ts: MilliSecondsSinceUnixEpoch,
}

impl Client {
    /// The keys of a server that the upstream knows, also of one that is gone: `GET /_matrix/key/v2/query/{server}`. Only
    /// those that the server has signed itself.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub async fn server_keys(&self, server: &ServerName) -> Result<Vec<VerifyKey>, ClientError> {
        let url = self.url_of("key", &["v2", "query", server.as_str()], &[]);
        let answer: Answer = self.send(Method::GET, url, None, Subject::Keys).await?;
        Ok(answer.server_keys.iter().filter_map(|keys| read(server, keys)).flatten().collect())
    }
}

/// The keys of an answer, if their server has signed it.
fn read(server: &ServerName, answer: &RawValue) -> Option<Vec<VerifyKey>> {
    let keys: ServerKeys = serde_json::from_str(answer.get()).ok()?;
    let json: CanonicalJsonObject = serde_json::from_str(answer.get()).ok()?;
    if keys.server_name != server {
        return None;
    }
    let own = keys.verify_keys.iter().map(|(id, key)| (id.to_string(), key.key.clone())).collect();
    let mut signed = json;
    // The upstream has signed it too.
    if let Some(ruma::CanonicalJsonValue::Object(signatures)) = signed.get_mut("signatures") {
        signatures.retain(|name, _| name == server.as_str());
    }
    verify_json(&PublicKeyMap::from([(server.to_string(), own)]), &signed).ok()?;
    let key = |key_id, key: Base64, until: MilliSecondsSinceUnixEpoch| VerifyKey {
        key_id,
        key: key.into_inner(),
        valid_until_ts: until.get().into(),
    };
    let current = keys.verify_keys.into_iter().map(|(id, of)| key(id, of.key, keys.valid_until_ts));
    let old = keys.old_verify_keys.into_iter().map(|(id, of)| key(id, of.key, of.expired_ts));
    Some(current.chain(old).collect())
}

#[cfg(test)]
mod tests {
    use ruma::{CanonicalJsonObject, server_name, signatures::sign_json};
    use serde_json::{json, value::to_raw_value};

    use super::read;
    use crate::{SigningKey, host::VerifyKey};

    fn document(name: &str) -> CanonicalJsonObject {
        let key = SigningKey::new("1", &[7; 32]).unwrap();
        let document = json!({
            "server_name": name, "valid_until_ts": 20,
            "verify_keys": {"ed25519:1": {"key": key.public_key()}},
            "old_verify_keys": {"ed25519:0": {"key": "AAAA", "expired_ts": 10}},
        });
        let mut document = serde_json::from_value(document).unwrap();
        sign_json(name, &key, &mut document).unwrap();
        sign_json("notary.example.org", &SigningKey::new("n", &[8; 32]).unwrap(), &mut document)
            .unwrap();
        document
    }

    #[test]
    fn keys_are_those_that_their_server_signed() {
        let name = server_name!("gone.example.org");
        let text = to_raw_value(&document(name.as_str())).unwrap();
        let keys = read(name, &text).unwrap();
        let short: Vec<_> = keys
            .iter()
            .map(|VerifyKey { key_id, key, valid_until_ts }| {
                (key_id.as_str(), key.len(), *valid_until_ts)
            })
            .collect();
        assert_eq!(short, [("ed25519:1", 32, 20), ("ed25519:0", 3, 10)]);
        assert!(read(server_name!("other.example.org"), &text).is_none());
        let mut forged = document(name.as_str());
        forged.insert("valid_until_ts".into(), ruma::int!(30).into());
        assert!(read(name, &to_raw_value(&forged).unwrap()).is_none());
    }
}
