use ruma::OwnedEventId;
use serde_json::{Value, json, value::to_raw_value};

use super::{Erased, Pruning, Unprunable};
use crate::dump::format::DumpEvent;

fn event(pdu: &Value) -> DumpEvent {
    DumpEvent {
        event_id: "$it".try_into().unwrap(),
        state_before: Some(1),
        redacted_by: None,
        erased: false,
        stream: None,
        soft_failed: false,
        pdu: to_raw_value(pdu).unwrap(),
    }
}

fn said(sender: &str) -> Value {
    json!({
        "type": "m.room.message", "sender": sender, "room_id": "!r:own.test", "depth": 1, "hashes": {"sha256": "x"},
        "content": {"body": "secret"}, "unknown": "secret",
    })
}

fn erased() -> Erased {
    let mut erased = Erased::default();
    erased.insert("@gone:own.test");
    erased
}

fn room(present: &[OwnedEventId]) -> Pruning {
    erased().room(Some("10"), present.iter())
}

#[test]
fn what_an_erased_user_said_is_pruned_and_marked() {
    let pruned = erased().prune(event(&said("@gone:own.test")), &room(&[])).unwrap();
    assert_eq!(
        serde_json::to_value(&pruned).unwrap(),
        json!({
            "event_id": "$it", "state_before": 1, "erased": true,
            "pdu": {
                "type": "m.room.message", "sender": "@gone:own.test", "room_id": "!r:own.test", "depth": 1,
                "hashes": {"sha256": "x"}, "content": {},
            },
        })
    );
}

#[test]
fn other_events_are_left_as_they_are() {
    let whole = |event: DumpEvent, room: &Pruning| {
        let before = event.pdu.get().to_owned();
        let after = erased().prune(event, room).unwrap();
        assert!(!after.erased);
        assert_eq!(after.pdu.get(), before);
    };
    // Of somebody else; in the present state; redacted already; the room's first; with nothing to lose.
    whole(event(&said("@here:own.test")), &room(&[]));
    whole(event(&said("@gone:own.test")), &room(&["$it".try_into().unwrap()]));
    let redacted_by = Some("$by".try_into().unwrap());
    whole(DumpEvent { redacted_by, ..event(&said("@gone:own.test")) }, &room(&[]));
    whole(
        event(
            &json!({"type": "m.room.create", "state_key": "", "sender": "@gone:own.test", "content": {"x": 1}}),
        ),
        &room(&[]),
    );
    whole(
        event(
            &json!({"type": "m.room.member", "state_key": "@gone:own.test", "sender": "@gone:own.test", "content": {"membership": "leave"}}),
        ),
        &room(&[]),
    );
}

#[test]
fn what_cannot_be_pruned_is_refused() {
    let unknown = erased().room(Some("org.example.new"), std::iter::empty());
    let refused = |pdu: &Value, room: &Pruning| erased().prune(event(pdu), room).unwrap_err();
    assert_eq!(refused(&said("@gone:own.test"), &unknown), Unprunable::RoomVersion);
    let mut number = said("@gone:own.test");
    number["content"]["half"] = json!(0.5);
    assert_eq!(refused(&number, &room(&[])), Unprunable::Json);
    assert_eq!(refused(&json!({"content": {"body": "secret"}}), &room(&[])), Unprunable::Json);
}
