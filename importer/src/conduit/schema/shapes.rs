//! What keys and values of the trees consist of, each layout once.
//!
//! A field is `name: Kind`, one of which more is to be said `name: Kind(more)`; fixed bytes are `_: Sep` (`0xff`) and `_: Zero` (eight
//! zero bytes). The kinds are those of [`Field`].

use super::{
    kind::{self, Kind},
    layout::{
        Field, Layout,
        Order::{AsSent as Sent, Fields as Ordered, Sorted as InOrder},
    },
    table::Shape,
};

/// A field as data.
macro_rules! field {
    (_ Sep) => {
        Field::Sep
    };
    (_ Zero) => {
        Field::Zero
    };
    (r#type Text) => {
        Field::Text("type")
    };
    ($name:ident Sigil $byte:literal) => {
        Field::Sigil(stringify!($name), $byte)
    };
    ($name:ident TextBefore $byte:literal) => {
        Field::TextBefore(stringify!($name), $byte)
    };
    ($name:ident Json $order:expr) => {
        Field::Json(stringify!($name), $order)
    };
    ($name:ident $kind:ident) => {
        Field::$kind(stringify!($name))
    };
}

/// Appends a field, or the fixed bytes in its place.
macro_rules! write_field {
    ($row:ident $bytes:ident _ Sep) => {
        $bytes.push(0xff);
    };
    ($row:ident $bytes:ident _ Zero) => {
        $bytes.extend_from_slice(&[0; 8]);
    };
    ($row:ident $bytes:ident $name:ident $kind:ident $($more:expr)?) => {
        <kind::$kind as Kind>::write(&$row.$name, $bytes);
    };
}

/// Takes a field from the front, or the fixed bytes in its place.
macro_rules! read_field {
    ($rest:ident _ Sep) => {
        $rest = $rest.strip_prefix(&[0xff])?;
    };
    ($rest:ident _ Zero) => {
        $rest = $rest.strip_prefix(&[0; 8])?;
    };
    ($rest:ident $name:ident Sigil $byte:literal) => {
        let $name = <kind::Sigil as Kind>::read(&mut $rest)?;
        if !$name.as_bytes().starts_with(&[$byte]) {
            return None;
        }
    };
    ($rest:ident $name:ident $kind:ident $($more:expr)?) => {
        let $name = <kind::$kind as Kind>::read(&mut $rest)?;
    };
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident { $($all:tt)* })*) => {
        $(shapes!(@named [$(#[$doc])* $name] [$($all)*] [] $($all)*);)*
    };
    // Collects the fields that have names.
    (@named $head:tt $all:tt $named:tt _: $kind:ident $(($more:expr))? $(, $($rest:tt)*)?) => {
        shapes!(@named $head $all $named $($($rest)*)?);
    };
    (@named $head:tt $all:tt [$($named:tt)*] $field:ident: $kind:ident $(($more:expr))? $(, $($rest:tt)*)?) => {
        shapes!(@named $head $all [$($named)* $field $kind,] $($($rest)*)?);
    };
    (@named [$(#[$doc:meta])* $name:ident] [$($all:tt: $all_kind:ident $(($more:expr))?),* $(,)?] [$($field:ident $kind:ident,)*]) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name<'a> {
            $(
                #[doc = concat!("`", stringify!($field), "`, [`Field::", stringify!($kind), "`].")]
                pub $field: <kind::$kind as Kind>::Of<'a>,
            )*
        }

        impl $name<'_> {
            const FIELDS: &'static [Field] = &[$(field!($all $all_kind $($more)?)),*];
        }

        impl Shape for $name<'static> {
            type Row<'a> = $name<'a>;
            const LAYOUT: Layout = Layout(&[Self::FIELDS]);

            fn write(row: &$name<'_>, bytes: &mut Vec<u8>) {
                $(write_field!(row bytes $all $all_kind $($more)?);)*
            }

            fn read(bytes: &[u8]) -> Option<$name<'_>> {
                let mut rest = bytes;
                $(read_field!(rest $all $all_kind $($more)?);)*
                rest.is_empty().then_some($name { $($field),* })
            }
        }
    };
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$choice_doc:meta])* $choice:ident($shape:ident)),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name<'a> {
            $(
                $(#[$choice_doc])*
                $choice($shape<'a>),
            )*
        }

        impl Shape for $name<'static> {
            type Row<'a> = $name<'a>;
            const LAYOUT: Layout = Layout(&[$($shape::FIELDS),*]);

            fn write(row: &$name<'_>, bytes: &mut Vec<u8>) {
                match row {
                    $($name::$choice(row) => <$shape<'static> as Shape>::write(row, bytes),)*
                }
            }

            fn read(bytes: &[u8]) -> Option<$name<'_>> {
                $(
                    if let Some(row) = <$shape<'static> as Shape>::read(bytes) {
                        return Some($name::$choice(row));
                    }
                )*
                None
            }
        }
    )*};
}

