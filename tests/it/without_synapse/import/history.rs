//! A room that is imported with its newest events and gets the others later, page by page: the rows are those of an import
//! of the whole, wherever it is cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use conduit_backfill::{
    Host as _,
    host::{GivenUp, Page, PageEvent, Pdu, Place, StateBefore, StateMap},
    verdict::{self, Verdict},
};
use importer::{
    backfill::{DatabaseHost, Keys},
    conduit::{
        schema::trees::{self, Tree},
        store::{Changes, Entries, KvCommit, KvError, KvRead, memory::MemoryStore},
    },
    dump::{
        DumpReader, DumpWriter,
        format::{DumpEvent, DumpRoom, DumpState, Manifest},
    },
    import::{
        self,
        history::{History, HistoryError},
    },
    progress::Progress,
    verify::{self, StateComparison},
};
use ruma::{
    CanonicalJsonObject, OwnedEventId, RoomId, RoomVersionId, canonical_json::redact, room_id,
    server_name,
};
use serde_json::{Value, json, value::to_raw_value};

use crate::helpers::{
    handmade_dump::{ALICE, Events, ROOM, SEED, from},
    room_contents::{Content, content, same},
};

const BOB: &str = "@bob:other.test";

fn room() -> &'static RoomId {
    room_id!("!room:dump.test")
}

/// The room: its events, each with the number of the state before it, and the states.
struct Story {
    events: Vec<DumpEvent>,
    states: Vec<StateMap>,
}

impl Story {
    fn tell() -> Self {
        let mut made = Events::new(ROOM);
        let mut story = Self { events: Vec::new(), states: vec![StateMap::new()] };
        let create = json!({"room_version": "10", "creator": ALICE});
        story.state(&mut made, ALICE, "m.room.create", "", &create);
        story.state(&mut made, ALICE, "m.room.member", ALICE, &json!({"membership": "join"}));
        let visibility = json!({"history_visibility": "shared"});
        story.state(&mut made, ALICE, "m.room.history_visibility", "", &visibility);
        story.state(&mut made, BOB, "m.room.member", BOB, &json!({"membership": "join"}));
        story.state(&mut made, ALICE, "m.room.name", "", &json!({"name": "First"}));
        let root = story.say(&mut made, ALICE, &json!({"body": "A root", "msgtype": "m.text"}));
        let thread = json!({"rel_type": "m.thread", "event_id": root});
        story.say(&mut made, BOB, &json!({"body": "In the thread", "m.relates_to": thread}));
        let secret = story.say(&mut made, ALICE, &json!({"body": "a secret"}));
        story.say(
            &mut made,
            BOB,
            &json!({"m.relates_to": {
            "rel_type": "m.annotation", "event_id": root, "key": "x"}}),
        );
        story.state(&mut made, ALICE, "m.room.name", "", &json!({"name": "Second"}));
        story.redact(&mut made, &secret);
        story.say(&mut made, ALICE, &json!({"body": "Thread too", "m.relates_to": thread}));
        let reply = json!({"m.in_reply_to": {"event_id": root}});
        story.say(&mut made, BOB, &json!({"body": "A reply", "m.relates_to": reply}));
        let named = story.events[4].event_id.clone();
        story.redact(&mut made, &named);
        story.state(&mut made, BOB, "m.room.member", BOB, &json!({"membership": "leave"}));
        story.say(&mut made, ALICE, &json!({"body": "Alone again"}));
        story
    }

    fn state(&mut self, made: &mut Events, sender: &str, kind: &str, key: &str, content: &Value) {
        let fields = json!({"sender": sender, "type": kind, "state_key": key, "content": content});
        let id = self.push(made, fields);
        let mut state = self.states.last().unwrap().clone();
        state.insert((kind.to_owned(), key.to_owned()), id);
        self.states.push(state);
    }

    fn say(&mut self, made: &mut Events, sender: &str, content: &Value) -> OwnedEventId {
        self.push(made, json!({"sender": sender, "type": "m.room.message", "content": content}))
    }

    fn redact(&mut self, made: &mut Events, target: &OwnedEventId) {
        let fields = json!({"type": "m.room.redaction", "redacts": target, "content": {}});
        let id = self.push(made, fields);
        let event = self.events.iter_mut().find(|event| event.event_id == *target).unwrap();
        let rules = RoomVersionId::V10.rules().unwrap();
        let redacted = redact(json_of(event), &rules.redaction, None).unwrap();
        event.pdu = to_raw_value(&redacted).unwrap();
        event.redacted_by = Some(id);
    }

    fn push(&mut self, made: &mut Events, fields: Value) -> OwnedEventId {
        let state = u64::try_from(self.states.len()).unwrap().saturating_sub(1);
        let before = (!self.events.is_empty()).then_some(state);
        let event = made.event(before, fields);
        self.events.push(event);
        self.events.last().unwrap().event_id.clone()
    }

