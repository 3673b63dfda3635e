//! Joins that overtake what led to them: `scripts/lab/race.py` makes them for certain. What is fetched of them, what a full
//! import has and what Synapse shows are the same.

use std::collections::{BTreeMap, BTreeSet};

use conduit_backfill::Host as _;
use importer::conduit::store::Backend;
use migration_tests::{
    lab::{Engine, Lab},
    past::Past,
};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId};

use crate::{
    helpers::room_contents::{Content, same},
    with_synapse::after::{
        backfill::{compare, fetch},
        verify_after_backfill::{Story, is_of_dump},
    },
};

/// The rooms, and how many joins each has that rest on an event which the state before them lacks.
const RACES: [(&str, usize); 5] = [
    ("again_after_a_kick", 1),
    ("knocked", 0),
    ("one_invite", 1),
    ("restricted", 0),
    ("two_invites", 2),
];

fn rooms(past: &Past) -> BTreeMap<String, OwnedRoomId> {
    serde_json::from_value(past.notes["races"].clone()).unwrap()
}

fn ids(event: &CanonicalJsonObject, field: &str) -> BTreeSet<OwnedEventId> {
    let ids = event.get(field).and_then(CanonicalJsonValue::as_array).unwrap();
    ids.iter().map(|id| id.as_str().unwrap().try_into().unwrap()).collect()
}

#[tokio::test]
async fn joins_that_overtake_what_led_to_them() {
    let lab = Lab::start(Engine::Sqlite).unwrap();
    lab.run("live-races", &[]).unwrap();
    let past = Past::of(&lab).unwrap();
    let rooms = rooms(&past);
    let mut raced = BTreeMap::new();
    for (name, room) in &rooms {
        let order = past.order(room.as_str()).await.unwrap();
        let host = fetch(&past, room, "10", &order).await.unwrap();
        compare(&past, room, &host, &order).await;
        let mut joins = 0;
        for id in &order {
            let event = host.event(room, id).await.unwrap().unwrap();
            let state = host.state_before(room, id).await.unwrap().unwrap();
            let state: BTreeSet<_> = state.into_values().collect();
            joins += usize::from(!ids(&event, "auth_events").is_subset(&state));
        }
        raced.insert(name.as_str(), joins);
    }
    assert_eq!(raced, BTreeMap::from(RACES));

    lab.stop().unwrap();
    let mut story = Story::of(lab);
    let database = story.database("fetched", "rocksdb");
    story.start_quietly();
    let outcome = story.backfill(&database).backfilled().unwrap();
    for room in rooms.values() {
        let told = outcome["rooms"].as_array().unwrap();
        let told = told.iter().find(|told| told["room_id"] == room.as_str()).unwrap();
        assert!(told["fetched"].as_u64().unwrap() > 5, "{told:#}");
    }
    is_of_dump(&story.recent, &database);
    let [mut whole, mut fetched] = story.contents(&database, Backend::Rocksdb);
    let [mut arrived, mut told] =
        [&mut whole, &mut fetched].map(|content| take(content, &rooms["restricted"]));
    same(&whole, &fetched);
    // The join arrived before what it follows. In that order people saw both, and Synapse tells other servers of another one.
    assert_ne!(arrived, told);
    arrived.sort();
    told.sort();
    assert_eq!(arrived, told);
}

/// Takes a room's timeline out.
fn take(content: &mut Content, room: &OwnedRoomId) -> Vec<String> {
    let of_room = format!("\"room_id\":\"{room}\"");
    let timeline = content.get_mut("timeline").unwrap();
    timeline.extract_if(.., |event| event.contains(&of_room)).collect()
}
