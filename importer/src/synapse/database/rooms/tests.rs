mod damage;
mod earlier;
mod groups;
mod timeline;
mod together;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    dump::History,
    synapse::database::testing::{Dumped, Fixture, NewEvent},
};

type State = BTreeMap<(String, String), String>;

/// States of a room's file in full, by id.
fn states(room: &Value) -> BTreeMap<u64, State> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut states: BTreeMap<u64, State> = BTreeMap::new();
    for state in room["states"].as_array().unwrap() {
        let base = state["base"].as_u64();
        let mut entries = base.map(|base| states[&base].clone()).unwrap_or_default();
        for entry in state["set"].as_array().into_iter().flatten() {
            entries.insert((text(&entry[0]), text(&entry[1])), text(&entry[2]));
        }
        for entry in state["unset"].as_array().into_iter().flatten() {
            entries.remove(&(text(&entry[0]), text(&entry[1]))).unwrap();
        }
        states.insert(state["id"].as_u64().unwrap(), entries);
    }
    states
}

/// The events of a section with the events of the state before each, sorted.
fn section(room: &Value, name: &str) -> Vec<(String, Vec<String>)> {
    let states = states(room);
    room[name]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            let state = event["state_before"].as_u64().map(|id| states[&id].clone());
            let mut state: Vec<_> = state.unwrap_or_default().into_values().collect();
            state.sort();
            (event["event_id"].as_str().unwrap().to_owned(), state)
        })
        .collect()
}

fn ids(room: &Value, name: &str) -> Vec<String> {
    section(room, name).into_iter().map(|(id, _)| id).collect()
}

fn skipped(dump: &Dumped) -> Vec<(&str, &str)> {
    dump.skipped.iter().map(|(_, item, reason)| (item.as_str(), reason.as_str())).collect()
}

const CREATE: (&str, &str, &str) = ("m.room.create", "", "$create");
const JOIN: (&str, &str, &str) = ("m.room.member", "@alice:own.test", "$join");

/// A room with its create event and its creator's join.
fn room(fixture: &mut Fixture) {
    fixture.sql("INSERT INTO rooms VALUES ('!room:own.test', FALSE, '10')");
    fixture.event(&NewEvent {
        id: "$create",
        kind: "m.room.create",
        state_key: Some(""),
        group: Some(1),
        ..NewEvent::default()
    });
    fixture.group(1, None, &[CREATE]);
    fixture.event(&NewEvent {
        id: "$join",
        kind: "m.room.member",
        state_key: Some("@alice:own.test"),
        prev: &["$create"],
        auth: &["$create"],
        content: json!({"membership": "join"}),
        group: Some(2),
        ..NewEvent::default()
    });
    fixture.group(2, Some(1), &[JOIN]);
    fixture.sql("INSERT INTO local_current_membership VALUES ('!room:own.test', '@alice:own.test', '$join', 'join')");
    fixture.sql("INSERT INTO room_memberships (event_id, forgotten) VALUES ('$join', 0)");
}

fn current(fixture: &mut Fixture, entries: &[(&str, &str, &str)]) {
    for (kind, state_key, event_id) in entries {
        fixture.sql(&format!(
            "INSERT INTO current_state_events VALUES ('{event_id}', '!room:own.test', '{kind}', '{state_key}')"
        ));
    }
}

fn extremity(fixture: &mut Fixture, event_id: &str) {
    fixture.sql(&format!(
        "INSERT INTO event_forward_extremities VALUES ('{event_id}', '!room:own.test')"
    ));
}

