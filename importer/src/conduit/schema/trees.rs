//! The table of all 86 trees of a Conduit database of version 18, and of the one that is the importer's own: how keys and
//! values are laid out, and whether the import writes them. `docs/on-disk-format.md` explains each, with its source in
//! Conduit and the test that pins it.

use std::{cmp::Ordering, fmt};

use super::{
    layout::{Fields, Layout, Misfit},
    shapes,
    table::Table,
};

/// A tree: its name, and how its keys and values are laid out.
#[derive(Debug)]
pub struct Tree {
    /// The name of the column family (RocksDB) or table (SQLite).
    pub name: &'static str,
    /// The layout of keys.
    pub key: Layout,
    /// The layout of values.
    pub value: Layout,
    /// Whether the importer writes rows.
    pub written: Written,
    /// The fields that let somebody act as a user or as the server: never shown unless asked for, never logged.
    pub secret: &'static [&'static str],
    /// How the types of its keys and values read bytes and write them again.
    pub(super) rewrite: (Rewrite, Rewrite),
}

/// Bytes that were read and written again; `None` if they have another form.
pub(super) type Rewrite = fn(&[u8]) -> Option<Vec<u8>>;

/// Whether the importer writes a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It does.
    Yes,
    /// It leaves the tree empty, for this reason.
    No(&'static str),
}

/// A row whose key or value does not have the form of its tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decoding {what} of `{tree}` ({hex}): {misfit}")]
pub struct DecodeError {
    /// The tree.
    pub tree: &'static str,
    /// `key` or `value`.
    pub what: &'static str,
    /// The bytes of the *key*, in hexadecimal, unless the key is a secret; values may be as well.
    pub hex: String,
    /// What was expected.
    pub misfit: Misfit,
}

impl Tree {
    /// Reads a key by its type and writes it again: what the layout takes comes back the same, all else is `None`.
    pub fn rewrite_key(&self, key: &[u8]) -> Option<Vec<u8>> {
        (self.rewrite.0)(key)
    }

    /// The same of a value.
    pub fn rewrite_value(&self, value: &[u8]) -> Option<Vec<u8>> {
        (self.rewrite.1)(value)
    }

    /// Decodes a key.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Any bytes are fine as input.
    pub fn decode_key<'a>(&self, key: &'a [u8]) -> Result<Fields<'a>, DecodeError> {
        self.key.decode(key).map_err(|misfit| self.error("key", key, misfit))
    }

    /// Decodes a value; `key` is for the message only.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Any bytes are fine as input.
    pub fn decode_value<'a>(&self, key: &[u8], value: &'a [u8]) -> Result<Fields<'a>, DecodeError> {
        self.value.decode(value).map_err(|misfit| self.error("value", key, misfit))
    }

    /// The largest number of eight bytes among the fields of these names in key and value, 0 if there is none.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Self::decode_key`] and [`Self::decode_value`].
    pub fn largest(&self, key: &[u8], value: &[u8], names: &[&str]) -> Result<u64, DecodeError> {
        let of_key =
            self.key.largest(key, names).map_err(|misfit| self.error("key", key, misfit))?;
        let of_value =
            self.value.largest(value, names).map_err(|misfit| self.error("value", key, misfit))?;
        Ok(of_key.max(of_value))
    }

    pub(super) fn misfit_of_key(&self, key: &[u8]) -> DecodeError {
        self.error("key", key, Misfit::of(self.key))
    }

    pub(super) fn misfit_of_value(&self, key: &[u8]) -> DecodeError {
        self.error("value", key, Misfit::of(self.value))
    }

    fn error(&self, what: &'static str, key: &[u8], misfit: Misfit) -> DecodeError {
        let is_secret = self.key.names().any(|name| self.secret.contains(&name));
        let hex = if is_secret { "<secret>".into() } else { hex::encode(key) };
        DecodeError { tree: self.name, what, hex, misfit }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Tree {}

impl PartialOrd for Tree {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Tree {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(other.name)
    }
}

/// The tree of that name, of any server.
pub fn find(name: &str) -> Option<&'static Tree> {
    TREES.into_iter().chain(CONTINUWUITY).find(|tree| tree.name == name)
}

