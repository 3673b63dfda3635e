//! Rooms of a scripted Synapse.

use std::collections::BTreeMap;

use conduit_backfill::{SigningKey, host::Pdu, testing::signed_event::EventSigner};
use ruma::{OwnedEventId, OwnedRoomId, RoomVersionId};
use serde_json::{Value, json};

use super::fake::{Fake, KEY};
use crate::{
    dump::{
        DumpReader, DumpWriter, Extent, History,
        format::{DumpEvent, DumpRoom, DumpState, Manifest, SourceInfo, SourceKind},
    },
    source::Source,
    synapse::api::{ApiOptions, ApiSource},
    tally::{Kind, Tally},
};

const ROOM: &str = "!r:example.org";
const ALICE: &str = "@alice:example.org";
const BOB: &str = "@bob:example.org";

/// Makes events of a room of version 10.
#[derive(Default)]
struct Factory {
    events: Vec<(OwnedEventId, Value)>,
}

impl Factory {
    /// Adds an event, whose prev and auth events are numbers of earlier ones.
    fn add(&mut self, mut event: Value, prev: &[usize], auth: &[usize]) -> OwnedEventId {
        let ids = |numbers: &[usize]| -> Vec<Value> {
            numbers.iter().map(|number| json!(self.events[*number].0)).collect()
        };
        let depth = prev.iter().map(|n| self.events[*n].1["depth"].as_u64().unwrap()).max();
        event["room_id"] = json!(ROOM);
        event["prev_events"] = ids(prev).into();
        event["auth_events"] = ids(auth).into();
        event["depth"] = json!(depth.unwrap_or(0).strict_add(1));
        event["origin_server_ts"] = json!(self.events.len());
        let key = SigningKey::parse(KEY).unwrap();
        let signer = EventSigner::new(&RoomVersionId::V10, key).unwrap();
        let Pdu { event_id, json } = signer.sign(event).unwrap();
        self.events.push((event_id.clone(), serde_json::to_value(&json).unwrap()));
        event_id
    }

    /// A room with its first events: 0 create, 1 Alice, 2 power levels, 3 join rules, 4 Bob.
    fn room() -> Self {
        let mut factory = Self::default();
        factory.add(
            json!({"type": "m.room.create", "state_key": "", "sender": ALICE, "content": {"room_version": "10", "creator": ALICE}}),
            &[],
            &[],
        );
        factory.add(member(ALICE, "join"), &[0], &[0]);
        factory.add(
            json!({"type": "m.room.power_levels", "state_key": "", "sender": ALICE, "content": {"users": {ALICE: 100, BOB: 50}}}),
            &[1],
            &[0, 1],
        );
        factory.add(
            json!({"type": "m.room.join_rules", "state_key": "", "sender": ALICE, "content": {"join_rule": "public"}}),
            &[2],
            &[0, 1, 2],
        );
        factory.add(member(BOB, "join"), &[3], &[0, 2, 3]);
        factory
    }

    /// In the raw form of the admin API.
    fn raw(&self, number: usize) -> Value {
        let (id, mut event) = self.events[number].clone();
        event["event_id"] = json!(id);
        event["unsigned"] = json!({"age": 1});
        event
    }

    fn id(&self, number: usize) -> &OwnedEventId {
        &self.events[number].0
    }

    /// Scripts the room: `timeline` as the admin API shows it, every event by itself.
    fn serve(&self, fake: &Fake, timeline: &[Value], joined: u64) {
        fake.answer(
            "/_synapse/admin/v1/rooms",
            json!({"rooms": [{"room_id": ROOM, "version": "10", "public": true, "joined_local_members": joined}]}),
        );
        let path = |rest: &str| format!("/_synapse/admin/v1/rooms/{ROOM}/{rest}");
        fake.answer(&path("messages"), json!({"chunk": timeline, "start": "t0-0"}));
        let (last, event) = self.events.last().unwrap();
        fake.answer(
            &path("forward_extremities"),
            json!({"results": [{"event_id": last, "depth": event["depth"]}]}),
        );
        fake.answer(&path("state"), json!({"state": []}));
        fake.answer(
            &format!("/_matrix/client/v3/rooms/{ROOM}/aliases"),
            json!({"aliases": ["#r:example.org", "#r:elsewhere"]}),
        );
        for number in 0..self.events.len() {
            let path = format!("/_synapse/admin/v1/fetch_event/{}", self.id(number));
            fake.answer(&path, json!({"event": self.raw(number)}));
        }
    }

