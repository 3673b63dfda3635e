//! Read receipts and unread counts.

use std::collections::BTreeMap;

use ruma::EventId;
use serde_json::Value as Json;

use super::{Findings, KvRead, VerifyError, codes};
use crate::{
    conduit::schema::{
        pdu_id::PduCount,
        shapes::{Event, Room, SigilRoomUser, Unread, UserRoom},
        trees::{self, Tree},
    },
    dump::format::{DumpRemoteReceipt, DumpUser},
    hash::hash,
    verify::tools::lookup::get,
};

/// The largest integer in Matrix.
const MAX: u64 = (1 << 53) - 1;

/// Receipts and unread counts of the database that were not compared with the dump yet.
#[derive(Debug)]
pub(super) struct Reading {
    public: Rows,
    private: Rows,
    notifications: Rows,
    highlights: Rows,
    begins: Begins,
}

/// The counts of the first events that the dump has of rooms. What lies before was fetched later: the import did not know
/// it.
pub(super) type Begins = BTreeMap<String, u64>;

/// Receipts that the dump has of a room.
#[derive(Debug, Default)]
pub(super) struct OfRoom {
    begins: Option<(String, u64)>,
    expected: Vec<Expected>,
}

/// A receipt or unread count of a user in a room, by the dump.
#[derive(Debug)]
pub(super) struct Expected {
    of: Of,
    room: String,
    user: String,
    said: u64,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Public,
    Private,
    Notifications,
    Highlights,
}

impl Expected {
    fn new(of: Of, room: &str, user: &str, said: u64) -> Self {
        Self { of, room: room.to_owned(), user: user.to_owned(), said }
    }
}

impl Reading {
    pub(super) fn read(store: &dyn KvRead) -> Result<Self, VerifyError> {
        Ok(Self {
            begins: Begins::new(),
            public: Rows::read(store, Of::Public)?,
            private: Rows::read(store, Of::Private)?,
            notifications: Rows::read(store, Of::Notifications)?,
            highlights: Rows::read(store, Of::Highlights)?,
        })
    }

    /// The counts of rooms' first events.
    pub(super) fn begins(&self) -> Begins {
        self.begins.clone()
    }

    /// Compares the receipts of a room.
    pub(super) fn room(&mut self, room: OfRoom, found: &mut Findings) {
        self.begins.extend(room.begins);
        self.expect(room.expected, found);
    }

    /// Compares receipts and unread counts.
    pub(super) fn expect(&mut self, expected: Vec<Expected>, found: &mut Findings) {
        for Expected { of, room, user, said } in expected {
            let rows = match of {
                Of::Public => &mut self.public,
                Of::Private => &mut self.private,
                Of::Notifications => &mut self.notifications,
                Of::Highlights => &mut self.highlights,
            };
            rows.expect(&room, &user, said, found);
        }
    }

    /// What the dump has not.
    pub(super) fn extra(self, store: &dyn KvRead, found: &mut Findings) -> Result<(), VerifyError> {
        self.public.extra(store, found)?;
        self.private.extra(store, found)?;
        self.notifications.extra(store, found)?;
        self.highlights.extra(store, found)
    }
}

/// The receipts and unread counts that the dump has of one local user.
pub(super) fn of_user(
    store: &dyn KvRead,
    user: &DumpUser,
    begins: &Begins,
    found: &mut Findings,
) -> Result<Vec<Expected>, VerifyError> {
    let id = user.user_id.as_str();
    let mut expected = Vec::new();
    let mut public: BTreeMap<&str, Vec<Receipt<'_>>> = BTreeMap::new();
    let mut private: BTreeMap<&str, u64> = BTreeMap::new();
    for receipt in &user.receipts {
        let room = receipt.room_id.as_str();
        let thread = receipt.thread_id.as_deref();
        let receipt_type = receipt.receipt_type.as_str();
        let begins = begins.get(room).copied();
        let place = (room, &*receipt.event_id);
        let receipt = Receipt::new(store, place, thread, receipt.ts, begins)?;
        let Some(receipt) =
            receipt.filter(|_| ["m.read", "m.read.private"].contains(&receipt_type))
        else {
            continue;
        };
        if get(store, &trees::ROOMID_SHORTROOMID, &Room { room })?.is_none() {
            continue;
        }
        if receipt_type == "m.read" {
            public.entry(room).or_default().push(receipt);
        } else if let Some(count) = receipt.count.filter(|_| receipt.of_room) {
            let best = private.entry(room).or_default();
            *best = count.max(*best);
        }
    }
    for (room, receipts) in &public {
        let best = receipts.iter().max().map(Receipt::said);
        expected.push(Expected::new(Of::Public, room, id, best.unwrap_or_default()));
    }
    for (room, count) in &private {
        expected.push(Expected::new(Of::Private, room, id, *count));
    }
    let mut rooms: Vec<_> = public.keys().chain(private.keys()).copied().collect();
    for unread in &user.unread {
        let room = unread.room_id.as_str();
        if is_joined(store, room, id)? && unread.notifications.max(unread.highlights) <= MAX {
            rooms.push(room);
            expected.push(Expected::new(Of::Notifications, room, id, unread.notifications));
            expected.push(Expected::new(Of::Highlights, room, id, unread.highlights));
        }
    }
    for room in rooms {
        let reset = Unread::RoomUser(SigilRoomUser { room, user: id });
        if is_joined(store, room, id)?
            && get(store, &trees::USERROOMID_HIGHLIGHTCOUNT, &reset)?.is_none()
        {
            let text = "the time of the unread counts' last change is missing";
            found.add(&codes::MISSING_IN_DATABASE, format!("{id} in {room}"), text);
        }
    }
    Ok(expected)
}