/// A room with a bit of everything that happens to events.
pub(in crate::synapse::database) fn history(fixture: &mut Fixture) {
    room(fixture);
    fixture.sql("UPDATE rooms SET is_public = TRUE");
    fixture.sql("INSERT INTO room_aliases VALUES ('#b:own.test', '!room:own.test', 'nobody')");
    fixture.sql(
        "INSERT INTO room_aliases VALUES ('#a:own.test', '!room:own.test', '@alice:own.test')",
    );
    fixture.sql("INSERT INTO room_aliases VALUES ('#a:foreign.test', '!room:own.test', NULL)");
    // A message, a state event, a message; the topic is new with the third event's state.
    let mut message = |id, prev, metadata, group| {
        fixture.event(&NewEvent {
            id,
            sender: "@bob:foreign.test",
            prev: &[prev],
            auth: &["$create", "$join"],
            content: json!({"body": id}),
            metadata,
            group: Some(group),
            ..NewEvent::default()
        });
    };
    message("$redacted", "$join", json!({}), 2);
    message("$unredacted", "$redacted", json!({}), 2);
    message("$failed", "$unredacted", json!({"soft_failed": true}), 2);
    message("$rejected", "$unredacted", json!({}), 2);
    fixture.sql("INSERT INTO rejections VALUES ('$rejected')");
    fixture.event(&NewEvent {
        id: "$topic",
        kind: "m.room.topic",
        state_key: Some(""),
        prev: &["$unredacted"],
        auth: &["$create", "$join", "$gone"],
        group: Some(3),
        ..NewEvent::default()
    });
    fixture.group(3, Some(2), &[("m.room.topic", "", "$topic")]);
    for (id, sender, redacts) in [
        // Accepted, but without the power; only its own server's events.
        ("$invalid", "@eve:evil.test", "$unredacted"),
        ("$valid", "@carol:foreign.test", "$redacted"),
    ] {
        fixture.event(&NewEvent {
            id,
            kind: "m.room.redaction",
            sender,
            prev: &["$topic"],
            metadata: json!({"recheck_redaction": true}),
            group: Some(3),
            ..NewEvent::default()
        });
        fixture.sql(&format!("INSERT INTO redactions VALUES ('{id}', '{redacts}')"));
    }
    fixture.sql(
        "INSERT INTO events VALUES (90, 1, '$broken', 'm', '!room:own.test', FALSE, 1, '@a:b')",
    );
    fixture.sql("INSERT INTO event_json VALUES ('$broken', '{}', '{', 3)");
    fixture.event(&NewEvent {
        id: "$lost",
        prev: &["$topic"],
        stream: Some(91),
        ..NewEvent::default()
    });
    current(fixture, &[CREATE, JOIN, ("m.room.topic", "", "$topic")]);
    extremity(fixture, "$invalid");
    extremity(fixture, "$valid");
}

#[tokio::test]
async fn a_room_is_dumped_with_heads_states_and_redactions() {
    let mut fixture = Fixture::new();
    history(&mut fixture);
    let dump = fixture.dump(History::Recent).await;
    let [room] = dump.rooms.as_slice() else { panic!("{:?}", dump.rooms) };
    let mut head = room.clone();
    for section in ["states", "outliers", "timeline", "receipts"] {
        head.as_object_mut().unwrap().remove(section);
    }
    assert_eq!(
        head,
        json!({
            "room_id": "!room:own.test", "room_version": "10", "published": true,
            "aliases": [
                {"alias": "#a:own.test", "creator": "@alice:own.test"},
                {"alias": "#b:own.test"},
            ],
            "current_state": 1, "forward_extremities": ["$invalid", "$valid"], "earlier_events": 0,
            "local_members": [{"user_id": "@alice:own.test", "membership": "join", "event_id": "$join"}],
        })
    );
    assert_eq!(
        room["states"],
        json!([
            {"id": 1, "set": [
                ["m.room.create", "", "$create"],
                ["m.room.member", "@alice:own.test", "$join"],
                ["m.room.topic", "", "$topic"],
            ]},
            {"id": 2, "set": [["m.room.create", "", "$create"]]},
            {"id": 3, "base": 2, "set": [["m.room.member", "@alice:own.test", "$join"]]},
            {"id": 4, "base": 3, "set": [["m.room.topic", "", "$topic"]]},
        ])
    );
    let events: Vec<_> = room["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            (
                event["event_id"].as_str().unwrap(),
                event["state_before"].as_u64(),
                event["redacted_by"].as_str(),
                &event["pdu"]["content"],
            )
        })
        .collect();
    let (empty, joined, body) =
        (json!({}), json!({"membership": "join"}), json!({"body": "$unredacted"}));
    assert_eq!(
        events,
        [
            ("$create", None, None, &empty),
            ("$join", Some(2), None, &joined),
            ("$redacted", Some(3), Some("$valid"), &empty),
            ("$unredacted", Some(3), None, &body),
            ("$topic", Some(3), None, &empty),
            ("$invalid", Some(4), None, &empty),
            ("$valid", Some(4), None, &empty),
        ]
    );
    assert_eq!(ids(room, "outliers"), [""; 0]);
    assert_eq!(
        skipped(&dump),
        [
            ("!room:own.test $broken", "event-unparsable"),
            ("!room:own.test $lost", "state-missing"),
            ("!room:own.test $failed", "soft-failed"),
            ("!room:own.test $gone", "event-missing"),
            ("!room:own.test #a:foreign.test", "foreign-alias"),
        ]
    );
}

