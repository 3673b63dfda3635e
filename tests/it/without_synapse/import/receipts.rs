//! A receipt that names an event of another room: a damaged table can say so.

use importer::{
    conduit::{
        schema::trees,
        store::{KvRead as _, memory::MemoryStore},
    },
    dump::{
        DumpReader, DumpWriter,
        format::{DumpEvent, DumpRoom, DumpState, DumpUser, Manifest},
    },
    import,
    progress::Progress,
    verify::{self, StateComparison},
};
use serde_json::json;

use crate::helpers::handmade_dump::{ALICE, Events, ROOM, SEED, from};

const BESIDE: &str = "!beside:dump.test";

/// A room that Alice has made and joined; gives her join.
fn write_room(writer: &DumpWriter, room: &'static str) -> DumpEvent {
    let mut events = Events::new(room);
    let content = json!({"room_version": "10", "creator": ALICE});
    let create = events.state(None, "m.room.create", "", &content);
    let join = events.state(Some(1), "m.room.member", ALICE, &json!({"membership": "join"}));
    let head: DumpRoom = from(json!({
        "room_id": room, "room_version": "10", "current_state": 2,
        "forward_extremities": [join.event_id],
        "local_members": [{"user_id": ALICE, "membership": "join", "event_id": join.event_id}],
    }));
    let mut file = writer.room(&head).unwrap();
    for state in [
        json!({"id": 1, "set": [["m.room.create", "", create.event_id]]}),
        json!({"id": 2, "base": 1, "set": [["m.room.member", ALICE, join.event_id]]}),
    ] {
        file.state(&from::<DumpState>(state)).unwrap();
    }
    file.timeline(&create).unwrap();
    file.timeline(&join).unwrap();
    writer.finish_room(file).unwrap();
    join
}

/// Two rooms; Alice has read privately in the first up to her join in `room`. Gives the rows of private receipts, and what
/// was left out.
fn private_receipt_at_the_join_in(room: &str) -> (usize, Vec<String>) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    let key = json!({"version": "a", "seed": SEED});
    writer.server(&from(json!({"server_name": "dump.test", "signing_key": key}))).unwrap();
    let joins = [ROOM, BESIDE].map(|room| (room, write_room(&writer, room)));
    let (_, join) = joins.iter().find(|(name, _)| *name == room).unwrap();
    let user: DumpUser = from(json!({
        "user_id": ALICE, "push_rules": {"global": {}},
        "receipts": [{"room_id": ROOM, "receipt_type": "m.read.private", "event_id": join.event_id,
                      "ts": 1_700_000_000_000_u64}],
    }));
    writer.user(&user).unwrap();
    let manifest: Manifest = from(json!({
        "version": importer::dump::format::VERSION, "server_name": "dump.test",
        "created_ts": 1_700_000_000_000_u64, "source": {"kind": "sqlite"},
        "tally": {"read": {}, "written": {}, "skipped": []}, "files": [],
    }));
    writer.finish(manifest).unwrap();
    let dump = DumpReader::open(&directory, |_| {}).unwrap();

    let mut store = MemoryStore::default();
    let imported = import::import(&dump, &mut store, None, &Progress::Hidden).unwrap();
    assert!(imported.tally.unbalanced().is_empty());
    let skipped = imported.tally.skipped;
    let states = StateComparison::default();
    let found = [
        verify::structure(&store, "dump.test", &Progress::Hidden).unwrap().findings,
        verify::against_dump(&store, &dump, &skipped, states, &Progress::Hidden).unwrap().findings,
    ];
    assert_eq!(found.concat(), []);
    let rows = store.scan(&trees::ROOMUSERID_PRIVATEREAD, &[]).unwrap().count();
    (rows, skipped.into_iter().map(|skip| format!("{}: {}", skip.item, skip.reason)).collect())
}

#[test]
fn a_receipt_for_an_event_of_another_room_is_left_out() {
    assert_eq!(private_receipt_at_the_join_in(ROOM), (1, vec![]));
    let left_out = format!("m.read.private of {ALICE} in {ROOM}: receipt-event-missing");
    assert_eq!(private_receipt_at_the_join_in(BESIDE), (0, vec![left_out]));
}
