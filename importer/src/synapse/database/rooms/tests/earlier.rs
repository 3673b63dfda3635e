//! Histories that are taken over from an earlier dump.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::{CREATE, JOIN, current, extremity, room};
use crate::{
    dump::{DumpReader, Extent, History, format::Manifest},
    progress::Progress,
    source::dump::dump,
    synapse::{
        config::{DatabaseConfig, SynapseConfig},
        database::{
            DatabaseSource,
            testing::{Fixture, NOW, NewEvent, config},
        },
    },
};

/// Two rooms, to be changed or not. In the first one an event will expire.
fn two_rooms() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.sql("CREATE TABLE event_expiry (event_id TEXT, expiry_ts BIGINT)");
    fixture.sql("CREATE TABLE partial_state_rooms (room_id TEXT)");
    room(&mut fixture);
    for (id, prev, soft_failed) in
        [("$one", "$join", false), ("$two", "$one", false), ("$failed", "$two", true)]
    {
        fixture.event(&NewEvent {
            id,
            sender: "@bob:foreign.test",
            prev: &[prev],
            auth: &["$create", "$join"],
            content: json!({"body": id}),
            metadata: if soft_failed { json!({"soft_failed": true}) } else { json!({}) },
            group: Some(2),
            ..NewEvent::default()
        });
    }
    fixture.event(&NewEvent { id: "$outlier", outlier: true, ..NewEvent::default() });
    fixture.sql("INSERT INTO event_expiry VALUES ('$two', 1)");
    current(&mut fixture, &[CREATE, JOIN]);
    extremity(&mut fixture, "$two");

    let other = "!other:own.test";
    fixture.sql(&format!("INSERT INTO rooms VALUES ('{other}', FALSE, '10')"));
    for (id, kind, state_key, prev, group) in [
        ("$create2", "m.room.create", "", &[][..], 11),
        ("$join2", "m.room.member", "@alice:own.test", &["$create2"], 12),
    ] {
        let event = NewEvent {
            id,
            kind,
            state_key: Some(state_key),
            prev,
            group: Some(group),
            content: json!({"membership": "join"}),
            ..NewEvent::default()
        };
        fixture.event_in(other, &event);
        let previous = (group == 12).then_some(11);
        fixture.group(group, previous, &[(kind, state_key, id)]);
        fixture.sql(&format!(
            "INSERT INTO current_state_events VALUES ('{id}', '{other}', '{kind}', '{state_key}')"
        ));
    }
    fixture.sql(&format!("INSERT INTO event_forward_extremities VALUES ('$join2', '{other}')"));
    fixture.sql(&format!(
        "INSERT INTO local_current_membership VALUES ('{other}', '@alice:own.test', '$join2', 'join')"
    ));
    fixture.sql("INSERT INTO room_memberships (event_id, forgotten) VALUES ('$join2', 0)");
    fixture
}

async fn dump_into(
    config: &SynapseConfig,
    history: History,
    directory: &Path,
    earlier: Option<&Path>,
) -> Manifest {
    let extent = Extent { history, ..Extent::FULL };
    let mut source = DatabaseSource::open(config, extent, NOW).await.unwrap();
    let earlier = earlier.map(|earlier| DumpReader::open(earlier, |_| {}).unwrap());
    let never = std::future::pending();
    dump(&mut source, directory, earlier, NOW, &Progress::Hidden, never).await.unwrap()
}

/// All that a dump holds, but how much of it was taken over.
fn content(directory: &Path, manifest: &Manifest) -> BTreeMap<String, Vec<u8>> {
    DumpReader::open(directory, |_| {}).unwrap();
    let mut manifest = manifest.clone();
    manifest.since = None;
    let files = manifest.files.iter().map(|file| file.path.clone());
    let read = |path: String| {
        let bytes = std::fs::read(directory.join(&path)).unwrap();
        (path, bytes)
    };
    let mut content: BTreeMap<_, _> = files.map(read).collect();
    content.insert("manifest.json".into(), serde_json::to_vec(&manifest).unwrap());
    content
}

