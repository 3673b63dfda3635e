//! All codes of findings. `docs/findings.md` is the same table for readers; a test compares them.
//!
//! `C…` come from checks before anything is written, `I…` from the import, `V…` from verify. A code is never reused.

use std::borrow::Cow;

use super::{
    Finding, Severity,
    Severity::{Blocking, Note, Warning},
};

/// A code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The code.
    pub code: &'static str,
    /// How much such a finding matters. Some codes have two.
    pub severity: Severity,
    /// Whether an operator may say that it shall not block (`--accept`).
    pub acceptable: bool,
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it; may be empty.
    pub remedy: &'static str,
}

impl Code {
    const fn plain(code: &'static str, severity: Severity, meaning: &'static str) -> Self {
        Self { code, severity, acceptable: false, meaning, remedy: "" }
    }

    /// A finding of this code about `subject`.
    pub(crate) fn of(
        &self,
        subject: impl Into<String>,
        text: impl Into<Cow<'static, str>>,
    ) -> Finding {
        Finding {
            severity: self.severity,
            code: self.code,
            meaning: self.meaning.into(),
            subject: subject.into(),
            text: text.into(),
            remedy: self.remedy.into(),
        }
    }
}

/// All codes.
fn all() -> impl Iterator<Item = &'static Code> {
    CHECKS.iter().chain(IMPORT).chain(VERIFICATION)
}

/// The entry of a code; the gravest, if it has several.
pub fn find(code: &str) -> Option<&'static Code> {
    all().find(|entry| entry.code == code)
}

/// The entry of a code for findings that matter so much, or else the gravest: what is accepted matters less than it did.
pub fn of(code: &str, severity: Severity) -> Option<&'static Code> {
    let fits = |entry: &&Code| entry.code == code && entry.severity == severity;
    all().find(fits).or_else(|| find(code))
}

macro_rules! checks {
    ($($name:ident = $code:literal, $severity:ident, $acceptable:literal, $meaning:literal, $remedy:literal;)*) => {
        $(pub(crate) const $name: Code = Code {
            code: $code,
            severity: $severity,
            acceptable: $acceptable,
            meaning: $meaning,
            remedy: $remedy,
        };)*
        /// The codes of checks, in their order.
        pub const CHECKS: &[Code] = &[$($name),*];
    };
}

