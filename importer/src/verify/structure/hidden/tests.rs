use serde_json::json;

use super::*;
use crate::conduit::{
    schema::{
        shapes::{
            Event, PduId, ShortEvent, ShortStateHash, ShortStateKey, Sorted, StateDiff, StateKey,
            TimelinePdu,
        },
        table::{Shape, Table},
    },
    store::{KvLoad as _, Row, memory::MemoryStore},
};

const VISIBILITY: u64 = 1;
const MEMBER: u64 = 2;
/// The event outside of a timeline.
const OUTSIDE: ShortEvent<'_> = ShortEvent { short_event: 11 };

fn put<K: Shape, V: Shape>(
    store: &mut MemoryStore,
    table: &'static Table<K, V>,
    key: &K::Row<'_>,
    value: &V::Row<'_>,
) {
    let (key, value) = (table.key_of(key), table.value_of(value));
    store.write(vec![Row { tree: table, key, value }]).unwrap();
}

/// A history visibility, and a member event: whose, and the membership.
type Known<'a> = (Option<&'a str>, Option<(&'a str, &'a str)>);

/// An event outside of a timeline, with the short id 11, whose state has a history visibility of that word, and the member
/// event of a user, if these are given; no state at all if `None`.
fn findings(state: Option<Known<'_>>) -> Vec<String> {
    let mut store = MemoryStore::default();
    let user = state.and_then(|(_, member)| member).map_or("@a:own.test", |(user, _)| user);
    for (short, kind, key) in
        [(VISIBILITY, "m.room.history_visibility", ""), (MEMBER, "m.room.member", user)]
    {
        let names = StateKey { r#type: kind, state_key: key };
        let short = ShortStateKey { short_state_key: short };
        put(&mut store, &trees::STATEKEY_SHORTSTATEKEY, &names, &short);
        put(&mut store, &trees::SHORTSTATEKEY_STATEKEY, &short, &names);
    }
    let mut event = |id: &str, short: u64, content: serde_json::Value| {
        let (id, short) = (Event { event: id }, ShortEvent { short_event: short });
        let json = json!({ "content": content }).to_string();
        put(&mut store, &trees::EVENTID_SHORTEVENTID, &id, &short);
        put(&mut store, &trees::SHORTEVENTID_EVENTID, &short, &id);
        // They are in the timeline, so that they need not be hidden here.
        let place = TimelinePdu { short_room: 7, count: short.short_event };
        let place = PduId::Timeline(place);
        put(&mut store, &trees::EVENTID_PDUID, &id, &place);
        put(&mut store, &trees::PDUID_PDU, &place, &Sorted { json: &json });
    };
    let mut entries = Vec::new();
    if let Some((visibility, member)) = state {
        if let Some(word) = visibility {
            event("$visibility", 12, json!({ "history_visibility": word }));
            entries.extend([VISIBILITY, 12]);
        }
        if let Some((_, membership)) = member {
            event("$member", 13, json!({ "membership": membership }));
            entries.extend([MEMBER, 13]);
        }
        let hash = ShortStateHash { short_state_hash: 20 };
        let diff = StateDiff { parent: 0, diff: entries };
        put(&mut store, &trees::SHORTSTATEHASH_STATEDIFF, &hash, &diff);
        put(&mut store, &trees::SHORTEVENTID_SHORTSTATEHASH, &OUTSIDE, &hash);
    }
    let id = Event { event: "$outside" };
    put(&mut store, &trees::EVENTID_SHORTEVENTID, &id, &OUTSIDE);
    put(&mut store, &trees::EVENTID_OUTLIERPDU, &id, &Sorted { json: "{}" });
    let mut found = Findings::default();
    check(&store, "own.test", SinceImport::default(), &mut found).unwrap();
    found.finish().into_iter().map(|finding| format!("{} {}", finding.code, finding.text)).collect()
}

#[test]
fn an_event_that_nobody_sees_is_hidden_by_its_state() {
    let local = |membership| Some(("@a:own.test", membership));
    for state in [
        (Some("joined"), None),
        (Some("joined"), Some(("@a:other.test", "join"))),
        (Some("joined"), local("leave")),
        (Some("joined"), local("invite")),
        (Some("invited"), local("leave")),
        (Some("a word of a later version"), local("join")),
    ] {
        assert_eq!(findings(Some(state)), Vec::<String>::new(), "{state:?}");
    }
    let members = "V150 is outside of the timeline, and members are shown it";
    for state in [
        (None, None),
        (Some("shared"), None),
        (Some("joined"), local("join")),
        (Some("invited"), local("invite")),
    ] {
        assert_eq!(findings(Some(state)), [members], "{state:?}");
    }
    let everybody = "V150 is outside of the timeline, and its state hides nothing";
    assert_eq!(findings(Some((Some("world_readable"), None))), [everybody]);
    assert_eq!(findings(None), ["V150 is outside of the timeline and has no state"]);
}
