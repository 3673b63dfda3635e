//! Earlier history, which is imported later: events that lie before a room's timeline are put into a complete database while
//! Conduit is stopped. The rows are those that an import of the whole history would have written, but for the numbers in them.
//!
//! Each call changes everything that belongs together at once, or nothing: see [`KvCommit::commit`].
//!
//! `import/rooms.rs` says which numbers are free for earlier events. If there are none, an event gets an id of the kind
//! that Conduit's own backfill hands out: it is shown, but can have no relations and no thread.

#![warn(clippy::arithmetic_side_effects, reason = "a database may hold any numbers")]

mod lookup;
mod page;
mod room;

use std::collections::{BTreeMap, BTreeSet};

use conduit_backfill::{
    host::{GivenUp, Page, Pdu, Place, StateMap},
    verdict::{self, Verdict},
};
use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, ServerName,
    signatures::Ed25519KeyPair,
};

use self::{lookup::Lookup, room::RoomTimeline};
use super::{ImportError, rooms::hidden::RoomSigner, row_writer::Rows};
use crate::conduit::{
    schema::{
        shapes::{Global, RoomEvent},
        trees::{self, Tree},
    },
    store::{KvCommit, KvError, KvLoad as _, KvRead, overlay::Pending},
};

/// A complete database to which earlier history is added.
pub struct History {
    store: Box<dyn KvCommit>,
    server_name: Box<str>,
    /// The last number handed out.
    counter: u64,
    /// Whether Conduit has not handed out any since the import.
    is_untouched: bool,
    /// Rooms with a smaller short id are imported ones.
    admin_room: Option<u64>,
    /// The rooms that are being worked on.
    rooms: BTreeMap<OwnedRoomId, RoomTimeline>,
    /// The time as [`Verdict`] counts it.
    clock: fn() -> u64,
}

/// A room that was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedRoom {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// How many numbers are free for events before its timeline: more than there are events.
    pub reserved: u64,
}

/// Why earlier history can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The database was never finished.
    #[error("the database is incomplete, because its import did not finish; import again")]
    Incomplete,
    /// Another version than the importer knows.
    #[error(
        "the database has version {found}, not {expected}; use the importer that belongs to this version of the server"
    )]
    OtherVersion {
        /// The version.
        found: u64,
        /// The version that the importer writes.
        expected: u64,
    },
    /// The database is another server's, or its key was changed.
    #[error(
        "the database has the signing key {found}, the key file has {expected}; name the database that was made from this Synapse"
    )]
    OtherKey {
        /// The database's key.
        found: String,
        /// The key file's.
        expected: String,
    },
    /// A row that must be there is not, or can't be read.
    #[error("{what} can't be read; run `importer verify`")]
    Damaged {
        /// What.
        what: String,
    },
    /// The room is not in the database.
    #[error("{room} is not in the database")]
    NoRoom {
        /// The room.
        room: OwnedRoomId,
    },
    /// An event that Conduit can't hold.
    #[error("{event} can't be stored: {reason}")]
    Event {
        /// The event.
        event: OwnedEventId,
        /// Why not.
        reason: String,
    },
    /// A state names an event that nobody has.
    #[error("the state before {event} names {missing}, which is not in the database")]
    State {
        /// The event.
        event: OwnedEventId,
        /// What is missing.
        missing: OwnedEventId,
    },
    /// The database.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// Rows could not be written.
    #[error(transparent)]
    Rows(#[from] ImportError),
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("rooms", &self.rooms.len()).finish_non_exhaustive()
    }
}

impl History {
    /// Takes a database that was opened for writing.
    ///
    /// # Errors
    ///
    /// [`HistoryError::Incomplete`], [`HistoryError::OtherVersion`], [`HistoryError::Kv`].
    pub fn open(store: Box<dyn KvCommit>, server_name: &ServerName) -> Result<Self, HistoryError> {
        let expected = store.dialect().version();
        let lookup = Lookup(store.as_ref());
        match lookup.number(&trees::GLOBAL, b"version")? {
            Some(found) if found == expected => {}
            Some(found) => return Err(HistoryError::OtherVersion { found, expected }),
            None => return Err(HistoryError::Incomplete),
        }
        let counter = lookup.number(&trees::GLOBAL, b"c")?.ok_or(HistoryError::Incomplete)?;
        let admin_room = lookup.0.get(&trees::ALIAS_ROOMID, b"admins")?;
        let admin_room = match admin_room {
            Some(room) => lookup.number(&trees::ROOMID_SHORTROOMID, &room)?,
            None => None,
        };
        let is_untouched = lookup.number(&trees::GLOBAL, trees::IMPORTED)? == Some(counter);
        let server_name = server_name.as_str().into();
        let rooms = BTreeMap::new();
        Ok(Self {
            store,
            server_name,
            counter,
            is_untouched,
            admin_room,
            rooms,
            clock: verdict::now,
        })
    }