    /// A dump without the first events.
    fn dump(&self, cut: usize) -> (tempfile::TempDir, DumpReader) {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("dump");
        let writer = DumpWriter::create(&directory).unwrap();
        let key = json!({"version": "a", "seed": SEED});
        writer.server(&from(json!({"server_name": "dump.test", "signing_key": key}))).unwrap();
        writer.user(&from(json!({"user_id": ALICE}))).unwrap();
        let join = &self.events[1].event_id;
        let head: DumpRoom = from(json!({
            "room_id": ROOM, "room_version": "10", "earlier_events": cut,
            "current_state": self.states.len().saturating_sub(1),
            "forward_extremities": [self.events.last().unwrap().event_id],
            "local_members": [{"user_id": ALICE, "membership": "join", "event_id": join}],
        }));
        let mut file = writer.room(&head).unwrap();
        for (id, state) in self.states.iter().enumerate().skip(1) {
            let set: Vec<_> = state.iter().map(|((kind, key), id)| (kind, key, id)).collect();
            file.state(&from::<DumpState>(json!({"id": id, "set": set}))).unwrap();
        }
        for event in self.events[..cut].iter().filter(|event| is_state(event)) {
            file.outlier(&DumpEvent { state_before: None, ..event.clone() }).unwrap();
        }
        for event in &self.events[cut..] {
            file.timeline(event).unwrap();
        }
        writer.finish_room(file).unwrap();
        let manifest = json!({
            "version": importer::dump::format::VERSION, "server_name": "dump.test", "created_ts": 1_700_000_000_000_u64,
            "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
            "files": [],
        });
        writer.finish(from::<Manifest>(manifest)).unwrap();
        let reader = DumpReader::open(&directory, |_| {}).unwrap();
        (scratch, reader)
    }

    fn imported(&self, cut: usize) -> MemoryStore {
        let mut store = MemoryStore::default();
        let (_scratch, dump) = self.dump(cut);
        import::import(&dump, &mut store, None, &Progress::Hidden).unwrap();
        store
    }

    /// The events from `first` to before `end` as a page, in which states are told in all ways.
    fn page(&self, first: usize, end: usize) -> Page {
        let before = |index: usize| &self.states[number(&self.events[index])];
        let event = |index: usize| {
            let event = &self.events[index];
            let other = if index > first { index.saturating_sub(1) } else { end };
            let state_before = match index {
                0 => StateBefore::Nothing,
                _ if index.is_multiple_of(3) || other >= self.events.len() || other == 0 => {
                    StateBefore::Whole(before(index).clone())
                }
                _ => changed(self.events[other].event_id.clone(), before(other), before(index)),
            };
            let pdu = Pdu { event_id: event.event_id.clone(), json: json_of(event) };
            PageEvent { pdu, state_before, redacted_by: event.redacted_by.clone() }
        };
        Page { events: (first..end).map(event).collect() }
    }
}

fn changed(from: OwnedEventId, other: &StateMap, state: &StateMap) -> StateBefore {
    let set = state.iter().filter(|(key, event)| other.get(*key) != Some(event));
    let unset = other.keys().filter(|key| !state.contains_key(*key)).cloned();
    StateBefore::Changed {
        from,
        set: set.map(|(key, event)| (key.clone(), event.clone())).collect(),
        unset: unset.collect(),
    }
}

fn json_of(event: &DumpEvent) -> CanonicalJsonObject {
    serde_json::from_str(event.pdu.get()).unwrap()
}

fn is_state(event: &DumpEvent) -> bool {
    json_of(event).contains_key("state_key")
}

fn number(event: &DumpEvent) -> usize {
    event.state_before.unwrap_or_default().try_into().unwrap()
}

fn host(store: Box<dyn KvCommit>) -> DatabaseHost {
    let name = server_name!("dump.test");
    let history = History::open(store, name).unwrap();
    DatabaseHost::new(history, Keys::known(name.to_owned(), BTreeMap::new()))
}

fn store_of(host: DatabaseHost) -> Box<dyn KvCommit> {
    host.into_history().unwrap().into_store()
}

