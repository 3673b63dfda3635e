//! `verify` against the dump, end-to-end encryption: every key, signature, message and backup is compared both ways.

use importer::{
    conduit::{
        schema::trees::{self, Tree},
        store::{KvRead as _, memory::MemoryStore},
    },
    dump::{
        DumpReader, DumpWriter,
        format::{DumpRoom, DumpState, DumpUser, Manifest},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    against_dump::{edit, findings, imported, put, remove},
    note,
};
use crate::helpers::handmade_dump::{Events, SEED, from};

const ALICE: &str = "@alice:dump.test";
const BOB: &str = "@bob:dump.test";
const CARL: &str = "@carl:away.test";
const ROOM: &str = "!room:dump.test";

fn key(user: &str, usage: &str, public: &str, signer: &str, by: &str) -> Value {
    json!({
        "user_id": user, "usage": [usage], "keys": {format!("ed25519:{public}"): public},
        "signatures": {signer: {format!("ed25519:{by}"): format!("{public} by {by}")}},
    })
}

fn device_keys(user: &str, device: &str) -> Value {
    json!({
        "user_id": user, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {format!("ed25519:{device}"): "public"},
        "signatures": {user: {format!("ed25519:{device}"): "device", "ed25519:Self": "self"}},
    })
}

fn message(body: &str) -> Value {
    json!({"type": "m.room.encrypted", "sender": BOB, "content": {"ciphertext": body}})
}

fn alice() -> Value {
    let session = json!({"first_message_index": 3, "forwarded_count": 0, "is_verified": true, "session_data": {"c": "x"}});
    json!({
        "user_id": ALICE, "admin": true, "password_hash": "$2b$12$hash", "device_list_stream_id": 12,
        "devices": [
            {"device_id": "D", "keys": device_keys(ALICE, "D"),
             "one_time_keys": {"signed_curve25519:AAAA": {"key": "a"}, "no name": {"key": "b"}},
             "fallback_keys": {"signed_curve25519:F": {"key": {"key": "f"}, "used": false}}},
            {"device_id": "E", "keys": device_keys(BOB, "E")},
            {"device_id": "OLD", "dehydrated": true, "keys": device_keys(ALICE, "OLD")},
        ],
        "cross_signing_keys": {
            "master": key(ALICE, "master", "Master", ALICE, "D"),
            "self_signing": key(ALICE, "self_signing", "Self", ALICE, "Master"),
            "user_signing": key(ALICE, "user_signing", "User", ALICE, "Master"),
        },
        "signed_keys": {
            BOB: key(BOB, "master", "BobMaster", ALICE, "User"),
            CARL: key(CARL, "master", "CarlMaster", ALICE, "User"),
        },
        "key_backups": [
            {"version": "9", "algorithm": "m.old", "auth_data": {}, "etag": "1"},
            {"version": "10", "algorithm": "m.new", "auth_data": {"public_key": "p"}, "etag": "7",
             "rooms": {ROOM: {"session": session}, "no room": {"session": session}}},
        ],
    })
}

fn dump() -> (TempDir, DumpReader) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    let server = json!({"server_name": "dump.test", "signing_key": {"version": "a", "seed": SEED}});
    writer.server(&from(server)).unwrap();
    let alice: DumpUser = from(alice());
    writer.user(&alice).unwrap();
    let mut messages = writer.messages(&alice.user_id);
    for (device, message) in [
        ("D", message("first")),
        ("D", json!("no message")),
        ("D", message("second")),
        ("OLD", message("third")),
    ] {
        messages.message(&from(json!({"device_id": device, "message": message}))).unwrap();
    }
    writer.finish_messages(messages).unwrap();
    let bob = json!({
        "user_id": BOB, "password_hash": "$2b$12$hash",
        "cross_signing_keys": {"master": key(BOB, "master", "BobMaster", BOB, "B")},
        "signed_keys": {ALICE: key(ALICE, "master", "Replaced", BOB, "BobUser")},
    });
    writer.user(&from::<DumpUser>(bob)).unwrap();
    let mut events = Events::new(ROOM);
    let create = json!({"room_version": "10", "creator": ALICE});
    let create = events.state(None, "m.room.create", "", &create);
    let join = events.state(Some(1), "m.room.member", ALICE, &json!({"membership": "join"}));
    let algorithm = json!({"algorithm": "m.megolm.v1.aes-sha2"});
    let encryption = events.state(Some(2), "m.room.encryption", "", &algorithm);
    let head: DumpRoom = from(json!({
        "room_id": ROOM, "room_version": "10", "current_state": 3, "forward_extremities": [encryption.event_id],
        "local_members": [{"user_id": ALICE, "membership": "join", "event_id": join.event_id}],
    }));
    let mut file = writer.room(&head).unwrap();
    for state in [
        json!({"id": 1, "set": [["m.room.create", "", create.event_id]]}),
        json!({"id": 2, "base": 1, "set": [["m.room.member", ALICE, join.event_id]]}),
        json!({"id": 3, "base": 2, "set": [["m.room.encryption", "", encryption.event_id]]}),
    ] {
        file.state(&from::<DumpState>(state)).unwrap();
    }
    for event in [create, join, encryption] {
        file.timeline(&event).unwrap();
    }
    writer.finish_room(file).unwrap();
    writer
        .finish(from::<Manifest>(json!({
            "version": importer::dump::format::VERSION, "server_name": "dump.test", "created_ts": 1_700_000_000_000_u64,
            "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []}, "files": [],
        })))
        .unwrap();
    let reader = DumpReader::open(&directory, |_| {}).unwrap();
    (scratch, reader)
}