    /// Takes the time from `clock`, in milliseconds.
    pub fn set_clock(&mut self, clock: fn() -> u64) {
        self.clock = clock;
    }

    /// Whether the server's present key is this one: its id and the public key.
    ///
    /// # Errors
    ///
    /// [`HistoryError::OtherKey`], [`HistoryError::Damaged`], [`HistoryError::Kv`].
    pub fn check_key(&self, id: &str, public: &[u8]) -> Result<(), HistoryError> {
        let pair = self.signer()?;
        let found = format!("ed25519:{}", pair.version());
        if found == id && pair.public_key() == public {
            return Ok(());
        }
        Err(HistoryError::OtherKey { found, expected: id.to_owned() })
    }

    /// The server's own key, to sign with.
    fn signer(&self) -> Result<Ed25519KeyPair, HistoryError> {
        let damaged = || HistoryError::Damaged { what: "the signing key".into() };
        let value = self.store.get(&trees::GLOBAL, b"keypair")?.ok_or_else(damaged)?;
        let Ok(Global::Keypair(key)) = trees::GLOBAL.read_value(b"keypair", &value) else {
            return Err(damaged());
        };
        Ed25519KeyPair::from_der(key.pkcs8, key.version.to_owned()).map_err(|_| damaged())
    }

    /// Keys of another server as Conduit has kept them: JSON.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub fn kept_keys(&self, server: &ServerName) -> Result<Option<Vec<u8>>, HistoryError> {
        Ok(self.store.get(&trees::SERVER_SIGNINGKEYS, server.as_str().as_bytes())?)
    }

    /// The imported rooms with a timeline: those that the old server had.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub fn rooms(&self) -> Result<Vec<ImportedRoom>, HistoryError> {
        let lookup = Lookup(self.store.as_ref());
        let mut rooms = Vec::new();
        for row in self.store.scan(&trees::ROOMID_SHORTROOMID, &[])? {
            let (key, value) = row?;
            let damaged = || HistoryError::Damaged { what: "the id of a room".into() };
            let room_id = std::str::from_utf8(&key).ok().and_then(|id| RoomId::parse(id).ok());
            let room_id = room_id.ok_or_else(damaged)?;
            let short = <[u8; 8]>::try_from(&*value).map_err(|_| damaged())?;
            let short = u64::from_be_bytes(short);
            if self.admin_room.is_some_and(|admin_room| short >= admin_room) {
                continue;
            }
            if lookup.first(short)?.is_none() {
                continue;
            }
            let free = self.admin_room.and(lookup.free_until(short)?).unwrap_or_default();
            let reserved = free.saturating_sub(short).saturating_sub(1);
            rooms.push(ImportedRoom { room_id, reserved });
        }
        Ok(rooms)
    }

    /// Drops a room's timeline, to save memory.
    pub fn leave(&mut self, room: &RoomId) {
        self.rooms.remove(room);
    }

    /// Forgets that events were given up, for whatever reason, in all rooms; how many.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub fn retry_given_up(&mut self) -> Result<usize, HistoryError> {
        let tree = trees::PREDECESSOR_GIVENUP.tree();
        let mut rows = BTreeMap::new();
        for row in self.store.scan(tree, &[])? {
            let (key, _) = row?;
            rows.insert((tree, key.into_vec()), None);
        }
        let number = rows.len();
        self.store.commit(rows)?;
        self.rooms.clear();
        Ok(number)
    }

    /// The events of a room that were given up, with the reasons.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub fn given_up(&self, room: &RoomId) -> Result<BTreeMap<OwnedEventId, Verdict>, HistoryError> {
        Lookup(self.store.as_ref()).given_up(room)
    }

    /// See [`conduit_backfill::host::Host::room_version`].
    pub(crate) fn room_version(
        &mut self,
        room: &RoomId,
    ) -> Result<Option<RoomVersionId>, HistoryError> {
        Ok(self.load(room)?.map(|room| room.version.clone()))
    }

    pub(crate) fn first(&mut self, room: &RoomId) -> Result<Option<OwnedEventId>, HistoryError> {
        let Some(known) = self.load(room)? else { return Ok(None) };
        let Some(first) = known.first else { return Ok(None) };
        let key = first.key(known.short);
        Ok(Some(Lookup(self.store.as_ref()).id_at(&key)?))
    }

    pub(crate) fn missing(
        &mut self,
        room: &RoomId,
    ) -> Result<BTreeSet<OwnedEventId>, HistoryError> {
        let now = (self.clock)();
        Ok(self.load(room)?.map(|room| room.missing(now)).unwrap_or_default())
    }

    pub(crate) fn place(&self, room: &RoomId, event: &EventId) -> Result<Place, HistoryError> {
        let lookup = Lookup(self.store.as_ref());
        if lookup.count(room, event)?.is_some() {
            return Ok(Place::Timeline);
        }
        let is_outlier = lookup.outlier(room, event)?.is_some();
        Ok(if is_outlier { Place::Outlier } else { Place::Unknown })
    }

    pub(crate) fn event(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<CanonicalJsonObject>, HistoryError> {
        Lookup(self.store.as_ref()).event(room, event)
    }

    pub(crate) fn state_before(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<StateMap>, HistoryError> {
        let lookup = Lookup(self.store.as_ref());
        if lookup.count(room, event)?.is_none() {
            return Ok(None);
        }
        match lookup.state_before(event)? {
            Some(state) => lookup.names(&state).map(Some),
            None => Ok(lookup.is_create(room, event)?.then(StateMap::new)),
        }
    }

    pub(crate) fn redactions_of(
        &mut self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Vec<OwnedEventId>, HistoryError> {
        let redactions = self.load(room)?.map(|room| room.redactions_of(event).cloned().collect());
        Ok(redactions.unwrap_or_default())
    }

    pub(crate) fn add_outliers(
        &mut self,
        room: &RoomId,
        events: Vec<Pdu>,
    ) -> Result<(), HistoryError> {
        self.load(room)?.ok_or_else(|| HistoryError::NoRoom { room: room.to_owned() })?;
        let server_name = self.server_name.clone();
        let key = self.signer()?;
        self.change(room, |room_id, known, rows| {
            let rules = known.rules.clone();
            let signer =
                RoomSigner { room: room_id, rules: &rules, server_name: &server_name, key: &key };
            page::outliers(&signer, known, events, rows)
        })
    }

    pub(crate) fn prepend(&mut self, room: &RoomId, page: Page) -> Result<(), HistoryError> {
        self.load(room)?.ok_or_else(|| HistoryError::NoRoom { room: room.to_owned() })?;
        let server_name = self.server_name.clone();
        self.change(room, |room_id, known, rows| {
            page::prepend(room_id, &server_name, known, page, rows)
        })
    }

    pub(crate) fn give_up(
        &mut self,
        room: &RoomId,
        event: &EventId,
        reason: GivenUp,
    ) -> Result<(), HistoryError> {
        let tree = &trees::PREDECESSOR_GIVENUP;
        let key = tree.key_of(&RoomEvent { room: room.as_str(), event: event.as_str() });
        let now = (self.clock)();
        let earlier = self.load(room)?.and_then(|room| room.verdict(event));
        let verdict = Verdict::after(earlier, reason, now);
        let value = verdict.text().into_bytes();
        self.store.commit([((tree.tree(), key), Some(value))].into())?;
        // What is missing now is worked out anew.
        let lookup = Lookup(self.store.as_ref());
        if let Some(known) = self.rooms.get_mut(room) {
            known.given_up(room, event, verdict, &lookup)?;
        }
        Ok(())
    }

    /// The timeline of a room, read from the database the first time.
    fn load(&mut self, id: &RoomId) -> Result<Option<&mut RoomTimeline>, HistoryError> {
        if !self.rooms.contains_key(id)
            && let Some(room) =
                RoomTimeline::read(id, self.admin_room, &Lookup(self.store.as_ref()))?
        {
            self.rooms.insert(id.to_owned(), room);
        }
        Ok(self.rooms.get_mut(id))
    }

    /// Makes all changes of `write` in one, with the counter.
    fn change(
        &mut self,
        id: &RoomId,
        write: impl FnOnce(&RoomId, &mut RoomTimeline, &mut Rows<'_>) -> Result<Removed, HistoryError>,
    ) -> Result<(), HistoryError> {
        // If a change fails, the timeline in memory no longer agrees with the database.
        let Some(mut room) = self.rooms.remove(id) else { return Ok(()) };
        let mut pending = Pending::new(self.store.as_mut());
        let mut rows = Rows::resume(&mut pending, self.counter);
        let removed = write(id, &mut room, &mut rows)?;
        let counter = rows.finish_counter(self.is_untouched)?;
        for (tree, key) in removed {
            pending.remove(tree, key);
        }
        pending.finish()?;
        self.counter = counter;
        self.rooms.insert(id.to_owned(), room);
        Ok(())
    }

    /// The database, to read.
    pub fn store(&self) -> &dyn KvRead {
        self.store.as_ref()
    }

    /// The database.
    pub fn into_store(self) -> Box<dyn KvCommit> {
        self.store
    }

    /// Writes everything out. What is there is safe without it.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub fn close(mut self) -> Result<(), HistoryError> {
        Ok(self.store.checkpoint()?)
    }
}

/// Rows that go: their trees and keys.
type Removed = Vec<(&'static Tree, Vec<u8>)>;
