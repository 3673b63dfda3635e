//! What a database says of its rooms, without the numbers in it, in which two imports of the same may differ.

use std::collections::BTreeMap;

use importer::conduit::{
    schema::{
        pdu_id::PduCount,
        shapes::{PduId, TokenId},
        state_diff::StateDiff,
        table::{Shape, Table},
        trees::{self, Tree},
    },
    store::KvRead,
};
use serde_json::Value;

/// Lines by kind.
pub(crate) type Content = BTreeMap<&'static str, Vec<String>>;

/// Says where the two differ first, if they do.
pub(crate) fn same(expected: &Content, found: &Content) {
    for (kind, expected) in expected {
        let found = &found[kind];
        let other = expected.iter().zip(found).find(|(a, b)| a != b);
        assert_eq!(other.map(|(a, _)| a), other.map(|(_, b)| b), "{kind}: the first that differs");
        assert_eq!(found.len(), expected.len(), "{kind}");
    }
}

/// What a database says of the rooms of the dump, with names instead of numbers: the timelines in their order, each event
/// with the state before it; all else sorted.
pub(crate) fn content(store: &dyn KvRead) -> Content {
    let names = Names::of(store);
    BTreeMap::from([
        ("timeline", names.timelines()),
        (
            "outliers",
            names.lines(&trees::EVENTID_OUTLIERPDU, |_, json| String::from_utf8_lossy(json).into()),
        ),
        (
            "relations",
            names.lines(&trees::TOFROM_RELATION, |key, _| {
                format!("{} {}", names.at(key.to_count), names.at(key.from_count))
            }),
        ),
        (
            "threads",
            names.lines(&trees::THREADID_USERIDS, |key, users| {
                let PduId::Timeline(root) = key else { panic!("{key:?}") };
                format!("{} {}", names.at(root.count), String::from_utf8_lossy(users))
            }),
        ),
        (
            "words",
            names.lines(&trees::TOKENIDS, |key, _| {
                let TokenId::Timeline(token) = key else { panic!("{key:?}") };
                format!("{} {}", token.word, names.at(token.count))
            }),
        ),
        ("references", names.lines(&trees::REFERENCEDEVENTS, |key, _| format!("{key:?}"))),
        ("joined once", names.lines(&trees::ROOMUSERONCEJOINEDIDS, |key, _| format!("{key:?}"))),
        ("ends", names.lines(&trees::ROOMID_PDULEAVES, |key, _| format!("{key:?}"))),
    ])
}

/// What the numbers of a database mean.
struct Names<'a> {
    store: &'a dyn KvRead,
    admin_room: String,
    admin_room_short: u64,
    events: BTreeMap<u64, String>,
}

impl<'a> Names<'a> {
    fn of(store: &'a dyn KvRead) -> Self {
        let admin_room = store.get(&trees::ALIAS_ROOMID, b"admins").unwrap().unwrap();
        let short = store.get(&trees::ROOMID_SHORTROOMID, &admin_room).unwrap().unwrap();
        let mut events = BTreeMap::new();
        for row in store.scan(&trees::EVENTID_PDUID, &[]).unwrap() {
            let (id, place) = row.unwrap();
            let Some((_, PduCount::Normal(count))) = PduCount::read(&place) else {
                panic!("{} has no normal count", String::from_utf8_lossy(&id));
            };
            let other = events.insert(count, String::from_utf8(id.into_vec()).unwrap());
            assert_eq!(other, None, "two events have the count {count}");
        }
        Self {
            store,
            admin_room: String::from_utf8(admin_room).unwrap(),
            admin_room_short: number(&short),
            events,
        }
    }

    /// A line for each row of a tree that is not of the admin room, sorted.
    fn lines<K: Shape, V: Shape>(
        &self,
        table: &'static Table<K, V>,
        line: impl Fn(&K::Row<'_>, &[u8]) -> String,
    ) -> Vec<String> {
        let rows = self.store.scan(table, &[]).unwrap().map(Result::unwrap);
        let lines = rows.map(|(key, value)| line(&table.read_key(&key).unwrap(), &value));
        let mut lines: Vec<_> = lines.filter(|line| !self.is_of_admins(line)).collect();
        lines.sort();
        lines
    }

    fn at(&self, count: u64) -> &str {
        &self.events[&count]
    }

    fn is_of_admins(&self, line: &str) -> bool {
        // So is the event that hides others, which a room has only if something was hidden when it was written.
        line.contains(&self.admin_room) || line.contains("\"sender\":\"@conduit:")
    }

    fn timelines(&self) -> Vec<String> {
        let mut rooms: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for row in self.store.scan(&trees::PDUID_PDU, &[]).unwrap() {
            let (key, json) = row.unwrap();
            let (short, _) = PduCount::read(&key).unwrap();
            let event: Value = serde_json::from_slice(&json).unwrap();
            let before = self.state_before(event["event_id"].as_str().unwrap());
            rooms.entry(short).or_default().push(format!("{event} after {before:?}"));
        }
        rooms.remove(&self.admin_room_short);
        let mut rooms: Vec<_> = rooms.into_values().collect();
        rooms.sort();
        rooms.concat()
    }

    fn state_before(&self, event: &str) -> Option<BTreeMap<String, String>> {
        let short = self.store.get(&trees::EVENTID_SHORTEVENTID, event.as_bytes()).unwrap()?;
        let hash = self.store.get(&trees::SHORTEVENTID_SHORTSTATEHASH, &short).unwrap()?;
        let mut layers = Vec::new();
        let mut next = number(&hash);
        while next != 0 {
            let tree = &trees::SHORTSTATEHASH_STATEDIFF;
            let value = self.store.get(tree, &next.to_be_bytes()).unwrap().unwrap();
            let row = tree.read_value(&[], &value).unwrap();
            layers.push(StateDiff::decode(row.parent, &row.diff).unwrap());
            next = row.parent;
        }
        let mut state = BTreeMap::new();
        for layer in layers.into_iter().rev() {
            state.retain(|key, event| !layer.removed.contains(&(*key, *event)));
            state.extend(layer.added);
        }
        let text = |tree: &'static Tree, short: u64| {
            let name = self.store.get(tree, &short.to_be_bytes()).unwrap().unwrap();
            String::from_utf8_lossy(&name).into_owned()
        };
        let names = state.into_iter().map(|(key, event)| {
            (text(&trees::SHORTSTATEKEY_STATEKEY, key), text(&trees::SHORTEVENTID_EVENTID, event))
        });
        Some(names.collect())
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}
