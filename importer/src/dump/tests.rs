use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{json, value::RawValue};
use tempfile::TempDir;

use super::{
    DumpReader, DumpWriter, ReadError, WriteError,
    format::{
        self, DumpEvent, DumpRoom, DumpServer, DumpSigningKey, DumpState, DumpUser, Manifest,
        SourceInfo, SourceKind,
    },
    names,
};
use crate::{fs::atomic_dir::PartialError, tally::Tally};

const ROOM: &str = "!a/..:example.org";

fn server() -> DumpServer {
    DumpServer {
        server_name: "example.org".into(),
        signing_key: DumpSigningKey { version: "a_AbCd".into(), seed: "c2VlZA".into() },
        old_signing_keys: Vec::new(),
        password_pepper: Some("s4lt-and".into()),
        media_store_path: None,
        appservices: Vec::new(),
        blocked_rooms: Vec::new(),
    }
}

fn user() -> DumpUser {
    serde_json::from_value(json!({
        "user_id": "@alice:example.org",
        "password_hash": "$2b$12$hash",
        "push_rules": {"global": {}},
        "devices": [{"device_id": "D", "access_tokens": [{"token": "syt_secret"}]}],
    }))
    .unwrap()
}

fn room() -> DumpRoom {
    serde_json::from_value(json!({"room_id": ROOM, "room_version": "10"})).unwrap()
}

fn state() -> DumpState {
    serde_json::from_value(json!({"id": 1, "set": [["m.room.create", "", "$create"]]})).unwrap()
}

fn event(id: &str, pdu: &str) -> DumpEvent {
    DumpEvent {
        event_id: id.try_into().unwrap(),
        state_before: None,
        redacted_by: None,
        erased: false,
        stream: None,
        soft_failed: false,
        pdu: RawValue::from_string(pdu.into()).unwrap(),
    }
}

fn manifest() -> Manifest {
    Manifest {
        census: None,
        version: format::VERSION,
        server_name: "example.org".into(),
        created_ts: 1,
        source: SourceInfo {
            kind: SourceKind::Sqlite,
            synapse_version: None,
            schema_version: Some(94),
            extent: None,
            pending_updates: Vec::new(),
        },
        importer: None,
        since: None,
        tally: Tally::default(),
        files: Vec::new(),
    }
}