const YES: Written = Written::Yes;
const CACHE: Written = Written::No("a cache that Conduit fills");
const PASSING: Written = Written::No("lives for minutes");
const THUMBNAIL: Written = Written::No("Conduit makes thumbnails when they are asked for");
const UNREAD: Written = Written::No("Conduit writes it and never reads it");

macro_rules! trees {
    (@secret) => { &[] };
    (@secret $secret:expr) => { &$secret };
    ($($constant:ident $name:literal $key:ident => $value:ident, $written:expr $(, secret $secret:expr)?;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub static $constant: Table<shapes::$key<'static>, shapes::$value<'static>> =
                Table::new($name, $written, trees!(@secret $($secret)?));
        )*

        /// All trees, sorted by name.
        pub static TREES: [&Tree; 87] = [$($constant.tree()),*];
    };
}

/// Trees that Continuwuity has and Conduit has not, as far as the importer writes them. `docs/continuwuity.md` explains them.
macro_rules! more_trees {
    ($($constant:ident $name:literal $key:ident => $value:ident $(, secret $secret:expr)?;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub static $constant: Table<shapes::$key<'static>, shapes::$value<'static>> =
                Table::new($name, YES, trees!(@secret $($secret)?));
        )*

        /// All of them, sorted by name.
        pub static CONTINUWUITY: [&Tree; 17] = [$($constant.tree()),*];
    };
}

more_trees! {
    BANNEDROOMIDS "bannedroomids" Room => Nothing;
    EMAIL_LOCALPART "email_localpart" Email => Localpart;
    FALLBACKKEYID_FALLBACKKEY "fallbackkeyid_fallbackkey" FallbackKeyId => FallbackKey;
    LOCALPART_EMAIL "localpart_email" Localpart => Email;
    MEDIAID_FILE "mediaid_file" MediaFile => Nothing;
    MEDIAID_USER "mediaid_user" MediaUser => User;
    PUSHKEY_DEVICEID "pushkey_deviceid" Pushkey => Device, secret ["pushkey"];
    REMOTEUSERID_REMOTEUSER "remoteuserid_remoteuser" User => Nothing;
    ROOMUSERID_KNOCKEDCOUNT "roomuserid_knockedcount" RoomUser => Count;
    ROOMUSERID_LASTNOTIFICATIONREAD "roomuserid_lastnotificationread" RoomUser => Number;
    USERDEVICEID_TOKENEXPIRES "userdeviceid_tokenexpires" UserDevice => Expiry;
    USERID_DEACTIVATED "userid_deactivated" User => Nothing;
    USERID_LOCK "userid_lock" User => Restriction;
    USERID_SUSPENSION "userid_suspension" User => Restriction;
    USERIDPROFILEKEY_VALUE "useridprofilekey_value" UserField => AsSent;
    USERROOMID_INVITESENDER "userroomid_invitesender" UserRoom => User;
    USERROOMID_KNOCKEDSTATE "userroomid_knockedstate" UserRoom => AsSent;
}