#[tokio::test]
async fn a_soft_failed_event_that_authorises_another_is_an_outlier() {
    let mut fixture = Fixture::new();
    history(&mut fixture);
    fixture.event(&NewEvent {
        id: "$follower",
        prev: &["$topic"],
        auth: &["$create", "$failed"],
        group: Some(3),
        stream: Some(92),
        ..NewEvent::default()
    });
    let dump = fixture.dump(History::Full).await;
    assert_eq!(ids(&dump.rooms[0], "outliers"), ["$failed"]);
    assert_eq!(dump.rooms[0]["outliers"][0]["soft_failed"], json!(true));
}

#[tokio::test]
async fn an_event_is_the_stored_json_without_unsigned() {
    let mut fixture = Fixture::new();
    room(&mut fixture);
    let pdu = fixture.event(&NewEvent {
        id: "$message",
        prev: &["$join"],
        content: json!({"body": "ünïcode \\ \"", "float": 1.5}),
        unsigned: json!({"age_ts": 1}),
        group: Some(2),
        ..NewEvent::default()
    });
    let dump = fixture.dump(History::Full).await;
    assert_eq!(dump.rooms[0]["timeline"][2]["pdu"], pdu);
}

/// ```text
/// create - join - A - B - merge       A, B: the two sides set the topic; the merge sets the name
///               \ A2 - B2 /
/// ```
#[tokio::test]
async fn after_a_fork_the_state_before_is_the_resolved_one() {
    let mut fixture = Fixture::new();
    room(&mut fixture);
    let mut state_event = |id: &str, kind: &str, prev: &[&str], group: i64, unsigned: Value| {
        fixture.event(&NewEvent {
            id,
            kind,
            state_key: Some(""),
            prev,
            group: Some(group),
            unsigned,
            ..NewEvent::default()
        });
    };
    state_event("$left", "m.room.topic", &["$join"], 3, json!({}));
    state_event("$right", "m.room.topic", &["$join"], 4, json!({}));
    // The fork's resolution took the right topic; this one replaces it.
    state_event(
        "$merge",
        "m.room.topic",
        &["$left", "$right"],
        5,
        json!({"replaces_state": "$right"}),
    );
    // Nothing had a name, whatever a server claims; the claimed event exists, but is no name.
    state_event("$fork", "m.room.topic", &["$join"], 3, json!({}));
    state_event(
        "$name",
        "m.room.name",
        &["$merge", "$fork"],
        6,
        json!({"replaces_state": "$join"}),
    );
    fixture.group(3, Some(2), &[("m.room.topic", "", "$left")]);
    fixture.group(4, Some(2), &[("m.room.topic", "", "$right")]);
    fixture.group(5, Some(4), &[("m.room.topic", "", "$merge")]);
    fixture.group(6, Some(5), &[("m.room.name", "", "$name")]);
    current(
        &mut fixture,
        &[CREATE, JOIN, ("m.room.topic", "", "$merge"), ("m.room.name", "", "$name")],
    );
    extremity(&mut fixture, "$name");
    let dump = fixture.dump(History::Full).await;
    let state = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        section(&dump.rooms[0], "timeline"),
        [
            ("$create".to_owned(), state(&[])),
            ("$join".to_owned(), state(&["$create"])),
            ("$left".to_owned(), state(&["$create", "$join"])),
            ("$right".to_owned(), state(&["$create", "$join"])),
            ("$merge".to_owned(), state(&["$create", "$join", "$right"])),
            ("$fork".to_owned(), state(&["$create", "$join"])),
            ("$name".to_owned(), state(&["$create", "$join", "$merge"])),
        ]
    );
    assert_eq!(dump.skipped, []);
}