fn write() -> (TempDir, std::path::PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    writer.server(&server()).unwrap();
    writer.user(&user()).unwrap();
    let mut file = writer.room(&room()).unwrap();
    file.state(&state()).unwrap();
    file.timeline(&event("$one", "{\"a\":\n1}")).unwrap();
    file.timeline(&event("$two", r#"{"b":"]}"}"#)).unwrap();
    writer.finish_room(file).unwrap();
    writer.finish(manifest()).unwrap();
    (scratch, directory)
}

fn open(directory: &Path) -> Result<DumpReader, ReadError> {
    DumpReader::open(directory, |_| {})
}

#[test]
fn what_is_written_is_read() {
    let (_scratch, directory) = write();
    let dump = open(&directory).unwrap();
    let to_json = |value: &dyn erased::Json| value.json();
    assert_eq!(to_json(&dump.server().unwrap()), to_json(&server()));
    let users: Vec<_> = dump.users().map(|user| to_json(&user.unwrap())).collect();
    assert_eq!(users, [to_json(&user())]);
    let mut rooms: Vec<_> = dump.rooms().map(Result::unwrap).collect();
    assert_eq!(rooms.len(), 1);
    let read = &mut rooms[0];
    assert_eq!(to_json(read.head()), to_json(&room()));
    assert_eq!(read.states().unwrap().map(Result::unwrap).collect::<Vec<_>>(), [state()]);
    assert_eq!(read.outliers().unwrap().count(), 0);
    let timeline: Vec<_> = read.timeline().unwrap().map(|e| to_json(&e.unwrap())).collect();
    let expected = [event("$one", "{\"a\":1}"), event("$two", r#"{"b":"]}"}"#)];
    assert_eq!(timeline, expected.map(|event| to_json(&event)));
}

/// Compares types that hold secrets or raw JSON, which have no equality.
mod erased {
    pub(super) trait Json {
        fn json(&self) -> serde_json::Value;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> serde_json::Value {
            serde_json::to_value(self).unwrap()
        }
    }
}

#[test]
fn sections_that_are_not_read_are_passed_over() {
    let (_scratch, directory) = write();
    let dump = open(&directory).unwrap();
    let mut room = dump.rooms().next().unwrap().unwrap();
    assert_eq!(room.receipts().unwrap().count(), 0);
    assert!(matches!(room.states().err(), Some(ReadError::Layout { .. })));
    assert_eq!(room.timeline().unwrap().count(), 2);
}

#[test]
fn a_room_file_is_one_json_document_and_its_timeline_json_lines() {
    let (_scratch, directory) = write();
    let path = names::room(ROOM);
    let text = fs::read(directory.join(&path)).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&document["outliers"], document.get("timeline")), (&json!([]), None));
    let text = fs::read_to_string(directory.join(names::timeline(&path).unwrap())).unwrap();
    let ids: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event_id"].clone())
        .collect();
    assert_eq!(ids, ["$one", "$two"]);
}

#[test]
fn a_large_file_is_written_whole_and_in_order() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    writer.server(&server()).unwrap();
    let mut file = writer.room(&room()).unwrap();
    let body = "x".repeat(1000);
    for number in 0..3000 {
        file.timeline(&event(&format!("${number}"), &json!({"body": body}).to_string())).unwrap();
    }
    writer.finish_room(file).unwrap();
    writer.finish(manifest()).unwrap();
    let room = open(&directory).unwrap().rooms().next().unwrap().unwrap();
    let ids: Vec<_> = room.timeline().unwrap().map(|event| event.unwrap().event_id).collect();
    let expected: Vec<_> = (0..3000).map(|number| format!("${number}")).collect();
    assert_eq!(ids, expected);
}

/// What is read of messages for these devices, in this order.
fn messages(devices: &[&str]) -> Result<Vec<String>, ReadError> {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    writer.server(&server()).unwrap();
    writer.user(&user()).unwrap();
    let mut file = writer.messages(&user().user_id);
    for (number, device) in devices.iter().enumerate() {
        let message = json!({"device_id": device, "message": {"number": number}});
        file.message(&serde_json::from_value(message).unwrap()).unwrap();
    }
    writer.finish_messages(file).unwrap();
    let manifest = writer.finish(manifest()).unwrap();
    assert_eq!(manifest.files.len(), if devices.is_empty() { 2 } else { 3 });
    let dump = open(&directory).unwrap();
    assert_eq!(
        dump.users().map(|user| user.unwrap().user_id).collect::<Vec<_>>(),
        [user().user_id]
    );
    dump.messages(&user().user_id)?
        .map(|message| message.map(|m| format!("{} {}", m.device_id, m.message)))
        .collect()
}

#[test]
fn messages_of_a_device_follow_each_other() {
    assert_eq!(messages(&[]).unwrap(), [""; 0]);
    assert_eq!(
        messages(&["D", "D", "B"]).unwrap(),
        ["D {\"number\":0}", "D {\"number\":1}", "B {\"number\":2}"]
    );
    let error = messages(&["D", "B", "D"]).unwrap_err();
    assert!(matches!(&error, ReadError::Layout { line: 3, .. }), "{error}");
}

#[test]
fn a_room_without_its_timeline_is_an_error() {
    let (_scratch, directory) = write();
    let timeline = names::timeline(&names::room(ROOM)).unwrap();
    fs::rename(directory.join(&timeline), directory.join("users/timeline.jsonl")).unwrap();
    edit_manifest(&directory, &timeline, "users/timeline.jsonl");
    let dump = open(&directory).unwrap();
    let error = dump.rooms().next().unwrap().unwrap_err();
    assert!(matches!(&error, ReadError::Missing { path } if *path == timeline), "{error}");
}

#[test]
fn only_the_owner_can_read_a_dump() {
    let (_scratch, directory) = write();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for name in ["manifest.json", "server.json", &names::room(ROOM)] {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&directory.join("users")), 0o700);
}

#[test]
fn secrets_do_not_print() {
    let printed = format!("{:?} {:?}", server(), user());
    for secret in ["c2VlZA", "s4lt-and", "$2b$12$hash", "syt_secret"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn a_directory_that_holds_something_is_refused() {
    let (_scratch, directory) = write();
    let error = DumpWriter::create(&directory).unwrap_err();
    assert!(matches!(error, WriteError::Partial(PartialError::NotEmpty { .. })));
}

#[test]
fn an_unfinished_dump_has_no_name() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    writer.server(&server()).unwrap();
    drop(writer);
    assert!(!directory.exists());
}

#[test]
fn an_item_given_twice_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let writer = DumpWriter::create(&scratch.path().join("dump")).unwrap();
    writer.user(&user()).unwrap();
    assert!(matches!(writer.user(&user()), Err(WriteError::Twice { id }) if id.contains("alice")));
}

#[test]
fn a_dump_without_manifest_is_none() {
    let (_scratch, directory) = write();
    fs::remove_file(directory.join("manifest.json")).unwrap();
    assert!(matches!(open(&directory), Err(ReadError::NoManifest { .. })));
}

