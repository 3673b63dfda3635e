use serde_json::json;

use super::*;
use crate::{
    conduit::{
        schema::{
            shapes::{
                Event, PduId, Room, RoomReferenced, ShortEvent, ShortStateHash, StateKey,
                TimelinePdu,
            },
            table::{Shape, Table},
        },
        store::{KvLoad as _, Row, memory::MemoryStore},
    },
    findings::Finding,
    progress::Progress,
};

const ROOM: &str = "!r:own.test";

/// The numbers of the room's two states: the one that holds the event `$1`, and the one that holds nothing.
const WITH_JOIN: u64 = 101;
const EMPTY: u64 = 102;

fn put<K: Shape, V: Shape>(
    store: &mut MemoryStore,
    table: &'static Table<K, V>,
    key: &K::Row<'_>,
    value: Vec<u8>,
) {
    store.write(vec![Row { tree: table, key: table.key_of(key), value }]).unwrap();
}

/// A room of events `$1`, `$2`, …: the predecessors of each, and the state before it. The first one is a join.
fn room(events: &[(&[&str], u64)]) -> MemoryStore {
    let mut store = MemoryStore::default();
    let number = |number: u64| number.to_be_bytes().to_vec();
    put(&mut store, &trees::ROOMID_SHORTROOMID, &Room { room: ROOM }, number(7));
    let key = StateKey { r#type: "m.room.member", state_key: "@a:own.test" };
    put(&mut store, &trees::STATEKEY_SHORTSTATEKEY, &key, number(1));
    let with_join = [0_u64, 1, 11].map(u64::to_be_bytes).concat();
    for (short_state_hash, value) in [(WITH_JOIN, with_join), (EMPTY, number(0))] {
        let state = ShortStateHash { short_state_hash };
        put(&mut store, &trees::SHORTSTATEHASH_STATEDIFF, &state, value);
    }
    for ((count, short), (previous, before)) in (1_u64..).zip(11_u64..).zip(events) {
        let id = format!("${count}");
        let mut pdu = json!({
            "event_id": id, "room_id": ROOM, "type": "m.room.member", "state_key": "@a:own.test",
            "prev_events": previous, "content": {},
        });
        if count > 1 {
            pdu["type"] = "org.example".into();
            pdu.as_object_mut().unwrap().remove("state_key");
        }
        let place = PduId::Timeline(TimelinePdu { short_room: 7, count });
        let pdu_id = trees::PDUID_PDU.key_of(&place);
        let event = Event { event: &id };
        put(&mut store, &trees::PDUID_PDU, &place, pdu.to_string().into());
        put(&mut store, &trees::EVENTID_PDUID, &event, pdu_id);
        put(&mut store, &trees::EVENTID_SHORTEVENTID, &event, number(short));
        let short = ShortEvent { short_event: short };
        put(&mut store, &trees::SHORTEVENTID_SHORTSTATEHASH, &short, number(*before));
        for id in *previous {
            let key = RoomReferenced { room: ROOM, event: id };
            put(&mut store, &trees::REFERENCEDEVENTS, &key, Vec::new());
        }
    }
    store
}

fn findings(events: &[(&[&str], u64)]) -> Vec<String> {
    let found = crate::verify::structure(&room(events), "own.test", &Progress::Hidden).unwrap();
    let of_timelines = |finding: &Finding| ["V118", "V119"].contains(&finding.code);
    found
        .findings
        .into_iter()
        .filter(of_timelines)
        .map(|Finding { code, subject, .. }| format!("{code} {subject}"))
        .collect()
}

#[test]
fn in_a_chain_each_state_follows_from_the_one_before() {
    let good: [(&[&str], u64); 4] =
        [(&["$0"], EMPTY), (&["$1"], WITH_JOIN), (&["$2"], WITH_JOIN), (&["$3"], WITH_JOIN)];
    assert_eq!(findings(&good), Vec::<String>::new());
    let mut bad = good;
    bad[3].1 = EMPTY;
    assert_eq!(findings(&bad), ["V118 $4"]);
    bad = good;
    bad[1].1 = EMPTY;
    assert_eq!(findings(&bad), ["V118 $2", "V118 $3"]);
}

#[test]
fn after_a_fork_the_state_before_an_event_may_be_the_rooms() {
    // Both `$2` and `$3` follow `$1`: two extremities. `$4` was made here, in the resolved state.
    let forked: [(&[&str], u64); 4] =
        [(&["$0"], EMPTY), (&["$1"], WITH_JOIN), (&["$1"], WITH_JOIN), (&["$3"], EMPTY)];
    assert_eq!(findings(&forked), Vec::<String>::new());
    // A merge has several predecessors; what follows it is not judged either.
    let merged: [(&[&str], u64); 4] =
        [(&["$0"], EMPTY), (&["$1"], WITH_JOIN), (&["$1", "$2"], WITH_JOIN), (&["$3"], EMPTY)];
    assert_eq!(findings(&merged), Vec::<String>::new());
}