/// Removes the rows whose key begins so.
fn clear(store: &mut MemoryStore, tree: &'static Tree, prefix: &[u8]) {
    let rows: Vec<_> = store.scan(tree, prefix).unwrap().map(|row| row.unwrap().0).collect();
    assert!(!rows.is_empty(), "{tree}");
    for key in rows {
        remove(store, tree, &key);
    }
}

const D: &[u8] = b"@alice:dump.test\xffD";
const MASTER: &[u8] = b"@alice:dump.test\xffMaster";
const SESSION: &[u8] = b"@alice:dump.test\xff10\xff!room:dump.test\xffsession";
const AT: &[u8] = b"\x00\x00\x00\x00\x00\x00\x00\x01";

type Damage = fn(&mut MemoryStore);

const CASES: [(&str, Damage); 36] = [
    ("V201 key D of", |s| remove(s, &trees::KEYID_KEY, D)),
    ("V202 key X of", |s| put(s, &trees::KEYID_KEY, b"@alice:dump.test\xffX", b"{}")),
    ("V202 key E of", |s| put(s, &trees::KEYID_KEY, b"@alice:dump.test\xffE", b"{}")),
    ("V203 key D of", |s| edit(s, &trees::KEYID_KEY, "\"device\"", "\"forged\"")),
    ("V201 key Master of", |s| remove(s, &trees::KEYID_KEY, MASTER)),
    ("V203 key Master of", |s| edit(s, &trees::KEYID_KEY, "Master by D", "forged")),
    ("V203 key Self of", |s| edit(s, &trees::KEYID_KEY, "Self by Master", "forged")),
    ("V203 the user_signing key", |s| {
        remove(s, &trees::USERID_USERSIGNINGKEYID, ALICE.as_bytes());
    }),
    ("V203 the self_signing key", |s| {
        put(s, &trees::USERID_SELFSIGNINGKEYID, BOB.as_bytes(), b"@bob:dump.test\xffBobMaster");
    }),
    ("V203 the master key", |s| put(s, &trees::USERID_MASTERKEYID, ALICE.as_bytes(), D)),
    ("V201 master key of @bob:dump.test by @alice:dump.test", |s| {
        edit(
            s,
            &trees::KEYID_KEY,
            "\"@alice:dump.test\":{\"ed25519:User\":\"BobMaster by User\"},",
            "",
        );
    }),
    ("V203 master key of @bob:dump.test by", |s| {
        edit(s, &trees::KEYID_KEY, "BobMaster by User", "forged");
    }),
    ("V202 master key of @alice:dump.test by @bob:dump.test", |s| {
        edit(
            s,
            &trees::KEYID_KEY,
            "{\"ed25519:D\":\"Master by D\"}",
            "{\"ed25519:D\":\"Master by D\"},\"@bob:dump.test\":{\"ed25519:BobUser\":\"x\"}",
        );
    }),
    ("V201 master key of @carl:away.test by", |s| clear(s, &trees::KEYID_KEY, CARL.as_bytes())),
    ("V203 master key of @carl:away.test by", |s| {
        edit(s, &trees::KEYID_KEY, "CarlMaster by User", "forged");
    }),
    ("V203 @carl:away.test: the master key", |s| {
        remove(s, &trees::USERID_MASTERKEYID, CARL.as_bytes());
    }),
    ("V202 @dora:away.test", |s| put(s, &trees::KEYID_KEY, b"@dora:away.test\xffX", b"{}")),
    ("V201 one-time key", |s| clear(s, &trees::ONETIMEKEYID_ONETIMEKEYS, D)),
    ("V202 one-time key", |s| {
        put(
            s,
            &trees::ONETIMEKEYID_ONETIMEKEYS,
            b"@alice:dump.test\xffD\xff\"signed_curve25519:CLAIMED\"",
            b"{}",
        );
    }),
    ("V203 one-time key", |s| edit(s, &trees::ONETIMEKEYID_ONETIMEKEYS, "\"a\"", "\"b\"")),
    ("V202 @eve:dump.test", |s| {
        put(
            s,
            &trees::ONETIMEKEYID_ONETIMEKEYS,
            b"@eve:dump.test\xffD\xff\"signed_curve25519:A\"",
            b"{}",
        );
    }),
    ("V201 a message for D of", |s| {
        let last = s.scan(&trees::TODEVICEID_EVENTS, D).unwrap().last().unwrap().unwrap();
        remove(s, &trees::TODEVICEID_EVENTS, &last.0);
    }),
    ("V202 a message for D of", |s| {
        let key = [D, b"\xff\x7f\xff\xff\xff\xff\xff\xff\xff"].concat();
        put(s, &trees::TODEVICEID_EVENTS, &key, b"{}");
    }),
    ("V202 a message for OLD of", |s| {
        put(s, &trees::TODEVICEID_EVENTS, &[b"@alice:dump.test\xffOLD\xff", AT].concat(), b"{}");
    }),
    ("V203 in another place", |s| {
        edit(s, &trees::TODEVICEID_EVENTS, "first", "swap");
        edit(s, &trees::TODEVICEID_EVENTS, "second", "first");
        edit(s, &trees::TODEVICEID_EVENTS, "swap", "second");
    }),
    ("V201 the device list has no version", |s| {
        remove(s, &trees::USERID_DEVICELISTVERSION, ALICE.as_bytes());
    }),
    ("V203 the device list has version 11", |s| {
        put(s, &trees::USERID_DEVICELISTVERSION, ALICE.as_bytes(), &11_u64.to_be_bytes());
    }),
    ("V201 is not told to ask for its own keys", |s| {
        clear(s, &trees::KEYCHANGEID_USERID, ALICE.as_bytes());
    }),
    ("V202 somebody else's keys", |s| {
        put(
            s,
            &trees::KEYCHANGEID_USERID,
            &[ALICE.as_bytes(), b"\xff", AT].concat(),
            BOB.as_bytes(),
        );
    }),
    ("V201 nobody is told to ask for the keys of @alice", |s| {
        clear(s, &trees::KEYCHANGEID_USERID, ROOM.as_bytes());
    }),
    ("V202 a change of the keys of @bob", |s| {
        put(
            s,
            &trees::KEYCHANGEID_USERID,
            &[ROOM.as_bytes(), b"\xff", AT].concat(),
            BOB.as_bytes(),
        );
    }),
    ("V201 key backup 10 of", |s| {
        remove(s, &trees::BACKUPID_ALGORITHM, b"@alice:dump.test\xff10");
    }),
    ("V202 key backup 9 of", |s| {
        put(
            s,
            &trees::BACKUPID_ALGORITHM,
            b"@alice:dump.test\xff9",
            b"{\"algorithm\":\"m.old\",\"auth_data\":{}}",
        );
    }),
    ("V203 key backup 10 of @alice:dump.test: its etag", |s| {
        put(s, &trees::BACKUPID_ETAG, b"@alice:dump.test\xff10", &8_u64.to_be_bytes());
    }),
    ("V201 session session in", |s| remove(s, &trees::BACKUPKEYID_BACKUP, SESSION)),
    ("V203 session session in", |s| edit(s, &trees::BACKUPKEYID_BACKUP, "\"x\"", "\"y\"")),
];