// name = code, severity, whether it can be accepted, meaning, remedy
checks! {
    CONFIG = "C101", Blocking, false, "Synapse's configuration, or a file named in it, can't be used", "run the importer as Synapse's user, from Synapse's working directory, and give all configuration files that Synapse is started with";
    SIGNING_KEY = "C102", Blocking, false, "the signing key can't be used", "give the key file of the running Synapse";
    REGISTRATION = "C103", Blocking, false, "an application service's registration can't be read", "correct the file, or take it out of `app_service_config_files`";
    SOURCE = "C104", Blocking, false, "Synapse's database or API can't be read", "solve the problem that the text names; a dump would fail with the same error";
    SCHEMA = "C105", Blocking, false, "the database's schema is too old for this importer", "make a backup, start Synapse 1.68.0 on the database, wait until its background updates have finished, and check again; a newer Synapse may fail half-way (installed from a package index, 1.68.0 needs older libraries: `pip install matrix-synapse==1.68.0 'pydantic<2' 'Twisted<23' 'prometheus-client<0.15'`, with PostgreSQL `psycopg2-binary` too)";
    NEEDED_UPDATE = "C106", Blocking, false, "a background update has not finished, and rows would be misread without it", "keep Synapse running until the update has finished";
    OTHER_SERVER = "C107", Blocking, false, "configuration and database belong to different servers", "give the homeserver.yaml that belongs to this database";
    ENCODING = "C108", Blocking, true, "the PostgreSQL database is not encoded in UTF-8, as Synapse requires: text may be damaged", "move Synapse to a database with `ENCODING 'UTF8'` first";
    COLLATION = "C109", Warning, false, "the PostgreSQL database does not have the collation `C`, as Synapse requires: after an upgrade of the operating system, an index may hide rows", "run `REINDEX DATABASE` before the dump";
    UPDATES = "C110", Note, false, "background updates have not finished; none of them affects what the importer reads", "";
    DELEGATED = "C111", Blocking, true, "another service (Matrix Authentication Service) handles logins: tokens, passwords and administrators in Synapse's database are outdated and stay behind, so everybody is logged out and nobody is administrator", "tell your users to save their encryption keys first";
    WORKERS = "C112", Note, false, "Synapse runs in several processes", "stop all of them before the migration";
    RUNNING = "C113", Blocking, true, "Synapse is running: whatever it writes from now on would be lost", "stop Synapse and all its workers; `importer check` may be run while Synapse runs";
    API_ONLY = "C114", Warning, false, "Synapse's APIs don't provide access tokens, passwords or one-time keys: everybody has to log in again", "use `--synapse-config` on a machine that can reach the database";
    OTHER_LOGINS = "C115", Warning, false, "Synapse leaves logins to other services or modules (single sign-on, LDAP); Conduit can't, so these users need a password to log in again", "set their passwords with `reset-password` in Conduit's admin room when they need to log in";
    MODULES = "C116", Warning, false, "Synapse loads modules; Conduit has none", "find out what they do, and whether you can do without them";
    APPSERVICE = "C117", Blocking, true, "Conduit can't read an application service's registration: its bridge would not work", "correct the registration as the text says, in the bridge's copy as well; or accept it, and register a corrected one later (`register-appservice` in Conduit's admin room)";
    WRONG_KEY = "C118", Blocking, true, "this server's events are signed neither by the configured signing key nor by one of its old keys: other servers would refuse what Conduit sends", "give the key file of the running Synapse (`signing_key_path`), or list the earlier key in `old_signing_keys`; accept it only if that key is lost";
    CONTAINER_PATHS = "C119", Warning, false, "directories named in Synapse's configuration do not exist on this machine, as when Synapse runs in a container", "name their paths on this machine with the option shown";
    AMBIGUOUS_PATH = "C120", Blocking, true, "a relative path in the configuration leads to different files from the current directory and from the configuration's directory", "run the importer from Synapse's working directory and accept it, or make the path absolute";
    PASSED_OVER = "C121", Note, false, "files given as Synapse's configuration contain no settings: Synapse ignores them", "";
    NOT_SYNAPSE = "C122", Blocking, false, "the database is not a Synapse database", "give the homeserver.yaml of the Synapse that is to be moved, or correct its `database`";
    SCHEMA_NEW = "C123", Blocking, false, "the database's schema is too new for this importer", "use a newer importer";
    MEDIA_ELSEWHERE = "C124", Blocking, true, "Synapse's main process serves no media (`enable_media_repo: false`), and the media directory can't be read or has none of the files: a media worker with its own configuration, or another program such as matrix-media-repo, has them", "add the media worker's configuration (`--synapse-config`, last); the files of another program can't be read: accept it to move without them";
    SERVER_USER = "C201", Blocking, false, "`@conduit:NAME`, which Conduit needs for itself, is somebody's active account", "move its owner to another account and deactivate it (`POST /_synapse/admin/v1/deactivate/USER`)";
    SERVER_USER_GONE = "C202", Note, false, "`@conduit:NAME` was a deactivated account and becomes Conduit's own", "";
    ADMINS_ALIAS = "C203", Blocking, false, "the alias `#admins:NAME` is taken; on Conduit, members of its room would be server administrators", "remove the alias (`DELETE /_matrix/client/v3/directory/room/ALIAS`)";
    NO_ADMIN = "C204", Warning, false, "there is no active server administrator: the next user to register on Conduit becomes one", "make a user administrator, or keep registration closed until you have registered";
    FOREIGN_USER = "C205", Blocking, true, "accounts whose names are not user ids of this server are left out", "find out where they came from";
    CAPITALS = "C206", Warning, false, "user names with capital letters, which Conduit converts to lower case at a login by password: devices stay logged in, new logins fail", "";
    NO_PASSWORD = "C207", Warning, false, "accounts without a password (single sign-on): devices stay logged in, new logins fail", "reset these passwords in Conduit's admin room when they are needed";
    PASSWORDS = "C208", Note, false, "passwords are bcrypt hashes, which a stock Conduit can't verify: devices stay logged in, new logins fail", "reset passwords in Conduit's admin room when they are needed";
    GUEST = "C209", Warning, false, "guests are logged out: on Conduit they would have more rights", "";
    RESTRICTED = "C210", Warning, false, "locked, suspended, shadow-banned or unapproved accounts are logged out: Conduit has no such restrictions", "reset the passwords of those whom you want to let in";
    LOST_APPSERVICE = "C211", Warning, false, "accounts of an application service that is not in `app_service_config_files`", "add its registration, or ignore this if the service is no longer used";
    DEACTIVATING = "C212", Warning, false, "Synapse has not finished deactivating these accounts: they are still in rooms", "keep Synapse running until it has finished";
    EXPIRING_TOKENS = "C213", Warning, false, "access tokens that expire are left out, because tokens never expire on Conduit: these devices have to log in again", "turn `session_lifetime` and `refreshable_access_token_lifetime` off some time before the move, or use `--keep-expiring-tokens`: the newest token of each session that Synapse would still refresh then moves and never expires";
    TOKEN_WITHOUT_DEVICE = "C214", Warning, false, "access tokens without a device are left out: programs that use them have to log in again", "";
    PUSHERS = "C215", Note, false, "e-mail pushers are left out: Conduit sends no e-mail", "";
    OUTSIDE_IDS = "C216", Note, false, "e-mail addresses, telephone numbers and single sign-on ids stay in the dump: Conduit can't store them", "";
    DELAYED = "C217", Warning, false, "delayed events that have not been sent yet are left out", "wait until they are sent, or cancel them";
    ERASED = "C218", Warning, false, "messages of erased users move without their content: Synapse shows it only to those who were in the room at the time, and Conduit has no such rule, so they lose it too", "";
    UNPLACED = "C219", Note, false, "dehydrated devices and custom profile fields stay in the dump: Conduit can't store them", "";
    DUPLICATES = "C220", Blocking, true, "rows that must be unique exist twice: a unique index of the database is broken, as PostgreSQL's are after an upgrade of the system's C library; nothing shows which row is right", "delete the wrong row of each pair, then `REINDEX DATABASE`; if you accept it, one row is imported and the other is listed as left out";
    ACCOUNT_DATA = "C221", Warning, false, "entries of ignored users, direct chats or tags that Conduit can't read are left out: with them, Conduit could not read the other entries either", "";
    ROOM_VERSION = "C301", Blocking, true, "rooms with local users in them whose room version Conduit does not support (1, 2, experimental ones) stay behind", "upgrade them (`/upgraderoom 12` in Element, or `POST /_matrix/client/v3/rooms/ROOM/upgrade`)";
    ROOM_VERSION_LEFT = "C302", Note, false, "rooms of an unsupported room version that all local users have left stay behind", "";
    ROOM_PARTIAL = "C303", Blocking, true, "Synapse is still fetching the state of rooms: their members and settings would be incomplete", "keep Synapse running until it has finished";
    ROOM_BROKEN = "C304", Blocking, true, "rooms with local users in them whose current state (`current_state_events`) lacks the create event stay behind, though Synapse may still show them and accept messages for them", "with Synapse stopped, restore the row if the event exists (`INSERT INTO current_state_events (event_id, room_id, type, state_key) SELECT event_id, room_id, type, '' FROM events WHERE type = 'm.room.create' AND room_id = 'ROOM'`), restore the database from a backup, or leave the room on Synapse";
    ROOM_VERSION_UNKNOWN = "C305", Note, false, "invites to rooms of unknown room version are left out", "";
    FOREIGN_ALIAS = "C306", Note, false, "aliases of other servers are left out", "";
    BLOCKED_ROOM = "C310", Warning, false, "rooms that an administrator has blocked: Conduit only refuses what other servers send for a blocked room; local users can join it again if the room's own rules allow it", "before the move, delete the room on Synapse (`DELETE /_synapse/admin/v2/rooms/ROOM` with `block` and `purge`), so that nothing of it moves, or set its join rule to `invite` and remove its aliases";
    VISIBILITY = "C311", Warning, false, "rooms whose `history_visibility` has an unknown value: Synapse treats it as `shared`; on Conduit nobody, not even the sender, can read messages sent after the move", "set it to `shared` in the room's settings (or `PUT /_matrix/client/v3/rooms/ROOM/state/m.room.history_visibility`) before the move";
    ROOM_STATELESS = "C312", Warning, false, "rooms with local users in them whose current state Synapse has lost (`current_state_events` has no row): the state after their newest event is used; if that is lost too, the room stays behind", "look at these rooms in the report";
    INCOMPLETE = "C313", Warning, false, "events of which Synapse's database lacks a part (`event_json`, `event_to_state_groups`) are missing in their rooms after the move: Synapse can't show them either", "restore the rows from a backup before the move, if there is one";
    MEDIA_STORE = "C401", Blocking, true, "the media directory can't be read", "run the importer where Synapse's media are, or name the directory with `--media-store`";
    MEDIA_MISSING = "C402", Warning, false, "uploaded files are not in the media directory; a storage provider may have them", "copy the files that only the provider has into the media directory";
    MEDIA_PROVIDER = "C403", Warning, false, "Synapse keeps media in a storage provider that is not a directory; the importer reads directories only", "copy the files that only the provider has into the media directory";
    OTHER_MEDIA = "C404", Warning, false, "this Synapse serves no media itself: files that another program (matrix-media-repo) keeps stay behind", "if one of Synapse's own workers serves them, nothing is lost; otherwise export them from that program, or keep routing `/_matrix/media` and `/_matrix/client/v1/media` to it";
    AVATARS_ELSEWHERE = "C405", Warning, false, "the avatar of a user or room is a file of this server that Synapse's tables do not list: it was deleted, or another program (matrix-media-repo) keeps this server's files", "if Synapse's clients show the avatar, another program has it and all other files: export them from there, or keep routing `/_matrix/media` and `/_matrix/client/v1/media` to it";
    CONDUIT_CONFIG = "C501", Blocking, false, "Conduit's configuration can't be used", "correct the configuration as the text says";
    CONDUIT_NAME = "C502", Blocking, false, "Conduit's configuration is for another server name", "set `server_name` to Synapse's";
    TARGET_USED = "C503", Blocking, false, "the database directory is not empty: it holds the database of a Conduit or of an earlier import", "name a new directory, or remove what is there if nobody needs it";
    TARGET_IN_THE_WAY = "C504", Blocking, false, "the directory in which the importer would write at first exists, and the importer did not make it", "move it elsewhere";
    TARGET_RIGHTS = "C505", Blocking, false, "a directory can't be written", "run the importer as a user who may write there";
    TARGET_SPACE = "C506", Blocking, true, "the disk has less space than dump and database may need", "free some space, or name directories on another disk (`--dump`)";
    DUMP_USED = "C507", Blocking, false, "the dump's directory is not empty", "remove it, name another (`--dump`), or reuse the dump in it (`--reuse-dump`)";
    PORT = "C508", Warning, false, "another program uses the port in Conduit's configuration", "unless the program is Synapse or a proxy that you will stop, choose another port";
    REGISTRATION_OPEN = "C509", Warning, false, "Conduit's configuration lets anybody register, and Synapse's does not", "set `allow_registration = false`";
    NO_FEDERATION = "C510", Warning, false, "Conduit's configuration allows no federation: other servers can't be reached", "set `allow_federation = true`";
    UPLOAD_SIZE = "C511", Note, false, "Conduit's `max_request_size` is smaller than Synapse's `max_upload_size`", "set it to Synapse's value or more";
    DUMP_OTHER = "C512", Blocking, false, "the existing dump is not finished, is of another server, or was made with other options", "name another directory (`--dump`), or give the options of that dump";
    DUMP_OLD = "C513", Blocking, false, "Synapse was used after the dump was made: anything newer would be lost", "remove the dump, so that a new one is made";
    NO_START = "C514", Blocking, true, "Conduit would not start with its configuration", "correct what the text names: an empty `registration_token` must be removed or set, files of `tls` must exist";
    MEDIA_USED = "C515", Blocking, false, "Conduit's media directory is not empty, or it contains the database's directory", "name a new directory (`path` in `[global.media]`, or `--media-directory`)";
    TURN = "C516", Warning, false, "Conduit's configuration names no TURN server, and Synapse's does: calls fail where both sides are behind routers", "configure the same server for Conduit: `uris` and `secret` in `[global.turn]`";
    FEDERATION_OPEN = "C517", Blocking, true, "Synapse federates with listed servers only; Conduit has no such list and federates with all: a closed server becomes open", "set `allow_federation = false` for Conduit, or let a proxy or firewall pass the listed servers only, in both directions";
    RETENTION = "C518", Warning, false, "Synapse deletes messages after a time; Conduit never does", "tell your users; before the move, delete on Synapse whatever must not be kept";
    MEDIA_RETENTION = "C519", Warning, false, "Synapse deletes media files after a time, and Conduit's configuration does not; by default Conduit deletes thumbnails and files of other servers that were not requested for 30 days", "set `retention` in `[global.media]` as you want it";
    CLIENT_ADDRESS = "C520", Warning, false, "clients that look the server up by its name get another address than before", "set `client` in `[global.well_known]` to Synapse's `public_baseurl`, or let the proxy answer `/.well-known/matrix/client`";
    SERVER_ADDRESS = "C521", Note, false, "Synapse does not answer `/.well-known/matrix/server`; Conduit does, if the proxy passes the request on", "set `server` in `[global.well_known]` to the address at which other servers reach you, or keep answering the request elsewhere";
    EXTRA_WELL_KNOWN = "C522", Warning, false, "Synapse's `/.well-known/matrix/client` has more than its address (calls, maps, where to log in); Conduit's does not", "let the proxy answer `/.well-known/matrix/client` as Synapse does";
    AUTO_JOIN = "C523", Note, false, "new accounts no longer join these rooms on their own", "invite new users, or make a space public";
    EMAIL = "C524", Warning, false, "Conduit sends no e-mail: users can neither reset a password nor get notifications by e-mail", "reset passwords with `reset-password` in Conduit's admin room";
    CONSENT = "C525", Warning, false, "users are no longer asked to accept terms", "ask them elsewhere, or keep registration closed";
    NOTICES = "C526", Note, false, "the server can no longer send notices to its users; rooms with earlier notices move", "";
    JWT = "C527", Warning, false, "Synapse accepts JSON Web Tokens as `org.matrix.login.jwt`; Conduit accepts them as `m.login.token` only, signed with HS256 and its `jwt_secret`, and converts the name in `sub` to lower case", "set `jwt_secret` to Synapse's `jwt_config.secret`, and make the programs that log in use `m.login.token`";
    BRIDGE_SWITCH = "C528", Warning, false, "a bridge uses features that Conduit lacks (devices without a login, MSC4190; encryption by transactions, MSC3202): its encryption fails", "before the move, turn end-to-end encryption off in the bridge's configuration, or let the bridge use `/sync` for it";
    OLD_TOKENS = "C529", Note, false, "clients keep using Synapse's pagination tokens, which a stock Conduit refuses: they can't scroll back beyond the messages that they have", "add the rule that `importer proxy-config --for nginx` prints (or `caddy`, `traefik`, `apache`, `haproxy`) to the reverse proxy, and keep it for a year";
    CONDUIT_OLD = "C530", Blocking, true, "the Conduit that is installed is too old for the new database", "install the release 0.10.12 or a newer one; accept this if you will start another Conduit than this one";
    CONDUIT_UNTRIED = "C531", Note, false, "the new database was not tried with the version of Conduit that is installed", "take 0.10.12, or start this one on a copy of the new database first and look around";
    CONDUIT_DIFFERS = "C532", Note, false, "the Conduit that is installed differs from the one that the documents describe", "";
    NOT_CONDUIT = "C533", Blocking, true, "the program given as `--conduit-binary` is not Conduit, or can't be run", "give Conduit's program; servers that are descended from Conduit lose media and more on the new database (`docs/other-servers.md`)";
    PREPARED_MEDIA = "C534", Blocking, false, "the directory of media files that were copied beforehand (`importer media`) can't be used", "do what the text says; without the directory, the migration copies all files itself";
    OWNERS = "C601", Warning, false, "rows whose owner is not an account on Synapse (no row in `users`, no application service's user) stay behind", "if somebody used the account, stop Synapse and restore the account's row (`INSERT INTO users (name, creation_ts) VALUES ('@USER:NAME', 0)`; registering it fails while it has a row in `profiles`), start Synapse, and set a password (`PUT /_synapse/admin/v2/users/@USER:NAME`); otherwise nobody misses the rows";
    CENSUS = "C602", Warning, false, "rows of a table were neither moved nor reported as left out: something may be missing after the move", "keep Synapse's database, find out what the rows are, and report it as a bug of the importer";
    UNKNOWN_TABLE = "C603", Warning, false, "a table that the importer does not know (a module's, or of a newer Synapse) has rows, which stay behind", "find out what the table is for, and whether you can do without it";
    MEMBERSHIPS = "C604", Warning, false, "the table `local_current_membership` lacks memberships that a room's current state or member events have, or names other events: memberships that only one of them has move as that one has them; otherwise a local user is joined if both say so", "look at these rooms after the move";
    STATE_ROW = "C605", Warning, false, "rows of a room's current state (`current_state_events`) that can't be read are left out: the room loses these settings or members", "set them again on Synapse, or on Conduit after the move";
    NO_PLACE = "C607", Note, false, "rows of features that Conduit lacks stay behind", "";
    EMPTY_ROOM = "C608", Warning, false, "aliases of rooms that no local user is in, was in or is invited to stay behind", "if somebody needs the alias, join the room on Synapse first";
    MEMBERS = "C609", Warning, false, "users of this server without an account (no row in `users`, no application service's user) are or were in rooms: they move as members, and whoever registers such a name on Conduit gets their memberships", "before the move, stop Synapse, restore the account's row (`INSERT INTO users (name, creation_ts) VALUES ('@USER:NAME', 0)`; registering it fails while it has a row in `profiles`), start Synapse, and deactivate the account with an administrator's token (`POST /_synapse/admin/v1/deactivate/@USER:NAME` with `{\"erase\": false}`): this removes it from its rooms, and Conduit then lets nobody register the name";
    ORPHANS = "C610", Warning, false, "events without a row in `events` stay behind: only their content is left (`event_json`), and Synapse shows them to nobody either", "restore the rows from a backup before the move, if there is one";
}