/// Dumps, makes the changes, and dumps again, once anew and once with the earlier dump. Both must be the same. Returns how much was
/// taken over.
async fn taken_over(before: &[&str], changes: &[&str]) -> Value {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let mut fixture = two_rooms();
    for statement in before {
        fixture.sql(statement);
    }
    let database = fixture.sqlite(scratch.path());
    let DatabaseConfig::Sqlite { path: file } = &database else { panic!("{database:?}") };
    let config = config(database.clone());
    dump_into(&config, History::Full, &path("old"), None).await;
    rusqlite::Connection::open(file).unwrap().execute_batch(&changes.join(";")).unwrap();
    let anew = dump_into(&config, History::Full, &path("anew"), None).await;
    let since = dump_into(&config, History::Full, &path("since"), Some(&path("old"))).await;
    assert!(
        content(&path("anew"), &anew) == content(&path("since"), &since),
        "{changes:?} leave another dump"
    );
    serde_json::to_value(since.since).unwrap()
}

async fn rooms_taken_over(changes: &[&str]) -> u64 {
    let since = taken_over(&[], changes).await;
    assert_eq!(since["refused"], Value::Null, "{changes:?}");
    since["rooms"].as_u64().unwrap()
}

#[tokio::test]
async fn a_room_in_which_nothing_happened_is_taken_over() {
    let since = taken_over(&[], &[]).await;
    assert_eq!(since, json!({"created_ts": NOW, "rooms": 2, "events": 6}));
    // What is no part of a history is read anew.
    for changes in [
        "INSERT INTO receipts_linearized VALUES (1, '!room:own.test', 'm.read', '@bob:foreign.test', '$two', '{\"ts\": 5}', NULL, NULL)",
        "INSERT INTO room_aliases VALUES ('#a:own.test', '!room:own.test', NULL)",
        "UPDATE rooms SET is_public = TRUE",
        "UPDATE room_memberships SET forgotten = 1",
        "DELETE FROM event_forward_extremities",
        "INSERT INTO users (name, creation_ts) VALUES ('@new:own.test', 1)",
        // Synapse forgets the state when the last local user leaves; that of the newest event is the same.
        "DELETE FROM current_state_events WHERE room_id = '!room:own.test'",
    ] {
        assert_eq!(rooms_taken_over(&[changes]).await, 2, "{changes}");
    }
}

#[tokio::test]
async fn a_room_in_which_anything_happened_is_read_anew() {
    let new = "INSERT INTO events VALUES (50, 9, '$new', 'm.room.message', '!room:own.test', FALSE, 1, '@bob:foreign.test'); \
               INSERT INTO event_json SELECT '$new', internal_metadata, json, 3 FROM event_json WHERE event_id = '$one'; \
               INSERT INTO event_to_state_groups VALUES ('$new', 2)";
    for changes in [
        new,
        // A server that was down is sent older events.
        &new.replace("50, 9", "-5, 2"),
        // History was purged.
        "DELETE FROM events WHERE event_id = '$one'; DELETE FROM event_json WHERE event_id = '$one'",
        "UPDATE events SET outlier = TRUE WHERE event_id = '$one'",
        // An event from outside of the timeline got its place.
        "UPDATE events SET outlier = FALSE WHERE event_id = '$outlier'",
        "DELETE FROM events WHERE event_id = '$outlier'",
        "INSERT INTO rejections VALUES ('$two')",
        "INSERT INTO redactions VALUES ('$two', '$one')",
        "INSERT INTO room_ban_redactions VALUES ('!room:own.test', '@bob:foreign.test', '$two', NULL)",
        "INSERT INTO erased_users VALUES ('@bob:foreign.test')",
        "DELETE FROM event_expiry; \
         UPDATE event_json SET json = replace(json, '\"body\":\"$two\"', '') WHERE event_id = '$two'",
        // The same number of events, none of them newer.
        "UPDATE events SET event_id = '$more' WHERE event_id = '$two'; \
         UPDATE event_json SET event_id = '$more' WHERE event_id = '$two'; \
         UPDATE event_to_state_groups SET event_id = '$more' WHERE event_id = '$two'",
        "UPDATE events SET stream_ordering = 7 - stream_ordering WHERE event_id IN ('$one', '$two')",
        // The head, as far as the history goes by it.
        "UPDATE rooms SET room_version = '11' WHERE room_id = '!room:own.test'",
        "DELETE FROM current_state_events WHERE event_id = '$join'",
        "UPDATE local_current_membership SET event_id = '$one' WHERE event_id = '$join'",
        "INSERT INTO partial_state_rooms VALUES ('!room:own.test')",
    ] {
        assert_eq!(rooms_taken_over(&[changes]).await, 1, "{changes}");
    }
}

