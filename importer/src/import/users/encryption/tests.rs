//! A small dump with every kind of key, good and bad, as a whole database.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    conduit::{
        inspect,
        schema::trees::{self, Tree},
        store::memory::MemoryStore,
    },
    dump::{DumpReader, DumpWriter, format::DumpUser},
    import::{self, Imported},
    progress::Progress,
};

const ALICE: &str = "@alice:e2ee.test";
const BOB: &str = "@bob:e2ee.test";
const CARL: &str = "@carl:away.test";
/// Trees that hold end-to-end encryption.
const TREES: [&Tree; 10] = [
    trees::KEYID_KEY.tree(),
    trees::USERID_MASTERKEYID.tree(),
    trees::USERID_SELFSIGNINGKEYID.tree(),
    trees::USERID_USERSIGNINGKEYID.tree(),
    trees::ONETIMEKEYID_ONETIMEKEYS.tree(),
    trees::KEYCHANGEID_USERID.tree(),
    trees::TODEVICEID_EVENTS.tree(),
    trees::BACKUPID_ALGORITHM.tree(),
    trees::BACKUPID_ETAG.tree(),
    trees::BACKUPKEYID_BACKUP.tree(),
];

fn from<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

fn imported(users: &[Value]) -> (MemoryStore, Imported) {
    imported_with(users, &[])
}

/// The same with messages for devices, each of which one user has.
fn imported_with(users: &[Value], messages: &[(&str, Value)]) -> (MemoryStore, Imported) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    let seed = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let key = json!({"version": "a", "seed": seed});
    writer.server(&from(json!({"server_name": "e2ee.test", "signing_key": key}))).unwrap();
    for user in users {
        let user: DumpUser = from(user.clone());
        writer.user(&user).unwrap();
        let mut file = writer.messages(&user.user_id);
        for (device, message) in messages {
            if user.devices.iter().any(|known| known.device_id == *device) {
                let message = json!({"device_id": device, "message": message});
                file.message(&from(message)).unwrap();
            }
        }
        writer.finish_messages(file).unwrap();
    }
    let manifest = json!({
        "version": crate::dump::format::VERSION, "server_name": "e2ee.test", "created_ts": 1_700_000_000_000_u64, "files": [],
        "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
    });
    writer.finish(from(manifest)).unwrap();
    let dump = DumpReader::open(&directory, |_| {}).unwrap();
    let mut store = MemoryStore::default();
    let imported = import::import(&dump, &mut store, None, &Progress::Hidden).unwrap();
    assert_eq!(imported.tally.unbalanced(), []);
    (store, imported)
}

