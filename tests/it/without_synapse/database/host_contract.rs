//! A Conduit database does what `conduit_backfill::Host` says, in each engine.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use conduit_backfill::{
    Host,
    host::{HostError, Pdu, StateBefore, StateMap},
    testing::host_contract::{self, Factory, Start, StartRoom},
};
use importer::{
    backfill::{DatabaseHost, Keys},
    conduit::{
        schema::{pdu_id::PduCount, trees},
        store::{self, Backend, KvCommit, KvLoad as _, Row, memory::MemoryStore},
    },
    dump::{
        DumpReader, DumpWriter,
        format::{DumpEvent, DumpRoom, DumpState, Manifest},
    },
    import::{self, history::History},
    progress::Progress,
};
use ruma::{EventId, OwnedEventId, RoomId, server_name};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::helpers::handmade_dump::{SEED, from};

const SERVER: &str = "old.example.org";

/// A host that was given away, the same with its kind, and where its files are.
type Made = (Arc<dyn Host>, DatabaseHost, PathBuf);

/// Makes databases; remembers them, as the contract gives hosts back without their kind.
struct Databases {
    backend: Option<Backend>,
    scratch: TempDir,
    made: Mutex<Vec<Made>>,
}

impl Databases {
    fn of(&self, host: &Arc<dyn Host>) -> (DatabaseHost, PathBuf) {
        let made = self.made.lock().unwrap();
        let found = made.iter().find(|(other, ..)| Arc::ptr_eq(other, host));
        let (_, host, directory) = found.unwrap();
        (host.clone(), directory.clone())
    }
}

#[async_trait]
impl Factory for Databases {
    async fn open(&self, start: Start) -> Result<Arc<dyn Host>, HostError> {
        let directory = self.scratch.path().join(self.made.lock().unwrap().len().to_string());
        let dump = dump(&directory.join("dump"), &start.rooms);
        let directory = directory.join("database");
        let import = |store| import::import(&dump, store, None, &Progress::Hidden).unwrap();
        let store: Box<dyn KvCommit> = if let Some(backend) = self.backend {
            import(
                store::create(&store::NewStore::of_conduit(backend, &directory)).unwrap().as_mut(),
            );
            store::change(backend, &directory).unwrap()
        } else {
            let mut store = MemoryStore::default();
            import(&mut store);
            Box::new(store)
        };
        let name = server_name!("old.example.org");
        let keys = Keys::known(name.to_owned(), start.keys);
        let host = DatabaseHost::new(History::open(store, name).unwrap(), keys);
        let shared: Arc<dyn Host> = Arc::new(host.clone());
        self.made.lock().unwrap().push((shared.clone(), host, directory));
        Ok(shared)
    }

    async fn reopen(&self, host: Arc<dyn Host>) -> Result<Arc<dyn Host>, HostError> {
        let (database, directory) = self.of(&host);
        let backend = self.backend;
        let reopen = move |history: &mut History| {
            let mut store = std::mem::replace(history, placeholder()).into_store();
            if let Some(backend) = backend {
                drop(store);
                store = store::change(backend, &directory)?;
            }
            *history = History::open(store, server_name!("old.example.org"))?;
            Ok(())
        };
        database.with(reopen).await?;
        Ok(host)
    }

    async fn timeline(
        &self,
        host: &Arc<dyn Host>,
        room: &RoomId,
    ) -> Result<Vec<OwnedEventId>, HostError> {
        let room = room.to_owned();
        let read = move |history: &mut History| {
            let short = history.store().get(&trees::ROOMID_SHORTROOMID, room.as_bytes())?.unwrap();
            let mut events = Vec::new();
            for row in history.store().scan(&trees::PDUID_PDU, &short)? {
                let (key, json) = row?;
                let event: Value = serde_json::from_slice(&json).unwrap();
                let id: OwnedEventId = event["event_id"].as_str().unwrap().try_into().unwrap();
                let (_, count) = PduCount::read(&key).unwrap();
                assert!(count.normal().is_some(), "{id} has no normal count");
                events.push(id);
            }
            Ok(events)
        };
        self.of(host).0.with(read).await
    }

