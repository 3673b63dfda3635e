//! Rooms that are read together: the same as each by itself.

use serde_json::json;

use crate::{
    dump::History,
    synapse::database::testing::{Fixture, NewEvent, Server, config, dumped},
};

/// Rooms with their state groups.
const GROUPS: [(&str, [i64; 3]); 4] =
    [("a", [2, 3, 10]), ("b", [4, 5, 11]), ("c", [6, 7, 12]), ("d", [8, 9, 13])];

/// Four rooms of more than a page each, with what can be wrong with events. `body`: what each message says. `users`: how many more
/// are in the state of each.
fn rooms(body: &str, users: u32) -> Fixture {
    let mut fixture = Fixture::new();
    for (name, [first, second, third]) in GROUPS {
        let room = &format!("!{name}:own.test");
        let id = |event: &str| format!("${event}-{name}");
        let (create, join) = (id("create"), id("join"));
        fixture.sql(&format!("INSERT INTO rooms VALUES ('{room}', FALSE, '10')"));
        fixture.sql(&format!(
            "INSERT INTO local_current_membership VALUES ('{room}', '@alice:own.test', '{join}', 'join')"
        ));
        for (id, kind, state_key, prev, group) in [
            (&create, "m.room.create", "", &[][..], first),
            (&join, "m.room.member", "@alice:own.test", &[create.as_str()], second),
        ] {
            fixture.event_in(
                room,
                &NewEvent {
                    id,
                    kind,
                    state_key: Some(state_key),
                    prev,
                    group: Some(group),
                    content: json!({"membership": "join"}),
                    ..NewEvent::default()
                },
            );
            fixture.sql(&format!(
                "INSERT INTO current_state_events VALUES ('{id}', '{room}', '{kind}', '{state_key}')"
            ));
        }
        fixture.group(first, None, &[("m.room.create", "", &create)]);
        let users: Vec<_> = (0..users).map(|user| format!("@{user}:own.test")).collect();
        let entries = users.iter().map(|user| ("m.room.member", user.as_str(), join.as_str()));
        let own = ("m.room.member", "@alice:own.test", join.as_str());
        fixture.group(second, Some(first), &entries.clone().chain([own]).collect::<Vec<_>>());
        for message in 0..110 {
            fixture.event_in(
                room,
                &NewEvent {
                    id: &id(&format!("{message:03}")),
                    prev: &[&join],
                    auth: &[&create, &join],
                    group: Some(second),
                    content: json!({"body": body}),
                    outlier: message == 50,
                    metadata: json!({"soft_failed": message == 60}),
                    ..NewEvent::default()
                },
            );
        }
        // A state event, and the whole group after it, as every hundredth is.
        let topic = id("topic");
        for (id, prev, topic) in [(&topic, id("109"), true), (&id("last"), topic.clone(), false)] {
            fixture.event_in(
                room,
                &NewEvent {
                    id,
                    kind: if topic { "m.room.topic" } else { "m.room.message" },
                    state_key: topic.then_some(""),
                    prev: &[&prev],
                    group: Some(third),
                    ..NewEvent::default()
                },
            );
        }
        let create = ("m.room.create", "", create.as_str());
        // In two rooms, it is not the state before and the event.
        let more =
            ["b", "d"].contains(&name).then_some(("m.room.member", "@more:own.test", &*join));
        let all = entries.chain([own, create, ("m.room.topic", "", &topic)]).chain(more);
        fixture.group(third, None, &all.collect::<Vec<_>>());
        fixture.sql(&format!("INSERT INTO rejections (event_id) VALUES ('{}')", id("010")));
        fixture.sql(&format!(
            "INSERT INTO redactions (event_id, redacts) VALUES ('{}', '{}')",
            id("021"),
            id("020")
        ));
        fixture.sql(&format!(
            "INSERT INTO event_forward_extremities VALUES ('{}', '{room}')",
            id("109")
        ));
        fixture.sql(&format!("DELETE FROM event_json WHERE event_id = '{}'", id("030")));
        // The last two of a page of a hundred rows.
        fixture.sql(&format!(
            "INSERT INTO event_json SELECT * FROM event_json WHERE event_id = '{}'",
            id("098")
        ));
    }
    // A redaction holds in its room only.
    fixture.sql("INSERT INTO redactions (event_id, redacts) VALUES ('$022-b', '$025-a')");
    let backfilled =
        NewEvent { id: "$backfilled", stream: Some(-1), group: Some(9), ..NewEvent::default() };
    fixture.event_in("!d:own.test", &backfilled);
    fixture
}

#[tokio::test]
async fn postgresql_reads_rooms_together_unless_they_are_too_large() {
    for (body, users) in
        [("short".to_owned(), 0), ("long ".repeat(200), 0), ("short".to_owned(), 120)]
    {
        let Some(server) = Server::start() else { return };
        let fixture = rooms(&body, users);
        let mut expected = fixture.dump(History::Full).await;
        let mut found = dumped(&config(fixture.postgres(&server).await), History::Full).await;
        expected.skipped.sort();
        found.skipped.sort();
        assert_eq!(found, expected);
        assert!(
            !expected.skipped.is_empty() && expected.rooms.len() == 4,
            "{:?}",
            expected.skipped
        );
    }
}