    fn all(&self) -> Vec<Value> {
        (0..self.events.len()).map(|number| self.raw(number)).collect()
    }
}

fn member(user: &str, membership: &str) -> Value {
    json!({"type": "m.room.member", "state_key": user, "sender": user, "content": {"membership": membership}})
}

fn topic(sender: &str, topic: &str) -> Value {
    json!({"type": "m.room.topic", "state_key": "", "sender": sender, "content": {"topic": topic}})
}

fn message(body: &str) -> Value {
    json!({"type": "m.room.message", "sender": ALICE, "content": {"body": body}})
}

/// A room as it was dumped.
struct Dumped {
    head: DumpRoom,
    states: BTreeMap<u64, BTreeMap<(String, String), OwnedEventId>>,
    outliers: Vec<DumpEvent>,
    timeline: Vec<DumpEvent>,
    tally: Tally,
}

impl Dumped {
    /// The event in the state before the event.
    fn before(&self, event: &OwnedEventId, kind: &str) -> Option<&OwnedEventId> {
        let event = self.timeline.iter().find(|e| e.event_id == *event).unwrap();
        self.states[&event.state_before.unwrap()].get(&(kind.to_owned(), String::new()))
    }
}

async fn dump(source: &mut ApiSource) -> Dumped {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    let mut tally = Tally::default();
    let server = source.server(&mut tally).await.unwrap();
    writer.server(&server).unwrap();
    let rooms = source.rooms(&mut tally).await.unwrap().concat();
    assert_eq!(rooms, [OwnedRoomId::try_from(ROOM).unwrap()]);
    source.room(&rooms[0], &writer, &mut tally).await.unwrap();
    assert_eq!(tally.unbalanced(), [], "{tally:?}");
    let source = SourceInfo {
        kind: SourceKind::Api,
        synapse_version: None,
        schema_version: None,
        extent: None,
        pending_updates: Vec::new(),
    };
    let manifest = Manifest {
        census: None,
        version: crate::dump::format::VERSION,
        server_name: server.server_name,
        created_ts: 0,
        source,
        importer: None,
        since: None,
        tally: Tally::default(),
        files: Vec::new(),
    };
    writer.finish(manifest).unwrap();
    let reader = DumpReader::open(&directory, |_| {}).unwrap();
    let mut room = reader.rooms().next().unwrap().unwrap();
    let head = room.head().clone();
    let states: Vec<DumpState> = room.states().unwrap().map(Result::unwrap).collect();
    let outliers = room.outliers().unwrap().map(Result::unwrap).collect();
    let timeline = room.timeline().unwrap().map(Result::unwrap).collect();
    Dumped { head, states: expand(states), outliers, timeline, tally }
}

fn expand(states: Vec<DumpState>) -> BTreeMap<u64, BTreeMap<(String, String), OwnedEventId>> {
    let mut all: BTreeMap<u64, BTreeMap<_, _>> = BTreeMap::new();
    for (expected, DumpState { id, base, set, unset }) in (1..).zip(states) {
        assert_eq!(id, expected);
        let mut entries: BTreeMap<_, _> =
            base.map_or_else(BTreeMap::new, |base| all[&base].clone());
        for (kind, state_key) in unset {
            entries.remove(&(kind, state_key)).unwrap();
        }
        for (kind, state_key, event_id) in set {
            entries.insert((kind, state_key), event_id);
        }
        all.insert(id, entries);
    }
    all
}