fn shown(store: &MemoryStore) -> String {
    let mut out = Vec::new();
    for tree in TREES {
        inspect::inspect(store, Some(tree), true, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn skips(imported: &Imported) -> Vec<String> {
    let skipped = imported.tally.skipped.iter();
    skipped.map(|skip| format!("{:?} {}: {}", skip.kind, skip.item, skip.reason)).collect()
}

fn device_keys(user: &str, device: &str) -> Value {
    json!({
        "user_id": user, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {format!("ed25519:{device}"): "public"},
        "signatures": {user: {format!("ed25519:{device}"): "by itself", "ed25519:Self": "by its user"}},
    })
}

fn cross_signing(user: &str, usage: &str, public: &str) -> Value {
    json!({"user_id": user, "usage": [usage], "keys": {format!("ed25519:{public}"): public}})
}

fn signed(mut key: Value, signer: &str, by: &str) -> Value {
    key["signatures"][signer][format!("ed25519:{by}")] = json!(format!("by {by}"));
    key
}

fn message(body: u64) -> Value {
    json!({"type": "m.room.encrypted", "sender": BOB, "content": {"z": body, "a": "\u{1f47d}"}})
}

fn backup(version: &str, rooms: &Value) -> Value {
    json!({"version": version, "algorithm": "m.megolm_backup.v1", "auth_data": {"z": 1, "a": 2}, "etag": "7",
           "rooms": rooms})
}

#[test]
fn a_database_with_all_kinds() {
    let session = json!({"first_message_index": 0, "forwarded_count": 0, "is_verified": true, "session_data": {}});
    let alice = json!({
        "user_id": ALICE, "password_hash": "$2b$12$hash",
        "devices": [
            {"device_id": "A", "keys": device_keys(ALICE, "A"),
             "one_time_keys": {"signed_curve25519:AAAA": {"key": "k"}, "signed_curve25519:\"": {"key": "q"}},
             "fallback_keys": {"signed_curve25519:F": {"key": {"key": "f"}, "used": true}}},
            {"device_id": "DEHYDRATED", "dehydrated": true, "keys": device_keys(ALICE, "DEHYDRATED")},
        ],
        "cross_signing_keys": {
            "master": signed(cross_signing(ALICE, "master", "Master"), ALICE, "A"),
            "self_signing": signed(cross_signing(ALICE, "self_signing", "Self"), ALICE, "Master"),
            "user_signing": signed(cross_signing(ALICE, "user_signing", "User"), ALICE, "Master"),
        },
        "signed_keys": {
            BOB: signed(cross_signing(BOB, "master", "BobMaster"), ALICE, "User"),
            CARL: signed(cross_signing(CARL, "master", "CarlMaster"), ALICE, "User"),
        },
        "key_backups": [
            backup("9", &json!({"!r:e2ee.test": {"old": session}})),
            backup("10", &json!({"!r:e2ee.test": {"session/+": session, "": session}})),
        ],
    });
    let bob = json!({
        "user_id": BOB,
        "cross_signing_keys": {"master": cross_signing(BOB, "master", "BobMaster")},
        "signed_keys": {CARL: signed(cross_signing(CARL, "master", "CarlMaster"), BOB, "BobUser")},
    });
    let messages = [("A", message(2)), ("A", message(1)), ("DEHYDRATED", message(3))];
    let (store, imported) = imported_with(&[alice, bob], &messages);
    insta::assert_snapshot!(shown(&store));
    assert_eq!(
        skips(&imported),
        [
            "Device DEHYDRATED of @alice:e2ee.test: not-in-conduit",
            "FallbackKey signed_curve25519:F of A of @alice:e2ee.test: not-in-conduit",
            "DeviceKeys DEHYDRATED of @alice:e2ee.test: device-left-out",
            "ToDeviceMessage for DEHYDRATED of @alice:e2ee.test: device-left-out",
        ]
    );
}

#[test]
fn what_conduit_could_not_hand_out_is_left_out() {
    let long = "L".repeat(300);
    let alice = json!({
        "user_id": ALICE,
        "devices": [
            {"device_id": long, "keys": device_keys(ALICE, &long)},
            {"device_id": "OTHER", "keys": device_keys(BOB, "OTHER")},
            {"device_id": "RENAMED", "keys": device_keys(ALICE, "A")},
            {"device_id": "TEXT", "keys": "no object",
             "one_time_keys": {"no name": {}}},
            {"device_id": "Master", "keys": device_keys(ALICE, "Master")},
            {"device_id": "SHORT", "keys": signed(device_keys(ALICE, "SHORT"), ALICE, "SHORT")},
        ],
        "cross_signing_keys": {
            "master": cross_signing(ALICE, "master", "Master"),
            "self_signing": cross_signing(BOB, "self_signing", "Self"),
            "user_signing": signed(cross_signing(ALICE, "user_signing", "User"), "nobody", "X"),
            "unknown": cross_signing(ALICE, "unknown", "Unknown"),
        },
        "signed_keys": {
            BOB: signed(cross_signing(BOB, "master", "BobOld"), ALICE, "User"),
            CARL: {"keys": {}},
        },
        "key_backups": [
            backup("1", &json!({"no room": {"s": {}}})),
            backup("01", &json!({"!r:e2ee.test": {"s": {}}})),
            backup("two", &json!({})),
        ],
    });
    let bob = json!({
        "user_id": BOB, "cross_signing_keys": {"master": cross_signing(BOB, "master", "BobMaster")},
    });
    let nobodys = json!({"type": "t", "sender": "nobody", "content": {}});
    let messages = [(&*long, message(1)), ("TEXT", json!("text")), ("TEXT", nobodys)];
    let (store, imported) = imported_with(&[alice, bob], &messages);
    insta::assert_snapshot!(shown(&store));
    insta::assert_debug_snapshot!(skips(&imported));
}

#[test]
fn a_large_file_is_read_like_a_small_one() {
    let long = "x".repeat(2 << 20);
    let backup = backup("1", &json!({"!r:e2ee.test": {"session": {"session_data": long}}}));
    let (store, imported) = imported(&[json!({"user_id": ALICE, "key_backups": [backup]})]);
    assert_eq!(skips(&imported), Vec::<String>::new());
    assert!(shown(&store).contains(&long));
}

#[test]
fn a_backup_of_100_000_sessions_moves_whole() {
    let session = json!({"first_message_index": 0, "forwarded_count": 0, "is_verified": true, "session_data": {"c": "x"}});
    let sessions: serde_json::Map<_, _> =
        (0..100_000).map(|number| (format!("session {number}"), session.clone())).collect();
    let (store, imported) = imported(&[json!({
        "user_id": ALICE, "key_backups": [backup("1", &json!({"!r:e2ee.test": sessions}))],
    })]);
    assert_eq!(skips(&imported), Vec::<String>::new());
    assert_eq!(imported.tally.written[&crate::tally::Kind::KeyBackupSession], 100_000);
    let rows =
        crate::conduit::store::KvRead::scan(&store, &trees::BACKUPKEYID_BACKUP, &[]).unwrap();
    assert_eq!(rows.count(), 100_000);
}

/// Versions of a user in Conduit, oldest first.
fn versions(numbers: &[u64]) -> Vec<String> {
    let backups: Vec<_> = numbers.iter().map(|n| backup(&n.to_string(), &json!({}))).collect();
    let (store, _) = imported(&[json!({"user_id": ALICE, "key_backups": backups})]);
    let rows = crate::conduit::store::KvRead::scan(&store, &trees::BACKUPID_ETAG, &[]).unwrap();
    rows.map(|row| {
        let (key, _) = row.unwrap();
        trees::BACKUPID_ETAG.read_key(&key).unwrap().version.to_owned()
    })
    .collect()
}

#[test]
fn the_newest_backup_keeps_its_version() {
    assert_eq!(versions(&[1, 3]), ["1", "3"]);
    assert_eq!(versions(&[10, 2, 9]), ["02", "09", "10"]);
    assert_eq!(versions(&[95]), ["095"]);
    assert_eq!(versions(&[9, 90]), ["09", "90"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The order of text is that of numbers, no version begins another one's, and those to come sort last.
    #[test]
    fn versions_sort_as_numbers(mut numbers in prop::collection::btree_set(1_u64..10_000_000, 1..6)) {
        numbers.insert(95);
        let numbers: Vec<_> = numbers.into_iter().collect();
        let versions = versions(&numbers);
        let parsed: Vec<u64> = versions.iter().map(|version| version.parse().unwrap()).collect();
        prop_assert_eq!(&parsed, &numbers);
        prop_assert!(versions.iter().all(|version| version.len() == versions[0].len()));
        prop_assert!(*versions.last().unwrap() < import::row_writer::START.to_string());
    }

    /// Any text as key, name or message is counted and never ends the import.
    #[test]
    fn any_text_is_written_or_left_out(name in ".{0,8}", id in ".{0,8}", text in ".{0,8}") {
        let raw = json!({"user_id": text, "device_id": name, "keys": {name.as_str(): text}, "type": id, "sender": text});
        let messages = [(&*name, raw.clone()), (&*name, json!(text))];
        let (_, imported) = imported_with(&[json!({
            "user_id": ALICE,
            "devices": [{"device_id": name, "keys": raw, "one_time_keys": {id.as_str(): raw}}],
            "cross_signing_keys": {"master": raw, id.as_str(): text},
            "signed_keys": {BOB: raw},
            "key_backups": [{"version": text, "algorithm": id, "auth_data": raw, "etag": text,
                             "rooms": {name.as_str(): {id.as_str(): raw}}}],
        })], &messages);
        prop_assert!(!imported.tally.skipped.is_empty());
    }
}
