//! A dump made by hand: a room, a room of version 1, an invite to a room elsewhere, a bridge; and of each kind something
//! that the import leaves out.

use conduit_backfill::{host::Pdu, testing::signed_event::EventSigner};
use importer::dump::{
    DumpReader, DumpWriter,
    format::{DumpEvent, DumpRemoteReceipt, DumpRoom, DumpState, DumpUser, Manifest},
};
use ruma::RoomVersionId;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub(crate) const SEED: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
pub(crate) const ROOM: &str = "!room:dump.test";
pub(crate) const ALICE: &str = "@alice:dump.test";
const IRC: &str = "{id: irc, url: null, as_token: a, hs_token: h, sender_localpart: irc, namespaces: {users: [{exclusive: true, regex: '@irc_'}]}}";

pub(crate) fn from<T: ruma::exports::serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// Makes events of one room, each following the one before.
pub(crate) struct Events {
    signer: EventSigner,
    room: &'static str,
    previous: Vec<String>,
    auth: Vec<String>,
}

impl Events {
    pub(crate) fn new(room: &'static str) -> Self {
        let signer = EventSigner::with_seed(&RoomVersionId::V10, "a", SEED).unwrap();
        Self { signer, room, previous: Vec::new(), auth: Vec::new() }
    }

    pub(crate) fn event(&mut self, before: Option<u64>, fields: Value) -> DumpEvent {
        let mut event = json!({
            "room_id": self.room, "sender": ALICE, "origin_server_ts": 1_700_000_000_000_u64,
            "depth": self.previous.len(), "prev_events": self.previous,
            "auth_events": self.auth,
        });
        event.as_object_mut().unwrap().extend(from::<Map<String, Value>>(fields));
        let Pdu { event_id, json } = self.signer.sign_as(event, &["dump.test"]).unwrap();
        self.previous = vec![event_id.to_string()];
        from(json!({"event_id": event_id, "state_before": before, "pdu": json}))
    }

    pub(crate) fn state(
        &mut self,
        before: Option<u64>,
        kind: &str,
        key: &str,
        content: &Value,
    ) -> DumpEvent {
        self.state_by(before, json!({"type": kind, "state_key": key, "content": content}))
    }

    /// The same with all fields, the sender among them.
    pub(crate) fn state_by(&mut self, before: Option<u64>, fields: Value) -> DumpEvent {
        let event = self.event(before, fields);
        self.auth.push(event.event_id.to_string());
        event
    }
}

fn user(changes: &Value) -> DumpUser {
    let mut user = json!({
        "user_id": ALICE, "admin": true, "password_hash": "$2b$12$hash",
        "profile": {"displayname": "Alice", "avatar_url": "mxc://dump.test/a"},
        "account_data": {
            "global": {"org.large": "x".repeat(2 << 20), "m.direct": {ALICE: [ROOM]}, "m.ignored_user_list": {"ignored_users": 5}},
            "rooms": {ROOM: {"m.tag": {"tags": {}}}},
        },
        "push_rules": {"global": {"content": [
            {"rule_id": "bad", "default": false, "enabled": true, "actions": []},
            {"rule_id": "cake", "default": false, "enabled": true, "pattern": "cake", "actions": ["notify"]},
        ]}},
        "devices": [{"device_id": "D", "display_name": "Telephone",
                     "access_tokens": [{"token": "old"}, {"token": "new"},
                                       {"token": "ends", "valid_until_ts": 5}]}],
        "pushers": [pusher("good", &json!({"url": "https://push.test"})), pusher("bad", &json!({}))],
        "unread": [{"room_id": ROOM, "notifications": 3, "highlights": 1},
                   {"room_id": "!elsewhere:other.test", "notifications": 1, "highlights": 0}],
        "filters": {"0": {"room": {"timeline": {"limit": 5}}}, "1": {"room": 5}},
    });
    user.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    from(user)
}

