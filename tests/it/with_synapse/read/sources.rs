//! What is read from a real Synapse, by its databases and by its APIs.

use std::{collections::BTreeMap, fs, path::Path};

use importer::dump::names;
use migration_tests::{
    command,
    lab::{Engine, Lab},
    tree,
};
use serde_json::{Map, Value};

/// Fields that the APIs don't give, by the kind of object they are in; `docs/dump-format.md` lists them.
const DATABASE_ONLY: &[&str] = &[
    "access_tokens",
    "appservices",
    "awaiting_approval",
    "creator",
    "device_list_stream_id",
    "dehydrated",
    "fallback_keys",
    "history",
    "media_store_path",
    "one_time_keys",
    "password_hash",
    "password_pepper",
    "stream",
];

/// Every document of a dump by its path. A room's `states` are spelled out, its outliers are sorted: how states are numbered
/// and what they are based on, and the order of outliers, is the source's choice.
fn documents(dump: &Path) -> BTreeMap<String, Value> {
    tree::read(dump)
        .unwrap()
        .into_iter()
        // Files of media are named in `media.jsonl`, with their hashes. Timelines are put into their rooms.
        .filter(|(path, _)| path != Path::new("manifest.json") && !path.starts_with("media"))
        .filter(|(path, _)| {
            names::timeline(&path.to_string_lossy()).is_some() || path == Path::new("media.jsonl")
        })
        .map(|(path, bytes)| {
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                return (path.to_string_lossy().into_owned(), media(&bytes));
            }
            let mut document: Value = serde_json::from_slice(&bytes).unwrap();
            if document.get("room_id").is_some() {
                document["timeline"] = timeline(&dump.join(&path));
            }
            spell_out_states(&mut document);
            for name in ["outliers", "timeline"] {
                let Some(Value::Array(events)) = document.get_mut(name) else { continue };
                // The APIs order by depth before arrival, which is another order where a room had several ends.
                let forked = |event: &Value| {
                    event["pdu"]["prev_events"].as_array().is_some_and(|p| p.len() > 1)
                };
                if name == "outliers" || events.iter().any(forked) {
                    events.sort_by_key(|event| event["event_id"].to_string());
                }
            }
            (path.to_string_lossy().into_owned(), document)
        })
        .collect()
}

/// The events of a room's timeline, by the path of the room's file.
fn timeline(room: &Path) -> Value {
    let path = names::timeline(&room.to_string_lossy()).unwrap();
    let lines = fs::read_to_string(path).unwrap();
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
}

/// The records of `media.jsonl` by their ids, without where their files are: that is the source's choice.
fn media(lines: &[u8]) -> Value {
    let records = serde_json::Deserializer::from_slice(lines).into_iter().skip(1);
    let records = records.map(|record: Result<Value, _>| {
        let mut record = record.unwrap();
        record.as_object_mut().unwrap().remove("path");
        (format!("{}/{}", record["server"], record["media_id"]), record)
    });
    Value::Object(records.collect())
}

type State = BTreeMap<(String, String), Value>;

fn spell_out_states(room: &mut Value) {
    let Some(room) = room.as_object_mut() else { return };
    let Some(Value::Array(states)) = room.remove("states") else { return };
    let mut known: BTreeMap<u64, State> = BTreeMap::new();
    for state in states {
        let mut whole = state["base"].as_u64().map(|base| known[&base].clone()).unwrap_or_default();
        let key = |entry: &Value| {
            (entry[0].as_str().unwrap().to_owned(), entry[1].as_str().unwrap().to_owned())
        };
        for entry in state["unset"].as_array().into_iter().flatten() {
            whole.remove(&key(entry));
        }
        for entry in state["set"].as_array().into_iter().flatten() {
            whole.insert(key(entry), entry[2].clone());
        }
        known.insert(state["id"].as_u64().unwrap(), whole);
    }
    let spelled = |id: &Value| -> Value {
        let entries = known[&id.as_u64().unwrap()].iter();
        entries.map(|((kind, key), event)| (format!("{kind}|{key}"), event.clone())).collect()
    };
    if let Some(current) = room.get("current_state") {
        let current = spelled(current);
        room.insert("current_state".to_owned(), current);
    }
    for event in room.get_mut("timeline").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(before) = event.get("state_before") {
            let before = spelled(before);
            event["state_before"] = before;
        }
    }
}

/// Removes what the APIs can't give.
fn without_database_only(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // Contents of events and account data are not ours to look into.
            fields.retain(|name, _| !DATABASE_ONLY.contains(&name.as_str()));
            fields
                .iter_mut()
                .filter(|(name, _)| !matches!(name.as_str(), "pdu" | "account_data"))
                .for_each(|(_, value)| without_database_only(value));
        }
        Value::Array(items) => items.iter_mut().for_each(without_database_only),
        _ => {}
    }
}

