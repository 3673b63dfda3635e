//! Rows that Synapse lives with: what can't be used is listed, the rest goes on.

use serde_json::json;

use super::{CREATE, JOIN, current, extremity, ids, long_room, room, section, skipped};
use crate::{
    dump::History,
    synapse::database::testing::{Fixture, NewEvent},
};

#[tokio::test]
async fn events_without_json_or_with_json_that_is_no_event_are_listed() {
    for damage in [
        "DELETE FROM event_json WHERE event_id = '$m001'",
        "UPDATE event_json SET json = '{\"type\":' WHERE event_id = '$m001'",
        "UPDATE event_json SET json = '[]' WHERE event_id = '$m001'",
        "UPDATE event_json SET json = '{\"type\":\"m\",\"sender\":1}' WHERE event_id = '$m001'",
        "UPDATE event_json SET internal_metadata = '{' WHERE event_id = '$m001'",
    ] {
        let mut fixture = long_room(3);
        fixture.sql(damage);
        let dump = fixture.dump(History::Full).await;
        let rest = ["$create", "$join", "$m000", "$m002"];
        assert_eq!(ids(&dump.rooms[0], "timeline"), rest, "{damage}");
        let reason =
            if damage.starts_with("DELETE") { "event-json-missing" } else { "event-unparsable" };
        assert_eq!(skipped(&dump), [("!room:own.test $m001", reason)], "{damage}");
    }
}

#[tokio::test]
async fn of_a_key_that_is_there_twice_the_last_counts() {
    let mut fixture = long_room(1);
    fixture.sql(
        "UPDATE event_json SET json = '{\"type\":\"a\",\"unsigned\":{},\"sender\":\"@a:own.test\",\"type\":\"b\"}' WHERE event_id = '$m000'",
    );
    let dump = fixture.dump(History::Full).await;
    let expected = json!({"type": "b", "sender": "@a:own.test"});
    assert_eq!(dump.rooms[0]["timeline"][2]["pdu"], expected);
    assert_eq!(dump.skipped, []);
}

#[tokio::test]
async fn prev_and_auth_events_that_are_not_there_do_not_take_the_event_away() {
    let mut fixture = Fixture::new();
    room(&mut fixture);
    fixture.event(&NewEvent {
        id: "$name",
        kind: "m.room.name",
        state_key: Some(""),
        prev: &["$nowhere"],
        auth: &["$create", "$lost", "no id"],
        group: Some(3),
        ..NewEvent::default()
    });
    fixture.group(3, Some(2), &[("m.room.name", "", "$name")]);
    current(&mut fixture, &[CREATE, JOIN, ("m.room.name", "", "$name")]);
    extremity(&mut fixture, "$name");
    let dump = fixture.dump(History::Full).await;
    let name = section(&dump.rooms[0], "timeline").pop().unwrap();
    assert_eq!(name, ("$name".to_owned(), vec!["$create".to_owned(), "$join".to_owned()]));
    assert_eq!(skipped(&dump), [("!room:own.test $lost", "event-missing")]);
}

#[tokio::test]
async fn state_groups_that_lack_their_beginning_are_missing_states() {
    for damage in [
        // The group that others build on has lost its rows, or never was.
        "DELETE FROM state_groups_state WHERE state_group = 1",
        "UPDATE state_group_edges SET prev_state_group = 77 WHERE state_group = 2",
        "UPDATE event_to_state_groups SET state_group = 99 WHERE event_id IN ('$join', '$m000')",
    ] {
        let mut fixture = long_room(1);
        fixture.event(&NewEvent {
            id: "$whole",
            prev: &["$m000"],
            group: Some(50),
            ..NewEvent::default()
        });
        fixture.group(50, None, &[CREATE, JOIN]);
        fixture.sql(damage);
        let dump = fixture.dump(History::Full).await;
        let timeline = ids(&dump.rooms[0], "timeline");
        assert!(timeline.contains(&"$whole".to_owned()), "{damage}: {timeline:?}");
        assert!(
            skipped(&dump).contains(&("!room:own.test $m000", "state-missing")),
            "{damage}: {:?}",
            dump.skipped
        );
    }
}

#[tokio::test]
async fn a_state_event_without_the_state_before_it_still_counts_in_later_states() {
    let mut fixture = long_room(1);
    fixture.sql("DELETE FROM event_to_state_groups WHERE event_id IN ('$create', '$join')");
    let dump = fixture.dump(History::Full).await;
    assert_eq!(ids(&dump.rooms[0], "timeline"), ["$create", "$m000"]);
    assert_eq!(ids(&dump.rooms[0], "outliers"), ["$join"]);
    assert_eq!(skipped(&dump), [("!room:own.test $join", "state-missing")]);
}

#[tokio::test]
async fn events_at_one_place_are_all_there() {
    let mut fixture = long_room(1100);
    // Around the end of a page of a thousand.
    fixture
        .sql("UPDATE events SET stream_ordering = 990 WHERE stream_ordering BETWEEN 980 AND 1030");
    let dump = fixture.dump(History::Full).await;
    let mut timeline = ids(&dump.rooms[0], "timeline");
    assert_eq!(timeline.len(), 1102);
    timeline.sort();
    timeline.dedup();
    assert_eq!(timeline.len(), 1102);
    assert_eq!(dump.skipped, []);
}

#[tokio::test]
async fn an_event_that_is_there_twice_is_dumped_once() {
    let mut fixture = long_room(2);
    fixture.sql(
        "INSERT INTO event_json SELECT * FROM event_json WHERE event_id IN ('$m000', '$m001')",
    );
    let dump = fixture.dump(History::Full).await;
    assert_eq!(ids(&dump.rooms[0], "timeline"), ["$create", "$join", "$m000", "$m001"]);
    assert_eq!(
        skipped(&dump),
        [("!room:own.test $m000", "event-twice"), ("!room:own.test $m001", "event-twice")]
    );
}

#[tokio::test]
async fn an_event_whose_row_says_another_room_is_left_out_there() {
    let mut fixture = long_room(1);
    fixture.sql(
        "INSERT INTO events SELECT stream_ordering + 100, topological_ordering, event_id, type, '!other:own.test', outlier, received_ts, sender \
         FROM events WHERE event_id = '$m000'",
    );
    fixture.sql("INSERT INTO local_current_membership VALUES ('!other:own.test', '@alice:own.test', '$x', 'join')");
    let dump = fixture.dump(History::Full).await;
    let timelines: Vec<_> = dump.rooms.iter().map(|room| ids(room, "timeline")).collect();
    let whole = ["$create", "$join", "$m000"].map(ToOwned::to_owned).to_vec();
    assert_eq!(timelines, [vec![], whole]);
    assert!(skipped(&dump).contains(&("!other:own.test $m000", "event-foreign")));
}