trees! {
    ALIAS_ROOMID "alias_roomid" AliasLocalpart => Room, YES;
    ALIAS_USERID "alias_userid" AliasLocalpart => User, YES;
    ALIASID_ALIAS "aliasid_alias" RoomCount => Alias, YES;
    BACKUPID_ALGORITHM "backupid_algorithm" Backup => Algorithm, YES;
    BACKUPID_ETAG "backupid_etag" Backup => Count, YES;
    BACKUPKEYID_BACKUP "backupkeyid_backup" BackupSession => AsSent, YES;
    BLOCKED_SERVERNAME_MEDIAID "blocked_servername_mediaid" Media => Blocked, YES;
    DISABLEDROOMIDS "disabledroomids" Room => Nothing, YES;
    EVENTID_OUTLIERPDU "eventid_outlierpdu" Event => Sorted, YES;
    EVENTID_PDUID "eventid_pduid" Event => PduId, YES;
    EVENTID_SHORTEVENTID "eventid_shorteventid" Event => ShortEvent, YES;
    FILEHASH_METADATA "filehash_metadata" ContentHash => FileTimes, YES;
    FILEHASH_SERVERNAME_MEDIAID "filehash_servername_mediaid" ContentMedia => Nothing, YES;
    FILEHASH_THUMBNAILID "filehash_thumbnailid" ContentThumbnail => Nothing, THUMBNAIL;
    GLOBAL "global" GlobalKey => Global, YES, secret ["pkcs8"];
    ID_APPSERVICEREGISTRATIONS "id_appserviceregistrations" Id => Registration, YES, secret ["yaml"];
    KEYCHANGEID_USERID "keychangeid_userid" KeyChange => User, YES;
    KEYID_KEY "keyid_key" UserKey => AsSent, YES;
    LAZYLOADEDIDS "lazyloadedids" LazyLoaded => Nothing, CACHE;
    ONETIMEKEYID_ONETIMEKEYS "onetimekeyid_onetimekeys" OneTimeKey => AsSent, YES;
    OPENIDTOKEN_EXPIRESATUSERID "openidtoken_expiresatuserid" Token => ExpiresUser, PASSING, secret ["token"];
    PDUID_PDU "pduid_pdu" PduId => Sorted, YES;
    PREDECESSOR_GIVENUP "predecessor_givenup" RoomEvent => Reason,
        Written::No("what `backfill` finds that nobody has");
    PRESENCEID_PRESENCE "presenceid_presence" RoomCountUser => AsSent,
        Written::No("Conduit clears it at every start");
    PUBLICROOMIDS "publicroomids" Room => Nothing, YES;
    READRECEIPTID_READRECEIPT "readreceiptid_readreceipt" RoomCountUser => AsSent, YES;
    REFERENCEDEVENTS "referencedevents" RoomReferenced => Nothing, YES;
    ROOMID_INVITEDCOUNT "roomid_invitedcount" Room => Number, YES;
    ROOMID_JOINEDCOUNT "roomid_joinedcount" Room => Number, YES;
    ROOMID_PDULEAVES "roomid_pduleaves" RoomEvent => Event, YES;
    ROOMID_SHORTROOMID "roomid_shortroomid" Room => ShortRoom, YES;
    ROOMID_SHORTSTATEHASH "roomid_shortstatehash" Room => ShortStateHash, YES;
    ROOMSERVERIDS "roomserverids" RoomServer => Nothing, YES;
    ROOMSYNCTOKEN_SHORTSTATEHASH "roomsynctoken_shortstatehash" ShortRoomCount => ShortStateHash, CACHE;
    ROOMUSERDATAID_ACCOUNTDATA "roomuserdataid_accountdata" AccountData => AsSent, YES;
    ROOMUSERID_INVITECOUNT "roomuserid_invitecount" RoomUser => Count, YES;
    ROOMUSERID_JOINED "roomuserid_joined" RoomUser => Joined, YES;
    ROOMUSERID_KNOCKCOUNT "roomuserid_knockcount" RoomUser => Count, YES;
    ROOMUSERID_LASTPRIVATEREADUPDATE "roomuserid_lastprivatereadupdate" RoomUser => Count, YES;
    ROOMUSERID_LEFTCOUNT "roomuserid_leftcount" RoomUser => Count, YES;
    ROOMUSERID_PRIVATEREAD "roomuserid_privateread" RoomUser => Count, YES;
    ROOMUSERONCEJOINEDIDS "roomuseroncejoinedids" UserRoom => Nothing, YES;
    ROOMUSERTYPE_ROOMUSERDATAID "roomusertype_roomuserdataid" AccountDataType => AccountData, YES;
    SENDERKEY_PUSHER "senderkey_pusher" UserPushkey => AsSent, YES, secret ["pushkey", "json"];
    SERVER_SIGNINGKEYS "server_signingkeys" Server => AsSent, CACHE;
    SERVERCURRENTEVENT_DATA "servercurrentevent_data" Queue => Queued, YES, secret ["pushkey"];
    SERVERNAME_EDUCOUNT "servername_educount" Server => Count, YES;
    SERVERNAME_USERLOCALPART_MEDIAID "servername_userlocalpart_mediaid" ServerLocalpartMedia => Nothing, YES;
    SERVERNAMEEVENT_DATA "servernameevent_data" Queue => Queued, YES, secret ["pushkey"];
    SERVERNAMEMEDIAID_METADATA "servernamemediaid_metadata" Media => File, YES;
    SERVERNAMEMEDIAID_USERLOCALPART "servernamemediaid_userlocalpart" Media => Localpart, YES;
    SERVERROOMIDS "serverroomids" ServerRoom => Nothing, YES;
    SHORTEVENTID_AUTHCHAIN "shorteventid_authchain" ShortEvent => ShortEvents, CACHE;
    SHORTEVENTID_EVENTID "shorteventid_eventid" ShortEvent => Event, YES;
    SHORTEVENTID_SHORTSTATEHASH "shorteventid_shortstatehash" ShortEvent => ShortStateHash, YES;
    SHORTSTATEHASH_STATEDIFF "shortstatehash_statediff" ShortStateHash => StateDiff, YES;
    SHORTSTATEKEY_STATEKEY "shortstatekey_statekey" ShortStateKey => StateKey, YES;
    SOFTFAILEDEVENTIDS "softfailedeventids" Event => Nothing, YES;
    STATEHASH_SHORTSTATEHASH "statehash_shortstatehash" StateHash => ShortStateHash, CACHE;
    STATEKEY_SHORTSTATEKEY "statekey_shortstatekey" StateKey => ShortStateKey, YES;
    THREADID_USERIDS "threadid_userids" PduId => UserTexts, YES;
    THUMBNAILID_METADATA "thumbnailid_metadata" Thumbnail => File, THUMBNAIL;
    TODEVICEID_EVENTS "todeviceid_events" ToDevice => Sorted, YES;
    TOFROM_RELATION "tofrom_relation" Relation => Nothing, YES;
    TOKEN_USERDEVICEID "token_userdeviceid" Token => UserDevice, YES, secret ["token"];
    TOKENIDS "tokenids" TokenId => Nothing, YES;
    USERDEVICEID_METADATA "userdeviceid_metadata" UserDevice => DeviceMetadata, YES;
    USERDEVICEID_TOKEN "userdeviceid_token" UserDevice => Token, YES, secret ["token"];
    USERDEVICESESSIONID_UIAAINFO "userdevicesessionid_uiaainfo" UserDeviceSession => AsSent, PASSING;
    USERDEVICETXNID_RESPONSE "userdevicetxnid_response" UserDeviceTxn => Event, PASSING;
    USERFILTERID_FILTER "userfilterid_filter" UserFilter => AsSent, YES;
    USERID_AVATARURL "userid_avatarurl" User => Mxc, YES;
    USERID_BLURHASH "userid_blurhash" User => Blurhash, Written::No("Synapse has none");
    USERID_DEVICELISTVERSION "userid_devicelistversion" User => Version, YES;
    USERID_DISPLAYNAME "userid_displayname" User => Displayname, YES;
    USERID_LASTONETIMEKEYUPDATE "userid_lastonetimekeyupdate" User => Count, UNREAD;
    USERID_LASTPRESENCEUPDATE "userid_lastpresenceupdate" User => Milliseconds, UNREAD;
    USERID_MASTERKEYID "userid_masterkeyid" User => UserKey, YES;
    USERID_PASSWORD "userid_password" User => PasswordHash, YES, secret ["hash"];
    USERID_SELFSIGNINGKEYID "userid_selfsigningkeyid" User => UserKey, YES;
    USERID_USERSIGNINGKEYID "userid_usersigningkeyid" User => UserKey, YES;
    USERROOMID_HIGHLIGHTCOUNT "userroomid_highlightcount" Unread => Number, YES;
    USERROOMID_INVITESTATE "userroomid_invitestate" UserRoom => AsSent, YES;
    USERROOMID_JOINED "userroomid_joined" UserRoom => Joined, YES;
    USERROOMID_KNOCKSTATE "userroomid_knockstate" UserRoom => AsSent, YES;
    USERROOMID_LEFTSTATE "userroomid_leftstate" UserRoom => AsSent, YES;
    USERROOMID_NOTIFICATIONCOUNT "userroomid_notificationcount" UserRoom => Number, YES;
}

