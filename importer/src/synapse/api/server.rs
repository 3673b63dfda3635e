//! The server as a whole: who it is, its keys, its blocked rooms.

use std::collections::BTreeMap;

use conduit_backfill::{Client, SigningKey, client::SigningKeyError};
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{
    ApiError, ApiOptions, Synapse,
    connection::{As, Connection, Get},
    counter::Counter,
    error::optional,
    logins::Logins,
};
use crate::{
    dump::format::{DumpOldSigningKey, DumpServer, DumpSigningKey},
    tally::{Kind, Tally},
};

/// The signing keys.
#[derive(Debug)]
pub(super) struct Keys {
    current: DumpSigningKey,
    old: Vec<DumpOldSigningKey>,
}

#[derive(Deserialize)]
struct PublishedKeys {
    server_name: OwnedServerName,
    verify_keys: BTreeMap<String, VerifyKey>,
    #[serde(default)]
    old_verify_keys: BTreeMap<String, OldVerifyKey>,
}

#[derive(Deserialize)]
struct VerifyKey {
    key: String,
}

#[derive(Deserialize)]
struct OldVerifyKey {
    key: String,
    expired_ts: u64,
}

/// Connects, and checks token, signing key and server name.
pub(super) async fn connect(options: ApiOptions) -> Result<(Synapse, Keys), ApiError> {
    let file = signing_keys(&options.signing_key)?;
    let api =
        Connection::new(options.homeserver.clone(), options.admin_token, options.http.clone())?;
    let published = published_keys(&api).await?;
    if let Some(expected) = options.server_name
        && expected != published.server_name
    {
        return Err(ApiError::OtherServer { expected, found: published.server_name });
    }
    let (signing_key, keys) = check_keys(file, &published, options.now_ts)?;
    let admin = check_admin(&api).await?;
    let version = synapse_version(&api).await?;
    let server_name = published.server_name;
    let federation =
        Client::new(options.homeserver, server_name.clone(), signing_key, options.http)?;
    let logins = Logins::new(api.clone(), options.now_ts);
    let has_fetch_event = true;
    let synapse = Synapse { api, federation, server_name, admin, logins, version, has_fetch_event };
    Ok((synapse, keys))
}

/// Reads which of the rooms are blocked; the rest is known since the connection.
pub(super) async fn read(
    api: &Connection,
    server_name: &ServerName,
    keys: &Keys,
    rooms: impl Iterator<Item = &OwnedRoomId> + Send,
    tally: &mut Tally,
) -> Result<DumpServer, ApiError> {
    let mut counter = Counter::new(tally, server_name.as_str());
    counter.kept(Kind::SigningKey, keys.old.len().saturating_add(1));
    let mut blocked_rooms = Vec::new();
    for room_id in rooms {
        if is_blocked(api, room_id).await? {
            blocked_rooms.push(room_id.clone());
        }
    }
    counter.kept(Kind::BlockedRoom, blocked_rooms.len());
    Ok(DumpServer {
        server_name: server_name.to_string(),
        signing_key: keys.current.clone(),
        old_signing_keys: keys.old.clone(),
        password_pepper: None,
        media_store_path: None,
        appservices: Vec::new(),
        blocked_rooms,
    })
}

async fn is_blocked(api: &Connection, room_id: &RoomId) -> Result<bool, ApiError> {
    #[derive(Default, Deserialize)]
    struct Block {
        block: bool,
    }

    let path = ["v1", "rooms", room_id.as_str(), "block"];
    let block: Option<Block> = optional(api.admin(&path, &[]).await)?;
    Ok(block.unwrap_or_default().block)
}

/// The keys of a key file, in its order, with their seeds as they stand.
fn signing_keys(file: &SecretString) -> Result<Vec<(SigningKey, SecretString)>, ApiError> {
    let lines = file.expose_secret().lines().filter(|line| !line.trim().is_empty());
    let keys = lines.map(|line| {
        let seed = line.split_ascii_whitespace().last().unwrap_or_default();
        Ok((SigningKey::parse(line)?, SecretString::from(seed.trim_end_matches('='))))
    });
    let keys: Vec<_> = keys.collect::<Result<_, SigningKeyError>>()?;
    if keys.is_empty() { Err(SigningKeyError::NoKey.into()) } else { Ok(keys) }
}

async fn published_keys(api: &Connection) -> Result<PublishedKeys, ApiError> {
    let get =
        Get { token: As::Nobody, api: &["_matrix", "key"], path: &["v2", "server"], query: &[] };
    match api.get(get).await {
        Err(error) if error.is_absent() => Err(ApiError::NoKeys),
        other => other,
    }
}

/// The first key of the file must be published; further ones have signed earlier.
fn check_keys(
    file: Vec<(SigningKey, SecretString)>,
    published: &PublishedKeys,
    now_ts: u64,
) -> Result<(SigningKey, Keys), ApiError> {
    let mut file = file.into_iter();
    let Some((signing_key, seed)) = file.next() else {
        return Err(SigningKeyError::NoKey.into());
    };
    let is_published = |key: &SigningKey| {
        published
            .verify_keys
            .get(key.id().as_str())
            .is_some_and(|published| published.key.trim_end_matches('=') == key.public_key())
    };
    if !is_published(&signing_key) {
        let all = published.verify_keys.iter().map(|(id, key)| format!("{id} {}", key.key));
        return Err(ApiError::WrongSigningKey {
            given: format!("{} {}", signing_key.id(), signing_key.public_key()),
            published: all.collect::<Vec<_>>().join(", "),
        });
    }
    let further = file.map(|(key, _)| DumpOldSigningKey {
        key_id: key.id().to_string(),
        public_key: key.public_key(),
        expired_ts: now_ts,
    });
    let old = published.old_verify_keys.iter().map(|(id, key)| DumpOldSigningKey {
        key_id: id.clone(),
        public_key: key.key.trim_end_matches('=').to_owned(),
        expired_ts: key.expired_ts,
    });
    let old = further.chain(old).collect();
    let current = DumpSigningKey { version: signing_key.version().to_owned(), seed };
    Ok((signing_key, Keys { current, old }))
}

/// Who the administrator is.
async fn check_admin(api: &Connection) -> Result<OwnedUserId, ApiError> {
    #[derive(Deserialize)]
    struct WhoAmI {
        user_id: OwnedUserId,
    }
    #[derive(Deserialize)]
    struct IsAdmin {
        admin: bool,
    }

    let WhoAmI { user_id } = api.client(As::Admin, &["account", "whoami"], &[]).await?;
    let path = ["v1", "users", user_id.as_str(), "admin"];
    match api.admin(&path, &[]).await {
        Ok(IsAdmin { admin: true }) => Ok(user_id),
        Ok(IsAdmin { admin: false }) => Err(ApiError::NotAdmin { user: user_id.into() }),
        Err(error) if error.is_unknown_endpoint() => Err(ApiError::NoAdminApi),
        Err(error) if error.is_absent() => Err(ApiError::NotAdmin { user: user_id.into() }),
        Err(error) => Err(error),
    }
}

async fn synapse_version(api: &Connection) -> Result<Option<String>, ApiError> {
    #[derive(Deserialize)]
    struct Version {
        server_version: String,
    }

    let version = optional(api.admin(&["v1", "server_version"], &[]).await)?;
    Ok(version.map(|Version { server_version }| server_version))
}
