use serde_json::{Value, json};

use super::{CREATE, JOIN, current, extremity, ids, long_room, room};
use crate::{
    dump::History,
    synapse::database::testing::{Fixture, NewEvent},
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

/// A room with 248 messages, some of which relate to others: their numbers, and the contents.
fn related(relations: &[(usize, Value)]) -> Fixture {
    let mut fixture = Fixture::new();
    room(&mut fixture);
    for message in 0..248 {
        let content = relations.iter().find(|(number, _)| *number == message);
        fixture.event(&NewEvent {
            id: &format!("$m{message:03}"),
            prev: &["$join"],
            group: Some(2),
            content: content.map_or_else(|| json!({}), |(_, content)| content.clone()),
            ..NewEvent::default()
        });
    }
    fixture
}

fn relation(kind: &str, target: &str) -> Value {
    json!({"m.relates_to": {"rel_type": kind, "event_id": target}})
}

/// The newest fifty begin with number 198.
#[tokio::test]
async fn recent_history_reaches_back_to_what_it_relates_to() {
    let reply = json!({"m.relates_to": {"m.in_reply_to": {"event_id": "$m100"}}});
    let both = [
        (240, relation("m.annotation", "$m150")),
        (246, relation("m.thread", "$m100")),
        // Itself no longer recent.
        (120, relation("m.thread", "$m010")),
    ];
    for (relations, reach, first, earlier) in [
        (vec![(240, relation("m.thread", "$m100"))], 1000, "$m100", 102),
        (vec![(240, relation("m.replace", "$m100"))], 98, "$m100", 102),
        (vec![(240, relation("m.thread", "$m100"))], 97, "$m198", 200),
        (vec![(240, relation("m.thread", "$m100"))], 0, "$m198", 200),
        (vec![(240, reply)], 1000, "$m100", 102),
        (both.to_vec(), 1000, "$m100", 102),
        (both.to_vec(), 60, "$m150", 152),
        (vec![(240, relation("m.thread", "$create"))], u32::MAX, "$create", 0),
        (vec![(240, relation("m.thread", "$m230"))], 1000, "$m198", 200),
        (vec![(197, relation("m.thread", "$m100"))], 1000, "$m198", 200),
        (vec![(240, relation("m.thread", "$unknown"))], 1000, "$m198", 200),
    ] {
        let dump = related(&relations).dump_reaching(reach).await;
        let timeline = ids(&dump.rooms[0], "timeline");
        assert_eq!(timeline.first().map(String::as_str), Some(first), "{relations:?} {reach}");
        assert_eq!(dump.rooms[0]["earlier_events"], json!(earlier));
        assert_eq!(timeline.len(), 250 - earlier, "{relations:?} {reach}");
        assert_eq!(dump.skipped, []);
    }
}

/// What users never saw, and what is of another room, is nothing to begin with.
#[tokio::test]
async fn recent_history_does_not_reach_back_to_what_is_not_in_the_timeline() {
    let mut fixture = related(&[
        (240, relation("m.thread", "$m100")),
        (241, relation("m.thread", "$m101")),
        (242, relation("m.thread", "$m102")),
        (243, relation("m.thread", "$m103")),
    ]);
    fixture.sql("UPDATE events SET outlier = TRUE WHERE event_id = '$m100'");
    fixture.sql("INSERT INTO rejections VALUES ('$m101')");
    fixture.sql(
        "UPDATE event_json SET internal_metadata = '{\"soft_failed\":true}' WHERE event_id = '$m102'",
    );
    fixture.sql("UPDATE events SET room_id = '!other:own.test' WHERE event_id = '$m103'");
    let dump = fixture.dump_reaching(1000).await;
    assert_eq!(ids(&dump.rooms[0], "timeline").first().map(String::as_str), Some("$m198"));
}

/// An event that Synapse has backfilled is before all that have arrived.
#[tokio::test]
async fn recent_history_reaches_back_into_what_was_backfilled() {
    let mut fixture = related(&[(240, relation("m.thread", "$old3"))]);
    for depth in 1..6 {
        fixture.event(&NewEvent {
            id: &format!("$old{depth}"),
            depth: depth - 10,
            stream: Some(depth - 10),
            group: Some(2),
            ..NewEvent::default()
        });
    }
    let dump = fixture.dump_reaching(1000).await;
    let timeline = ids(&dump.rooms[0], "timeline");
    assert_eq!(timeline[..4], ["$old3", "$old4", "$old5", "$create"]);
    assert_eq!(dump.rooms[0]["earlier_events"], json!(2));
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

/// A room in which the server missed what has the depths 4 to 7, and was told of number 10 before number 9.
fn absent() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.sql("INSERT INTO rooms VALUES ('!room:own.test', FALSE, '10')");
    fixture.sql("INSERT INTO local_current_membership VALUES ('!room:own.test', '@alice:own.test', '$1', 'join')");
    fixture.group(1, None, &[CREATE]);
    let mut event = |depth: i64, stream: i64| {
        fixture.event(&NewEvent {
            id: &format!("${depth}"),
            depth,
            stream: Some(stream),
            group: Some(1),
            ..NewEvent::default()
        });
    };
    for (depth, stream) in [(2, 1), (3, 2), (8, 3), (10, 4), (9, 5), (11, 6)] {
        event(depth, stream);
    }
    // Two pages, and what was before the first that arrived.
    for (depth, stream) in [(6, -2), (7, -1), (4, -4), (5, -3), (1, -5)] {
        event(depth, stream);
    }
    fixture
}

#[tokio::test]
async fn what_was_backfilled_stands_where_it_was_missed() {
    let fixture = absent();
    let dump = fixture.dump(History::Full).await;
    let expected = ["$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$10", "$9", "$11"];
    assert_eq!(ids(&dump.rooms[0], "timeline"), expected);
    assert_eq!(dump.rooms[0]["earlier_events"], json!(0));
}

/// Wherever what is recent begins, what comes before is counted, and the rest is there.
#[tokio::test]
async fn recent_history_may_begin_with_what_was_missed() {
    for (related, first, earlier) in
        [("$5", "$5", 4), ("$7", "$7", 6), ("$8", "$8", 7), ("$3", "$3", 2), ("$1", "$1", 0)]
    {
        let mut fixture = absent();
        for number in 0..50 {
            fixture.event(&NewEvent {
                id: &format!("$m{number:03}"),
                depth: 12 + number,
                group: Some(1),
                content: relation("m.thread", related),
                ..NewEvent::default()
            });
        }
        let dump = fixture.dump_reaching(1000).await;
        let timeline = ids(&dump.rooms[0], "timeline");
        assert_eq!(timeline.first().map(String::as_str), Some(first));
        assert_eq!(timeline.len(), 61 - earlier);
        assert_eq!(dump.rooms[0]["earlier_events"], json!(earlier));
    }
}

/// A gap may be longer than a page, and there may be many.
#[tokio::test]
async fn every_page_of_what_was_missed_is_there_once() {
    let mut fixture = absent();
    let mut expected = vec!["$8".to_owned(), "$10".to_owned(), "$9".to_owned(), "$11".to_owned()];
    for number in 0..300_i64 {
        // Of every three, one has arrived; in the end, there are 150 in one gap.
        let arrived = number % 3 == 2 && number < 150 || number == 299;
        let id = format!("$m{number:03}");
        fixture.event(&NewEvent {
            id: &id,
            depth: 12 + number,
            stream: Some(if arrived { 7 + number } else { -1000 + number }),
            group: Some(1),
            ..NewEvent::default()
        });
        expected.push(id);
    }
    let dump = fixture.dump(History::Full).await;
    assert_eq!(ids(&dump.rooms[0], "timeline")[7..], expected);
}
