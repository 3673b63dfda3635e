//! Events that are read for all rooms: the same as page by page.

use serde_json::{Value, json};

use crate::{
    dump::History,
    synapse::database::testing::{Dumped, Fixture, NewEvent, Server, config, dumped},
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
    backfill(&mut fixture);
    fixture
}

/// Adds backfilled events to two rooms: before all others, in the midst of them, and at one place.
fn backfill(fixture: &mut Fixture) {
    for (room, name, first) in [("!b:own.test", "b", 0_i64), ("!d:own.test", "d", -20)] {
        for (number, depth, stream) in [(1, 1, 9), (2, 4, 8), (3, 4, 7), (4, 9, 3), (5, 3, 2)] {
            let id = &format!("$backfilled{number}-{name}");
            let (stream, group) = (Some(first.saturating_sub(stream)), Some(9));
            fixture.event_in(room, &NewEvent { id, group, depth, stream, ..NewEvent::default() });
        }
        for (id, depth) in [("5", 4), ("100", 8)] {
            let event_id = format!("${id:0>3}-{name}");
            fixture.sql(&format!(
                "UPDATE events SET topological_ordering = {depth} WHERE event_id = '{event_id}'"
            ));
        }
    }
    // Synapse's tables allow no two events at one place.
    fixture.sql("UPDATE events SET stream_ordering = -3 WHERE event_id = '$backfilled5-b'");
    fixture.sql("UPDATE events SET topological_ordering = 9 WHERE event_id = '$backfilled5-b'");
}

/// The rooms of a dump, and what was left out; without what is said of histories.
fn contents(mut dump: Dumped) -> (Vec<Value>, Vec<(String, String, String)>) {
    for room in &mut dump.rooms {
        room.as_object_mut().unwrap().remove("history");
    }
    dump.skipped.sort();
    (dump.rooms, dump.skipped)
}

#[tokio::test]
async fn events_of_all_rooms_are_the_same_as_page_by_page() {
    for (body, users) in
        [("short".to_owned(), 0), ("long ".repeat(200), 0), ("short".to_owned(), 120)]
    {
        let fixture = rooms(&body, users);
        let mut by_page = fixture.clone();
        // A room's events may still change, so no room has a fingerprint.
        by_page.sql("INSERT INTO background_updates VALUES ('something')");
        let expected = contents(by_page.dump(History::Full).await);
        assert!(expected.1.len() > 10 && expected.0.len() == 4, "{:?}", expected.1);
        assert_eq!(contents(fixture.dump(History::Full).await), expected);
        let Some(server) = Server::start() else { continue };
        let found = dumped(&config(fixture.postgres(&server).await), History::Full).await;
        assert_eq!(contents(found), expected);
    }
}

/// SQLite's tables have the rows of an event at about the same place, but not of each.
#[tokio::test]
async fn tables_side_by_side_give_the_same_as_page_by_page() {
    for moved in ["$03", "$0", "$"] {
        let mut fixture = rooms("short", 0);
        // No row may be there twice.
        fixture.sql("DELETE FROM event_json WHERE rowid NOT IN (SELECT MIN(rowid) FROM event_json GROUP BY event_id)");
        for table in ["event_json", "event_to_state_groups"] {
            fixture.sql(&format!("CREATE UNIQUE INDEX {table}_id ON {table} (event_id)"));
            let sql = format!("WHERE event_id LIKE '{moved}_-b' OR event_id LIKE '{moved}__-c'");
            fixture.sql(&format!("UPDATE {table} SET rowid = 100000 - rowid {sql}"));
        }
        fixture.sql("DELETE FROM event_to_state_groups WHERE event_id IN ('$040-a', '$041-b')");
        fixture.sql("UPDATE event_to_state_groups SET state_group = 'x' WHERE event_id = '$042-c'");
        let mut by_page = fixture.clone();
        by_page.sql("INSERT INTO background_updates VALUES ('something')");
        let expected = contents(by_page.dump(History::Full).await);
        assert_eq!(contents(fixture.dump(History::Full).await), expected);
    }
}