#[test]
fn every_damage_to_a_file_is_noticed_and_named() {
    let (_scratch, directory) = write();
    let path = names::user("@alice:example.org");
    let file = directory.join(&path);
    let good = fs::read(&file).unwrap();

    fs::write(&file, &good[..good.len() - 1]).unwrap();
    let shorter = open(&directory).unwrap_err();
    assert!(matches!(&shorter, ReadError::Changed { path: p, what: "size" } if *p == path));

    let mut flipped = good.clone();
    flipped[10] ^= 1;
    fs::write(&file, &flipped).unwrap();
    let changed = open(&directory).unwrap_err();
    assert!(matches!(&changed, ReadError::Changed { path: p, what: "checksum" } if *p == path));

    fs::remove_file(&file).unwrap();
    let missing = open(&directory).unwrap_err();
    assert!(matches!(&missing, ReadError::Missing { path: p } if *p == path));
}

/// Changes the manifest's text.
fn edit_manifest(directory: &Path, from: &str, to: &str) {
    let path = directory.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn another_format_version_is_refused() {
    let (_scratch, directory) = write();
    edit_manifest(&directory, "\"version\": 3", "\"version\": 2");
    assert!(matches!(open(&directory), Err(ReadError::Version { found: 2 })));
}

#[test]
fn users_are_read_ahead_in_order_and_large_ones_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    writer.server(&server()).unwrap();
    let mut expected = Vec::new();
    for number in 0..150 {
        let mut user = user();
        user.user_id = format!("@user{number}:example.org").try_into().unwrap();
        user.user_type = (number == 7).then(|| "x".repeat(300_000));
        writer.user(&user).unwrap();
        expected.push(user.user_id);
    }
    expected.sort_by_key(|user| names::user(user.as_str()));
    writer.finish(manifest()).unwrap();
    let dump = open(&directory).unwrap();
    let mut visited = Vec::new();
    let visit = |user: DumpUser| {
        visited.push(user.user_id);
        Ok::<_, ReadError>(())
    };
    dump.each_user(visit).unwrap();
    assert_eq!(visited, expected);

    // Whoever stops is asked no more.
    let mut left = 3;
    let stopped = dump.each_user(|user| {
        left -= 1;
        let path = user.user_id.to_string();
        if left > 0 { Ok(()) } else { Err(ReadError::Missing { path }) }
    });
    assert!(matches!(stopped, Err(ReadError::Missing { path }) if path == expected[2].as_str()));
    fs::write(directory.join(names::user(expected[1].as_str())), "{}").unwrap();
    let mut seen = 0;
    let broken = dump.each_user(|_| {
        seen += 1;
        Ok(())
    });
    assert!(matches!(broken, Err(ReadError::Parse { .. })) && seen == 1, "{broken:?}");
}

#[test]
fn a_broken_line_is_named_and_the_events_before_it_are_given() {
    let (_scratch, directory) = write();
    let dump = open(&directory).unwrap();
    let room = dump.rooms().next().unwrap().unwrap();
    let name = names::timeline(&names::room(room.head().room_id.as_str())).unwrap();
    let path = directory.join(name);
    let line = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned();
    // Several times what is read at once, and one line that is longer than that.
    let long = line.replacen('{', &format!("{{\"odd\":\"{}\",", "x".repeat(400_000)), 1);
    let mut lines = vec![line.as_str(); 9000];
    lines[2000] = &long;
    let given = |lines: &[&str], end: &str| {
        fs::write(&path, lines.join("\n") + end).unwrap();
        let mut good = 0;
        for event in room.timeline().unwrap() {
            match event {
                Ok(_) => good += 1,
                Err(ReadError::Parse { line, .. }) => return (good, Some(line)),
                Err(other) => panic!("{other}"),
            }
        }
        (good, None)
    };
    assert_eq!(given(&lines, "\n"), (9000, None));
    assert_eq!(given(&lines, ""), (9000, None));
    for (broken, text) in [(0, "{"), (7000, "{}"), (7000, ""), (8999, "null")] {
        let mut lines = lines.clone();
        lines[broken] = text;
        assert_eq!(given(&lines, "\n"), (broken, u64::try_from(broken + 1).ok()), "{broken}");
    }
}

#[test]
fn paths_that_leave_the_dump_are_refused() {
    let (_scratch, directory) = write();
    edit_manifest(&directory, "server.json", "../server.json");
    assert!(matches!(open(&directory), Err(ReadError::ForeignPath { .. })));
}

#[test]
fn a_file_under_another_items_name_is_an_error() {
    let (_scratch, directory) = write();
    let (from, to) = (names::user("@alice:example.org"), names::user("@bob:example.org"));
    fs::rename(directory.join(&from), directory.join(&to)).unwrap();
    edit_manifest(&directory, &from, &to);
    let dump = open(&directory).unwrap();
    let error = dump.users().next().unwrap().unwrap_err();
    assert!(matches!(error, ReadError::WrongName { found, .. } if found == "@alice:example.org"));
}
