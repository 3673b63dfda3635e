//! `verify` against the dump: an import is clean, what the import leaves out is explained without its list, and each kind
//! of difference is reported by its code.

use importer::{
    conduit::{
        kv::{KvStore as _, Row, memory::MemoryStore},
        layout::Part,
        trees::{self, Tree},
    },
    dump::{
        DumpReader, DumpWriter,
        format::{DumpEvent, DumpRoom, DumpState, DumpUser, Manifest},
    },
    import,
    progress::Progress,
    tally::Skip,
    verify,
};
use ruma::{
    CanonicalJsonObject, RoomVersionId,
    signatures::{Ed25519KeyPair, hash_and_sign_event, reference_hash},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const SEED: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const ROOM: &str = "!room:dump.test";
const ALICE: &str = "@alice:dump.test";

fn from<T: ruma::exports::serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// Makes events of one room, each following the one before.
struct Events {
    key: Ed25519KeyPair,
    room: &'static str,
    previous: Vec<String>,
    auth: Vec<String>,
}

impl Events {
    fn new(room: &'static str) -> Self {
        let der = importer::conduit::keypair::pkcs8("a", SEED).unwrap();
        let key = Ed25519KeyPair::from_der(&der, "a".into()).unwrap();
        Self { key, room, previous: Vec::new(), auth: Vec::new() }
    }

    fn event(&mut self, before: Option<u64>, fields: Value) -> DumpEvent {
        let mut pdu: CanonicalJsonObject = from(json!({
            "room_id": self.room, "sender": ALICE, "origin_server_ts": 1_700_000_000_000_u64,
            "depth": self.previous.len(), "prev_events": self.previous,
            "auth_events": self.auth,
        }));
        pdu.extend(from::<CanonicalJsonObject>(fields));
        let rules = RoomVersionId::V10.rules().unwrap();
        hash_and_sign_event("dump.test", &self.key, &mut pdu, &rules.redaction).unwrap();
        let id = format!("${}", reference_hash(&pdu, &rules).unwrap());
        self.previous = vec![id.clone()];
        from(json!({"event_id": id, "state_before": before, "pdu": pdu}))
    }

    fn state(&mut self, before: Option<u64>, kind: &str, key: &str, content: &Value) -> DumpEvent {
        let event = self.event(before, json!({"type": kind, "state_key": key, "content": content}));
        self.auth.push(event.event_id.to_string());
        event
    }
}

fn user(changes: &Value) -> DumpUser {
    let mut user = json!({
        "user_id": ALICE, "admin": true, "password_hash": "$2b$12$hash",
        "profile": {"displayname": "Alice", "avatar_url": "mxc://dump.test/a"},
        "account_data": {
            "global": {"m.direct": {ALICE: [ROOM]}, "m.ignored_user_list": {"ignored_users": 5}},
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
        "filters": {"0": {"room": {"timeline": {"limit": 5}}}, "1": {"room": 5}},
    });
    user.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    from(user)
}

fn pusher(key: &str, data: &Value) -> Value {
    json!({"pushkey": key, "app_id": "app", "kind": "http", "app_display_name": "App",
           "device_display_name": "Telephone", "lang": "en", "data": data, "enabled": true})
}

/// A dump with a room, a room of version 1, an invite to a room elsewhere; and things that the import leaves out.
fn dump() -> (TempDir, DumpReader) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let mut writer = DumpWriter::create(&directory).unwrap();
    writer
        .server(&from(json!({
            "server_name": "dump.test", "signing_key": {"version": "a", "seed": SEED},
            "blocked_rooms": ["!blocked:dump.test"],
        })))
        .unwrap();
    writer.user(&user(&json!({}))).unwrap();
    let gone = json!({"user_id": "@gone:dump.test", "deactivated": true, "admin": false});
    writer.user(&user(&gone)).unwrap();

    write_room(&mut writer);
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
    let outside: DumpRoom = from(json!({
        "room_id": "!elsewhere:other.test", "room_version": "10",
        "local_members": [{"user_id": ALICE, "membership": "invite", "event_id": invite.event_id}],
    }));
    let mut file = writer.room(&outside).unwrap();
    file.outlier(&invite).unwrap();
    writer.finish_room(file).unwrap();

    writer
        .finish(from::<Manifest>(json!({
            "version": 1, "server_name": "dump.test", "created_ts": 1_700_000_000_000_u64,
            "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
            "files": [],
        })))
        .unwrap();
    let reader = DumpReader::open(&directory, |_| {}).unwrap();
    (scratch, reader)
}

fn write_room(writer: &mut DumpWriter) {
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
    let outlier =
        events.event(None, json!({"type": "m.room.message", "content": {"body": "apart"}}));

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
    for event in [create, join, name, renamed, message, wrong, without_state] {
        file.timeline(&event).unwrap();
    }
    writer.finish_room(file).unwrap();
}

fn findings(store: &MemoryStore, dump: &DumpReader, skipped: &[Skip]) -> Vec<String> {
    let against = verify::against_dump(store, dump, skipped, &Progress::Hidden).unwrap();
    let structure = verify::structure(store, "dump.test", &Progress::Hidden).unwrap();
    let all = against.findings.into_iter().chain(structure.findings);
    all.map(|finding| format!("{} {}: {}", finding.code, finding.subject, finding.text)).collect()
}

fn imported(dump: &DumpReader) -> (MemoryStore, Vec<Skip>) {
    let mut store = MemoryStore::default();
    let imported = import::import(dump, &mut store, None, &Progress::Hidden).unwrap();
    (store, imported.tally.skipped)
}

#[test]
fn an_import_is_clean_with_and_without_the_list_of_what_was_left_out() {
    let (_scratch, dump) = dump();
    let (store, skipped) = imported(&dump);
    for reason in
        ["account-data-unparsable", "filter-unparsable", "push-rule-refused", "no-state-before"]
    {
        assert!(skipped.iter().any(|skip| skip.reason == reason), "{reason} not in {skipped:#?}");
    }
    assert_eq!(findings(&store, &dump, &skipped), Vec::<String>::new());
    assert_eq!(findings(&store, &dump, &[]), Vec::<String>::new());
}

fn put(store: &mut MemoryStore, tree: &'static Tree, key: &[u8], value: &[u8]) {
    store.write(vec![Row { tree, key: key.to_vec(), value: value.to_vec() }]).unwrap();
}

fn remove(store: &mut MemoryStore, tree: &'static Tree, key: &[u8]) {
    assert!(store.remove(tree, key), "{tree}");
}

/// Replaces text in the first value of a tree that has it.
fn edit(store: &mut MemoryStore, tree: &'static Tree, from: &str, to: &str) {
    let row = store
        .scan(tree, &[])
        .unwrap()
        .map(Result::unwrap)
        .map(|(key, value)| (key.to_vec(), String::from_utf8(value.to_vec()).unwrap()))
        .find(|(_, value)| value.contains(from))
        .unwrap();
    put(store, tree, &row.0, row.1.replacen(from, to, 1).as_bytes());
}

fn last(store: &MemoryStore, tree: &'static Tree, prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (key, value) = store.scan(tree, prefix).unwrap().last().unwrap().unwrap();
    (key.to_vec(), value.to_vec())
}

/// The short room id of the dump's room.
fn short(store: &MemoryStore) -> Vec<u8> {
    store.get(&trees::ROOMID_SHORTROOMID, ROOM.as_bytes()).unwrap().unwrap()
}

type Damage = fn(&mut MemoryStore);

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_difference_is_reported_by_its_code() {
    let cases: [(&str, Damage); 40] = [
        ("V201 the user is missing", |s| remove(s, &trees::USERID_PASSWORD, b"@gone:dump.test")),
        ("V202 is a user", |s| put(s, &trees::USERID_PASSWORD, b"@eve:dump.test", b"*")),
        ("V203 the password", |s| put(s, &trees::USERID_PASSWORD, ALICE.as_bytes(), b"*")),
        ("V203 the password", |s| put(s, &trees::USERID_PASSWORD, b"@gone:dump.test", b"*")),
        ("V203 `userid_displayname`", |s| remove(s, &trees::USERID_DISPLAYNAME, ALICE.as_bytes())),
        ("V203 `userid_avatarurl`", |s| {
            put(s, &trees::USERID_AVATARURL, ALICE.as_bytes(), b"mxc://a/b");
        }),
        ("V201 the device is missing", |s| {
            remove(s, &trees::USERDEVICEID_METADATA, b"@alice:dump.test\xffD");
        }),
        ("V202 is no device", |s| {
            put(s, &trees::USERDEVICEID_METADATA, b"@alice:dump.test\xffE", b"{}");
        }),
        ("V203 its description", |s| {
            edit(s, &trees::USERDEVICEID_METADATA, "Telephone", "Computer");
        }),
        ("V203 its access token", |s| {
            put(s, &trees::USERDEVICEID_TOKEN, b"@alice:dump.test\xffD", b"old");
        }),
        ("V203 m.direct", |s| edit(s, &trees::ROOMUSERDATAID_ACCOUNTDATA, "!room:", "!other:")),
        ("V203 m.tag", |s| {
            let parts = [ROOM, ALICE, "m.tag"].map(Part::Text);
            remove(
                s,
                &trees::ROOMUSERTYPE_ROOMUSERDATAID,
                &trees::ROOMUSERTYPE_ROOMUSERDATAID.key(&parts),
            );
        }),
        ("V202 m.fully_read", |s| {
            let parts = [ROOM, ALICE, "m.fully_read"].map(Part::Text);
            put(
                s,
                &trees::ROOMUSERTYPE_ROOMUSERDATAID,
                &trees::ROOMUSERTYPE_ROOMUSERDATAID.key(&parts),
                b"",
            );
        }),
        ("V203 the push rules", |s| {
            edit(s, &trees::ROOMUSERDATAID_ACCOUNTDATA, "\"cake\"", "\"tart\"");
        }),
        ("V201 the pusher", |s| remove(s, &trees::SENDERKEY_PUSHER, b"@alice:dump.test\xffgood")),
        ("V202 the pusher", |s| {
            put(s, &trees::SENDERKEY_PUSHER, b"@alice:dump.test\xffmore", b"{}");
        }),
        ("V203 the pusher", |s| edit(s, &trees::SENDERKEY_PUSHER, "push.test", "else.test")),
        ("V203 filter 0", |s| edit(s, &trees::USERFILTERID_FILTER, "5", "6")),
        ("V202 filter 2", |s| put(s, &trees::USERFILTERID_FILTER, b"@alice:dump.test\xff2", b"{}")),
        ("V201 the room is missing", |s| remove(s, &trees::ROOMID_SHORTROOMID, ROOM.as_bytes())),
        ("V202 should not be there", |s| {
            put(s, &trees::ROOMID_SHORTROOMID, b"!old:dump.test", &3_u64.to_be_bytes());
        }),
        ("V202 is a room", |s| {
            put(s, &trees::ROOMID_SHORTROOMID, b"!new:dump.test", &3_u64.to_be_bytes());
        }),
        ("V201 the event is missing", |s| {
            let (key, value) = last(s, &trees::PDUID_PDU, &short(s));
            remove(s, &trees::PDUID_PDU, &key);
            assert!(String::from_utf8(value).unwrap().contains("hello"));
        }),
        ("V203 the timeline has 4 events, the dump 5", |s| {
            let (key, _) = last(s, &trees::PDUID_PDU, &short(s));
            remove(s, &trees::PDUID_PDU, &key);
        }),
        ("V203 the event differs", |s| edit(s, &trees::PDUID_PDU, "hello", "goodbye")),
        ("V203 redacted in one", |s| {
            edit(
                s,
                &trees::PDUID_PDU,
                "\"body\":\"hello\"},",
                "\"body\":\"hello\"},\"unsigned\":{\"redacted_because\":{}},",
            );
        }),
        ("V201 its state is missing", |s| {
            remove(s, &trees::ROOMID_SHORTSTATEHASH, ROOM.as_bytes());
        }),
        ("V203 its state differs at (m.room.name, )", |s| {
            let (event, _) = last(s, &trees::PDUID_PDU, &short(s));
            let pdu: Value =
                serde_json::from_slice(&s.get(&trees::PDUID_PDU, &event).unwrap().unwrap())
                    .unwrap();
            let previous = pdu["prev_events"][0].as_str().unwrap();
            let of = |s: &MemoryStore, id: &str| {
                s.get(&trees::EVENTID_SHORTEVENTID, id.as_bytes()).unwrap().unwrap()
            };
            let (own, earlier) = (of(s, pdu["event_id"].as_str().unwrap()), of(s, previous));
            let state = s.get(&trees::SHORTEVENTID_SHORTSTATEHASH, &earlier).unwrap().unwrap();
            put(s, &trees::SHORTEVENTID_SHORTSTATEHASH, &own, &state);
        }),
        ("V202 in addition", |s| {
            let current = s.get(&trees::ROOMID_SHORTSTATEHASH, ROOM.as_bytes()).unwrap().unwrap();
            let (key, _) = last(s, &trees::SHORTSTATEKEY_STATEKEY, &[]);
            let (event, _) = last(s, &trees::SHORTEVENTID_EVENTID, &[]);
            let state = s.get(&trees::SHORTSTATEHASH_STATEDIFF, &current).unwrap().unwrap();
            let state = [&state[..8], &key, &event, &state[8..]].concat();
            put(s, &trees::SHORTSTATEHASH_STATEDIFF, &current, &state);
        }),
        ("V203 forward extremities", |s| {
            let key = [ROOM.as_bytes(), b"\xff$other"].concat();
            put(s, &trees::ROOMID_PDULEAVES, &key, b"$other");
        }),
        ("V203 membership join", |s| {
            remove(s, &trees::USERROOMID_JOINED, b"@alice:dump.test\xff!room:dump.test");
        }),
        ("V203 membership invite", |s| {
            remove(s, &trees::USERROOMID_INVITESTATE, b"@alice:dump.test\xff!elsewhere:other.test");
        }),
        ("V201 the event is missing", |s| {
            let (key, _) = last(s, &trees::EVENTID_OUTLIERPDU, &[]);
            remove(s, &trees::EVENTID_OUTLIERPDU, &key);
        }),
        ("V202 is an event", |s| put(s, &trees::EVENTID_OUTLIERPDU, b"$extra", b"{}")),
        ("V203 #room:dump.test: does not name", |s| {
            put(s, &trees::ALIAS_ROOMID, b"room", b"!x:dump.test");
        }),
        ("V203 its creator", |s| remove(s, &trees::ALIAS_USERID, b"room")),
        ("V202 is an alias", |s| put(s, &trees::ALIAS_ROOMID, b"more", ROOM.as_bytes())),
        ("V203 is in the directory", |s| remove(s, &trees::PUBLICROOMIDS, ROOM.as_bytes())),
        ("V201 is not blocked", |s| remove(s, &trees::DISABLEDROOMIDS, b"!blocked:dump.test")),
        ("V202 is blocked", |s| put(s, &trees::DISABLEDROOMIDS, ROOM.as_bytes(), b"")),
    ];
    let (_scratch, dump) = dump();
    let (clean, skipped) = imported(&dump);
    for (expected, damage) in cases {
        let mut store = clean.clone();
        damage(&mut store);
        let (code, text) = expected.split_once(' ').unwrap();
        for skipped in [&*skipped, &[]] {
            let found = findings(&store, &dump, skipped);
            let fits = |line: &String| line.starts_with(code) && line.contains(text);
            assert!(found.iter().any(fits), "{expected} not among {found:#?}");
        }
    }
}
