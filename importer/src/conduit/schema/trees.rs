//! The table of all 86 trees of a Conduit database of version 18, and of the one that is the importer's own: how keys and
//! values are laid out, and whether the import writes them. `docs/on-disk-format.md` explains each, with its source in
//! Conduit and the test that pins it.

use std::{cmp::Ordering, fmt};

use super::layout::{
    Field::{
        self, Bytes, Hash, Json, Literal, Sep, Sigil, Text, TextBefore, Texts, U32, U64, U64s, Zero,
    },
    Fields, Layout, Misfit,
    Order::{AsSent, Fields as Ordered, Sorted},
    Part,
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
}

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
    /// Encodes a key from its parts, in the order of the layout. Separators are added here.
    ///
    /// # Panics
    ///
    /// If the parts don't fit the layout: a mistake of the caller, not of the data.
    pub fn key(&self, parts: &[Part<'_>]) -> Vec<u8> {
        self.encode(self.key, parts)
    }

    /// Encodes a value from its parts, like [`Self::key`].
    ///
    /// # Panics
    ///
    /// If the parts don't fit the layout.
    pub fn value(&self, parts: &[Part<'_>]) -> Vec<u8> {
        self.encode(self.value, parts)
    }

    #[expect(clippy::panic, reason = "the caller names parts that the layout does not have")]
    fn encode(&self, layout: Layout, parts: &[Part<'_>]) -> Vec<u8> {
        let Some(bytes) = layout.encode(parts) else {
            panic!("`{}` takes {layout}, not {} parts of other kinds", self.name, parts.len());
        };
        bytes
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

    fn error(&self, what: &'static str, key: &[u8], misfit: Misfit) -> DecodeError {
        let secret = [&TOKEN_USERDEVICEID, &SENDERKEY_PUSHER, &OPENIDTOKEN_EXPIRESATUSERID];
        let hex = if secret.contains(&self) { "<secret>".into() } else { hex::encode(key) };
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

/// The tree of that name.
pub fn find(name: &str) -> Option<&'static Tree> {
    TREES.into_iter().find(|tree| tree.name == name)
}

// Shapes that several trees share.
type Shape = &'static [&'static [Field]];
const NOTHING: Shape = &[&[]];
const NUMBER: Shape = &[&[U64("number")]];
const COUNT: Shape = &[&[U64("count")]];
/// Conduit writes nothing and reads nothing there; servers that take over its database read the count of the join.
const JOINED: Shape = &[&[U64("count")], &[]];
const ROOM: Shape = &[&[Text("room")]];
const USER: Shape = &[&[Text("user")]];
const USER_ROOM: Shape = &[&[Text("user"), Sep, Text("room")]];
const ROOM_USER: Shape = &[&[Text("room"), Sep, Text("user")]];
const USER_DEVICE: Shape = &[&[Text("user"), Sep, Text("device")]];
const USER_KEY: Shape = &[&[Text("user"), Sep, Text("key")]];
const EVENT: Shape = &[&[Text("event")]];
const BACKUP: Shape = &[&[Text("user"), Sep, Text("version")]];
const MEDIA: Shape = &[&[Text("server"), Sep, Text("media")]];
const AS_SENT: Shape = &[&[Json("json", AsSent)]];
const SORTED: Shape = &[&[Json("json", Sorted)]];
/// Normal: short room id, count. Backfilled: short room id, zero, 2^64 − 1 − count
/// (src/service/rooms/timeline/mod.rs:284-286, 1393-1396).
const PDU_ID: Shape =
    &[&[U64("short_room"), U64("count")], &[U64("short_room"), Zero, U64("backfilled")]];
/// Content hash, file name, content type; a last separator allows unauthenticated downloads.
const FILE: Shape = &[
    &[Hash("sha256"), Text("filename"), Sep, Text("content_type")],
    &[Hash("sha256"), Text("filename"), Sep, Text("content_type"), Sep],
];
/// Destination, then a PDU's id or a count (src/service/sending/mod.rs:56-79).
const QUEUE: Shape = &[
    &[Sigil("appservice", b'+'), Sep, U64("count")],
    &[Sigil("appservice", b'+'), Sep, U64("short_room"), U64("count")],
    &[Sigil("appservice", b'+'), Sep, U64("short_room"), Zero, U64("backfilled")],
    &[Sigil("user", b'$'), Sep, Text("pushkey"), Sep, U64("count")],
    &[Sigil("user", b'$'), Sep, Text("pushkey"), Sep, U64("short_room"), U64("count")],
    &[Sigil("user", b'$'), Sep, Text("pushkey"), Sep, U64("short_room"), Zero, U64("backfilled")],
    &[Text("server"), Sep, U64("count")],
    &[Text("server"), Sep, U64("short_room"), U64("count")],
    &[Text("server"), Sep, U64("short_room"), Zero, U64("backfilled")],
];
const QUEUED: Shape = &[&[], &[Json("json", AsSent)]];

const YES: Written = Written::Yes;
const CACHE: Written = Written::No("a cache that Conduit fills");
const PASSING: Written = Written::No("lives for minutes");
const UNREAD: Written = Written::No("Conduit writes it and never reads it");

macro_rules! trees {
    ($($constant:ident $name:literal $key:expr => $value:expr, $written:expr;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub static $constant: Tree =
                Tree { name: $name, key: Layout($key), value: Layout($value), written: $written };
        )*

        /// All trees, sorted by name.
        pub static TREES: [&Tree; 87] = [$(&$constant),*];
    };
}

trees! {
    ALIAS_ROOMID "alias_roomid" &[&[Text("alias_localpart")]] => ROOM, YES;
    ALIAS_USERID "alias_userid" &[&[Text("alias_localpart")]] => USER, YES;
    ALIASID_ALIAS "aliasid_alias" &[&[Text("room"), Sep, U64("count")]] => &[&[Text("alias")]], YES;
    BACKUPID_ALGORITHM "backupid_algorithm" BACKUP => &[&[Json("json", Ordered(&["algorithm", "auth_data"]))]], YES;
    BACKUPID_ETAG "backupid_etag" BACKUP => COUNT, YES;
    BACKUPKEYID_BACKUP "backupkeyid_backup"
        &[&[Text("user"), Sep, Text("version"), Sep, Text("room"), Sep, Text("session")]] => AS_SENT, YES;
    BLOCKED_SERVERNAME_MEDIAID "blocked_servername_mediaid" MEDIA => &[&[U64("seconds"), Text("reason")]], YES;
    DISABLEDROOMIDS "disabledroomids" ROOM => NOTHING, YES;
    EVENTID_OUTLIERPDU "eventid_outlierpdu" EVENT => SORTED, YES;
    EVENTID_PDUID "eventid_pduid" EVENT => PDU_ID, YES;
    EVENTID_SHORTEVENTID "eventid_shorteventid" EVENT => &[&[U64("short_event")]], YES;
    FILEHASH_METADATA "filehash_metadata" &[&[Hash("sha256")]] =>
        &[&[U64("bytes"), U64("created_seconds"), U64("last_access_seconds")]], YES;
    FILEHASH_SERVERNAME_MEDIAID "filehash_servername_mediaid"
        &[&[Hash("sha256"), Text("server"), Sep, Text("media")]] => NOTHING, YES;
    FILEHASH_THUMBNAILID "filehash_thumbnailid"
        &[&[Hash("sha256"), Text("server"), Sep, Text("media"), Sep, U32("width"), U32("height")]] => NOTHING,
        Written::No("Conduit makes thumbnails when they are asked for");
    GLOBAL "global" &[&[Literal("c")], &[Literal("version")], &[Literal("u")], &[Literal("keypair")], &[Text("name")]] =>
        &[&[U64("number")], &[Text("version"), Sep, Bytes("pkcs8")], &[]], YES;
    ID_APPSERVICEREGISTRATIONS "id_appserviceregistrations" &[&[Text("id")]] => &[&[Text("yaml")]], YES;
    KEYCHANGEID_USERID "keychangeid_userid" &[&[Text("room_or_user"), Sep, U64("count")]] => USER, YES;
    KEYID_KEY "keyid_key" USER_KEY => AS_SENT, YES;
    LAZYLOADEDIDS "lazyloadedids"
        &[&[Text("user"), Sep, Text("device"), Sep, Text("room"), Sep, Text("member")]] => NOTHING, CACHE;
    ONETIMEKEYID_ONETIMEKEYS "onetimekeyid_onetimekeys"
        &[&[Text("user"), Sep, Text("device"), Sep, Text("quoted_key")]] => AS_SENT, YES;
    OPENIDTOKEN_EXPIRESATUSERID "openidtoken_expiresatuserid" &[&[Text("token")]] =>
        &[&[U64("expires_ms"), Text("user")]], PASSING;
    PDUID_PDU "pduid_pdu" PDU_ID => SORTED, YES;
    PREDECESSOR_GIVENUP "predecessor_givenup" &[&[Text("room"), Sep, Text("event")]] => &[&[Text("reason")]],
        Written::No("what `backfill` finds that nobody has");
    PRESENCEID_PRESENCE "presenceid_presence" &[&[Text("room"), Sep, U64("count"), Sep, Text("user")]] => AS_SENT,
        Written::No("Conduit clears it at every start");
    PUBLICROOMIDS "publicroomids" ROOM => NOTHING, YES;
    READRECEIPTID_READRECEIPT "readreceiptid_readreceipt"
        &[&[Text("room"), Sep, U64("count"), Sep, Text("user")]] => AS_SENT, YES;
    REFERENCEDEVENTS "referencedevents" &[&[TextBefore("room", b'$'), Text("event")]] => NOTHING, YES;
    ROOMID_INVITEDCOUNT "roomid_invitedcount" ROOM => NUMBER, YES;
    ROOMID_JOINEDCOUNT "roomid_joinedcount" ROOM => NUMBER, YES;
    ROOMID_PDULEAVES "roomid_pduleaves" &[&[Text("room"), Sep, Text("event")]] => EVENT, YES;
    ROOMID_SHORTROOMID "roomid_shortroomid" ROOM => &[&[U64("short_room")]], YES;
    ROOMID_SHORTSTATEHASH "roomid_shortstatehash" ROOM => &[&[U64("short_state_hash")]], YES;
    ROOMSERVERIDS "roomserverids" &[&[Text("room"), Sep, Text("server")]] => NOTHING, YES;
    ROOMSYNCTOKEN_SHORTSTATEHASH "roomsynctoken_shortstatehash" &[&[U64("short_room"), U64("count")]] =>
        &[&[U64("short_state_hash")]], CACHE;
    ROOMUSERDATAID_ACCOUNTDATA "roomuserdataid_accountdata"
        &[&[Text("room"), Sep, Text("user"), Sep, U64("count"), Sep, Text("type")]] => AS_SENT, YES;
    ROOMUSERID_INVITECOUNT "roomuserid_invitecount" ROOM_USER => COUNT, YES;
    ROOMUSERID_JOINED "roomuserid_joined" ROOM_USER => JOINED, YES;
    ROOMUSERID_KNOCKCOUNT "roomuserid_knockcount" ROOM_USER => COUNT, YES;
    ROOMUSERID_LASTPRIVATEREADUPDATE "roomuserid_lastprivatereadupdate" ROOM_USER => COUNT, YES;
    ROOMUSERID_LEFTCOUNT "roomuserid_leftcount" ROOM_USER => COUNT, YES;
    ROOMUSERID_PRIVATEREAD "roomuserid_privateread" ROOM_USER => COUNT, YES;
    ROOMUSERONCEJOINEDIDS "roomuseroncejoinedids" USER_ROOM => NOTHING, YES;
    ROOMUSERTYPE_ROOMUSERDATAID "roomusertype_roomuserdataid"
        &[&[Text("room"), Sep, Text("user"), Sep, Text("type")]] =>
        &[&[Text("room"), Sep, Text("user"), Sep, U64("count"), Sep, Text("type")]], YES;
    SENDERKEY_PUSHER "senderkey_pusher" &[&[Text("user"), Sep, Text("pushkey")]] => AS_SENT, YES;
    SERVER_SIGNINGKEYS "server_signingkeys" &[&[Text("server")]] => AS_SENT, CACHE;
    SERVERCURRENTEVENT_DATA "servercurrentevent_data" QUEUE => QUEUED, YES;
    SERVERNAME_EDUCOUNT "servername_educount" &[&[Text("server")]] => COUNT, YES;
    SERVERNAME_USERLOCALPART_MEDIAID "servername_userlocalpart_mediaid"
        &[&[Text("server"), Sep, Text("localpart"), Sep, Text("media")]] => NOTHING, YES;
    SERVERNAMEEVENT_DATA "servernameevent_data" QUEUE => QUEUED, YES;
    SERVERNAMEMEDIAID_METADATA "servernamemediaid_metadata" MEDIA => FILE, YES;
    SERVERNAMEMEDIAID_USERLOCALPART "servernamemediaid_userlocalpart" MEDIA => &[&[Text("localpart")]], YES;
    SERVERROOMIDS "serverroomids" &[&[Text("server"), Sep, Text("room")]] => NOTHING, YES;
    SHORTEVENTID_AUTHCHAIN "shorteventid_authchain" &[&[U64("short_event")]] => &[&[U64s("short_events")]], CACHE;
    SHORTEVENTID_EVENTID "shorteventid_eventid" &[&[U64("short_event")]] => EVENT, YES;
    SHORTEVENTID_SHORTSTATEHASH "shorteventid_shortstatehash" &[&[U64("short_event")]] =>
        &[&[U64("short_state_hash")]], YES;
    SHORTSTATEHASH_STATEDIFF "shortstatehash_statediff" &[&[U64("short_state_hash")]] =>
        &[&[U64("parent"), U64s("diff")]], YES;
    SHORTSTATEKEY_STATEKEY "shortstatekey_statekey" &[&[U64("short_state_key")]] =>
        &[&[Text("type"), Sep, Text("state_key")]], YES;
    SOFTFAILEDEVENTIDS "softfailedeventids" EVENT => NOTHING, YES;
    STATEHASH_SHORTSTATEHASH "statehash_shortstatehash" &[&[Hash("state_hash")]] =>
        &[&[U64("short_state_hash")]], CACHE;
    STATEKEY_SHORTSTATEKEY "statekey_shortstatekey" &[&[Text("type"), Sep, Text("state_key")]] =>
        &[&[U64("short_state_key")]], YES;
    THREADID_USERIDS "threadid_userids" PDU_ID => &[&[Texts("users")]], YES;
    THUMBNAILID_METADATA "thumbnailid_metadata"
        &[&[Text("server"), Sep, Text("media"), Sep, U32("width"), U32("height")]] => FILE,
        Written::No("Conduit makes thumbnails when they are asked for");
    TODEVICEID_EVENTS "todeviceid_events" &[&[Text("user"), Sep, Text("device"), Sep, U64("count")]] => SORTED, YES;
    TOFROM_RELATION "tofrom_relation" &[&[U64("to_count"), U64("from_count")]] => NOTHING, YES;
    TOKEN_USERDEVICEID "token_userdeviceid" &[&[Text("token")]] => USER_DEVICE, YES;
    TOKENIDS "tokenids" &[
        &[U64("token_short_room"), Text("word"), Sep, U64("short_room"), U64("count")],
        &[U64("token_short_room"), Text("word"), Sep, U64("short_room"), Zero, U64("backfilled")],
    ] => NOTHING, YES;
    USERDEVICEID_METADATA "userdeviceid_metadata" USER_DEVICE =>
        &[&[Json("json", Ordered(&["device_id", "display_name", "last_seen_ip", "last_seen_ts"]))]], YES;
    USERDEVICEID_TOKEN "userdeviceid_token" USER_DEVICE => &[&[Text("token")]], YES;
    USERDEVICESESSIONID_UIAAINFO "userdevicesessionid_uiaainfo"
        &[&[Text("user"), Sep, Text("device"), Sep, Text("session")]] => AS_SENT, PASSING;
    USERDEVICETXNID_RESPONSE "userdevicetxnid_response"
        &[&[Text("user"), Sep, Text("device"), Sep, Text("txn")]] => EVENT, PASSING;
    USERFILTERID_FILTER "userfilterid_filter" &[&[Text("user"), Sep, Text("filter")]] => AS_SENT, YES;
    USERID_AVATARURL "userid_avatarurl" USER => &[&[Text("mxc")]], YES;
    USERID_BLURHASH "userid_blurhash" USER => &[&[Text("blurhash")]],
        Written::No("Synapse has none");
    USERID_DEVICELISTVERSION "userid_devicelistversion" USER => &[&[U64("version")]], YES;
    USERID_DISPLAYNAME "userid_displayname" USER => &[&[Text("displayname")]], YES;
    USERID_LASTONETIMEKEYUPDATE "userid_lastonetimekeyupdate" USER => COUNT, UNREAD;
    USERID_LASTPRESENCEUPDATE "userid_lastpresenceupdate" USER => &[&[U64("ms")]], UNREAD;
    USERID_MASTERKEYID "userid_masterkeyid" USER => USER_KEY, YES;
    USERID_PASSWORD "userid_password" USER => &[&[Text("hash")]], YES;
    USERID_SELFSIGNINGKEYID "userid_selfsigningkeyid" USER => USER_KEY, YES;
    USERID_USERSIGNINGKEYID "userid_usersigningkeyid" USER => USER_KEY, YES;
    USERROOMID_HIGHLIGHTCOUNT "userroomid_highlightcount" &[
        &[Sigil("user", b'@'), Sep, Text("room")],
        &[Sigil("room", b'!'), Sep, Text("user")],
    ] => NUMBER, YES;
    USERROOMID_INVITESTATE "userroomid_invitestate" USER_ROOM => AS_SENT, YES;
    USERROOMID_JOINED "userroomid_joined" USER_ROOM => JOINED, YES;
    USERROOMID_KNOCKSTATE "userroomid_knockstate" USER_ROOM => AS_SENT, YES;
    USERROOMID_LEFTSTATE "userroomid_leftstate" USER_ROOM => AS_SENT, YES;
    USERROOMID_NOTIFICATIONCOUNT "userroomid_notificationcount" USER_ROOM => NUMBER, YES;
}

/// Keys of `global` that keep servers which are descended from Conduit from repairing what is not broken: each of their
/// repairs runs once, if its key is not there. `docs/other-servers.md` says what they would do.
pub const REPAIRED: [&[u8]; 2] = [
    b"fix_bad_double_separator_in_state_cache",
    b"retroactively_fix_bad_data_from_roomuserid_joined",
];

/// The key of `global` at which an import, or a later fetch of history, notes the last number that it gave out. Conduit never
/// looks at it, and goes on counting; so what is above came later.
pub const IMPORTED: &[u8] = b"imported_from_synapse";

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

    #[test]
    fn a_pdu_id_is_the_short_room_id_and_the_count() {
        assert_eq!(
            hex::encode(PDUID_PDU.key(&[Part::U64(0x6a), Part::U64(0xb2)])),
            "000000000000006a00000000000000b2"
        );
    }
}