macro_rules! import {
    ($($name:ident = $code:literal, $severity:ident, $meaning:literal, $remedy:literal;)*) => {
        $(pub(crate) const $name: Code =
            Code { remedy: $remedy, ..Code::plain($code, $severity, $meaning) };)*
        /// The codes of the import, in their order.
        pub const IMPORT: &[Code] = &[$($name),*];
    };
}

// name = code, severity, meaning, remedy
import! {
    STATE_LOST = "I008", Warning, "events of a room's state are missing", "the room's state moves without them; if they matter, look for them in the report and make a new dump";
    APPSERVICE_LEFT = "I009", Warning, "an application service can't be registered in Conduit", "correct its registration, and register it in Conduit's admin room (`register-appservice`)";
    ERASED_CONTENT = "I010", Warning, "events of erased users moved without their content", "";
    EVENTS_LEFT = "I011", Warning, "events are not in the timelines of their rooms, for the reason named by the subject: nobody can read them on Conduit", "the report lists each; keep Synapse's database, or restore what is missing there and migrate again";
    EVENTS_MISSING = "I012", Warning, "events that rooms' states or other events refer to are missing: Conduit works without them", "the report lists each; keep Synapse's database, or restore what is missing there and migrate again";
    ROOM_LEFT = "I013", Warning, "a room with local users in it stays behind", "keep Synapse's database; these users need a new room";
    MEDIA_LENGTH = "I020", Warning, "a media file has another size than Synapse recorded", "the file moves as it is; ask its uploader for the original if clients can't show it";
    MEDIA_TWIN = "I021", Warning, "media has the same content as quarantined media, so Conduit blocks both", "Conduit blocks media by content, so both stay blocked";
    MEDIA_LESS = "I022", Note, "media moves without its content type or uploader", "";
    UPLOADS_DELETED = "I023", Warning, "Conduit's configuration deletes old uploads at its first start", "remove the policy from the configuration, or keep it if you want these uploads deleted";
}