impl OfRoom {
    /// The receipts of other servers' users in a room, and the count of its first event that should be in the database.
    pub(super) fn of(
        store: &dyn KvRead,
        room: &str,
        first: Option<&str>,
        receipts: impl Iterator<Item = Result<DumpRemoteReceipt, crate::dump::ReadError>>,
        server_name: &str,
    ) -> Result<Self, VerifyError> {
        let begins = match first {
            Some(first) => count(store, room, first)?,
            None => None,
        };
        let mut best: BTreeMap<String, Best> = BTreeMap::new();
        for receipt in receipts {
            let DumpRemoteReceipt { user_id, thread_id, event_id, ts } = receipt?;
            let thread = thread_id.as_deref();
            let receipt = Receipt::new(store, (room, &event_id), thread, ts, begins)?;
            let Some(receipt) = receipt.filter(|_| user_id.server_name() != server_name) else {
                continue;
            };
            let rank = (receipt.of_room, receipt.count, ts, receipt.unthreaded);
            let new = (rank, event_id.to_string(), thread_id.clone());
            let kept = best.entry(user_id.into()).or_insert_with(|| new.clone());
            if *kept < new {
                *kept = new;
            }
        }
        let expected = best.into_iter().map(|(user, ((_, _, ts, _), event, thread))| {
            let said = hash(&(event.as_str(), thread.as_deref(), ts));
            Expected::new(Of::Public, room, &user, said)
        });
        let expected = expected.collect();
        Ok(Self { begins: begins.map(|begins| (room.to_owned(), begins)), expected })
    }
}

fn is_joined(store: &dyn KvRead, room: &str, user: &str) -> Result<bool, VerifyError> {
    let key = UserRoom { user, room };
    Ok(get(store, &trees::USERROOMID_JOINED, &key)?.is_some())
}

/// The fields of a [`Receipt`].
type Best = ((bool, Option<u64>, u64, bool), String, Option<String>);

/// A receipt that Conduit can hold. The greatest is the one that it keeps: for the room rather than a thread, of the last
/// event, the latest, for all threads.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Receipt<'a> {
    of_room: bool,
    count: Option<u64>,
    ts: u64,
    unthreaded: bool,
    event: &'a str,
    thread: Option<&'a str>,
}

impl<'a> Receipt<'a> {
    fn new(
        store: &dyn KvRead,
        (room, event): (&str, &'a EventId),
        thread: Option<&'a str>,
        ts: u64,
        begins: Option<u64>,
    ) -> Result<Option<Self>, VerifyError> {
        let of_room = thread.is_none_or(|thread| thread == "main");
        // What begins like an event id must be one.
        let is_broken = |thread: &str| thread.starts_with('$') && EventId::parse(thread).is_err();
        if ts > MAX || thread.is_some_and(is_broken) {
            return Ok(None);
        }
        let event = event.as_str();
        let count =
            count(store, room, event)?.filter(|count| begins.is_none_or(|begins| *count >= begins));
        Ok(Some(Self { of_room, count, ts, unthreaded: thread.is_none(), event, thread }))
    }

    fn said(&self) -> u64 {
        hash(&(self.event, self.thread, self.ts))
    }
}

/// The count of an event in the timeline of a room.
fn count(store: &dyn KvRead, room: &str, event: &str) -> Result<Option<u64>, VerifyError> {
    let short_room = get(store, &trees::ROOMID_SHORTROOMID, &Room { room })?;
    let id = get(store, &trees::EVENTID_PDUID, &Event { event })?;
    let of_room = short_room.zip(id).filter(|(room, id)| id.starts_with(room)).map(|(_, id)| id);
    Ok(of_room.and_then(|id| PduCount::read(&id)?.1.normal()))
}

/// The rows of a tree, of which there are millions: a hash of room and user, and a number or a hash of the value.
#[derive(Debug)]
struct Rows {
    of: Of,
    said: BTreeMap<u64, u64>,
}

impl Rows {
    fn read(store: &dyn KvRead, of: Of) -> Result<Self, VerifyError> {
        let mut rows = BTreeMap::new();
        each(store, of, |Row { room, user, said }| {
            rows.insert(hash(&(room, user)), said);
        })?;
        Ok(Self { of, said: rows })
    }

