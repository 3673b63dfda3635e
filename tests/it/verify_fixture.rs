//! The structural part of `verify` on a database that a real Conduit wrote: clean as it is, and each kind of damage is
//! noticed.

use importer::{
    conduit::{
        kv::{self, Backend, KvStore as _, Mode, Row, memory::MemoryStore},
        layout::Part,
        trees::{self, TREES, Tree},
    },
    findings::Severity,
    progress::Progress,
    verify,
};
use migration_tests::fixture;

fn fixture_in_memory() -> MemoryStore {
    let (_scratch, directory) = fixture::conduit_v18().unwrap();
    let store = kv::open(Backend::Rocksdb, &directory, Mode::Read).unwrap();
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

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_kind_of_damage_is_reported_by_its_code() {
    let cases: [(&str, Damage); 34] = [
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
        }),
        ("V114", |s| {
            let parts = [Part::Text(""), Part::Text("@alice:lab.test"), Part::Text("m.push_rules")];
            let index = trees::ROOMUSERTYPE_ROOMUSERDATAID.key(&parts);
            let id = s.get(&trees::ROOMUSERTYPE_ROOMUSERDATAID, &index).unwrap().unwrap();
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
            let room = Part::Text("!r:lab.test");
            let user = Part::Text("@alice:lab.test");
            let key = trees::READRECEIPTID_READRECEIPT.key(&[room, Part::U64(3), user]);
            let receipt = r#"{"type":"m.receipt","content":{"$e":{"m.read.private":{"@alice:lab.test":{"ts":1}}}}}"#;
            put(s, &trees::READRECEIPTID_READRECEIPT, key, receipt.into());
        }),
        ("V124", |s| remove_first(s, &trees::FILEHASH_SERVERNAME_MEDIAID)),
        ("V124", |s| {
            let (file, mut times) = first(s, &trees::FILEHASH_METADATA);
            times[16..].copy_from_slice(&1_700_000_000_000_u64.to_be_bytes());
            put(s, &trees::FILEHASH_METADATA, file, times);
        }),
        ("V126", |s| {
            put(s, &trees::SENDERKEY_PUSHER, b"@alice:lab.test\xffkey".to_vec(), b"{}".to_vec());
        }),
    ];
    let clean = fixture_in_memory();
    for (code, damage) in cases {
        let mut store = clean.clone();
        damage(&mut store);
        let found = codes(&store);
        assert!(found.iter().any(|line| line.starts_with(code)), "{code} not among {found:#?}");
    }
}