/// No bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nothing<'a>(std::marker::PhantomData<&'a ()>);

/// No bytes.
pub const NOTHING: Nothing<'static> = Nothing(std::marker::PhantomData);

impl Nothing<'_> {
    const FIELDS: &'static [Field] = &[];
}

impl Shape for Nothing<'static> {
    type Row<'a> = Nothing<'a>;
    const LAYOUT: Layout = Layout(&[Self::FIELDS]);

    fn write(_row: &Nothing<'_>, _bytes: &mut Vec<u8>) {}

    fn read(bytes: &[u8]) -> Option<Nothing<'_>> {
        bytes.is_empty().then_some(NOTHING)
    }
}

/// A key of `global`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalKey<'a> {
    /// `c`: the counter.
    Counter,
    /// `version`: the database's.
    Version,
    /// `u`: what of updates was shown.
    Updates,
    /// `keypair`: the signing key.
    Keypair,
    /// A note, of which Conduit has none.
    Note(&'a str),
}

impl Shape for GlobalKey<'static> {
    type Row<'a> = GlobalKey<'a>;
    const LAYOUT: Layout = Layout(&[
        &[Field::Literal("c")],
        &[Field::Literal("version")],
        &[Field::Literal("u")],
        &[Field::Literal("keypair")],
        &[Field::Text("name")],
    ]);

    fn write(row: &GlobalKey<'_>, bytes: &mut Vec<u8>) {
        let text = match row {
            GlobalKey::Counter => "c",
            GlobalKey::Version => "version",
            GlobalKey::Updates => "u",
            GlobalKey::Keypair => "keypair",
            GlobalKey::Note(name) => name,
        };
        bytes.extend_from_slice(text.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<GlobalKey<'_>> {
        Some(match std::str::from_utf8(bytes).ok()? {
            "c" => GlobalKey::Counter,
            "version" => GlobalKey::Version,
            "u" => GlobalKey::Updates,
            "keypair" => GlobalKey::Keypair,
            name => GlobalKey::Note(name),
        })
    }
}