fn pusher(key: &str, data: &Value) -> Value {
    json!({"pushkey": key, "app_id": "app", "kind": "http", "app_display_name": "App",
           "device_display_name": "Telephone", "lang": "en", "data": data, "enabled": true})
}

/// The dump.
pub(crate) fn dump() -> (TempDir, DumpReader) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    writer
        .server(&from(json!({
            "server_name": "dump.test", "signing_key": {"version": "a", "seed": SEED},
            "blocked_rooms": ["!blocked:dump.test"],
            "appservices": [{"id": "irc", "registration": IRC}, {"id": "broken", "registration": "id: ["}],
        })))
        .unwrap();
    writer.user(&user(&json!({ "receipts": receipts() }))).unwrap();
    let ignored = json!({"global": {"m.ignored_user_list": {"ignored_users": {ALICE: {}}}}});
    let locked =
        json!({"user_id": "@locked:dump.test", "locked": true, "admin": false, "devices": []});
    writer.user(&user(&locked)).unwrap();
    let gone = json!({"user_id": "@gone:dump.test", "deactivated": true, "admin": false, "account_data": ignored});
    writer.user(&user(&gone)).unwrap();

    write_room(&writer);
    write_outbox(&writer);
    let old: DumpRoom = from(json!({
        "room_id": "!old:dump.test", "room_version": "1", "current_state": 1,
        "aliases": [{"alias": "#old:dump.test"}],
        "local_members": [{"user_id": ALICE, "membership": "join", "event_id": "$old"}],
    }));
    let mut file = writer.room(&old).unwrap();
    file.state(&from::<DumpState>(json!({"id": 1}))).unwrap();
    writer.finish_room(file).unwrap();

    let mut elsewhere = Events::new("!elsewhere:other.test");
    let invite = elsewhere.state(None, "m.room.member", ALICE, &json!({"membership": "invite"}));
    let member = |events: &mut Events, user: &str, membership: &str| {
        events.state(None, "m.room.member", user, &json!({ "membership": membership }))
    };
    let ignored = member(&mut elsewhere, "@gone:dump.test", "invite");
    let refused = member(&mut elsewhere, "@refused:dump.test", "leave");
    let outside: DumpRoom = from(json!({
        "room_id": "!elsewhere:other.test", "room_version": "10",
        "local_members": [
            {"user_id": ALICE, "membership": "invite", "event_id": invite.event_id},
            {"user_id": "@gone:dump.test", "membership": "invite", "event_id": ignored.event_id},
            {"user_id": "@refused:dump.test", "membership": "leave", "event_id": refused.event_id},
        ],
    }));
    let mut file = writer.room(&outside).unwrap();
    for event in [invite, ignored, refused] {
        file.outlier(&event).unwrap();
    }
    writer.finish_room(file).unwrap();

    writer
        .finish(from::<Manifest>(json!({
            "version": importer::dump::format::VERSION, "server_name": "dump.test", "created_ts": 1_700_000_000_000_u64,
            "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
            "files": [],
        })))
        .unwrap();
    let reader = DumpReader::open(&directory, |_| {}).unwrap();
    (scratch, reader)
}

/// What Alice has read: the renaming, then in public the message and something in a thread, and the message privately.
fn receipts() -> Value {
    let timeline = timeline();
    let receipt = |kind: &str, event: usize, thread: Option<&str>| {
        json!({"room_id": ROOM, "receipt_type": kind, "event_id": timeline[event].event_id,
               "thread_id": thread, "ts": 1_700_000_000_000_u64})
    };
    let thread = timeline[0].event_id.as_str();
    json!([
        receipt("m.read", 3, None),
        receipt("m.read", 4, Some("main")),
        receipt("m.read", 4, Some(thread)),
        receipt("m.read.private", 4, None),
        receipt("m.read.private", 4, Some(thread)),
    ])
}

