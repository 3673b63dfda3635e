use ruma::{CanonicalJsonObject, canonical_json::try_from_json_map, event_id, server_name};
use serde_json::{Value, json};

use super::{redacted, replacing, stored, thread};

fn object(value: Value) -> CanonicalJsonObject {
    let Value::Object(object) = value else { panic!("no object") };
    try_from_json_map(object).unwrap()
}

fn text(object: &CanonicalJsonObject) -> String {
    serde_json::to_string(object).unwrap()
}

#[test]
fn a_redacted_event_carries_its_redaction_or_what_is_known_of_it() {
    let redaction = object(json!({ "event_id": "$r" }));
    let known = redacted(event_id!("$e"), event_id!("$r"), Some(redaction));
    assert_eq!(text(&known), r#"{"redacted_because":{"event_id":"$r"}}"#);
    let unknown = redacted(event_id!("$e"), event_id!("$r"), None);
    assert_eq!(
        text(&unknown),
        r#"{"redacted_because":{"content":{},"event_id":"$r","redacts":"$e","type":"m.room.redaction"}}"#
    );
}

#[test]
fn a_state_event_carries_what_it_replaces() {
    let replaced = object(json!({ "content": { "name": "old" }, "sender": "@b:y" }));
    let ours = object(json!({ "sender": "@a:x" }));
    let theirs = object(json!({ "sender": "@a:y" }));
    let unsigned = |event| text(&replacing(event, &replaced, server_name!("x")));
    assert_eq!(unsigned(&ours), r#"{"prev_content":{"name":"old"},"prev_sender":"@b:y"}"#);
    assert_eq!(unsigned(&theirs), r#"{"prev_content":{"name":"old"}}"#);
}

#[test]
fn the_root_of_a_thread_carries_a_summary() {
    let latest = object(json!({ "type": "m.room.message", "event_id": "$l", "depth": 7 }));
    let unsigned = CanonicalJsonObject::from([("m.relations".to_owned(), thread(2, &latest))]);
    let event = stored(object(json!({ "type": "m.room.message" })), event_id!("$e"), unsigned);
    assert_eq!(
        text(&event),
        r#"{"event_id":"$e","type":"m.room.message","unsigned":{"m.relations":{"m.thread":{"count":2,"current_user_participated":true,"latest_event":{"event_id":"$l","type":"m.room.message"}}}}}"#
    );
}

#[test]
fn only_state_events_have_an_empty_unsigned() {
    let stored = |event| text(&stored(object(event), event_id!("$e"), CanonicalJsonObject::new()));
    assert_eq!(stored(json!({})), r#"{"event_id":"$e"}"#);
    assert_eq!(
        stored(json!({ "state_key": "" })),
        r#"{"event_id":"$e","state_key":"","unsigned":{}}"#
    );
}
