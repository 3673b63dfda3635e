use conduit_backfill::{host::Pdu, testing::signed_event::EventSigner};
use ruma::{OwnedEventId, RoomId, RoomVersionId, event_id, room_id};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use super::{BrokenEvent, Event, Version};

fn room() -> &'static RoomId {
    room_id!("!r:example.org")
}

/// Hashes and signs an event as its room's version says.
fn sign(event: Value, version: &str) -> (OwnedEventId, Value) {
    let version = RoomVersionId::try_from(version).unwrap();
    let seed = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";
    let signer = EventSigner::with_seed(&version, "1", seed).unwrap();
    let Pdu { event_id, json } = signer.sign(event).unwrap();
    (event_id, serde_json::to_value(&json).unwrap())
}

fn parse(event: &Value, version: &str) -> Result<Event, BrokenEvent> {
    Event::parse(&to_raw_value(event).unwrap(), None, room(), &Version::new(Some(version)))
}

fn pdu(event: &Event) -> Value {
    serde_json::from_str(event.pdu().unwrap().get()).unwrap()
}

fn redaction(version: &str) -> (OwnedEventId, Value) {
    let mut event = json!({
        "type": "m.room.redaction", "room_id": room(), "sender": "@a:example.org", "content": {"reason": "x"},
        "depth": 3, "origin_server_ts": 1, "prev_events": [], "auth_events": [],
    });
    match version {
        "11" | "12" => event["content"]["redacts"] = json!("$target"),
        _ => event["redacts"] = json!("$target"),
    }
    sign(event, version)
}

/// What Synapse adds.
fn raw(id: &OwnedEventId, event: &Value) -> Value {
    let mut raw = event.clone();
    raw["event_id"] = json!(id);
    raw["unsigned"] = json!({"age": 7});
    raw
}

#[test]
fn redacts_stays_where_it_was_signed() {
    for version in ["3", "6", "10", "11", "12"] {
        let (id, signed) = redaction(version);
        let mut both = raw(&id, &signed);
        both["redacts"] = json!("$target");
        both["content"]["redacts"] = json!("$target");
        let event = parse(&both, version).unwrap();
        assert_eq!(pdu(&event), signed, "version {version}");
        assert_eq!(event.redacts.as_deref(), Some(event_id!("$target")));
        // A Synapse that copies nothing.
        assert_eq!(pdu(&parse(&raw(&id, &signed), version).unwrap()), signed);
    }
}

#[test]
fn redacts_at_both_places_stays_if_it_was_signed_so() {
    for version in ["10", "11"] {
        let (_, mut event) = redaction(version);
        event["redacts"] = json!("$target");
        event["content"]["redacts"] = json!("$target");
        for signed in ["hashes", "signatures"] {
            event.as_object_mut().unwrap().remove(signed);
        }
        let (id, signed) = sign(event, version);
        assert_eq!(pdu(&parse(&raw(&id, &signed), version).unwrap()), signed);
    }
}

#[test]
fn a_redaction_that_was_redacted_goes_by_its_version() {
    let (id, mut signed) = redaction("10");
    signed["content"] = json!({});
    signed.as_object_mut().unwrap().remove("redacts");
    let mut both = raw(&id, &signed);
    both["redacts"] = json!("$target");
    both["content"]["redacts"] = json!("$target");
    let event = pdu(&parse(&both, "10").unwrap());
    assert_eq!(event["content"], json!({}));
}

#[test]
fn the_create_event_of_version_12_has_no_room_id() {
    let (id, signed) = sign(
        json!({
            "type": "m.room.create", "state_key": "", "sender": "@a:example.org", "content": {"room_version": "12"},
            "depth": 1, "origin_server_ts": 1, "prev_events": [], "auth_events": [],
        }),
        "12",
    );
    let room_id = RoomId::parse(format!("!{}", id.as_str().strip_prefix('$').unwrap())).unwrap();
    let mut with_room = raw(&id, &signed);
    with_room["room_id"] = json!(room_id);
    for version in [Some("12"), None, Some("org.example.unknown")] {
        let json = to_raw_value(&with_room).unwrap();
        let event = Event::parse(&json, None, &room_id, &Version::new(version)).unwrap();
        assert_eq!(pdu(&event), signed, "{version:?}");
    }
}