#[tokio::test]
async fn a_pending_remote_invite_is_an_outlier_with_its_stripped_state() {
    let mut fixture = Fixture::new();
    let room = "!far:foreign.test";
    fixture.sql(&format!("INSERT INTO rooms VALUES ('{room}', FALSE, '10')"));
    fixture.event_in(
        room,
        &NewEvent {
            id: "$invite",
            kind: "m.room.member",
            state_key: Some("@alice:own.test"),
            sender: "@bob:foreign.test",
            prev: &["$theirs"],
            auth: &["$theirs"],
            content: json!({"membership": "invite"}),
            unsigned: json!({"invite_room_state": [{"type": "m.room.name"}]}),
            metadata: json!({"out_of_band_membership": true}),
            outlier: true,
            ..NewEvent::default()
        },
    );
    fixture.sql(&format!("INSERT INTO local_current_membership VALUES ('{room}', '@alice:own.test', '$invite', 'invite')"));
    fixture.sql(&format!("INSERT INTO local_current_membership VALUES ('{room}', '@eve:foreign.test', '$invite', 'invite')"));
    fixture.sql("INSERT INTO room_memberships (event_id, forgotten) VALUES ('$invite', 1)");
    let dump = fixture.dump(History::Recent).await;
    let room = &dump.rooms[0];
    assert_eq!(
        (ids(room, "outliers"), ids(room, "timeline"), &room["states"], room.get("current_state")),
        (vec!["$invite".to_owned()], vec![], &json!([]), None)
    );
    assert_eq!(
        room["local_members"],
        json!([{
            "user_id": "@alice:own.test", "membership": "invite", "event_id": "$invite", "forgotten": true,
            "stripped_state": [{"type": "m.room.name"}],
        }])
    );
    assert_eq!(skipped(&dump), [("!far:foreign.test @eve:foreign.test", "foreign-user")]);
}

#[tokio::test]
async fn a_room_that_all_have_left_has_the_state_of_the_last_leave() {
    let mut fixture = Fixture::new();
    room(&mut fixture);
    fixture.event(&NewEvent {
        id: "$leave",
        kind: "m.room.member",
        state_key: Some("@alice:own.test"),
        prev: &["$join"],
        group: Some(3),
        ..NewEvent::default()
    });
    fixture.group(3, Some(2), &[("m.room.member", "@alice:own.test", "$leave")]);
    extremity(&mut fixture, "$leave");
    let dump = fixture.dump(History::Recent).await;
    let current = &states(&dump.rooms[0])[&1];
    assert_eq!(current.values().collect::<Vec<_>>(), ["$create", "$leave"]);
    assert_eq!(dump.rooms[0]["current_state"], json!(1));
}

/// A room with `number` messages after the first two events.
fn long_room(number: usize) -> Fixture {
    let mut fixture = Fixture::new();
    room(&mut fixture);
    for message in 0..number {
        fixture.event(&NewEvent {
            id: &format!("$m{message:03}"),
            prev: &["$join"],
            group: Some(2),
            ..NewEvent::default()
        });
    }
    fixture
}