#[tokio::test]
async fn a_room_that_everybody_left_is_read_to_the_last_leave() {
    let mut room = Factory::room();
    let hello = room.add(message("hello"), &[4], &[0, 1, 2]);
    room.add(member(BOB, "leave"), &[5], &[0, 2, 4]);
    let leave = room.add(member(ALICE, "leave"), &[6], &[0, 1, 2]);
    let fake = Fake::start().await;
    room.serve(&fake, &room.all(), 0);
    let dumped = dump(&mut fake.connect().await).await;
    let mut head = serde_json::to_value(&dumped.head).unwrap();
    let current = head.as_object_mut().unwrap().remove("current_state").unwrap();
    assert_eq!(
        head,
        json!({
            "room_id": ROOM,
            "room_version": "10",
            "published": true,
            "aliases": [{"alias": "#r:example.org"}],
            "forward_extremities": [leave],
            "earlier_events": 0,
            "local_members": [
                {"user_id": ALICE, "membership": "leave", "event_id": leave},
                {"user_id": BOB, "membership": "leave", "event_id": room.id(6)},
            ],
        })
    );
    let state = &dumped.states[&current.as_u64().unwrap()];
    let expected: Vec<_> = [0, 3, 7, 6, 2].map(|n| room.id(n)).into();
    assert_eq!(state.values().collect::<Vec<_>>(), expected);
    assert_eq!(dumped.timeline.len(), 8);
    assert_eq!(dumped.timeline[0].state_before, None);
    assert_eq!(dumped.before(&hello, "m.room.power_levels"), Some(room.id(2)));
    let pdu: Value = serde_json::from_str(dumped.timeline[5].pdu.get()).unwrap();
    assert_eq!(pdu, room.events[5].1);
    assert!(dumped.outliers.is_empty());
    // Nobody is in the room, so federation was not asked.
    assert_eq!(fake.requests("/_matrix/federation/v1/state_ids/!r:example.org").await, 0);
}

/// ```text
///         ┌── 5 topic of Bob ────┐
///   4 ────┤                      ├── 7 message
///         └── 6 topic of Alice ──┘
/// ```
fn fork() -> (Factory, OwnedEventId) {
    let mut room = Factory::room();
    room.add(topic(BOB, "bob"), &[4], &[0, 2, 4]);
    room.add(topic(ALICE, "alice"), &[4], &[0, 1, 2]);
    let last = room.add(message("both"), &[5, 6], &[0, 1, 2]);
    (room, last)
}

#[tokio::test]
async fn branches_of_a_room_that_everybody_left_are_resolved() {
    let (room, last) = fork();
    let fake = Fake::start().await;
    room.serve(&fake, &room.all(), 0);
    let dumped = dump(&mut fake.connect().await).await;
    // Of two conflicting events the one that is later in the mainline order counts: the younger one.
    assert_eq!(dumped.before(&last, "m.room.topic"), Some(room.id(6)));
    assert_eq!(dumped.before(room.id(6), "m.room.topic"), None);
    assert_eq!(dumped.tally.skipped, []);
}

#[tokio::test]
async fn branches_of_a_room_with_local_users_are_asked_for() {
    let (room, last) = fork();
    let fake = Fake::start().await;
    room.serve(&fake, &room.all(), 1);
    let state = [0, 1, 2, 3, 4, 5].map(|n| room.id(n));
    fake.answer(
        "/_matrix/federation/v1/state_ids/!r:example.org",
        json!({"pdu_ids": state, "auth_chain_ids": []}),
    );
    let dumped = dump(&mut fake.connect().await).await;
    assert_eq!(dumped.before(&last, "m.room.topic"), Some(room.id(5)));
}

#[tokio::test]
async fn branches_are_resolved_if_federation_is_denied() {
    let (room, last) = fork();
    let fake = Fake::start().await;
    room.serve(&fake, &room.all(), 1);
    fake.reply(
        &reqwest::Method::GET,
        "/_matrix/federation/v1/state_ids/!r:example.org",
        403,
        json!({"errcode": "M_FORBIDDEN", "error": "Federation denied with example.org."}),
    );
    let dumped = dump(&mut fake.connect().await).await;
    assert_eq!(dumped.before(&last, "m.room.topic"), Some(room.id(6)));
}