/// Paths at which two documents differ, with both values.
fn differences(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for name in names {
                let of =
                    |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                differences(&format!("{path}/{name}"), &of(a), &of(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}/{index}"), a, b, found);
            }
        }
        (a, b) if a != b => found.push(format!("{path}\n  {a}\n  {b}")),
        _ => {}
    }
}

fn all_differences(left: &BTreeMap<String, Value>, right: &BTreeMap<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    let value = |documents: &BTreeMap<String, Value>| {
        Value::Object(documents.clone().into_iter().collect())
    };
    differences("", &value(left), &value(right), &mut found);
    found
}

/// Whether a document is of a room that the server is not in, where all its users have this membership.
fn all_members(document: &Value, membership: &str) -> bool {
    let members = document["local_members"].as_array();
    document.get("room_id").is_some()
        && document.get("current_state").is_none()
        && members
            .is_some_and(|members| members.iter().all(|member| member["membership"] == membership))
}

#[test]
fn the_apis_give_what_the_database_gives() {
    let lab = Lab::start(Engine::Sqlite).unwrap();
    let [by_api, by_database] = ["api", "database"].map(|name| lab.directory().join(name));
    let manifest = command::dump(&lab.by_api(), &by_api).unwrap();
    let early = command::dump(&lab.by_database(), &lab.directory().join("early")).unwrap();
    assert_eq!(early["synapse_runs"], true);
    lab.stop().unwrap();
    command::dump(&lab.by_database(), &by_database).unwrap();

    let [mut left, mut right] = [documents(&by_api), documents(&by_database)];
    assert!(left.len() > lab.users() + lab.rooms());
    for documents in [&mut left, &mut right] {
        // Synapse lets no application service sync in its own name.
        documents.retain(|_, document| document["user_id"] != "@bridgebot:family.test");
        // Of rooms that the server was never in, the APIs don't show those whose invites were refused.
        documents.retain(|_, document| !all_members(document, "leave"));
    }
    // They show that somebody knocks at such a room, but not with which event: that is counted.
    let knocks: Vec<_> = right
        .iter()
        .filter(|(_, room)| all_members(room, "knock"))
        .map(|(path, _)| path.clone())
        .collect();
    let skipped = manifest["tally"]["skipped"].as_array().unwrap();
    let unknown = skipped.iter().filter(|skip| skip["reason"] == "event-unknown").count();
    assert_eq!((knocks.len(), unknown), (1, 1));
    for documents in [&mut left, &mut right] {
        assert!(documents.remove(&knocks[0]).is_some());
    }
    // The APIs can't give a file that Synapse has lost; the import will find that out.
    let lost = |_: &String, record: &mut Value| record["upload_name"] != "gone.txt";
    let records = right.get_mut("media.jsonl").and_then(Value::as_object_mut).unwrap();
    let number = records.len();
    records.retain(lost);
    assert_eq!(records.len() + 1, number);
    // A room with several ends and a fork that was joined is among them.
    let far = |room: &Value| {
        let joins = |event: &Value| {
            event["pdu"]["prev_events"].as_array().is_some_and(|events| events.len() > 1)
        };
        let ends = room["forward_extremities"].as_array().map_or(0, Vec::len);
        ends == 3 && room["timeline"].as_array().is_some_and(|events| events.iter().any(joins))
    };
    assert_eq!(right.values().filter(|document| far(document)).count(), 1);
    left.values_mut().chain(right.values_mut()).for_each(without_database_only);
    let found = all_differences(&left, &right);
    assert!(found.is_empty(), "{} differences: {found:#?}", found.len());

    // The comparison itself: it sees one changed state.
    let room = right.values_mut().find(|document| document.get("timeline").is_some()).unwrap();
    room["current_state"]["m.room.create|"] = "$other".into();
    assert_eq!(all_differences(&left, &right).len(), 1);
}