#[tokio::test]
async fn a_kick_that_redacts_covers_what_came_before_its_end() {
    let mut fixture = long_room(3);
    fixture.sql(
        "INSERT INTO room_ban_redactions VALUES ('!room:own.test', '@alice:own.test', '$m001', 4)",
    );
    let dump = fixture.dump(History::Full).await;
    let redacted: Vec<_> = dump.rooms[0]["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["redacted_by"].as_str())
        .collect();
    // Stream orderings 1 to 5; the create event is never redacted.
    assert_eq!(redacted, [None, Some("$m001"), Some("$m001"), None, None]);
}

#[tokio::test]
async fn endless_state_groups_are_missing_states() {
    let mut fixture = long_room(1);
    fixture.sql("INSERT INTO state_group_edges VALUES (1, 2)");
    let dump = fixture.dump(History::Recent).await;
    assert_eq!(
        skipped(&dump),
        [("!room:own.test $join", "state-missing"), ("!room:own.test $m000", "state-missing")]
    );
}

#[tokio::test]
async fn a_whole_group_is_read_unless_it_has_the_expected_size_and_entry() {
    let member = |user| ("m.room.member", user, "$join");
    // The state after $name: one entry more than before it, as always; another entry; one too many.
    let name = ("m.room.name", "", "$name");
    for (group, expected) in [
        (vec![CREATE, JOIN, name], vec!["$create", "$join", "$name"]),
        (vec![CREATE, JOIN, ("m.room.name", "", "$join")], vec!["$create", "$join", "$join"]),
        (
            vec![CREATE, JOIN, name, member("@b:own.test")],
            vec!["$create", "$join", "$join", "$name"],
        ),
    ] {
        let mut fixture = Fixture::new();
        room(&mut fixture);
        fixture.event(&NewEvent {
            id: "$name",
            kind: "m.room.name",
            state_key: Some(""),
            prev: &["$join"],
            group: Some(3),
            ..NewEvent::default()
        });
        fixture.group(3, None, &group);
        fixture.event(&NewEvent {
            id: "$last",
            prev: &["$name"],
            group: Some(3),
            ..NewEvent::default()
        });
        current(&mut fixture, &[CREATE]);
        let dump = fixture.dump(History::Full).await;
        let (_, state) = section(&dump.rooms[0], "timeline").pop().unwrap();
        assert_eq!(state, expected, "{group:?}");
    }
}

#[tokio::test]
async fn a_redacted_event_of_an_unknown_room_version_is_not_given_away() {
    let mut fixture = long_room(2);
    fixture.sql("UPDATE rooms SET room_version = 'org.example.new'");
    fixture.sql("INSERT INTO redactions VALUES ('$m001', '$m000')");
    let dump = fixture.dump(History::Recent).await;
    assert_eq!(skipped(&dump), [("!room:own.test $m000", "redaction-rules-unknown")]);
}

#[tokio::test]
async fn receipts_of_other_servers_are_with_the_room() {
    let mut fixture = Fixture::new();
    history(&mut fixture);
    for (user, kind, data) in [
        ("@far:other.test", "m.read", r#"{"ts":5}"#),
        ("@far:other.test", "m.read.private", r#"{"ts":6}"#),
        ("@alice:own.test", "m.read", r#"{"ts":7}"#),
        ("@broken:other.test", "m.read", "{}"),
        ("no user", "m.read", r#"{"ts":8}"#),
    ] {
        fixture.sql(&format!(
            "INSERT INTO receipts_linearized VALUES (1, '!room:own.test', '{kind}', '{user}', '$valid', '{data}', NULL, 'main')"
        ));
    }
    let dump = fixture.dump(History::Recent).await;
    let expected = json!([
        {"user_id": "@far:other.test", "thread_id": "main", "event_id": "$valid", "ts": 5},
    ]);
    assert_eq!(dump.rooms[0]["receipts"], expected);
    let skipped = dump.skipped.iter().filter(|(kind, ..)| kind == "receipt");
    assert_eq!(skipped.count(), 2);
}

#[tokio::test]
async fn what_an_erased_user_said_is_pruned_but_not_the_present_state() {
    let mut fixture = Fixture::new();
    room(&mut fixture);
    let topic = |id: &'static str, prev: &'static [&'static str], group| NewEvent {
        id,
        kind: "m.room.topic",
        state_key: Some(""),
        prev,
        content: json!({"topic": "secret"}),
        group: Some(group),
        ..NewEvent::default()
    };
    fixture.event(&topic("$old", &["$join"], 3));
    fixture.group(3, Some(2), &[("m.room.topic", "", "$old")]);
    fixture.event(&topic("$new", &["$old"], 4));
    fixture.group(4, Some(2), &[("m.room.topic", "", "$new")]);
    for (id, sender) in [("$gone", "@alice:own.test"), ("$here", "@bob:foreign.test")] {
        let content = json!({"body": "secret"});
        fixture.event(&NewEvent {
            id,
            sender,
            prev: &["$new"],
            content,
            group: Some(4),
            ..NewEvent::default()
        });
    }
    // Outside of the timeline, too.
    fixture.event(&NewEvent {
        id: "$apart",
        content: json!({"body": "secret"}),
        outlier: true,
        ..NewEvent::default()
    });
    fixture.sql("UPDATE event_json SET json = REPLACE(json, '\"auth_events\":[]', '\"auth_events\":[\"$apart\"]') WHERE event_id = '$here'");
    current(&mut fixture, &[CREATE, JOIN, ("m.room.topic", "", "$new")]);
    extremity(&mut fixture, "$here");
    let secrets = |dump: &Dumped| -> Vec<(String, bool, bool)> {
        let [room] = dump.rooms.as_slice() else { panic!("{:?}", dump.rooms) };
        let events = ["outliers", "timeline"].map(|name| room[name].as_array().unwrap().clone());
        events
            .into_iter()
            .flatten()
            .map(|event| {
                let id = event["event_id"].as_str().unwrap().to_owned();
                let shown = event["pdu"]["content"].to_string().contains("secret");
                (id, event["erased"] == true, shown)
            })
            .filter(|(_, erased, shown)| *erased || *shown)
            .collect()
    };
    let whole = |id: &str| (id.to_owned(), false, true);
    let pruned = |id: &str| (id.to_owned(), true, false);
    let before = secrets(&fixture.clone().dump(History::Full).await);
    assert_eq!(before, ["$apart", "$old", "$new", "$gone", "$here"].map(whole));
    fixture.sql("INSERT INTO erased_users VALUES ('@alice:own.test')");
    assert_eq!(
        secrets(&fixture.dump(History::Full).await),
        [pruned("$apart"), pruned("$old"), whole("$new"), pruned("$gone"), whole("$here")]
    );
}