fn findings(store: &dyn KvRead) -> Vec<String> {
    let verified = verify::structure(store, "dump.test", &Progress::Hidden).unwrap();
    verified.findings.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn wherever_it_is_cut_the_rows_are_those_of_the_whole() {
    let story = Story::tell();
    let expected = content(&story.imported(0));
    assert_eq!(expected["threads"].len(), 1);
    assert_eq!(expected["relations"].len(), 4);
    for cut in 1..story.events.len() {
        for size in [1, 3, 100] {
            let host = host(Box::new(story.imported(cut)));
            let mut end = cut;
            while end > 0 {
                let first = end.saturating_sub(size);
                let missing = host.missing(room()).await.unwrap();
                assert_eq!(missing, BTreeSet::from([story.events[end - 1].event_id.clone()]));
                host.prepend(room(), story.page(first, end)).await.unwrap();
                let begins = host.first(room()).await.unwrap();
                assert_eq!(begins.as_ref(), Some(&story.events[first].event_id));
                let state = host.state_before(room(), &story.events[first].event_id).await.unwrap();
                assert_eq!(state.as_ref(), Some(&story.states[number(&story.events[first])]));
                end = first;
            }
            assert_eq!(host.missing(room()).await.unwrap(), BTreeSet::new());
            let rows = store_of(host);
            same(&expected, &content(rows.as_ref()));
            assert_eq!(findings(rows.as_ref()), Vec::<String>::new(), "cut {cut}, pages of {size}");
        }
    }
}

/// What a dump left out at the beginning may have been fetched since; what it has must be there.
#[tokio::test]
async fn a_dump_of_the_newest_events_is_compared_with_what_it_has() {
    let story = Story::tell();
    let compared = |store: &dyn KvRead, cut| {
        let (_scratch, dump) = story.dump(cut);
        let how = StateComparison::default();
        let compared = verify::against_dump(store, &dump, &[], how, &Progress::Hidden).unwrap();
        let at_once = verify::rows(store, &dump, &[], how, &Progress::Hidden).unwrap();
        let alone = verify::structure(store, "dump.test", &Progress::Hidden).unwrap();
        let mut both = [alone.findings, compared.findings.clone()].concat();
        both.sort();
        assert_eq!(at_once.findings, both);
        compared.findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let host = host(Box::new(story.imported(9)));
    host.prepend(room(), story.page(4, 9)).await.unwrap();
    let rows = store_of(host);
    for cut in [4, 9] {
        assert_eq!(compared(rows.as_ref(), cut), Vec::<String>::new(), "{cut}");
    }
    // A dump with two events more.
    let found = compared(rows.as_ref(), 2);
    let missing = found.iter().filter(|found| found.contains("the event is missing"));
    assert_eq!(missing.count(), 2, "{found:#?}");
    assert!(found.iter().any(|found| found.contains("differ from number 1 on")), "{found:#?}");
}

/// A store whose changes fail while it is told so.
struct Failing {
    store: MemoryStore,
    fails: Arc<AtomicBool>,
}

impl KvRead for Failing {
    fn get(&self, tree: &'static Tree, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.store.get(tree, key)
    }

    fn scan<'a>(&'a self, tree: &'static Tree, prefix: &[u8]) -> Result<Entries<'a>, KvError> {
        self.store.scan(tree, prefix)
    }

    fn foreign_trees(&self) -> Result<Vec<String>, KvError> {
        self.store.foreign_trees()
    }
}

impl KvCommit for Failing {
    fn commit(&mut self, changes: Changes) -> Result<(), KvError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(KvError::Read { tree: "all", reason: "No space left on device".into() });
        }
        self.store.commit(changes)
    }
}

#[tokio::test]
async fn what_fails_changes_nothing_and_can_be_done_again() {
    let story = Story::tell();
    let fails = Arc::new(AtomicBool::new(true));
    let host = host(Box::new(Failing { store: story.imported(9), fails: fails.clone() }));
    let before: Content = host.with(|history| Ok(named(history))).await.unwrap();
    host.prepend(room(), story.page(4, 9)).await.unwrap_err();
    same(&before, &host.with(|history| Ok(named(history))).await.unwrap());
    // A page that is wrong in the middle, too.
    fails.store(false, Ordering::Relaxed);
    let mut wrong = story.page(4, 9);
    wrong.events[2].pdu.json.insert("depth".into(), "deep".into());
    host.prepend(room(), wrong).await.unwrap_err();
    let mut unknown = story.page(4, 9);
    let name = ("m.room.name".to_owned(), String::new());
    let state = StateMap::from([(name, "$unknown".try_into().unwrap())]);
    unknown.events[3].state_before = StateBefore::Whole(state);
    let error = host.prepend(room(), unknown).await.unwrap_err();
    assert!(error.to_string().contains("$unknown"), "{error}");
    same(&before, &host.with(|history| Ok(named(history))).await.unwrap());

    host.prepend(room(), story.page(4, 9)).await.unwrap();
    host.prepend(room(), story.page(0, 4)).await.unwrap();
    same(&content(&story.imported(0)), &content(store_of(host).as_ref()));
}

fn named(history: &mut History) -> Content {
    content(history.store())
}

