//! `verify` against the dump: an import is clean, what the import leaves out is explained without its list, and each kind
//! of difference is reported by its code.

use std::cell::Cell;

use importer::{
    conduit::{
        schema::{
            shapes::{AccountDataType, RoomCountUser},
            trees::{self, Tree},
        },
        store::{Entries, KvError, KvLoad as _, KvRead, Row, memory::MemoryStore},
    },
    dump::DumpReader,
    import,
    progress::Progress,
    tally::Skip,
    verify::{self, StateComparison},
};
use serde_json::Value;

use super::note;
use crate::helpers::handmade_dump::{ALICE, ROOM, dump};

pub(super) fn findings(store: &MemoryStore, dump: &DumpReader, skipped: &[Skip]) -> Vec<String> {
    compared(store, dump, skipped, StateComparison::Sample)
}

fn compared(
    store: &MemoryStore,
    dump: &DumpReader,
    skipped: &[Skip],
    how: StateComparison,
) -> Vec<String> {
    let against = verify::against_dump(store, dump, skipped, how, &Progress::Hidden).unwrap();
    let structure = verify::structure(store, "dump.test", &Progress::Hidden).unwrap();
    let all = [against.findings, structure.findings].concat();
    let mut sorted = all.clone();
    sorted.sort();
    // Both at once, for which timelines are read once.
    let at_once = verify::rows(store, dump, skipped, how, &Progress::Hidden).unwrap();
    assert_eq!(at_once.findings, sorted);
    all.into_iter()
        .map(|finding| format!("{} {}: {}", finding.code, finding.subject, finding.text))
        .collect()
}

pub(super) fn imported(dump: &DumpReader) -> (MemoryStore, Vec<Skip>) {
    let mut store = MemoryStore::default();
    let imported = import::import(dump, &mut store, None, &Progress::Hidden).unwrap();
    (store, imported.tally.skipped)
}

/// A store that counts how often a timeline is read by itself.
struct Counting {
    store: MemoryStore,
    timelines: Cell<u64>,
}

impl KvRead for Counting {
    fn get(&self, tree: &'static Tree, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.store.get(tree, key)
    }

    fn scan<'a>(&'a self, tree: &'static Tree, prefix: &[u8]) -> Result<Entries<'a>, KvError> {
        if tree.name == trees::PDUID_PDU.name && prefix.len() == 8 {
            self.timelines.set(self.timelines.get() + 1);
        }
        self.store.scan(tree, prefix)
    }

    fn foreign_trees(&self) -> Result<Vec<String>, KvError> {
        self.store.foreign_trees()
    }
}

/// Timelines that are as the dump has them are not read a second time; one that differs is.
#[test]
fn a_timeline_is_read_once() {
    let (_scratch, dump) = dump();
    let (store, skipped) = imported(&dump);
    let how = StateComparison::default();
    let mut store = Counting { store, timelines: Cell::new(0) };
    let found = verify::rows(&store, &dump, &skipped, how, &Progress::Hidden).unwrap();
    assert_eq!((found.findings, store.timelines.replace(0)), (vec![], 0));
    let rows = store.store.scan(&trees::PDUID_PDU, &[]).unwrap().map(Result::unwrap);
    let is_message = |value: &[u8]| String::from_utf8_lossy(value).contains("m.room.message");
    let (key, _) = rows.filter(|(_, value)| is_message(value)).last().unwrap();
    remove(&mut store.store, &trees::PDUID_PDU, &key);
    let found = verify::rows(&store, &dump, &skipped, how, &Progress::Hidden).unwrap();
    assert!(!found.findings.is_empty());
    assert!(store.timelines.get() > 0);
}

/// The event of the dump that is outside of the timeline.
fn outlier(store: &MemoryStore) -> Vec<u8> {
    let mut rows = store.scan(&trees::EVENTID_OUTLIERPDU, &[]).unwrap().map(Result::unwrap);
    let row = rows.find(|(_, json)| !String::from_utf8_lossy(json).contains("@conduit:"));
    row.unwrap().0.into_vec()
}