#[tokio::test]
async fn what_may_change_unseen_is_not_taken_over() {
    let rooms = async |before: &[&str], changes: &[&str]| {
        taken_over(before, changes).await["rooms"].as_u64().unwrap()
    };
    // A room that was joined partially: its events' states were not known yet.
    let partial = "INSERT INTO partial_state_rooms VALUES ('!room:own.test')";
    assert_eq!(rooms(&[partial], &["DELETE FROM partial_state_rooms"]).await, 1);
    // Somebody may bring back what is damaged.
    let damaged = "UPDATE event_json SET json = '{' WHERE event_id = '$one'";
    assert_eq!(rooms(&[damaged], &[]).await, 1);
}

#[tokio::test]
async fn nothing_is_taken_over_from_another_kind_of_dump() {
    let pending = "INSERT INTO background_updates VALUES ('something')";
    for (before, change, words) in [
        (
            &[][..],
            "UPDATE schema_version SET version = 93",
            "Synapse has been updated since, and its tables with it",
        ),
        (
            &[pending],
            "DELETE FROM background_updates",
            "Synapse was still changing its tables when the earlier dump was made (`something`)",
        ),
        (&[], pending, "Synapse is still changing its tables (`something`)"),
    ] {
        let since = taken_over(before, &[change]).await;
        assert_eq!(since, json!({"created_ts": NOW, "rooms": 0, "events": 0, "refused": words}));
    }

    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let config = config(two_rooms().sqlite(scratch.path()));
    dump_into(&config, History::Recent, &path("recent"), None).await;
    dump_into(&config, History::Full, &path("full"), None).await;
    let again = |history, name: &'static str, earlier: &'static str| {
        let (config, to, earlier) = (&config, path(name), path(earlier));
        async move { dump_into(config, history, &to, Some(&earlier)).await.since.unwrap() }
    };
    let words = "both dumps must be made with `--history full`";
    assert_eq!(again(History::Full, "1", "recent").await.refused.unwrap(), words);
    assert_eq!(again(History::Recent, "2", "full").await.refused.unwrap(), words);

    let manifest = path("full").join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let version = format!("\"importer\": \"{}\"", crate::version::version_and_commit());
    assert!(text.contains(&version));
    std::fs::write(&manifest, text.replace(&version, "\"importer\": \"0.0.1\"")).unwrap();
    let refused = again(History::Full, "3", "full").await.refused.unwrap();
    assert!(refused.starts_with("it was made by importer 0.0.1, and this is "), "{refused}");
}

#[tokio::test]
async fn a_dump_of_another_server_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let mine = config(two_rooms().sqlite(scratch.path()));
    dump_into(&mine, History::Full, &path("old"), None).await;
    let manifest = path("old").join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"own.test\"", "\"foreign.test\"")).unwrap();
    let mut source = DatabaseSource::open(&mine, Extent::FULL, NOW).await.unwrap();
    let earlier = Some(DumpReader::open(&path("old"), |_| {}).unwrap());
    let never = std::future::pending();
    let error = dump(&mut source, &path("new"), earlier, NOW, &Progress::Hidden, never)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("is of foreign.test, not of own.test"), "{error}");
    assert!(!path("new").exists());
}
