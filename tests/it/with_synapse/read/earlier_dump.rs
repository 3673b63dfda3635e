//! `--since`: what a real Synapse does between two dumps, and what is taken over from the first one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use migration_tests::{
    command,
    lab::{Engine, Lab},
    past::Past,
    tree,
};
use reqwest::Method;
use serde_json::{Value, json};

/// What a dump says, but when it was made and what of it was taken over.
fn content_of(dump: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree::read(dump).unwrap();
    let manifest = files.remove(Path::new("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for name in ["created_ts", "since"] {
        manifest.as_object_mut().unwrap().remove(name);
    }
    let named = files.into_iter().map(|(path, bytes)| (path.to_string_lossy().into_owned(), bytes));
    let mut content: BTreeMap<_, _> = named.collect();
    content.insert("manifest.json".into(), serde_json::to_vec(&manifest).unwrap());
    content
}

/// Names of files whose content differs.
fn differing(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names = one.keys().chain(other.keys());
    let mut names: Vec<_> =
        names.filter(|name| one.get(*name) != other.get(*name)).cloned().collect();
    names.dedup();
    names
}

/// Rooms whose timelines are the files of another dump.
fn linked(dump: &Path) -> BTreeSet<String> {
    let rooms = fs::read_dir(dump.join("rooms")).unwrap().map(|entry| entry.unwrap().path());
    let is_linked = |timeline: &PathBuf| {
        timeline.to_string_lossy().ends_with(".timeline.jsonl")
            && timeline.metadata().unwrap().nlink() > 1
    };
    let id = |timeline: PathBuf| {
        let room = timeline.to_string_lossy().replace(".timeline.jsonl", ".json");
        let room: Value = serde_json::from_slice(&fs::read(room).unwrap()).unwrap();
        room["room_id"].as_str().unwrap().to_owned()
    };
    rooms.filter(is_linked).map(id).collect()
}

/// A dump that is made when a Synapse whose database is new has finished its background updates.
async fn dump_when_settled(lab: &Lab, to: &Path) -> Value {
    for _ in 0..60 {
        let printed = command::dump(&lab.by_database(), to).unwrap();
        let manifest = fs::read(to.join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        if manifest["source"].get("pending_updates").is_none() {
            return printed;
        }
        fs::remove_dir_all(to).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("background updates don't end");
}

/// A room of the story that only its creator uses from now on, and one event in it.
async fn new_room(past: &Past, ada: &str) -> (String, String) {
    let body = json!({"preset": "private_chat", "name": "Quiet"});
    let room = past.create("11", body, ada).await.unwrap();
    let content = json!({"msgtype": "m.text", "body": "What nobody knows"});
    let event = past.send(&room, "m.room.message", None, content, ada).await.unwrap();
    (room, event)
}

async fn rooms_are_read_anew_where_something_happened(engine: Engine) {
    let mut lab = Lab::start(engine).unwrap();
    let past = Past::of(&lab).unwrap();
    let (ada, ben) = (lab.access_token("ada").to_owned(), lab.access_token("ben").to_owned());
    let bens_id = format!("@ben:{}", lab.note("server_name"));
    let mut rooms = Vec::new();
    for _ in 0..5 {
        rooms.push(new_room(&past, &ada).await);
    }
    let [(quiet, _), (message, _), (redaction, redacted), (purge, _), (erasure, _)] = &rooms[..]
    else {
        panic!("{rooms:?}");
    };
    let ask = async |method, path: &[&str], body, token: Option<&str>| {
        let (status, answer) = past.ask(method, path, &[], Some(body), token).await.unwrap();
        assert!(status.is_success(), "{answer}");
        answer
    };
    let mut said = Vec::new();
    for number in 0..3 {
        let content = json!({"msgtype": "m.text", "body": format!("Message {number}")});
        said.push(past.send(purge, "m.room.message", None, content, &ada).await.unwrap());
    }
    let invite = ["_matrix", "client", "v3", "rooms", erasure, "invite"];
    ask(Method::POST, &invite, json!({"user_id": bens_id}), Some(&ada)).await;
    past.go(erasure, "join", &ben).await.unwrap();
    let content = json!({"msgtype": "m.text", "body": "Ben's"});
    past.send(erasure, "m.room.message", None, content, &ben).await.unwrap();

    let (old, anew, since) = (lab.path("old"), lab.path("anew"), lab.path("since"));
    let before = dump_when_settled(&lab, &old).await;

    let content = json!({"msgtype": "m.text", "body": "Something new"});
    past.send(message, "m.room.message", None, content, &ada).await.unwrap();
    let path = ["_matrix", "client", "v3", "rooms", redaction, "redact", redacted, "1"];
    ask(Method::PUT, &path, json!({}), Some(&ada)).await;
    let path = ["_synapse", "admin", "v1", "purge_history", purge, &said[1]];
    let purged = ask(Method::POST, &path, json!({"delete_local_events": true}), None).await;
    let id = purged["purge_id"].as_str().unwrap();
    let path = ["_synapse", "admin", "v1", "purge_history_status", id];
    while past.ask(Method::GET, &path, &[], None, None).await.unwrap().1["status"] == "active" {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let path = ["_synapse", "admin", "v1", "deactivate", &bens_id];
    ask(Method::POST, &path, json!({"erase": true}), None).await;
    // What Synapse still has to write, such as when a device was last seen, it writes when it stops.
    lab.stop().unwrap();
    lab.resume_database().unwrap();

    command::dump(&lab.by_database(), &anew).unwrap();
    let printed = command::dump_since(&lab.by_database(), &since, &old).unwrap();
    assert_eq!(differing(&content_of(&anew), &content_of(&since)), [""; 0]);
    assert_eq!(printed["since"].get("refused"), None, "{printed}");
    let taken_over = linked(&since);
    assert_eq!(printed["since"]["rooms"].as_u64(), u64::try_from(taken_over.len()).ok());
    for room in [message, redaction, purge, erasure] {
        assert!(!taken_over.contains(room), "{room}");
    }
    assert!(taken_over.contains(quiet));
    let all = before["tally"]["written"]["room"].as_u64().unwrap();
    assert!(taken_over.len() > 5, "{} of {all}", taken_over.len());
}

#[tokio::test]
async fn rooms_of_a_sqlite_database_are_read_anew_where_something_happened() {
    rooms_are_read_anew_where_something_happened(Engine::Sqlite).await;
}

#[tokio::test]
async fn rooms_of_a_postgres_database_are_read_anew_where_something_happened() {
    rooms_are_read_anew_where_something_happened(Engine::Postgres).await;
}

#[test]
fn an_earlier_dump_that_is_damaged_or_none_is_refused() {
    let lab = Lab::stopped().unwrap();
    let (old, new) = (lab.path("old"), lab.path("new"));
    let refused = |words: &[&str]| {
        let mut arguments = vec!["dump".to_owned()];
        arguments.extend(lab.by_database());
        for (option, path) in [("--dump", &new), ("--since", &old)] {
            arguments.extend([option.to_owned(), path.to_str().unwrap().to_owned()]);
        }
        command::run(arguments).unwrap().failed(4, words).unwrap();
        assert!(!new.exists());
    };
    refused(&["holds no manifest.json", "leave out `--since`"]);
    command::dump(&lab.by_database(), &old).unwrap();
    let rooms = fs::read_dir(old.join("rooms")).unwrap();
    let file = rooms.map(|entry| entry.unwrap().path()).min().unwrap();
    fs::write(&file, b"{}").unwrap();
    refused(&["is not the file that was dumped", "leave out `--since`"]);
}
