//! The library `conduit-backfill` on a real Synapse: a homeserver in memory that has the newest events of each room fetches
//! the rest. Then it has the same events in the same order, and each user may see the same of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use conduit_backfill::{
    Backfill, Host as _, Options,
    host::{GivenUp, StateMap},
    testing::memory_host::MemoryHost,
};
use migration_tests::{
    lab::{Engine, Lab},
    past::Past,
};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, RoomId};
use serde_json::{Value, json};

/// Events that the homeserver has.
const NEWEST: usize = 4;

/// Fetches what is missing of a room; `None` if Synapse gives nothing of it to servers.
pub(crate) async fn fetch(
    past: &Past,
    room: &RoomId,
    version: &str,
    order: &[OwnedEventId],
) -> Option<Arc<MemoryHost>> {
    let host = past.newest(room, version, order, NEWEST).await.unwrap()?;
    let upstream = Arc::new(past.client.clone());
    let backfill = Backfill::new(host.clone(), upstream, Options::default());
    let progress = backfill.complete(room, &mut |_| {}).await.unwrap();
    assert!(progress.complete);
    Some(host)
}

/// What is at a place in a state.
async fn content(
    host: &MemoryHost,
    room: &RoomId,
    state: &StateMap,
    kind: &str,
    key: &str,
    field: &str,
) -> Option<String> {
    let id = state.get(&(kind.to_owned(), key.to_owned()))?;
    let event = host.event(room, id).await.unwrap().expect("an event of a state is not there");
    text(&event, field)
}

fn text(event: &CanonicalJsonObject, field: &str) -> Option<String> {
    Some(event.get("content")?.as_object()?.get(field)?.as_str()?.to_owned())
}

/// The events that a user may see, by the states before them: the rules of the specification.
async fn visible(host: &MemoryHost, room: &RoomId, user: &str) -> BTreeSet<OwnedEventId> {
    let timeline = host.timeline(room);
    let mut visible = BTreeSet::new();
    for id in &timeline {
        let state = host.state_before(room, id).await.unwrap().expect("a state is not known");
        let event = host.event(room, id).await.unwrap().unwrap();
        let is = |kind: &str, key: &str| {
            event.get("type").and_then(CanonicalJsonValue::as_str) == Some(kind)
                && event.get("state_key").and_then(CanonicalJsonValue::as_str) == Some(key)
        };
        let mut visibilities = vec![
            content(host, room, &state, "m.room.history_visibility", "", "history_visibility")
                .await
                .unwrap_or_else(|| "shared".to_owned()),
        ];
        if is("m.room.history_visibility", "") {
            visibilities.extend(text(&event, "history_visibility"));
        }
        let mut memberships: Vec<_> =
            content(host, room, &state, "m.room.member", user, "membership")
                .await
                .into_iter()
                .collect();
        if is("m.room.member", user) {
            memberships.extend(text(&event, "membership"));
        }
        let member = |is: &str| memberships.iter().any(|membership| membership == is);
        let shown = visibilities.iter().any(|visibility| match visibility.as_str() {
            "world_readable" | "shared" => true,
            "invited" => member("invite"),
            _ => false,
        });
        if shown || member("join") {
            visible.insert(id.clone());
        }
    }
    visible
}

/// Takes out what Synapse hides of a user who is ignored: what is not state.
async fn hide_ignored(
    host: &MemoryHost,
    room: &RoomId,
    ignored: &str,
    visible: &mut BTreeSet<OwnedEventId>,
) {
    for id in host.timeline(room) {
        let event = host.event(room, &id).await.unwrap().unwrap();
        let sender = event.get("sender").and_then(CanonicalJsonValue::as_str);
        if sender == Some(ignored) && !event.contains_key("state_key") {
            visible.remove(&id);
        }
    }
}

