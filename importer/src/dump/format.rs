//! The types of the dump's files. `docs/dump-format.md` explains them with examples.
//!
//! Times are milliseconds since the Unix epoch (`_ts`). Fields that a source can't give are absent.

mod media;
mod outbox;
mod room;

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::{
    media::{DumpMedia, DumpMediaHead},
    outbox::DumpOutgoing,
    room::{DumpAlias, DumpEvent, DumpHistory, DumpMember, DumpRemoteReceipt, DumpRoom, DumpState},
};
use super::Extent;
use crate::{
    dump::{census::Census, secret},
    tally::Tally,
};

/// The version of the format this code reads and writes.
pub const VERSION: u32 = 3;

/// `manifest.json`: written last, so a directory without it is no dump.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// The server's name.
    pub server_name: String,
    /// When the dump was begun.
    pub created_ts: u64,
    /// The importer that wrote the dump: version and commit. Older dumps don't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importer: Option<String>,
    /// Where the data came from.
    pub source: SourceInfo,
    /// What was taken over from an earlier dump, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// What was read into the dump and what was left out.
    pub tally: Tally,
    /// What became of every row of Synapse's tables; only a database can tell, and older dumps don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub census: Option<Census>,
    /// Every other file, sorted by path.
    pub files: Vec<FileEntry>,
}

/// Where a dump's data came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInfo {
    /// `sqlite`, `postgres` or `api`.
    pub kind: SourceKind,
    /// Synapse's version, where it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synapse_version: Option<String>,
    /// `schema_version.version`, from a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
    /// How much was asked of it; older dumps don't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extent: Option<Extent>,
    /// Background updates that Synapse had not finished, from a database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_updates: Vec<String>,
}

/// What was taken over from an earlier dump: the histories of rooms in which nothing had happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// When the earlier dump was begun.
    pub created_ts: u64,
    /// How many rooms' histories were taken over.
    pub rooms: u64,
    /// How many timeline events they have.
    pub events: u64,
    /// Why nothing could be, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The ways to read a Synapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// Synapse's SQLite database.
    Sqlite,
    /// Synapse's PostgreSQL database.
    Postgres,
    /// The admin, client and federation APIs.
    Api,
}

/// A file of the dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path below the dump's directory, `/`-separated.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content, lower-case hexadecimal.
    pub sha256: String,
}

/// `server.json`: what belongs to the server as a whole. Contains secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpServer {
    /// The server's name.
    pub server_name: String,
    /// The key that signs now. Synapse signs with the first line of its key file.
    pub signing_key: DumpSigningKey,
    /// Further keys of the key file, and `old_signing_keys` of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub old_signing_keys: Vec<DumpOldSigningKey>,
    /// The pepper of password hashes. Known from the configuration only.
    #[serde(default, with = "secret::option", skip_serializing_if = "Option::is_none")]
    pub password_pepper: Option<SecretString>,
    /// The media directory. Known from the configuration only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_store_path: Option<String>,
    /// Registrations of application services, as their files stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub appservices: Vec<DumpAppservice>,
    /// Rooms that the server's administrators have blocked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_rooms: Vec<OwnedRoomId>,
}

/// An ed25519 signing key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpSigningKey {
    /// The part after `ed25519:`, such as `a_AbCd`.
    pub version: String,
    /// The 32-byte seed in unpadded standard base64.
    #[serde(with = "secret")]
    pub seed: SecretString,
}

/// A key that signed earlier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpOldSigningKey {
    /// The whole id, such as `ed25519:auto`.
    pub key_id: String,
    /// The public key in unpadded standard base64.
    pub public_key: String,
    /// When it stopped being valid.
    pub expired_ts: u64,
}

/// The registration of an application service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpAppservice {
    /// Its `id`.
    pub id: String,
    /// The registration file's text (YAML), tokens included.
    #[serde(with = "secret")]
    pub registration: SecretString,
}