/// The room's timeline: four state events, a message, and two events that the import leaves out.
fn timeline() -> Vec<DumpEvent> {
    let mut events = Events::new(ROOM);
    let create =
        events.state(None, "m.room.create", "", &json!({"room_version": "10", "creator": ALICE}));
    let join = events.state(Some(1), "m.room.member", ALICE, &json!({"membership": "join"}));
    let name = events.state(Some(2), "m.room.name", "", &json!({"name": "Old"}));
    let renamed = events.state(Some(3), "m.room.name", "", &json!({"name": "New"}));
    let message =
        events.event(Some(4), json!({"type": "m.room.message", "content": {"body": "hello"}}));
    let without_state =
        events.event(None, json!({"type": "m.room.message", "content": {"body": "unseen"}}));
    let mut wrong = message.clone();
    wrong.event_id = "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".try_into().unwrap();
    vec![create, join, name, renamed, message, wrong, without_state]
}

fn write_room(writer: &DumpWriter) {
    let timeline = timeline();
    let [create, join, name, renamed, message, ..] = timeline.as_slice() else { panic!() };
    let outlier = Events::new(ROOM)
        .event(None, json!({"type": "m.room.message", "content": {"body": "apart"}}));

    let head: DumpRoom = from(json!({
        "room_id": ROOM, "room_version": "10", "published": true, "current_state": 4,
        "aliases": [{"alias": "#room:dump.test", "creator": ALICE}],
        "forward_extremities": [message.event_id],
        "local_members": [{"user_id": ALICE, "membership": "join", "event_id": join.event_id}],
    }));
    let mut file = writer.room(&head).unwrap();
    let states = [
        json!({"id": 1, "set": [["m.room.create", "", create.event_id]]}),
        json!({"id": 2, "base": 1, "set": [["m.room.member", ALICE, join.event_id]]}),
        json!({"id": 3, "base": 2, "set": [["m.room.name", "", name.event_id]]}),
        json!({"id": 4, "base": 3, "set": [["m.room.name", "", renamed.event_id]]}),
    ];
    for state in states {
        file.state(&from::<DumpState>(state)).unwrap();
    }
    file.outlier(&outlier).unwrap();
    for event in &timeline {
        file.timeline(event).unwrap();
    }
    let too_late = u64::MAX;
    for (user, event, ts, thread) in [
        ("bob", message, 2, None),
        ("bob", renamed, 1, None),
        ("cora", message, too_late, None),
        ("dora", message, 3, Some("org.thread")),
        ("emil", message, 4, Some("$")),
    ] {
        let receipt = json!({"user_id": format!("@{user}:other.test"), "event_id": event.event_id,
                             "thread_id": thread, "ts": ts});
        file.receipt(&from::<DumpRemoteReceipt>(receipt)).unwrap();
    }
    writer.finish_room(file).unwrap();
}

/// What waits for others: of each kind something that moves, and something that does not.
fn write_outbox(writer: &DumpWriter) {
    let message = &timeline()[4].event_id;
    let to_device = |id: &str, content: Value| {
        json!({"server": "other.test", "content": {
            "sender": ALICE, "type": "m.room.encrypted", "message_id": id,
            "messages": {"@bob:other.test": {"PHONE": content}},
        }})
    };
    let mut outbox = writer.outbox();
    for item in [
        json!({"to-device": to_device("key", json!({"ciphertext": "x"}))}),
        json!({"to-device": to_device("fraction", json!({"time": 0.5}))}),
        json!({"event": {"server": "other.test", "room_id": ROOM, "event_id": message}}),
        json!({"device-list": {"server": "other.test", "user_id": ALICE}}),
        json!({"appservice": {"appservice": "irc", "event_id": message}}),
        json!({"appservice": {"appservice": "irc", "event_id": "$unknown"}}),
        json!({"appservice": {"appservice": "broken", "event_id": message}}),
    ] {
        outbox.item(&from(item)).unwrap();
    }
    writer.finish_outbox(outbox).unwrap();
}