#[test]
fn an_import_is_clean_with_and_without_the_list_of_what_was_left_out() {
    let (_scratch, dump) = dump();
    let (store, skipped) = imported(&dump);
    for reason in [
        "account-data-unparsable",
        "filter-unparsable",
        "push-rule-refused",
        "no-state-before",
        "one-receipt-per-room",
        "in-the-membership",
        "private-thread-receipt",
        "receipt-time-impossible",
        "not-joined",
        "registration-unparsable",
        "inviter-ignored",
        "invite-refused",
        "message-unparsable",
        "server-not-in-room",
        "event-missing",
        "appservice-left-out",
    ] {
        assert!(skipped.iter().any(|skip| skip.reason == reason), "{reason} not in {skipped:#?}");
    }
    assert_eq!(findings(&store, &dump, &skipped), Vec::<String>::new());
    assert_eq!(findings(&store, &dump, &[]), Vec::<String>::new());
}

pub(super) fn put(store: &mut MemoryStore, tree: &'static Tree, key: &[u8], value: &[u8]) {
    store.write(vec![Row { tree, key: key.to_vec(), value: value.to_vec() }]).unwrap();
}

pub(super) fn remove(store: &mut MemoryStore, tree: &'static Tree, key: &[u8]) {
    assert!(store.remove(tree, key), "{tree}");
}