#[test]
fn an_import_is_clean_and_each_difference_is_reported_by_its_code() {
    let (_scratch, dump) = dump();
    let (clean, skipped) = imported(&dump);
    assert_eq!(findings(&clean, &dump, &skipped), Vec::<String>::new());
    assert_eq!(findings(&clean, &dump, &[]), Vec::<String>::new());
    let more: [(&str, Damage); 2] = [
        ("V202 session more in", |s| {
            put(
                s,
                &trees::BACKUPKEYID_BACKUP,
                b"@alice:dump.test\xff10\xff!room:dump.test\xffmore",
                b"{}",
            );
        }),
        ("V203 key backup 09 of", |s| edit(s, &trees::BACKUPID_ALGORITHM, "m.old", "m.new")),
    ];
    let mut all = String::new();
    for (number, (expected, damage)) in (1..).zip(CASES.into_iter().chain(more)) {
        let mut store = clean.clone();
        damage(&mut store);
        let (code, text) = expected.split_once(' ').unwrap();
        let found = findings(&store, &dump, &skipped);
        note(&mut all, number, expected, &found);
        let fits = |line: &String| line.starts_with(code) && line.contains(text);
        assert!(found.iter().any(fits), "{expected} not among {found:#?}");
    }
    insta::assert_snapshot!(all);
}