/// Keys of `global` that keep servers which are descended from Conduit from repairing what is not broken: each of their
/// repairs runs once, if its key is not there. `docs/other-servers.md` says what they would do.
pub const REPAIRED: [&str; 2] = [
    "fix_bad_double_separator_in_state_cache",
    "retroactively_fix_bad_data_from_roomuserid_joined",
];

/// The key of `global` at which an import, or a later fetch of history, notes the last number that it gave out. Conduit never
/// looks at it, and goes on counting; so what is above came later.
pub const IMPORTED: &[u8] = b"imported_from_synapse";

/// Trees that Continuwuity opens besides, which the importer leaves empty (src/database/maps.rs).
pub const CONTINUWUITY_UNWRITTEN: [&str; 19] = [
    "clientid_clientmetadata",
    "logintoken_expiresatuserid",
    "openidsubject_currentpictureurl",
    "openidsubject_localpart",
    "passwordresettoken_info",
    "refreshtoken_refreshtokeninfo",
    "registrationtoken_info",
    "rejectedeventids",
    "roomid_inviteviaservers",
    "roomid_mindepth",
    "servername_destination",
    "servername_override",
    "url_previews",
    "userdeviceid_oauthsessioninfo",
    "userid_dehydrateddevice",
    "userid_logindisabled",
    "userid_origin",
    "userid_presenceid",
    "websessionid_session",
];