/// That a room is the same as on Synapse: events, order, and who sees what. Gives the number of events and of views.
pub(crate) async fn compare(
    past: &Past,
    room: &RoomId,
    host: &MemoryHost,
    order: &[OwnedEventId],
) -> usize {
    assert_eq!(host.timeline(room), order, "{room}");
    let mut views: usize = 0;
    for (user, token) in past.users() {
        let Some(seen) = past.messages(room.as_str(), Some(&token)).await.unwrap() else {
            continue;
        };
        let id = |event: &Value| event["event_id"].as_str()?.try_into().ok();
        let seen: BTreeSet<OwnedEventId> = seen.iter().filter_map(id).collect();
        let mut expected = visible(host, room, &user).await;
        if user == "@dan:family.test" {
            hide_ignored(host, room, "@eve:family.test", &mut expected).await;
        }
        let newest = order.last().unwrap();
        let mut state = host.state_before(room, newest).await.unwrap().unwrap();
        let event = host.event(room, newest).await.unwrap().unwrap();
        let field = |name: &str| Some(event.get(name)?.as_str()?.to_owned());
        state.extend(field("type").zip(field("state_key")).map(|key| (key, newest.clone())));
        let now = content(host, room, &state, "m.room.member", &user, "membership").await;
        if now.as_deref() == Some("join") {
            assert_eq!(seen, expected, "what {user} sees of {room}");
        } else {
            // Synapse shows nothing of what came after somebody had left.
            let last = state.get(&("m.room.member".to_owned(), user.clone()));
            let last = last.and_then(|id| order.iter().position(|other| other == id));
            expected.retain(|id| order.iter().position(|other| other == id) <= last);
            let more: Vec<_> = expected.difference(&seen).collect();
            assert!(more.is_empty(), "what {user}, who left {room}, never saw: {more:?}");
        }
        views = views.saturating_add(1);
    }
    views
}

#[tokio::test]
async fn rooms_of_a_real_synapse_are_fetched_whole() {
    let lab = Lab::start(Engine::Sqlite).unwrap();
    let past = Past::of(&lab).unwrap();
    let mut versions = BTreeSet::new();
    let mut views = 0;
    for (room, version) in past.rooms() {
        let room: OwnedRoomId = room.try_into().unwrap();
        if matches!(version.as_str(), "1" | "2") {
            continue;
        }
        let order = past.order(room.as_str()).await.unwrap();
        if order.is_empty() {
            continue;
        }
        let Some(host) = fetch(&past, &room, &version, &order).await else { continue };
        views += compare(&past, &room, &host, &order).await;
        versions.insert(version);
    }
    let expected: BTreeSet<_> = (3..=12).map(|version| version.to_string()).collect();
    assert_eq!(versions, expected);
    assert!(views > 60, "{views}");
}

#[tokio::test]
async fn a_thousand_events_with_the_default_limits() {
    let mut lab = Lab::start(Engine::Sqlite).unwrap();
    let past = Past::of(&lab).unwrap();
    let (ada, ben) = (lab.access_token("ada").to_owned(), lab.access_token("ben").to_owned());
    let body = json!({"preset": "public_chat", "name": "Long"});
    let room: OwnedRoomId = past.create("11", body, &ada).await.unwrap().try_into().unwrap();
    let mut said = Vec::new();
    for number in 0..950 {
        match number % 50 {
            10 => past.go(room.as_str(), "join", &ben).await.unwrap(),
            40 => past.go(room.as_str(), "leave", &ben).await.unwrap(),
            25 => {
                let visibility = ["joined", "shared", "invited", "world_readable"];
                let visibility = visibility[number / 50 % visibility.len()];
                let content = json!({"history_visibility": visibility});
                let kind = "m.room.history_visibility";
                past.send(room.as_str(), kind, Some(""), content, &ada).await.unwrap();
            }
            35 => {
                let redacted = said.swap_remove(number / 3 % said.len());
                let content = json!({"redacts": redacted});
                past.send(room.as_str(), "m.room.redaction", None, content, &ada).await.unwrap();
            }
            _ => {
                let content = json!({"msgtype": "m.text", "body": format!("Message {number}")});
                said.push(
                    past.send(room.as_str(), "m.room.message", None, content, &ada).await.unwrap(),
                );
            }
        }
    }
    let there = past.order(room.as_str()).await.unwrap().len();
    for number in there..1000 {
        let content = json!({"msgtype": "m.text", "body": format!("Another message {number}")});
        past.send(room.as_str(), "m.room.message", None, content, &ada).await.unwrap();
    }
    lab.stop().unwrap();
    lab.resume_with_default_limits().unwrap();
    let past = Past::of(&lab).unwrap();
    let order = past.order(room.as_str()).await.unwrap();
    let host = fetch(&past, &room, "11", &order).await.unwrap();
    assert_eq!(host.given_up(&room), BTreeMap::<_, GivenUp>::new());
    assert!(compare(&past, &room, &host, &order).await >= 2);
    let redactions = host.redacted_by(&room);
    assert!(redactions.len() > 10, "{}", redactions.len());
}