/// `users/NAME.json`: one local account with all it owns but [`DumpMessage`]s. Contains secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "Synapse's flags, independent of each other")]
pub struct DumpUser {
    /// The full user id.
    pub user_id: OwnedUserId,
    /// Whether the user is a server administrator.
    #[serde(default, skip_serializing_if = "is_false")]
    pub admin: bool,
    /// Whether the account has been deactivated.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deactivated: bool,
    /// Whether the user's data has been erased on deactivation.
    #[serde(default, skip_serializing_if = "is_false")]
    pub erased: bool,
    /// Whether this is a guest.
    #[serde(default, skip_serializing_if = "is_false")]
    pub guest: bool,
    /// Whether the account is locked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub locked: bool,
    /// Whether the account is suspended.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// Whether the user is shadow-banned.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shadow_banned: bool,
    /// Whether a registration still waits for an administrator's approval.
    #[serde(default, skip_serializing_if = "is_false")]
    pub awaiting_approval: bool,
    /// Synapse's user type: `support`, `bot` or a configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_type: Option<String>,
    /// The application service that the user belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appservice_id: Option<String>,
    /// When the account was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_ts: Option<u64>,
    /// The bcrypt hash, without the pepper. Known from the database only.
    #[serde(default, with = "secret::option", skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<SecretString>,
    /// The profile.
    #[serde(default)]
    pub profile: DumpProfile,
    /// E-mail addresses and telephone numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub threepids: Vec<DumpThreepid>,
    /// Accounts at single sign-on providers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_ids: Vec<DumpExternalId>,
    /// Version of the terms the user agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent_version: Option<String>,
    /// Account data, without push rules; tags are type `m.tag` of their room.
    #[serde(default)]
    pub account_data: DumpAccountData,
    /// The complete push rules as `GET /_matrix/client/v3/pushrules/` gives them: `{"global": {...}}`, in order of
    /// evaluation, the server's default rules included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_rules: Option<Box<RawValue>>,
    /// Devices, sorted by id; hidden pseudo-devices are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DumpDevice>,
    /// Pushers, sorted by (`app_id`, `pushkey`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pushers: Vec<DumpPusher>,
    /// Filters by their id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<String, Box<RawValue>>,
    /// Cross-signing keys with the user's own signatures, by `master`, `self_signing`, `user_signing`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cross_signing_keys: BTreeMap<String, Box<RawValue>>,
    /// Other users' master keys that the user has signed, with the user's signatures only. Those of users of other
    /// servers are known from the database only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signed_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    /// The highest stream id of the user's device list that other servers have seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_list_stream_id: Option<u64>,
    /// Key backups, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_backups: Vec<DumpKeyBackup>,
    /// Read receipts, sorted by (room, thread, type).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<DumpReceipt>,
    /// What is unread in the rooms that the user is in, sorted by room; rooms without are absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<DumpUnread>,
}

impl DumpUser {
    /// An account that has nothing but its id.
    pub fn new(user_id: OwnedUserId) -> Self {
        Self {
            user_id,
            admin: false,
            deactivated: false,
            erased: false,
            guest: false,
            locked: false,
            suspended: false,
            shadow_banned: false,
            awaiting_approval: false,
            user_type: None,
            appservice_id: None,
            created_ts: None,
            password_hash: None,
            profile: DumpProfile::default(),
            threepids: Vec::new(),
            external_ids: Vec::new(),
            consent_version: None,
            account_data: DumpAccountData::default(),
            push_rules: None,
            devices: Vec::new(),
            pushers: Vec::new(),
            filters: BTreeMap::new(),
            cross_signing_keys: BTreeMap::new(),
            signed_keys: BTreeMap::new(),
            device_list_stream_id: None,
            key_backups: Vec::new(),
            receipts: Vec::new(),
            unread: Vec::new(),
        }
    }
}

/// A profile.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DumpProfile {
    /// The display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub displayname: Option<String>,
    /// The avatar's `mxc:` URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// Other fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Box<RawValue>>,
}

/// A third-party id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DumpThreepid {
    /// `email` or `msisdn`.
    pub medium: String,
    /// The address.
    pub address: String,
    /// When it was validated.
    pub validated_ts: u64,
    /// When it was added.
    pub added_ts: u64,
}