    /// Events outside of the timeline have a state that hides them; which ones do is the business of `verify`, V150.
    async fn is_shown(
        &self,
        host: &Arc<dyn Host>,
        _: &RoomId,
        event: &EventId,
    ) -> Result<bool, HostError> {
        let event = event.to_owned();
        let read = move |history: &mut History| {
            let store = history.store();
            let short = store.get(&trees::EVENTID_SHORTEVENTID, event.as_bytes())?;
            let state = match &short {
                Some(short) => store.get(&trees::SHORTEVENTID_SHORTSTATEHASH, short)?,
                None => None,
            };
            let is_in_timeline = store.get(&trees::EVENTID_PDUID, event.as_bytes())?.is_some();
            Ok(is_in_timeline || state.is_none())
        };
        self.of(host).0.with(read).await
    }
}

/// A database with nothing, which stands in for one that is closed.
fn placeholder() -> History {
    let mut store = MemoryStore::default();
    let row = |key: &[u8], value: u64| Row {
        tree: &trees::GLOBAL,
        key: key.to_vec(),
        value: value.to_be_bytes().to_vec(),
    };
    store.write(vec![row(b"version", 18), row(b"c", 1)]).unwrap();
    History::open(Box::new(store), server_name!("old.example.org")).unwrap()
}

/// The rooms as a dump.
fn dump(directory: &std::path::Path, rooms: &[StartRoom]) -> DumpReader {
    let writer = DumpWriter::create(directory).unwrap();
    let key = json!({"version": "a", "seed": SEED});
    writer.server(&from(json!({"server_name": SERVER, "signing_key": key}))).unwrap();
    for room in rooms {
        let mut states: Vec<StateMap> = Vec::new();
        let mut events = Vec::new();
        for event in &room.timeline {
            let before = match &event.state_before {
                StateBefore::Whole(state) => {
                    states.push(state.clone());
                    Some(states.len())
                }
                _ => None,
            };
            events.push(dumped(&event.pdu, before, event.redacted_by.as_ref()));
        }
        let last = events.last().unwrap().event_id.clone();
        let head: DumpRoom = from(json!({
            "room_id": room.room, "room_version": room.version, "current_state": states.len(),
            "forward_extremities": [last],
        }));
        let mut file = writer.room(&head).unwrap();
        for (index, state) in states.iter().enumerate() {
            let set: Vec<_> = state.iter().map(|((kind, key), id)| (kind, key, id)).collect();
            file.state(&from::<DumpState>(json!({"id": index.saturating_add(1), "set": set})))
                .unwrap();
        }
        for pdu in &room.outliers {
            file.outlier(&dumped(pdu, None, None)).unwrap();
        }
        for event in &events {
            file.timeline(event).unwrap();
        }
        writer.finish_room(file).unwrap();
    }
    let manifest = json!({
        "version": importer::dump::format::VERSION, "server_name": SERVER, "created_ts": 1_700_000_000_000_u64,
        "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
        "files": [],
    });
    writer.finish(from::<Manifest>(manifest)).unwrap();
    DumpReader::open(directory, |_| {}).unwrap()
}

fn dumped(pdu: &Pdu, before: Option<usize>, redacted_by: Option<&OwnedEventId>) -> DumpEvent {
    from(json!({
        "event_id": pdu.event_id, "state_before": before, "redacted_by": redacted_by,
        "pdu": pdu.json,
    }))
}

async fn obeys_the_contract(backend: Option<Backend>) {
    let scratch = tempfile::tempdir().unwrap();
    let databases = Databases { backend, scratch, made: Mutex::default() };
    host_contract::check(&databases).await.unwrap();
    assert!(databases.made.lock().unwrap().len() > 10);
}

#[tokio::test]
async fn a_database_in_memory_obeys_the_contract() {
    obeys_the_contract(None).await;
}

#[tokio::test]
async fn a_rocksdb_database_obeys_the_contract() {
    obeys_the_contract(Some(Backend::Rocksdb)).await;
}

#[tokio::test]
async fn a_sqlite_database_obeys_the_contract() {
    obeys_the_contract(Some(Backend::Sqlite)).await;
}
