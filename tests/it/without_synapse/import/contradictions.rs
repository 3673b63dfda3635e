//! Dumps that contradict themselves: Synapse's table of memberships against the room's state, of which the lesser holds, and an
//! event that is there twice. For `import` and for `verify`.

use conduit_backfill::{host::Pdu, testing::signed_event::EventSigner};
use importer::{
    conduit::{
        schema::{shapes::RoomUser, trees},
        store::{KvRead as _, memory::MemoryStore},
    },
    dump::{
        DumpReader, DumpWriter,
        format::{DumpEvent, DumpRoom, DumpState, DumpUser, Manifest},
    },
    findings::Severity,
    import,
    progress::Progress,
    verify::{self, StateComparison},
};
use ruma::{RoomVersionId, exports::serde::de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

const SEED: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const ROOM: &str = "!room:own.test";
const ALICE: &str = "@alice:own.test";
const BOB: &str = "@bob:own.test";
const CAROL: &str = "@carol:own.test";

fn from<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// A state event of a user of its own, following `previous`.
fn event(
    previous: &[&DumpEvent],
    before: Option<u64>,
    sender: &str,
    kind: &str,
    content: &Value,
) -> DumpEvent {
    let last: Vec<_> = previous.last().iter().map(|event| &event.event_id).collect();
    let auth: Vec<_> = previous.iter().map(|event| &event.event_id).collect();
    let state_key = if kind == "m.room.member" { sender } else { "" };
    let event = json!({
        "room_id": ROOM, "sender": sender, "type": kind, "state_key": state_key, "content": content,
        "origin_server_ts": 1_700_000_000_000_u64, "depth": previous.len(),
        "prev_events": last, "auth_events": auth,
    });
    let signer = EventSigner::with_seed(&RoomVersionId::V10, "a", SEED).unwrap();
    let Pdu { event_id, json } = signer.sign(event).unwrap();
    from(json!({"event_id": event_id, "state_before": before, "pdu": json}))
}

/// A room whose state joins Alice and Bob, and a table that has Alice, Carol, and `bob` for Bob. Those of `accounts` are users
/// of the dump.
fn dump(bob: &str, accounts: &[&str]) -> (TempDir, DumpReader) {
    dump_in_order(bob, accounts, &[0, 1, 2, 3])
}

/// The same with the four events of its timeline in another order.
fn dump_in_order(bob: &str, accounts: &[&str], order: &[usize]) -> (TempDir, DumpReader) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    let key = json!({"version": "a", "seed": SEED});
    writer.server(&from(json!({"server_name": "own.test", "signing_key": key}))).unwrap();
    for user in accounts {
        let user = json!({"user_id": user, "admin": true, "push_rules": {"global": {}}});
        writer.user(&from::<DumpUser>(user)).unwrap();
    }
    let joined = json!({"membership": "join"});
    let content = json!({"room_version": "10", "creator": ALICE});
    let create = event(&[], None, ALICE, "m.room.create", &content);
    let alice = event(&[&create], Some(1), ALICE, "m.room.member", &joined);
    let rule = json!({"join_rule": "public"});
    let rules = event(&[&create, &alice], Some(2), ALICE, "m.room.join_rules", &rule);
    let bobs = event(&[&create, &alice, &rules], Some(3), BOB, "m.room.member", &joined);
    let head: DumpRoom = from(json!({
        "room_id": ROOM, "room_version": "10", "current_state": 4,
        "forward_extremities": [bobs.event_id],
        "local_members": [
            {"user_id": ALICE, "membership": "join", "event_id": alice.event_id},
            {"user_id": BOB, "membership": bob, "event_id": "$elsewhere"},
            {"user_id": CAROL, "membership": "join", "event_id": "$nowhere"},
        ],
    }));
    let mut room = writer.room(&head).unwrap();
    for state in [
        json!({"id": 1, "set": [["m.room.create", "", create.event_id]]}),
        json!({"id": 2, "base": 1, "set": [["m.room.member", ALICE, alice.event_id]]}),
        json!({"id": 3, "base": 2, "set": [["m.room.join_rules", "", rules.event_id]]}),
        json!({"id": 4, "base": 3, "set": [["m.room.member", BOB, bobs.event_id]]}),
    ] {
        room.state(&from::<DumpState>(state)).unwrap();
    }
    let events = [create, alice, rules, bobs];
    for place in order {
        room.timeline(&events[*place]).unwrap();
    }
    writer.finish_room(room).unwrap();
    writer
        .finish(from::<Manifest>(json!({
            "version": importer::dump::format::VERSION, "server_name": "own.test", "created_ts": 1_700_000_000_000_u64,
            "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
            "files": [],
        })))
        .unwrap();
    let reader = DumpReader::open(&directory, |_| {}).unwrap();
    (scratch, reader)
}

/// Imports; says what `verify` finds, who is joined by the rows, and how many by the count.
fn outcome(dump: &DumpReader) -> (Vec<String>, Vec<String>, u8) {
    let mut store = MemoryStore::default();
    let imported = import::import(dump, &mut store, None, &Progress::Hidden).unwrap();
    let skipped = &imported.tally.skipped;
    let mut findings = verify::structure(&store, "own.test", &Progress::Hidden).unwrap().findings;
    findings.extend(
        verify::against_dump(&store, dump, skipped, StateComparison::default(), &Progress::Hidden)
            .unwrap()
            .findings,
    );
    let findings =
        findings.into_iter().filter(|finding| finding.severity != Severity::Note).map(|found| {
            format!("{} {} {}: {}", found.severity, found.code, found.subject, found.text)
        });
    let prefix = trees::ROOMUSERID_JOINED.key_of(&RoomUser { room: ROOM, user: "" });
    let joined = store.scan(&trees::ROOMUSERID_JOINED, &prefix).unwrap();
    let joined =
        joined.map(|row| String::from_utf8(row.unwrap().0[prefix.len()..].to_vec()).unwrap());
    let count = store.get(&trees::ROOMID_JOINEDCOUNT, ROOM.as_bytes()).unwrap().unwrap();
    (findings.collect(), joined.collect(), count[7])
}

#[test]
fn who_is_joined_by_one_of_both_is_not_joined() {
    let (_scratch, agreeing) = dump("join", &[ALICE, BOB, CAROL]);
    assert_eq!(outcome(&agreeing), (vec![], vec![ALICE.into(), BOB.into()], 2));

    let (_scratch, contradicting) = dump("leave", &[ALICE, BOB, CAROL]);
    let warning = format!("warning V113 {BOB} in {ROOM}: its state says join, the rows say leave");
    assert_eq!(outcome(&contradicting), (vec![warning], vec![ALICE.into()], 1));
}

#[test]
fn a_member_without_an_account_is_a_member() {
    // Synapse's accounts can be broken, or deleted by hand.
    let (_scratch, dump) = dump("join", &[ALICE]);
    assert_eq!(outcome(&dump), (vec![], vec![ALICE.into(), BOB.into()], 2));
}

#[test]
fn an_event_that_is_there_twice_moves_once() {
    for order in [[0, 1, 2, 1, 3], [0, 1, 2, 3, 3]] {
        let (_scratch, dump) = dump_in_order("join", &[ALICE, BOB, CAROL], &order);
        assert_eq!(outcome(&dump), (vec![], vec![ALICE.into(), BOB.into()], 2), "{order:?}");
    }
}