/// Trees of a Conduit that has this project's patches, which a stock one leaves alone. `docs/on-disk-format.md` explains
/// them.
pub const PATCHED: [&str; 4] =
    ["predecessor_givenup", "predecessor_missing", "predecessor_room", "predecessor_waiting"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_constants_are_the_names_in_capitals() {
        assert!(TREES.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(CONTINUWUITY.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    /// The document's sections, each as heading, key, value and written.
    fn documented() -> Vec<[String; 4]> {
        include_str!("../../../docs/on-disk-format.md")
            .split("\n### ")
            .skip(1)
            .map(|section| {
                let (heading, text) = section.split_once('\n').unwrap();
                let line = |label: &str| {
                    let lines: Vec<_> =
                        text.lines().filter_map(|line| line.strip_prefix(label)).collect();
                    assert_eq!(lines.len(), 1, "{heading}: {label}");
                    lines[0].to_owned()
                };
                [heading.to_owned(), line("- Key: "), line("- Value: "), line("- Written: ")]
            })
            .collect()
    }

    #[test]
    fn the_document_has_each_tree_with_its_layout() {
        let mut documented = documented();
        documented.sort();
        let expected = TREES.map(|tree| {
            let written = match tree.written {
                Written::Yes => "yes".to_owned(),
                Written::No(reason) => format!("no: {reason}"),
            };
            [tree.name.to_owned(), tree.key.to_string(), tree.value.to_string(), written]
        });
        assert_eq!(documented, expected);
    }
}