shapes! {
    /// A room's id.
    Room { room: Text }
    /// A user's id.
    User { user: Text }
    /// A user in a room.
    UserRoom { user: Text, _: Sep, room: Text }
    /// A room and a user in it.
    RoomUser { room: Text, _: Sep, user: Text }
    /// A user's device.
    UserDevice { user: Text, _: Sep, device: Text }
    /// A user's key, by its id.
    UserKey { user: Text, _: Sep, key: Text }
    /// An event's id.
    Event { event: Text }
    /// A version of a user's key backup.
    Backup { user: Text, _: Sep, version: Text }
    /// A media file, by its `mxc` URI.
    Media { server: Text, _: Sep, media: Text }
    /// A server's name.
    Server { server: Text }
    /// A number.
    Number { number: U64 }
    /// A count, as the counter gives it out.
    Count { count: U64 }
    /// JSON as it was sent.
    AsSent { json: Json(Sent) }
    /// JSON with sorted keys.
    Sorted { json: Json(InOrder) }
    /// An alias without `#` and server.
    AliasLocalpart { alias_localpart: Text }
    /// A room, and a count.
    RoomCount { room: Text, _: Sep, count: U64 }
    /// An alias.
    Alias { alias: Text }
    /// What `PUT /room_keys/version` takes.
    Algorithm { json: Json(Ordered(&["algorithm", "auth_data"])) }
    /// A session in a key backup.
    BackupSession { user: Text, _: Sep, version: Text, _: Sep, room: Text, _: Sep, session: Text }
    /// When a media file was blocked, and why.
    Blocked { seconds: U64, reason: Text }
    /// An event's short id.
    ShortEvent { short_event: U64 }
    /// Short ids of events.
    ShortEvents { short_events: U64s }
    /// A room's short id.
    ShortRoom { short_room: U64 }
    /// A state's short id.
    ShortStateHash { short_state_hash: U64 }
    /// The short id of a type and state key.
    ShortStateKey { short_state_key: U64 }
    /// A type and state key.
    StateKey { r#type: Text, _: Sep, state_key: Text }
    /// The hash of a state.
    StateHash { state_hash: Hash }
    /// What a state adds to its parent and takes from it: `state_diff` reads it.
    StateDiff { parent: U64, diff: U64s }
    /// The hash of a file's content.
    ContentHash { sha256: Hash }
    /// A file: its length, and when it was made and used.
    FileTimes { bytes: U64, created_seconds: U64, last_access_seconds: U64 }
    /// A file, and a media id that has it.
    ContentMedia { sha256: Hash, server: Text, _: Sep, media: Text }
    /// A file, and a thumbnail that has it.
    ContentThumbnail { sha256: Hash, server: Text, _: Sep, media: Text, _: Sep, width: U32, height: U32 }
    /// A thumbnail of a media file.
    Thumbnail { server: Text, _: Sep, media: Text, _: Sep, width: U32, height: U32 }
    /// A file for those who are logged in.
    AuthenticatedFile { sha256: Hash, filename: Text, _: Sep, content_type: Text }
    /// A file for everybody.
    OpenFile { sha256: Hash, filename: Text, _: Sep, content_type: Text, _: Sep }
    /// An uploader, and a media file.
    ServerLocalpartMedia { server: Text, _: Sep, localpart: Text, _: Sep, media: Text }
    /// A local user's id without `@` and server.
    Localpart { localpart: Text }
    /// An application service's registration.
    Registration { yaml: Text }
    /// An id.
    Id { id: Text }
    /// Whom a change of keys concerns, and when it was.
    KeyChange { room_or_user: Text, _: Sep, count: U64 }
    /// A member that a device knows of.
    LazyLoaded { user: Text, _: Sep, device: Text, _: Sep, room: Text, _: Sep, member: Text }
    /// A one-time key, by its id in quotes.
    OneTimeKey { user: Text, _: Sep, device: Text, _: Sep, quoted_key: Text }
    /// A token.
    Token { token: Text }
    /// When a token expires, and whose it is.
    ExpiresUser { expires_ms: U64, user: Text }
    /// A room, and an event of it.
    RoomEvent { room: Text, _: Sep, event: Text }
    /// A reason.
    Reason { reason: Text }
    /// A room, a count and a user.
    RoomCountUser { room: Text, _: Sep, count: U64, _: Sep, user: Text }
    /// A room, and an event that others rest on; there is no separator.
    RoomReferenced { room: TextBefore(b'$'), event: Text }
    /// A room, and a server in it.
    RoomServer { room: Text, _: Sep, server: Text }
    /// A server, and a room that it is in.
    ServerRoom { server: Text, _: Sep, room: Text }
    /// A room, and a count.
    ShortRoomCount { short_room: U64, count: U64 }
    /// Account data: of a room or, where that is empty, of the account.
    AccountData { room: Text, _: Sep, user: Text, _: Sep, count: U64, _: Sep, r#type: Text }
    /// The same without its count.
    AccountDataType { room: Text, _: Sep, user: Text, _: Sep, r#type: Text }
    /// A pusher.
    UserPushkey { user: Text, _: Sep, pushkey: Text }
    /// A message that waits for a device.
    ToDevice { user: Text, _: Sep, device: Text, _: Sep, count: U64 }
    /// An event that relates to another one.
    Relation { to_count: U64, from_count: U64 }
    /// Users.
    UserTexts { users: Texts }
    /// A device.
    DeviceMetadata { json: Json(Ordered(&["device_id", "display_name", "last_seen_ip", "last_seen_ts"])) }
    /// A session of interactive authentication.
    UserDeviceSession { user: Text, _: Sep, device: Text, _: Sep, session: Text }
    /// A transaction of a device.
    UserDeviceTxn { user: Text, _: Sep, device: Text, _: Sep, txn: Text }
    /// A filter.
    UserFilter { user: Text, _: Sep, filter: Text }
    /// An `mxc` URI.
    Mxc { mxc: Text }
    /// A blurhash.
    Blurhash { blurhash: Text }
    /// A version.
    Version { version: U64 }
    /// A name for people.
    Displayname { displayname: Text }
    /// A time.
    Milliseconds { ms: U64 }
    /// A password's hash; empty for an account without one.
    PasswordHash { hash: Text }
    /// An event's place in the timeline.
    TimelinePdu { short_room: U64, count: U64 }
    /// The same of an event that was fetched later: 2^64 − 1 − its count.
    BackfilledPdu { short_room: U64, _: Zero, backfilled: U64 }
    /// A word, and the event that has it.
    TimelineWord { token_short_room: U64, word: Text, _: Sep, short_room: U64, count: U64 }
    /// The same of an event that was fetched later.
    BackfilledWord { token_short_room: U64, word: Text, _: Sep, short_room: U64, _: Zero, backfilled: U64 }
    /// A user in a room.
    SigilUserRoom { user: Sigil(b'@'), _: Sep, room: Text }
    /// A room and a user: Conduit writes both.
    SigilRoomUser { room: Sigil(b'!'), _: Sep, user: Text }
    /// What waits for an application service: no event.
    AppserviceEdu { appservice: Sigil(b'+'), _: Sep, count: U64 }
    /// The same: an event.
    AppservicePdu { appservice: Sigil(b'+'), _: Sep, short_room: U64, count: U64 }
    /// The same: an event that was fetched later.
    AppserviceBackfilled { appservice: Sigil(b'+'), _: Sep, short_room: U64, _: Zero, backfilled: U64 }
    /// What waits for a pusher: no event.
    PushEdu { user: Sigil(b'$'), _: Sep, pushkey: Text, _: Sep, count: U64 }
    /// The same: an event.
    PushPdu { user: Sigil(b'$'), _: Sep, pushkey: Text, _: Sep, short_room: U64, count: U64 }
    /// The same: an event that was fetched later.
    PushBackfilled { user: Sigil(b'$'), _: Sep, pushkey: Text, _: Sep, short_room: U64, _: Zero, backfilled: U64 }
    /// What waits for another server: no event.
    FederationEdu { server: Text, _: Sep, count: U64 }
    /// The same: an event.
    FederationPdu { server: Text, _: Sep, short_room: U64, count: U64 }
    /// The same: an event that was fetched later.
    FederationBackfilled { server: Text, _: Sep, short_room: U64, _: Zero, backfilled: U64 }
    /// Continuwuity: why and since when an account is suspended or locked.
    Restriction { json: Json(Ordered(&["suspended", "suspended_at", "suspended_by"])) }
    /// Continuwuity: an e-mail address.
    Email { email: Text }
    /// Continuwuity: an algorithm of a device's fallback keys.
    FallbackKeyId { user: Text, _: Sep, device: Text, _: Sep, algorithm: Text }
    /// Continuwuity: a fallback key, and whether it was given out.
    FallbackKey { used: Flag, _: Sep, key_id: Text, _: Sep, json: Json(Sent) }
    /// Continuwuity: a media file, or a thumbnail of one. The whole key names the file on disk.
    MediaFile { mxc: Text, _: Sep, width: U32, height: U32, _: Sep, content_disposition: Text, _: Sep, content_type: Text }
    /// Continuwuity: a media file and its uploader.
    MediaUser { mxc: Text, _: Sep, user: Text }
    /// Continuwuity: a pusher's key.
    Pushkey { pushkey: Text }
    /// A device's id.
    Device { device: Text }
    /// Continuwuity: when a token expires.
    Expiry { expires_seconds: U64 }
    /// Continuwuity: a field of a user's profile.
    UserField { user: Text, _: Sep, field: Text }
    /// The signing key: its version, and PKCS#8.
    Keypair { version: Text, _: Sep, pkcs8: Bytes }
}

choices! {
    /// A value of `global`.
    Global {
        /// A number.
        Number(Number),
        /// The signing key.
        Keypair(Keypair),
        /// That something has been done.
        Nothing(Nothing),
    }
    /// Conduit writes nothing and reads nothing there; servers that take over its database read the count of the join.
    Joined {
        /// The count of the join.
        Count(Count),
        /// As Conduit writes it.
        Nothing(Nothing),
    }
    /// An event's place in its room's timeline (src/service/rooms/timeline/mod.rs:284-286, 1393-1396).
    PduId {
        /// Normal.
        Timeline(TimelinePdu),
        /// Of the past.
        Backfilled(BackfilledPdu),
    }
    /// A word, and an event that has it.
    TokenId {
        /// Of a normal event.
        Timeline(TimelineWord),
        /// Of one of the past.
        Backfilled(BackfilledWord),
    }
    /// A file of a media id.
    File {
        /// For those who are logged in.
        Authenticated(AuthenticatedFile),
        /// For everybody.
        Open(OpenFile),
    }
    /// Whose events are counted.
    Unread {
        /// Of a user in a room.
        UserRoom(SigilUserRoom),
        /// Of a room for a user.
        RoomUser(SigilRoomUser),
    }
    /// A destination, then a PDU's id or a count (src/service/sending/mod.rs:56-79).
    Queue {
        /// No event.
        AppserviceEdu(AppserviceEdu),
        /// An event.
        AppservicePdu(AppservicePdu),
        /// An event of the past.
        AppserviceBackfilled(AppserviceBackfilled),
        /// No event.
        PushEdu(PushEdu),
        /// An event.
        PushPdu(PushPdu),
        /// An event of the past.
        PushBackfilled(PushBackfilled),
        /// No event.
        FederationEdu(FederationEdu),
        /// An event.
        FederationPdu(FederationPdu),
        /// An event of the past.
        FederationBackfilled(FederationBackfilled),
    }
    /// What is sent.
    Queued {
        /// The event that the key names.
        Pdu(Nothing),
        /// This.
        Edu(AsSent),
    }
}

impl File<'_> {
    /// The hash of its content.
    pub fn sha256(&self) -> &[u8; 32] {
        match self {
            Self::Authenticated(file) => file.sha256,
            Self::Open(file) => file.sha256,
        }
    }
}
