//! The table of all 86 trees of a Conduit database of version 18.

use super::layout::Part;

/// A tree: its name, and how its keys and values are laid out.
#[derive(Debug)]
pub struct Tree {
    /// The name of the column family (RocksDB) or table (SQLite).
    pub name: &'static str,
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Tree {}

impl PartialOrd for Tree {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Tree {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name.cmp(other.name)
    }
}

impl Tree {
    /// Encodes a key from its parts, in the order of the layout. Separators are added here.
    ///
    /// # Panics
    ///
    /// If the parts don't fit the layout: a mistake of the caller, not of the data.
    pub fn key(&self, _parts: &[Part<'_>]) -> Vec<u8> {
        todo!()
    }

    /// Encodes a value from its parts, like [`Self::key`].
    ///
    /// # Panics
    ///
    /// If the parts don't fit the layout.
    pub fn value(&self, _parts: &[Part<'_>]) -> Vec<u8> {
        todo!()
    }
}

/// See `docs/on-disk-format.md`.
pub static ALIAS_ROOMID: Tree = Tree { name: "alias_roomid" };

/// See `docs/on-disk-format.md`.
pub static ALIAS_USERID: Tree = Tree { name: "alias_userid" };

/// See `docs/on-disk-format.md`.
pub static ALIASID_ALIAS: Tree = Tree { name: "aliasid_alias" };

/// See `docs/on-disk-format.md`.
pub static BACKUPID_ALGORITHM: Tree = Tree { name: "backupid_algorithm" };

/// See `docs/on-disk-format.md`.
pub static BACKUPID_ETAG: Tree = Tree { name: "backupid_etag" };

/// See `docs/on-disk-format.md`.
pub static BACKUPKEYID_BACKUP: Tree = Tree { name: "backupkeyid_backup" };

/// See `docs/on-disk-format.md`.
pub static BLOCKED_SERVERNAME_MEDIAID: Tree = Tree { name: "blocked_servername_mediaid" };

/// See `docs/on-disk-format.md`.
pub static DISABLEDROOMIDS: Tree = Tree { name: "disabledroomids" };

/// See `docs/on-disk-format.md`.
pub static EVENTID_OUTLIERPDU: Tree = Tree { name: "eventid_outlierpdu" };

/// See `docs/on-disk-format.md`.
pub static EVENTID_PDUID: Tree = Tree { name: "eventid_pduid" };

/// See `docs/on-disk-format.md`.
pub static EVENTID_SHORTEVENTID: Tree = Tree { name: "eventid_shorteventid" };

/// See `docs/on-disk-format.md`.
pub static FILEHASH_METADATA: Tree = Tree { name: "filehash_metadata" };

/// See `docs/on-disk-format.md`.
pub static FILEHASH_SERVERNAME_MEDIAID: Tree = Tree { name: "filehash_servername_mediaid" };

/// See `docs/on-disk-format.md`.
pub static FILEHASH_THUMBNAILID: Tree = Tree { name: "filehash_thumbnailid" };

/// See `docs/on-disk-format.md`.
pub static GLOBAL: Tree = Tree { name: "global" };

/// See `docs/on-disk-format.md`.
pub static ID_APPSERVICEREGISTRATIONS: Tree = Tree { name: "id_appserviceregistrations" };

/// See `docs/on-disk-format.md`.
pub static KEYCHANGEID_USERID: Tree = Tree { name: "keychangeid_userid" };

/// See `docs/on-disk-format.md`.
pub static KEYID_KEY: Tree = Tree { name: "keyid_key" };

/// See `docs/on-disk-format.md`.
pub static LAZYLOADEDIDS: Tree = Tree { name: "lazyloadedids" };

/// See `docs/on-disk-format.md`.
pub static ONETIMEKEYID_ONETIMEKEYS: Tree = Tree { name: "onetimekeyid_onetimekeys" };

/// See `docs/on-disk-format.md`.
pub static OPENIDTOKEN_EXPIRESATUSERID: Tree = Tree { name: "openidtoken_expiresatuserid" };

/// See `docs/on-disk-format.md`.
pub static PDUID_PDU: Tree = Tree { name: "pduid_pdu" };

/// See `docs/on-disk-format.md`.
pub static PRESENCEID_PRESENCE: Tree = Tree { name: "presenceid_presence" };

/// See `docs/on-disk-format.md`.
pub static PUBLICROOMIDS: Tree = Tree { name: "publicroomids" };

/// See `docs/on-disk-format.md`.
pub static READRECEIPTID_READRECEIPT: Tree = Tree { name: "readreceiptid_readreceipt" };

/// See `docs/on-disk-format.md`.
pub static REFERENCEDEVENTS: Tree = Tree { name: "referencedevents" };

/// See `docs/on-disk-format.md`.
pub static ROOMID_INVITEDCOUNT: Tree = Tree { name: "roomid_invitedcount" };

/// See `docs/on-disk-format.md`.
pub static ROOMID_JOINEDCOUNT: Tree = Tree { name: "roomid_joinedcount" };

/// See `docs/on-disk-format.md`.
pub static ROOMID_PDULEAVES: Tree = Tree { name: "roomid_pduleaves" };

/// See `docs/on-disk-format.md`.
pub static ROOMID_SHORTROOMID: Tree = Tree { name: "roomid_shortroomid" };

/// See `docs/on-disk-format.md`.
pub static ROOMID_SHORTSTATEHASH: Tree = Tree { name: "roomid_shortstatehash" };

/// See `docs/on-disk-format.md`.
pub static ROOMSERVERIDS: Tree = Tree { name: "roomserverids" };

/// See `docs/on-disk-format.md`.
pub static ROOMSYNCTOKEN_SHORTSTATEHASH: Tree = Tree { name: "roomsynctoken_shortstatehash" };

/// See `docs/on-disk-format.md`.
pub static ROOMUSERDATAID_ACCOUNTDATA: Tree = Tree { name: "roomuserdataid_accountdata" };

/// See `docs/on-disk-format.md`.
pub static ROOMUSERID_INVITECOUNT: Tree = Tree { name: "roomuserid_invitecount" };

/// See `docs/on-disk-format.md`.
pub static ROOMUSERID_JOINED: Tree = Tree { name: "roomuserid_joined" };

/// See `docs/on-disk-format.md`.
pub static ROOMUSERID_KNOCKCOUNT: Tree = Tree { name: "roomuserid_knockcount" };

/// See `docs/on-disk-format.md`.
pub static ROOMUSERID_LASTPRIVATEREADUPDATE: Tree = Tree { name: "roomuserid_lastprivatereadupdate" };

/// See `docs/on-disk-format.md`.
pub static ROOMUSERID_LEFTCOUNT: Tree = Tree { name: "roomuserid_leftcount" };

/// See `docs/on-disk-format.md`.
pub static ROOMUSERID_PRIVATEREAD: Tree = Tree { name: "roomuserid_privateread" };

/// See `docs/on-disk-format.md`.
pub static ROOMUSERONCEJOINEDIDS: Tree = Tree { name: "roomuseroncejoinedids" };

/// See `docs/on-disk-format.md`.
pub static ROOMUSERTYPE_ROOMUSERDATAID: Tree = Tree { name: "roomusertype_roomuserdataid" };

/// See `docs/on-disk-format.md`.
pub static SENDERKEY_PUSHER: Tree = Tree { name: "senderkey_pusher" };

/// See `docs/on-disk-format.md`.
pub static SERVER_SIGNINGKEYS: Tree = Tree { name: "server_signingkeys" };

/// See `docs/on-disk-format.md`.
pub static SERVERCURRENTEVENT_DATA: Tree = Tree { name: "servercurrentevent_data" };

/// See `docs/on-disk-format.md`.
pub static SERVERNAME_EDUCOUNT: Tree = Tree { name: "servername_educount" };

/// See `docs/on-disk-format.md`.
pub static SERVERNAME_USERLOCALPART_MEDIAID: Tree = Tree { name: "servername_userlocalpart_mediaid" };

/// See `docs/on-disk-format.md`.
pub static SERVERNAMEEVENT_DATA: Tree = Tree { name: "servernameevent_data" };

/// See `docs/on-disk-format.md`.
pub static SERVERNAMEMEDIAID_METADATA: Tree = Tree { name: "servernamemediaid_metadata" };

/// See `docs/on-disk-format.md`.
pub static SERVERNAMEMEDIAID_USERLOCALPART: Tree = Tree { name: "servernamemediaid_userlocalpart" };

/// See `docs/on-disk-format.md`.
pub static SERVERROOMIDS: Tree = Tree { name: "serverroomids" };

/// See `docs/on-disk-format.md`.
pub static SHORTEVENTID_AUTHCHAIN: Tree = Tree { name: "shorteventid_authchain" };

/// See `docs/on-disk-format.md`.
pub static SHORTEVENTID_EVENTID: Tree = Tree { name: "shorteventid_eventid" };

/// See `docs/on-disk-format.md`.
pub static SHORTEVENTID_SHORTSTATEHASH: Tree = Tree { name: "shorteventid_shortstatehash" };

/// See `docs/on-disk-format.md`.
pub static SHORTSTATEHASH_STATEDIFF: Tree = Tree { name: "shortstatehash_statediff" };

/// See `docs/on-disk-format.md`.
pub static SHORTSTATEKEY_STATEKEY: Tree = Tree { name: "shortstatekey_statekey" };

/// See `docs/on-disk-format.md`.
pub static SOFTFAILEDEVENTIDS: Tree = Tree { name: "softfailedeventids" };

/// See `docs/on-disk-format.md`.
pub static STATEHASH_SHORTSTATEHASH: Tree = Tree { name: "statehash_shortstatehash" };

/// See `docs/on-disk-format.md`.
pub static STATEKEY_SHORTSTATEKEY: Tree = Tree { name: "statekey_shortstatekey" };

/// See `docs/on-disk-format.md`.
pub static THREADID_USERIDS: Tree = Tree { name: "threadid_userids" };

/// See `docs/on-disk-format.md`.
pub static THUMBNAILID_METADATA: Tree = Tree { name: "thumbnailid_metadata" };

/// See `docs/on-disk-format.md`.
pub static TODEVICEID_EVENTS: Tree = Tree { name: "todeviceid_events" };

/// See `docs/on-disk-format.md`.
pub static TOFROM_RELATION: Tree = Tree { name: "tofrom_relation" };

/// See `docs/on-disk-format.md`.
pub static TOKEN_USERDEVICEID: Tree = Tree { name: "token_userdeviceid" };

/// See `docs/on-disk-format.md`.
pub static TOKENIDS: Tree = Tree { name: "tokenids" };

/// See `docs/on-disk-format.md`.
pub static USERDEVICEID_METADATA: Tree = Tree { name: "userdeviceid_metadata" };

/// See `docs/on-disk-format.md`.
pub static USERDEVICEID_TOKEN: Tree = Tree { name: "userdeviceid_token" };

/// See `docs/on-disk-format.md`.
pub static USERDEVICESESSIONID_UIAAINFO: Tree = Tree { name: "userdevicesessionid_uiaainfo" };

/// See `docs/on-disk-format.md`.
pub static USERDEVICETXNID_RESPONSE: Tree = Tree { name: "userdevicetxnid_response" };

/// See `docs/on-disk-format.md`.
pub static USERFILTERID_FILTER: Tree = Tree { name: "userfilterid_filter" };

/// See `docs/on-disk-format.md`.
pub static USERID_AVATARURL: Tree = Tree { name: "userid_avatarurl" };

/// See `docs/on-disk-format.md`.
pub static USERID_BLURHASH: Tree = Tree { name: "userid_blurhash" };

/// See `docs/on-disk-format.md`.
pub static USERID_DEVICELISTVERSION: Tree = Tree { name: "userid_devicelistversion" };

/// See `docs/on-disk-format.md`.
pub static USERID_DISPLAYNAME: Tree = Tree { name: "userid_displayname" };

/// See `docs/on-disk-format.md`.
pub static USERID_LASTONETIMEKEYUPDATE: Tree = Tree { name: "userid_lastonetimekeyupdate" };

/// See `docs/on-disk-format.md`.
pub static USERID_LASTPRESENCEUPDATE: Tree = Tree { name: "userid_lastpresenceupdate" };

/// See `docs/on-disk-format.md`.
pub static USERID_MASTERKEYID: Tree = Tree { name: "userid_masterkeyid" };

/// See `docs/on-disk-format.md`.
pub static USERID_PASSWORD: Tree = Tree { name: "userid_password" };

/// See `docs/on-disk-format.md`.
pub static USERID_SELFSIGNINGKEYID: Tree = Tree { name: "userid_selfsigningkeyid" };

/// See `docs/on-disk-format.md`.
pub static USERID_USERSIGNINGKEYID: Tree = Tree { name: "userid_usersigningkeyid" };

/// See `docs/on-disk-format.md`.
pub static USERROOMID_HIGHLIGHTCOUNT: Tree = Tree { name: "userroomid_highlightcount" };

/// See `docs/on-disk-format.md`.
pub static USERROOMID_INVITESTATE: Tree = Tree { name: "userroomid_invitestate" };

/// See `docs/on-disk-format.md`.
pub static USERROOMID_JOINED: Tree = Tree { name: "userroomid_joined" };

/// See `docs/on-disk-format.md`.
pub static USERROOMID_KNOCKSTATE: Tree = Tree { name: "userroomid_knockstate" };

/// See `docs/on-disk-format.md`.
pub static USERROOMID_LEFTSTATE: Tree = Tree { name: "userroomid_leftstate" };

/// See `docs/on-disk-format.md`.
pub static USERROOMID_NOTIFICATIONCOUNT: Tree = Tree { name: "userroomid_notificationcount" };

/// All trees, sorted by name.
pub static TREES: [&Tree; 86] = [
    &ALIAS_ROOMID,
    &ALIAS_USERID,
    &ALIASID_ALIAS,
    &BACKUPID_ALGORITHM,
    &BACKUPID_ETAG,
    &BACKUPKEYID_BACKUP,
    &BLOCKED_SERVERNAME_MEDIAID,
    &DISABLEDROOMIDS,
    &EVENTID_OUTLIERPDU,
    &EVENTID_PDUID,
    &EVENTID_SHORTEVENTID,
    &FILEHASH_METADATA,
    &FILEHASH_SERVERNAME_MEDIAID,
    &FILEHASH_THUMBNAILID,
    &GLOBAL,
    &ID_APPSERVICEREGISTRATIONS,
    &KEYCHANGEID_USERID,
    &KEYID_KEY,
    &LAZYLOADEDIDS,
    &ONETIMEKEYID_ONETIMEKEYS,
    &OPENIDTOKEN_EXPIRESATUSERID,
    &PDUID_PDU,
    &PRESENCEID_PRESENCE,
    &PUBLICROOMIDS,
    &READRECEIPTID_READRECEIPT,
    &REFERENCEDEVENTS,
    &ROOMID_INVITEDCOUNT,
    &ROOMID_JOINEDCOUNT,
    &ROOMID_PDULEAVES,
    &ROOMID_SHORTROOMID,
    &ROOMID_SHORTSTATEHASH,
    &ROOMSERVERIDS,
    &ROOMSYNCTOKEN_SHORTSTATEHASH,
    &ROOMUSERDATAID_ACCOUNTDATA,
    &ROOMUSERID_INVITECOUNT,
    &ROOMUSERID_JOINED,
    &ROOMUSERID_KNOCKCOUNT,
    &ROOMUSERID_LASTPRIVATEREADUPDATE,
    &ROOMUSERID_LEFTCOUNT,
    &ROOMUSERID_PRIVATEREAD,
    &ROOMUSERONCEJOINEDIDS,
    &ROOMUSERTYPE_ROOMUSERDATAID,
    &SENDERKEY_PUSHER,
    &SERVER_SIGNINGKEYS,
    &SERVERCURRENTEVENT_DATA,
    &SERVERNAME_EDUCOUNT,
    &SERVERNAME_USERLOCALPART_MEDIAID,
    &SERVERNAMEEVENT_DATA,
    &SERVERNAMEMEDIAID_METADATA,
    &SERVERNAMEMEDIAID_USERLOCALPART,
    &SERVERROOMIDS,
    &SHORTEVENTID_AUTHCHAIN,
    &SHORTEVENTID_EVENTID,
    &SHORTEVENTID_SHORTSTATEHASH,
    &SHORTSTATEHASH_STATEDIFF,
    &SHORTSTATEKEY_STATEKEY,
    &SOFTFAILEDEVENTIDS,
    &STATEHASH_SHORTSTATEHASH,
    &STATEKEY_SHORTSTATEKEY,
    &THREADID_USERIDS,
    &THUMBNAILID_METADATA,
    &TODEVICEID_EVENTS,
    &TOFROM_RELATION,
    &TOKEN_USERDEVICEID,
    &TOKENIDS,
    &USERDEVICEID_METADATA,
    &USERDEVICEID_TOKEN,
    &USERDEVICESESSIONID_UIAAINFO,
    &USERDEVICETXNID_RESPONSE,
    &USERFILTERID_FILTER,
    &USERID_AVATARURL,
    &USERID_BLURHASH,
    &USERID_DEVICELISTVERSION,
    &USERID_DISPLAYNAME,
    &USERID_LASTONETIMEKEYUPDATE,
    &USERID_LASTPRESENCEUPDATE,
    &USERID_MASTERKEYID,
    &USERID_PASSWORD,
    &USERID_SELFSIGNINGKEYID,
    &USERID_USERSIGNINGKEYID,
    &USERROOMID_HIGHLIGHTCOUNT,
    &USERROOMID_INVITESTATE,
    &USERROOMID_JOINED,
    &USERROOMID_KNOCKSTATE,
    &USERROOMID_LEFTSTATE,
    &USERROOMID_NOTIFICATIONCOUNT,
];