/// Replaces text in the first value of a tree that has it.
pub(super) fn edit(store: &mut MemoryStore, tree: &'static Tree, from: &str, to: &str) {
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

/// The key of a row that waits for a destination, whose value has this text.
fn queued(store: &MemoryStore, destination: &[u8], text: &str) -> Vec<u8> {
    let rows = store.scan(&trees::SERVERCURRENTEVENT_DATA, destination).unwrap();
    let mut rows = rows.map(Result::unwrap);
    let holds = |value: &[u8]| String::from_utf8_lossy(value).contains(text);
    rows.find(|(_, value)| holds(value)).unwrap().0.to_vec()
}

/// The row of a user's receipt.
fn receipt_of(store: &MemoryStore, user: &str) -> (Vec<u8>, Vec<u8>) {
    let rows = store.scan(&trees::READRECEIPTID_READRECEIPT, &[]).unwrap().map(Result::unwrap);
    let mut rows = rows.map(|(key, value)| (key.to_vec(), value.to_vec()));
    rows.find(|(key, _)| key.ends_with(user.as_bytes())).unwrap()
}

type Damage = fn(&mut MemoryStore);

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_difference_is_reported_by_its_code() {
    let cases: [(&str, Damage); 69] = [
        ("V201 other.test: m.direct_to_device does not wait", |s| {
            let key = queued(s, b"other.test\xff", "m.direct_to_device");
            remove(s, &trees::SERVERCURRENTEVENT_DATA, &key);
        }),
        ("V202 other.test: m.direct_to_device waits", |s| {
            edit(s, &trees::SERVERCURRENTEVENT_DATA, "ciphertext", "clear text");
        }),
        ("V201 other.test: m.device_list_update does not wait", |s| {
            edit(s, &trees::SERVERCURRENTEVENT_DATA, "\"user_id\":\"@alice", "\"user_id\":\"@eve");
        }),
        ("V201 +irc: an event does not wait", |s| {
            let key = queued(s, b"+irc\xff", "");
            remove(s, &trees::SERVERCURRENTEVENT_DATA, &key);
        }),
        ("V202 +irc: an event waits", |s| {
            let key = queued(s, b"+irc\xff", "");
            put(s, &trees::SERVERNAMEEVENT_DATA, &key, b"");
        }),
        ("V201 @alice:dump.test in !room:dump.test: the receipt is missing", |s| {
            let (key, _) = receipt_of(s, ALICE);
            remove(s, &trees::READRECEIPTID_READRECEIPT, &key);
        }),
        ("V203 @bob:other.test in !room:dump.test: the receipt differs", |s| {
            let (key, value) = receipt_of(s, "@bob:other.test");
            let value = String::from_utf8(value).unwrap().replace("\"ts\":2", "\"ts\":3");
            put(s, &trees::READRECEIPTID_READRECEIPT, &key, value.as_bytes());
        }),
        ("V202 @eve:other.test in !room:dump.test: the receipt is not", |s| {
            let (_, value) = receipt_of(s, "@bob:other.test");
            let value = String::from_utf8(value).unwrap().replace("bob", "eve");
            let tree = &trees::READRECEIPTID_READRECEIPT;
            let key = RoomCountUser { room: ROOM, count: 1, user: "@eve:other.test" };
            put(s, tree, &tree.key_of(&key), value.as_bytes());
        }),
        ("V123 @bob:other.test in !room:dump.test: the receipt is not one", |s| {
            let (key, value) = receipt_of(s, "@bob:other.test");
            let value =
                String::from_utf8(value).unwrap().replace("\"ts\":2", "\"ts\":9007199254740992");
            put(s, &trees::READRECEIPTID_READRECEIPT, &key, value.as_bytes());
        }),
        ("V123 @alice:dump.test in !room:dump.test: the receipt is not one", |s| {
            let (key, value) = receipt_of(s, ALICE);
            let value = String::from_utf8(value).unwrap().replace("m.read\"", "m.read.private\"");
            put(s, &trees::READRECEIPTID_READRECEIPT, &key, value.as_bytes());
        }),
        ("V201 the private receipt is missing", |s| {
            remove(s, &trees::ROOMUSERID_PRIVATEREAD, b"!room:dump.test\xff@alice:dump.test");
        }),
        ("V203 the private receipt differs", |s| {
            let key = b"!room:dump.test\xff@alice:dump.test";
            put(s, &trees::ROOMUSERID_PRIVATEREAD, key, &7_u64.to_be_bytes());
        }),
        ("V203 the number of notifications differs", |s| {
            let key = b"@alice:dump.test\xff!room:dump.test";
            put(s, &trees::USERROOMID_NOTIFICATIONCOUNT, key, &4_u64.to_be_bytes());
        }),
        ("V201 the number of highlights is missing", |s| {
            remove(s, &trees::USERROOMID_HIGHLIGHTCOUNT, b"@alice:dump.test\xff!room:dump.test");
        }),
        ("V201 the time of the unread counts' last change", |s| {
            remove(s, &trees::USERROOMID_HIGHLIGHTCOUNT, b"!room:dump.test\xff@alice:dump.test");
        }),
        ("V202 the number of notifications is not", |s| {
            let key = b"@alice:dump.test\xff!elsewhere:other.test";
            put(s, &trees::USERROOMID_NOTIFICATIONCOUNT, key, &1_u64.to_be_bytes());
        }),
        ("V130 too large", |s| {
            let key = b"@alice:dump.test\xff!elsewhere:other.test";
            put(s, &trees::USERROOMID_HIGHLIGHTCOUNT, key, &(1_u64 << 53).to_be_bytes());
        }),
        ("V201 irc: the application service is missing", |s| {
            remove(s, &trees::ID_APPSERVICEREGISTRATIONS, b"irc");
        }),
        ("V203 irc: the application service", |s| {
            edit(s, &trees::ID_APPSERVICEREGISTRATIONS, "^(?:@irc_)", "@irc_");
        }),
        ("V128 can't compile", |s| edit(s, &trees::ID_APPSERVICEREGISTRATIONS, "(?:", "(?=")),
        ("V202 irc2: is an application service", |s| {
            edit(s, &trees::ID_APPSERVICEREGISTRATIONS, "\"id\":\"irc\"", "\"id\":\"irc2\"");
            let yaml = s.get(&trees::ID_APPSERVICEREGISTRATIONS, b"irc").unwrap().unwrap();
            put(s, &trees::ID_APPSERVICEREGISTRATIONS, b"irc2", &yaml);
        }),
        ("V201 @irc:dump.test: the user that an application service", |s| {
            remove(s, &trees::USERID_PASSWORD, b"@irc:dump.test");
        }),
        ("V201 the user is missing", |s| remove(s, &trees::USERID_PASSWORD, b"@gone:dump.test")),
        ("V202 is a user", |s| put(s, &trees::USERID_PASSWORD, b"@eve:dump.test", b"*")),
        ("V203 the password", |s| put(s, &trees::USERID_PASSWORD, ALICE.as_bytes(), b"*")),
        ("V203 the password", |s| put(s, &trees::USERID_PASSWORD, b"@gone:dump.test", b"*")),
        ("V203 the password", |s| put(s, &trees::USERID_PASSWORD, b"@locked:dump.test", b"*")),
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
            let tree = &trees::ROOMUSERTYPE_ROOMUSERDATAID;
            let key = AccountDataType { room: ROOM, user: ALICE, r#type: "m.tag" };
            remove(s, tree, &tree.key_of(&key));
        }),
        ("V202 m.fully_read", |s| {
            let tree = &trees::ROOMUSERTYPE_ROOMUSERDATAID;
            let key = AccountDataType { room: ROOM, user: ALICE, r#type: "m.fully_read" };
            put(s, tree, &tree.key_of(&key), b"");
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
        ("V203 @gone:dump.test in !elsewhere:other.test: membership invite", |s| {
            put(
                s,
                &trees::USERROOMID_INVITESTATE,
                b"@gone:dump.test\xff!elsewhere:other.test",
                b"[]",
            );
        }),
        ("V203 @refused:dump.test in !elsewhere:other.test: membership leave", |s| {
            put(
                s,
                &trees::USERROOMID_LEFTSTATE,
                b"@refused:dump.test\xff!elsewhere:other.test",
                b"[]",
            );
        }),
        ("V203 membership invite", |s| {
            remove(s, &trees::USERROOMID_INVITESTATE, b"@alice:dump.test\xff!elsewhere:other.test");
        }),
        ("V201 the event is missing", |s| {
            let key = outlier(s);
            remove(s, &trees::EVENTID_OUTLIERPDU, &key);
        }),
        ("V150 has no state", |s| {
            let short = s.get(&trees::EVENTID_SHORTEVENTID, &outlier(s)).unwrap().unwrap();
            remove(s, &trees::SHORTEVENTID_SHORTSTATEHASH, &short);
        }),
        ("V151 can't be expanded", |s| {
            let short = s.get(&trees::EVENTID_SHORTEVENTID, &outlier(s)).unwrap().unwrap();
            let hides = s.get(&trees::SHORTEVENTID_SHORTSTATEHASH, &short).unwrap().unwrap();
            put(s, &trees::ROOMID_SHORTSTATEHASH, ROOM.as_bytes(), &hides);
        }),
        ("V153 is missing", |s| remove(s, &trees::GLOBAL, trees::REPAIRED[0].as_bytes())),
        ("V154 has not the count", |s| {
            let [user, room] = [b"@alice:dump.test".as_slice(), ROOM.as_bytes()];
            put(s, &trees::USERROOMID_JOINED, &[user, room].join(&0xff), &[]);
            put(s, &trees::ROOMUSERID_JOINED, &[room, user].join(&0xff), &[]);
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
    let mut all = String::new();
    for (number, (expected, damage)) in (1..).zip(cases) {
        let mut store = clean.clone();
        damage(&mut store);
        let (code, text) = expected.split_once(' ').unwrap();
        for (skipped, how) in [
            (&*skipped, StateComparison::Sample),
            (&[], StateComparison::Sample),
            (&[], StateComparison::All),
        ] {
            let found = compared(&store, &dump, skipped, how);
            let with = if skipped.is_empty() { "the dump's rules" } else { "the list" };
            note(&mut all, number, &format!("{expected}, {with}, {how:?}"), &found);
            let fits = |line: &String| line.starts_with(code) && line.contains(text);
            assert!(found.iter().any(fits), "{expected} not among {found:#?}");
        }
    }
    insta::assert_snapshot!(all);
}