/// Without the range that an import reserves there are Conduit's own ids for the past: in the right order, without relations.
#[tokio::test]
async fn without_free_numbers_events_are_there_all_the_same() {
    let story = Story::tell();
    let mut short = story.imported(7);
    assert!(short.remove(&trees::ALIAS_ROOMID, b"admins"));
    let host = host(Box::new(short));
    host.prepend(room(), story.page(3, 7)).await.unwrap();
    host.prepend(room(), story.page(0, 3)).await.unwrap();
    let rows = store_of(host);
    let found = rows.scan(&trees::PDUID_PDU, &[]).unwrap().map(Result::unwrap);
    let events: Vec<Value> =
        found.map(|(_, json)| serde_json::from_slice(&json).unwrap()).collect();
    let ids: Vec<_> = events
        .iter()
        .filter(|event| event["room_id"] == ROOM)
        .map(|event| event["event_id"].as_str().unwrap())
        .collect();
    let expected: Vec<_> = story.events.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(ids, expected);
    let words = rows.scan(&trees::TOKENIDS, &[]).unwrap().map(Result::unwrap);
    let root = words.filter(|(key, _)| key.windows(5).any(|word| word == b"root\xff"));
    assert_eq!(root.count(), 1);
    let without_alias = |finding: &String| !finding.contains("#admins");
    let found: Vec<_> = findings(rows.as_ref()).into_iter().filter(without_alias).collect();
    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test]
async fn outliers_are_promoted_and_what_is_given_up_is_not_asked_for() {
    let story = Story::tell();
    let open = || host(Box::new(story.imported(9)));
    let host = open();
    let event = |index: usize| &story.events[index].event_id;
    let message = Pdu { event_id: event(8).clone(), json: json_of(&story.events[8]) };
    host.add_outliers(room(), vec![message.clone(), message]).await.unwrap();
    assert_eq!(host.place(room(), event(8)).await.unwrap(), Place::Outlier);
    assert_eq!(host.place(room(), event(7)).await.unwrap(), Place::Unknown);
    assert_eq!(host.place(room_id!("!other:dump.test"), event(8)).await.unwrap(), Place::Unknown);

    host.give_up(room(), event(8), GivenUp::Withheld).await.unwrap();
    assert_eq!(host.missing(room()).await.unwrap(), BTreeSet::from([event(7).clone()]));
    host.give_up(room(), event(7), GivenUp::Unavailable).await.unwrap();
    assert_eq!(host.missing(room()).await.unwrap(), BTreeSet::new());
    // As after another start.
    let host = self::host(store_of(host));
    assert_eq!(host.missing(room()).await.unwrap(), BTreeSet::new());
    let reasons = |given_up: BTreeMap<OwnedEventId, Verdict>| {
        let reason = |(id, why): (_, Verdict)| (id, (why.word(), why.is_final()));
        given_up.into_iter().map(reason).collect::<BTreeMap<_, _>>()
    };
    let given_up = host.with(|history| history.given_up(room())).await.unwrap();
    let expected =
        [(event(7).clone(), ("unavailable", false)), (event(8).clone(), ("withheld", false))];
    assert_eq!(reasons(given_up), BTreeMap::from(expected));

    // An hour later both are asked for once more; given up again, it is for good.
    let later = || verdict::now().saturating_add(verdict::AGAIN);
    host.with(move |history| {
        history.set_clock(later);
        Ok::<_, HistoryError>(())
    })
    .await
    .unwrap();
    let both = BTreeSet::from([event(7).clone(), event(8).clone()]);
    assert_eq!(host.missing(room()).await.unwrap(), both);
    host.give_up(room(), event(8), GivenUp::Withheld).await.unwrap();
    host.give_up(room(), event(7), GivenUp::Unavailable).await.unwrap();
    let much_later = || verdict::now().saturating_add(1000 * verdict::AGAIN);
    host.with(move |history| {
        history.set_clock(much_later);
        Ok::<_, HistoryError>(())
    })
    .await
    .unwrap();
    assert_eq!(host.missing(room()).await.unwrap(), BTreeSet::new());
    let given_up = host.with(|history| history.given_up(room())).await.unwrap();
    let expected =
        [(event(7).clone(), ("unavailable", true)), (event(8).clone(), ("withheld", true))];
    assert_eq!(reasons(given_up), BTreeMap::from(expected));

    assert_eq!(host.with(History::retry_given_up).await.unwrap(), 2);
    assert_eq!(host.missing(room()).await.unwrap(), BTreeSet::from([event(8).clone()]));
    host.prepend(room(), story.page(5, 9)).await.unwrap();
    assert_eq!(host.place(room(), event(8)).await.unwrap(), Place::Timeline);
    assert_eq!(host.with(|history| history.given_up(room())).await.unwrap(), BTreeMap::new());
    host.prepend(room(), story.page(0, 5)).await.unwrap();
    same(&content(&story.imported(0)), &content(store_of(host).as_ref()));
}
