use ruma::{
    CanonicalJsonObject, OwnedEventId, RoomVersionId, canonical_json::try_from_json_map,
    owned_event_id,
};
use serde_json::{Value, json};

use super::Links;

fn links(event: Value, version: &RoomVersionId) -> Links {
    let Value::Object(event) = event else { panic!("no object") };
    let event: CanonicalJsonObject = try_from_json_map(event).unwrap();
    Links::of(&event, &version.rules().unwrap().redaction)
}

fn related(relates_to: &Value) -> (Vec<OwnedEventId>, Option<OwnedEventId>) {
    let event = json!({ "type": "m.room.message", "content": { "m.relates_to": relates_to } });
    let links = links(event, &RoomVersionId::V10);
    assert_eq!(links.targets(), links.related.iter().map(|id| &**id).collect());
    (links.related.into_iter().collect(), links.thread)
}

#[test]
fn relations_replies_and_threads() {
    let [a, b] = [owned_event_id!("$a"), owned_event_id!("$b")];
    let reply = json!({ "m.in_reply_to": { "event_id": "$b" } });
    assert_eq!(related(&reply), (vec![b.clone()], None));
    let edit =
        json!({ "rel_type": "m.replace", "event_id": "$a", "m.in_reply_to": { "event_id": "$b" } });
    assert_eq!(related(&edit), (vec![a.clone()], None));
    let other = json!({ "rel_type": "x", "event_id": "$a", "m.in_reply_to": { "event_id": "$b" } });
    assert_eq!(related(&other), (vec![a.clone(), b.clone()], None));
    let thread =
        json!({ "rel_type": "m.thread", "event_id": "$a", "m.in_reply_to": { "event_id": "$b" } });
    assert_eq!(related(&thread), (vec![a.clone()], Some(a.clone())));
    for nothing in [json!(null), json!([]), json!({ "event_id": 1 }), json!({ "event_id": "a" })] {
        assert_eq!(related(&nothing), (vec![], None));
    }
}

#[test]
fn a_redaction_names_its_target_where_the_room_version_says() {
    let event =
        |kind: &str| json!({ "type": kind, "redacts": "$a", "content": { "redacts": "$b" } });
    let redacts = |event, version| links(event, &version).redacts;
    assert_eq!(redacts(event("m.room.redaction"), RoomVersionId::V10), Some(owned_event_id!("$a")));
    assert_eq!(redacts(event("m.room.redaction"), RoomVersionId::V11), Some(owned_event_id!("$b")));
    assert_eq!(redacts(event("m.room.message"), RoomVersionId::V11), None);
}