/// An account at a single sign-on provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DumpExternalId {
    /// Synapse's id of the provider, such as `oidc-google`.
    pub auth_provider: String,
    /// The user's id there.
    pub external_id: String,
}

/// Account data: type to content.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DumpAccountData {
    /// Account data that belongs to no room.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub global: BTreeMap<String, Box<RawValue>>,
    /// Account data by room.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rooms: BTreeMap<OwnedRoomId, BTreeMap<String, Box<RawValue>>>,
}

/// A device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpDevice {
    /// The device id.
    pub device_id: String,
    /// The device's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// When it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_ts: Option<u64>,
    /// From which address it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_ip: Option<String>,
    /// Access tokens that are valid, newest last. Known from the database only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_tokens: Vec<DumpAccessToken>,
    /// The device's public keys with every signature by the user's own keys merged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Box<RawValue>>,
    /// One-time keys, by `algorithm:key_id`. Known from the database only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub one_time_keys: BTreeMap<String, Box<RawValue>>,
    /// Fallback keys, by `algorithm:key_id`. Known from the database only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fallback_keys: BTreeMap<String, DumpFallbackKey>,
    /// Whether this is a dehydrated device.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dehydrated: bool,
    /// What a dehydrated device is made of, encrypted by its user. Known from the database only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dehydrated_data: Option<Box<RawValue>>,
}

impl DumpDevice {
    /// A device that has nothing but its id.
    pub fn new(device_id: String) -> Self {
        Self {
            device_id,
            display_name: None,
            last_seen_ts: None,
            last_seen_ip: None,
            access_tokens: Vec::new(),
            keys: None,
            one_time_keys: BTreeMap::new(),
            fallback_keys: BTreeMap::new(),
            dehydrated: false,
            dehydrated_data: None,
        }
    }
}

/// A line of `users/NAME.messages.jsonl`: a message that waits for a device. Known from the database only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpMessage {
    /// The device.
    pub device_id: String,
    /// `{"type", "sender", "content"}`.
    pub message: Box<RawValue>,
}

/// An access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpAccessToken {
    /// The token.
    #[serde(with = "secret")]
    pub token: SecretString,
    /// When it ends to be valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until_ts: Option<u64>,
    /// Whether a refresh token belongs to it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refreshable: bool,
    /// When it was last used, as far as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_ts: Option<u64>,
}

/// A fallback key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpFallbackKey {
    /// The key.
    pub key: Box<RawValue>,
    /// Whether it has been handed out.
    pub used: bool,
}

/// A pusher.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpPusher {
    /// The key that the push gateway knows.
    #[serde(with = "secret")]
    pub pushkey: SecretString,
    /// The application.
    pub app_id: String,
    /// `http` or `email`.
    pub kind: String,
    /// The application's name.
    pub app_display_name: String,
    /// The device's name.
    pub device_display_name: String,
    /// The set of rules it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_tag: Option<String>,
    /// Preferred language.
    pub lang: String,
    /// `{"url": …}` and more.
    pub data: Box<RawValue>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// The device that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
}

/// A version of a key backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpKeyBackup {
    /// The version, a decimal number in text.
    pub version: String,
    /// The algorithm.
    pub algorithm: String,
    /// Its `auth_data`.
    pub auth_data: Box<RawValue>,
    /// The etag.
    pub etag: String,
    /// Sessions: room id, then session id, then the session as `GET /room_keys/keys` gives it. Room and session ids are
    /// the client's words and may be anything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rooms: BTreeMap<String, BTreeMap<String, Box<RawValue>>>,
}

/// A read receipt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DumpReceipt {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Absent for the whole room, `main`, or a thread's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// `m.read` or `m.read.private`.
    pub receipt_type: String,
    /// The event read.
    pub event_id: OwnedEventId,
    /// When it was read.
    pub ts: u64,
}

/// What is unread in a room, threads included: the numbers that `/sync` gives to a client that knows no threads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DumpUnread {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Events that notify.
    pub notifications: u64,
    /// Events that are highlighted. Not all of them need notify.
    pub highlights: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}
