//! All codes of findings. `docs/findings.md` is the same table for readers; a test compares them.
//!
//! `C…` come from checks before anything is written, `I…` from the import, `V…` from verify. A code is never reused.

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
    pub(crate) fn of(&self, subject: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding {
            severity: self.severity,
            code: self.code,
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
    CONFIG = "C101", Blocking, false, "Synapse's configuration, or a file that it names, can't be used", "run the importer as Synapse's user, from the directory that Synapse runs in, with all files that Synapse is started with";
    SIGNING_KEY = "C102", Blocking, false, "the signing key can't be used", "give the key file of the running Synapse";
    REGISTRATION = "C103", Blocking, false, "an application service's registration can't be read", "correct the file, or take it out of `app_service_config_files`";
    SOURCE = "C104", Blocking, false, "Synapse's database or API can't be read", "see the text; the same error would end the dump";
    SCHEMA = "C105", Blocking, false, "the database's schema is older than what can be read", "make a backup, let Synapse 1.68.0 upgrade the database until its background updates have finished, and check again; a newer one may fail half-way (from a package index it needs older libraries: `pip install matrix-synapse==1.68.0 'pydantic<2' 'Twisted<23' 'prometheus-client<0.15'`, with PostgreSQL `psycopg2-binary` too)";
    NEEDED_UPDATE = "C106", Blocking, false, "a background update without which rows would be misread has not finished", "let Synapse run until it has";
    OTHER_SERVER = "C107", Blocking, false, "configuration and database belong to different servers", "give the homeserver.yaml that belongs to this database";
    ENCODING = "C108", Blocking, true, "the PostgreSQL database does not store UTF-8, as Synapse demands: text may be damaged", "move Synapse to a database with `ENCODING 'UTF8'` first";
    COLLATION = "C109", Warning, false, "the PostgreSQL database does not sort by `C`, as Synapse demands: an index may hide rows after an upgrade of the system", "`REINDEX DATABASE` before the dump";
    UPDATES = "C110", Note, false, "background updates have not finished; none concerns what is read", "";
    DELEGATED = "C111", Blocking, true, "another service (Matrix Authentication Service) does logins: tokens, passwords and administrators in Synapse's database are of before and stay behind, so everybody is logged out and nobody is administrator", "tell your users to save their encryption keys first";
    WORKERS = "C112", Note, false, "Synapse runs in several processes", "stop all of them before the migration";
    RUNNING = "C113", Blocking, true, "Synapse is running: what it writes from now on would be lost", "stop Synapse, all workers too; `importer check` may be run while it runs";
    API_ONLY = "C114", Warning, false, "by its APIs, Synapse gives no access tokens, passwords and one-time keys: everybody has to log in again", "use `--synapse-config` where the database can be reached";
    OTHER_LOGINS = "C115", Warning, false, "Synapse asks others who may log in (single sign-on, LDAP, modules); Conduit can't", "reset these users' passwords in Conduit's admin room when they log in again";
    MODULES = "C116", Warning, false, "Synapse runs modules of its own; Conduit has none", "see what they do, and whether you can do without";
    APPSERVICE = "C117", Blocking, true, "an application service's registration is not one that Conduit reads: its bridge would not work", "correct the registration as the text says, in the bridge's copy as well, or accept it and give Conduit a corrected one later (`register-appservice` in its admin room)";
    WRONG_KEY = "C118", Blocking, true, "the configured signing key is not the one with which this server has signed, nor is one of its old keys: other servers would refuse what Conduit says", "give the key file of the running Synapse (`signing_key_path`), or name the key of before in `old_signing_keys`; accept it only if that key is lost";
    CONTAINER_PATHS = "C119", Warning, false, "directories of Synapse's configuration are not here, as when Synapse runs in a container", "say where they are here by the option that is shown";
    AMBIGUOUS_PATH = "C120", Blocking, true, "a relative path of the configuration means one file from the present directory and another one beside the configuration", "run the importer from the directory that Synapse runs in and accept it, or write the whole path";
    PASSED_OVER = "C121", Note, false, "files given as Synapse's configuration hold no settings: Synapse passes over them", "";
    NOT_SYNAPSE = "C122", Blocking, false, "the database is not a Synapse's", "give the homeserver.yaml of the Synapse that is to be moved, or correct its `database`";
    SCHEMA_NEW = "C123", Blocking, false, "the database's schema is newer than what this importer knows", "use a newer importer";
    MEDIA_ELSEWHERE = "C124", Blocking, true, "Synapse's main process keeps no media (`enable_media_repo: false`), and the media directory can't be read or has none of the files: a worker with a configuration of its own, or another program such as matrix-media-repo, has the files", "add the media worker's configuration (`--synapse-config`, last); files of another program can't be read: accept it to move without them";
    SERVER_USER = "C201", Blocking, false, "`@conduit:NAME`, which Conduit needs for itself, is somebody's active account", "move its owner to another account and deactivate it (`POST /_synapse/admin/v1/deactivate/USER`)";
    SERVER_USER_GONE = "C202", Note, false, "`@conduit:NAME` was a deactivated account and becomes Conduit's own", "";
    ADMINS_ALIAS = "C203", Blocking, false, "the alias `#admins:NAME` is taken; on Conduit, members of its room would be server administrators", "remove the alias (`DELETE /_matrix/client/v3/directory/room/ALIAS`)";
    NO_ADMIN = "C204", Warning, false, "there is no active server administrator: the next user to register on Conduit becomes one", "make a user administrator, or keep registration closed until you have registered";
    FOREIGN_USER = "C205", Blocking, true, "accounts that are no user ids of this server's name are left out", "find out how they came there";
    CAPITALS = "C206", Warning, false, "localparts with capitals, which Conduit lowers on login by password: devices stay logged in, new logins fail", "";
    NO_PASSWORD = "C207", Warning, false, "accounts without a password (single sign-on): devices stay logged in, new logins fail", "reset these passwords in Conduit's admin room when they are needed";
    PASSWORDS = "C208", Note, false, "passwords are bcrypt hashes, which a stock Conduit can't verify: devices stay logged in, new logins fail", "reset passwords in Conduit's admin room when they are needed";
    GUEST = "C209", Warning, false, "guests are logged out: Conduit would give them more rights", "";
    RESTRICTED = "C210", Warning, false, "locked, suspended, shadow-banned or unapproved accounts are logged out: Conduit knows no such thing", "reset the password of whom you want to let in";
    LOST_APPSERVICE = "C211", Warning, false, "accounts of an application service that is not in `app_service_config_files`", "add its registration, or ignore this if it is gone";
    DEACTIVATING = "C212", Warning, false, "Synapse has not finished deactivating these accounts: they are still in rooms", "let Synapse run until it has";
    EXPIRING_TOKENS = "C213", Warning, false, "access tokens that expire are left out, as Conduit's never do: these devices have to log in again", "turn `session_lifetime` and `refreshable_access_token_lifetime` off some time before, or say `--keep-expiring-tokens`: the newest token of a session that Synapse would still refresh then moves and never expires";
    TOKEN_WITHOUT_DEVICE = "C214", Warning, false, "access tokens without a device are left out: what uses them has to log in again", "";
    PUSHERS = "C215", Note, false, "e-mail pushers are left out: Conduit sends no e-mail", "";
    OUTSIDE_IDS = "C216", Note, false, "e-mail addresses, telephone numbers and single sign-on ids stay in the dump: Conduit has no place for them", "";
    DELAYED = "C217", Warning, false, "delayed events wait to be sent and are left out", "let them be sent, or cancel them";
    ERASED = "C218", Warning, false, "what erased users said moves without its content: Synapse shows it to those only who were in the room at the time, and Conduit knows no such rule, so these will miss it too", "";
    UNPLACED = "C219", Note, false, "dehydrated devices and custom profile fields stay in the dump: Conduit has no place for them", "";
    DUPLICATES = "C220", Blocking, true, "rows that can be there once only are there twice: an index of the database is broken, as PostgreSQL's are after an upgrade of the system's C library; which of them is right, nobody can tell", "delete the wrong one of each pair, then `REINDEX DATABASE`; if you accept it, one is taken and the other is listed as left out";
    ACCOUNT_DATA = "C221", Warning, false, "entries of ignored users, direct chats or tags that Conduit can't read are left out: it could not read the others with them", "";
    ROOM_VERSION = "C301", Blocking, true, "rooms of a version that Conduit can't hold (1, 2, experimental ones), with local users in them, stay behind", "upgrade them (`/upgraderoom 12` in Element, or `POST /_matrix/client/v3/rooms/ROOM/upgrade`)";
    ROOM_VERSION_LEFT = "C302", Note, false, "rooms of such a version that all local users have left stay behind", "";
    ROOM_PARTIAL = "C303", Blocking, true, "Synapse is still fetching the state of rooms: their members and settings would be incomplete", "let Synapse run until it has";
    ROOM_BROKEN = "C304", Blocking, true, "rooms with local users in them whose present state (`current_state_events`) lacks the create event stay behind, though Synapse may still show them and send to them", "with Synapse stopped, put the row back if the event is there (`INSERT INTO current_state_events (event_id, room_id, type, state_key) SELECT event_id, room_id, type, '' FROM events WHERE type = 'm.room.create' AND room_id = 'ROOM'`), restore it from a backup, or leave the room on Synapse";
    ROOM_VERSION_UNKNOWN = "C305", Note, false, "invites to rooms whose version nobody knows are left out", "";
    FOREIGN_ALIAS = "C306", Note, false, "aliases of other servers are left out", "";
    BLOCKED_ROOM = "C310", Warning, false, "rooms that an administrator has blocked: Conduit knows no such thing. It refuses what other servers send of them, and nothing else: anybody who may join by the room's own rules can join again", "before the move, delete the room on Synapse (`DELETE /_synapse/admin/v2/rooms/ROOM` with `block` and `purge`), so that nothing of it moves, or set its join rule to `invite` and remove its aliases";
    VISIBILITY = "C311", Warning, false, "rooms whose `history_visibility` has a word that nobody knows: Synapse takes it for `shared`; on Conduit nobody can read what is said from then on, not even who says it", "set it to `shared` in the room's settings (or `PUT /_matrix/client/v3/rooms/ROOM/state/m.room.history_visibility`) before the move";
    ROOM_STATELESS = "C312", Warning, false, "rooms with local users in them whose present state Synapse has lost (`current_state_events` has no row): the state after their newest event is taken; if that is lost too, the room stays behind", "look at these rooms in the report";
    INCOMPLETE = "C313", Warning, false, "events of which Synapse's database lacks a part (`event_json`, `event_to_state_groups`) are missing in their rooms after the move: Synapse can't show them either", "restore the rows from a backup before the move, if there is one";
    MEDIA_STORE = "C401", Blocking, true, "the media directory can't be read", "run the importer where Synapse's media are, or name the directory by `--media-store`";
    MEDIA_MISSING = "C402", Warning, false, "uploaded files are not in the media directory; a storage provider may have them", "copy what is only there into the media directory";
    MEDIA_PROVIDER = "C403", Warning, false, "Synapse keeps media in a storage provider that is no directory; only directories are read", "copy what is only there into the media directory";
    OTHER_MEDIA = "C404", Warning, false, "this Synapse serves no media itself: what a program of another kind (matrix-media-repo) holds stays behind", "if one of Synapse's own workers serves it, nothing is lost; otherwise export it from that program, or go on passing `/_matrix/media` and `/_matrix/client/v1/media` to it";
    AVATARS_ELSEWHERE = "C405", Warning, false, "an avatar of a user or room is a file of this server of which Synapse's tables know nothing: it was deleted, or a program of another kind (matrix-media-repo) keeps this server's files", "if Synapse's clients show the avatar, another program has it and all other files: export them from there, or go on passing `/_matrix/media` and `/_matrix/client/v1/media` to it";
    CONDUIT_CONFIG = "C501", Blocking, false, "Conduit's configuration can't be used", "correct it";
    CONDUIT_NAME = "C502", Blocking, false, "Conduit's configuration is for another server name", "set `server_name` to Synapse's";
    TARGET_USED = "C503", Blocking, false, "the database directory holds something: a Conduit that ran there, or an earlier import", "name a new directory, or remove what is there if nobody needs it";
    TARGET_IN_THE_WAY = "C504", Blocking, false, "what the importer would write first is in the way and not its own", "move it elsewhere";
    TARGET_RIGHTS = "C505", Blocking, false, "a directory can't be written", "run the importer as a user who may write there";
    TARGET_SPACE = "C506", Blocking, true, "the disk has less space than dump and database may need", "free some, or name directories on another disk (`--dump`)";
    DUMP_USED = "C507", Blocking, false, "the dump's directory holds something", "remove it, name another (`--dump`), or take the dump that is there (`--reuse-dump`)";
    PORT = "C508", Warning, false, "somebody else listens on the port in Conduit's configuration", "if it is not Synapse or a proxy that you will stop, choose another port";
    REGISTRATION_OPEN = "C509", Warning, false, "Conduit's configuration lets anybody register, and Synapse's does not", "set `allow_registration = false`";
    NO_FEDERATION = "C510", Warning, false, "Conduit's configuration allows no federation: other servers can't be reached", "set `allow_federation = true`";
    UPLOAD_SIZE = "C511", Note, false, "Conduit's `max_request_size` is smaller than Synapse's `max_upload_size`", "set it to Synapse's at least";
    DUMP_OTHER = "C512", Blocking, false, "the dump that is there is no finished one, of another server, or made with other options", "name another directory (`--dump`), or the options of that dump";
    DUMP_OLD = "C513", Blocking, false, "Synapse has gone on since the dump was made: what came later would be lost", "remove the dump, so that a new one is made";
    NO_START = "C514", Blocking, true, "Conduit would not start with its configuration", "see the text; an empty `registration_token` must be taken out or set, files of `tls` must be there";
    MEDIA_USED = "C515", Blocking, false, "Conduit's media directory holds something, or is one that the importer can't make", "name a new directory (`path` in `[global.media]`, or `--media-directory`)";
    TURN = "C516", Warning, false, "Conduit tells clients of no TURN server, as Synapse does: calls fail where both sides are behind routers", "give Conduit the same server: `uris` and `secret` in `[global.turn]`";
    FEDERATION_OPEN = "C517", Blocking, true, "Synapse talks to some other servers only; Conduit has no such list and talks to all: a closed server opens to everybody", "set `allow_federation = false` for Conduit, or let a proxy or firewall pass the servers of the list only, both ways";
    RETENTION = "C518", Warning, false, "Synapse deletes messages after a time; Conduit never does", "tell your users; delete what must go on Synapse before the move";
    MEDIA_RETENTION = "C519", Warning, false, "Synapse deletes media files after a time, and Conduit's configuration does not; by default Conduit deletes files of other servers and thumbnails that nobody has asked for in 30 days", "set `retention` in `[global.media]` as you want it";
    CLIENT_ADDRESS = "C520", Warning, false, "clients that look for the server by its name are told another address than before", "set `client` in `[global.well_known]` to Synapse's `public_baseurl`, or let the proxy answer `/.well-known/matrix/client`";
    SERVER_ADDRESS = "C521", Note, false, "Synapse does not tell other servers where it is; Conduit answers `/.well-known/matrix/server` if the proxy passes that on", "set `server` in `[global.well_known]` to the address at which other servers reach you, or go on answering it elsewhere";
    EXTRA_WELL_KNOWN = "C522", Warning, false, "Synapse tells clients more than its address (calls, maps, where to log in); Conduit doesn't", "let the proxy answer `/.well-known/matrix/client` with what Synapse answers";
    AUTO_JOIN = "C523", Note, false, "new accounts no longer join these rooms on their own", "invite new users, or make a space public";
    EMAIL = "C524", Warning, false, "Conduit sends no e-mail: nobody can reset a password by it, and there are no notifications by it", "`reset-password` in Conduit's admin room";
    CONSENT = "C525", Warning, false, "users are no longer asked to accept terms", "ask them elsewhere, or keep registration closed";
    NOTICES = "C526", Note, false, "the server can't send notices of its own to users any more; rooms with earlier ones move", "";
    JWT = "C527", Warning, false, "Synapse takes JSON Web Tokens by `org.matrix.login.jwt`; Conduit takes them by `m.login.token` only, signed by HS256 with its `jwt_secret`, and lowers the name in `sub`", "set `jwt_secret` to Synapse's `jwt_config.secret`, and let what logs in use `m.login.token`";
    BRIDGE_SWITCH = "C528", Warning, false, "a bridge uses what Conduit has not (devices without a login, MSC4190; encryption by transactions, MSC3202): its encryption fails", "turn end-to-end encryption off in the bridge's configuration, or let the bridge use `/sync` for it, before the move";
    OLD_TOKENS = "C529", Note, false, "clients go on asking with Synapse's pagination tokens, which a stock Conduit refuses: they can't scroll back past what they have", "put the rule that `importer proxy-config --for nginx` prints (or `caddy`, `traefik`, `apache`, `haproxy`) into the reverse proxy, for a year";
    OWNERS = "C601", Warning, false, "rows whose owner is no account of Synapse's (no row in `users`, no application service's user) stay behind", "if the owner is somebody's, stop Synapse and give the account its row back (`INSERT INTO users (name, creation_ts) VALUES ('@USER:NAME', 0)`; registering it fails while a row of it is in `profiles`), start Synapse, and set a password (`PUT /_synapse/admin/v2/users/@USER:NAME`); else nobody misses them";
    CENSUS = "C602", Warning, false, "rows of a table that the importer neither moved nor named: something may be missing after the move", "keep Synapse's database, see what the rows are, and report it";
    UNKNOWN_TABLE = "C603", Warning, false, "a table that the importer does not know holds rows, which stay behind: a module's, or that of a newer Synapse", "see what it is for, and whether you can do without";
    MEMBERSHIPS = "C604", Warning, false, "the table of memberships (`local_current_membership`) lacks what a room's present state or its member events say, or names another event: what only these know moves as they say; otherwise a local user is joined if both say so", "look at these rooms after the move";
    STATE_ROW = "C605", Warning, false, "rows of a room's present state (`current_state_events`) that can't be read are left out: the room loses these settings or members", "set them again on Synapse, or on Conduit after the move";
    NO_PLACE = "C607", Note, false, "rows for which Conduit has no place stay behind", "";
    EMPTY_ROOM = "C608", Warning, false, "aliases of rooms that no local user is, was or is asked to be in stay behind", "if somebody needs the alias, join the room on Synapse first";
    MEMBERS = "C609", Warning, false, "users of this server without an account (no row in `users`, no application service's user) are or were in rooms: they move as members, and whoever registers such a name on Conduit gets their memberships", "before the move, stop Synapse, give the account its row back (`INSERT INTO users (name, creation_ts) VALUES ('@USER:NAME', 0)`; registering it fails while a row of it is in `profiles`), start Synapse, and deactivate it with an administrator's token (`POST /_synapse/admin/v1/deactivate/@USER:NAME` with `{\"erase\": false}`): that takes it out of its rooms, and Conduit then gives the name to nobody";
    ORPHANS = "C610", Warning, false, "events whose row in `events` is gone stay behind: only their content is left (`event_json`), and Synapse shows them to nobody either", "restore the rows from a backup before the move, if there is one";
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
    STATE_LOST = "I008", Warning, "events of a room's state are missing", "the state goes without them; if that matters, look for the events in the report and dump again";
    APPSERVICE_LEFT = "I009", Warning, "an application service can't be registered in Conduit", "mend its registration and give it to Conduit's admin room with `register-appservice`";
    ERASED_CONTENT = "I010", Warning, "events of erased users moved without their content", "";
    EVENTS_LEFT = "I011", Warning, "events are not in the timelines of their rooms, for a reason that the subject names: nobody can read them on Conduit", "the report names each; keep Synapse's database, or restore what is missing there and migrate again";
    EVENTS_MISSING = "I012", Warning, "events that rooms' states or other events rest on are missing: Conduit goes on without them", "the report names each; keep Synapse's database, or restore what is missing there and migrate again";
    ROOM_LEFT = "I013", Warning, "a room with local users in it stays behind", "keep Synapse's database; these users need a new room";
    MEDIA_LENGTH = "I020", Warning, "a media file is not as long as Synapse noted", "it moves as it is; ask for the original if clients can't show it";
    MEDIA_TWIN = "I021", Warning, "media has the same content as quarantined media, so Conduit blocks both", "Conduit blocks it as well: it blocks by content";
    MEDIA_LESS = "I022", Note, "media moves without its content type or uploader", "";
    UPLOADS_DELETED = "I023", Warning, "Conduit's configuration deletes old uploads at its first start", "take the policy out of the configuration, or leave it there if you mean it";
}

/// What to do about a finding of the verification.
const fn remedy(severity: Severity) -> &'static str {
    match severity {
        Blocking => "don't start Conduit on it; import again, and report this",
        Warning | Note => "",
    }
}