#[test]
fn versions_1_and_2_keep_the_event_id() {
    let event = json!({
        "type": "m.room.message", "event_id": "$x:example.org", "room_id": room(), "sender": "@a:example.org",
        "content": {}, "depth": 1, "prev_events": [["$p:example.org", {"sha256": "x"}]], "auth_events": [],
    });
    let parsed = parse(&event, "1").unwrap();
    assert_eq!(pdu(&parsed), event);
    assert_eq!(parsed.prev_events, [event_id!("$p:example.org")]);
}

#[test]
fn unsigned_tells_what_happened_to_the_event() {
    let (id, signed) = redaction("10");
    let mut event = raw(&id, &signed);
    event["unsigned"] = json!({
        "redacted_because": {"event_id": "$by"},
        "io.element.synapse.soft_failed": true,
        "invite_room_state": [{"type": "m.room.name"}],
    });
    let event = parse(&event, "10").unwrap();
    assert_eq!(event.redacted_by.as_deref(), Some(event_id!("$by")));
    assert!(event.soft_failed);
    assert_eq!(event.stripped_state.unwrap().len(), 1);
}

#[test]
fn what_is_no_event_of_the_room_is_refused() {
    let (id, signed) = redaction("10");
    let good = raw(&id, &signed);
    let changed = |change: fn(&mut Value)| {
        let mut event = good.clone();
        change(&mut event);
        parse(&event, "10").unwrap_err()
    };
    assert!(parse(&good, "10").is_ok());
    assert_eq!(changed(|event| *event = json!([])), BrokenEvent::NoEvent);
    assert_eq!(changed(|event| event["type"] = json!(1)), BrokenEvent::NoEvent);
    assert_eq!(changed(|event| event["event_id"] = json!(null)), BrokenEvent::NoEvent);
    assert_eq!(changed(|event| event["sender"] = json!("@b:example.org")), BrokenEvent::Hash);
    assert_eq!(changed(|event| event["event_id"] = json!("$other")), BrokenEvent::Hash);
    assert_eq!(
        changed(|event| event["room_id"] = json!("!other:example.org")),
        BrokenEvent::OtherRoom
    );
    assert_eq!(changed(|event| event["content"]["f"] = json!(1.5)), BrokenEvent::NotCanonical);
    let json = to_raw_value(&good).unwrap();
    let version = Version::new(Some("10"));
    let other = Event::parse(&json, Some(event_id!("$other")), room(), &version);
    assert_eq!(other.unwrap_err(), BrokenEvent::Hash);
}

#[test]
fn numbers_that_old_versions_allowed_are_kept() {
    let json = RawValue::from_string(
        r#"{"type":"t","sender":"@a:x","event_id":"$e","content":{"f":1.50}}"#.to_owned(),
    )
    .unwrap();
    let version = Version::new(Some("5"));
    let event = Event::parse(&json, None, room(), &version).unwrap();
    assert_eq!(event.pdu().unwrap().get(), r#"{"content":{"f":1.50},"sender":"@a:x","type":"t"}"#);
}

#[test]
fn an_event_of_an_unknown_version_can_not_be_redacted() {
    let (id, signed) = redaction("10");
    let json = to_raw_value(&raw(&id, &signed)).unwrap();
    let unknown = Version::new(None);
    let mut event = Event::parse(&json, None, room(), &unknown).unwrap();
    let by = event_id!("$by").to_owned();
    assert_eq!(event.redact(by.clone(), &unknown), Err(BrokenEvent::Unredactable));
    event.redact(by, &Version::new(Some("10"))).unwrap();
    assert_eq!(pdu(&event)["content"], json!({}));
}
