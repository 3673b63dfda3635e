//! Synapse's table of memberships against the state of a room.

use ruma::{CanonicalJsonObject, RoomVersionId, room_id, signatures::reference_hash};
use serde_json::json;

use super::*;
use crate::conduit::{
    canonical_json::Object,
    store::{KvRead as _, memory::MemoryStore},
};

/// A member event of the user, or by `sender` of another one.
fn member(sender: &str, user: &str, membership: &str) -> Event {
    let json: CanonicalJsonObject = serde_json::from_value(json!({
        "room_id": "!room:own.test", "type": "m.room.member", "sender": sender, "state_key": user,
        "content": {"membership": membership}, "origin_server_ts": 1, "depth": 1,
        "prev_events": [], "auth_events": [], "hashes": {"sha256": ""},
    }))
    .unwrap();
    let rules = RoomVersionId::V10.rules().unwrap();
    let id = EventId::parse(format!("${}", reference_hash(&json, &rules).unwrap())).unwrap();
    Event::of(&id, Object::from(&json), "!room:own.test", &rules).unwrap()
}

/// Rows of memberships as `tree user`, and what was left out as `item: reason`.
type Outcome = (Vec<String>, Vec<String>);

/// Writes the memberships of a room whose present state has these events, and whose table has these users, memberships,
/// events of memberships, and whether they have forgotten the room.
fn written(state: &[Event], table: &[(&str, &str, &str, bool)]) -> Outcome {
    let table: Vec<_> = table
        .iter()
        .map(|(user, membership, event, forgotten)| {
            json!({"user_id": user, "membership": membership, "event_id": event, "forgotten": forgotten})
        })
        .collect();
    let head = json!({
        "room_id": room_id!("!room:own.test"), "room_version": "10", "local_members": table,
        "current_state": (!state.is_empty()).then_some(1),
    });
    let head: DumpRoom = serde_json::from_value(head).unwrap();
    let mut store = MemoryStore::default();
    let mut rows = Rows::new(&mut store);
    let mut tally = Tally::default();
    let mut members = Members::new(&head, "own.test");
    for (count, event) in (1..).zip(state) {
        members.event(event, Some(count), &mut rows).unwrap();
    }
    members.finish(&mut rows, &mut tally).unwrap();
    rows.flush().unwrap();
    let mut found = Vec::new();
    for (name, tree) in [
        ("joined", trees::USERROOMID_JOINED.tree()),
        ("invited", trees::USERROOMID_INVITESTATE.tree()),
        ("knocks", trees::USERROOMID_KNOCKSTATE.tree()),
        ("left", trees::USERROOMID_LEFTSTATE.tree()),
        ("server", trees::SERVERROOMIDS.tree()),
    ] {
        for row in store.scan(tree, &[]).unwrap() {
            let (key, _) = row.unwrap();
            let subject = key.split(|byte| *byte == 0xff).next().unwrap_or_default();
            found.push(format!("{name} {}", String::from_utf8_lossy(subject)));
        }
    }
    let left_out = tally.skipped.iter().map(|skip| {
        let user = skip.item.split(' ').next().unwrap_or_default();
        format!("{user}: {}", skip.reason)
    });
    (found, left_out.collect())
}

#[test]
fn where_table_and_state_contradict_the_user_sees_the_less() {
    let join = |user| member(user, user, "join");
    let state = [
        join("@both:own.test"),
        join("@left:own.test"),
        join("@state:own.test"),
        join("@there:other.test"),
        member("@gone:own.test", "@gone:own.test", "leave"),
    ];
    let table = [
        ("@both:own.test", "join", "$1", false),
        ("@gone:own.test", "join", "$2", false),
        ("@left:own.test", "leave", "$3", false),
        ("@nobody:own.test", "join", "$4", false),
    ];
    let (rows, left_out) = written(&state, &table);
    assert_eq!(
        rows,
        [
            "joined @both:own.test",
            // Nothing but the state knows this one.
            "joined @state:own.test",
            "joined @there:other.test",
            "left @left:own.test",
            "server other.test",
            "server own.test",
        ]
    );
    let expected = ["@gone:own.test: not-joined-in-state", "@nobody:own.test: not-joined-in-state"];
    assert_eq!(left_out, expected);
}

#[test]
fn what_the_user_would_not_see_is_left_out() {
    let alice = "@alice:own.test";
    let invite = member(alice, "@asked:own.test", "invite");
    let id = invite.id.to_string();
    let state = [member(alice, alice, "join"), invite];
    let table = [
        ("@asked:own.test", "invite", &*id, false),
        ("@banned:own.test", "ban", "$1", false),
        ("@forgot:own.test", "leave", "$2", true),
        ("@lost:own.test", "invite", "$3", false),
        ("@odd:own.test", "dance", "$4", false),
    ];
    let (rows, left_out) = written(&state, &table);
    let expected = [
        "joined @alice:own.test",
        "invited @asked:own.test",
        "left @banned:own.test",
        "server own.test",
    ];
    assert_eq!(rows, expected);
    assert_eq!(
        left_out,
        [
            "@forgot:own.test: forgotten",
            "@lost:own.test: invite-event-missing",
            "@odd:own.test: membership-unknown",
        ]
    );
    // Of a room that the server is not in, Synapse shows no refused invites.
    let outside = written(&[], &[("@banned:own.test", "leave", "$1", false)]);
    assert_eq!(outside, (vec![], vec!["@banned:own.test: invite-refused".into()]));
}