/// What to do about a finding of the verification, if nothing of its `own` helps.
const fn remedy(severity: Severity, own: &[&'static str]) -> &'static str {
    if let [own, ..] = own {
        return own;
    }
    match severity {
        Blocking => {
            "don't start Conduit on this database; import again, and report this as a bug of the importer"
        }
        Warning | Note => "",
    }
}

macro_rules! verification {
    ($($name:ident = $code:literal, $severity:ident, $meaning:literal $(, $remedy:literal)?;)*) => {
        $(pub(crate) const $name: Code = Code {
            remedy: remedy($severity, &[$($remedy)?]),
            ..Code::plain($code, $severity, $meaning)
        };)*
        /// The codes of the verification, in their order.
        pub const VERIFICATION: &[Code] = &[$($name),*];
    };
}

// name = code, severity, meaning, remedy if it has its own
verification! {
    ROW_UNDECODABLE = "V101", Blocking, "a row does not match the layout of its tree";
    TREE_UNKNOWN = "V102", Note, "a tree that Conduit does not know";
    GLOBAL_INCOMPLETE = "V103", Blocking, "`global` lacks version 18, the counter or a readable key; Conduit does not start";
    ADMIN_ROOM_MISSING = "V104", Blocking, "`@conduit:NAME` or its admin room is missing";
    NUMBER_ABOVE_COUNTER = "V105", Blocking, "a number is above the counter: Conduit would assign it again";
    ROWS_DISAGREE = "V106", Blocking, "two rows that should refer to each other do not";
    SHORT_ID_AMBIGUOUS = "V107", Blocking, "a short id is 0, or stands for two things";
    EVENT_UNREADABLE = "V108", Blocking, "Conduit can't read an event";
    EVENT_ID_WRONG = "V109", Blocking, "an event's id is not the hash of its content";
    SIGNATURE_OR_CONTENT_HASH_WRONG = "V109", Warning, "a signature of this server or a content hash is wrong: Synapse's database was damaged, or the server once had another key of the same name";
    AUTH_EVENT_OF_OTHER_ROOM = "V110", Blocking, "an auth event is of another room";
    AUTH_EVENT_MISSING = "V110", Warning, "an auth event is missing, as in Synapse's database or because it was left out: Conduit works without it, and asks other servers when it needs it";
    STATE_UNSOUND = "V111", Blocking, "a state can't be expanded to stored events of its room, one for each state key";
    STATE_BEFORE_MISSING = "V112", Blocking, "a timeline event has no state before it: anybody could read the event";
    MEMBERSHIP_ROWS_WRONG = "V113", Blocking, "membership rows have joined users that the room's state does not have, lack users of other servers, or have wrong counts";
    MEMBERSHIP_ROWS_LAG = "V113", Warning, "an invite, knock or leave differs from the room's state, or a local user is joined in the state and not in the rows: the user may join again";
    PUSH_RULES_UNREADABLE = "V114", Blocking, "push rules of a user don't parse: messages to that user's rooms would fail";
    DEVICE_MISSING = "V115", Blocking, "a token or key of a device that does not exist";
    SIGNED_BY_OLD_KEY = "V116", Note, "an event is signed by a key that this server no longer has";
    ORIGIN_LOST = "V117", Note, "a redacted event lacks `origin`, like events that Conduit itself redacts";
    STATE_BEFORE_DOES_NOT_FOLLOW = "V118", Warning, "in a room without forks so far, the state before an event is not the one after its predecessor";
    EXTREMITY_REFERENCED = "V119", Blocking, "a forward extremity is marked as referenced: Conduit drops it with the next event from another server";
    REFERENCE_MISSING = "V119", Warning, "an event that others follow is not marked as referenced";
    SEARCH_INDEX_WRONG = "V120", Warning, "the search index does not match the messages";
    RELATION_DANGLING = "V121", Blocking, "a relation or thread refers to events that do not exist";
    DIRECTORY_DANGLING = "V122", Blocking, "an alias or directory entry is for a room that does not exist";
    RECEIPT_UNUSABLE = "V123", Blocking, "a read receipt would stop Conduit's sending task, or a user has two in a room";
    MEDIA_ROWS_MISSING = "V124", Blocking, "rows of a media file are missing: Conduit deletes the file";
    KEY_UNUSED = "V125", Note, "a key of a device that no longer exists, as Conduit itself leaves behind";
    PUSHER_UNREADABLE = "V126", Blocking, "Conduit can't read a pusher";
    ALIAS_LISTED_TWICE = "V127", Note, "an alias is listed for a room that it no longer points to, as Conduit leaves it after a room upgrade";
    APPSERVICE_UNUSABLE = "V128", Blocking, "an application service's registration is unreadable or another service's; Conduit does not start";
    ACCOUNT_DATA_UNREADABLE = "V129", Blocking, "account data lacks the type and content that clients expect";
    UNREAD_COUNT_TOO_LARGE = "V130", Blocking, "an unread count is too large: Conduit panics when it answers with it";
    MEDIA_FILE_MISSING = "V140", Blocking, "a media file is missing";
    MEDIA_FILE_WRONG = "V141", Blocking, "a media file has other content or another size than its row says";
    MEDIA_FILE_UNNAMED = "V142", Warning, "a file in the media directory that no row names";
    PREPARED_FILE_WRONG = "V143", Blocking, "a media file that `importer media` had copied has another content or size than it had then, or than Synapse's file", "remove the directory of prepared media (its name ends with `prepared-media`), and run the migration again with `--reuse-dump`: files are then copied from Synapse's media store";
    OUTLIER_VISIBLE = "V150", Blocking, "an event outside of the timelines is not hidden by its state: Conduit's `/event` shows it to more people than Synapse's did";
    HIDING_STATE_USED = "V151", Blocking, "a state made to hide events is used by a room or a timeline: nobody could read its events";
    OWN_EVENT_WITHOUT_STATE = "V152", Note, "an event that Conduit itself has stored has no state before it, as in rooms that Conduit creates";
    REPAIR_MARK_MISSING = "V153", Blocking, "a row of `global` is missing that keeps another server, started on the database by mistake, from damaging it";
    JOIN_COUNT_WRONG = "V154", Blocking, "the row of a joined user lacks the count of the join, which other servers that open the database read there";
    CHANGED_SINCE_IMPORT = "V160", Warning, "Conduit has run since the import, and an item differs from the dump: changed by a user, or lost";
    NEW_SINCE_IMPORT = "V161", Note, "items that are new since the import";
    MISSING_IN_DATABASE = "V201", Blocking, "an item of the dump is missing in the database";
    MEDIA_MISSING_UNEXPLAINED = "V201", Warning, "an item of the dump is missing in the database";
    NOT_IN_DUMP = "V202", Blocking, "an item in the database is not in the dump";
    DIFFERS_FROM_DUMP = "V203", Blocking, "an item differs from the dump";
}

#[cfg(test)]
mod tests;
