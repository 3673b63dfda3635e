//! Synapse's pagination tokens, which clients keep, point to their places in the timelines that are imported.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use conduit_backfill::predecessor::token::{self, Place};
use importer::conduit::{
    schema::{pdu_id::PduCount, trees},
    store::{self, Backend},
};
use migration_tests::{
    command,
    lab::{Engine, Lab},
    past::Past,
};
use reqwest::Method;
use serde_json::Value;

/// Events of a page: few, so that there are many tokens.
const LIMIT: &str = "4";

/// A token that a client has of a room, and the events that Synapse gives it backwards from there, newest first.
struct Kept {
    room: String,
    token: String,
    rest: Vec<String>,
}

/// All tokens that somebody gets who scrolls from `from` to the beginning of a room.
async fn scroll(past: &Past, user: &str, room: &str, from: Option<&str>) -> Vec<Kept> {
    let mut from = from.map(ToOwned::to_owned);
    let (mut tokens, mut pages) = (from.clone().into_iter().collect::<Vec<_>>(), Vec::new());
    loop {
        let path = ["_matrix", "client", "v3", "rooms", room, "messages"];
        let mut query = vec![("dir", "b"), ("limit", LIMIT)];
        query.extend(from.as_deref().map(|from| ("from", from)));
        let (status, page) = past.ask(Method::GET, &path, &query, None, Some(user)).await.unwrap();
        assert!(status.is_success(), "{room}: {page}");
        if from.is_none() {
            tokens.push(page["start"].as_str().unwrap().to_owned());
        }
        pages.push(ids(&page["chunk"]));
        let Some(end) = page["end"].as_str() else { break };
        tokens.push(end.to_owned());
        from = Some(end.to_owned());
    }
    let kept = tokens.into_iter().enumerate().map(|(index, token)| Kept {
        room: room.to_owned(),
        token,
        rest: pages[index..].concat(),
    });
    kept.collect()
}

fn ids(events: &Value) -> Vec<String> {
    let events = events.as_array().unwrap();
    events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

/// What everybody's clients have of the rooms that they are in: by `/sync`, and by scrolling.
async fn kept(past: &Past) -> Vec<Kept> {
    let (mut kept, mut scrolled) = (Vec::new(), BTreeSet::new());
    for (_, user) in past.users() {
        let filter = r#"{"room":{"timeline":{"limit":2}}}"#;
        let path = ["_matrix", "client", "v3", "sync"];
        let query = [("filter", filter), ("timeout", "0")];
        let (_, sync) = past.ask(Method::GET, &path, &query, None, Some(&user)).await.unwrap();
        for (room, joined) in sync["rooms"]["join"].as_object().into_iter().flatten() {
            if scrolled.insert(room.clone()) {
                kept.extend(scroll(past, &user, room, None).await);
                let previous = joined["timeline"]["prev_batch"].as_str();
                kept.extend(scroll(past, &user, room, previous).await);
            }
        }
    }
    kept
}

/// An event of a timeline: its count, where it came in Synapse's stream, and its depth.
struct Stored {
    count: u64,
    stream: i64,
    depth: u64,
}

/// The timelines of a database: each room's events by their ids.
fn timelines(dump: &Path, database: &Path) -> BTreeMap<String, BTreeMap<String, Stored>> {
    let streams = streams(dump);
    let store = store::read(Backend::Sqlite, database).unwrap();
    let mut rooms = BTreeMap::new();
    for row in store.scan(&trees::ROOMID_SHORTROOMID, &[]).unwrap() {
        let (room, short) = row.unwrap();
        let mut events = BTreeMap::new();
        for row in store.scan(&trees::PDUID_PDU, &short).unwrap() {
            let (key, event) = row.unwrap();
            let count = PduCount::read(&key).unwrap().1.normal().unwrap();
            let event: Value = serde_json::from_slice(&event).unwrap();
            let id = event["event_id"].as_str().unwrap().to_owned();
            let Some(stream) = streams.get(&id).copied() else { continue };
            events.insert(id, Stored { count, stream, depth: event["depth"].as_u64().unwrap() });
        }
        rooms.insert(String::from_utf8(room.to_vec()).unwrap(), events);
    }
    rooms
}

/// Where in Synapse's stream each event of a dump came.
fn streams(dump: &Path) -> BTreeMap<String, i64> {
    let rooms = fs::read_dir(dump.join("rooms")).unwrap().map(|entry| entry.unwrap().path());
    let timelines = rooms.filter(|path| path.to_string_lossy().ends_with(".timeline.jsonl"));
    let mut streams = BTreeMap::new();
    for path in timelines {
        for line in fs::read_to_string(path).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let id = event["event_id"].as_str().unwrap().to_owned();
            streams.insert(id, event["stream"].as_i64().unwrap());
        }
    }
    streams
}

/// The count from which a page backwards begins, and the last place in Synapse's stream of what is in it for certain.
fn begin(token: &str, events: &BTreeMap<String, Stored>) -> (u64, i64) {
    match token::place(token).unwrap_or_else(|| panic!("{token} points nowhere")) {
        Place::Count(count) => {
            let stream = token.trim_start_matches(|c: char| !c.is_ascii_digit());
            let stream = stream.split('_').next().unwrap().rsplit('-').next().unwrap();
            (count, stream.parse().unwrap())
        }
        Place::Depth(depth) => {
            let before = |count| {
                let before = events.values().filter(|event| event.count < count);
                before.max_by_key(|event| event.count).map(|event| (event.count, event.depth))
            };
            (token::after_depth(depth, before), -1)
        }
    }
}

#[tokio::test]
async fn synapses_tokens_point_to_their_places() {
    let lab = Lab::start(Engine::Sqlite).unwrap();
    let kept = kept(&Past::of(&lab).unwrap()).await;
    lab.stop().unwrap();
    let [dump, database] = ["dump", "conduit"].map(|name| lab.directory().join(name));
    command::dump(&lab.by_database(), &dump).unwrap();
    command::import(&dump, &database, "sqlite").unwrap();
    let rooms = timelines(&dump, &database);

    let (mut exact, mut twice) = (0, 0);
    for Kept { room, token, rest } in &kept {
        // Rooms of versions 1 and 2 stay behind.
        let Some(events) = rooms.get(room) else { continue };
        let (count, stream) = begin(token, events);
        let page = |event: &Stored| event.count < count;
        // What came later has been synced, wherever in the room's graph it stands.
        for event in
            rest.iter().filter_map(|id| events.get(id)).filter(|event| event.stream <= stream)
        {
            assert!(page(event), "{room}: {token} misses {}", event.stream);
        }
        let shown: BTreeSet<_> = rest.iter().collect();
        let first =
            events.iter().filter(|(_, event)| page(event)).max_by_key(|(_, event)| event.count);
        if first.is_none_or(|(id, _)| shown.contains(id)) { exact += 1 } else { twice += 1 }
    }
    assert!(kept.len() > 300, "only {} tokens", kept.len());
    let depths =
        kept.iter().filter(|kept| matches!(token::place(&kept.token), Some(Place::Depth(_))));
    assert!(depths.count() > 0, "no token of what was fetched from another server");
    // Where the room's graph is forked, or an event is not shown.
    assert!(twice * 20 < exact, "{twice} of {} pages begin with what the client has", kept.len());
}
