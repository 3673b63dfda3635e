//! A family's Synapse from its database and its APIs to a Conduit database.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Output,
};

use importer::{
    conduit::{
        kv::{self, Backend, Mode},
        trees::TREES,
    },
    dump::{DumpReader, format::DumpRemoteReceipt},
};
use migration_tests::lab::{Lab, importer};
use serde_json::Value;

type Rows = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

fn rows(backend: Backend, directory: &Path) -> Rows {
    let store = kv::open(backend, directory, Mode::Read).unwrap();
    let mut rows = Rows::new();
    for tree in TREES {
        for row in store.scan(tree, &[]).unwrap() {
            let (key, value) = row.unwrap();
            rows.insert((tree.name, key.to_vec()), value.to_vec());
        }
    }
    rows
}

fn expect(output: &Output, code: i32, text: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(text), "{text:?} not in {said}");
}

/// Everything about users that both sources can give, as JSON.
fn users(dump: &DumpReader) -> BTreeMap<String, Value> {
    let database_only = ["password_hash", "awaiting_approval", "device_list_stream_id"];
    let of_devices = [
        "access_tokens",
        "one_time_keys",
        "fallback_keys",
        "to_device",
        "last_seen_ts",
        "last_seen_ip",
    ];
    dump.users()
        .map(|user| {
            let user = user.unwrap();
            let id = user.user_id.to_string();
            let mut json = serde_json::to_value(user).unwrap();
            let object = json.as_object_mut().unwrap();
            for name in database_only {
                object.remove(name);
            }
            for device in
                object.get_mut("devices").and_then(Value::as_array_mut).into_iter().flatten()
            {
                for name in of_devices {
                    device.as_object_mut().unwrap().remove(name);
                }
            }
            (id, json)
        })
        .collect()
}

/// Timeline events of each room by id, with their redactions.
fn timelines(dump: &DumpReader) -> BTreeMap<String, BTreeMap<String, Value>> {
    dump.rooms()
        .map(|room| {
            let mut room = room.unwrap();
            let id = room.head().room_id.to_string();
            let events = room.timeline().unwrap().map(|event| {
                let event = event.unwrap();
                let pdu: Value = serde_json::from_str(event.pdu.get()).unwrap();
                (event.event_id.to_string(), serde_json::json!([pdu, event.redacted_by]))
            });
            (id, events.collect())
        })
        .collect()
}

/// Other servers' receipts, by room.
fn receipts(dump: &DumpReader) -> BTreeMap<String, BTreeSet<DumpRemoteReceipt>> {
    dump.rooms()
        .map(|room| {
            let mut room = room.unwrap();
            let id = room.head().room_id.to_string();
            (id, room.receipts().unwrap().map(Result::unwrap).collect::<BTreeSet<_>>())
        })
        .filter(|(_, receipts)| !receipts.is_empty())
        .collect()
}

#[test]
fn a_synapse_becomes_a_conduit_database() {
    let lab = Lab::start().unwrap();
    let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let (api, database) = (path("dump-api"), path("dump"));
    let token_file = lab.note("admin_token_file");
    let by_api = |token: &str, dump: &str| {
        importer(&[
            "dump",
            "--homeserver",
            lab.note("base_url"),
            "--admin-token-file",
            token,
            "--signing-key",
            lab.note("signing_key"),
            "--dump",
            dump,
        ])
        .unwrap()
    };
    expect(&by_api(token_file, &api), 0, "");
    let wrong_token = path("wrong-token");
    std::fs::write(&wrong_token, "not-a-token").unwrap();
    expect(&by_api(&wrong_token, &path("none")), 3, "token");

    lab.stop().unwrap();
    expect(
        &by_api(token_file, &path("none")),
        3,
        lab.note("base_url").trim_start_matches("http://"),
    );
    let config = lab.note("config");
    expect(&importer(&["dump", "--synapse-config", config, "--dump", &database]).unwrap(), 0, "");
    let again = importer(&["dump", "--synapse-config", config, "--dump", &database]).unwrap();
    expect(&again, 5, "not empty");

    // The two sources agree on what both can give.
    let [from_api, from_database] =
        [&api, &database].map(|dump| DumpReader::open(Path::new(dump), |_| {}).unwrap());
    let [mut by_api, mut by_database] = [users(&from_api), users(&from_database)];
    for users in [&mut by_api, &mut by_database] {
        // Synapse lets no application service sync in its own name.
        users.remove("@bridgebot:family.test");
    }
    assert_eq!(by_api, by_database);
    let [seen, stored] = [receipts(&from_api), receipts(&from_database)];
    assert_eq!(seen, stored);
    assert_eq!(
        stored.values().map(BTreeSet::len).sum::<usize>(),
        2,
        "one in each room that Olga is in and has read"
    );
    // Of rooms that the server was never in, the APIs don't show those whose invites were refused.
    let [ours, theirs] = [&from_api, &from_database].map(|dump| {
        let mut timelines = timelines(dump);
        timelines.retain(|_, events| !events.is_empty());
        timelines
    });
    assert!(ours.keys().eq(theirs.keys()), "the sources name different rooms");
    for (room, events) in &theirs {
        // How far the newest events reach back is the source's choice.
        for (id, event) in events {
            if let Some(other) = ours[room].get(id) {
                assert_eq!(other, event, "{id}");
            }
        }
        assert!(ours[room].keys().any(|id| events.contains_key(id)) || events.is_empty());
    }

    // The same dump gives the same rows, whatever the engine.
    let import = |target: &str, backend: &str| {
        let arguments = ["import", "--dump", &database, "--database", target, "--backend", backend];
        importer(&arguments).unwrap()
    };
    let targets = ["rocks", "again", "sqlite"].map(path);
    expect(&import(&targets[0], "rocksdb"), 0, "");
    expect(&import(&targets[0], "rocksdb"), 5, "not empty");
    expect(&import(&targets[1], "rocksdb"), 0, "");
    expect(&import(&targets[2], "sqlite"), 0, "");
    let first = rows(Backend::Rocksdb, Path::new(&targets[0]));
    assert!(first.len() > 3000);
    assert!(first == rows(Backend::Rocksdb, Path::new(&targets[1])), "a second import differs");
    assert!(first == rows(Backend::Sqlite, Path::new(&targets[2])), "the engines differ");

    // `verify` finds it clean, and notices what was changed behind its back.
    let verify = || importer(&["verify", "--dump", &database, "--database", &targets[2]]).unwrap();
    expect(&verify(), 0, "");
    let sqlite = std::process::Command::new("python3")
        .args([
            "-c",
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
               c.execute('delete from userid_displayname'); c.commit()",
        ])
        .arg(Path::new(&targets[2]).join("conduit.db"))
        .status()
        .unwrap();
    assert!(sqlite.success());
    let changed = verify();
    assert_eq!(changed.status.code(), Some(10));
    assert!(String::from_utf8_lossy(&changed.stdout).contains("V203"), "{changed:?}");

    // A damaged dump is refused, and leaves no target.
    std::fs::write(Path::new(&database).join("server.json"), "{}").unwrap();
    expect(&import(&path("damaged"), "rocksdb"), 4, "server.json");
    assert!(!Path::new(&path("damaged")).exists());
}
