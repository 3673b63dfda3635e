//! The structural part of `verify` on a database that a real Conduit wrote: clean as it is, and each kind of damage is
//! noticed.

use importer::{
    conduit::{
        schema::{
            keypair,
            shapes::{AccountDataType, RoomCountUser},
            trees::{self, TREES, Tree},
        },
        store::{self, Backend, Entries, KvError, KvLoad as _, KvRead, Row, memory::MemoryStore},
    },
    findings::Severity,
    progress::Progress,
    verify,
};
use migration_tests::fixture;
use serde_json::{Value, json};

use super::note;

fn fixture_in_memory() -> MemoryStore {
    let (_scratch, directory) = fixture::conduit_v18().unwrap();
    let store = store::read(Backend::Rocksdb, &directory).unwrap();
    let mut memory = MemoryStore::default();
    for tree in TREES {
        let rows = store.scan(tree, &[]).unwrap().map(|row| {
            let (key, value) = row.unwrap();
            Row { tree, key: key.to_vec(), value: value.to_vec() }
        });
        memory.write(rows.collect()).unwrap();
    }
    memory
}

/// Codes of what is found, without notes.
fn codes(store: &MemoryStore) -> Vec<String> {
    let verified = verify::structure(store, "lab.test", &Progress::Hidden).unwrap();
    let mut codes: Vec<_> = verified
        .findings
        .into_iter()
        .filter(|finding| finding.severity != Severity::Note)
        .map(|finding| format!("{} {}: {}", finding.code, finding.subject, finding.text))
        .collect();
    codes.dedup();
    codes
}

#[test]
fn a_database_of_a_real_conduit_is_clean() {
    assert_eq!(codes(&fixture_in_memory()), Vec::<String>::new());
}

fn first(store: &MemoryStore, tree: &'static Tree) -> (Vec<u8>, Vec<u8>) {
    let (key, value) = store.scan(tree, &[]).unwrap().next().unwrap().unwrap();
    (key.to_vec(), value.to_vec())
}

fn put(store: &mut MemoryStore, tree: &'static Tree, key: Vec<u8>, value: Vec<u8>) {
    store.write(vec![Row { tree, key, value }]).unwrap();
}

fn remove_first(store: &mut MemoryStore, tree: &'static Tree) {
    let (key, _) = first(store, tree);
    assert!(store.remove(tree, &key));
}

/// Replaces text in the first stored event that has it.
fn edit_event(store: &mut MemoryStore, from: &str, to: &str) {
    let row = store
        .scan(&trees::PDUID_PDU, &[])
        .unwrap()
        .map(Result::unwrap)
        .map(|(key, value)| (key.to_vec(), String::from_utf8(value.to_vec()).unwrap()))
        .find(|(_, value)| value.contains(from))
        .unwrap();
    put(store, &trees::PDUID_PDU, row.0, row.1.replacen(from, to, 1).into_bytes());
}

type Damage = fn(&mut MemoryStore);

/// The two parts of a key in the other order.
fn swap(key: &[u8]) -> Vec<u8> {
    let mut parts: Vec<_> = key.split(|byte| *byte == 0xff).collect();
    parts.reverse();
    parts.join(&0xff)
}

