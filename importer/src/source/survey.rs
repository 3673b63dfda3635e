//! What a homeserver holds, before a dump: facts without judgement, and nothing that takes as long as a dump.

use crate::dump::census::Census;

/// What a survey finds. Lists are sorted; what a source can't know is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The tables; `None` if the source has none. Nothing has been read of them yet, so only rows and their owners are counted.
    pub census: Option<Census>,
    /// The server's name.
    pub server_name: String,
    /// The database, if it is read.
    pub database: Option<DatabaseFacts>,
    /// All accounts.
    pub accounts: Vec<AccountFacts>,
    /// All rooms that a local user has to do with.
    pub rooms: Vec<RoomFacts>,
    /// Rooms that the alias `#admins:NAME` names.
    pub admins_alias: Option<String>,
    /// Rooms that an administrator has blocked.
    pub blocked_rooms: Vec<String>,
    /// Rooms whose present history visibility is none of the specification's, with its value: JSON.
    pub unknown_visibility: Vec<(String, String)>,
    /// Aliases of other servers.
    pub foreign_aliases: Vec<String>,
    /// Users with access tokens that will expire, and how many each has.
    pub expiring_tokens: Vec<(String, u64)>,
    /// Users with valid access tokens that belong to no device, and how many each has.
    pub tokens_without_device: Vec<(String, u64)>,
    /// Users with pushers that are no `http` ones, and how many each has.
    pub other_pushers: Vec<(String, u64)>,
    /// E-mail addresses, telephone numbers and single sign-on ids.
    pub outside_ids: u64,
    /// Accounts that have an e-mail address.
    pub emails: u64,
    /// Dehydrated devices.
    pub dehydrated_devices: u64,
    /// Profiles with custom fields.
    pub custom_profiles: u64,
    /// Users whose deactivation Synapse has not finished.
    pub pending_deactivations: Vec<String>,
    /// Delayed events that have not been sent.
    pub delayed_events: u64,
    /// When Synapse last noted something that a user did, in milliseconds since the epoch; 0 if it is unknown. It
    /// notes every two minutes at most when a device was seen.
    pub last_activity_ts: u64,
    /// Events of erased users that are not part of a present state; `None` if the source can't tell.
    pub erased_events: Option<u64>,
    /// Rooms whose table of memberships differs from their present states, and how.
    pub membership_conflicts: Vec<(String, String)>,
    /// Rooms with rows of their present states that can't be read, and how many.
    pub broken_state: Vec<(String, String)>,
    /// Events of timelines that lack a part, by room.
    pub incomplete_events: Vec<(String, String)>,
    /// Local media files: number and bytes.
    pub media: MediaFacts,
    /// Duplicate rows in tables with a unique index.
    pub duplicates: Vec<Duplicate>,
    /// Account data that a homeserver reads itself, of another form than the specification's; a thousand at most.
    pub odd_account_data: Vec<OddAccountData>,
    /// Whether the configured keys are those that signed; `None` if the source can't tell, or there is nothing signed.
    pub signatures: Option<Signatures>,
}

/// Newest events of this server, and the configured keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Events that were looked at.
    pub events: u64,
    /// Those signed by a configured key, be it an old one.
    pub fitting: u64,
    /// The newest that is not: its id, and the key that it names.
    pub example: Option<(String, String)>,
}

/// Facts about a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// Bytes on disk.
    pub bytes: u64,
    /// Background updates that Synapse has not finished.
    pub pending_updates: Vec<String>,
    /// `None` for SQLite.
    pub locale: Option<Locale>,
    /// Sessions of others on a PostgreSQL database.
    pub other_sessions: u64,
    /// Entries of all rooms' present states.
    pub state_entries: u64,
}

/// What PostgreSQL stores text in, and how it sorts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locale {
    /// `server_encoding`; Synapse demands `UTF8`.
    pub encoding: String,
    /// `datcollate`; Synapse demands `C`.
    pub collation: String,
    /// `datctype`; Synapse demands `C`.
    pub ctype: String,
}

/// Facts about an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::struct_excessive_bools, reason = "Synapse's flags, independent of each other")]
pub struct AccountFacts {
    /// Its name, which may be no user id.
    pub user_id: String,
    /// A server administrator.
    pub admin: bool,
    /// Deactivated.
    pub deactivated: bool,
    /// Erased, which a deactivated account can be.
    pub erased: bool,
    /// A guest.
    pub guest: bool,
    /// Locked or suspended.
    pub suspended: bool,
    /// Shadow-banned or not yet approved.
    pub restricted: bool,
    /// Whether there is a password; `None` if the source can't tell.
    pub password: Option<bool>,
    /// The application service that it belongs to.
    pub appservice: Option<String>,
}

/// Facts about a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomFacts {
    /// The room id.
    pub room_id: String,
    /// A name for people: its name, or an alias.
    pub name: Option<String>,
    /// The version, if anybody knows it.
    pub version: Option<String>,
    /// Local users who are in it.
    pub joined: u64,
    /// Whether Synapse has its create event in its present state; `None` if the source can't tell.
    pub created: Option<bool>,
    /// Whether Synapse has lost its present state: it has none at all, though local users are in it.
    pub stateless: bool,
    /// Whether Synapse is still fetching its state.
    pub partial: bool,
}

/// Rows with one key of a unique index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The table.
    pub table: &'static str,
    /// What names the row.
    pub key: String,
    /// How many there are.
    pub rows: u64,
}

/// Account data as a user or client wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OddAccountData {
    /// Whose.
    pub user: String,
    /// Of which room; empty if of none.
    pub room: String,
    /// Its type.
    pub kind: String,
    /// Its content, JSON or not.
    pub content: String,
}

/// Facts about local media.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaFacts {
    /// Files that were uploaded here.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are not in the media directory.
    pub missing: Vec<String>,
    /// Avatars that are files of this server of which Synapse's tables know nothing, and the user or room of each.
    pub unknown: Vec<(String, String)>,
}
