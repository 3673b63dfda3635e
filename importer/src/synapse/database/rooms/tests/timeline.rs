use serde_json::json;

use super::{CREATE, JOIN, current, extremity, ids, long_room};
use crate::synapse::{
    History,
    database::testing::{Fixture, NewEvent},
};

#[tokio::test]
async fn recent_history_is_the_newest_fifty_events() {
    for (messages, dumped, earlier) in [(47, 49, 0), (48, 50, 0), (49, 50, 1), (248, 50, 200)] {
        let mut fixture = long_room(messages);
        current(&mut fixture, &[CREATE, JOIN]);
        let dump = fixture.dump(History::Recent).await;
        let room = &dump.rooms[0];
        let timeline = ids(room, "timeline");
        assert_eq!(
            (timeline.len(), room["earlier_events"].as_u64()),
            (dumped, Some(earlier)),
            "{messages}"
        );
        assert_eq!(timeline.last(), Some(&format!("$m{:03}", messages - 1)));
        assert_eq!(dump.skipped, []);
        let outliers: &[&str] = match earlier {
            0 => &[],
            1 => &["$create"],
            _ => &["$create", "$join"],
        };
        assert_eq!(ids(room, "outliers"), outliers);
    }
}

#[tokio::test]
async fn recent_history_reaches_back_to_the_oldest_extremity() {
    let mut fixture = long_room(248);
    extremity(&mut fixture, "$m100");
    extremity(&mut fixture, "$m247");
    let dump = fixture.dump(History::Recent).await;
    let timeline = ids(&dump.rooms[0], "timeline");
    assert_eq!((timeline.len(), timeline.first().map(String::as_str)), (148, Some("$m100")));
    assert_eq!(dump.rooms[0]["earlier_events"], json!(102));
}

#[tokio::test]
async fn full_history_has_every_page_once() {
    let dump = long_room(448).dump(History::Full).await;
    let timeline = ids(&dump.rooms[0], "timeline");
    let expected: Vec<_> = (0..448).map(|message| format!("$m{message:03}")).collect();
    assert_eq!(timeline[2..], expected);
}

#[tokio::test]
async fn events_at_one_place_are_all_there_wherever_a_page_ends() {
    for last in [104, 249] {
        let mut fixture = long_room(250);
        // Some around the end of the first page, or more than a page has.
        fixture.sql(&format!(
            "UPDATE events SET stream_ordering = 97 WHERE event_id BETWEEN '$m095' AND '$m{last}'"
        ));
        let dump = fixture.dump(History::Full).await;
        let timeline = ids(&dump.rooms[0], "timeline");
        let expected: Vec<_> = (0..250).map(|message| format!("$m{message:03}")).collect();
        assert_eq!(timeline[2..], expected);
        assert_eq!(dump.skipped, []);
    }
}

#[tokio::test]
async fn backfilled_events_come_first_by_depth() {
    let mut fixture = Fixture::new();
    fixture.sql("INSERT INTO rooms VALUES ('!room:own.test', FALSE, '10')");
    fixture.sql("INSERT INTO local_current_membership VALUES ('!room:own.test', '@alice:own.test', '$5', 'join')");
    fixture.group(1, None, &[CREATE]);
    // Two pages of two events: the newer page got the orderings -1 and -2.
    for (id, depth, stream) in
        [("$5", 5, 1), ("$4", 4, -2), ("$3", 3, -1), ("$2", 2, -4), ("$1", 1, -3)]
    {
        fixture.event(&NewEvent {
            id,
            depth,
            stream: Some(stream),
            group: Some(1),
            ..NewEvent::default()
        });
    }
    let dump = fixture.dump(History::Recent).await;
    assert_eq!(ids(&dump.rooms[0], "timeline"), ["$1", "$2", "$3", "$4", "$5"]);
}