#[tokio::test]
async fn an_older_synapse_gives_outliers_over_federation() {
    let mut room = Factory::room();
    let last = room.add(message("recent"), &[4], &[0, 1, 2]);
    let fake = Fake::start().await;
    room.serve(&fake, &[room.raw(5)], 1);
    for number in 0..5 {
        let id = room.id(number);
        fake.reply(
            &reqwest::Method::GET,
            &format!("/_synapse/admin/v1/fetch_event/{id}"),
            404,
            json!({"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}),
        );
        fake.answer(
            &format!("/_matrix/federation/v1/event/{id}"),
            json!({"pdus": [room.events[number].1]}),
        );
    }
    fake.answer(
        "/_matrix/federation/v1/state_ids/!r:example.org",
        json!({"pdu_ids": ([0, 1, 2, 3, 4].map(|n| room.id(n))), "auth_chain_ids": []}),
    );
    let dumped = dump(&mut fake.connect().await).await;
    assert_eq!(dumped.before(&last, "m.room.join_rules"), Some(room.id(3)));
    let outliers: Vec<_> = dumped.outliers.iter().map(|event| &event.event_id).collect();
    assert_eq!(outliers, [0, 1, 2, 3, 4].map(|n| room.id(n)));
    let mut asked = Vec::new();
    for number in 0..5 {
        let path = format!("/_synapse/admin/v1/fetch_event/{}", room.id(number));
        asked.push(fake.requests(&path).await);
    }
    // Once, for the event before the one that is shown.
    assert_eq!(asked, [0, 0, 0, 0, 1]);
}

#[tokio::test]
async fn recent_history_reaches_back_to_what_it_relates_to() {
    let mut room = Factory::room();
    for number in 5..104 {
        room.add(message(&format!("{number}")), &[number - 1], &[0, 1, 2]);
    }
    let mut reply = message("In the thread");
    // One is unknown, and one was said at depth 11.
    reply["content"]["m.relates_to"] = json!({"rel_type": "m.thread", "event_id": room.id(10)});
    reply["content"]["m.relates_to"]["m.in_reply_to"] = json!({"event_id": "$unknown"});
    room.add(reply, &[103], &[0, 1, 2]);
    for (reach_back, first) in [(1000, "t11-0"), (34, "t11-0"), (33, "t45-0"), (0, "t45-0")] {
        let fake = Fake::start().await;
        room.serve(&fake, &room.all()[44..], 1);
        let extent = Extent { history: History::Recent, reach_back, ..fake.options().extent };
        let options = ApiOptions { extent, ..fake.options() };
        dump(&mut ApiSource::connect(options).await.unwrap()).await;
        let path = format!("/_synapse/admin/v1/rooms/{ROOM}/messages");
        // Where it begins is looked for, then redactions, then the timeline is read.
        assert_eq!(fake.asked(&path, "from").await, ["t45-0", "t0-0", first], "{reach_back}");
    }
}

#[tokio::test]
async fn a_past_that_is_not_there_is_guessed_and_told() {
    let mut room = Factory::room();
    let last = room.add(message("late"), &[4], &[0, 1, 2]);
    let fake = Fake::start().await;
    room.serve(&fake, &[room.raw(5)], 0);
    let dumped = dump(&mut fake.connect().await).await;
    assert_eq!(dumped.before(&last, "m.room.power_levels"), Some(room.id(2)));
    assert_eq!(dumped.before(&last, "m.room.join_rules"), None);
    let reasons: Vec<_> =
        dumped.tally.skipped.iter().map(|s| (s.kind, s.reason.as_str())).collect();
    assert_eq!(reasons, [(Kind::State, "state-guessed")]);
}

#[tokio::test]
async fn behind_an_event_that_synapse_hides_the_state_goes_on() {
    let mut room = Factory::room();
    let topic = room.add(topic(ALICE, "topic"), &[4], &[0, 1, 2]);
    room.add(message("hidden"), &[5], &[0, 1, 2]);
    let last = room.add(message("shown"), &[6], &[0, 1, 2]);
    let mut timeline = room.all();
    timeline.remove(6);
    let fake = Fake::start().await;
    room.serve(&fake, &timeline, 0);
    fake.missing(&format!("/_synapse/admin/v1/fetch_event/{}", room.id(6)));
    let dumped = dump(&mut fake.connect().await).await;
    assert_eq!(dumped.before(&last, "m.room.topic"), Some(&topic));
    assert_eq!(dumped.before(&last, "m.room.join_rules"), Some(room.id(3)));
    let reasons: Vec<_> = dumped.tally.skipped.iter().map(|s| s.reason.as_str()).collect();
    assert_eq!(reasons, ["state-guessed"]);
}

#[tokio::test]
async fn events_that_synapse_hides_are_fetched_one_by_one() {
    let mut room = Factory::room();
    let redaction = |event: &OwnedEventId| json!({"type": "m.room.redaction", "sender": BOB, "redacts": event, "content": {}});
    let topic = room.add(topic(ALICE, "topic"), &[4], &[0, 1, 2]);
    room.add(redaction(&topic), &[5], &[0, 2, 4]);
    room.add(redaction(&topic), &[6], &[0, 2, 4]);
    let last = room.add(message("shown"), &[7], &[0, 1, 2]);
    let end = room.add(redaction(&topic), &[8], &[0, 2, 4]);
    let mut timeline = room.all();
    timeline.retain(|event| event["type"] != "m.room.redaction");
    let fake = Fake::start().await;
    room.serve(&fake, &timeline, 0);
    let dumped = dump(&mut fake.connect().await).await;
    let ids: Vec<_> = dumped.timeline.iter().map(|event| event.event_id.clone()).collect();
    let expected: Vec<_> = room.events.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids, expected);
    assert_eq!(dumped.head.forward_extremities, [end]);
    assert_eq!(dumped.before(&last, "m.room.topic"), Some(&topic));
    assert_eq!(dumped.tally.skipped, []);
}

#[tokio::test]
async fn redacted_and_soft_failed_events_are_what_synapse_shows() {
    let mut room = Factory::room();
    let secret = room.add(topic(ALICE, "secret"), &[4], &[0, 1, 2]);
    let redaction = room.add(
        json!({"type": "m.room.redaction", "sender": ALICE, "redacts": secret, "content": {}}),
        &[5],
        &[0, 1, 2],
    );
    let failed = room.add(message("soft-failed"), &[4], &[0, 1, 2]);
    let last = room.add(topic(ALICE, "open"), &[6], &[0, 1, 2]);
    let mut timeline = room.all();
    timeline[5]["content"] = json!({});
    timeline[5]["unsigned"] = json!({"redacted_because": {"event_id": redaction}});
    timeline[6]["content"] = json!({"redacts": secret});
    timeline[7]["unsigned"] = json!({"io.element.synapse.soft_failed": true});
    let fake = Fake::start().await;
    room.serve(&fake, &timeline, 0);
    let dumped = dump(&mut fake.connect().await).await;
    let event = &dumped.timeline[5];
    assert_eq!((&event.event_id, event.redacted_by.as_ref()), (&secret, Some(&redaction)));
    assert!(!event.pdu.get().contains("secret"));
    // `redacts` is where the event was signed with it.
    let pdu: Value = serde_json::from_str(dumped.timeline[6].pdu.get()).unwrap();
    assert_eq!(pdu, room.events[6].1);
    assert_eq!(dumped.timeline.len(), 8);
    assert_eq!(dumped.before(&last, "m.room.topic"), Some(&secret));
    // Nothing rests on what failed.
    assert!(dumped.outliers.is_empty(), "{:?}", dumped.outliers);
    let skipped = dumped.tally.skipped.iter();
    let skipped = skipped.map(|skip| (skip.reason.as_str(), skip.item == failed.as_str()));
    assert_eq!(skipped.collect::<Vec<_>>(), [("soft-failed", true)]);
}

#[tokio::test]
async fn a_redacted_outlier_is_pruned() {
    let mut room = Factory::room();
    let secret = room.add(topic(ALICE, "secret"), &[4], &[0, 1, 2]);
    let redaction = room.add(
        json!({"type": "m.room.redaction", "sender": ALICE, "redacts": secret, "content": {}}),
        &[5],
        &[0, 1, 2],
    );
    let fake = Fake::start().await;
    // Asked for the redactions only, or for all: the topic is before the part that is shown.
    room.serve(&fake, &[room.raw(6)], 1);
    fake.answer(
        "/_matrix/federation/v1/state_ids/!r:example.org",
        json!({"pdu_ids": ([0, 1, 2, 3, 4, 5].map(|n| room.id(n))), "auth_chain_ids": []}),
    );
    let dumped = dump(&mut fake.connect().await).await;
    let event = dumped.outliers.iter().find(|event| event.event_id == secret).unwrap();
    assert_eq!(event.redacted_by.as_ref(), Some(&redaction));
    assert!(!event.pdu.get().contains("secret"));
}

#[tokio::test]
async fn what_an_erased_user_said_is_pruned_but_not_the_present_state() {
    let mut room = Factory::room();
    let old = room.add(topic(BOB, "old"), &[4], &[0, 2, 4]);
    let new = room.add(topic(BOB, "new"), &[5], &[0, 2, 4]);
    let mut said = message("secret");
    said["sender"] = json!(BOB);
    let said = room.add(said, &[6], &[0, 2, 4]);
    room.add(message("of Alice"), &[7], &[0, 1, 2]);
    let fake = Fake::start().await;
    room.serve(&fake, &room.all(), 0);
    let mut source = fake.connect().await;
    source.noted.erased.insert(BOB);
    let dumped = dump(&mut source).await;
    let pruned: Vec<_> = dumped.timeline.iter().filter(|e| e.erased).map(|e| &e.event_id).collect();
    assert_eq!(pruned, [&old, &said]);
    assert!(dumped.timeline.iter().all(|event| !event.pdu.get().contains("secret")));
    let new = dumped.timeline.iter().find(|event| event.event_id == new).unwrap();
    assert!(new.pdu.get().contains(r#""topic":"new""#));
}

#[tokio::test]
async fn an_event_whose_id_is_not_its_hash_is_skipped() {
    let room = Factory::room();
    let fake = Fake::start().await;
    let mut timeline = room.all();
    timeline[4]["content"]["membership"] = json!("ban");
    room.serve(&fake, &timeline, 0);
    let dumped = dump(&mut fake.connect().await).await;
    assert_eq!(dumped.timeline.len(), 4);
    let skips: Vec<_> = dumped
        .tally
        .skipped
        .iter()
        .map(|skip| (skip.kind, skip.item.clone(), skip.reason.clone()))
        .collect();
    let item = format!("{ROOM} {}", room.id(4));
    assert_eq!(skips, [(Kind::TimelineEvent, item, "event-id-wrong".to_owned())]);
}

#[tokio::test]
async fn a_room_that_can_not_be_read_is_skipped_whole() {
    let room = Factory::room();
    let fake = Fake::start().await;
    room.serve(&fake, &room.all(), 0);
    fake.text("/_synapse/admin/v1/rooms/!r:example.org/messages", "{]");
    let scratch = tempfile::tempdir().unwrap();
    let writer = DumpWriter::create(&scratch.path().join("dump")).unwrap();
    let mut source = fake.connect().await;
    let mut tally = Tally::default();
    let rooms = source.rooms(&mut tally).await.unwrap().concat();
    source.room(&rooms[0], &writer, &mut tally).await.unwrap();
    assert_eq!(tally.unbalanced(), []);
    let [skip] = &tally.skipped[..] else { panic!("{tally:?}") };
    assert_eq!(
        (skip.kind, skip.item.as_str(), skip.reason.as_str()),
        (Kind::Room, ROOM, "room-unreadable")
    );
}