    fn expect(&mut self, room: &str, user: &str, expected: u64, found: &mut Findings) {
        let subject = || format!("{user} in {room}");
        match self.said.remove(&hash(&(room, user))) {
            Some(said) if said == expected => {}
            Some(_) => found.add(
                &codes::DIFFERS_FROM_DUMP,
                subject(),
                format!("the {} differs", self.of.what()),
            ),
            // A number that is not there is 0.
            None if expected == 0 => {}
            None => found.add(
                &codes::MISSING_IN_DATABASE,
                subject(),
                format!("the {} is missing", self.of.what()),
            ),
        }
    }

    fn extra(self, store: &dyn KvRead, found: &mut Findings) -> Result<(), VerifyError> {
        if self.said.is_empty() {
            return Ok(());
        }
        each(store, self.of, |Row { room, user, .. }| {
            if self.said.contains_key(&hash(&(room, user))) {
                let text = format!("the {} is not in the dump", self.of.what());
                found.add(&codes::NOT_IN_DUMP, format!("{user} in {room}"), text);
            }
        })
    }
}

/// What a row says of a user in a room.
struct Row<'a> {
    room: &'a str,
    user: &'a str,
    /// A number, or a hash of a receipt.
    said: u64,
}

impl Of {
    fn what(self) -> &'static str {
        match self {
            Self::Public => "receipt",
            Self::Private => "private receipt",
            Self::Notifications => "number of notifications",
            Self::Highlights => "number of highlights",
        }
    }

    fn tree(self) -> &'static Tree {
        match self {
            Self::Public => trees::READRECEIPTID_READRECEIPT.tree(),
            Self::Private => &trees::ROOMUSERID_PRIVATEREAD,
            Self::Notifications => &trees::USERROOMID_NOTIFICATIONCOUNT,
            Self::Highlights => &trees::USERROOMID_HIGHLIGHTCOUNT,
        }
    }

    /// Reads a row of its tree; `None` if that does not decode, or is no number of a user in a room.
    fn read<'a>(self, key: &'a [u8], value: &[u8]) -> Option<Row<'a>> {
        let (room, user, said) = match self {
            Self::Public => {
                let table = &trees::READRECEIPTID_READRECEIPT;
                let row = table.read_key(key).ok()?;
                table.read_value(key, value).ok()?;
                return Some(Row { room: row.room, user: row.user, said: receipt(value) });
            }
            Self::Private => {
                let table = &trees::ROOMUSERID_PRIVATEREAD;
                let row = table.read_key(key).ok()?;
                (row.room, row.user, table.read_value(key, value).ok()?.count)
            }
            Self::Notifications => {
                let table = &trees::USERROOMID_NOTIFICATIONCOUNT;
                let row = table.read_key(key).ok()?;
                (row.room, row.user, table.read_value(key, value).ok()?.number)
            }
            Self::Highlights => {
                let table = &trees::USERROOMID_HIGHLIGHTCOUNT;
                // Rows that begin with a room say when the numbers changed.
                let Unread::UserRoom(row) = table.read_key(key).ok()? else { return None };
                (row.room, row.user, table.read_value(key, value).ok()?.number)
            }
        };
        (said > 0).then_some(Row { room, user, said })
    }
}

/// Calls `each` with what each row says, if it says something.
fn each(store: &dyn KvRead, of: Of, mut each: impl FnMut(Row<'_>)) -> Result<(), VerifyError> {
    for row in store.scan(of.tree(), &[])? {
        let (key, value) = row?;
        of.read(&key, &value).into_iter().for_each(&mut each);
    }
    Ok(())
}

/// A hash of a receipt. That it belongs to one user is checked elsewhere.
fn receipt(json: &[u8]) -> u64 {
    let json: Json = serde_json::from_slice(json).unwrap_or_default();
    let said = || {
        let (event, types) = json.get("content")?.as_object()?.iter().next()?;
        let (_, receipt) = types.get("m.read")?.as_object()?.iter().next()?;
        let thread = receipt.get("thread_id").and_then(Json::as_str);
        Some(hash(&(event.as_str(), thread, receipt.get("ts")?.as_u64()?)))
    };
    said().unwrap_or_default()
}