/// Prepends 16-byte entries to those that a state adds.
fn add_to_first_state(store: &mut MemoryStore, entry: impl Fn(&[u8]) -> Vec<u8>) {
    let (key, value) = first(store, &trees::SHORTSTATEHASH_STATEDIFF);
    let value = [&value[..8], &entry(&value[8..24]), &value[8..]].concat();
    put(store, &trees::SHORTSTATEHASH_STATEDIFF, key, value);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_kind_of_damage_is_reported_by_its_code() {
    let cases: [(&str, Damage); 46] = [
        ("V101", |s| put(s, &trees::ROOMID_JOINEDCOUNT, b"!x".to_vec(), vec![1])),
        ("V103", |s| put(s, &trees::GLOBAL, b"version".to_vec(), 17_u64.to_be_bytes().to_vec())),
        ("V103", |s| put(s, &trees::GLOBAL, b"keypair".to_vec(), b"a\xffnone".to_vec())),
        ("V104", |s| assert!(s.remove(&trees::USERID_PASSWORD, b"@conduit:lab.test"))),
        ("V104", |s| assert!(s.remove(&trees::ALIAS_ROOMID, b"admins"))),
        ("V105", |s| put(s, &trees::GLOBAL, b"c".to_vec(), 5_u64.to_be_bytes().to_vec())),
        ("V106", |s| remove_first(s, &trees::EVENTID_PDUID)),
        ("V106", |s| remove_first(s, &trees::SHORTEVENTID_EVENTID)),
        ("V107", |s| {
            let (_, short) = first(s, &trees::ROOMID_SHORTROOMID);
            put(s, &trees::ROOMID_SHORTROOMID, b"!twice:lab.test".to_vec(), short);
        }),
        ("V108", |s| edit_event(s, "\"depth\":2,", "\"depth\":2.5,")),
        ("V109", |s| edit_event(s, "\"join_rule\":\"invite\"", "\"join_rule\":\"public\"")),
        ("V110", |s| {
            let (key, value) = first(s, &trees::PDUID_PDU);
            assert!(s.remove(&trees::PDUID_PDU, &key));
            drop(value);
            // The first event of a room is its create event; in rooms before version 12 others name it.
            for row in s.clone().scan(&trees::PDUID_PDU, &[]).unwrap().map(Result::unwrap) {
                let text = String::from_utf8_lossy(&row.1).into_owned();
                if text.contains("\"type\":\"m.room.power_levels\"") {
                    assert!(s.remove(&trees::PDUID_PDU, &row.0));
                }
            }
        }),
        ("V111", |s| {
            let (_, current) = first(s, &trees::ROOMID_SHORTSTATEHASH);
            assert!(s.remove(&trees::SHORTSTATEHASH_STATEDIFF, &current));
        }),
        ("V112", |s| remove_first(s, &trees::SHORTEVENTID_SHORTSTATEHASH)),
        ("V113", |s| {
            let (key, _) = first(s, &trees::USERROOMID_JOINED);
            assert!(s.remove(&trees::USERROOMID_JOINED, &key));
            assert!(s.remove(&trees::ROOMUSERID_JOINED, &swap(&key)));
        }),
        ("V106", |s| remove_first(s, &trees::USERROOMID_JOINED)),
        ("V114", |s| {
            let tree = &trees::ROOMUSERTYPE_ROOMUSERDATAID;
            let key = AccountDataType { room: "", user: "@alice:lab.test", r#type: "m.push_rules" };
            let id = s.get(tree, &tree.key_of(&key)).unwrap().unwrap();
            let event = br#"{"content":{"global":{"content":[{}]}},"type":"m.push_rules"}"#;
            put(s, &trees::ROOMUSERDATAID_ACCOUNTDATA, id, event.to_vec());
        }),
        ("V115", |s| {
            let (key, _) = first(s, &trees::USERDEVICEID_TOKEN);
            assert!(s.remove(&trees::USERDEVICEID_METADATA, &key));
        }),
        ("V106", |s| remove_first(s, &trees::ROOMSERVERIDS)),
        ("V106", |s| {
            let (key, value) = first(s, &trees::PDUID_PDU);
            assert!(s.remove(&trees::PDUID_PDU, &key));
            put(s, &trees::PDUID_PDU, [&[0xee; 8], &key[8..]].concat(), value);
        }),
        ("V108", |s| edit_event(s, "\"event_id\":", "\"id\":")),
        ("V113", |s| {
            let (room, _) = first(s, &trees::ROOMID_SHORTROOMID);
            put(s, &trees::ROOMID_INVITEDCOUNT, room, 99_u64.to_be_bytes().to_vec());
        }),
        ("V113", |s| {
            let (room, _) = first(s, &trees::ROOMID_SHORTROOMID);
            put(s, &trees::ROOMSERVERIDS, [&*room, b"\xffelse.test"].concat(), vec![]);
        }),
        ("V118", |s| {
            let tree = &trees::SHORTEVENTID_SHORTSTATEHASH;
            let (_, early) = first(s, tree);
            let (last, _) = s.scan(tree, &[]).unwrap().last().unwrap().unwrap();
            put(s, tree, last.to_vec(), early);
        }),
        ("V119", |s| remove_first(s, &trees::REFERENCEDEVENTS)),
        ("V119", |s| {
            let (leaf, _) = first(s, &trees::ROOMID_PDULEAVES);
            let separator = leaf.iter().position(|byte| *byte == 0xff).unwrap();
            let key = [&leaf[..separator], &leaf[separator + 1..]].concat();
            put(s, &trees::REFERENCEDEVENTS, key, vec![]);
        }),
        ("V120", |s| remove_first(s, &trees::TOKENIDS)),
        ("V120", |s| {
            let (key, _) = first(s, &trees::TOKENIDS);
            let key = [&key[..8], b"unsaid\xff", &key[key.len() - 16..]].concat();
            put(s, &trees::TOKENIDS, key, vec![]);
        }),
        ("V121", |s| put(s, &trees::TOFROM_RELATION, vec![0; 16], vec![])),
        ("V121", |s| put(s, &trees::THREADID_USERIDS, vec![1; 16], b"@a:lab.test".to_vec())),
        ("V122", |s| put(s, &trees::PUBLICROOMIDS, b"!gone:lab.test".to_vec(), vec![])),
        ("V123", |s| {
            let tree = &trees::READRECEIPTID_READRECEIPT;
            let key = RoomCountUser { room: "!r:lab.test", count: 3, user: "@alice:lab.test" };
            let receipt = r#"{"type":"m.receipt","content":{"$e":{"m.read.private":{"@alice:lab.test":{"ts":1}}}}}"#;
            put(s, tree, tree.key_of(&key), receipt.into());
        }),
        ("V124", |s| remove_first(s, &trees::FILEHASH_SERVERNAME_MEDIAID)),
        ("V124", |s| {
            let (file, mut times) = first(s, &trees::FILEHASH_METADATA);
            times[16..].copy_from_slice(&1_700_000_000_000_u64.to_be_bytes());
            put(s, &trees::FILEHASH_METADATA, file, times);
        }),
        ("V106", |s| {
            let (_, hash) = first(s, &trees::ROOMID_SHORTSTATEHASH);
            put(s, &trees::ROOMID_SHORTSTATEHASH, b"!nowhere:lab.test".to_vec(), hash);
        }),
        ("V111 two events for a key", |s| {
            add_to_first_state(s, |entry| [&entry[..8], &7_u64.to_be_bytes()].concat());
        }),
        ("V111 both adds and removes", |s| {
            let (key, value) = first(s, &trees::SHORTSTATEHASH_STATEDIFF);
            let value = [&*value, &[0; 8], &value[8..24]].concat();
            put(s, &trees::SHORTSTATEHASH_STATEDIFF, key, value);
        }),
        ("V111 and is used in", |s| {
            let rows = s.scan(&trees::ROOMID_SHORTSTATEHASH, &[]).unwrap();
            let rows: Vec<_> = rows.map(Result::unwrap).collect();
            let (room, other) = (rows[0].0.to_vec(), rows[1].1.to_vec());
            put(s, &trees::ROOMID_SHORTSTATEHASH, room, other);
        }),
        ("V111 does not expand", |s| {
            let (key, value) = first(s, &trees::SHORTSTATEHASH_STATEDIFF);
            put(s, &trees::SHORTSTATEHASH_STATEDIFF, key.clone(), [&key, &value[8..]].concat());
        }),
        ("V113 roomuseroncejoinedids", |s| remove_first(s, &trees::ROOMUSERONCEJOINEDIDS)),
        ("V113 join and invite", |s| {
            let (key, _) = first(s, &trees::USERROOMID_JOINED);
            let reverse = swap(&key);
            put(s, &trees::USERROOMID_INVITESTATE, key, b"[]".to_vec());
            put(s, &trees::ROOMUSERID_INVITECOUNT, reverse, 3_u64.to_be_bytes().to_vec());
        }),
        ("V113 that does not exist", |s| {
            let key = b"@alice:lab.test\xff!gone:lab.test";
            put(s, &trees::USERROOMID_JOINED, key.to_vec(), vec![]);
            put(s, &trees::ROOMUSERONCEJOINEDIDS, key.to_vec(), vec![]);
            put(s, &trees::ROOMUSERID_JOINED, swap(key), vec![]);
        }),
        ("V128 can't read", |s| {
            put(s, &trees::ID_APPSERVICEREGISTRATIONS, b"irc".to_vec(), b"id: irc".to_vec());
        }),
        ("V128 of `irc`", |s| {
            let registration =
                b"id: irc\nurl: null\nas_token: a\nhs_token: b\nsender_localpart: irc\n\
                namespaces:\n  users: []\n";
            put(s, &trees::ID_APPSERVICEREGISTRATIONS, b"else".to_vec(), registration.to_vec());
        }),
        ("V129", |s| {
            let (key, _) = first(s, &trees::ROOMUSERDATAID_ACCOUNTDATA);
            let event = br#"{"type":"other","content":{}}"#;
            put(s, &trees::ROOMUSERDATAID_ACCOUNTDATA, key, event.to_vec());
        }),
        ("V126", |s| {
            put(s, &trees::SENDERKEY_PUSHER, b"@alice:lab.test\xffkey".to_vec(), b"{}".to_vec());
        }),
    ];
    let clean = fixture_in_memory();
    let mut all = String::new();
    for (number, (expected, damage)) in (1..).zip(cases) {
        let mut store = clean.clone();
        damage(&mut store);
        let found = codes(&store);
        note(&mut all, number, expected, &found);
        let (code, text) = expected.split_once(' ').unwrap_or((expected, ""));
        let fits = |line: &String| line.starts_with(code) && line.contains(text);
        assert!(found.iter().any(fits), "{code} {text} not among {found:#?}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_wrong_signature_or_content_hash_is_a_warning_and_a_pruned_event_is_none() {
    let mut store = fixture_in_memory();
    let row = |store: &MemoryStore| {
        let rows = store.scan(&trees::PDUID_PDU, &[]).unwrap().map(Result::unwrap);
        let message = rows
            .map(|(key, value)| (key, serde_json::from_slice::<Value>(&value).unwrap()))
            .find(|(_, event)| event["content"]["body"].is_string());
        let (key, event) = message.unwrap();
        (key.to_vec(), event)
    };
    let severities = |store: &MemoryStore| -> Vec<Severity> {
        let found = verify::structure(store, "lab.test", &Progress::Hidden).unwrap().findings;
        let codes = found.iter().filter(|finding| finding.code == "V109");
        codes.map(|finding| finding.severity).collect()
    };
    let (key, whole) = row(&store);
    let mut put = |event: &Value| {
        put(&mut store, &trees::PDUID_PDU, key.clone(), event.to_string().into_bytes());
        severities(&store)
    };
    assert_eq!(put(&whole), []);
    // Its length is wrong.
    let mut event = whole.clone();
    for signature in event["signatures"]["lab.test"].as_object_mut().unwrap().values_mut() {
        *signature = "AAAA".into();
    }
    assert_eq!(put(&event), [Severity::Warning]);
    // As the event of an erased user; nothing is there that could be wrong. The room's version prunes `origin`, too.
    let mut event = whole.clone();
    event["content"] = json!({});
    event.as_object_mut().unwrap().remove("origin");
    assert_eq!(put(&event), []);
    event["content"] = json!({"body": "another"});
    assert_eq!(put(&event), [Severity::Warning]);
}

/// How often a code is noted.
fn notes(store: &dyn KvRead, code: &str) -> usize {
    let verified = verify::structure(store, "lab.test", &Progress::Hidden).unwrap();
    let notes = verified.findings.iter().filter(|finding| finding.severity == Severity::Note);
    notes.filter(|finding| finding.code == code).count()
}

#[test]
fn what_is_only_good_to_know_is_noted() {
    let cases: [(&str, Damage); 4] = [
        ("V116", |s| {
            let seed = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
            put(s, &trees::GLOBAL, b"keypair".to_vec(), keypair::encode("newer", seed).unwrap());
        }),
        ("V125", |s| {
            let key = b"@alice:lab.test\xffGONE\xff\"signed_curve25519:A\"".to_vec();
            put(s, &trees::ONETIMEKEYID_ONETIMEKEYS, key, b"{}".to_vec());
        }),
        ("V125", |s| {
            put(s, &trees::KEYID_KEY, b"@alice:lab.test\xffGONE".to_vec(), b"{}".to_vec());
        }),
        ("V127", |s| {
            let key = [b"!gone:lab.test\xff".as_slice(), &3_u64.to_be_bytes()].concat();
            put(s, &trees::ALIASID_ALIAS, key, b"#admins:lab.test".to_vec());
        }),
    ];
    let clean = fixture_in_memory();
    for (code, damage) in cases {
        let mut store = clean.clone();
        damage(&mut store);
        assert!(notes(&store, code) > notes(&clean, code), "{code}");
        assert_eq!(codes(&store), Vec::<String>::new(), "{code}");
    }
    // Conduit redacted some events itself; one of them with its origin again is whole.
    let mut store = clean.clone();
    let noted = verify::structure(&store, "lab.test", &Progress::Hidden).unwrap().findings;
    let event = noted.into_iter().find(|finding| finding.code == "V117").unwrap().subject;
    let pdu_id = store.get(&trees::EVENTID_PDUID, event.as_bytes()).unwrap().unwrap();
    let pdu = String::from_utf8(store.get(&trees::PDUID_PDU, &pdu_id).unwrap().unwrap()).unwrap();
    let whole = pdu.replacen('{', "{\"origin\":\"lab.test\",", 1);
    put(&mut store, &trees::PDUID_PDU, pdu_id, whole.into_bytes());
    assert_eq!(notes(&store, "V117") + 1, notes(&clean, "V117"));
    assert_eq!(notes(&clean, "V102"), 0);
    assert_eq!(notes(&WithForeignTree(clean), "V102"), 1);
}

/// A store with a tree that Conduit does not know.
struct WithForeignTree(MemoryStore);

impl KvRead for WithForeignTree {
    fn get(&self, tree: &'static Tree, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(tree, key)
    }

    fn scan<'a>(&'a self, tree: &'static Tree, prefix: &[u8]) -> Result<Entries<'a>, KvError> {
        self.0.scan(tree, prefix)
    }

    fn foreign_trees(&self) -> Result<Vec<String>, KvError> {
        Ok(vec!["plugin".into()])
    }
}