/// Synapse shows what an erased user said to those who were there, and less to those who came later. The dump holds what
/// these see.
#[test]
fn of_an_erased_user_the_dump_holds_what_later_joiners_see() {
    let lab = Lab::start(Engine::Sqlite).unwrap();
    let (dump, snapshot) = (lab.path("dump"), lab.path("snapshot.json"));
    lab.run("snapshot", &["--output", snapshot.to_str().unwrap()]).unwrap();
    lab.stop().unwrap();
    command::dump(&lab.by_database(), &dump).unwrap();

    let snapshot: Value = serde_json::from_slice(&fs::read(snapshot).unwrap()).unwrap();
    let room = |device: &str| snapshot["devices"][device]["join"]["of-kim"].clone();
    let seen_by = |device: &str, id: &str| {
        let history = room(device)["history"].as_object().unwrap().clone();
        let event = history.into_iter().find(|(name, _)| name.ends_with(id));
        event.unwrap_or_else(|| panic!("{device} does not see {id}")).1["content"].clone()
    };
    let present = room("hana/0")["state"].clone();
    let is_present = |id: &str| present.as_object().unwrap().values().any(|event| event == id);
    let mut pruned = Vec::new();
    let documents = documents(&dump);
    let events = documents.values().filter_map(|document| document["timeline"].as_array());
    for event in events.flatten().filter(|event| event["pdu"]["sender"] == "@kim:family.test") {
        let id = event["event_id"].as_str().unwrap();
        if event["erased"] == true {
            pruned.push(event["pdu"]["type"].as_str().unwrap());
            assert_eq!(event["pdu"]["content"], seen_by("hana/0", id));
        } else {
            // The present state, of which all see the whole; what has nothing to lose; what was redacted.
            assert!(
                is_present(id) || seen_by("ben/0", id) == seen_by("hana/0", id),
                "{id} shows more than before"
            );
        }
    }
    pruned.sort_unstable();
    assert_eq!(
        pruned,
        [
            "m.reaction",
            "m.room.message",
            "m.room.power_levels",
            "m.room.redaction",
            "test.family.recipe"
        ]
    );
}

#[test]
fn both_databases_hold_the_same_story() {
    let [sqlite, postgres] = [Engine::Sqlite, Engine::Postgres].map(|engine| {
        let lab = Lab::start(engine).unwrap();
        let manifest = command::dump(&lab.by_database(), &lab.directory().join("dump")).unwrap();
        // The ids are random, the shape is not: names of all fields, and how often they occur.
        let mut shape = BTreeMap::new();
        for document in documents(&lab.directory().join("dump")).values() {
            fields(document, &mut shape);
        }
        // What two servers say at the same moment is counted as unread or not by who was faster.
        let mut tally = manifest["tally"].clone();
        // Nor does everybody's message find the same number of states before it.
        for counts in ["read", "written"] {
            for kind in ["unread-count", "state"] {
                tally[counts].as_object_mut().unwrap().remove(kind).unwrap();
            }
        }
        for name in ["unread", "highlights", "notifications", "room_id"] {
            shape.remove(name).unwrap();
        }
        for skip in tally["skipped"].as_array_mut().unwrap() {
            if skip["reason"] == "not-uploaded" {
                skip["item"] = "an id".into();
            }
        }
        // They were sorted by ids.
        let skipped = tally["skipped"].as_array_mut().unwrap();
        skipped.sort_by_key(|skip| skip["item"].to_string());
        // The laboratory can make an upload look old with SQLite only.
        shape.remove("unauthenticated");
        (tally, shape)
    });
    assert_eq!(sqlite.0, postgres.0);
    let other: Vec<_> =
        sqlite.1.iter().filter(|(name, n)| postgres.1.get(*name) != Some(n)).collect();
    assert!(other.is_empty() && sqlite.1.len() == postgres.1.len(), "{other:?}");
}

fn fields(value: &Value, counts: &mut BTreeMap<String, usize>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                // Names that are ids are left out.
                if !name.contains([':', '$', '!', '/', '|']) && name.len() < 30 {
                    let count = counts.entry(name.clone()).or_default();
                    *count = count.saturating_add(1);
                }
                fields(value, counts);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, counts)),
        _ => {}
    }
}

#[test]
fn a_dump_is_the_same_each_time() {
    let lab = Lab::stopped().unwrap();
    let [first, second] = ["first", "second"].map(|name| {
        let directory = lab.directory().join(name);
        command::dump(&lab.by_database(), &directory).unwrap();
        let mut files = tree::read(&directory).unwrap();
        // It says when it was made.
        files.remove(Path::new("manifest.json")).unwrap();
        files
    });
    assert!(first == second, "two dumps of a stopped Synapse differ");
}

#[test]
fn a_dump_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let lab = Lab::stopped().unwrap();
    let dump = lab.directory().join("dump");
    let dumped = command::dump(&lab.by_database(), &dump).unwrap();
    assert_eq!(dumped["synapse_runs"], false);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dump), 0o700);
    for path in tree::read(&dump).unwrap().keys() {
        assert_eq!(mode(&dump.join(path)), 0o600, "{}", path.display());
    }
}