macro_rules! verification {
    ($($name:ident = $code:literal, $severity:ident, $meaning:literal;)*) => {
        $(pub(crate) const $name: Code =
            Code { remedy: remedy($severity), ..Code::plain($code, $severity, $meaning) };)*
        /// The codes of the verification, in their order.
        pub const VERIFICATION: &[Code] = &[$($name),*];
    };
}

// name = code, severity, meaning
verification! {
    ROW_UNDECODABLE = "V101", Blocking, "a row does not have the form of its tree";
    TREE_UNKNOWN = "V102", Note, "a tree that Conduit does not know";
    GLOBAL_INCOMPLETE = "V103", Blocking, "`global` lacks version 18, the counter or a readable key; Conduit does not start";
    ADMIN_ROOM_MISSING = "V104", Blocking, "`@conduit:NAME` or its admin room is missing";
    NUMBER_ABOVE_COUNTER = "V105", Blocking, "a number is above the counter: Conduit would hand it out again";
    ROWS_DISAGREE = "V106", Blocking, "two rows that should point at each other don't";
    SHORT_ID_AMBIGUOUS = "V107", Blocking, "a short id is 0, or names two things";
    EVENT_UNREADABLE = "V108", Blocking, "an event is not what Conduit can read";
    EVENT_ID_WRONG = "V109", Blocking, "an event's id is not the hash of its content";
    SIGNATURE_OR_CONTENT_HASH_WRONG = "V109", Warning, "a signature of this server, or the hash of a content, is wrong: Synapse's database was damaged, or it once had another key of the same name";
    AUTH_EVENT_OF_OTHER_ROOM = "V110", Blocking, "an auth event is of another room";
    AUTH_EVENT_MISSING = "V110", Warning, "an auth event is missing, as in Synapse's database or on purpose: Conduit goes on without it, and asks other servers when it needs it";
    STATE_UNSOUND = "V111", Blocking, "a state does not expand to known events of its room, one for each key";
    STATE_BEFORE_MISSING = "V112", Blocking, "a timeline event has no state before it: anybody could read it";
    MEMBERSHIP_ROWS_WRONG = "V113", Blocking, "the rows join whom the room's state does not, or lack other servers' users, or were counted wrong";
    MEMBERSHIP_ROWS_LAG = "V113", Warning, "an invite, knock or leave differs from the room's state, or a user of this server is joined there and not in the rows: the user may join again";
    PUSH_RULES_UNREADABLE = "V114", Blocking, "push rules of a user don't parse: messages to that user's rooms would fail";
    DEVICE_MISSING = "V115", Blocking, "a token or key of a device that does not exist";
    SIGNED_BY_OLD_KEY = "V116", Note, "an event is signed by a key that this server no longer has";
    ORIGIN_LOST = "V117", Note, "a redacted event lacks `origin`, as Conduit leaves those that it redacts itself";
    STATE_BEFORE_DOES_NOT_FOLLOW = "V118", Warning, "in a room without forks so far, the state before an event is not the one after its predecessor";
    EXTREMITY_REFERENCED = "V119", Blocking, "an extremity is marked as referenced: Conduit drops it with the next event from elsewhere";
    REFERENCE_MISSING = "V119", Warning, "an event that others follow is not marked as referenced";
    SEARCH_INDEX_WRONG = "V120", Warning, "the search index does not fit the messages";
    RELATION_DANGLING = "V121", Blocking, "a relation or thread of events that are not there";
    DIRECTORY_DANGLING = "V122", Blocking, "an alias or entry of the directory for a room that is not there";
    RECEIPT_UNUSABLE = "V123", Blocking, "a read receipt that ends Conduit's sending task, or two of a user in a room";
    MEDIA_ROWS_MISSING = "V124", Blocking, "rows of a media file are missing: Conduit deletes it";
    KEY_UNUSED = "V125", Note, "a key of a device that is gone, as Conduit leaves it behind";
    PUSHER_UNREADABLE = "V126", Blocking, "a pusher that Conduit can't read";
    ALIAS_LISTED_TWICE = "V127", Note, "an alias is listed for a room that it no longer names, as Conduit leaves it after an upgrade";
    APPSERVICE_UNUSABLE = "V128", Blocking, "an application service's registration is unreadable or another one's; Conduit does not start";
    ACCOUNT_DATA_UNREADABLE = "V129", Blocking, "account data without the type and content that clients are given";
    UNREAD_COUNT_TOO_LARGE = "V130", Blocking, "a number of unread events that Conduit can't answer with: it panics";
    MEDIA_FILE_MISSING = "V140", Blocking, "a media file is not there";
    MEDIA_FILE_WRONG = "V141", Blocking, "a media file has not the content or size that its row says";
    MEDIA_FILE_UNNAMED = "V142", Warning, "a file in the media directory that no row names";
    OUTLIER_VISIBLE = "V150", Blocking, "an event outside of the timelines is not hidden by its state: Conduit's `/event` shows it to more people than Synapse's did";
    HIDING_STATE_USED = "V151", Blocking, "a state that is made to hide events is used by a room or a timeline: its events could not be read";
    OWN_EVENT_WITHOUT_STATE = "V152", Note, "an event that Conduit has stored itself has no state before it, as in rooms that it makes";
    REPAIR_MARK_MISSING = "V153", Blocking, "a row of `global` is missing without which another server, started on the database by mistake, would damage it";
    JOIN_COUNT_WRONG = "V154", Blocking, "the row of a joined user has not the count of the join, which other servers read there";
    CHANGED_SINCE_IMPORT = "V160", Warning, "Conduit has run since the import, and something is not as the dump has it: changed by a user, or lost";
    NEW_SINCE_IMPORT = "V161", Note, "what is new since the import";
    MISSING_IN_DATABASE = "V201", Blocking, "something of the dump is missing in the database";
    MEDIA_MISSING_UNEXPLAINED = "V201", Warning, "something of the dump is missing in the database";
    NOT_IN_DUMP = "V202", Blocking, "something in the database is not in the dump";
    DIFFERS_FROM_DUMP = "V203", Blocking, "something differs from the dump";
}

#[cfg(test)]
mod tests;
